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

enum {
    HALF = 8,                /* outputs in a register */
    SLICE_BYTES = 128 << 10, /* of panels, that a next group of rows finds in L2 */
    AHEAD_ROWS = 4,          /* groups this small wait for memory, and ask for it early */
    AHEAD = 4,               /* blocks */
};

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

/* The scales of outputs o … o + 7 in block b: one pair, or one for each half of the block. */
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

/* How many sums of pairs fit 16 bits. */
SPECIALISE int n_fit(struct pack_form f)
{
    return is_signed(f) ? 1 : f.code == PACK_CODE_4 ? 8 : f.code == PACK_CODE_5 ? 4 : 2;
}

/* Makes v be computed before what comes next. Left to itself, GCC begins with all products of a
 * block, and keeps them in memory until they are added up. */
SPECIALISE void keep_order(__m256i *v)
{
    __asm__("" : "+x"(*v));
}

SPECIALISE __m256i word(const int8_t *q)
{
    int32_t w;
    memcpy(&w, q, sizeof w);
    return _mm256_set1_epi32(w);
}

SPECIALISE __m256i pair_products(struct pack_form f, __m256i c, __m256i x)
{
    return is_signed(f) ? _mm256_maddubs_epi16(_mm256_abs_epi8(c), _mm256_sign_epi8(x, c))
                        : _mm256_maddubs_epi16(c, x);
}

/* isum[r][h] = sum of code * q over 4 n inputs, for n_r rows whose q are 32 bytes apart and n_h
 * halves of a panel, whose codes are c[h]. */
SPECIALISE void dots(struct pack_form f, int n_r, int n_h, const __m256i (*c)[8], int c0, int n,
                     const int8_t *q, __m256i (*isum)[2])
{
    const int fit = n_fit(f);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i part[4][2];
    EACH (j, n) {
        const bool closes = (j + 1) % fit == 0 || j + 1 == n;
        __m256i cj[2];
        EACH (h, n_h) {
            cj[h] = c[h][c0 + j];
            if (n_r > 1)
                keep_order(&cj[h]);
        }
        EACH (r, n_r) {
            const __m256i x = word(q + 32 * r + 4 * j);
            EACH (h, n_h) {
                const __m256i pairs = pair_products(f, cj[h], x);
                part[r][h] = j % fit == 0 ? pairs : _mm256_add_epi16(part[r][h], pairs);
                if (closes) {
                    const __m256i wide = _mm256_madd_epi16(part[r][h], ones);
                    isum[r][h] = j < fit ? wide : _mm256_add_epi32(isum[r][h], wide);
                }
                if (n_r > 1)
                    keep_order(closes ? &isum[r][h] : &part[r][h]);
            }
        }
    }
}

/* acc += isum * (D * d), and M * s if there is an M; minus: - sum of q */
SPECIALISE __m256 add_scaled(struct pack_form f, __m256 acc, __m256i isum, int32_t minus, __m256 D,
                             float d, __m256 M, float s)
{
    if (!f.min && !is_signed(f))
        isum = _mm256_add_epi32(isum, _mm256_slli_epi32(_mm256_set1_epi32(minus), f.off_log2));
    const __m256 scale = _mm256_mul_ps(D, _mm256_set1_ps(d));
    acc = _mm256_add_ps(acc, _mm256_mul_ps(_mm256_cvtepi32_ps(isum), scale));
    return f.min ? _mm256_add_ps(acc, _mm256_mul_ps(M, _mm256_set1_ps(s))) : acc;
}

/* What a block adds to the sums of n_r rows, of which the first is k in the group of g whose block
 * begins at `at`, and of n_h halves of a panel. */
SPECIALISE void block(struct pack_form f, int n_r, int n_h, const __m256i (*c)[8],
                      const __m256 (*D)[2], const __m256 (*M)[2], const struct kern_act *x,
                      size_t at, int g, int k, __m256 (*sums)[16])
{
    const size_t row = at + (size_t)k;
    const int8_t *q = x->q + row * PACK_BLOCK;
    __m256i isum[4][2];
    if (!f.halves) {
        dots(f, n_r, n_h, c, 0, 8, q, isum);
        EACH (r, n_r)
            EACH (h, n_h)
                sums[h][k + r] = add_scaled(f, sums[h][k + r], isum[r][h], x->minus[row + r],
                                            D[h][0], x->d[row + r], M[h][0], x->s[row + r]);
        return;
    }
    EACH (part, 2) {
        const size_t half = 2 * at + (size_t)(part * g + k);
        dots(f, n_r, n_h, c, 4 * part, 4, q + 16 * part, isum);
        EACH (r, n_r)
            EACH (h, n_h)
                sums[h][k + r] =
                    add_scaled(f, sums[h][k + r], isum[r][h], x->minus_half[half + r], D[h][part],
                               x->d[row + r], M[h][part], x->s_half[half + r]);
    }
}

/* Asks for what the hardware, which follows streams and begins anew in every page, would be late
 * with: the codes of the block AHEAD blocks after b, be it the next panel's, and scales of that
 * panel. It keeps up with codes of 8 bits by itself, but for a panel's first. */
SPECIALISE void ask_ahead(struct pack_form f, const struct pack *w, const uint8_t *codes,
                          const uint8_t *scales, int b)
{
    const bool next = b + AHEAD >= w->n_in / PACK_BLOCK;
    const int n = (int)pack_code_bytes(f.code);
    const uint8_t *at = codes + AHEAD * n + (next ? w->panel_bytes - w->scale_at : 0);
    if (f.code != PACK_CODE_8 || next) {
        EACH (v, n / PACK_VEC)
            _mm_prefetch((const char *)at + v * PACK_VEC, _MM_HINT_T0);
    }
    const size_t scale_bytes = pack_scale_bytes(&f) + pack_super_bytes(&f) / PACK_SUPER;
    _mm_prefetch((const char *)scales + w->panel_bytes + (size_t)b * scale_bytes, _MM_HINT_T0);
}

/* A panel for a group of g rows at r0, n_r of them at a time: one alone has its codes in registers,
 * several find them in the cache, so that a code and a word of activations are loaded for more than
 * one product. */
SPECIALISE void tile(struct pack_form f, int n_r, const struct pack *w, int p,
                     const struct kern_act *x, int r0, int g, __m256 (*sums)[16])
{
    const int n_block = w->n_in / PACK_BLOCK;
    const uint8_t *codes = w->data + (size_t)p * w->panel_bytes, *scales = codes + w->scale_at;
    const size_t code_bytes = pack_code_bytes(f.code);
    size_t at = (size_t)r0 * (size_t)n_block;
    for (int k = 0; k < g; k++)
        sums[0][k] = sums[1][k] = _mm256_setzero_ps();
    for (int b = 0; b < n_block; b++, codes += code_bytes, at += (size_t)g) {
        __m256i c[2][8];
        __m256 D[2][2], M[2][2];
        if (g <= AHEAD_ROWS)
            ask_ahead(f, w, codes, scales, b);
        EACH (h, 2) {
            unpack_codes(f, codes + 4 * HALF * h, c[h]);
            unpack_scales(f, scales, b, HALF * h, D[h], M[h]);
            if (n_r == 1)
                block(f, 1, 1, c + h, D + h, M + h, x, at, 1, 0, sums + h);
        }
        for (int k = 0; n_r > 1 && k < g; k += n_r)
            block(f, n_r, 2, c, D, M, x, at, g, k, sums);
    }
}

SPECIALISE void panels(struct pack_form f, const struct pack *w, int p0, int p1,
                       const struct kern_act *x, int r0, int g, float *y, size_t ldy)
{
    __m256 sums[2][16];
    float out[PACK_OUT];
    for (int p = p0; p < p1; p++) {
        if (g == 1)
            tile(f, 1, w, p, x, r0, 1, sums);
        else if (g == 2)
            tile(f, 2, w, p, x, r0, g, sums);
        else
            tile(f, 4, w, p, x, r0, g, sums);
        const int o = p * PACK_OUT, n = w->n_out - o < PACK_OUT ? w->n_out - o : PACK_OUT;
        for (int k = 0; k < g; k++) {
            EACH (h, 2)
                _mm256_storeu_ps(out + HALF * h, sums[h][k]);
            memcpy(y + (size_t)(r0 + k) * ldy + (size_t)o, out, (size_t)n * sizeof *out);
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
