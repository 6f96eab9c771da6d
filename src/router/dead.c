/* Rules that an earlier one always beats: each of the earlier rule's tests is one of the later
 * rule's, or follows from one. Equal tests are found by hashes, at any size; implied ones by
 * trying, while there are not too many rules. */
#include "router/compile.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { MAX_WORK = 1 << 21 }; /* comparisons of single values in the search for implied tests */

/* ---- equal tests ---- */

struct sum {
    uint64_t a, b; /* of 128-bit hashes: order does not matter, as in the conditions */
};

static void add_hash(struct sum *s, const void *p, size_t n)
{
    uint8_t h[BASE_XXH128_BYTES];
    uint64_t w[2];
    base_xxh128(p, n, h);
    memcpy(w, h, sizeof w);
    s->a += w[0];
    s->b += w[1];
}

static void add_value(struct sum *s, const union rt_const *v, enum rt_fact_type type, uint64_t tag)
{
    uint64_t w[2] = {tag, 0};
    switch (type) {
    case RT_FACT_INT:
        w[1] = (uint64_t)v->i;
        break;
    case RT_FACT_REAL:
        memcpy(&w[1], &v->r, sizeof v->r);
        break;
    case RT_FACT_BOOL:
        w[1] = v->b;
        break;
    default:
        w[1] = v->str;
    }
    add_hash(s, w, sizeof w);
}

static struct sum hash_cond(struct rt_compiler *c, uint32_t at, int target)
{
    const struct rt_cond *t = &rt_conds(c)[at];
    enum rt_fact_type type = rt_info(c->p, t->fact)->type;
    struct sum in = {0, 0}, out = {0, 0};
    uint64_t n = 0;

    if (t->op <= RT_OP_NOT) {
        for (uint32_t i = at + 1; i < t->end; i = rt_conds(c)[i].end, n++) {
            struct sum child = hash_cond(c, i, target);
            in.a += child.a;
            in.b += child.b;
        }
        if (n == 1 && t->op != RT_OP_NOT)
            return in;
        uint64_t w[4] = {t->op, n, in.a, in.b};
        add_hash(&out, w, sizeof w);
        return out;
    }
    bool link = rt_fact_is_targets(t->fact);
    if (t->op < RT_OP_IN)
        add_value(&in, &t->val, type, 0);
    for (uint32_t i = 0; i < t->n_item; i++) {
        const struct rt_item *it = &rt_items(c)[t->item + i];
        add_value(&in, &it->val, type, it->subtree);
    }
    uint64_t w[5] = {t->op | (uint64_t)t->move << 8, t->fact, link ? (uint64_t)(target + 1) : 0,
                     in.a, in.b};
    add_hash(&out, w, sizeof w);
    return out;
}

struct conjuncts {
    uint64_t mask;  /* one bit a conjunct: a quick no */
    uint64_t facts; /* one bit a fact or group: a quick no for implied tests */
    uint32_t at, n; /* sums[at .. at + n), sorted */
};

static int by_sum(const void *pa, const void *pb)
{
    const struct sum *a = pa, *b = pb;
    if (a->a != b->a)
        return a->a < b->a ? -1 : 1;
    return (a->b > b->b) - (a->b < b->b);
}

static bool subset(const struct sum *a, uint32_t na, const struct sum *b, uint32_t nb)
{
    uint32_t j = 0;
    for (uint32_t i = 0; i < na; i++) {
        int cmp = 1;
        while (j < nb && (cmp = by_sum(&b[j], &a[i])) < 0)
            j++;
        if (j == nb || cmp != 0)
            return false;
    }
    return true;
}

/* ---- implied tests ---- */

static bool same_scope(const struct rt_cond *t, const struct rt_rule *a, const struct rt_rule *b)
{
    const struct rt_cond *leaf = t->op == RT_OP_NOT ? &t[1] : t;
    return a->target == b->target || !rt_fact_is_targets(leaf->fact);
}

static bool has_sum(const struct sum *of, const struct sum *all, const struct conjuncts *in)
{
    return in->n > 0 && bsearch(of, all + in->at, in->n, sizeof *of, by_sum) != NULL;
}

static uint32_t n_value(const struct rt_cond *t)
{
    return t->n_item > 0 ? t->n_item : 1;
}

/* Whether each test of the earlier rule is one of the later's or follows from one of them. */
static bool beats(struct rt_compiler *c, const struct rt_rule *early, const struct rt_rule *late,
                  const struct sum *all, const struct conjuncts *in, uint64_t *work)
{
    const struct rt_policy *p = c->p;

    for (uint32_t i = early->cond + 1; i < early->end; i = p->cond[i].end) {
        const struct rt_cond *e = &p->cond[i];
        bool follows = false;
        for (uint32_t k = late->cond + 1; k < late->end && !follows; k = p->cond[k].end) {
            *work += (uint64_t)n_value(e) * n_value(&p->cond[k]);
            follows = same_scope(e, early, late) && rt_implies(p, &p->cond[k], e);
        }
        if (!follows) {
            struct sum s = hash_cond(c, i, early->target);
            if (!has_sum(&s, all, in))
                return false;
        }
    }
    return true;
}

/* ---- the search ---- */

static void report(struct rt_compiler *c, const struct rt_rule *early, const struct rt_rule *late,
                   bool same)
{
    rt_in_source(c, late->src);
    rt_diag_add(c->d, RT_C_DEAD_RULE, late->line, late->col,
                "rule '%s' can never match: '%s' in line %d %s", late->name, early->name,
                early->line,
                early->cond == early->end ? "always matches"
                : same                    ? "has the same condition and comes first"
                                          : "matches whenever this one would and comes first");
}

void rt_check_dead(struct rt_compiler *c)
{
    const struct rt_rule *rule = (const struct rt_rule *)(const void *)c->rules.data;
    uint32_t n_rule = (uint32_t)(c->rules.len / sizeof *rule);
    struct base_buf sums;
    uint64_t work = 0;
    struct conjuncts *set = calloc(n_rule > 0 ? n_rule : 1, sizeof *set);

    base_buf_init(&sums, SIZE_MAX / 2);
    for (uint32_t r = 0; set != NULL && r < n_rule && sums.err == 0; r++) {
        set[r].at = (uint32_t)(sums.len / sizeof(struct sum));
        for (uint32_t i = rule[r].cond + 1; i < rule[r].end; i = rt_conds(c)[i].end) {
            struct sum s = hash_cond(c, i, rule[r].target);
            const struct rt_cond *t = &rt_conds(c)[i];
            while (t->op <= RT_OP_NOT && t[1].end == t->end)
                t++; /* a group of one is that one */
            set[r].mask |= UINT64_C(1) << (s.a & 63);
            set[r].facts |= UINT64_C(1) << (t->op > RT_OP_NOT ? t->fact & 63 : (int)(s.a & 63));
            base_buf_add(&sums, &s, sizeof s);
            set[r].n++;
        }
        if (sums.err == 0 && set[r].n > 1)
            qsort(sums.data + set[r].at * sizeof(struct sum), set[r].n, sizeof(struct sum), by_sum);
    }
    if (set == NULL || sums.err != 0)
        c->err = BASE_ENOMEM;
    const struct sum *all = (const struct sum *)(const void *)sums.data;
    for (uint32_t late = 1; c->err == 0 && late < n_rule && c->d->n < RT_MAX_DIAG; late++) {
        for (uint32_t early = 0; early < late; early++) {
            const struct conjuncts *e = &set[early], *l = &set[late];
            bool equal = (e->mask & ~l->mask) == 0 &&
                         (e->n == 0 || subset(all + e->at, e->n, all + l->at, l->n));
            if (!equal && ((e->facts & ~l->facts) != 0 || work > MAX_WORK ||
                           !beats(c, &rule[early], &rule[late], all, l, &work)))
                continue;
            report(c, &rule[early], &rule[late], equal && e->n == l->n);
            break;
        }
    }
    base_buf_fini(&sums);
    free(set);
}
