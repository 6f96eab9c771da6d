/* The prompt executor: the request's text goes through the gate to an OpenAI-compatible server, its
 * stream of deltas comes back. If that breaks, the local executor goes on from the text so far. */
#include "edge/request.h"

#include <string.h>

#include "api/stream.h"
#include "edge/gate.h"

enum { EVENT_BYTES = 1 << 20, BODY_BYTES = 128 << 20 };

struct prompt {
    struct edge_up_req *up; /* NULL: not open, or closed */
    struct api_stream *in;
    const char *finish_reason; /* NULL until the server said it */
    bool done;                 /* its answer is whole */
};

/* The exchange is over. With a finish_reason the answer is whole, whatever happened after it. */
static void lost(struct edge_req *r, int code, const char *what)
{
    const struct prompt *x = r->x;
    struct base_err why;
    if (x->finish_reason != NULL) {
        edge_req_finish(r, x->finish_reason);
        return;
    }
    base_err_set(&why, code, "prompt", "%s", what);
    edge_req_fall_back(r, &why);
}

static void on_head(void *arg, int status)
{
    struct edge_req *r = arg;
    if (status == 200)
        return;
    char what[48];
    snprintf(what, sizeof what, "the target answered with status %d", status);
    lost(r, status == 429 || status == 503 ? BASE_EBUSY : BASE_EPROTO, what);
}

/* One event of the server. true: the request has ended or is elsewhere. */
static bool delta_take(struct edge_req *r, const struct api_delta *d)
{
    struct prompt *x = r->x;
    if (d->is_error) {
        lost(r, BASE_EPROTO, "the target sent an error in its stream");
        return true;
    }
    if (edge_answer_text(r, d->text, d->len))
        return true;
    for (int i = 0; i < d->n_call; i++) {
        int rc = 0;
        if (edge_answer_call(r, d->call[i].index, &d->call[i].piece, &rc))
            return true;
        if (rc != 0) {
            lost(r, rc, "the target's calls are out of order");
            return true;
        }
    }
    if (d->has_usage && d->usage.prompt_tok >= 0 && d->usage.completion_tok >= 0) {
        r->answer.prompt_tok_cloud = d->usage.prompt_tok;
        r->answer.n_tok = d->usage.completion_tok;
    }
    if (d->finish_reason != NULL)
        x->finish_reason = strcmp(d->finish_reason, "length") == 0 ? "length" : "stop";
    if (!d->done)
        return false;
    if (x->finish_reason == NULL) {
        lost(r, BASE_EPROTO, "the target ended its stream without a finish_reason");
        return true;
    }
    x->done = true;
    edge_req_finish(r, x->finish_reason);
    return true;
}

static void on_data(void *arg, const uint8_t *p, size_t len)
{
    struct edge_req *r = arg;
    struct prompt *x = r->x;
    struct api_delta d;
    edge_req_await_cloud(r, true);
    int rc = api_stream_feed(x->in, p, len);
    while (rc == 0 && (rc = api_stream_next(x->in, &d)) == 1) {
        if (delta_take(r, &d))
            return; /* x is gone */
        rc = 0;
        if (d.done)
            return;
        continue;
    }
    if (rc < 0)
        lost(r, rc, "the target's stream is not an event stream of this API");
}

static void on_closed(void *arg, int code)
{
    struct edge_req *r = arg;
    struct prompt *x = r->x;
    x->up = NULL;
    lost(r, code != 0 ? code : BASE_ECLOSED, "the exchange with the target broke off");
}

static const struct edge_up_cb callbacks = {
    .on_head = on_head, .on_data = on_data, .on_closed = on_closed};

static int body_send(struct edge_req *r, struct prompt *x, struct base_err *err)
{
    struct api_request q = r->api;
    struct base_buf b;
    char model[256];
    q.stream = q.include_usage = true;
    q.max_tok = r->max_new;
    if (edge_config_target_model(&r->e->cfg, r->dec.route.target, model, sizeof model) == 0)
        q.model = model;
    else
        q.model = r->e->model_name; /* the client's own word for it stays in the car */
    base_buf_init(&b, BODY_BYTES);
    int rc = api_request_write(&q, &b);
    if (rc == 0)
        rc = edge_gate_send(x->up, r, b.data, b.len, err);
    else
        base_err_set(err, rc, "prompt", "the request could not be written");
    base_buf_fini(&b);
    if (rc == 0)
        edge_gate_end(x->up);
    return rc;
}

static void start(struct edge_req *r)
{
    struct base_err err = {0};
    struct prompt *x = base_arena_get(&r->arena, sizeof *x);
    r->x = x;
    if (x == NULL || (x->in = api_stream_new(EVENT_BYTES)) == NULL) {
        edge_req_fail_f(r, 503, "server_error", "out_of_memory", "out of memory");
        return;
    }
    /* The uplink posts every prompt to the chat's path, where a bare text is refused: it would have
     * left for nothing. */
    int rc = r->api.is_chat ? edge_gate_open(&x->up, r, &callbacks, r, &err)
                            : base_err_set(&err, BASE_EUNSUPPORTED, "prompt",
                                           "prompt targets take chat completions only");
    if (rc == 0)
        rc = body_send(r, x, &err);
    if (rc != 0)
        edge_req_fall_back(r, &err);
    else
        edge_req_await_cloud(r, true);
}

static void silent(struct edge_req *r)
{
    lost(r, BASE_ETIMEOUT, "the target said nothing for too long");
}

static void stop(struct edge_req *r)
{
    struct prompt *x = r->x;
    if (x != NULL) {
        edge_gate_leave(x->up, !x->done);
        api_stream_free(x->in);
    }
    r->x = NULL;
}

const struct edge_exec edge_exec_prompt = {
    .needs_session = false, .start = start, .stop = stop, .silent = silent};
