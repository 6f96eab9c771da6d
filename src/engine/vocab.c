#include "engine/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tok_int.h"

enum { LCP_MAX = UINT16_MAX };

/* Tokens with text that merging does not make: byte fallbacks, and SentencePiece's user-defined. */
static bool is_other(const struct eng_tok *t, int32_t id)
{
    return t->type[id] == TOK_BYTE || (t->type[id] == TOK_USER && t->kind == TOK_SPM);
}

static int by_bytes(const void *a, const void *b, void *tok)
{
    size_t n, m;
    const char *x = tok_text(tok, *(const int32_t *)a, &n);
    const char *y = tok_text(tok, *(const int32_t *)b, &m);
    const int c = memcmp(x, y, n < m ? n : m);
    if (c != 0)
        return c;
    return n != m ? (n < m ? -1 : 1) : *(const int32_t *)a - *(const int32_t *)b;
}

/* The words are sorted already; the others are few. */
static int merge(struct eng_vocab *v, const struct eng_tok *t)
{
    int n_other = 0, at = 0;
    int32_t *other = malloc((size_t)t->n_vocab * sizeof *other);
    v->id = malloc(((size_t)t->n_vocab + 1) * sizeof *v->id);
    v->lcp = calloc((size_t)t->n_vocab + 1, sizeof *v->lcp);
    if (other == NULL || v->id == NULL || v->lcp == NULL) {
        free(other);
        return BASE_ENOMEM;
    }
    for (int32_t id = 0; id < t->n_vocab; id++) {
        if (is_other(t, id) && t->off[id + 1] > t->off[id])
            other[n_other++] = id;
    }
    qsort_r(other, (size_t)n_other, sizeof *other, by_bytes, (void *)t);
    for (int i = 0; i < t->word.n; i++) {
        const int32_t id = t->word.key[i].id;
        if (t->is_end[id] || t->type[id] == TOK_UNUSED)
            continue;
        while (at < n_other && by_bytes(&other[at], &id, (void *)t) < 0)
            v->id[v->n++] = other[at++];
        v->id[v->n++] = id;
    }
    while (at < n_other)
        v->id[v->n++] = other[at++];
    free(other);
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
    if (v == NULL || merge(v, t) != 0) {
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
