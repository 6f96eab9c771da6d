/* How far one model's predictions are from another's, over a text. */
#ifndef CTL_MODEL_COMPARE_H
#define CTL_MODEL_COMPARE_H

#include <jansson.h>

#include "ctl/model.h"

struct ctl_comparison {
    int64_t n;        /* predictions scored */
    double nll[2];    /* mean negative log-likelihood: original, other */
    double ratio_err; /* standard error of their difference, and so of the perplexities' ratio */
    double kl;        /* mean Kullback-Leibler divergence from the original's distribution */
    double kl_max;    /* of one prediction */
    double same_top;  /* share with the same likeliest token */
};

/* Runs a->text through both, chunk by chunk as `model perplexity` does, with the original's token
 * ids. Errors: those of opening; BASE_EMISMATCH for vocabularies of different size. */
int ctl_compare(const struct ctl_model_args *a, const char *original, const char *other,
                struct ctl_comparison *out, struct base_err *err) BASE_MUST_CHECK;

/* The caller owns it. */
json_t *ctl_comparison_json(const struct ctl_comparison *c);
void ctl_comparison_print(const struct ctl_comparison *c);

#endif
