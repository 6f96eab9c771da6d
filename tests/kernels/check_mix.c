/* The mix operation (an adapter's second matrix) of every table: against double precision, against
 * itself under other batches, and the vector tables against each other. */
#include <math.h>

#include "engine/kernels/kern.h"
#include "engine/quant.h"
#include "tap.h"

#define EPS 0x1p-24 /* half an ulp of 1: the relative error of one rounding */

enum { PANEL = 32, MAX_ROW = 70, MAX_N = 200, MAX_X = 17 };

/* A case: W as it is meant and in panels, t, y. */
struct mix {
    uint32_t type;
    int n_row, n, n_x;
    float w[MAX_ROW][MAX_N];
    void *panels;
    float t[MAX_X][MAX_ROW + 3], y[MAX_X][MAX_N];
};

static void put(const struct mix *c, size_t at, float v)
{
    const uint16_t h = quant_f32_to_f16(v);
    if (c->type == GGUF_F32)
        ((float *)c->panels)[at] = v;
    else
        ((uint16_t *)c->panels)[at] = h;
}

static void some_case(struct mix *c)
{
    c->type = rng_in(0, 1) ? GGUF_F32 : GGUF_F16;
    c->n_row = rng_in(1, MAX_ROW);
    c->n = rng_in(1, MAX_N);
    c->n_x = rng_in(1, MAX_X);
    const int n_panel = (c->n + PANEL - 1) / PANEL;
    c->panels = tap_alloc((size_t)(n_panel * c->n_row * PANEL) * 4);
    for (int j = 0; j < c->n_row; j++)
        for (int i = 0; i < n_panel * PANEL; i++) {
            const float v = quant_f16_to_f32(quant_f32_to_f16(rng_f32()));
            put(c, (size_t)((i / PANEL * c->n_row + j) * PANEL + i % PANEL), v);
            if (i < c->n)
                c->w[j][i] = v;
        }
    rng_floats(&c->t[0][0], sizeof c->t / sizeof(float));
    rng_floats(&c->y[0][0], sizeof c->y / sizeof(float));
}

static void run(const struct kern_ops *k, const struct mix *c, int x0, int n_x, float y[][MAX_N])
{
    k->mix(c->type, c->panels, c->n_row, c->n, c->t[x0], MAX_ROW + 3, n_x, y[x0], MAX_N);
}

/* The largest error over its bound: a chain of n_row products and sums, then one sum more. */
static double error_of(const struct mix *c, float got[][MAX_N])
{
    double worst = 0;
    for (int m = 0; m < c->n_x; m++)
        for (int i = 0; i < c->n; i++) {
            double ref = c->y[m][i], size = fabs(ref);
            for (int j = 0; j < c->n_row; j++) {
                ref += (double)c->t[m][j] * (double)c->w[j][i];
                size += fabs((double)c->t[m][j] * (double)c->w[j][i]);
            }
            worst = fmax(worst, fabs(got[m][i] - ref) / (size * (c->n_row + 2) * EPS));
        }
    return worst;
}

static void check(const struct kern_ops *k, const struct kern_ops *first)
{
    static struct mix c;
    static float y[MAX_X][MAX_N], alone[MAX_X][MAX_N], other[MAX_X][MAX_N];
    double worst = 0;
    bool guarded = true, same = true, agree = true;
    rng_state = 11;
    for (int round = 0; round < 300; round++) {
        some_case(&c);
        memcpy(y, c.y, sizeof y);
        memcpy(alone, c.y, sizeof y);
        memcpy(other, c.y, sizeof y);
        run(k, &c, 0, c.n_x, y);
        worst = fmax(worst, error_of(&c, y));
        for (int m = 0; m < c.n_x; m++)
            run(k, &c, m, 1, alone);
        same = same && memcmp(y, alone, sizeof y) == 0;
        for (int m = 0; m < MAX_X; m++) {
            const int from = m < c.n_x ? c.n : 0;
            guarded = guarded && memcmp(y[m] + from, c.y[m] + from,
                                        (size_t)(MAX_N - from) * sizeof(float)) == 0;
        }
        run(first, &c, 0, c.n_x, other);
        agree = agree && memcmp(y, other, sizeof y) == 0;
        free(c.panels);
    }
    tap_ok(worst <= 1.0, "%s mix: error %.2f of its bound", k->name, worst);
    tap_ok(same, "%s mix: each row alone gives the same bits", k->name);
    tap_ok(guarded, "%s mix: writes nothing else", k->name);
    tap_ok(agree, "%s mix: bit-identical to %s", k->name, first->name);
}

int main(void)
{
    const struct kern_ops *list[8];
    const int n = kern_list(list, TAP_LEN(list));
    for (int i = 0; i < n; i++)
        check(list[i], i == 0 ? list[0] : list[1]);
    return tap_end();
}
