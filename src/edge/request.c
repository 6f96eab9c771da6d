#include "edge/request.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "edge/decision_log.h"
#include "edge/cabin.h"
#include "edge/facts.h"
#include "edge/form.h"
#include "edge/own_facts.h"
#include "edge/shadow.h"
#include "edge/uplink_link.h"

enum {
    ARENA_SLACK_BYTES = 1 << 20, /* beside the body: structs, links, copies of messages */
};

/* --- ids ------------------------------------------------------------------------------------- */

/* The client's own id, if it is harmless in a header and a log. */
static bool client_id_ok(const char *s)
{
    size_t n = s != NULL ? strlen(s) : 0;
    return n > 0 && n <= EDGE_ID_MAX &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == n;
}

static int ids_make(struct edge_req *r)
{
    char hex[2 * sizeof r->decision_id + 1];
    if (getrandom(r->decision_id, sizeof r->decision_id, 0) != (ssize_t)sizeof r->decision_id)
        return BASE_EIO;
    base_hex(r->decision_id, sizeof r->decision_id, hex);
    const char *own = net_req_header(r->http, "x-request-id");
    snprintf(r->id, sizeof r->id, "%s", client_id_ok(own) ? own : hex);
    snprintf(r->completion_id, sizeof r->completion_id, "%s-%s",
             r->api.is_chat ? "chatcmpl" : "cmpl", hex);
    return 0;
}

/* --- the end --------------------------------------------------------------------------------- */

static void exec_stop(struct edge_req *r)
{
    const struct edge_exec *x = r->exec;
    r->exec = NULL;
    net_timer_clear(r->patience);
    if (x != NULL && r->started)
        x->stop(r);
    if (r->started) {
        const double joules = edge_energy_end(&r->e->energy, &r->energy);
        r->joules += joules > 0 ? joules : 0;
        r->joules_lost |= joules < 0;
    }
    r->started = false;
}

/* Out of the line for a session, or gives its session back. */
static void session_drop(struct edge_req *r)
{
    struct edge *e = r->e;
    if (r->is_waiting) {
        struct edge_req **at = &e->wait_head, *last = NULL;
        while (*at != r) {
            last = *at;
            at = &(*at)->wait_next;
        }
        *at = r->wait_next;
        if (e->wait_tail == r)
            e->wait_tail = last;
        r->is_waiting = false;
        r->wait_next = NULL;
        e->n_wait--;
    }
    if (r->has_session) {
        r->has_session = false;
        e->n_session--;
        net_timer_set(e->later, 0);
    }
}

static void req_end(struct edge_req *r, enum edge_result result, int http_status)
{
    struct edge *e = r->e;
    session_drop(r);
    net_timer_clear(r->deadline);
    int64_t total_us = base_clock_mono_us() - r->start_us;
    e->metrics.request[r->dec.rule != NULL ? (int)r->route : EDGE_ROUTE_NONE][result]++;
    e->metrics.tier[r->answer.tier]++;
    e->metrics.prompt_tok += (uint64_t)r->n_prompt;
    e->metrics.answer_tok += (uint64_t)r->answer.n_tok;
    edge_metrics_total(&e->metrics, total_us);
    edge_history_record(r);
    edge_own_count(r);
    edge_facts_learn(r);
    edge_shadow_count(r);
    edge_dlog_write(e->dlog, r, result, http_status);
    base_log_info("request",
                  "id=%s caller=%s route=%s rule=%s tier=%s result=%s status=%d tokens=%d "
                  "released=%llu out=%llu ms=%lld",
                  r->id, r->caller->name, rt_mode_str(r->route),
                  r->dec.rule != NULL ? r->dec.rule : "-", edge_tier_str(r->answer.tier),
                  edge_result_str(result), http_status, r->answer.n_tok,
                  (unsigned long long)r->released_bytes, (unsigned long long)r->out_bytes,
                  (long long)(total_us / 1000));
    e->n_req--;
    net_timer_set(e->later, 0);
}

void edge_req_finish(struct edge_req *r, const char *finish_reason)
{
    if (r->ended)
        return;
    r->ended = r->completed = true;
    exec_stop(r);
    edge_answer_finish(r, finish_reason);
    req_end(r, EDGE_RES_OK, 200);
}

void edge_req_fail(struct edge_req *r, const struct api_error *err)
{
    if (r->ended)
        return;
    r->ended = true;
    exec_stop(r);
    edge_answer_fail(r, err);
    if (err->status == 429)
        r->e->metrics.rejected_busy++;
    req_end(r, err->status < 500 ? EDGE_RES_REFUSED : EDGE_RES_ERROR, err->status);
}

void edge_req_fail_f(struct edge_req *r, int status, const char *type, const char *code,
                     const char *fmt, ...)
{
    struct api_error e = {.status = status, .type = type, .code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.message, sizeof e.message, fmt, ap);
    va_end(ap);
    edge_req_fail(r, &e);
}

static void on_gone(struct net_req *http, void *arg)
{
    struct edge_req *r = arg;
    (void)http;
    r->http = NULL;
    if (r->ended)
        return;
    r->ended = true;
    exec_stop(r);
    req_end(r, EDGE_RES_GONE, 499); /* nobody sees it: what logs of other servers call this */
}

static void on_deadline(void *arg)
{
    struct edge_req *r = arg;
    if (r->answer.first_us == 0)
        edge_req_fail_f(r, 504, "server_error", "deadline_exceeded",
                        "The deadline passed before the first token.");
    else
        edge_req_finish(r, "length");
}

static void on_silence(void *arg)
{
    struct edge_req *r = arg;
    if (r->exec != NULL && r->exec->silent != NULL)
        r->exec->silent(r);
}

void edge_req_await_cloud(struct edge_req *r, bool waits)
{
    if (waits && r->exec != NULL && r->exec->silent != NULL)
        net_timer_set(r->patience, r->e->cfg.uplink_patience_ms * 1000);
    else
        net_timer_clear(r->patience);
}

void edge_req_fail_all(struct edge *e, const char *why)
{
    struct edge_req *next;
    for (struct edge_req *r = e->req_head; r != NULL; r = next) {
        next = r->next;
        edge_req_fail_f(r, 503, "server_error", "shutting_down", "%s", why);
    }
}

static void req_free(struct edge_req *r)
{
    struct edge *e = r->e;
    if (r->prev != NULL)
        r->prev->next = r->next;
    else
        e->req_head = r->next;
    if (r->next != NULL)
        r->next->prev = r->prev;
    edge_uplink_forget(e->uplink, &r->out_bytes);
    edge_answer_fini(&r->answer);
    net_timer_free(r->deadline);
    net_timer_free(r->patience);
    free(r->prompt);
    eng_grammar_unref(r->form);
    edge_policy_unref(r->policy);
    edge_policy_unref(r->shadow);
    edge_command_free(r->command);
    base_arena_fini(&r->arena);
    free(r);
}

/* --- executors ------------------------------------------------------------------------------- */

static void exec_start(struct edge_req *r)
{
    r->started = true;
    edge_energy_begin(&r->e->energy, &r->energy);
    r->exec->start(r);
}

/* Behind all who have its caller's priority or a higher one. */
static void wait_push(struct edge_req *r)
{
    struct edge *e = r->e;
    struct edge_req **at = &e->wait_head;
    while (*at != NULL && (*at)->caller->priority >= r->caller->priority)
        at = &(*at)->wait_next;
    r->is_waiting = true;
    r->wait_next = *at;
    *at = r;
    if (r->wait_next == NULL)
        e->wait_tail = r;
    e->n_wait++;
}

/* Who must leave a full line so that r gets in: the last of a lower priority. A request that had
 * already been accepted for a prompt target is never turned away. NULL: nobody. */
static struct edge_req *wait_yields(const struct edge *e, const struct edge_req *r)
{
    struct edge_req *out = NULL;
    for (struct edge_req *w = e->wait_head; w != NULL; w = w->wait_next) {
        if (w->caller->priority < r->caller->priority && w->fallback_why[0] == '\0')
            out = w;
    }
    return out;
}

static void queue_full(struct edge_req *r)
{
    edge_req_fail_f(r, 429, "rate_limit_error", "queue_full",
                    "The device is busy: %d requests are waiting.", r->e->n_wait);
}

/* Those of a priority above 0 find one session more, that others can't take. Requests that are
 * canceled faster than the engine steps leave it full of closed jobs for a while. */
static bool session_free(const struct edge_req *r)
{
    const struct edge *e = r->e;
    return e->n_session < e->cfg.engine_sessions + (r->caller->priority > 0) &&
           eng_sched_has_room(e->sched);
}

void edge_req_run(struct edge_req *r, const struct edge_exec *x)
{
    struct edge *e = r->e;
    exec_stop(r);
    r->exec = x;
    if (!x->needs_session)
        session_drop(r);
    if (!x->needs_session || r->has_session) {
        exec_start(r);
        return;
    }
    const bool first = e->wait_head == NULL || e->wait_head->caller->priority < r->caller->priority;
    if (first && session_free(r)) {
        r->has_session = true;
        e->n_session++;
        exec_start(r);
        return;
    }
    if (e->n_wait >= e->cfg.engine_queue && r->fallback_why[0] == '\0') {
        struct edge_req *last = wait_yields(e, r);
        queue_full(last != NULL ? last : r);
        if (last == NULL)
            return;
    }
    wait_push(r);
}

void edge_req_housekeeping(void *arg)
{
    struct edge *e = arg;
    struct edge_req *next;
    for (struct edge_req *r = e->req_head; r != NULL; r = next) {
        next = r->next;
        if (r->ended)
            req_free(r);
    }
    while (e->wait_head != NULL && session_free(e->wait_head)) {
        struct edge_req *r = e->wait_head;
        e->wait_head = r->wait_next;
        if (e->wait_head == NULL)
            e->wait_tail = NULL;
        r->is_waiting = false;
        e->n_wait--;
        r->has_session = true;
        e->n_session++;
        exec_start(r);
    }
    if (e->draining && e->n_req == 0)
        net_timer_set(e->drain, EDGE_FLUSH_US);
}

bool edge_req_note_fall_back(struct edge_req *r, const struct base_err *why)
{
    char line[512];
    r->e->metrics.fall_back++;
    snprintf(r->fallback_why, sizeof r->fallback_why, "fell back: %s",
             why->code != 0 ? base_code_str(why->code) : "unknown");
    base_log_warn("request", "id=%s rule=%s target=%s after_tokens=%d: %s", r->id, r->dec.rule,
                  r->dec.route.target != NULL ? r->dec.route.target : "-", r->answer.n_tok,
                  base_err_line(why, line, sizeof line));
    if (r->dec.fallback.mode == RT_LOCAL) {
        if (r->answer.first_us == 0)
            r->route = RT_LOCAL;
        return true;
    }
    if (r->answer.first_us == 0)
        r->route = RT_REFUSE;
    edge_req_fail_f(
        r, 503, "server_error", "escalation_failed",
        "Rule '%s' sends this request to target '%s', which failed (%s), and has no local "
        "fallback.",
        r->dec.rule, r->dec.route.target != NULL ? r->dec.route.target : "-",
        base_code_str(why->code));
    return false;
}

/* A command that the device has surely understood is answered with its call. */
static void run_local(struct edge_req *r)
{
    const bool call = edge_command_acts(r->command) && r->answer.first_us == 0;
    edge_req_run(r, call ? &edge_exec_call : &edge_exec_local);
}

void edge_req_fall_back(struct edge_req *r, const struct base_err *why)
{
    if (edge_req_note_fall_back(r, why))
        run_local(r);
}

/* --- the beginning --------------------------------------------------------------------------- */

uint32_t edge_req_left_ms(const struct edge_req *r)
{
    int64_t left_ms = (r->deadline_us - base_clock_mono_us()) / 1000;
    return left_ms < 1 ? 1 : (uint32_t)left_ms;
}

void edge_req_sampling(const struct edge_req *r, struct eng_sample_params *out)
{
    const struct api_request *q = &r->api;
    *out = ENG_SAMPLE_GREEDY;
    out->temperature = q->temperature;
    out->top_k = q->top_k;
    out->top_p = q->top_p;
    out->min_p = q->min_p;
    out->repeat_penalty = q->repeat_penalty;
    out->seed = q->seed;
    out->logprobs = q->logprobs;
    out->n_top = q->n_top < ENG_TOP_MAX ? q->n_top : ENG_TOP_MAX;
    out->grammar = r->form;
    out->said = (const char *)r->answer.text.data;
    out->said_len = r->answer.text.len;
    out->max_tok = r->max_new - r->answer.n_tok;
}

void edge_req_engine_failed(struct edge_req *r, const struct base_err *err)
{
    base_log_error("engine", "id=%s: %s: %s", r->id, base_code_str(err->code), err->msg);
    edge_req_fail_f(r, err->code == BASE_EBUSY || err->code == BASE_ENOMEM ? 503 : 500,
                    "server_error", "engine", "The engine failed: %s.", base_code_str(err->code));
}

bool edge_req_decide(struct edge_req *r)
{
    enum rt_mode before = r->route;
    rt_decide(r->policy->rt, &r->facts, &r->dec);
    edge_shadow_decide(r);
    r->route = r->dec.route.mode;
    return r->route != before;
}

void edge_req_carry_out(struct edge_req *r)
{
    switch (r->route) {
    case RT_PROMPT:
        edge_req_run(r, &edge_exec_prompt);
        return;
    case RT_HIDDEN:
        edge_req_run(r, &edge_exec_hidden);
        return;
    case RT_REFUSE:
        edge_req_fail_f(r, 403, "permission_error", "refused_by_policy",
                        "Rule '%s' of the routing policy refuses this request.", r->dec.rule);
        return;
    case RT_LOCAL:
        run_local(r);
        return;
    }
}

static int max_prompt_tok(const struct edge *e)
{
    return (int)e->cfg.engine_context - 1; /* one answer token at least */
}

static void prompt_too_long(struct edge_req *r, const char *more, size_t n, const char *unit)
{
    edge_req_fail_f(r, 400, "invalid_request_error", "context_length_exceeded",
                    "The prompt has %s%zu %s and does not fit: at most %d tokens (engine.context "
                    "less one for the answer).",
                    more, n, unit, max_prompt_tok(r->e));
}

/* Messages -> r->prompt, r->max_new. false: answered with an error. */
static bool prompt_encode(struct edge_req *r)
{
    struct edge *e = r->e;
    const struct eng_tok *t = eng_model_tok(e->model);
    const int count_tok = 4 * (int)e->cfg.engine_context; /* so far it is told how many there are */
    struct base_err err = {0};
    int rc;
    if (r->api.is_chat) {
        rc = edge_form_encode(r, count_tok, &err);
    } else {
        rc = eng_tok_encode(t, r->api.msg[0].content, r->api.msg[0].len, ENG_TOK_BOS, count_tok,
                            &r->prompt, &r->n_prompt, &err);
    }
    if (rc == BASE_ELIMIT || (rc == 0 && r->n_prompt > max_prompt_tok(e))) {
        prompt_too_long(r, rc == 0 ? "" : "more than ", (size_t)(rc == 0 ? r->n_prompt : count_tok),
                        "tokens");
        return false;
    }
    if (rc == 0 && r->n_prompt == 0) {
        edge_req_fail_f(r, 400, "invalid_request_error", "empty_prompt",
                        "The prompt has no tokens.");
        return false;
    }
    if (rc != 0) {
        edge_req_fail_f(r, rc == BASE_EINVAL ? 400 : 503,
                        rc == BASE_EINVAL ? "invalid_request_error" : "server_error", NULL, "%s",
                        err.msg);
        return false;
    }
    int64_t want = r->api.max_tok > 0 ? r->api.max_tok : e->cfg.limit_default_max_tok;
    int64_t room = e->cfg.engine_context - r->n_prompt;
    want = want < e->cfg.limit_max_tok ? want : e->cfg.limit_max_tok;
    r->max_new = (int)(want < room ? want : room);
    return true;
}

/* A name that is no adapter's stands for the model: clients put in what they like. */
static void adapter_choose(struct edge_req *r)
{
    const struct edge_adapter *a = edge_adapters_find(&r->e->adapters, r->api.model);
    if (a == NULL)
        return;
    r->model_name = a->name;
    r->lora = a->lora;
}

/* Parses, labels, encodes, gathers. false: answered with an error. */
static bool request_read(struct edge_req *r, bool is_chat)
{
    struct api_error why = {0};
    size_t len = 0;
    const char *body = net_req_body(r->http, &len);
    int rc = api_request_parse(&r->api, &r->arena, is_chat, body, len, &why);
    /* Detectors and tokenizer would hold up everybody else for seconds. */
    if (rc == 0 && r->api.content_bytes > r->e->max_prompt_bytes) {
        prompt_too_long(r, "", r->api.content_bytes, "bytes");
        return false;
    }
    if (rc == 0)
        rc = edge_facts_classes(r, &why);
    if (rc == 0)
        rc = edge_command_take(r, &why);
    if (rc == 0)
        rc = edge_form_make(r, &why);
    if (rc != 0) {
        edge_req_fail(r, &why);
        return false;
    }
    adapter_choose(r);
    if (!r->api.have_seed &&
        getrandom(&r->api.seed, sizeof r->api.seed, 0) != (ssize_t)sizeof r->api.seed) {
        edge_req_fail_f(r, 500, "server_error", NULL, "no random numbers");
        return false;
    }
    const struct edge_config *c = &r->e->cfg;
    int64_t ms = r->api.deadline_ms >= 0 ? r->api.deadline_ms : c->limit_default_deadline_ms;
    ms = ms < c->limit_deadline_ms ? ms : c->limit_deadline_ms;
    r->deadline_us = r->start_us + ms * 1000;
    net_timer_set(r->deadline, ms * 1000);
    if (!prompt_encode(r))
        return false;
    if (edge_facts_gather(r) != 0) {
        edge_req_fail_f(r, 503, "server_error", "out_of_memory", "out of memory");
        return false;
    }
    return true;
}

static void plain_error(struct net_req *http, int status, const char *message)
{
    struct api_error e = {.status = status, .type = "server_error"};
    struct base_buf b;
    snprintf(e.message, sizeof e.message, "%s", message);
    base_buf_init(&b, 1 << 16);
    if (api_error_write(&e, NULL, false, &b) != 0)
        base_buf_reset(&b);
    net_req_add_header(http, "retry-after", "1");
    net_req_reply(http, status, "application/json", b.data, b.len);
    base_buf_fini(&b);
}

void edge_req_accept(struct edge *e, struct net_req *http, bool is_chat)
{
    struct edge_req *r = calloc(1, sizeof *r);
    if (r != NULL) {
        r->deadline = net_timer_new(e->loop, on_deadline, r);
        r->patience = net_timer_new(e->loop, on_silence, r);
    }
    if (r == NULL || r->deadline == NULL || r->patience == NULL) {
        if (r != NULL) {
            net_timer_free(r->deadline);
            net_timer_free(r->patience);
        }
        free(r);
        plain_error(http, 503, "out of memory");
        return;
    }
    r->e = e;
    r->http = http;
    r->model_name = e->model_name;
    r->policy = edge_policy_ref(edge_policies_now(e->policies));
    r->shadow = edge_policy_ref(edge_policies_shadow(e->policies));
    r->start_us = base_clock_mono_us();
    r->created_us = base_clock_real_us();
    r->api.is_chat = is_chat;
    base_arena_init(&r->arena, 2 * (size_t)e->cfg.http_max_body_bytes + ARENA_SLACK_BYTES);
    edge_answer_init(&r->answer, (size_t)e->cfg.limit_answer_bytes);
    r->caller = edge_callers_find(&e->callers, net_req_is_unix(http), net_req_peer_uid(http),
                                  net_req_header(http, "authorization"));
    if (edge_caller_is_anonymous(r->caller))
        r->caller = edge_callers_find(&r->policy->callers, net_req_is_unix(http),
                                      net_req_peer_uid(http), net_req_header(http, "authorization"));
    edge_caller_cache_key(r->caller, net_req_is_unix(http), net_req_peer_uid(http), r->cache_key);
    r->next = e->req_head;
    if (r->next != NULL)
        r->next->prev = r;
    e->req_head = r;
    e->n_req++;
    net_req_on_gone(http, on_gone, r);
    if (ids_make(r) != 0) {
        edge_req_fail_f(r, 500, "server_error", NULL, "no random numbers");
        return;
    }
    net_req_add_header(http, "x-request-id", r->id);
    if (!request_read(r, is_chat))
        return;
    if (r->command != NULL) { /* what it is comes first: the decision may ask for it */
        edge_req_run(r, &edge_exec_command);
        return;
    }
    edge_req_decide(r);
    edge_req_carry_out(r);
}
