/* The forward pass as an oracle: double precision, no batches, no caches, no kernels. Include it
 * after cmocka.h. */
#ifndef TESTS_ENGINE_NAIVE_H
#define TESTS_ENGINE_NAIVE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"
#include "engine/quant.h"

/* NULL, or an adapter's file: its products are added to the matrices. */
static const struct gguf_file *naive_lora;

static inline float *fetch_f32(const struct gguf_tensor *t)
{
    const size_t n = (size_t)(t->dim[0] * t->dim[1]);
    float *f = malloc(n * sizeof *f);
    quant_dequant_row(t->type, t->data, f, (int64_t)n);
    return f;
}

/* w[n_out][n_in] += alpha / rank * B A */
static inline void naive_merge(const char *name, double *w)
{
    char name_a[80], name_b[80];
    snprintf(name_a, sizeof name_a, "%s.lora_a", name);
    snprintf(name_b, sizeof name_b, "%s.lora_b", name);
    const struct gguf_tensor *ta = gguf_tensor_find(naive_lora, name_a);
    const struct gguf_tensor *tb = gguf_tensor_find(naive_lora, name_b);
    if (ta == NULL)
        return;
    const int64_t n_in = ta->dim[0], rank = ta->dim[1];
    float *a = fetch_f32(ta), *b = fetch_f32(tb), alpha = 0;
    bool found;
    assert_int_equal(gguf_get_f32(naive_lora, "adapter.lora.alpha", &alpha, &found, NULL), 0);
    for (int64_t o = 0; o < tb->dim[1]; o++)
        for (int64_t i = 0; i < n_in; i++)
            for (int64_t r = 0; r < rank; r++)
                w[o * n_in + i] += (double)alpha / (double)rank * (double)b[o * rank + r] *
                                   (double)a[r * n_in + i];
    free(a);
    free(b);
}

static inline double *fetch(const struct eng_model *m, int layer, const char *name)
{
    char full[64], block[16] = "";
    if (layer >= 0)
        snprintf(block, sizeof block, "blk.%d.", layer);
    snprintf(full, sizeof full, "%s%s", block, name);
    const struct gguf_tensor *t = gguf_tensor_find(eng_model_file(m), full);
    assert_non_null(t);
    const size_t n = (size_t)(t->dim[0] * t->dim[1]);
    float *f = fetch_f32(t);
    double *d = malloc(n * sizeof *d);
    for (size_t i = 0; i < n; i++)
        d[i] = (double)f[i];
    free(f);
    if (naive_lora != NULL)
        naive_merge(full, d);
    return d;
}

/* y = rows [row0, row0 + n_out) of the matrix, times x */
static inline void naive_rows(const struct eng_model *m, int layer, const char *name, int row0,
                              const double *x, int n_in, int n_out, double *y)
{
    double *w = fetch(m, layer, name);
    for (int r = 0; r < n_out; r++) {
        y[r] = 0;
        for (int i = 0; i < n_in; i++)
            y[r] += w[(size_t)(row0 + r) * (size_t)n_in + (size_t)i] * x[i];
    }
    free(w);
}

static inline void naive_matmul(const struct eng_model *m, int layer, const char *name,
                                const double *x, int n_in, int n_out, double *y)
{
    naive_rows(m, layer, name, 0, x, n_in, n_out, y);
}

static inline bool layer_has(const struct eng_model *m, int layer, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    return gguf_tensor_find(eng_model_file(m), full) != NULL;
}

/* y += b for the models that have one */
static inline void naive_bias(const struct eng_model *m, int layer, const char *name, int n,
                              double *y)
{
    if (!layer_has(m, layer, name))
        return;
    double *b = fetch(m, layer, name);
    for (int i = 0; i < n; i++)
        y[i] += b[i];
    free(b);
}

static inline void naive_norm(const struct eng_model *m, int layer, const char *name,
                              const double *x, int n, double *y)
{
    double *w = fetch(m, layer, name), sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (int i = 0; i < n; i++)
        y[i] = w[i] * x[i] / sqrt(sum / n + (double)eng_model_config(m)->rms_eps);
    free(w);
}

static inline void naive_norm_heads(const struct eng_model *m, int layer, const char *name,
                                    int n_head, double *x)
{
    const int dim = eng_model_config(m)->head_dim;
    for (int h = 0; h < n_head && layer_has(m, layer, name); h++)
        naive_norm(m, layer, name, x + h * dim, dim, x + h * dim);
}

/* Gemma 3's sixth layers see everything; all others, and all of phi3, the window. */
static inline bool naive_windowed(const struct eng_config *c, int l)
{
    return c->window > 0 && (strcmp(c->arch, "gemma3") != 0 || l % 6 != 5);
}

static inline void naive_rope(const struct eng_model *m, int l, double *x, int n_head, int pos,
                              double scale)
{
    const struct eng_config *c = eng_model_config(m);
    const bool local = strcmp(c->arch, "gemma3") == 0 && naive_windowed(c, l);
    const double theta = local ? 10000 : (double)c->rope_theta;
    scale = local ? 1 : scale;
    const bool has = gguf_tensor_find(eng_model_file(m), "rope_freqs.weight") != NULL;
    double *factor = has ? fetch(m, -1, "rope_freqs.weight") : NULL;
    for (int h = 0; h < n_head; h++) {
        for (int i = 0; i < c->rot_dim / 2; i++) {
            double *p = x + h * c->head_dim + (c->rope_neox ? i : 2 * i);
            double *p2 = c->rope_neox ? p + c->rot_dim / 2 : p + 1;
            const double a =
                pos * pow(theta, -2.0 * i / c->rot_dim) * scale / (has ? factor[i] : 1.0);
            const double u = *p, v = *p2;
            *p = u * cos(a) - v * sin(a);
            *p2 = u * sin(a) + v * cos(a);
        }
    }
    free(factor);
}

enum { MAX_D = 512, NAIVE_CTX = 64 };
static double naive_k[8][NAIVE_CTX][MAX_D], naive_v[8][NAIVE_CTX][MAX_D];

static inline void naive_attend(const struct eng_config *c, int l, int pos, const double *q,
                                double *out)
{
    for (int h = 0; h < c->n_head; h++) {
        const int at = h / (c->n_head / c->n_kv_head) * c->head_dim;
        const int first = naive_windowed(c, l) && pos >= c->window ? pos - c->window + 1 : 0;
        double p[NAIVE_CTX], sum = 0;
        for (int t = first; t <= pos; t++) {
            p[t] = 0;
            for (int i = 0; i < c->head_dim; i++)
                p[t] += q[h * c->head_dim + i] * naive_k[l][t][at + i];
            p[t] = exp(p[t] / sqrt(c->head_dim));
            sum += p[t];
        }
        for (int i = 0; i < c->head_dim; i++) {
            out[h * c->head_dim + i] = 0;
            for (int t = first; t <= pos; t++)
                out[h * c->head_dim + i] += p[t] / sum * naive_v[l][t][at + i];
        }
    }
}

static inline double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

/* One token's logits; K/V of the earlier ones are in naive_k and naive_v. */
static inline void naive_step(const struct eng_model *m, int32_t token, int pos, double scale,
                              double *logits)
{
    const struct eng_config *c = eng_model_config(m);
    const int d = c->d_model, qd = c->n_head * c->head_dim, kvd = c->n_kv_head * c->head_dim;
    const bool gemma = strcmp(c->arch, "gemma3") == 0;
    double x[MAX_D], h[MAX_D], q[MAX_D], a[MAX_D], gate[MAX_D], up[MAX_D];
    double *embed = fetch(m, -1, "token_embd.weight");
    memcpy(x, embed + (size_t)token * (size_t)d, (size_t)d * sizeof *x);
    free(embed);
    for (int i = 0; i < d && gemma; i++)
        x[i] *= sqrt(d);
    for (int l = 0; l < c->n_layer; l++) {
        naive_norm(m, l, "attn_norm.weight", x, d, h);
        const bool phi = strcmp(c->arch, "phi3") == 0;
        const char *const qkv = "attn_qkv.weight";
        naive_rows(m, l, phi ? qkv : "attn_q.weight", 0, h, d, qd, q);
        naive_rows(m, l, phi ? qkv : "attn_k.weight", phi ? qd : 0, h, d, kvd, naive_k[l][pos]);
        naive_rows(m, l, phi ? qkv : "attn_v.weight", phi ? qd + kvd : 0, h, d, kvd,
                   naive_v[l][pos]);
        naive_bias(m, l, "attn_q.bias", qd, q);
        naive_bias(m, l, "attn_k.bias", kvd, naive_k[l][pos]);
        naive_bias(m, l, "attn_v.bias", kvd, naive_v[l][pos]);
        naive_norm_heads(m, l, "attn_q_norm.weight", c->n_head, q);
        naive_norm_heads(m, l, "attn_k_norm.weight", c->n_kv_head, naive_k[l][pos]);
        naive_rope(m, l, q, c->n_head, pos, scale);
        naive_rope(m, l, naive_k[l][pos], c->n_kv_head, pos, scale);
        naive_attend(c, l, pos, q, a);
        naive_matmul(m, l, "attn_output.weight", a, qd, d, h);
        if (gemma)
            naive_norm(m, l, "post_attention_norm.weight", h, d, h);
        for (int i = 0; i < d; i++)
            x[i] += h[i];
        naive_norm(m, l, "ffn_norm.weight", x, d, h);
        naive_rows(m, l, phi ? "ffn_up.weight" : "ffn_gate.weight", 0, h, d, c->d_ff, gate);
        naive_rows(m, l, "ffn_up.weight", phi ? c->d_ff : 0, h, d, c->d_ff, up);
        for (int i = 0; i < c->d_ff; i++)
            gate[i] = (gemma ? gelu(gate[i]) : gate[i] / (1 + exp(-gate[i]))) * up[i];
        naive_matmul(m, l, "ffn_down.weight", gate, c->d_ff, d, h);
        if (gemma)
            naive_norm(m, l, "post_ffw_norm.weight", h, d, h);
        for (int i = 0; i < d; i++)
            x[i] += h[i];
    }
    naive_norm(m, -1, "output_norm.weight", x, d, h);
    naive_matmul(m, -1, c->tied_head ? "token_embd.weight" : "output.weight", h, d, c->n_vocab,
                 logits);
}

#endif
