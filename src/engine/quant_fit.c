/* Optimal scales for given codes are ordinary least squares; codes for a given scale are rounding.
 * Alternating the two is Lloyd's algorithm (Least squares quantization in PCM, 1982), which stops
 * in a local minimum: hence many starts. Sums are kept in lanes so that compilers use vectors. */
#include "engine/quant_fit.h"

#include <math.h>

enum { LANES = QUANT_FIT_LANES };

static float fold(const float a[LANES])
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

void quant_fit_sums(const float *x, const float *w, int n, float s, float m, float lo, float hi,
                    struct quant_sums *sum)
{
    const float inv = s != 0.0f ? 1.0f / s : 0.0f;
    float aw[LANES] = {0}, aq[LANES] = {0}, aqq[LANES] = {0}, ax[LANES] = {0}, aqx[LANES] = {0},
          ae[LANES] = {0};
    for (int i = 0; i < n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float v = x[i + l], u = w[i + l];
            const float q = quant_code((v + m) * inv, lo, hi), e = v - (s * q - m);
            aw[l] += u;
            aq[l] += u * q;
            aqq[l] += u * q * q;
            ax[l] += u * v;
            aqx[l] += u * q * v;
            ae[l] += u * e * e;
        }
    }
    *sum = (struct quant_sums){fold(aw), fold(aq), fold(aqq), fold(ax), fold(aqx), fold(ae)};
}

float quant_fit_error(const float *x, const float *w, int n, float s, float m, float lo, float hi)
{
    const float inv = s != 0.0f ? 1.0f / s : 0.0f;
    float a[LANES] = {0};
    for (int i = 0; i < n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float v = x[i + l], e = v - (s * quant_code((v + m) * inv, lo, hi) - m);
            a[l] += w[i + l] * e * e;
        }
    }
    return fold(a);
}

/* *qx and *qq for the codes that x / s rounds to; inv = 1 / s. */
static void scale_sums(const float *x, const float *w, int n, float inv, float lo, float hi,
                       float *qx, float *qq)
{
    float a[LANES] = {0}, b[LANES] = {0};
    for (int i = 0; i < n; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float q = quant_code(x[i + l] * inv, lo, hi), t = w[i + l] * q;
            a[l] += t * x[i + l];
            b[l] += t * q;
        }
    }
    *qx = fold(a);
    *qq = fold(b);
}

/* With the best scale for its codes, a candidate leaves sum w x^2 - qx^2 / qq: the larger qx^2 /
 * qq, the better. True if it beats *best. */
static int better_scale(float qx, float qq, float *best, float *scale)
{
    const float gain = qq > 0.0f ? qx * qx / qq : 0.0f;
    if (!(gain > *best))
        return 0;
    *best = gain;
    *scale = qx / qq;
    return 1;
}

float quant_fit_symmetric(const float *x, const float *w, int n, float lo, float hi)
{
    float peak = 0.0f, best = 0.0f, scale = 0.0f, qx, qq;
    for (int i = 0; i < n; i++)
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
    if (!(fabsf(peak) > 0.0f && fabsf(peak) < INFINITY))
        return 0.0f;
    /* The peak may lie on the longer, negative side or on the other, up to 1.5 steps inside the
     * range or 2.5 steps beyond it. */
    for (int side = -1; side <= 1; side += 2) {
        for (int step = -6; step <= 10; step++) {
            const float inv = (float)side * (0.25f * (float)step - lo) / peak;
            scale_sums(x, w, n, inv, lo, hi, &qx, &qq);
            better_scale(qx, qq, &best, &scale);
        }
    }
    for (int round = 0; round < 4 && scale != 0.0f; round++) {
        scale_sums(x, w, n, 1.0f / scale, lo, hi, &qx, &qq);
        if (!better_scale(qx, qq, &best, &scale))
            break;
    }
    return scale;
}

/* Least squares for s and m; false where the codes say too little. */
static int refit(const struct quant_sums *t, int sunken, float *s, float *m)
{
    const float det = t->w * t->qq - t->q * t->q;
    if (!(det > 0.0f))
        return 0;
    *s = (t->w * t->qx - t->q * t->x) / det;
    *m = (t->q * t->qx - t->qq * t->x) / det;
    if (sunken && *m < 0.0f) {
        *m = 0.0f;
        *s = t->qx / t->qq;
    }
    return *s > 0.0f && *s < INFINITY && fabsf(*m) < INFINITY;
}

void quant_fit_affine(const float *x, const float *w, int n, int max, int sunken, float *s,
                      float *m)
{
    /* Starts: the range of x in steps that are wider or narrower, with its low end, its middle or
     * its high end in place. */
    static const float narrow[] = {-0.4f, 0.2f, 0.8f, 1.4f, 2.2f, 3.2f};
    enum { N_NARROW = sizeof narrow / sizeof narrow[0], ROUNDS = 3 };
    float low = sunken ? 0.0f : x[0], high = x[0], best = INFINITY;
    for (int i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    *s = 0.0f;
    *m = -low;
    const float range = high - low, top = (float)max;
    if (!(range > 0.0f && range < INFINITY))
        return;
    for (int at = 0; at < 3; at++) {
        for (int k = 0; k < N_NARROW; k++) {
            float s1 = range / (top + narrow[k]);
            float m1 = -(low + 0.5f * (float)at * (range - s1 * top));
            if (sunken && m1 < 0.0f)
                m1 = 0.0f;
            for (int round = 0; round < ROUNDS; round++) {
                struct quant_sums t;
                quant_fit_sums(x, w, n, s1, m1, 0.0f, top, &t);
                if (t.err < best) {
                    best = t.err;
                    *s = s1;
                    *m = m1;
                }
                if (t.err > 1.2f * best || !refit(&t, sunken, &s1, &m1))
                    break;
            }
        }
    }
}
