/* model perplexity, model logits: a text through the whole model, every row's logits. */
#include "ctl/model.h"
#include "ctl/model_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

struct score {
    const int32_t *ids; /* of the present chunk */
    int n, n_vocab;
    double nll;
    int64_t n_scored;
};

static int score_rows(void *arg, const float *logits, int at, int n, struct base_err *err)
{
    (void)err;
    struct score *s = arg;
    for (int i = 0; i < n && at + i + 1 < s->n; i++) {
        s->nll += ctl_nll(logits + (size_t)i * (size_t)s->n_vocab, s->n_vocab, s->ids[at + i + 1]);
        s->n_scored++;
    }
    return 0;
}

static int score_text(struct ctl_run *r, bool all, struct score *s, struct base_err *err)
{
    const int32_t bos =
        eng_tok_add_bos(eng_model_tok(r->m)) ? eng_tok_bos(eng_model_tok(r->m)) : -1;
    int n_chunk, rc = ctl_run_chunks(r->n_ids, all, &n_chunk, err);
    for (int c = 0; c < n_chunk && rc == 0; c++) {
        int32_t *ids = r->ids + (size_t)c * CTL_PPL_CHUNK;
        s->ids = ids;
        s->n = r->n_ids - c * CTL_PPL_CHUNK < CTL_PPL_CHUNK ? r->n_ids - c * CTL_PPL_CHUNK
                                                            : CTL_PPL_CHUNK;
        s->n_vocab = r->n_vocab;
        if (bos >= 0)
            ids[0] = bos;
        rc = ctl_run_context(r, ids, s->n, all ? 0 : CTL_PPL_CHUNK / 2, score_rows, s, err);
        if (rc == 0 && isatty(STDERR_FILENO))
            fprintf(stderr, "\rchunk %d of %d: %.4f ", c + 1, n_chunk,
                    exp(s->nll / (double)s->n_scored));
    }
    if (isatty(STDERR_FILENO))
        fputc('\n', stderr);
    if (rc == 0 && !isfinite(s->nll))
        rc = base_err_set(err, BASE_EINTERNAL, "model", "its logits are not numbers");
    return rc;
}

int ctl_model_perplexity(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct ctl_run r;
    struct score s = {0};
    int rc = ctl_run_text(&r, a, &err);
    if (rc == 0)
        rc = score_text(&r, a->all, &s, &err);
    ctl_run_fini(&r);
    if (rc != 0)
        return ctl_model_fail(&err);
    const double mean = s.nll / (double)s.n_scored;
    if (!a->json) {
        printf("perplexity %.4f over %lld tokens (mean negative log-likelihood %.6f)\n", exp(mean),
               (long long)s.n_scored, mean);
        return CTL_OK;
    }
    json_t *o = json_pack("{s:f, s:I, s:f, s:i}", "perplexity", exp(mean), "tokens",
                          (json_int_t)s.n_scored, "mean_nll", mean, "chunk", (int)CTL_PPL_CHUNK);
    json_dumpf(o, stdout, 0);
    putchar('\n');
    json_decref(o);
    return CTL_OK;
}

struct dump {
    FILE *f;
    const char *path;
    int n_vocab;
};

static int dump_rows(void *arg, const float *logits, int at, int n, struct base_err *err)
{
    (void)at;
    struct dump *d = arg;
    const size_t count = (size_t)n * (size_t)d->n_vocab;
    if (fwrite(logits, sizeof *logits, count, d->f) != count)
        return base_err_set(err, BASE_EIO, d->path, "cannot write: %m");
    return 0;
}

int ctl_model_logits(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct ctl_run r;
    int rc = ctl_run_text(&r, a, &err);
    struct dump d = {.path = a->out, .n_vocab = r.n_vocab};
    if (rc == 0 && r.n_ids < 1)
        rc = base_err_set(&err, BASE_EINVAL, "text", "it has no tokens");
    if (rc == 0 && (d.f = fopen(a->out, "wb")) == NULL)
        rc = base_err_set(&err, BASE_EIO, a->out, "cannot create: %m");
    if (rc == 0)
        rc = ctl_run_context(&r, r.ids, r.n_ids, 0, dump_rows, &d, &err);
    if (d.f != NULL && fclose(d.f) != 0 && rc == 0)
        rc = base_err_set(&err, BASE_EIO, a->out, "cannot write: %m");
    if (rc == 0)
        printf("%d %d\n", r.n_ids, r.n_vocab);
    ctl_run_fini(&r);
    return rc == 0 ? CTL_OK : ctl_model_fail(&err);
}
