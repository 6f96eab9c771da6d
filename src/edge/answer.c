#include "edge/answer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "edge/cabin.h"
#include "edge/request.h"

enum { ANSWER_OUT_BYTES = 64 << 20 };

/* A function call of the answer. */
struct edge_call {
    char id[API_MAX_CALL_ID + 1], name[API_MAX_NAME + 1];
    struct base_buf args;
};

const char *edge_tier_str(unsigned tier)
{
    if (tier == (EDGE_TIER_EDGE | EDGE_TIER_CLOUD))
        return "both";
    return tier == EDGE_TIER_CLOUD ? "cloud" : "edge";
}

void edge_answer_init(struct edge_answer *a, size_t max_text_bytes)
{
    base_buf_init(&a->text, max_text_bytes);
    base_buf_init(&a->content, max_text_bytes);
    base_buf_init(&a->out, ANSWER_OUT_BYTES);
}

void edge_answer_fini(struct edge_answer *a)
{
    eng_text_free(a->decode);
    api_scan_free(a->scan);
    base_buf_fini(&a->text);
    base_buf_fini(&a->content);
    base_buf_fini(&a->out);
    for (int i = 0; i < a->n_call; i++)
        base_buf_fini(&a->call[i].args);
    free(a->call);
    free(a->lp);
    *a = (struct edge_answer){0};
}

static void headers_add(struct edge_req *r)
{
    net_req_add_header(r->http, "x-waypost-route", rt_mode_str(r->route));
    net_req_add_header(r->http, "x-waypost-rule", r->dec.rule != NULL ? r->dec.rule : "");
    net_req_add_header(r->http, "x-waypost-tier", edge_tier_str(r->answer.tier));
    net_req_add_header(r->http, "x-waypost-policy", r->policy->label);
}

static struct api_route route_of(const struct edge_req *r)
{
    const struct edge_answer *a = &r->answer;
    int64_t now = base_clock_mono_us();
    return (struct api_route){
        .route = rt_mode_str(r->route),
        .rule = r->dec.rule,
        .tier = edge_tier_str(a->tier),
        .policy = r->policy->label,
        .because = r->fallback_why[0] != '\0'                            ? r->fallback_why
                   : r->dec.because != NULL && r->dec.because[0] != '\0' ? r->dec.because
                                                                         : NULL,
        .intent = edge_command_intent(r->command),
        .vss = a->tier == EDGE_TIER_EDGE && a->n_call > 0 ? edge_command_vss(r->command) : NULL,
        .confidence = edge_command_confidence(r->command),
        .bytes_out = r->out_bytes,
        .first_token_us = a->first_us != 0 ? a->first_us - r->start_us : 0,
        .total_us = now - r->start_us,
    };
}

static struct api_head head_of(const struct edge_req *r)
{
    return (struct api_head){.is_chat = r->api.is_chat,
                             .id = r->completion_id,
                             .model = r->model_name,
                             .created_s = r->created_us / 1000000};
}

static void out_of_memory(struct edge_req *r)
{
    edge_req_fail_f(r, 500, "server_error", "out_of_memory", "out of memory");
}

/* Sends what is in a->out. false: the client is gone or too slow, which on_gone deals with; it may
 * already have cleared r->http. */
static bool out_flush(struct edge_req *r)
{
    struct base_buf *out = &r->answer.out;
    if (r->http != NULL && out->err == 0 && out->len > 0)
        (void)net_req_write(r->http, out->data, out->len);
    base_buf_reset(out);
    return r->http != NULL;
}

/* Ends the stream after what was written. */
static void stream_end(struct edge_req *r)
{
    struct net_req *http = r->http;
    r->http = NULL;
    if (http != NULL)
        net_req_end(http);
}

/* Headers of a stream, once. */
static void stream_begin(struct edge_req *r)
{
    if (r->answer.begun)
        return;
    headers_add(r);
    net_req_add_header(r->http, "cache-control", "no-cache");
    r->answer.begun = true;
    net_req_stream(r->http, 200, "text/event-stream");
}

/* One streamed chunk with the new text and the log probabilities that wait. Errors: BASE_ECLOSED
 * (the client is gone), BASE_ENOMEM. */
static int chunk_send(struct edge_req *r, const char *text, size_t len)
{
    struct edge_answer *a = &r->answer;
    struct api_head h = head_of(r);
    if (r->http == NULL)
        return BASE_ECLOSED;
    stream_begin(r);
    int rc = api_chunk_write(&h, !a->role_sent, text, len, a->lp, a->n_lp, NULL, NULL, &a->out);
    a->role_sent = true;
    a->n_lp = 0;
    if (rc != 0)
        return BASE_ENOMEM;
    return out_flush(r) ? 0 : BASE_ECLOSED;
}

/* The same in the middle of an answer: whether the request has ended by it. */
static bool chunk_ends(struct edge_req *r, const char *text, size_t len)
{
    int rc = chunk_send(r, text, len);
    if (rc == BASE_ENOMEM)
        out_of_memory(r);
    return rc != 0;
}

/* ---- calls ---- */

static void token_seen(struct edge_req *r, unsigned tier)
{
    struct edge_answer *a = &r->answer;
    a->last_us = base_clock_mono_us();
    if (a->first_us == 0) {
        a->first_us = a->last_us;
        a->first_bytes = r->released_bytes;
        edge_metrics_first_token(&r->e->metrics, a->first_us - r->start_us);
    }
    a->tier |= tier;
}

/* One call more, named; false: no memory. */
static bool call_add(struct edge_req *r, const char *id, const char *name, size_t len)
{
    struct edge_answer *a = &r->answer;
    if (a->call == NULL)
        a->call = calloc(API_MAX_CALL, sizeof *a->call);
    if (a->call == NULL)
        return false;
    struct edge_call *c = &a->call[a->n_call];
    /* The completion's own random part, so that ids differ between answers. */
    if (id != NULL)
        snprintf(c->id, sizeof c->id, "%s", id);
    else
        snprintf(c->id, sizeof c->id, "call_%s_%d", strrchr(r->completion_id, '-') + 1, a->n_call);
    snprintf(c->name, sizeof c->name, "%.*s", (int)len, name);
    base_buf_init(&c->args, a->text.max_bytes);
    a->n_call++;
    return true;
}

/* Keeps and shows a piece of a call; begins: its id and name come first. false: the request has
 * ended, or nobody is there. */
static bool call_show(struct edge_req *r, int index, bool begins, const char *args, size_t len)
{
    struct edge_answer *a = &r->answer;
    struct edge_call *c = &a->call[index];
    const struct api_head h = head_of(r);
    const struct api_call piece = {begins ? c->id : NULL, begins ? c->name : NULL, args, len};
    if (base_buf_add(&c->args, args, len) != 0) {
        out_of_memory(r);
        return false;
    }
    if (r->http == NULL || !r->api.stream)
        return r->http != NULL;
    stream_begin(r);
    const int rc = api_call_chunk_write(&h, !a->role_sent, index, &piece,
                                        a->n_lp > 0 ? a->lp : NULL, a->n_lp, &a->out);
    a->role_sent = true;
    a->n_lp = 0;
    if (rc != 0)
        out_of_memory(r);
    return rc == 0 && out_flush(r);
}

/* What the scanner found in our own text. */
static bool piece_take(void *arg, const struct api_piece *p)
{
    struct edge_req *r = arg;
    struct edge_answer *a = &r->answer;
    switch (p->kind) {
    case API_PIECE_TEXT:
        if (base_buf_add(&a->content, p->text, p->len) != 0) {
            out_of_memory(r);
            return false;
        }
        return r->http != NULL && (!r->api.stream || !chunk_ends(r, p->text, p->len));
    case API_PIECE_CALL:
        if (call_add(r, NULL, p->text, p->len))
            return call_show(r, p->call, true, "", 0);
        out_of_memory(r);
        return false;
    case API_PIECE_ARGS:
        return call_show(r, p->call, false, p->text, p->len);
    }
    return false;
}

/* The new text, read for calls. true: the request has ended by it. */
static bool scan(struct edge_req *r, const char *text, size_t len, bool last)
{
    struct edge_answer *a = &r->answer;
    if (a->scan == NULL && (a->scan = api_scan_new(&r->syntax)) == NULL) {
        out_of_memory(r);
        return true;
    }
    const int rc = api_scan_feed(a->scan, text, len, last, piece_take, r);
    if (rc != 0 && !r->ended && r->http != NULL)
        edge_req_fail_f(r, 500, "server_error", "function_calls",
                        "The model's calls could not be read: %s.", base_code_str(rc));
    return rc != 0;
}

bool edge_answer_call(struct edge_req *r, int index, const struct api_call *piece, int *rc)
{
    struct edge_answer *a = &r->answer;
    const bool begins = index == a->n_call;
    /* Some servers say the name again in every piece. */
    const bool goes_on = index == a->n_call - 1 &&
                         (piece->name == NULL || strcmp(piece->name, a->call[index].name) == 0);
    *rc = goes_on || (begins && index < API_MAX_CALL && piece->name != NULL) ? 0 : BASE_EPROTO;
    if (r->ended || *rc != 0)
        return r->ended;
    token_seen(r, EDGE_TIER_CLOUD);
    a->n_tok++;
    if (begins && !call_add(r, piece->id, piece->name, strlen(piece->name))) {
        out_of_memory(r);
        return true;
    }
    return !call_show(r, index, begins, piece->args, piece->len);
}

void edge_answer_whole_call(struct edge_req *r, const char *name, const char *args, size_t len,
                            int n_tok)
{
    if (r->ended)
        return;
    token_seen(r, EDGE_TIER_EDGE);
    r->answer.n_tok += n_tok;
    if (!call_add(r, NULL, name, strlen(name))) {
        out_of_memory(r);
        return;
    }
    if (call_show(r, 0, true, args, len))
        edge_req_finish(r, "stop");
}

/* ---- tokens and text ---- */

static bool logprob_add(struct edge_req *r, const struct eng_pick *p)
{
    struct edge_answer *a = &r->answer;
    const struct eng_tok *t = eng_model_tok(r->e->model);
    if (a->n_lp == a->cap_lp) {
        int cap = a->cap_lp == 0 ? 4 : a->cap_lp * 2;
        struct api_logprob *lp = realloc(a->lp, sizeof *lp * (size_t)cap);
        if (lp == NULL)
            return false;
        a->lp = lp;
        a->cap_lp = cap;
    }
    struct api_logprob *lp = &a->lp[a->n_lp++];
    *lp = (struct api_logprob){.logprob = p->logprob};
    lp->token = eng_tok_piece(t, p->token, false, &lp->len);
    for (int i = 0; i < p->n_top && i < r->api.n_top && i < API_MAX_TOP; i++) {
        lp->top[i].token = eng_tok_piece(t, p->top[i].token, true, &lp->top[i].len);
        lp->top[i].logprob = p->top[i].logprob;
        lp->n_top = i + 1;
    }
    return true;
}

bool edge_answer_token(struct edge_req *r, const struct eng_pick *p, unsigned tier)
{
    struct edge_answer *a = &r->answer;
    const struct eng_tok *t = eng_model_tok(r->e->model);
    struct base_err err = {0};
    if (r->ended)
        return true;
    token_seen(r, tier);
    if (eng_tok_is_end(t, p->token)) {
        edge_req_finish(r, "stop");
        return true;
    }
    a->n_tok++;
    if (a->decode == NULL && eng_text_new(&a->decode, t, r->api.stop, r->api.n_stop, &err) != 0) {
        edge_req_fail_f(r, 500, "server_error", NULL, "%s", err.msg);
        return true;
    }
    size_t shown = a->text.len;
    int rc = eng_text_add(a->decode, p->token, &a->text);
    if (rc == BASE_ELIMIT) {
        edge_req_finish(r, "length");
        return true;
    }
    if (rc < 0 || (r->api.logprobs && !logprob_add(r, p))) {
        out_of_memory(r);
        return true;
    }
    const char *fresh = a->text.len > 0 ? (const char *)a->text.data + shown : "";
    bool news = a->text.len > shown || a->n_lp > 0;
    if (edge_req_told_tools(r)) {
        if (scan(r, fresh, a->text.len - shown, false))
            return true;
    } else if (r->api.stream && news && chunk_ends(r, fresh, a->text.len - shown)) {
        return true;
    }
    if (rc == 1) {
        /* What is held back belongs to the stop string: it must not be shown at the end. */
        eng_text_free(a->decode);
        a->decode = NULL;
        edge_req_finish(r, "stop");
        return true;
    }
    if (a->n_tok >= r->max_new) {
        edge_req_finish(r, "length");
        return true;
    }
    return false;
}

bool edge_answer_text(struct edge_req *r, const char *text, size_t len)
{
    struct edge_answer *a = &r->answer;
    if (r->ended)
        return true;
    if (len == 0)
        return false;
    token_seen(r, EDGE_TIER_CLOUD);
    a->n_tok++;
    int rc = base_buf_add(&a->text, text, len);
    if (rc == BASE_ELIMIT) {
        edge_req_finish(r, "length");
        return true;
    }
    if (rc == 0 && edge_req_told_tools(r))
        rc = base_buf_add(&a->content, text, len);
    if (rc != 0) {
        out_of_memory(r);
        return true;
    }
    return r->api.stream && chunk_ends(r, text, len);
}

static struct api_usage usage_of(const struct edge_req *r)
{
    const struct edge_answer *a = &r->answer;
    return (struct api_usage){.prompt_tok =
                                  a->prompt_tok_cloud > 0 ? a->prompt_tok_cloud : r->n_prompt,
                              .completion_tok = a->n_tok,
                              .cached_tok = (a->tier & EDGE_TIER_CLOUD) != 0 ? -1 : a->cached_tok};
}

static void finish_stream(struct edge_req *r, const char *finish_reason, const char *rest,
                          size_t rest_len)
{
    struct edge_answer *a = &r->answer;
    struct api_head h = head_of(r);
    struct api_route route = route_of(r);
    struct api_usage u = usage_of(r);
    if ((!a->begun || rest_len > 0 || a->n_lp > 0) && chunk_send(r, rest, rest_len) == BASE_ECLOSED)
        return;
    int rc = api_chunk_write(&h, false, "", 0, NULL, 0, finish_reason, &route, &a->out);
    if (rc == 0 && r->api.include_usage)
        rc = api_usage_chunk_write(&h, &u, &a->out);
    if (rc == 0)
        rc = api_done_write(&a->out);
    if (rc != 0)
        base_log_error("answer", "id=%s: %s", r->id, base_code_str(rc));
    (void)out_flush(r);
    stream_end(r);
}

static void finish_whole(struct edge_req *r, const char *finish_reason)
{
    struct edge_answer *a = &r->answer;
    struct api_head h = head_of(r);
    struct api_route route = route_of(r);
    struct api_usage u = usage_of(r);
    const struct base_buf *text = edge_req_told_tools(r) ? &a->content : &a->text;
    struct api_call call[API_MAX_CALL];
    for (int i = 0; i < a->n_call; i++)
        call[i] = (struct api_call){
            a->call[i].id, a->call[i].name,
            a->call[i].args.len > 0 ? (const char *)a->call[i].args.data : "", a->call[i].args.len};
    int rc = api_response_write(&h, text->len > 0 ? (const char *)text->data : "", text->len, call,
                                a->n_call, a->lp, a->n_lp, finish_reason, &u, &route, &a->out);
    struct net_req *http = r->http;
    headers_add(r);
    r->http = NULL;
    if (rc == 0)
        net_req_reply(http, 200, "application/json", a->out.data, a->out.len);
    else
        net_req_reply(http, 500, "application/json", NULL, 0);
    base_buf_reset(&a->out);
}

void edge_answer_finish(struct edge_req *r, const char *finish_reason)
{
    struct edge_answer *a = &r->answer;
    if (r->http == NULL)
        return;
    size_t shown = a->text.len;
    if (a->tier == 0)
        a->tier = EDGE_TIER_EDGE; /* ended before any token (an empty answer) */
    a->text.err = 0;              /* a full text buffer is no reason not to end */
    if (a->decode != NULL && eng_text_end(a->decode, &a->text) != 0)
        a->text.err = 0;
    const char *rest = a->text.len > 0 ? (const char *)a->text.data + shown : "";
    size_t n_rest = a->text.len - shown;
    if (a->scan != NULL) {
        if (scan(r, rest, n_rest, true) && r->http == NULL)
            return;
        n_rest = 0;
    }
    if (a->n_call > 0 && strcmp(finish_reason, "stop") == 0)
        finish_reason = "tool_calls";
    if (r->api.stream)
        finish_stream(r, finish_reason, rest, n_rest);
    else
        finish_whole(r, finish_reason);
}

void edge_answer_fail(struct edge_req *r, const struct api_error *err)
{
    struct edge_answer *a = &r->answer;
    if (r->http == NULL)
        return;
    struct api_route route = route_of(r);
    bool decided = r->dec.rule != NULL;
    base_buf_reset(&a->out);
    int rc = api_error_write(err, decided ? &route : NULL, a->begun, &a->out);
    if (rc != 0)
        base_buf_reset(&a->out);
    if (a->begun) {
        (void)out_flush(r);
        stream_end(r);
        return;
    }
    if (decided)
        headers_add(r);
    if (err->status == 429 || err->status == 503)
        net_req_add_header(r->http, "retry-after", "1");
    struct net_req *http = r->http;
    r->http = NULL;
    net_req_reply(http, err->status, "application/json", a->out.data, a->out.len);
}
