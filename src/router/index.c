/* Which rules a decision need not look at. A rule that asks for one of a few words (caller,
 * language, intent, …) or that names data classes can only match if the facts bring one of them. So
 * each rule is listed under the words of one of its direct tests, the one that fewest rules share,
 * and a decision looks up the words that it has. Rules without such a test are always looked at. */
#include "router/compile.h"

#include <stdlib.h>
#include <string.h>

enum {
    FEW_RULES = 32, /* below, looking at all of them costs less */
    FEW_LEFT = 16,  /* of these the numbers are not asked */
};

/* Where a word was asked for. Facts' words have the fact's number. */
enum { IN_ONLY = RT_MAX_FACT, IN_ONLY_TREE, IN_ANY, IN_ANY_TREE };

struct key {
    uint32_t place, str;
    uint32_t first, n; /* post[first .. first + n): rules */
};

struct rt_fast {
    int n_word;       /* bits of `always`, in words of 64 */
    uint64_t *always; /* [n_word] */
    struct key *key;  /* [n_key], sorted */
    uint32_t n_key;
    uint16_t *post;
    uint8_t fact[RT_MAX_FACT]; /* [n_fact]: text facts with keys */
    int n_fact;
    bool only, any;
    struct rt_narrow *numbers;
};

static int by_key(const void *pa, const void *pb)
{
    const struct key *a = pa, *b = pb;
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    return a->str < b->str ? -1 : a->str > b->str;
}

static struct key *find(const struct rt_fast *f, uint32_t place, uint32_t str)
{
    uint32_t lo = 0, hi = f->n_key;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        const struct key *k = &f->key[mid];
        if (k->place < place || (k->place == place && k->str < str))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < f->n_key && f->key[lo].place == place && f->key[lo].str == str ? &f->key[lo] : NULL;
}

/* ---- building ---- */

/* Whether a rule can be listed under this test's words. */
static bool usable(const struct rt_policy *p, const struct rt_cond *t)
{
    if (t->op == RT_OP_CLS_ONLY || t->op == RT_OP_CLS_ANY) {
        for (uint32_t i = 0; i < t->n_item; i++) {
            if (p->item[t->item + i].val.str == RT_STR_ROOT)
                return false;
        }
        return t->fact == RT_F_DATA_CLASS;
    }
    return (t->op == RT_OP_EQ || t->op == RT_OP_IN) && rt_info(p, t->fact)->type == RT_FACT_STR &&
           !rt_fact_is_targets(t->fact);
}

static uint32_t n_words(const struct rt_cond *t)
{
    return t->op == RT_OP_EQ ? 1 : t->n_item;
}

static struct key word(const struct rt_policy *p, const struct rt_cond *t, uint32_t i)
{
    if (t->op == RT_OP_EQ)
        return (struct key){.place = t->fact, .str = t->val.str};
    const struct rt_item *it = &p->item[t->item + i];
    struct key k = {.place = t->fact, .str = it->val.str};
    if (t->op != RT_OP_IN)
        k.place = (t->op == RT_OP_CLS_ONLY ? IN_ONLY : IN_ANY) + (uint32_t)it->subtree;
    return k;
}

/* All words of all usable tests, each once, with the number of rules that have it. */
static int collect(const struct rt_policy *p, struct rt_fast *f)
{
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++) {
        size_t at = 0;
        for (int r = 0; r < p->n_rule; r++) {
            for (uint32_t i = p->rule[r].cond + 1; i < p->rule[r].end; i = p->cond[i].end) {
                for (uint32_t k = 0; usable(p, &p->cond[i]) && k < n_words(&p->cond[i]); k++) {
                    if (pass == 1)
                        f->key[at] = word(p, &p->cond[i], k);
                    at++;
                }
            }
        }
        n = at;
        if (pass == 0 && (f->key = calloc(n + 1, sizeof *f->key)) == NULL)
            return BASE_ENOMEM;
    }
    qsort(f->key, n, sizeof *f->key, by_key);
    for (size_t i = 0; i < n; i++) {
        if (f->n_key == 0 || by_key(&f->key[f->n_key - 1], &f->key[i]) != 0)
            f->key[f->n_key++] = f->key[i];
        f->key[f->n_key - 1].n++;
    }
    return 0;
}

/* The test under which the rule is listed: the one whose most shared word is shared least. */
static const struct rt_cond *choose(const struct rt_policy *p, const struct rt_fast *f,
                                    const struct rt_rule *r)
{
    const struct rt_cond *best = NULL;
    uint32_t least = UINT32_MAX;

    for (uint32_t i = r->cond + 1; i < r->end; i = p->cond[i].end) {
        const struct rt_cond *t = &p->cond[i];
        uint32_t most = 0;
        if (!usable(p, t))
            continue;
        for (uint32_t k = 0; k < n_words(t); k++) {
            struct key w = word(p, t, k);
            uint32_t n = find(f, w.place, w.str)->n;
            most = n > most ? n : most;
        }
        if (most < least) {
            least = most;
            best = t;
        }
    }
    return best;
}

static void note_place(struct rt_fast *f, uint32_t place)
{
    f->only |= place == IN_ONLY || place == IN_ONLY_TREE;
    f->any |= place == IN_ANY || place == IN_ANY_TREE;
    if (place >= RT_MAX_FACT || memchr(f->fact, (int)place, (size_t)f->n_fact) != NULL)
        return;
    f->fact[f->n_fact++] = (uint8_t)place;
}

static int fill(const struct rt_policy *p, struct rt_fast *f)
{
    const struct rt_cond **by = calloc((size_t)p->n_rule, sizeof *by);
    uint32_t total = 0;

    if (by == NULL)
        return BASE_ENOMEM;
    for (int r = 0; r < p->n_rule; r++) {
        by[r] = choose(p, f, &p->rule[r]);
        if (by[r] == NULL)
            f->always[r / 64] |= UINT64_C(1) << (r % 64);
    }
    for (uint32_t k = 0; k < f->n_key; k++)
        f->key[k].n = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int r = 0; r < p->n_rule; r++) {
            for (uint32_t k = 0; by[r] != NULL && k < n_words(by[r]); k++) {
                struct key w = word(p, by[r], k);
                struct key *at = find(f, w.place, w.str);
                note_place(f, w.place);
                if (pass == 1)
                    f->post[at->first + at->n] = (uint16_t)r;
                at->n++;
            }
        }
        for (uint32_t k = 0; pass == 0 && k < f->n_key; k++) {
            f->key[k].first = total;
            total += f->key[k].n;
            f->key[k].n = 0;
        }
        if (pass == 0 && (f->post = calloc(total + 1, sizeof *f->post)) == NULL)
            break;
    }
    free(by);
    return f->post != NULL ? 0 : BASE_ENOMEM;
}

int rt_index_build(struct rt_policy *p)
{
    if (p->n_rule < FEW_RULES)
        return 0;
    struct rt_fast *f = calloc(1, sizeof *f);
    if (f == NULL)
        return BASE_ENOMEM;
    f->n_word = (p->n_rule + 63) / 64;
    f->always = calloc((size_t)f->n_word, sizeof *f->always);
    int err = f->always != NULL ? collect(p, f) : BASE_ENOMEM;
    if (err == 0)
        err = fill(p, f);
    if (err == 0)
        err = rt_narrow_build(p, &f->numbers);
    if (err != 0) {
        rt_index_free(f);
        return err;
    }
    p->fast = f;
    return 0;
}

void rt_index_free(struct rt_fast *f)
{
    if (f == NULL)
        return;
    free(f->always);
    free(f->key);
    free(f->post);
    rt_narrow_free(f->numbers);
    free(f);
}

/* ---- looking ---- */

static void add(const struct rt_fast *f, uint32_t place, uint32_t str, uint64_t *bits)
{
    const struct key *k = str != RT_STR_NONE ? find(f, place, str) : NULL;

    for (uint32_t i = 0; k != NULL && i < k->n; i++) {
        uint16_t r = f->post[k->first + i];
        bits[r / 64] |= UINT64_C(1) << (r % 64);
    }
}

static void add_class(const struct rt_fast *f, const struct rt_env_cls *e, int i, uint32_t place,
                      uint64_t *bits)
{
    add(f, place, e->at[i].full, bits);
    for (int k = 0; k < e->at[i].n_prefix; k++)
        add(f, place + 1, e->at[i].prefix[k], bits);
}

void rt_index_look(const struct rt_policy *p, const struct rt_env *e, uint64_t bits[RT_RULE_WORDS])
{
    const struct rt_fast *f = p->fast;
    const struct rt_env_cls *cls = &e->cls[0];

    memcpy(bits, f->always, (size_t)f->n_word * sizeof *bits);
    for (int i = 0; i < f->n_fact; i++) {
        const struct rt_have *h = &e->v[f->fact[i]];
        if (h->have)
            add(f, f->fact[i], h->val.str, bits);
    }
    /* `only` covers every class, so the first one will do. */
    if (f->only && cls->n > 0)
        add_class(f, cls, 0, IN_ONLY, bits);
    for (int i = 0; f->any && i < cls->n; i++)
        add_class(f, cls, i, IN_ANY, bits);
    int left = 0;
    for (int i = 0; i < f->n_word; i++)
        left += __builtin_popcountll(bits[i]);
    if (left > FEW_LEFT)
        rt_narrow_look(f->numbers, e, bits);
}
