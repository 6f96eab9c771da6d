/* Tensor packing beyond what wire.h shows: the checks on both sides, and f16. Pure; any thread. */
#ifndef WIRE_PACK_H
#define WIRE_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "wire/wire.h"

/* 1 if x[n] has no NaN or infinity and dtype t can hold its largest value. */
int wire_pack_fits(enum wire_dtype t, const float *x, size_t n);

/* 1 if the packed bytes hold only what wire_pack can write: no NaN, no infinity, scales >= 0. */
int wire_packed_ok(enum wire_dtype t, const uint8_t *p, int n_row, int d);

uint16_t wire_f16_from_f32(float x); /* to nearest, ties to even */
float wire_f32_from_f16(uint16_t h);

#endif
