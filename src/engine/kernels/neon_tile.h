/* Packed weights times rows on 64-bit Arm, over neon_unpack.h and what the including file brings:
 *
 *   struct row, load_row(q)            one row's block of activations
 *   dots(f, c, row, j0, n, minus, isum)  sums of (code - off) * q of 8 outputs over vectors j0 …
 *                                      j0 + n - 1; *minus: of those inputs
 *   STEP, arrange(c), dots_step(…)     several rows, STEP of them at a time, with codes rearranged
 *                                      once for all; q and minus point at the first row's
 *
 * A tile is one panel and one group of rows, 8 outputs at a time: their codes of a block stay in 16
 * registers for all rows. */
#ifndef ENG_NEON_TILE_H
#define ENG_NEON_TILE_H

#include "engine/kernels/neon_unpack.h"

enum {
    SLICE_BYTES = 64 << 10, /* of panels, that a next group of rows finds in L2 */
    AHEAD_BYTES = 768,      /* of codes, asked for before one row needs them */
};

/* Blocks of a group of g rows at r0. */
struct cursor {
    const int8_t *q;
    const float *d, *s, *s_half;
    const int32_t *minus, *minus_half;
    int g;
};

SPECIALISE struct cursor first_block(int n_block, const struct kern_act *x, int r0, int g)
{
    const size_t at = (size_t)r0 * (size_t)n_block;
    return (struct cursor){
        x->q + at * PACK_BLOCK, x->d + at, x->s + at, x->s_half + 2 * at, x->minus + at,
        x->minus_half + 2 * at, g};
}

SPECIALISE void next_block(struct cursor *x)
{
    x->q += PACK_BLOCK * x->g;
    x->d += x->g;
    x->s += x->g;
    x->s_half += 2 * x->g;
    x->minus += x->g;
    x->minus_half += 2 * x->g;
}

/* One row, or (one is NULL) rows k … k + STEP - 1: acc[][4], of which 8 outputs begin at v = 0
 * or 2. */
SPECIALISE void add_rows(struct pack_form f, const struct cursor *x, const struct row *one, int k,
                         int8x16_t c[2][8], const struct scales w[2], int v, float32x4_t acc[][4])
{
    const int n_half = f.halves ? 2 : 1, n = 8 / n_half, step = one != NULL ? 1 : STEP;
    EACH (h, n_half) {
        const int32_t *minus = f.halves ? x->minus_half + h * x->g : x->minus;
        const float *s = f.halves ? x->s_half + h * x->g : x->s;
        int32x4_t isum[STEP][2];
        if (one != NULL)
            dots(f, c, one, h * n, n, minus, isum[0]);
        else
            dots_step(f, c, x->q + PACK_BLOCK * k, h * n, n, minus + k, isum);
        EACH (i, step)
            add_scaled(f, acc[i] + v, isum[i], &w[h], x->d[k + i], s[k + i]);
    }
}

/* sums[g] of a panel's 16 outputs. one: g is 1, known to the compiler. */
SPECIALISE void tile(struct pack_form f, bool one, const struct pack *w, int p, struct cursor x,
                     float32x4_t sums[][4])
{
    const int n_block = w->n_in / PACK_BLOCK, g = one ? 1 : x.g;
    const uint8_t *codes = w->data + (size_t)p * w->panel_bytes, *scales = codes + w->scale_at;
    const size_t code_bytes = pack_code_bytes(f.code);
    x.g = g;
    for (int k = 0; k < g; k++)
        EACH (v, 4)
            sums[k][v] = vdupq_n_f32(0.0f);
    for (int b = 0; b < n_block; b++) {
        struct row row;
        if (one) {
            row = load_row(x.q);
            EACH (j, (int)(code_bytes / PACK_VEC))
                __builtin_prefetch(codes + AHEAD_BYTES + j * PACK_VEC);
        }
        EACH (v, 2) {
            int8x16_t c[2][8];
            struct scales s[2];
            unpack_scales(f, scales, b, 8 * v, s);
            unpack_codes(f, codes + 32 * v, c[0]);
            unpack_codes(f, codes + 32 * v + 16, c[1]);
            if (one) {
                add_rows(f, &x, &row, 0, c, s, 2 * v, sums);
                continue;
            }
            arrange(c);
            for (int k = 0; k < g; k += STEP)
                add_rows(f, &x, NULL, k, c, s, 2 * v, sums + k);
        }
        codes += code_bytes;
        next_block(&x);
    }
}

SPECIALISE void panels(struct pack_form f, const struct pack *w, int p0, int p1,
                       const struct kern_act *x, int r0, int g, float *y, size_t ldy)
{
    float32x4_t sums[16][4], sum[1][4];
    for (int p = p0; p < p1; p++) {
        const struct cursor at = first_block(w->n_in / PACK_BLOCK, x, r0, g);
        if (g == 1) {
            tile(f, true, w, p, at, sum);
            memcpy(sums, sum, sizeof sum);
        } else {
            tile(f, false, w, p, at, sums);
        }
        const int n = w->n_out - p * PACK_OUT < PACK_OUT ? w->n_out - p * PACK_OUT : PACK_OUT;
        float *to = y + (size_t)r0 * ldy + (size_t)p * PACK_OUT;
        for (int k = 0; k < g; k++, to += ldy)
            memcpy(to, sums[k], (size_t)n * sizeof *to);
    }
}

#include "engine/kernels/int_panels.h"

#endif
