/* One table of operations; a generic version of each; one file per instruction set (kern_<isa>.c).
 * The generic table is always compiled and is the oracle. A faster table copies the next slower one
 * and replaces what it does better. Pure functions over caller's memory, any thread.
 *
 * Batch invariance: what an operation writes for one row depends on that row alone, bit for bit,
 * never on how many other rows stand in the same call, nor on how rows or outputs are shared out
 * between threads. The exactness of split inference rests on it. */
#ifndef ENG_KERN_H
#define ENG_KERN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/gguf.h"

enum kern_kv_type { KERN_KV_F32, KERN_KV_F16 };

struct kern_ops {
    const char *name; /* "generic", "avx2", "avx512", "neon" */

    /* y[m * ldy + r] = sum_i W[r][i] * x[m * ldx + i] for r in [r0, r1), m in [0, n_x).
     * W: rows of row_bytes in `type` (any supported one), n_in elements each; activations stay f32,
     * so the weights' own rounding is the only loss. scratch: kern_scratch_bytes(n_in), 64-byte
     * aligned, one a thread. n_in is a multiple of the type's block. */
    void (*matmul)(uint32_t type, const void *w, size_t row_bytes, int n_in, int r0, int r1,
                   const float *x, size_t ldx, int n_x, float *y, size_t ldy, void *scratch);

    void (*dequant_row)(uint32_t type, const void *src, float *dst, int64_t n); /* as quant.h */
    /* [n] each; y may be x */
    void (*rmsnorm)(float *y, const float *x, const float *w, int n, float eps);
    void (*add)(float *y, const float *x, int n);          /* y += x */
    void (*silu_mul)(float *gate, const float *up, int n); /* gate = silu(gate) * up */
    void (*gelu_mul)(float *gate, const float *up, int n); /* the same with GELU, as tanh has it */

    /* Rotates pairs of head vectors x[n_head][head_dim] in place by cos_sin[rot_dim/2][2].
     * neox = 0: pairs (2i, 2i+1) as GGUF's llama; 1: pairs (i, i + rot_dim/2). */
    void (*rope)(float *x, int n_head, int head_dim, int rot_dim, const float *cos_sin, int neox);

    void (*kv_store)(void *dst, const float *src, int n, enum kern_kv_type type);

    /* One query head over its context with online softmax: out[head_dim] =
     * softmax(scale * q . K[t]) V[t], t in [0, n_ctx); K and V rows `stride` bytes apart. */
    void (*attend)(float *out, const float *q, const void *k, const void *v, size_t stride,
                   int n_ctx, int head_dim, float scale, enum kern_kv_type type);
};

size_t kern_scratch_bytes(int n_in);

/* The best table for this CPU. WAYPOST_CPU (passed in as `want`; NULL: unset) names a table to force
 * or "-name,-name" to peel off. BASE_EINVAL for a name that does not exist, BASE_EUNSUPPORTED for one
 * that this CPU or build lacks. */
int kern_select(const char *want, const struct kern_ops **out, struct base_err *err) BASE_MUST_CHECK;

/* All tables that can run here, generic first; returns how many (<= max). */
int kern_list(const struct kern_ops **out, int max);

/* Kernel-wide feature report for `model info`: "avx2 avx512f avx512_vnni …". */
const char *kern_cpu_features(char *buf, size_t size_bytes);

#endif
