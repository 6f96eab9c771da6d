/* Plain C: runs everywhere, and is what every other table is compared with. It also keeps 32
 * partial sums, which bounds the rounding error of a dot product to that of n / 32 additions and
 * lets a compiler use whatever vectors the base instruction set has. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "engine/kernels/act_block.h"
#include "engine/kernels/kern_impl.h"
#include "engine/kernels/kv_block.h"
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

/* The largest magnitude's bits. */
static uint32_t magnitude(const float *x)
{
    uint32_t most = 0;
    for (int i = 0; i < PACK_BLOCK; i++) {
        uint32_t u;
        memcpy(&u, &x[i], sizeof u);
        u &= 0x7fffffffu;
        most = u > most ? u : most;
    }
    return most;
}

static void act_quant(const struct kern_act *a, int r0, int g, int k, const float *x)
{
    for (int b = 0; b < a->n_in / PACK_BLOCK; b++, x += PACK_BLOCK) {
        const struct act_block block = act_block(a, r0, g, k, b, magnitude(x));
        int sum[2] = {0, 0};
        for (int i = 0; i < PACK_BLOCK; i++) {
            block.q[i] = block.some ? (int8_t)round_even(x[i] * block.inv) : 0;
            sum[i / 16] += block.q[i];
        }
        act_block_sums(a, &block, g, sum[0], sum[1]);
    }
}

/* A block's codes, less off, output by output: c[16][32]. 16 bits, which every base instruction set
 * multiplies by the vector. */
static void unpack_codes(const struct pack_form *f, const uint8_t *codes,
                         int16_t c[PACK_OUT][PACK_BLOCK])
{
    const int off = f->off_log2 > 0 ? 1 << f->off_log2 : 0;
    for (int i = 0; i < PACK_BLOCK; i++) {
        const int j = i / 4;
        const uint8_t *high = codes + 4 * PACK_VEC;
        for (int o = 0; o < PACK_OUT; o++) {
            const int at = 4 * o + i % 4;
            int v = f->code == PACK_CODE_8 ? codes[j * PACK_VEC + at]
                                           : codes[j % 4 * PACK_VEC + at] >> j / 4 * 4 & 15;
            if (f->code == PACK_CODE_5)
                v |= (high[at] >> j & 1) << 4;
            if (f->code == PACK_CODE_6)
                v |= (high[j / 4 * PACK_VEC + at] >> j % 4 * 2 & 3) << 4;
            c[o][i] = (int16_t)(f->lookup ? quant_iq4_values[v] : v - off);
        }
    }
}

/* Of half a block. */
static int dot16(const int16_t *a, const int16_t *b)
{
    int sum = 0;
    for (int i = 0; i < PACK_BLOCK / 2; i++)
        sum += a[i] * b[i];
    return sum;
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

/* Panel p for the group of g rows at r0; acc[g][16]. */
static void tile(const struct pack *w, int p, const struct kern_act *a, int r0, int g,
                 float acc[][PACK_OUT])
{
    const struct pack_form *f = w->form;
    const uint8_t *panel = w->data + (size_t)p * w->panel_bytes;
    const int n_block = w->n_in / PACK_BLOCK;
    memset(acc, 0, (size_t)g * sizeof *acc);
    for (int b = 0; b < n_block; b++) {
        int16_t c[PACK_OUT][PACK_BLOCK], q[PACK_BLOCK];
        float D[PACK_OUT][2], M[PACK_OUT][2];
        unpack_codes(f, panel + (size_t)b * w->code_bytes, c);
        for (int o = 0; o < PACK_OUT; o++)
            scales_at(w, panel + w->scale_at, b, o, D[o], M[o]);
        for (int k = 0; k < g; k++) {
            const size_t block = (size_t)r0 * (size_t)n_block + (size_t)b * (size_t)g;
            const size_t at = block + (size_t)k, half = 2 * block + (size_t)k;
            for (int i = 0; i < PACK_BLOCK; i++)
                q[i] = a->q[at * PACK_BLOCK + (size_t)i];
            for (int o = 0; o < PACK_OUT; o++) {
                const int sum[2] = {dot16(c[o], q),
                                    dot16(c[o] + PACK_BLOCK / 2, q + PACK_BLOCK / 2)};
                if (!f->halves) {
                    acc[k][o] += (float)(sum[0] + sum[1]) * (D[o][0] * a->d[at]);
                    if (f->min)
                        acc[k][o] += M[o][0] * a->s[at];
                    continue;
                }
                for (int h = 0; h < 2; h++) {
                    acc[k][o] += (float)sum[h] * (D[o][h] * a->d[at]);
                    if (f->min)
                        acc[k][o] += M[o][h] * a->s_half[half + (size_t)(h * g)];
                }
            }
        }
    }
}

static void matmul_pack(const struct pack *w, int p0, int p1, const struct kern_act *x, int n_x,
                        float *y, size_t ldy)
{
    float acc[16][PACK_OUT];
    for (int p = p0; p < p1; p++)
        for (int r0 = 0, g; r0 < n_x; r0 += g) {
            g = kern_act_group(n_x - r0);
            const int n = w->n_out - p * PACK_OUT < PACK_OUT ? w->n_out - p * PACK_OUT : PACK_OUT;
            tile(w, p, x, r0, g, acc);
            for (int k = 0; k < g; k++)
                memcpy(y + (size_t)(r0 + k) * ldy + (size_t)p * PACK_OUT, acc[k],
                       (size_t)n * sizeof(float));
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

static void mix(uint32_t type, const void *w, int n_row, int n, const float *t, size_t ldt, int n_x,
                float *y, size_t ldy)
{
    const size_t row_bytes = KERN_LANES * (type == GGUF_F32 ? 4 : 2);
    for (int i = 0; i < n; i += KERN_LANES, w = (const uint8_t *)w + (size_t)n_row * row_bytes) {
        const int lanes = n - i < KERN_LANES ? n - i : KERN_LANES;
        for (int m = 0; m < n_x; m++) {
            float s[KERN_LANES] = {0}, row[KERN_LANES];
            for (int j = 0; j < n_row; j++) {
                quant_dequant_row(type, (const uint8_t *)w + (size_t)j * row_bytes, row,
                                  KERN_LANES);
                for (int l = 0; l < KERN_LANES; l++)
                    s[l] += t[(size_t)m * ldt + (size_t)j] * row[l];
            }
            add(y + (size_t)m * ldy + i, s, lanes);
        }
    }
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

/* Apart, so that the compiler makes vectors of each; no multiplication is fused with what follows. */
static void rope_pairs(float *restrict x, const float *restrict cos_sin, int half)
{
    for (int i = 0; i < half; i++) {
        const float a = x[2 * i], b = x[2 * i + 1], c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        x[2 * i] = a * c - b * s;
        x[2 * i + 1] = a * s + b * c;
    }
}

static void rope_halves(float *restrict x, float *restrict y, const float *restrict cos_sin,
                        int half)
{
    for (int i = 0; i < half; i++) {
        const float a = x[i], b = y[i], c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        x[i] = a * c - b * s;
        y[i] = a * s + b * c;
    }
}

static void rope(float *x, int n_head, int head_dim, int rot_dim, const float *cos_sin, int neox)
{
    const int half = rot_dim / 2;
    for (int h = 0; h < n_head; h++, x += head_dim) {
        if (neox)
            rope_halves(x, x + half, cos_sin, half);
        else
            rope_pairs(x, cos_sin, half);
    }
}

static void encode_f16(const float *x, uint8_t *code)
{
    for (int i = 0; i < KERN_LANES; i++)
        quant_wr_u16(code + 2 * i, quant_f32_to_f16(x[i]));
}

static void kv_store(void *block, int at, const float *k, const float *v, int head_dim,
                     enum kern_kv_type type)
{
    KV_STORE(block, at, k, v, head_dim, type, encode_f16);
}

/* Each with its own scale: codes times d of their place. */
static void decode_line(const uint8_t *code, const uint8_t *d, float *x, enum kern_kv_type type)
{
    for (int i = 0; i < KERN_LANES; i++) {
        if (type == KERN_KV_F32)
            x[i] = quant_rd_f32(code + 4 * i);
        else if (type == KERN_KV_F16)
            x[i] = quant_f16_to_f32(quant_rd_u16(code + 2 * i));
        else
            x[i] = (float)(int8_t)code[i] * quant_f16_to_f32(quant_rd_u16(d + 2 * i));
    }
}

struct attend {
    const struct kern_query *q;
    int n_q, head_dim, lo[KERN_TILE], hi[KERN_TILE];
    float scale;
    enum kern_kv_type type;
    struct kv_layout at;
    float p[KERN_TILE][KERN_KV_CHUNK]; /* scores, then weights */
    float *part;
    size_t part_floats;
};

/* The scores of a block's positions, and what else stands there. */
static void block_scores(struct attend *a, const uint8_t *block, int t0)
{
    float line[KERN_LANES], sum[KERN_TILE][KERN_LANES];
    for (int i = 0; i < a->n_q; i++)
        memset(a->p[i] + t0, 0, KERN_KV_BLOCK * sizeof(float));
    for (int d0 = 0; d0 < a->head_dim; d0 += KERN_LANES) {
        memset(sum, 0, sizeof sum);
        for (int d = d0; d < d0 + KERN_LANES && d < a->head_dim; d++) {
            decode_line(block + (size_t)d * KERN_KV_BLOCK * kv_element(a->type),
                        block + a->at.k_d + 2 * d0, line, a->type);
            for (int i = 0; i < a->n_q; i++)
                for (int t = 0; t < KERN_LANES; t++)
                    sum[i][t] += a->q[i].q[d] * line[t];
        }
        for (int i = 0; i < a->n_q; i++)
            for (int t = 0; t < KERN_LANES; t++)
                a->p[i][t0 + t] += sum[i][t];
    }
}

/* p = exp(scale * score - peak) where query i sees; their peak and sum. */
static void weights(struct attend *a, int i)
{
    float *p = a->p[i], *end = a->part + (size_t)i * a->part_floats + kern_pad(a->head_dim);
    float sum[KERN_LANES] = {0}, peak = KV_HIDDEN;
    for (int t = a->lo[i]; t < a->hi[i]; t++) {
        p[t] *= a->scale;
        peak = p[t] > peak ? p[t] : peak;
    }
    for (int t = a->lo[i]; t < a->hi[i]; t++) {
        p[t] = expf(p[t] - peak);
        sum[t % KERN_LANES] += p[t];
    }
    end[KV_PEAK] = peak;
    end[KV_SUM] = lanes_sum(sum);
}

static void block_values(struct attend *a, const uint8_t *block, int t0)
{
    const size_t pad = kern_pad(a->head_dim), el = kv_element(a->type);
    float line[KERN_LANES];
    for (int t = t0; t < t0 + KERN_KV_BLOCK; t++) {
        for (size_t d0 = 0; d0 < pad; d0 += KERN_LANES) {
            uint8_t d[KERN_LANES * 2]; /* here all have the scale of the position */
            for (int i = 0; i < KERN_LANES && a->type == KERN_KV_Q8_0; i++)
                memcpy(d + 2 * i, block + a->at.v_d + 2 * (d0 + (size_t)(t - t0)), 2);
            decode_line(block + a->at.v + ((size_t)(t - t0) * pad + d0) * el, d, line, a->type);
            for (int i = 0; i < a->n_q; i++) {
                float *out = a->part + (size_t)i * a->part_floats + d0;
                for (int j = 0; j < KERN_LANES && t >= a->lo[i] && t < a->hi[i]; j++)
                    out[j] += a->p[i][t] * line[j];
            }
        }
    }
}

static void attend(float *part, const struct kern_query *q, int n_q, const void *blocks,
                   size_t stride, int chunk, int head_dim, float scale, enum kern_kv_type type)
{
    struct attend a = {q,
                       n_q,
                       head_dim,
                       {0},
                       {0},
                       scale,
                       type,
                       kv_layout(head_dim, type),
                       {{0}},
                       part,
                       kern_part_floats(head_dim)};
    const uint8_t *first =
        (const uint8_t *)blocks + (size_t)chunk * (KERN_KV_CHUNK / KERN_KV_BLOCK) * stride;
    int begin = KERN_KV_CHUNK, end = 0;
    memset(part, 0, (size_t)n_q * a.part_floats * sizeof *part);
    for (int i = 0; i < n_q; i++) {
        kv_seen(&q[i], chunk, &a.lo[i], &a.hi[i]);
        if (a.lo[i] < a.hi[i] && a.lo[i] < begin)
            begin = a.lo[i] / KERN_KV_BLOCK * KERN_KV_BLOCK;
        end = a.hi[i] > end ? a.hi[i] : end;
    }
    for (int t = begin; t < end; t += KERN_KV_BLOCK)
        block_scores(&a, first + (size_t)(t / KERN_KV_BLOCK) * stride, t);
    for (int i = 0; i < n_q; i++)
        weights(&a, i);
    for (int t = begin; t < end; t += KERN_KV_BLOCK)
        block_values(&a, first + (size_t)(t / KERN_KV_BLOCK) * stride, t);
}

static void attend_join(float *run, const float *part, int head_dim)
{
    const size_t n = kern_pad(head_dim);
    if (part[n + KV_SUM] == 0.0f)
        return;
    if (run[n + KV_SUM] == 0.0f) {
        memcpy(run, part, kern_part_floats(head_dim) * sizeof *run);
        return;
    }
    const float r = run[n + KV_PEAK], p = part[n + KV_PEAK], peak = p > r ? p : r;
    const float fade_r = expf(r - peak), fade_p = expf(p - peak);
    for (size_t i = 0; i < n; i++)
        run[i] = run[i] * fade_r + part[i] * fade_p;
    run[n + KV_PEAK] = peak;
    run[n + KV_SUM] = run[n + KV_SUM] * fade_r + part[n + KV_SUM] * fade_p;
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
        .mix = mix,
        .silu_mul = silu_mul,
        .gelu_mul = gelu_mul,
        .rope = rope,
        .kv_store = kv_store,
        .attend = attend,
        .attend_join = attend_join,
    };
}
