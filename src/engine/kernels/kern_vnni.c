/* AVX-512 VNNI: vpdpbusd multiplies 16 outputs' codes (unsigned bytes) of 4 inputs with one row's
 * activations (signed bytes), which it takes from memory as one broadcast word. A tile is one panel
 * and one group of rows: the codes of a block are unpacked into registers once for all rows. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/act_block.h"
#include "engine/kernels/kern_impl.h"
#include "engine/quant_block.h"

enum {
    SLICE_BYTES = 128 << 10, /* of panels, that a next group of rows finds in L2 */
    /* Groups this small wait for memory: ask for it earlier than the hardware does, which begins
     * anew in every page. */
    AHEAD_ROWS = 4,
    AHEAD_BYTES = 1024,
};

static inline __m512i load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

/* v shifted left (negative: right) within bytes that keep only `mask`, into low. */
SPECIALISE __m512i or_field(__m512i low, __m512i v, int left, int mask)
{
#ifdef WP_SANITIZED /* not inlined: no immediate count */
    const __m512i moved = left >= 0 ? _mm512_sll_epi16(v, _mm_cvtsi32_si128(left))
                                    : _mm512_srl_epi16(v, _mm_cvtsi32_si128(-left));
#else
    const __m512i moved =
        left >= 0 ? _mm512_slli_epi16(v, (unsigned)left) : _mm512_srli_epi16(v, (unsigned)-left);
#endif
    enum { A_OR_B_AND_C = 0xf8 };
    return _mm512_ternarylogic_epi32(low, moved, _mm512_set1_epi8((char)mask), A_OR_B_AND_C);
}

SPECIALISE void unpack_codes(struct pack_form f, const uint8_t *p, __m512i c[8])
{
    const __m512i nibble = _mm512_set1_epi8(15);
    if (f.code == PACK_CODE_8) {
        EACH (j, 8)
            c[j] = load(p + j * PACK_VEC);
        return;
    }
    EACH (j, 4) {
        const __m512i both = load(p + j * PACK_VEC);
        c[j] = _mm512_and_si512(both, nibble);
        c[j + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble);
    }
    if (f.lookup) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(const void *)quant_iq4_values);
        const __m512i table = _mm512_broadcast_i32x4(_mm_xor_si128(v, _mm_set1_epi8((char)0x80)));
        EACH (j, 8)
            c[j] = _mm512_shuffle_epi8(table, c[j]);
    }
    if (f.code == PACK_CODE_5) {
        const __m512i fifth = load(p + 4 * PACK_VEC);
        EACH (j, 8)
            c[j] = or_field(c[j], fifth, 4 - j, 0x10);
    }
    if (f.code == PACK_CODE_6) {
        EACH (j, 8)
            c[j] = or_field(c[j], load(p + (4 + j / 4) * PACK_VEC), 4 - j % 4 * 2, 0x30);
    }
}

SPECIALISE __m512 load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

SPECIALISE __m128i load16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* The scales of block b: one pair, or one for each half. */
SPECIALISE void unpack_scales(struct pack_form f, const uint8_t *scales, int b, __m512 D[2],
                              __m512 M[2])
{
    const size_t small = pack_scale_bytes(&f), super = pack_super_bytes(&f);
    if (!f.nested) {
        const uint8_t *p = scales + (size_t)b * small;
        D[0] = load_f16(p);
        if (f.min)
            M[0] = load_f16(p + 2 * PACK_OUT);
        return;
    }
    const uint8_t *top = scales + (size_t)(b / PACK_SUPER) * (super + PACK_SUPER * small);
    const uint8_t *p = top + super + (size_t)(b % PACK_SUPER) * small;
    const __m512 d = load_f16(top);
    EACH (h, 2) {
        if (h == 1 && !f.halves)
            break;
        D[h] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load16(p))));
        p += PACK_OUT;
        if (f.min) {
            const __m512 n = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load16(p)));
            M[h] = _mm512_mul_ps(load_f16(top + 2 * PACK_OUT), n);
            p += PACK_OUT;
        }
    }
}

/* acc += (float)isum * (D * d) and, with an M, acc += M * s */
SPECIALISE __m512 add_scaled(__m512 acc, __m512i isum, __m512 D, float d)
{
    const __m512 scale = _mm512_mul_ps(D, _mm512_set1_ps(d));
    return _mm512_add_ps(acc, _mm512_mul_ps(_mm512_cvtepi32_ps(isum), scale));
}

SPECIALISE __m512i dot(__m512i isum, const __m512i *c, const int8_t *q, int n)
{
    EACH (j, n) {
        int32_t word;
        memcpy(&word, q + 4 * j, sizeof word);
        isum = _mm512_dpbusd_epi32(isum, c[j], _mm512_set1_epi32(word));
    }
    return isum;
}

SPECIALISE __m512i start(struct pack_form f, int32_t minus)
{
    if (f.min)
        return _mm512_setzero_si512();
    return _mm512_sll_epi32(_mm512_set1_epi32(minus), _mm_cvtsi32_si128(f.off_log2));
}

/* One panel for a group of g rows at r0. */
SPECIALISE void tile(struct pack_form f, int g, const struct pack *w, int p,
                     const struct kern_act *x, int r0, float *y, size_t ldy)
{
    const int n_block = w->n_in / PACK_BLOCK;
    const size_t first = (size_t)r0 * (size_t)n_block;
    const uint8_t *codes = w->data + (size_t)p * w->panel_bytes, *scales = codes + w->scale_at;
    const int8_t *q = x->q + first * PACK_BLOCK;
    const float *d = x->d + first, *s = x->s + first, *s_half = x->s_half + 2 * first;
    const int32_t *minus = x->minus + first, *minus_half = x->minus_half + 2 * first;
    const size_t code_bytes = pack_code_bytes(f.code);
    __m512 acc[16];
    EACH (k, g)
        acc[k] = _mm512_setzero_ps();
    for (int b = 0; b < n_block; b++) {
        __m512i c[8];
        __m512 D[2], M[2];
        if (g <= AHEAD_ROWS) {
            EACH (v, (int)(code_bytes / PACK_VEC))
                _mm_prefetch((const char *)codes + AHEAD_BYTES + v * PACK_VEC, _MM_HINT_T0);
        }
        unpack_codes(f, codes, c);
        unpack_scales(f, scales, b, D, M);
        EACH (k, g) {
            if (!f.halves) {
                acc[k] = add_scaled(acc[k], dot(start(f, minus[k]), c, q + 32 * k, 8), D[0], d[k]);
                if (f.min)
                    acc[k] = _mm512_add_ps(acc[k], _mm512_mul_ps(M[0], _mm512_set1_ps(s[k])));
                continue;
            }
            EACH (h, 2) {
                const __m512i isum =
                    dot(start(f, minus_half[h * g + k]), c + 4 * h, q + 32 * k + 16 * h, 4);
                acc[k] = add_scaled(acc[k], isum, D[h], d[k]);
                if (f.min)
                    acc[k] = _mm512_add_ps(acc[k],
                                           _mm512_mul_ps(M[h], _mm512_set1_ps(s_half[h * g + k])));
            }
        }
        codes += code_bytes;
        q += 32 * g;
        d += g;
        s += g;
        minus += g;
        minus_half += 2 * g;
        s_half += 2 * g;
    }
    const int n = w->n_out - p * PACK_OUT;
    const __mmask16 keep = (__mmask16)(n >= PACK_OUT ? 0xffffu : (1u << n) - 1u);
    EACH (k, g)
        _mm512_mask_storeu_ps(y + (size_t)(r0 + k) * ldy + (size_t)p * PACK_OUT, keep, acc[k]);
}

SPECIALISE void panels(struct pack_form f, const struct pack *w, int p0, int p1,
                       const struct kern_act *x, int r0, int g, float *y, size_t ldy)
{
    for (int p = p0; p < p1; p++) {
        switch (g) {
        case 16:
            tile(f, 16, w, p, x, r0, y, ldy);
            break;
        case 8:
            tile(f, 8, w, p, x, r0, y, ldy);
            break;
        case 4:
            tile(f, 4, w, p, x, r0, y, ldy);
            break;
        case 2:
            tile(f, 2, w, p, x, r0, y, ldy);
            break;
        default:
            tile(f, 1, w, p, x, r0, y, ldy);
        }
    }
}

typedef void panels_fn(const struct pack *w, int p0, int p1, const struct kern_act *x, int r0,
                       int g, float *y, size_t ldy);

#include "engine/kernels/int_panels.h"

/* As kern_generic.c's, 16 inputs at a time. */
static void act_quant(const struct kern_act *a, int r0, int g, int k, const float *x)
{
    const __m512i abs = _mm512_set1_epi32(0x7fffffff);
    for (int b = 0; b < a->n_in / PACK_BLOCK; b++, x += PACK_BLOCK) {
        const __m512 x0 = _mm512_loadu_ps(x), x1 = _mm512_loadu_ps(x + 16);
        const __m512i most16 = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(x0), abs),
                                                _mm512_and_si512(_mm512_castps_si512(x1), abs));
        const struct act_block block = act_block(a, r0, g, k, b, _mm512_reduce_max_epu32(most16));
        const __m512 inv = _mm512_set1_ps(block.inv);
        const __mmask16 keep =
            (__mmask16)(block.some ? 0xffffu : 0u); /* not a number times 0 must be 0 */
        const __m512i q0 = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x0, inv));
        const __m512i q1 = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(x1, inv));
        _mm_storeu_si128((__m128i *)(void *)block.q, _mm512_cvtepi32_epi8(q0));
        _mm_storeu_si128((__m128i *)(void *)(block.q + 16), _mm512_cvtepi32_epi8(q1));
        act_block_sums(a, &block, g, _mm512_reduce_add_epi32(q0), _mm512_reduce_add_epi32(q1));
    }
}

void kern_vnni_init(struct kern_ops *ops)
{
    ops->act_quant = act_quant;
    ops->matmul_pack = matmul_pack;
}
