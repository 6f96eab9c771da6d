/* What the tokenizer's parts share; nobody else includes this. */
#ifndef ENG_TOK_INT_H
#define ENG_TOK_INT_H

#include "engine/pretok.h"
#include "engine/tok.h"

enum { TOK_MAX_VOCAB = 1 << 20, TOK_MAX_MERGE = 1 << 21, TOK_MAX_TEXT_BYTES = 1 << 26 };

enum tok_kind { TOK_BPE, TOK_SPM };

/* tokenizer.ggml.token_type */
enum tok_type { TOK_NORMAL = 1, TOK_UNKNOWN, TOK_CONTROL, TOK_USER, TOK_UNUSED, TOK_BYTE };

struct tok_keys {
    int32_t *slot; /* [mask + 1] ids by their bytes' hash, linear probing; -1: free */
    uint64_t mask;
    size_t max_len;
};

struct tok_merge {
    int32_t right; /* sorted by it within one left token */
    int32_t id;    /* of both together */
    int32_t rank;  /* its line in the file: the lowest goes first */
};

struct eng_tok {
    enum tok_kind kind;
    int n_vocab;
    char *pool;              /* all tokens' bytes, one after another */
    uint32_t *off;           /* [n_vocab + 1] into pool */
    uint8_t *type;           /* [n_vocab] enum tok_type */
    uint8_t *is_end;         /* [n_vocab] */
    struct tok_keys word;    /* what merging may make */
    struct tok_keys special; /* control and user-defined tokens, found as they stand */
    bool special_first[256], user_first[256]; /* first bytes of those, of the user-defined alone */
    int32_t byte_id[256];                     /* -1: this vocabulary has no token for the byte */
    int32_t bos, eos, unk;                    /* -1: none */
    bool add_bos;
    uint8_t hash[16];
    /* BPE */
    struct pretok *pre;
    uint32_t *merge_first;   /* [n_vocab + 1]: the merges of one left token */
    struct tok_merge *merge; /* [n_merge] */
    int n_merge;
    /* SentencePiece */
    float *score;   /* [n_vocab] */
    bool add_space; /* before the first word */
};

static inline const char *tok_text(const struct eng_tok *t, int32_t id, size_t *len)
{
    *len = t->off[id + 1] - t->off[id];
    return t->pool + t->off[id];
}

/* ---- tok_vocab.c ---- */

/* The id of exactly these bytes, or -1. */
int32_t tok_keys_find(const struct eng_tok *t, const struct tok_keys *k, const char *s, size_t len);

/* GPT-2's printable spelling of bytes -> the bytes, in place is fine. false: not such a spelling.
 */
bool tok_unspell(const char *s, size_t len, char *out, size_t *out_len);

/* Reads the vocabulary: pool, type, keys, byte_id, score. */
int tok_vocab_read(struct eng_tok *t, const struct gguf_file *f,
                   struct base_err *err) BASE_MUST_CHECK;

/* ---- tok_merge.c ---- */

struct tok_out {
    int32_t *id;
    int n, cap, max;
};
/* 0, BASE_ELIMIT or BASE_ENOMEM. */
int tok_out_add(struct tok_out *o, int32_t id) BASE_MUST_CHECK;

struct tok_sym {
    const char *s;
    uint32_t len;       /* 0: merged into its left neighbour */
    int32_t id;         /* -1: no token */
    int32_t prev, next; /* -1: none */
};

struct tok_cand {
    double cost; /* the lowest merges first, the leftmost among equals */
    int32_t left;
    uint32_t len; /* of both: tells a candidate that was overtaken */
    int32_t id;
};

/* One encoding's scratch memory. */
struct tok_work {
    struct tok_sym *sym;   /* [cap] */
    struct tok_cand *heap; /* [2 * cap] */
    size_t cap;
    int n_sym, n_heap;
};
int tok_work_reserve(struct tok_work *w, size_t n_sym) BASE_MUST_CHECK;
void tok_work_fini(struct tok_work *w);

/* Whether a and b, neighbours, make a token, at which cost. */
typedef bool tok_pair_fn(const struct eng_tok *t, const struct tok_sym *a, const struct tok_sym *b,
                         double *cost, int32_t *id);

/* Merges w->sym[0..n_sym), whose s, len and id are set, until nothing fits: O(n log n) pairs. The
 * result is the chain from sym[0] along next. */
void tok_merge_all(const struct eng_tok *t, struct tok_work *w, tok_pair_fn *pair);

/* ---- tok_bpe.c, tok_spm.c ---- */

int tok_bpe_read(struct eng_tok *t, const struct gguf_file *f,
                 struct base_err *err) BASE_MUST_CHECK;
int tok_bpe_encode(const struct eng_tok *t, const char *text, size_t len, struct tok_work *w,
                   struct tok_out *out) BASE_MUST_CHECK;
int tok_spm_encode(const struct eng_tok *t, const char *text, size_t len, struct tok_work *w,
                   struct tok_out *out) BASE_MUST_CHECK;

#endif
