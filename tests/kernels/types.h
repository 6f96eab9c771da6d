/* The element types that the kernels know, with their block sizes. */
#ifndef TESTS_KERNELS_TYPES_H
#define TESTS_KERNELS_TYPES_H

#include <stdbool.h>

#include "engine/gguf.h"

static const struct type {
    uint32_t type;
    const char *name;
    int elems, bytes; /* of a block */
    bool read_only;   /* we have no quantiser */
    int f16_at[2];    /* of a read-only one: where a block's f16 numbers stand; -1: no second */
} types[] = {
    {GGUF_F32, "F32", 1, 4, false, {0}},
    {GGUF_F16, "F16", 1, 2, false, {0}},
    {GGUF_BF16, "BF16", 1, 2, false, {0}},
    {GGUF_Q4_0, "Q4_0", 32, 18, false, {0}},
    {GGUF_Q4_1, "Q4_1", 32, 20, false, {0}},
    {GGUF_Q5_0, "Q5_0", 32, 22, false, {0}},
    {GGUF_Q5_1, "Q5_1", 32, 24, false, {0}},
    {GGUF_Q8_0, "Q8_0", 32, 34, false, {0}},
    {GGUF_Q4_K, "Q4_K", 256, 144, false, {0}},
    {GGUF_Q5_K, "Q5_K", 256, 176, false, {0}},
    {GGUF_Q6_K, "Q6_K", 256, 210, false, {0}},
    {GGUF_Q2_K, "Q2_K", 256, 84, true, {80, 82}},
    {GGUF_Q3_K, "Q3_K", 256, 110, true, {108, -1}},
    {GGUF_IQ4_NL, "IQ4_NL", 32, 18, true, {0, -1}},
    {GGUF_IQ4_XS, "IQ4_XS", 256, 136, true, {0, -1}},
};

/* Where a block's f16 numbers stand; -1: no second. */
static inline const int *f16_places(uint32_t type)
{
    static const int one[2] = {0, -1}, two[2] = {0, 2}, q6_k[2] = {208, -1};
    const bool pair = type == GGUF_Q4_1 || type == GGUF_Q5_1 || type == GGUF_Q4_K ||
                      type == GGUF_Q5_K;
    return type == GGUF_Q6_K ? q6_k : pair ? two : one;
}

static inline size_t type_bytes(const struct type *t, int n)
{
    return (size_t)(n / t->elems) * (size_t)t->bytes;
}

#endif
