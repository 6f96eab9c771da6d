/* The statistics of `waypostctl tune`: against the definitions, by hand and by brute force. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/fit.h"
#include "../fixtures/wrap_alloc.h"

enum { MAX = 400 };

static void near(double got, double want, double by)
{
    if (!(fabs(got - want) <= by))
        fail_msg("%.9g, not %.9g", got, want);
}

/* In (0, 1). */
static double uniform(uint64_t *seed)
{
    return (fit_random(seed, 1u << 30) + 0.5) / (1u << 30);
}

static void auroc_counts_pairs(void **state)
{
    (void)state;
    uint64_t seed = 7;
    int order[MAX];
    for (int round = 0; round < 50; round++) {
        double score[MAX], won = 0, pairs = 0;
        uint8_t label[MAX];
        const int n = 2 + (int)fit_random(&seed, 60);
        for (int i = 0; i < n; i++) {
            score[i] = fit_random(&seed, 12) / 4.0; /* many ties */
            label[i] = (uint8_t)fit_random(&seed, 2);
        }
        for (int i = 0; i < n; i++) {
            for (int k = 0; k < n; k++) {
                if (!label[i] || label[k])
                    continue;
                pairs++;
                won += score[i] > score[k] ? 1 : score[i] == score[k] ? 0.5 : 0;
            }
        }
        const double got = fit_auroc(score, label, n, order);
        if (pairs == 0)
            assert_true(isnan(got));
        else
            near(got, won / pairs, 1e-12);
    }
}

static void calibration_error_is_by_bins(void **state)
{
    (void)state;
    const double p[] = {0.05, 0.05, 0.31, 0.39, 0.95, 1.0};
    const uint8_t label[] = {0, 1, 0, 1, 1, 1};
    near(fit_ece(p, label, 6), (0.9 + 0.3 + 0.05) / 6, 1e-12);
    near(fit_ece(p + 2, label + 2, 2), 0.15, 1e-12);
    near(fit_log_loss(p, label, 2), -(log(0.95) + log(0.05)) / 2, 1e-12);
}

static void folds_have_their_shares(void **state)
{
    (void)state;
    uint8_t label[103];
    int fold[103], again[103], other[103];
    for (int i = 0; i < 103; i++)
        label[i] = i % 4 == 0 || i > 90;
    fit_folds(label, 103, 5, 3, fold);
    fit_folds(label, 103, 5, 3, again);
    fit_folds(label, 103, 5, 4, other);
    assert_memory_equal(fold, again, sizeof fold);
    assert_memory_not_equal(fold, other, sizeof fold);
    int n[5] = {0}, n1[5] = {0}, all1 = 0;
    for (int i = 0; i < 103; i++) {
        assert_in_range(fold[i], 0, 4);
        n[fold[i]]++;
        n1[fold[i]] += label[i];
        all1 += label[i];
    }
    for (int f = 0; f < 5; f++) {
        assert_in_range(n[f], 20, 22);
        assert_in_range(n1[f], all1 / 5, all1 / 5 + 1);
    }
}

/* The least squares fit that rises: no other rising step function, tried one by one on a grid, is
 * nearer. */
static void isotonic_is_the_nearest_rise(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 200; round++) {
        enum { N = 7, GRID = 12 };
        double score[N], y[N], n1 = 0, got = 0, best = 1e9;
        uint8_t label[N];
        int order[N];
        struct fit_knot k[N];
        for (int i = 0; i < N; i++) {
            score[i] = i;
            label[i] = (uint8_t)fit_random(&seed, 2);
            n1 += label[i];
        }
        for (int i = 0; i < N; i++)
            y[i] = label[i] ? (n1 + 1) / (n1 + 2) : 1 / (N - n1 + 2);
        const int n = fit_isotonic(score, label, N, k, order);
        assert_in_range(n, 1, N);
        /* Blocks' levels back from the knots: each knot is its block's middle. */
        for (int i = 0, b = 0, begin = 0; b < n; b++) {
            const int size = (int)lround(2 * (k[b].score - begin)) + 1;
            for (; i < begin + size; i++)
                got += (k[b].p - y[i]) * (k[b].p - y[i]);
            begin += size;
            assert_true(b == 0 || (k[b].p > k[b - 1].p && k[b].score > k[b - 1].score));
            assert_true(b < n - 1 || begin == N);
        }
        for (int step = 0; step <= N; step++) { /* two levels are enough to catch a bad pooling */
            for (int lo = 0; lo <= GRID; lo++) {
                for (int hi = lo; hi <= GRID; hi++) {
                    double sum = 0;
                    for (int i = 0; i < N; i++) {
                        const double v = (i < step ? lo : hi) / (double)GRID;
                        sum += (v - y[i]) * (v - y[i]);
                    }
                    best = sum < best ? sum : best;
                }
            }
        }
        assert_true(got <= best + 1e-12);
    }
}

static void equal_scores_are_one_knot(void **state)
{
    (void)state;
    const double score[] = {1, 1, 1, 1, 2, 2};
    const uint8_t label[] = {0, 1, 0, 1, 1, 1};
    struct fit_knot k[6];
    int order[6];
    assert_int_equal(fit_isotonic(score, label, 6, k, order), 2);
    near(k[0].score, 1, 0);
    near(k[0].p, (5.0 / 6 + 1.0 / 4) / 2, 1e-12);
    near(k[1].p, 5.0 / 6, 1e-12);
    near(fit_through(k, 2, 0), k[0].p, 0);
    near(fit_through(k, 2, 1.5), (k[0].p + k[1].p) / 2, 1e-12);
    near(fit_through(k, 2, 9), k[1].p, 0);
}

/* A coin's share: the interval of AUROC about 0.5 holds it, and is as wide as theory says. */
static void intervals_are_as_wide_as_they_should_be(void **state)
{
    (void)state;
    enum { N = 400 };
    static double score[N], p[N];
    static uint8_t label[N];
    struct fit_interval a, e, again;
    uint64_t seed = 11;
    for (int i = 0; i < N; i++) {
        score[i] = uniform(&seed);
        p[i] = 0.5;
        label[i] = (uint8_t)fit_random(&seed, 2);
    }
    assert_int_equal(fit_bootstrap(score, p, label, N, 1000, 1, &a, &e), 0);
    assert_int_equal(fit_bootstrap(score, p, label, N, 1000, 1, &again, &e), 0);
    assert_memory_equal(&a, &again, sizeof a);
    assert_true(a.lo < a.at && a.at < a.hi && a.lo < 0.5 && a.hi > 0.5);
    near(a.sd, sqrt((N + 1.0) / (12.0 * 200 * 200)), 0.006); /* Mann and Whitney's variance of U */
    assert_true(e.lo <= e.hi && e.at < 0.1);
}

static double likelihood(const float *x, const uint8_t *label, int n, int d, const double *w,
                         double b)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double s = b;
        for (int c = 0; c < d; c++)
            s += w[c] * (double)x[i * d + c];
        sum -= label[i] ? log1p(exp(-s)) : log1p(exp(s));
    }
    return sum;
}

/* The weights are where the penalised likelihood is highest: a step in any direction lowers it. */
static void regression_is_at_the_top(void **state)
{
    (void)state;
    enum { N = 90, D = 5 };
    static float x[N * D], z[N * D];
    static uint8_t label[N];
    static int row[N];
    static double held[N];
    struct fit_logit f;
    struct base_err err = {0};
    uint64_t seed = 3;
    for (int i = 0; i < N; i++) {
        double s = -0.4;
        for (int c = 0; c < D; c++) {
            x[i * D + c] = (float)((uniform(&seed) - 0.5) * (c + 1) * 4 + 10 * c);
            s += (c % 2 ? 0.8 : -0.5) * ((double)x[i * D + c] - 10 * c);
        }
        label[i] = uniform(&seed) < 1 / (1 + exp(-s));
        row[i] = i;
    }
    assert_int_equal(fit_logit(&f, x, D, label, row, N, 1, held, &err), 0);
    for (int i = 0; i < N; i++) {
        for (int c = 0; c < D; c++)
            z[i * D + c] = (float)(((double)x[i * D + c] - f.mean[c]) / f.scale[c]);
        near(fit_logit_score(&f, x + i * D),
             f.bias + f.weight[0] * (double)z[i * D] + f.weight[1] * (double)z[i * D + 1] +
                 f.weight[2] * (double)z[i * D + 2] + f.weight[3] * (double)z[i * D + 3] +
                 f.weight[4] * (double)z[i * D + 4],
             1e-4);
    }
    double top = -INFINITY;
    for (int at = -1; at <= 2 * D + 1; at++) {
        double w[D], b = f.bias, penalty = 0;
        memcpy(w, f.weight, sizeof w);
        if (at >= 0 && at < 2 * D)
            w[at / 2] += at % 2 ? 0.02 : -0.02;
        else if (at >= 0)
            b += at % 2 ? 0.02 : -0.02;
        for (int c = 0; c < D; c++)
            penalty += w[c] * w[c] * D / f.prior;
        const double now = likelihood(z, label, N, D, w, b) - (penalty + b * b / 25) / 2;
        if (at < 0)
            top = now;
        else
            assert_true(now < top);
    }
    int order[N];
    assert_true(fit_auroc(held, label, N, order) > 0.8); /* it learns what there is */
    fit_logit_fini(&f);
}

/* More features than rows, all of them noise: held-out scores know nothing, and say so. */
static void noise_is_not_learnt(void **state)
{
    (void)state;
    enum { N = 120, D = 300 };
    static float x[N * D];
    static uint8_t label[N];
    static int row[N], order[N];
    static double held[N], p[N];
    struct fit_logit f;
    struct base_err err = {0};
    uint64_t seed = 9;
    for (int i = 0; i < N * D; i++)
        x[i] = (float)(uniform(&seed) - 0.5);
    for (int i = 0; i < N; i++) {
        x[i * D + 4] = 7; /* one that never changes */
        label[i] = (uint8_t)(i % 2);
        row[i] = i;
    }
    assert_int_equal(fit_logit(&f, x, D, label, row, N, 1, held, &err), 0);
    for (int i = 0; i < N; i++)
        p[i] = 1 / (1 + exp(-held[i]));
    near(fit_auroc(held, label, N, order), 0.5, 0.15);
    assert_true(fit_log_loss(p, label, N) < 0.75); /* 0.69: a coin */
    assert_true(f.weight[4] == 0.0 && isfinite(f.bias));
    fit_logit_fini(&f);
}

static void bad_calls_and_no_memory(void **state)
{
    (void)state;
    static float x[20 * 2];
    static uint8_t label[20];
    static int row[20], order[20];
    static double held[20], p[20];
    struct fit_logit f;
    struct fit_interval a, e;
    struct fit_knot k[20];
    struct base_err err = {0};
    for (int i = 0; i < 20; i++) {
        row[i] = i;
        x[2 * i] = (float)i;
        label[i] = i < 2;
        p[i] = 0.5;
    }
    assert_int_equal(fit_logit(&f, x, 2, label, row, 20, 1, held, &err), BASE_EINVAL);
    assert_int_equal(fit_logit(&f, x, 2, label, row, FIT_MAX_ROWS + 1, 1, held, &err), BASE_ELIMIT);
    for (int i = 0; i < 20; i++)
        label[i] = i % 3 == 0;
    int n = 0, rc = -1;
    for (; rc != 0 && n < 100; n++) {
        n_alloc = 0;
        fail_at = n;
        rc = fit_logit(&f, x, 2, label, row, 20, 1, held, &err);
        const bool failed = n_alloc > n;
        fail_at = -1;
        assert_true(rc == 0 ? !failed : rc == BASE_ENOMEM);
        assert_true(rc == 0 || f.weight == NULL);
    }
    assert_in_range(n, 10, 99);
    fit_logit_fini(&f);
    n_alloc = fail_at = 0;
    assert_int_equal(fit_isotonic(held, label, 20, k, order), BASE_ENOMEM);
    for (int i = 0; i < 4; i++) {
        n_alloc = 0;
        fail_at = i;
        assert_int_equal(fit_bootstrap(held, p, label, 20, 10, 1, &a, &e), BASE_ENOMEM);
    }
    fail_at = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auroc_counts_pairs),
        cmocka_unit_test(calibration_error_is_by_bins),
        cmocka_unit_test(folds_have_their_shares),
        cmocka_unit_test(isotonic_is_the_nearest_rise),
        cmocka_unit_test(equal_scores_are_one_knot),
        cmocka_unit_test(intervals_are_as_wide_as_they_should_be),
        cmocka_unit_test(regression_is_at_the_top),
        cmocka_unit_test(noise_is_not_learnt),
        cmocka_unit_test(bad_calls_and_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
