/* A request's life: released, recorded, sent, recorded again. The order in up_req_release is the
 * product's promise: no connection, so no byte, before the ledger has the record. */
#include "uplink/uplink.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"

struct up_req {
    struct up_req *next;
    struct up *up;
    struct up_target *target;
    uint32_t id;
    char decision[33];
    uint64_t max_bytes;
    uint64_t accepted; /* body bytes taken from the edge */
    bool ended, ready;
    struct net_h2c_stream *stream;
};

/* What a mode means on the wire is the uplink's, not the edge's, to say. */
static const struct {
    const char *name, *path, *content_type, *accept;
} mode_table[] = {
    [IPC_MODE_PROMPT] = {"prompt", "/v1/chat/completions", "application/json", "text/event-stream"},
    [IPC_MODE_HIDDEN] = {"hidden", "/waypost/v1/split", "application/waypost-frames",
                         "application/waypost-frames"},
};

static bool mode_known(enum ipc_mode m)
{
    return m == IPC_MODE_PROMPT || m == IPC_MODE_HIDDEN;
}

static struct up_req *find(struct up *u, uint32_t id)
{
    struct up_req *q = u->reqs;
    while (q != NULL && q->id != id)
        q = q->next;
    return q;
}

static void send_closed(struct up *u, uint32_t id, int code, uint64_t out, uint64_t in,
                        const char *message)
{
    struct ipc_msg m = {.type = IPC_CLOSED, .id = id};
    m.u.closed.code = code;
    m.u.closed.bytes_out = out;
    m.u.closed.bytes_in = in;
    snprintf(m.u.closed.message, sizeof m.u.closed.message, "%.*s", IPC_MAX_TEXT, message);
    up_sock_send(u->sock, &m);
}

static int record(struct up *u, struct ledger_record *r, struct base_err *err)
{
    r->time_us = base_clock_real_us();
    int e = ledger_append(u->ledger, r, err);
    if (e == 0) {
        memcpy(u->head, r->hash, sizeof u->head);
        return 0;
    }
    char line[sizeof err->place + sizeof err->msg + 4];
    base_log_error("ledger", "%s; nothing is sent any more", base_err_line(err, line, sizeof line));
    if (!u->ledger_failed) {
        /* Of what is open, the bytes that still went could not be recorded either. */
        u->ledger_failed = true;
        up_req_close_all(u, BASE_EIO, "the ledger cannot be written");
    }
    return e;
}

static void record_close(const struct up_req *q, int code, uint64_t out, uint64_t in)
{
    struct base_err err = {0};
    struct ledger_record r = {.kind = LEDGER_CLOSE, .bytes_out = out, .bytes_in = in};
    memcpy(r.decision_id, q->decision, sizeof r.decision_id);
    snprintf(r.result, sizeof r.result, "%s", base_code_str(code));
    /* The request is over either way; a failure closes the ledger, and so the gate, for the next.
     */
    (void)!record(q->up, &r, &err);
}

/* The one way out of a request's life. The stream is gone, or is canceled here. */
static void finish(struct up_req *q, int code, const char *message)
{
    struct up *u = q->up;
    uint64_t out = q->stream != NULL ? net_h2c_bytes_out(q->stream) : 0;
    uint64_t in = q->stream != NULL ? net_h2c_bytes_in(q->stream) : 0;
    struct up_req **at = &u->reqs;
    while (*at != q)
        at = &(*at)->next;
    *at = q->next;
    u->n_req--;
    if (q->stream != NULL)
        net_h2c_cancel(q->stream); /* nothing, where it is closing by itself */
    record_close(q, code, out, in);
    send_closed(u, q->id, code, out, in, message);
    base_log_info("request", "id=%u decision=%s result=\"%s\" out=%llu in=%llu", (unsigned)q->id,
                  q->decision, base_code_str(code), (unsigned long long)out,
                  (unsigned long long)in);
    free(q);
}

/* ---- what the network says ---- */

static void on_ready(struct net_h2c_stream *s, void *arg)
{
    struct up_req *q = arg;
    q->ready = true;
    up_target_is_up(q->target, net_h2c_rtt_us(s));
}

static void on_status(struct net_h2c_stream *s, int status, void *arg)
{
    struct up_req *q = arg;
    struct ipc_msg m = {.type = IPC_HEAD, .id = q->id};
    (void)s;
    m.u.head.status = status;
    up_sock_send(q->up->sock, &m);
}

static void on_data(struct net_h2c_stream *s, const uint8_t *p, size_t len, void *arg)
{
    struct up_req *q = arg;
    if (net_h2c_bytes_in(s) > (uint64_t)q->up->cfg.answer_bytes) {
        finish(q, BASE_ELIMIT, "the answer is longer than answer_bytes");
        return;
    }
    while (len > 0) {
        size_t n = len < IPC_MAX_DATA ? len : IPC_MAX_DATA;
        struct ipc_msg m = {.type = IPC_DATA, .id = q->id};
        m.u.data.p = p;
        m.u.data.len = n;
        up_sock_send(q->up->sock, &m);
        p += n;
        len -= n;
    }
}

static void on_close(struct net_h2c_stream *s, const struct base_err *err, void *arg)
{
    struct up_req *q = arg;
    (void)s;
    /* Neither a reset of this one stream nor a slow answer says anything about the link. */
    bool link_is_up =
        err->code == 0 || err->code == BASE_ECANCELED || (err->code == BASE_ETIMEOUT && q->ready);
    if (!link_is_up)
        up_target_failed(q->target);
    if (err->code != 0)
        base_log_warn("request", "id=%u: %s", (unsigned)q->id, err->msg);
    finish(q, err->code, err->code != 0 ? err->msg : "");
}

static const struct net_h2c_cb callbacks = {on_ready, on_status, on_data, on_close};

/* ---- what the edge says ---- */

/* A release that does not say what leaves, why and where is none. */
static int check_release(struct up *u, const struct ipc_release *rel, struct base_err *err)
{
    static const uint8_t none[32];
    if (!mode_known(rel->mode))
        return base_err_set(err, BASE_EPERM, "release", "no mode %d", (int)rel->mode);
    if (rel->rule[0] == '\0' || rel->n_class <= 0 || rel->max_bytes == 0 ||
        memcmp(rel->policy_hash, none, sizeof none) == 0 ||
        memcmp(rel->decision_id, none, sizeof rel->decision_id) == 0)
        return base_err_set(err, BASE_EPERM, "release", "it names no rule, class, policy or bytes");
    if (up_target_find(u, rel->target) == NULL)
        return base_err_set(err, BASE_ENOTFOUND, "release", "there is no target '%s'", rel->target);
    if (u->n_req >= u->cfg.max_requests)
        return base_err_set(err, BASE_EBUSY, "release", "%d requests are open", u->n_req);
    return 0;
}

static int record_release(struct up_req *q, const struct ipc_release *rel, struct base_err *err)
{
    struct ledger_record *r = calloc(1, sizeof *r);
    if (r == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory");
    r->kind = LEDGER_RELEASE;
    memcpy(r->decision_id, q->decision, sizeof r->decision_id);
    base_hex(rel->policy_hash, sizeof rel->policy_hash, r->policy_hash);
    snprintf(r->rule, sizeof r->rule, "%s", rel->rule);
    snprintf(r->target, sizeof r->target, "%s", rel->target);
    snprintf(r->mode, sizeof r->mode, "%s", mode_table[rel->mode].name);
    for (int i = 0; i < rel->n_class; i++)
        snprintf(r->classes[i], sizeof r->classes[i], "%s", rel->classes[i]);
    r->n_class = rel->n_class;
    r->max_bytes = rel->max_bytes;
    int e = record(q->up, r, err);
    free(r);
    return e == 0 ? 0 : base_err_set(err, BASE_EIO, "", "the ledger cannot be written");
}

static int open_stream(struct up_req *q, const struct ipc_release *rel, struct base_err *err)
{
    int64_t most = q->up->cfg.max_deadline_ms;
    struct net_h2c_req r = {
        .path = mode_table[rel->mode].path,
        .content_type = mode_table[rel->mode].content_type,
        .accept = mode_table[rel->mode].accept,
        .idempotency_key = rel->decision_id,
        .deadline_ms = rel->deadline_ms > 0 && rel->deadline_ms < most ? rel->deadline_ms : most,
    };
    int e = net_h2c_open(&q->stream, q->up->net, &q->target->net, &r, &callbacks, q, err);
    if (e == 0)
        net_h2c_hold(q->stream, up_sock_is_full(q->up->sock));
    return e;
}

void up_req_release(struct up *u, uint32_t id, const struct ipc_release *rel)
{
    struct base_err err = {0};
    if (id == 0 || find(u, id) != NULL) {
        /* A second CLOSED would end the first request at the edge: say nothing, do nothing. */
        base_log_error("request", "id=%u: a release for a request that is open; ignored",
                       (unsigned)id);
        return;
    }
    int e = check_release(u, rel, &err);
    struct up_req *q = e == 0 ? calloc(1, sizeof *q) : NULL;
    if (e == 0 && q == NULL)
        e = base_err_set(&err, BASE_ENOMEM, "", "out of memory");
    if (e == 0) {
        *q = (struct up_req){.up = u, .id = id, .max_bytes = rel->max_bytes};
        q->target = up_target_find(u, rel->target);
        base_hex(rel->decision_id, sizeof rel->decision_id, q->decision);
        e = record_release(q, rel, &err);
    }
    if (e != 0) {
        base_log_warn("request", "id=%u refused: %s", (unsigned)id, err.msg);
        send_closed(u, id, e, 0, 0, err.msg);
        free(q);
        return;
    }
    q->next = u->reqs;
    u->reqs = q;
    u->n_req++;
    base_log_info("request", "id=%u decision=%s target=%s mode=%s max=%llu", (unsigned)id,
                  q->decision, q->target->cfg.name, mode_table[rel->mode].name,
                  (unsigned long long)q->max_bytes);
    e = open_stream(q, rel, &err);
    if (e != 0)
        finish(q, e, err.msg);
}

static uint64_t queued(const struct up *u)
{
    uint64_t n = 0;
    for (const struct up_req *q = u->reqs; q != NULL; q = q->next)
        n += q->accepted - net_h2c_bytes_out(q->stream);
    return n;
}

void up_req_data(struct up *u, uint32_t id, const uint8_t *p, size_t len)
{
    struct up_req *q = find(u, id);
    if (q == NULL) {
        /* Usual while our CLOSED is on its way; and all that stops bytes without a release. */
        base_log_debug("request", "id=%u: %zu bytes for no open request dropped", (unsigned)id,
                       len);
        return;
    }
    if (q->ended) {
        finish(q, BASE_EPROTO, "bytes after the end of the body");
        return;
    }
    if (len > q->max_bytes - q->accepted) {
        finish(q, BASE_EPERM, "more bytes than the release allows");
        return;
    }
    if (queued(u) + len > (uint64_t)u->cfg.queue_bytes) {
        finish(q, BASE_ELIMIT, "more bytes wait for the link than queue_bytes");
        return;
    }
    int e = net_h2c_write(q->stream, p, len);
    if (e != 0) {
        finish(q, e, "the link does not keep up");
        return;
    }
    q->accepted += len;
}

void up_req_end(struct up *u, uint32_t id)
{
    struct up_req *q = find(u, id);
    if (q == NULL || q->ended)
        return;
    q->ended = true;
    net_h2c_end(q->stream);
}

void up_req_cancel(struct up *u, uint32_t id)
{
    struct up_req *q = find(u, id);
    if (q != NULL)
        finish(q, BASE_ECANCELED, "canceled by the edge");
}

void up_req_hold_all(struct up *u, bool on)
{
    for (struct up_req *q = u->reqs; q != NULL; q = q->next)
        net_h2c_hold(q->stream, on);
}

void up_req_close_all(struct up *u, int code, const char *why)
{
    while (u->reqs != NULL)
        finish(u->reqs, code, why);
}
