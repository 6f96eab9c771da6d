/* What the kernel files share among themselves. */
#ifndef ENG_KERN_IMPL_H
#define ENG_KERN_IMPL_H

#include "engine/kernels/kern.h"

enum {
    KERN_LANES = 32, /* partial sums of every dot product, whatever the vector width */
    KERN_ROWS = 4,   /* weight rows that matmul unpacks into scratch at a time */
};

/* Blocks of activations whose largest magnitude is below this become zeros: 127 divided by it would
 * overflow only far below, and nothing that a model computes with is this small. */
#define KERN_ACT_TINY 0x1p-100f

/* GELU by tanh (Hendrycks and Gimpel, 2016), 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), is
 * x / (1 + exp(-x (KERN_GELU_1 + KERN_GELU_3 x^2))). */
#define KERN_GELU_1 1.5957691f
#define KERN_GELU_3 (1.5957691f * 0.044715f)

/* A loop of a fixed count, unrolled, so that arrays of vectors live in registers; and functions
 * that are copied to where they are called, so that types and counts are constants there. With a
 * sanitizer both are plain: a hundred copies of checked code would take minutes to compile. */
#ifdef WP_SANITIZED
#define UNROLL
#define SPECIALISE static inline
#else
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define SPECIALISE static inline __attribute__((always_inline))
#endif
#define EACH(i, n) UNROLL for (int i = 0; i < (n); i++)

/* n rounded up to whole groups of lanes: the distance of unpacked rows in scratch, in floats. */
static inline size_t kern_pad(int n)
{
    return ((size_t)n + KERN_LANES - 1) / KERN_LANES * KERN_LANES;
}

/* Each replaces what its instruction set does better in a copy of the next slower table. */
void kern_generic_init(struct kern_ops *ops);
void kern_avx2_init(struct kern_ops *ops);
void kern_avx2_int_init(struct kern_ops *ops); /* its part for packed weights */
void kern_avx512_init(struct kern_ops *ops);
void kern_vnni_init(struct kern_ops *ops);
void kern_neon_init(struct kern_ops *ops);
void kern_neon_int_init(struct kern_ops *ops); /* the packed products, which kern_neon_init takes */
void kern_dotprod_init(struct kern_ops *ops);
void kern_i8mm_init(struct kern_ops *ops);

#endif
