/* Whether one test makes another one true, whatever the facts: what proves rules dead. Says yes
 * only where it is sure. */
#include "router/compile.h"

#include <math.h>

/* The values that a test of a number lets pass, if they are one range. */
struct range {
    double lo, hi;
    bool lo_open, hi_open;
};

static double number(const struct rt_policy *p, int fact, const union rt_const *v)
{
    enum rt_fact_type type = rt_info(p, fact)->type;
    return type == RT_FACT_INT ? (double)v->i : type == RT_FACT_REAL ? v->r : v->b;
}

/* Integers past 2^53 are not told apart as doubles: nothing is said of them. */
static bool exact(double v)
{
    return fabs(v) < 9007199254740992.0;
}

static bool range_of(const struct rt_policy *p, const struct rt_cond *t, struct range *r)
{
    double v = number(p, t->fact, &t->val);
    bool whole = rt_info(p, t->fact)->type == RT_FACT_INT;

    if (t->op < RT_OP_EQ || t->op > RT_OP_GE || t->move != 0 || !exact(v))
        return false;
    *r = (struct range){.lo = -HUGE_VAL, .hi = HUGE_VAL};
    if (t->op == RT_OP_EQ || t->op == RT_OP_GE || t->op == RT_OP_GT)
        r->lo = v + (whole && t->op == RT_OP_GT);
    if (t->op == RT_OP_EQ || t->op == RT_OP_LE || t->op == RT_OP_LT)
        r->hi = v - (whole && t->op == RT_OP_LT);
    r->lo_open = t->op == RT_OP_GT && !whole;
    r->hi_open = t->op == RT_OP_LT && !whole;
    return true;
}

static bool range_has(const struct range *r, double v)
{
    return v >= r->lo && v <= r->hi && !(r->lo_open && v <= r->lo) && !(r->hi_open && v >= r->hi);
}

static bool range_within(const struct range *in, const struct range *out)
{
    return (in->lo > out->lo || (in->lo >= out->lo && (in->lo_open || !out->lo_open))) &&
           (in->hi < out->hi || (in->hi <= out->hi && (in->hi_open || !out->hi_open)));
}

/* Whether a single value passes the later test e, or, no, does not. */
static bool passes(const struct rt_policy *p, const struct rt_cond *e, const union rt_const *v)
{
    enum rt_fact_type type = rt_info(p, e->fact)->type;
    struct range r;

    if (e->op == RT_OP_NOT)
        return type == RT_FACT_STR ? v->str != e[1].val.str
                                   : range_of(p, &e[1], &r) && exact(number(p, e[1].fact, v)) &&
                                         !range_has(&r, number(p, e[1].fact, v));
    for (uint32_t i = 0; e->op == RT_OP_IN && i < e->n_item; i++) {
        const union rt_const *w = &p->item[e->item + i].val;
        if (type == RT_FACT_STR ? v->str == w->str
                                : exact(number(p, e->fact, v)) && exact(number(p, e->fact, w)) &&
                                      !(number(p, e->fact, v) < number(p, e->fact, w)) &&
                                      !(number(p, e->fact, v) > number(p, e->fact, w)))
            return true;
    }
    if (e->op == RT_OP_IN)
        return false;
    if (type == RT_FACT_STR)
        return v->str == e->val.str;
    return exact(number(p, e->fact, v)) && range_of(p, e, &r) &&
           range_has(&r, number(p, e->fact, v));
}

static bool implies_value(const struct rt_policy *p, const struct rt_cond *l,
                          const struct rt_cond *e)
{
    const struct rt_cond *leaf = e->op == RT_OP_NOT ? &e[1] : e;
    struct range in, out;

    if (leaf->move != 0 || l->move != 0 || l->op == RT_OP_NOT)
        return false;
    if (l->op == RT_OP_EQ)
        return passes(p, e, &l->val);
    if (l->op == RT_OP_IN) {
        for (uint32_t i = 0; i < l->n_item; i++) {
            if (!passes(p, e, &p->item[l->item + i].val))
                return false;
        }
        return true;
    }
    if (!range_of(p, l, &in) || !range_of(p, leaf, &out))
        return false;
    if (e->op == RT_OP_NOT) /* of one value */
        return !range_has(&in, out.lo);
    return range_within(&in, &out);
}

static struct rt_list list_of(const struct rt_policy *p, const struct rt_cond *t)
{
    return (struct rt_list){p->item + t->item, t->n_item};
}

/* Each pattern of all is met by every class that the list lets through. */
static bool each_holds(const struct rt_policy *p, const struct rt_list *list,
                       const struct rt_list *all)
{
    for (uint32_t i = 0; i < all->n; i++) {
        struct rt_list one = {&all->at[i], 1};
        if (!rt_list_within(p, list, &one))
            return false;
    }
    return true;
}

static bool each_has(const struct rt_policy *p, const struct rt_list *inner,
                     const struct rt_list *all, bool every)
{
    for (uint32_t i = 0; i < all->n; i++) {
        bool has = false;
        for (uint32_t k = 0; k < inner->n; k++)
            has |= rt_glob_within(p, &inner->at[k], &all->at[i]);
        if (has != every)
            return !every;
    }
    return every;
}

static bool implies_classes(const struct rt_policy *p, const struct rt_cond *l,
                            const struct rt_cond *e)
{
    const struct rt_list a = list_of(p, l), b = list_of(p, e);
    bool filled = l->fact == RT_F_DATA_CLASS; /* other sets may be empty, and then `only` holds */

    if (e->op == RT_OP_CLS_ONLY)
        return l->op == RT_OP_CLS_ONLY && rt_list_within(p, &a, &b);
    if (l->op == RT_OP_CLS_ALL)
        return each_has(p, &a, &b, e->op == RT_OP_CLS_ALL);
    if (l->op == RT_OP_CLS_ONLY && !filled)
        return false;
    return e->op == RT_OP_CLS_ANY ? rt_list_within(p, &a, &b) : each_holds(p, &a, &b);
}

/* not: { data.class: { any: … } } */
static const struct rt_cond *no_class(const struct rt_cond *t)
{
    bool is = t->op == RT_OP_NOT && t[1].op == RT_OP_ALL && t[2].op == RT_OP_CLS_ANY &&
              t[2].end == t->end;
    return is ? &t[2] : NULL;
}

bool rt_implies(const struct rt_policy *p, const struct rt_cond *l, const struct rt_cond *e)
{
    const struct rt_cond *no = no_class(e);

    if (no != NULL && l->op == RT_OP_CLS_ONLY && l->fact == no->fact) {
        struct rt_list a = list_of(p, l), b = list_of(p, no);
        return !rt_lists_meet(p, &a, &b);
    }
    const struct rt_cond *leaf = e->op == RT_OP_NOT ? &e[1] : e;
    bool is_test = leaf->op > RT_OP_NOT && (e->op > RT_OP_NOT || leaf->op == RT_OP_EQ);
    if (!is_test || l->op <= RT_OP_NOT || leaf->fact != l->fact)
        return false;
    return leaf->op >= RT_OP_CLS_ANY ? implies_classes(p, l, leaf) : implies_value(p, l, e);
}
