/* IQ4_NL: codes name uneven values, so a scale is tried by looking each element up. */
#include <math.h>

#include "engine/quant.h"
#include "engine/quant_block.h"
#include "engine/quant_fit.h"
#include "engine/quant_search_int.h"

enum { LANES = QUANT_FIT_LANES };

/* The value of the table that is nearest to v: a sum of the steps below it, so that compilers use
 * vectors. A NaN gives the lowest. */
static float nearest_value(float v)
{
    float y = (float)quant_iq4_values[0];
    for (int k = 0; k < 15; k++) {
        const float a = (float)quant_iq4_values[k], b = (float)quant_iq4_values[k + 1];
        y += v > 0.5f * (a + b) ? b - a : 0.0f;
    }
    return y;
}

struct gain {
    float qx, qq, err;
};

/* For the scale d = 1 / inv. */
static struct gain gain_of(const float *x, const float *w, float inv)
{
    const float d = inv != 0.0f ? 1.0f / inv : 0.0f;
    float qx[LANES] = {0}, qq[LANES] = {0}, err[LANES] = {0};
    struct gain t = {0, 0, 0};
    for (int i = 0; i < QUANT_BLOCK; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            const float q = nearest_value(x[i + l] * inv), e = x[i + l] - d * q;
            qx[l] += w[i + l] * q * x[i + l];
            qq[l] += w[i + l] * q * q;
            err[l] += w[i + l] * e * e;
        }
    }
    for (int l = 0; l < LANES; l++) {
        t.qx += qx[l];
        t.qq += qq[l];
        t.err += err[l];
    }
    return t;
}

void quant_search_iq4_nl(const float *x, const float *w, uint8_t *b)
{
    float peak = 0.0f, best = 0.0f, d = 0.0f;
    for (int i = 0; i < QUANT_BLOCK; i++)
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
    /* The peak on either end of the table, from well inside it to well beyond. */
    for (int side = -1; side <= 1 && fabsf(peak) > 0.0f && fabsf(peak) < INFINITY; side += 2) {
        for (int step = -4; step <= 10; step++) {
            const struct gain t = gain_of(x, w, (float)side * (120.0f + 4.0f * (float)step) / peak);
            if (t.qq > 0.0f && t.qx * t.qx / t.qq > best) {
                best = t.qx * t.qx / t.qq;
                d = t.qx / t.qq;
            }
        }
    }
    float least = INFINITY;
    uint16_t h = 0;
    for (int round = 0; round < 3; round++) {
        const uint16_t near = quant_f32_to_f16(d);
        const float stored = quant_f16_to_f32(near);
        const struct gain t = gain_of(x, w, stored != 0.0f ? 1.0f / stored : 0.0f);
        if (!(t.err < least))
            break;
        least = t.err;
        h = near;
        d = t.qq > 0.0f ? t.qx / t.qq : 0.0f;
    }
    const float stored = quant_f16_to_f32(h), inv = stored != 0.0f ? 1.0f / stored : 0.0f;
    int q[QUANT_BLOCK];
    for (int i = 0; i < QUANT_BLOCK; i++) {
        const float y = nearest_value(x[i] * inv);
        for (q[i] = 0; (float)quant_iq4_values[q[i]] < y; q[i]++)
            ;
    }
    quant_wr_u16(b, h);
    quant_pack_nibbles(q, NULL, b + 2);
}
