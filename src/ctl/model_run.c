#include "ctl/model_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void ctl_run_fini(struct ctl_run *r)
{
    free(r->ids);
    free(r->logits);
    eng_exec_free(r->e);
    eng_lora_close(r->lora);
    eng_model_close(r->m);
}

int ctl_run_open(struct ctl_run *r, const struct ctl_model_args *a, const char *path,
                 struct base_err *err)
{
    memset(r, 0, sizeof *r);
    const struct eng_model_opt opt = {
        .path = path, .layer_end = -1, .cpu = getenv("WAYPOST_CPU"), .exact = a->exact};
    int rc = eng_model_open(&r->m, &opt, err);
    if (rc != 0)
        return rc;
    r->n_vocab = eng_model_config(r->m)->n_vocab;
    r->n_layer = eng_model_config(r->m)->n_layer;
    r->step = a->chunk;
    r->kv = a->kv;
    if ((rc = ctl_open_adapter(a, r->m, &r->lora, err)) != 0 ||
        (rc = eng_exec_new(&r->e, r->m, a->n_thread, r->step, err)) != 0)
        return rc;
    r->logits = malloc((size_t)r->step * (size_t)r->n_vocab * sizeof *r->logits);
    return r->logits != NULL ? 0 : base_err_set(err, BASE_ENOMEM, path, "no memory for logits");
}

int ctl_run_text(struct ctl_run *r, const struct ctl_model_args *a, struct base_err *err)
{
    int rc = ctl_run_open(r, a, a->file, err);
    return rc != 0 ? rc : ctl_read_ids(a, r->m, &r->ids, &r->n_ids, err);
}

int ctl_run_rows(struct ctl_run *r, struct eng_session *s, const int32_t *ids, int n, bool want,
                 struct base_err *err)
{
    const struct eng_seg g = {.s = s,
                              .layer_end = r->n_layer,
                              .n_row = n,
                              .token = ids,
                              .logits = want ? r->logits : NULL,
                              .logits_all = true,
                              .lora = r->lora};
    return eng_exec_run(r->e, &g, 1, err);
}

int ctl_run_context(struct ctl_run *r, const int32_t *ids, int n, int from, ctl_rows_fn *fn,
                    void *arg, struct base_err *err)
{
    struct eng_session *s = NULL;
    int rc = eng_session_new(&s, r->m, n, r->kv, err);
    for (int at = 0, k; at < n && rc == 0; at += k) {
        const int end = at < from ? from : n; /* a step lies on one side of `from` */
        k = end - at < r->step ? end - at : r->step;
        rc = ctl_run_rows(r, s, ids + at, k, at >= from, err);
        if (rc == 0 && at >= from)
            rc = fn(arg, r->logits, at, k, err);
    }
    eng_session_free(s);
    return rc;
}

int ctl_run_chunks(int n_ids, bool all, int *n_chunk, struct base_err *err)
{
    *n_chunk = all ? (n_ids + CTL_PPL_CHUNK - 1) / CTL_PPL_CHUNK : n_ids / CTL_PPL_CHUNK;
    if (all ? n_ids < 2 : *n_chunk < 1)
        return base_err_set(err, BASE_EINVAL, "text", "%d tokens are too few: at least %d%s", n_ids,
                            all ? 2 : CTL_PPL_CHUNK, all ? "" : ", or --all");
    return 0;
}

double ctl_log_sum_exp(const float *logits, int n)
{
    float max = logits[0];
    for (int i = 1; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)max);
    return (double)max + log(sum);
}

double ctl_nll(const float *logits, int n, int32_t id)
{
    return ctl_log_sum_exp(logits, n) - (double)logits[id];
}
