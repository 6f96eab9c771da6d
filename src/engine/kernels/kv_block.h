/* How K/V of one key/value head lie: in blocks of 32 positions, K by elements and V by positions,
 * so that 32 scores are summed side by side and so is the output, and no vector is ever folded.
 *
 *   K    [head_dim][32]        element i of all positions
 *   K.d  [groups][32] f16      q8_0: scale of elements 32 g … 32 g + 31 of each position
 *   V    [32][pad(head_dim)]   all elements of a position, then zeros up to a whole group
 *   V.d  [groups][32] f16      q8_0
 *
 * q8_0 has the codes and scales of GGUF's Q8_0. Internal to the kernels. */
#ifndef ENG_KV_BLOCK_H
#define ENG_KV_BLOCK_H

#include <stdint.h>
#include <string.h>

#include "engine/kernels/kern_impl.h"
#include "engine/quant.h"
#include "engine/quant_block.h"

/* Behind the padded output of a part. */
enum { KV_PEAK, KV_SUM };
/* Below every score, finite: its distance to a score is never NaN. */
#define KV_HIDDEN (-0x1p127f)

struct kv_layout {
    size_t k_d, v, v_d, bytes; /* offsets in a block, and its size */
};

static inline size_t kv_element(enum kern_kv_type type)
{
    return type == KERN_KV_F32 ? 4 : type == KERN_KV_F16 ? 2 : 1;
}

static inline struct kv_layout kv_layout(int head_dim, enum kern_kv_type type)
{
    const size_t pad = kern_pad(head_dim), el = kv_element(type);
    const size_t scales = type == KERN_KV_Q8_0 ? pad / KERN_LANES * KERN_KV_BLOCK * 2 : 0;
    struct kv_layout l = {.k_d = (size_t)head_dim * KERN_KV_BLOCK * el};
    l.v = (l.k_d + scales + 63) / 64 * 64;
    l.v_d = l.v + KERN_KV_BLOCK * pad * el;
    l.bytes = l.v_d + scales;
    return l;
}

/* What [first, end) and chunk c have in common, counted from the chunk's start; lo == hi: nothing.
 */
static inline void kv_seen(const struct kern_query *q, int c, int *lo, int *hi)
{
    const int start = c * KERN_KV_CHUNK;
    *lo = q->first > start ? q->first - start : 0;
    *hi = q->end < start + KERN_KV_CHUNK ? q->end - start : KERN_KV_CHUNK;
    if (*lo >= *hi)
        *lo = *hi = 0;
}

/* 32 values as codes of `type`, and q8_0's scale. */
typedef void kv_encode_f16(const float *x, uint8_t *code);
static inline __attribute__((always_inline)) uint16_t
kv_encode(const float *x, uint8_t *code, enum kern_kv_type type, kv_encode_f16 *to_f16)
{
    uint8_t b[QUANT_Q8_0_BYTES];
    switch (type) {
    case KERN_KV_F32:
        memcpy(code, x, KERN_LANES * sizeof *x);
        return 0;
    case KERN_KV_F16:
        to_f16(x, code);
        return 0;
    default:
        if (quant_quant_row(GGUF_Q8_0, x, b, KERN_LANES) != 0)
            __builtin_unreachable();
        memcpy(code, b + 2, KERN_LANES);
        return quant_rd_u16(b);
    }
}

static inline __attribute__((always_inline)) void kv_store_with(void *block, int at, const float *k,
                                                                const float *v, int head_dim,
                                                                enum kern_kv_type type,
                                                                kv_encode_f16 *to_f16)
{
    const struct kv_layout l = kv_layout(head_dim, type);
    const size_t el = kv_element(type), pad = kern_pad(head_dim);
    uint8_t *b = block, code[KERN_LANES * 4];
    for (int i = 0; i < head_dim; i += KERN_LANES) {
        const int n = head_dim - i < KERN_LANES ? head_dim - i : KERN_LANES;
        const size_t d_at = (size_t)(i + at) * 2; /* 32 scales a group of 32 */
        float x[KERN_LANES] = {0};
        memcpy(x, k + i, (size_t)n * sizeof *x);
        uint16_t d = kv_encode(x, code, type, to_f16);
        uint8_t *to = b + ((size_t)i * KERN_KV_BLOCK + (size_t)at) * el;
        for (int j = 0; j < n; j++)
            memcpy(to + (size_t)j * KERN_KV_BLOCK * el, code + (size_t)j * el, el);
        if (type == KERN_KV_Q8_0)
            quant_wr_u16(b + l.k_d + d_at, d);
        memcpy(x, v + i, (size_t)n * sizeof *x);
        d = kv_encode(x, code, type, to_f16);
        memcpy(b + l.v + ((size_t)at * pad + (size_t)i) * el, code, KERN_LANES * el);
        if (type == KERN_KV_Q8_0)
            quant_wr_u16(b + l.v_d + d_at, d);
    }
}

/* One copy for each type, so that sizes are constants. */
#define KV_STORE(block, at, k, v, head_dim, type, to_f16)                   \
    do {                                                                    \
        if ((type) == KERN_KV_F32)                                          \
            kv_store_with(block, at, k, v, head_dim, KERN_KV_F32, to_f16);  \
        else if ((type) == KERN_KV_F16)                                     \
            kv_store_with(block, at, k, v, head_dim, KERN_KV_F16, to_f16);  \
        else                                                                \
            kv_store_with(block, at, k, v, head_dim, KERN_KV_Q8_0, to_f16); \
    } while (0)

#endif
