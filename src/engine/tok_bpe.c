#include "engine/tok_int.h"

#include <stdlib.h>
#include <string.h>

/* As the file has it. */
struct raw_merge {
    int32_t left, right, id;
};

static int by_right(const void *a, const void *b)
{
    const struct tok_merge *x = a, *y = b;
    if (x->right != y->right)
        return x->right < y->right ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int bad_merge(uint64_t i, const char *why, struct base_err *err)
{
    return base_err_set(err, BASE_EFORMAT, "key tokenizer.ggml.merges", "merge %llu: %s",
                        (unsigned long long)i, why);
}

/* "left right", both spelt; the result is the token of both texts together. */
static int parse_merge(const struct eng_tok *t, struct gguf_str s, uint64_t i,
                       struct raw_merge *out, struct base_err *err)
{
    char both[512];
    size_t n_left, n_right;
    const char *sp = s.len > 1 ? memchr(s.s + 1, ' ', s.len - 1) : NULL;
    if (sp == NULL || s.len > sizeof both)
        return bad_merge(i, "not two words of a sensible length", err);
    size_t cut = (size_t)(sp - s.s);
    if (!tok_unspell(s.s, cut, both, &n_left) ||
        !tok_unspell(sp + 1, s.len - cut - 1, both + n_left, &n_right))
        return bad_merge(i, "not in the byte-level spelling", err);
    out->left = tok_keys_find(t, &t->word, both, n_left);
    out->right = tok_keys_find(t, &t->word, both + n_left, n_right);
    out->id = tok_keys_find(t, &t->word, both, n_left + n_right);
    if (out->left < 0 || out->right < 0 || out->id < 0)
        return bad_merge(i, "its parts or its result are not in the vocabulary", err);
    return 0;
}

/* Merges by left token, by right one, by rank: first shared out by the left one, of which each has
 * few, then sorted among themselves. The first rank of a pair counts, and a repetition is dropped.
 */
static void index_merges(struct eng_tok *t, const struct raw_merge *raw, size_t n)
{
    uint32_t *first = t->merge_first; /* first a cursor: where a left token's next merge goes */
    for (size_t i = 0; i < n; i++)
        first[raw[i].left + 1]++;
    for (int l = 0; l < t->n_vocab; l++)
        first[l + 1] += first[l];
    for (size_t i = 0; i < n; i++)
        t->merge[first[raw[i].left]++] = (struct tok_merge){raw[i].right, raw[i].id, (int32_t)i};
    uint32_t at = 0;
    for (int l = 0; l < t->n_vocab; l++) {
        const uint32_t end = first[l];
        struct tok_merge *m = t->merge + at;
        if (end - at > 1)
            qsort(m, end - at, sizeof *m, by_right);
        first[l] = (uint32_t)t->n_merge;
        for (; at < end; at++)
            if (t->n_merge == (int)first[l] || t->merge[t->n_merge - 1].right != t->merge[at].right)
                t->merge[t->n_merge++] = t->merge[at];
    }
    first[t->n_vocab] = (uint32_t)t->n_merge;
}

static int read_merges(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    static const char key[] = "tokenizer.ggml.merges";
    uint64_t n;
    bool found;
    struct raw_merge *raw = NULL;
    int rc = gguf_get_arr(f, key, GGUF_KV_STR, &n, &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return base_err_set(err, BASE_EFORMAT, "key tokenizer.ggml.merges", "missing");
    if (n > TOK_MAX_MERGE)
        return base_err_set(err, BASE_ELIMIT, "key tokenizer.ggml.merges",
                            "%llu merges (at most %d)", (unsigned long long)n, TOK_MAX_MERGE);
    raw = malloc(((size_t)n + 1) * sizeof *raw);
    t->merge = malloc(((size_t)n + 1) * sizeof *t->merge);
    t->merge_first = calloc((size_t)t->n_vocab + 1, sizeof *t->merge_first);
    if (raw == NULL || t->merge == NULL || t->merge_first == NULL) {
        rc = base_err_set(err, BASE_ENOMEM, "tokenizer", "out of memory");
        goto out;
    }
    struct gguf_strs text = gguf_arr_strs(f, key);
    for (uint64_t i = 0; i < n; i++) {
        rc = parse_merge(t, gguf_strs_next(&text), i, &raw[i], err);
        if (rc != 0)
            goto out;
    }
    index_merges(t, raw, (size_t)n);
out:
    free(raw);
    return rc;
}

int tok_bpe_read(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    struct gguf_str pre = {"default", 7};
    bool found;
    int rc = gguf_get_str(f, "tokenizer.ggml.pre", &pre, &found, err);
    if (rc == 0)
        rc = pretok_new(&t->pre, pre.s, pre.len, err);
    return rc != 0 ? rc : read_merges(t, f, err);
}

static bool bpe_pair(const struct eng_tok *t, const struct tok_sym *a, const struct tok_sym *b,
                     double *cost, int32_t *id)
{
    if (a->id < 0 || b->id < 0)
        return false;
    uint32_t lo = t->merge_first[a->id], hi = t->merge_first[a->id + 1], end = hi;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->merge[mid].right < b->id)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == end || t->merge[lo].right != b->id)
        return false;
    *cost = t->merge[lo].rank;
    *id = t->merge[lo].id;
    return true;
}

struct bpe_run {
    const struct eng_tok *t;
    struct tok_work *w;
    struct tok_out *out;
};

/* Some vocabularies (SmolLM2's) lack a few bytes that their training text never had. As in the
 * model's own tokenizer, those are left out. */
static int encode_word(void *ctx, const char *word, size_t len)
{
    struct bpe_run *r = ctx;
    const struct eng_tok *t = r->t;
    if (pretok_whole_words(t->pre)) {
        int32_t id = tok_keys_find(t, &t->word, word, len);
        if (id >= 0)
            return tok_out_add(r->out, id);
    }
    int rc = tok_work_reserve(r->w, len);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < len; i++)
        r->w->sym[i] =
            (struct tok_sym){.s = word + i, .len = 1, .id = t->byte_id[(uint8_t)word[i]]};
    r->w->n_sym = (int)len;
    tok_merge_all(t, r->w, bpe_pair);
    for (int i = 0; i >= 0 && rc == 0; i = r->w->sym[i].next)
        if (r->w->sym[i].id >= 0)
            rc = tok_out_add(r->out, r->w->sym[i].id);
    return rc;
}

int tok_bpe_encode(const struct eng_tok *t, const char *text, size_t len, struct tok_work *w,
                   struct tok_out *out)
{
    struct bpe_run r = {t, w, out};
    return pretok_split(t->pre, text, len, encode_word, &r);
}
