/* Quantised blocks: the plain dequantiser and quantiser of each type, with its layout drawn beside
 * it. These are the oracle of every kernel. Pure functions, any thread. */
#ifndef ENG_QUANT_H
#define ENG_QUANT_H

#include <stdint.h>

#include "base/err.h"
#include "engine/gguf.h"

float quant_f16_to_f32(uint16_t h);
uint16_t quant_f32_to_f16(float f); /* round to nearest even; overflow to infinity */
float quant_bf16_to_f32(uint16_t h);
uint16_t quant_f32_to_bf16(float f);

/* src: n/block_elems blocks of type -> dst[n]; n is a multiple of block_elems. A type that
 * gguf_type_info calls unsupported must not come here. */
void quant_dequant_row(uint32_t type, const void *src, float *dst, int64_t n);

/* The inverse by the format's reference rounding, for tests and tools: F32 F16 BF16 Q8_0 Q4_0 Q4_1
 * Q5_0 Q5_1 Q4_K Q5_K Q6_K. BASE_EUNSUPPORTED for others. */
int quant_quant_row(uint32_t type, const float *src, void *dst, int64_t n);

#endif
