/* The schema compiler's trunk: keywords, types, alternatives, references. Numbers, strings, objects
 * and arrays have files of their own. */
#include "api/schema_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- errors and counts ---- */

static void put_pointer(const struct schema_at *at, char *out, size_t size)
{
    const struct schema_at *chain[64];
    int n = 0;
    for (; at != NULL && n < 64; at = at->up)
        chain[n++] = at;
    size_t len = 0;
    while (n > 0 && len + 1 < size) {
        at = chain[--n];
        int add = at->key != NULL ? snprintf(out + len, size - len, "/%.80s", at->key)
                                  : snprintf(out + len, size - len, "/%zu", at->index);
        len += (size_t)add;
    }
}

int schema_refuse(struct api_schema *c, const struct schema_at *at, int code, const char *fmt, ...)
{
    char pointer[160] = "", place[160], msg[256];
    va_list ap;
    put_pointer(at, pointer, sizeof pointer);
    snprintf(place, sizeof place, "%.48s%.110s", c->place, pointer);
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    return base_err_set(c->err, code, place, "%s", msg);
}

int schema_count(struct api_schema *c, const json_t *s, const char *key, const struct schema_at *at,
                 int64_t none, int64_t *out)
{
    const json_t *v = json_object_get(s, key);
    *out = none;
    if (v == NULL)
        return 0;
    /* "5.0" is an integer in JSON Schema. */
    const double d = json_number_value(v);
    if (!json_is_number(v) || !(d >= 0 && d <= 1e15) || d != (double)(int64_t)d)
        return schema_refuse(c, at, BASE_EFORMAT, "'%s' must be a whole number from 0", key);
    *out = (int64_t)d;
    return 0;
}

/* ---- writing ---- */

void api_grammar_quote(struct base_buf *b, const char *s, size_t n)
{
    base_buf_u8(b, '"');
    for (size_t i = 0; i < n; i++) {
        const unsigned char k = (unsigned char)s[i];
        if (k == '"' || k == '\\')
            base_buf_printf(b, "\\%c", k);
        else if (k < 0x20 || k >= 0x7f)
            base_buf_printf(b, "\\x%02x", k);
        else
            base_buf_u8(b, k);
    }
    base_buf_u8(b, '"');
}

/* A value as JSON, as a string of the grammar. */
static int put_json(struct api_schema *c, const json_t *v, struct base_buf *e)
{
    char *s =
        json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) | (c->spaced ? 0 : JSON_COMPACT));
    if (s == NULL)
        return base_err_set(c->err, BASE_ENOMEM, c->place, "out of memory");
    api_grammar_quote(e, s, strlen(s));
    free(s);
    return 0;
}

/* ---- keywords ---- */

/* What says nothing about instances. */
static bool is_note(const char *key)
{
    static const char *const note[] = {"title",         "description",     "default",
                                       "examples",      "example",         "deprecated",
                                       "readOnly",      "writeOnly",       "$schema",
                                       "$id",           "$comment",        "$defs",
                                       "definitions",   "contentEncoding", "contentMediaType",
                                       "contentSchema", "discriminator",   "externalDocs",
                                       "xml",           "$vocabulary",     "$anchor"};
    for (size_t i = 0; i < sizeof note / sizeof note[0]; i++) {
        if (strcmp(key, note[i]) == 0)
            return true;
    }
    return strncmp(key, "x-", 2) == 0;
}

/* Which types a keyword speaks of. */
static const struct {
    const char *key;
    unsigned types;
} keyword[] = {
    {"minLength", SCHEMA_STRING},
    {"maxLength", SCHEMA_STRING},
    {"pattern", SCHEMA_STRING},
    {"format", SCHEMA_STRING},
    {"minimum", SCHEMA_INTEGER | SCHEMA_NUMBER},
    {"maximum", SCHEMA_INTEGER | SCHEMA_NUMBER},
    {"exclusiveMinimum", SCHEMA_INTEGER | SCHEMA_NUMBER},
    {"exclusiveMaximum", SCHEMA_INTEGER | SCHEMA_NUMBER},
    {"multipleOf", SCHEMA_INTEGER | SCHEMA_NUMBER},
    {"items", SCHEMA_ARRAY},
    {"prefixItems", SCHEMA_ARRAY},
    {"minItems", SCHEMA_ARRAY},
    {"maxItems", SCHEMA_ARRAY},
    {"uniqueItems", SCHEMA_ARRAY},
    {"properties", SCHEMA_OBJECT},
    {"required", SCHEMA_OBJECT},
    {"additionalProperties", SCHEMA_OBJECT},
    {"minProperties", SCHEMA_OBJECT},
    {"maxProperties", SCHEMA_OBJECT},
};

/* 0: not one of those that go by type. */
static unsigned keyword_types(const char *key)
{
    for (size_t i = 0; i < sizeof keyword / sizeof keyword[0]; i++) {
        if (strcmp(key, keyword[i].key) == 0)
            return keyword[i].types;
    }
    return 0;
}

/* Nothing but `alone`, types and notes may stand in s. */
static int check_alone(struct api_schema *c, const json_t *s, const struct schema_at *at,
                       const char *alone)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)s, key, v)
    {
        if (strcmp(key, alone) != 0 && strcmp(key, "type") != 0 && strcmp(key, "nullable") != 0 &&
            !is_note(key))
            return schema_refuse(c, at, BASE_EUNSUPPORTED, "'%.40s' beside '%s' can't be held", key,
                                 alone);
    }
    return 0;
}

/* ---- types ---- */

static unsigned type_named(const char *name)
{
    static const struct {
        const char *name;
        unsigned types;
    } type[] = {{"null", SCHEMA_NULL},       {"boolean", SCHEMA_BOOLEAN},
                {"integer", SCHEMA_INTEGER}, {"number", SCHEMA_NUMBER | SCHEMA_INTEGER},
                {"string", SCHEMA_STRING},   {"array", SCHEMA_ARRAY},
                {"object", SCHEMA_OBJECT}};
    for (size_t i = 0; name != NULL && i < sizeof type / sizeof type[0]; i++) {
        if (strcmp(name, type[i].name) == 0)
            return type[i].types;
    }
    return 0;
}

/* The types that `type` allows, or those that the other keywords speak of, or all. */
static int types_of(struct api_schema *c, const json_t *s, const struct schema_at *at,
                    unsigned *out)
{
    const json_t *t = json_object_get(s, "type"), *v;
    const char *key;
    unsigned types = 0;
    if (t != NULL) {
        const size_t n = json_is_array(t) ? json_array_size(t) : 1;
        for (size_t i = 0; i < n; i++) {
            const unsigned one = type_named(
                json_string_value(json_is_array(t) ? json_array_get(t, i) : (json_t *)t));
            if (one == 0)
                return schema_refuse(c, at, BASE_EFORMAT, "'type' is none of JSON's");
            types |= one;
        }
        if (n == 0)
            return schema_refuse(c, at, BASE_EFORMAT, "'type' is an empty list");
    } else {
        json_t *w;
        json_object_foreach((json_t *)s, key, w)
        {
            types |= keyword_types(key);
        }
        types = types != 0 ? types : SCHEMA_ALL;
    }
    v = json_object_get(s, "nullable");
    if (v != NULL && !json_is_boolean(v))
        return schema_refuse(c, at, BASE_EFORMAT, "'nullable' must be true or false");
    if (json_is_true(v))
        types |= SCHEMA_NULL;
    *out = types;
    return 0;
}

static unsigned type_of_value(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return SCHEMA_OBJECT;
    case JSON_ARRAY:
        return SCHEMA_ARRAY;
    case JSON_STRING:
        return SCHEMA_STRING;
    case JSON_INTEGER:
        return SCHEMA_INTEGER;
    case JSON_REAL:
        return json_real_value(v) == (double)(long long)json_real_value(v) ? SCHEMA_INTEGER
                                                                           : SCHEMA_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return SCHEMA_BOOLEAN;
    default:
        return SCHEMA_NULL;
    }
}

static int enumeration(struct api_schema *c, const json_t *s, const struct schema_at *at,
                       unsigned types, struct base_buf *e)
{
    const json_t *list = json_object_get(s, "enum"), *one = json_object_get(s, "const");
    const size_t n = one != NULL ? 1 : json_array_size(list);
    int n_put = 0;
    int rc = check_alone(c, s, at, one != NULL ? "const" : "enum");
    if (rc != 0)
        return rc;
    if (one == NULL && !json_is_array(list))
        return schema_refuse(c, at, BASE_EFORMAT, "'enum' must be a list");
    if (n > API_SCHEMA_MAX_ENUM)
        return schema_refuse(c, at, BASE_ELIMIT, "'enum' has more than %d values",
                             API_SCHEMA_MAX_ENUM);
    base_buf_str(e, "(");
    for (size_t i = 0; i < n && rc == 0; i++) {
        const json_t *v = one != NULL ? one : json_array_get(list, i);
        if ((type_of_value(v) & types) == 0)
            continue;
        base_buf_str(e, n_put++ > 0 ? " | " : "");
        rc = put_json(c, v, e);
    }
    base_buf_str(e, ")");
    if (rc == 0 && n_put == 0)
        rc = schema_refuse(c, at, BASE_EUNSUPPORTED, "no value of '%s' is of the schema's type",
                           one != NULL ? "const" : "enum");
    return rc;
}

/* ---- references ---- */

/* What a JSON pointer (RFC 6901) finds. Its parts are changed in place. */
static const json_t *pointed(const json_t *v, char *p)
{
    while (v != NULL && *p != '\0') {
        char *part = ++p, *o = part;
        for (; *p != '\0' && *p != '/'; p++) {
            if (p[0] == '~' && (p[1] == '0' || p[1] == '1'))
                *o++ = *++p == '0' ? '~' : '/';
            else
                *o++ = *p;
        }
        const bool more = *p != '\0';
        *o = '\0';
        if (json_is_array(v)) {
            char *end;
            const unsigned long i = strtoul(part, &end, 10);
            v = *part != '\0' && *end == '\0' ? json_array_get(v, i) : NULL;
        } else {
            v = json_object_get(v, part);
        }
        if (more)
            *p = '/';
        else
            break;
    }
    return v;
}

/* The schema that s, a $ref, stands for. */
static int ref_target(struct api_schema *c, const json_t *s, const struct schema_at *at,
                      const json_t **out)
{
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    char p[256];
    if (ref == NULL)
        return schema_refuse(c, at, BASE_EFORMAT, "'$ref' must be a string");
    if (ref[0] != '#' || (ref[1] != '\0' && ref[1] != '/') || strlen(ref) >= sizeof p)
        return schema_refuse(c, at, BASE_EUNSUPPORTED,
                             "'$ref' must point into the same schema, \"#/…\"");
    snprintf(p, sizeof p, "%s", ref + 1);
    *out = pointed(c->root, p);
    if (*out == NULL)
        return schema_refuse(c, at, BASE_EFORMAT, "'$ref' points to nothing");
    return 0;
}

/* A rule for the target, compiled later: references may go in circles. */
static int reference(struct api_schema *c, const json_t *s, const struct schema_at *at,
                     unsigned types, struct base_buf *e)
{
    const json_t *to;
    int rc = check_alone(c, s, at, "$ref");
    if (rc == 0)
        rc = ref_target(c, s, at, &to);
    if (rc != 0)
        return rc;
    int i = 0;
    while (i < c->n_ref && (c->ref[i].to != to || c->ref[i].types != types))
        i++;
    if (i == API_SCHEMA_MAX_REF)
        return schema_refuse(c, at, BASE_ELIMIT, "more than %d targets of '$ref'",
                             API_SCHEMA_MAX_REF);
    if (i == c->n_ref) {
        if ((c->n_ref & (c->n_ref - 1)) == 0) {
            struct schema_ref *r =
                realloc(c->ref, (size_t)(c->n_ref > 0 ? 2 * c->n_ref : 1) * sizeof *r);
            if (r == NULL)
                return base_err_set(c->err, BASE_ENOMEM, c->place, "out of memory");
            c->ref = r;
        }
        c->ref[c->n_ref++] =
            (struct schema_ref){to, json_string_value(json_object_get(s, "$ref")), types};
    }
    base_buf_printf(e, "ref%d", i);
    return 0;
}

/* ---- alternatives ---- */

static int any_of(struct api_schema *c, const json_t *s, const struct schema_at *at,
                  const char *key, unsigned types, struct base_buf *e)
{
    const json_t *list = json_object_get(s, key);
    const struct schema_at in = {at, key, 0};
    int n_put = 0;
    int rc = check_alone(c, s, at, key);
    if (rc == 0 && (!json_is_array(list) || json_array_size(list) == 0))
        rc = schema_refuse(c, at, BASE_EFORMAT, "'%s' must be a list of schemas", key);
    base_buf_str(e, "(");
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const struct schema_at here = {&in, NULL, i};
        unsigned own = 0;
        if (json_is_object(one) && json_object_get(one, "type") != NULL)
            rc = types_of(c, one, &here, &own);
        if (rc != 0 || (own != 0 && (own & types) == 0))
            continue;
        int rule = 0;
        rc = schema_value(c, one, &here, types, &rule);
        base_buf_printf(e, "%ss%d", n_put++ > 0 ? " | " : "", rule);
    }
    base_buf_str(e, ")");
    if (rc == 0 && n_put == 0)
        rc = schema_refuse(c, at, BASE_EUNSUPPORTED, "no schema of '%s' is of the type beside it",
                           key);
    return rc;
}

/* One part of allOf into the object that all of them make. */
static int merge(struct api_schema *c, const json_t *part, const struct schema_at *at, json_t *into)
{
    const char *key, *name;
    json_t *v, *p;
    json_object_foreach((json_t *)part, key, v)
    {
        if (strcmp(key, "allOf") == 0 || is_note(key))
            continue;
        if (strcmp(key, "type") == 0 && type_named(json_string_value(v)) == SCHEMA_OBJECT)
            continue;
        if (strcmp(key, "properties") == 0 && json_is_object(v)) {
            json_object_foreach(v, name, p)
            {
                json_t *have = json_object_get(json_object_get(into, key), name);
                if (have != NULL && !json_equal(have, p))
                    return schema_refuse(c, at, BASE_EUNSUPPORTED,
                                         "two schemas of 'allOf' describe the same property");
                if (json_object_set(json_object_get(into, key), name, p) != 0)
                    return base_err_set(c->err, BASE_ENOMEM, c->place, "out of memory");
            }
            continue;
        }
        if (strcmp(key, "required") == 0 && json_is_array(v)) {
            if (json_array_extend(json_object_get(into, key), v) != 0)
                return base_err_set(c->err, BASE_ENOMEM, c->place, "out of memory");
            continue;
        }
        return schema_refuse(c, at, BASE_EUNSUPPORTED,
                             "'%.40s' in a schema of 'allOf' can't be held: only properties and "
                             "required of objects are joined",
                             key);
    }
    return 0;
}

/* s is as good as to. */
static int same_as(struct api_schema *c, const json_t *to, const struct schema_at *at,
                   unsigned types, struct base_buf *e)
{
    int rule = 0;
    const int rc = schema_value(c, to, at, types, &rule);
    base_buf_printf(e, "s%d", rule);
    return rc;
}

static int all_of(struct api_schema *c, const json_t *s, const struct schema_at *at, unsigned types,
                  struct base_buf *e)
{
    const json_t *list = json_object_get(s, "allOf");
    const size_t n = json_array_size(list);
    const struct schema_at in = {at, "allOf", 0}, first = {&in, NULL, 0};
    if (!json_is_array(list) || n == 0)
        return schema_refuse(c, at, BASE_EFORMAT, "'allOf' must be a list of schemas");
    if (n == 1 && check_alone(c, s, at, "allOf") == 0)
        return same_as(c, json_array_get(list, 0), &first, types, e);
    json_t *into = json_pack("{s:s,s:{},s:[]}", "type", "object", "properties", "required");
    if (into == NULL || json_array_append_new(c->merged, into) != 0)
        return base_err_set(c->err, BASE_ENOMEM, c->place, "out of memory");
    int rc = merge(c, s, at, into);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct schema_at here = {&in, NULL, i};
        const json_t *part = json_array_get(list, i);
        if (json_is_object(part) && json_object_get(part, "$ref") != NULL) {
            rc = check_alone(c, part, &here, "$ref");
            if (rc == 0)
                rc = ref_target(c, part, &here, &part);
        }
        if (rc == 0 && (!json_is_object(part) || json_object_get(part, "allOf") != NULL ||
                        json_object_get(part, "$ref") != NULL))
            rc = schema_refuse(c, &here, BASE_EUNSUPPORTED,
                               "only schemas of objects can be joined by 'allOf'");
        if (rc == 0)
            rc = merge(c, part, &here, into);
    }
    return rc != 0 ? rc : same_as(c, into, at, types, e);
}

/* ---- one schema ---- */

static int by_types(struct api_schema *c, const json_t *s, const struct schema_at *at,
                    unsigned types, struct base_buf *e)
{
    /* A number that may be an integer is a number; else a bare integer would stand twice. */
    if ((types & SCHEMA_NUMBER) != 0)
        types &= ~(unsigned)SCHEMA_INTEGER;
    bool any = false;
    int rc = 0;
    base_buf_str(e, "(");
    for (unsigned bit = 1; bit <= SCHEMA_OBJECT && rc == 0; bit <<= 1) {
        if ((types & bit) == 0)
            continue;
        base_buf_str(e, any ? " | " : "");
        any = true;
        switch (bit) {
        case SCHEMA_NULL:
            base_buf_str(e, "\"null\"");
            break;
        case SCHEMA_BOOLEAN:
            base_buf_str(e, "\"true\" | \"false\"");
            break;
        case SCHEMA_INTEGER:
        case SCHEMA_NUMBER:
            rc = schema_number(c, s, at, bit == SCHEMA_INTEGER, e);
            break;
        case SCHEMA_STRING:
            rc = schema_string(c, s, at, e);
            break;
        case SCHEMA_ARRAY:
            rc = schema_array(c, s, at, e);
            break;
        default:
            rc = schema_object(c, s, at, e);
            break;
        }
    }
    base_buf_str(e, ")");
    return rc;
}

static int check_keywords(struct api_schema *c, const json_t *s, const struct schema_at *at,
                          unsigned types)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)s, key, v)
    {
        const unsigned speaks_of = keyword_types(key);
        if (speaks_of == 0 && strcmp(key, "type") != 0 && strcmp(key, "nullable") != 0 &&
            !is_note(key))
            return schema_refuse(c, at, BASE_EUNSUPPORTED, "keyword '%.40s' can't be held", key);
    }
    /* A number's format names a machine type. */
    const char *f = json_string_value(json_object_get(s, "format"));
    if (f != NULL && (types & (SCHEMA_INTEGER | SCHEMA_NUMBER)) != 0 &&
        (types & SCHEMA_STRING) == 0 && strcmp(f, "int32") != 0 && strcmp(f, "int64") != 0 &&
        strcmp(f, "float") != 0 && strcmp(f, "double") != 0)
        return schema_refuse(c, at, BASE_EUNSUPPORTED,
                             "this 'format' of a number is none of int32, int64, float, double");
    return 0;
}

static int one_schema(struct api_schema *c, const json_t *s, const struct schema_at *at,
                      unsigned types, struct base_buf *e)
{
    unsigned own;
    if (json_is_true(s) || (json_is_object(s) && json_object_size(s) == 0)) {
        if (types == SCHEMA_ALL) {
            c->used |= RULE_ANY;
            base_buf_str(e, "any0");
            return 0;
        }
        return by_types(c, s, at, types, e);
    }
    if (!json_is_object(s))
        return schema_refuse(c, at, json_is_false(s) ? BASE_EUNSUPPORTED : BASE_EFORMAT,
                             json_is_false(s) ? "'false' has no instance"
                                              : "a schema must be an object, true or false");
    int rc = types_of(c, s, at, &own);
    if (rc != 0)
        return rc;
    const bool speaks = json_object_get(s, "type") != NULL;
    const unsigned both = own & types;
    if (json_object_get(s, "$ref") != NULL)
        return reference(c, s, at, speaks ? both : types, e);
    if (json_object_get(s, "enum") != NULL || json_object_get(s, "const") != NULL)
        return enumeration(c, s, at, speaks ? both : types, e);
    if (json_object_get(s, "anyOf") != NULL)
        return any_of(c, s, at, "anyOf", speaks ? both : types, e);
    if (json_object_get(s, "oneOf") != NULL)
        return any_of(c, s, at, "oneOf", speaks ? both : types, e);
    if (json_object_get(s, "allOf") != NULL)
        return all_of(c, s, at, speaks ? both : types, e);
    if (both == 0)
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "no type is left for an instance");
    rc = check_keywords(c, s, at, both);
    return rc != 0 ? rc : by_types(c, s, at, both, e);
}

int schema_value(struct api_schema *c, const json_t *s, const struct schema_at *at, unsigned types,
                 int *rule)
{
    if (c->depth == API_SCHEMA_MAX_DEPTH)
        return schema_refuse(c, at, BASE_ELIMIT, "schemas are nested deeper than %d",
                             API_SCHEMA_MAX_DEPTH);
    /* A rule of its own for each keeps the grammar's groups shallow. */
    *rule = c->n_rule++;
    struct base_buf own;
    base_buf_init(&own, API_SCHEMA_MAX_TEXT);
    c->depth++;
    int rc = one_schema(c, s, at, types, &own);
    c->depth--;
    if (rc == 0 && own.err != 0)
        rc = schema_refuse(c, at, own.err, "%s",
                           own.err == BASE_ELIMIT ? "the schema makes too large a grammar"
                                                  : "out of memory");
    if (rc == 0) {
        base_buf_printf(&c->rules, "s%d = ", *rule);
        base_buf_add(&c->rules, own.data, own.len);
        base_buf_str(&c->rules, " ;\n");
    }
    base_buf_fini(&own);
    if (rc == 0 && c->rules.err != 0)
        rc = schema_refuse(c, at, c->rules.err, "%s",
                           c->rules.err == BASE_ELIMIT ? "the schema makes too large a grammar"
                                                       : "out of memory");
    return rc;
}

int api_schema_add(struct api_schema *c, const json_t *s, bool object, const char *place,
                   struct base_buf *e, struct base_err *err)
{
    const int first = c->n_ref;
    c->root = s;
    c->place = place;
    c->err = err;
    int rule = 0;
    int rc = schema_value(c, s, NULL, object ? SCHEMA_OBJECT : SCHEMA_ALL, &rule);
    base_buf_printf(e, "s%d", rule);
    for (int i = first; rc == 0 && i < c->n_ref; i++) {
        const struct schema_at at = {NULL,
                                     c->ref[i].pointer + (c->ref[i].pointer[1] == '/' ? 2 : 1), 0};
        rc = schema_value(c, c->ref[i].to, &at, c->ref[i].types, &rule);
        base_buf_printf(&c->rules, "ref%d = s%d ;\n", i, rule);
    }
    return rc;
}
