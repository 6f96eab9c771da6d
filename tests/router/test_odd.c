/* Odd, wrong and too much: each value of a policy replaced by values of every other kind, each key
 * by another; as many of each kind as there may be, and one more; texts of every character. What is
 * asked for: no crash, the same answer twice, and an error that has a place and a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/diff.h"
#include "router/given.h"
#include "router/router.h"
#include "rich_policy.h"
#include "tried.h"

static const char *const other[] = {"x",
                                    "5",
                                    "-1",
                                    "0",
                                    "1e999",
                                    "-1e999",
                                    "0x10",
                                    "true",
                                    "~",
                                    "[]",
                                    "[x]",
                                    "[x, x]",
                                    "[5, 4]",
                                    "[4, 5]",
                                    "{}",
                                    "{ a: 1 }",
                                    "\"\"",
                                    "\"a b\"",
                                    "\"\\0\"",
                                    "*",
                                    "\"*\"",
                                    "a.b.*",
                                    "A",
                                    "9999999999999999999",
                                    "0.5",
                                    "1.5",
                                    "local",
                                    "prompt",
                                    "hidden",
                                    "cloud",
                                    "home",
                                    "none",
                                    "any",
                                    "[1.5, 2]",
                                    "[[x]]",
                                    "[{ a: 1 }]",
                                    "&a x",
                                    "!!str 5",
                                    "{ in: [] }",
                                    "{ lt: 1, gt: 2 }",
                                    "{ between: [1] }",
                                    "{ between: [2, 1] }",
                                    "{ not: [a] }",
                                    "{ eq: 3 }",
                                    "{ any: [\"*\"] }",
                                    "{ only: [] }",
                                    "[seat, x]",
                                    "[x, day]",
                                    "1e-400",
                                    "9007199254740993",
                                    "-9007199254740993",
                                    "12345678901234567890123456789012345678901234"
                                    "56789012345678901234567890123456789012345678901234567890"};
enum { N_OTHER = sizeof other / sizeof other[0] };

/* Where a value ends that begins at s[i]: at a comma, a closing bracket or a line's end of its
 * level. */
static size_t value_end(const char *s, size_t i)
{
    int depth = 0;
    for (bool quoted = false; s[i] != '\0'; i++) {
        if (s[i] == '"' && s[i - 1] != '\\')
            quoted = !quoted;
        if (quoted)
            continue;
        depth += s[i] == '{' || s[i] == '[';
        if (depth == 0 && (strchr(",]}\n", s[i]) != NULL))
            return i;
        depth -= s[i] == '}' || s[i] == ']';
    }
    return i;
}

static int change(void *ctx, const struct rt_diff_change *c)
{
    struct rt_decision d;
    rt_decide(ctx, c->witness, &d);
    assert_true(rt_decision_same(&d, &c->a));
    return c->where == NULL;
}

/* All that can be asked of two policies. */
static void use(const struct rt_policy *a, const struct rt_policy *b)
{
    static struct rt_given g;
    struct rt_diff_sum sum;
    struct base_err err = {0};
    struct base_buf out;
    const int rc = rt_diff(a, b, 100000, change, (void *)(uintptr_t)a, &sum, &err);
    if (rc != 0 && rc != BASE_ELIMIT && rc != BASE_EUNSUPPORTED)
        fail_msg("%d %s", rc, err.msg);
    base_buf_init(&out, 1 << 20);
    rt_given_init(&g, b, 1 << 16);
    assert_int_equal(rt_explain(b, &g.f, RT_FORM_JSON, &out), 0);
    assert_int_equal(rt_policy_reach(b, false, &out), 0);
    rt_given_fini(&g);
    base_buf_fini(&out);
}

static int n_right, n_wrong;

static void one_text(const char *text, const struct rt_policy *whole)
{
    struct rt_policy *p = tried(text, strlen(text));
    n_right += p != NULL;
    n_wrong += p == NULL;
    if (p != NULL) {
        use(whole, p);
        use(p, whole);
    }
    rt_policy_free(p);
}

static void each_value_is_replaced(const char *text)
{
    static char changed[1 << 14];
    struct rt_policy *whole = tried(text, strlen(text));
    if (whole == NULL)
        fail_msg("%d:%d %s", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    for (size_t i = 1; text[i] != '\0'; i++) {
        const bool value = text[i - 1] == ' ' && (text[i - 2] == ':' || text[i - 2] == ',');
        const bool item = text[i - 1] == '[';
        if ((!value && !item) || strchr(" \n{[", text[i]) != NULL)
            if (!value || strchr(" \n", text[i]) != NULL)
                continue;
        const size_t end = value_end(text, i);
        for (int k = 0; k < N_OTHER; k++) {
            snprintf(changed, sizeof changed, "%.*s%s%s", (int)i, text, other[k], text + end);
            one_text(changed, whole);
        }
        /* without the value and what is before it, as far as the last comma or bracket */
        snprintf(changed, sizeof changed, "%.*s%s", (int)i, text, text + end);
        one_text(changed, whole);
    }
    for (size_t i = 1; text[i] != '\0'; i++) { /* keys */
        if (text[i] != ':' || (text[i + 1] != ' ' && text[i + 1] != '\n'))
            continue;
        size_t at = i;
        while (at > 0 && strchr(" \n{[,", text[at - 1]) == NULL)
            at--;
        snprintf(changed, sizeof changed, "%.*sx%s", (int)at, text, text + at);
        one_text(changed, whole);
        snprintf(changed, sizeof changed, "%.*s", (int)i, text); /* and the end of the file here */
        one_text(changed, whole);
    }
    rt_policy_free(whole);
}

static void values_of_every_kind(void **state)
{
    (void)state;
    n_right = n_wrong = 0;
    each_value_is_replaced(rich);
    each_value_is_replaced(asking);
    print_message("# %d texts were policies, %d were not\n", n_right, n_wrong);
    assert_true(n_right > 300 && n_wrong > 3000);
}

/* ---- as many as there may be, and one more ---- */

struct kind {
    const char *before, *each, *after; /* each: # is its number */
    int most;
};

static void as_many_as_there_may_be(void **state)
{
    static const char rules[] = "}\nrules: []\n";
    static const struct kind kinds[] = {
        {"callers: {", "c#: { match: { uid: # } }, ", rules, 64},
        {"budgets: {", "b#: { unit: bytes, limit: #, per: day }, ", rules, 32},
        {"consents: {", "k#: { lapses: trip, ask: a# }, ", rules, 32},
        {"signals: {", "Vehicle.S#: { type: number, max_age_ms: 1# }, ", rules, 64},
        {"targets: {", "t#: { modes: [prompt], where: w# }, ", rules, 64},
    };
    static char text[1 << 16];
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (int n = kinds[k].most; n <= kinds[k].most + 1; n++) {
            size_t at = (size_t)snprintf(text, sizeof text, "waypost_policy: 1\nversion: v\n%s",
                                         kinds[k].before);
            for (int i = 0; i < n; i++)
                for (const char *c = kinds[k].each; *c != '\0'; c++)
                    at += (size_t)(*c == '#' ? snprintf(text + at, sizeof text - at, "%d", i)
                                             : snprintf(text + at, sizeof text - at, "%c", *c));
            snprintf(text + at, sizeof text - at, "%s", kinds[k].after);
            struct rt_policy *p = tried(text, strlen(text));
            assert_true((p != NULL) == (n == kinds[k].most));
            rt_policy_free(p);
        }
    }
    /* Facts of the policy's own, of all kinds together. */
    size_t at = (size_t)snprintf(text, sizeof text, "waypost_policy: 1\nversion: v\nsignals: {");
    for (int i = 0; i < 64; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "Vehicle.S%d: { type: number }, ", i);
    at += (size_t)snprintf(text + at, sizeof text - at, "}\nbudgets: {");
    for (int i = 0; i < 32; i++)
        at += (size_t)snprintf(text + at, sizeof text - at,
                               "b%d: { unit: bytes, limit: 1, per: day }, ", i);
    at += (size_t)snprintf(text + at, sizeof text - at, "}\nconsents: {");
    for (int i = 0; i < 32; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "k%d: { lapses: trip }, ", i);
    snprintf(text + at, sizeof text - at,
             "}\nshare: { edge: 0.5, moves: [{ rule: a, fact: confidence, min: 0, max: 1 }] }\n"
             "rules: [{ name: a, route: local, when: { confidence: { gt: 0.5 } } }]\n");
    assert_null(tried(text, strlen(text)));
    assert_non_null(strstr(diags.at[0].msg, "more than 128"));
}

/* ---- lengths and words at their limits, and one more ---- */

static void at_the_limits(void **state)
{
    static char text[1 << 15], name[1 << 12];
    (void)state;
    static const struct {
        const char *before, *after;
        int most; /* bytes of the name */
    } lengths[] = {
        {"waypost_policy: 1\nversion: ", "\nrules: []\n", 64},
        {"waypost_policy: 1\nversion: v\nclasses: { ", ": none }\nrules: []\n", 64},
        {"waypost_policy: 1\nversion: v\nrules: [{ name: ", ", route: local }]\n", 64},
        {"waypost_policy: 1\nversion: v\nrules: [{ name: a, route: local, because: ", " }]\n", 512},
        {"waypost_policy: 1\nversion: v\nrules: [{ name: a, route: local, when: { caller: ",
         " } }]\n", 512},
        {"waypost_policy: 1\nversion: v\nconsents: { c: { lapses: trip, ask: ", " } }\nrules: []\n",
         512},
    };
    for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
        for (int n = lengths[k].most; n <= lengths[k].most + 1; n++) {
            memset(name, 'a', (size_t)n);
            name[n] = '\0';
            snprintf(text, sizeof text, "%s%s%s", lengths[k].before, name, lengths[k].after);
            struct rt_policy *p = tried(text, strlen(text));
            if ((p != NULL) != (n == lengths[k].most))
                fail_msg("%zu: %d bytes: %s", k, n, diags.n > 0 ? diags.at[0].msg : "taken");
            rt_policy_free(p);
        }
    }
    static const struct {
        const char *before, *after;
    } lists[] = {
        {"rules: [{ name: a, route: local, when: { caller: { in: [", "] } } }]\n"},
        {"rules: [{ name: a, route: local, when: { data.class: { any: [", "] } } }]\n"},
        {"callers: { c: { match: { uid: 1 }, labels: [", "] } }\nrules: []\n"},
    };
    for (size_t k = 0; k < sizeof lists / sizeof lists[0]; k++) {
        for (int n = 256; n <= 257; n++) {
            size_t at = (size_t)snprintf(text, sizeof text, "waypost_policy: 1\nversion: v\n%s",
                                         lists[k].before);
            for (int i = 0; i < n; i++)
                at += (size_t)snprintf(text + at, sizeof text - at, "x.a%d, ", i);
            snprintf(text + at, sizeof text - at, "%s", lists[k].after);
            struct rt_policy *p = tried(text, strlen(text));
            assert_true((p != NULL) == (n == 256));
            rt_policy_free(p);
        }
    }
    /* Classes have at most eight parts; numbers, texts and characters that are none. */
    static const struct {
        const char *when;
        bool right;
    } odd[] = {
        {"data.class: { any: [a.b.c.d.e.f.g.h] }", true},
        {"data.class: { any: [a.b.c.d.e.f.g.h.i] }", false},
        {"data.class: { any: [a..b] }", false},
        {"data.class: { any: [.a] }", false},
        {"data.class: { any: [a.] }", false},
        {"data.class: { any: [\"\"] }", false},
        {"confidence: { lt: 5e-1 }", true},
        {"confidence: { lt: 5E-1 }", true},
        {"confidence: { lt: 5e }", false},
        {"confidence: { lt: +0.5 }", false},
        {"confidence: { lt: .5 }", false},
        {"confidence: { lt: 5. }", false},
        {"confidence: { lt: [] }", false},
        {"confidence: { lt: {} }", false},
        {"caller: \"a\\tb\"", false},
        {"caller: \"a\\x7Fb\"", false},
        {"caller: \"a\\u0085b\"", false},
        {"caller: \"a\\u2028b\"", false},
        {"caller: \"a\\u2029b\"", false},
        {"caller: \"a\\u200Eb\"", false},
        {"caller: \"a\\u200Fb\"", false},
        {"caller: \"a\\u202Eb\"", false},
        {"caller: \"a\\u2066b\"", false},
        {"caller: \"a\\u2070b\"", true},
        {"caller: \"a\\U0001FFFEb\"", false},
        {"caller: \"a\\U0001F600b\"", true},
        {"caller: \"\\u4E2D\\u6587\"", true},
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        snprintf(
            text, sizeof text,
            "waypost_policy: 1\nversion: v\nrules: [{ name: a, route: local, when: { %s } }]\n",
            odd[i].when);
        struct rt_policy *p = tried(text, strlen(text));
        if ((p != NULL) != odd[i].right)
            fail_msg("%s: %s", odd[i].when, diags.n > 0 ? diags.at[0].msg : "taken");
        rt_policy_free(p);
    }
    /* Raw bytes of a text: ends of lines of every kind, and what is no text at all. */
    static const char *const raw[] = {
        "waypost_policy: 1\r\nversion: v\r\nrules: []\r\n",
        "waypost_policy: 1\rversion: v\rrules: []\r",
        "waypost_policy: 1\nversion: v\nrules: []\r",
        "\xEF\xBB\xBFwaypost_policy: 1\nversion: v\nrules: []\n",
        "%YAML 1.1\n---\nwaypost_policy: 1\nversion: v\nrules: []\n",
        "%TAG ! tag:x,2000:\n---\nwaypost_policy: 1\nversion: v\nrules: []\n",
        "--- a\n--- b\n",
        "&a a",
        "*a",
        "? a\n: b\n",
        "[",
        "{",
        "\"",
        "'",
        "|",
        ">",
        "%",
        "@",
        "`",
        "\t",
        "a: b: c",
        "- a\n b",
        "a\n- b",
        "\xC3",
        "\xED\xA0\x80",
        "\xF4\x90\x80\x80",
        "\x01",
        "\xC2\x85"};
    for (size_t i = 0; i < sizeof raw / sizeof raw[0]; i++)
        rt_policy_free(tried(raw[i], strlen(raw[i])));
    rt_policy_free(tried("a\0b", 3));
}

/* ---- two policies that differ in one thing ---- */

static void differences_of_every_kind(void **state)
{
#define OWN(type) "signals: { Vehicle.X: { type: " type " } }\n"
#define WHEN(when, route) "rules: [{ name: a, when: { " when " }, route: " route " }]\n"
#define OUT(more) "data.class: { only: [public.a] }" more
#define TO "targets: { cloud: { modes: [prompt, hidden] }, eu: { modes: [prompt, hidden] } }\n"
    static const char *const pairs[][2] = {
        {OWN("number") WHEN("Vehicle.X: { lt: 3 }", "refuse"),
         OWN("integer") WHEN("Vehicle.X: { lt: 3 }", "refuse")},
        {OWN("integer") WHEN("Vehicle.X: { lt: 3 }", "refuse"),
         OWN("integer") WHEN("Vehicle.X: { gt: 3 }", "refuse")},
        {OWN("integer") WHEN("Vehicle.X: { lt: -9223372036854775807 }", "refuse"),
         OWN("integer") WHEN("Vehicle.X: 5", "refuse")},
        {OWN("integer") WHEN("Vehicle.X: { le: 9223372036854775806 }", "refuse"),
         OWN("integer") WHEN("Vehicle.X: { in: [1, 2] }", "refuse")},
        {OWN("integer") WHEN("Vehicle.X: { ge: 9223372036854775807 }", "refuse"),
         OWN("integer") WHEN("Vehicle.X: { le: -9223372036854775808 }", "refuse")},
        {OWN("number") WHEN("Vehicle.X: { lt: -1e308 }", "refuse"),
         OWN("number") WHEN("Vehicle.X: { gt: 1e308 }", "refuse")},
        {OWN("number") WHEN("Vehicle.X: 0", "refuse"),
         OWN("number") WHEN("Vehicle.X: { ne: 5e-324 }", "refuse")},
        {OWN("number") WHEN("Vehicle.X: { between: [1, 1.0000000000000002] }", "refuse"),
         OWN("number") WHEN("Vehicle.X: { gt: 1 }", "refuse")},
        {OWN("text") WHEN("Vehicle.X: a", "refuse"),
         OWN("text") WHEN("Vehicle.X: { in: [a, another] }", "refuse")},
        {OWN("text") WHEN("Vehicle.X: { not: other }", "refuse"),
         OWN("boolean") WHEN("Vehicle.X: true", "refuse")},
        {OWN("boolean") WHEN("Vehicle.X: false", "refuse"), WHEN("caller: a", "refuse")},
        {WHEN("confidence: { lt: 1 }", "refuse"), WHEN("confidence: { le: 1 }", "refuse")},
        {WHEN("confidence: { ge: 0 }", "refuse"), WHEN("confidence: { gt: 0 }", "refuse")},
        {WHEN("request.hint: local", "refuse"), WHEN("request.hint: { not: local }", "refuse")},
        {WHEN("request.hint: { in: [local, cloud] }", "refuse"),
         WHEN("request.hint: cloud", "refuse")},
        {WHEN("data.history: { any: [\"*\"] }", "refuse"),
         WHEN("data.history: { any: [a.*] }", "refuse")},
        {WHEN("data.history: { all: [a, b.*] }", "refuse"),
         WHEN("data.history: { only: [a, b.c] }", "refuse")},
        {TO WHEN(OUT(", link.rtt_ms: { lt: 9 }"), "prompt, target: cloud"),
         TO WHEN(OUT(", link.rtt_ms: { lt: 9 }"), "prompt, target: eu")},
        {TO WHEN(OUT(""), "hidden, target: cloud, layer: 3"),
         TO WHEN(OUT(""), "hidden, target: cloud, layer: 4")},
        {TO WHEN(OUT(""), "hidden, target: cloud, layer: 3, tail: edge"),
         TO WHEN(OUT(""), "hidden, target: cloud, layer: 3, tail: cloud")},
        {TO WHEN(OUT(""), "hidden, target: cloud, layer: 3, dtype: f32"),
         TO WHEN(OUT(""), "hidden, target: cloud, layer: 3, dtype: i8")},
        {TO WHEN(OUT(""), "prompt, target: cloud, max_bytes: 10"),
         TO WHEN(OUT(""), "prompt, target: cloud, max_bytes: 11")},
        {TO WHEN(OUT(""), "prompt, target: cloud, fallback: refuse"),
         TO WHEN(OUT(""), "prompt, target: cloud, fallback: local")},
        {TO WHEN(OUT(""), "prompt, target: cloud"), WHEN("caller: x", "refuse")},
    };
    static char a[1 << 12], b[1 << 12];
    int n = 0;
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        snprintf(a, sizeof a, "waypost_policy: 1\nversion: v\n%s", pairs[i][0]);
        snprintf(b, sizeof b, "waypost_policy: 1\nversion: v\n%s", pairs[i][1]);
        struct rt_policy *p = tried(a, strlen(a));
        if (p == NULL)
            fail_msg("%s: %s", a, diags.at[0].msg);
        struct rt_policy *q = tried(b, strlen(b));
        if (q == NULL)
            fail_msg("%s: %s", b, diags.at[0].msg);
        use(p, q);
        use(q, p);
        n++;
        rt_policy_free(q);
        rt_policy_free(p);
    }
    assert_int_equal(n, sizeof pairs / sizeof pairs[0]);
}

/* One of several sources is wrong: each in its turn. */
static void wrong_sources(void **state)
{
    static const char own[] =
        "waypost_policy: 1\nversion: own\ninclude: [b.yaml, c.yaml]\nrules: []\n";
    static const char good[] = "waypost_policy: 1\nversion: b\nrules: []\n";
    static const char *const bad[] = {
        "[",
        "waypost_policy: 2\n",
        "waypost_policy: 1\nversion: c\nrules: 5\n",
        "",
        "waypost_policy: 1\nversion: c\ninclude: []\nrules: []\n",
        "waypost_policy: 1\nversion: c\ninclude: x\nrules: []\n",
        "waypost_policy: 1\nversion: c\ninclude: { a: b }\nrules: []\n",
        "waypost_policy: 1\nversion: c\ninclude: [[a]]\nrules: []\n",
        "waypost_policy: 1\nversion: c\nrules: [{ name: a, route: local, wen: 3 }]\n",
        "waypost_policy: 1\nversion: c\ntargets: { t: { modes: [prompt], price: { in: 1, out: 2, "
        "in: 3 } } }\nrules: []\n",
        "waypost_policy: 1\nversion: c\ntargets: { t: { modes: [prompt], price: { in: 1, out: 2, "
        "x: 3 } } }\nrules: []\n",
        "waypost_policy: 1\nversion: "
        "c\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaa: 1\nrules: []\n",
        "waypost_policy: 1\nversion: c\nrules: [{ name: a, route: "
        "sideways-and-then-some-more-of-it-for-as-long-as-it-takes }]\n",
        "waypost_policy: 1\nversion: c\ntargets: { t: { modes: [hidden] } }\nrules: [{ name: a, "
        "when: { data.class: { only: [public.a] } }, route: hidden, target: t }]\n",
        "waypost_policy: 1\nversion: c\ntargets: { t: { modes: [hidden] } }\nrules: [{ name: a, "
        "when: { data.class: { only: [public.a] } }, route: hidden, target: t, layer: x }]\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (int which = 1; which <= 2; which++) {
            struct rt_source src[] = {{"own.yaml", own, strlen(own)},
                                      {"b.yaml", good, strlen(good)},
                                      {"c.yaml", good, strlen(good)}};
            struct rt_policy *p = NULL;
            src[which] = (struct rt_source){src[which].name, bad[i], strlen(bad[i])};
            const int rc = rt_policy_compile_sources(&p, src, 3, &diags);
            if (rc != BASE_EFORMAT)
                fail_msg("%s: %d", bad[i], rc);
            assert_true(diags.n > 0 && diags.at[0].file[0] != '\0');
        }
        assert_null(tried(bad[i], strlen(bad[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind),
        cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(at_the_limits),
        cmocka_unit_test(wrong_sources),
        cmocka_unit_test(differences_of_every_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
