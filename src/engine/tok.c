#include "engine/tok_int.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* ---- opening ---- */

static int read_id(const struct eng_tok *t, const struct gguf_file *f, const char *key, int32_t *id,
                   struct base_err *err)
{
    uint32_t v;
    bool found;
    int rc = gguf_get_u32(f, key, &v, &found, err);
    if (rc != 0 || !found)
        return rc;
    if (v == UINT32_MAX) { /* written by some tools for "none" */
        *id = -1;
        return 0;
    }
    if (v >= (uint32_t)t->n_vocab)
        return base_err_set(err, BASE_EFORMAT, key, "token %u of %d", v, t->n_vocab);
    *id = (int32_t)v;
    return 0;
}

static int read_ends(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    static const char *const key[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    int rc = 0;
    for (size_t i = 0; i < sizeof key / sizeof key[0] && rc == 0; i++) {
        int32_t id = -1;
        rc = read_id(t, f, key[i], &id, err);
        if (rc == 0 && id >= 0)
            t->is_end[id] = 1;
    }
    if (t->eos >= 0)
        t->is_end[t->eos] = 1;
    return rc;
}

static int read_ids(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    bool found;
    /* What the formats' first files left unsaid. */
    bool spm = t->kind == TOK_SPM && t->n_vocab > 2;
    t->bos = spm ? 1 : -1;
    t->eos = spm ? 2 : -1;
    t->unk = spm ? 0 : -1;
    t->add_bos = t->kind == TOK_SPM || pretok_add_bos(t->pre);
    t->add_space = t->kind == TOK_SPM;
    int rc = read_id(t, f, "tokenizer.ggml.bos_token_id", &t->bos, err);
    if (rc == 0)
        rc = read_id(t, f, "tokenizer.ggml.eos_token_id", &t->eos, err);
    if (rc == 0)
        rc = read_id(t, f, "tokenizer.ggml.unknown_token_id", &t->unk, err);
    if (rc == 0)
        rc = read_ends(t, f, err);
    if (rc == 0)
        rc = gguf_get_bool(f, "tokenizer.ggml.add_bos_token", &t->add_bos, &found, err);
    if (rc == 0)
        rc = gguf_get_bool(f, "tokenizer.ggml.add_space_prefix", &t->add_space, &found, err);
    return rc;
}

static int read_model(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    static const char key[] = "tokenizer.ggml.model";
    struct gguf_str s;
    bool found;
    int rc = gguf_get_str(f, key, &s, &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return base_err_set(err, BASE_EFORMAT, key, "missing: the file has no tokenizer");
    if (s.len == 4 && memcmp(s.s, "gpt2", 4) == 0)
        t->kind = TOK_BPE;
    else if (s.len == 5 && memcmp(s.s, "llama", 5) == 0)
        t->kind = TOK_SPM;
    else
        return base_err_set(err, BASE_EUNSUPPORTED, key,
                            "tokenizer '%.*s' is none of gpt2 (byte-level BPE), llama "
                            "(SentencePiece BPE)",
                            (int)(s.len < 40 ? s.len : 40), s.s);
    return 0;
}

/* Numbers on their way into a hash: little-endian, a few hundred at a time. */
struct hash_num {
    struct base_xxh *h;
    size_t n;
    uint64_t num[512];
};

static void hash_flush(struct hash_num *x)
{
    base_xxh_add(x->h, x->num, x->n * sizeof x->num[0]);
    x->n = 0;
}

static void hash_u64(struct hash_num *x, uint64_t v)
{
    if (x->n == sizeof x->num / sizeof x->num[0])
        hash_flush(x);
    x->num[x->n++] = htole64(v);
}

/* Over what decides ids: what was read, not how the file spelt it. */
static int make_hash(struct eng_tok *t, const struct gguf_file *f, struct base_err *err)
{
    struct gguf_str pre = {"default", 7};
    bool found;
    int rc = t->kind == TOK_BPE ? gguf_get_str(f, "tokenizer.ggml.pre", &pre, &found, err) : 0;
    if (rc != 0)
        return rc;
    struct hash_num h = {.h = base_xxh_new()};
    if (h.h == NULL)
        return base_err_set(err, BASE_ENOMEM, "tokenizer", "out of memory");
    hash_u64(&h, (uint64_t)t->kind);
    hash_u64(&h, (uint64_t)t->n_vocab);
    for (int i = 0; i < t->n_vocab; i++) {
        hash_u64(&h, (uint64_t)t->type[i] << 32 | (t->off[i + 1] - t->off[i]));
        hash_u64(&h, t->is_end[i]);
    }
    hash_flush(&h);
    base_xxh_add(h.h, t->pool, t->off[t->n_vocab]);
    const int64_t small[] = {t->bos, t->eos, t->unk, t->add_bos, t->add_space, t->n_merge};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        hash_u64(&h, (uint64_t)small[i]);
    for (int i = 0; t->kind == TOK_BPE && i < t->n_vocab; i++)
        for (uint32_t m = t->merge_first[i]; m < t->merge_first[i + 1]; m++) {
            hash_u64(&h, (uint64_t)i << 32 | (uint32_t)t->merge[m].right);
            hash_u64(&h, (uint64_t)t->merge[m].rank);
        }
    for (int i = 0; t->kind == TOK_SPM && i < t->n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &t->score[i], sizeof bits);
        hash_u64(&h, bits);
    }
    hash_flush(&h);
    base_xxh_add(h.h, pre.s, pre.len);
    base_xxh_end(h.h, t->hash);
    return 0;
}

int eng_tok_open(struct eng_tok **out, const struct gguf_file *f, struct base_err *err)
{
    *out = NULL;
    struct eng_tok *t = calloc(1, sizeof *t);
    if (t == NULL)
        return base_err_set(err, BASE_ENOMEM, "tokenizer", "out of memory");
    int rc = read_model(t, f, err);
    if (rc == 0)
        rc = tok_vocab_read(t, f, err);
    if (rc == 0 && t->kind == TOK_BPE)
        rc = tok_bpe_read(t, f, err);
    if (rc == 0)
        rc = read_ids(t, f, err);
    if (rc == 0)
        rc = make_hash(t, f, err);
    if (rc != 0) {
        eng_tok_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

void eng_tok_close(struct eng_tok *t)
{
    if (t == NULL)
        return;
    free(t->pool);
    free(t->off);
    free(t->type);
    free(t->is_end);
    free(t->word.slot);
    free(t->special.slot);
    pretok_free(t->pre);
    free(t->merge_first);
    free(t->merge);
    free(t->score);
    free(t);
}

/* ---- facts ---- */

int eng_tok_n_vocab(const struct eng_tok *t)
{
    return t->n_vocab;
}

int32_t eng_tok_bos(const struct eng_tok *t)
{
    return t->bos;
}

int32_t eng_tok_eos(const struct eng_tok *t)
{
    return t->eos;
}

bool eng_tok_add_bos(const struct eng_tok *t)
{
    return t->add_bos && t->bos >= 0;
}

static bool in_range(const struct eng_tok *t, int32_t id)
{
    return id >= 0 && id < t->n_vocab;
}

bool eng_tok_is_end(const struct eng_tok *t, int32_t id)
{
    return in_range(t, id) && t->is_end[id];
}

bool eng_tok_is_special(const struct eng_tok *t, int32_t id)
{
    return in_range(t, id) && (t->type[id] == TOK_CONTROL || t->type[id] == TOK_UNKNOWN);
}

void eng_tok_hash(const struct eng_tok *t, uint8_t out[16])
{
    memcpy(out, t->hash, sizeof t->hash);
}

const char *eng_tok_piece(const struct eng_tok *t, int32_t id, bool show_special, size_t *len)
{
    *len = 0;
    if (!in_range(t, id) || (eng_tok_is_special(t, id) && !show_special))
        return "";
    return tok_text(t, id, len);
}

int32_t eng_tok_find(const struct eng_tok *t, const char *text)
{
    return tok_keys_find(t, &t->special, text, strlen(text));
}

/* ---- encoding ---- */

/* The longest special token that begins here, or -1. */
static int32_t special_at(const struct eng_tok *t, const char *s, size_t left, bool control,
                          size_t *len)
{
    const bool *first = control ? t->special_first : t->user_first;
    if (!first[(uint8_t)s[0]])
        return -1;
    size_t max = left < t->special.max_len ? left : t->special.max_len;
    for (size_t n = max; n > 0; n--) {
        int32_t id = tok_keys_find(t, &t->special, s, n);
        if (id >= 0 && (control || t->type[id] == TOK_USER)) {
            *len = n;
            return id;
        }
    }
    return -1;
}

static int encode_plain(const struct eng_tok *t, const char *s, size_t len, struct tok_work *w,
                        struct tok_out *o)
{
    return t->kind == TOK_BPE ? tok_bpe_encode(t, s, len, w, o) : tok_spm_encode(t, s, len, w, o);
}

static int encode_all(const struct eng_tok *t, const char *text, size_t len, int flags,
                      struct tok_work *w, struct tok_out *o)
{
    bool control = (flags & ENG_TOK_SPECIAL) != 0;
    size_t plain = 0, n;
    int rc = 0;
    if ((flags & ENG_TOK_BOS) != 0 && eng_tok_add_bos(t))
        rc = tok_out_add(o, t->bos);
    for (size_t pos = 0; pos < len && rc == 0;) {
        int32_t id = special_at(t, text + pos, len - pos, control, &n);
        if (id < 0) {
            pos++;
            continue;
        }
        rc = encode_plain(t, text + plain, pos - plain, w, o);
        if (rc == 0)
            rc = tok_out_add(o, id);
        plain = pos += n;
    }
    return rc != 0 ? rc : encode_plain(t, text + plain, len - plain, w, o);
}

int eng_tok_encode(const struct eng_tok *t, const char *text, size_t len, int flags, int max_tok,
                   int32_t **ids, int *n, struct base_err *err)
{
    struct tok_out o = {.max = max_tok};
    struct tok_work w = {0};
    *ids = NULL;
    *n = 0;
    int rc = len > TOK_MAX_TEXT_BYTES ? BASE_ELIMIT : encode_all(t, text, len, flags, &w, &o);
    tok_work_fini(&w);
    if (rc != 0) {
        free(o.id);
        return rc == BASE_ELIMIT
                   ? base_err_set(err, rc, "text", "more than %d tokens (%zu bytes)", max_tok, len)
                   : base_err_set(err, rc, "text", "%s", base_code_str(rc));
    }
    *ids = o.id;
    *n = o.n;
    return 0;
}
