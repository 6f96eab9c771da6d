#include "engine/quant_search.h"

#include <math.h>
#include <string.h>

#include "engine/gguf.h"
#include "engine/quant.h"
#include "engine/quant_block.h"
#include "engine/quant_fit.h"
#include "engine/quant_search_int.h"

/* ---- blocks of 32: the scale is the only thing stored besides the codes ---- */

/* The f16 beside v, `steps` away from it in magnitude; infinity and beyond are cut off. */
static uint16_t f16_beside(float v, int steps)
{
    const uint16_t h = quant_f32_to_f16(v);
    const int a = (h & 0x7fff) + steps;
    return (uint16_t)((h & 0x8000) | (a < 0 ? 0 : a > 0x7bff ? 0x7bff : a));
}

/* Of d and plain, and of the f16 beside each, the one that loses least: for tiny values f16 has few
 * numbers, and rounding d alone would undo the search. */
static uint16_t best_f16(const float *x, const float *w, float d, float plain, float lo, float hi)
{
    float best = INFINITY;
    uint16_t out = 0;
    for (int k = 0; k < 6; k++) {
        const uint16_t h = f16_beside(k < 3 ? d : plain, k % 3 - 1);
        const float err = quant_fit_error(x, w, QUANT_BLOCK, quant_f16_to_f32(h), 0.0f, lo, hi);
        if (err < best) {
            best = err;
            out = h;
        }
    }
    return out;
}

static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

static float signed_peak(const float *x)
{
    float peak = 0.0f;
    for (int i = 0; i < QUANT_BLOCK; i++)
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
    return peak;
}

/* Q4_0 and Q5_0 */
static void search_symmetric(const float *x, const float *w, uint8_t *b, int bits)
{
    const float half = (float)(1 << (bits - 1));
    const float d = quant_fit_symmetric(x, w, QUANT_BLOCK, -half, half - 1.0f);
    const uint16_t h = best_f16(x, w, d, signed_peak(x) / -half, -half, half - 1.0f);
    const float inv = inverse(quant_f16_to_f32(h));
    int q[QUANT_BLOCK];
    for (int i = 0; i < QUANT_BLOCK; i++)
        q[i] = (int)(quant_code(x[i] * inv, -half, half - 1.0f) + half);
    quant_wr_u16(b, h);
    quant_pack_nibbles(q, bits == 5 ? b + 2 : NULL, b + (bits == 5 ? 6 : 2));
}

static void search_q4_0(const float *x, const float *w, uint8_t *b)
{
    search_symmetric(x, w, b, 4);
}

static void search_q5_0(const float *x, const float *w, uint8_t *b)
{
    search_symmetric(x, w, b, 5);
}

/* Codes of -128 are left out, as by every other writer of Q8_0. */
static void search_q8_0(const float *x, const float *w, uint8_t *b)
{
    const float d = quant_fit_symmetric(x, w, QUANT_BLOCK, -127.0f, 127.0f);
    const uint16_t h = best_f16(x, w, d, fabsf(signed_peak(x)) / 127.0f, -127.0f, 127.0f);
    const float inv = inverse(quant_f16_to_f32(h));
    quant_wr_u16(b, h);
    for (int i = 0; i < QUANT_BLOCK; i++)
        b[2 + i] = (uint8_t)(int)quant_code(x[i] * inv, -127.0f, 127.0f);
}

/* Q4_1 and Q5_1. The minimum is rounded to f16 first; the scale that suits it is found again. */
static void search_affine(const float *x, const float *w, uint8_t *b, int bits)
{
    const int max = (1 << bits) - 1;
    float s, m, best = INFINITY, d = 0.0f, low = 0.0f;
    quant_fit_affine(x, w, QUANT_BLOCK, max, 0, &s, &m);
    for (int k = 0; k < 3; k++) {
        const float low1 = quant_f16_to_f32(f16_beside(-m, k - 1));
        struct quant_sums t;
        quant_fit_sums(x, w, QUANT_BLOCK, s, -low1, 0.0f, (float)max, &t);
        const float fit = t.qq > 0.0f ? (t.qx - low1 * t.q) / t.qq : s;
        for (int j = 0; j < 4; j++) {
            const float d1 = quant_f16_to_f32(j < 3 ? f16_beside(fit, j - 1) : f16_beside(s, 0));
            const float err = quant_fit_error(x, w, QUANT_BLOCK, d1, -low1, 0.0f, (float)max);
            if (err < best) {
                best = err;
                d = d1;
                low = low1;
            }
        }
    }
    const float inv = inverse(d);
    int q[QUANT_BLOCK];
    for (int i = 0; i < QUANT_BLOCK; i++)
        q[i] = (int)quant_code((x[i] - low) * inv, 0.0f, (float)max);
    quant_wr_u16(b, quant_f32_to_f16(d));
    quant_wr_u16(b + 2, quant_f32_to_f16(low));
    quant_pack_nibbles(q, bits == 5 ? b + 4 : NULL, b + (bits == 5 ? 8 : 4));
}

static void search_q4_1(const float *x, const float *w, uint8_t *b)
{
    search_affine(x, w, b, 4);
}

static void search_q5_1(const float *x, const float *w, uint8_t *b)
{
    search_affine(x, w, b, 5);
}

/* ---- all types ---- */

/* By type: the search, elements and bytes of a block. */
static const struct format {
    quant_search_fn *search;
    int elems, bytes;
} formats[GGUF_TYPE_MAX] = {
    [GGUF_Q4_0] = {search_q4_0, QUANT_BLOCK, QUANT_Q4_0_BYTES},
    [GGUF_Q4_1] = {search_q4_1, QUANT_BLOCK, QUANT_Q4_1_BYTES},
    [GGUF_Q5_0] = {search_q5_0, QUANT_BLOCK, QUANT_Q5_0_BYTES},
    [GGUF_Q5_1] = {search_q5_1, QUANT_BLOCK, QUANT_Q5_1_BYTES},
    [GGUF_Q8_0] = {search_q8_0, QUANT_BLOCK, QUANT_Q8_0_BYTES},
    [GGUF_IQ4_NL] = {quant_search_iq4_nl, QUANT_BLOCK, QUANT_IQ4_NL_BYTES},
    [GGUF_Q2_K] = {quant_search_q2_k, QUANT_SUPER, QUANT_Q2_K_BYTES},
    [GGUF_Q3_K] = {quant_search_q3_k, QUANT_SUPER, QUANT_Q3_K_BYTES},
    [GGUF_Q4_K] = {quant_search_q4_k, QUANT_SUPER, QUANT_Q4_K_BYTES},
    [GGUF_Q5_K] = {quant_search_q5_k, QUANT_SUPER, QUANT_Q5_K_BYTES},
    [GGUF_Q6_K] = {quant_search_q6_k, QUANT_SUPER, QUANT_Q6_K_BYTES},
};

static bool is_float(uint32_t type)
{
    return type == GGUF_F32 || type == GGUF_F16 || type == GGUF_BF16;
}

bool quant_search_has(uint32_t type)
{
    return is_float(type) || (type < GGUF_TYPE_MAX && formats[type].search != NULL);
}

static float block_error(uint32_t type, const uint8_t *b, const float *x, const float *w, int n)
{
    float y[QUANT_SUPER], err = 0.0f;
    quant_dequant_row(type, b, y, n);
    for (int i = 0; i < n; i++)
        err += w[i] * (y[i] - x[i]) * (y[i] - x[i]);
    return err;
}

/* What an error in each of x[n] costs: as much as the column counts, and more for large weights,
 * which models lean on beyond what their squares say. Second factors that were tried, 4 bits, KL on
 * models of 135M and 270M: none 0.0738; 1 + |x| 0.0697, 0.0872; 1 + x^2 0.0697, 0.0927; x^2 0.0709,
 * 0.1007. */
static void block_weights(const float *x, const float *col, float scale, float mean_sq, int n,
                          float *w)
{
    /* f16 knows no less. */
    const float inv = mean_sq > 1e-30f ? 1.0f / sqrtf(mean_sq) : 0.0f;
    for (int i = 0; i < n; i++)
        w[i] = (col != NULL ? col[i] * scale : 1.0f) * (1.0f + fabsf(x[i]) * inv);
}

int quant_search_row(uint32_t type, const float *src, const float *col, void *dst, int64_t n)
{
    if (is_float(type))
        return quant_quant_row(type, src, dst, n);
    if (!quant_search_has(type))
        return BASE_EUNSUPPORTED;
    const struct format *f = &formats[type];
    double sum_sq = 0.0, sum_col = 0.0;
    for (int64_t i = 0; i < n; i++) {
        sum_sq += (double)src[i] * (double)src[i];
        sum_col += col != NULL ? (double)col[i] : 0.0;
    }
    if (!(sum_col > 0.0))
        col = NULL;
    uint8_t *b = dst;
    for (int64_t at = 0; at < n; at += f->elems, b += f->bytes) {
        float w[QUANT_SUPER];
        uint8_t plain[QUANT_Q6_K_BYTES]; /* the largest */
        const float *x = src + at;
        block_weights(x, col != NULL ? col + at : NULL, (float)((double)n / sum_col),
                      (float)(sum_sq / (double)n), f->elems, w);
        f->search(x, w, b);
        if (quant_quant_row(type, x, plain, f->elems) == 0 &&
            !(block_error(type, b, x, w, f->elems) <= block_error(type, plain, x, w, f->elems)))
            memcpy(b, plain, (size_t)f->bytes);
    }
    return 0;
}
