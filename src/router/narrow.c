/* Narrowing the set of rules by numbers. All direct tests of one number in one direction (below, or
 * above) stand in order of their thresholds, so those that a value passes are the end of the row or
 * its beginning. The sets of rules at every 64th place are kept as bits; what lies between is added
 * one by one. A rule with several such tests counts as passing if one of them does: the set may
 * hold rules that do not match, never lack one that does. */
#include "router/compile.h"

#include <stdlib.h>
#include <string.h>

enum { STEP = 64, FEW_TESTS = 16, MAX_ROW = 32 };

struct mark {
    union rt_const at;
    uint16_t rule;
};

struct row {
    uint8_t fact;
    bool below; /* lt, le: passed by values below the threshold */
    bool real;
    uint32_t n;
    struct mark *mark; /* [n], by threshold */
    uint64_t *bits;    /* [n / STEP + 1][n_word]: the rules of marks from 64 i on, or up to there */
    uint64_t *none;    /* [n_word]: rules without such a test */
};

struct rt_narrow {
    int n_word, n_row;
    struct row row[MAX_ROW];
};

static int compare(bool real, const union rt_const *a, const union rt_const *b)
{
    if (real)
        return a->r < b->r ? -1 : a->r > b->r;
    return a->i < b->i ? -1 : a->i > b->i;
}

static int by_int(const void *pa, const void *pb)
{
    const struct mark *a = pa, *b = pb;
    return compare(false, &a->at, &b->at);
}

static int by_real(const void *pa, const void *pb)
{
    const struct mark *a = pa, *b = pb;
    return compare(true, &a->at, &b->at);
}

/* ---- building ---- */

static bool is_mark(const struct rt_cond *t, int fact, bool below)
{
    bool lt = t->op == RT_OP_LT || t->op == RT_OP_LE, gt = t->op == RT_OP_GT || t->op == RT_OP_GE;
    return t->fact == fact && t->move == 0 && (below ? lt : gt);
}

static uint32_t collect(const struct rt_policy *p, int fact, bool below, struct row *to)
{
    uint32_t n = 0;
    for (int r = 0; r < p->n_rule; r++) {
        for (uint32_t i = p->rule[r].cond + 1; i < p->rule[r].end; i = p->cond[i].end) {
            const struct rt_cond *t = &p->cond[i];
            if (!is_mark(t, fact, below))
                continue;
            if (to != NULL) {
                to->mark[n] = (struct mark){t->val, (uint16_t)r};
                to->none[r / 64] &= ~(UINT64_C(1) << (r % 64));
            }
            n++;
        }
    }
    return n;
}

static void set_bit(uint64_t *bits, uint32_t r)
{
    bits[r / 64] |= UINT64_C(1) << (r % 64);
}

static int add_row(const struct rt_policy *p, struct rt_narrow *w, int fact, bool below, uint32_t n)
{
    struct row *to = &w->row[w->n_row++];
    size_t words = (size_t)w->n_word, steps = n / STEP + 1;

    to->fact = (uint8_t)fact;
    to->below = below;
    to->real = rt_info(p, fact)->type == RT_FACT_REAL;
    to->n = n;
    to->mark = calloc(n, sizeof *to->mark);
    to->bits = calloc(steps * words, sizeof *to->bits);
    to->none = malloc(words * sizeof *to->none);
    if (to->mark == NULL || to->bits == NULL || to->none == NULL)
        return BASE_ENOMEM;
    memset(to->none, 0xFF, words * sizeof *to->none);
    collect(p, fact, below, to);
    qsort(to->mark, n, sizeof *to->mark, to->real ? by_real : by_int);
    if (below) { /* values below a threshold pass it and all that follow */
        for (uint32_t i = n; i-- > 0;) {
            uint64_t *at = to->bits + i / STEP * words;
            if (i % STEP == STEP - 1 && i + 1 < n)
                memcpy(at, at + words, words * sizeof *at);
            set_bit(at, to->mark[i].rule);
        }
    } else {
        for (uint32_t i = 0; i < n; i++) {
            uint64_t *at = to->bits + (i / STEP + 1) * words;
            if (i / STEP + 1 == steps)
                break;
            if (i % STEP == 0)
                memcpy(at, at - words, words * sizeof *at);
            set_bit(at, to->mark[i].rule);
        }
    }
    return 0;
}

int rt_narrow_build(const struct rt_policy *p, struct rt_narrow **out)
{
    struct rt_narrow *w = calloc(1, sizeof *w);
    int err = w != NULL ? 0 : BASE_ENOMEM;

    *out = w;
    if (w != NULL)
        w->n_word = (p->n_rule + 63) / 64;
    for (int i = 0; i < p->n_used && err == 0; i++) {
        int fact = p->used[i];
        for (int below = 0; below < 2 && err == 0; below++) {
            uint32_t n = rt_fact_is_targets(fact) ? 0 : collect(p, fact, below != 0, NULL);
            if (n >= FEW_TESTS && w->n_row < MAX_ROW)
                err = add_row(p, w, fact, below != 0, n);
        }
    }
    return err;
}

void rt_narrow_free(struct rt_narrow *w)
{
    for (int i = 0; w != NULL && i < w->n_row; i++) {
        free(w->row[i].mark);
        free(w->row[i].bits);
        free(w->row[i].none);
    }
    free(w);
}

/* ---- looking ---- */

/* How many marks lie before the value, equal ones included if `equal`. */
static uint32_t place(const struct row *r, const union rt_const *v, bool equal)
{
    uint32_t lo = 0, hi = r->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int cmp = compare(r->real, &r->mark[mid].at, v);
        if (cmp < 0 || (cmp == 0 && equal))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The rules of the marks that the value passes. A value equal to a mark passes it for all that
 * matters here, also where the mark is strict: that rule is looked at in vain. */
static void passed(const struct row *r, int n_word, const union rt_const *v, uint64_t *out)
{
    size_t bytes = (size_t)n_word * sizeof *out;

    if (r->below) {
        uint32_t from = place(r, v, false), step = (from + STEP - 1) / STEP;
        if (step * STEP < r->n)
            memcpy(out, r->bits + (size_t)step * (size_t)n_word, bytes);
        else
            memset(out, 0, bytes);
        for (uint32_t i = from; i < r->n && i < step * STEP; i++)
            set_bit(out, r->mark[i].rule);
    } else {
        uint32_t to = place(r, v, true), step = to / STEP;
        memcpy(out, r->bits + (size_t)step * (size_t)n_word, bytes);
        for (uint32_t i = step * STEP; i < to; i++)
            set_bit(out, r->mark[i].rule);
    }
}

void rt_narrow_look(const struct rt_narrow *w, const struct rt_env *e, uint64_t *bits)
{
    uint64_t pass[RT_RULE_WORDS];

    for (int i = 0; i < w->n_row; i++) {
        const struct row *r = &w->row[i];
        const struct rt_have *h = &e->v[r->fact];
        if (h->have)
            passed(r, w->n_word, &h->val, pass);
        for (int k = 0; k < w->n_word; k++)
            bits[k] &= h->have ? r->none[k] | pass[k] : r->none[k];
    }
}
