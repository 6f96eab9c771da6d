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
    QUANT_Q4_K_BYTES = 4 + 12 + 128,
    QUANT_Q5_K_BYTES = 4 + 12 + 32 + 128,
    QUANT_Q6_K_BYTES = 128 + 64 + 16 + 2,
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

/* The K family (quant_k.c). n counts super-blocks. */
void quant_dequant_q4_k(const uint8_t *b, float *y, int64_t n);
void quant_dequant_q5_k(const uint8_t *b, float *y, int64_t n);
void quant_dequant_q6_k(const uint8_t *b, float *y, int64_t n);
void quant_quant_q4_k(const float *x, uint8_t *b, int64_t n);
void quant_quant_q5_k(const float *x, uint8_t *b, int64_t n);
void quant_quant_q6_k(const float *x, uint8_t *b, int64_t n);

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
