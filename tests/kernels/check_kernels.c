/* Every table of kern_list against double precision, against itself under other batchings, and the
 * vector tables against each other. --bench prints weight bytes per second instead. */
#include <math.h>

#include "bench.h"
#include "engine/kernels/kern.h"
#include "engine/quant.h"
#include "tap.h"
#include "types.h"

#define EPS 0x1p-24 /* half an ulp of 1: the relative error of one rounding */

/* FNV-1a over what the vector tables computed: the same on every CPU (see simd_unpack.h). A change
 * of the order of summation or of exp changes it: then car and cloud must change together. */
#define VECTOR_HASH 0x517d57ee5011c00eu
#define VECTOR_HASH_2 0xad19ca0ed5da171fu /* what came later */

static uint64_t hash;

static void hash_floats(const float *p, size_t n)
{
    for (size_t i = 0; i < n * sizeof *p; i++)
        hash = (hash ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
}

static bool same_bits(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

/* A length that the type allows, odd multiples of the block among them. */
static int some_n_in(const struct type *t)
{
    static const int block32[] = {32, 64, 96, 160, 576, 1536}, block256[] = {256, 768, 1536, 2304};
    if (t->elems == 256)
        return block256[rng_in(0, TAP_LEN(block256) - 1)];
    if (t->elems == 32 || rng_in(0, 1))
        return block32[rng_in(0, TAP_LEN(block32) - 1)];
    return rng_in(1, 300);
}

/* Random codes under scales of 2^-9 … 2^-6 either way. */
static void random_blocks(const struct type *t, uint8_t *w, int n_block)
{
    rng_bytes(w, (size_t)n_block * (size_t)t->bytes);
    for (int i = 0; i < n_block; i++, w += t->bytes) {
        for (int k = 0; k < 2 && t->f16_at[k] >= 0; k++) {
            const int sign = rng_in(0, 1), size = rng_in(6 << 10, (9 << 10) - 1);
            const uint16_t h = (uint16_t)(sign << 15 | size);
            memcpy(w + t->f16_at[k], &h, sizeof h);
        }
    }
}

static void *random_weights(const struct type *t, int n_row, int n_in)
{
    size_t row_bytes = type_bytes(t, n_in);
    float *f = tap_alloc((size_t)n_in * sizeof *f);
    uint8_t *w = tap_alloc((size_t)n_row * row_bytes);
    for (int r = 0; r < n_row; r++) {
        rng_floats(f, (size_t)n_in);
        if (t->read_only)
            random_blocks(t, w + (size_t)r * row_bytes, n_in / t->elems);
        else if (quant_quant_row(t->type, f, w + (size_t)r * row_bytes, n_in) != 0)
            abort();
    }
    free(f);
    return w;
}

static void check_dequant(const struct kern_ops *k, const struct type *t)
{
    bool good = true;
    for (int round = 0; round < 20 && good; round++) {
        int n = t->elems == 1 && round > 0 ? rng_in(1, 200) : 65536;
        uint8_t *raw = tap_alloc(type_bytes(t, n) + 2);
        float *want = tap_alloc((size_t)n * 4), *got = tap_alloc((size_t)n * 4 + 64);
        rng_bytes(raw, type_bytes(t, n) + 2);
        if (t->elems == 1 && round == 0) /* every 16-bit pattern */
            for (int i = 0; i < n; i++)
                memcpy(raw + 2 + t->bytes * i + t->bytes - 2, &(uint16_t){(uint16_t)i}, 2);
        for (int i = n; i < n + 16; i++)
            got[i] = 7.0f;
        quant_dequant_row(t->type, raw + 2, want, n);
        k->dequant_row(t->type, raw + 2, got, n);
        good = same_bits(want, got, (size_t)n);
        for (int i = n; i < n + 16; i++)
            good = good && got[i] == 7.0f;
        free(raw);
        free(want);
        free(got);
    }
    tap_ok(good, "%s dequant_row %s: as the plain dequantiser", k->name, t->name);
}

/* The longest chain of roundings behind a result: its lane's sum, five folds, one more where the
 * product is not fused. */
static double dot_bound(int n)
{
    return (n / 32 + 1 + 6) * EPS;
}

static void check_matmul_value(const struct kern_ops *k, const struct type *t)
{
    double worst = 0, err2 = 0, ref2 = 0;
    for (int round = 0; round < 8; round++) {
        int n_in = round == 0 ? 4096 : some_n_in(t), n_row = rng_in(1, 13), n_x = rng_in(1, 9);
        size_t row_bytes = type_bytes(t, n_in);
        uint8_t *w = random_weights(t, n_row, n_in);
        float *wf = tap_alloc((size_t)n_in * 4), *y = tap_alloc((size_t)(n_row * n_x) * 4);
        float *x = tap_alloc((size_t)n_in * (size_t)n_x * 4);
        void *scratch = tap_alloc(kern_scratch_bytes(n_in));
        rng_floats(x, (size_t)n_in * (size_t)n_x);
        k->matmul(t->type, w, row_bytes, n_in, 0, n_row, x, (size_t)n_in, n_x, y, (size_t)n_row,
                  scratch);
        for (int r = 0; r < n_row; r++) {
            quant_dequant_row(t->type, w + (size_t)r * row_bytes, wf, n_in);
            for (int m = 0; m < n_x; m++) {
                double ref = 0, mag = 0;
                for (int i = 0; i < n_in; i++) {
                    double p = (double)wf[i] * (double)x[m * n_in + i];
                    ref += p;
                    mag += fabs(p);
                }
                double e = fabs((double)y[m * n_row + r] - ref);
                worst = fmax(worst, e / (mag * dot_bound(n_in)));
                err2 += e * e;
                ref2 += ref * ref;
            }
        }
        free(w);
        free(wf);
        free(y);
        free(x);
        free(scratch);
    }
    tap_ok(worst <= 1.0, "%s matmul %s: error %.2f of its bound", k->name, t->name, worst);
    tap_ok(sqrt(err2 / ref2) <= 1e-6, "%s matmul %s: relative rms error %.1e", k->name, t->name,
           sqrt(err2 / ref2));
}

/* One row of x alone, one call for all outputs: what every other call must reproduce. */
static void matmul_alone(const struct kern_ops *k, const struct type *t, const void *w, int n_in,
                         int n_row, const float *x, float *y, void *scratch)
{
    k->matmul(t->type, w, type_bytes(t, n_in), n_in, 0, n_row, x, 0, 1, y, 0, scratch);
}

static void check_matmul_batch(const struct kern_ops *k, const struct type *t)
{
    bool good = true, guarded = true;
    for (int n_x = 1; n_x <= 33; n_x++) {
        int n_in = some_n_in(t), n_row = rng_in(1, 23);
        size_t row_bytes = type_bytes(t, n_in), ldx = (size_t)(n_in + rng_in(0, 3));
        size_t ldy = (size_t)(n_row + rng_in(1, 3));
        uint8_t *w = random_weights(t, n_row, n_in);
        float *x = tap_alloc(ldx * (size_t)n_x * 4 + 4), *y = tap_alloc(ldy * (size_t)n_x * 4);
        float *alone = tap_alloc((size_t)n_row * 4);
        void *scratch = tap_alloc(kern_scratch_bytes(n_in));
        float *xu = x + 1; /* never aligned */
        rng_floats(xu, ldx * (size_t)n_x);
        for (size_t i = 0; i < ldy * (size_t)n_x; i++)
            y[i] = -1234.5f;
        for (int r = 0; r < n_row;) {
            int r1 = r + rng_in(1, n_row - r);
            for (int m = 0; m < n_x;) {
                int step = rng_in(0, 1) ? n_x - m : rng_in(1, n_x - m);
                k->matmul(t->type, w, row_bytes, n_in, r, r1, xu + (size_t)m * ldx, ldx, step,
                          y + (size_t)m * ldy, ldy, scratch);
                m += step;
            }
            r = r1;
        }
        for (int m = 0; m < n_x; m++) {
            matmul_alone(k, t, w, n_in, n_row, xu + (size_t)m * ldx, alone, scratch);
            good = good && same_bits(alone, y + (size_t)m * ldy, (size_t)n_row);
            for (size_t i = (size_t)n_row; i < ldy; i++)
                guarded = guarded && y[(size_t)m * ldy + i] == -1234.5f;
        }
        free(w);
        free(x);
        free(y);
        free(alone);
        free(scratch);
    }
    tap_ok(good, "%s matmul %s: batches of 1 to 33 and splits give the same bits", k->name,
           t->name);
    tap_ok(guarded, "%s matmul %s: writes nothing else", k->name, t->name);
}

static void check_rmsnorm(const struct kern_ops *k)
{
    double worst = 0;
    bool in_place = true;
    for (int round = 0; round < 60; round++) {
        int n = round < 6 ? 32 << round : rng_in(1, 700);
        float *x = tap_alloc((size_t)n * 4), *w = tap_alloc((size_t)n * 4);
        float *y = tap_alloc((size_t)n * 4);
        rng_floats(x, (size_t)n);
        rng_floats(w, (size_t)n);
        k->rmsnorm(y, x, w, n, 1e-5f);
        double ss = 0;
        for (int i = 0; i < n; i++)
            ss += (double)x[i] * (double)x[i];
        double scale = 1 / sqrt(ss / n + (double)1e-5f);
        for (int i = 0; i < n; i++) {
            double ref = x[i] * scale * w[i];
            /* half of the sum's error, then mean, eps, root, inverse and two products */
            double bound = fabs(ref) * (dot_bound(n) / 2 + 6 * EPS) + 1e-30;
            worst = fmax(worst, fabs((double)y[i] - ref) / bound);
        }
        k->rmsnorm(x, x, w, n, 1e-5f);
        in_place = in_place && same_bits(x, y, (size_t)n);
        free(x);
        free(w);
        free(y);
    }
    tap_ok(worst <= 1.0, "%s rmsnorm: error %.2f of its bound", k->name, worst);
    tap_ok(in_place, "%s rmsnorm: the same in place", k->name);
}

static void check_add_rope(const struct kern_ops *k)
{
    bool good = true;
    double worst = 0;
    for (int n = 1; n < 100; n++) {
        float x[100], y[100], sum[100];
        rng_floats(x, 100);
        rng_floats(y, 100);
        for (int i = 0; i < 100; i++)
            sum[i] = i < n ? y[i] + x[i] : y[i];
        k->add(y, x, n);
        good = good && same_bits(sum, y, 100);
    }
    tap_ok(good, "%s add: exact", k->name);
    for (int round = 0; round < 40; round++) {
        int dim = rng_in(4, 64) * 2, rot = rng_in(1, dim / 2) * 2, neox = round % 2;
        float x[3 * 128], y[3 * 128], cs[128];
        rng_floats(x, 3 * 128);
        rng_floats(cs, 128);
        memcpy(y, x, sizeof x);
        k->rope(y, 3, dim, rot, cs, neox);
        for (int h = 0; h < 3; h++)
            for (int i = 0; i < rot / 2; i++) {
                int a = h * dim + (neox ? i : 2 * i), b = neox ? a + rot / 2 : a + 1;
                double c = cs[2 * i], s = cs[2 * i + 1];
                double mag = (fabs((double)x[a]) + fabs((double)x[b])) * (fabs(c) + fabs(s));
                worst = fmax(worst, fabs((double)y[a] - (x[a] * c - x[b] * s)) / (mag * 2 * EPS));
                worst = fmax(worst, fabs((double)y[b] - (x[a] * s + x[b] * c)) / (mag * 2 * EPS));
                x[a] = y[a], x[b] = y[b];
            }
        worst = same_bits(x, y, 3 * 128) ? worst : 1e9; /* the rest is left alone */
    }
    tap_ok(worst <= 1.0, "%s rope: error %.2f of its bound", k->name, worst);
}

/* exp within 2 ulp (of at most 2^-23 each), then sum, quotient, product. Below -88.7, exp(-gate)
 * overflows and gives 0 for what is less than 2^-119. */
static void check_silu(const struct kern_ops *k)
{
    double worst = 0;
    bool tails = true;
    enum { N = 1 << 15 };
    float *g = tap_alloc(N * 4), *y = tap_alloc(N * 4), *u = tap_alloc(N * 4);
    for (int i = 0; i < N; i++) {
        g[i] = i < N / 2 ? (float)(i - N / 4) / 90.0f : 4.0f * rng_f32();
        u[i] = i % 7 == 0 ? 1.0f : rng_f32();
    }
    memcpy(y, g, N * 4);
    k->silu_mul(y, u, N);
    for (int i = 0; i < N; i++) {
        double ref = (double)g[i] / (1 + exp(-(double)g[i])) * (double)u[i];
        worst = fmax(worst, fabs((double)y[i] - ref) / (fabs(ref) * 7 * EPS + 0x1p-119));
    }
    for (int n = 1; n < 70; n++) {
        float t[80];
        memcpy(t, g + 1000, sizeof t);
        k->silu_mul(t, u + 1000, n);
        tails = tails && same_bits(t, y + 1000, (size_t)n) &&
                same_bits(t + n, g + 1000 + n, (size_t)(80 - n));
    }
    tap_ok(worst <= 1.0, "%s silu_mul: error %.2f of its bound", k->name, worst);
    tap_ok(tails, "%s silu_mul: short rows give the same bits", k->name);
    float odd[] = {NAN, 1e30f, -1e30f, 0.0f}, one[] = {1, 1, 1, 1};
    k->silu_mul(odd, one, 4);
    tap_ok(isnan(odd[0]) && odd[1] == 1e30f && odd[2] == 0.0f && odd[3] == 0.0f,
           "%s silu_mul: NaN stays, extremes saturate", k->name);
    free(g);
    free(y);
    free(u);
}

/* The exponent is up to 80 and has four roundings: e^a is off by as much as it is long. */
static void check_gelu(const struct kern_ops *k)
{
    double worst = 0;
    bool tails = true;
    enum { N = 1 << 15 };
    float *g = tap_alloc(N * 4), *y = tap_alloc(N * 4), *u = tap_alloc(N * 4);
    for (int i = 0; i < N; i++) {
        g[i] = i < N / 2 ? (float)(i - N / 4) / 900.0f : 4.0f * rng_f32();
        u[i] = i % 7 == 0 ? 1.0f : rng_f32();
    }
    memcpy(y, g, N * 4);
    k->gelu_mul(y, u, N);
    for (int i = 0; i < N; i++) {
        double x = (double)g[i], a = sqrt(8 / acos(-1)) * (x + 0.044715 * x * x * x);
        double ref = x / (1 + exp(-a)) * (double)u[i];
        worst = fmax(worst,
                     fabs((double)y[i] - ref) / (fabs(ref) * (7 + 5 * fabs(a)) * EPS + 0x1p-119));
    }
    for (int n = 1; n < 70; n++) {
        float t[80];
        memcpy(t, g + 1000, sizeof t);
        k->gelu_mul(t, u + 1000, n);
        tails = tails && same_bits(t, y + 1000, (size_t)n) &&
                same_bits(t + n, g + 1000 + n, (size_t)(80 - n));
    }
    tap_ok(worst <= 1.0, "%s gelu_mul: error %.2f of its bound", k->name, worst);
    tap_ok(tails, "%s gelu_mul: short rows give the same bits", k->name);
    float odd[] = {NAN, 1e30f, -1e30f, 0.0f}, one[] = {1, 1, 1, 1};
    k->gelu_mul(odd, one, 4);
    tap_ok(isnan(odd[0]) && odd[1] == 1e30f && odd[2] == 0.0f && odd[3] == 0.0f,
           "%s gelu_mul: NaN stays, extremes saturate", k->name);
    free(g);
    free(y);
    free(u);
}

static void hash_matmul(const struct kern_ops *k, const struct type *t, const float *x,
                        void *scratch)
{
    float y[5 * 9];
    uint8_t *w = random_weights(t, 9, 768);
    k->matmul(t->type, w, type_bytes(t, 768), 768, 0, 9, x, 768, 5, y, 9, scratch);
    hash_floats(y, 5 * 9);
    free(w);
}

/* The same inputs for every table. */
static void hash_table(const struct kern_ops *k)
{
    float x[5 * 768], z[768];
    void *scratch = tap_alloc(kern_scratch_bytes(768));
    hash = 0xcbf29ce484222325u;
    rng_state = 42;
    rng_floats(x, 5 * 768);
    for (int i = 0; i < TAP_LEN(types); i++) {
        if (!types[i].read_only)
            hash_matmul(k, &types[i], x, scratch);
    }
    k->rmsnorm(z, x, x + 768, 759, 1e-5f);
    hash_floats(z, 759);
    k->silu_mul(z, x + 9, 759);
    hash_floats(z, 759);
    free(scratch);
}

static void hash_table_2(const struct kern_ops *k)
{
    float x[5 * 768];
    void *scratch = tap_alloc(kern_scratch_bytes(768));
    hash = 0xcbf29ce484222325u;
    rng_state = 43;
    rng_floats(x, 5 * 768);
    for (int i = 0; i < TAP_LEN(types); i++) {
        if (types[i].read_only)
            hash_matmul(k, &types[i], x, scratch);
    }
    k->gelu_mul(x, x + 768, 759);
    hash_floats(x, 759);
    free(scratch);
}

static void check_vector_tables(const struct kern_ops *const *list, int n)
{
    for (int i = 1; i < n; i++) {
        hash_table(list[i]);
        tap_ok(hash == VECTOR_HASH, "%s: bit-identical to every other vector table (%016llx)",
               list[i]->name, (unsigned long long)hash);
        hash_table_2(list[i]);
        tap_ok(hash == VECTOR_HASH_2, "%s: and in what came later (%016llx)", list[i]->name,
               (unsigned long long)hash);
    }
}

static void check_select(const struct kern_ops *const *list, int n)
{
    const struct kern_ops *k;
    struct base_err err;
    bool good = kern_select(NULL, &k, &err) == 0 && k == list[n - 1];
    tap_ok(good, "select: the last of the list is the best");
    for (int i = 0; i < n; i++)
        good = good && kern_select(list[i]->name, &k, &err) == 0 && k == list[i];
    tap_ok(good, "select: each by name");
    good = kern_select("-vnni,-avx512,-avx2,-i8mm,-dotprod,-neon", &k, &err) == 0 && k == list[0];
    tap_ok(good, "select: everything peeled off leaves generic");
    static const char *const bad[] = {"avx3", "-avx", "-avx2,avx512", "-generic", "avx2,",
                                      "-",    ","};
    for (int i = 0; i < TAP_LEN(bad); i++)
        tap_ok(kern_select(bad[i], &k, &err) == BASE_EINVAL && k == NULL && err.msg[0] != '\0',
               "select: '%s' is refused", bad[i]);
#ifdef __x86_64__
    const char *foreign = "neon";
#else
    const char *foreign = "avx2";
#endif
    tap_ok(kern_select(foreign, &k, &err) == BASE_EUNSUPPORTED, "select: %s can't run here",
           foreign);
    char buf[8];
    kern_cpu_features(buf, sizeof buf);
    tap_ok(strlen(buf) < sizeof buf, "features are cut to the buffer");
}

int main(int argc, char **argv)
{
    const struct kern_ops *list[8];
    int n = kern_list(list, TAP_LEN(list));
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench(list, n);
    check_select(list, n);
    for (int i = 0; i < n; i++) {
        rng_state = 7;
        for (int t = 0; t < TAP_LEN(types); t++) {
            check_dequant(list[i], &types[t]);
            check_matmul_value(list[i], &types[t]);
            check_matmul_batch(list[i], &types[t]);
        }
        check_rmsnorm(list[i]);
        check_add_rope(list[i]);
        check_silu(list[i]);
        check_gelu(list[i]);
    }
    check_vector_tables(list, n);
    return tap_end();
}
