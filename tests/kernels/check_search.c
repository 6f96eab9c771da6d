/* The searching quantisers beside the plain ones: never worse by the error that they minimise,
 * better where rows look like weights, and safe on anything. */
#include <math.h>

#include "engine/quant.h"
#include "engine/quant_search.h"
#include "tap.h"
#include "types.h"

enum { N = 1024, GUARD = 64 };

/* sum of w (y - x)^2 with the search's weights: column times (1 + |x| over the row's rms);
 * plain = true: without either. */
static double error_of(const float *x, const float *y, const float *col, int n, bool plain)
{
    double mean = 0, err = 0;
    for (int i = 0; i < n; i++)
        mean += (double)x[i] * (double)x[i] / n;
    for (int i = 0; i < n; i++) {
        const double e = (double)y[i] - (double)x[i], v = (double)x[i];
        double w = col != NULL && !plain ? (double)col[i] : 1.0;
        if (!plain && mean > 1e-30)
            w *= 1.0 + fabs(v) / sqrt(mean);
        err += w * e * e;
    }
    return err;
}

static void search(const struct type *t, const float *x, const float *col, float *y, int n)
{
    uint8_t *raw = tap_alloc(type_bytes(t, n) + GUARD);
    memset(raw + type_bytes(t, n), 0xa5, GUARD);
    if (quant_search_row(t->type, x, col, raw, n) != 0)
        abort();
    for (int i = 0; i < GUARD; i++)
        if (raw[type_bytes(t, n) + (size_t)i] != 0xa5)
            tap_ok(false, "%s writes past its %d elements", t->name, n);
    quant_dequant_row(t->type, raw, y, n);
    free(raw);
}

static void plain(const struct type *t, const float *x, float *y, int n)
{
    uint8_t *raw = tap_alloc(type_bytes(t, n));
    if (quant_quant_row(t->type, x, raw, n) != 0)
        abort();
    quant_dequant_row(t->type, raw, y, n);
    free(raw);
}

/* Rows of many kinds: bell-shaped, with outliers, mostly zero, far from zero, tiny (f16's
 * subnormals), large, two-valued, constant. */
static void fill(float *x, int n, int kind)
{
    const float scale[] = {1, 1, 1, 1, 3e-7f, 1e4f, 1, 1};
    rng_floats(x, (size_t)n);
    for (int i = 0; i < n; i++) {
        if (kind == 1 && rng_in(0, 15) == 0)
            x[i] *= 20.0f;
        if (kind == 2 && rng_in(0, 7) != 0)
            x[i] = 0.0f;
        if (kind == 3)
            x[i] = 5.0f + 0.3f * x[i];
        if (kind == 6)
            x[i] = x[i] > 0 ? 2.0f : -0.5f;
        if (kind == 7)
            x[i] = -0.75f;
        x[i] *= scale[kind];
    }
}

static void check_never_worse(const struct type *t)
{
    float *x = tap_alloc(N * sizeof *x), *col = tap_alloc(N * sizeof *col);
    float *a = tap_alloc(N * sizeof *a), *b = tap_alloc(N * sizeof *b);
    bool good = true;
    for (int round = 0; round < 64; round++) {
        const int n = (1 + round % (N / t->elems < 4 ? N / t->elems : 4)) * t->elems;
        fill(x, n, round % 8);
        for (int i = 0; i < n; i++)
            col[i] = rng_in(0, 9) == 0 ? 0.0f : 0.01f * (float)rng_in(1, 1000);
        const float *w = round % 3 == 0 ? NULL : col;
        search(t, x, w, a, n);
        plain(t, x, b, n);
        const double ea = error_of(x, a, w, n, false), eb = error_of(x, b, w, n, false);
        if (!(ea <= eb * (1.0 + 1e-5) + 1e-30)) {
            printf("# kind %d, %d elements: %g after the search, %g plain\n", round % 8, n, ea, eb);
            good = false;
        }
    }
    tap_ok(good, "%s: no row of 64 loses more than by plain rounding", t->name);
    free(x);
    free(col);
    free(a);
    free(b);
}

/* On bell-shaped rows: relative rms, unweighted, at most 2 % above what was measured. */
static void check_gain(const struct type *t)
{
    static const struct {
        uint32_t type;
        double limit;
    } limits[] = {
        {GGUF_Q4_0, 0.0772},  {GGUF_Q4_1, 0.0679}, {GGUF_Q5_0, 0.0377},   {GGUF_Q5_1, 0.0327},
        {GGUF_Q8_0, 0.00466}, {GGUF_Q2_K, 0.2612}, {GGUF_Q3_K, 0.1409},   {GGUF_Q4_K, 0.0689},
        {GGUF_Q5_K, 0.0341},  {GGUF_Q6_K, 0.0164}, {GGUF_IQ4_NL, 0.0723},
    };
    enum { ROWS = 32 };
    float *x = tap_alloc(N * sizeof *x), *y = tap_alloc(N * sizeof *y);
    double err = 0, ref = 0, limit = 0;
    for (int i = 0; i < TAP_LEN(limits); i++)
        if (limits[i].type == t->type)
            limit = limits[i].limit;
    for (int r = 0; r < ROWS; r++) {
        rng_floats(x, N);
        search(t, x, NULL, y, N);
        err += error_of(x, y, NULL, N, true);
        for (int i = 0; i < N; i++)
            ref += (double)x[i] * (double)x[i];
    }
    const double got = sqrt(err / ref);
    tap_ok(got <= limit, "%s: loses %.5f (limit %.5f)", t->name, got, limit);
    free(x);
    free(y);
}

/* Columns that matter a hundred times as much lose less than they did, whatever that costs others.
 */
static void check_columns(const struct type *t)
{
    float *x = tap_alloc(N * sizeof *x), *y = tap_alloc(N * sizeof *y);
    float *col = tap_alloc(N * sizeof *col), *zero = tap_alloc(N * sizeof *zero);
    double before = 0, after = 0;
    bool same = true;
    for (int i = 0; i < N; i++) {
        col[i] = i % 8 == 3 ? 100.0f : 1.0f;
        zero[i] = 0.0f;
    }
    for (int r = 0; r < 8; r++) {
        float *z = tap_alloc(N * sizeof *z);
        rng_floats(x, N);
        search(t, x, NULL, y, N);
        for (int i = 3; i < N; i += 8)
            before += (double)((y[i] - x[i]) * (y[i] - x[i]));
        search(t, x, zero, z, N); /* nothing matters: as if nothing was said */
        same = same && memcmp(y, z, N * sizeof *y) == 0;
        search(t, x, col, y, N);
        for (int i = 3; i < N; i += 8)
            after += (double)((y[i] - x[i]) * (y[i] - x[i]));
        free(z);
    }
    tap_ok(after < 0.9 * before, "%s: columns that matter keep %.2f of their error", t->name,
           after / before);
    tap_ok(same, "%s: columns of no weight at all are columns alike", t->name);
    free(x);
    free(y);
    free(col);
    free(zero);
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Nothing to crash on, and zeros stay zeros, also in a column without weight. */
static void check_hostile(const struct type *t)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-44f, -1e-40f, 0.0f};
    float x[256], y[256], col[256];
    bool zeros = true, finite = true;
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < 256; i++) {
            x[i] = rng_in(0, 3) ? float_of((uint32_t)rng_u64()) : odd[rng_in(0, TAP_LEN(odd) - 1)];
            col[i] = rng_in(0, 3) ? 1e30f : 0.0f;
        }
        search(t, x, round % 2 ? col : NULL, y, 256);
        memset(x, 0, sizeof x);
        search(t, x, round % 2 ? col : NULL, y, 256);
        for (int i = 0; i < 256; i++)
            zeros = zeros && y[i] == 0.0f;
        for (int i = 0; i < 256; i++)
            x[i] = rng_f32() * (round % 2 ? 1e-30f : 1e4f);
        search(t, x, NULL, y, 256);
        for (int i = 0; i < 256; i++)
            finite = finite && fabsf(y[i]) <= 65504.0f;
    }
    tap_ok(true, "%s: NaN, infinities and any weights pass through", t->name);
    tap_ok(zeros, "%s: zeros stay zeros", t->name);
    tap_ok(finite, "%s: tiny and large rows come back as numbers", t->name);
}

int main(void)
{
    float x[256] = {0};
    uint8_t raw[1024];
    for (int i = 0; i < TAP_LEN(types); i++) {
        const struct type *t = &types[i];
        if (!quant_search_has(t->type)) {
            tap_ok(quant_search_row(t->type, x, NULL, raw, 256) == BASE_EUNSUPPORTED,
                   "%s is read, not written", t->name);
            continue;
        }
        if (!t->read_only)
            check_never_worse(t);
        if (t->elems > 1) {
            check_gain(t);
            check_columns(t);
            check_hostile(t);
        }
    }
    return tap_end();
}
