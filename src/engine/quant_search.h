/* Quantisers that search: they choose scales, minimums and codes so that the weighted squared error
 * of what is read back is small, and never larger than after the plain rounding of quant.h. Slower
 * by two orders of magnitude: for making files. Pure functions, any thread; the same bytes whatever
 * the instruction set. */
#ifndef ENG_QUANT_SEARCH_H
#define ENG_QUANT_SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Types that quant_search_row writes: F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K … Q6_K IQ4_NL. */
bool quant_search_has(uint32_t type);

/* src[n] -> n / block_elems blocks at dst; n is a multiple of block_elems. col[n]: how much an
 * error in each column matters (say, the mean square of the inputs it is multiplied with), finite
 * and >= 0; NULL: all alike. Any floats in src are safe, but NaN and infinity make their block
 * nonsense. BASE_EUNSUPPORTED: a type that it does not write. */
int quant_search_row(uint32_t type, const float *src, const float *col, void *dst,
                     int64_t n) BASE_MUST_CHECK;

#endif
