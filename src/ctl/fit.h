/* The statistics of `waypostctl tune confidence`: how well a score tells right from wrong, what
 * probability it stands for, and a logistic regression. Pure; the same seed gives the same numbers.
 * Labels are 0 or 1, n of them. */
#ifndef CTL_FIT_H
#define CTL_FIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { FIT_MAX_ROWS = 4096 };

/* SplitMix64; state is the seed. A number below n. */
uint32_t fit_random(uint64_t *state, uint32_t n);

/* Folds 0..k-1 of rows, at random, each with its share of both labels -> fold[n]. */
void fit_folds(const uint8_t *label, int n, int k, uint64_t seed, int *fold);

/* The chance that a 1 has a higher score than a 0, ties half; NAN if there is only one label.
 * order: scratch [n]. */
double fit_auroc(const double *score, const uint8_t *label, int n, int *order);
/* Expected calibration error: ten bins of equal width, |mean p - share of 1| weighed by rows
 * (Naeini et al., Obtaining well calibrated probabilities using Bayesian binning, 2015). */
double fit_ece(const double *p, const uint8_t *label, int n);
/* Mean negative log-likelihood of labels. */
double fit_log_loss(const double *p, const uint8_t *label, int n);

struct fit_interval {
    double at, lo, hi; /* of the whole; 2.5 % and 97.5 % of the resamples */
    double sd;
};
/* Percentile bootstrap over rows (Efron, 1979). Errors: BASE_ENOMEM. */
int fit_bootstrap(const double *score, const double *p, const uint8_t *label, int n, int n_resample,
                  uint64_t seed, struct fit_interval *auroc,
                  struct fit_interval *ece) BASE_MUST_CHECK;

struct fit_knot {
    double score, p;
};
/* The rising step function nearest to the labels, by pool-adjacent-violators (Ayer et al., 1955),
 * as knots at its blocks' middles -> out[n]; their number. Labels count as the share that a uniform
 * prior leaves them (Platt, Probabilistic outputs for SVMs, 1999), so no probability is 0 or 1.
 * order: scratch [n]. Errors: BASE_ENOMEM. */
int fit_isotonic(const double *score, const uint8_t *label, int n, struct fit_knot *out,
                 int *order);
double fit_through(const struct fit_knot *k, int n, double score);

/* A logistic regression with L2 on features of which each has mean 0 and variance 1. */
struct fit_logit {
    int d;
    double bias, *weight, *mean, *scale; /* [d] each, owned */
    double prior;                        /* variance of the weights' sum, chosen */
};
/* Rows row[n] of x [][d]. The strength of L2 is the one of a few with the least log loss in
 * three-fold cross-validation; held: each row's score when it was held out, [n]. Errors:
 * BASE_ENOMEM, BASE_ELIMIT (rows), BASE_EINVAL (one label only). */
int fit_logit(struct fit_logit *out, const float *x, int d, const uint8_t *label, const int *row,
              int n, uint64_t seed, double *held, struct base_err *err) BASE_MUST_CHECK;
double fit_logit_score(const struct fit_logit *f, const float *x);
void fit_logit_fini(struct fit_logit *f);

#endif
