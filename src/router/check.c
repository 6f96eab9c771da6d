/* Two checks on finished conditions: a conjunction that no facts can fulfil, and a rule that an
 * earlier one always beats. Both are proofs from the text: they never refuse a rule that could
 * match, but they don't find every one that can't. */
#include "router/compile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

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

void rt_check_group(struct rt_compiler *c, uint32_t at)
{
    if (c->err != 0 || c->d->n_error > 0)
        return;
    const struct rt_cond *all = rt_conds(c);
    struct span span[RT_N_FACT];
    for (int i = 0; i < RT_N_FACT; i++)
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
                rt_diag_add(c->d, false, t->line, t->col,
                            "this can never hold: it contradicts what the same condition asks of "
                            "%s elsewhere",
                            rt_info(c->p, t->fact)->name);
                return;
            }
        }
    }
}
