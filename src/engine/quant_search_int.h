/* The searches for one block each: x[block_elems], weights w[block_elems] >= 0 -> b. Shared by
 * quant_search*.c; nobody else includes this. */
#ifndef ENG_QUANT_SEARCH_INT_H
#define ENG_QUANT_SEARCH_INT_H

#include <stdint.h>

typedef void quant_search_fn(const float *x, const float *w, uint8_t *b);

quant_search_fn quant_search_q2_k, quant_search_q3_k, quant_search_q4_k, quant_search_q5_k,
    quant_search_q6_k, quant_search_iq4_nl;

#endif
