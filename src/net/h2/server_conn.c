/* A connection: TLS, the pump between it and nghttp2, and the deadlines.
 *
 * The pump's rule: what came in is given to nghttp2 in slices, and after each slice everything that
 * it wants to say is moved to TLS. While TLS cannot take it (the peer does not read) no input is
 * read. So a peer cannot make us queue answers faster than it takes them. */
#include "net/h2/server_int.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/err.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/h2/tls.h"

/* Tokens a second, and how many can be saved up. An honest client needs a few control frames a
 * connection, one WINDOW_UPDATE for some kilobytes, and resets only when its user gives up. */
static const struct {
    int rate, burst;
    const char *what;
} bucket_limits[H2_N_BUCKET] = {
    [H2_BUCKET_CONTROL] = {10, 100, "control frames"},
    [H2_BUCKET_WINDOW] = {1000, 4000, "window updates"},
    [H2_BUCKET_EMPTY] = {10, 50, "empty data frames"},
    [H2_BUCKET_CONTINUATION] = {10, 50, "continuation frames"},
    [H2_BUCKET_RESET_IN] = {10, 100, "stream resets"},
    [H2_BUCKET_RESET_OUT] = {5, 50, "streams that had to be reset"},
};

void h2_conn_fail(struct h2_conn *c, uint32_t code, const char *why)
{
    if (c->fail_why != NULL)
        return;
    c->fail_code = code;
    c->fail_why = why;
    h2_conn_wake(c);
}

bool h2_conn_take(struct h2_conn *c, enum h2_bucket_kind kind)
{
    struct h2_bucket *b = &c->bucket[kind];
    int64_t now_us = base_clock_mono_us();
    int64_t full_u = (int64_t)bucket_limits[kind].burst * 1000000;

    if (b->at_us == 0)
        b->level_u = full_u;
    else
        b->level_u += (now_us - b->at_us) * bucket_limits[kind].rate;
    if (b->level_u > full_u)
        b->level_u = full_u;
    b->at_us = now_us;
    if (b->level_u < 1000000) {
        h2_conn_fail(c, NGHTTP2_ENHANCE_YOUR_CALM, bucket_limits[kind].what);
        return false;
    }
    b->level_u -= 1000000;
    return true;
}

void h2_conn_wake(struct h2_conn *c)
{
    if (!c->in_session)
        event_active(c->wake, EV_TIMEOUT, 0);
}

void h2_conn_kill(struct h2_conn *c)
{
    struct net_h2s *srv = c->srv;

    c->state = H2_CLOSING;
    for (struct net_h2_stream *s = c->streams; s != NULL; s = s->next)
        s->reset = true; /* an on_close that touches a sibling does not reach the session */
    while (c->streams != NULL)
        h2_stream_close(c->streams, NGHTTP2_CANCEL);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        srv->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    srv->n_conn--;
    if (!c->broken)
        nghttp2_session_del(c->session);
    if (c->bev != NULL) {
        bufferevent_setcb(c->bev, NULL, NULL, NULL, NULL);
        bufferevent_free(c->bev);
    }
    if (c->wake != NULL)
        event_free(c->wake);
    net_timer_free(c->timer);
    free(c);
}

/* Moves what nghttp2 has to say to TLS, until TLS has enough. */
static int flush(struct h2_conn *c)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);

    while (evbuffer_get_length(out) < H2_OUT_HIGH_BYTES) {
        const uint8_t *p;
        ssize_t n;

        c->in_session = true;
        n = nghttp2_session_mem_send(c->session, &p);
        c->in_session = false;
        if (n < 0) {
            /* Out of memory. nghttp2 1.52 may now hold a frame twice, and its session_del would
             * free it twice: better to lose the session's memory. */
            c->broken = true;
            return BASE_ENOMEM;
        }
        if (n == 0)
            break;
        if (evbuffer_add(out, p, (size_t)n) != 0)
            return BASE_ENOMEM;
    }
    if (nghttp2_session_get_outbound_queue_size(c->session) > H2_MAX_OUTBOUND_FRAMES)
        h2_conn_fail(c, NGHTTP2_ENHANCE_YOUR_CALM, "frames that wait to be sent");
    return 0;
}

/* Gives the input to nghttp2, slice by slice. */
static int feed(struct h2_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    struct evbuffer *out = bufferevent_get_output(c->bev);

    while (evbuffer_get_length(in) > 0 && evbuffer_get_length(out) < H2_OUT_HIGH_BYTES &&
           c->fail_why == NULL) {
        struct evbuffer_iovec v;
        ssize_t n;
        int rc;

        if (evbuffer_peek(in, H2_SLICE_BYTES, NULL, &v, 1) < 1)
            return BASE_EINTERNAL;
        if (v.iov_len > H2_SLICE_BYTES)
            v.iov_len = H2_SLICE_BYTES;
        c->in_session = true;
        n = nghttp2_session_mem_recv(c->session, v.iov_base, v.iov_len);
        c->in_session = false;
        if (n < 0)
            return n == NGHTTP2_ERR_NOMEM              ? BASE_ENOMEM
                   : n == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? BASE_EPROTO
                                                       : BASE_ELIMIT;
        evbuffer_drain(in, (size_t)n);
        rc = flush(c);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* Ends in order: the application's work first, then GOAWAY, then a moment for it to arrive. */
static void begin_closing(struct h2_conn *c)
{
    if (c->fail_why != NULL)
        base_log_warn("h2", "connection ended: too many or bad %s peer=\"%s\" code=%s", c->fail_why,
                      c->peer_name, nghttp2_http2_strerror(c->fail_code));
    c->state = H2_CLOSING;
    while (c->streams != NULL)
        h2_stream_close(c->streams, c->fail_why != NULL ? c->fail_code : NGHTTP2_CANCEL);
    if (nghttp2_session_terminate_session(c->session, c->fail_code) != 0 || flush(c) != 0) {
        h2_conn_kill(c);
        return;
    }
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
    net_timer_set(c->timer, (int64_t)H2_CLOSING_MS * 1000);
    if (evbuffer_get_length(bufferevent_get_output(c->bev)) == 0)
        bufferevent_trigger(c->bev, EV_WRITE, BEV_TRIG_DEFER_CALLBACKS);
}

static void pump(struct h2_conn *c)
{
    int rc = flush(c);

    if (rc == 0)
        rc = feed(c);
    if (rc == 0)
        h2_streams_writable(c);
    if (rc == 0)
        rc = flush(c);
    if (rc == BASE_ENOMEM) {
        base_log_error("h2", "connection dropped: out of memory");
        h2_conn_kill(c);
        return;
    }
    if (rc == BASE_EPROTO)
        h2_conn_fail(c, NGHTTP2_PROTOCOL_ERROR, "preface bytes");
    else if (rc == BASE_ELIMIT) /* nghttp2's own limits against floods */
        h2_conn_fail(c, NGHTTP2_ENHANCE_YOUR_CALM, "frames");
    else if (rc != 0)
        h2_conn_fail(c, NGHTTP2_INTERNAL_ERROR, "input");
    if (c->fail_why != NULL ||
        (!nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))) {
        begin_closing(c);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct h2_conn *c = arg;

    (void)fd;
    (void)what;
    if (c->state == H2_OPEN)
        pump(c);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
    struct h2_conn *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);

    if (c->state == H2_OPEN)
        pump(c);
    else if (c->state == H2_CLOSING)
        evbuffer_drain(in, evbuffer_get_length(in));
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct h2_conn *c = arg;

    if (c->state == H2_OPEN) {
        pump(c);
    } else if (c->state == H2_CLOSING && !c->shut &&
               evbuffer_get_length(bufferevent_get_output(bev)) == 0) {
        c->shut = true;
        ERR_clear_error();
        if (SSL_shutdown(c->ssl) < 0)
            ERR_clear_error();
        shutdown(bufferevent_getfd(bev), SHUT_WR);
    }
}

static void on_output(struct evbuffer *buf, const struct evbuffer_cb_info *info, void *arg)
{
    struct h2_conn *c = arg;

    (void)buf;
    if (info->n_deleted > 0 || info->orig_size == 0)
        c->out_moved_us = base_clock_mono_us();
}

static int open_session(struct h2_conn *c)
{
    const struct net_h2s_opt *o = &c->srv->opt;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)o->max_stream},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)o->max_header_bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };

    if (nghttp2_session_server_new2(&c->session, c->srv->callbacks, c, c->srv->option) != 0)
        return BASE_ENOMEM;
    if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                sizeof(settings) / sizeof(settings[0])) != 0 ||
        nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                              H2_CONN_WINDOW_BYTES) != 0)
        return BASE_ENOMEM;
    return 0;
}

static void on_connected(struct h2_conn *c)
{
    if (net_tls_check_peer(c->ssl) != 0) {
        base_log_info("h2", "connection refused: the handshake did not agree on h2");
        h2_conn_kill(c);
        return;
    }
    net_tls_peer_name(c->ssl, c->peer_name, sizeof(c->peer_name));
    if (open_session(c) != 0) {
        h2_conn_kill(c);
        return;
    }
    c->state = H2_OPEN;
    c->active_us = base_clock_mono_us();
    bufferevent_setwatermark(c->bev, EV_READ, 0, H2_OUT_HIGH_BYTES);
    bufferevent_setwatermark(c->bev, EV_WRITE, H2_OUT_LOW_BYTES, 0);
    pump(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct h2_conn *c = arg;

    if ((what & BEV_EVENT_CONNECTED) != 0) {
        on_connected(c);
        return;
    }
    if (c->state == H2_HANDSHAKE) {
        const char *why = ERR_reason_error_string(bufferevent_get_openssl_error(bev));

        base_log_info("h2", "handshake failed: %s", why != NULL ? why : "the peer left");
    }
    h2_conn_kill(c);
}

static void set_check(struct h2_conn *c)
{
    const struct net_h2s_opt *o = &c->srv->opt;
    int ms = o->header_deadline_ms;

    if (o->idle_deadline_ms < ms)
        ms = o->idle_deadline_ms;
    if (o->progress_deadline_ms < ms)
        ms = o->progress_deadline_ms;
    net_timer_set(c->timer, (int64_t)ms * 1000 / 4 + 1000);
}

static void on_check(void *arg)
{
    struct h2_conn *c = arg;
    const struct net_h2s_opt *o = &c->srv->opt;
    int64_t now_us = base_clock_mono_us();
    bool waiting;

    if (c->state == H2_CLOSING) {
        h2_conn_kill(c);
        return;
    }
    if (c->header_since_us != 0 &&
        now_us - c->header_since_us > (int64_t)o->header_deadline_ms * 1000) {
        base_log_info("h2", "no whole request header in time peer=\"%s\"", c->peer_name);
        h2_conn_kill(c);
        return;
    }
    waiting = evbuffer_get_length(bufferevent_get_output(c->bev)) > 0;
    if (waiting && now_us - c->out_moved_us > (int64_t)o->progress_deadline_ms * 1000) {
        base_log_info("h2", "the peer does not read peer=\"%s\"", c->peer_name);
        h2_conn_kill(c);
        return;
    }
    set_check(c);
    if (c->state != H2_OPEN)
        return;
    h2_streams_check(c, now_us);
    if (c->streams == NULL && now_us - c->active_us > (int64_t)o->idle_deadline_ms * 1000)
        begin_closing(c);
}

void h2_conn_accept(struct net_h2s *srv, int fd)
{
    struct event_base *base = net_loop_base(srv->loop);
    struct h2_conn *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        close(fd);
        return;
    }
    c->srv = srv;
    c->next = srv->conns;
    if (c->next != NULL)
        c->next->prev = c;
    srv->conns = c;
    srv->n_conn++;
    c->header_since_us = base_clock_mono_us();
    c->wake = event_new(base, -1, 0, on_wake, c);
    c->timer = net_timer_new(srv->loop, on_check, c);
    c->ssl = SSL_new(srv->ctx);
    if (c->wake == NULL || c->timer == NULL || c->ssl == NULL)
        goto out;
    c->bev = bufferevent_openssl_socket_new(base, fd, c->ssl, BUFFEREVENT_SSL_ACCEPTING,
                                            BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (c->bev == NULL)
        goto out;
    c->ssl = bufferevent_openssl_get_ssl(c->bev);
    fd = -1;
    /* A peer that closes TCP without close_notify is gone, not an error. */
    bufferevent_openssl_set_allow_dirty_shutdown(c->bev, 1);
    bufferevent_setcb(c->bev, on_readable, on_written, on_event, c);
    if (evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c) == NULL)
        goto out;
    set_check(c);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    return;
out:
    base_log_error("h2", "out of memory for a connection");
    if (c->bev == NULL)
        SSL_free(c->ssl);
    if (fd >= 0)
        close(fd);
    h2_conn_kill(c);
}
