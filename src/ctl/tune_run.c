/* Every sentence through the model: one user message, the answer picked greedily, as the edge does
 * it. What prompts have in common is run once. */
#include "ctl/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/catalogue.h"
#include "base/buf.h"
#include "base/hash.h"
#include "ctl/model.h"

enum { STEP = 256, N_CTX = 2048, MAX_SAID = 4096, MAX_CATALOGUE = 4 << 20 };

static int choose_layers(struct tune_run *r, const struct tune_args *a, struct base_err *err)
{
    const int n = eng_model_config(r->m)->n_layer, want = n < 6 ? n : 6;
    r->n_layer = a->n_layer;
    memcpy(r->layer, a->layer, sizeof r->layer);
    for (int i = 0; i < a->n_layer; i++) {
        if (a->layer[i] > n || (i > 0 && a->layer[i] <= a->layer[i - 1]))
            return base_err_set(err, BASE_EINVAL, "--layers", "%d is not in order within 1..%d",
                                a->layer[i], n);
    }
    for (int i = 0; a->n_layer == 0 && i < want; i++)
        r->layer[r->n_layer++] = (i + 1) * n / want;
    return 0;
}

static int open_catalogue(struct tune_run *r, const char *path, struct base_err *err)
{
    char *text = NULL;
    size_t len = 0;
    int rc = ctl_read_file(path, MAX_CATALOGUE, &text, &len, err);
    if (rc == 0)
        rc = api_catalogue_parse(&r->cat, text, len, path, err);
    free(text);
    return rc;
}

int tune_run_open(struct tune_run *r, const struct tune_args *a, struct base_err *err)
{
    const struct eng_model_opt o = {
        .path = a->model, .layer_end = -1, .cpu = getenv("WAYPOST_CPU"), .n_thread = a->n_thread};
    *r = (struct tune_run){0};
    int rc = eng_model_open(&r->m, &o, err);
    if (rc == 0 && a->adapter != NULL)
        rc = eng_lora_open(&r->lora, r->m, a->adapter, err);
    if (rc == 0)
        rc = eng_lora_base_hash(r->m, r->model, err);
    if (rc == 0 && r->lora != NULL)
        base_hex(eng_lora_info(r->lora)->hash, sizeof eng_lora_info(r->lora)->hash, r->adapter);
    if (rc == 0)
        rc = eng_exec_new(&r->e, r->m, a->n_thread, STEP, err);
    if (rc == 0)
        rc = eng_vocab_new(&r->vocab, eng_model_tok(r->m), err);
    if (rc == 0 && a->catalogue != NULL)
        rc = open_catalogue(r, a->catalogue, err);
    return rc == 0 ? choose_layers(r, a, err) : rc;
}

void tune_run_close(struct tune_run *r)
{
    api_catalogue_free(r->cat);
    eng_exec_free(r->e);
    eng_vocab_free(r->vocab);
    eng_lora_close(r->lora);
    eng_model_close(r->m);
}

/* ---- one sentence ---- */

struct asked {
    struct tune_run *r;
    const struct tune_args *a;
    struct eng_session *s;
    int32_t *ids, *before; /* this prompt, the one before; owned */
    int n, n_before, from;
    float *logits; /* [n_vocab] */
    float *buf;    /* [2][layers][d] */
};

static int encode(struct asked *q, const struct tune_row *row, struct base_err *err)
{
    const struct eng_chat_msg msg = {"user", row->text, strlen(row->text)};
    const struct eng_chat_ask ask = {.held = true};
    const struct eng_tok *t = eng_model_tok(q->r->m);
    const struct eng_chat_format *f = NULL;
    free(q->before);
    q->before = q->ids;
    q->n_before = q->n;
    q->ids = NULL;
    int rc = eng_model_chat(q->r->m, &f, err);
    if (rc == 0)
        rc = eng_chat_encode_ask(f, t, &msg, 1, &ask, N_CTX - q->a->max_tok, &q->ids, &q->n, err);
    if (rc == 0)
        rc = eng_chat_words_at(f, t, &msg, 1, &ask, q->ids, q->n, &q->from, err);
    return rc;
}

/* The prompt's rows that differ from the one before, through [0, layer_end); watch sees those of
 * the sentence's words and behind. */
static int prefill(struct asked *q, const struct eng_lora *lora, int layer_end, bool want,
                   struct eng_watch *watch, struct base_err *err)
{
    int same = 0, rc = 0;
    while (same < q->n_before && same < q->from && q->ids[same] == q->before[same])
        same++;
    const int have = eng_session_n_pos(q->s, 0);
    same = same < have ? same : have;
    eng_session_trim(q->s, 0, eng_model_config(q->r->m)->n_layer, same);
    for (int at = same, k; at < q->n && rc == 0; at += k) {
        k = q->n - at < STEP ? q->n - at : STEP;
        const struct eng_seg g = {.s = q->s,
                                  .layer_end = layer_end,
                                  .n_row = k,
                                  .token = q->ids + at,
                                  .logits = want && at + k == q->n ? q->logits : NULL,
                                  .lora = lora,
                                  .watch = watch};
        rc = eng_exec_run(q->r->e, &g, 1, err);
    }
    return rc;
}

/* What may be answered to this sentence. */
static int grammar(struct asked *q, const struct tune_row *row, struct eng_grammar **out,
                   struct base_err *err)
{
    /* Whoever speaks: `me` stays `me`, as it is in the log. */
    const struct api_cat_offer all = api_catalogue_all(q->r->cat, "driver");
    struct base_buf text;
    base_buf_init(&text, ENG_GRAMMAR_MAX_BYTES);
    int rc = api_catalogue_grammar(q->r->cat, &all, row->text, strlen(row->text), &text);
    if (rc != 0)
        base_err_set(err, rc, "--catalogue", "a sentence of %zu bytes: %s", strlen(row->text),
                     base_code_str(rc));
    else
        rc = eng_grammar_new(out, q->r->vocab, (const char *)text.data, text.len, NULL, err);
    base_buf_fini(&text);
    return rc;
}

static int sampler(struct asked *q, const struct tune_row *row, struct eng_sampler **out,
                   struct base_err *err)
{
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    int rc = q->r->cat != NULL ? grammar(q, row, &p.grammar, err) : 0;
    p.logprobs = true;
    p.max_tok = q->a->max_tok;
    if (rc == 0)
        rc = eng_sampler_new(out, &p, eng_model_config(q->r->m)->n_vocab, err);
    eng_grammar_unref(p.grammar);
    return rc;
}

/* Picks until an end token, or max_tok. */
static int answer(struct asked *q, struct tune_row *row, struct base_err *err)
{
    const struct eng_tok *t = eng_model_tok(q->r->m);
    struct eng_sampler *s = NULL;
    struct base_buf said;
    struct eng_pick p;
    base_buf_init(&said, MAX_SAID);
    int rc = sampler(q, row, &s, err);
    for (int i = 0; i < q->a->max_tok && rc == 0; i++) {
        if ((rc = eng_sampler_pick(s, q->logits, &p)) != 0) {
            base_err_set(err, rc, "sampler", "%s", base_code_str(rc));
            break;
        }
        eng_answer_stats_add(&row->stats, &p);
        if (eng_tok_is_end(t, p.token))
            break;
        size_t len = 0;
        const char *piece = eng_tok_piece(t, p.token, false, &len);
        base_buf_add(&said, piece, len);
        const struct eng_seg g = {.s = q->s,
                                  .layer_end = eng_model_config(q->r->m)->n_layer,
                                  .n_row = 1,
                                  .token = &p.token,
                                  .logits = q->logits,
                                  .lora = q->r->lora};
        rc = eng_exec_run(q->r->e, &g, 1, err);
    }
    const char *text = rc == 0 ? base_buf_cstr(&said) : NULL;
    if (rc == 0) {
        text = text != NULL ? text : "";
        text += strspn(text, " \n");
        row->said = strdup(text);
        if (row->said == NULL)
            rc = base_err_set(err, BASE_ENOMEM, "answer", "no memory for it");
        else
            for (size_t n = strlen(text); n > 0 && strchr(" \n", row->said[n - 1]) != NULL;)
                row->said[--n] = '\0';
    }
    eng_sampler_free(s);
    base_buf_fini(&said);
    return rc;
}

/* What the watch saw -> row at of st. */
static void keep(struct asked *q, const struct eng_watch *w, int at, int n_row,
                 struct tune_states *st)
{
    struct eng_states seen;
    const size_t d = (size_t)st->d;
    eng_watch_get(w, q->buf, &seen);
    for (int i = 0; i < st->n_layer; i++) {
        for (int last = 0; last < 2; last++)
            memcpy((float *)tune_state(st, i, last, n_row) + (size_t)at * d,
                   (last ? seen.last : seen.mean) + (size_t)i * d, d * sizeof(float));
    }
}

static int states_new(struct tune_states *st, int n_row, int d, struct base_err *err)
{
    st->d = d;
    st->v = calloc((size_t)st->n_layer * 2 * (size_t)n_row * (size_t)d + 1, sizeof *st->v);
    return st->v != NULL ? 0 : base_err_set(err, BASE_ENOMEM, "states", "no memory for %d", n_row);
}

static void tell(const char *what, int done, int n)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s: %d of %d sentences%s", what, done, n, done == n ? "\n" : "");
}

/* All sentences with this adapter (NULL: without); their answers too, if wanted. */
static int pass(struct asked *q, struct tune_log *l, const struct eng_lora *lora, bool answers,
                struct tune_states *st, struct base_err *err)
{
    const int n_layer = eng_model_config(q->r->m)->n_layer;
    struct eng_watch_opt o = {.n = st->n_layer};
    memcpy(o.layer, st->layer, sizeof o.layer);
    q->n = q->n_before = 0;
    eng_session_trim(q->s, 0, n_layer, 0);
    int rc = states_new(st, l->n, eng_model_config(q->r->m)->d_model, err);
    for (int i = 0; i < l->n && rc == 0; i++) {
        struct eng_watch w = {0};
        rc = encode(q, &l->row[i], err);
        o.from = q->from;
        if (rc == 0)
            rc = eng_watch_init(&w, &o, n_layer, st->d, err);
        if (rc == 0)
            rc = prefill(q, lora, answers ? n_layer : st->layer[st->n_layer - 1], answers, &w, err);
        if (rc == 0)
            keep(q, &w, i, l->n, st);
        eng_watch_fini(&w);
        if (rc == 0 && answers)
            rc = answer(q, &l->row[i], err);
        tell(answers ? "answers" : "prompts", i + 1, l->n);
    }
    return rc;
}

int tune_run_set(struct tune_run *r, const struct tune_args *a, struct tune_set *s, bool answers,
                 struct base_err *err)
{
    const struct eng_config *c = eng_model_config(r->m);
    struct asked q = {.r = r, .a = a};
    s->own = (struct tune_states){.n_layer = r->n_layer};
    s->bare = (struct tune_states){0};
    memcpy(s->own.layer, r->layer, sizeof s->own.layer);
    for (int i = 0; i < r->n_layer; i++) {
        if (eng_lora_touches(r->lora, 0, r->layer[i]))
            s->bare.layer[s->bare.n_layer++] = r->layer[i];
    }
    int rc = eng_session_new(&q.s, r->m, N_CTX, KERN_KV_F16, err);
    q.logits = malloc((size_t)c->n_vocab * sizeof *q.logits);
    q.buf = malloc(2 * (size_t)TUNE_MAX_LAYER * (size_t)c->d_model * sizeof *q.buf);
    if (rc == 0 && (q.logits == NULL || q.buf == NULL))
        rc = base_err_set(err, BASE_ENOMEM, "tune", "no memory for logits");
    if (rc == 0)
        rc = pass(&q, &s->log, r->lora, answers, &s->own, err);
    if (rc == 0 && s->bare.n_layer > 0)
        rc = pass(&q, &s->log, NULL, false, &s->bare, err);
    eng_session_free(q.s);
    free(q.logits);
    free(q.buf);
    free(q.ids);
    free(q.before);
    return rc;
}

void tune_set_fini(struct tune_set *s)
{
    tune_log_fini(&s->log);
    free(s->own.v);
    free(s->bare.v);
    *s = (struct tune_set){0};
}
