/* The vector kernels, written once. Each kern_<isa>.c defines the small vocabulary below with its
 * intrinsics, includes this file and simd_matmul.h and simd_vec.h, and has a table.
 *
 * One order of summation holds everywhere: element i of a dot product goes to partial sum i % 32 by
 * fused multiply-add, in ascending order, and the 32 sums are folded by halves (16, 8, 4, 2, 1).
 * How many of the 32 stand in one register, how many rows are worked on together and how often
 * memory is walked may differ from path to path and from CPU to CPU: each partial sum is its own
 * chain of operations and comes out the same. So results are bit-identical for every batch size,
 * and also between AVX2, AVX-512 and NEON: car and cloud agree though their CPUs differ.
 *
 * Vocabulary: V_W floats in a vector `vf`; V_DEC weight rows worked on together for one row of x,
 * V_X rows of x in a tile (at most 6): as the number of registers allows; v_load v_store v_set1
 * v_add v_sub v_mul v_div v_fma(a,b,c)=a*b+c v_min v_max (a NaN in the second argument stays),
 * v_sum (folds by halves), v_load_f16 v_store_f16 v_load_bf16 (unaligned bytes), v_pow2(t) (2^n
 * where t = V_MAGIC + n), v_f16 (one value); 32 bytes in a `vb`: b_load, b_nibbles (16 bytes -> low
 * nibbles, high nibbles), b_bits (bit i -> 16 or 0 in byte i), b_field(v, shift, mask) = v >> shift
 * & mask, b_shl (bits must not leave their byte), b_or, b_sub, b_lookup (bytes 0 … 15 -> their
 * entry in a table of 16), b_widen (signed bytes -> floats). For attention: V_Q queries and V_SUMS
 * vectors of sums in a tile, v_load_i8 (V_W signed bytes). */
#ifndef ENG_SIMD_UNPACK_H
#define ENG_SIMD_UNPACK_H

#include <math.h>
#include <string.h>

#include "engine/kernels/kern_impl.h"
#include "engine/quant.h"
#include "engine/quant_block.h"

enum { V_N = KERN_LANES / V_W }; /* vectors that hold 32 lanes */

SPECIALISE void scale_codes(vb q, float d, vf *w)
{
    vf ds = v_set1(d);
    b_widen(q, w);
    EACH (v, V_N)
        w[v] = v_mul(ds, w[v]);
}

SPECIALISE void scale_shift_codes(vb q, float d, float m, vf *w)
{
    vf ds = v_set1(d), ms = v_set1(m);
    b_widen(q, w);
    EACH (v, V_N)
        w[v] = v_fma(ds, w[v], ms);
}

/* Each half of 16 elements has its own scale, and shift if there is one. */
SPECIALISE void scale_halves(vb q, float d0, float d1, vf *w)
{
    vf half[2] = {v_set1(d0), v_set1(d1)};
    b_widen(q, w);
    EACH (v, V_N)
        w[v] = v_mul(half[v / (V_N / 2)], w[v]);
}

SPECIALISE void unpack_q2_k(const uint8_t *b, int g, vf *w)
{
    float d = v_f16(b + 80), dmin = v_f16(b + 82);
    int s0 = b[2 * g], s1 = b[2 * g + 1];
    vf ds[2] = {v_set1(d * (float)(s0 & 15)), v_set1(d * (float)(s1 & 15))};
    vf ms[2] = {v_set1(-(dmin * (float)(s0 >> 4))), v_set1(-(dmin * (float)(s1 >> 4)))};
    b_widen(b_field(b_load(b + 16 + g / 4 * 32), g % 4 * 2, 3), w);
    EACH (v, V_N)
        w[v] = v_fma(ds[v / (V_N / 2)], w[v], ms[v / (V_N / 2)]);
}

SPECIALISE void unpack_q3_k(const uint8_t *b, int g, vf *w)
{
    vb lo = b_field(b_load(b + 32 + g / 4 * 32), g % 4 * 2, 3);
    vb q = b_or(lo, b_shl(b_field(b_load(b), g, 1), 2));
    float d = v_f16(b + 108);
    scale_halves(b_sub(q, 4), d * (float)quant_k3_scale(b + 96, 2 * g),
                 d * (float)quant_k3_scale(b + 96, 2 * g + 1), w);
}

SPECIALISE void unpack_q4_k(const uint8_t *b, int g, vf *w)
{
    int sc, m;
    quant_k4_scale_min(b + 4, g, &sc, &m);
    vb q = b_field(b_load(b + 16 + g / 2 * 32), g % 2 * 4, 15);
    scale_shift_codes(q, v_f16(b) * (float)sc, -(v_f16(b + 2) * (float)m), w);
}

SPECIALISE void unpack_q5_k(const uint8_t *b, int g, vf *w)
{
    int sc, m;
    quant_k4_scale_min(b + 4, g, &sc, &m);
    vb q = b_field(b_load(b + 48 + g / 2 * 32), g % 2 * 4, 15);
    q = b_or(q, b_shl(b_field(b_load(b + 16), g, 1), 4));
    scale_shift_codes(q, v_f16(b) * (float)sc, -(v_f16(b + 2) * (float)m), w);
}

SPECIALISE void unpack_q6_k(const uint8_t *b, int g, vf *w)
{
    vb lo = b_field(b_load(b + g / 4 * 64 + g % 2 * 32), g % 4 / 2 * 4, 15);
    vb hi = b_field(b_load(b + 128 + g / 4 * 32), g % 4 * 2, 3);
    float d = v_f16(b + 208);
    scale_halves(b_sub(b_or(lo, b_shl(hi, 4)), 32), d * (float)(int8_t)b[192 + 2 * g],
                 d * (float)(int8_t)b[193 + 2 * g], w);
}

SPECIALISE void unpack_iq4(const uint8_t *q, float d, vf *w)
{
    scale_codes(b_lookup(b_nibbles(q), quant_iq4_values), d, w);
}

/* Elements [32 g, 32 g + 32) of a row. */
SPECIALISE void unpack(uint32_t type, const uint8_t *row, int g, vf *w)
{
    const uint8_t *b;
    switch (type) {
    case GGUF_F32:
        EACH (v, V_N)
            w[v] = v_load((const float *)(const void *)row + 32 * g + v * V_W);
        return;
    case GGUF_F16:
        EACH (v, V_N)
            w[v] = v_load_f16(row + 64 * (size_t)g + 2 * v * V_W);
        return;
    case GGUF_BF16:
        EACH (v, V_N)
            w[v] = v_load_bf16(row + 64 * (size_t)g + 2 * v * V_W);
        return;
    case GGUF_Q4_0:
        b = row + (size_t)g * QUANT_Q4_0_BYTES;
        scale_codes(b_sub(b_nibbles(b + 2), 8), v_f16(b), w);
        return;
    case GGUF_Q4_1:
        b = row + (size_t)g * QUANT_Q4_1_BYTES;
        scale_shift_codes(b_nibbles(b + 4), v_f16(b), v_f16(b + 2), w);
        return;
    case GGUF_Q5_0:
        b = row + (size_t)g * QUANT_Q5_0_BYTES;
        scale_codes(b_sub(b_or(b_nibbles(b + 6), b_bits(quant_rd_u32(b + 2))), 16), v_f16(b), w);
        return;
    case GGUF_Q5_1:
        b = row + (size_t)g * QUANT_Q5_1_BYTES;
        scale_shift_codes(b_or(b_nibbles(b + 8), b_bits(quant_rd_u32(b + 4))), v_f16(b),
                          v_f16(b + 2), w);
        return;
    case GGUF_Q8_0:
        b = row + (size_t)g * QUANT_Q8_0_BYTES;
        scale_codes(b_load(b + 2), v_f16(b), w);
        return;
    case GGUF_IQ4_NL:
        b = row + (size_t)g * QUANT_IQ4_NL_BYTES;
        unpack_iq4(b + 2, v_f16(b), w);
        return;
    case GGUF_IQ4_XS:
        b = row + (size_t)(g / 8) * QUANT_IQ4_XS_BYTES;
        unpack_iq4(b + 8 + g % 8 * 16, v_f16(b) * (float)quant_iq4_xs_scale(b, g % 8), w);
        return;
    case GGUF_Q2_K:
        unpack_q2_k(row + (size_t)(g / 8) * QUANT_Q2_K_BYTES, g % 8, w);
        return;
    case GGUF_Q3_K:
        unpack_q3_k(row + (size_t)(g / 8) * QUANT_Q3_K_BYTES, g % 8, w);
        return;
    case GGUF_Q4_K:
        unpack_q4_k(row + (size_t)(g / 8) * QUANT_Q4_K_BYTES, g % 8, w);
        return;
    case GGUF_Q5_K:
        unpack_q5_k(row + (size_t)(g / 8) * QUANT_Q5_K_BYTES, g % 8, w);
        return;
    default:
        unpack_q6_k(row + (size_t)(g / 8) * QUANT_Q6_K_BYTES, g % 8, w);
        return;
    }
}

/* The last n < 32 elements, for the types without blocks; missing ones are zero. */
SPECIALISE void unpack_tail(uint32_t type, const uint8_t *row, int g, int n, vf *w)
{
    float tail[KERN_LANES] = {0};
    quant_dequant_row(type, row + (size_t)g * KERN_LANES * (type == GGUF_F32 ? 4 : 2), tail, n);
    EACH (v, V_N)
        w[v] = v_load(tail + v * V_W);
}

SPECIALISE float sum_lanes(const vf *lane)
{
    vf s[V_N];
    EACH (v, V_N)
        s[v] = lane[v];
    UNROLL for (int half = V_N / 2; half > 0; half /= 2)
    {
        EACH (v, half)
            s[v] = v_add(s[v], s[v + half]);
    }
    return v_sum(s[0]);
}

/* Calls FN(constant type, ...) for the type at hand. */
#define FOR_TYPE_CASE(T, FN, ...) \
    case T:                       \
        FN(T, __VA_ARGS__);       \
        break;
#define FOR_TYPE(type, FN, ...)                     \
    switch (type) {                                 \
        FOR_TYPE_CASE(GGUF_F32, FN, __VA_ARGS__)    \
        FOR_TYPE_CASE(GGUF_F16, FN, __VA_ARGS__)    \
        FOR_TYPE_CASE(GGUF_BF16, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q4_0, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q4_1, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q5_0, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q5_1, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q8_0, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_IQ4_NL, FN, __VA_ARGS__) \
        FOR_TYPE_CASE(GGUF_IQ4_XS, FN, __VA_ARGS__) \
        FOR_TYPE_CASE(GGUF_Q2_K, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q3_K, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q4_K, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q5_K, FN, __VA_ARGS__)   \
        FOR_TYPE_CASE(GGUF_Q6_K, FN, __VA_ARGS__)   \
    default:                                        \
        break;                                      \
    }

SPECIALISE void unpack_groups(uint32_t type, const uint8_t *row, float *dst, int n_group)
{
    vf w[V_N];
    for (int g = 0; g < n_group; g++) {
        unpack(type, row, g, w);
        EACH (v, V_N)
            v_store(dst + KERN_LANES * (size_t)g + v * V_W, w[v]);
    }
}

static void simd_dequant_row(uint32_t type, const void *src, float *dst, int64_t n)
{
    int n_group = (int)(n / KERN_LANES);
    if (n % KERN_LANES != 0 || n > INT32_MAX) {
        quant_dequant_row(type, src, dst, n);
        return;
    }
    FOR_TYPE(type, unpack_groups, src, dst, n_group)
}

#endif
