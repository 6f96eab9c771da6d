/* Scales that lose least: the numerical part of the searching quantisers, on plain floats. Each
 * minimises a weighted sum of squares over codes that are whole numbers, by trying a number of
 * steps and refitting each by least squares. Internal to quant_search*.c; pure functions. */
#ifndef ENG_QUANT_FIT_H
#define ENG_QUANT_FIT_H

#include <stdint.h>

enum { QUANT_FIT_LANES = 8 }; /* every n below is a multiple of it */

/* Codes [lo, hi] of a scale: x ~ s * q. Returns s, of either sign; 0 where nothing fits better. */
float quant_fit_symmetric(const float *x, const float *w, int n, float lo, float hi);

/* Codes [0, max] of a scale and a minimum: x ~ s * q - m, s >= 0; m >= 0 too if `sunken`. */
void quant_fit_affine(const float *x, const float *w, int n, int max, int sunken, float *s,
                      float *m);

/* sum of w (x - (s q - m))^2 with the best codes in [lo, hi]. */
float quant_fit_error(const float *x, const float *w, int n, float s, float m, float lo, float hi);

/* The same, and what least squares needs to refit s, or s and m, for those codes. */
struct quant_sums {
    float w, q, qq, x, qx; /* of w, w q, w q q, w x, w q x */
    float err;
};
void quant_fit_sums(const float *x, const float *w, int n, float s, float m, float lo, float hi,
                    struct quant_sums *sum);

/* v rounded to the nearest whole number and held to [lo, hi], both of magnitude below 2^22. */
static inline float quant_code(float v, float lo, float hi)
{
    const float snap = 0x1.8p23f; /* its ulp is 1 */
    v = v > lo ? v : lo;          /* a NaN gives lo */
    v = v < hi ? v : hi;
    return v + snap - snap;
}

#endif
