/* Packed weights and integer products: plain C against double precision, every other table against
 * plain C, bit for bit. --bench prints rates instead. */
#include <math.h>

#include "base/clock.h"
#include "engine/kernels/kern.h"
#include "engine/quant.h"
#include "tap.h"
#include "types.h"

#define EPS 0x1p-24

struct acts {
    struct kern_act a;
    int n_row;
};

static struct acts acts_new(int n_row, int n_in)
{
    const size_t n = (size_t)n_row * (size_t)n_in;
    struct acts s = {{.n_in = n_in,
                      .q = tap_alloc(n),
                      .d = tap_alloc(n / 32 * 4),
                      .minus = tap_alloc(n / 32 * 4),
                      .s = tap_alloc(n / 32 * 4),
                      .minus_half = tap_alloc(n / 16 * 4),
                      .s_half = tap_alloc(n / 16 * 4)},
                     n_row};
    return s;
}

static void acts_free(struct acts *s)
{
    free(s->a.q);
    free(s->a.d);
    free(s->a.minus);
    free(s->a.s);
    free(s->a.minus_half);
    free(s->a.s_half);
}

static void acts_fill(struct acts *s, const struct kern_ops *k, const float *x)
{
    for (int r0 = 0, g; r0 < s->n_row; r0 += g) {
        g = kern_act_group(s->n_row - r0);
        for (int i = 0; i < g; i++)
            k->act_quant(&s->a, r0, g, i, x + (size_t)(r0 + i) * (size_t)s->a.n_in);
    }
}

static bool same_acts(const struct acts *a, const struct acts *b)
{
    const size_t n = (size_t)a->n_row * (size_t)a->a.n_in;
    bool nan_alike = true;
    for (size_t i = 0; i < n / 32; i++)
        nan_alike = nan_alike && (memcmp(&a->a.d[i], &b->a.d[i], 4) == 0 ||
                                  (isnan(a->a.d[i]) && isnan(b->a.d[i])));
    return nan_alike && memcmp(a->a.q, b->a.q, n) == 0 &&
           memcmp(a->a.minus, b->a.minus, n / 32 * 4) == 0 &&
           memcmp(a->a.minus_half, b->a.minus_half, n / 16 * 4) == 0;
}

/* The row behind group, block and place, as kern.h describes it. */
static float act_at(const struct acts *s, int row, int i)
{
    int r0 = 0, g = kern_act_group(s->n_row);
    while (row >= r0 + g) {
        r0 += g;
        g = kern_act_group(s->n_row - r0);
    }
    const size_t n_block = (size_t)s->a.n_in / 32;
    const size_t at = (size_t)r0 * n_block + (size_t)(i / 32 * g + row - r0);
    return s->a.d[at] * (float)s->a.q[at * 32 + (size_t)i % 32];
}

static void check_act_quant(const struct kern_ops *k, const struct kern_ops *plain)
{
    double worst = 0;
    bool same = true;
    for (int n_row = 1; n_row <= 40; n_row++) {
        const int n_in = 32 * rng_in(1, 20);
        struct acts a = acts_new(n_row, n_in), b = acts_new(n_row, n_in);
        float *x = tap_alloc((size_t)(n_row * n_in) * 4);
        rng_floats(x, (size_t)(n_row * n_in));
        for (int i = 0; i < n_in; i++)
            x[i] *= i % 64 < 32 ? 1e-32f : 1e30f;
        acts_fill(&a, k, x);
        acts_fill(&b, plain, x);
        same = same && same_acts(&a, &b);
        for (int r = 0; r < n_row; r++)
            for (int i = 0; i < n_in; i++) {
                float most = 0;
                for (int j = i / 32 * 32; j < i / 32 * 32 + 32; j++)
                    most = fmaxf(most, fabsf(x[r * n_in + j]));
                if (most > 1e-29f)
                    worst = fmax(worst, fabs((double)(act_at(&a, r, i) - x[r * n_in + i])) /
                                            ((double)most / 254 * (1 + 1e-4)));
            }
        const float odd[] = {NAN, INFINITY, -INFINITY, 0x1p-149f, 0.0f, -0x1p-101f, 0x1p127f};
        for (int i = 0; i < TAP_LEN(odd); i++) {
            x[rng_in(0, n_row * n_in - 1)] = odd[i];
            acts_fill(&a, k, x);
            acts_fill(&b, plain, x);
            same = same && same_acts(&a, &b);
        }
        acts_free(&a);
        acts_free(&b);
        free(x);
    }
    tap_ok(worst <= 1.0, "%s act_quant: off by %.3f of half a step", k->name, worst);
    tap_ok(same, "%s act_quant: the bits of plain C, NaN and infinity included", k->name);
}

static void *random_rows(const struct type *t, int n_row, int n_in)
{
    const size_t row_bytes = type_bytes(t, n_in);
    uint8_t *w = tap_alloc((size_t)n_row * row_bytes);
    rng_bytes(w, (size_t)n_row * row_bytes); /* every code and sub-scale */
    float *f = tap_alloc((size_t)n_in * 4);
    for (int r = 0; r < n_row; r++) {
        uint8_t *row = w + (size_t)r * row_bytes;
        rng_floats(f, (size_t)n_in);
        if (!t->read_only && r % 2 == 0 && quant_quant_row(t->type, f, row, n_in) == 0)
            continue;
        for (int b = 0; b < n_in / t->elems; b++)
            for (int at = 0; at < 2; at++) {
                const int where = t->read_only ? t->f16_at[at] : f16_places(t->type)[at];
                const uint16_t h = (uint16_t)(rng_in(0, 1) << 15 | rng_in(6 << 10, (9 << 10) - 1));
                if (where >= 0)
                    memcpy(row + b * t->bytes + where, &h, 2);
            }
    }
    free(f);
    return w;
}

struct packed {
    struct pack p;
    uint8_t *rows, *data;
};

static struct packed packed_new(const struct type *t, int n_in, int n_out)
{
    struct packed s = {.rows = random_rows(t, n_out, n_in)};
    pack_plan(&s.p, t->type, n_in, n_out);
    s.data = tap_alloc(s.p.panel_bytes * (size_t)s.p.n_panel);
    for (int p = 0; p < s.p.n_panel;) { /* in pieces: each where it belongs */
        const int end = rng_in(p + 1, s.p.n_panel);
        pack_panels(&s.p, s.rows, type_bytes(t, n_in), p, end, s.data);
        p = end;
    }
    s.p.data = s.data;
    return s;
}

static void packed_free(struct packed *s)
{
    free(s->rows);
    free(s->data);
}

static int some_n_in(const struct type *t)
{
    static const int block32[] = {32, 64, 96, 160, 576, 1536}, block256[] = {256, 768, 1536};
    return t->elems == 256 ? block256[rng_in(0, TAP_LEN(block256) - 1)]
                           : block32[rng_in(0, TAP_LEN(block32) - 1)];
}

/* Beside the exact product of the unpacked weights with the 8-bit activations: each block's part
 * has at most four roundings, and each sum one for every part. */
static void check_value(const struct kern_ops *k, const struct type *t)
{
    double worst = 0;
    for (int round = 0; round < 6; round++) {
        const int n_in = some_n_in(t), n_out = rng_in(1, 40), n_x = rng_in(1, 9);
        struct packed w = packed_new(t, n_in, n_out);
        struct acts a = acts_new(n_x, n_in);
        float *x = tap_alloc((size_t)(n_x * n_in) * 4), *wf = tap_alloc((size_t)n_in * 4);
        float *y = tap_alloc((size_t)(n_x * n_out) * 4);
        rng_floats(x, (size_t)(n_x * n_in));
        acts_fill(&a, k, x);
        k->matmul_pack(&w.p, 0, w.p.n_panel, &a.a, n_x, y, (size_t)n_out);
        for (int o = 0; o < n_out; o++) {
            quant_dequant_row(t->type, w.rows + (size_t)o * type_bytes(t, n_in), wf, n_in);
            for (int m = 0; m < n_x; m++) {
                double ref = 0, mag = 0;
                for (int i = 0; i < n_in; i++) {
                    const double v = (double)act_at(&a, m, i);
                    ref += (double)wf[i] * v;
                    mag += fabs((double)wf[i] * v);
                }
                /* codes times D and M may be larger than the weights that they cancel to */
                mag = 0;
                for (int i = 0; i < n_in; i++)
                    mag += (fabs((double)wf[i]) + 64 * 0x1p-6) * fabs((double)act_at(&a, m, i));
                const double bound = mag * (n_in / 16 * 2 + 6) * EPS;
                worst = fmax(worst, fabs((double)y[m * n_out + o] - ref) / bound);
            }
        }
        packed_free(&w);
        acts_free(&a);
        free(x);
        free(wf);
        free(y);
    }
    tap_ok(worst <= 1.0, "%s matmul_pack %s: error %.3f of its bound", k->name, t->name, worst);
}

static void check_same(const struct kern_ops *k, const struct kern_ops *plain, const struct type *t)
{
    bool same = true, guarded = true;
    for (int n_x = 1; n_x <= 35; n_x++) {
        const int n_in = some_n_in(t), n_out = rng_in(1, 70);
        const size_t ldy = (size_t)(n_out + rng_in(1, 3)), n_y = ldy * (size_t)n_x;
        struct packed w = packed_new(t, n_in, n_out);
        struct acts a = acts_new(n_x, n_in), one = acts_new(1, n_in);
        float *x = tap_alloc((size_t)(n_x * n_in) * 4), *alone = tap_alloc((size_t)n_out * 4);
        float *y = tap_alloc(n_y * 4);
        rng_floats(x, (size_t)(n_x * n_in));
        acts_fill(&a, k, x);
        a.a.n_in = 0; /* that is for act_quant alone */
        for (size_t i = 0; i < n_y; i++)
            y[i] = -1234.5f;
        for (int p = 0; p < w.p.n_panel;) {
            const int end = rng_in(p + 1, w.p.n_panel);
            k->matmul_pack(&w.p, p, end, &a.a, n_x, y, ldy);
            p = end;
        }
        for (int m = 0; m < n_x; m++) {
            acts_fill(&one, plain, x + (size_t)m * (size_t)n_in);
            plain->matmul_pack(&w.p, 0, w.p.n_panel, &one.a, 1, alone, 0);
            same = same && memcmp(alone, y + (size_t)m * ldy, (size_t)n_out * 4) == 0;
            for (size_t i = (size_t)n_out; i < ldy; i++)
                guarded = guarded && y[(size_t)m * ldy + i] == -1234.5f;
        }
        packed_free(&w);
        acts_free(&a);
        acts_free(&one);
        free(x);
        free(alone);
        free(y);
    }
    tap_ok(same, "%s matmul_pack %s: 1 to 35 rows have the bits of plain C's single ones", k->name,
           t->name);
    tap_ok(guarded, "%s matmul_pack %s: writes nothing else", k->name, t->name);
}

static void check_nan(const struct kern_ops *k)
{
    struct packed w = packed_new(&types[3], 64, 20);
    struct acts a = acts_new(2, 64);
    float x[128], y[40];
    rng_floats(x, 128);
    x[40] = NAN;
    acts_fill(&a, k, x);
    k->matmul_pack(&w.p, 0, w.p.n_panel, &a.a, 2, y, 20);
    bool good = true;
    for (int o = 0; o < 20; o++)
        good = good && isnan(y[o]) && isfinite(y[20 + o]);
    tap_ok(good, "%s matmul_pack: NaN stays in its row", k->name);
    packed_free(&w);
    acts_free(&a);
}

/* Seconds of the fastest of many calls: other programs' time slices fall out. */
static double fastest(const struct kern_ops *k, const struct packed *w, const struct acts *a,
                      float *y)
{
    int64_t best = INT64_MAX, begin = base_clock_mono_us();
    while (base_clock_mono_us() - begin < 150000) {
        enum { N = 8 };
        const int64_t t0 = base_clock_mono_us();
        for (int i = 0; i < N; i++)
            k->matmul_pack(&w->p, 0, w->p.n_panel, &a->a, a->n_row, y, (size_t)w->p.n_out);
        const int64_t us = (base_clock_mono_us() - t0 + N - 1) / N;
        best = us < best ? us : best;
    }
    return (double)best * 1e-6;
}

static int bench(const struct kern_ops *const *list, int n)
{
    enum { N_IN = 1536, N_OUT = 768, N_X = 128 };
    float *x = tap_alloc((size_t)N_X * N_IN * 4), *y = tap_alloc((size_t)N_X * N_OUT * 4);
    rng_floats(x, (size_t)N_X * N_IN);
    for (int i = 0; i < n; i++)
        for (int t = 0; t < TAP_LEN(types); t++) {
            if (pack_form_of(types[t].type) == NULL)
                continue;
            struct packed w = packed_new(&types[t], N_IN, N_OUT);
            printf("# %-8s %-6s", list[i]->name, types[t].name);
            static const int rows[] = {1, 2, 4, 8, N_X};
            for (int r = 0; r < TAP_LEN(rows); r++) {
                struct acts a = acts_new(rows[r], N_IN);
                acts_fill(&a, list[i], x);
                const double s = fastest(list[i], &w, &a, y);
                if (r == 0)
                    printf("  1 row %6.2f GB/s;", (double)w.p.panel_bytes * w.p.n_panel / s / 1e9);
                printf(" %d: %5.0f", rows[r], 2e-9 * N_IN * N_OUT * rows[r] / s);
                acts_free(&a);
            }
            printf(" GOP/s\n");
            packed_free(&w);
        }
    free(x);
    free(y);
    return 0;
}

int main(int argc, char **argv)
{
    const struct kern_ops *list[8];
    const int n = kern_list(list, TAP_LEN(list));
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench(list, n);
    tap_ok(pack_form_of(GGUF_F32) == NULL && pack_form_of(GGUF_TYPE_MAX + 1) == NULL,
           "floats are not packed");
    for (int i = 0; i < n; i++) {
        rng_state = 11;
        check_act_quant(list[i], list[0]);
        check_nan(list[i]);
        for (int t = 0; t < TAP_LEN(types); t++) {
            if (pack_form_of(types[t].type) == NULL)
                continue;
            check_value(list[i], &types[t]);
            check_same(list[i], list[0], &types[t]);
        }
    }
    return tap_end();
}
