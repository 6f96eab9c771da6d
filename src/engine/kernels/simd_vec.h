/* Norms, activation and attention, over simd_unpack.h. */
#ifndef ENG_SIMD_VEC_H
#define ENG_SIMD_VEC_H

#include "engine/kernels/simd_unpack.h"

#define V_MAGIC 0x1.8p23f /* adding it rounds to an integer, which then stands in the low bits */

/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln 2 / 2; e^r by its Taylor series to r^7, which
 * leaves less than 6e-9. 2^n is applied in two steps, so that results overflow to infinity and fade
 * out through the subnormals; outside [-104, 89] nothing else can come out. Relative error: below 2
 * ulp, of which the last product and sum of the series make one. NaN stays NaN. */
static inline vf v_exp(vf x)
{
    static const float taylor[] = {1 / 5040.0f, 1 / 720.0f, 1 / 120.0f, 1 / 24.0f,
                                   1 / 6.0f,    0.5f,       1.0f,       1.0f};
    vf magic = v_set1(V_MAGIC);
    x = v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x));
    vf n = v_sub(v_fma(x, v_set1(0x1.715476p+0f), magic), magic);
    vf r = v_fma(n, v_set1(-0x1.62e43p-1f), x); /* ln 2 in two pieces */
    r = v_fma(n, v_set1(0x1.05c61p-29f), r);
    vf p = v_set1(taylor[0]);
    EACH (i, 7)
        p = v_fma(p, r, v_set1(taylor[i + 1]));
    vf t1 = v_fma(n, v_set1(0.5f), magic);
    vf t2 = v_add(v_sub(n, v_sub(t1, magic)), magic);
    return v_mul(v_mul(p, v_pow2(t1)), v_pow2(t2));
}

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

static void simd_kv_store(void *dst, const float *src, int n, enum kern_kv_type type)
{
    uint8_t *p = dst;
    int i = 0;
    if (type == KERN_KV_F32) {
        memcpy(dst, src, (size_t)n * sizeof *src);
        return;
    }
    for (; i + V_W <= n; i += V_W)
        v_store_f16(p + 2 * i, v_load(src + i));
    for (; i < n; i++)
        quant_wr_u16(p + 2 * i, quant_f32_to_f16(src[i]));
}

/* Scores of nt <= 32 positions; -infinity beyond. */
SPECIALISE void attend_scores(uint32_t type, float *score, const float *q, const uint8_t *k,
                              size_t stride, int nt, int head_dim, float scale)
{
    int n_group = head_dim / KERN_LANES, tail = head_dim % KERN_LANES;
    for (int t = 0; t < nt; t++) {
        const uint8_t *row = k + (size_t)t * stride;
        vf acc[V_N], qv[V_N], kv[V_N];
        EACH (v, V_N)
            acc[v] = v_set1(0.0f);
        for (int g = 0; g < n_group; g++) {
            unpack(GGUF_F32, (const uint8_t *)q, g, qv);
            unpack(type, row, g, kv);
            EACH (v, V_N)
                acc[v] = v_fma(qv[v], kv[v], acc[v]);
        }
        if (tail != 0) {
            unpack_tail(GGUF_F32, (const uint8_t *)q, n_group, tail, qv);
            unpack_tail(type, row, n_group, tail, kv);
            EACH (v, V_N)
                acc[v] = v_fma(qv[v], kv[v], acc[v]);
        }
        score[t] = scale * sum_lanes(acc);
    }
    for (int t = nt; t < KERN_LANES; t++)
        score[t] = -INFINITY;
}

/* out = out * fade + sum p[t] V[t]. */
SPECIALISE void attend_values(uint32_t type, float *out, const float *p, float fade,
                              const uint8_t *value, size_t stride, int nt, int head_dim)
{
    vf o[V_N], vv[V_N], fades = v_set1(fade);
    int n_group = head_dim / KERN_LANES, tail = head_dim % KERN_LANES;
    for (int g = 0; g < n_group; g++) {
        unpack(GGUF_F32, (const uint8_t *)out, g, o);
        EACH (v, V_N)
            o[v] = v_mul(o[v], fades);
        for (int t = 0; t < nt; t++) {
            vf pv = v_set1(p[t]);
            unpack(type, value + (size_t)t * stride, g, vv);
            EACH (v, V_N)
                o[v] = v_fma(pv, vv[v], o[v]);
        }
        EACH (v, V_N)
            v_store(out + KERN_LANES * g + v * V_W, o[v]);
    }
    if (tail != 0) {
        float buf[KERN_LANES];
        unpack_tail(GGUF_F32, (const uint8_t *)out, n_group, tail, o);
        EACH (v, V_N)
            o[v] = v_mul(o[v], fades);
        for (int t = 0; t < nt; t++) {
            unpack_tail(type, value + (size_t)t * stride, n_group, tail, vv);
            EACH (v, V_N)
                o[v] = v_fma(v_set1(p[t]), vv[v], o[v]);
        }
        EACH (v, V_N)
            v_store(buf + v * V_W, o[v]);
        memcpy(out + KERN_LANES * n_group, buf, (size_t)tail * sizeof *buf);
    }
}

/* Online softmax in blocks of 32 positions: a block with a higher score rescales what was summed.
 * The blocks start at position 0, so that the result depends on n_ctx alone. */
SPECIALISE void attend_as(uint32_t type, float *out, const float *q, const uint8_t *k,
                          const uint8_t *value, size_t stride, int n_ctx, int head_dim, float scale)
{
    vf total[V_N];
    float peak = -INFINITY, p[KERN_LANES], fade[V_W];
    EACH (v, V_N)
        total[v] = v_set1(0.0f);
    for (int i = 0; i < head_dim; i++)
        out[i] = 0.0f;
    for (int t = 0; t < n_ctx; t += KERN_LANES) {
        int nt = n_ctx - t < KERN_LANES ? n_ctx - t : KERN_LANES;
        float top = peak;
        attend_scores(type, p, q, k + (size_t)t * stride, stride, nt, head_dim, scale);
        for (int i = 0; i < nt; i++)
            top = p[i] > top ? p[i] : top;
        v_store(fade, v_exp(v_set1(peak - top)));
        EACH (v, V_N) {
            vf e = v_exp(v_sub(v_load(p + v * V_W), v_set1(top)));
            total[v] = v_fma(total[v], v_set1(fade[0]), e);
            v_store(p + v * V_W, e);
        }
        attend_values(type, out, p, fade[0], value + (size_t)t * stride, stride, nt, head_dim);
        peak = top;
    }
    float sum = sum_lanes(total);
    for (int i = 0; i < head_dim; i++)
        out[i] /= sum;
}

static void simd_attend(float *out, const float *q, const void *k, const void *v, size_t stride,
                        int n_ctx, int head_dim, float scale, enum kern_kv_type type)
{
    if (type == KERN_KV_F32)
        attend_as(GGUF_F32, out, q, k, v, stride, n_ctx, head_dim, scale);
    else
        attend_as(GGUF_F16, out, q, k, v, stride, n_ctx, head_dim, scale);
}

static void simd_init(struct kern_ops *ops)
{
    ops->matmul = simd_matmul;
    ops->dequant_row = simd_dequant_row;
    ops->rmsnorm = simd_rmsnorm;
    ops->add = simd_add;
    ops->silu_mul = simd_silu_mul;
    ops->gelu_mul = simd_gelu_mul;
    ops->kv_store = simd_kv_store;
    ops->attend = simd_attend;
}

#endif
