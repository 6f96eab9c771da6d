/* Times of day and days of the week: in conditions, in consents, as given, told and searched. */
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
#include "router/numbers.h"
#include "router/router.h"

#define HEAD "waypost_policy: 1\nversion: \"1\"\n" /* lines 1, 2 */
#define RULE(when) HEAD "rules:\n  - name: r\n    when: { " when " }\n    route: refuse\n"

static struct rt_diags diags;

static struct rt_policy *compiled(const char *text)
{
    struct rt_policy *p = NULL;
    if (rt_policy_compile(&p, text, strlen(text), &diags) != 0)
        fail_msg("%s\n%d:%d %s", text, diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    return p;
}

static void a_time_of_day_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want; /* -1: it is none */
    } t[] = {{"00:00", 0},   {"06:30", 390},   {"23:59", 1439}, {"24:00", -1},
             {"12:60", -1},  {"6:30", -1},     {"006:30", -1},  {"06:3", -1},
             {"06:300", -1}, {"06.30", -1},    {"", -1},        {"06", -1},
             {"06:", -1},    {"06:30:00", -1}, {"-1:30", -1},   {"ab:cd", -1}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        int64_t got = -2;
        bool ok = rt_clock_read(t[i].text, &got);
        assert_int_equal(ok, t[i].want >= 0);
        if (ok)
            assert_int_equal(got, t[i].want);
    }
}

/* What rule r answers at a minute of the day, -1: not known. */
static enum rt_tri answer(const struct rt_policy *p, int minute, const char *day)
{
    struct rt_facts f = {0};
    struct base_buf b;
    enum rt_tri tri;
    f.v[RT_F_TIME_OF_DAY] = (struct rt_value){.have = minute >= 0, .i = minute};
    f.v[RT_F_TIME_WEEKDAY] = (struct rt_value){.have = day != NULL, .s = day};
    base_buf_init(&b, 1 << 16);
    assert_int_equal(rt_explain_rule(p, &f, 0, &tri, &b), 0);
    base_buf_fini(&b);
    struct rt_decision d;
    rt_decide(p, &f, &d);
    assert_int_equal(d.rule_index, tri == RT_YES ? 0 : -1);
    return tri;
}

static void conditions_ask_for_it(void **state)
{
    (void)state;
    struct rt_policy *p = compiled(RULE("time.of_day: { between: [06:00, \"22:00\"] }"));
    assert_int_equal(answer(p, 359, NULL), RT_NO);
    assert_int_equal(answer(p, 360, NULL), RT_YES);
    assert_int_equal(answer(p, 1320, NULL), RT_YES);
    assert_int_equal(answer(p, 1321, NULL), RT_NO);
    assert_int_equal(answer(p, -1, NULL), RT_CANNOT_TELL);
    rt_policy_free(p);
    p = compiled(RULE("time.of_day: { between: [22:00, 06:00] }"));
    for (int m = 0; m < RT_DAY_MINUTES; m++)
        assert_int_equal(answer(p, m, NULL), m >= 1320 || m <= 360 ? RT_YES : RT_NO);
    assert_int_equal(answer(p, -1, NULL), RT_CANNOT_TELL);
    rt_policy_free(p);
    p = compiled(RULE("not: { time.of_day: { between: [22:00, 06:00] } }"));
    assert_int_equal(answer(p, 1320, NULL), RT_NO);
    assert_int_equal(answer(p, 720, NULL), RT_YES);
    assert_int_equal(answer(p, -1, NULL),
                     RT_CANNOT_TELL); /* a clock that is not set opens nothing */
    rt_policy_free(p);
    p = compiled(RULE("time.of_day: { between: [12:00, 12:00] }"));
    assert_int_equal(answer(p, 720, NULL), RT_YES);
    assert_int_equal(answer(p, 721, NULL), RT_NO);
    rt_policy_free(p);
    p = compiled(RULE("time.weekday: { in: [sat, sun] }, time.of_day: { lt: 12:00 }"));
    assert_int_equal(answer(p, 60, "sat"), RT_YES);
    assert_int_equal(answer(p, 60, "mon"), RT_NO);
    assert_int_equal(answer(p, 60, NULL), RT_CANNOT_TELL);
    rt_policy_free(p);
}

static void mistakes_have_places(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line, col;
        const char *says;
    } t[] = {
        {RULE("time.of_day: 24:00"), 5, 26, "00:00 to 23:59, not '24:00'"},
        {RULE("time.of_day: 360"), 5, 26, "a time of day"},
        {RULE("time.of_day: { lt: }"), 5, 32, "a time of day, not nothing"},
        {RULE("time.of_day: { between: [22:00] }"), 5, 37, "two numbers"},
        {RULE("time.of_day: { between: [25:00, 06:00] }"), 5, 38, "not '25:00'"},
        {RULE("time.of_day: { between: [22:00, 6] }"), 5, 45, "not '6'"},
        {RULE("time.of_day: { lt: 06:00, gt: 22:00 }"), 5, 43, "never hold"},
        {RULE("time.weekday: monday"), 5, 27, "one of mon|tue"},
        {HEAD "consents: { c: { lapses: day, between: 06:00 } }\nrules: []\n", 3, 40,
         "two times of day"},
        {HEAD "consents: { c: { lapses: day, between: [06:00] } }\nrules: []\n", 3, 40,
         "two times of day"},
        {HEAD "consents: { c: { lapses: day, between: [6, 7] } }\nrules: []\n", 3, 41,
         "a time of day"},
        {HEAD "consents: { c: { lapses: day, between: [06:00, 7] } }\nrules: []\n", 3, 48,
         "a time of day"},
        {HEAD "consents: { c: { lapses: day, days: mon } }\nrules: []\n", 3, 37,
         "takes a list of mon|tue"},
        {HEAD "consents: { c: { lapses: day, days: [] } }\nrules: []\n", 3, 37,
         "takes a list of mon|tue"},
        {HEAD "consents: { c: { lapses: day, days: [mo] } }\nrules: []\n", 3, 38,
         "a day must be one of"},
        {RULE("time.of_day: { lt: 06:00 }") "share: { edge: 0.5, moves: [{ rule: r, fact: "
                                            "time.of_day, min: 0, max: 9 }] }\n",
         7, 46, "no test lt"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct rt_policy *p = NULL;
        bool hit = false;
        assert_int_equal(rt_policy_compile(&p, t[i].text, strlen(t[i].text), &diags), BASE_EFORMAT);
        for (int k = 0; k < diags.n; k++)
            hit |= diags.at[k].line == t[i].line && diags.at[k].col == t[i].col &&
                   strstr(diags.at[k].msg, t[i].says) != NULL;
        if (!hit)
            fail_msg("%s\ngot %d:%d %s", t[i].text, diags.at[0].line, diags.at[0].col,
                     diags.at[0].msg);
    }
}

static void a_consent_has_hours(void **state)
{
    (void)state;
    struct rt_policy *p = compiled(
        HEAD "consents:\n  a: { lapses: trip, between: [22:00, 06:00], days: [mon, sun] }\n"
             "  b: { lapses: day }\n  c: { lapses: day, days: [wed, wed] }\nrules: []\n");
    const struct rt_consent_decl *a = rt_policy_consent(p, 0), *b = rt_policy_consent(p, 1);
    assert_true(a->has_hours);
    assert_int_equal(a->from_minute, 1320);
    assert_int_equal(a->to_minute, 360);
    assert_int_equal(a->days, 1 | 1 << 6);
    assert_false(b->has_hours);
    assert_int_equal(b->days, 0);
    assert_int_equal(rt_policy_consent(p, 2)->days, 1 << 2);
    rt_policy_free(p);
}

static void it_is_told_as_it_is_written(void **state)
{
    (void)state;
    struct rt_policy *p = compiled(RULE("time.of_day: { between: [22:00, 06:05] }"));
    struct rt_given g;
    struct base_err err = {0};
    struct base_buf b;
    static const char words[] = "time.of_day=05:09 time.weekday=fri";
    base_buf_init(&b, 1 << 16);
    rt_given_init(&g, p, 1 << 16);
    assert_int_equal(rt_given_line(&g, words, strlen(words), &err), 0);
    assert_int_equal(g.f.v[RT_F_TIME_OF_DAY].i, 309);
    assert_int_equal(rt_given_print(&g.f, &b), 0);
    assert_string_equal(base_buf_cstr(&b), words);
    base_buf_reset(&b);
    assert_int_equal(rt_explain(p, &g.f, RT_FORM_TEXT, &b), 0);
    assert_non_null(strstr(base_buf_cstr(&b), "time.of_day <= 06:05"));
    assert_non_null(strstr(base_buf_cstr(&b), "time.of_day is 05:09"));
    static const char *const bad[] = {"time.of_day=309", "time.of_day=24:00", "time.of_day="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(rt_given_word(&g, bad[i], strlen(bad[i]), &err), BASE_EFORMAT);
    /* What no clock says is told as the number that it is. */
    static const int64_t odd[] = {-5, RT_DAY_MINUTES};
    for (int i = 0; i < 2; i++) {
        char want[64];
        g.f.v[RT_F_TIME_OF_DAY].i = odd[i];
        base_buf_reset(&b);
        assert_int_equal(rt_explain(p, &g.f, RT_FORM_TEXT, &b), 0);
        snprintf(want, sizeof want, "time.of_day is %d", (int)odd[i]);
        assert_non_null(strstr(base_buf_cstr(&b), want));
    }
    rt_given_fini(&g);
    base_buf_fini(&b);
    rt_policy_free(p);
}

static int keep(void *ctx, const struct rt_diff_change *c)
{
    struct base_buf *out = ctx;
    base_buf_printf(out, "%s where %s facts ", c->a.rule, c->where);
    return rt_given_print(c->witness, out);
}

static void expect_diff(const char *one, const char *other, const char *want)
{
    struct rt_policy *a = compiled(one), *b = compiled(other);
    struct rt_diff_sum sum;
    struct base_err err = {0};
    struct base_buf out;
    base_buf_init(&out, 1 << 16);
    assert_int_equal(rt_diff(a, b, 1000000, keep, &out, &sum, &err), 0);
    assert_string_equal(base_buf_cstr(&out), want);
    base_buf_fini(&out);
    rt_policy_free(a);
    rt_policy_free(b);
}

/* No time is looked at that no clock says. */
static void policies_differ_by_it(void **state)
{
    (void)state;
    expect_diff(RULE("time.of_day: { le: 22:00 }"), RULE("time.of_day: { le: 22:30 }"),
                "default where time.of_day >= 22:01 and <= 22:30 facts time.of_day=22:29");
    expect_diff(RULE("time.of_day: { le: 23:59 }"), RULE("time.of_day: { lt: 23:59 }"),
                "r where time.of_day is 23:59 facts time.of_day=23:59");
    expect_diff(RULE("time.of_day: { le: 23:59 }"), RULE("time.of_day: { ge: 00:00 }"), "");
    expect_diff(RULE("time.weekday: { in: [sat, sun] }"),
                RULE("not: { time.weekday: { in: [mon, tue, wed, thu, fri] } }"), "");
    struct rt_policy *p = compiled(RULE("time.of_day: { le: 22:00 }"));
    struct rt_number n[1];
    int n_number;
    rt_numbers(p, n, 1, &n_number);
    assert_int_equal(n_number, 0); /* it is no number to fit */
    rt_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_of_day_is_read),       cmocka_unit_test(conditions_ask_for_it),
        cmocka_unit_test(mistakes_have_places),        cmocka_unit_test(a_consent_has_hours),
        cmocka_unit_test(it_is_told_as_it_is_written), cmocka_unit_test(policies_differ_by_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
