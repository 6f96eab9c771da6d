/* model perplexity, model logits: a text through the whole model, every row's logits. */
#include "ctl/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

enum { PPL_CHUNK = 512 };

/* A model, its threads, and room for the logits of a step. */
struct run {
    struct eng_model *m;
    struct eng_lora *lora; /* NULL: none */
    struct eng_exec *e;
    int n_vocab, n_layer, step;
    enum kern_kv_type kv;
    float *logits; /* [step][n_vocab] */
    int32_t *ids;
    int n_ids;
};

static void run_fini(struct run *r)
{
    free(r->ids);
    free(r->logits);
    eng_exec_free(r->e);
    eng_lora_close(r->lora);
    eng_model_close(r->m);
}

static int run_init(struct run *r, const struct ctl_model_args *a, struct base_err *err)
{
    memset(r, 0, sizeof *r);
    const struct eng_model_opt opt = {
        .path = a->file, .layer_end = -1, .cpu = getenv("WAYPOST_CPU"), .exact = a->exact};
    int rc = eng_model_open(&r->m, &opt, err);
    if (rc != 0)
        return rc;
    r->n_vocab = eng_model_config(r->m)->n_vocab;
    r->n_layer = eng_model_config(r->m)->n_layer;
    r->step = a->chunk;
    r->kv = a->kv;
    if ((rc = ctl_open_adapter(a, r->m, &r->lora, err)) != 0 ||
        (rc = eng_exec_new(&r->e, r->m, a->n_thread, r->step, err)) != 0 ||
        (rc = ctl_read_ids(a, r->m, &r->ids, &r->n_ids, err)) != 0)
        return rc;
    r->logits = malloc((size_t)r->step * (size_t)r->n_vocab * sizeof *r->logits);
    return r->logits != NULL ? 0 : base_err_set(err, BASE_ENOMEM, a->file, "no memory for logits");
}

/* Called with the logits of rows [at, at + n) of a context. Non-zero ends the run. */
typedef int rows_fn(void *arg, const float *logits, int at, int n, struct base_err *err);

/* Runs ids[n] as one context; rows before `from` don't get logits. */
static int run_context(struct run *r, const int32_t *ids, int n, int from, rows_fn *fn, void *arg,
                       struct base_err *err)
{
    struct eng_session *s = NULL;
    int rc = eng_session_new(&s, r->m, n, r->kv, err);
    for (int at = 0, k; at < n && rc == 0; at += k) {
        const int end = at < from ? from : n; /* a step lies on one side of `from` */
        k = end - at < r->step ? end - at : r->step;
        const bool want = at >= from;
        const struct eng_seg g = {.s = s,
                                  .layer_end = r->n_layer,
                                  .n_row = k,
                                  .token = ids + at,
                                  .logits = want ? r->logits : NULL,
                                  .logits_all = true,
                                  .lora = r->lora};
        rc = eng_exec_run(r->e, &g, 1, err);
        if (rc == 0 && want)
            rc = fn(arg, r->logits, at, k, err);
    }
    eng_session_free(s);
    return rc;
}

struct score {
    const int32_t *ids; /* of the present chunk */
    int n, n_vocab;
    double nll;
    int64_t n_scored;
};

static double nll_of(const float *logits, int n, int32_t id)
{
    float max = logits[0];
    for (int i = 1; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
    double sum = 0.0;
    for (int i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)max);
    return (double)max + log(sum) - (double)logits[id];
}

static int score_rows(void *arg, const float *logits, int at, int n, struct base_err *err)
{
    (void)err;
    struct score *s = arg;
    for (int i = 0; i < n && at + i + 1 < s->n; i++) {
        s->nll += nll_of(logits + (size_t)i * (size_t)s->n_vocab, s->n_vocab, s->ids[at + i + 1]);
        s->n_scored++;
    }
    return 0;
}

static int score_text(struct run *r, bool all, struct score *s, struct base_err *err)
{
    const int32_t bos =
        eng_tok_add_bos(eng_model_tok(r->m)) ? eng_tok_bos(eng_model_tok(r->m)) : -1;
    const int n_chunk = all ? (r->n_ids + PPL_CHUNK - 1) / PPL_CHUNK : r->n_ids / PPL_CHUNK;
    if (all ? r->n_ids < 2 : n_chunk < 1)
        return base_err_set(err, BASE_EINVAL, "text", "%d tokens are too few: at least %d%s",
                            r->n_ids, all ? 2 : PPL_CHUNK, all ? "" : ", or --all");
    int rc = 0;
    for (int c = 0; c < n_chunk && rc == 0; c++) {
        int32_t *ids = r->ids + (size_t)c * PPL_CHUNK;
        s->ids = ids;
        s->n = r->n_ids - c * PPL_CHUNK < PPL_CHUNK ? r->n_ids - c * PPL_CHUNK : PPL_CHUNK;
        s->n_vocab = r->n_vocab;
        if (bos >= 0)
            ids[0] = bos;
        rc = run_context(r, ids, s->n, all ? 0 : PPL_CHUNK / 2, score_rows, s, err);
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
    struct run r;
    struct score s = {0};
    int rc = run_init(&r, a, &err);
    if (rc == 0)
        rc = score_text(&r, a->all, &s, &err);
    run_fini(&r);
    if (rc != 0)
        return ctl_model_fail(&err);
    const double mean = s.nll / (double)s.n_scored;
    if (!a->json) {
        printf("perplexity %.4f over %lld tokens (mean negative log-likelihood %.6f)\n", exp(mean),
               (long long)s.n_scored, mean);
        return CTL_OK;
    }
    json_t *o = json_pack("{s:f, s:I, s:f, s:i}", "perplexity", exp(mean), "tokens",
                          (json_int_t)s.n_scored, "mean_nll", mean, "chunk", (int)PPL_CHUNK);
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
    struct run r;
    int rc = run_init(&r, a, &err);
    struct dump d = {.path = a->out, .n_vocab = r.n_vocab};
    if (rc == 0 && r.n_ids < 1)
        rc = base_err_set(&err, BASE_EINVAL, "text", "it has no tokens");
    if (rc == 0 && (d.f = fopen(a->out, "wb")) == NULL)
        rc = base_err_set(&err, BASE_EIO, a->out, "cannot create: %m");
    if (rc == 0)
        rc = run_context(&r, r.ids, r.n_ids, 0, dump_rows, &d, &err);
    if (d.f != NULL && fclose(d.f) != 0 && rc == 0)
        rc = base_err_set(&err, BASE_EIO, a->out, "cannot write: %m");
    if (rc == 0)
        printf("%d %d\n", r.n_ids, r.n_vocab);
    run_fini(&r);
    return rc == 0 ? CTL_OK : ctl_model_fail(&err);
}
