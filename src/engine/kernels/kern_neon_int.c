/* Packed weights by NEON of ARMv8.0: smull and smlal multiply 2 outputs' codes of 4 inputs with one
 * row's activations and add up in 16 bits. There all products of a block fit: 15 * 127 * 8 of 4-bit
 * codes (even twice that: neighbours are added before they are widened), 31 * 127 * 8 of 5-bit
 * ones, 63 * 127 * 4 of 6-bit ones in half a block. Of 8-bit codes two fit, 128 * 127 * 2. */
#include <arm_neon.h>

#include "engine/kernels/act_block.h"
#include "engine/kernels/neon_unpack.h"

/* The next 4 activations, four times. In assembler, as ld1r knows no offset, and the compiler would
 * rather spend a vector instruction on it than step the address. */
SPECIALISE int8x16_t next_word(const int8_t **q)
{
    int32x4_t x;
    __asm__("ld1r {%0.4s}, [%1], #4" : "=w"(x), "+r"(*q) : "m"(*(const int8_t(*)[4]) * q));
    return vreinterpretq_s8_s32(x);
}

/* Of 8 outputs: outputs 0 and 1 of each four in lo, 2 and 3 in hi. */
struct sums {
    int16x8_t lo[2], hi[2];
    int32x4_t lo32[2], hi32[2];
};

/* Products of vector j, the i-th that is added, with its word. */
SPECIALISE void add_products(struct pack_form f, struct sums *s, int8x16_t c[2][8], int j, int i,
                             int8x16_t word)
{
    const bool first = i == 0 || (is_signed(f) && i % 2 == 0);
    EACH (v, 2) {
        const int8x16_t w = c[v][j];
        const int8x8_t w0 = vget_low_s8(w), x0 = vget_low_s8(word);
        s->lo[v] = first ? vmull_s8(w0, x0) : vmlal_s8(s->lo[v], w0, x0);
        s->hi[v] = first ? vmull_high_s8(w, word) : vmlal_high_s8(s->hi[v], w, word);
        if (is_signed(f) && i % 2 == 1) {
            s->lo32[v] = i == 1 ? vpaddlq_s16(s->lo[v]) : vpadalq_s16(s->lo32[v], s->lo[v]);
            s->hi32[v] = i == 1 ? vpaddlq_s16(s->hi[v]) : vpadalq_s16(s->hi32[v], s->hi[v]);
        }
    }
}

SPECIALISE void finish(struct pack_form f, const struct sums *s, const int32_t *minus,
                       int32x4_t isum[2])
{
    EACH (v, 2) {
        if (is_signed(f))
            isum[v] = vpaddq_s32(s->lo32[v], s->hi32[v]);
        else if (f.code == PACK_CODE_4)
            isum[v] = vpaddlq_s16(vpaddq_s16(s->lo[v], s->hi[v]));
        else
            isum[v] = vpaddq_s32(vpaddlq_s16(s->lo[v]), vpaddlq_s16(s->hi[v]));
        if (!is_signed(f) && !f.min)
            isum[v] = vaddq_s32(isum[v], vld1q_dup_s32(minus) << f.off_log2);
    }
}

struct row {
    int8x16_t word[8];
};

SPECIALISE struct row load_row(const int8_t *q)
{
    struct row x;
    EACH (j, 8)
        x.word[j] = next_word(&q);
    return x;
}

SPECIALISE void dots(struct pack_form f, int8x16_t c[2][8], const struct row *x, int j0, int n,
                     const int32_t *minus, int32x4_t isum[2])
{
    struct sums s;
    EACH (i, n)
        add_products(f, &s, c, j0 + i, i, x->word[j0 + i]);
    finish(f, &s, minus, isum);
}

enum { STEP = 1 };

SPECIALISE void arrange(int8x16_t c[2][8])
{
    (void)c;
}

/* What comes before stays before, for products that are added and words that are loaded: the
 * compiler knows not how long assembler takes, and would load each word right before its products.
 */
SPECIALISE void keep_order(struct sums *s, const int8_t **q)
{
    __asm__("" : "+w"(s->lo[0]), "+w"(s->lo[1]), "+w"(s->hi[0]), "+w"(s->hi[1]), "+r"(*q));
}

SPECIALISE void dots_step(struct pack_form f, int8x16_t c[2][8], const int8_t *q, int j0, int n,
                          const int32_t *minus, int32x4_t isum[STEP][2])
{
    enum { LEAD = 2 /* words loaded before they are multiplied: small cores don't reorder */ };
    struct sums s;
    int8x16_t word[8];
    /* Or the compiler copies the lower halves out of the loop over rows, beyond its registers. */
    EACH (j, 16)
        __asm__("" : "+w"(c[j / 8][j % 8]));
    q += 4 * j0;
    EACH (i, LEAD)
        word[i] = next_word(&q);
    EACH (i, n) {
        if (i > 0)
            keep_order(&s, &q);
        if (i + LEAD < n)
            word[i + LEAD] = next_word(&q);
        add_products(f, &s, c, j0 + i, i, word[i]);
    }
    finish(f, &s, minus, isum[0]);
}

#include "engine/kernels/neon_tile.h"

/* As kern_generic.c's, 4 inputs at a time. */
static void act_quant(const struct kern_act *a, int r0, int g, int k, const float *x)
{
    for (int b = 0; b < a->n_in / PACK_BLOCK; b++, x += PACK_BLOCK) {
        float32x4_t v[8];
        uint32x4_t top = vdupq_n_u32(0);
        EACH (i, 8) {
            v[i] = vld1q_f32(x + 4 * i);
            top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(v[i])));
        }
        const struct act_block block = act_block(a, r0, g, k, b, vmaxvq_u32(top));
        const int8x16_t keep = vdupq_n_s8(block.some ? -1 : 0); /* NaN times 0 must be 0 */
        int sum[2];
        EACH (h, 2) {
            int16x4_t q[4];
            EACH (i, 4)
                q[i] = vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(v[4 * h + i], block.inv)));
            const int8x16_t bytes =
                vandq_s8(keep, vcombine_s8(vmovn_s16(vcombine_s16(q[0], q[1])),
                                           vmovn_s16(vcombine_s16(q[2], q[3]))));
            vst1q_s8(block.q + 16 * h, bytes);
            sum[h] = vaddlvq_s8(bytes);
        }
        act_block_sums(a, &block, g, sum[0], sum[1]);
    }
}

void kern_neon_int_init(struct kern_ops *ops)
{
    ops->act_quant = act_quant;
    ops->matmul_pack = matmul_pack;
}
