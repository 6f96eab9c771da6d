/* The forward pass over the active rows, gathered into a dense block [n_act], so that each matrix
 * is read once for all of them.
 *
 * Why results don't depend on the batch: each kernel's output for a row depends on that row alone
 * (kern.h), and slices only share out rows, heads and outputs, never a sum. */
#include "engine/exec.h"

#include <string.h>

enum {
    SLICE_OUT = 32,      /* smallest share of a matrix's outputs worth a slice */
    SLICES_A_THREAD = 4, /* so that a slow core doesn't hold up the step */
};

struct mm {
    const struct gguf_tensor *w;
    float *y; /* [n_act][w->dim[1]] */
};

struct mm_arg {
    struct eng_exec *e;
    const float *x; /* [n_act][n_in] */
    const struct mm *job;
    int n_job, slice_out;
};

static int n_slice_of(const struct gguf_tensor *w, int slice_out)
{
    return (int)((w->dim[1] + slice_out - 1) / slice_out);
}

static void mm_slice(void *arg, int slice, int worker)
{
    const struct mm_arg *a = arg;
    const struct eng_exec *e = a->e;
    const struct mm *j = a->job;
    while (slice >= n_slice_of(j->w, a->slice_out)) {
        slice -= n_slice_of(j->w, a->slice_out);
        j++;
    }
    const int n_in = (int)j->w->dim[0], n_out = (int)j->w->dim[1];
    const int r0 = slice * a->slice_out;
    const int r1 = r0 + a->slice_out < n_out ? r0 + a->slice_out : n_out;
    e->m->kern->matmul(j->w->type, j->w->data, j->w->row_bytes, n_in, r0, r1, a->x, (size_t)n_in,
                       e->n_act, j->y, (size_t)n_out,
                       e->scratch + (size_t)worker * e->scratch_bytes);
}

/* y = W x for one to three matrices that share x, in one go: fewer waits for the slowest thread. */
static void matmul(struct eng_exec *e, const float *x, const struct mm *job, int n_job)
{
    int64_t n_out = 0;
    for (int i = 0; i < n_job; i++)
        n_out += job[i].w->dim[1];
    int64_t share = n_out / ((int64_t)e->n_thread * SLICES_A_THREAD);
    share = share / SLICE_OUT * SLICE_OUT;
    struct mm_arg a = {e, x, job, n_job, share < SLICE_OUT ? SLICE_OUT : (int)share};
    int n_slice = 0;
    for (int i = 0; i < n_job; i++)
        n_slice += n_slice_of(job[i].w, a.slice_out);
    eng_pool_run(e->pool, mm_slice, &a, n_slice);
}

/* y[i] += b; no b, no change */
static void add_bias(struct eng_exec *e, float *y, const float *b, int n)
{
    for (int i = 0; b != NULL && i < e->n_act; i++)
        e->m->kern->add(y + (size_t)i * (size_t)n, b, n);
}

/* q, k, v = W h + b, for the models that have b */
static void project(struct eng_exec *e, const struct eng_layer *w)
{
    const struct eng_config *c = &e->m->c;
    matmul(e, e->h, (struct mm[]){{&w->q, e->q}, {&w->k, e->k}, {&w->v, e->v}}, 3);
    add_bias(e, e->q, w->q_bias, c->n_head * c->head_dim);
    add_bias(e, e->k, w->k_bias, c->n_kv_head * c->head_dim);
    add_bias(e, e->v, w->v_bias, c->n_kv_head * c->head_dim);
}

/* Each of the n heads a row of y by itself: y = rmsnorm(y) * w; no w, no change */
static void norm_heads(struct eng_exec *e, float *y, const float *w, int n)
{
    const int dim = e->m->c.head_dim;
    for (int i = 0; w != NULL && i < e->n_act * n; i++, y += dim)
        e->m->kern->rmsnorm(y, y, w, dim, e->m->c.rms_eps);
}

/* h[i] = rmsnorm(x[row i]) * w */
static void norm(struct eng_exec *e, const float *w, const int *rows, int n)
{
    const int d = e->m->c.d_model;
    for (int i = 0; i < n; i++)
        e->m->kern->rmsnorm(e->h + (size_t)i * (size_t)d, eng_exec_x(e, rows[i]), w, d,
                            e->m->c.rms_eps);
}

/* h[i] = rmsnorm(h[i]) * w; no w, no change */
static void norm_out(struct eng_exec *e, const float *w)
{
    const int d = e->m->c.d_model;
    for (int i = 0; w != NULL && i < e->n_act; i++) {
        float *h = e->h + (size_t)i * (size_t)d;
        e->m->kern->rmsnorm(h, h, w, d, e->m->c.rms_eps);
    }
}

/* x[row i] += h[i] */
static void add_back(struct eng_exec *e)
{
    const int d = e->m->c.d_model;
    for (int i = 0; i < e->n_act; i++)
        e->m->kern->add(eng_exec_x(e, e->act[i]), e->h + (size_t)i * (size_t)d, d);
}

/* Turns q and k by their positions and appends k and v to their sessions. */
static void rope_and_store(struct eng_exec *e, int layer)
{
    const struct eng_config *c = &e->m->c;
    const struct kern_ops *kern = e->m->kern;
    const size_t qd = (size_t)c->n_head * (size_t)c->head_dim;
    const size_t kvd = (size_t)c->n_kv_head * (size_t)c->head_dim;
    const bool local = c->rope_theta_local != 0.0f && eng_layer_windowed(c, layer);
    for (int i = 0; i < e->n_act; i++) {
        const struct eng_row *r = &e->row[e->act[i]];
        const struct eng_session *s = r->seg->s;
        const float *cs = eng_exec_cos_sin(e, e->act[i], local);
        kern->rope(e->q + (size_t)i * qd, c->n_head, c->head_dim, c->rot_dim, cs, c->rope_neox);
        kern->rope(e->k + (size_t)i * kvd, c->n_kv_head, c->head_dim, c->rot_dim, cs, c->rope_neox);
        const size_t at = (size_t)r->pos * s->row_bytes;
        kern->kv_store(eng_session_kv(s, layer, 0) + at, e->k + (size_t)i * kvd, (int)kvd, s->kv);
        kern->kv_store(eng_session_kv(s, layer, 1) + at, e->v + (size_t)i * kvd, (int)kvd, s->kv);
    }
}

struct attend_arg {
    struct eng_exec *e;
    int layer;
};

/* One head of one row: the rows of a chunk see only what stands before them, and themselves; in a
 * windowed layer not even all of that. */
static void attend_slice(void *arg, int slice, int worker)
{
    (void)worker;
    const struct attend_arg *a = arg;
    const struct eng_exec *e = a->e;
    const struct eng_config *c = &e->m->c;
    const int i = slice / c->n_head, head = slice % c->n_head;
    const struct eng_row *r = &e->row[e->act[i]];
    const struct eng_session *s = r->seg->s;
    const int kv_head = head / (c->n_head / c->n_kv_head);
    const bool cut = eng_layer_windowed(c, a->layer) && r->pos >= c->window;
    const int first = cut ? r->pos + 1 - c->window : 0;
    const size_t at =
        (size_t)kv_head * (s->row_bytes / (size_t)c->n_kv_head) + (size_t)first * s->row_bytes;
    const size_t q_at = (size_t)slice * (size_t)c->head_dim;
    e->m->kern->attend(e->att + q_at, e->q + q_at, eng_session_kv(s, a->layer, 0) + at,
                       eng_session_kv(s, a->layer, 1) + at, s->row_bytes, r->pos + 1 - first,
                       c->head_dim, c->attn_scale, s->kv);
}

static void attend(struct eng_exec *e, int layer)
{
    struct attend_arg a = {e, layer};
    eng_pool_run(e->pool, attend_slice, &a, e->n_act * e->m->c.n_head);
}

static void gate_slice(void *arg, int slice, int worker)
{
    (void)worker;
    const struct eng_exec *e = arg;
    const struct kern_ops *kern = e->m->kern;
    const size_t at = (size_t)slice * (size_t)e->m->c.d_ff;
    (e->m->c.act == ENG_GELU ? kern->gelu_mul : kern->silu_mul)(e->gate + at, e->up + at,
                                                                e->m->c.d_ff);
}

/* gate = act(gate) * up */
static void gate_mul(struct eng_exec *e)
{
    eng_pool_run(e->pool, gate_slice, e, e->n_act);
}

/* One transformer block: grouped-query attention, then the gated MLP, each on a normed copy of the
 * residual stream and added back to it (Touvron et al., LLaMA, 2023; Ainslie et al., GQA, 2023).
 * Biases, heads' norms and norms of what is added back are left out by models without them. */
void eng_forward_layer(struct eng_exec *e, int l)
{
    const struct eng_layer *w = &e->m->w.layer[l];

    norm(e, w->attn_norm, e->act, e->n_act);
    project(e, w);
    norm_heads(e, e->q, w->q_norm, e->m->c.n_head);
    norm_heads(e, e->k, w->k_norm, e->m->c.n_kv_head);
    rope_and_store(e, l);
    attend(e, l);
    matmul(e, e->att, (struct mm[]){{&w->o, e->h}}, 1);
    norm_out(e, w->attn_post_norm);
    add_back(e);

    norm(e, w->ffn_norm, e->act, e->n_act);
    matmul(e, e->h, (struct mm[]){{&w->gate, e->gate}, {&w->up, e->up}}, 2);
    gate_mul(e);
    matmul(e, e->gate, (struct mm[]){{&w->down, e->h}}, 1);
    norm_out(e, w->ffn_post_norm);
    add_back(e);
}

/* 64 entries of the vocabulary for all rows that want logits, then out to each row's own buffer. */
static void head_slice(void *arg, int slice, int worker)
{
    struct eng_exec *e = arg;
    const struct gguf_tensor *w = e->m->w.head;
    const int n_in = (int)w->dim[0], n_out = (int)w->dim[1];
    const int r0 = slice * ENG_SLICE_HEAD;
    const int n = n_out - r0 < ENG_SLICE_HEAD ? n_out - r0 : ENG_SLICE_HEAD;
    float *tile = e->tile + (size_t)worker * (size_t)e->max_row * ENG_SLICE_HEAD;
    e->m->kern->matmul(w->type, (const uint8_t *)w->data + (size_t)r0 * w->row_bytes, w->row_bytes,
                       n_in, 0, n, e->h, (size_t)n_in, e->n_want, tile, ENG_SLICE_HEAD,
                       e->scratch + (size_t)worker * e->scratch_bytes);
    for (int i = 0; i < e->n_want; i++)
        memcpy(e->row[e->want[i]].logits + r0, tile + (size_t)i * ENG_SLICE_HEAD,
               (size_t)n * sizeof(float));
}

void eng_forward_head(struct eng_exec *e)
{
    norm(e, e->m->w.out_norm, e->want, e->n_want);
    eng_pool_run(e->pool, head_slice, e, n_slice_of(e->m->w.head, ENG_SLICE_HEAD));
}
