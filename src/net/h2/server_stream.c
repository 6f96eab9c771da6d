/* Streams: what nghttp2 tells us, and what the application says back. */
#include "net/h2/server_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { MAX_RESPONSE_HEADERS = 32, HEADER_OVERHEAD_BYTES = 32 /* RFC 9113, 6.5.2 */ };

static struct net_h2_stream *find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static struct net_h2_stream *stream_new(struct h2_conn *c, int32_t id)
{
    const struct net_h2s_opt *o = &c->srv->opt;
    struct net_h2_stream *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->conn = c;
    s->id = id;
    base_arena_init(&s->arena, ((size_t)o->max_header_bytes + 4096) * 2);
    base_buf_init(&s->out, o->max_out_bytes);
    s->active_us = s->moved_us = base_clock_mono_us();
    s->next = c->streams;
    if (s->next != NULL)
        s->next->prev = s;
    c->streams = s;
    c->n_stream++;
    return s;
}

void h2_stream_close(struct net_h2_stream *s, uint32_t code)
{
    struct h2_conn *c = s->conn;

    nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
    s->reset = true;
    if (s->told)
        c->srv->cb.on_close(s, code, c->srv->arg);
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        c->streams = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    c->n_stream--;
    c->active_us = base_clock_mono_us();
    free(s->header);
    base_arena_fini(&s->arena);
    base_buf_fini(&s->out);
    free(s);
}

/* ---- from nghttp2; a negative return ends the connection */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    struct h2_conn *c = arg;
    bool ok = true;

    (void)session;
    switch (hd->type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        break;
    case NGHTTP2_WINDOW_UPDATE:
        ok = h2_conn_take(c, H2_BUCKET_WINDOW);
        break;
    case NGHTTP2_RST_STREAM:
        ok = h2_conn_take(c, H2_BUCKET_RESET_IN);
        break;
    case NGHTTP2_CONTINUATION:
        ok = h2_conn_take(c, H2_BUCKET_CONTINUATION);
        break;
    default:
        ok = h2_conn_take(c, H2_BUCKET_CONTROL);
        break;
    }
    return ok ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_conn *c = arg;
    struct net_h2_stream *s;

    c->header_since_us = base_clock_mono_us();
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    /* nghttp2 counts too, but by what the peer has acknowledged. */
    if (c->n_stream >= c->srv->opt.max_stream) {
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM) == 0
                   ? 0
                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    s = stream_new(c, frame->hd.stream_id);
    if (s == NULL || nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s) != 0) {
        if (s != NULL)
            h2_stream_close(s, NGHTTP2_INTERNAL_ERROR);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

static int keep_header(struct net_h2_stream *s, const uint8_t *name, size_t name_len,
                       const uint8_t *value, size_t value_len)
{
    const char *n = base_arena_strndup(&s->arena, (const char *)name, name_len);
    const char *v = base_arena_strndup(&s->arena, (const char *)value, value_len);

    if (n == NULL || v == NULL)
        return BASE_ENOMEM;
    if (s->n_header == s->cap_header) {
        int cap = s->cap_header == 0 ? 16 : s->cap_header * 2;
        struct net_h2_header *h = realloc(s->header, (size_t)cap * sizeof(*h));

        if (h == NULL)
            return BASE_ENOMEM;
        s->header = h;
        s->cap_header = cap;
    }
    s->header[s->n_header++] = (struct net_h2_header){.name = n, .value = v};
    if (strcmp(n, ":method") == 0)
        s->method = v;
    else if (strcmp(n, ":path") == 0)
        s->path = v;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *arg)
{
    struct h2_conn *c = arg;
    const struct net_h2s_opt *o = &c->srv->opt;
    struct net_h2_stream *s = find(session, frame->hd.stream_id);

    (void)flags;
    if (s == NULL)
        return 0;
    s->header_bytes += name_len + value_len + HEADER_OVERHEAD_BYTES;
    if (s->header_bytes > (size_t)o->max_header_bytes * H2_BOMB_FACTOR) {
        h2_conn_fail(c, NGHTTP2_ENHANCE_YOUR_CALM, "header bytes");
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (s->header_bytes > (size_t)o->max_header_bytes || s->n_header >= o->max_header_fields)
        s->too_big = true;
    if (s->too_big || frame->headers.cat != NGHTTP2_HCAT_REQUEST) /* trailers say nothing to us */
        return 0;
    if (keep_header(s, name, name_len, value, value_len) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static void refuse_headers(nghttp2_session *session, struct net_h2_stream *s)
{
    static const nghttp2_nv status = {(uint8_t *)(uintptr_t) ":status",
                                      (uint8_t *)(uintptr_t) "431", 7, 3, NGHTTP2_NV_FLAG_NONE};

    s->responded = s->ended = true;
    if (nghttp2_submit_response(session, s->id, &status, 1, NULL) != 0)
        h2_conn_fail(s->conn, NGHTTP2_INTERNAL_ERROR, "allocations");
}

static void end_request(struct net_h2_stream *s)
{
    struct net_h2s *srv = s->conn->srv;

    s->request_ended = true;
    if (s->told && !s->reset)
        srv->cb.on_end(s, srv->arg);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_conn *c = arg;
    struct net_h2_stream *s;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    if (frame->hd.type == NGHTTP2_HEADERS)
        c->header_since_us = 0;
    if (frame->hd.type == NGHTTP2_DATA && !end && frame->hd.length <= frame->data.padlen &&
        !h2_conn_take(c, H2_BUCKET_EMPTY))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    s = find(session, frame->hd.stream_id);
    if (s == NULL)
        return 0;
    c->active_us = s->active_us = base_clock_mono_us();
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        if (s->too_big || s->method == NULL || s->path == NULL) {
            s->request_ended = end;
            refuse_headers(session, s);
            return 0;
        }
        s->told = true;
        c->srv->cb.on_request(s, c->srv->arg);
    }
    if (end)
        end_request(s);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                         size_t len, void *arg)
{
    struct h2_conn *c = arg;
    struct net_h2_stream *s = find(session, id);

    (void)flags;
    if (s == NULL || !s->told || s->reset || s->ended)
        return 0;
    c->active_us = s->active_us = base_clock_mono_us();
    c->srv->cb.on_data(s, data, len, c->srv->arg);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
    struct h2_conn *c = arg;
    struct net_h2_stream *s = find(session, id);

    c->header_since_us = 0; /* of a header block that nghttp2 has refused, too */
    if (s != NULL)
        h2_stream_close(s, code);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct h2_conn *c = arg;
    struct net_h2_stream *s;

    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        if (frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
            h2_conn_take(c, H2_BUCKET_RESET_OUT); /* fails the connection by itself */
        return 0;
    }
    if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    s = find(session, frame->hd.stream_id);
    if (s != NULL)
        s->answered_us = base_clock_mono_us();
    return 0;
}

static ssize_t read_out(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                        uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    struct h2_conn *c = arg;
    struct net_h2_stream *s = find(session, id);
    size_t n;

    (void)source;
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    n = s->out.len - s->out_pos;
    if (n > length)
        n = length;
    if (n > 0)
        memcpy(buf, s->out.data + s->out_pos, n);
    s->out_pos += n;
    if (s->out_pos == s->out.len) {
        base_buf_reset(&s->out);
        s->out_pos = 0;
    }
    s->moved_bytes += n;
    if (n > 0 && (s->moved_bytes >= H2_MIN_PROGRESS_BYTES || s->out.len == 0)) {
        s->moved_bytes = 0;
        c->active_us = s->active_us = s->moved_us = base_clock_mono_us();
    }
    if (n > 0 &&
        (s->out.len == 0 || (s->want_writable && s->out.len - s->out_pos <= s->out.max_bytes / 2)))
        s->wake_writable = true;
    if (s->out.len == 0 && s->ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t)n;
    }
    if (n == 0) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)n;
}

int h2_stream_callbacks(nghttp2_session_callbacks **out)
{
    nghttp2_session_callbacks *cb;

    if (nghttp2_session_callbacks_new(&cb) != 0)
        return BASE_ENOMEM;
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    *out = cb;
    return 0;
}

/* ---- from the pump and the timer */

void h2_streams_writable(struct h2_conn *c)
{
    struct net_h2_stream *s = c->streams, *next;

    for (; s != NULL; s = next) {
        next = s->next; /* a callback can only submit; streams close inside of nghttp2 */
        if (!s->wake_writable)
            continue;
        s->wake_writable = s->want_writable = false;
        if (s->told && !s->reset && !s->ended && c->srv->cb.on_writable != NULL)
            c->srv->cb.on_writable(s, c->srv->arg);
    }
}

void h2_streams_check(struct h2_conn *c, int64_t now_us)
{
    const struct net_h2s_opt *o = &c->srv->opt;

    for (struct net_h2_stream *s = c->streams; s != NULL; s = s->next) {
        bool stalled =
            s->out.len > 0 && now_us - s->moved_us > (int64_t)o->progress_deadline_ms * 1000;
        /* A request that has ended waits for us, not for the peer. */
        bool idle = !s->request_ended && s->out.len == 0 &&
                    now_us - s->active_us > (int64_t)o->idle_deadline_ms * 1000;

        /* The answer is whole: the rest of the question is not wanted (RFC 9113, 8.1). Not at once:
         * libcurl 7.88 drops the answer's last bytes where this reset comes in one read with them. */
        if (!s->reset && !s->request_ended && s->answered_us != 0) {
            if (now_us - s->answered_us > (int64_t)o->progress_deadline_ms * 1000)
                net_h2_reset(s, NGHTTP2_NO_ERROR);
            continue;
        }
        if (!s->reset && (stalled || idle)) {
            base_log_info("h2", "stream dropped: %s peer=\"%s\"",
                          stalled ? "the peer takes nothing" : "no request bytes", c->peer_name);
            net_h2_reset(s, NGHTTP2_CANCEL);
        }
    }
}

/* ---- from the application */

const char *net_h2_method(const struct net_h2_stream *s)
{
    return s->method;
}

const char *net_h2_path(const struct net_h2_stream *s)
{
    return s->path;
}

const char *net_h2_header(const struct net_h2_stream *s, const char *name)
{
    for (int i = 0; i < s->n_header; i++) {
        if (strcmp(s->header[i].name, name) == 0)
            return s->header[i].value;
    }
    return NULL;
}

const char *net_h2_peer_name(const struct net_h2_stream *s)
{
    return s->conn->peer_name;
}

void net_h2_set_data(struct net_h2_stream *s, void *data)
{
    s->data = data;
}

void *net_h2_data(const struct net_h2_stream *s)
{
    return s->data;
}

/* nghttp2 copies names and values, but its struct has no const. */
static nghttp2_nv make_nv(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value),
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

static bool header_ok(const struct net_h2_header *h)
{
    return nghttp2_check_header_name((const uint8_t *)h->name, strlen(h->name)) != 0 &&
           nghttp2_check_header_value_rfc9113((const uint8_t *)h->value, strlen(h->value)) != 0;
}

int net_h2_respond(struct net_h2_stream *s, int status, const struct net_h2_header *h, int n_h)
{
    const nghttp2_data_provider body = {.read_callback = read_out};
    nghttp2_nv nv[MAX_RESPONSE_HEADERS + 1];
    char text[12];

    if (s->responded || status < 200 || status > 599 || n_h < 0 || n_h > MAX_RESPONSE_HEADERS)
        return BASE_EINVAL;
    if (s->reset)
        return BASE_ECLOSED;
    snprintf(text, sizeof(text), "%d", status);
    nv[0] = make_nv(":status", text);
    for (int i = 0; i < n_h; i++) {
        if (!header_ok(&h[i])) /* nghttp2 checks what comes in, not what goes out */
            return BASE_EINVAL;
        nv[i + 1] = make_nv(h[i].name, h[i].value);
    }
    if (nghttp2_submit_response(s->conn->session, s->id, nv, (size_t)n_h + 1, &body) != 0)
        return BASE_ENOMEM;
    s->responded = true;
    h2_conn_wake(s->conn);
    return 0;
}

static void resume(struct net_h2_stream *s)
{
    if (s->deferred) {
        s->deferred = false;
        if (nghttp2_session_resume_data(s->conn->session, s->id) != 0)
            net_h2_reset(s, NGHTTP2_INTERNAL_ERROR);
    }
    h2_conn_wake(s->conn);
}

int net_h2_write(struct net_h2_stream *s, const void *p, size_t len)
{
    size_t queued = s->out.len - s->out_pos;

    if (s->reset || s->ended)
        return BASE_ECLOSED;
    if (len > s->out.max_bytes)
        return BASE_ELIMIT;
    if (len > s->out.max_bytes - queued) {
        s->want_writable = true;
        return BASE_EBUSY;
    }
    if (len == 0 || strcmp(s->method, "HEAD") == 0)
        return 0;
    if (queued == 0)
        s->moved_us = base_clock_mono_us();
    if (s->out_pos > 0 && (len > s->out.max_bytes - s->out.len || s->out_pos > s->out.len / 2)) {
        base_buf_consume(&s->out, s->out_pos);
        s->out_pos = 0;
    }
    if (base_buf_add(&s->out, p, len) != 0) {
        net_h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        return BASE_ENOMEM;
    }
    resume(s);
    return 0;
}

void net_h2_end(struct net_h2_stream *s)
{
    if (s->reset || s->ended)
        return;
    if (!s->responded) { /* our caller's bug, but the peer must not wait for ever */
        net_h2_reset(s, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    s->ended = true;
    resume(s);
}

void net_h2_reset(struct net_h2_stream *s, uint32_t code)
{
    if (s->reset)
        return;
    s->reset = true;
    if (nghttp2_submit_rst_stream(s->conn->session, NGHTTP2_FLAG_NONE, s->id, code) != 0)
        h2_conn_fail(s->conn, NGHTTP2_INTERNAL_ERROR, "allocations");
    h2_conn_wake(s->conn);
}
