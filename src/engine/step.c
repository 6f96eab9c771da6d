/* A step: rows of several sessions, each through its own range of layers. Here rows are checked,
 * loaded and handed back; forward.c does the arithmetic. */
#include "engine/exec.h"
#include "engine/lora.h"
#include "engine/watch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROW_LIMIT = 1 << 16 };

/* n zeroed elements of size bytes on a cache line of their own; NULL when memory runs out. */
static void *grab(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0);
    void *p = aligned_alloc(64, bytes);
    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

int eng_exec_new(struct eng_exec **out, const struct eng_model *m, int n_thread, int max_row,
                 struct base_err *err)
{
    if (max_row < 1 || max_row > MAX_ROW_LIMIT)
        return base_err_set(err, BASE_EINVAL, "engine", "%d rows a step", max_row);
    struct eng_exec *e = calloc(1, sizeof *e);
    if (e == NULL)
        return base_err_set(err, BASE_ENOMEM, "engine", "no memory for a step of %d rows", max_row);
    const struct eng_config *c = &m->c;
    const size_t rows = (size_t)max_row, d = (size_t)c->d_model, ff = (size_t)c->d_ff;
    const size_t qd = (size_t)c->n_head * (size_t)c->head_dim;
    const size_t kvd = (size_t)c->n_kv_head * (size_t)c->head_dim;
    e->m = m;
    e->max_row = max_row;
    int rc = eng_pool_new(&e->pool, n_thread, err);
    if (rc != 0)
        goto out;
    e->n_thread = eng_pool_n_thread(e->pool);
    const size_t widest = ff > qd ? (ff > d ? ff : d) : (qd > d ? qd : d);
    const size_t blocks = widest / PACK_BLOCK + 1;
    e->scratch_bytes = (kern_scratch_bytes((int)widest) + 63) / 64 * 64;
    if ((e->row = grab(rows, sizeof *e->row)) == NULL ||
        (e->act = grab(rows, sizeof *e->act)) == NULL ||
        (e->want = grab(rows, sizeof *e->want)) == NULL ||
        (e->lora_run = grab(rows, sizeof *e->lora_run)) == NULL ||
        (e->embed_row = grab(1, m->w.embed != NULL ? m->w.embed->row_bytes : 0)) == NULL ||
        (e->x = grab(rows * d, sizeof(float))) == NULL ||
        (e->cos_sin = grab(rows * 2 * (size_t)c->rot_dim, sizeof(float))) == NULL ||
        (e->h = grab(rows * d, sizeof(float))) == NULL ||
        (e->q = grab(rows * qd, sizeof(float))) == NULL ||
        (e->att = grab(rows * qd, sizeof(float))) == NULL ||
        (e->k = grab(rows * kvd, sizeof(float))) == NULL ||
        (e->v = grab(rows * kvd, sizeof(float))) == NULL ||
        (e->gate = grab(rows * ff, sizeof(float))) == NULL ||
        (e->up = grab(rows * ff, sizeof(float))) == NULL ||
        (e->act8.q = grab(rows * widest, 1)) == NULL ||
        (e->act8.d = grab(rows * blocks, sizeof(float))) == NULL ||
        (e->act8.minus = grab(rows * blocks, sizeof(int32_t))) == NULL ||
        (e->act8.s = grab(rows * blocks, sizeof(float))) == NULL ||
        (e->act8.minus_half = grab(rows * blocks * 2, sizeof(int32_t))) == NULL ||
        (e->act8.s_half = grab(rows * blocks * 2, sizeof(float))) == NULL ||
        (e->scratch = grab((size_t)e->n_thread, e->scratch_bytes)) == NULL ||
        (e->tile = grab((size_t)e->n_thread * rows * ENG_SLICE_HEAD, sizeof(float))) == NULL ||
        (e->attend = eng_attend_new(m, e->n_thread, max_row)) == NULL) {
        rc = base_err_set(err, BASE_ENOMEM, "engine", "no memory for a step of %d rows", max_row);
        goto out;
    }
    *out = e;
    return 0;
out:
    eng_exec_free(e);
    return rc;
}

void eng_exec_watch(struct eng_exec *e, eng_exec_tap *fn, void *arg)
{
    e->tap = fn;
    e->tap_arg = arg;
}

void eng_exec_free(struct eng_exec *e)
{
    if (e == NULL)
        return;
    eng_pool_free(e->pool);
    free(e->row);
    free(e->act);
    free(e->want);
    free(e->lora_run);
    free(e->embed_row);
    free(e->x);
    free(e->cos_sin);
    free(e->h);
    free(e->q);
    free(e->att);
    free(e->k);
    free(e->v);
    free(e->gate);
    free(e->up);
    free(e->act8.q);
    free(e->act8.d);
    free(e->act8.minus);
    free(e->act8.s);
    free(e->act8.minus_half);
    free(e->act8.s_half);
    free(e->scratch);
    free(e->tile);
    free(e->attend);
    free(e);
}

void eng_exec_stats(const struct eng_exec *e, struct eng_pool_stats *out)
{
    eng_pool_stats(e->pool, out);
}

static int check_seg(const struct eng_exec *e, const struct eng_seg *g, int i, struct base_err *err)
{
    const struct eng_model *m = e->m;
    char place[32];
    snprintf(place, sizeof place, "segment %d", i);
    if (g->n_row < 1 || (g->token == NULL) == (g->x_in == NULL))
        return base_err_set(err, BASE_EINVAL, place, "%d rows; one of tokens and rows is needed",
                            g->n_row);
    if (g->layer_begin > g->layer_end || g->layer_begin < 0 || g->layer_end > m->c.n_layer)
        return base_err_set(err, BASE_EINVAL, place, "layers [%d, %d) of %d", g->layer_begin,
                            g->layer_end, m->c.n_layer);
    if (g->layer_begin < g->layer_end &&
        (g->layer_begin < m->layer_begin || g->layer_end > m->layer_end))
        return base_err_set(err, BASE_EINVAL, place, "layers [%d, %d), but only [%d, %d) are held",
                            g->layer_begin, g->layer_end, m->layer_begin, m->layer_end);
    if (g->token != NULL && (g->layer_begin != 0 || m->w.embed == NULL))
        return base_err_set(err, BASE_EINVAL, place, "tokens enter at layer 0 with the embedding");
    if (g->logits != NULL && (g->layer_end != m->c.n_layer || !m->w.has_head))
        return base_err_set(err, BASE_EINVAL, place, "logits need the last layer and the head");
    for (int t = 0; g->token != NULL && t < g->n_row; t++) {
        if (g->token[t] < 0 || g->token[t] >= m->c.n_vocab)
            return base_err_set(err, BASE_EINVAL, place, "row %d: no such token (vocabulary %d)", t,
                                m->c.n_vocab);
    }
    if (g->lora != NULL && eng_lora_model(g->lora) != m)
        return base_err_set(err, BASE_EINVAL, place, "the adapter is another model's");
    if (g->layer_begin == g->layer_end)
        return 0;
    if (g->s == NULL || g->s->m != m)
        return base_err_set(err, BASE_EINVAL, place, "layers need a session of this model");
    for (int l = g->layer_begin; l < g->layer_end; l++) {
        if (g->s->n_pos[l] != g->s->n_pos[g->layer_begin])
            return base_err_set(err, BASE_EINVAL, place,
                                "layer %d is at position %d, layer %d at %d", g->layer_begin,
                                g->s->n_pos[g->layer_begin], l, g->s->n_pos[l]);
    }
    if (g->n_row > g->s->n_ctx - g->s->n_pos[g->layer_begin])
        return base_err_set(err, BASE_ELIMIT, place, "%d rows after position %d in a context of %d",
                            g->n_row, g->s->n_pos[g->layer_begin], g->s->n_ctx);
    return 0;
}

static int check_step(const struct eng_exec *e, const struct eng_seg *seg, int n_seg,
                      struct base_err *err)
{
    int64_t n_row = 0;
    for (int i = 0; i < n_seg; i++) {
        int rc = check_seg(e, &seg[i], i, err);
        if (rc != 0)
            return rc;
        n_row += seg[i].n_row;
        for (int k = 0; k < i; k++) {
            if (seg[i].s != NULL && seg[i].s == seg[k].s)
                return base_err_set(err, BASE_EINVAL, "step", "segments %d and %d share a session",
                                    k, i);
        }
    }
    if (n_row > e->max_row)
        return base_err_set(err, BASE_ELIMIT, "step", "%lld rows, at most %d", (long long)n_row,
                            e->max_row);
    return 0;
}

/* Angles of a position: pos * theta^(-2i / rot_dim), by repeated multiplication in f32, as ggml's
 * rope does. Doubles would be closer to the formula, but not to what the models' users run: over
 * 1,582 positions the logits are then 4.2e-6 (relative rms) from llama.cpp's, instead of 6.0e-7. */
static void fill_cos_sin(const struct eng_model *m, float *cs, int pos, float base, float scale)
{
    const float ratio = powf(base, -2.0f / (float)m->c.rot_dim);
    float theta = (float)pos;
    for (int i = 0; i < m->c.rot_dim / 2; i++) {
        const float angle = scale * (theta / m->w.rope_factor[i]);
        cs[2 * i] = cosf(angle);
        cs[2 * i + 1] = sinf(angle);
        theta *= ratio;
    }
}

/* Both kinds of a row's angles; scaling is for the layers that see far. */
static void fill_angles(const struct eng_exec *e, int row, int pos)
{
    const struct eng_config *c = &e->m->c;
    fill_cos_sin(e->m, eng_exec_cos_sin(e, row, false), pos, c->rope_theta, e->m->rope_scale);
    if (c->rope_theta_local != 0.0f)
        fill_cos_sin(e->m, eng_exec_cos_sin(e, row, true), pos, c->rope_theta_local, 1.0f);
}

static void embed(const struct eng_exec *e, int32_t token, float *x)
{
    const struct gguf_tensor *w = e->m->w.embed;
    const struct eng_config *c = &e->m->c;
    e->m->kern->dequant_row(w->type, eng_weights_embed_row(e->m, token, e->embed_row), x,
                            c->d_model);
    for (int i = 0; i < c->d_model && c->embed_scale != 1.0f; i++)
        x[i] *= c->embed_scale;
}

static void load_seg(struct eng_exec *e, const struct eng_seg *g)
{
    const size_t d = (size_t)e->m->c.d_model, n_vocab = (size_t)e->m->c.n_vocab;
    const bool layers = g->layer_begin < g->layer_end;
    for (int i = 0; i < g->n_row; i++) {
        const int at = e->n_row++;
        struct eng_row *r = &e->row[at];
        r->seg = g;
        r->pos = layers ? g->s->n_pos[g->layer_begin] + i : 0;
        r->logits = NULL;
        if (g->logits != NULL && g->logits_all)
            r->logits = g->logits + (size_t)i * n_vocab;
        else if (g->logits != NULL && i == g->n_row - 1)
            r->logits = g->logits;
        if (r->logits != NULL)
            e->want[e->n_want++] = at;
        if (layers)
            fill_angles(e, at, r->pos);
        if (g->token != NULL)
            embed(e, g->token[i], eng_exec_x(e, at));
        else
            memcpy(eng_exec_x(e, at), g->x_in + (size_t)i * d, d * sizeof(float));
    }
}

static void store_seg(struct eng_exec *e, const struct eng_seg *g, int first_row)
{
    if (g->x_out != NULL)
        memcpy(g->x_out, eng_exec_x(e, first_row),
               (size_t)g->n_row * (size_t)e->m->c.d_model * sizeof(float));
    for (int l = g->layer_begin; l < g->layer_end; l++)
        g->s->n_pos[l] += g->n_row;
}

/* The active rows have passed block l. */
static void show(const struct eng_exec *e, int l)
{
    for (int i = 0; i < e->n_act; i++) {
        const struct eng_row *r = &e->row[e->act[i]];
        if (r->seg->watch != NULL)
            eng_watch_add(r->seg->watch, l + 1, r->pos, eng_exec_x(e, e->act[i]));
    }
}

int eng_exec_run(struct eng_exec *e, const struct eng_seg *seg, int n_seg, struct base_err *err)
{
    int rc = check_step(e, seg, n_seg, err);
    if (rc != 0)
        return rc;
    e->n_row = e->n_want = 0;
    int lo = e->m->c.n_layer, hi = 0;
    for (int i = 0; i < n_seg; i++) {
        load_seg(e, &seg[i]);
        if (seg[i].layer_begin < seg[i].layer_end) {
            lo = seg[i].layer_begin < lo ? seg[i].layer_begin : lo;
            hi = seg[i].layer_end > hi ? seg[i].layer_end : hi;
        }
    }
    for (int l = lo; l < hi; l++) {
        e->n_act = 0;
        for (int r = 0; r < e->n_row; r++) {
            const struct eng_seg *g = e->row[r].seg;
            if (l >= g->layer_begin && l < g->layer_end)
                e->act[e->n_act++] = r;
        }
        eng_lora_plan(e);
        if (e->n_act > 0)
            eng_forward_layer(e, l);
        show(e, l);
    }
    if (e->n_want > 0)
        eng_forward_head(e);
    for (int i = 0, r = 0; i < n_seg; r += seg[i].n_row, i++)
        store_seg(e, &seg[i], r);
    return 0;
}
