/* The element types that the kernels know, with their block sizes. */
#ifndef TESTS_KERNELS_TYPES_H
#define TESTS_KERNELS_TYPES_H

#include "engine/gguf.h"

static const struct type {
    uint32_t type;
    const char *name;
    int elems, bytes; /* of a block */
} types[] = {
    {GGUF_F32, "F32", 1, 4},       {GGUF_F16, "F16", 1, 2},       {GGUF_BF16, "BF16", 1, 2},
    {GGUF_Q4_0, "Q4_0", 32, 18},   {GGUF_Q4_1, "Q4_1", 32, 20},   {GGUF_Q5_0, "Q5_0", 32, 22},
    {GGUF_Q5_1, "Q5_1", 32, 24},   {GGUF_Q8_0, "Q8_0", 32, 34},   {GGUF_Q4_K, "Q4_K", 256, 144},
    {GGUF_Q5_K, "Q5_K", 256, 176}, {GGUF_Q6_K, "Q6_K", 256, 210},
};

static inline size_t type_bytes(const struct type *t, int n)
{
    return (size_t)(n / t->elems) * (size_t)t->bytes;
}

#endif
