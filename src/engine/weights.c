#include "engine/inner.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A vector, a matrix, some rows of one: name, shape, the member of struct eng_layer. */
#define VEC(name, n, member)                                 \
    {                                                        \
        name, n, 0, offsetof(struct eng_layer, member), 0, 0 \
    }
#define ROWS(name, n_in, n_out, member, row0, n_row)                       \
    {                                                                      \
        name, n_in, n_out, offsetof(struct eng_layer, member), row0, n_row \
    }
#define MAT(name, n_in, n_out, member) ROWS(name, n_in, n_out, member, 0, n_out)

int eng_layer_spec(const struct eng_config *c, struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS])
{
    const int64_t d = c->d_model, ff = c->d_ff;
    const int64_t qd = (int64_t)c->n_head * c->head_dim, kvd = (int64_t)c->n_kv_head * c->head_dim;
    const struct {
        bool has;
        struct eng_tensor_spec spec;
    } all[] = {
        {true, VEC("attn_norm.weight", d, attn_norm)},
        {!c->fused, MAT("attn_q.weight", d, qd, q)},
        {!c->fused, MAT("attn_k.weight", d, kvd, k)},
        {!c->fused, MAT("attn_v.weight", d, kvd, v)},
        {c->fused, ROWS("attn_qkv.weight", d, qd + 2 * kvd, q, 0, qd)},
        {c->fused, ROWS("attn_qkv.weight", d, qd + 2 * kvd, k, qd, kvd)},
        {c->fused, ROWS("attn_qkv.weight", d, qd + 2 * kvd, v, qd + kvd, kvd)},
        {c->qkv_bias, VEC("attn_q.bias", qd, q_bias)},
        {c->qkv_bias, VEC("attn_k.bias", kvd, k_bias)},
        {c->qkv_bias, VEC("attn_v.bias", kvd, v_bias)},
        {c->qk_norm, VEC("attn_q_norm.weight", c->head_dim, q_norm)},
        {c->qk_norm, VEC("attn_k_norm.weight", c->head_dim, k_norm)},
        {true, MAT("attn_output.weight", qd, d, o)},
        {c->post_norm, VEC("post_attention_norm.weight", d, attn_post_norm)},
        {true, VEC("ffn_norm.weight", d, ffn_norm)},
        {!c->fused, MAT("ffn_gate.weight", d, ff, gate)},
        {!c->fused, MAT("ffn_up.weight", d, ff, up)},
        {c->fused, ROWS("ffn_up.weight", d, 2 * ff, gate, 0, ff)},
        {c->fused, ROWS("ffn_up.weight", d, 2 * ff, up, ff, ff)},
        {true, MAT("ffn_down.weight", ff, d, down)},
        {c->post_norm, VEC("post_ffw_norm.weight", d, ffn_post_norm)},
    };
    static_assert(sizeof all / sizeof all[0] <= ENG_MAX_LAYER_TENSORS, "room for a block");
    int n = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].has)
            spec[n++] = all[i].spec;
    }
    return n;
}

const char *eng_layer_name(char buf[64], int layer, const char *name)
{
    snprintf(buf, 64, "blk.%d.%s", layer, name);
    return buf;
}

/* A vector by contract, as an owned f32 copy: whatever its type and alignment in the file. */
static int get_vector(const struct eng_model *m, const char *name, int64_t n, float **out,
                      struct base_err *err)
{
    const struct gguf_tensor *t = NULL;
    int rc = gguf_tensor_get(m->file, name, n, 0, &t, err);
    if (rc != 0)
        return rc;
    *out = malloc((size_t)n * sizeof **out);
    if (*out == NULL)
        return base_err_set(err, BASE_ENOMEM, name, "no memory for %lld numbers", (long long)n);
    m->kern->dequant_row(t->type, t->data, *out, n);
    return 0;
}

/* Those rows of a matrix that the spec names. */
static int get_rows(const struct eng_model *m, const char *name, const struct eng_tensor_spec *spec,
                    struct eng_matrix *out, struct base_err *err)
{
    const struct gguf_tensor *t = NULL;
    int rc = gguf_tensor_get(m->file, name, spec->n_in, spec->n_out, &t, err);
    if (rc != 0)
        return rc;
    out->t = *t;
    out->t.data = (const uint8_t *)t->data + (size_t)spec->row0 * t->row_bytes;
    out->t.dim[1] = spec->n_row;
    out->t.n_bytes = (size_t)spec->n_row * t->row_bytes;
    return 0;
}

static int read_layer(struct eng_model *m, int l, struct base_err *err)
{
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(&m->c, spec);
    int rc = 0;
    for (int i = 0; i < n && rc == 0; i++) {
        char name[64];
        eng_layer_name(name, l, spec[i].name);
        void *slot = (char *)&m->w.layer[l] + spec[i].offset;
        rc = spec[i].n_out == 0 ? get_vector(m, name, spec[i].n_in, slot, err)
                                : get_rows(m, name, &spec[i], slot, err);
    }
    return rc;
}

static int read_rope(struct eng_model *m, struct base_err *err)
{
    const int n = m->c.rot_dim / 2;
    if (gguf_tensor_find(m->file, "rope_freqs.weight") != NULL) {
        int rc = get_vector(m, "rope_freqs.weight", n, &m->w.rope_factor, err);
        if (rc != 0)
            return rc;
    } else {
        m->w.rope_factor = malloc((size_t)n * sizeof *m->w.rope_factor);
        if (m->w.rope_factor == NULL)
            return base_err_set(err, BASE_ENOMEM, "RoPE", "no memory for %d numbers", n);
        for (int i = 0; i < n; i++)
            m->w.rope_factor[i] = 1.0f;
    }
    for (int i = 0; i < n; i++) {
        const float f = m->w.rope_factor[i];
        if (!(f > 0.0f && f < 1e9f)) /* also NaN */
            return base_err_set(err, BASE_EFORMAT, "rope_freqs.weight", "factor %d is %g", i,
                                (double)f);
    }
    return 0;
}

static bool has_place(const struct eng_model *m, const struct gguf_tensor *t)
{
    static const char *const top[] = {"token_embd.weight", "output_norm.weight", "output.weight"};
    for (size_t i = 0; i < sizeof top / sizeof top[0]; i++) {
        if (strcmp(t->name, top[i]) == 0)
            return true;
    }
    if (strcmp(t->name, "rope_freqs.weight") == 0)
        return m->c.rope_freqs;
    int l = -1, at = 0;
    if (sscanf(t->name, "blk.%d.%n", &l, &at) != 1 || at == 0 || l < 0 || l >= m->c.n_layer)
        return false;
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(&m->c, spec);
    for (int i = 0; i < n; i++) {
        if (strcmp(t->name + at, spec[i].name) == 0)
            return true;
    }
    return false;
}

/* A tensor that the graph would not use (a bias, an expert, an adapter) means that the file is for
 * another graph: running it would give quietly wrong answers. */
static int refuse_strangers(const struct eng_model *m, struct base_err *err)
{
    for (int i = 0; i < gguf_n_tensor(m->file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->file, i);
        if (!has_place(m, t))
            return base_err_set(err, BASE_EUNSUPPORTED, t->name,
                                "this tensor has no place in the %s graph of %d layers", m->c.arch,
                                m->c.n_layer);
    }
    return 0;
}

int eng_weights_read(struct eng_model *m, struct base_err *err)
{
    const struct eng_config *c = &m->c;
    struct eng_weights *w = &m->w;
    m->c.tied_head = gguf_tensor_find(m->file, "output.weight") == NULL;
    int rc = refuse_strangers(m, err);
    if (rc != 0)
        return rc;
    w->layer = calloc((size_t)c->n_layer, sizeof *w->layer);
    if (w->layer == NULL)
        return base_err_set(err, BASE_ENOMEM, "weights", "no memory for %d layers", c->n_layer);
    if ((rc = read_rope(m, err)) != 0)
        return rc;
    if (!m->no_embed &&
        (rc = gguf_tensor_get(m->file, "token_embd.weight", c->d_model, c->n_vocab, &w->embed, err)) != 0)
        return rc;
    if (!m->no_head) {
        const char *name = c->tied_head ? "token_embd.weight" : "output.weight";
        const struct gguf_tensor *head = NULL;
        if ((rc = get_vector(m, "output_norm.weight", c->d_model, &w->out_norm, err)) != 0 ||
            (rc = gguf_tensor_get(m->file, name, c->d_model, c->n_vocab, &head, err)) != 0)
            return rc;
        w->head.t = *head;
        w->has_head = true;
    }
    for (int l = m->layer_begin; l < m->layer_end && rc == 0; l++)
        rc = read_layer(m, l, err);
    return rc;
}

void eng_weights_fini(struct eng_model *m)
{
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(&m->c, spec);
    for (int l = 0; m->w.layer != NULL && l < m->c.n_layer; l++) {
        for (int i = 0; i < n; i++) {
            if (spec[i].n_out == 0)
                free(*(float **)((char *)&m->w.layer[l] + spec[i].offset));
        }
    }
    free(m->w.layer);
    free(m->w.out_norm);
    free(m->w.rope_factor);
}
