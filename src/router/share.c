/* The share of requests that the edge is to answer: what a policy declares of it, and the
 * thresholds of its rules that may move for it. */
#include "router/compile.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SHARE_KEYS "edge|over|moves"
#define MOVE_KEYS "rule|fact|min|max"
#define MAX_WHOLE 9007199254740992.0 /* 2^53: whole numbers up to here are exact */

enum { DEFAULT_OVER = 1000 };

static void take_move(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_share_decl *s = &c->p->share;
    struct rt_move_decl d = {0};
    const struct rt_yaml *rule = rt_key(n, "rule"), *asks = rt_key(n, "fact");
    const struct rt_yaml *min = rt_key(n, "min"), *max = rt_key(n, "max");
    char fact[RT_MAX_NAME_BYTES + 16];

    if (n->kind != RT_YAML_MAP || rule == NULL || asks == NULL || min == NULL || max == NULL) {
        rt_tell(c, n, RT_C_MISSING_KEY,
                "a move is { rule: NAME, fact: confidence, min: 0.3, max: 0.8 }");
        return;
    }
    rt_check_keys(c, n, "a move", MOVE_KEYS);
    if (!rt_take_name(c, rule, "rule") || !rt_take_name(c, asks, "fact") ||
        !rt_take_real(c, min, "min", &d.min) || !rt_take_real(c, max, "max", &d.max))
        return;
    if (!(d.min < d.max))
        rt_tell(c, max, RT_C_BAD_VALUE, "max must be above min");
    for (int i = 0; i < s->n_move; i++) {
        if (strcmp(s->move[i].rule, rule->text) == 0)
            rt_tell(c, rule, RT_C_DUPLICATE_ENTRY,
                    "one threshold of a rule can move; '%s' is here twice", rule->text);
    }
    if (s->n_move == RT_MAX_MOVE) {
        rt_tell(c, n, RT_C_LIMIT, "more than %d moves", RT_MAX_MOVE);
        return;
    }
    d.rule = rt_keep(c, rule->text, rule->len);
    d.asks = rt_keep(c, asks->text, asks->len);
    snprintf(fact, sizeof fact, "share.%s", rule->text);
    d.fact = rt_own_fact(c, rule, fact,
                         &(struct rt_fact_info){.type = RT_FACT_REAL,
                                                .unit = "",
                                                .source = "share",
                                                .absent = "the rule's own",
                                                .doc = "Where the share has moved the threshold"});
    c->p->move_own[s->n_move] = c->p->n_own - 1;
    s->move[s->n_move++] = d;
}

/* The last file that states a share states all of it; findings are then about that file. */
static const struct rt_yaml *share_of(struct rt_compiler *c)
{
    for (int s = c->n_src - 1; s >= 0; s--) {
        const struct rt_yaml *n = rt_key(c->src[s].root, "share");
        if (n != NULL) {
            rt_in_source(c, s);
            return n;
        }
    }
    return NULL;
}

void rt_declare_share(struct rt_compiler *c)
{
    struct rt_share_decl *s = &c->p->share;
    const struct rt_yaml *n = share_of(c);
    if (n == NULL)
        return;
    const struct rt_yaml *edge = rt_key(n, "edge"), *over = rt_key(n, "over");
    const struct rt_yaml *moves = rt_key(n, "moves");

    if (n->kind != RT_YAML_MAP || edge == NULL || moves == NULL || moves->kind != RT_YAML_SEQ) {
        rt_tell(c, n, RT_C_MISSING_KEY, "a share is { edge: 0.7, moves: [ { rule: … } ] }");
        return;
    }
    rt_check_keys(c, n, "share", SHARE_KEYS);
    s->over = DEFAULT_OVER;
    if (rt_take_real(c, edge, "edge", &s->edge) && (s->edge < 0 || s->edge > 1))
        rt_tell(c, edge, RT_C_BAD_VALUE, "edge is a share of all requests: 0 to 1");
    if (over != NULL)
        rt_take_int(c, over, "over", 1, 1000000, &s->over);
    for (const struct rt_yaml *v = moves->child; v != NULL && c->err == 0; v = v->next)
        take_move(c, v);
}

/* The test that a move speaks of: a direct test of the rule's `when`, of a number. */
static struct rt_cond *moved(struct rt_compiler *c, const struct rt_rule *r, const char *fact)
{
    for (uint32_t i = r->cond + 1; i < r->end; i = rt_conds(c)[i].end) {
        struct rt_cond *t = &rt_conds(c)[i];
        if (t->op >= RT_OP_LT && t->op <= RT_OP_GE && !rt_fact_is_clock(t->fact) &&
            strcmp(rt_info(c->p, t->fact)->name, fact) == 0)
            return t;
    }
    return NULL;
}

static void bind_move(struct rt_compiler *c, const struct rt_yaml *n, int k)
{
    struct rt_move_decl *m = &c->p->share.move[k];
    const struct rt_yaml *rule = rt_key(n, "rule");

    for (uint32_t i = 0; i < rt_n_rule(c); i++) {
        const struct rt_rule *r = &rt_rules_of(c)[i];
        if (strcmp(r->name, m->rule) != 0)
            continue;
        struct rt_cond *t = moved(c, r, m->asks);
        if (t == NULL) {
            rt_tell(c, rt_key(n, "fact"), RT_C_BAD_MOVE,
                    "rule '%s' has no test lt, le, gt or ge of '%s' directly under 'when'", m->rule,
                    m->asks);
            return;
        }
        bool whole = rt_info(c->p, t->fact)->type == RT_FACT_INT;
        m->value = whole ? (double)t->val.i : t->val.r;
        m->opens = t->op == RT_OP_LT || t->op == RT_OP_LE;
        if (whole && (fabs(m->min) > MAX_WHOLE || fabs(m->max) > MAX_WHOLE))
            rt_tell(c, n, RT_C_BAD_MOVE, "min and max of a whole number are too large");
        if (m->value < m->min || m->value > m->max)
            rt_tell(c, n, RT_C_BAD_MOVE,
                    "rule '%s' compares with %g, which is not between min and max", m->rule,
                    m->value);
        t->move = (uint8_t)(k + 1);
        c->p->move_whole[k] = whole;
        return;
    }
    rt_tell(c, rule, RT_C_UNKNOWN_RULE, "no rule '%s'", m->rule);
}

void rt_bind_share(struct rt_compiler *c)
{
    const struct rt_yaml *n = share_of(c);
    if (n == NULL)
        return;
    const struct rt_yaml *v = rt_key(n, "moves")->child;
    for (int k = 0; k < c->p->share.n_move; k++, v = v->next)
        bind_move(c, v, k);
}
