/* The hidden executor. The edge runs the embedding and layers [0,k) and sends the rows that enter
 * layer k; the cloud runs [k,L) and answers with a token (tail on the cloud) or with the last row's
 * state, from which the edge makes the token (tail on the edge). The token goes back through [0,k),
 * one row more goes out, and so on.
 *
 * The rows of all positions are kept. When the link fails at any moment, the edge runs [k,L) over
 * them itself and goes on alone in the same session with the same sampler, so that no piece is
 * repeated or missing, and with f32 rows and a tail on the edge no token differs from an
 * undisturbed run.
 *
 *   state        waits for            then
 *   ROWS         [0,k) of fed tokens  send them -> CLOUD       (alone: [k,L) over all -> TAIL)
 *   CLOUD        token or state       token: feed it -> ROWS   state: head -> HEAD
 *   HEAD         token from a state   feed it -> ROWS
 *   TAIL         token from [k,L)     feed it to [0,L) -> ALONE
 *   ALONE        tokens               nothing else */
#include "edge/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "edge/gate.h"
#include "wire/wire.h"

enum { ROWS_A_FRAME = 128 };

enum hidden_state { WAIT_ROWS, WAIT_CLOUD, WAIT_HEAD, WAIT_TAIL, ALONE };

struct hidden {
    enum hidden_state state;
    int k, n_layer, d;
    struct eng_job *job;
    float *kept; /* [n_kept][d] rows entering layer k, for positions 0 … ; NULL once alone */
    int n_kept, cap;
    int n_fed;              /* tokens fed to [0,k) */
    int n_sent;             /* rows sent; all of them when the cloud is awaited */
    bool alone;             /* the link is given up */
    bool hello_ok;          /* the cloud holds the same weights: rows may go */
    struct edge_up_req *up; /* NULL: closed or given up */
    struct wire_decoder *in;
};

static const struct edge_up_cb callbacks;
static void lost(struct edge_req *r, const struct base_err *why);

static void engine_failed(struct edge_req *r, const struct base_err *err)
{
    base_log_error("hidden", "id=%s: %s: %s", r->id, base_code_str(err->code), err->msg);
    edge_req_fail_f(r, err->code == BASE_EBUSY || err->code == BASE_ENOMEM ? 503 : 500,
                    "server_error", "engine", "The engine failed: %s.", base_code_str(err->code));
}

static void lost_f(struct edge_req *r, int code, const char *what)
{
    struct base_err why;
    base_err_set(&why, code, "hidden", "%s", what);
    lost(r, &why);
}

/* --- engine side ----------------------------------------------------------------------------- */

static int run_set(struct hidden *h, int a, int b, enum eng_job_output out, int autoregress_tok,
                   struct base_err *err)
{
    struct eng_job_run run = {.layer_begin = a,
                              .layer_end = b,
                              .out = out,
                              .autoregress = autoregress_tok > 0,
                              .max_new_tok = autoregress_tok};
    return eng_job_switch(h->job, &run, err);
}

/* A token that has been answered goes back into the first layers. */
static void token_feed(struct edge_req *r, int32_t token)
{
    struct hidden *h = r->x;
    struct base_err err = {0};
    int rc = run_set(h, 0, h->k, ENG_OUT_ROWS, 0, &err);
    if (rc == 0)
        rc = eng_job_feed_tokens(h->job, &token, 1, &err);
    if (rc == BASE_ELIMIT) {
        edge_req_finish(r, "length");
        return;
    }
    if (rc != 0) {
        engine_failed(r, &err);
        return;
    }
    h->n_fed++;
    h->state = WAIT_ROWS;
}

/* Alone, and every fed token has its row: layers [k,L) over all of them. */
static void tail_run(struct edge_req *r)
{
    struct hidden *h = r->x;
    struct base_err err = {0};
    int rc = run_set(h, h->k, h->n_layer, ENG_OUT_TOKEN, 0, &err);
    if (rc == 0)
        rc = eng_job_feed_rows(h->job, h->kept, h->n_kept, &err);
    if (rc != 0) {
        engine_failed(r, &err);
        return;
    }
    free(h->kept);
    h->kept = NULL;
    h->state = WAIT_TAIL;
}

/* The first token made alone: from here on the whole model feeds itself. */
static void alone_run(struct edge_req *r, int32_t token)
{
    struct hidden *h = r->x;
    struct base_err err = {0};
    int rc = run_set(h, 0, h->n_layer, ENG_OUT_TOKEN, r->max_new - r->answer.n_tok, &err);
    if (rc == 0)
        rc = eng_job_feed_tokens(h->job, &token, 1, &err);
    h->state = ALONE;
    if (rc == BASE_ELIMIT)
        edge_req_finish(r, "length");
    else if (rc != 0)
        engine_failed(r, &err);
}

static int rows_send(struct edge_req *r, struct base_err *err)
{
    struct hidden *h = r->x;
    struct base_buf b;
    int rc = 0, at_once = wire_max_rows(h->d);
    at_once = at_once < ROWS_A_FRAME ? at_once : ROWS_A_FRAME;
    base_buf_init(&b, WIRE_MAX_FRAME + WIRE_HEAD_BYTES);
    while (rc == 0 && h->n_sent < h->n_kept) {
        int n = h->n_kept - h->n_sent < at_once ? h->n_kept - h->n_sent : at_once;
        struct wire_frame f = {.type = WIRE_ROWS};
        f.u.rows = (struct wire_rows){.pos = h->n_sent,
                                      .layer = h->k,
                                      .n_row = n,
                                      .d = h->d,
                                      .dtype = (enum wire_dtype)r->dec.route.dtype,
                                      .want = h->n_sent + n == h->n_fed,
                                      .x = h->kept + (size_t)h->n_sent * (size_t)h->d};
        base_buf_reset(&b);
        rc = wire_encode(&f, &b);
        if (rc != 0)
            base_err_set(err, rc, "hidden", "rows could not be packed");
        else
            rc = edge_gate_send(h->up, r, b.data, b.len, err);
        if (rc == 0)
            h->n_sent += n;
    }
    base_buf_fini(&b);
    return rc;
}

/* Whatever can go on now in state WAIT_ROWS. */
static void rows_go_on(struct edge_req *r)
{
    struct hidden *h = r->x;
    struct base_err err = {0};
    bool all = h->n_kept == h->n_fed;
    if (h->state != WAIT_ROWS)
        return;
    if (h->alone) {
        if (all)
            tail_run(r);
        return;
    }
    if (!h->hello_ok || h->up == NULL)
        return;
    if (all) {
        h->state = WAIT_CLOUD;
        edge_req_await_cloud(r, true);
    }
    if (rows_send(r, &err) != 0)
        lost(r, &err);
}

static void rows_keep(struct edge_req *r, const struct eng_event *ev)
{
    struct hidden *h = r->x;
    if (h->state != WAIT_ROWS || ev->pos != h->n_kept || ev->n_row > h->cap - h->n_kept) {
        struct base_err err;
        base_err_set(&err, BASE_EINTERNAL, "hidden", "%d rows at %d, kept %d", ev->n_row, ev->pos,
                     h->n_kept);
        engine_failed(r, &err);
        return;
    }
    memcpy(h->kept + (size_t)h->n_kept * (size_t)h->d, ev->rows,
           sizeof(float) * (size_t)ev->n_row * (size_t)h->d);
    h->n_kept += ev->n_row;
    rows_go_on(r);
}

static void on_event(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    struct edge_req *r = arg;
    struct hidden *h = r->x;
    (void)j;
    switch (ev->kind) {
    case ENG_EV_ROWS:
        rows_keep(r, ev);
        return;
    case ENG_EV_TOKEN:
        if (h->state == WAIT_HEAD) {
            if (!edge_answer_token(r, &ev->pick, EDGE_TIER_EDGE | EDGE_TIER_CLOUD))
                token_feed(r, ev->pick.token);
        } else if (!edge_answer_token(r, &ev->pick, EDGE_TIER_EDGE) && h->state == WAIT_TAIL) {
            alone_run(r, ev->pick.token);
        }
        return;
    case ENG_EV_DONE:
        if (h->state == ALONE)
            edge_req_finish(r, ev->done == ENG_DONE_LENGTH ? "length" : "stop");
        return;
    case ENG_EV_ERROR:
        engine_failed(r, &ev->err);
        return;
    }
}

/* --- cloud side ------------------------------------------------------------------------------ */

/* The link is given up. The edge goes on by itself if the policy lets it. */
static void lost(struct edge_req *r, const struct base_err *why)
{
    struct hidden *h = r->x;
    if (h->alone)
        return;
    h->alone = true;
    edge_req_await_cloud(r, false);
    edge_gate_leave(h->up, true);
    h->up = NULL;
    if (!edge_req_note_fall_back(r, why))
        return;
    if (h->state == WAIT_CLOUD)
        h->state = WAIT_ROWS;
    rows_go_on(r);
}

static void identity_get(const struct edge_req *r, struct wire_identity *id)
{
    const struct eng_config *c = eng_model_config(r->e->model);
    const struct eng_identity *own = eng_model_identity(r->e->model);
    memcpy(id->config, own->config, sizeof id->config);
    memcpy(id->tok, own->tok, sizeof id->tok);
    memcpy(id->head, own->head, sizeof id->head);
    id->n_layer = own->n_layer;
    id->d_model = c->d_model;
    id->n_vocab = c->n_vocab;
    id->layer = own->layer;
}

/* true: rows may be sent to this cloud. */
static bool hello_take(struct edge_req *r, const struct wire_hello *hello)
{
    struct hidden *h = r->x;
    struct wire_identity own;
    struct base_err err = {0};
    identity_get(r, &own);
    if (h->hello_ok || hello->version != WIRE_VERSION) {
        lost_f(r, BASE_EPROTO, h->hello_ok ? "a second hello" : "another version of the wire");
        return false;
    }
    if (wire_identity_compare(&own, &hello->id, &err) != 0) {
        base_log_error("hidden", "target=%s: the models differ: %s: %s", r->dec.route.target,
                       err.place, err.msg);
        lost(r, &err);
        return false;
    }
    h->hello_ok = true;
    edge_req_await_cloud(r, false);
    rows_go_on(r);
    return !r->ended;
}

static bool token_take(struct edge_req *r, const struct wire_token *t)
{
    struct hidden *h = r->x;
    if (h->state != WAIT_CLOUD || r->dec.route.tail != RT_TAIL_CLOUD || t->pos != h->n_fed ||
        t->token < 0 || t->token >= eng_model_config(r->e->model)->n_vocab) {
        lost_f(r, BASE_EPROTO, "a token that was not asked for");
        return false;
    }
    struct eng_pick p = {.token = t->token, .logprob = t->logprob, .entropy = t->entropy};
    for (int i = 0; i < t->n_top && i < ENG_TOP_MAX; i++) {
        if (t->top_token[i] < 0 || t->top_token[i] >= eng_model_config(r->e->model)->n_vocab)
            continue;
        p.top[p.n_top].token = t->top_token[i];
        p.top[p.n_top++].logprob = t->top_logprob[i];
    }
    h->state = WAIT_ROWS; /* the cloud owes nothing now */
    edge_req_await_cloud(r, false);
    if (edge_answer_token(r, &p, EDGE_TIER_EDGE | EDGE_TIER_CLOUD))
        return false;
    token_feed(r, t->token);
    return !r->ended;
}

static bool state_take(struct edge_req *r, const struct wire_rows *s)
{
    struct hidden *h = r->x;
    struct base_err err = {0};
    bool ok = h->state == WAIT_CLOUD && r->dec.route.tail == RT_TAIL_EDGE && s->n_row == 1 &&
              s->d == h->d && s->layer == h->n_layer && s->pos == h->n_fed - 1;
    for (int i = 0; ok && i < s->d; i++)
        ok = isfinite(s->x[i]);
    if (!ok) {
        lost_f(r, BASE_EPROTO, "a state that was not asked for, or not of numbers");
        return false;
    }
    h->state = WAIT_HEAD;
    edge_req_await_cloud(r, false);
    int rc = run_set(h, h->n_layer, h->n_layer, ENG_OUT_TOKEN, 0, &err);
    if (rc == 0)
        rc = eng_job_feed_rows(h->job, s->x, 1, &err);
    if (rc != 0)
        engine_failed(r, &err);
    return !r->ended;
}

/* true: the next frame may be read. */
static bool frame_take(struct edge_req *r, const struct wire_frame *f)
{
    struct hidden *h = r->x;
    if (!h->hello_ok && f->type != WIRE_HELLO && f->type != WIRE_STATUS) {
        lost_f(r, BASE_EPROTO, "the target did not say who it is");
        return false;
    }
    switch (f->type) {
    case WIRE_HELLO:
        return hello_take(r, &f->u.hello);
    case WIRE_TOKEN:
        return token_take(r, &f->u.token);
    case WIRE_STATE:
        return state_take(r, &f->u.rows);
    case WIRE_STATUS: {
        char what[64]; /* not the target's own words */
        enum wire_status s = f->u.status.status;
        snprintf(what, sizeof what, "the target ended: %s", wire_status_str(s));
        lost_f(r,
               s == WIRE_ST_MISMATCH ? BASE_EMISMATCH
               : s == WIRE_ST_BUSY   ? BASE_EBUSY
                                     : BASE_EPROTO,
               what);
        return false;
    }
    default:
        lost_f(r, BASE_EPROTO, "a frame of the wrong direction");
        return false;
    }
}

static void on_head(void *arg, int status)
{
    if (status != 200)
        lost_f(arg, BASE_EPROTO, "the target did not take the session");
}

static void on_data(void *arg, const uint8_t *p, size_t len)
{
    struct edge_req *r = arg;
    struct hidden *h = r->x;
    struct wire_frame f;
    struct base_err err = {0};
    int rc = wire_decoder_feed(h->in, p, len);
    if (rc != 0)
        base_err_set(&err, rc, "hidden", "the target sends too much");
    while (rc == 0 && (rc = wire_decoder_next(h->in, &f, &err)) == 1) {
        if (!frame_take(r, &f))
            return;
        rc = 0;
    }
    if (rc < 0)
        lost(r, &err);
}

static void on_closed(void *arg, int code)
{
    struct edge_req *r = arg;
    struct hidden *h = r->x;
    h->up = NULL;
    lost_f(r, code != 0 ? code : BASE_ECLOSED, "the exchange with the target broke off");
}

static const struct edge_up_cb callbacks = {
    .on_head = on_head, .on_data = on_data, .on_closed = on_closed};

static int open_send(struct edge_req *r, struct base_err *err)
{
    struct hidden *h = r->x;
    const struct api_request *q = &r->api;
    struct wire_frame hello = {.type = WIRE_HELLO}, open = {.type = WIRE_OPEN};
    hello.u.hello.version = WIRE_VERSION;
    snprintf(hello.u.hello.software, sizeof hello.u.hello.software, "waypost %s", PACKAGE_VERSION);
    identity_get(r, &hello.u.hello.id);
    open.u.open = (struct wire_open){.layer = h->k,
                                     .tail = r->dec.route.tail == RT_TAIL_EDGE ? WIRE_TAIL_EDGE
                                                                               : WIRE_TAIL_CLOUD,
                                     .dtype = (enum wire_dtype)r->dec.route.dtype,
                                     .reply_dtype = WIRE_F32,
                                     .n_ctx = h->cap,
                                     .deadline_ms = edge_req_left_ms(r),
                                     .temperature = q->temperature,
                                     .top_p = q->top_p,
                                     .min_p = q->min_p,
                                     .repeat_penalty = q->repeat_penalty,
                                     .top_k = q->top_k,
                                     .repeat_last_n = 64,
                                     .n_top = q->logprobs ? q->n_top : 0,
                                     .seed = q->seed};
    memcpy(open.u.open.idempotency_key, r->decision_id, sizeof open.u.open.idempotency_key);
    struct base_buf b;
    base_buf_init(&b, 2 * WIRE_MAX_FRAME);
    int rc = wire_encode(&hello, &b);
    if (rc == 0)
        rc = wire_encode(&open, &b);
    if (rc != 0)
        base_err_set(err, rc, "hidden", "the session could not be written");
    else
        rc = edge_gate_send(h->up, r, b.data, b.len, err);
    base_buf_fini(&b);
    return rc;
}

static int job_open(struct edge_req *r, struct base_err *err)
{
    struct hidden *h = r->x;
    struct eng_sample_params sp;
    struct eng_job_run run = {.layer_begin = 0, .layer_end = h->k, .out = ENG_OUT_ROWS};
    edge_req_sampling(r, &sp);
    const struct eng_job_opt opt = {
        .run = run, .sample = sp, .priority = r->caller->priority, .lora = r->lora};
    int rc = eng_job_open(&h->job, r->e->sched, &opt, on_event, r, err);
    if (rc == 0)
        rc = eng_job_feed_tokens(h->job, r->prompt, r->n_prompt, err);
    h->n_fed = r->n_prompt;
    return rc;
}

static void start(struct edge_req *r)
{
    const struct eng_config *c = eng_model_config(r->e->model);
    struct base_err err = {0};
    struct hidden *h = base_arena_get(&r->arena, sizeof *h);
    r->x = h;
    if (h != NULL) {
        *h = (struct hidden){.k = r->dec.route.layer,
                             .n_layer = c->n_layer,
                             .d = c->d_model,
                             .cap = r->n_prompt + r->max_new};
        h->kept = malloc(sizeof(float) * (size_t)h->cap * (size_t)h->d);
        h->in = wire_decoder_new();
    }
    if (h == NULL || h->kept == NULL || h->in == NULL) {
        edge_req_fail_f(r, 503, "server_error", "out_of_memory", "out of memory");
        return;
    }
    if (h->k < 1 || h->k >= h->n_layer) {
        base_err_set(&err, BASE_EINVAL, "hidden", "layer %d: the model can be cut at 1 to %d", h->k,
                     h->n_layer - 1);
        edge_req_fall_back(r, &err);
        return;
    }
    /* The cloud has no adapters: it may run the layers from k on, and the head, only where they are
     * the model's own. */
    if (eng_lora_touches(r->lora, h->k, h->n_layer + 1)) {
        base_err_set(&err, BASE_EUNSUPPORTED, "hidden",
                     "adapter %s works on layers from %d on, which the target would run without it",
                     r->model_name, h->k);
        edge_req_fall_back(r, &err);
        return;
    }
    if (r->form != NULL && r->dec.route.tail == RT_TAIL_CLOUD) {
        /* Whoever samples must know the form, and the wire has no word for it. */
        base_err_set(&err, BASE_EUNSUPPORTED, "hidden",
                     "an answer of a given form needs a rule with tail: edge");
        edge_req_fall_back(r, &err);
        return;
    }
    if (job_open(r, &err) != 0) {
        engine_failed(r, &err);
        return;
    }
    int rc = edge_gate_open(&h->up, r, &callbacks, r, &err);
    if (rc == 0)
        rc = open_send(r, &err);
    if (rc != 0)
        lost(r, &err);
    else
        edge_req_await_cloud(r, true);
}

static void silent(struct edge_req *r)
{
    lost_f(r, BASE_ETIMEOUT, "the target said nothing for too long");
}

static void stop(struct edge_req *r)
{
    struct hidden *h = r->x;
    if (h != NULL) {
        /* A cloud that owes nothing sees the end of the body and closes by itself. */
        edge_gate_leave(h->up, !r->completed || h->state == WAIT_CLOUD);
        eng_job_close(h->job);
        wire_decoder_free(h->in);
        free(h->kept);
    }
    r->x = NULL;
}

const struct edge_exec edge_exec_hidden = {
    .needs_session = true, .start = start, .stop = stop, .silent = silent};
