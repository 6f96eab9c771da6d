/* dots() for neon_tile.h by the dot products of ARMv8.2: sdot multiplies 4 outputs' codes of 4
 * inputs with one word of a row's activations. */
#ifndef ENG_NEON_DOT_H
#define ENG_NEON_DOT_H

#include "engine/kernels/neon_unpack.h"

SPECIALISE int32x4_t start(struct pack_form f, int32x4_t minus)
{
    return f.min || is_signed(f) ? vdupq_n_s32(0) : minus << f.off_log2;
}

struct row {
    int8x16_t x[2];
};

SPECIALISE struct row load_row(const int8_t *q)
{
    return (struct row){{vld1q_s8(q), vld1q_s8(q + 16)}};
}

SPECIALISE void dots(struct pack_form f, int8x16_t c[2][8], const struct row *r, int j0, int n,
                     const int32_t *minus, int32x4_t isum[2])
{
    EACH (v, 2)
        isum[v] = start(f, vld1q_dup_s32(minus));
    EACH (i, n / 4) {
        const int8x16_t x = r->x[j0 / 4 + i];
        EACH (v, 2) {
            const int8x16_t *w = c[v] + j0 + 4 * i;
            isum[v] = vdotq_laneq_s32(isum[v], w[0], x, 0);
            isum[v] = vdotq_laneq_s32(isum[v], w[1], x, 1);
            isum[v] = vdotq_laneq_s32(isum[v], w[2], x, 2);
            isum[v] = vdotq_laneq_s32(isum[v], w[3], x, 3);
        }
    }
}

#endif
