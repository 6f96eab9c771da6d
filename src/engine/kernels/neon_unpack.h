/* What kernels for packed weights share on 64-bit Arm: codes and scales of a panel into registers,
 * the f32 part of a sum. A register holds 4 bytes each of 4 outputs. Included once into each
 * kern_<isa>.c, behind <arm_neon.h>; that then defines dots() and includes neon_tile.h. */
#ifndef ENG_NEON_UNPACK_H
#define ENG_NEON_UNPACK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/kern_impl.h"
#include "engine/quant_block.h"

/* Whether codes are multiplied as signed bytes, less 128: products then need no `minus`. */
SPECIALISE bool is_signed(struct pack_form f)
{
    return f.code == PACK_CODE_8 || f.lookup;
}

/* v shifted left (negative: right) within bytes. */
SPECIALISE uint8x16_t shifted(uint8x16_t v, int left)
{
    return left >= 0 ? v << left : v >> -left;
}

/* The codes of 4 outputs: p points at their 16 bytes of the first vector. */
SPECIALISE void unpack_codes(struct pack_form f, const uint8_t *p, int8x16_t c[8])
{
    uint8x16_t u[8];
    if (f.code == PACK_CODE_8) {
        EACH (j, 8)
            c[j] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p + j * PACK_VEC), vdupq_n_u8(0x80)));
        return;
    }
    EACH (j, 4) {
        const uint8x16_t both = vld1q_u8(p + j * PACK_VEC);
        u[j] = vandq_u8(both, vdupq_n_u8(15));
        u[j + 4] = vshrq_n_u8(both, 4);
    }
    if (f.code == PACK_CODE_5) {
        const uint8x16_t fifth = vld1q_u8(p + 4 * PACK_VEC), bit = vdupq_n_u8(0x10);
        EACH (j, 8)
            u[j] = vbslq_u8(bit, shifted(fifth, 4 - j), u[j]);
    }
    if (f.code == PACK_CODE_6) {
        const uint8x16_t bits = vdupq_n_u8(0x30);
        EACH (h, 2) {
            const uint8x16_t high = vld1q_u8(p + (4 + h) * PACK_VEC);
            EACH (j, 4)
                u[4 * h + j] = vbslq_u8(bits, shifted(high, 4 - 2 * j), u[4 * h + j]);
        }
    }
    EACH (j, 8)
        c[j] = f.lookup ? vqtbl1q_s8(vld1q_s8(quant_iq4_values), u[j]) : vreinterpretq_s8_u8(u[j]);
}

/* Of 8 outputs in a block, or in a half of it. */
struct scales {
    float32x4_t D[2], M[2];
};

SPECIALISE void load_f16(const uint8_t *p, float32x4_t v[2])
{
    v[0] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
    v[1] = vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8)));
}

SPECIALISE void times_s16(float32x4_t v[2], int16x8_t by)
{
    v[0] = vmulq_f32(v[0], vcvtq_f32_s32(vmovl_s16(vget_low_s16(by))));
    v[1] = vmulq_f32(v[1], vcvtq_f32_s32(vmovl_s16(vget_high_s16(by))));
}

/* The scales of outputs o … o + 7 in block b: one, or one for each half. */
SPECIALISE void unpack_scales(struct pack_form f, const uint8_t *scales, int b, int o,
                              struct scales s[2])
{
    const size_t small = pack_scale_bytes(&f), super = pack_super_bytes(&f);
    if (!f.nested) {
        const uint8_t *p = scales + (size_t)b * small + 2 * o;
        load_f16(p, s[0].D);
        if (f.min)
            load_f16(p + 2 * PACK_OUT, s[0].M);
        return;
    }
    const uint8_t *top = scales + (size_t)(b / PACK_SUPER) * (super + PACK_SUPER * small);
    const uint8_t *p = top + super + (size_t)(b % PACK_SUPER) * small + o;
    EACH (h, 2) {
        if (h == 1 && !f.halves)
            break;
        load_f16(top + 2 * o, s[h].D);
        times_s16(s[h].D, vmovl_s8(vreinterpret_s8_u8(vld1_u8(p))));
        p += PACK_OUT;
        if (f.min) {
            load_f16(top + 2 * PACK_OUT + 2 * o, s[h].M);
            times_s16(s[h].M, vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p))));
            p += PACK_OUT;
        }
    }
}

/* acc += (float)isum * (D * d) and, with an M, acc += M * s */
SPECIALISE void add_scaled(struct pack_form f, float32x4_t acc[2], const int32x4_t isum[2],
                           const struct scales *w, float d, float s)
{
    EACH (v, 2) {
        const float32x4_t part = vmulq_f32(vcvtq_f32_s32(isum[v]), vmulq_n_f32(w->D[v], d));
        acc[v] = vaddq_f32(acc[v], part);
        if (f.min)
            acc[v] = vaddq_f32(acc[v], vmulq_n_f32(w->M[v], s));
    }
}

#endif
