/* Norms, activation and the table, over simd_unpack.h. */
#ifndef ENG_SIMD_VEC_H
#define ENG_SIMD_VEC_H

#include "engine/kernels/simd_attend.h"
#include "engine/kernels/simd_exp.h"
#include "engine/kernels/simd_unpack.h"

static void simd_rmsnorm(float *y, const float *x, const float *w, int n, float eps)
{
    vf acc[V_N], xv[V_N];
    int g = 0, whole = n / V_W * V_W;
    EACH (v, V_N)
        acc[v] = v_set1(0.0f);
    for (; g <= n / KERN_LANES; g++) {
        if (g < n / KERN_LANES)
            unpack(GGUF_F32, (const uint8_t *)x, g, xv);
        else
            unpack_tail(GGUF_F32, (const uint8_t *)x, g, n % KERN_LANES, xv);
        EACH (v, V_N)
            acc[v] = v_fma(xv[v], xv[v], acc[v]);
    }
    float scale = 1.0f / sqrtf(sum_lanes(acc) / (float)n + eps);
    vf scales = v_set1(scale);
    for (int i = 0; i < whole; i += V_W)
        v_store(y + i, v_mul(v_mul(v_load(x + i), scales), v_load(w + i)));
    for (int i = whole; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void simd_add(float *y, const float *x, int n)
{
    int i = 0;
    for (; i + V_W <= n; i += V_W)
        v_store(y + i, v_add(v_load(y + i), v_load(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

enum { MIX_X = V_N > 6 ? 2 : 12 / V_N }; /* rows of t at a time: their sums stay in registers */

/* One panel of 32 columns for nx rows of t. */
SPECIALISE void mix_tile(uint32_t type, int nx, const uint8_t *w, int n_row, int lanes,
                         const float *t, size_t ldt, float *y, size_t ldy)
{
    vf acc[MIX_X][V_N], wv[V_N];
    EACH (k, nx)
        EACH (v, V_N)
            acc[k][v] = v_set1(0.0f);
    for (int j = 0; j < n_row; j++) {
        unpack(type, w, j, wv);
        EACH (k, nx) {
            vf tv = v_set1(t[(size_t)k * ldt + (size_t)j]);
            EACH (v, V_N)
                acc[k][v] = v_fma(tv, wv[v], acc[k][v]);
        }
    }
    for (int k = 0; k < nx; k++) {
        float buf[KERN_LANES];
        EACH (v, V_N)
            v_store(buf + v * V_W, acc[k][v]);
        simd_add(y + (size_t)k * ldy, buf, lanes);
    }
}

SPECIALISE void mix_as(uint32_t type, const uint8_t *w, int n_row, int n, const float *t,
                       size_t ldt, int n_x, float *y, size_t ldy)
{
    const size_t panel = (size_t)n_row * KERN_LANES * (type == GGUF_F32 ? 4 : 2);
    for (int i = 0; i < n; i += KERN_LANES, w += panel) {
        const int lanes = n - i < KERN_LANES ? n - i : KERN_LANES;
        int m = 0;
        for (; m + MIX_X <= n_x; m += MIX_X)
            mix_tile(type, MIX_X, w, n_row, lanes, t + (size_t)m * ldt, ldt,
                     y + (size_t)m * ldy + i, ldy);
        for (; m < n_x; m++)
            mix_tile(type, 1, w, n_row, lanes, t + (size_t)m * ldt, ldt, y + (size_t)m * ldy + i,
                     ldy);
    }
}

static void simd_mix(uint32_t type, const void *w, int n_row, int n, const float *t, size_t ldt,
                     int n_x, float *y, size_t ldy)
{
    if (type == GGUF_F32)
        mix_as(GGUF_F32, w, n_row, n, t, ldt, n_x, y, ldy);
    else
        mix_as(GGUF_F16, w, n_row, n, t, ldt, n_x, y, ldy);
}

/* gate / (1 + exp(-a)) * up: silu with a = gate, GELU with its cubic. */
SPECIALISE vf act_mul1(bool gelu, vf gate, vf up)
{
    vf one = v_set1(1.0f), a = gate;
    if (gelu) {
        vf slope = v_fma(v_mul(gate, gate), v_set1(KERN_GELU_3), v_set1(KERN_GELU_1));
        a = v_mul(gate, slope);
    }
    vf e = v_exp(v_sub(v_set1(0.0f), a));
    return v_mul(v_div(gate, v_add(one, e)), up);
}

SPECIALISE void act_mul(bool gelu, float *gate, const float *up, int n)
{
    float g[V_W] = {0}, u[V_W] = {0};
    int i = 0;
    for (; i + V_W <= n; i += V_W)
        v_store(gate + i, act_mul1(gelu, v_load(gate + i), v_load(up + i)));
    if (i == n)
        return;
    memcpy(g, gate + i, (size_t)(n - i) * sizeof *g);
    memcpy(u, up + i, (size_t)(n - i) * sizeof *u);
    v_store(g, act_mul1(gelu, v_load(g), v_load(u)));
    memcpy(gate + i, g, (size_t)(n - i) * sizeof *g);
}

static void simd_silu_mul(float *gate, const float *up, int n)
{
    act_mul(false, gate, up, n);
}

static void simd_gelu_mul(float *gate, const float *up, int n)
{
    act_mul(true, gate, up, n);
}

static void simd_init(struct kern_ops *ops)
{
    ops->matmul = simd_matmul;
    ops->dequant_row = simd_dequant_row;
    ops->rmsnorm = simd_rmsnorm;
    ops->add = simd_add;
    ops->mix = simd_mix;
    ops->silu_mul = simd_silu_mul;
    ops->gelu_mul = simd_gelu_mul;
    ops->kv_store = simd_kv_store;
    ops->attend = simd_attend;
    ops->attend_join = simd_attend_join;
}

#endif
