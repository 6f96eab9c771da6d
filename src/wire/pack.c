/* Residual rows <-> bytes. f32 and f16 are plain little-endian values, row by row. int8 works in
 * blocks of 32 channels:
 *
 *   one row:  | scale f16 | scale f16 | … ceil(d/32) of them | int8 x d |
 *   x[i] = scale[i / 32] * q[i], q in [-127, 127]
 *
 * A residual stream has a few channels hundreds of times larger than the rest. With one scale a row
 * they would round everything else to zero; so they only spoil their own block of 32. That costs
 * 612 bytes instead of 578 at d = 576 (f16: 1152, f32: 2304). */
#include <math.h>
#include <string.h>

#include "wire/pack.h"

enum { BLOCK = 32, Q_MAX = 127 };
static const float f16_max = 65504.0f;

uint16_t wire_f16_from_f32(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t sign = u >> 16 & 0x8000u;
    uint32_t a = u & 0x7fffffffu;
    if (a >= 0x7f800000u) /* inf, NaN */
        return (uint16_t)(sign | 0x7c00u | (a > 0x7f800000u ? 0x200u : 0));
    if (a >= 0x477ff000u) /* rounds past 65504 */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: subnormal; 2^-24 is its unit */
        float abs;
        memcpy(&abs, &a, sizeof abs);
        /* Adding 0.5 leaves the value in units of 2^-24 in the low bits, rounded to even. */
        float shifted = abs + 0.5f;
        uint32_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    uint32_t half = a - (112u << 23);
    half += 0xfffu + (half >> 13 & 1u); /* to nearest, ties to even */
    return (uint16_t)(sign | half >> 13);
}

float wire_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exp = h >> 10 & 0x1fu, frac = h & 0x3ffu;
    float x;
    uint32_t u;
    if (exp == 0) {
        x = (float)frac * 0x1p-24f;
        return sign != 0 ? -x : x;
    }
    if (exp == 31)
        u = sign | 0x7f800000u | frac << 13;
    else
        u = sign | (exp + 112u) << 23 | frac << 13;
    memcpy(&x, &u, sizeof x);
    return x;
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static void put_f32(uint8_t *p, float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    put16(p, (uint16_t)u);
    put16(p + 2, (uint16_t)(u >> 16));
}

static float get_f32(const uint8_t *p)
{
    uint32_t u = get16(p) | (uint32_t)get16(p + 2) << 16;
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static size_t n_block(int d)
{
    return ((size_t)d + BLOCK - 1) / BLOCK;
}

size_t wire_pack_bytes(enum wire_dtype t, int n_row, int d)
{
    size_t row = t == WIRE_F32 ? (size_t)d * 4 : (size_t)d * 2;
    if (t == WIRE_I8)
        row = n_block(d) * 2 + (size_t)d;
    return (size_t)n_row * row;
}

static void pack_row_i8(const float *x, int d, uint8_t *out)
{
    uint8_t *q = out + 2 * n_block(d);
    for (int b = 0; b < d; b += BLOCK) {
        int n = d - b < BLOCK ? d - b : BLOCK;
        float max = 0.0f;
        for (int i = 0; i < n; i++)
            max = fmaxf(max, fabsf(x[b + i]));
        uint16_t scale16 = wire_f16_from_f32(fminf(max / Q_MAX, f16_max));
        float scale = wire_f32_from_f16(scale16);
        float inv = scale > 0.0f ? 1.0f / scale : 0.0f;
        put16(out + 2 * (b / BLOCK), scale16);
        for (int i = 0; i < n; i++) {
            /* The scale was rounded, so the largest value may land just past 127. */
            float v = fminf(fmaxf(x[b + i] * inv, -Q_MAX), Q_MAX);
            q[b + i] = (uint8_t)(int8_t)lrintf(v);
        }
    }
}

void wire_pack(enum wire_dtype t, const float *x, int n_row, int d, uint8_t *out)
{
    size_t n = (size_t)n_row * (size_t)d;
    size_t row_bytes = wire_pack_bytes(t, 1, d);
    switch (t) {
    case WIRE_F32:
        for (size_t i = 0; i < n; i++)
            put_f32(out + 4 * i, x[i]);
        break;
    case WIRE_F16:
        for (size_t i = 0; i < n; i++)
            put16(out + 2 * i, wire_f16_from_f32(x[i]));
        break;
    case WIRE_I8:
        for (int r = 0; r < n_row; r++)
            pack_row_i8(x + (size_t)r * (size_t)d, d, out + (size_t)r * row_bytes);
        break;
    }
}

static void unpack_row_i8(const uint8_t *p, int d, float *x)
{
    const uint8_t *q = p + 2 * n_block(d);
    for (int i = 0; i < d; i++)
        x[i] = wire_f32_from_f16(get16(p + 2 * (i / BLOCK))) * (float)(int8_t)q[i];
}

void wire_unpack(enum wire_dtype t, const uint8_t *p, int n_row, int d, float *x)
{
    size_t n = (size_t)n_row * (size_t)d;
    size_t row_bytes = wire_pack_bytes(t, 1, d);
    switch (t) {
    case WIRE_F32:
        for (size_t i = 0; i < n; i++)
            x[i] = get_f32(p + 4 * i);
        break;
    case WIRE_F16:
        for (size_t i = 0; i < n; i++)
            x[i] = wire_f32_from_f16(get16(p + 2 * i));
        break;
    case WIRE_I8:
        for (int r = 0; r < n_row; r++)
            unpack_row_i8(p + (size_t)r * row_bytes, d, x + (size_t)r * (size_t)d);
        break;
    }
}

int wire_pack_fits(enum wire_dtype t, const float *x, size_t n)
{
    float max = t == WIRE_F32 ? INFINITY : t == WIRE_F16 ? f16_max : f16_max * Q_MAX;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || fabsf(x[i]) > max)
            return 0;
    }
    return 1;
}

/* In int8, -128 would be a second, unbalanced end of the range: the encoder never writes it. */
static int rows_i8_ok(const uint8_t *p, int n_row, int d)
{
    size_t n_scale = n_block(d);
    for (int r = 0; r < n_row; r++, p += 2 * n_scale + (size_t)d) {
        for (size_t b = 0; b < n_scale; b++) {
            uint16_t s = get16(p + 2 * b);
            if ((s & 0x7c00u) == 0x7c00u || (s & 0x8000u) != 0)
                return 0;
        }
        if (memchr(p + 2 * n_scale, 0x80, (size_t)d) != NULL)
            return 0;
    }
    return 1;
}

int wire_packed_ok(enum wire_dtype t, const uint8_t *p, int n_row, int d)
{
    size_t n = (size_t)n_row * (size_t)d;
    switch (t) {
    case WIRE_F32:
        for (size_t i = 0; i < n; i++) {
            if ((get16(p + 4 * i + 2) & 0x7f80u) == 0x7f80u)
                return 0;
        }
        return 1;
    case WIRE_F16:
        for (size_t i = 0; i < n; i++) {
            if ((get16(p + 2 * i) & 0x7c00u) == 0x7c00u)
                return 0;
        }
        return 1;
    case WIRE_I8:
        return rows_i8_ok(p, n_row, d);
    }
    return 0;
}
