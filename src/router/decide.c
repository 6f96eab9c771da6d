/* (policy, facts) -> decision. No allocation, no I/O, no clock; nothing here can fail. */
#include "router/policy.h"

#include <string.h>

static enum rt_tri tri(bool yes)
{
    return yes ? RT_YES : RT_NO;
}

static bool compare_int(enum rt_op op, int64_t have, int64_t want)
{
    switch (op) {
    case RT_OP_LT:
        return have < want;
    case RT_OP_LE:
        return have <= want;
    case RT_OP_GT:
        return have > want;
    case RT_OP_GE:
        return have >= want;
    default:
        return have == want;
    }
}

static bool compare_real(enum rt_op op, double have, double want)
{
    switch (op) {
    case RT_OP_LT:
        return have < want;
    case RT_OP_LE:
        return have <= want;
    case RT_OP_GT:
        return have > want;
    case RT_OP_GE:
        return have >= want;
    default:
        return have >= want && have <= want;
    }
}

const union rt_const *rt_env_get(const struct rt_env *e, const struct rt_rule *r, int fact)
{
    const struct rt_have *h = &e->v[fact];

    if (e->f->link != NULL && rt_fact_is_targets(fact)) {
        if (r->target < 0)
            return NULL;
        h = &e->link[r->target][fact - RT_F_TARGET_FIRST];
    }
    return h->have ? &h->val : NULL;
}

static bool test(enum rt_fact_type type, enum rt_op op, const union rt_const *have,
                 const union rt_const *want)
{
    switch (type) {
    case RT_FACT_BOOL:
        return have->b == want->b;
    case RT_FACT_INT:
        return compare_int(op, have->i, want->i);
    case RT_FACT_REAL:
        return compare_real(op, have->r, want->r);
    default:
        return have->str != RT_STR_NONE && have->str == want->str;
    }
}

static bool glob_match(const struct rt_env_cls *e, int i, const struct rt_item *g)
{
    if (g->val.str == RT_STR_ROOT)
        return true;
    if (!g->subtree)
        return e->at[i].full == g->val.str;
    for (int k = 0; k < e->at[i].n_prefix; k++) {
        if (e->at[i].prefix[k] == g->val.str)
            return true;
    }
    return false;
}

static bool class_listed(const struct rt_env_cls *e, int i, const struct rt_item *g, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++) {
        if (glob_match(e, i, &g[k]))
            return true;
    }
    return false;
}

static bool class_present(const struct rt_env_cls *e, const struct rt_item *g)
{
    for (int i = 0; i < e->n; i++) {
        if (glob_match(e, i, g))
            return true;
    }
    return false;
}

static enum rt_tri eval_classes(const struct rt_policy *p, const struct rt_env *env,
                                const struct rt_cond *c)
{
    const struct rt_item *g = &p->item[c->item];
    const struct rt_env_cls *e = &env->cls[rt_cls_index(c->fact)];

    if (e->n < 0)
        return RT_CANNOT_TELL;
    if (c->op == RT_OP_CLS_ALL) {
        for (uint32_t k = 0; k < c->n_item; k++) {
            if (!class_present(e, &g[k]))
                return RT_NO;
        }
        return RT_YES;
    }
    for (int i = 0; i < e->n; i++) {
        bool in = class_listed(e, i, g, c->n_item);
        if (in != (c->op == RT_OP_CLS_ONLY))
            return tri(in);
    }
    return tri(c->op == RT_OP_CLS_ONLY);
}

static enum rt_tri eval_leaf(const struct rt_policy *p, const struct rt_env *e,
                             const struct rt_rule *r, const struct rt_cond *c)
{
    if (c->op >= RT_OP_CLS_ANY)
        return eval_classes(p, e, c);
    const union rt_const *have = rt_env_get(e, r, c->fact);
    enum rt_fact_type type = rt_info(p, c->fact)->type;
    if (have == NULL)
        return RT_CANNOT_TELL;
    if (c->op != RT_OP_IN)
        return tri(
            test(type, (enum rt_op)c->op, have, c->move != 0 ? &e->move[c->move - 1] : &c->val));
    for (uint32_t i = 0; i < c->n_item; i++) {
        if (test(type, RT_OP_EQ, have, &p->item[c->item + i].val))
            return RT_YES;
    }
    return RT_NO;
}

/* Kleene's logic. The depth is that of the YAML, so recursion is bounded. */
enum rt_tri rt_eval(const struct rt_policy *p, const struct rt_env *e, const struct rt_rule *r,
                    uint32_t at)
{
    const struct rt_cond *c = &p->cond[at];
    if (c->op > RT_OP_NOT)
        return eval_leaf(p, e, r, c);
    if (c->op == RT_OP_NOT) {
        enum rt_tri in = rt_eval(p, e, r, at + 1);
        return in == RT_CANNOT_TELL ? in : tri(in == RT_NO);
    }
    enum rt_tri decides = c->op == RT_OP_ALL ? RT_NO : RT_YES;
    enum rt_tri result = decides == RT_NO ? RT_YES : RT_NO;
    for (uint32_t i = at + 1; i < c->end; i = p->cond[i].end) {
        enum rt_tri child = rt_eval(p, e, r, i);
        if (child == decides)
            return child;
        if (child == RT_CANNOT_TELL)
            result = RT_CANNOT_TELL;
    }
    return result;
}

enum rt_tri rt_eval_rule(const struct rt_policy *p, const struct rt_env *e, const struct rt_rule *r)
{
    return r->cond == r->end ? RT_YES : rt_eval(p, e, r, r->cond);
}

/* Two questions of two answers are sooner answered than one of three: a rule that is not surely met
 * is passed by, whether it fails or cannot tell. */
bool rt_holds(const struct rt_policy *p, const struct rt_env *e, const struct rt_rule *r,
              uint32_t at, bool want)
{
    const struct rt_cond *c = &p->cond[at];

    if (c->op > RT_OP_NOT)
        return eval_leaf(p, e, r, c) == (want ? RT_YES : RT_NO);
    if (c->op == RT_OP_NOT)
        return rt_holds(p, e, r, at + 1, !want);
    bool every = (c->op == RT_OP_ALL) == want; /* all children must answer so, or one */
    for (uint32_t i = at + 1; i < c->end; i = p->cond[i].end) {
        if (rt_holds(p, e, r, i, want) != every)
            return !every;
    }
    return every;
}

static bool matches(const struct rt_policy *p, const struct rt_env *e, int i)
{
    const struct rt_rule *r = &p->rule[i];
    return r->cond == r->end || rt_holds(p, e, r, r->cond, true);
}

int rt_first_rule(const struct rt_policy *p, const struct rt_env *e)
{
    for (int i = 0; i < p->n_rule; i++) {
        if (matches(p, e, i))
            return i;
    }
    return -1;
}

static int first_of(const struct rt_policy *p, const struct rt_env *e)
{
    uint64_t bits[RT_RULE_WORDS];

    rt_index_look(p, e, bits);
    for (int w = 0; w < (p->n_rule + 63) / 64; w++) {
        for (uint64_t b = bits[w]; b != 0; b &= b - 1) {
            int i = 64 * w + __builtin_ctzll(b);
            if (matches(p, e, i))
                return i;
        }
    }
    return -1;
}

bool rt_hint_is_local(const struct rt_facts *f)
{
    const struct rt_value *hint = &f->v[RT_F_REQ_HINT];
    return hint->have && hint->s != NULL && strcmp(hint->s, "local") == 0;
}

void rt_decision_set(const struct rt_policy *p, int i, struct rt_decision *out)
{
    *out = (struct rt_decision){.rule = "default", .rule_index = -1, .because = ""};
    if (i < 0)
        return;
    const struct rt_rule *r = &p->rule[i];
    out->route = r->route;
    out->fallback = r->fallback;
    out->rule = r->name;
    out->rule_index = i;
    out->because = r->because;
}

void rt_decide(const struct rt_policy *p, const struct rt_facts *f, struct rt_decision *out)
{
    struct rt_env e;

    rt_decision_set(p, -1, out);
    if (rt_hint_is_local(f)) {
        out->rule = "caller-hint";
        return;
    }
    rt_env_init(&e, p, f);
    rt_decision_set(p, p->fast != NULL ? first_of(p, &e) : rt_first_rule(p, &e), out);
}

bool rt_decision_same(const struct rt_decision *a, const struct rt_decision *b)
{
    const struct rt_outcome *x = &a->route, *y = &b->route;
    if (x->mode == y->mode && (x->mode == RT_LOCAL || x->mode == RT_REFUSE))
        return true;
    if (x->mode != y->mode || a->fallback.mode != b->fallback.mode || x->layer != y->layer ||
        x->tail != y->tail || x->dtype != y->dtype || x->max_bytes != y->max_bytes)
        return false;
    return (x->target == NULL) == (y->target == NULL) &&
           (x->target == NULL || strcmp(x->target, y->target) == 0);
}
