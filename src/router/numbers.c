#include "router/numbers.h"

#include <math.h>
#include <string.h>

#include "router/policy.h"

static const char *op_str(int op)
{
    return op == RT_OP_LT ? "lt" : op == RT_OP_LE ? "le" : op == RT_OP_GT ? "gt" : "ge";
}

/* Conditions stand in the order of their rules, and each is some rule's. */
static int rule_of(const struct rt_policy *p, uint32_t at)
{
    int i = 0;
    while (at >= p->rule[i].end)
        i++;
    return i;
}

void rt_numbers(const struct rt_policy *p, struct rt_number *out, int max, int *n)
{
    *n = 0;
    for (uint32_t at = 0; at < p->n_cond; at++) {
        const struct rt_cond *c = &p->cond[at];
        int rule = rule_of(p, at);
        if (c->op < RT_OP_LT || c->op > RT_OP_GE || p->rule[rule].src != p->n_src - 1 ||
            rt_fact_is_clock(c->fact))
            continue;
        const struct rt_fact_info *info = rt_info(p, c->fact);
        const struct rt_move_decl *m = c->move != 0 ? &p->share.move[c->move - 1] : NULL;
        bool whole = info->type == RT_FACT_INT;
        if (*n < max)
            out[*n] = (struct rt_number){.rule = p->rule[rule].name,
                                         .fact = info->name,
                                         .op = op_str(c->op),
                                         .value = m != NULL ? m->value
                                                  : whole   ? (double)c->val.i
                                                            : c->val.r,
                                         .min = m != NULL                         ? m->min
                                                : strcmp(info->unit, "0..1") == 0 ? 0.0
                                                                                  : -INFINITY,
                                         .max = m != NULL                         ? m->max
                                                : strcmp(info->unit, "0..1") == 0 ? 1.0
                                                                                  : INFINITY,
                                         .whole = whole,
                                         .moves = m != NULL,
                                         .line = c->line,
                                         .col = c->col,
                                         .at = at};
        ++*n;
    }
}

void rt_number_set(struct rt_policy *p, const struct rt_number *n, double value)
{
    struct rt_cond *c = &p->cond[n->at];
    double cut = value >= 0x1p62 ? 0x1p62 : value <= -0x1p62 ? -0x1p62 : value;

    if (c->move != 0) {
        p->share.move[c->move - 1].value = cut;
        p->share.move[c->move - 1].min = -INFINITY;
        p->share.move[c->move - 1].max = INFINITY;
    } else if (n->whole) {
        c->val.i = (int64_t)cut;
    } else {
        c->val.r = value;
    }
}

bool rt_number_fact(const struct rt_policy *p, const struct rt_number *n, const struct rt_facts *f,
                    double *out)
{
    const struct rt_rule *r = &p->rule[rule_of(p, n->at)];
    int fact = p->cond[n->at].fact;
    struct rt_env e;

    rt_env_init(&e, p, f);
    const union rt_const *v = rt_env_get(&e, r, fact);
    if (v != NULL)
        *out = n->whole ? (double)v->i : v->r;
    return v != NULL;
}

bool rt_scalar_at(const char *text, size_t len, int line, int col, size_t *from, size_t *to)
{
    size_t at = 0;

    for (int l = 1; l < line && at < len; at++)
        l += text[at] == '\n';
    for (int c = 1; c < col && at < len && text[at] != '\n'; c++) {
        do
            at++;
        while (at < len && ((unsigned char)text[at] & 0xC0U) == 0x80U);
    }
    *from = at;
    char quote = at < len && (text[at] == '"' || text[at] == '\'') ? text[at++] : '\0';
    while (at < len && text[at] != '\n' && text[at] != '\r') {
        bool ends = quote != '\0' ? text[at] == quote
                                  : strchr(",[]{}", text[at]) != NULL ||
                                        (text[at] == ' ' && at + 1 < len && text[at + 1] == '#') ||
                                        (text[at] == ':' && (at + 1 == len || text[at + 1] <= ' '));
        if (ends && at > *from)
            break;
        at += quote == '"' && text[at] == '\\' && at + 1 < len ? 2 : 1;
    }
    at += quote != '\0' && at < len && text[at] == quote;
    while (at > *from && quote == '\0' && text[at - 1] == ' ')
        at--;
    *to = at;
    return *from < len;
}
