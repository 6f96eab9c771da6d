/* A conjunction that no facts can fulfil. This is a proof from the text: it never refuses a
 * condition that could hold, but it does not find every one that cannot. */
#include "router/compile.h"

#include <math.h>

/* ---- contradictions ---- */

/* What one group says about one fact. Doubles hold both number types here; integers past 2^53 lose
 * their last bits, which only blurs the check where nobody measures. */
struct span {
    double lo, hi;
    bool lo_open, hi_open; /* the bound itself is excluded */
    const struct rt_cond *eq;
};

static double as_number(const union rt_const *v, enum rt_fact_type type)
{
    switch (type) {
    case RT_FACT_INT:
        return (double)v->i;
    case RT_FACT_REAL:
        return v->r;
    case RT_FACT_BOOL:
        return v->b;
    default:
        return v->str;
    }
}

static bool empty_span(const struct span *s, enum rt_fact_type type)
{
    if (s->lo > s->hi)
        return true;
    if (type == RT_FACT_INT)
        return s->lo + s->lo_open > s->hi - s->hi_open;
    return !(s->lo < s->hi) && (s->lo_open || s->hi_open);
}

static void narrow(struct span *s, const struct rt_cond *c, double v)
{
    bool open = c->op == RT_OP_LT || c->op == RT_OP_GT;
    bool low = c->op == RT_OP_GT || c->op == RT_OP_GE || c->op == RT_OP_EQ;
    bool high = c->op == RT_OP_LT || c->op == RT_OP_LE || c->op == RT_OP_EQ;

    if (low && (v > s->lo || (!(v < s->lo) && open))) {
        s->lo = v;
        s->lo_open = open;
    }
    if (high && (v < s->hi || (!(v > s->hi) && open))) {
        s->hi = v;
        s->hi_open = open;
    }
}

static bool inside(const struct span *s, double v)
{
    return v >= s->lo && v <= s->hi && !(s->lo_open && v <= s->lo) && !(s->hi_open && v >= s->hi);
}

/* Whether c, a test of a fact whose values lie in s, leaves nothing. */
static bool leaves_nothing(struct rt_compiler *comp, const struct rt_cond *c, const struct span *s,
                           enum rt_fact_type type)
{
    if (c->op == RT_OP_NOT) /* of an EQ leaf, which follows it */
        return !(s->lo < s->hi) && inside(s, as_number(&c[1].val, type));
    if (c->op != RT_OP_IN)
        return false;
    for (uint32_t i = 0; i < c->n_item; i++) {
        if (inside(s, as_number(&rt_items(comp)[c->item + i].val, type)))
            return false;
    }
    return true;
}

static bool is_test(const struct rt_cond *c)
{
    if (c->op == RT_OP_NOT)
        return c[1].op == RT_OP_EQ && c->end == (uint32_t)(c[1].end);
    return c->op >= RT_OP_EQ && c->op <= RT_OP_IN;
}

/* ---- lists of classes ---- */

enum { MAX_LISTS = 16 }; /* of one group; what is past them is not checked */

/* A direct test of classes in the group, or the `not` of one. */
struct cls_test {
    enum rt_op op;
    bool no;
    int fact, line, col;
    struct rt_list list;
};

static int class_tests(struct rt_compiler *c, uint32_t at, struct cls_test *out)
{
    const struct rt_cond *all = rt_conds(c);
    int n = 0;

    for (uint32_t i = at + 1; i < all[at].end && n < MAX_LISTS; i = all[i].end) {
        const struct rt_cond *t = &all[i];
        bool no = t->op == RT_OP_NOT && t[1].op == RT_OP_ALL && t[2].end == t->end;
        if (no)
            t += 2;
        if (t->op < RT_OP_CLS_ANY)
            continue;
        out[n++] = (struct cls_test){(enum rt_op)t->op, no,     t->fact,
                                     t->line,           t->col, {rt_items(c) + t->item, t->n_item}};
    }
    return n;
}

static bool all_meet(const struct rt_policy *p, const struct rt_list *only,
                     const struct rt_list *all)
{
    for (uint32_t i = 0; i < all->n; i++) {
        if (!rt_list_meets(p, only, &all->at[i]))
            return false;
    }
    return true;
}

static bool some_within(const struct rt_policy *p, const struct rt_list *all,
                        const struct rt_list *no)
{
    for (uint32_t i = 0; i < all->n; i++) {
        if (rt_list_has(p, no, &all->at[i]))
            return true;
    }
    return false;
}

/* Whether no set of classes meets both. data.class is never empty; other sets may be, and then
 * every `only` holds. */
static bool at_odds(const struct rt_policy *p, const struct cls_test *a, const struct cls_test *b)
{
    bool filled = a->fact == RT_F_DATA_CLASS;

    if (a->no)
        return a->op == RT_OP_CLS_ANY && !b->no &&
               (b->op == RT_OP_CLS_ANY    ? rt_list_within(p, &b->list, &a->list)
                : b->op == RT_OP_CLS_ONLY ? filled && rt_list_within(p, &b->list, &a->list)
                                          : some_within(p, &b->list, &a->list));
    if (a->op != RT_OP_CLS_ONLY || b->no)
        return false;
    return b->op == RT_OP_CLS_ANY    ? !rt_lists_meet(p, &a->list, &b->list)
           : b->op == RT_OP_CLS_ONLY ? filled && !rt_lists_meet(p, &a->list, &b->list)
                                     : !all_meet(p, &a->list, &b->list);
}

static void check_classes(struct rt_compiler *c, uint32_t at)
{
    struct cls_test t[MAX_LISTS];
    int n = class_tests(c, at, t);

    for (int i = 1; i < n; i++) {
        for (int k = 0; k < i; k++) {
            if (t[i].fact != t[k].fact ||
                (!at_odds(c->p, &t[i], &t[k]) && !at_odds(c->p, &t[k], &t[i])))
                continue;
            rt_diag_add(c->d, RT_C_CONTRADICTION, t[i].line, t[i].col,
                        "this can never hold: it contradicts what the same condition asks of %s "
                        "in line %d",
                        rt_info(c->p, t[i].fact)->name, t[k].line);
            return;
        }
    }
}

/* ---- the group ---- */

static void check_values(struct rt_compiler *c, uint32_t at)
{
    const struct rt_cond *all = rt_conds(c);
    struct span span[RT_MAX_FACT];
    for (int i = 0; i < RT_MAX_FACT; i++)
        span[i] = (struct span){.lo = -HUGE_VAL, .hi = HUGE_VAL};
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = at + 1; i < all[at].end; i = all[i].end) {
            const struct rt_cond *t = &all[i];
            enum rt_fact_type type = rt_info(c->p, t->fact)->type;
            if (!is_test(t))
                continue;
            if (pass == 0 && t->op != RT_OP_NOT && t->op != RT_OP_IN)
                narrow(&span[t->fact], t, as_number(&t->val, type));
            if (pass == 0 ? empty_span(&span[t->fact], type)
                          : leaves_nothing(c, t, &span[t->fact], type)) {
                rt_diag_add(c->d, RT_C_CONTRADICTION, t->line, t->col,
                            "this can never hold: it contradicts what the same condition asks of "
                            "%s elsewhere",
                            rt_info(c->p, t->fact)->name);
                return;
            }
        }
    }
}

void rt_check_group(struct rt_compiler *c, uint32_t at)
{
    if (c->err != 0 || c->d->n_error > 0)
        return;
    check_classes(c, at);
    if (c->d->n_error == 0)
        check_values(c, at);
}
