/* Odd, wrong and too much: each value of a policy replaced by values of every other kind, each key
 * by another; as many of each kind as there may be, and one more; texts of every character. What is
 * asked for: no crash, the same answer twice, and an error that has a place and a reason. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "router/compile.h"
#include "router/cover.h"
#include "router/detect.h"
#include "router/diff.h"
#include "router/given.h"
#include "router/router.h"
#include "rich_policy.h"

/* Conditions of every kind, for facts of every type. */
static const char asking[] =
    "waypost_policy: 1\n"
    "version: asking\n"
    "targets: { cloud: { modes: [prompt, hidden] } }\n"
    "signals: { Vehicle.Open: { type: boolean }, Vehicle.Gear: { type: integer },\n"
    "           Vehicle.Mode: { type: text, unit: name, max_age_ms: 100 } }\n"
    "rules:\n"
    "  - { name: a, route: local, when: { request.prompt_tokens: { ge: 3, lt: 9 } } }\n"
    "  - { name: b, route: local, when: { request.prompt_tokens: { between: [20, 30] } } }\n"
    "  - { name: c, route: local, when: { request.prompt_tokens: { in: [40, 41] } } }\n"
    "  - { name: d, route: local, when: { request.language: de } }\n"
    "  - { name: e, route: local, when: { request.language: { not: en }, caller.seat: driver } }\n"
    "  - { name: f, route: local, when: { request.language: { in: [fr, it] } } }\n"
    "  - { name: g, route: refuse, when: { request.tools: true, vehicle.moving: { not: true } } }\n"
    "  - { name: h, route: local, when: { Vehicle.Gear: { gt: 2, le: 5 }, Vehicle.Mode: sport } }\n"
    "  - { name: i, route: local, when: { Vehicle.Open: false, engine.temperature: { gt: -4.5 } } "
    "}\n"
    "  - name: j\n"
    "    when: { any: [{ data.history: { any: [x.*, \"*\"] } }, { not: { any: [{ caller: z },\n"
    "            { engine.queue: { lt: 2 } }] } }], data.class: { only: [public.a] } }\n"
    "    route: prompt\n"
    "    target: cloud\n"
    "  - { name: k, route: hidden, target: cloud, layer: 3, dtype: i8, tail: cloud, when: {\n"
    "      data.class: { only: [public.b.*] }, link.state: { in: [up, unknown] },\n"
    "      link.up_kbps: { ge: 100.5 }, link.metered: false } }\n";

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

static struct rt_diags diags, again;

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

/* A policy may be one, or there is an error with a place and a reason: and so again. */
static struct rt_policy *tried(const char *text, size_t len)
{
    struct rt_policy *p = NULL, *q = NULL;
    const int rc = rt_policy_compile(&p, text, len, &diags);
    assert_true((rc == 0) == (p != NULL));
    assert_int_equal(rt_policy_compile(&q, text, len, &again), rc);
    assert_int_equal(diags.n, again.n);
    assert_true(rc == 0 || rc == BASE_EFORMAT || rc == BASE_ELIMIT);
    assert_true(rc != BASE_EFORMAT || diags.n_error > 0);
    for (int i = 0; i < diags.n; i++) {
        assert_true(diags.at[i].line > 0 && diags.at[i].col > 0 && diags.at[i].msg[0] != '\0');
        assert_string_equal(diags.at[i].msg, again.at[i].msg);
    }
    rt_policy_free(q);
    return p;
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

/* ---- what is shown and counted ---- */

static void explain_a_decision(const char *policy, const char *facts, const char *says)
{
    static struct rt_given g;
    struct rt_policy *p = tried(policy, strlen(policy));
    struct base_err err = {0};
    struct rt_cover *c = NULL;
    struct rt_decision d;
    struct base_buf out;
    if (p == NULL)
        fail_msg("%s: %s", policy, diags.at[0].msg);
    rt_given_init(&g, p, 1 << 16);
    if (rt_given_line(&g, facts, strlen(facts), &err) != 0)
        fail_msg("%s", err.msg);
    for (int form = RT_FORM_TEXT; form <= RT_FORM_COLOUR; form++) {
        base_buf_init(&out, 1 << 20);
        assert_int_equal(rt_explain(p, &g.f, (enum rt_form)form, &out), 0);
        if (strstr(base_buf_cstr(&out), says) == NULL)
            fail_msg("%s", base_buf_cstr(&out));
        base_buf_fini(&out);
    }
    assert_int_equal(rt_cover_open(&c, p), 0);
    rt_cover_decide(c, &g.f, &d);
    struct rt_decision again_d;
    rt_decide(p, &g.f, &again_d);
    assert_true(rt_decision_same(&d, &again_d));
    rt_cover_close(c);
    rt_given_fini(&g);
    rt_policy_free(p);
}

static void decisions_are_explained(void **state)
{
    (void)state;
    explain_a_decision(asking,
                       "data.class=public.b.x link.state@cloud=up link.up_kbps@cloud=200 "
                       "link.metered@cloud=false link.state@other=down",
                       "i8");
    explain_a_decision(asking, "request.hint=local", "local");
    explain_a_decision(rich,
                       "data.class=c.x confidence=0.1 Vehicle.Speed=1 budget.b.left=11 "
                       "consent.share=true",
                       "f16");
    explain_a_decision("waypost_policy: 1\nversion: v\nrules: [{ name: always, route: refuse }]\n",
                       "", "always");
    explain_a_decision(
        "waypost_policy: 1\nversion: v\nrules: [{ name: other, route: refuse, when: { not: "
        "{ all: [{ caller: a }, { confidence: { lt: 0.5 } }] } } }]\n",
        "caller=a confidence=0.4", "default");
    explain_a_decision(
        "waypost_policy: 1\nversion: v\nrules: [{ name: other, route: refuse, when: { not: "
        "{ caller: a } } }]\n",
        "caller=b", "other");
    char buf[RT_SHOW_BYTES];
    assert_string_equal(rt_show("a\xFF"
                                "b",
                                3, buf),
                        "'a?b'");
    assert_string_equal(rt_show("\x01", 1, buf), "'?'");
    /* More classes than a request may have. */
    static struct rt_given g;
    static const char *many[RT_MAX_CLASS + 3];
    for (int i = 0; i < RT_MAX_CLASS + 2; i++)
        many[i] = "x.y";
    struct rt_policy *p = tried(asking, strlen(asking));
    struct base_buf out;
    rt_given_init(&g, p, 1 << 16);
    g.f.v[RT_F_DATA_HISTORY] = (struct rt_value){.have = true, .list = many};
    base_buf_init(&out, 1 << 20);
    assert_int_equal(rt_explain(p, &g.f, RT_FORM_TEXT, &out), 0);
    base_buf_fini(&out);
    rt_given_fini(&g);
    assert_int_equal(rt_policy_max_age_ms(p, RT_F_VEHICLE_MOVING), 2000);
    rt_policy_free(p);
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

/* ---- texts of every character ---- */

static size_t put(char *out, uint32_t cp)
{
    if (cp < 0x80)
        return (size_t)(out[0] = (char)cp, 1);
    if (cp < 0x800)
        return (size_t)(out[0] = (char)(0xC0 | cp >> 6), out[1] = (char)(0x80 | (cp & 63)), 2);
    if (cp < 0x10000)
        return (size_t)(out[0] = (char)(0xE0 | cp >> 12), out[1] = (char)(0x80 | (cp >> 6 & 63)),
                        out[2] = (char)(0x80 | (cp & 63)), 3);
    return (size_t)(out[0] = (char)(0xF0 | cp >> 18), out[1] = (char)(0x80 | (cp >> 12 & 63)),
                    out[2] = (char)(0x80 | (cp >> 6 & 63)), out[3] = (char)(0x80 | (cp & 63)), 4);
}

/* Each character of Unicode between two digits: nothing breaks. Those that are not seen hide
 * nothing. */
static void detecting_in_any_text(void **state)
{
    static const uint32_t unseen[] = {0xAD,   0x34F,  0x61C,  0x180E,  0x200B,
                                      0x200F, 0x202A, 0x202E, 0x2060,  0x206F,
                                      0xFE00, 0xFE0F, 0xFEFF, 0xE0001, 0xE0FFF};
    static const uint32_t dots[] = {0xB7, 0x2022, 0x2024, 0x30FB, 0x3002};
    static const uint32_t dashes[] = {0x2010, 0x2015, 0x2043, 0x2212, 0x30FC, 0xFE58, 0xFE63};
    static char text[1 << 16];
    struct rt_detect *d = NULL;
    struct base_err err = {0};
    uint64_t plain = 0, found;
    (void)state;
    assert_int_equal(rt_detect_open(&d, &err), 0);
    for (uint32_t cp = 1; cp < 0x110000;) {
        size_t at = 0;
        for (int i = 0; i < 4096 && cp < 0x110000; cp++) {
            if (cp >= 0xD800 && cp < 0xE000)
                continue;
            text[at++] = '1';
            at += put(text + at, cp);
            i++;
        }
        rt_detect_run(d, text, at, &found);
    }
    rt_detect_run(d, "mail anna@example.org", 21, &plain);
    assert_int_not_equal(plain, 0);
    for (size_t i = 0; i < sizeof unseen / sizeof unseen[0]; i++) {
        size_t at = (size_t)snprintf(text, sizeof text, "mail anna@exam");
        at += put(text + at, unseen[i]);
        at += (size_t)snprintf(text + at, sizeof text - at, "ple.org");
        found = 0;
        rt_detect_run(d, text, at, &found);
        assert_true((found & plain) == plain);
    }
    for (size_t i = 0; i < sizeof dots / sizeof dots[0]; i++) {
        size_t at = (size_t)snprintf(text, sizeof text, "mail anna@example");
        at += put(text + at, dots[i]);
        at += (size_t)snprintf(text + at, sizeof text - at, "org");
        found = 0;
        rt_detect_run(d, text, at, &found);
        assert_true((found & plain) == plain);
    }
    plain = 0;
    rt_detect_run(d, "ring +49-151-23456789 now", 25, &plain);
    assert_int_not_equal(plain, 0);
    for (size_t i = 0; i < sizeof dashes / sizeof dashes[0]; i++) {
        size_t at = (size_t)snprintf(text, sizeof text, "ring +49");
        at += put(text + at, dashes[i]);
        at += (size_t)snprintf(text + at, sizeof text - at, "151");
        at += put(text + at, dashes[i]);
        at += (size_t)snprintf(text + at, sizeof text - at, "23456789 now");
        found = 0;
        rt_detect_run(d, text, at, &found);
        assert_true((found & plain) == plain);
    }
    /* More than is looked at, and what is no UTF-8, counts as everything. */
    const size_t huge = (size_t)65 << 20;
    char *much = test_calloc(1, huge);
    memset(much, 'a', huge);
    found = 0;
    rt_detect_run(d, much, huge, &found);
    assert_int_not_equal(found, 0);
    test_free(much);
    found = 0;
    rt_detect_run(d, "\xff", 1, &found);
    assert_int_not_equal(found, 0);
    rt_detect_close(d);
}

/* ---- facts by hand ---- */

static void facts_of_every_kind(void **state)
{
    static const char *const bad[] = {"",
                                      "=",
                                      "x",
                                      "x=",
                                      "=x",
                                      "link.state@=up",
                                      "link.state@nowhere=up",
                                      "engine.queue=1.5",
                                      "engine.queue=",
                                      "engine.queue=x",
                                      "confidence=1e",
                                      "confidence=1e999",
                                      "confidence=nan",
                                      "request.tools=yes",
                                      "data.class=a,,b",
                                      "data.class=",
                                      "caller=",
                                      "Vehicle.Speed=1~x",
                                      "Vehicle.Speed=1~-1",
                                      "Vehicle.Speed=1~99999999999",
                                      "Vehicle.Speed=~5",
                                      "caller=\"x",
                                      "caller=x\"",
                                      "\"caller=x y\"",
                                      "unknown.fact=3",
                                      "request.prompt_tokens=99999999999999999999",
                                      "consent.share=maybe"};
    static const char *const good[] = {"caller=\"x y\"",
                                       "confidence=1e-3",
                                       "confidence=.5",
                                       "engine.queue=-0",
                                       "Vehicle.Speed=3~0",
                                       "Vehicle.Speed=3~2147483647",
                                       "data.class=a,b.c",
                                       "(none)",
                                       "  caller=a   link.state@cloud=up ",
                                       "engine.temperature=-1e20",
                                       "confidence=0.1",
                                       "engine.temperature=123456789012",
                                       "engine.temperature=1e300",
                                       "request.language=\"\""};
    static struct rt_given g;
    static char line[1 << 14], back[1 << 14];
    struct rt_policy *p = tried(rich, strlen(rich));
    struct base_err err = {0};
    struct base_buf out;
    (void)state;
    int n_bad = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rt_given_init(&g, p, 1 << 16);
        const int rc = rt_given_word(&g, bad[i], strlen(bad[i]), &err);
        assert_true(rc == 0 || err.msg[0] != '\0');
        n_bad += rc != 0;
        rt_given_fini(&g);
    }
    assert_true(n_bad > 20);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        rt_given_init(&g, p, 1 << 16);
        int rc = rt_given_line(&g, good[i], strlen(good[i]), &err);
        if (rc != 0)
            fail_msg("%s: %s", good[i], err.msg);
        base_buf_init(&out, 1 << 14);
        assert_int_equal(rt_given_print(&g.f, &out), 0);
        snprintf(line, sizeof line, "%.*s", (int)out.len, (const char *)out.data);
        rt_given_fini(&g);
        /* What is printed reads as the same. */
        rt_given_init(&g, p, 1 << 16);
        assert_int_equal(rt_given_line(&g, line, strlen(line), &err), 0);
        base_buf_fini(&out);
        base_buf_init(&out, 1 << 14);
        assert_int_equal(rt_given_print(&g.f, &out), 0);
        snprintf(back, sizeof back, "%.*s", (int)out.len, (const char *)out.data);
        assert_string_equal(back, line);
        base_buf_fini(&out);
        rt_given_fini(&g);
    }
    /* Targets and own facts up to their number. */
    rt_given_init(&g, NULL, 1 << 20);
    for (int i = 0; i < RT_MAX_TARGET + 1; i++) {
        const int n = snprintf(line, sizeof line, "link.state@t%d=up", i);
        assert_int_equal(rt_given_word(&g, line, (size_t)n, &err),
                         i < RT_MAX_TARGET ? 0 : BASE_ELIMIT);
    }
    for (int i = 0; i < RT_MAX_GIVEN_NAMED + 1; i++) {
        struct rt_place place;
        snprintf(line, sizeof line, "Vehicle.X%d", i);
        assert_int_equal(rt_given_own(&g, line, RT_FACT_REAL, &place, &err),
                         i < RT_MAX_GIVEN_NAMED ? 0 : BASE_ELIMIT);
    }
    struct rt_place place;
    assert_int_equal(rt_given_own(&g, "Vehicle.X7", RT_FACT_STR, &place, &err),
                     0); /* seen before */
    assert_string_equal(place.name, "Vehicle.X7");
    assert_int_equal(rt_given_text(&g, &place, "a\0b", 3, &err), BASE_EFORMAT);
    assert_int_equal(rt_given_text(&g, &place, "ab", 2, &err), 0);
    assert_int_equal(rt_given_place(&g, "data.history", NULL, &place, &err), 0);
    assert_int_equal(rt_given_class(&g, &place, "", 0, &err), BASE_EFORMAT);
    assert_int_equal(rt_given_class(&g, &place, "a\0b", 3, &err), BASE_EFORMAT);
    for (int i = 0, rc = 0; i < 2 * RT_MAX_CLASS && rc == 0; i++) {
        const int n = snprintf(line, sizeof line, "c%d", i);
        rc = rt_given_class(&g, &place, line, (size_t)n, &err);
        assert_true(rc == 0 || rc == BASE_ELIMIT);
    }
    rt_given_fini(&g);
    rt_policy_free(p);
}

/* Facts that no reader of ours makes: strings with controls and broken UTF-8, NULL among classes.
 */
static void facts_are_shown_whatever_they_are(void **state)
{
    static const char *const odd[] = {"a\"b\\c",  "tab\there", "\x01\x7f",
                                      "\xff\xfe", "\xe2\x82",  "ok"};
    static struct rt_given g;
    struct rt_policy *p = tried(asking, strlen(asking)), *q = tried(rich, strlen(rich));
    struct base_buf out;
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        const char *const list[] = {odd[i], "x", NULL};
        for (int form = RT_FORM_TEXT; form <= RT_FORM_COLOUR; form++) {
            rt_given_init(&g, p, 1 << 16);
            g.f.v[RT_F_REQ_LANGUAGE] = (struct rt_value){.have = true, .s = odd[i]};
            g.f.v[RT_F_DATA_HISTORY] = (struct rt_value){.have = true, .list = list};
            g.f.v[RT_F_REQ_HINT] = (struct rt_value){.have = true, .s = i == 0 ? "local" : NULL};
            g.f.cls[0] = NULL;
            g.f.cls[1] = odd[i];
            g.f.n_cls = 2;
            base_buf_init(&out, 1 << 20);
            assert_int_equal(rt_explain(p, &g.f, (enum rt_form)form, &out), 0);
            assert_int_equal(rt_explain(q, &g.f, (enum rt_form)form, &out), 0);
            for (size_t k = 0; k < out.len; k++) {
                const unsigned char ch = ((const unsigned char *)out.data)[k];
                assert_true(ch >= 0x20 || ch == '\n' || ch == 0x1B || ch == '\t');
            }
            assert_int_equal(rt_given_print(&g.f, &out), 0);
            base_buf_fini(&out);
            rt_given_fini(&g);
        }
    }
    rt_policy_free(p);
    rt_policy_free(q);
}

static void decisions_are_compared(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } targets[] = {{NULL, NULL, true},
                   {"x", "x", true},
                   {"x", "y", false},
                   {"x", NULL, false},
                   {NULL, "x", false}};
    struct rt_decision a, b;
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        memset(&a, 0, sizeof a);
        a.route.mode = RT_PROMPT;
        b = a;
        a.route.target = targets[i].a;
        b.route.target = targets[i].b;
        a.rule = "one"; /* who decides does not count */
        b.rule = "two";
        assert_true(rt_decision_same(&a, &b) == targets[i].same);
    }
}

/* Facts as no reader leaves them: entries without a name, of other targets and signals. */
static void facts_without_names(void **state)
{
    static struct rt_given g;
    struct rt_policy *p = tried(rich, strlen(rich));
    struct rt_named named[] = {{.name = "Vehicle.Speed", .type = RT_FACT_REAL},
                               {.name = NULL, .type = RT_FACT_REAL},
                               {.name = "Vehicle.Other", .type = RT_FACT_REAL}};
    struct rt_target_link link[] = {{.target = NULL}, {.target = "elsewhere"}, {.target = "home"}};
    struct rt_decision d;
    struct base_buf out;
    (void)state;
    named[0].v = (struct rt_value){.have = true, .r = 2};
    rt_given_init(&g, p, 1 << 16);
    g.f.named = named;
    g.f.n_named = 3;
    g.f.link = link;
    g.f.n_link = 3;
    base_buf_init(&out, 1 << 20);
    for (int form = RT_FORM_TEXT; form <= RT_FORM_COLOUR; form++)
        assert_int_equal(rt_explain(p, &g.f, (enum rt_form)form, &out), 0);
    rt_decide(p, &g.f, &d);
    assert_int_equal(d.route.mode, RT_LOCAL);
    base_buf_fini(&out);
    rt_given_fini(&g);
    rt_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_the_limits),
        cmocka_unit_test(decisions_are_compared),
        cmocka_unit_test(facts_without_names),
        cmocka_unit_test(decisions_are_explained),
        cmocka_unit_test(wrong_sources),
        cmocka_unit_test(differences_of_every_kind),
        cmocka_unit_test(values_of_every_kind),
        cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(detecting_in_any_text),
        cmocka_unit_test(facts_of_every_kind),
        cmocka_unit_test(facts_are_shown_whatever_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
