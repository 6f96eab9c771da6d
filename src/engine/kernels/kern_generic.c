/* Plain C: runs everywhere, and is what every other table is compared with. It also keeps 32
 * partial sums, which bounds the rounding error of a dot product to that of n / 32 additions and
 * lets a compiler use whatever vectors the base instruction set has. */
#include <math.h>
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
