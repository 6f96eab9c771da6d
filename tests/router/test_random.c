/* Random policies, facts and faults against an interpreter that is too simple to be wrong: what is
 * decided, that nothing leaves which is not named and permitted, that each decision lies in the
 * printed reach, and that what the compiler calls impossible never happens. WAYPOST_TRIPLES says
 * how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random_policy.h"
#include "../fixtures/wrap_alloc.h"

/* ---- what must hold of every decision that leaves ---- */

/* The row of the printed table that speaks of the class: its own, or the nearest above it. */
static bool in_reach(const struct rt_policy *p, const char *cls, enum rt_mode mode, int target)
{
    const struct rt_class_decl *best = NULL;
    size_t len = 0;
    for (int i = 0; i < rt_policy_n_class(p); i++) {
        const struct rt_class_decl *d = rt_policy_class(p, i);
        size_t n = strlen(d->name);
        bool self = strcmp(d->name, cls) == 0;
        bool above = strncmp(d->name, cls, n) == 0 && cls[n] == '.';
        if ((self && !d->below) || (above && n >= len && (best == NULL || d->below || n > len))) {
            best = d;
            len = n;
        }
        if (self && !d->below)
            break;
    }
    uint64_t bits = best == NULL ? 0 : mode == RT_PROMPT ? best->reach.prompt : best->reach.hidden;
    return (bits >> target & 1) != 0;
}

static void check_egress(const struct rt_policy *p, const struct gen_rule *r,
                         const struct rt_facts *f)
{
    const struct ask *only = classes_asked(r->when);
    const char *cls[RT_MAX_CLASS + 2];
    int n = ref_list(&subjects[0], f, cls);
    assert_true(n > 0);
    assert_string_equal(only->op, "only");
    for (int i = 0; i < n; i++) {
        bool named = false;
        for (int k = 0; k < only->n; k++)
            named |= ref_glob(patterns[only->val[k]], cls[i]);
        assert_true(named);
        assert_true(ref_permits(cls[i], r->mode, r->target));
        struct rt_pairs may = rt_policy_permits(p, cls[i]);
        assert_true(((r->mode == RT_PROMPT ? may.prompt : may.hidden) >> r->target & 1) != 0);
        if (!in_reach(p, cls[i], r->mode, r->target))
            print_message("# '%s' is not in the reach\n", cls[i]);
        assert_true(in_reach(p, cls[i], r->mode, r->target));
    }
}

/* ---- the run ---- */

static struct rt_diags diags;

static const struct rt_diag *first_error(void)
{
    int i = 0;
    while (i < diags.n && diags.at[i].warning)
        i++;
    assert_true(i < diags.n);
    return &diags.at[i];
}

/* The rule in whose text the finding is; its index, -1: none. */
static int rule_at(struct base_buf *text, int line)
{
    int at = -1, name = -1;
    const char *s = base_buf_cstr(text);
    for (int l = 1; l <= line && s != NULL; l++) {
        if (sscanf(s, "  - name: r%d", &name) == 1)
            at = name;
        s = strchr(s, '\n');
        s = s != NULL ? s + 1 : NULL;
    }
    for (int i = 0; i < made.n_rule; i++) {
        if (made.rule[i].name == at)
            return i;
    }
    return -1;
}

static struct counts {
    long triples, policies, indexed, left, dead, leaks, impossible;
} n;

/* A refusal must be justified; then the rule is taken out of the tree. False: start anew. */
static bool repair(struct base_buf *text)
{
    const struct rt_diag *why = first_error();
    int target, at = rule_at(text, why->line);
    char cls[80], mode[16];
    static struct given g;
    bool dead = strstr(why->msg, "can never match") != NULL;

    if (sscanf(why->msg, "class '%79[^']' may not leave by %15s to 't%d'", cls, mode, &target) ==
        3) {
        assert_false(ref_permits(cls, mode[0] == 'p' ? RT_PROMPT : RT_HIDDEN, target));
        n.leaks++;
    } else if (dead) {
        n.dead++;
    } else if (strstr(why->msg, "can never hold") != NULL) {
        n.impossible++;
    } else {
        print_message("# %d:%d %s\n", why->line, why->col, why->msg);
        printf("%.*s\n", (int)text->len, (const char *)text->data);
        fail();
    }
    assert_true(at >= 0);
    const struct map *m = made.rule[at].when;
    bool flat = m != NULL && m->n_any == 0 && m->n_all == 0 && m->no == NULL;
    for (int i = 0; i < 20; i++) {
        gen_facts(&g);
        if (dead)
            assert_int_not_equal(ref_decide(&g.f), at);
        else if (flat && strstr(why->msg, "hold") != NULL)
            assert_int_not_equal(ref_map(m, &g.f, made.rule[at].target, false), RT_YES);
    }
    if (at == 0)
        return false;
    memmove(&made.rule[at], &made.rule[at + 1],
            (size_t)(made.n_rule - at - 1) * sizeof made.rule[0]);
    made.n_rule--;
    return true;
}

static void show(const struct rt_policy *p, const struct rt_facts *f, int want,
                 struct base_buf *text)
{
    struct base_buf how;
    base_buf_init(&how, 1 << 18);
    if (rt_explain(p, f, false, &how) != 0)
        print_message("# no explanation\n");
    print_message("# wanted rule %d\n", want);
    printf("%s\n%s\n", base_buf_cstr(text), base_buf_cstr(&how));
    base_buf_fini(&how);
}

static bool check_one(const struct rt_policy *p, const struct given *g, struct base_buf *text)
{
    static struct rt_env env;
    struct rt_decision d;
    int want = ref_decide(&g->f), wanted = want < 0 ? -1 : want;
    long before = n_alloc;
    rt_decide(p, &g->f, &d);
    assert_int_equal(n_alloc, before);
    if (d.rule_index != wanted)
        show(p, &g->f, want, text);
    assert_int_equal(d.rule_index, wanted);
    assert_string_equal(d.rule, want == -2 ? "caller-hint" : want == -1 ? "default" : d.rule);
    assert_int_equal(d.route.mode, want < 0 ? RT_LOCAL : made.rule[want].mode);
    /* The linear reading of the compiled rules, and the three-valued one of explain. */
    rt_env_init(&env, p, &g->f);
    if (want != -2)
        assert_int_equal(rt_first_rule(p, &env), wanted);
    for (int i = 0; i <= wanted; i++)
        assert_true((rt_eval_rule(p, &env, &p->rule[i]) == RT_YES) == (i == wanted));
    bool leaves = d.route.mode == RT_PROMPT || d.route.mode == RT_HIDDEN;
    if (leaves) {
        check_egress(p, &made.rule[want], &g->f);
        assert_string_equal(d.route.target, target_name[made.rule[want].target]);
    }
    return leaves;
}

static void random_policies_mean_what_they_say(void **state)
{
    (void)state;
    enum { N_FACTS = 50 };
    const char *asked = getenv("WAYPOST_TRIPLES");
    const long goal = asked != NULL ? atol(asked) : 60000;
    struct base_buf text;
    static struct given g;
    base_buf_init(&text, 1 << 20);
    while (n.triples < goal) {
        struct rt_policy *p = NULL;
        int err;
        gen_policy();
        do {
            put_policy(&text);
            err = rt_policy_compile(&p, (const char *)text.data, text.len, &diags);
        } while (err != 0 && repair(&text));
        if (err != 0)
            continue;
        n.policies++;
        n.indexed += p->fast != NULL;
        for (int k = 0; k < N_FACTS; k++, n.triples++) {
            gen_facts(&g);
            n.left += check_one(p, &g, &text);
        }
        rt_policy_free(p);
    }
    print_message(
        "# %ld decisions under %ld policies (%ld with an index), %ld left the car; refused: "
        "%ld dead rules, %ld leaks, %ld conditions that can't hold\n",
        n.triples, n.policies, n.indexed, n.left, n.dead, n.leaks, n.impossible);
    assert_true(n.left > goal / 50 && n.dead > 50 && n.leaks > 50 && n.impossible > 50);
    assert_true(n.indexed > n.policies / 50);
    base_buf_fini(&text);
}

/* Enough thresholds that the numbers narrow the rules: the same rule as by looking at all. */
static void thresholds_narrow_and_lose_nothing(void **state)
{
    (void)state;
    enum { N_RULE = 700, N_TRY = 4000 };
    struct base_buf text;
    struct rt_policy *p = NULL;
    base_buf_init(&text, 1 << 20);
    base_buf_str(
        &text, "waypost_policy: 1\nversion: v\nsignals: { Vehicle.A: { type: number } }\nrules:\n");
    for (int i = 0; i < N_RULE; i++)
        base_buf_printf(
            &text,
            "  - { name: r%d, route: refuse, when: { request.prompt_tokens: { %s: %d, %s: "
            "%d }, Vehicle.A: { %s: %d.5 }, confidence: { %s: 0.%d } } }\n",
            i, i % 2 ? "ge" : "gt", i / 2 * 3, i % 3 ? "lt" : "le", i / 2 * 3 + 4 + i % 2,
            i % 2 ? "lt" : "ge", 10 + i % 7, i % 4 ? "gt" : "le", 1 + i % 9);
    int err = rt_policy_compile(&p, (const char *)text.data, text.len, &diags);
    if (err != 0)
        print_message("# %d:%d %s\n", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    assert_int_equal(err, 0);
    assert_non_null(p->fast);
    static struct rt_env env;
    int matched = 0;
    for (int k = 0; k < N_TRY; k++) {
        struct rt_facts f = {0};
        struct rt_named own = {"Vehicle.A", RT_FACT_REAL, {.have = rnd(9) > 0, .r = rnd(60) / 2.0}};
        struct rt_decision d;
        f.v[RT_F_REQ_PROMPT_TOK] = (struct rt_value){.have = rnd(9) > 0, .i = rnd(1100) - 20};
        f.v[RT_F_CONFIDENCE] = (struct rt_value){.have = rnd(9) > 0, .r = rnd(12) / 10.0};
        if (rnd(50) == 0)
            f.v[RT_F_REQ_PROMPT_TOK].i = rnd(2) ? INT64_MIN : INT64_MAX;
        f.named = &own;
        f.n_named = 1;
        rt_env_init(&env, p, &f);
        rt_decide(p, &f, &d);
        assert_int_equal(d.rule_index, rt_first_rule(p, &env));
        matched += d.rule_index >= 0;
    }
    assert_true(matched > N_TRY / 10);
    rt_policy_free(p);
    base_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_narrow_and_lose_nothing),
        cmocka_unit_test(random_policies_mean_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
