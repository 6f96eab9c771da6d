/* The K family: a super-block's groups are fitted alone, then their scales (and minimums) are
 * rounded to small integers times a common f16. That rounding costs as much as the codes do, so it
 * is searched too: for each group the neighbouring integers are tried with the codes that suit
 * them, and the common factors are fitted again by least squares, until nothing gets better. */
#include <math.h>
#include <string.h>

#include "engine/quant.h"
#include "engine/quant_block.h"
#include "engine/quant_fit.h"
#include "engine/quant_search_int.h"

enum { MAX_GROUP = 16, ROUNDS = 4 };

/* How a type is laid out, in numbers. */
struct shape {
    int n_group, n; /* groups of n elements */
    float code_lo, code_hi;
    int scale_lo, scale_hi; /* stored integers; minimums have [0, scale_hi] */
};

/* y = d * scale[g] * q - dmin * min[g]; d and dmin are f16 values. */
struct head {
    float d, dmin, err;
    int scale[MAX_GROUP], min[MAX_GROUP];
};

static float to_f16(float v)
{
    const float r = quant_f16_to_f32(quant_f32_to_f16(v));
    return fabsf(r) <= 65504.0f ? r : 0.0f;
}

static int clamp_int(float v, int lo, int hi)
{
    return (int)quant_code(v, (float)lo, (float)hi);
}

/* ---- scales and minimums: Q2_K, Q4_K, Q5_K ---- */

/* Tries a scale with the minimum that suits its codes; keeps it in *h if it beats *best. */
static void try_affine(const struct shape *k, const float *x, const float *w, int g, int scale,
                       float m, struct head *h, float *best)
{
    const float s = h->d * (float)scale;
    for (int round = 0; round < 2; round++) {
        const int min = h->dmin > 0.0f ? clamp_int(m / h->dmin, 0, k->scale_hi) : 0;
        struct quant_sums t;
        quant_fit_sums(x, w, k->n, s, h->dmin * (float)min, k->code_lo, k->code_hi, &t);
        if (t.err < *best) {
            *best = t.err;
            h->scale[g] = scale;
            h->min[g] = min;
        }
        if (!(t.w > 0.0f))
            break;
        m = (s * t.q - t.x) / t.w;
    }
}

static void choose_affine(const struct shape *k, const float *x, const float *w, const float *s,
                          const float *m, struct head *h)
{
    h->err = 0.0f;
    for (int g = 0; g < k->n_group; g++, x += k->n, w += k->n) {
        const int near = h->d > 0.0f ? clamp_int(s[g] / h->d, 0, k->scale_hi) : 0;
        float best = INFINITY;
        h->scale[g] = h->min[g] = 0;
        for (int c = near - 1; c <= near + 1; c++)
            if (c >= 0 && c <= k->scale_hi)
                try_affine(k, x, w, g, c, m[g], h, &best);
        h->err += best;
    }
}

/* d and dmin by least squares over the whole super-block, for the codes that h gives. */
static void refit_affine(const struct shape *k, const float *x, const float *w, struct head *h)
{
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0; /* x ~ d A + dmin B: A = scale q, B = -min */
    for (int g = 0; g < k->n_group; g++, x += k->n, w += k->n) {
        const double sc = h->scale[g], mn = h->min[g];
        struct quant_sums t;
        quant_fit_sums(x, w, k->n, h->d * (float)h->scale[g], h->dmin * (float)h->min[g],
                       k->code_lo, k->code_hi, &t);
        aa += sc * sc * (double)t.qq;
        ab -= sc * mn * (double)t.q;
        bb += mn * mn * (double)t.w;
        ax += sc * (double)t.qx;
        bx -= mn * (double)t.x;
    }
    const double det = aa * bb - ab * ab;
    double d = aa > 0.0 ? ax / aa : 0.0, dmin = 0.0;
    if (bb > 0.0 && det > 1e-9 * aa * bb) {
        d = (bb * ax - ab * bx) / det;
        dmin = (aa * bx - ab * ax) / det;
    }
    h->d = to_f16((float)d);
    h->dmin = dmin > 0.0 ? to_f16((float)dmin) : 0.0f;
}

static void search_affine(const struct shape *k, const float *x, const float *w, struct head *best)
{
    float s[MAX_GROUP], m[MAX_GROUP], top_s = 0.0f, top_m = 0.0f;
    for (int g = 0; g < k->n_group; g++) {
        quant_fit_affine(x + g * k->n, w + g * k->n, k->n, (int)k->code_hi, 1, &s[g], &m[g]);
        top_s = fmaxf(top_s, s[g]);
        top_m = fmaxf(top_m, m[g]);
    }
    struct head h = {.d = to_f16(top_s / (float)k->scale_hi),
                     .dmin = to_f16(top_m / (float)k->scale_hi)};
    *best = (struct head){.err = INFINITY};
    for (int round = 0; round < ROUNDS; round++) {
        choose_affine(k, x, w, s, m, &h);
        if (!(h.err < best->err))
            break;
        *best = h;
        refit_affine(k, x, w, &h);
        if (!(h.d > 0.0f))
            break;
    }
}

/* ---- scales of either sign: Q3_K, Q6_K ---- */

static void choose_symmetric(const struct shape *k, const float *x, const float *w, const float *s,
                             struct head *h)
{
    h->err = 0.0f;
    for (int g = 0; g < k->n_group; g++, x += k->n, w += k->n) {
        const int near = h->d != 0.0f ? clamp_int(s[g] / h->d, k->scale_lo, k->scale_hi) : 0;
        float best = INFINITY;
        h->scale[g] = 0;
        for (int c = near - 1; c <= near + 1; c++) {
            if (c < k->scale_lo || c > k->scale_hi)
                continue;
            const float err =
                quant_fit_error(x, w, k->n, h->d * (float)c, 0.0f, k->code_lo, k->code_hi);
            if (err < best) {
                best = err;
                h->scale[g] = c;
            }
        }
        h->err += best;
    }
}

static void refit_symmetric(const struct shape *k, const float *x, const float *w, struct head *h)
{
    double aa = 0, ax = 0;
    for (int g = 0; g < k->n_group; g++, x += k->n, w += k->n) {
        const double sc = h->scale[g];
        struct quant_sums t;
        quant_fit_sums(x, w, k->n, h->d * (float)h->scale[g], 0.0f, k->code_lo, k->code_hi, &t);
        aa += sc * sc * (double)t.qq;
        ax += sc * (double)t.qx;
    }
    h->d = aa > 0.0 ? to_f16((float)(ax / aa)) : 0.0f;
}

static void search_symmetric(const struct shape *k, const float *x, const float *w,
                             struct head *best)
{
    float s[MAX_GROUP], peak = 0.0f;
    for (int g = 0; g < k->n_group; g++) {
        s[g] = quant_fit_symmetric(x + g * k->n, w + g * k->n, k->n, k->code_lo, k->code_hi);
        peak = fabsf(s[g]) > fabsf(peak) ? s[g] : peak;
    }
    struct head h = {.d = to_f16(peak / (float)k->scale_lo)};
    *best = (struct head){.err = INFINITY};
    for (int round = 0; round < ROUNDS; round++) {
        choose_symmetric(k, x, w, s, &h);
        if (!(h.err < best->err))
            break;
        *best = h;
        refit_symmetric(k, x, w, &h);
        if (h.d == 0.0f)
            break;
    }
}

/* ---- layouts: drawn in quant_k.c ---- */

/* The codes of all 256 elements, counted from code_lo. */
static void codes_of(const struct shape *k, const float *x, const struct head *h,
                     uint8_t q[QUANT_SUPER])
{
    for (int i = 0; i < QUANT_SUPER; i++) {
        const float s = h->d * (float)h->scale[i / k->n], m = h->dmin * (float)h->min[i / k->n];
        const float inv = s != 0.0f ? 1.0f / s : 0.0f;
        q[i] = (uint8_t)(quant_code((x[i] + m) * inv, k->code_lo, k->code_hi) - k->code_lo);
    }
}

/* Two bits an element, from bit `shift` of its code: Q2_K, Q3_K; of Q6_K the upper ones. */
static void pack_2(const uint8_t *q, int shift, uint8_t *b)
{
    memset(b, 0, 64);
    for (int i = 0; i < QUANT_SUPER; i++)
        b[i / 128 * 32 + i % 32] |= (uint8_t)((q[i] >> shift & 3) << i % 128 / 32 * 2);
}

void quant_search_q2_k(const float *x, const float *w, uint8_t *b)
{
    static const struct shape k = {16, 16, 0.0f, 3.0f, 0, 15};
    struct head h;
    uint8_t q[QUANT_SUPER];
    search_affine(&k, x, w, &h);
    codes_of(&k, x, &h, q);
    for (int g = 0; g < 16; g++)
        b[g] = (uint8_t)(h.scale[g] | h.min[g] << 4);
    pack_2(q, 0, b + 16);
    quant_wr_u16(b + 80, quant_f32_to_f16(h.d));
    quant_wr_u16(b + 82, quant_f32_to_f16(h.dmin));
}

void quant_search_q3_k(const float *x, const float *w, uint8_t *b)
{
    static const struct shape k = {16, 16, -4.0f, 3.0f, -32, 31};
    struct head h;
    uint8_t q[QUANT_SUPER];
    search_symmetric(&k, x, w, &h);
    codes_of(&k, x, &h, q);
    memset(b, 0, 32);
    for (int i = 0; i < QUANT_SUPER; i++)
        b[i % 32] |= (uint8_t)(q[i] >> 2 << i / 32);
    pack_2(q, 0, b + 32);
    memset(b + 96, 0, 12);
    for (int g = 0; g < 16; g++)
        quant_put_k3_scale(b + 96, g, h.scale[g]);
    quant_wr_u16(b + 108, quant_f32_to_f16(h.d));
}

/* The head that Q4_K and Q5_K share (16 bytes at b), and the codes. */
static void search_q45(const float *x, const float *w, float max, uint8_t *b,
                       uint8_t q[QUANT_SUPER])
{
    const struct shape k = {8, 32, 0.0f, max, 0, 63};
    struct head h;
    search_affine(&k, x, w, &h);
    codes_of(&k, x, &h, q);
    quant_wr_u16(b, quant_f32_to_f16(h.d));
    quant_wr_u16(b + 2, quant_f32_to_f16(h.dmin));
    memset(b + 4, 0, 12);
    for (int g = 0; g < 8; g++)
        quant_put_k4_scale_min(b + 4, g, h.scale[g], h.min[g]);
}

void quant_search_q4_k(const float *x, const float *w, uint8_t *b)
{
    uint8_t q[QUANT_SUPER];
    search_q45(x, w, 15.0f, b, q);
    quant_pack_groups(q, b + 16);
}

void quant_search_q5_k(const float *x, const float *w, uint8_t *b)
{
    uint8_t q[QUANT_SUPER];
    search_q45(x, w, 31.0f, b, q);
    quant_pack_groups(q, b + 48);
    memset(b + 16, 0, 32);
    for (int i = 0; i < QUANT_SUPER; i++)
        b[16 + i % 32] |= (uint8_t)(q[i] >> 4 << i / 32);
}

void quant_search_q6_k(const float *x, const float *w, uint8_t *b)
{
    static const struct shape k = {16, 16, -32.0f, 31.0f, -128, 127};
    struct head h;
    uint8_t q[QUANT_SUPER];
    search_symmetric(&k, x, w, &h);
    codes_of(&k, x, &h, q);
    memset(b, 0, 128);
    for (int i = 0; i < QUANT_SUPER; i++)
        b[i / 128 * 64 + i % 64] |= (uint8_t)((q[i] & 15) << i % 128 / 64 * 4);
    pack_2(q, 4, b + 128);
    for (int g = 0; g < 16; g++)
        b[192 + g] = (uint8_t)h.scale[g];
    quant_wr_u16(b + 208, quant_f32_to_f16(h.d));
}
