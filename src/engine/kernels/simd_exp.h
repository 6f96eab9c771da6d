/* The exponential function, over simd_unpack.h. */
#ifndef ENG_SIMD_EXP_H
#define ENG_SIMD_EXP_H

#include "engine/kernels/simd_unpack.h"

#define V_MAGIC 0x1.8p23f /* adding it rounds to an integer, which then stands in the low bits */

/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln 2 / 2: returns e^r by its Taylor series to r^7, which
 * leaves less than 6e-9, and *t = V_MAGIC + n. Below 2 ulp, of which the last product and sum of the
 * series make one. NaN stays NaN. */
static inline vf v_exp_split(vf x, vf *t)
{
    static const float taylor[] = {1 / 5040.0f, 1 / 720.0f, 1 / 120.0f, 1 / 24.0f,
                                   1 / 6.0f,    0.5f,       1.0f,       1.0f};
    *t = v_fma(x, v_set1(0x1.715476p+0f), v_set1(V_MAGIC));
    vf n = v_sub(*t, v_set1(V_MAGIC));
    vf r = v_fma(n, v_set1(-0x1.62e43p-1f), x); /* ln 2 in two pieces */
    r = v_fma(n, v_set1(0x1.05c61p-29f), r);
    vf p = v_set1(taylor[0]);
    EACH (i, 7)
        p = v_fma(p, r, v_set1(taylor[i + 1]));
    return p;
}

/* 2^n is applied in two steps, so that results overflow to infinity and fade out through the
 * subnormals; outside [-104, 89] nothing else can come out. */
static inline vf v_exp(vf x)
{
    vf magic = v_set1(V_MAGIC), t;
    vf p = v_exp_split(v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x)), &t);
    vf n = v_sub(t, magic);
    vf t1 = v_fma(n, v_set1(0.5f), magic);
    vf t2 = v_add(v_sub(n, v_sub(t1, magic)), magic);
    return v_mul(v_mul(p, v_pow2(t1)), v_pow2(t2));
}

/* For x <= 0; what is less than e^-87 = 2^-125.5 becomes that. */
static inline vf v_exp_weight(vf x)
{
    vf t, p = v_exp_split(v_max(v_set1(-87.0f), x), &t);
    return v_mul(p, v_pow2(t));
}

#endif
