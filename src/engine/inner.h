/* The inside of a model, a session: what config.c, weights.c, model.c, session.c, identity.c and
 * forward.c share. Nobody else includes it. */
#ifndef ENG_INNER_H
#define ENG_INNER_H

#include <pthread.h>

#include "engine/model.h"

/* Limits on what a file may claim; far above any real model, low enough that no product of two of
 * them overflows a size. */
enum {
    ENG_MAX_LAYER = 1024,
    ENG_MAX_WIDTH = 1 << 17, /* d_model, d_ff, n_head * head_dim */
    ENG_MAX_HEAD_DIM = 512,
    ENG_MAX_VOCAB = 1 << 21,
    ENG_MAX_CTX = 1 << 22,
};

/* A matrix [n_out][n_in]: as it lies in the file, borrowed from the map (or some rows of one there),
 * and packed from it, in the model's own memory. */
struct eng_matrix {
    struct gguf_tensor t;
    struct pack p; /* p.form NULL: multiplied as it lies in the file, by f32 activations */
};

/* One block's weights. Norms and biases are owned f32 copies. All zero for a layer not held. */
struct eng_layer {
    float *attn_norm;                 /* [d_model] */
    struct eng_matrix q;              /* [n_head * head_dim][d_model] */
    struct eng_matrix k, v;           /* [n_kv_head * head_dim][d_model] */
    float *q_bias, *k_bias, *v_bias;  /* [rows of q, k, v]; NULL: none */
    float *q_norm, *k_norm;           /* [head_dim]; NULL: none */
    struct eng_matrix o;              /* [d_model][n_head * head_dim] */
    float *attn_post_norm;            /* [d_model]; NULL: none */
    float *ffn_norm;                  /* [d_model] */
    struct eng_matrix gate, up;       /* [d_ff][d_model] */
    struct eng_matrix down;           /* [d_model][d_ff] */
    float *ffn_post_norm;             /* [d_model]; NULL: none */
};

struct eng_weights {
    const struct gguf_tensor *embed; /* [n_vocab][d_model]; NULL: not held */
    float *out_norm;                 /* [d_model]; NULL: head not held */
    struct eng_matrix head;          /* [n_vocab][d_model]; the embedding if tied */
    bool has_head;
    struct eng_layer *layer;         /* [n_layer] */
    float *rope_factor;              /* [rot_dim / 2] Llama 3's divisors of the angles; else 1 */
};

struct eng_model {
    struct eng_config c;
    float rope_scale; /* linear scaling: angles are multiplied by it */
    struct eng_weights w;
    struct gguf_file *file;
    struct eng_tok *tok;
    const struct kern_ops *kern;
    const struct eng_chat_format *chat; /* NULL: chat_err says why */
    struct base_err chat_err;
    int layer_begin, layer_end; /* held */
    bool no_embed, no_head, exact;
    uint8_t *packed; /* all packed matrices' data; NULL: none */
    size_t packed_bytes;
    bool packed_cached; /* mapped from a cache file */
    struct base_err cache_err;
    struct eng_identity id;
    bool id_known;
};

/* Whether a layer sees the last c->window positions only. */
static inline bool eng_layer_windowed(const struct eng_config *c, int layer)
{
    return c->window > 0 &&
           (c->window_period == 0 || layer % c->window_period != c->window_period - 1);
}

/* Metadata -> c, rope_scale. m->file is open. Errors: BASE_EFORMAT, BASE_EUNSUPPORTED. */
int eng_config_read(struct eng_model *m, struct base_err *err) BASE_MUST_CHECK;

/* Tensors -> w, after eng_config_read. Touches the data of norms and RoPE factors only. Errors:
 * gguf_tensor_get's, BASE_EUNSUPPORTED for a tensor that has no place in the graph, BASE_ENOMEM. */
int eng_weights_read(struct eng_model *m, struct base_err *err) BASE_MUST_CHECK;
void eng_weights_fini(struct eng_model *m);

/* Packs every held matrix whose type has a form, unless m->exact, with o->n_thread threads, or maps
 * what o->pack_cache has of them; gives the file's pages back. A cache that can't be used is no
 * error: m->cache_err. In two parts, because a thread of its own checks the cache between them: that
 * takes as long as the vocabulary, and neither needs the other. Every begin that gave 0 wants
 * an end; rc: what came of the work between, not 0: nothing is packed any more, and it is returned.
 * Errors: BASE_ENOMEM, eng_pool_new's. */
struct eng_packing {
    struct eng_model *m;
    const struct eng_model_opt *o;
    uint8_t key[16];
    struct pack_cache *cache; /* NULL: none, or nothing in it */
    pthread_t thread;
    bool started;
};
int eng_weights_pack_begin(struct eng_packing *p, struct eng_model *m,
                           const struct eng_model_opt *o, struct base_err *err) BASE_MUST_CHECK;
int eng_weights_pack_end(struct eng_packing *p, int rc, struct base_err *err) BASE_MUST_CHECK;
/* The file's pages of packed matrices are not needed any more. */
void eng_weights_release(const struct eng_model *m);
/* A row of the embedding, [row_bytes] of the file's type: in place where the head is multiplied from the
 * same pages, else copied to buf. The system maps what lies around a byte that is touched, up to some
 * MiB: rows read in place bring a large vocabulary into memory beside its packed form. Any thread. */
const void *eng_weights_embed_row(const struct eng_model *m, int32_t token, void *buf);
void eng_weights_unpack(struct eng_model *m);

/* A block's matrices, as adapters name them. */
enum eng_slot {
    ENG_SLOT_Q, ENG_SLOT_K, ENG_SLOT_V, ENG_SLOT_O, ENG_SLOT_GATE, ENG_SLOT_UP, ENG_SLOT_DOWN,
    ENG_N_SLOT
};

/* The tensors of a block in graph order, with their shapes; returns how many this model has. */
struct eng_tensor_spec {
    const char *name;    /* "attn_q.weight" */
    int64_t n_in, n_out; /* n_out = 0: a vector */
    size_t offset;       /* of the vector's pointer, or of the matrix, in struct eng_layer */
    int64_t row0, n_row; /* which of the n_out rows */
};
enum { ENG_MAX_LAYER_TENSORS = 24 };
int eng_layer_spec(const struct eng_config *c, struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS]);
/* "blk.7.attn_q.weight" into buf. */
const char *eng_layer_name(char buf[64], int layer, const char *name);

/* K and V of the held layers, in one lazily filled map that stays out of core dumps: a layer is
 * blocks of KERN_KV_BLOCK positions, [n_block][n_kv_head][block_bytes], as the kernels lay them out.
 * What lies behind a layer's n_pos positions has no meaning. */
struct eng_session {
    const struct eng_model *m;
    int n_ctx;
    enum kern_kv_type kv;
    size_t block_bytes; /* of one head */
    int *n_pos;         /* [n_layer]; 0 for layers that are not held */
    uint8_t *map;       /* [held layers] */
    size_t map_bytes;
};

/* What the blocks with a layer's first n_pos positions take. */
static inline size_t eng_session_kv_bytes(const struct eng_session *s, int n_pos)
{
    const size_t n_block = ((size_t)n_pos + KERN_KV_BLOCK - 1) / KERN_KV_BLOCK;
    return n_block * (size_t)s->m->c.n_kv_head * s->block_bytes;
}

/* The first block of a held layer. */
static inline uint8_t *eng_session_kv(const struct eng_session *s, int layer)
{
    return s->map + (size_t)(layer - s->m->layer_begin) * eng_session_kv_bytes(s, s->n_ctx);
}

#endif
