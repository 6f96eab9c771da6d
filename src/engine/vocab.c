#include "engine/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tok_int.h"

enum { LCP_MAX = UINT16_MAX };

/* The first eight bytes, big-endian and zero-padded, settle most comparisons. */
struct key {
    uint64_t head;
    int32_t id;
};

static uint64_t head_of(const char *s, size_t len)
{
    uint64_t h = 0;
    for (size_t i = 0; i < 8; i++)
        h = h << 8 | (i < len ? (uint8_t)s[i] : 0);
    return h;
}

static bool is_said(const struct eng_tok *t, int32_t id)
{
    return t->off[id + 1] > t->off[id] && !t->is_end[id] &&
           (t->type[id] == TOK_NORMAL || t->type[id] == TOK_USER || t->type[id] == TOK_BYTE);
}

static int by_bytes(const void *a, const void *b, void *tok)
{
    const struct eng_tok *t = tok;
    const int32_t x = ((const struct key *)a)->id, y = ((const struct key *)b)->id;
    size_t n, m;
    const char *p = tok_text(t, x, &n), *q = tok_text(t, y, &m);
    int c = memcmp(p, q, n < m ? n : m);
    if (c == 0)
        c = n != m ? (n < m ? -1 : 1) : (t->type[x] != TOK_NORMAL) - (t->type[y] != TOK_NORMAL);
    return c != 0 ? c : x < y ? -1 : x > y;
}

/* By head, stable, a byte at a time from the last. */
static void sort_heads(struct key *k, struct key *other, int n)
{
    for (int shift = 0; shift < 64; shift += 8) {
        int at[257] = {0};
        for (int i = 0; i < n; i++)
            at[(k[i].head >> shift & 0xff) + 1]++;
        for (int b = 0; b < 256; b++)
            at[b + 1] += at[b];
        for (int i = 0; i < n; i++)
            other[at[k[i].head >> shift & 0xff]++] = k[i];
        struct key *swap = k;
        k = other;
        other = swap;
    }
}

static int sort_tokens(struct eng_vocab *v, const struct eng_tok *t)
{
    struct key *k = malloc(2 * (size_t)t->n_vocab * sizeof *k);
    v->id = malloc(((size_t)t->n_vocab + 1) * sizeof *v->id);
    v->lcp = calloc((size_t)t->n_vocab + 1, sizeof *v->lcp);
    if (k == NULL || v->id == NULL || v->lcp == NULL) {
        free(k);
        return BASE_ENOMEM;
    }
    for (int32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *s = tok_text(t, id, &n);
        if (is_said(t, id))
            k[v->n++] = (struct key){head_of(s, n), id};
    }
    sort_heads(k, k + t->n_vocab, v->n);
    for (int i = 0, end; i < v->n; i = end) {
        for (end = i + 1; end < v->n && k[end].head == k[i].head; end++)
            ;
        if (end - i > 1)
            qsort_r(k + i, (size_t)(end - i), sizeof *k, by_bytes, (void *)t);
        for (int at = i; at < end; at++)
            v->id[at] = k[at].id;
    }
    free(k);
    return 0;
}

static void index_first(struct eng_vocab *v)
{
    size_t n_before = 0;
    const char *before = "";
    int next = 0;
    for (int i = 0; i < v->n; i++) {
        size_t n, k = 0;
        const char *s = tok_text(v->tok, v->id[i], &n);
        while (k < n && k < n_before && k < LCP_MAX && s[k] == before[k])
            k++;
        v->lcp[i] = (uint16_t)k;
        v->max_bytes = n > v->max_bytes ? n : v->max_bytes;
        const int b = (uint8_t)s[0];
        v->has_byte[b] |= n == 1;
        while (next <= b)
            v->first[next++] = i;
        before = s;
        n_before = n;
    }
    while (next <= 256)
        v->first[next++] = v->n;
}

static void find_ends(struct eng_vocab *v)
{
    const struct eng_tok *t = v->tok;
    if (eng_tok_is_end(t, t->eos))
        v->end[v->n_end++] = t->eos;
    for (int32_t id = 0; id < t->n_vocab && v->n_end < ENG_VOCAB_END_MAX; id++) {
        if (t->is_end[id] && id != t->eos)
            v->end[v->n_end++] = id;
    }
}

int eng_vocab_new(struct eng_vocab **out, const struct eng_tok *t, struct base_err *err)
{
    struct eng_vocab *v = calloc(1, sizeof *v);
    *out = NULL;
    if (v == NULL || sort_tokens(v, t) != 0) {
        eng_vocab_free(v);
        return base_err_set(err, BASE_ENOMEM, "vocabulary", "no memory for %d tokens", t->n_vocab);
    }
    v->tok = t;
    index_first(v);
    find_ends(v);
    if (v->n_end == 0) {
        eng_vocab_free(v);
        return base_err_set(err, BASE_EUNSUPPORTED, "vocabulary",
                            "no token ends an answer: its form could not be held to");
    }
    *out = v;
    return 0;
}

void eng_vocab_free(struct eng_vocab *v)
{
    if (v == NULL)
        return;
    free(v->id);
    free(v->lcp);
    free(v);
}

/* The first in id[lo..hi), which agree in their first `at` bytes, whose byte `at` is at least b;
 * one that ends before comes first. */
static int lower(const struct eng_vocab *v, int lo, int hi, size_t at, int b)
{
    while (lo < hi) {
        const int mid = lo + (hi - lo) / 2;
        size_t n;
        const char *s = tok_text(v->tok, v->id[mid], &n);
        if (n <= at || (uint8_t)s[at] < b)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void eng_vocab_range(const struct eng_vocab *v, const uint8_t *s, size_t len, int *lo, int *hi)
{
    *lo = 0;
    *hi = v->n;
    for (size_t at = 0; at < len && *lo < *hi; at++) {
        *lo = lower(v, *lo, *hi, at, s[at]);
        *hi = lower(v, *lo, *hi, at, s[at] + 1);
    }
}

int32_t eng_vocab_longest(const struct eng_vocab *v, const uint8_t *s, size_t len, size_t *n)
{
    int lo = 0, hi = v->n;
    int32_t best = -1;
    for (size_t at = 0; at < len && at < v->max_bytes; at++) {
        lo = lower(v, lo, hi, at, s[at]);
        hi = lower(v, lo, hi, at, s[at] + 1);
        if (lo == hi)
            break;
        size_t have;
        (void)tok_text(v->tok, v->id[lo], &have);
        if (have == at + 1) {
            best = v->id[lo];
            *n = have;
        }
    }
    return best;
}
