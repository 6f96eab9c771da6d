/* Weights laid out for integer dot products: 16 outputs side by side, 4 inputs of each together, so
 * that one register holds what one instruction multiplies (vpdpbusd, sdot, smull), and neither
 * codes nor scales are ever added up across a register. Made once from a tensor's rows; the same
 * bytes on every CPU. Loading and kernels read it, nobody else.
 *
 * A panel is 16 outputs over all inputs. It holds the codes of every block of 32 inputs, then the
 * scales of every block:
 *
 *   codes of a block  | low 4 bits: 4 x 64 bytes | 5th bits: 64 bytes, or 5th and 6th: 2 x 64 |
 *   PACK_CODE_8       | 8 x 64 bytes                                                          |
 *
 * Vector j (0 … 7) of a block's codes has, in byte 4 o + i, output o's code of input 4 j + i. Of the
 * four vectors of low bits, the j-th has vector j in its low nibbles and vector j + 4 in its high
 * ones. 5th bits: bit j of each byte belongs to vector j. 5th and 6th: the first 64 bytes serve
 * vectors 0 … 3, the second 4 … 7, two bits each, vector 0's (4's) lowest.
 *
 *   scales, simple     for each block:       d f16[16] (, m f16[16])
 *   scales, nested     for each 8 blocks:    d f16[16] (, m f16[16])
 *                      and in it each block: per half if halves differ: s i8[16] (, n u8[16])
 *
 * A code c stands for (c - off) * D + M, where D = d, M = m, or nested D = d * s, M = m * n. With a
 * lookup (IQ4) it stands for (values[c] + 128 - off) * D, off = 128. */
#ifndef ENG_PACK_H
#define ENG_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf.h"

enum { PACK_OUT = 16, PACK_BLOCK = 32, PACK_VEC = 64, PACK_SUPER = 8 /* blocks */ };

enum pack_code { PACK_CODE_4, PACK_CODE_5, PACK_CODE_6, PACK_CODE_8 };

/* How a tensor type is packed. */
struct pack_form {
    bool used;
    enum pack_code code;
    bool lookup;  /* codes are indices of quant_iq4_values */
    bool nested;  /* scales of scales, for 8 blocks */
    bool halves;  /* each 16 inputs of a block have their own scale */
    bool min;     /* there is an M, and off = 0; without: off = 1 << off_log2 */
    int off_log2;
};

/* The forms, by tensor type: X(name, type, members of struct pack_form …). */
#define PACK_FORMS(X)                                                                        \
    X(q4_0, GGUF_Q4_0, .code = PACK_CODE_4, .off_log2 = 3)                                   \
    X(q4_1, GGUF_Q4_1, .code = PACK_CODE_4, .min = true)                                     \
    X(q5_0, GGUF_Q5_0, .code = PACK_CODE_5, .off_log2 = 4)                                   \
    X(q5_1, GGUF_Q5_1, .code = PACK_CODE_5, .min = true)                                     \
    X(q8_0, GGUF_Q8_0, .code = PACK_CODE_8, .off_log2 = 7)                                   \
    X(iq4_nl, GGUF_IQ4_NL, .code = PACK_CODE_4, .lookup = true, .off_log2 = 7)               \
    X(iq4_xs, GGUF_IQ4_XS, .code = PACK_CODE_4, .lookup = true, .nested = true,              \
      .off_log2 = 7)                                                                         \
    X(q2_k, GGUF_Q2_K, .code = PACK_CODE_4, .nested = true, .halves = true, .min = true)     \
    X(q3_k, GGUF_Q3_K, .code = PACK_CODE_4, .nested = true, .halves = true, .off_log2 = 2)   \
    X(q4_k, GGUF_Q4_K, .code = PACK_CODE_4, .nested = true, .min = true)                     \
    X(q5_k, GGUF_Q5_K, .code = PACK_CODE_5, .nested = true, .min = true)                     \
    X(q6_k, GGUF_Q6_K, .code = PACK_CODE_6, .nested = true, .halves = true, .off_log2 = 5)

/* NULL: a type that is not packed (F32, F16, BF16). */
const struct pack_form *pack_form_of(uint32_t type);

/* A packed matrix [n_out][n_in]. data is [n_panel][panel_bytes], 64-byte aligned; a last panel that
 * is not full is filled up with zero scales. */
struct pack {
    const struct pack_form *form; /* NULL: not packed */
    uint32_t type;
    int n_in, n_out, n_panel;
    size_t code_bytes;  /* of one block's codes of a panel */
    size_t scale_at;    /* where a panel's scales begin */
    size_t panel_bytes; /* a multiple of 64 */
    const uint8_t *data;
};

/* Fills everything but data. n_in is a multiple of the type's block. panel_bytes * n_panel: what
 * data will need; 0 for a type that is not packed. */
void pack_plan(struct pack *p, uint32_t type, int n_in, int n_out);

/* Packs outputs [16 p0, 16 p1) into dst, which is where p->data begins. rows: the tensor's rows. */
void pack_panels(const struct pack *p, const void *rows, size_t row_bytes, int p0, int p1,
                 uint8_t *dst);

/* The size of one block's codes in a panel. */
static inline size_t pack_code_bytes(enum pack_code code)
{
    return (code == PACK_CODE_4   ? 4
            : code == PACK_CODE_5 ? 5
            : code == PACK_CODE_6 ? 6
                                  : 8) *
           (size_t)PACK_VEC;
}

/* The size of one block's scales, and of what stands before 8 blocks' scales (0: not nested). */
static inline size_t pack_scale_bytes(const struct pack_form *f)
{
    const size_t n = f->min ? 2 : 1;
    return f->nested ? PACK_OUT * n * (f->halves ? 2 : 1) : 2 * PACK_OUT * n;
}

static inline size_t pack_super_bytes(const struct pack_form *f)
{
    return f->nested ? 2 * PACK_OUT * (f->min ? 2u : 1u) : 0;
}

#endif
