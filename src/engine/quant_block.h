/* Sizes and unaligned reads that the dequantisers and the kernels share. Rows of a GGUF tensor are
 * only as aligned as their block size allows (18, 20, 34 … bytes), so that blocks are read as
 * bytes; compilers turn these helpers into single loads. Internal to the engine. */
#ifndef ENG_QUANT_BLOCK_H
#define ENG_QUANT_BLOCK_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights are read in place: little-endian hosts only"
#endif

enum {
    QUANT_BLOCK = 32,  /* elements of a Q4_0 … Q8_0 block */
    QUANT_SUPER = 256, /* elements of a K block: 8 groups of 32 */

    QUANT_Q4_0_BYTES = 2 + 16,
    QUANT_Q4_1_BYTES = 4 + 16,
    QUANT_Q5_0_BYTES = 2 + 4 + 16,
    QUANT_Q5_1_BYTES = 4 + 4 + 16,
    QUANT_Q8_0_BYTES = 2 + 32,
    QUANT_IQ4_NL_BYTES = 2 + 16,
    QUANT_Q2_K_BYTES = 16 + 64 + 4,
    QUANT_Q3_K_BYTES = 32 + 64 + 12 + 2,
    QUANT_Q4_K_BYTES = 4 + 12 + 128,
    QUANT_Q5_K_BYTES = 4 + 12 + 32 + 128,
    QUANT_Q6_K_BYTES = 128 + 64 + 16 + 2,
    QUANT_IQ4_XS_BYTES = 2 + 2 + 4 + 128,
};

static inline uint16_t quant_rd_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t quant_rd_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float quant_rd_f32(const uint8_t *p)
{
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void quant_wr_u16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

/* The 6-bit scale and minimum of group g (0 … 7) out of the 12 packed bytes of Q4_K and Q5_K:
 *
 *   byte  0…3   | hi 2 of sc[4…7] | sc[0…3]          |  bits 7 6   | 5 … 0
 *   byte  4…7   | hi 2 of  m[4…7] |  m[0…3]          |  bits 7 6   | 5 … 0
 *   byte  8…11  | low 4 of m[4…7] | low 4 of sc[4…7] |  bits 7 … 4 | 3 … 0
 */
static inline void quant_k4_scale_min(const uint8_t *s, int g, int *sc, int *m)
{
    if (g < 4) {
        *sc = s[g] & 63;
        *m = s[g + 4] & 63;
    } else {
        *sc = (s[g + 4] & 15) | (s[g - 4] >> 6) << 4;
        *m = (s[g + 4] >> 4) | (s[g] >> 6) << 4;
    }
}

/* The 6-bit scale (less 32) of elements 16 s … 16 s + 15 (s 0 … 15) out of Q3_K's 12 packed bytes:
 *
 *   byte  0…7   | low 4 of s = 8…15         | low 4 of s = 0…7 |  bits 7 … 4 | 3 … 0
 *   byte  8…11  | hi 2 of s = 12…15 | 8…11 | 4…7 | 0…3         |  bits 7 6 | 5 4 | 3 2 | 1 0
 */
static inline int quant_k3_scale(const uint8_t *b, int s)
{
    int lo = b[s % 8] >> s / 8 * 4 & 15, hi = b[8 + s % 4] >> s / 4 * 2 & 3;
    return (lo | hi << 4) - 32;
}

/* The 6-bit scale (less 32) of group g (0 … 7) of IQ4_XS: its low 4 bits are nibble g of the bytes
 * at 4, its high 2 bits are bits 2g, 2g + 1 of the word at 2. */
static inline int quant_iq4_xs_scale(const uint8_t *b, int g)
{
    int lo = b[4 + g / 2] >> g % 2 * 4 & 15, hi = quant_rd_u16(b + 2) >> 2 * g & 3;
    return (lo | hi << 4) - 32;
}

/* What the 16 codes of IQ4_NL and IQ4_XS stand for: uneven steps, finer around zero. Part of the
 * format. */
extern const int8_t quant_iq4_values[16];

/* The K family (quant_k.c) and IQ4 (quant_iq4.c). n counts blocks. */
void quant_dequant_iq4_nl(const uint8_t *b, float *y, int64_t n);
void quant_dequant_iq4_xs(const uint8_t *b, float *y, int64_t n);
void quant_dequant_q2_k(const uint8_t *b, float *y, int64_t n);
void quant_dequant_q3_k(const uint8_t *b, float *y, int64_t n);
void quant_dequant_q4_k(const uint8_t *b, float *y, int64_t n);
void quant_dequant_q5_k(const uint8_t *b, float *y, int64_t n);
void quant_dequant_q6_k(const uint8_t *b, float *y, int64_t n);
void quant_quant_q4_k(const float *x, uint8_t *b, int64_t n);
void quant_quant_q5_k(const float *x, uint8_t *b, int64_t n);
void quant_quant_q6_k(const float *x, uint8_t *b, int64_t n);

/* What quantisers write. q[32] of 4 or 5 bits; hi (the fifth bits) may be NULL. */
void quant_pack_nibbles(const int *q, uint8_t *hi, uint8_t *lo);
/* The low 4 bits of q[256] as Q4_K and Q5_K hold them. */
void quant_pack_groups(const uint8_t *q, uint8_t *b);
/* Into 12 bytes that were zero, groups in ascending order: the inverses of the readers above. */
void quant_put_k4_scale_min(uint8_t *s, int g, int sc, int m);
static inline void quant_put_k3_scale(uint8_t *b, int s, int scale)
{
    const int v = scale + 32;
    b[s % 8] |= (uint8_t)((v & 15) << s / 8 * 4);
    b[8 + s % 4] |= (uint8_t)(v >> 4 << s / 4 * 2);
}

/* v rounded half up and held to [0, max]; a NaN gives 0. */
static inline int quant_clamp(float v, int max)
{
    if (!(v > 0.0f))
        return 0;
    if (v >= (float)max)
        return max;
    return (int)(v + 0.5f);
}

#endif
