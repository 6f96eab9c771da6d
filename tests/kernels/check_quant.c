/* Conversions over all their values, blocks against goldens that another implementation computed,
 * and quantisers by what they lose. */
#include <math.h>

#include "engine/quant.h"
#include "tap.h"
#include "types.h"

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* By the definition of the format, in double precision. */
static double f16_value(uint16_t h)
{
    int exp = h >> 10 & 31, man = h & 1023;
    double v = exp == 0 ? ldexp(man, -24) : ldexp(1024 + man, exp - 25);
    if (exp == 31)
        v = man == 0 ? (double)INFINITY : (double)NAN;
    return h & 0x8000 ? -v : v;
}

static void check_f16(void)
{
    bool value = true, back = true;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float f = quant_f16_to_f32(h);
        double want = f16_value(h);
        bool nan = isnan(want);
        value = value && (nan ? isnan(f) : (double)f == want) && !signbit(f) == !(h & 0x8000);
        uint16_t again = quant_f32_to_f16(f);
        back = back && again == (nan ? h | 0x200 : h); /* a NaN comes back quiet */
    }
    tap_ok(value, "f16 to f32: all 65536 values");
    tap_ok(back, "f16 to f32 and back: all 65536 values");
}

/* Between each two neighbours: just below, at and just above the midpoint. */
static void check_f16_rounding(void)
{
    bool good = true;
    for (uint16_t h = 0; h < 0x7c00; h++) {
        float lo = quant_f16_to_f32(h);
        double next = h == 0x7bff ? 65536.0 : f16_value((uint16_t)(h + 1));
        float mid = (float)(((double)lo + next) / 2); /* exact: 12 bits */
        uint16_t even = (uint16_t)(h + (h & 1));
        good = good && quant_f32_to_f16(nextafterf(mid, 0)) == h;
        good = good && quant_f32_to_f16(mid) == even;
        good = good && quant_f32_to_f16(nextafterf(mid, INFINITY)) == h + 1;
        good = good && quant_f32_to_f16(-mid) == (0x8000 | even);
    }
    tap_ok(good, "f32 to f16: nearest, ties to even, at every midpoint");
    tap_ok(quant_f32_to_f16(1e9f) == 0x7c00 && quant_f32_to_f16(-INFINITY) == 0xfc00 &&
               quant_f32_to_f16(65519.996f) == 0x7bff && quant_f32_to_f16(65520.0f) == 0x7c00,
           "f32 to f16: overflow to infinity");
    tap_ok(quant_f32_to_f16(0x1p-25f) == 0 && quant_f32_to_f16(0x1.000002p-25f) == 1 &&
               quant_f32_to_f16(-0.0f) == 0x8000 && quant_f32_to_f16(0x1p-149f) == 0,
           "f32 to f16: underflow to zero keeps the sign");
    tap_ok((quant_f32_to_f16(float_of(0x7f800001)) & 0x7e00) == 0x7e00,
           "f32 to f16: a NaN with only low bits stays a NaN");
}

static void check_bf16(void)
{
    bool value = true, round = true;
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float f = quant_bf16_to_f32(h);
        value = value && bits_of(f) == i << 16;
        if (isnan(f)) {
            value = value && quant_f32_to_bf16(f) == (h | 0x40);
            continue;
        }
        value = value && quant_f32_to_bf16(f) == h;
        if ((h & 0x7fff) == 0x7f80)
            continue;
        round = round && quant_f32_to_bf16(float_of(i << 16 | 0x7fff)) == h;
        round = round && quant_f32_to_bf16(float_of(i << 16 | 0x8000)) == h + (h & 1);
        round = round && quant_f32_to_bf16(float_of(i << 16 | 0x8001)) == h + 1;
    }
    tap_ok(value, "bf16 to f32 and back: all 65536 values");
    tap_ok(round, "f32 to bf16: nearest, ties to even, at every midpoint");
    tap_ok(quant_f32_to_bf16(float_of(0x7f800001)) == 0x7fc0, "f32 to bf16: NaN stays NaN");
}

static void check_golden(const struct type *t)
{
    char path[512];
    const char *top = getenv("top_srcdir");
    uint32_t n = 0;
    snprintf(path, sizeof path, "%s/tests/fixtures/quant/%s.bin", top ? top : ".", t->name);
    FILE *f = fopen(path, "rb");
    if (!tap_ok(f != NULL, "%s opens", path))
        return;
    bool read = fread(&n, sizeof n, 1, f) == 1 && n > 0 && n <= 4096;
    if (tap_ok(read, "%s golden: header", t->name)) {
        size_t size = type_bytes(t, (int)n);
        uint8_t *raw = tap_alloc(size);
        float *want = tap_alloc(n * sizeof *want), *got = tap_alloc(n * sizeof *got);
        read = fread(raw, 1, size, f) == size && fread(want, sizeof *want, n, f) == n;
        quant_dequant_row(t->type, raw, got, (int64_t)n);
        tap_ok(read && memcmp(want, got, n * sizeof *got) == 0, "%s golden: %u values, bit for bit",
               t->name, n);
        free(raw);
        free(want);
        free(got);
    }
    fclose(f);
}

/* Quantise, unpack: relative rms error for bell-shaped values. */
static double loss(const struct type *t, const float *x, int n)
{
    uint8_t *raw = tap_alloc(type_bytes(t, n));
    float *y = tap_alloc((size_t)n * sizeof *y);
    double err = 0, ref = 0;
    if (quant_quant_row(t->type, x, raw, n) != 0)
        abort();
    quant_dequant_row(t->type, raw, y, n);
    for (int i = 0; i < n; i++) {
        err += ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
        ref += (double)x[i] * (double)x[i];
    }
    free(raw);
    free(y);
    return ref > 0 ? sqrt(err / ref) : sqrt(err);
}

/* A step of d loses d / sqrt(12) rms: with 2^b steps over the range of 32 bell-shaped values
 * (about 4.2 rms wide; 2 x 2.1 when symmetric), the limits below leave a tenth of room. */
static void check_loss(const struct type *t)
{
    static const struct {
        uint32_t type;
        double limit;
    } limits[] = {
        {GGUF_F32, 0},      {GGUF_F16, 3e-4},   {GGUF_BF16, 2.4e-3}, {GGUF_Q4_0, 0.095},
        {GGUF_Q4_1, 0.085}, {GGUF_Q5_0, 0.047}, {GGUF_Q5_1, 0.042},  {GGUF_Q8_0, 6e-3},
        {GGUF_Q4_K, 0.080}, {GGUF_Q5_K, 0.040}, {GGUF_Q6_K, 0.020},
    };
    enum { N = 256 * 64 };
    float *x = tap_alloc(N * sizeof *x);
    double limit = -1;
    for (int i = 0; i < TAP_LEN(limits); i++)
        if (limits[i].type == t->type)
            limit = limits[i].limit;
    rng_floats(x, N);
    double got = loss(t, x, N);
    tap_ok(got <= limit, "%s loses %.5f of the values (limit %.5f)", t->name, got, limit);
    memset(x, 0, N * sizeof *x);
    tap_ok(loss(t, x, N) == 0.0, "%s: zeros stay zeros", t->name);
    for (int i = 0; i < N; i++)
        x[i] = i % 2 ? 3.0f : -3.0f;
    got = loss(t, x, N);
    tap_ok(got <= 0.09, "%s: two values lose %.5f", t->name, got);
    free(x);
}

/* Nothing to crash on, whatever the floats are; the sanitizers watch. */
static void check_hostile(const struct type *t)
{
    float x[256];
    uint8_t raw[1024];
    float y[256];
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 256; i++) {
            static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-44f, 0.0f};
            x[i] = rng_in(0, 3) ? float_of((uint32_t)rng_u64()) : odd[rng_in(0, 6)];
        }
        if (!t->read_only) {
            if (quant_quant_row(t->type, x, raw, 256) != 0)
                abort();
            quant_dequant_row(t->type, raw, y, 256);
        }
        rng_bytes(raw, sizeof raw);
        quant_dequant_row(t->type, raw, y, 256);
    }
    tap_ok(true, "%s: NaN, infinities and random bytes pass through", t->name);
}

int main(void)
{
    float x[256] = {0};
    uint8_t raw[1024];
    check_f16();
    check_f16_rounding();
    check_bf16();
    for (int i = 0; i < TAP_LEN(types); i++) {
        if (types[i].type != GGUF_F32)
            check_golden(&types[i]);
        if (!types[i].read_only)
            check_loss(&types[i]);
        check_hostile(&types[i]);
        if (types[i].read_only)
            tap_ok(quant_quant_row(types[i].type, x, raw, 256) == BASE_EUNSUPPORTED,
                   "%s is read, not written", types[i].name);
    }
    return tap_end();
}
