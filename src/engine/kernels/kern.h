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
#include "engine/kernels/pack.h"

enum kern_kv_type { KERN_KV_F32, KERN_KV_F16, KERN_KV_Q8_0 };

enum {
    KERN_KV_BLOCK = 32,  /* positions that lie together (kv_block.h) */
    KERN_KV_CHUNK = 256, /* positions of one call of attend; chunk c starts at position 256 c */
    KERN_TILE = 8,       /* queries of one call of attend, at most */
};

/* One head of one row, and the positions [first, end) that it sees. */
struct kern_query {
    const float *q; /* [head_dim] */
    int first, end;
};

/* Rows of activations in 8 bits, as integer products want them. Each block of 32 inputs has a scale
 * of its own: x = q * d, |q| <= 127. Rows stand in groups of 16, then at most one each of 8, 4, 2
 * and 1 (kern_act_group), and within a group block by block: row k of a group of g that begins at
 * row r0 has block b's q at q + r0 * n_in + (b * g + k) * 32, its d at d + r0 * n_in / 32 + b * g +
 * k; halves of 16 inputs at twice that and the next g. */
struct kern_act {
    int n_in; /* of the rows that act_quant writes; a product goes by its weights' own */
    int8_t *q;       /* [n_row * n_in] */
    float *d;        /* [n_row * n_in / 32] */
    int32_t *minus;  /* as d: - sum of q over the block */
    float *s;        /* as d: d * sum of q */
    int32_t *minus_half; /* [n_row * n_in / 16]: of each half: [block][2][g] */
    float *s_half;
};

static inline int kern_act_group(int n_left)
{
    return n_left >= 16 ? 16 : n_left >= 8 ? 8 : n_left >= 4 ? 4 : n_left >= 2 ? 2 : 1;
}

struct kern_ops {
    const char *name; /* "generic", "avx2", "neon" … */

    /* x[n_in] -> row k of the group of g rows at row r0. Rounds to the nearest, ties to even. A row
     * with NaN or infinity in a block gets a NaN as the block's d. */
    void (*act_quant)(const struct kern_act *a, int r0, int g, int k, const float *x);

    /* y[m * ldy + o] = sum over blocks of W[o] * x[m], o in [16 p0, 16 p1) and < w->n_out: products
     * of a block in integers, then in f32, block after block (half after half where halves differ):
     *     acc += (float)(sum of (code - off) * q) * (D * d), then acc += M * s if there is an M,
     * with every product and sum rounded by itself (no fused multiply-add): so that all tables,
     * plain C included, give the same bits. */
    void (*matmul_pack)(const struct pack *w, int p0, int p1, const struct kern_act *x, int n_x,
                        float *y, size_t ldy);

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
    /* y[m * ldy + i] += sum_j t[m * ldt + j] * W[j][i] for i in [0, n), m in [0, n_x), j ascending from 0:
     * rows of W (F32 or F16) mixed by t. W in panels of 32 columns: [ceil(n / 32)][n_row][32]. */
    void (*mix)(uint32_t type, const void *w, int n_row, int n, const float *t, size_t ldt, int n_x,
                float *y, size_t ldy);
    void (*silu_mul)(float *gate, const float *up, int n); /* gate = silu(gate) * up */
    void (*gelu_mul)(float *gate, const float *up, int n); /* the same with GELU, as tanh has it */

    /* Rotates pairs of head vectors x[n_head][head_dim] in place by cos_sin[rot_dim/2][2].
     * neox = 0: pairs (2i, 2i+1) as GGUF's llama; 1: pairs (i, i + rot_dim/2). */
    void (*rope)(float *x, int n_head, int head_dim, int rot_dim, const float *cos_sin, int neox);

    /* K and V [head_dim] of one position and head to place `at` of its block. */
    void (*kv_store)(void *block, int at, const float *k, const float *v, int head_dim,
                     enum kern_kv_type type);

    /* Queries of one key/value head over the positions of a chunk: part[i * kern_part_floats] is
     * softmax(scale * q[i] . K) V over what query i sees there, not yet divided by its sum (nothing
     * seen: a sum of 0). blocks: of all positions from 0 on, `stride` bytes apart. What lies at
     * positions that a query doesn't see can't change its part, be it NaN. */
    void (*attend)(float *part, const struct kern_query *q, int n_q, const void *blocks,
                   size_t stride, int chunk, int head_dim, float scale, enum kern_kv_type type);
    /* run = run and part together. A query's parts are joined in ascending order, in that one. */
    void (*attend_join)(float *run, const float *part, int head_dim);
};

size_t kern_scratch_bytes(int n_in);
size_t kern_kv_block_bytes(int head_dim, enum kern_kv_type type); /* of one head; 64 divides it */
size_t kern_part_floats(int head_dim);                            /* 16 divides it */
/* out[head_dim]: a part divided by its sum. */
void kern_part_out(float *out, const float *part, int head_dim);

/* The best table for this CPU. WAYPOST_CPU (passed in as `want`; NULL: unset) names a table to force
 * or "-name,-name" to peel off. BASE_EINVAL for a name that does not exist, BASE_EUNSUPPORTED for one
 * that this CPU or build lacks. */
int kern_select(const char *want, const struct kern_ops **out, struct base_err *err) BASE_MUST_CHECK;

/* All tables that can run here, generic first; returns how many (<= max). */
int kern_list(const struct kern_ops **out, int max);

/* Kernel-wide feature report for `model info`: "avx2 avx512f avx512_vnni …". */
const char *kern_cpu_features(char *buf, size_t size_bytes);

#endif
