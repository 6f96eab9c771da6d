/* Matrix times rows, over simd_unpack.h. */
#ifndef ENG_SIMD_MATMUL_H
#define ENG_SIMD_MATMUL_H

#include "engine/kernels/simd_unpack.h"

/* One row of x: weights go from memory through registers into the sums. */
SPECIALISE void vec_tile(uint32_t type, int nr, const uint8_t *w, size_t row_bytes, int n_in,
                         const float *x, float *y)
{
    vf acc[V_DEC][V_N], xv[V_N], wv[V_N];
    const uint8_t *xb = (const uint8_t *)x;
    int g = 0, tail = n_in % KERN_LANES;
    EACH (r, nr)
        EACH (v, V_N)
            acc[r][v] = v_set1(0.0f);
    for (; g < n_in / KERN_LANES; g++) {
        unpack(GGUF_F32, xb, g, xv);
        EACH (r, nr) {
            unpack(type, w + (size_t)r * row_bytes, g, wv);
            EACH (v, V_N)
                acc[r][v] = v_fma(wv[v], xv[v], acc[r][v]);
        }
    }
    if (tail != 0) {
        unpack_tail(GGUF_F32, xb, g, tail, xv);
        EACH (r, nr) {
            unpack_tail(type, w + (size_t)r * row_bytes, g, tail, wv);
            EACH (v, V_N)
                acc[r][v] = v_fma(wv[v], xv[v], acc[r][v]);
        }
    }
    EACH (r, nr)
        y[r] = sum_lanes(acc[r]);
}

SPECIALISE void vec_rows(uint32_t type, const uint8_t *w, size_t row_bytes, int n_in, int r0,
                         int r1, const float *x, float *y)
{
    int r = r0;
    for (; r + V_DEC <= r1; r += V_DEC)
        vec_tile(type, V_DEC, w + (size_t)r * row_bytes, row_bytes, n_in, x, y + r);
    for (; r < r1; r++)
        vec_tile(type, 1, w + (size_t)r * row_bytes, row_bytes, n_in, x, y + r);
}

/* nr unpacked weight rows times nx rows of x. Each pass does the lanes of one vector of the 32, so
 * that all sums of a tile stay in registers. */
SPECIALISE void mat_tile(int nx, const float *const *w, int nr, int n_in, const float *x,
                         size_t ldx, float *y, size_t ldy)
{
    vf part[KERN_ROWS][V_X][V_N];
    int whole = n_in / KERN_LANES * KERN_LANES, tail = n_in - whole;
    const float *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
    for (int v = 0; v < V_N; v++) {
        vf acc[KERN_ROWS][V_X];
        EACH (r, KERN_ROWS)
            EACH (k, nx)
                acc[r][k] = v_set1(0.0f);
        for (int i = v * V_W; i < whole; i += KERN_LANES) {
            vf wv[KERN_ROWS] = {v_load(w0 + i), v_load(w1 + i), v_load(w2 + i), v_load(w3 + i)};
            EACH (k, nx) {
                vf xv = v_load(x + (size_t)k * ldx + i);
                EACH (r, KERN_ROWS)
                    acc[r][k] = v_fma(wv[r], xv, acc[r][k]);
            }
        }
        if (tail != 0) {
            EACH (k, nx) {
                vf xv[V_N];
                unpack_tail(GGUF_F32, (const uint8_t *)(x + (size_t)k * ldx), whole / KERN_LANES,
                            tail, xv);
                EACH (r, KERN_ROWS)
                    acc[r][k] = v_fma(v_load(w[r] + whole + v * V_W), xv[v], acc[r][k]);
            }
        }
        EACH (r, KERN_ROWS)
            EACH (k, nx)
                part[r][k][v] = acc[r][k];
    }
    for (int r = 0; r < nr; r++)
        for (int k = 0; k < nx; k++)
            y[(size_t)k * ldy + (size_t)r] = sum_lanes(part[r][k]);
}

static void mat_tiles(const float *const *w, int nr, int n_in, const float *x, size_t ldx, int n_x,
                      float *y, size_t ldy)
{
    for (; n_x >= V_X; n_x -= V_X, x += V_X * ldx, y += V_X * ldy)
        mat_tile(V_X, w, nr, n_in, x, ldx, y, ldy);
    if (V_X > 5 && n_x == 5)
        mat_tile(5, w, nr, n_in, x, ldx, y, ldy);
    else if (V_X > 4 && n_x == 4)
        mat_tile(4, w, nr, n_in, x, ldx, y, ldy);
    else if (V_X > 3 && n_x == 3)
        mat_tile(3, w, nr, n_in, x, ldx, y, ldy);
    else if (n_x == 2)
        mat_tile(2, w, nr, n_in, x, ldx, y, ldy);
    else if (n_x == 1)
        mat_tile(1, w, nr, n_in, x, ldx, y, ldy);
}

/* To scratch, zeros after the row's end up to a whole group. */
static void unpack_row(uint32_t type, const uint8_t *row, float *dst, int n_in)
{
    for (size_t i = (size_t)n_in; i < kern_pad(n_in); i++)
        dst[i] = 0.0f;
    simd_dequant_row(type, row, dst, n_in);
}

static void simd_matmul(uint32_t type, const void *weights, size_t row_bytes, int n_in, int r0,
                        int r1, const float *x, size_t ldx, int n_x, float *y, size_t ldy,
                        void *scratch)
{
    const uint8_t *w = weights;
    float *unpacked = scratch;
    if (n_x == 1) {
        FOR_TYPE(type, vec_rows, w, row_bytes, n_in, r0, r1, x, y)
        return;
    }
    for (int r = r0; r < r1; r += KERN_ROWS) {
        int nr = r1 - r < KERN_ROWS ? r1 - r : KERN_ROWS;
        const float *row[KERN_ROWS];
        for (int i = 0; i < KERN_ROWS; i++) { /* missing rows repeat the last one */
            float *dst = unpacked + kern_pad(n_in) * (size_t)(i < nr ? i : nr - 1);
            if (i < nr)
                unpack_row(type, w + (size_t)(r + i) * row_bytes, dst, n_in);
            row[i] = dst;
        }
        mat_tiles(row, nr, n_in, x, ldx, n_x, y + r, ldy);
    }
}

#endif
