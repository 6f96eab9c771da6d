/* The forward pass over the active rows, gathered into a dense block [n_act], so that each matrix
 * is read once for all of them. Two kinds of phases take turns: products, whose outputs are shared
 * out between threads, and what is done row by row, where rows are.
 *
 * Why results don't depend on the batch: each kernel's output for a row depends on that row alone
 * (kern.h), and slices only share out rows, heads and outputs, never a sum. */
#include "engine/exec.h"

#include <string.h>

enum {
    SLICE_OUT = 32,      /* smallest share of a matrix's outputs worth a slice; whole panels */
    SLICES_A_THREAD = 4, /* so that a slow core doesn't hold up the step */
    SLICE_ROWS = 16,     /* a group of kern_act */
};

/* ---- products ---- */

struct mm_arg {
    struct eng_exec *e;
    const float *x; /* [n_act][n_in] */
    const struct eng_mm *job;
    int n_job, slice_out;
};

static int n_slice_of(const struct eng_matrix *w, int slice_out)
{
    return (int)((w->t.dim[1] + slice_out - 1) / slice_out);
}

static void mm_slice(void *arg, int slice, int worker)
{
    const struct mm_arg *a = arg;
    const struct eng_exec *e = a->e;
    const struct kern_ops *kern = e->m->kern;
    const struct eng_mm *j = a->job;
    while (slice >= n_slice_of(j->w, a->slice_out)) {
        slice -= n_slice_of(j->w, a->slice_out);
        j++;
    }
    const struct gguf_tensor *t = &j->w->t;
    const int n_in = (int)t->dim[0], n_out = (int)t->dim[1];
    const int r0 = slice * a->slice_out;
    const int r1 = r0 + a->slice_out < n_out ? r0 + a->slice_out : n_out;
    if (j->w->p.form != NULL)
        kern->matmul_pack(&j->w->p, r0 / PACK_OUT, (r1 + PACK_OUT - 1) / PACK_OUT, &e->act8,
                          e->n_act, j->y, (size_t)n_out);
    else
        kern->matmul(t->type, t->data, t->row_bytes, n_in, r0, r1, a->x, (size_t)n_in, e->n_act,
                     j->y, (size_t)n_out, e->scratch + (size_t)worker * e->scratch_bytes);
}

/* Tells a watcher of job's inputs; parts of one fused matrix share its name. */
static void tap(const struct eng_exec *e, const float *x, const struct eng_mm *job, int n_job)
{
    for (int i = 0; e->tap != NULL && i < n_job; i++)
        if (i == 0 || strcmp(job[i].w->t.name, job[i - 1].w->t.name) != 0)
            e->tap(e->tap_arg, &job[i].w->t, x, e->n_act);
}

/* y = W x for one to three matrices that share x, in one go: fewer waits for the slowest thread;
 * and what the rows' adapters add to it. x has been rounded (below) where a matrix is packed. */
static void matmul(struct eng_exec *e, int layer, const float *x, const struct eng_mm *job,
                   int n_job)
{
    int64_t n_out = 0;
    tap(e, x, job, n_job);
    for (int i = 0; i < n_job; i++)
        n_out += job[i].w->t.dim[1];
    int64_t share = n_out / ((int64_t)e->n_thread * SLICES_A_THREAD);
    share = share / SLICE_OUT * SLICE_OUT;
    struct mm_arg a = {e, x, job, n_job, share < SLICE_OUT ? SLICE_OUT : (int)share};
    int n_slice = 0;
    for (int i = 0; i < n_job; i++)
        n_slice += n_slice_of(job[i].w, a.slice_out);
    eng_pool_run(e->pool, mm_slice, &a, n_slice);
    eng_lora_apply(e, layer, x, job, n_job);
}

/* ---- rows ---- */

/* What is done to rows [i0, i1) of the active ones between two products. */
typedef void rows_fn(struct eng_exec *e, int layer, int i0, int i1);

struct rows_arg {
    struct eng_exec *e;
    rows_fn *fn;
    int layer, n;
};

static void rows_slice(void *arg, int slice, int worker)
{
    const struct rows_arg *a = arg;
    (void)worker;
    const int i0 = slice * SLICE_ROWS;
    a->fn(a->e, a->layer, i0, i0 + SLICE_ROWS < a->n ? i0 + SLICE_ROWS : a->n);
}

/* Few rows are one slice: no other thread is woken for them. */
static void each_row(struct eng_exec *e, rows_fn *fn, int layer, int n)
{
    struct rows_arg a = {e, fn, layer, n};
    eng_pool_run(e->pool, rows_slice, &a, (n + SLICE_ROWS - 1) / SLICE_ROWS);
}

/* x[i][n] -> e->act8, if a product may want it. */
static void round_rows(struct eng_exec *e, const float *x, int n, int i0, int i1)
{
    if (e->m->packed == NULL || n % PACK_BLOCK != 0)
        return;
    struct kern_act act = e->act8;
    act.n_in = n;
    for (int r0 = i0, g; r0 < i1; r0 += g) {
        g = kern_act_group(i1 - r0);
        for (int k = 0; k < g; k++)
            e->m->kern->act_quant(&act, r0, g, k, x + (size_t)(r0 + k) * (size_t)n);
    }
}

/* y[i] += b; no b, no change */
static void add_bias(struct eng_exec *e, float *y, const float *b, int n, int i0, int i1)
{
    for (int i = i0; b != NULL && i < i1; i++)
        e->m->kern->add(y + (size_t)i * (size_t)n, b, n);
}

/* Each of the n heads a row of y by itself: y = rmsnorm(y) * w; no w, no change */
static void norm_heads(struct eng_exec *e, float *y, const float *w, int n, int i0, int i1)
{
    const int dim = e->m->c.head_dim;
    for (int i = i0 * n; w != NULL && i < i1 * n; i++)
        e->m->kern->rmsnorm(y + (size_t)i * (size_t)dim, y + (size_t)i * (size_t)dim, w, dim,
                            e->m->c.rms_eps);
}

/* h[i] = rmsnorm(x[row i]) * w */
static void norm(struct eng_exec *e, const float *w, const int *rows, int i0, int i1)
{
    const int d = e->m->c.d_model;
    for (int i = i0; i < i1; i++)
        e->m->kern->rmsnorm(e->h + (size_t)i * (size_t)d, eng_exec_x(e, rows[i]), w, d,
                            e->m->c.rms_eps);
}

/* h[i] = rmsnorm(h[i]) * w; no w, no change */
static void norm_out(struct eng_exec *e, const float *w, int i0, int i1)
{
    const int d = e->m->c.d_model;
    for (int i = i0; w != NULL && i < i1; i++) {
        float *h = e->h + (size_t)i * (size_t)d;
        e->m->kern->rmsnorm(h, h, w, d, e->m->c.rms_eps);
    }
}

/* x[row i] += h[i] */
static void add_back(struct eng_exec *e, int i0, int i1)
{
    const int d = e->m->c.d_model;
    for (int i = i0; i < i1; i++)
        e->m->kern->add(eng_exec_x(e, e->act[i]), e->h + (size_t)i * (size_t)d, d);
}

static void enter_rows(struct eng_exec *e, int l, int i0, int i1)
{
    const struct eng_layer *w = &e->m->w.layer[l];
    norm(e, w->attn_norm, e->act, i0, i1);
    round_rows(e, e->h, e->m->c.d_model, i0, i1);
}

/* Turns q and k by their positions and appends k and v to their sessions. */
static void rope_and_store(struct eng_exec *e, int layer, int i0, int i1)
{
    const struct eng_config *c = &e->m->c;
    const struct kern_ops *kern = e->m->kern;
    const size_t qd = (size_t)c->n_head * (size_t)c->head_dim;
    const size_t kvd = (size_t)c->n_kv_head * (size_t)c->head_dim;
    const bool local = c->rope_theta_local != 0.0f && eng_layer_windowed(c, layer);
    for (int i = i0; i < i1; i++) {
        const float *cs = eng_exec_cos_sin(e, e->act[i], local);
        kern->rope(e->q + (size_t)i * qd, c->n_head, c->head_dim, c->rot_dim, cs, c->rope_neox);
        kern->rope(e->k + (size_t)i * kvd, c->n_kv_head, c->head_dim, c->rot_dim, cs, c->rope_neox);
        eng_attend_store(e, layer, i);
    }
}

/* Biases and heads' norms for the models that have them. */
static void place_rows(struct eng_exec *e, int l, int i0, int i1)
{
    const struct eng_layer *w = &e->m->w.layer[l];
    const struct eng_config *c = &e->m->c;
    add_bias(e, e->q, w->q_bias, c->n_head * c->head_dim, i0, i1);
    add_bias(e, e->k, w->k_bias, c->n_kv_head * c->head_dim, i0, i1);
    add_bias(e, e->v, w->v_bias, c->n_kv_head * c->head_dim, i0, i1);
    norm_heads(e, e->q, w->q_norm, c->n_head, i0, i1);
    norm_heads(e, e->k, w->k_norm, c->n_kv_head, i0, i1);
    rope_and_store(e, l, i0, i1);
}

static void attended_rows(struct eng_exec *e, int l, int i0, int i1)
{
    (void)l;
    round_rows(e, e->att, e->m->c.n_head * e->m->c.head_dim, i0, i1);
}

static void middle_rows(struct eng_exec *e, int l, int i0, int i1)
{
    const struct eng_layer *w = &e->m->w.layer[l];
    norm_out(e, w->attn_post_norm, i0, i1);
    add_back(e, i0, i1);
    norm(e, w->ffn_norm, e->act, i0, i1);
    round_rows(e, e->h, e->m->c.d_model, i0, i1);
}

/* gate = act(gate) * up */
static void gate_rows(struct eng_exec *e, int l, int i0, int i1)
{
    (void)l;
    const struct kern_ops *kern = e->m->kern;
    const int n = e->m->c.d_ff;
    for (int i = i0; i < i1; i++) {
        const size_t at = (size_t)i * (size_t)n;
        (e->m->c.act == ENG_GELU ? kern->gelu_mul : kern->silu_mul)(e->gate + at, e->up + at, n);
    }
    round_rows(e, e->gate, n, i0, i1);
}

static void leave_rows(struct eng_exec *e, int l, int i0, int i1)
{
    norm_out(e, e->m->w.layer[l].ffn_post_norm, i0, i1);
    add_back(e, i0, i1);
}

static void head_rows(struct eng_exec *e, int l, int i0, int i1)
{
    (void)l;
    norm(e, e->m->w.out_norm, e->want, i0, i1);
    round_rows(e, e->h, e->m->c.d_model, i0, i1);
}

/* ---- a block, the head ---- */

/* One transformer block: grouped-query attention, then the gated MLP, each on a normed copy of the
 * residual stream and added back to it (Touvron et al., LLaMA, 2023; Ainslie et al., GQA, 2023). */
void eng_forward_layer(struct eng_exec *e, int l)
{
    const struct eng_layer *w = &e->m->w.layer[l];
    const int n = e->n_act;

    each_row(e, enter_rows, l, n);
    matmul(e, l, e->h,
           (struct eng_mm[]){
               {&w->q, ENG_SLOT_Q, e->q}, {&w->k, ENG_SLOT_K, e->k}, {&w->v, ENG_SLOT_V, e->v}},
           3);
    each_row(e, place_rows, l, n);
    eng_attend(e, l);
    each_row(e, attended_rows, l, n);
    matmul(e, l, e->att, (struct eng_mm[]){{&w->o, ENG_SLOT_O, e->h}}, 1);
    each_row(e, middle_rows, l, n);
    matmul(e, l, e->h,
           (struct eng_mm[]){{&w->gate, ENG_SLOT_GATE, e->gate}, {&w->up, ENG_SLOT_UP, e->up}}, 2);
    each_row(e, gate_rows, l, n);
    matmul(e, l, e->gate, (struct eng_mm[]){{&w->down, ENG_SLOT_DOWN, e->h}}, 1);
    each_row(e, leave_rows, l, n);
}

/* 64 entries of the vocabulary for all rows that want logits, then out to each row's own buffer. */
static void head_slice(void *arg, int slice, int worker)
{
    struct eng_exec *e = arg;
    const struct eng_matrix *w = &e->m->w.head;
    const int n_in = (int)w->t.dim[0], n_out = (int)w->t.dim[1];
    const int r0 = slice * ENG_SLICE_HEAD;
    const int n = n_out - r0 < ENG_SLICE_HEAD ? n_out - r0 : ENG_SLICE_HEAD;
    float *tile = e->tile + (size_t)worker * (size_t)e->max_row * ENG_SLICE_HEAD;
    if (w->p.form != NULL) {
        struct pack part = w->p;
        part.data += (size_t)(r0 / PACK_OUT) * part.panel_bytes;
        part.n_out = n;
        e->m->kern->matmul_pack(&part, 0, (n + PACK_OUT - 1) / PACK_OUT, &e->act8, e->n_want, tile,
                                ENG_SLICE_HEAD);
    } else {
        e->m->kern->matmul(w->t.type, (const uint8_t *)w->t.data + (size_t)r0 * w->t.row_bytes,
                           w->t.row_bytes, n_in, 0, n, e->h, (size_t)n_in, e->n_want, tile,
                           ENG_SLICE_HEAD, e->scratch + (size_t)worker * e->scratch_bytes);
    }
    for (int i = 0; i < e->n_want; i++)
        memcpy(e->row[e->want[i]].logits + r0, tile + (size_t)i * ENG_SLICE_HEAD,
               (size_t)n * sizeof(float));
}

void eng_forward_head(struct eng_exec *e)
{
    each_row(e, head_rows, 0, e->n_want);
    if (e->tap != NULL)
        e->tap(e->tap_arg, &e->m->w.head.t, e->h, e->n_want);
    eng_pool_run(e->pool, head_slice, e, n_slice_of(&e->m->w.head, ENG_SLICE_HEAD));
    eng_lora_apply_head(e);
}
