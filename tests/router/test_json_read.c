/* The light reader of logs against jansson: the same texts taken, the same refused, the same
 * values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "ctl/json_read.h"

/* A copy that ends where it ends, so that a sanitizer sees every byte too far. */
static char *copy(const char *text, size_t len)
{
    char *s = malloc(len + 1);
    assert_non_null(s);
    memcpy(s, text, len);
    s[len] = '\0';
    return s;
}

static json_t *tree(struct json_read *j)
{
    enum json_kind kind = json_peek(j);
    struct json_number n;
    const char *s;
    size_t len;
    json_t *out = NULL;

    switch (kind) {
    case JSON_KIND_OBJECT:
        out = json_object();
        (void)json_open(j, kind);
        while (json_key(j, &s))
            json_object_set_new(out, s, tree(j));
        return out;
    case JSON_KIND_ARRAY:
        out = json_array();
        (void)json_open(j, kind);
        while (json_item(j))
            json_array_append_new(out, tree(j));
        return out;
    case JSON_KIND_STRING:
        return json_text(j, &s, &len) ? json_stringn(s, len) : NULL;
    case JSON_KIND_NUMBER:
        return !json_num(j, &n) ? NULL : n.whole ? json_integer(n.i) : json_real(n.r);
    default:
        out = kind == JSON_KIND_TRUE    ? json_true()
              : kind == JSON_KIND_FALSE ? json_false()
                                        : json_null();
        return json_skip(j) ? out : NULL;
    }
}

/* True if both take it; then it means the same to both. */
static bool compare(const char *text, size_t len)
{
    struct json_read j, skipped;
    json_error_t error;
    json_t *want = json_loadb(text, len, JSON_DECODE_ANY, &error);
    char *a = copy(text, len), *b = copy(text, len);

    json_read_init(&skipped, a, len);
    bool skip_ok = json_skip(&skipped) && json_end(&skipped);
    json_read_init(&j, b, len);
    json_t *got = tree(&j);
    bool ok = json_end(&j) && j.why == NULL;
    if (ok != (want != NULL) || skip_ok != ok)
        fail_msg("%.*s\n# we: %s, skipping: %s; jansson: %s", (int)len, text, j.why, skipped.why,
                 want != NULL ? "fine" : error.text);
    if (want != NULL && !json_equal(want, got))
        fail_msg("%.*s means another thing", (int)len, text);
    json_decref(want);
    json_decref(got);
    free(a);
    free(b);
    return ok;
}

static void known_texts(void **state)
{
    (void)state;
    static const char *const good[] = {"{}",
                                       "[]",
                                       "0",
                                       "-0",
                                       "1.5e3",
                                       "0.1",
                                       "-12.25E-2",
                                       "123456789012345678",
                                       "\"\"",
                                       "{\"a\":[1,2,{\"b\":null}],\"c\":\"d\"}",
                                       " { \"a\" : true , \"b\" : [ ] } \n",
                                       "\"\\u00e4\\n\\\"\\\\\\/\"",
                                       "\"\\ud83d\\ude00\"",
                                       "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
                                       "0.30000000000000004",
                                       "1e-310",
                                       "12345678901234567890.5",
                                       "4.35",
                                       "[0.1,0.7,1e22,1e23]"};
    static const char *const broken[] = {"",
                                         "{",
                                         "[",
                                         "{\"a\"}",
                                         "{\"a\":}",
                                         "{\"a\":1,}",
                                         "[1,]",
                                         "[1 2]",
                                         "01",
                                         "1.",
                                         ".5",
                                         "+1",
                                         "-",
                                         "1e",
                                         "\"",
                                         "\"\\x\"",
                                         "\"\\u12\"",
                                         "\"\\ud800\"",
                                         "\"\\udc00\"",
                                         "\"\\ud800\\u0041\"",
                                         "\"\\u0000\"",
                                         "\"\t\"",
                                         "\"\xff\"",
                                         "\"\xc0\x80\"",
                                         "\"\xed\xa0\x80\"",
                                         "\"\xf4\x90\x80\x80\"",
                                         "\"\xe2\x82\"",
                                         "tru",
                                         "nul",
                                         "{1:2}",
                                         "{}{}",
                                         "1 2",
                                         "1e999",
                                         "\"a\\",
                                         "{\"a\":1 \"b\":2}"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(compare(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
        assert_false(compare(broken[i], strlen(broken[i])));
    assert_false(compare("[\"a\0b\"]", 7));
}

static uint64_t seed = 0x9E3779B97F4A7C15u;

static unsigned rnd(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

static void changed_texts(void **state)
{
    (void)state;
    static const char text[] =
        "{\"time\":\"2026-11-26T01:02:03.004Z\",\"facts\":{\"data.class\":[\"public.general\"],"
        "\"confidence\":0.7125,\"request.prompt_tokens\":40,\"ok\":true,\"caller\":"
        "\"\\u00e4\xc3\xa4\","
        "\"links\":{\"cloud\":{\"state\":\"up\",\"rtt_ms\":-35.5e1}}},\"n\":null,\"x\":[[],{}]}";
    static const char bytes[] = "{}[]\",:\\0123456789-+.eEutrfalsn \n\x80\xc3\xa4\xff";
    int taken = 0, refused = 0;

    for (int round = 0; round < 60000; round++) {
        char s[sizeof text + 8];
        size_t len = sizeof text - 1;
        memcpy(s, text, len);
        for (unsigned k = 1 + rnd(2); k > 0; k--) {
            size_t at = rnd((unsigned)len);
            if (rnd(3) == 0)
                memmove(s + at, s + at + 1, --len - at);
            else
                s[at] = bytes[rnd(sizeof bytes - 1)];
        }
        *(compare(s, len) ? &taken : &refused) += 1;
    }
    print_message("# %d taken by both, %d refused by both\n", taken, refused);
    assert_true(taken > 1000 && refused > 1000);
}

static void deep_and_long(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct json_read j;
    char *s = malloc(N + 1);
    assert_non_null(s);
    memset(s, '[', N);
    s[N] = '\0';
    json_read_init(&j, s, N);
    assert_false(json_skip(&j));
    assert_string_equal(j.why, "too many levels");
    memset(s, '9', N);
    json_read_init(&j, s, N);
    assert_false(json_skip(&j));
    free(s);
}

static void finds_a_member(void **state)
{
    (void)state;
    struct json_read j;
    char a[] = "{\"x\":{\"facts\":{}},\"facts\":{}}", b[] = "{\"x\":{\"facts\":{}},\"facts\":1}",
         c[] = "[";
    json_read_init(&j, a, strlen(a));
    assert_true(json_has_object(&j, "facts"));
    assert_string_equal(a, "{\"x\":{\"facts\":{}},\"facts\":{}}");
    json_read_init(&j, b, strlen(b));
    assert_false(json_has_object(&j, "facts"));
    json_read_init(&j, c, strlen(c));
    assert_false(json_has_object(&j, "facts"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts),
        cmocka_unit_test(changed_texts),
        cmocka_unit_test(deep_and_long),
        cmocka_unit_test(finds_a_member),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
