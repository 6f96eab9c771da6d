/* Packed weights by the 8-bit matrix products of ARMv8.6: smmla multiplies two rows' activations of
 * 8 inputs with two outputs' codes. A single row has half of such a product's use: it takes sdot.
 */
#include <arm_neon.h>

#include "engine/kernels/neon_dot.h"

enum { STEP = 2 };

SPECIALISE int8x16_t zip(int8x16_t a, int8x16_t b, bool high)
{
    const int32x4_t a4 = vreinterpretq_s32_s8(a), b4 = vreinterpretq_s32_s8(b);
    return vreinterpretq_s8_s32(high ? vzip2q_s32(a4, b4) : vzip1q_s32(a4, b4));
}

/* Of vectors 2 i and 2 i + 1: 8 inputs of outputs 0 and 1, then of outputs 2 and 3. */
SPECIALISE void arrange(int8x16_t c[2][8])
{
    EACH (v, 2)
        EACH (i, 4) {
            const int8x16_t a = c[v][2 * i], b = c[v][2 * i + 1];
            c[v][2 * i] = zip(a, b, false);
            c[v][2 * i + 1] = zip(a, b, true);
        }
}

SPECIALISE void dots_step(struct pack_form f, int8x16_t c[2][8], const int8_t *q, int j0, int n,
                          const int32_t *minus, int32x4_t isum[STEP][2])
{
    const int32x4_t begin = start(f, vcombine_s32(vdup_n_s32(minus[0]), vdup_n_s32(minus[1])));
    int32x4_t two[2][2]; /* 8 outputs by pairs: [row][output] */
    EACH (v, 4)
        two[v / 2][v % 2] = begin;
    EACH (i, n / 4) {
        const int64x2_t r0 = vreinterpretq_s64_s8(vld1q_s8(q + 4 * j0 + 16 * i));
        const int64x2_t r1 = vreinterpretq_s64_s8(vld1q_s8(q + PACK_BLOCK + 4 * j0 + 16 * i));
        const int8x16_t x0 = vreinterpretq_s8_s64(vzip1q_s64(r0, r1));
        const int8x16_t x1 = vreinterpretq_s8_s64(vzip2q_s64(r0, r1));
        EACH (v, 4) {
            const int8x16_t *w = c[v / 2] + j0 + 4 * i + v % 2;
            int32x4_t *sum = &two[v / 2][v % 2];
            *sum = vmmlaq_s32(vmmlaq_s32(*sum, x0, w[0]), x1, w[2]);
        }
    }
    EACH (v, 2) {
        const int64x2_t a = vreinterpretq_s64_s32(two[v][0]), b = vreinterpretq_s64_s32(two[v][1]);
        isum[0][v] = vreinterpretq_s32_s64(vzip1q_s64(a, b));
        isum[1][v] = vreinterpretq_s32_s64(vzip2q_s64(a, b));
    }
}

#include "engine/kernels/neon_tile.h"

void kern_i8mm_init(struct kern_ops *ops)
{
    ops->matmul_pack = matmul_pack;
}
