/* Facts of every kind, read by hand, shown and explained; texts of every character for the
 * detectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/compile.h"
#include "router/cover.h"
#include "router/detect.h"
#include "router/given.h"
#include "router/router.h"
#include "rich_policy.h"
#include "tried.h"

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
        found = 0;
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
        cmocka_unit_test(decisions_are_compared),
        cmocka_unit_test(decisions_are_explained),
        cmocka_unit_test(facts_without_names),
        cmocka_unit_test(detecting_in_any_text),
        cmocka_unit_test(facts_of_every_kind),
        cmocka_unit_test(facts_are_shown_whatever_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
