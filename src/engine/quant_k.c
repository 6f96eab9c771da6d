/* The K family: super-blocks of 256 elements in 8 groups of 32, whose scales are themselves small
 * integers times one f16. */
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/quant.h"
#include "engine/quant_block.h"

enum { N_GROUP = 8 };

static float rd_f16(const uint8_t *p)
{
    return quant_f16_to_f32(quant_rd_u16(p));
}

/* Q2_K: y = (d * sc[e / 16]) * q - (dmin * m[e / 16])
 *   | 16 bytes: m in the high, sc in the low nibble | 2 x 32 bytes | d f16 | dmin f16 |
 *   0                                              16             80      82         84
 *   Each half of 128 elements has groups g = 0…3 of 32:
 *     element i of g = bits 2g, 2g + 1 of byte i of the half's 32   */
void quant_dequant_q2_k(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q2_K_BYTES) {
        float d = rd_f16(b + 80), dmin = rd_f16(b + 82);
        for (int g = 0; g < N_GROUP; g++, y += 32) {
            const uint8_t *q = b + 16 + g / 4 * 32;
            for (int i = 0; i < 32; i++) {
                int sc = b[2 * g + i / 16] & 15, m = b[2 * g + i / 16] >> 4;
                y[i] = d * (float)sc * (float)(q[i] >> g % 4 * 2 & 3) - dmin * (float)m;
            }
        }
    }
}

/* Q3_K: y = (d * sc[e / 16]) * (q - 4); sc of 6 bits: quant_k3_scale()
 *   | 32 bytes: third bits | 2 x 32 bytes: low 2 bits, as in Q2_K | 12 bytes: sc | d f16 |
 *   0                     32                                     96            108     110
 *   bit g (0…7) of byte i of the first 32 is the third bit of element i of group g   */
void quant_dequant_q3_k(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q3_K_BYTES) {
        float d = rd_f16(b + 108);
        for (int g = 0; g < N_GROUP; g++, y += 32) {
            const uint8_t *lo = b + 32 + g / 4 * 32;
            for (int i = 0; i < 32; i++) {
                int q = (lo[i] >> g % 4 * 2 & 3) | (b[i] >> g & 1) << 2;
                y[i] = d * (float)quant_k3_scale(b + 96, 2 * g + i / 16) * (float)(q - 4);
            }
        }
    }
}

/* Q4_K: y = (d * sc[g]) * q - (dmin * m[g])
 *   | d f16 | dmin f16 | 12 bytes: sc, m of 6 bits (quant_block.h) | 4 x 32 bytes |
 *   0       2          4                                          16            144
 *   32 bytes j (0…3): byte i: low nibble  = element i of group 2j
 *                             high nibble = element i of group 2j + 1   */
void quant_dequant_q4_k(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q4_K_BYTES) {
        float d = rd_f16(b), dmin = rd_f16(b + 2);
        for (int g = 0; g < N_GROUP; g++, y += 32) {
            const uint8_t *q = b + 16 + g / 2 * 32;
            int sc, m;
            quant_k4_scale_min(b + 4, g, &sc, &m);
            float ds = d * (float)sc, dm = dmin * (float)m;
            for (int i = 0; i < 32; i++)
                y[i] = ds * (float)(q[i] >> g % 2 * 4 & 15) - dm;
        }
    }
}

/* Q5_K: as Q4_K, and bit g of byte i of the 32 is the fifth bit of element i of group g
 *   | d f16 | dmin f16 | 12 bytes: sc, m | 32 bytes: fifth bits | 4 x 32 bytes |
 *   0       2          4                16                     48            176   */
void quant_dequant_q5_k(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q5_K_BYTES) {
        float d = rd_f16(b), dmin = rd_f16(b + 2);
        const uint8_t *hi = b + 16;
        for (int g = 0; g < N_GROUP; g++, y += 32) {
            const uint8_t *q = b + 48 + g / 2 * 32;
            int sc, m;
            quant_k4_scale_min(b + 4, g, &sc, &m);
            float ds = d * (float)sc, dm = dmin * (float)m;
            for (int i = 0; i < 32; i++)
                y[i] = ds * (float)((q[i] >> g % 2 * 4 & 15) | (hi[i] >> g & 1) << 4) - dm;
        }
    }
}

/* Q6_K: y = (d * sc[e / 16]) * (q - 32); sc: signed bytes, one for each 16 elements
 *   | 2 x 64 bytes: low 4 bits | 2 x 32 bytes: high 2 bits | 16 x i8 sc | d f16 |
 *   0                        128                         192          208     210
 *   Each half of 128 elements has groups g = 0…3 of 32:
 *     element i of g:  low  = nibble g / 2 of byte 32 * (g % 2) + i of the half's 64
 *                      high = bits 2g, 2g + 1 of byte i of the half's 32   */
void quant_dequant_q6_k(const uint8_t *b, float *y, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q6_K_BYTES) {
        float d = rd_f16(b + 208);
        for (int g = 0; g < N_GROUP; g++, y += 32) {
            const uint8_t *lo = b + g / 4 * 64 + g % 2 * 32;
            const uint8_t *hi = b + 128 + g / 4 * 32;
            int lo_shift = g % 4 / 2 * 4, hi_shift = g % 4 * 2;
            for (int i = 0; i < 32; i++) {
                int q = (lo[i] >> lo_shift & 15) | (hi[i] >> hi_shift & 3) << 4;
                float ds = d * (float)(int8_t)b[192 + g * 2 + i / 16];
                y[i] = ds * (float)(q - 32);
            }
        }
    }
}

/* Finds scale and minimum (>= 0) so that scale * q - min fits x[32], q in [0, max]: for a number of
 * slightly wider and narrower steps, rounds, refits both by least squares, keeps the best. */
static void fit_affine(const float *x, int max, float *scale, float *min)
{
    float lo = 0.0f, hi = x[0]; /* the format can't raise all values: min is never negative */
    for (int i = 0; i < 32; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    *scale = 0.0f;
    *min = -lo;
    if (!(hi > lo))
        return;
    float best = FLT_MAX;
    for (int step = -8; step <= 8; step++) {
        float inv = ((float)max + 0.1f * (float)step) / (hi - lo);
        float sq = 0, sqq = 0, sx = 0, sqx = 0;
        for (int i = 0; i < 32; i++) {
            float q = (float)quant_clamp((x[i] - lo) * inv, max);
            sq += q, sqq += q * q, sx += x[i], sqx += q * x[i];
        }
        float det = 32.0f * sqq - sq * sq;
        if (!(det > 0.0f))
            continue;
        float s = (32.0f * sqx - sq * sx) / det, m = (sq * sqx - sqq * sx) / det;
        if (m < 0.0f) {
            m = 0.0f;
            s = sqx / sqq;
        }
        if (!(s > 0.0f))
            continue;
        float err = 0;
        for (int i = 0; i < 32; i++) {
            float e = s * (float)quant_clamp((x[i] + m) / s, max) - m - x[i];
            err += e * e;
        }
        if (err < best) {
            best = err;
            *scale = s;
            *min = m;
        }
    }
}

void quant_put_k4_scale_min(uint8_t *s, int g, int sc, int m)
{
    if (g < 4) {
        s[g] |= (uint8_t)sc;
        s[g + 4] |= (uint8_t)m;
    } else {
        s[g + 4] = (uint8_t)((sc & 15) | (m & 15) << 4);
        s[g - 4] |= (uint8_t)(sc >> 4 << 6);
        s[g] |= (uint8_t)(m >> 4 << 6);
    }
}

/* The head that Q4_K and Q5_K share (16 bytes at b), and the codes of all 256 elements. */
static void quant_k45(const float *x, uint8_t *b, int max, uint8_t q[QUANT_SUPER])
{
    float scale[N_GROUP], min[N_GROUP], top_scale = 0.0f, top_min = 0.0f;
    for (int g = 0; g < N_GROUP; g++) {
        fit_affine(x + 32 * g, max, &scale[g], &min[g]);
        top_scale = fmaxf(top_scale, scale[g]);
        top_min = fmaxf(top_min, min[g]);
    }
    quant_wr_u16(b, quant_f32_to_f16(top_scale / 63.0f));
    quant_wr_u16(b + 2, quant_f32_to_f16(top_min / 63.0f));
    memset(b + 4, 0, 12);
    float d = rd_f16(b), dmin = rd_f16(b + 2);
    for (int g = 0; g < N_GROUP; g++) {
        int sc = d > 0.0f ? quant_clamp(scale[g] / d, 63) : 0;
        int m = dmin > 0.0f ? quant_clamp(min[g] / dmin, 63) : 0;
        quant_put_k4_scale_min(b + 4, g, sc, m);
        float ds = d * (float)sc, dm = dmin * (float)m;
        for (int i = 32 * g; i < 32 * g + 32; i++)
            q[i] = ds > 0.0f ? (uint8_t)quant_clamp((x[i] + dm) / ds, max) : 0;
    }
}

void quant_pack_groups(const uint8_t *q, uint8_t *b)
{
    for (int j = 0; j < 4; j++, q += 64, b += 32)
        for (int i = 0; i < 32; i++)
            b[i] = (uint8_t)((q[i] & 15) | (q[i + 32] & 15) << 4);
}

void quant_quant_q4_k(const float *x, uint8_t *b, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q4_K_BYTES, x += QUANT_SUPER) {
        uint8_t q[QUANT_SUPER];
        quant_k45(x, b, 15, q);
        quant_pack_groups(q, b + 16);
    }
}

void quant_quant_q5_k(const float *x, uint8_t *b, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q5_K_BYTES, x += QUANT_SUPER) {
        uint8_t q[QUANT_SUPER];
        quant_k45(x, b, 31, q);
        quant_pack_groups(q, b + 48);
        memset(b + 16, 0, 32);
        for (int i = 0; i < QUANT_SUPER; i++)
            b[16 + i % 32] |= (uint8_t)(q[i] >> 4 << i / 32);
    }
}

/* The best scale (of either sign) for x[16] with codes -32 … 31, by the same search. */
static float fit_symmetric(const float *x)
{
    float peak = 0.0f;
    for (int i = 0; i < 16; i++)
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
    if (peak == 0.0f)
        return 0.0f;
    float best = FLT_MAX, scale = 0.0f;
    for (int step = -8; step <= 8; step++) {
        float inv = -(32.0f + 0.1f * (float)step) / peak;
        float sqq = 0, sqx = 0, err = 0;
        int q[16];
        for (int i = 0; i < 16; i++) {
            q[i] = quant_clamp(x[i] * inv + 32.0f, 63) - 32;
            sqq += (float)(q[i] * q[i]);
            sqx += (float)q[i] * x[i];
        }
        float s = sqq > 0.0f ? sqx / sqq : 0.0f;
        for (int i = 0; i < 16; i++)
            err += (s * (float)q[i] - x[i]) * (s * (float)q[i] - x[i]);
        if (err < best) {
            best = err;
            scale = s;
        }
    }
    return scale;
}

void quant_quant_q6_k(const float *x, uint8_t *b, int64_t n)
{
    for (; n > 0; n--, b += QUANT_Q6_K_BYTES, x += QUANT_SUPER) {
        float scale[16], peak = 0.0f;
        for (int s = 0; s < 16; s++) {
            scale[s] = fit_symmetric(x + 16 * s);
            peak = fabsf(scale[s]) > fabsf(peak) ? scale[s] : peak;
        }
        quant_wr_u16(b + 208, quant_f32_to_f16(peak / -128.0f));
        float d = rd_f16(b + 208);
        memset(b, 0, 192);
        for (int s = 0; s < 16; s++) {
            int sc = d != 0.0f ? quant_clamp(scale[s] / d + 128.0f, 255) - 128 : 0;
            float ds = d * (float)sc;
            b[192 + s] = (uint8_t)sc;
            for (int e = 16 * s; e < 16 * s + 16; e++) {
                int q = ds != 0.0f ? quant_clamp(x[e] / ds + 32.0f, 63) : 32;
                int g = e / 32, i = e % 32;
                b[g / 4 * 64 + g % 2 * 32 + i] |= (uint8_t)((q & 15) << g % 4 / 2 * 4);
                b[128 + g / 4 * 32 + i] |= (uint8_t)(q >> 4 << g % 4 * 2);
            }
        }
    }
}
