/* Element conversions and the plain 32-element blocks. The K family is in quant_k.c.
 *
 * Every product of a block's scale and a quantised value fits a float without rounding (11 bits of
 * f16 times at most 7 bits of sub-scale times at most 5 bits), so that `d * q + m` is the same with
 * or without a fused multiply-add: kernels may fuse here and still agree bit for bit. */
#include "engine/quant.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "engine/quant_block.h"

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float quant_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exp = h >> 10 & 31u;
    uint32_t man = h & 0x3ffu;
    if (exp == 0) { /* zero or subnormal: man * 2^-24, exact in f32 */
        float v = (float)man * 0x1p-24f;
        return float_of(bits_of(v) | sign);
    }
    if (exp == 31) /* infinity; a NaN becomes quiet, as conversion instructions do */
        return float_of(sign | 0x7f800000u | man << 13 | (man != 0 ? 0x400000u : 0));
    return float_of(sign | (exp + 112) << 23 | man << 13);
}

uint16_t quant_f32_to_f16(float f)
{
    uint32_t u = bits_of(f);
    uint32_t sign = u >> 16 & 0x8000u;
    uint32_t a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x47800000u) /* 2^16 and above, infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: the ulp of 0.5f is the unit of f16 subnormals, 2^-24 */
        uint32_t r = bits_of(float_of(a) + 0.5f) - 0x3f000000u;
        return (uint16_t)(sign | r);
    }
    a -= 112u << 23;
    a += 0xfffu + (a >> 13 & 1u);
    return (uint16_t)(sign | a >> 13);
}

float quant_bf16_to_f32(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t quant_f32_to_bf16(float f)
{
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static float rd_f16(const uint8_t *p)
{
    return quant_f16_to_f32(quant_rd_u16(p));
}

static void wr_f16(uint8_t *p, float f)
{
    quant_wr_u16(p, quant_f32_to_f16(f));
}

/* Q4_0: y = d * (q - 8)
 *   | d f16 | 16 bytes                      |   byte i: low nibble  = element i
 *   0       2                              18           high nibble = element i + 16   */
static void dequant_q4_0(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q4_0_BYTES, y += QUANT_BLOCK) {
        float d = rd_f16(b);
        for (int i = 0; i < 16; i++) {
            y[i] = d * (float)((b[2 + i] & 15) - 8);
            y[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
        }
    }
}

/* Q4_1: y = d * q + m
 *   | d f16 | m f16 | 16 bytes, nibbles as in Q4_0 |
 *   0       2       4                             20   */
static void dequant_q4_1(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q4_1_BYTES, y += QUANT_BLOCK) {
        float d = rd_f16(b), m = rd_f16(b + 2);
        for (int i = 0; i < 16; i++) {
            y[i] = d * (float)(b[4 + i] & 15) + m;
            y[i + 16] = d * (float)(b[4 + i] >> 4) + m;
        }
    }
}

/* Q5_0: y = d * (q - 16); bit i of the 32-bit word is the fifth bit of element i
 *   | d f16 | fifth bits, u32 | 16 bytes, nibbles as in Q4_0 |
 *   0       2                 6                             22   */
static void dequant_q5_0(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q5_0_BYTES, y += QUANT_BLOCK) {
        float d = rd_f16(b);
        uint32_t hi = quant_rd_u32(b + 2);
        for (int i = 0; i < 16; i++) {
            int q0 = (b[6 + i] & 15) | (int)(hi >> i & 1) << 4;
            int q1 = (b[6 + i] >> 4) | (int)(hi >> (i + 16) & 1) << 4;
            y[i] = d * (float)(q0 - 16);
            y[i + 16] = d * (float)(q1 - 16);
        }
    }
}

/* Q5_1: y = d * q + m
 *   | d f16 | m f16 | fifth bits, u32 | 16 bytes, nibbles as in Q4_0 |
 *   0       2       4                 8                             24   */
static void dequant_q5_1(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q5_1_BYTES, y += QUANT_BLOCK) {
        float d = rd_f16(b), m = rd_f16(b + 2);
        uint32_t hi = quant_rd_u32(b + 4);
        for (int i = 0; i < 16; i++) {
            int q0 = (b[8 + i] & 15) | (int)(hi >> i & 1) << 4;
            int q1 = (b[8 + i] >> 4) | (int)(hi >> (i + 16) & 1) << 4;
            y[i] = d * (float)q0 + m;
            y[i + 16] = d * (float)q1 + m;
        }
    }
}

/* Q8_0: y = d * q
 *   | d f16 | 32 signed bytes, one an element |
 *   0       2                                34   */
static void dequant_q8_0(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q8_0_BYTES, y += QUANT_BLOCK) {
        float d = rd_f16(b);
        for (int i = 0; i < 32; i++)
            y[i] = d * (float)(int8_t)b[2 + i];
    }
}

void quant_dequant_row(uint32_t type, const void *src, float *dst, int64_t n)
{
    const uint8_t *b = src;
    switch (type) {
    case GGUF_F32:
        memcpy(dst, src, (size_t)n * sizeof *dst);
        return;
    case GGUF_F16:
        for (int64_t i = 0; i < n; i++)
            dst[i] = rd_f16(b + 2 * i);
        return;
    case GGUF_BF16:
        for (int64_t i = 0; i < n; i++)
            dst[i] = quant_bf16_to_f32(quant_rd_u16(b + 2 * i));
        return;
    case GGUF_Q4_0:
        dequant_q4_0(b, dst, n / QUANT_BLOCK);
        return;
    case GGUF_Q4_1:
        dequant_q4_1(b, dst, n / QUANT_BLOCK);
        return;
    case GGUF_Q5_0:
        dequant_q5_0(b, dst, n / QUANT_BLOCK);
        return;
    case GGUF_Q5_1:
        dequant_q5_1(b, dst, n / QUANT_BLOCK);
        return;
    case GGUF_Q8_0:
        dequant_q8_0(b, dst, n / QUANT_BLOCK);
        return;
    case GGUF_IQ4_NL:
        quant_dequant_iq4_nl(b, dst, n / QUANT_BLOCK);
        return;
    case GGUF_IQ4_XS:
        quant_dequant_iq4_xs(b, dst, n / QUANT_SUPER);
        return;
    case GGUF_Q2_K:
        quant_dequant_q2_k(b, dst, n / QUANT_SUPER);
        return;
    case GGUF_Q3_K:
        quant_dequant_q3_k(b, dst, n / QUANT_SUPER);
        return;
    case GGUF_Q4_K:
        quant_dequant_q4_k(b, dst, n / QUANT_SUPER);
        return;
    case GGUF_Q5_K:
        quant_dequant_q5_k(b, dst, n / QUANT_SUPER);
        return;
    case GGUF_Q6_K:
        quant_dequant_q6_k(b, dst, n / QUANT_SUPER);
        return;
    default:
        assert(0 && "the loader refuses such types");
    }
}

/* The value of largest magnitude, with its sign, of x[32]. */
static float signed_peak(const float *x)
{
    float peak = 0.0f;
    for (int i = 0; i < QUANT_BLOCK; i++)
        if (fabsf(x[i]) > fabsf(peak))
            peak = x[i];
    return peak;
}

static void range_of(const float *x, float *lo, float *hi)
{
    *lo = *hi = x[0];
    for (int i = 1; i < QUANT_BLOCK; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}

static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

void quant_pack_nibbles(const int *q, uint8_t *hi, uint8_t *lo)
{
    uint32_t h = 0;
    for (int i = 0; i < 16; i++) {
        lo[i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
        h |= (uint32_t)(q[i] >> 4) << i | (uint32_t)(q[i + 16] >> 4) << (i + 16);
    }
    if (hi != NULL)
        memcpy(hi, &h, sizeof h);
}

/* Q4_0 (bits = 4) and Q5_0 (5): the peak maps to the most negative code, which is one step longer
 * than the most positive one. */
static void quant_symmetric(const float *x, uint8_t *b, int64_t n, int bits)
{
    int half = 1 << (bits - 1);
    size_t size = bits == 4 ? QUANT_Q4_0_BYTES : QUANT_Q5_0_BYTES;
    for (; n > 0; n--, b += size, x += QUANT_BLOCK) {
        float d = signed_peak(x) / (float)-half;
        float inv = inverse(d);
        int q[QUANT_BLOCK];
        for (int i = 0; i < QUANT_BLOCK; i++)
            q[i] = quant_clamp(x[i] * inv + (float)half, 2 * half - 1);
        wr_f16(b, d);
        quant_pack_nibbles(q, bits == 5 ? b + 2 : NULL, b + (bits == 5 ? 6 : 2));
    }
}

/* Q4_1 (bits = 4) and Q5_1 (5): lowest to highest value in even steps. */
static void quant_affine(const float *x, uint8_t *b, int64_t n, int bits)
{
    int max = (1 << bits) - 1;
    size_t size = bits == 4 ? QUANT_Q4_1_BYTES : QUANT_Q5_1_BYTES;
    for (; n > 0; n--, b += size, x += QUANT_BLOCK) {
        float lo, hi;
        range_of(x, &lo, &hi);
        float d = (hi - lo) / (float)max;
        float inv = inverse(d);
        int q[QUANT_BLOCK];
        for (int i = 0; i < QUANT_BLOCK; i++)
            q[i] = quant_clamp((x[i] - lo) * inv, max);
        wr_f16(b, d);
        wr_f16(b + 2, lo);
        quant_pack_nibbles(q, bits == 5 ? b + 4 : NULL, b + (bits == 5 ? 8 : 4));
    }
}

static void quant_q8_0(const float *x, uint8_t *b, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q8_0_BYTES, x += QUANT_BLOCK) {
        float d = fabsf(signed_peak(x)) / 127.0f;
        float inv = inverse(d);
        wr_f16(b, d);
        for (int i = 0; i < QUANT_BLOCK; i++) {
            int a = quant_clamp(fabsf(x[i]) * inv, 127); /* half away from zero */
            b[2 + i] = (uint8_t)(x[i] < 0.0f ? -a : a);
        }
    }
}

int quant_quant_row(uint32_t type, const float *src, void *dst, int64_t n)
{
    uint8_t *b = dst;
    switch (type) {
    case GGUF_F32:
        memcpy(dst, src, (size_t)n * sizeof *src);
        return 0;
    case GGUF_F16:
        for (int64_t i = 0; i < n; i++)
            wr_f16(b + 2 * i, src[i]);
        return 0;
    case GGUF_BF16:
        for (int64_t i = 0; i < n; i++)
            quant_wr_u16(b + 2 * i, quant_f32_to_bf16(src[i]));
        return 0;
    case GGUF_Q4_0:
        quant_symmetric(src, b, n / QUANT_BLOCK, 4);
        return 0;
    case GGUF_Q5_0:
        quant_symmetric(src, b, n / QUANT_BLOCK, 5);
        return 0;
    case GGUF_Q4_1:
        quant_affine(src, b, n / QUANT_BLOCK, 4);
        return 0;
    case GGUF_Q5_1:
        quant_affine(src, b, n / QUANT_BLOCK, 5);
        return 0;
    case GGUF_Q8_0:
        quant_q8_0(src, b, n / QUANT_BLOCK);
        return 0;
    case GGUF_Q4_K:
        quant_quant_q4_k(src, b, n / QUANT_SUPER);
        return 0;
    case GGUF_Q5_K:
        quant_quant_q5_k(src, b, n / QUANT_SUPER);
        return 0;
    case GGUF_Q6_K:
        quant_quant_q6_k(src, b, n / QUANT_SUPER);
        return 0;
    default:
        return BASE_EUNSUPPORTED;
    }
}
