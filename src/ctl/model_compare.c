/* model compare: two models over one text, row by row. */
#include "ctl/model_compare.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "ctl/model_run.h"

struct pair {
    struct ctl_run run[2]; /* original, other */
    struct ctl_comparison sum;
    double diff_sq; /* of the differences between both, for their variance */
};

static int top_of(const float *logits, int n)
{
    int top = 0;
    for (int i = 1; i < n; i++)
        top = logits[i] > logits[top] ? i : top;
    return top;
}

/* One prediction of both, with the token that came. */
static void score(struct pair *p, const float *a, const float *b, int32_t id)
{
    const int n = p->run[0].n_vocab;
    const double za = ctl_log_sum_exp(a, n), zb = ctl_log_sum_exp(b, n);
    double kl = 0.0;
    for (int i = 0; i < n; i++) {
        const double log_p = (double)a[i] - za;
        if (log_p > -80.0) /* beyond, e^-80 of probability says nothing */
            kl += exp(log_p) * (log_p - ((double)b[i] - zb));
    }
    p->sum.n++;
    const double nll[2] = {za - (double)a[id], zb - (double)b[id]};
    p->sum.nll[0] += nll[0];
    p->sum.nll[1] += nll[1];
    p->diff_sq += (nll[1] - nll[0]) * (nll[1] - nll[0]);
    p->sum.kl += kl;
    p->sum.kl_max = kl > p->sum.kl_max ? kl : p->sum.kl_max;
    p->sum.same_top += top_of(a, n) == top_of(b, n);
}

/* Both models over ids[n] as one context; predictions from row `from` on are scored. */
static int run_chunk(struct pair *p, const int32_t *ids, int n, int from, struct base_err *err)
{
    struct eng_session *s[2] = {NULL, NULL};
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = eng_session_new(&s[i], p->run[i].m, n, p->run[i].kv, err);
    for (int at = 0, k; at < n && rc == 0; at += k) {
        const int end = at < from ? from : n; /* a step lies on one side of `from` */
        k = end - at < p->run[0].step ? end - at : p->run[0].step;
        for (int i = 0; i < 2 && rc == 0; i++)
            rc = ctl_run_rows(&p->run[i], s[i], ids + at, k, at >= from, err);
        const size_t n_vocab = (size_t)p->run[0].n_vocab;
        for (int r = 0; r < k && rc == 0 && at >= from && at + r + 1 < n; r++)
            score(p, p->run[0].logits + (size_t)r * n_vocab, p->run[1].logits + (size_t)r * n_vocab,
                  ids[at + r + 1]);
    }
    eng_session_free(s[0]);
    eng_session_free(s[1]);
    return rc;
}

static int run_text(struct pair *p, bool all, struct base_err *err)
{
    struct ctl_run *r = &p->run[0];
    const struct eng_tok *tok = eng_model_tok(r->m);
    int n_chunk, rc = ctl_run_chunks(r->n_ids, all, &n_chunk, err);
    for (int c = 0; c < n_chunk && rc == 0; c++) {
        int32_t *ids = r->ids + (size_t)c * CTL_PPL_CHUNK;
        const int left = r->n_ids - c * CTL_PPL_CHUNK;
        if (eng_tok_add_bos(tok))
            ids[0] = eng_tok_bos(tok);
        rc = run_chunk(p, ids, left < CTL_PPL_CHUNK ? left : CTL_PPL_CHUNK,
                       all ? 0 : CTL_PPL_CHUNK / 2, err);
        if (rc == 0 && isatty(STDERR_FILENO))
            fprintf(stderr, "\rcomparing: chunk %d of %d%s", c + 1, n_chunk,
                    c + 1 == n_chunk ? "\n" : " ");
    }
    if (rc == 0 && !(isfinite(p->sum.nll[0]) && isfinite(p->sum.nll[1])))
        rc = base_err_set(err, BASE_EFORMAT, "model", "its logits are not numbers");
    return rc;
}

int ctl_compare(const struct ctl_model_args *a, const char *original, const char *other,
                struct ctl_comparison *out, struct base_err *err)
{
    struct pair p;
    memset(&p, 0, sizeof p);
    int rc = ctl_run_open(&p.run[0], a, original, err);
    if (rc == 0)
        rc = ctl_run_open(&p.run[1], a, other, err);
    if (rc == 0 && p.run[0].n_vocab != p.run[1].n_vocab)
        rc = base_err_set(err, BASE_EMISMATCH, other, "%d tokens, the original has %d",
                          p.run[1].n_vocab, p.run[0].n_vocab);
    if (rc == 0)
        rc = ctl_read_ids(a, p.run[0].m, &p.run[0].ids, &p.run[0].n_ids, err);
    if (rc == 0)
        rc = run_text(&p, a->all, err);
    ctl_run_fini(&p.run[0]);
    ctl_run_fini(&p.run[1]);
    if (rc != 0)
        return rc;
    *out = p.sum;
    const double n = (double)p.sum.n;
    out->nll[0] /= n;
    out->nll[1] /= n;
    const double diff = out->nll[1] - out->nll[0];
    const double var = p.diff_sq / n - diff * diff;
    out->ratio_err = var > 0.0 ? sqrt(var / n) : 0.0;
    out->kl /= n;
    out->same_top /= n;
    return 0;
}

json_t *ctl_comparison_json(const struct ctl_comparison *c)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "tokens", (json_int_t)c->n,
                     "perplexity_original", exp(c->nll[0]), "perplexity", exp(c->nll[1]),
                     "ratio_stderr", c->ratio_err, "same_top", c->same_top, "kl", c->kl, "kl_max",
                     c->kl_max);
}

void ctl_comparison_print(const struct ctl_comparison *c)
{
    printf("over %lld predictions\n", (long long)c->n);
    printf("perplexity      %.4f, the original's %.4f (%+.2f %%, standard error %.2f)\n",
           exp(c->nll[1]), exp(c->nll[0]), 100.0 * (exp(c->nll[1] - c->nll[0]) - 1.0),
           100.0 * c->ratio_err);
    printf("same top token  %.2f %%\n", 100.0 * c->same_top);
    printf("KL divergence   %.6f on average, %.4f at most\n", c->kl, c->kl_max);
}

int ctl_model_compare(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct ctl_comparison c;
    if (ctl_compare(a, a->file, a->file2, &c, &err) != 0)
        return ctl_model_fail(&err);
    if (!a->json) {
        ctl_comparison_print(&c);
        return CTL_OK;
    }
    json_t *o = ctl_comparison_json(&c);
    json_dumpf(o, stdout, 0);
    putchar('\n');
    json_decref(o);
    return CTL_OK;
}
