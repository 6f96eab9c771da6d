/* A model is three structs: config (immutable numbers), weights (borrowed from the mapped file) and
 * run state (eng_session: K/V; eng_exec: scratch and threads). This header is the engine's inner
 * boundary; programs normally use sched.h. Model: const, any thread. Session: one thread at a time. */
#ifndef ENG_MODEL_H
#define ENG_MODEL_H

#include "base/err.h"
#include "engine/chat.h"
#include "engine/gguf.h"
#include "engine/kernels/kern.h"
#include "engine/pool.h"
#include "engine/tok.h"

enum eng_act { ENG_SILU, ENG_GELU }; /* of the gated MLP */

/* The numbers of a model, and as data what its architecture does otherwise than `llama`. */
struct eng_config {
    char arch[24]; /* "llama" */
    char name[96];
    int n_layer, d_model, n_head, n_kv_head, head_dim, d_ff, n_vocab, n_ctx_train, rot_dim;
    float rms_eps, rope_theta;
    int rope_neox;
    bool tied_head; /* the head is the embedding table */
    bool rope_freqs; /* may have Llama 3's divisors of RoPE's angles */
    bool qkv_bias;   /* q, k and v have one */
    bool qk_norm;    /* each head of q and k is normed before RoPE */
    bool fused;      /* q, k, v in one matrix, gate and up in another */
    bool post_norm;  /* what a half of a block computed is normed before it is added back */
    enum eng_act act;
    bool scale_embed;       /* embeddings are multiplied by sqrt(d_model) */
    bool windowed;          /* some layers see only the last `window` positions, their own included */
    int window;             /* 0: none after all */
    int window_period;      /* each period's last layer sees everything; 0: none does */
    float rope_theta_local; /* of the windowed layers; 0: as the others */
    float embed_scale, attn_scale;
};

struct eng_model_opt {
    const char *path;
    int layer_begin, layer_end; /* layers to map and touch; end = -1: to the last */
    bool no_embed, no_head;     /* leave out the embedding / final norm and head */
    const char *chat_format;    /* NULL: from the file */
    const char *cpu;            /* WAYPOST_CPU; NULL: best */
    /* Multiply by f32 activations, straight from the file: slow, and with no loss but the weights'
     * own. Else activations are rounded to 8 bits wherever weights are quantised. */
    bool exact;
    int n_thread; /* to pack weights with; 0: as many as the process may use */
    bool look;    /* only to be looked at: don't pack */
    const char *pack_cache; /* a folder to keep packed weights in; NULL: none */
};

struct eng_model;

/* Errors: those of gguf_open, eng_tok_open and gguf_tensor_get; BASE_EUNSUPPORTED for another
 * architecture (the message lists ours). An unknown chat template is not an error here: see
 * eng_model_chat. */
int eng_model_open(struct eng_model **out, const struct eng_model_opt *o, struct base_err *err)
    BASE_MUST_CHECK;
void eng_model_close(struct eng_model *m);

const struct eng_config *eng_model_config(const struct eng_model *m);
const struct eng_tok *eng_model_tok(const struct eng_model *m);
const struct gguf_file *eng_model_file(const struct eng_model *m);
const struct kern_ops *eng_model_kern(const struct eng_model *m);
/* True if layers [a, b) are held (an empty range always is), and the embedding and head if asked. */
bool eng_model_holds(const struct eng_model *m, int a, int b, bool embed, bool head);
/* What was wrong with the pack cache, for the log; NULL: nothing, or no cache. */
const struct base_err *eng_model_cache_err(const struct eng_model *m);
/* How the weights came: "packed", "from the cache", or "as they are". */
const char *eng_model_packed_how(const struct eng_model *m);
/* The chat format, or the error that eng_chat_find gave. */
int eng_model_chat(const struct eng_model *m, const struct eng_chat_format **out,
                   struct base_err *err) BASE_MUST_CHECK;

/* What two sides compare before the first row. All hashes XXH3-128. */
struct eng_identity {
    uint8_t config[16];        /* architecture, numbers, RoPE, types of all tensors */
    uint8_t tok[16];
    uint8_t head[16];          /* final norm, head, embedding; zero unless all are held */
    int n_layer;
    uint8_t (*layer)[16];      /* [n_layer]; all zero for a layer that is not held. Owned by model */
};
/* Computed on first use (reads all held weights once); cached. Not thread-safe the first time.
 * NULL: out of memory. */
const struct eng_identity *eng_model_identity(struct eng_model *m);

/* K/V of one conversation for the model's layers. Each layer counts its own positions, so that
 * [0,k) and [k,L) can be run at different times. */
struct eng_session;
struct eng_lora; /* lora.h */
struct eng_watch; /* watch.h */
int eng_session_new(struct eng_session **out, const struct eng_model *m, int n_ctx,
                    enum kern_kv_type kv, struct base_err *err) BASE_MUST_CHECK;
void eng_session_free(struct eng_session *s);
int eng_session_n_pos(const struct eng_session *s, int layer);
int eng_session_n_ctx(const struct eng_session *s);
/* Forgets positions >= n_pos in layers [a, b). */
void eng_session_trim(struct eng_session *s, int a, int b, int n_pos);
/* The first n_pos positions of src's held layers [a, b) become all that dst has of them. Both of one
 * model, alike in n_ctx and kv; src has that many. */
void eng_session_copy_prefix(struct eng_session *dst, const struct eng_session *src, int a, int b,
                             int n_pos);
size_t eng_session_bytes(const struct eng_session *s); /* of K and V that its positions fill */

/* Rows of one session in a step. Exactly one of token (then layer_begin is 0) and x_in. */
struct eng_seg {
    struct eng_session *s;      /* may be NULL if layer_begin == layer_end (head only) */
    int layer_begin, layer_end; /* [a, b) within the model's held range; a == b: none */
    int n_row;
    const int32_t *token;       /* [n_row] */
    const float *x_in;          /* [n_row][d_model]: the residual stream entering layer_begin */
    float *x_out;               /* [n_row][d_model] leaving layer_end, or NULL */
    float *logits;              /* [n_vocab] of the last row, or [n_row][n_vocab], or NULL */
    bool logits_all;
    const struct eng_lora *lora; /* the rows' adapter (lora.h), or NULL */
    struct eng_watch *watch;     /* sees the rows pass (watch.h), or NULL */
};

/* Scratch and threads for steps of up to max_row rows in all. */
struct eng_exec;
int eng_exec_new(struct eng_exec **out, const struct eng_model *m, int n_thread, int max_row,
                 struct base_err *err) BASE_MUST_CHECK;
void eng_exec_free(struct eng_exec *e);
void eng_exec_stats(const struct eng_exec *e, struct eng_pool_stats *out); /* between steps */

/* One step: appends the rows to their sessions' layers and computes what was asked. Different segs
 * may have different layer ranges but not the same session. Results for a seg are bit-identical
 * whatever else is in the batch. Errors (before any state changes): BASE_EINVAL, BASE_ELIMIT
 * (context full; max_row). */
int eng_exec_run(struct eng_exec *e, const struct eng_seg *seg, int n_seg, struct base_err *err)
    BASE_MUST_CHECK;

/* Watches what goes into products: fn gets each matrix, in its file's name and shape, with its inputs
 * x[n_row][n_in], on the thread that runs the step. Of matrices that share x and a name only the first
 * is told. Inputs are those before rounding to 8 bits. NULL: no longer. */
typedef void eng_exec_tap(void *arg, const struct gguf_tensor *w, const float *x, int n_row);
void eng_exec_watch(struct eng_exec *e, eng_exec_tap *fn, void *arg);

#endif
