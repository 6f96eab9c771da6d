/* The split session: frames in, frames out, and one engine job over layers [k, L).
 *
 *   HELLO ──> OPEN ──> RUN ──> OVER
 *
 * In every state an unexpected frame, a broken one, a limit or a deadline leads to OVER by one
 * STATUS, which is the last thing sent. proto/wire-v1.md has the contract. */
#include "cloud-stub/stub.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { RETRY_AFTER_MS = 1000 };
static const char frames_type[] = "application/waypost-frames";

enum split_state { WANT_HELLO, WANT_OPEN, RUN, OVER };

struct split {
    enum split_state state;
    struct wire_decoder *in;
    struct wire_open open;
    struct eng_job *job;
    int n_pos;                      /* rows taken: the position that comes next */
    int n_owed;                     /* answers asked for and not yet sent */
    bool edge_ended;                /* END_STREAM came */
    int64_t deadline_us, active_us; /* end of the session; last frame or answer */
};

/* 0, an error of wire_encode (nothing was sent), or BASE_ECLOSED: the stream is lost. */
static int send_frame(struct stub_req *r, const struct wire_frame *f)
{
    struct base_buf b;
    base_buf_init(&b, WIRE_MAX_FRAME + WIRE_HEAD_BYTES);
    int rc = wire_encode(f, &b);
    if (rc == 0 && !stub_write(r, b.data, b.len))
        rc = BASE_ECLOSED;
    base_buf_fini(&b);
    return rc;
}

/* The last frame. The engine's work stops before it is even sent. */
static void over(struct stub_req *r, enum wire_status status, const char *message)
{
    struct split *s = r->state;
    struct wire_frame f = {.type = WIRE_STATUS};
    if (s->state == OVER)
        return;
    s->state = OVER;
    eng_job_close(s->job);
    s->job = NULL;
    f.u.status.status = status;
    f.u.status.retry_after_ms = status == WIRE_ST_BUSY ? RETRY_AFTER_MS : 0;
    f.u.status.n_tok_in = (uint32_t)r->n_tok_in;
    f.u.status.n_tok_out = (uint32_t)r->n_tok_out;
    snprintf(f.u.status.message, sizeof f.u.status.message, "%s", message);
    int rc = send_frame(r, &f);
    if (rc == 0)
        stub_finish(r, wire_status_str(status));
    else
        stub_drop(r, base_code_str(rc));
}

static void over_err(struct stub_req *r, enum wire_status status, const struct base_err *err)
{
    char line[sizeof err->place + sizeof err->msg + 4];
    over(r, status, base_err_line(err, line, sizeof line));
}

/* One timer for both limits: the session's end, and silence while nothing is owed. */
static void arm(struct stub_req *r, int64_t now_us)
{
    struct split *s = r->state;
    int64_t at = s->deadline_us;
    int64_t idle = s->active_us + r->stub->cfg->session_idle_ms * 1000;
    if (s->n_owed == 0 && idle < at)
        at = idle;
    net_timer_set(r->timer, at > now_us ? at - now_us : 0);
}

static void active(struct stub_req *r)
{
    struct split *s = r->state;
    s->active_us = base_clock_mono_us();
    arm(r, s->active_us);
}

static void on_timeout(struct stub_req *r)
{
    struct split *s = r->state;
    int64_t now = base_clock_mono_us();
    if (now >= s->deadline_us)
        over(r, WIRE_ST_TIMEOUT, "the session's deadline passed");
    else if (s->n_owed == 0 && now >= s->active_us + r->stub->cfg->session_idle_ms * 1000)
        over(r, WIRE_ST_TIMEOUT, "nothing came for too long");
    else
        arm(r, now);
}

/* ---- engine -> edge ---- */

static void fill_token(const struct eng_event *ev, struct wire_frame *f)
{
    const struct eng_pick *p = &ev->pick;
    f->type = WIRE_TOKEN;
    f->u.token.pos = ev->pos + 1;
    f->u.token.token = p->token;
    f->u.token.logprob = p->logprob;
    f->u.token.entropy = p->entropy;
    f->u.token.n_top = p->n_top;
    for (int i = 0; i < p->n_top; i++) {
        f->u.token.top_token[i] = p->top[i].token;
        f->u.token.top_logprob[i] = p->top[i].logprob;
    }
}

static void fill_state(const struct stub_req *r, const struct eng_event *ev, struct wire_frame *f)
{
    const struct split *s = r->state;
    const struct wire_identity *id = &r->stub->identity;
    f->type = WIRE_STATE;
    /* The frame is encoded before the callback returns; nobody writes through x. */
    f->u.rows = (struct wire_rows){
        .pos = ev->pos + ev->n_row - 1,
        .layer = id->n_layer,
        .n_row = 1,
        .d = id->d_model,
        .dtype = s->open.reply_dtype,
        .x = (float *)(uintptr_t)(ev->rows + (size_t)(ev->n_row - 1) * (size_t)id->d_model)};
}

static void on_event(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    struct stub_req *r = arg;
    struct split *s = r->state;
    struct wire_frame f = {0};
    (void)j;
    r->n_tok_in = ev->n_prompt_tok;
    switch (ev->kind) {
    case ENG_EV_TOKEN:
        fill_token(ev, &f);
        break;
    case ENG_EV_ROWS:
        fill_state(r, ev, &f);
        break;
    case ENG_EV_DONE: /* rows that want no answer have run */
        return;
    case ENG_EV_ERROR:
        base_log_error("split", "id=%s: %s", r->id, ev->err.msg);
        over(r, WIRE_ST_INTERNAL, base_code_str(ev->err.code));
        return;
    }
    int rc = send_frame(r, &f);
    if (rc != 0) { /* a state beyond f16's range, no memory, or nobody there */
        over(r, WIRE_ST_INTERNAL,
             rc == BASE_EINVAL ? "the answer does not fit its frame" : base_code_str(rc));
        return;
    }
    s->n_owed--;
    r->n_tok_out++;
    active(r);
    if (s->edge_ended && s->n_owed == 0)
        over(r, WIRE_ST_OK, "");
}

/* ---- edge -> engine ---- */

static void take_hello(struct stub_req *r, const struct wire_hello *h)
{
    struct split *s = r->state;
    struct base_err err = {0};
    char text[64];
    if (h->version != WIRE_VERSION) {
        snprintf(text, sizeof text, "version %d came, %d is spoken here", h->version, WIRE_VERSION);
        over(r, WIRE_ST_VERSION, text);
    } else if (wire_identity_compare(&r->stub->identity, &h->id, &err) != 0) {
        over(r, WIRE_ST_MISMATCH, err.msg);
    } else {
        s->state = WANT_OPEN;
    }
}

static struct eng_job_run run_for(const struct stub_req *r, bool want)
{
    const struct split *s = r->state;
    enum eng_job_output out = s->open.tail == WIRE_TAIL_CLOUD ? ENG_OUT_TOKEN : ENG_OUT_STATE;
    return (struct eng_job_run){.layer_begin = s->open.layer,
                                .layer_end = r->stub->identity.n_layer,
                                .out = want ? out : ENG_OUT_NONE};
}

static int open_job(struct stub_req *r, const struct wire_open *o, struct base_err *err)
{
    struct split *s = r->state;
    struct eng_sample_params sp = {.temperature = o->temperature,
                                   .top_k = o->top_k,
                                   .top_p = o->top_p,
                                   .min_p = o->min_p,
                                   .repeat_penalty = o->repeat_penalty,
                                   .repeat_last_n = o->repeat_last_n,
                                   .seed = o->seed,
                                   .n_top = o->n_top,
                                   .logprobs = true};
    struct eng_job_run run = run_for(r, true);
    return eng_job_open(&s->job, r->stub->sched,
                        &(struct eng_job_opt){.run = run, .sample = sp, .priority = 0}, on_event, r,
                        err);
}

static void take_open(struct stub_req *r, const struct wire_open *o)
{
    struct split *s = r->state;
    const struct stub_config *cfg = r->stub->cfg;
    int64_t now = base_clock_mono_us();
    struct base_err err = {0};
    char text[128];
    s->open = *o;
    if (o->layer >= r->stub->identity.n_layer) {
        snprintf(text, sizeof text, "layer %d of %d", o->layer, r->stub->identity.n_layer);
        over(r, WIRE_ST_UNSUPPORTED, text);
        return;
    }
    if (o->n_ctx > cfg->n_ctx) {
        snprintf(text, sizeof text, "%d positions, at most %lld", o->n_ctx, (long long)cfg->n_ctx);
        over(r, WIRE_ST_LIMIT, text);
        return;
    }
    if (stub_keys_seen(r->stub->keys, o->idempotency_key, now)) {
        over(r, WIRE_ST_REPEATED, "a session with this idempotency key was started before");
        return;
    }
    int rc = open_job(r, o, &err);
    if (rc != 0) {
        over(r,
             rc == BASE_EBUSY || rc == BASE_ENOMEM ? WIRE_ST_BUSY
             : rc == BASE_EINVAL                   ? WIRE_ST_UNSUPPORTED
                                                   : WIRE_ST_INTERNAL,
             err.msg);
        return;
    }
    stub_keys_add(r->stub->keys, o->idempotency_key, now);
    if (o->deadline_ms != 0 && r->start_us + (int64_t)o->deadline_ms * 1000 < s->deadline_us)
        s->deadline_us = r->start_us + (int64_t)o->deadline_ms * 1000;
    s->state = RUN;
}

static bool rows_ok(struct stub_req *r, const struct wire_rows *w)
{
    const struct split *s = r->state;
    char text[160];
    if (w->layer != s->open.layer || w->d != r->stub->identity.d_model ||
        w->dtype != s->open.dtype || w->pos != s->n_pos) {
        snprintf(text, sizeof text,
                 "rows at %d of layer %d, width %d, dtype %d; expected at %d of %d, %d, %d", w->pos,
                 w->layer, w->d, (int)w->dtype, s->n_pos, s->open.layer, r->stub->identity.d_model,
                 (int)s->open.dtype);
        over(r, WIRE_ST_BAD_FRAME, text);
        return false;
    }
    if (w->n_row > s->open.n_ctx - s->n_pos) {
        snprintf(text, sizeof text, "%d rows at %d, %d positions were opened", w->n_row, w->pos,
                 s->open.n_ctx);
        over(r, WIRE_ST_LIMIT, text);
        return false;
    }
    return true;
}

static void take_rows(struct stub_req *r, const struct wire_rows *w)
{
    struct split *s = r->state;
    struct base_err err = {0};
    struct eng_job_run run = run_for(r, w->want);
    if (!rows_ok(r, w))
        return;
    int rc = eng_job_switch(s->job, &run, &err);
    if (rc == 0)
        rc = eng_job_feed_rows(s->job, w->x, w->n_row, &err);
    if (rc != 0) {
        over(r,
             rc == BASE_ELIMIT   ? WIRE_ST_LIMIT
             : rc == BASE_ENOMEM ? WIRE_ST_BUSY
                                 : WIRE_ST_INTERNAL,
             err.msg);
        return;
    }
    s->n_pos += w->n_row;
    s->n_owed += w->want;
}

static void take_frame(struct stub_req *r, const struct wire_frame *f)
{
    struct split *s = r->state;
    static const char *const order[] = {
        [WANT_HELLO] = "a HELLO must come first",
        [WANT_OPEN] = "an OPEN must come after HELLO",
        [RUN] = "only ROWS and CANCEL may come now",
        [OVER] = "",
    };
    if (f->type == WIRE_CANCEL && s->state != WANT_HELLO)
        over(r, WIRE_ST_CANCELED, "");
    else if (f->type == WIRE_HELLO && s->state == WANT_HELLO)
        take_hello(r, &f->u.hello);
    else if (f->type == WIRE_OPEN && s->state == WANT_OPEN)
        take_open(r, &f->u.open);
    else if (f->type == WIRE_ROWS && s->state == RUN)
        take_rows(r, &f->u.rows);
    else
        over(r, WIRE_ST_BAD_FRAME, order[s->state]);
}

static void on_data(struct stub_req *r, const uint8_t *p, size_t len)
{
    struct split *s = r->state;
    struct wire_frame f;
    struct base_err err = {0};
    if (s->state == OVER)
        return;
    int rc = wire_decoder_feed(s->in, p, len);
    while (rc == 0 && s->state != OVER && (rc = wire_decoder_next(s->in, &f, &err)) == 1) {
        take_frame(r, &f);
        rc = 0;
        if (s->state == OVER)
            return;
        active(r);
    }
    if (rc < 0 && err.msg[0] == '\0')
        (void)base_err_set(&err, rc, "stream", "%s", base_code_str(rc));
    if (rc < 0)
        over_err(r, rc == BASE_ENOMEM ? WIRE_ST_BUSY : WIRE_ST_BAD_FRAME, &err);
}

static void on_end(struct stub_req *r)
{
    struct split *s = r->state;
    if (s->state == OVER)
        return;
    s->edge_ended = true;
    if (wire_decoder_partial(s->in))
        over(r, WIRE_ST_BAD_FRAME, "the stream ends inside a frame");
    else if (s->state != RUN)
        over(r, WIRE_ST_BAD_FRAME, "the stream ends before a session was opened");
    else if (s->n_owed == 0)
        over(r, WIRE_ST_OK, "");
}

/* ---- life ---- */

static int say_hello(struct stub_req *r)
{
    struct wire_frame f = {.type = WIRE_HELLO};
    f.u.hello.version = WIRE_VERSION;
    f.u.hello.id = r->stub->identity;
    snprintf(f.u.hello.software, sizeof f.u.hello.software, "waypost %s", PACKAGE_VERSION);
    return send_frame(r, &f);
}

static void on_open(struct stub_req *r)
{
    const char *type = net_h2_header(r->h2, "content-type");
    if (type == NULL || strcmp(type, frames_type) != 0) {
        stub_refuse(r, 415, "invalid_request_error", "unsupported_media_type",
                    "The content type must be %s.", frames_type);
        return;
    }
    struct split *s = calloc(1, sizeof *s);
    if (s == NULL || (s->in = wire_decoder_new()) == NULL) {
        free(s);
        stub_refuse(r, 503, "server_error", "overloaded", "Out of memory.");
        return;
    }
    r->state = s;
    s->deadline_us = r->start_us + r->stub->cfg->session_ms * 1000;
    active(r);
    if (stub_stream(r, frames_type) && say_hello(r) != 0)
        stub_drop(r, "no hello");
}

static void on_close(struct stub_req *r)
{
    struct split *s = r->state;
    if (s == NULL)
        return;
    eng_job_close(s->job);
    wire_decoder_free(s->in);
    free(s);
    r->state = NULL;
}

const struct stub_service stub_split = {
    .method = "POST",
    .path = "/waypost/v1/split",
    .counted = true,
    .open = on_open,
    .data = on_data,
    .end = on_end,
    .timeout = on_timeout,
    .close = on_close,
};
