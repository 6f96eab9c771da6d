/* A model with what it takes to run a text through it, for the commands that score. */
#ifndef CTL_MODEL_RUN_H
#define CTL_MODEL_RUN_H

#include "ctl/model.h"

/* As is the custom, perplexity is that of the second half of each piece of so many tokens. */
enum { CTL_PPL_CHUNK = 512 };

/* A model, its threads, and room for the logits of a step. */
struct ctl_run {
    struct eng_model *m;
    struct eng_lora *lora; /* NULL: none */
    struct eng_exec *e;
    int n_vocab, n_layer, step;
    enum kern_kv_type kv;
    float *logits; /* [step][n_vocab] */
    int32_t *ids;
    int n_ids;
};

/* Opens the model at path, with threads, step, kv and adapter of a. ctl_run_fini also after an
 * error. */
int ctl_run_open(struct ctl_run *r, const struct ctl_model_args *a, const char *path,
                 struct base_err *err) BASE_MUST_CHECK;
/* Opens a->file and reads the text's ids. */
int ctl_run_text(struct ctl_run *r, const struct ctl_model_args *a,
                 struct base_err *err) BASE_MUST_CHECK;
void ctl_run_fini(struct ctl_run *r);

/* Appends n <= step rows to s, with their logits if wanted. */
int ctl_run_rows(struct ctl_run *r, struct eng_session *s, const int32_t *ids, int n, bool want,
                 struct base_err *err) BASE_MUST_CHECK;

/* Called with the logits of rows [at, at + n) of a context. Non-zero ends the run. */
typedef int ctl_rows_fn(void *arg, const float *logits, int at, int n, struct base_err *err);

/* Runs ids[n] as one context; rows before `from` don't get logits. */
int ctl_run_context(struct ctl_run *r, const int32_t *ids, int n, int from, ctl_rows_fn *fn,
                    void *arg, struct base_err *err) BASE_MUST_CHECK;

/* Number of chunks of CTL_PPL_CHUNK in n_ids, all: with the last shorter one. BASE_EINVAL: none. */
int ctl_run_chunks(int n_ids, bool all, int *n_chunk, struct base_err *err) BASE_MUST_CHECK;

/* Natural log of the sum of exp(logits[n]), and of one token's probability, negated. */
double ctl_log_sum_exp(const float *logits, int n);
double ctl_nll(const float *logits, int n, int32_t id);

#endif
