/* For each pair of rules with different outcomes: can the first policy decide by the one and the
 * second by the other? Both rules must say yes, and none before them may. Variables are given a
 * region one at a time, with backtracking; an assignment that already forces an answer otherwise is
 * left at once (Davis, Putnam, Logemann, Loveland 1962, with three-valued leaves). */
#include "router/diff.h"

#include <stdlib.h>
#include <string.h>

#include "router/diff_vars.h"
#include "router/given.h"

struct goal {
    int s, rule;
    bool yes; /* must say yes; else must not */
};

struct classes {
    struct rt_bits has, lacks;
    int known; /* -1: free, 0, 1 */
    int n_has, n_lacks;
};

struct search {
    struct rt_dvars v;
    int *region; /* [n_var] -1: free */
    struct classes cls[RT_N_CLS_FACT];
    struct goal *goal; /* [n_goal] */
    int n_goal;
    int *outcome[2]; /* [n_rule + 1] number of the outcome; the last: no rule */
    int64_t left;    /* effort */
};

enum verdict { IMPOSSIBLE, POSSIBLE, OPEN };

/* ---- what a condition can still answer ---- */

static bool meets(const struct rt_bits *a, const struct rt_bits *b)
{
    for (int i = 0; i < RT_DIFF_WORDS; i++) {
        if ((a->w[i] & b->w[i]) != 0)
            return true;
    }
    return false;
}

static bool within(const struct rt_bits *a, const struct rt_bits *b)
{
    for (int i = 0; i < RT_DIFF_WORDS; i++) {
        if ((a->w[i] & ~b->w[i]) != 0)
            return false;
    }
    return true;
}

static unsigned both(unsigned a, unsigned b)
{
    const unsigned may = RT_CAN_YES | RT_CAN_NOT_TELL;
    unsigned out = (a | b) & RT_CAN_NO;
    out |= a & b & RT_CAN_YES;
    if (((a & RT_CAN_NOT_TELL) != 0 && (b & may) != 0) ||
        ((b & RT_CAN_NOT_TELL) != 0 && (a & may) != 0))
        out |= RT_CAN_NOT_TELL;
    return out;
}

static unsigned negate(unsigned a)
{
    return (a & RT_CAN_NOT_TELL) | ((a & RT_CAN_NO) != 0 ? RT_CAN_YES : 0U) |
           ((a & RT_CAN_YES) != 0 ? RT_CAN_NO : 0U);
}

/* Is a kind of m there? */
static unsigned can_meet(const struct classes *c, const struct rt_bits *m)
{
    return meets(m, &c->has)      ? RT_CAN_YES
           : within(m, &c->lacks) ? RT_CAN_NO
                                  : RT_CAN_YES | RT_CAN_NO;
}

static unsigned can_classes(const struct search *s, const struct rt_cond *cond,
                            const struct rt_dleaf *l)
{
    const struct classes *c = &s->cls[rt_cls_index(cond->fact)];
    unsigned out = RT_CAN_YES;

    if (c->known == 0)
        return RT_CAN_NOT_TELL;
    if (cond->op == RT_OP_CLS_ALL) {
        for (uint32_t i = 0; i < cond->n_item; i++)
            out = both(out, can_meet(c, &l->mask[i]));
    } else {
        out = can_meet(c, l->mask);
        out = cond->op == RT_OP_CLS_ONLY ? negate(out) : out;
    }
    return c->known < 0 ? out | RT_CAN_NOT_TELL : out;
}

static unsigned can(struct search *s, int side, uint32_t at)
{
    const struct rt_policy *p = s->v.p[side].p;
    const struct rt_cond *c = &p->cond[at];
    const struct rt_dleaf *l = &s->v.p[side].leaf[at];

    if (c->op >= RT_OP_CLS_ANY || c->op > RT_OP_NOT)
        s->left--;
    if (c->op >= RT_OP_CLS_ANY)
        return can_classes(s, c, l);
    if (c->op > RT_OP_NOT)
        return l->var < 0              ? RT_CAN_NOT_TELL
               : s->region[l->var] < 0 ? l->any
                                       : 1U << l->tri[s->region[l->var]];
    if (c->op == RT_OP_NOT)
        return negate(can(s, side, at + 1));
    unsigned out = RT_CAN_YES; /* any = not (all of not) */
    for (uint32_t i = at + 1; i < c->end && out != RT_CAN_NO; i = p->cond[i].end) {
        unsigned child = can(s, side, i);
        out = both(out, c->op == RT_OP_ALL ? child : negate(child));
    }
    return c->op == RT_OP_ALL ? out : negate(out);
}

static unsigned can_rule(struct search *s, const struct goal *g)
{
    const struct rt_rule *r = &s->v.p[g->s].p->rule[g->rule];
    return r->cond == r->end ? RT_CAN_YES : can(s, g->s, r->cond);
}

/* POSSIBLE: every goal is met whatever is still free. OPEN: *open is one that depends. */
static enum verdict check(struct search *s, const struct goal **open)
{
    *open = NULL;
    for (int i = 0; i < s->n_goal; i++) {
        const struct goal *g = &s->goal[i];
        unsigned m = can_rule(s, g);
        bool can_yes = (m & RT_CAN_YES) != 0, only_yes = m == RT_CAN_YES;
        if (g->yes ? !can_yes : only_yes)
            return IMPOSSIBLE;
        if (*open == NULL && (g->yes ? !only_yes : can_yes))
            *open = g;
    }
    return *open == NULL ? POSSIBLE : OPEN;
}

/* ---- choosing ---- */

struct choice {
    int side;
    uint32_t at;
    bool yes; /* what the leaf shall say, if it can be had */
};

/* A leaf on which the condition depends. */
static struct choice pick(struct search *s, const struct goal *g)
{
    const struct rt_policy *p = s->v.p[g->s].p;
    struct choice c = {g->s, p->rule[g->rule].cond, g->yes};

    while (p->cond[c.at].op <= RT_OP_NOT) {
        uint32_t i = c.at + 1;
        if (p->cond[c.at].op == RT_OP_NOT) {
            c.yes = !c.yes;
        } else {
            for (unsigned m = can(s, c.side, i); (m & (m - 1)) == 0; m = can(s, c.side, i))
                i = p->cond[i].end;
        }
        c.at = i;
    }
    return c;
}

static enum verdict search(struct search *s);

static enum verdict try_regions(struct search *s, const struct choice *c)
{
    const struct rt_dleaf *l = &s->v.p[c->side].leaf[c->at];
    const struct rt_dvar *var = &s->v.var[l->var];
    enum rt_tri first = c->yes ? RT_YES : RT_NO;
    enum verdict out = IMPOSSIBLE;

    for (int turn = 0; turn < 3 && out == IMPOSSIBLE; turn++) {
        enum rt_tri want = turn == 0 ? first : turn == 2 ? RT_YES + RT_NO - first : RT_CANNOT_TELL;
        for (int r = 0; r < var->n_region && out == IMPOSSIBLE; r++) {
            if (l->tri[r] != want)
                continue;
            s->region[l->var] = r;
            out = search(s);
        }
    }
    if (out != POSSIBLE)
        s->region[l->var] = -1;
    return out;
}

static bool put_kind(struct search *s, int cf, int kind, bool has)
{
    struct classes *c = &s->cls[cf];
    rt_bit_set(has ? &c->has : &c->lacks, kind, true);
    *(has ? &c->n_has : &c->n_lacks) += 1;
    return c->n_has <= RT_MAX_CLASS && (cf != 0 || c->n_lacks < s->v.cls[cf].n_kind);
}

static void take_kind(struct search *s, int cf, int kind, bool has)
{
    struct classes *c = &s->cls[cf];
    rt_bit_set(has ? &c->has : &c->lacks, kind, false);
    *(has ? &c->n_has : &c->n_lacks) -= 1;
}

/* A free kind of the leaf's lists that can change its answer. */
static int free_kind(const struct search *s, const struct rt_cond *cond, const struct rt_dleaf *l)
{
    const struct classes *c = &s->cls[rt_cls_index(cond->fact)];
    uint32_t n = cond->op == RT_OP_CLS_ALL ? cond->n_item : 1;

    for (uint32_t i = 0; i < n; i++) {
        if (can_meet(c, &l->mask[i]) != (RT_CAN_YES | RT_CAN_NO))
            continue;
        for (int k = 0; k < s->v.cls[rt_cls_index(cond->fact)].n_kind; k++) {
            if (rt_bit(&l->mask[i], k) && !rt_bit(&c->has, k) && !rt_bit(&c->lacks, k))
                return k;
        }
    }
    return -1;
}

static enum verdict try_classes(struct search *s, const struct choice *ch)
{
    const struct rt_cond *cond = &s->v.p[ch->side].p->cond[ch->at];
    int cf = rt_cls_index(cond->fact);
    enum verdict out = IMPOSSIBLE;

    if (s->cls[cf].known < 0) {
        for (int turn = 0; turn < 2 && out == IMPOSSIBLE; turn++) {
            s->cls[cf].known = turn == 0;
            out = search(s);
        }
        if (out != POSSIBLE)
            s->cls[cf].known = -1;
        return out;
    }
    int kind = free_kind(s, cond, &s->v.p[ch->side].leaf[ch->at]);
    bool first = ch->yes != (cond->op == RT_OP_CLS_ONLY); /* ONLY's mask is what must be missing */
    for (int turn = 0; turn < 2 && out == IMPOSSIBLE; turn++) {
        bool has = turn == 0 ? first : !first;
        out = put_kind(s, cf, kind, has) ? search(s) : IMPOSSIBLE;
        if (out != POSSIBLE)
            take_kind(s, cf, kind, has);
    }
    return out;
}

static enum verdict search(struct search *s)
{
    const struct goal *open;
    enum verdict out = check(s, &open);

    if (out != OPEN || s->left <= 0)
        return out;
    struct choice c = pick(s, open);
    return s->v.p[c.side].p->cond[c.at].op >= RT_OP_CLS_ANY ? try_classes(s, &c)
                                                            : try_regions(s, &c);
}

/* ---- pairs ---- */

static void add_goals(struct search *s, int side, int rule)
{
    const struct rt_dpolicy *d = &s->v.p[side];
    for (int i = 0; i < rule; i++) {
        /* The same rule stands among the first policy's goals. */
        bool twice = side == 1 && d->match[i] >= 0 && d->match[i] < s->goal[0].rule;
        if (!twice)
            s->goal[s->n_goal++] = (struct goal){side, i, false};
    }
}

/* In a rule that must say yes, `only` leaves no choice about what it doesn't list. */
static bool propagate(struct search *s, const struct goal *g)
{
    const struct rt_policy *p = s->v.p[g->s].p;
    const struct rt_rule *r = &p->rule[g->rule];

    for (uint32_t at = r->cond + 1; at < r->end; at = p->cond[at].end) {
        if (p->cond[at].op != RT_OP_CLS_ONLY)
            continue;
        int cf = rt_cls_index(p->cond[at].fact);
        s->cls[cf].known = 1;
        for (int k = 0; k < s->v.cls[cf].n_kind; k++) {
            if (rt_bit(s->v.p[g->s].leaf[at].mask, k) && !rt_bit(&s->cls[cf].lacks, k) &&
                !put_kind(s, cf, k, false))
                return false;
        }
    }
    return true;
}

static enum verdict solve(struct search *s, int a, int b)
{
    bool go = true;

    for (int i = 0; i < s->v.n_var; i++)
        s->region[i] = -1;
    for (int cf = 0; cf < RT_N_CLS_FACT; cf++)
        s->cls[cf] = (struct classes){.known = cf == 0 ? 1 : -1};
    s->n_goal = 2;
    s->goal[0] = (struct goal){0, a, true};
    s->goal[1] = (struct goal){1, b, true};
    add_goals(s, 0, a);
    add_goals(s, 1, b);
    /* No rule of a policy: nothing says yes. */
    for (int side = 1; side >= 0; side--) {
        if (s->goal[side].rule == s->v.p[side].p->n_rule)
            s->goal[side] = s->goal[--s->n_goal];
        else
            go = go && propagate(s, &s->goal[side]);
    }
    return go ? search(s) : IMPOSSIBLE;
}

/* One of the pair stands in both policies, and there decides before the other is asked. */
static bool ruled_out(const struct search *s, int a, int b)
{
    int in_b = a < s->v.p[0].p->n_rule ? s->v.p[0].match[a] : -1;
    int in_a = b < s->v.p[1].p->n_rule ? s->v.p[1].match[b] : -1;
    return (in_b >= 0 && in_b < b) || (in_a >= 0 && in_a < a);
}

/* ---- telling ---- */

static const struct rt_dval *value_of(const struct rt_dvar *var, int region)
{
    const struct rt_dval *best = NULL;
    for (int k = 0; k < var->n_val; k++) {
        const struct rt_dval *val = &var->val[k];
        bool number = var->info->type == RT_FACT_REAL;
        if (val->region == region &&
            (best == NULL || (number && best->point && !val->point && val->v.have)))
            best = val;
    }
    return best;
}

static int set_classes(struct search *s, int cf, struct rt_given *g, struct base_err *err)
{
    static const int fact[RT_N_CLS_FACT] = {RT_F_DATA_CLASS, RT_F_DATA_DECLARED, RT_F_DATA_DETECTED,
                                            RT_F_DATA_HISTORY, RT_F_HISTORY_RELEASED};
    const struct classes *c = &s->cls[cf];
    struct rt_place at;
    int rc = 0, n = s->v.cls[cf].n_kind;

    if (!s->v.cls[cf].used || c->known <= 0)
        return 0;
    rc = rt_given_place(g, rt_fact_info[fact[cf]].name, NULL, &at, err);
    for (int k = 0; k < n && rc == 0; k++) {
        /* of a context without any class that matters, one that doesn't */
        bool any = cf == 0 && c->n_has == 0 && g->f.n_cls == 0 && !rt_bit(&c->lacks, k);
        const char *cls = s->v.cls[cf].kind[k];
        if (rt_bit(&c->has, k) || any)
            rc = rt_given_class(g, &at, cls, strlen(cls), err);
    }
    if (rc == 0 && cf > 0 && !at.v->have) { /* known to be empty */
        at.v->list = base_arena_get(&g->arena, sizeof *at.v->list);
        at.v->have = at.v->list != NULL;
    }
    return rc;
}

static int make_witness(struct search *s, struct rt_given *g, struct base_err *err)
{
    int rc = 0;

    for (int i = 0; i < s->v.n_var && rc == 0; i++) {
        const struct rt_dvar *var = &s->v.var[i];
        const struct rt_dval *val = s->region[i] >= 0 ? value_of(var, s->region[i]) : NULL;
        struct rt_place at;
        if (val == NULL || !val->v.have)
            continue;
        rc = rt_given_place(g, var->name, var->target, &at, err);
        if (rc == BASE_ENOTFOUND) /* a fact of the other policy's own */
            rc = rt_given_own(g, var->name, var->info->type, &at, err);
        if (rc == 0)
            *at.v = val->v;
    }
    g->f.link = g->link; /* each target has its own, known or not */
    for (int cf = 0; cf < RT_N_CLS_FACT && rc == 0; cf++)
        rc = set_classes(s, cf, g, err);
    return rc;
}

static void put_kinds(const struct rt_dclass *c, const struct rt_bits *which, const char *word,
                      struct base_buf *out)
{
    int n = 0;
    for (int k = 0; k < c->n_kind; k++) {
        if (rt_bit(which, k))
            base_buf_printf(out, "%s%s", n++ == 0 ? word : ", ", c->kind[k]);
    }
}

/* What is neither asked for nor excluded: of a context's classes, at least one is there. */
static bool put_rest(const struct classes *c, const struct rt_dclass *d, struct base_buf *out)
{
    int n = d->n_kind - c->n_lacks;
    struct rt_bits rest;

    if (c->n_has > 0 || n > c->n_lacks)
        return false;
    for (int i = 0; i < RT_DIFF_WORDS; i++)
        rest.w[i] = ~c->lacks.w[i];
    put_kinds(d, &rest, n == 1 ? " is " : " is some of ", out);
    return true;
}

static void put_where(struct search *s, struct base_buf *out)
{
    static const char *const name[RT_N_CLS_FACT] = {"data.class", "data.declared", "data.detected",
                                                    "data.history", "history.released"};
    for (int cf = 0; cf < RT_N_CLS_FACT; cf++) {
        const struct classes *c = &s->cls[cf];
        const struct rt_dclass *d = &s->v.cls[cf];
        bool only = d->n_kind > 0 && c->n_has > 0 && c->n_has + c->n_lacks == d->n_kind;
        if (!d->used || (c->n_has == 0 && c->n_lacks == 0 && (cf == 0 || c->known < 0)))
            continue;
        base_buf_printf(out, "%s%s%s", out->len > 0 ? "; " : "", name[cf],
                        c->known == 0 ? " is not known" : "");
        if (cf == 0 && put_rest(c, d, out))
            continue;
        put_kinds(d, &c->has, only ? " is " : " has ", out);
        if (!only)
            put_kinds(d, &c->lacks, c->n_has > 0 ? " and lacks " : " lacks ", out);
    }
    for (int i = 0; i < s->v.n_var; i++) {
        if (s->region[i] < 0)
            continue;
        base_buf_str(out, out->len > 0 ? "; " : "");
        rt_dvars_text(&s->v, i, s->region[i], out);
    }
}

static int tell(struct search *s, int a, int b,
                int (*found)(void *ctx, const struct rt_diff_change *c), void *ctx,
                struct base_err *err)
{
    struct rt_given *g = malloc(sizeof *g);
    struct rt_diff_change c = {.witness = g != NULL ? &g->f : NULL};
    struct base_buf where;

    if (g == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory");
    rt_given_init(g, s->v.p[0].p, 1 << 22);
    base_buf_init(&where, 1 << 22);
    int rc = make_witness(s, g, err);
    if (rc == 0) {
        put_where(s, &where);
        c.where = base_buf_cstr(&where);
        rt_decide(s->v.p[0].p, &g->f, &c.a);
        rt_decide(s->v.p[1].p, &g->f, &c.b);
        bool ok = c.a.rule_index == (a < s->v.p[0].p->n_rule ? a : -1) &&
                  c.b.rule_index == (b < s->v.p[1].p->n_rule ? b : -1);
        rc = c.where == NULL ? base_err_set(err, BASE_ENOMEM, "", "out of memory")
             : !ok           ? base_err_set(err, BASE_EINTERNAL, c.a.rule,
                                            "the facts found do not show the difference")
                             : found(ctx, &c);
    }
    base_buf_fini(&where);
    rt_given_fini(g);
    free(g);
    return rc;
}

/* Numbers equal outcomes equally. */
static void number_outcomes(struct search *s)
{
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i <= s->v.p[side].p->n_rule; i++) {
            struct rt_decision d, other;
            int n_a = s->v.p[0].p->n_rule, id = -1;
            rt_decision_set(s->v.p[side].p, i < s->v.p[side].p->n_rule ? i : -1, &d);
            for (int k = 0; k < (side == 0 ? i : n_a + 1 + i) && id < 0; k++) {
                int of = k <= n_a ? 0 : 1, at = k <= n_a ? k : k - n_a - 1;
                rt_decision_set(s->v.p[of].p, at < s->v.p[of].p->n_rule ? at : -1, &other);
                id = rt_decision_same(&d, &other) ? s->outcome[of][at] : -1;
            }
            s->outcome[side][i] = id >= 0 ? id : side == 0 ? i : n_a + 1 + i;
        }
    }
}

int rt_diff(const struct rt_policy *a, const struct rt_policy *b, int64_t effort,
            int (*found)(void *ctx, const struct rt_diff_change *c), void *ctx,
            struct rt_diff_sum *sum, struct base_err *err)
{
    struct search s = {.v = {.p = {{.p = a}, {.p = b}}}, .left = effort};
    struct base_arena *m = &s.v.arena;

    *sum = (struct rt_diff_sum){0};
    int rc = rt_dvars_init(&s.v, err);
    if (rc != 0)
        goto out;
    s.region = base_arena_get(m, sizeof *s.region * ((size_t)s.v.n_var + 1));
    s.goal = base_arena_get(m, sizeof *s.goal * ((size_t)a->n_rule + (size_t)b->n_rule + 2));
    s.outcome[0] = base_arena_get(m, sizeof(int) * ((size_t)a->n_rule + 1));
    s.outcome[1] = base_arena_get(m, sizeof(int) * ((size_t)b->n_rule + 1));
    if (s.region == NULL || s.goal == NULL || s.outcome[0] == NULL || s.outcome[1] == NULL) {
        rc = base_err_set(err, BASE_ENOMEM, "", "out of memory");
        goto out;
    }
    number_outcomes(&s);
    for (int i = 0; i <= a->n_rule && rc == 0; i++) {
        for (int k = 0; k <= b->n_rule && rc == 0; k++) {
            if (s.outcome[0][i] == s.outcome[1][k] || ruled_out(&s, i, k))
                continue;
            sum->n_pair++;
            enum verdict v = s.left > 0 ? solve(&s, i, k) : OPEN;
            sum->n_open += v == OPEN;
            sum->n_change += v == POSSIBLE;
            if (v == POSSIBLE)
                rc = tell(&s, i, k, found, ctx, err);
        }
    }
    sum->effort = effort - s.left;
out:
    rt_dvars_fini(&s.v);
    return rc;
}
