/* The catalogue's text -> functions, arguments, values. */
#include "api/catalogue_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BYTES = 16 << 20, TEXT_MAX_BYTES = 4 << 20 };

/* ---- our keys ---- */

/* v without the keys that begin with x-: what a client or the next tier gets. NULL: out of memory.
 */
static json_t *without_ours(const json_t *v)
{
    json_t *out, *one;
    const char *key;
    size_t i;
    if (json_is_object(v)) {
        out = json_object();
        json_object_foreach((json_t *)v, key, one)
        {
            if (strncmp(key, "x-", 2) != 0 &&
                json_object_set_new(out, key, without_ours(one)) != 0) {
                json_decref(out);
                return NULL;
            }
        }
        return out;
    }
    if (!json_is_array(v))
        return json_incref((json_t *)v);
    out = json_array();
    json_array_foreach((json_t *)v, i, one)
    {
        if (json_array_append_new(out, without_ours(one)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* v on one line, as a request's tools are kept, in the arena. */
static const char *line_of(struct api_catalogue *c, const json_t *v)
{
    char *s = v != NULL ? json_dumps(v, JSON_REAL_PRECISION(15)) : NULL;
    const char *out = s != NULL ? base_arena_strndup(&c->arena, s, strlen(s)) : NULL;
    free(s);
    return out;
}

/* A signal's name: branches with dots between, * for any one. */
static bool vss_ok(const char *s)
{
    return s != NULL && s[0] != '\0' && strlen(s) < 256 &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.*") ==
               strlen(s);
}

/* The argument of f that has all of vss's keys as values, or -1. */
static int vss_arg_find(const struct api_catalogue *c, const struct cat_func *f, const json_t *vss)
{
    const char *key;
    json_t *v;
    for (int i = 0; i < f->n_arg; i++) {
        bool all = !f->arg[i].free;
        json_object_foreach((json_t *)vss, key, v) all =
            all && cat_value_find(c, &f->arg[i], key, strlen(key)) >= 0;
        if (all)
            return i;
    }
    return -1;
}

static int vss_read(struct api_catalogue *c, struct cat_func *f, const json_t *vss,
                    const struct cat_at *at)
{
    const char *key;
    json_t *v;
    if (vss == NULL)
        return 0;
    if (json_is_string(vss)) {
        f->vss = base_arena_strndup(&c->arena, json_string_value(vss), json_string_length(vss));
        if (f->vss == NULL)
            return cat_refuse(at, BASE_ENOMEM, "out of memory");
        return vss_ok(f->vss) ? 0 : cat_refuse(at, BASE_EFORMAT, "'%.60s' is no signal", f->vss);
    }
    if (!json_is_object(vss) || json_object_size(vss) == 0)
        return cat_refuse(at, BASE_EFORMAT,
                          "x-vss must be a signal's name, or an object of names by a value");
    f->vss_arg = vss_arg_find(c, f, vss);
    if (f->vss_arg < 0)
        return cat_refuse(at, BASE_EFORMAT, "the keys of x-vss are not the values of one argument");
    json_object_foreach((json_t *)vss, key, v)
    {
        const char *s = json_string_value(v);
        if (!vss_ok(s))
            return cat_refuse(at, BASE_EFORMAT, "'%.60s' is no signal", s != NULL ? s : "null");
        const int i = cat_value_find(c, &f->arg[f->vss_arg], key, strlen(key));
        if ((c->vss[i] = base_arena_strndup(&c->arena, s, strlen(s))) == NULL)
            return cat_refuse(at, BASE_ENOMEM, "out of memory");
    }
    return 0;
}

/* ---- functions ---- */

static bool name_ok(const char *s)
{
    return s != NULL && s[0] != '\0' && strlen(s) <= API_MAX_NAME &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") ==
               strlen(s);
}

static bool is_required(const json_t *parameters, const char *name)
{
    const json_t *list = json_object_get(parameters, "required");
    bool found = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        found = found || (s != NULL && strcmp(s, name) == 0);
    }
    return found;
}

static bool same_values(const struct api_catalogue *c, const struct cat_arg *a,
                        const struct cat_arg *b)
{
    if (a->n != b->n || a->place != b->place || a->free != b->free)
        return false;
    for (int i = 0; i < a->n; i++) {
        if (strcmp(c->value[a->first + i].word, c->value[b->first + i].word) != 0)
            return false;
    }
    return true;
}

static int rule_of(const struct api_catalogue *c, const struct cat_arg *a, int own)
{
    for (int i = 0; i < own; i++) {
        const struct cat_func *f = &c->func[i / API_CAT_MAX_ARG];
        const int k = i % API_CAT_MAX_ARG;
        if (k < f->n_arg && same_values(c, a, &f->arg[k]))
            return i;
    }
    return own;
}

static int args_read(struct api_catalogue *c, struct cat_func *f, const json_t *parameters,
                     struct cat_at *at)
{
    const json_t *props = json_object_get(parameters, "properties");
    const char *key, *type = json_string_value(json_object_get(parameters, "type"));
    json_t *v;
    if (parameters == NULL || (json_is_object(parameters) && json_object_size(parameters) == 0))
        return 0;
    if (!json_is_object(parameters) || (type != NULL && strcmp(type, "object") != 0) ||
        (props != NULL && !json_is_object(props)))
        return cat_refuse(at, BASE_EFORMAT, "parameters must be the schema of an object");
    json_object_foreach((json_t *)props, key, v)
    {
        const size_t end = strlen(at->pointer);
        snprintf(at->pointer + end, sizeof at->pointer - end, "/properties/%.40s", key);
        if (f->n_arg == API_CAT_MAX_ARG)
            return cat_refuse(at, BASE_ELIMIT, "more than %d parameters", API_CAT_MAX_ARG);
        struct cat_arg *a = &f->arg[f->n_arg];
        if (!json_is_object(v) || !name_ok(key))
            return cat_refuse(
                at, BASE_EFORMAT,
                "a parameter is a schema under a name of letters, digits, '_', '-' and '.'");
        if (!is_required(parameters, key))
            return cat_refuse(at, BASE_EUNSUPPORTED,
                              "it is not in 'required': a line has all parameters");
        if (f->n_arg > 0 && f->arg[f->n_arg - 1].free)
            return cat_refuse(at, BASE_EUNSUPPORTED,
                              "it stands behind free text ('%.40s'), which must be the last",
                              f->arg[f->n_arg - 1].name);
        if ((a->name = base_arena_strndup(&c->arena, key, strlen(key))) == NULL)
            return cat_refuse(at, BASE_ENOMEM, "out of memory");
        int rc = cat_arg_read(c, a, v, at);
        if (rc != 0)
            return rc;
        a->rule = rule_of(c, a, c->n * API_CAT_MAX_ARG + f->n_arg);
        f->n_arg++;
        at->pointer[end] = '\0';
    }
    return 0;
}

/* Entry i; *is_none: it is the function none, which is always there and of no use as a tool. */
static int func_read(struct api_catalogue *c, const json_t *entry, struct cat_at *at, bool *is_none)
{
    struct cat_func *f = &c->func[c->n];
    const char *type = json_string_value(json_object_get(entry, "type"));
    const json_t *fn = json_object_get(entry, "function");
    const char *name = json_string_value(json_object_get(fn, "name"));
    const size_t end = strlen(at->pointer);
    if (!json_is_object(entry) || type == NULL || strcmp(type, "function") != 0)
        return cat_refuse(at, BASE_EFORMAT, "an entry must be an object of type 'function'");
    snprintf(at->pointer + end, sizeof at->pointer - end, "/function/name");
    if (!name_ok(name))
        return cat_refuse(at, BASE_EFORMAT,
                          "a function needs a name of at most %d letters, digits, '_', '-' and '.'",
                          API_MAX_NAME);
    *f = (struct cat_func){.vss_arg = -1};
    f->name = base_arena_strndup(&c->arena, name, strlen(name));
    if (f->name == NULL)
        return cat_refuse(at, BASE_ENOMEM, "out of memory");
    for (int i = 0; i < c->n; i++) {
        if (strcmp(c->func[i].name, name) == 0)
            return cat_refuse(at, BASE_EFORMAT, "'%s' stands there twice", name);
    }
    snprintf(at->pointer + end, sizeof at->pointer - end, "/function/parameters");
    int rc = args_read(c, f, json_object_get(fn, "parameters"), at);
    if (rc != 0)
        return rc;
    *is_none = strcmp(name, API_CAT_NONE) == 0;
    if (*is_none && f->n_arg > 0)
        return cat_refuse(at, BASE_EFORMAT, "'" API_CAT_NONE "' takes no parameters");
    at->pointer[end] = '\0';
    return 0;
}

/* What is kept of the entry's JSON. */
static int texts_keep(struct api_catalogue *c, const json_t *entry, const struct cat_at *at)
{
    struct cat_func *f = &c->func[c->n];
    struct api_tool *t = &c->tool[c->n];
    json_t *bare = without_ours(entry);
    f->json = line_of(c, entry);
    t->name = f->name;
    t->json = line_of(c, bare);
    json_decref(bare);
    if (f->json == NULL || t->json == NULL)
        return cat_refuse(at, BASE_ENOMEM, "out of memory");
    t->len = strlen(t->json);
    return 0;
}

static int signals_read(struct api_catalogue *c, const json_t *list, struct cat_at *at)
{
    int i = 0;
    c->vss = calloc((size_t)c->n_value + 1, sizeof *c->vss);
    if (c->vss == NULL)
        return cat_refuse(at, BASE_ENOMEM, "out of memory");
    for (size_t k = 0; k < json_array_size(list); k++) {
        const json_t *entry = json_array_get(list, k);
        const char *name =
            json_string_value(json_object_get(json_object_get(entry, "function"), "name"));
        if (strcmp(name, API_CAT_NONE) == 0)
            continue;
        snprintf(at->pointer, sizeof at->pointer, "/%zu/x-vss", k);
        int rc = vss_read(c, &c->func[i++], json_object_get(entry, "x-vss"), at);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int list_read(struct api_catalogue *c, const json_t *list, struct cat_at *at)
{
    int rc = 0;
    if (!json_is_array(list))
        return cat_refuse(at, BASE_EFORMAT, "a catalogue is a list of tools");
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++) {
        bool is_none = false;
        snprintf(at->pointer, sizeof at->pointer, "/%zu", i);
        if (c->n == API_CAT_MAX_FUNC)
            return cat_refuse(at, BASE_ELIMIT, "more than %d functions", API_CAT_MAX_FUNC);
        rc = func_read(c, json_array_get(list, i), at, &is_none);
        if (rc == 0 && !is_none)
            rc = texts_keep(c, json_array_get(list, i), at);
        c->n += rc == 0 && !is_none;
    }
    at->pointer[0] = '\0';
    if (rc == 0 && c->n == 0)
        rc = cat_refuse(at, BASE_EFORMAT, "the catalogue has no function but '" API_CAT_NONE "'");
    return rc == 0 ? signals_read(c, list, at) : rc;
}

int api_catalogue_parse(struct api_catalogue **out, const char *text, size_t len, const char *name,
                        struct base_err *err)
{
    struct cat_at at = {.name = name, .err = err};
    json_error_t why;
    *out = NULL;
    if (len > TEXT_MAX_BYTES)
        return cat_refuse(&at, BASE_ELIMIT, "%zu bytes, at most %d", len, TEXT_MAX_BYTES);
    struct api_catalogue *c = calloc(1, sizeof *c);
    if (c == NULL)
        return cat_refuse(&at, BASE_ENOMEM, "out of memory");
    base_arena_init(&c->arena, ARENA_BYTES);
    json_t *list = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    int rc;
    if (list == NULL && json_error_code(&why) == json_error_out_of_memory) {
        rc = cat_refuse(&at, BASE_ENOMEM, "out of memory");
    } else if (list == NULL) {
        char place[160];
        snprintf(place, sizeof place, "%.120s:%d:%d", name, why.line, why.column);
        rc = base_err_set(err, BASE_EFORMAT, place, "%s", why.text);
    } else {
        rc = list_read(c, list, &at);
    }
    json_decref(list);
    if (rc != 0) {
        api_catalogue_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void api_catalogue_free(struct api_catalogue *c)
{
    if (c == NULL)
        return;
    base_arena_fini(&c->arena);
    free(c->value);
    free(c->vss);
    free(c);
}

int api_catalogue_n(const struct api_catalogue *c)
{
    return c->n;
}

const char *api_catalogue_name(const struct api_catalogue *c, int i)
{
    return c->func[i].name;
}

const struct api_tool *api_catalogue_tools(const struct api_catalogue *c)
{
    return c->tool;
}

bool api_catalogue_has_place(const struct api_catalogue *c, const char *place, bool everywhere)
{
    bool any = false, all = true;
    for (int i = 0; i < c->n; i++) {
        for (int k = 0; k < c->func[i].n_arg; k++) {
            const struct cat_arg *a = &c->func[i].arg[k];
            if (!a->place)
                continue;
            const bool has = cat_value_find(c, a, place, strlen(place)) >= 0;
            any = any || has;
            all = all && has;
        }
    }
    return everywhere ? all : any;
}
