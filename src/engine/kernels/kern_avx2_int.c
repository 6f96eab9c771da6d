/* Packed weights by AVX2: vpmaddubsw multiplies 8 outputs' codes (unsigned bytes) of 4 inputs with
 * one row's activations and adds pairs into 16 bits. As many of those sums as fit 16 bits are added
 * up before they are widened: 15 * 127 * 2 of 4-bit codes fit 8 times, 31 * … 4 times, 63 * …
 * twice. Codes of 8 bits would not fit once: they are taken as signed, and their sign is given to
 * the activations (128 * 127 * 2 fits). */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/act_block.h"
#include "engine/kernels/kern_impl.h"
#include "engine/quant_block.h"

enum { HALF = 8 /* outputs in a register */, SLICE_BYTES = 128 << 10 };

static inline __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* `low` with those bits of v, shifted left (negative: right), that fall on the mask. */
SPECIALISE __m256i or_field(__m256i low, __m256i v, int left, int mask)
{
    const __m256i moved = left >= 0 ? _mm256_slli_epi16(v, left) : _mm256_srli_epi16(v, -left);
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8((char)mask)));
}

/* Whether codes are multiplied as signed bytes, less 128. */
SPECIALISE bool is_signed(struct pack_form f)
{
    return f.code == PACK_CODE_8 || f.lookup;
}

/* The codes of 8 outputs: p points at their half of the first vector. */
SPECIALISE void unpack_codes(struct pack_form f, const uint8_t *p, __m256i c[8])
{
    const __m256i nibble = _mm256_set1_epi8(15);
    if (f.code == PACK_CODE_8) {
        EACH (j, 8)
            c[j] = _mm256_xor_si256(load(p + j * PACK_VEC), _mm256_set1_epi8((char)0x80));
        return;
    }
    EACH (j, 4) {
        const __m256i both = load(p + j * PACK_VEC);
        c[j] = _mm256_and_si256(both, nibble);
        c[j + 4] = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
    }
    if (f.lookup) {
        const __m256i table = _mm256_broadcastsi128_si256(
            _mm_loadu_si128((const __m128i *)(const void *)quant_iq4_values));
        EACH (j, 8)
            c[j] = _mm256_shuffle_epi8(table, c[j]);
    }
    if (f.code == PACK_CODE_5) {
        const __m256i fifth = load(p + 4 * PACK_VEC);
        EACH (j, 8)
            c[j] = or_field(c[j], fifth, 4 - j, 0x10);
    }
    if (f.code == PACK_CODE_6) {
        EACH (j, 8)
            c[j] = or_field(c[j], load(p + (4 + j / 4) * PACK_VEC), 4 - j % 4 * 2, 0x30);
    }
}

SPECIALISE __m256 load_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

SPECIALISE __m128i load8(const uint8_t *p)
{
    return _mm_loadl_epi64((const __m128i *)(const void *)p);
}

/* The scales of outputs o … o + 7 in block b: one pair, or one for each half. */
SPECIALISE void unpack_scales(struct pack_form f, const uint8_t *scales, int b, int o, __m256 D[2],
                              __m256 M[2])
{
    const size_t small = pack_scale_bytes(&f), super = pack_super_bytes(&f);
    if (!f.nested) {
        const uint8_t *p = scales + (size_t)b * small + 2 * o;
        D[0] = load_f16(p);
        if (f.min)
            M[0] = load_f16(p + 2 * PACK_OUT);
        return;
    }
    const uint8_t *top = scales + (size_t)(b / PACK_SUPER) * (super + PACK_SUPER * small);
    const uint8_t *p = top + super + (size_t)(b % PACK_SUPER) * small + o;
    const __m256 d = load_f16(top + 2 * o);
    EACH (h, 2) {
        if (h == 1 && !f.halves)
            break;
        D[h] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(load8(p))));
        p += PACK_OUT;
        if (f.min) {
            const __m256 n = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(p)));
            M[h] = _mm256_mul_ps(load_f16(top + 2 * PACK_OUT + 2 * o), n);
            p += PACK_OUT;
        }
    }
}

/* Sum of (code - off) * q over 4 n inputs. */
SPECIALISE __m256i dot(struct pack_form f, const __m256i *c, const int8_t *q, int n, int32_t minus)
{
    const int fit = is_signed(f) ? 1 : f.code == PACK_CODE_4 ? 8 : f.code == PACK_CODE_5 ? 4 : 2;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256(), part = sum;
    EACH (j, n) {
        int32_t word;
        memcpy(&word, q + 4 * j, sizeof word);
        const __m256i x = _mm256_set1_epi32(word);
        const __m256i pairs =
            is_signed(f) ? _mm256_maddubs_epi16(_mm256_abs_epi8(c[j]), _mm256_sign_epi8(x, c[j]))
                         : _mm256_maddubs_epi16(c[j], x);
        part = j % fit == 0 ? pairs : _mm256_add_epi16(part, pairs);
        if (j % fit == fit - 1 || j == n - 1)
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, ones));
    }
    if (f.min || is_signed(f))
        return sum;
    return _mm256_add_epi32(sum, _mm256_slli_epi32(_mm256_set1_epi32(minus), f.off_log2));
}

SPECIALISE __m256 add_scaled(__m256 acc, __m256i isum, __m256 D, float d)
{
    const __m256 scale = _mm256_mul_ps(D, _mm256_set1_ps(d));
    return _mm256_add_ps(acc, _mm256_mul_ps(_mm256_cvtepi32_ps(isum), scale));
}

/* Outputs o … o + 7 of a panel for a group of g rows at r0; sums[g] of 8 floats. */
SPECIALISE void tile(struct pack_form f, const struct pack *w, int p, int o,
                     const struct kern_act *x, int r0, int g, __m256 *sums)
{
    const int n_block = w->n_in / PACK_BLOCK;
    const size_t first = (size_t)r0 * (size_t)n_block;
    const uint8_t *panel = w->data + (size_t)p * w->panel_bytes, *scales = panel + w->scale_at;
    for (int k = 0; k < g; k++)
        sums[k] = _mm256_setzero_ps();
    for (int b = 0; b < n_block; b++) {
        const size_t at = first + (size_t)b * (size_t)g;
        const int8_t *q = x->q + at * PACK_BLOCK;
        const int32_t *minus_half = x->minus_half + 2 * at;
        const float *s_half = x->s_half + 2 * at;
        __m256i c[8];
        __m256 D[2], M[2];
        unpack_codes(f, panel + (size_t)b * w->code_bytes + 4 * o, c);
        unpack_scales(f, scales, b, o, D, M);
        for (int k = 0; k < g; k++, q += PACK_BLOCK) {
            const float d = x->d[at + (size_t)k];
            __m256 acc = sums[k];
            if (!f.halves) {
                acc = add_scaled(acc, dot(f, c, q, 8, x->minus[at + (size_t)k]), D[0], d);
                if (f.min)
                    acc = _mm256_add_ps(acc,
                                        _mm256_mul_ps(M[0], _mm256_set1_ps(x->s[at + (size_t)k])));
            } else {
                EACH (h, 2) {
                    acc = add_scaled(acc, dot(f, c + 4 * h, q + 16 * h, 4, minus_half[h * g + k]),
                                     D[h], d);
                    if (f.min)
                        acc = _mm256_add_ps(acc,
                                            _mm256_mul_ps(M[h], _mm256_set1_ps(s_half[h * g + k])));
                }
            }
            sums[k] = acc;
        }
    }
}

SPECIALISE void panels(struct pack_form f, const struct pack *w, int p0, int p1,
                       const struct kern_act *x, int r0, int g, float *y, size_t ldy)
{
    __m256 sums[16];
    float row[HALF];
    for (int o = p0 * PACK_OUT; o < p1 * PACK_OUT && o < w->n_out; o += HALF) {
        tile(f, w, o / PACK_OUT, o % PACK_OUT, x, r0, g, sums);
        const int n = w->n_out - o < HALF ? w->n_out - o : HALF;
        for (int k = 0; k < g; k++) {
            _mm256_storeu_ps(row, sums[k]);
            memcpy(y + (size_t)(r0 + k) * ldy + (size_t)o, row, (size_t)n * sizeof *row);
        }
    }
}

#include "engine/kernels/int_panels.h"

static inline int sum_lanes(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

static inline uint32_t max_lanes(__m256i v)
{
    __m128i m = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1)));
}

/* As kern_generic.c's, 8 inputs at a time. */
static void act_quant(const struct kern_act *a, int r0, int g, int k, const float *x)
{
    const __m256i abs = _mm256_set1_epi32(0x7fffffff);
    for (int b = 0; b < a->n_in / PACK_BLOCK; b++, x += PACK_BLOCK) {
        __m256 v[4];
        __m256i q[4], top = _mm256_setzero_si256();
        EACH (i, 4) {
            v[i] = _mm256_loadu_ps(x + 8 * i);
            top = _mm256_max_epu32(top, _mm256_and_si256(_mm256_castps_si256(v[i]), abs));
        }
        const struct act_block block = act_block(a, r0, g, k, b, max_lanes(top));
        const __m256 inv = _mm256_set1_ps(block.inv);
        const __m256i keep = _mm256_set1_epi32(block.some ? -1 : 0); /* NaN times 0 must be 0 */
        EACH (i, 4)
            q[i] = _mm256_and_si256(keep, _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inv)));
        const __m256i w01 = _mm256_packs_epi32(q[0], q[1]), w23 = _mm256_packs_epi32(q[2], q[3]);
        const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(w01, w23), order);
        _mm256_storeu_si256((__m256i *)(void *)block.q, bytes);
        act_block_sums(a, &block, g, sum_lanes(_mm256_add_epi32(q[0], q[1])),
                       sum_lanes(_mm256_add_epi32(q[2], q[3])));
    }
}

void kern_avx2_int_init(struct kern_ops *ops)
{
    ops->act_quant = act_quant;
    ops->matmul_pack = matmul_pack;
}
