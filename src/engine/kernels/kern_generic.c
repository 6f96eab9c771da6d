/* Plain C: runs everywhere, and is what every other table is compared with. It also keeps 32
 * partial sums, which bounds the rounding error of a dot product to that of n / 32 additions and
 * lets a compiler use whatever vectors the base instruction set has. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "engine/kernels/kern_impl.h"
#include "engine/quant.h"
#include "engine/quant_block.h"

/* Pairwise, by halves. */
static float lanes_sum(float *s)
{
    for (int half = KERN_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

static float dot(const float *a, const float *b, int n)
{
    float s[KERN_LANES] = {0};
    int i = 0;
    for (; i + KERN_LANES <= n; i += KERN_LANES)
        for (int l = 0; l < KERN_LANES; l++)
            s[l] += a[i + l] * b[i + l];
    for (int l = 0; i + l < n; l++)
        s[l] += a[i + l] * b[i + l];
    return lanes_sum(s);
}

static void matmul(uint32_t type, const void *w, size_t row_bytes, int n_in, int r0, int r1,
                   const float *x, size_t ldx, int n_x, float *y, size_t ldy, void *scratch)
{
    float *row = scratch;
    for (int r = r0; r < r1; r++) {
        quant_dequant_row(type, (const uint8_t *)w + (size_t)r * row_bytes, row, n_in);
        for (int m = 0; m < n_x; m++)
            y[(size_t)m * ldy + (size_t)r] = dot(row, x + (size_t)m * ldx, n_in);
    }
}

/* Nearest, ties to even, for |v| < 2^22: above, floats of this size have no fraction. */
static float round_even(float v)
{
    return (v + 0x1.8p23f) - 0x1.8p23f;
}

/* The largest magnitude by its bits: NaN stands above infinity, and that above all numbers. */
static float magnitude(const float *x)
{
    uint32_t most = 0;
    float v;
    for (int i = 0; i < PACK_BLOCK; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        u &= 0x7fffffffu;
        most = u > most ? u : most;
    }
    memcpy(&v, &most, sizeof v);
    return v;
}

static void act_quant(const struct kern_act *a, int r0, int g, int k, const float *x)
{
    const int n_block = a->n_in / PACK_BLOCK;
    for (int b = 0; b < n_block; b++, x += PACK_BLOCK) {
        const size_t at = (size_t)r0 * (size_t)n_block + (size_t)b * (size_t)g + (size_t)k;
        const size_t half = 2 * ((size_t)r0 * (size_t)n_block + (size_t)b * (size_t)g) + (size_t)k;
        int8_t *q = a->q + at * PACK_BLOCK;
        const float most = magnitude(x);
        const bool some = most >= KERN_ACT_TINY && most < INFINITY;
        const float d = some ? most / 127.0f : most < INFINITY ? 0.0f : NAN;
        const float inv = some ? 127.0f / most : 0.0f;
        int sum[2] = {0, 0};
        for (int i = 0; i < PACK_BLOCK; i++) {
            q[i] = some ? (int8_t)round_even(x[i] * inv) : 0;
            sum[i / 16] += q[i];
        }
        a->d[at] = d;
        a->minus[at] = -(sum[0] + sum[1]);
        a->s[at] = d * (float)(sum[0] + sum[1]);
        for (int h = 0; h < 2; h++) {
            a->minus_half[half + (size_t)(h * g)] = -sum[h];
            a->s_half[half + (size_t)(h * g)] = d * (float)sum[h];
        }
    }
}

static int code_at(const struct pack_form *f, const uint8_t *codes, int o, int i)
{
    const int j = i / 4, at = 4 * o + i % 4;
    if (f->code == PACK_CODE_8)
        return codes[j * PACK_VEC + at];
    int c = codes[j % 4 * PACK_VEC + at] >> j / 4 * 4 & 15;
    if (f->lookup)
        return quant_iq4_values[c] + 128;
    const uint8_t *high = codes + 4 * PACK_VEC + at;
    if (f->code == PACK_CODE_5)
        c |= (*high >> j & 1) << 4;
    if (f->code == PACK_CODE_6)
        c |= (high[j / 4 * PACK_VEC] >> j % 4 * 2 & 3) << 4;
    return c;
}

static float f16_at(const uint8_t *p, int o)
{
    return quant_f16_to_f32(quant_rd_u16(p + 2 * o));
}

/* D and M of output o in both halves of block b. */
static void scales_at(const struct pack *w, const uint8_t *scales, int b, int o, float D[2],
                      float M[2])
{
    const struct pack_form *f = w->form;
    const size_t small = pack_scale_bytes(f), super = pack_super_bytes(f);
    M[0] = M[1] = 0.0f;
    if (!f->nested) {
        const uint8_t *p = scales + (size_t)b * small;
        D[0] = D[1] = f16_at(p, o);
        if (f->min)
            M[0] = M[1] = f16_at(p + 2 * PACK_OUT, o);
        return;
    }
    const uint8_t *top = scales + (size_t)(b / PACK_SUPER) * (super + PACK_SUPER * small);
    const uint8_t *p = top + super + (size_t)(b % PACK_SUPER) * small;
    for (int h = 0; h < 2; h++) {
        D[h] = f16_at(top, o) * (float)(int8_t)p[o];
        if (f->min)
            M[h] = f16_at(top + 2 * PACK_OUT, o) * (float)p[PACK_OUT + o];
        p += f->halves ? (f->min ? 2 : 1) * PACK_OUT : 0;
    }
}

/* Output o of panel p for row k of the group of g at r0. */
static float dot_pack(const struct pack *w, int p, int o, const struct kern_act *a, int r0, int g,
                      int k)
{
    const struct pack_form *f = w->form;
    const uint8_t *panel = w->data + (size_t)p * w->panel_bytes;
    const int n_block = w->n_in / PACK_BLOCK, n_part = f->halves ? 2 : 1;
    const int len = PACK_BLOCK / n_part, off = f->off_log2 > 0 ? 1 << f->off_log2 : 0;
    float acc = 0.0f;
    for (int b = 0; b < n_block; b++) {
        const size_t at = (size_t)r0 * (size_t)n_block + (size_t)b * (size_t)g + (size_t)k;
        const size_t half = 2 * ((size_t)r0 * (size_t)n_block + (size_t)b * (size_t)g) + (size_t)k;
        const int8_t *q = a->q + at * PACK_BLOCK;
        float D[2], M[2];
        scales_at(w, panel + w->scale_at, b, o, D, M);
        for (int h = 0; h < n_part; h++) {
            int sum = 0;
            for (int i = h * len; i < (h + 1) * len; i++)
                sum += (code_at(f, panel + (size_t)b * w->code_bytes, o, i) - off) * q[i];
            acc += (float)sum * (D[h] * a->d[at]);
            if (f->min)
                acc += M[h] * (f->halves ? a->s_half[half + (size_t)(h * g)] : a->s[at]);
        }
    }
    return acc;
}

static void matmul_pack(const struct pack *w, int p0, int p1, const struct kern_act *x, int n_x,
                        float *y, size_t ldy)
{
    for (int r0 = 0, g; r0 < n_x; r0 += g) {
        g = kern_act_group(n_x - r0);
        for (int k = 0; k < g; k++)
            for (int o = p0 * PACK_OUT; o < p1 * PACK_OUT && o < w->n_out; o++)
                y[(size_t)(r0 + k) * ldy + (size_t)o] =
                    dot_pack(w, o / PACK_OUT, o % PACK_OUT, x, r0, g, k);
    }
}

static void rmsnorm(float *y, const float *x, const float *w, int n, float eps)
{
    float scale = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    for (int i = 0; i < n; i++)
        y[i] = x[i] * scale * w[i];
}

static void add(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += x[i];
}

static void silu_mul(float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++)
        gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void gelu_mul(float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++) {
        float x = gate[i];
        gate[i] = x / (1.0f + expf(-(x * (KERN_GELU_3 * (x * x) + KERN_GELU_1)))) * up[i];
    }
}

static void rope(float *x, int n_head, int head_dim, int rot_dim, const float *cos_sin, int neox)
{
    int half = rot_dim / 2;
    for (int h = 0; h < n_head; h++, x += head_dim)
        for (int i = 0; i < half; i++) {
            float *a = neox ? x + i : x + 2 * i;
            float *b = neox ? a + half : a + 1;
            float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
            float a0 = *a, b0 = *b;
            *a = a0 * c - b0 * s;
            *b = a0 * s + b0 * c;
        }
}

static void kv_store(void *dst, const float *src, int n, enum kern_kv_type type)
{
    uint8_t *p = dst;
    if (type == KERN_KV_F32) {
        memcpy(dst, src, (size_t)n * sizeof *src);
        return;
    }
    for (int i = 0; i < n; i++)
        quant_wr_u16(p + 2 * i, quant_f32_to_f16(src[i]));
}

static float kv_at(const uint8_t *row, int i, enum kern_kv_type type)
{
    if (type == KERN_KV_F32)
        return quant_rd_f32(row + 4 * i);
    return quant_f16_to_f32(quant_rd_u16(row + 2 * i));
}

static float kv_dot(const float *q, const uint8_t *row, int n, enum kern_kv_type type)
{
    float s[KERN_LANES] = {0};
    for (int i = 0; i < n; i++)
        s[i % KERN_LANES] += q[i] * kv_at(row, i, type);
    return lanes_sum(s);
}

/* Online softmax: a new maximum rescales what has been summed so far. */
static void attend(float *out, const float *q, const void *k, const void *v, size_t stride,
                   int n_ctx, int head_dim, float scale, enum kern_kv_type type)
{
    float peak = -INFINITY, total = 0.0f;
    for (int i = 0; i < head_dim; i++)
        out[i] = 0.0f;
    for (int t = 0; t < n_ctx; t++) {
        const uint8_t *k_row = (const uint8_t *)k + (size_t)t * stride;
        const uint8_t *v_row = (const uint8_t *)v + (size_t)t * stride;
        float s = scale * kv_dot(q, k_row, head_dim, type);
        if (s > peak) {
            float fade = expf(peak - s);
            for (int i = 0; i < head_dim; i++)
                out[i] *= fade;
            total *= fade;
            peak = s;
        }
        float p = expf(s - peak);
        total += p;
        for (int i = 0; i < head_dim; i++)
            out[i] += p * kv_at(v_row, i, type);
    }
    for (int i = 0; i < head_dim; i++)
        out[i] /= total;
}

void kern_generic_init(struct kern_ops *ops)
{
    *ops = (struct kern_ops){
        .name = "generic",
        .matmul = matmul,
        .act_quant = act_quant,
        .matmul_pack = matmul_pack,
        .dequant_row = quant_dequant_row,
        .rmsnorm = rmsnorm,
        .add = add,
        .silu_mul = silu_mul,
        .gelu_mul = gelu_mul,
        .rope = rope,
        .kv_store = kv_store,
        .attend = attend,
    };
}
