/* NEON of ARMv8.0, as every 64-bit Arm core has it (Cortex-A53: no dot products, no f16
 * arithmetic): eight vectors hold the 32 lanes. */
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/kern_impl.h"

enum { V_W = 4, V_DEC = 2, V_X = 6 };
enum { V_Q = 6, V_SUMS = 24 };
typedef float32x4_t vf;
typedef uint8x16x2_t vb;

static inline vf v_load(const float *p)
{
    return vld1q_f32(p);
}

static inline void v_store(float *p, vf v)
{
    vst1q_f32(p, v);
}

static inline vf v_set1(float f)
{
    return vdupq_n_f32(f);
}

static inline vf v_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}

static inline vf v_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}

static inline vf v_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}

static inline vf v_div(vf a, vf b)
{
    return vdivq_f32(a, b);
}

static inline vf v_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}

static inline vf v_min(vf a, vf b)
{
    return vminq_f32(a, b);
}

static inline vf v_max(vf a, vf b)
{
    return vmaxq_f32(a, b);
}

static inline float v_sum(vf v)
{
    float32x2_t s2 = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
}

static inline vf v_load_f16(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

static inline void v_store_f16(uint8_t *p, vf v)
{
    vst1_u8(p, vreinterpret_u8_f16(vcvt_f16_f32(v)));
}

static inline vf v_load_bf16(const uint8_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

static inline vf v_load_i8(const uint8_t *p)
{
    uint32_t q;
    memcpy(&q, p, sizeof q);
    int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(q)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}

static inline vf v_pow2(vf t)
{
    uint32x4_t n = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);
    return vreinterpretq_f32_u32(vaddq_u32(n, vdupq_n_u32(127u << 23)));
}

static inline float v_f16(const uint8_t *p)
{
    __fp16 h;
    memcpy(&h, p, sizeof h);
    return (float)h;
}

static inline vb b_load(const uint8_t *p)
{
    return (vb){{vld1q_u8(p), vld1q_u8(p + 16)}};
}

static inline vb b_field(vb v, int shift, int mask)
{
    int8x16_t by = vdupq_n_s8((int8_t)-shift);
    uint8x16_t m = vdupq_n_u8((uint8_t)mask);
    return (vb){{vandq_u8(vshlq_u8(v.val[0], by), m), vandq_u8(vshlq_u8(v.val[1], by), m)}};
}

static inline vb b_nibbles(const uint8_t *p)
{
    uint8x16_t both = vld1q_u8(p);
    return (vb){{vandq_u8(both, vdupq_n_u8(15)), vshrq_n_u8(both, 4)}};
}

static inline vb b_bits(uint32_t bits)
{
    const uint8x8_t bit_of = vcreate_u8(0x8040201008040201u), n = vdup_n_u8(16);
    uint8x8_t b[4];
    for (int i = 0; i < 4; i++)
        b[i] = vand_u8(vtst_u8(vdup_n_u8((uint8_t)(bits >> (8 * i))), bit_of), n);
    return (vb){{vcombine_u8(b[0], b[1]), vcombine_u8(b[2], b[3])}};
}

static inline vb b_shl(vb v, int shift)
{
    int8x16_t by = vdupq_n_s8((int8_t)shift);
    return (vb){{vshlq_u8(v.val[0], by), vshlq_u8(v.val[1], by)}};
}

static inline vb b_or(vb a, vb b)
{
    return (vb){{vorrq_u8(a.val[0], b.val[0]), vorrq_u8(a.val[1], b.val[1])}};
}

static inline vb b_sub(vb v, int n)
{
    uint8x16_t s = vdupq_n_u8((uint8_t)n);
    return (vb){{vsubq_u8(v.val[0], s), vsubq_u8(v.val[1], s)}};
}

static inline vb b_lookup(vb v, const int8_t *table)
{
    uint8x16_t t = vreinterpretq_u8_s8(vld1q_s8(table));
    return (vb){{vqtbl1q_u8(t, v.val[0]), vqtbl1q_u8(t, v.val[1])}};
}

static inline void widen16(uint8x16_t v, vf *out)
{
    int8x16_t s = vreinterpretq_s8_u8(v);
    int16x8_t lo = vmovl_s8(vget_low_s8(s)), hi = vmovl_s8(vget_high_s8(s));
    out[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo)));
    out[1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(lo)));
    out[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi)));
    out[3] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(hi)));
}

static inline void b_widen(vb v, vf *out)
{
    widen16(v.val[0], out);
    widen16(v.val[1], out + 4);
}

#include "engine/kernels/simd_matmul.h"
#include "engine/kernels/simd_vec.h"

void kern_neon_init(struct kern_ops *ops)
{
    simd_init(ops);
    kern_neon_int_init(ops);
}
