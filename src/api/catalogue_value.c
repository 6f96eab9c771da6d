/* A parameter's schema -> the values that it may have, each as a word and as JSON. */
#include "api/catalogue_int.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DECIMALS = 6, MILLION = 1000000, NUMBER_MAX = 1000000000 };

int cat_refuse(const struct cat_at *at, int code, const char *fmt, ...)
{
    char place[160], msg[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    snprintf(place, sizeof place, "%.80s#%.78s", at->name, at->pointer);
    return base_err_set(at->err, code, place, "%s", msg);
}

bool cat_word_ok(const char *s, bool blanks)
{
    bool ok = s[0] != '\0' && s[0] != ' ' && s[strlen(s) - 1] != ' ';
    for (const char *p = s; ok && *p != '\0'; p++)
        ok = (uint8_t)*p > ' ' || (*p == ' ' && blanks);
    return ok;
}

int cat_value_find(const struct api_catalogue *c, const struct cat_arg *a, const char *word,
                   size_t len)
{
    for (int i = a->first; i < a->first + a->n; i++) {
        if (strlen(c->value[i].word) == len && memcmp(c->value[i].word, word, len) == 0)
            return i;
    }
    return -1;
}

static int value_add(struct api_catalogue *c, struct cat_arg *a, const char *word, const char *json,
                     const struct cat_at *at)
{
    if (!cat_word_ok(word, a->free))
        return cat_refuse(at, BASE_EUNSUPPORTED,
                          "'%.60s' is not one word: a line is words with a blank between", word);
    if (a->place && strcmp(word, API_CAT_ME) == 0)
        return cat_refuse(at, BASE_EFORMAT, "'" API_CAT_ME "' is the speaker's place, not a value");
    if (cat_value_find(c, a, word, strlen(word)) >= 0)
        return 0; /* anyOf may name it twice */
    if (a->n == API_CAT_MAX_VALUE)
        return cat_refuse(at, BASE_ELIMIT, "more than %d values", API_CAT_MAX_VALUE);
    if (c->n_value == c->cap_value) {
        const int cap = c->cap_value == 0 ? 256 : c->cap_value * 2;
        struct cat_value *v = realloc(c->value, (size_t)cap * sizeof *v);
        if (v == NULL)
            return cat_refuse(at, BASE_ENOMEM, "out of memory");
        c->value = v;
        c->cap_value = cap;
    }
    struct cat_value *v = &c->value[c->n_value];
    v->word = base_arena_strndup(&c->arena, word, strlen(word));
    v->json = base_arena_strndup(&c->arena, json, strlen(json));
    if (v->word == NULL || v->json == NULL)
        return cat_refuse(at, BASE_ENOMEM, "out of memory");
    c->n_value++;
    a->n++;
    return 0;
}

/* ---- numbers ---- */

/* A number in millionths. false: not that round, or too large. */
static bool millionths(const json_t *v, int64_t *out)
{
    const double x = json_number_value(v) * MILLION;
    if (!json_is_number(v) || !(fabs(x) <= (double)NUMBER_MAX * MILLION) ||
        fabs(x - nearbyint(x)) > 1e-3)
        return false;
    *out = (int64_t)nearbyint(x);
    return true;
}

/* 20.5, -2: as short as it can be said. */
static void number_text(int64_t v, char out[40])
{
    const uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
    int n =
        snprintf(out, 40, "%s%" PRIu64 ".%06" PRIu64, v < 0 ? "-" : "", u / MILLION, u % MILLION);
    while (out[n - 1] == '0')
        out[--n] = '\0';
    if (out[n - 1] == '.')
        out[--n] = '\0';
}

/* A bound or step; *have: it is there. */
static int number_get(const json_t *s, const char *key, const struct cat_at *at, bool *have,
                      int64_t *out)
{
    const json_t *v = json_object_get(s, key);
    *have = v != NULL;
    if (v != NULL && !millionths(v, out))
        return cat_refuse(at, BASE_EUNSUPPORTED,
                          "%s must be a number within 1e9 of at most %d decimals", key, DECIMALS);
    return 0;
}

static int numbers_add(struct api_catalogue *c, struct cat_arg *a, const json_t *s, bool integer,
                       const struct cat_at *at)
{
    int64_t lo = 0, hi = 0, above = 0, below = 0, step = integer ? MILLION : 0;
    bool have_lo, have_hi, have_above, have_below, have_step;
    int rc = number_get(s, "minimum", at, &have_lo, &lo);
    if (rc == 0)
        rc = number_get(s, "maximum", at, &have_hi, &hi);
    if (rc == 0)
        rc = number_get(s, "exclusiveMinimum", at, &have_above, &above);
    if (rc == 0)
        rc = number_get(s, "exclusiveMaximum", at, &have_below, &below);
    if (rc == 0)
        rc = number_get(s, "multipleOf", at, &have_step, &step);
    if (rc != 0)
        return rc;
    if (!(have_lo || have_above) || !(have_hi || have_below) || step <= 0)
        return cat_refuse(at, BASE_EUNSUPPORTED,
                          integer ? "an integer needs minimum and maximum"
                                  : "a number needs minimum, maximum and multipleOf");
    if (integer && step % MILLION != 0)
        return cat_refuse(at, BASE_EUNSUPPORTED, "multipleOf of an integer must be one");
    if (have_above && (!have_lo || above >= lo))
        lo = above + 1;
    if (have_below && (!have_hi || below <= hi))
        hi = below - 1;
    /* The first multiple that is not below lo. */
    int64_t v = lo >= 0 ? (lo + step - 1) / step * step : -(-lo / step * step);
    if (v <= hi && (hi - v) / step >= API_CAT_MAX_VALUE)
        return cat_refuse(at, BASE_ELIMIT, "more than %d values", API_CAT_MAX_VALUE);
    for (; v <= hi && rc == 0; v += step) {
        char text[40];
        number_text(v, text);
        rc = value_add(c, a, text, text, at);
    }
    return rc;
}

/* ---- values ---- */

/* A value of enum, const or x-also. */
static int one_add(struct api_catalogue *c, struct cat_arg *a, const json_t *v,
                   const struct cat_at *at)
{
    int64_t number;
    char text[40];
    if (json_is_boolean(v)) {
        const char *s = json_is_true(v) ? "true" : "false";
        return value_add(c, a, s, s, at);
    }
    if (json_is_number(v)) {
        if (!millionths(v, &number))
            return cat_refuse(at, BASE_EUNSUPPORTED,
                              "a number must be within 1e9 and of at most %d decimals", DECIMALS);
        number_text(number, text);
        return value_add(c, a, text, text, at);
    }
    if (!json_is_string(v))
        return cat_refuse(at, BASE_EUNSUPPORTED, "a value must be a string, a number or a boolean");
    if (strlen(json_string_value(v)) != json_string_length(v))
        return cat_refuse(at, BASE_EUNSUPPORTED, "a value holds a zero byte");
    char *json = json_dumps(v, JSON_ENCODE_ANY);
    int rc = json == NULL ? cat_refuse(at, BASE_ENOMEM, "out of memory")
                          : value_add(c, a, json_string_value(v), json, at);
    free(json);
    return rc;
}

static int list_add(struct api_catalogue *c, struct cat_arg *a, const json_t *list, const char *key,
                    const struct cat_at *at)
{
    int rc = json_array_size(list) > 0
                 ? 0
                 : cat_refuse(at, BASE_EFORMAT, "%s must be a list of at least one value", key);
    for (size_t i = 0; i < json_array_size(list) && rc == 0; i++)
        rc = one_add(c, a, json_array_get(list, i), at);
    return rc;
}

/* Keywords that say nothing about a value, and ours. */
bool cat_is_note(const char *key)
{
    static const char *const note[] = {"title",      "description", "default", "examples",
                                       "deprecated", "$comment",    "x-place", "x-also"};
    for (size_t i = 0; i < sizeof note / sizeof note[0]; i++) {
        if (strcmp(key, note[i]) == 0)
            return true;
    }
    return strncmp(key, "x-", 2) == 0;
}

/* Refuses a keyword that is not among `known` ("|a|b|"): what would constrain is never passed over.
 */
static int keys_check(const json_t *s, const char *known, const struct cat_at *at)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)s, key, v)
    {
        char want[64];
        snprintf(want, sizeof want, "|%.60s|", key);
        if (!cat_is_note(key) && strstr(known, want) == NULL)
            return cat_refuse(at, BASE_EUNSUPPORTED, "'%.40s' can't be held in a line", key);
    }
    return 0;
}

static int values_add(struct api_catalogue *c, struct cat_arg *a, const json_t *s, int depth,
                      const struct cat_at *at)
{
    const json_t *any = json_object_get(s, "anyOf"), *list = json_object_get(s, "enum"),
                 *only = json_object_get(s, "const");
    const char *type = json_string_value(json_object_get(s, "type"));
    any = any != NULL ? any : json_object_get(s, "oneOf");
    if (!json_is_object(s) || depth > 4)
        return cat_refuse(at, BASE_EFORMAT, "a schema must be an object, and not nest deeper");
    int rc;
    if (any != NULL) {
        rc = keys_check(s, "|anyOf|oneOf|", at);
        if (rc == 0 && json_array_size(any) == 0)
            rc = cat_refuse(at, BASE_EFORMAT, "anyOf must be a list of schemas");
        for (size_t i = 0; i < json_array_size(any) && rc == 0; i++)
            rc = values_add(c, a, json_array_get(any, i), depth + 1, at);
    } else if (list != NULL || only != NULL) {
        rc = keys_check(s, list != NULL ? "|type|enum|" : "|type|const|", at);
        if (rc == 0)
            rc = list != NULL ? list_add(c, a, list, "enum", at) : one_add(c, a, only, at);
    } else if (type != NULL && strcmp(type, "boolean") == 0) {
        rc = keys_check(s, "|type|", at);
        if (rc == 0)
            rc = value_add(c, a, "true", "true", at);
        if (rc == 0)
            rc = value_add(c, a, "false", "false", at);
    } else if (type != NULL && (strcmp(type, "integer") == 0 || strcmp(type, "number") == 0)) {
        rc = keys_check(s, "|type|minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf|",
                        at);
        if (rc == 0)
            rc = numbers_add(c, a, s, type[0] == 'i', at);
    } else {
        rc = cat_refuse(
            at, BASE_EUNSUPPORTED,
            "a parameter must have an enum, be boolean, integer or number with bounds, or "
            "be a string without them");
    }
    return rc;
}

int cat_arg_read(struct api_catalogue *c, struct cat_arg *a, const json_t *s,
                 const struct cat_at *at)
{
    const char *type = json_string_value(json_object_get(s, "type"));
    const json_t *place = json_object_get(s, "x-place"), *also = json_object_get(s, "x-also"),
                 *least = json_object_get(s, "minLength");
    a->free = type != NULL && strcmp(type, "string") == 0 && json_object_get(s, "enum") == NULL &&
              json_object_get(s, "const") == NULL;
    a->place = json_is_true(place);
    a->first = c->n_value;
    if (place != NULL && (!json_is_boolean(place) || (a->free && a->place)))
        return cat_refuse(at, BASE_EFORMAT,
                          "x-place must be true or false, and of a list of values");
    if (also != NULL && !a->free)
        return cat_refuse(at, BASE_EFORMAT, "x-also belongs to free text");
    if (!a->free) {
        int rc = values_add(c, a, s, 0, at);
        return rc == 0 && a->n == 0
                   ? cat_refuse(at, BASE_EFORMAT, "no value lies between the bounds")
                   : rc;
    }
    int rc = keys_check(s, "|type|minLength|", at);
    if (rc == 0 && least != NULL && json_integer_value(least) > 1)
        rc = cat_refuse(at, BASE_EUNSUPPORTED, "minLength of free text can be 1 at most");
    if (rc == 0 && also != NULL)
        rc = list_add(c, a, also, "x-also", at);
    return rc;
}
