/* rt_diff: what it finds is so (facts that rt_decide decides differently), and what random facts
 * show it has found too. Each allocation failed once. */
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
#include "../fixtures/wrap_alloc.h"

static struct rt_diags diags;

static struct rt_policy *must_compile(const char *text)
{
    struct rt_policy *p = NULL;
    int err = rt_policy_compile(&p, text, strlen(text), &diags);
    if (err != 0)
        print_message("# %d:%d %s\n%s\n", diags.at[0].line, diags.at[0].col, diags.at[0].msg, text);
    assert_int_equal(err, 0);
    return p;
}

/* ---- what was found ---- */

enum { MAX_RULE = 12, MAX_WHERE = 64 };

struct seen {
    const struct rt_policy *a, *b;
    bool pair[MAX_RULE + 1][MAX_RULE + 1]; /* by rule_index + 1 */
    int n;
    char where[MAX_WHERE][400], facts[MAX_WHERE][400];
};

static int see(void *ctx, const struct rt_diff_change *c)
{
    struct seen *s = ctx;
    struct rt_decision a, b;
    struct base_buf line;

    rt_decide(s->a, c->witness, &a);
    rt_decide(s->b, c->witness, &b);
    assert_string_equal(a.rule, c->a.rule);
    assert_string_equal(b.rule, c->b.rule);
    s->pair[a.rule_index + 1][b.rule_index + 1] = true;
    base_buf_init(&line, 1 << 16);
    if (rt_given_print(c->witness, &line) == 0 && base_buf_cstr(&line) != NULL &&
        s->n < MAX_WHERE) {
        snprintf(s->facts[s->n], sizeof s->facts[0], "%s", base_buf_cstr(&line));
        snprintf(s->where[s->n], sizeof s->where[0], "%s", c->where);
    }
    base_buf_fini(&line);
    s->n++;
    return 0;
}

static int diff(struct seen *s, const struct rt_policy *a, const struct rt_policy *b,
                struct rt_diff_sum *sum, struct base_err *err)
{
    memset(s, 0, sizeof *s);
    s->a = a;
    s->b = b;
    return rt_diff(a, b, 50000000, see, s, sum, err);
}

#define HEAD                                \
    "waypost_policy: 1\nversion: v\n"       \
    "classes: { a: any, b: any, c: any }\n" \
    "targets: { cloud: { modes: [prompt, hidden] } }\n"
#define CLOUD "route: prompt, target: cloud }\n"

static void nothing_between_equals(void **state)
{
    (void)state;
    static struct seen s;
    struct rt_diff_sum sum;
    struct base_err err;
    struct rt_policy *a = must_compile(
        HEAD "rules:\n  - { name: x, when: { data.class: { only: [a, b.*] }, caller: me }, " CLOUD
             "  - { name: w, route: local }\n");
    struct rt_policy *b = must_compile(
        HEAD "rules:\n  - { name: z, when: { caller: me, data.class: { only: [b.*, a] } }, " CLOUD);
    assert_int_equal(diff(&s, a, a, &sum, &err), 0);
    assert_int_equal(sum.n_change + sum.n_open + sum.n_pair, 0); /* seen without a search */
    assert_int_equal(diff(&s, a, b, &sum, &err), 0);
    assert_int_equal(sum.n_change + sum.n_open, 0);
    rt_policy_free(a);
    rt_policy_free(b);
}

static void bounds_are_exact(void **state)
{
    (void)state;
    static struct seen s;
    struct rt_diff_sum sum;
    struct base_err err;
    struct rt_policy *a =
        must_compile(HEAD "rules:\n  - { name: x, when: { data.class: { only: [a] }, "
                          "link.rtt_ms: { le: 20 } }, " CLOUD);
    struct rt_policy *b =
        must_compile(HEAD "rules:\n  - { name: x, when: { data.class: { only: [a] }, "
                          "link.rtt_ms: { lt: 30 } }, " CLOUD);
    assert_int_equal(diff(&s, a, b, &sum, &err), 0);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.where[0], "data.class is a; link.rtt_ms@cloud > 20 and < 30");
    assert_string_equal(s.facts[0], "data.class=a link.rtt_ms@cloud=25");
    rt_policy_free(b);
    b = must_compile(HEAD "rules:\n  - { name: x, when: { data.class: { only: [a, a.x] }, "
                          "link.rtt_ms: { le: 20 } }, " CLOUD);
    assert_int_equal(diff(&s, a, b, &sum, &err), 0);
    assert_int_equal(s.n, 1);
    assert_non_null(strstr(s.where[0], "data.class has a.x and lacks a.other; ")); /* a or not */
    rt_policy_free(a);
    rt_policy_free(b);
}

static void an_effort_too_small_says_so(void **state)
{
    (void)state;
    static struct seen s = {0};
    struct rt_diff_sum sum;
    struct base_err err;
    struct rt_policy *a =
        must_compile(HEAD "rules:\n  - { name: x, when: { caller: a }, route: refuse }\n");
    struct rt_policy *b =
        must_compile(HEAD "rules:\n  - { name: x, when: { caller: b }, route: refuse }\n");
    s.a = a;
    s.b = b;
    assert_int_equal(rt_diff(a, b, 1, see, &s, &sum, &err), 0);
    assert_true(sum.n_open > 0);
    rt_policy_free(a);
    rt_policy_free(b);
}

/* ---- random policies against random facts ---- */

static uint64_t seed = 0x9E3779B97F4A7C15u;

static unsigned rnd(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

static const char *const classes[] = {"a", "b", "b.c", "b.c.d", "c", "a.x"};
static const char *const globs[] = {"a", "b", "b.c", "b.*", "b.c.*", "a.*", "c"};
static const char *const callers[] = {"me", "you", "them"};
static const char *const states[] = {"up", "down", "unknown"};

static const char *glob_list(char *out, size_t size)
{
    unsigned first = rnd(7), second = rnd(7);
    if (first == second)
        snprintf(out, size, "[\"%s\"]", globs[first]);
    else
        snprintf(out, size, "[\"%s\", \"%s\"]", globs[first], globs[second]);
    return out;
}

static void put_test(struct base_buf *t, int depth)
{
    char list[64];
    switch (rnd(depth > 0 ? 9 : 7)) {
    case 0:
        base_buf_printf(t, "caller: %s", callers[rnd(3)]);
        break;
    case 1:
        base_buf_printf(t, "request.prompt_tokens: { %s: %u }", rnd(2) != 0 ? "lt" : "ge", rnd(4));
        break;
    case 2:
        base_buf_printf(t, "model.confidence: { %s: 0.%u }", rnd(2) != 0 ? "gt" : "le", 1 + rnd(3));
        break;
    case 3:
        base_buf_printf(t, "link.state: { not: %s }", states[rnd(3)]);
        break;
    case 4:
        base_buf_printf(t, "request.stream: %s", rnd(2) != 0 ? "true" : "false");
        break;
    case 5:
        base_buf_printf(t, "data.class: { %s: %s }", rnd(2) != 0 ? "any" : "all",
                        glob_list(list, sizeof list));
        break;
    case 6:
        base_buf_printf(t, "data.history: { any: %s }", glob_list(list, sizeof list));
        break;
    case 7:
        base_buf_str(t, "not: { ");
        put_test(t, depth - 1);
        base_buf_str(t, " }");
        break;
    default:
        base_buf_str(t, "any: [ { ");
        put_test(t, depth - 1);
        base_buf_str(t, " }, { ");
        put_test(t, depth - 1);
        base_buf_str(t, " } ]");
    }
}

static void put_rule(struct base_buf *t, int i)
{
    char list[64];
    unsigned kind = rnd(3);

    base_buf_printf(t, "  - { name: r%d, when: { ", i);
    if (kind == 0)
        base_buf_printf(t, "data.class: { only: %s }, all: [ { ", glob_list(list, sizeof list));
    put_test(t, 2);
    base_buf_str(t, kind == 0   ? " } ] }, route: prompt, target: cloud }\n"
                    : kind == 1 ? " }, route: local }\n"
                                : " }, route: refuse }\n");
}

/* Two policies; half of the rules of the second are the first's. NULL where it doesn't compile
 * (contradictions, rules that never match). */
static struct rt_policy *random_policy(char keep[MAX_RULE][400], bool second)
{
    struct base_buf t;
    struct rt_policy *p = NULL;
    int n = 1 + (int)rnd(4);

    base_buf_init(&t, 1 << 16);
    base_buf_str(&t, HEAD "rules:\n");
    for (int i = 0; i < n; i++) {
        size_t at = t.len;
        if (second && rnd(2) != 0 && keep[i][0] != '\0') {
            base_buf_str(&t, keep[i]);
            continue;
        }
        put_rule(&t, i);
        if (!second)
            snprintf(keep[i], 400, "%s", base_buf_cstr(&t) + at);
    }
    int err = rt_policy_compile(&p, base_buf_cstr(&t), t.len, &diags);
    assert_true(err == 0 || err == BASE_EFORMAT);
    base_buf_fini(&t);
    return p;
}

static const char *history[3];

static void random_facts(struct rt_facts *f, struct rt_target_link *link)
{
    memset(f, 0, sizeof *f);
    memset(link, 0, sizeof *link);
    link->target = "cloud";
    f->link = link;
    f->n_link = 1;
    f->n_cls = (int)rnd(4);
    for (int i = 0; i < f->n_cls; i++)
        f->cls[i] = classes[rnd(6)];
    if (rnd(3) != 0)
        f->v[RT_F_CALLER] = (struct rt_value){.have = true, .s = callers[rnd(3)]};
    if (rnd(3) != 0)
        f->v[RT_F_REQ_PROMPT_TOK] = (struct rt_value){.have = true, .i = rnd(5)};
    if (rnd(3) != 0)
        f->v[RT_F_MODEL_CONFIDENCE] = (struct rt_value){.have = true, .r = rnd(10) / 20.0};
    if (rnd(3) != 0)
        f->v[RT_F_REQ_STREAM] = (struct rt_value){.have = true, .b = rnd(2) != 0};
    if (rnd(3) != 0)
        *rt_link(link, RT_F_LINK_STATE) = (struct rt_value){.have = true, .s = states[rnd(3)]};
    if (rnd(3) != 0) {
        unsigned n = rnd(3);
        for (unsigned i = 0; i < 3; i++)
            history[i] = i < n ? classes[rnd(6)] : NULL;
        f->v[RT_F_DATA_HISTORY] = (struct rt_value){.have = true, .list = history};
    }
}

static bool same(const struct rt_decision *a, const struct rt_decision *b)
{
    return a->route.mode == b->route.mode; /* one target, no other parameter */
}

static void random_facts_find_nothing_more(void **state)
{
    (void)state;
    static struct seen s;
    int n_pair = 0, n_change = 0, n_differ = 0;

    for (int round = 0; round < 3000; round++) {
        static char keep[MAX_RULE][400];
        struct rt_diff_sum sum;
        struct base_err err;
        memset(keep, 0, sizeof keep);
        struct rt_policy *a = random_policy(keep, false), *b = random_policy(keep, true);
        if (a == NULL || b == NULL) {
            rt_policy_free(a);
            rt_policy_free(b);
            continue;
        }
        n_pair++;
        assert_int_equal(diff(&s, a, b, &sum, &err), 0);
        assert_int_equal(sum.n_open, 0);
        n_change += sum.n_change;
        for (int i = 0; i < 300; i++) {
            struct rt_facts f;
            struct rt_target_link link;
            struct rt_decision da, db;
            random_facts(&f, &link);
            rt_decide(a, &f, &da);
            rt_decide(b, &f, &db);
            if (same(&da, &db))
                continue;
            n_differ++;
            if (!s.pair[da.rule_index + 1][db.rule_index + 1])
                fail_msg("round %d: %s against %s was not found", round, da.rule, db.rule);
        }
        rt_policy_free(a);
        rt_policy_free(b);
    }
    print_message("# %d pairs of policies, %d changes found, %d random facts differ\n", n_pair,
                  n_change, n_differ);
    assert_true(n_pair > 1000 && n_change > 1000 && n_differ > 10000);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    static struct seen s;
    struct rt_diff_sum sum;
    struct base_err err = {0};
    struct rt_policy *a =
        must_compile(HEAD "rules:\n  - { name: x, when: { data.class: { only: [a] }, caller: me, "
                          "link.rtt_ms: { le: 20 }, request.prompt_tokens: { lt: 3 } }, " CLOUD);
    struct rt_policy *b =
        must_compile(HEAD "rules:\n  - { name: x, when: { data.class: { only: [a] }, caller: me, "
                          "link.rtt_ms: { le: 30 }, request.prompt_tokens: { lt: 4 } }, " CLOUD);
    int rc = BASE_ENOMEM, n;
    for (n = 0; rc == BASE_ENOMEM && n < 10000; n++) {
        memset(&s, 0, sizeof s);
        s.a = a;
        s.b = b;
        n_alloc = 0;
        fail_at = n;
        rc = rt_diff(a, b, 1000000, see, &s, &sum, &err);
        fail_at = -1;
    }
    assert_int_equal(rc, 0);
    assert_true(n > 10);
    rt_policy_free(a);
    rt_policy_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_between_equals),
        cmocka_unit_test(bounds_are_exact),
        cmocka_unit_test(an_effort_too_small_says_so),
        cmocka_unit_test(random_facts_find_nothing_more),
        cmocka_unit_test(each_allocation_may_fail),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
