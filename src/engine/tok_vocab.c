#include "engine/tok_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/rd.h"

/* ---- keys ---- */

/* Where these bytes are, or the free slot where they would go. */
static int32_t *slot_of(const struct eng_tok *t, const struct tok_keys *k, const char *s,
                        size_t len)
{
    for (uint64_t i = base_xxh64(s, len);; i++) {
        int32_t *slot = &k->slot[i & k->mask];
        if (*slot < 0)
            return slot;
        size_t n;
        const char *text = tok_text(t, *slot, &n);
        if (n == len && memcmp(text, s, len) == 0)
            return slot;
    }
}

int32_t tok_keys_find(const struct eng_tok *t, const struct tok_keys *k, const char *s, size_t len)
{
    if (len == 0 || len > k->max_len)
        return -1;
    return *slot_of(t, k, s, len);
}

/* User-defined tokens are taken out of the text before anything merges; but a BPE merge may name
 * one. */
static bool is_word(const struct eng_tok *t, int32_t id)
{
    return t->type[id] == TOK_NORMAL || t->type[id] == TOK_UNUSED ||
           (t->type[id] == TOK_USER && t->kind == TOK_BPE);
}

static bool is_special(const struct eng_tok *t, int32_t id)
{
    return t->type[id] == TOK_CONTROL || t->type[id] == TOK_UNKNOWN || t->type[id] == TOK_USER;
}

/* Of equal texts a normal token is found before any other, then the lowest id. At most half of the
 * slots are taken. */
static int keys_build(struct eng_tok *t, struct tok_keys *k,
                      bool (*want)(const struct eng_tok *t, int32_t id))
{
    uint64_t n = 0, n_slot = 16;
    for (int32_t id = 0; id < t->n_vocab; id++)
        n += want(t, id);
    while (n_slot < 2 * n)
        n_slot *= 2;
    k->mask = n_slot - 1;
    k->slot = malloc((size_t)n_slot * sizeof *k->slot);
    if (k->slot == NULL)
        return BASE_ENOMEM;
    memset(k->slot, 0xff, (size_t)n_slot * sizeof *k->slot);
    for (int32_t id = 0; id < t->n_vocab; id++) {
        size_t len;
        const char *s = tok_text(t, id, &len);
        if (len == 0 || !want(t, id))
            continue;
        k->max_len = len > k->max_len ? len : k->max_len;
        int32_t *slot = slot_of(t, k, s, len);
        if (*slot < 0 || (t->type[*slot] != TOK_NORMAL && t->type[id] == TOK_NORMAL))
            *slot = id;
    }
    return 0;
}

/* ---- spelling ---- */

/* GPT-2 spells printable bytes as themselves and the 68 others as U+0100 onwards, in order. */
static int byte_of(unsigned cp)
{
    if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255))
        return (int)cp;
    if (cp < 256 || cp >= 256 + 68)
        return -1;
    unsigned nth = cp - 256;
    return (int)(nth < 33 ? nth : nth < 67 ? 127 + nth - 33 : 173);
}

bool tok_unspell(const char *s, size_t len, char *out, size_t *out_len)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        unsigned cp = p[i++];
        if (cp > 0x20 && cp < 0x7f) { /* most of them */
            out[n++] = (char)cp;
            continue;
        }
        if (cp >= 0xc2 && cp <= 0xc5 && i < len && (p[i] & 0xc0) == 0x80)
            cp = (cp & 0x1f) << 6 | (p[i++] & 0x3f);
        else if (cp >= 0x80)
            return false;
        int b = byte_of(cp);
        if (b < 0)
            return false;
        out[n++] = (char)b;
    }
    *out_len = n;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "<0xE5>" -> 0xE5, or -1. */
static int byte_token(const char *s, size_t len)
{
    if (len != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
        return -1;
    int hi = hex_digit(s[3]), lo = hex_digit(s[4]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* The file's spelling -> the bytes that the token stands for; never longer. */
static size_t decode(const struct eng_tok *t, int32_t id, struct gguf_str s, char *out)
{
    size_t n = 0;
    int b = t->type[id] == TOK_BYTE ? byte_token(s.s, s.len) : -1;
    bool plain = t->type[id] == TOK_NORMAL || t->type[id] == TOK_UNUSED;
    if (b >= 0) {
        out[0] = (char)b;
        return 1;
    }
    if (t->kind == TOK_BPE && plain && tok_unspell(s.s, s.len, out, &n))
        return n;
    n = 0;
    for (size_t i = 0; i < s.len;) {
        bool mark = t->kind == TOK_SPM && (plain || t->type[id] == TOK_USER) && s.len - i >= 3 &&
                    memcmp(s.s + i, "\xe2\x96\x81", 3) == 0;
        out[n++] = mark ? ' ' : s.s[i];
        i += mark ? 3 : 1;
    }
    return n;
}

/* ---- reading ---- */

static int out_of_memory(struct base_err *err)
{
    return base_err_set(err, BASE_ENOMEM, "tokenizer", "out of memory");
}

/* An array of exactly n_vocab elements; r is set to its bytes. */
static int per_token(const struct eng_tok *t, const struct gguf_file *f, const char *key,
                     enum gguf_kv_type elem, struct base_rd *r, bool *found, struct base_err *err)
{
    uint64_t n;
    int rc = gguf_get_arr(f, key, elem, &n, found, err);
    if (rc != 0 || !*found)
        return rc;
    if (n != (uint64_t)t->n_vocab)
        return base_err_set(err, BASE_EFORMAT, key, "%llu entries for %d tokens",
                            (unsigned long long)n, t->n_vocab);
    base_rd_init(r, gguf_arr_data(f, key), (size_t)n * 4);
    return 0;
}

static int read_types(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    static const char key[] = "tokenizer.ggml.token_type";
    struct base_rd r;
    bool found;
    t->type = malloc((size_t)t->n_vocab);
    if (t->type == NULL)
        return out_of_memory(err);
    int rc = per_token(t, f, key, GGUF_KV_I32, &r, &found, err);
    for (int i = 0; i < t->n_vocab && rc == 0; i++) {
        uint32_t v = found ? base_rd_u32le(&r) : TOK_NORMAL;
        if (v > TOK_BYTE)
            rc = base_err_set(err, BASE_EFORMAT, key, "token %d has unknown type %u", i, v);
        t->type[i] = v == 0 ? TOK_NORMAL : (uint8_t)v;
    }
    return rc;
}

static int read_scores(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    static const char key[] = "tokenizer.ggml.scores";
    struct base_rd r;
    bool found;
    int rc = per_token(t, f, key, GGUF_KV_F32, &r, &found, err);
    if (rc == 0 && !found)
        rc = base_err_set(err, BASE_EFORMAT, key, "missing");
    if (rc != 0)
        return rc;
    t->score = malloc((size_t)t->n_vocab * sizeof *t->score);
    if (t->score == NULL)
        return out_of_memory(err);
    for (int i = 0; i < t->n_vocab; i++) {
        t->score[i] = base_rd_f32le(&r);
        if (!isfinite(t->score[i]))
            return base_err_set(err, BASE_EFORMAT, key, "the score of token %d is not finite", i);
    }
    return 0;
}

static int read_texts(struct eng_tok *t, const struct gguf_file *f, const char *key,
                      struct base_err *err)
{
    size_t total = 0;
    struct gguf_strs all = gguf_arr_strs(f, key), text = all;
    for (int i = 0; i < t->n_vocab; i++)
        total += gguf_strs_next(&all).len;
    if (total > TOK_MAX_TEXT_BYTES)
        return base_err_set(err, BASE_ELIMIT, key, "%zu bytes of tokens (at most %d)", total,
                            TOK_MAX_TEXT_BYTES);
    t->pool = malloc(total + 1);
    t->off = malloc(((size_t)t->n_vocab + 1) * sizeof *t->off);
    if (t->pool == NULL || t->off == NULL)
        return out_of_memory(err);
    uint32_t at = 0;
    for (int i = 0; i < t->n_vocab; i++) {
        t->off[i] = at;
        at += (uint32_t)decode(t, i, gguf_strs_next(&text), t->pool + at);
    }
    t->off[t->n_vocab] = at;
    return 0;
}

/* Tokens that end an answer, by the names that models give them. Files often mistype the ones in
 * bars as normal, and then a user's text could end the assistant's turn; a plain "</s>" may be just
 * a word of the vocabulary (Qwen2's). */
static void mark_ends(struct eng_tok *t)
{
    static const char *const name[] = {
        "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>",
        "<|end|>",    "<end_of_turn>", "<EOT>",      "</s>",
    };
    for (int32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *s = tok_text(t, id, &n);
        if (n < 4 || s[0] != '<')
            continue;
        bool barred = s[1] == '|';
        for (size_t i = 0; i < sizeof name / sizeof name[0]; i++)
            if (strlen(name[i]) == n && memcmp(name[i], s, n) == 0 &&
                (barred || t->type[id] != TOK_NORMAL)) {
                t->is_end[id] = 1;
                t->type[id] = TOK_CONTROL;
            }
    }
}

static void index_bytes(struct eng_tok *t)
{
    for (int b = 0; b < 256; b++) {
        char c = (char)b;
        t->byte_id[b] = t->kind == TOK_BPE ? tok_keys_find(t, &t->word, &c, 1) : -1;
    }
    for (int32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *s = tok_text(t, id, &n);
        if (t->type[id] == TOK_BYTE && n == 1 && t->byte_id[(uint8_t)s[0]] < 0)
            t->byte_id[(uint8_t)s[0]] = id;
        if (n == 0 || !is_special(t, id))
            continue;
        t->special_first[(uint8_t)s[0]] = true;
        t->user_first[(uint8_t)s[0]] |= t->type[id] == TOK_USER;
    }
}

int tok_vocab_read(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    static const char key[] = "tokenizer.ggml.tokens";
    uint64_t n;
    bool found;
    int rc = gguf_get_arr(f, key, GGUF_KV_STR, &n, &found, err);
    if (rc != 0)
        return rc;
    if (!found || n == 0)
        return base_err_set(err, BASE_EFORMAT, key, "missing");
    if (n > TOK_MAX_VOCAB)
        return base_err_set(err, BASE_ELIMIT, key, "%llu tokens (at most %d)",
                            (unsigned long long)n, TOK_MAX_VOCAB);
    t->n_vocab = (int)n;
    rc = read_types(t, f, err);
    if (rc == 0)
        rc = read_texts(t, f, key, err);
    if (rc == 0 && t->kind == TOK_SPM)
        rc = read_scores(t, f, err);
    if (rc != 0)
        return rc;
    t->is_end = calloc((size_t)t->n_vocab, 1);
    if (t->is_end == NULL)
        return out_of_memory(err);
    mark_ends(t);
    if (keys_build(t, &t->word, is_word) != 0 || keys_build(t, &t->special, is_special) != 0)
        return out_of_memory(err);
    index_bytes(t);
    return 0;
}
