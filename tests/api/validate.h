/* A small validator of JSON Schema for tests: written from the specification and not from the
 * compiler, and as slow as it likes to be. Only what the tests' schemas use. */
#ifndef TESTS_API_VALIDATE_H
#define TESTS_API_VALIDATE_H

#include <math.h>
#include <regex.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static inline size_t v_length(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static inline bool v_is(const json_t *v, const char *type)
{
    if (strcmp(type, "integer") == 0)
        return json_is_integer(v) ||
               (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)));
    return (strcmp(type, "null") == 0 && json_is_null(v)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(v)) ||
           (strcmp(type, "number") == 0 && json_is_number(v)) ||
           (strcmp(type, "string") == 0 && json_is_string(v)) ||
           (strcmp(type, "array") == 0 && json_is_array(v)) ||
           (strcmp(type, "object") == 0 && json_is_object(v));
}

static inline bool v_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static inline bool validate(const json_t *root, const json_t *s, const json_t *v)
{
    const char *key;
    json_t *k, *one;
    size_t i;
    if (json_is_boolean(s))
        return json_is_true(s);
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    if (ref != NULL && strcmp(ref, "#") == 0)
        return validate(root, root, v);
    if (ref != NULL) {
        const json_t *to = json_object_get(json_object_get(root, "$defs"), strrchr(ref, '/') + 1);
        return to != NULL && validate(root, to, v);
    }
    json_object_foreach((json_t *)s, key, k)
    {
        const double d = json_number_value(k);
        bool ok = true;
        if (strcmp(key, "type") == 0 && json_is_string(k)) {
            ok = v_is(v, json_string_value(k)) ||
                 (json_is_true(json_object_get(s, "nullable")) && json_is_null(v));
        } else if (strcmp(key, "type") == 0) {
            ok = false;
            json_array_foreach(k, i, one) ok = ok || v_is(v, json_string_value(one));
        } else if (strcmp(key, "enum") == 0) {
            ok = false;
            json_array_foreach(k, i, one) ok = ok || v_equal(one, v);
        } else if (strcmp(key, "const") == 0) {
            ok = v_equal(k, v);
        } else if (strcmp(key, "anyOf") == 0 || strcmp(key, "oneOf") == 0) {
            ok = false;
            json_array_foreach(k, i, one) ok = ok || validate(root, one, v);
        } else if (strcmp(key, "allOf") == 0) {
            json_array_foreach(k, i, one) ok = ok && validate(root, one, v);
        } else if (json_is_number(v)) {
            const double x = json_number_value(v);
            if (strcmp(key, "minimum") == 0)
                ok = x >= d;
            else if (strcmp(key, "maximum") == 0)
                ok = x <= d;
            else if (strcmp(key, "exclusiveMinimum") == 0)
                ok = x > d;
            else if (strcmp(key, "exclusiveMaximum") == 0)
                ok = x < d;
            else if (strcmp(key, "multipleOf") == 0)
                ok = fabs(x / d - round(x / d)) < 1e-9;
        } else if (json_is_string(v)) {
            const char *x = json_string_value(v);
            if (strcmp(key, "minLength") == 0) {
                ok = (double)v_length(x) >= d;
            } else if (strcmp(key, "maxLength") == 0) {
                ok = (double)v_length(x) <= d;
            } else if (strcmp(key, "pattern") == 0) {
                regex_t re;
                ok = regcomp(&re, json_string_value(k), REG_EXTENDED | REG_NOSUB) == 0 &&
                     regexec(&re, x, 0, NULL, 0) == 0;
                regfree(&re);
            }
        } else if (json_is_array(v)) {
            const size_t n = json_array_size(v),
                         n_prefix = json_array_size(json_object_get(s, "prefixItems"));
            if (strcmp(key, "minItems") == 0)
                ok = (double)n >= d;
            else if (strcmp(key, "maxItems") == 0)
                ok = (double)n <= d;
            for (i = 0; ok && i < n; i++) {
                if (strcmp(key, "prefixItems") == 0 && i < n_prefix)
                    ok = validate(root, json_array_get(k, i), json_array_get(v, i));
                else if (strcmp(key, "items") == 0 && i >= n_prefix)
                    ok = validate(root, k, json_array_get(v, i));
            }
        } else if (json_is_object(v)) {
            const json_t *props = json_object_get(s, "properties");
            const char *name;
            json_t *w;
            if (strcmp(key, "minProperties") == 0)
                ok = (double)json_object_size(v) >= d;
            else if (strcmp(key, "maxProperties") == 0)
                ok = (double)json_object_size(v) <= d;
            else if (strcmp(key, "required") == 0)
                json_array_foreach(k, i, one) ok =
                    ok && json_object_get(v, json_string_value(one)) != NULL;
            json_object_foreach((json_t *)v, name, w)
            {
                const json_t *p = json_object_get(props, name);
                if (strcmp(key, "properties") == 0 && p != NULL)
                    ok = ok && validate(root, p, w);
                else if (strcmp(key, "additionalProperties") == 0 && p == NULL)
                    ok = ok && validate(root, k, w);
            }
        }
        if (!ok)
            return false;
    }
    return true;
}

#endif
