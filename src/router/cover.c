#include "router/cover.h"

#include <stdlib.h>

#include "router/compile.h"

struct rt_cover {
    const struct rt_policy *p;
    uint64_t (*seen)[3]; /* [n_cond], by enum rt_tri */
    uint64_t *decided;   /* [n_rule + 1], the last: no rule */
    struct {
        uint32_t at;
        int rule;
    } * test; /* [n_test] */
    int n_test;
};

/* `not: VALUE` is one test for whoever wrote it. */
static bool is_test(const struct rt_policy *p, uint32_t at)
{
    return p->cond[at].op > RT_OP_NOT ||
           (p->cond[at].op == RT_OP_NOT && p->cond[at + 1].op == RT_OP_EQ);
}

static void list_tests(struct rt_cover *c)
{
    for (int i = 0; i < c->p->n_rule; i++) {
        const struct rt_rule *r = &c->p->rule[i];
        for (uint32_t at = r->cond; at < r->end; at++) {
            if (!is_test(c->p, at))
                continue;
            c->test[c->n_test].at = at;
            c->test[c->n_test++].rule = i;
            at = c->p->cond[at].end - 1;
        }
    }
}

int rt_cover_open(struct rt_cover **out, const struct rt_policy *p)
{
    struct rt_cover *c = calloc(1, sizeof *c);

    *out = NULL;
    if (c != NULL) {
        c->p = p;
        c->seen = calloc((size_t)p->n_cond + 1, sizeof *c->seen);
        c->decided = calloc((size_t)p->n_rule + 1, sizeof *c->decided);
        c->test = calloc((size_t)p->n_cond + 1, sizeof *c->test);
    }
    if (c == NULL || c->seen == NULL || c->decided == NULL || c->test == NULL) {
        rt_cover_close(c);
        return BASE_ENOMEM;
    }
    list_tests(c);
    *out = c;
    return 0;
}

void rt_cover_close(struct rt_cover *c)
{
    if (c == NULL)
        return;
    free(c->seen);
    free(c->decided);
    free(c->test);
    free(c);
}

/* rt_eval, with a note of each test's answer. */
static enum rt_tri walk(struct rt_cover *c, const struct rt_env *e, const struct rt_rule *r,
                        uint32_t at)
{
    const struct rt_cond *cond = &c->p->cond[at];

    if (is_test(c->p, at)) {
        enum rt_tri t = rt_eval(c->p, e, r, at);
        c->seen[at][t]++;
        return t;
    }
    if (cond->op == RT_OP_NOT) {
        enum rt_tri in = walk(c, e, r, at + 1);
        return in == RT_CANNOT_TELL ? in : in == RT_NO ? RT_YES : RT_NO;
    }
    enum rt_tri decides = cond->op == RT_OP_ALL ? RT_NO : RT_YES;
    enum rt_tri result = decides == RT_NO ? RT_YES : RT_NO;
    for (uint32_t i = at + 1; i < cond->end; i = c->p->cond[i].end) {
        enum rt_tri child = walk(c, e, r, i);
        if (child == decides)
            return child;
        if (child == RT_CANNOT_TELL)
            result = RT_CANNOT_TELL;
    }
    return result;
}

void rt_cover_decide(struct rt_cover *c, const struct rt_facts *f, struct rt_decision *out)
{
    struct rt_env e;

    rt_decide(c->p, f, out);
    if (rt_hint_is_local(f))
        return;
    rt_env_init(&e, c->p, f);
    for (int i = 0; i < c->p->n_rule; i++) {
        const struct rt_rule *r = &c->p->rule[i];
        if (r->cond == r->end || walk(c, &e, r, r->cond) == RT_YES)
            break;
    }
    c->decided[out->rule_index >= 0 ? out->rule_index : c->p->n_rule]++;
}

uint64_t rt_cover_rule(const struct rt_cover *c, int i)
{
    return c->decided[i >= 0 ? i : c->p->n_rule];
}

int rt_cover_n_test(const struct rt_cover *c)
{
    return c->n_test;
}

struct rt_cover_test rt_cover_test(const struct rt_cover *c, int i)
{
    uint32_t at = c->test[i].at;
    const struct rt_cond *cond = &c->p->cond[at];
    const struct rt_cond *leaf = cond->op == RT_OP_NOT ? cond + 1 : cond;
    struct rt_cover_test t = {.rule = c->test[i].rule, .line = cond->line, .col = cond->col};

    t.always_known = leaf->fact == RT_F_DATA_CLASS;
    for (int k = 0; k < 3; k++)
        t.seen[k] = c->seen[at][k];
    return t;
}

int rt_cover_test_text(const struct rt_cover *c, int i, struct base_buf *out)
{
    rt_put_cond(c->p, c->test[i].at, out);
    return out->err;
}
