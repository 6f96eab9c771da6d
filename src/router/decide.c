/* (policy, facts) -> decision. No allocation, no I/O, no clock; nothing here can fail. */
#include "router/policy.h"

#include <math.h>
#include <string.h>

static const char UNLABELLED[] = "cabin";

static void env_class(struct rt_env *e, const struct rt_policy *p, const char *cls)
{
    int at = e->n_cls++;
    size_t len = strlen(cls);

    e->cls[at].full = rt_str_find(p, cls, len);
    e->cls[at].n_prefix = 0;
    for (size_t i = 1; i <= len && e->cls[at].n_prefix < RT_MAX_CLASS_PARTS; i++) {
        if (i == len || cls[i] == '.')
            e->cls[at].prefix[e->cls[at].n_prefix++] = rt_str_find(p, cls, i);
    }
}

static void env_links(struct rt_env *e, const struct rt_policy *p, const struct rt_facts *f)
{
    for (int t = 0; t < p->n_target; t++) {
        e->link[t].have_state = e->link[t].have_rtt = false;
        for (int i = 0; i < f->n_link; i++) {
            const struct rt_target_link *l = &f->link[i];
            if (l->target == NULL || strcmp(l->target, p->target[t].name) != 0)
                continue;
            e->link[t].have_state = l->state != NULL;
            e->link[t].state = l->state != NULL ? rt_str_find(p, l->state, strlen(l->state)) : 0;
            e->link[t].have_rtt = l->have_rtt;
            e->link[t].rtt_ms = l->rtt_ms;
            break;
        }
    }
}

void rt_env_init(struct rt_env *e, const struct rt_policy *p, const struct rt_facts *f)
{
    e->f = f;
    e->n_cls = 0;
    for (int i = 0; i < RT_N_FACT; i++) {
        const struct rt_value *v = &f->v[i];
        bool use = rt_fact_info[i].type == RT_FACT_STR && (p->uses >> i & 1) != 0 && v->have;
        e->str[i] = use && v->s != NULL ? rt_str_find(p, v->s, strlen(v->s)) : RT_STR_NONE;
    }
    if ((p->uses >> RT_F_DATA_CLASS & 1) != 0) {
        for (int i = 0; i < f->n_cls && i < RT_MAX_CLASS; i++)
            env_class(e, p, f->cls[i] != NULL ? f->cls[i] : UNLABELLED);
        if (f->n_cls == 0)
            env_class(e, p, UNLABELLED);
        if (f->n_cls < 0 || f->n_cls > RT_MAX_CLASS)
            e->n_cls = -1;
    }
    if (f->link != NULL)
        env_links(e, p, f);
}

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

/* The value of a fact in this rule; link.* is that of the rule's target. */
static bool get(const struct rt_env *e, const struct rt_rule *r, int fact, union rt_const *out)
{
    const struct rt_value *v = &e->f->v[fact];
    bool link = e->f->link != NULL && (fact == RT_F_LINK_STATE || fact == RT_F_LINK_RTT_MS);

    if (link && r->target < 0)
        return false;
    if (link && fact == RT_F_LINK_STATE) {
        out->str = e->link[r->target].state;
        return e->link[r->target].have_state;
    }
    if (link) {
        out->r = e->link[r->target].rtt_ms;
        return e->link[r->target].have_rtt && !isnan(out->r);
    }
    switch (rt_fact_info[fact].type) {
    case RT_FACT_BOOL:
        out->b = v->b;
        return v->have;
    case RT_FACT_INT:
        out->i = v->i;
        return v->have;
    case RT_FACT_REAL:
        out->r = v->r;
        return v->have && !isnan(v->r);
    default:
        out->str = e->str[fact];
        return v->have && v->s != NULL;
    }
}

static bool test(int fact, enum rt_op op, const union rt_const *have, const union rt_const *want)
{
    switch (rt_fact_info[fact].type) {
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

static bool glob_match(const struct rt_env *e, int i, const struct rt_item *g)
{
    if (g->val.str == RT_STR_ROOT)
        return true;
    if (!g->subtree)
        return e->cls[i].full == g->val.str;
    for (int k = 0; k < e->cls[i].n_prefix; k++) {
        if (e->cls[i].prefix[k] == g->val.str)
            return true;
    }
    return false;
}

static bool class_listed(const struct rt_env *e, int i, const struct rt_item *g, uint32_t n)
{
    for (uint32_t k = 0; k < n; k++) {
        if (glob_match(e, i, &g[k]))
            return true;
    }
    return false;
}

static bool class_present(const struct rt_env *e, const struct rt_item *g)
{
    for (int i = 0; i < e->n_cls; i++) {
        if (glob_match(e, i, g))
            return true;
    }
    return false;
}

static enum rt_tri eval_classes(const struct rt_policy *p, const struct rt_env *e,
                                const struct rt_cond *c)
{
    const struct rt_item *g = &p->item[c->item];

    if (e->n_cls < 0)
        return RT_CANNOT_TELL;
    if (c->op == RT_OP_CLS_ALL) {
        for (uint32_t k = 0; k < c->n_item; k++) {
            if (!class_present(e, &g[k]))
                return RT_NO;
        }
        return RT_YES;
    }
    for (int i = 0; i < e->n_cls; i++) {
        bool in = class_listed(e, i, g, c->n_item);
        if (in != (c->op == RT_OP_CLS_ONLY))
            return tri(in);
    }
    return tri(c->op == RT_OP_CLS_ONLY);
}

static enum rt_tri eval_leaf(const struct rt_policy *p, const struct rt_env *e,
                             const struct rt_rule *r, const struct rt_cond *c)
{
    union rt_const have;

    if (c->op >= RT_OP_CLS_ANY)
        return eval_classes(p, e, c);
    if (!get(e, r, c->fact, &have))
        return RT_CANNOT_TELL;
    if (c->op != RT_OP_IN)
        return tri(test(c->fact, (enum rt_op)c->op, &have, &c->val));
    for (uint32_t i = 0; i < c->n_item; i++) {
        if (test(c->fact, RT_OP_EQ, &have, &p->item[c->item + i].val))
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
    for (int i = 0; i < p->n_rule; i++) {
        if (rt_eval_rule(p, &e, &p->rule[i]) == RT_YES) {
            rt_decision_set(p, i, out);
            return;
        }
    }
}
