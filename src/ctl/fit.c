#include "ctl/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. */
uint32_t fit_random(uint64_t *state, uint32_t n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (uint32_t)(((z >> 32) * n) >> 32);
}

void fit_folds(const uint8_t *label, int n, int k, uint64_t seed, int *fold)
{
    int seen[2] = {0};
    for (int i = 0; i < n; i++)
        fold[i] = label[i] ? k - 1 - seen[1]++ % k : seen[0]++ % k;
    for (int i = n - 1; i > 0; i--) { /* Fisher and Yates, among rows of a label */
        int j;
        do
            j = (int)fit_random(&seed, (uint32_t)i + 1);
        while (label[j] != label[i]);
        const int t = fold[i];
        fold[i] = fold[j];
        fold[j] = t;
    }
}

/* ---- measures ---- */

static int by_score(const void *a, const void *b, void *score)
{
    const double x = ((const double *)score)[*(const int *)a],
                 y = ((const double *)score)[*(const int *)b];
    if (x != y)
        return x < y ? -1 : 1;
    return *(const int *)a - *(const int *)b;
}

static void sort_order(const double *score, int n, int *order)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    qsort_r(order, (size_t)n, sizeof *order, by_score, (void *)score);
}

/* Mann and Whitney's U over the sorted rows; weight NULL: each counts once. */
static double auroc_sorted(const double *score, const uint8_t *label, const int *order, int n,
                           const int *weight)
{
    double n1 = 0, n0 = 0, u = 0;
    for (int i = 0; i < n;) {
        double same1 = 0, same0 = 0;
        const double s = score[order[i]];
        for (; i < n && score[order[i]] == s; i++) {
            const double w = weight != NULL ? weight[order[i]] : 1;
            *(label[order[i]] ? &same1 : &same0) += w;
        }
        u += same1 * (n0 + same0 / 2);
        n1 += same1;
        n0 += same0;
    }
    return n1 > 0 && n0 > 0 ? u / (n1 * n0) : (double)NAN;
}

double fit_auroc(const double *score, const uint8_t *label, int n, int *order)
{
    sort_order(score, n, order);
    return auroc_sorted(score, label, order, n, NULL);
}

enum { BINS = 10 };

static double ece_weighed(const double *p, const uint8_t *label, int n, const int *weight)
{
    double sum_p[BINS] = {0}, sum_y[BINS] = {0}, gap = 0, all = 0;
    for (int i = 0; i < n; i++) {
        const double w = weight != NULL ? weight[i] : 1;
        int b = (int)(p[i] * BINS);
        b = b < 0 ? 0 : b >= BINS ? BINS - 1 : b;
        sum_p[b] += w * p[i];
        sum_y[b] += w * label[i];
        all += w;
    }
    for (int b = 0; b < BINS; b++)
        gap += fabs(sum_p[b] - sum_y[b]);
    return all > 0 ? gap / all : 0;
}

double fit_ece(const double *p, const uint8_t *label, int n)
{
    return ece_weighed(p, label, n, NULL);
}

double fit_log_loss(const double *p, const uint8_t *label, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum -= log(fmax(label[i] ? p[i] : 1 - p[i], 1e-12));
    return n > 0 ? sum / n : 0;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void interval(double *v, int n, double at, struct fit_interval *out)
{
    double sum = 0, square = 0;
    *out = (struct fit_interval){.at = at, .lo = at, .hi = at};
    if (n < 2)
        return;
    qsort(v, (size_t)n, sizeof *v, by_value);
    for (int i = 0; i < n; i++) {
        sum += v[i];
        square += v[i] * v[i];
    }
    out->lo = v[(int)(0.025 * (n - 1) + 0.5)];
    out->hi = v[(int)(0.975 * (n - 1) + 0.5)];
    out->sd = sqrt(fmax(square / n - sum / n * (sum / n), 0));
}

int fit_bootstrap(const double *score, const double *p, const uint8_t *label, int n, int n_resample,
                  uint64_t seed, struct fit_interval *auroc, struct fit_interval *ece)
{
    int rc = 0, n_good = 0;
    double *a = malloc((size_t)n_resample * sizeof *a + 1),
           *e = malloc((size_t)n_resample * sizeof *e + 1);
    int *order = malloc((size_t)n * sizeof *order + 1),
        *weight = malloc((size_t)n * sizeof *weight + 1);
    if (a == NULL || e == NULL || order == NULL || weight == NULL) {
        rc = BASE_ENOMEM;
        goto out;
    }
    sort_order(score, n, order);
    for (int r = 0; r < n_resample; r++) {
        memset(weight, 0, (size_t)n * sizeof *weight);
        for (int i = 0; i < n; i++)
            weight[fit_random(&seed, (uint32_t)n)]++;
        const double v = auroc_sorted(score, label, order, n, weight);
        if (isnan(v))
            continue;
        a[n_good] = v;
        e[n_good++] = ece_weighed(p, label, n, weight);
    }
    interval(a, n_good, auroc_sorted(score, label, order, n, NULL), auroc);
    interval(e, n_good, fit_ece(p, label, n), ece);
out:
    free(a);
    free(e);
    free(order);
    free(weight);
    return rc;
}

/* ---- isotonic ---- */

int fit_isotonic(const double *score, const uint8_t *label, int n, struct fit_knot *out, int *order)
{
    /* A block: sums while it grows; out's fields hold them. Its rows: count[]. */
    double n1 = 0;
    int n_block = 0;
    for (int i = 0; i < n; i++)
        n1 += label[i];
    const double hi = (n1 + 1) / (n1 + 2), lo = 1 / (n - n1 + 2);
    double *count = malloc((size_t)n * sizeof *count + 1);
    if (count == NULL)
        return BASE_ENOMEM;
    sort_order(score, n, order);
    for (int i = 0; i < n;) {
        struct fit_knot b = {0};
        double c = 0;
        const double s = score[order[i]];
        for (; i < n && score[order[i]] == s; i++, c++) {
            b.score += s;
            b.p += label[order[i]] ? hi : lo;
        }
        /* >=: equal neighbours are one block too, so there are fewer knots. */
        while (n_block > 0 && out[n_block - 1].p * c >= b.p * count[n_block - 1]) {
            n_block--;
            b.score += out[n_block].score;
            b.p += out[n_block].p;
            c += count[n_block];
        }
        count[n_block] = c;
        out[n_block++] = b;
    }
    for (int i = 0; i < n_block; i++) {
        out[i].score /= count[i];
        out[i].p /= count[i];
    }
    free(count);
    return n_block;
}

double fit_through(const struct fit_knot *k, int n, double score)
{
    if (score <= k[0].score)
        return k[0].p;
    for (int i = 1; i < n; i++) {
        if (score < k[i].score)
            return k[i - 1].p +
                   (k[i].p - k[i - 1].p) * (score - k[i - 1].score) / (k[i].score - k[i - 1].score);
    }
    return k[n - 1].p;
}
