/* The numbers of a policy: which there are, what setting one changes, and where it stands in the
 * text. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/given.h"
#include "router/numbers.h"
#include "rich_policy.h"

static const char text[] =
    "waypost_policy: 1\n"
    "version: numbers\n"
    "targets: { cloud: { modes: [prompt] } }\n"
    "share: { edge: 0.5, moves: [{ rule: sure, fact: confidence, min: 0.2, max: 0.9 }] }\n"
    "rules:\n"
    "  - { name: short, route: local, when: { request.prompt_tokens: { lt: 9 } } }\n"
    "  - { name: sure, route: local, when: { confidence: { ge: 0.5 } } }\n"
    "  - { name: model, route: local, when: { model.confidence: { le: 0.25 } } }\n"
    "  - { name: busy, route: refuse, when: { engine.temperature: { gt: 80.5 } } }\n"
    "  - { name: out, when: { data.class: { only: [public.a] }, link.rtt_ms: { le: 90 } },\n"
    "      route: prompt, target: cloud }\n";

static struct rt_policy *compiled(void)
{
    static struct rt_diags diags;
    struct rt_policy *p = NULL;
    if (rt_policy_compile(&p, text, strlen(text), &diags) != 0)
        fail_msg("%d:%d %s", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    return p;
}

static const char *rule_for(const struct rt_policy *p, const char *facts)
{
    static struct rt_given g;
    struct base_err err = {0};
    struct rt_decision d;
    rt_given_init(&g, p, 1 << 16);
    if (rt_given_line(&g, facts, strlen(facts), &err) != 0)
        fail_msg("%s", err.msg);
    rt_decide(p, &g.f, &d);
    rt_given_fini(&g);
    return d.rule;
}

static void are_listed_with_their_limits(void **state)
{
    struct rt_policy *p = compiled();
    struct rt_number at[8];
    int n = 0;
    (void)state;
    rt_numbers(p, at, 8, &n);
    assert_int_equal(n, 5);
    assert_string_equal(at[0].op, "lt");
    assert_true(at[0].whole && at[0].value == 9 && isinf(at[0].max));
    assert_string_equal(at[1].rule, "sure");
    assert_true(at[1].moves && at[1].min == 0.2 && at[1].max == 0.9);
    assert_true(!at[2].moves && at[2].min == 0 && at[2].max == 1);
    assert_string_equal(at[3].op, "gt");
    assert_true(at[3].value == 80.5 && isinf(at[3].min));
    assert_string_equal(at[4].op, "le");
    rt_numbers(p, at, 2, &n); /* fewer places than numbers: all are counted */
    assert_int_equal(n, 5);
    rt_policy_free(p);
}

static void are_set(void **state)
{
    struct rt_policy *p = compiled();
    struct rt_number at[8];
    int n = 0;
    (void)state;
    rt_numbers(p, at, 8, &n);
    assert_string_equal(rule_for(p, "request.prompt_tokens=9 confidence=0.6"), "sure");
    rt_number_set(p, &at[0], 10);
    assert_string_equal(rule_for(p, "request.prompt_tokens=9 confidence=0.6"), "short");
    rt_number_set(p, &at[0], 1e300); /* beyond the integers: their end */
    assert_string_equal(rule_for(p, "request.prompt_tokens=900000"), "short");
    rt_number_set(p, &at[0], -1e300);
    assert_string_equal(rule_for(p, "request.prompt_tokens=0 confidence=0.6"), "sure");
    rt_number_set(p, &at[1], 0.95); /* beyond what share may move it to */
    assert_string_equal(rule_for(p, "request.prompt_tokens=9 confidence=0.94"), "default");
    assert_string_equal(rule_for(p, "request.prompt_tokens=9 confidence=0.96"), "sure");
    rt_number_set(p, &at[3], 10);
    assert_string_equal(rule_for(p, "engine.temperature=11"), "busy");
    rt_policy_free(p);
}

static void tell_the_fact_they_are_compared_with(void **state)
{
    static struct rt_given g;
    static const char facts[] = "request.prompt_tokens=7 confidence=0.25";
    struct rt_policy *p = compiled();
    struct base_err err = {0};
    struct rt_number at[8];
    double v = -1;
    int n = 0;
    (void)state;
    rt_numbers(p, at, 8, &n);
    rt_given_init(&g, p, 1 << 16);
    assert_int_equal(rt_given_line(&g, facts, strlen(facts), &err), 0);
    assert_true(rt_number_fact(p, &at[0], &g.f, &v) && v == 7);
    assert_true(rt_number_fact(p, &at[1], &g.f, &v) && v == 0.25);
    assert_false(rt_number_fact(p, &at[3], &g.f, &v));
    rt_given_fini(&g);
    rt_policy_free(p);
}

static void stand_in_the_text(void **state)
{
    static const struct {
        const char *text;
        int line, col;
        const char *scalar; /* NULL: there is none */
    } cases[] = {
        {"a: 5\n", 1, 4, "5"},
        {"a: 5", 1, 4, "5"},
        {"a: 5 # five\n", 1, 4, "5"},
        {"a: 5#x\n", 1, 4, "5#x"},
        {"a: [1, 22]\n", 1, 8, "22"},
        {"a: { b: 3 }\n", 1, 9, "3"},
        {"a: \"5\"\n", 1, 4, "\"5\""},
        {"a: \"5\\\"6\" # x\n", 1, 4, "\"5\\\"6\""},
        {"a: '5'\n", 1, 4, "'5'"},
        {"a: \"5", 1, 4, "\"5"},
        {"a: \"5\\", 1, 4, "\"5\\"},
        {"x\na: 0.5\r\n", 2, 4, "0.5"},
        {"\xC3\xA4\xE6\xB8\xA9: 7\n", 1, 5, "7"},
        {"a: b:c\n", 1, 4, "b:c"},
        {"a: b: c\n", 1, 4, "b"},
        {"a: b:", 1, 4, "b"},
        {"a: 5   \n", 1, 4, "5"},
        {"a: 5\n", 1, 5, ""},
        {"a: 5\n", 1, 40, ""},
        {"a: 5\n", 7, 1, NULL},
        {"", 1, 1, NULL},
        {"\xC3", 1, 2, NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t from = 0, to = 0;
        const bool ok = rt_scalar_at(cases[i].text, strlen(cases[i].text), cases[i].line,
                                     cases[i].col, &from, &to);
        if (ok != (cases[i].scalar != NULL))
            fail_msg("case %zu: %d", i, ok);
        if (ok && (to - from != strlen(cases[i].scalar) ||
                   memcmp(cases[i].text + from, cases[i].scalar, to - from) != 0))
            fail_msg("case %zu: %.*s", i, (int)(to - from), cases[i].text + from);
    }
}

static void rules_of_an_included_file_have_none(void **state)
{
    static const char own[] = "waypost_policy: 1\nversion: own\ninclude: [base.yaml]\nrules: []\n";
    static const char base[] =
        "waypost_policy: 1\nversion: base\n"
        "rules: [{ name: a, route: local, when: { confidence: { lt: 0.5 } } }]\n";
    const struct rt_source src[] = {{"own.yaml", own, strlen(own)},
                                    {"base.yaml", base, strlen(base)}};
    static struct rt_diags diags;
    struct rt_policy *p = NULL;
    struct rt_number at[4];
    int n = -1;
    (void)state;
    assert_int_equal(rt_policy_compile_sources(&p, src, 2, &diags), 0);
    rt_numbers(p, at, 4, &n);
    assert_int_equal(n, 0);
    rt_policy_free(p);
    p = NULL;
    assert_int_equal(rt_policy_compile(&p, rich, strlen(rich), &diags), 0);
    rt_numbers(p, at, 4, &n);
    assert_true(n >= 4);
    rt_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_listed_with_their_limits),         cmocka_unit_test(are_set),
        cmocka_unit_test(tell_the_fact_they_are_compared_with), cmocka_unit_test(stand_in_the_text),
        cmocka_unit_test(rules_of_an_included_file_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
