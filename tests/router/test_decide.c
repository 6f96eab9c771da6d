/* Decisions: three-valued logic, order, links, odd facts, explanations; every allocation failed
 * once while compiling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/router.h"
#include "../fixtures/wrap_alloc.h"

static struct rt_diags diags;

static struct rt_policy *must_compile(const char *text)
{
    struct rt_policy *p = NULL;
    int err = rt_policy_compile(&p, text, strlen(text), &diags);
    if (err != 0)
        print_message("# %d:%d %s\n", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    assert_int_equal(err, 0);
    return p;
}

static const struct rt_value unknown;

static struct rt_value str(const char *s)
{
    return (struct rt_value){.have = true, .s = s};
}

static struct rt_value num(int64_t i)
{
    return (struct rt_value){.have = true, .i = i};
}

static struct rt_value real(double r)
{
    return (struct rt_value){.have = true, .r = r};
}

/* rtt_ms < 0: not known. state NULL: not known. */
static struct rt_target_link link_is(const char *target, const char *state, double rtt_ms)
{
    struct rt_target_link l = {.target = target};
    *rt_link(&l, RT_F_LINK_STATE) = state != NULL ? str(state) : unknown;
    *rt_link(&l, RT_F_LINK_RTT_MS) = rtt_ms >= 0 ? real(rtt_ms) : unknown;
    return l;
}

/* ---- by hand ---- */

#define HEAD "waypost_policy: 1\nversion: v1\n"

/* The truth tables of and, or, not over (no, yes, cannot tell). */
static void logic_is_kleenes(void **state)
{
    (void)state;
    static const enum rt_tri and[3][3] = {{0, 0, 0}, {0, 1, 2}, {0, 2, 2}};
    static const enum rt_tri or [3][3] = {{0, 1, 2}, {1, 1, 1}, {2, 1, 2}};
    static const enum rt_tri not [3] = {1, 0, 2};
    /* To see "no" apart from "cannot tell", ask for the condition and for its negation. */
    static const char *const form[] = {
        "all: [ { caller: a }, { request.model: a } ]",
        "any: [ { caller: a }, { request.model: a } ]",
        "not: { caller: a }",
    };
    struct rt_value v[3] = {str("b"), str("a"), unknown};
    for (int f = 0; f < 3; f++) {
        char text[600];
        snprintf(text, sizeof text,
                 HEAD "rules:\n  - { name: holds, when: { %s }, route: refuse }\n"
                      "  - { name: fails, when: { not: { %s } }, route: refuse }\n",
                 form[f], form[f]);
        struct rt_policy *p = must_compile(text);
        for (int a = 0; a < 3; a++) {
            for (int b = 0; b < 3; b++) {
                struct rt_facts facts = {0};
                struct rt_decision d;
                facts.v[RT_F_CALLER] = v[a];
                facts.v[RT_F_REQ_MODEL] = v[b];
                enum rt_tri want = f == 0 ? and[a][b] : f == 1 ? or [a][b] : not [a];
                rt_decide(p, &facts, &d);
                assert_string_equal(d.rule, want == RT_YES  ? "holds"
                                            : want == RT_NO ? "fails"
                                                            : "default");
                assert_int_equal(d.route.mode, want == RT_CANNOT_TELL ? RT_LOCAL : RT_REFUSE);
            }
        }
        rt_policy_free(p);
    }
}

static void link_facts_are_the_targets(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(
        HEAD
        "targets: { near: { modes: [prompt] }, far: { modes: [prompt] } }\nrules:\n"
        "  - name: near\n    when: { data.class: { only: [public.*] }, link.state: up, "
        "link.rtt_ms: { lt: 50 } }\n    route: prompt\n    target: near\n"
        "  - name: far\n    when: { data.class: { only: [public.*] }, link.state: { not: down } "
        "}\n    route: prompt\n    target: far\n"
        "  - name: cut\n    when: { link.state: down }\n    route: refuse\n    target: far\n");
    struct rt_target_link link[] = {link_is("far", "up", 10), link_is("near", "up", 80)};
    struct rt_facts f = {.cls = {"public.x"}, .n_cls = 1, .link = link, .n_link = 2};
    struct rt_decision d;
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "far");
    assert_string_equal(d.route.target, "far");
    *rt_link(&link[1], RT_F_LINK_RTT_MS) = real(49);
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "near");
    *rt_link(&link[1], RT_F_LINK_RTT_MS) = unknown;
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "far");
    *rt_link(&link[0], RT_F_LINK_STATE) = str("down");
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "cut");
    f.n_link = 0; /* nothing is known of any target */
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "default");
    f.link = NULL; /* one state for all */
    f.v[RT_F_LINK_STATE] = str("up");
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "far");
    rt_policy_free(p);
}

static const char release_all[] = HEAD
    "targets: { cloud: { modes: [prompt] } }\nrules:\n"
    "  - { name: r, when: { data.class: { only: [public.*] } }, route: prompt, target: cloud }\n";

static void odd_facts_stay_at_home(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(release_all);
    struct rt_decision d;
    static const struct {
        const char *cls[3];
        int n;
        enum rt_mode mode;
    } t[] = {
        {{"public.a"}, 1, RT_PROMPT},
        {{"public"}, 1, RT_PROMPT},
        {{"public.a.b.c.d.e.f.g.h.i.j"}, 1, RT_PROMPT},
        {{"publicity"}, 1, RT_LOCAL},
        {{"Public.a"}, 1, RT_LOCAL},
        {{""}, 1, RT_LOCAL},
        {{NULL}, 1, RT_LOCAL},
        {{"x.public"}, 1, RT_LOCAL},
        {{" public.a"}, 1, RT_LOCAL},
        {{"public.a", "cabin"}, 2, RT_LOCAL},
        {{"public.a", NULL}, 2, RT_LOCAL},
        {{"public.a", "public.b"}, 2, RT_PROMPT},
        {{"public.a"}, 0, RT_LOCAL},
        {{"public.a"}, -1, RT_LOCAL},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct rt_facts f = {.n_cls = t[i].n};
        memcpy(f.cls, t[i].cls, sizeof t[i].cls);
        rt_decide(p, &f, &d);
        assert_int_equal(d.route.mode, t[i].mode);
    }
    struct rt_facts many = {.n_cls = RT_MAX_CLASS + 1};
    for (int i = 0; i < RT_MAX_CLASS; i++)
        many.cls[i] = "public.a";
    rt_decide(p, &many, &d);
    assert_int_equal(d.route.mode, RT_LOCAL);
    rt_policy_free(p);
}

static void the_callers_hint_only_tightens(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(release_all);
    struct rt_facts f = {.cls = {"public.a"}, .n_cls = 1};
    struct rt_decision d;
    f.v[RT_F_REQ_HINT] = str("local");
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "caller-hint");
    assert_int_equal(d.rule_index, -1);
    assert_int_equal(d.route.mode, RT_LOCAL);
    static const char *const other[] = {"prompt", "cloud", "Local", ""};
    for (int i = 0; i < 4; i++) {
        f.v[RT_F_REQ_HINT] = str(other[i]);
        f.n_cls = 1;
        rt_decide(p, &f, &d);
        assert_string_equal(d.rule, "r");
        f.n_cls = 0;
        rt_decide(p, &f, &d);
        assert_string_equal(d.rule, "default");
    }
    rt_policy_free(p);
}

static void numbers_compare_at_their_edges(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(
        HEAD
        "rules:\n"
        "  - { name: max, when: { engine.queue: 9223372036854775807 }, route: local }\n"
        "  - { name: big, when: { engine.queue: { gt: 9007199254740992 } }, route: local }\n"
        "  - { name: neg, when: { engine.queue: { lt: 0 } }, route: local }\n"
        "  - { name: set, when: { engine.queue: { in: [3, 5] } }, route: local }\n"
        "  - { name: span, when: { engine.queue: { between: [4, 7] } }, route: local }\n"
        "  - { name: conf, when: { model.confidence: { ge: 0.25, lt: 0.5 } }, route: local }\n");
    static const struct {
        int64_t i;
        const char *rule;
    } t[] = {{INT64_MAX, "max"},
             {INT64_MAX - 1, "big"},
             {INT64_C(9007199254740993), "big"},
             {INT64_C(9007199254740992), "default"},
             {-1, "neg"},
             {INT64_MIN, "neg"},
             {0, "default"},
             {3, "set"},
             {5, "set"},
             {4, "span"},
             {7, "span"},
             {8, "default"}};
    struct rt_facts f = {0};
    struct rt_decision d;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        f.v[RT_F_ENGINE_QUEUE] = num(t[i].i);
        rt_decide(p, &f, &d);
        assert_string_equal(d.rule, t[i].rule);
    }
    f.v[RT_F_ENGINE_QUEUE] = unknown;
    static const struct {
        double r;
        const char *rule;
    } c[] = {{0.25, "conf"}, {0.4999, "conf"}, {0.5, "default"}, {0.2499, "default"}};
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        f.v[RT_F_MODEL_CONFIDENCE] = real(c[i].r);
        rt_decide(p, &f, &d);
        assert_string_equal(d.rule, c[i].rule);
    }
    f.v[RT_F_MODEL_CONFIDENCE] = real((double)__builtin_nanf(""));
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "default");
    rt_policy_free(p);
}

static void explain_shows_each_answer(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(
        HEAD "rules:\n"
             "  - { name: first, when: { caller: nav, engine.queue: { gt: 3 } }, route: refuse }\n"
             "  - { name: second, when: { request.stream: true }, route: refuse }\n"
             "  - { name: third, when: { not: { any: [ { caller: a }, { caller: b } ] } }, "
             "route: refuse, because: \"so \\\"it\\\" is\" }\n"
             "  - { name: fourth, route: local }\n");
    struct rt_facts f = {0};
    struct base_buf out;
    f.v[RT_F_CALLER] = str("na\"v\n\xFF");
    base_buf_init(&out, 1 << 16);
    assert_int_equal(rt_explain(p, &f, RT_FORM_TEXT, &out), 0);
    const char *s = base_buf_cstr(&out);
    assert_non_null(strstr(s, "caller is nav; caller is na\"v??\n"));
    assert_non_null(strstr(s, "cannot tell request.stream is true; request.stream is not known\n"));
    assert_non_null(strstr(s, "not ((caller is a or caller is b))"));
    assert_non_null(strstr(s, "fourth                   yes         (not reached) no condition"));
    assert_non_null(strstr(s, "=> refuse   (rule third)"));
    base_buf_reset(&out);
    assert_int_equal(rt_explain(p, &f, RT_FORM_COLOUR, &out), 0);
    s = base_buf_cstr(&out);
    assert_non_null(strstr(s, "\033[32myes         \033[0mnot ("));
    assert_non_null(strstr(s, "\033[33mcannot tell \033[0mrequest.stream"));
    assert_non_null(strstr(s, "=> \033[1mrefuse\033[0m   (rule third)"));
    base_buf_reset(&out);
    assert_int_equal(rt_explain(p, &f, RT_FORM_JSON, &out), 0);
    s = base_buf_cstr(&out);
    assert_non_null(strstr(s, "\"because\":\"so \\\"it\\\" is\""));
    assert_non_null(strstr(s, "caller is na\\\"v??"));
    base_buf_fini(&out);
    base_buf_init(&out, 100);
    assert_int_equal(rt_explain(p, &f, RT_FORM_JSON, &out), BASE_ELIMIT);
    base_buf_fini(&out);
    rt_policy_free(p);
}

static void put_explained(const struct rt_policy *p, const struct rt_facts *f, bool json,
                          struct base_buf *out)
{
    base_buf_reset(out);
    assert_int_equal(rt_explain(p, f, json, out), 0);
}

static void explain_tells_ways_out(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(
        HEAD
        "targets: { t: { modes: [prompt, hidden] }, u: { modes: [prompt] } }\nrules:\n"
        "  - { name: a, when: { data.class: { only: [public.*], any: [\"*\"] }, link.rtt_ms: { lt: "
        "5 }, request.stream: false, link.metered: true }, route: prompt, target: u, fallback: "
        "refuse }\n"
        "  - { name: b, when: { data.class: { only: [public.*] }, caller: { not: z } }, route: "
        "hidden, layer: 3, tail: edge, dtype: i8, target: t }\n");
    struct rt_target_link link[] = {link_is("u", "up", 3)};
    struct rt_facts f = {.cls = {"public.x"}, .n_cls = 1, .link = link, .n_link = 1};
    struct base_buf out;
    base_buf_init(&out, 1 << 16);
    f.v[RT_F_REQ_STREAM] = (struct rt_value){.have = true};
    *rt_link(&link[0], RT_F_LINK_METERED) = (struct rt_value){.have = true, .b = true};
    put_explained(p, &f, false, &out);
    assert_non_null(strstr(base_buf_cstr(&out), "data.class any [*]"));
    assert_non_null(strstr(base_buf_cstr(&out), "link.metered of u is true"));
    assert_non_null(
        strstr(base_buf_cstr(&out), "=> prompt to u, at most 262144 bytes, else refuse"));
    rt_link(&link[0], RT_F_LINK_METERED)->b = false;
    put_explained(p, &f, false, &out);
    assert_non_null(strstr(base_buf_cstr(&out), "caller is not known"));
    f.v[RT_F_CALLER] = str("nav");
    put_explained(p, &f, false, &out);
    assert_non_null(strstr(base_buf_cstr(&out), "=> hidden to t, layer 3, tail edge, i8"));
    put_explained(p, &f, true, &out);
    assert_non_null(strstr(base_buf_cstr(&out), "\"layer\":3,\"tail\":\"edge\",\"dtype\":\"i8\""));
    f.v[RT_F_REQ_HINT] = str("local");
    put_explained(p, &f, false, &out);
    assert_non_null(strstr(base_buf_cstr(&out), "the caller's hint is local: no rule is asked"));
    f.n_cls = RT_MAX_CLASS + 1;
    for (int i = 1; i < RT_MAX_CLASS; i++)
        f.cls[i] = i == 1 ? NULL : "public.x";
    f.v[RT_F_REQ_HINT] = unknown;
    put_explained(p, &f, false, &out);
    assert_non_null(strstr(base_buf_cstr(&out), "[public.x, cabin, "));
    assert_non_null(strstr(base_buf_cstr(&out), ", and more than fit]"));
    base_buf_fini(&out);
    rt_policy_free(p);
}

static void the_table_of_facts_is_whole(void **state)
{
    (void)state;
    struct base_buf out;
    base_buf_init(&out, 1 << 16);
    assert_int_equal(rt_facts_reference(&out), 0);
    const char *s = base_buf_cstr(&out);
    for (int i = 0; i < RT_N_FACT; i++) {
        char row[100];
        snprintf(row, sizeof row, "| `%s` |", rt_fact_info[i].name);
        assert_non_null(strstr(s, row));
        assert_int_equal(rt_fact_find(rt_fact_info[i].name), i);
        assert_true(rt_fact_info[i].doc[0] != '\0' && rt_fact_info[i].absent[0] != '\0');
        assert_true(rt_fact_is_targets(i) == (strcmp(rt_fact_info[i].source, "target") == 0));
    }
    assert_non_null(
        strstr(s, "`lock`, `off`, `acc`, `on`, `start` (`Vehicle.LowVoltageSystemState`)"));
    assert_non_null(strstr(s, "`Vehicle.IsMoving`); at most 2 s old"));
    assert_int_equal(rt_fact_find("no.such"), -1);
    base_buf_fini(&out);
}

/* ---- memory ---- */

/* Every part of the language, and rules enough for an index. */
static char *whole_language(void)
{
    static const char head[] = HEAD
        "include: [base]\n"
        "classes: { a: [{ mode: prompt, where: eu }], b: any }\n"
        "targets: { t: { modes: [prompt], where: eu, identity: x, price: { in: 1, out: 2 } } }\n"
        "callers: { nav: { match: { uid: 1 }, labels: [a], seat: s, quota: { bytes: 1, per: day "
        "} } }\n"
        "budgets: { g: { unit: bytes, limit: 1, per: day } }\n"
        "consents: { c: { lapses: trip, ask: q } }\n"
        "signals: { Vehicle.Speed: { type: number } }\n"
        "share: { edge: 0.5, moves: [{ rule: r3, fact: confidence, min: 0, max: 1 }] }\n"
        "rules:\n";
    char *text = calloc(1, 1 << 14);
    size_t n = (size_t)sprintf(text, "%s", head);
    for (int i = 0; i < 40; i++)
        n +=
            (size_t)sprintf(text + n,
                            "  - { name: r%d, route: prompt, target: t, because: \"so\", when: { "
                            "data.class: { only: [a.x%d] }, confidence: { lt: 0.5 }, engine.queue: "
                            "{ gt: 3 }, not: { data.class: { any: [a.z] } }, caller: { in: "
                            "[p, q] }, any: [ { link.state: up }, { not: { Vehicle.Speed: 3 } } ] "
                            "} }\n",
                            i, i);
    return text;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const char base[] = HEAD "rules: [{ name: z, final: true, route: local, when: { caller: "
                                    "w } }]\n";
    char *text = whole_language();
    struct rt_source src[] = {{"", text, strlen(text)}, {"base", base, strlen(base)}};
    struct rt_policy *p = NULL;
    int err = BASE_ENOMEM;
    long n = 0;
    for (; err == BASE_ENOMEM; n++) {
        n_alloc = 0;
        fail_at = n;
        err = rt_policy_compile_sources(&p, src, 2, &diags);
        fail_at = -1;
        if (err != 0 && err != BASE_ENOMEM)
            print_message("# %ld: %d, %d:%d %s\n", n, err, diags.at[0].line, diags.at[0].col,
                          diags.at[0].msg);
        assert_true(err == 0 || (err == BASE_ENOMEM && p == NULL));
        rt_policy_free(p);
    }
    if (err != 0)
        print_message("# %d:%d %s\n", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    assert_int_equal(err, 0);
    assert_true(n > 60);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logic_is_kleenes),
        cmocka_unit_test(link_facts_are_the_targets),
        cmocka_unit_test(odd_facts_stay_at_home),
        cmocka_unit_test(the_callers_hint_only_tightens),
        cmocka_unit_test(numbers_compare_at_their_edges),
        cmocka_unit_test(explain_shows_each_answer),
        cmocka_unit_test(explain_tells_ways_out),
        cmocka_unit_test(the_table_of_facts_is_whole),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
