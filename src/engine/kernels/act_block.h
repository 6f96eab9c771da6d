/* What every table's act_quant does alike for a block of 32 inputs: the scale from the largest
 * magnitude, where the block stands (kern.h draws it), its sums. Only the codes are made by
 * vectors. */
#ifndef ENG_ACT_BLOCK_H
#define ENG_ACT_BLOCK_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "engine/kernels/kern_impl.h"

struct act_block {
    int8_t *q;       /* [32] */
    size_t at, half; /* in kern_act's d and minus_half; the second half is g further */
    float d;         /* the scale */
    float inv;       /* code = nearest(x * inv) */
    bool some;       /* false: the codes are all 0, whatever x is */
};

/* Block b of row k in the group of g at r0. most_bits: the largest magnitude's, so that NaN stands
 * above infinity, and that above all numbers. */
static inline struct act_block act_block(const struct kern_act *a, int r0, int g, int k, int b,
                                         uint32_t most_bits)
{
    const size_t n_block = (size_t)(a->n_in / PACK_BLOCK);
    const size_t first = (size_t)r0 * n_block + (size_t)b * (size_t)g;
    const size_t at = first + (size_t)k;
    float most;
    memcpy(&most, &most_bits, sizeof most);
    const bool some = most >= KERN_ACT_TINY && most < INFINITY;
    return (struct act_block){.q = a->q + at * PACK_BLOCK,
                              .at = at,
                              .half = 2 * first + (size_t)k,
                              .d = some              ? most / 127.0f
                                   : most < INFINITY ? 0.0f
                                                     : NAN,
                              .inv = some ? 127.0f / most : 0.0f,
                              .some = some};
}

/* The codes' sums, a half each. */
static inline void act_block_sums(const struct kern_act *a, const struct act_block *x, int g,
                                  int sum0, int sum1)
{
    a->d[x->at] = x->d;
    a->minus[x->at] = -(sum0 + sum1);
    a->s[x->at] = x->d * (float)(sum0 + sum1);
    a->minus_half[x->half] = -sum0;
    a->minus_half[x->half + (size_t)g] = -sum1;
    a->s_half[x->half] = x->d * (float)sum0;
    a->s_half[x->half + (size_t)g] = x->d * (float)sum1;
}

#endif
