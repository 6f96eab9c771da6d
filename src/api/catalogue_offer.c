/* What a request's tools leave of the catalogue: functions by name, values by the client's schema.
 */
#include "api/catalogue_int.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/chat.h"

enum { MAX_DEPTH = 8 };

static bool type_is(const char *type, const json_t *v)
{
    if (type == NULL)
        return false;
    if (strcmp(type, "integer") == 0)
        return json_is_number(v) && json_number_value(v) == floor(json_number_value(v));
    return (strcmp(type, "number") == 0 && json_is_number(v)) ||
           (strcmp(type, "string") == 0 && json_is_string(v)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(v));
}

static bool type_takes(const json_t *type, const json_t *v)
{
    bool any = type_is(json_string_value(type), v);
    for (size_t i = 0; i < json_array_size(type); i++)
        any = any || type_is(json_string_value(json_array_get(type, i)), v);
    return any;
}

/* 1 and 1.0 are one number. */
static bool is_same(const json_t *a, const json_t *b)
{
    return json_is_number(a) && json_is_number(b) ? json_number_value(a) == json_number_value(b)
                                                  : json_equal(a, b) != 0;
}

static bool listed(const json_t *list, const json_t *v)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (is_same(json_array_get(list, i), v))
            return true;
    }
    return false;
}

static bool takes(const json_t *schema, const json_t *v, int depth);

static bool any_takes(const json_t *list, const json_t *v, int depth)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (takes(json_array_get(list, i), v, depth + 1))
            return true;
    }
    return false;
}

/* One keyword. What we don't know may say anything. */
static bool keyword_takes(const char *key, const json_t *k, const json_t *v, int depth)
{
    const double x = json_number_value(v), y = json_number_value(k);
    const bool number = json_is_number(v);
    if (cat_is_note(key) || strcmp(key, "nullable") == 0)
        return true;
    if (strcmp(key, "type") == 0)
        return type_takes(k, v);
    if (strcmp(key, "enum") == 0)
        return listed(k, v);
    if (strcmp(key, "const") == 0)
        return is_same(k, v);
    if (strcmp(key, "anyOf") == 0 || strcmp(key, "oneOf") == 0)
        return any_takes(k, v, depth);
    if (strcmp(key, "minimum") == 0)
        return !number || x >= y;
    if (strcmp(key, "maximum") == 0)
        return !number || x <= y;
    if (strcmp(key, "exclusiveMinimum") == 0)
        return !number || x > y;
    if (strcmp(key, "exclusiveMaximum") == 0)
        return !number || x < y;
    if (strcmp(key, "multipleOf") == 0)
        return !number || (y > 0 && fabs(x / y - nearbyint(x / y)) < 1e-9);
    if (strcmp(key, "minLength") == 0) /* all of ours have a character */
        return !json_is_string(v) || y <= 1;
    return false;
}

/* Whether v is an instance of a scalar's schema, as far as we can tell. */
static bool takes(const json_t *schema, const json_t *v, int depth)
{
    const char *key;
    json_t *k;
    if (json_is_true(schema))
        return true;
    if (!json_is_object(schema) || depth > MAX_DEPTH)
        return false;
    json_object_foreach((json_t *)schema, key, k)
    {
        if (!keyword_takes(key, k, v, depth))
            return false;
    }
    return true;
}

/* Clears may[] where the client's schema of argument a takes less. 1; 0: it takes nothing;
 * BASE_ENOMEM. */
static int arg_fits(const struct api_catalogue *c, const struct cat_arg *a, const json_t *schema,
                    bool *may, bool *less)
{
    bool any = false;
    if (a->free) { /* any text: one that nobody would list */
        json_t *text = json_string("\x01");
        if (text == NULL)
            return BASE_ENOMEM;
        any = takes(schema, text, 0);
        json_decref(text);
        if (!any)
            return 0;
    }
    for (int i = a->first; i < a->first + a->n; i++) {
        json_t *v = json_loads(c->value[i].json, JSON_DECODE_ANY, NULL);
        if (v == NULL)
            return BASE_ENOMEM;
        may[i] = takes(schema, v, 0);
        *less = *less || !may[i];
        any = any || may[i];
        json_decref(v);
    }
    return any;
}

/* The client's tool as the catalogue's function f. 1; 0: it is another, by *what; BASE_ENOMEM. */
static int tool_fits(const struct api_catalogue *c, const struct cat_func *f, const json_t *tool,
                     bool *may, bool *less, const char **what)
{
    const json_t *p = json_object_get(json_object_get(tool, "function"), "parameters"),
                 *props = json_object_get(p, "properties"), *need = json_object_get(p, "required");
    for (int i = 0; i < f->n_arg; i++) {
        const json_t *schema = json_object_get(props, f->arg[i].name);
        *what = f->arg[i].name;
        const int fits = schema != NULL ? arg_fits(c, &f->arg[i], schema, may, less) : 0;
        if (fits != 1)
            return fits;
    }
    for (size_t i = 0; i < json_array_size(need); i++) {
        bool ours = false;
        *what = json_string_value(json_array_get(need, i));
        for (int k = 0; k < f->n_arg && *what != NULL; k++)
            ours = ours || strcmp(f->arg[k].name, *what) == 0;
        if (!ours)
            return 0;
    }
    return 1;
}

static int tool_take(const struct api_catalogue *c, const struct api_tool *t, int number, bool *may,
                     bool *less, struct api_cat_offer *out, struct base_err *why)
{
    char place[48];
    const char *what = NULL;
    int i = 0;
    snprintf(place, sizeof place, "tools[%d]", number);
    while (i < c->n && strcmp(c->func[i].name, t->name) != 0)
        i++;
    if (i == c->n)
        return base_err_set(why, BASE_ENOTFOUND, place,
                            "the catalogue has no function of this name");
    out->func |= 1ull << i;
    /* As the catalogue has it: most clients copy it. */
    if ((t->len == c->tool[i].len && memcmp(t->json, c->tool[i].json, t->len) == 0) ||
        strcmp(t->json, c->func[i].json) == 0)
        return 0;
    json_t *tool = json_loadb(t->json, t->len, 0, NULL);
    const int fits = tool != NULL ? tool_fits(c, &c->func[i], tool, may, less, &what) : BASE_ENOMEM;
    int rc = 0;
    if (fits < 0)
        rc = base_err_set(why, fits, place, "out of memory");
    else if (fits == 0)
        rc = base_err_set(why, BASE_ENOTFOUND, place,
                          "its parameters do not take what the catalogue's '%s' has (%.64s)",
                          c->func[i].name, what != NULL ? what : "required");
    json_decref(tool);
    return rc;
}

int api_catalogue_offer(const struct api_catalogue *c, const struct api_request *r, const char *me,
                        struct base_arena *a, struct api_cat_offer *out, struct base_err *why)
{
    bool less = false;
    *out = (struct api_cat_offer){.none = r->choice != API_CHOICE_REQUIRED, .me = me};
    if (!api_tools_active(r) || r->format != API_FORMAT_TEXT)
        return base_err_set(why, BASE_ENOTFOUND, "tools", "no function is to be called");
    bool *may = base_arena_get(a, (size_t)c->n_value + 1);
    if (may == NULL)
        return base_err_set(why, BASE_ENOMEM, "tools", "out of memory");
    memset(may, true, (size_t)c->n_value);
    for (int i = 0; i < r->n_tool; i++) {
        if ((r->tool_named >= 0 && r->tool_named != i) ||
            strcmp(r->tool[i].name, API_CAT_NONE) == 0)
            continue;
        int rc = tool_take(c, &r->tool[i], i, may, &less, out, why);
        if (rc != 0)
            return rc;
    }
    if (less)
        out->may = may;
    return out->func != 0 ? 0
                          : base_err_set(why, BASE_ENOTFOUND, "tools",
                                         "no function of the catalogue is to be called");
}
