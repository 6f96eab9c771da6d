/* A step in the making: scratch, rows and threads. What step.c (which rows, in and out), forward.c
 * (the arithmetic) and attend.c (its attention) share; nobody else includes it. */
#ifndef ENG_EXEC_H
#define ENG_EXEC_H

#include "engine/inner.h"

enum { ENG_SLICE_HEAD = 64 }; /* head outputs a slice: the tile [rows][64] stays in cache */

struct eng_row {
    const struct eng_seg *seg;
    int pos;       /* in its session */
    float *logits; /* [n_vocab], the caller's; NULL: not wanted */
};

/* Rows [first, first + n) of the active ones, all with this adapter. */
struct eng_lora_run {
    const struct eng_lora *lora;
    int first, n;
};

struct eng_exec {
    const struct eng_model *m;
    struct eng_pool *pool;
    int n_thread, max_row;

    int n_row, n_act, n_want, n_lora_run;
    struct eng_row *row; /* [max_row] */
    int *act;            /* [max_row] rows that run the present layer */
    int *want;           /* [max_row] rows that want logits */
    struct eng_lora_run *lora_run; /* [max_row]; n_lora_run of them: the active rows with an adapter */

    uint8_t *embed_row; /* one, as the file has it */
    float *x;       /* [max_row][d_model] residual stream, by row */
    float *cos_sin; /* [max_row][2][rot_dim], by row: RoPE of global and of windowed layers */
    /* By place in act: */
    float *h;         /* [max_row][d_model] normed input of a block's half, then its output */
    float *q, *att;   /* [max_row][n_head * head_dim] */
    float *k, *v;     /* [max_row][n_kv_head * head_dim] */
    float *gate, *up; /* [max_row][d_ff] */
    struct kern_act act8; /* what the next products take, [max_row] rows of the widest input */

    uint8_t *scratch; /* [n_thread][scratch_bytes] for kernels */
    size_t scratch_bytes;
    float *tile; /* [n_thread][max_row][ENG_SLICE_HEAD] of logits */
    struct eng_attend *attend; /* attend.c */

    eng_exec_tap *tap; /* NULL: nobody watches */
    void *tap_arg;
};

/* One of the products of a block. */
struct eng_mm {
    const struct eng_matrix *w;
    enum eng_slot slot;
    float *y; /* [n_act][n_out] */
};

static inline float *eng_exec_x(const struct eng_exec *e, int row)
{
    return e->x + (size_t)row * (size_t)e->m->c.d_model;
}

/* [rot_dim] */
static inline float *eng_exec_cos_sin(const struct eng_exec *e, int row, bool local)
{
    return e->cos_sin + ((size_t)row * 2 + local) * (size_t)e->m->c.rot_dim;
}

/* Attention of the rows in act: e->q over K/V of their sessions to e->att. Room for it: NULL when
 * memory runs out; freed by plain free. */
struct eng_attend *eng_attend_new(const struct eng_model *m, int n_thread, int max_row);
/* Appends k and v of row act[i] to its session: before any row of the step attends in this layer. */
void eng_attend_store(struct eng_exec *e, int layer, int i);
void eng_attend(struct eng_exec *e, int layer);

/* Runs layer l over e->act: appends to K/V, changes x. */
void eng_forward_layer(struct eng_exec *e, int l);
/* Adapters (lora_apply.c). plan: after e->act is known, before its layer. apply: job[i].y += what each
 * row's adapter has for that slot, x as the product had it: [n_act][n_in]. apply_head: the same for
 * the logits, h as the head had it. */
void eng_lora_plan(struct eng_exec *e);
void eng_lora_apply(struct eng_exec *e, int layer, const float *x, const struct eng_mm *job, int n_job);
void eng_lora_apply_head(struct eng_exec *e);

/* Final norm and head over e->want, into the rows' own buffers. */
void eng_forward_head(struct eng_exec *e);

#endif
