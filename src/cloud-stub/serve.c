#include "cloud-stub/stub.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

enum { H2_INTERNAL_ERROR = 2, H2_CANCEL = 8 };
static const char retry_after_s[] = "1";

/* ---- replies ---- */

/* extra: one more header, or NULL. */
static bool respond(struct stub_req *r, int status, const char *type,
                    const struct net_h2_header *extra)
{
    struct net_h2_header h[4] = {
        {"content-type", type}, {"cache-control", "no-store"}, {"x-request-id", r->id}};
    if (extra != NULL)
        h[3] = *extra;
    r->status = status;
    if (net_h2_respond(r->h2, status, h, extra != NULL ? 4 : 3) == 0)
        return true;
    stub_drop(r, "no response");
    return false;
}

void stub_drop(struct stub_req *r, const char *outcome)
{
    if (r->ended)
        return;
    r->ended = true;
    r->outcome = outcome;
    net_timer_clear(r->timer);
    net_h2_reset(r->h2, H2_CANCEL);
}

void stub_finish(struct stub_req *r, const char *outcome)
{
    if (r->ended)
        return;
    r->ended = true;
    r->outcome = outcome;
    net_timer_clear(r->timer);
    net_h2_end(r->h2);
}

bool stub_stream(struct stub_req *r, const char *type)
{
    return !r->ended && respond(r, 200, type, NULL);
}

bool stub_write(struct stub_req *r, const void *p, size_t len)
{
    if (r->ended)
        return false;
    if (net_h2_write(r->h2, p, len) == 0)
        return true;
    stub_drop(r, "client too slow");
    return false;
}

/* Moves what fits of the rest into the stream's queue; on_writable comes back for more. */
static void send_rest(struct stub_req *r)
{
    size_t piece = (size_t)r->stub->cfg->max_out_bytes / 4;
    while (r->rest.len > 0) {
        size_t n = r->rest.len < piece ? r->rest.len : piece;
        int rc = net_h2_write(r->h2, r->rest.data, n);
        if (rc == BASE_EBUSY)
            return;
        if (rc != 0) {
            r->outcome = base_code_str(rc);
            net_h2_reset(r->h2, H2_INTERNAL_ERROR);
            return;
        }
        base_buf_consume(&r->rest, n);
    }
    net_h2_end(r->h2);
}

static void reply(struct stub_req *r, int status, const char *type, const void *body, size_t len,
                  const struct net_h2_header *extra)
{
    if (r->ended || !respond(r, status, type, extra))
        return;
    if (base_buf_add(&r->rest, body, len) != 0) {
        stub_drop(r, "out of memory");
        return;
    }
    r->ended = true;
    r->outcome = "replied";
    net_timer_clear(r->timer);
    send_rest(r);
}

void stub_reply(struct stub_req *r, int status, const char *type, const void *body, size_t len)
{
    reply(r, status, type, body, len, NULL);
}

static void refuse(struct stub_req *r, const struct api_error *e, const struct net_h2_header *extra)
{
    struct base_buf b;
    base_buf_init(&b, 8192);
    if (api_error_write(e, NULL, false, &b) == 0)
        reply(r, e->status, "application/json", b.data, b.len, extra);
    else
        stub_drop(r, "out of memory");
    base_buf_fini(&b);
}

void stub_refuse_api(struct stub_req *r, const struct api_error *e)
{
    static const struct net_h2_header later = {"retry-after", retry_after_s};
    refuse(r, e, e->status == 429 || e->status == 503 ? &later : NULL);
}

void stub_refuse(struct stub_req *r, int status, const char *type, const char *code,
                 const char *fmt, ...)
{
    struct api_error e = {.status = status, .type = type, .code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.message, sizeof e.message, fmt, ap);
    va_end(ap);
    stub_refuse_api(r, &e);
}

/* ---- small services ---- */

static void open_health(struct stub_req *r)
{
    static const char body[] = "{\"status\":\"ok\"}\n";
    stub_reply(r, 200, "application/json", body, sizeof body - 1);
}

static void open_models(struct stub_req *r)
{
    struct base_buf b;
    const char *name = r->stub->cfg->model_name;
    base_buf_init(&b, 65536);
    if (api_models_write(&name, 1, base_clock_real_us() / 1000000, &b) == 0)
        stub_reply(r, 200, "application/json", b.data, b.len);
    else
        stub_drop(r, "out of memory");
    base_buf_fini(&b);
}

static const struct stub_service health = {
    .method = "GET", .path = "/healthz", .open = open_health};
static const struct stub_service models = {
    .method = "GET", .path = "/v1/models", .open = open_models};

static const struct stub_service *const services[] = {&stub_chat, &stub_completions, &stub_split,
                                                      &health, &models};

/* ---- a request's life ---- */

static bool id_ok(const char *s)
{
    size_t n = strspn(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.:");
    return n > 0 && n <= STUB_ID_LEN && s[n] == '\0';
}

static void choose_id(struct stub_req *r)
{
    const char *theirs = net_h2_header(r->h2, "x-request-id");
    uint8_t raw[12] = {0};
    if (theirs != NULL && id_ok(theirs)) {
        snprintf(r->id, sizeof r->id, "%s", theirs);
        return;
    }
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        memcpy(raw, &r->start_us, sizeof r->start_us);
    base_hex(raw, sizeof raw, r->id);
}

static int peer_streams(const struct stub_req *r)
{
    const char *name = net_h2_peer_name(r->h2);
    int n = 0;
    for (const struct stub_req *o = r->stub->reqs; o != NULL; o = o->next)
        n +=
            o->service != NULL && o->service->counted && strcmp(net_h2_peer_name(o->h2), name) == 0;
    return n;
}

static void on_timer(void *arg)
{
    struct stub_req *r = arg;
    if (!r->ended && r->service->timeout != NULL)
        r->service->timeout(r);
}

/* Path without the query. */
static bool path_is(const char *path, const char *want)
{
    size_t n = strlen(want);
    return strncmp(path, want, n) == 0 && (path[n] == '\0' || path[n] == '?');
}

static void refuse_method(struct stub_req *r, const char *use)
{
    const struct net_h2_header allow = {"allow", use};
    struct api_error e = {
        .status = 405, .type = "invalid_request_error", .code = "method_not_allowed"};
    snprintf(e.message, sizeof e.message, "Use %s.", use);
    refuse(r, &e, &allow);
}

static void route(struct stub_req *r)
{
    const char *path = net_h2_path(r->h2), *method = net_h2_method(r->h2);
    const struct stub_service *found = NULL;
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (path_is(path, services[i]->path))
            found = services[i];
    }
    if (found == NULL) {
        stub_refuse(r, 404, "invalid_request_error", "not_found", "There is nothing at this path.");
        return;
    }
    if (strcmp(method, found->method) != 0) {
        refuse_method(r, found->method);
        return;
    }
    if (found->counted && peer_streams(r) >= r->stub->cfg->max_peer_stream) {
        stub_refuse(r, 429, "rate_limit_error", "too_many_requests",
                    "%lld requests of this client are running: all it may have.",
                    (long long)r->stub->cfg->max_peer_stream);
        return;
    }
    r->service = found;
    found->open(r);
}

static void on_request(struct net_h2_stream *h2, void *arg)
{
    struct stub *stub = arg;
    struct stub_req *r = calloc(1, sizeof *r);
    if (r == NULL || (r->timer = net_timer_new(stub->loop, on_timer, r)) == NULL) {
        free(r);
        net_h2_reset(h2, H2_INTERNAL_ERROR);
        return;
    }
    r->stub = stub;
    r->h2 = h2;
    r->start_us = base_clock_mono_us();
    r->outcome = "client gone";
    base_buf_init(&r->rest, STUB_MAX_REPLY_BYTES);
    r->link = &stub->reqs;
    r->next = stub->reqs;
    if (r->next != NULL)
        r->next->link = &r->next;
    stub->reqs = r;
    net_h2_set_data(h2, r);
    choose_id(r);
    route(r);
}

static void on_data(struct net_h2_stream *h2, const uint8_t *p, size_t len, void *arg)
{
    struct stub_req *r = net_h2_data(h2);
    (void)arg;
    if (r != NULL && !r->ended && r->service != NULL && r->service->data != NULL)
        r->service->data(r, p, len);
}

static void on_end(struct net_h2_stream *h2, void *arg)
{
    struct stub_req *r = net_h2_data(h2);
    (void)arg;
    if (r != NULL && !r->ended && r->service != NULL && r->service->end != NULL)
        r->service->end(r);
}

static void on_writable(struct net_h2_stream *h2, void *arg)
{
    struct stub_req *r = net_h2_data(h2);
    (void)arg;
    if (r != NULL && r->rest.len > 0)
        send_rest(r);
}

static void on_close(struct net_h2_stream *h2, uint32_t code, void *arg)
{
    struct stub_req *r = net_h2_data(h2);
    (void)arg;
    if (r == NULL)
        return;
    if (r->service != NULL && r->service->close != NULL)
        r->service->close(r);
    base_log_info("request",
                  "id=%s peer=\"%s\" path=%s status=%d outcome=\"%s\" rows_in=%d tokens_out=%d "
                  "ms=%lld h2_code=%u",
                  r->id, net_h2_peer_name(h2), r->service != NULL ? r->service->path : "-",
                  r->status, r->outcome, r->n_tok_in, r->n_tok_out,
                  (long long)((base_clock_mono_us() - r->start_us) / 1000), (unsigned)code);
    net_timer_free(r->timer);
    base_buf_fini(&r->rest);
    *r->link = r->next;
    if (r->next != NULL)
        r->next->link = r->link;
    free(r);
}

const struct net_h2s_cb stub_callbacks = {
    .on_request = on_request,
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_close = on_close,
};
