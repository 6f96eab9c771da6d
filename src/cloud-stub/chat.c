/* Chat and text completions with the whole model: body -> prompt tokens -> one engine job -> chunks
 * or one JSON answer. */
#include "cloud-stub/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { ARENA_FACTOR = 4 };

struct api_head chat_head(const struct stub_req *r)
{
    const struct chat *c = r->state;
    return (struct api_head){.is_chat = c->is_chat,
                             .id = c->id,
                             .model = r->stub->cfg->model_name,
                             .created_s = base_clock_real_us() / 1000000};
}

/* Before the reply has begun this is an HTTP status, after it an error event. */
static void fail(struct stub_req *r, int status, const char *type, const char *code,
                 const char *text)
{
    struct chat *c = r->state;
    struct api_error e = {.status = status, .type = type, .code = code};
    eng_job_close(c->job);
    c->job = NULL;
    if (r->status == 0) {
        stub_refuse(r, status, type, code, "%s", text);
        return;
    }
    snprintf(e.message, sizeof e.message, "%s", text);
    base_buf_reset(&c->out);
    if (api_error_write(&e, NULL, true, &c->out) != 0)
        stub_drop(r, "out of memory");
    else if (stub_write(r, c->out.data, c->out.len))
        stub_finish(r, code);
}

static void no_memory(struct stub_req *r)
{
    fail(r, 503, "server_error", "overloaded", "Out of memory.");
}

/* ---- the answer ---- */

static bool logprob_add(struct stub_req *r, const struct eng_pick *p)
{
    struct chat *c = r->state;
    const struct eng_tok *t = eng_model_tok(r->stub->model);
    if (c->n_lp == c->cap_lp) {
        int cap = c->cap_lp == 0 ? 4 : c->cap_lp * 2;
        struct api_logprob *lp = realloc(c->lp, sizeof *lp * (size_t)cap);
        if (lp == NULL)
            return false;
        c->lp = lp;
        c->cap_lp = cap;
    }
    struct api_logprob *lp = &c->lp[c->n_lp++];
    *lp = (struct api_logprob){.logprob = p->logprob};
    lp->token = eng_tok_piece(t, p->token, false, &lp->len);
    for (int i = 0; i < p->n_top && i < API_MAX_TOP; i++) {
        lp->top[i].token = eng_tok_piece(t, p->top[i].token, false, &lp->top[i].len);
        lp->top[i].logprob = p->top[i].logprob;
        lp->n_top++;
    }
    return true;
}

/* One chunk with what came since `from`; finish_reason NULL: more will come. */
static bool send_chunk(struct stub_req *r, size_t from, const char *finish_reason)
{
    struct chat *c = r->state;
    struct api_head h = chat_head(r);
    base_buf_reset(&c->out);
    int rc =
        api_chunk_write(&h, !c->role_sent, (const char *)c->text.data + from, c->text.len - from,
                        c->n_lp > 0 ? c->lp : NULL, c->n_lp, finish_reason, NULL, &c->out);
    c->role_sent = true;
    c->n_lp = 0;
    if (rc != 0) {
        no_memory(r);
        return false;
    }
    return stub_write(r, c->out.data, c->out.len);
}

static void finish_stream(struct stub_req *r, size_t from, const char *reason,
                          const struct api_usage *u)
{
    struct chat *c = r->state;
    struct api_head h = chat_head(r);
    if (!send_chunk(r, from, reason))
        return;
    base_buf_reset(&c->out);
    if (c->req.include_usage && api_usage_chunk_write(&h, u, &c->out) != 0)
        no_memory(r);
    else if (api_done_write(&c->out) != 0)
        no_memory(r);
    else if (stub_write(r, c->out.data, c->out.len))
        stub_finish(r, reason);
}

static void finish(struct stub_req *r, const char *reason)
{
    struct chat *c = r->state;
    struct api_usage u = {.prompt_tok = r->n_tok_in, .completion_tok = r->n_tok_out};
    struct api_head h = chat_head(r);
    struct api_call call[API_MAX_CALL];
    char id[API_MAX_CALL][API_MAX_CALL_ID + 1];
    const bool calls = api_tools_active(&c->req);
    const struct base_buf *text = calls ? &c->content : &c->text;
    size_t from = c->text.len;
    eng_job_close(c->job);
    c->job = NULL;
    if (eng_text_end(c->decode, &c->text) != 0) {
        no_memory(r);
        return;
    }
    if (calls) {
        int rc = chat_form_read(r, from, true);
        if (rc != 0) {
            if (rc != BASE_ECANCELED)
                no_memory(r);
            return;
        }
        from = c->text.len;
    }
    if (c->n_call > 0 && strcmp(reason, "stop") == 0)
        reason = "tool_calls";
    if (c->streaming) {
        finish_stream(r, from, reason, &u);
        return;
    }
    base_buf_reset(&c->out);
    if (api_response_write(&h, text->len > 0 ? (const char *)text->data : "", text->len, call,
                           chat_form_calls(r, call, id), c->req.logprobs ? c->lp : NULL, c->n_lp,
                           reason, &u, NULL, &c->out) == 0)
        stub_reply(r, 200, "application/json", c->out.data, c->out.len);
    else
        no_memory(r);
}

static void on_token(struct stub_req *r, const struct eng_pick *p)
{
    struct chat *c = r->state;
    size_t from = c->text.len;
    if (eng_tok_is_end(eng_model_tok(r->stub->model), p->token))
        return; /* DONE follows */
    r->n_tok_out++;
    int rc = eng_text_add(c->decode, p->token, &c->text);
    if (rc < 0 || (c->req.logprobs && !logprob_add(r, p))) {
        no_memory(r);
        return;
    }
    bool shows = c->text.len > from || c->n_lp > 0;
    if (api_tools_active(&c->req)) {
        int read = chat_form_read(r, from, false);
        if (read != 0) {
            eng_job_close(c->job);
            c->job = NULL;
            if (read != BASE_ECANCELED)
                fail(r, 500, "server_error", "function_calls",
                     "The model's calls could not be read.");
            return;
        }
    } else if (c->streaming && shows && !send_chunk(r, from, NULL)) {
        eng_job_close(c->job);
        c->job = NULL;
        return;
    }
    if (rc == 1)
        finish(r, "stop");
}

static void on_event(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    struct stub_req *r = arg;
    (void)j;
    switch (ev->kind) {
    case ENG_EV_TOKEN:
        on_token(r, &ev->pick);
        return;
    case ENG_EV_DONE:
        finish(r, ev->done == ENG_DONE_LENGTH ? "length" : "stop");
        return;
    case ENG_EV_ERROR:
        base_log_error("chat", "id=%s: %s", r->id, ev->err.msg);
        fail(r, 500, "server_error", "engine", base_code_str(ev->err.code));
        return;
    case ENG_EV_ROWS:
        return;
    }
}

/* ---- the request ---- */

static int prompt_encode(struct stub_req *r, int32_t **ids, int *n, struct base_err *err)
{
    struct chat *c = r->state;
    const struct eng_tok *t = eng_model_tok(r->stub->model);
    int max = (int)r->stub->cfg->n_ctx;
    if (!c->is_chat)
        return eng_tok_encode(t, c->req.msg[0].content, c->req.msg[0].len, ENG_TOK_BOS, max, ids, n,
                              err);
    return chat_form_encode(r, max, ids, n, err);
}

static struct eng_sample_params sampling(const struct api_request *q)
{
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    p.temperature = q->temperature;
    p.top_k = q->top_k;
    p.top_p = q->top_p;
    p.min_p = q->min_p;
    p.repeat_penalty = q->repeat_penalty;
    p.seed = q->have_seed ? q->seed : (uint64_t)base_clock_real_us();
    p.logprobs = q->logprobs;
    p.n_top = q->n_top < ENG_TOP_MAX ? q->n_top : ENG_TOP_MAX;
    return p;
}

static int job_start(struct stub_req *r, const int32_t *ids, int n, struct base_err *err)
{
    struct chat *c = r->state;
    int room = (int)r->stub->cfg->n_ctx - n;
    struct eng_sample_params sp = sampling(&c->req);
    sp.grammar = c->form;
    struct eng_job_run run = {
        .layer_end = r->stub->identity.n_layer,
        .out = ENG_OUT_TOKEN,
        .autoregress = true,
        .max_new_tok = c->req.max_tok > 0 && c->req.max_tok < room ? c->req.max_tok : room};
    sp.max_tok = run.max_new_tok;
    if (room < 1)
        return base_err_set(err, BASE_ELIMIT, "prompt", "%d tokens fill the context of %d", n,
                            n + room);
    int rc =
        eng_text_new(&c->decode, eng_model_tok(r->stub->model), c->req.stop, c->req.n_stop, err);
    if (rc == 0)
        rc = eng_job_open(&c->job, r->stub->sched,
                          &(struct eng_job_opt){.run = run, .sample = sp, .priority = 0}, on_event,
                          r, err);
    return rc != 0 ? rc : eng_job_feed_tokens(c->job, ids, n, err);
}

static void refuse_start(struct stub_req *r, int rc, const struct base_err *err)
{
    if (rc == BASE_ELIMIT)
        fail(r, 400, "invalid_request_error", "context_length_exceeded",
             "The prompt does not fit the context.");
    else if (rc == BASE_EBUSY)
        fail(r, 429, "rate_limit_error", "too_many_requests", "All sessions are taken; try again.");
    else if (rc == BASE_ENOMEM)
        no_memory(r);
    else if (rc == BASE_EUNSUPPORTED || rc == BASE_EINVAL)
        fail(r, 400, "invalid_request_error", "unsupported", err->msg);
    else
        fail(r, 500, "server_error", "engine", base_code_str(rc));
}

/* A retry of work that was started is refused, not run twice. *have: there is a key. */
static bool key_ok(struct stub_req *r, uint8_t key[STUB_KEY_BYTES], bool *have)
{
    const char *hex = net_h2_header(r->h2, "idempotency-key");
    *have = hex != NULL;
    if (hex == NULL)
        return true;
    if (!stub_key_parse(hex, key)) {
        fail(r, 400, "invalid_request_error", "bad_idempotency_key",
             "idempotency-key must be 32 hexadecimal digits.");
        return false;
    }
    if (stub_keys_seen(r->stub->keys, key, base_clock_mono_us())) {
        fail(r, 409, "invalid_request_error", "repeated",
             "A request with this idempotency key was started before.");
        return false;
    }
    return true;
}

static void start(struct stub_req *r)
{
    struct chat *c = r->state;
    struct base_err err = {0};
    uint8_t key[STUB_KEY_BYTES];
    bool have_key;
    int32_t *ids = NULL;
    int n = 0;
    if (!key_ok(r, key, &have_key))
        return;
    int rc = prompt_encode(r, &ids, &n, &err);
    if (rc == 0)
        rc = job_start(r, ids, n, &err);
    free(ids);
    r->n_tok_in = n;
    if (rc != 0) {
        refuse_start(r, rc, &err);
        return;
    }
    if (have_key) /* only now: what was refused may be asked again under the same key */
        stub_keys_add(r->stub->keys, key, base_clock_mono_us());
    base_buf_reset(&c->body); /* content is not kept longer than needed */
    if (c->req.stream)
        c->streaming = stub_stream(r, "text/event-stream");
}

static void on_end(struct stub_req *r)
{
    struct chat *c = r->state;
    struct api_error e;
    const char *name = r->stub->cfg->model_name;
    if (c->job != NULL)
        return;
    int64_t gone_us = base_clock_mono_us() - r->start_us;
    net_timer_set(r->timer, r->stub->cfg->request_ms * 1000 - gone_us);
    if (api_request_parse(&c->req, &c->arena, c->is_chat,
                          c->body.len > 0 ? (const char *)c->body.data : "", c->body.len, &e) != 0)
        stub_refuse_api(r, &e);
    else if (c->req.model[0] != '\0' && strcmp(c->req.model, name) != 0)
        fail(r, 404, "invalid_request_error", "model_not_found",
             "There is no such model; see /v1/models.");
    else if (chat_form_make(r, &e) != 0)
        stub_refuse_api(r, &e);
    else
        start(r);
}

static void on_data(struct stub_req *r, const uint8_t *p, size_t len)
{
    struct chat *c = r->state;
    int rc = base_buf_add(&c->body, p, len);
    if (rc == BASE_ELIMIT)
        fail(r, 413, "invalid_request_error", "body_too_large",
             "The body is larger than limits.body_bytes.");
    else if (rc != 0)
        no_memory(r);
}

static void on_timeout(struct stub_req *r)
{
    struct chat *c = r->state;
    if (c->job == NULL)
        fail(r, 408, "invalid_request_error", "timeout", "The body did not come in time.");
    else
        fail(r, 504, "server_error", "timeout", "The answer took longer than limits.request_ms.");
}

static void open_as(struct stub_req *r, bool is_chat)
{
    struct chat *c = calloc(1, sizeof *c);
    if (c == NULL) {
        stub_refuse(r, 503, "server_error", "overloaded", "Out of memory.");
        return;
    }
    size_t max = (size_t)r->stub->cfg->max_body_bytes;
    c->is_chat = is_chat;
    base_buf_init(&c->body, max);
    base_buf_init(&c->text, STUB_MAX_REPLY_BYTES);
    base_buf_init(&c->content, STUB_MAX_REPLY_BYTES);
    base_buf_init(&c->out, STUB_MAX_REPLY_BYTES);
    base_arena_init(&c->arena, ARENA_FACTOR * max);
    snprintf(c->id, sizeof c->id, "%s-%s", is_chat ? "chatcmpl" : "cmpl", r->id);
    r->state = c;
    net_timer_set(r->timer, r->stub->cfg->body_ms * 1000);
}

static void open_chat(struct stub_req *r)
{
    open_as(r, true);
}

static void open_completions(struct stub_req *r)
{
    open_as(r, false);
}

static void on_close(struct stub_req *r)
{
    struct chat *c = r->state;
    if (c == NULL)
        return;
    eng_job_close(c->job);
    eng_text_free(c->decode);
    chat_form_fini(c);
    base_buf_fini(&c->body);
    base_buf_fini(&c->text);
    base_buf_fini(&c->out);
    base_arena_fini(&c->arena);
    free(c->lp);
    free(c);
    r->state = NULL;
}

const struct stub_service stub_chat = {
    .method = "POST",
    .path = "/v1/chat/completions",
    .counted = true,
    .open = open_chat,
    .data = on_data,
    .end = on_end,
    .timeout = on_timeout,
    .close = on_close,
};

const struct stub_service stub_completions = {
    .method = "POST",
    .path = "/v1/completions",
    .counted = true,
    .open = open_completions,
    .data = on_data,
    .end = on_end,
    .timeout = on_timeout,
    .close = on_close,
};
