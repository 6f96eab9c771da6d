/* Logistic regression in its dual form: there are more features (a row of the residual stream) than
 * sentences, so the unknowns are one a sentence. With weights of normal prior the most likely ones
 * are those of a Gaussian process with a linear kernel: Rasmussen and Williams, Gaussian Processes
 * for Machine Learning, 2006, algorithm 3.1 (Newton's method that stays stable where W is near 0).
 */
#include "ctl/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INNER = 3, MAX_NEWTON = 40 };
static const double priors[] = {0.03, 0.3, 3, 30};
enum { N_PRIOR = sizeof priors / sizeof priors[0] };
static const double bias_prior = 25; /* variance of the intercept: nearly free */

/* Room for one fit of up to n rows. */
struct work {
    int n;
    double *gram;              /* [n][n] of the standardised rows */
    double *k, *l;             /* [n][n] kernel of the rows at hand, Cholesky factor */
    double *f, *a, *w, *b, *t; /* [n] */
    int *fold, *at;            /* [n] */
};

static void work_fini(struct work *w)
{
    free(w->gram);
    free(w->k);
    free(w->l);
    free(w->f);
    free(w->a);
    free(w->w);
    free(w->b);
    free(w->t);
    free(w->fold);
    free(w->at);
}

static bool work_init(struct work *w, int n)
{
    const size_t s = (size_t)n, sq = s * s;
    *w = (struct work){.n = n};
    return (w->gram = malloc(sq * sizeof(double))) != NULL &&
           (w->k = malloc(sq * sizeof(double))) != NULL &&
           (w->l = malloc(sq * sizeof(double))) != NULL &&
           (w->f = malloc(s * sizeof(double))) != NULL &&
           (w->a = malloc(s * sizeof(double))) != NULL &&
           (w->w = malloc(s * sizeof(double))) != NULL &&
           (w->b = malloc(s * sizeof(double))) != NULL &&
           (w->t = malloc(s * sizeof(double))) != NULL &&
           (w->fold = malloc(s * sizeof(int))) != NULL && (w->at = malloc(s * sizeof(int))) != NULL;
}

/* Four sums side by side: the compiler may not reorder one. */
static double dot(const double *x, const double *y, int n)
{
    double s[4] = {0};
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        s[0] += x[i] * y[i];
        s[1] += x[i + 1] * y[i + 1];
        s[2] += x[i + 2] * y[i + 2];
        s[3] += x[i + 3] * y[i + 3];
    }
    for (; i < n; i++)
        s[0] += x[i] * y[i];
    return s[0] + s[1] + s[2] + s[3];
}

/* l l' = I + w^1/2 k w^1/2, whose eigenvalues are 1 at least. */
static void factor(struct work *w, int n)
{
    for (int i = 0; i < n; i++) {
        double *li = w->l + (size_t)i * (size_t)n;
        for (int j = 0; j <= i; j++) {
            const double *lj = w->l + (size_t)j * (size_t)n;
            const double v = w->w[i] * w->k[(size_t)i * (size_t)n + (size_t)j] * w->w[j] +
                             (i == j ? 1.0 : 0.0) - dot(li, lj, j);
            li[j] = i == j ? sqrt(v) : v / lj[j];
        }
    }
}

/* t = (l l')^-1 t */
static void solve(const struct work *w, int n)
{
    double *t = w->t;
    for (int i = 0; i < n; i++) {
        const double *li = w->l + (size_t)i * (size_t)n;
        t[i] = (t[i] - dot(li, t, i)) / li[i];
    }
    for (int i = n - 1; i >= 0; i--) {
        const double *li = w->l + (size_t)i * (size_t)n;
        t[i] /= li[i];
        for (int j = 0; j < i; j++)
            t[j] -= li[j] * t[i];
    }
}

static double log1p_exp(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* a of the kernel k over n rows with these labels (of rows at[i]), from the a that is there. */
static void newton(struct work *w, int n, const uint8_t *label)
{
    double before = -INFINITY;
    for (int i = 0; i < n; i++)
        w->f[i] = dot(w->k + (size_t)i * (size_t)n, w->a, n);
    for (int it = 0; it < MAX_NEWTON; it++) {
        double now = 0;
        for (int i = 0; i < n; i++) {
            const double p = 1 / (1 + exp(-w->f[i])), v = p * (1 - p);
            now -= 0.5 * w->a[i] * w->f[i] +
                   (label[w->at[i]] ? log1p_exp(-w->f[i]) : log1p_exp(w->f[i]));
            w->b[i] = v * w->f[i] + label[w->at[i]] - p;
            w->w[i] = sqrt(v);
        }
        if (now - before < 1e-7 * n)
            return;
        before = now;
        factor(w, n);
        for (int i = 0; i < n; i++)
            w->t[i] = w->w[i] * dot(w->k + (size_t)i * (size_t)n, w->b, n);
        solve(w, n);
        for (int i = 0; i < n; i++)
            w->a[i] = w->b[i] - w->w[i] * w->t[i];
        for (int i = 0; i < n; i++)
            w->f[i] = dot(w->k + (size_t)i * (size_t)n, w->a, n);
    }
}

static double kernel(const struct work *w, int i, int j, double scale)
{
    return scale * w->gram[(size_t)i * (size_t)w->n + (size_t)j] + bias_prior;
}

/* Fits the rows at[m] (places in gram) with this scale of the kernel. */
static void fit_rows(struct work *w, int m, const uint8_t *label, double scale)
{
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < m; j++)
            w->k[(size_t)i * (size_t)m + (size_t)j] = kernel(w, w->at[i], w->at[j], scale);
    }
    newton(w, m, label);
}

/* Scores of each row by the rows of the other folds -> held [prior][n]; the log loss of each prior.
 * Each prior begins where the one before ended, which is near. */
static void cross_validate(struct work *w, const uint8_t *label, int d, double *held,
                           double loss[N_PRIOR])
{
    const size_t n = (size_t)w->n;
    memset(loss, 0, N_PRIOR * sizeof *loss);
    for (int f = 0; f < INNER; f++) {
        int m = 0;
        for (int i = 0; i < w->n; i++) {
            if (w->fold[i] != f)
                w->at[m++] = i;
        }
        memset(w->a, 0, n * sizeof *w->a);
        for (int p = 0; p < N_PRIOR; p++) {
            fit_rows(w, m, label, priors[p] / d);
            for (int i = 0; i < w->n; i++) {
                if (w->fold[i] != f)
                    continue;
                double s = 0;
                for (int j = 0; j < m; j++)
                    s += w->a[j] * kernel(w, i, w->at[j], priors[p] / d);
                held[(size_t)p * n + (size_t)i] = s;
                loss[p] += label[i] ? log1p_exp(-s) : log1p_exp(s);
            }
        }
    }
}

/* z [n][d]: rows less their mean, by their deviation. A feature that never changes is left out. */
static void standardise(struct fit_logit *o, const float *x, const int *row, int n, double *z)
{
    for (int c = 0; c < o->d; c++) {
        double sum = 0, square = 0;
        for (int i = 0; i < n; i++)
            sum += (double)x[(size_t)row[i] * (size_t)o->d + (size_t)c];
        o->mean[c] = sum / n;
        for (int i = 0; i < n; i++) {
            const double v = (double)x[(size_t)row[i] * (size_t)o->d + (size_t)c] - o->mean[c];
            square += v * v;
        }
        const double sd = sqrt(square / n);
        const bool flat = !(sd > 1e-9 * (fabs(o->mean[c]) + 1e-9));
        o->scale[c] = flat ? 1 : sd;
        for (int i = 0; i < n; i++)
            z[(size_t)i * (size_t)o->d + (size_t)c] =
                flat ? 0 : ((double)x[(size_t)row[i] * (size_t)o->d + (size_t)c] - o->mean[c]) / sd;
    }
}

static void fill_gram(struct work *w, const double *z, int d)
{
    for (int i = 0; i < w->n; i++) {
        for (int j = 0; j <= i; j++) {
            const double v = dot(z + (size_t)i * (size_t)d, z + (size_t)j * (size_t)d, d);
            w->gram[(size_t)i * (size_t)w->n + (size_t)j] = v;
            w->gram[(size_t)j * (size_t)w->n + (size_t)i] = v;
        }
    }
}

/* The chosen strength on all rows -> weights. */
static void finish(struct fit_logit *o, struct work *w, const double *z, const uint8_t *label)
{
    const double scale = o->prior / o->d;
    for (int i = 0; i < w->n; i++)
        w->at[i] = i;
    memset(w->a, 0, (size_t)w->n * sizeof *w->a);
    fit_rows(w, w->n, label, scale);
    for (int i = 0; i < w->n; i++) {
        o->bias += bias_prior * w->a[i];
        for (int c = 0; c < o->d; c++)
            o->weight[c] += scale * w->a[i] * z[(size_t)i * (size_t)o->d + (size_t)c];
    }
}

static bool both_labels(const uint8_t *label, int n)
{
    int n1 = 0;
    for (int i = 0; i < n; i++)
        n1 += label[i];
    return n1 >= INNER && n - n1 >= INNER;
}

int fit_logit(struct fit_logit *out, const float *x, int d, const uint8_t *label, const int *row,
              int n, uint64_t seed, double *held, struct base_err *err)
{
    struct work w = {0};
    uint8_t *y = NULL;
    double *z = NULL, *all = NULL, loss[N_PRIOR];
    int rc = 0;
    *out = (struct fit_logit){.d = d, .prior = priors[0]};
    if (n > FIT_MAX_ROWS)
        return base_err_set(err, BASE_ELIMIT, "regression", "%d rows, at most %d", n, FIT_MAX_ROWS);
    if ((y = malloc((size_t)n + 1)) == NULL ||
        (all = malloc((size_t)n * N_PRIOR * sizeof *all + 1)) == NULL ||
        (z = malloc((size_t)n * (size_t)d * sizeof *z + 1)) == NULL || !work_init(&w, n) ||
        (out->weight = calloc((size_t)d, sizeof(double))) == NULL ||
        (out->mean = calloc((size_t)d, sizeof(double))) == NULL ||
        (out->scale = calloc((size_t)d, sizeof(double))) == NULL) {
        rc = base_err_set(err, BASE_ENOMEM, "regression", "no memory for %d rows of %d", n, d);
        goto out;
    }
    for (int i = 0; i < n; i++)
        y[i] = label[row[i]];
    if (!both_labels(y, n)) {
        rc = base_err_set(err, BASE_EINVAL, "regression", "fewer than %d rows of one label", INNER);
        goto out;
    }
    standardise(out, x, row, n, z);
    fill_gram(&w, z, d);
    fit_folds(y, n, INNER, seed, w.fold);
    cross_validate(&w, y, d, all, loss);
    int least = 0;
    for (int p = 1; p < N_PRIOR; p++)
        least = loss[p] < loss[least] ? p : least;
    out->prior = priors[least];
    memcpy(held, all + (size_t)least * (size_t)n, (size_t)n * sizeof *held);
    finish(out, &w, z, y);
out:
    work_fini(&w);
    free(y);
    free(z);
    free(all);
    if (rc != 0)
        fit_logit_fini(out);
    return rc;
}

double fit_logit_score(const struct fit_logit *f, const float *x)
{
    double s = f->bias;
    for (int c = 0; c < f->d; c++)
        s += f->weight[c] * (((double)x[c] - f->mean[c]) / f->scale[c]);
    return s;
}

void fit_logit_fini(struct fit_logit *f)
{
    free(f->weight);
    free(f->mean);
    free(f->scale);
    *f = (struct fit_logit){0};
}
