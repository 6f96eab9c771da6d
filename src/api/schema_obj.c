/* Objects, arrays, and what stands where anything may; and the rules that all schemas share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/schema_int.h"

static const char *comma(const struct api_schema *c)
{
    return c->spaced ? "\", \"" : "\",\"";
}

static const char *colon(const struct api_schema *c)
{
    return c->spaced ? "\": \"" : "\":\"";
}

static int no_memory(struct api_schema *c)
{
    return base_err_set(c->err, BASE_ENOMEM, c->place, "out of memory");
}

/* ---- other properties' names ---- */

struct names {
    const char **name; /* [n] sorted */
    int n;
};

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int char_bytes(const char *s)
{
    const unsigned char k = (unsigned char)*s;
    return k < 0x80 ? 1 : k < 0xe0 ? 2 : k < 0xf0 ? 3 : 4;
}

/* A rule for the rest of a name and its closing quote, none of name[from..to), which agree in their
 * first `at` bytes; its number. */
static int not_named(struct api_schema *c, const struct names *x, int from, int to, size_t at)
{
    struct base_buf e, others;
    base_buf_init(&e, API_SCHEMA_MAX_TEXT);
    base_buf_init(&others, API_SCHEMA_MAX_TEXT);
    const bool ends = x->name[from][at] == '\0';
    base_buf_str(&e, ends ? "" : "\"\\\"\" | ");
    for (int i = from + ends; i < to;) {
        const char *p = x->name[i] + at;
        const int len = char_bytes(p);
        int end = i + 1;
        while (end < to && strncmp(x->name[end] + at, p, (size_t)len) == 0)
            end++;
        const int rest = not_named(c, x, i, end, at + (size_t)len);
        api_grammar_quote(&e, p, (size_t)len);
        base_buf_printf(&e, " s%d | ", rest);
        base_buf_printf(&others, "%s%.*s", strchr("]^-[\\\"", *p) != NULL ? "\\" : "", len, p);
        i = end;
    }
    if (others.len == 0)
        base_buf_str(&e, "plain{1,64} \"\\\"\"");
    else
        base_buf_printf(&e, "[^\\\"\\\\\\u{0}-\\u{1f}%s] plain{0,64} \"\\\"\"",
                        base_buf_cstr(&others));
    const int number = c->n_rule++;
    base_buf_printf(&c->rules, "s%d = ", number);
    base_buf_add(&c->rules, e.data, e.len);
    base_buf_str(&c->rules, " ;\n");
    if (e.err != 0 || others.err != 0)
        c->rules.err = e.err != 0 ? e.err : others.err;
    base_buf_fini(&e);
    base_buf_fini(&others);
    return number;
}

/* A rule for a property that the schema does not name; its number. */
static int put_other(struct api_schema *c, const json_t *props, const json_t *schema,
                     const struct schema_at *at, int *number)
{
    const struct schema_at here = {at, "additionalProperties", 0};
    struct names x = {calloc(json_object_size(props) + 1, sizeof *x.name), 0};
    const char *name;
    json_t *v;
    int value = 0;
    if (x.name == NULL)
        return no_memory(c);
    json_object_foreach((json_t *)props, name, v)
    {
        /* A name that needs escapes is none of ours: they are written without. */
        bool plain = strlen(name) <= 128;
        for (const char *p = name; *p != '\0'; p++)
            plain = plain && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\';
        if (plain)
            x.name[x.n++] = name;
    }
    qsort(x.name, (size_t)x.n, sizeof *x.name, by_text);
    const int rc = schema_value(c, schema, &here, SCHEMA_ALL, &value);
    c->used |= RULE_PLAIN;
    const int rest = x.n > 0 && rc == 0 ? not_named(c, &x, 0, x.n, 0) : -1;
    *number = c->n_rule++;
    base_buf_printf(&c->rules, "s%d = \"\\\"\" ", *number);
    if (rest >= 0)
        base_buf_printf(&c->rules, "s%d", rest);
    else
        base_buf_str(&c->rules, "plain{1,64} \"\\\"\"");
    base_buf_printf(&c->rules, " %s s%d ;\n", colon(c), value);
    free(x.name);
    return rc;
}

/* ---- properties ---- */

/* "name": value as a rule; its number. */
static int put_property(struct api_schema *c, const char *name, const json_t *schema,
                        const struct schema_at *at, int *number)
{
    const struct schema_at here = {at, name, 0};
    int value = 0;
    json_t *text = json_string(name);
    char *key = text != NULL ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    json_decref(text);
    if (key == NULL)
        return no_memory(c);
    const int rc = schema_value(c, schema, &here, SCHEMA_ALL, &value);
    *number = c->n_rule++;
    base_buf_printf(&c->rules, "s%d = ", *number);
    api_grammar_quote(&c->rules, key, strlen(key));
    base_buf_printf(&c->rules, " %s s%d ;\n", colon(c), value);
    free(key);
    return rc;
}

static bool is_required(const json_t *required, const char *name)
{
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)required, i, v)
    {
        if (strcmp(json_string_value(v), name) == 0)
            return true;
    }
    return false;
}

/* The rule that goes on at property i: o<id>f<i> if none was written yet, else o<id>g<i>. */
static void put_links(struct api_schema *c, int id, int i, int property, bool required)
{
    struct base_buf *b = &c->rules;
    base_buf_printf(b, "o%df%d = s%d o%dg%d", id, i, property, id, i + 1);
    if (!required)
        base_buf_printf(b, " | o%df%d", id, i + 1);
    base_buf_printf(b, " ;\no%dg%d = %s s%d o%dg%d", id, i, comma(c), property, id, i + 1);
    if (!required)
        base_buf_printf(b, " | o%dg%d", id, i + 1);
    base_buf_str(b, " ;\n");
}

/* `first` or not, then others: between least and most of them (-1: no end). */
static void put_list(struct api_schema *c, struct base_buf *e, int item, int64_t least,
                     int64_t most)
{
    if (most == 0)
        return;
    char again[48];
    const int64_t from = least > 0 ? least - 1 : 0;
    if (most < 0)
        snprintf(again, sizeof again, "{%d,}", (int)from);
    else
        snprintf(again, sizeof again, "{%d,%d}", (int)from, (int)(most - 1));
    base_buf_printf(e, " (s%d (%s s%d)%s)%s", item, comma(c), item, again, least > 0 ? "" : "?");
}

static int check_object(struct api_schema *c, const json_t *s, const struct schema_at *at)
{
    const json_t *props = json_object_get(s, "properties"), *req = json_object_get(s, "required");
    size_t i;
    json_t *v;
    if (props != NULL && !json_is_object(props))
        return schema_refuse(c, at, BASE_EFORMAT, "'properties' must be an object");
    if (req != NULL && !json_is_array(req))
        return schema_refuse(c, at, BASE_EFORMAT, "'required' must be a list of names");
    json_array_foreach((json_t *)req, i, v)
    {
        if (!json_is_string(v))
            return schema_refuse(c, at, BASE_EFORMAT, "'required' must be a list of names");
    }
    if (json_object_size(props) + json_array_size(req) > API_SCHEMA_MAX_PROPERTY)
        return schema_refuse(c, at, BASE_ELIMIT, "more than %d properties",
                             API_SCHEMA_MAX_PROPERTY);
    return 0;
}

/* All properties in order: those that are required but not described come last. */
static int put_properties(struct api_schema *c, const json_t *s, const struct schema_at *at, int id,
                          int *n)
{
    const json_t *props = json_object_get(s, "properties"), *req = json_object_get(s, "required"),
                 *more = json_object_get(s, "additionalProperties");
    const struct schema_at in = {at, "properties", 0};
    const char *name;
    json_t *v;
    size_t i;
    int rc = 0, number = 0;
    json_object_foreach((json_t *)props, name, v)
    {
        rc = put_property(c, name, v, &in, &number);
        if (rc != 0)
            return rc;
        put_links(c, id, (*n)++, number, is_required(req, name));
    }
    json_array_foreach((json_t *)req, i, v)
    {
        name = json_string_value(v);
        bool again = json_object_get(props, name) != NULL;
        for (size_t k = 0; k < i; k++)
            again = again || strcmp(json_string_value(json_array_get(req, k)), name) == 0;
        if (again)
            continue;
        if (json_is_false(more))
            return schema_refuse(c, at, BASE_EUNSUPPORTED,
                                 "'required' names a property that nothing allows");
        json_t *any = json_true();
        rc = put_property(c, name, more != NULL ? more : any, &in, &number);
        if (rc != 0)
            return rc;
        put_links(c, id, (*n)++, number, true);
    }
    return 0;
}

int schema_object(struct api_schema *c, const json_t *s, const struct schema_at *at,
                  struct base_buf *e)
{
    const json_t *more = json_object_get(s, "additionalProperties");
    int64_t least = 0, most = -1;
    int n = 0, other = -1;
    int rc = check_object(c, s, at);
    if (rc == 0)
        rc = schema_count(c, s, "minProperties", at, 0, &least);
    if (rc == 0)
        rc = schema_count(c, s, "maxProperties", at, -1, &most);
    if (rc != 0)
        return rc;
    const int id = c->n_rule++;
    rc = put_properties(c, s, at, id, &n);
    if (rc != 0)
        return rc;
    if (n > 0 && (least > 0 || most >= 0))
        return schema_refuse(c, at, BASE_EUNSUPPORTED,
                             "counts of properties can be held only where none is named");
    if (least > API_SCHEMA_MAX_REPEAT || (most >= 0 && most < least))
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "no object has as many properties");
    /* Silence allows more properties; where they are spoken of we give those named. */
    const bool silent = more == NULL && n == 0 && json_object_get(s, "properties") == NULL;
    if (silent && least == 0 && most < 0) {
        c->used |= RULE_ANY;
        base_buf_str(e, c->depth > 1 ? "obj1" : "obj0");
        return 0;
    }
    if (silent || (more != NULL && !json_is_false(more))) {
        json_t *any = json_true();
        rc = put_other(c, json_object_get(s, "properties"), more != NULL ? more : any, at, &other);
        if (rc != 0)
            return rc;
    }
    base_buf_printf(&c->rules, "o%df%d =", id, n);
    if (other >= 0)
        put_list(c, &c->rules, other, least,
                 most < API_SCHEMA_MAX_REPEAT ? most : API_SCHEMA_MAX_REPEAT);
    base_buf_printf(&c->rules, " ;\no%dg%d =", id, n);
    if (other >= 0)
        base_buf_printf(&c->rules, " (%s s%d)*", comma(c), other);
    base_buf_str(&c->rules, " ;\n");
    if (other < 0 && n == 0 && least > 0)
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "no object has as many properties");
    base_buf_printf(e, "\"{\" o%df0 \"}\"", id);
    return 0;
}

/* ---- arrays ---- */

int schema_array(struct api_schema *c, const json_t *s, const struct schema_at *at,
                 struct base_buf *e)
{
    const json_t *prefix = json_object_get(s, "prefixItems"), *items = json_object_get(s, "items");
    const char *key = "prefixItems";
    int64_t least = 0, most = -1;
    int rc = schema_count(c, s, "minItems", at, 0, &least);
    if (rc == 0)
        rc = schema_count(c, s, "maxItems", at, -1, &most);
    if (rc != 0)
        return rc;
    if (json_is_array(items) && prefix == NULL) { /* as it was written before 2020 */
        prefix = items;
        items = NULL;
        key = "items";
    }
    if (prefix != NULL && !json_is_array(prefix))
        return schema_refuse(c, at, BASE_EFORMAT, "'prefixItems' must be a list of schemas");
    if (json_is_true(json_object_get(s, "uniqueItems")) && most != 0 && most != 1)
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "'uniqueItems' can't be held");
    const int64_t n_prefix = (int64_t)json_array_size(prefix);
    if (json_is_false(items) && (most < 0 || most > n_prefix))
        most = n_prefix;
    if (least > API_SCHEMA_MAX_REPEAT || n_prefix > API_SCHEMA_MAX_PROPERTY)
        return schema_refuse(c, at, BASE_ELIMIT, "'minItems' is more than %d",
                             API_SCHEMA_MAX_REPEAT);
    if (most >= 0 && most < least)
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "no array has as many items");
    if (most > API_SCHEMA_MAX_REPEAT)
        most = API_SCHEMA_MAX_REPEAT;
    base_buf_str(e, "\"[\" ");
    const struct schema_at in = {at, key, 0}, rest_at = {at, "items", 0};
    int64_t n = 0;
    int item = 0;
    for (; n < n_prefix && (most < 0 || n < most) && rc == 0; n++) {
        const struct schema_at here = {&in, NULL, (size_t)n};
        rc = schema_value(c, json_array_get(prefix, (size_t)n), &here, SCHEMA_ALL, &item);
        base_buf_printf(e, "%s s%d", n > 0 ? comma(c) : "", item);
    }
    const bool more = n == n_prefix && (most < 0 || most > n) && !json_is_false(items) &&
                      (n_prefix == 0 || items != NULL || least > n);
    if (rc == 0 && more) {
        json_t *any = json_true();
        rc = schema_value(c, items != NULL ? items : any, &rest_at, SCHEMA_ALL, &item);
        const int64_t from = least > n ? least - n : 0, to = most < 0 ? -1 : most - n;
        if (n == 0)
            put_list(c, e, item, from, to);
        else if (to < 0)
            base_buf_printf(e, " (%s s%d){%d,}", comma(c), item, (int)from);
        else
            base_buf_printf(e, " (%s s%d){%d,%d}", comma(c), item, (int)from, (int)to);
    }
    base_buf_str(e, " \"]\"");
    return rc;
}

/* ---- what all share ---- */

void api_schema_any_object(struct api_schema *c, struct base_buf *e)
{
    c->used |= RULE_ANY;
    base_buf_str(e, "obj0");
}

/* Anything, nested API_SCHEMA_ANY_DEPTH deep. */
static void put_any(const struct api_schema *c, struct base_buf *b)
{
    for (int i = 0; i <= API_SCHEMA_ANY_DEPTH; i++) {
        const bool deep = i < API_SCHEMA_ANY_DEPTH;
        base_buf_printf(b, "any%d = string | number | \"true\" | \"false\" | \"null\"", i);
        if (!deep) {
            base_buf_str(b, " ;\n");
            break;
        }
        base_buf_printf(b, " | obj%d | arr%d ;\npair%d = string %s any%d ;\n", i, i, i, colon(c),
                        i + 1);
        base_buf_printf(b, "obj%d = \"{\" (pair%d (%s pair%d)*)? \"}\" ;\n", i, i, comma(c), i);
        base_buf_printf(b, "arr%d = \"[\" (any%d (%s any%d)*)? \"]\" ;\n", i, i + 1, comma(c),
                        i + 1);
    }
}

/* RFC 8259. \u0000 is left out (C strings end there), and surrogates, which need a partner; a
 * number has as many digits as every reader keeps. */
static void put_shared(const struct api_schema *c, struct base_buf *b)
{
    const unsigned used = c->used | ((c->used & RULE_ANY) != 0 ? RULE_STRING | RULE_NUMBER : 0);
    if ((used & RULE_ANY) != 0)
        put_any(c, b);
    if ((used & RULE_STRING) != 0)
        base_buf_str(b, "string = \"\\\"\" char* \"\\\"\" ;\n");
    if ((used & (RULE_STRING | RULE_CHAR)) != 0)
        base_buf_str(b,
                     "char = [^\\\"\\\\\\u{0}-\\u{1f}] | \"\\\\\" ([\\\"\\\\/bfnrt] | \"u\" (\"0\" "
                     "(\"0\" (\"0\" [1-9a-fA-F] | [1-9a-fA-F] hex) | [1-9a-fA-F] hex hex) | "
                     "[1-9a-cA-CefEF] hex hex hex | [dD] [0-7] hex hex)) ;\n"
                     "hex = [0-9a-fA-F] ;\n");
    if ((used & RULE_PLAIN) != 0)
        base_buf_str(b, "plain = [^\\\"\\\\\\u{0}-\\u{1f}] ;\n");
    if ((used & RULE_INTEGER) != 0)
        base_buf_str(b, "integer = \"0\" | \"-\"? [1-9] [0-9]{0,17} ;\n");
    if ((used & RULE_NUMBER) != 0)
        base_buf_str(b, "number = \"-\"? (\"0\" | [1-9] [0-9]{0,14}) (\".\" [0-9]{1,9})? "
                        "([eE] [+\\-]? [0-9]{1,2})? ;\n");
}

int api_schema_write(struct api_schema *c, const struct base_buf *e, struct base_buf *out)
{
    base_buf_str(out, "answer = ");
    base_buf_add(out, e->data, e->len);
    base_buf_str(out, " ;\n");
    base_buf_add(out, c->rules.data, c->rules.len);
    put_shared(c, out);
    return e->err != 0 ? e->err : c->rules.err != 0 ? c->rules.err : out->err;
}

struct api_schema *api_schema_new(bool spaced)
{
    struct api_schema *c = calloc(1, sizeof *c);
    if (c == NULL || (c->merged = json_array()) == NULL) {
        free(c);
        return NULL;
    }
    c->spaced = spaced;
    base_buf_init(&c->rules, API_SCHEMA_MAX_TEXT);
    return c;
}

void api_schema_free(struct api_schema *c)
{
    if (c == NULL)
        return;
    base_buf_fini(&c->rules);
    json_decref(c->merged);
    free(c->ref);
    free(c);
}
