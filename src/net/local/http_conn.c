/* The life of a connection. evhttp owns the socket and parses; we put our bufferevent under it (so
 * we know each connection from its first moment), watch its buffers, keep absolute deadlines, and
 * replace the HTML pages that evhttp writes by itself.
 *
 * evhttp has no hook for its own errors: it writes the page into the output buffer without asking.
 * But no byte leaves before the loop polls again, so a callback on the output buffer that sees
 * bytes while no handler has the request schedules conn_tick, which takes the connection over. */
#include "net/local/http_int.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

static void conn_kill(struct conn *c)
{
    evhttp_connection_free(c->evcon); /* calls conn_closed, which frees c */
}

void conn_later(struct conn *c, unsigned todo)
{
    c->todo |= todo;
    event_active(c->tick, EV_TIMEOUT, 0);
}

void conn_set_state(struct conn *c, enum conn_state state)
{
    const struct net_http_limits *lim = &c->http->lim;
    int ms = 0;

    c->state = state;
    switch (state) {
    case CONN_IDLE:
        c->n_consumed = 0;
        ms = lim->idle_deadline_ms;
        break;
    case CONN_READING:
        ms = lim->read_deadline_ms;
        break;
    case CONN_WORKING:
        net_timer_clear(c->deadline);
        return;
    case CONN_FLUSHING:
        ms = lim->idle_deadline_ms;
        break;
    case CONN_LINGER:
        ms = HTTP_LINGER_MS;
        break;
    }
    net_timer_set(c->deadline, (int64_t)ms * 1000);
}

/* evhttp keeps a body in the input buffer until it is whole, so reading needs room for it. */
static void set_read_room(struct conn *c)
{
    const struct net_http_limits *lim = &c->http->lim;

    bufferevent_setwatermark(c->bev, EV_READ, 0,
                             (size_t)lim->max_header_bytes + (size_t)lim->max_body_bytes +
                                 HTTP_AHEAD_BYTES);
}

static void on_input(struct evbuffer *buf, const struct evbuffer_cb_info *info, void *arg)
{
    struct conn *c = arg;

    (void)buf;
    if (c->state == CONN_IDLE && info->n_added > 0)
        conn_set_state(c, CONN_READING);
    if (c->state == CONN_READING)
        c->n_consumed += info->n_deleted;
}

static void on_output(struct evbuffer *buf, const struct evbuffer_cb_info *info, void *arg)
{
    struct conn *c = arg;

    (void)buf;
    if (info->n_added > 0 && (c->state == CONN_IDLE || c->state == CONN_READING))
        conn_later(c, CONN_LIB_ERROR);
}

/* The argument is not ours when evhttp's deferred read fires it: only bev is used. */
static void linger_read(struct bufferevent *bev, void *arg)
{
    struct evbuffer *in = bufferevent_get_input(bev);

    (void)arg;
    evbuffer_drain(in, evbuffer_get_length(in));
}

static void linger_written(struct bufferevent *bev, void *arg)
{
    (void)arg;
    shutdown(bufferevent_getfd(bev), SHUT_WR);
}

static void linger_event(struct bufferevent *bev, short what, void *arg)
{
    struct conn *c = arg;

    (void)bev;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
        conn_kill(c);
}

static void error_page(struct conn *c, struct evbuffer *out, int status)
{
    struct evbuffer *body = c->http->scratch;

    http_error_body(body, status);
    evbuffer_add_printf(out,
                        "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\nConnection: close\r\n%s\r\n",
                        status, http_reason(status), evbuffer_get_length(body),
                        status == 503 ? "Retry-After: 1\r\n" : "");
    evbuffer_add_buffer(out, body);
}

/* Ends the connection with a page of our own. The connection is taken from evhttp for good: its
 * callbacks are replaced, and evhttp only frees it. Input is drained until the client has read the
 * page and closed, because closing over unread input would reset it away. */
static void conn_fail(struct conn *c, int status)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);

    conn_set_state(c, CONN_LINGER);
    bufferevent_setcb(c->bev, linger_read, linger_written, linger_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, HTTP_AHEAD_BYTES);
    evbuffer_unfreeze(out, 1);
    evbuffer_drain(out, evbuffer_get_length(out));
    evbuffer_freeze(out, 1);

    error_page(c, out, status);
    linger_read(c->bev, NULL);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* evhttp says 400 for a request line or headers over the limit. */
static bool header_too_long(const struct conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t max = (size_t)c->http->lim.max_header_bytes;

    if (c->n_consumed > max)
        return true;
    return c->n_consumed + evbuffer_get_length(in) > max &&
           evbuffer_search(in, "\n", 1, NULL).pos < 0;
}

static void conn_lib_error(struct conn *c)
{
    struct evbuffer *out = bufferevent_get_output(c->bev);
    char line[32] = "";
    int status = 0;

    if ((c->state != CONN_IDLE && c->state != CONN_READING) || evbuffer_get_length(out) == 0)
        return;
    evbuffer_unfreeze(out, 1); /* a bufferevent locks its output's front, for readers too */
    evbuffer_copyout(out, line, sizeof(line) - 1);
    evbuffer_freeze(out, 1);
    if (sscanf(line, "HTTP/%*d.%*d %d", &status) == 1 && status == 100)
        return; /* 100 Continue is all that evhttp writes of itself and is no error */
    if (status == 400 && header_too_long(c))
        status = 431;
    conn_fail(c, status < 400 || status > 599 ? 400 : status);
}

static void on_deadline(void *arg)
{
    struct conn *c = arg;

    if (c->state == CONN_READING)
        conn_fail(c, 408);
    else
        conn_kill(c);
}

static void conn_closed(struct evhttp_connection *evcon, void *arg)
{
    struct conn *c = arg;

    (void)evcon;
    if (c->req != NULL)
        req_gone(c->req);
    conn_free(c);
}

/* One try to say why; a client over the limit gets no more of our time. */
static void conn_refuse(struct conn *c, int fd)
{
    struct evbuffer *page = evbuffer_new();
    char junk[4096];

    for (int i = 0; i < 4 && recv(fd, junk, sizeof(junk), MSG_DONTWAIT) > 0; i++)
        continue;
    if (page != NULL) {
        error_page(c, page, 503);
        if (evbuffer_write(page, fd) < 0)
            base_log_debug("http", "a refused client was gone already");
        evbuffer_free(page);
    }
    conn_kill(c);
}

static void learn_peer(struct conn *c, int fd)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);
    int one = 1;

    c->uid = (uid_t)-1;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && sa.ss_family == AF_UNIX) {
        struct ucred cred;

        c->is_unix = true;
        len = sizeof(cred);
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
            c->uid = cred.uid;
    } else if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
        base_log_debug("http", "TCP_NODELAY refused");
    }
}

static void conn_start(struct conn *c)
{
    struct net_http *h = c->http;
    void *evcon = NULL;
    int fd;

    /* evhttp made itself the argument of the callbacks; NULL: it has given up on the connection. */
    bufferevent_getcb(c->bev, NULL, NULL, NULL, &evcon);
    fd = bufferevent_getfd(c->bev);
    bufferevent_decref(c->bev);
    if (evcon == NULL) {
        conn_free(c);
        return;
    }
    c->evcon = evcon;
    evhttp_connection_set_closecb(c->evcon, conn_closed, c);
    bufferevent_set_timeouts(c->bev, NULL, NULL);
    if (h->n_conn >= h->lim.max_conn) {
        conn_refuse(c, fd);
        return;
    }
    h->n_conn++;
    c->counted = true;
    learn_peer(c, fd);
    c->in_cb = evbuffer_add_cb(bufferevent_get_input(c->bev), on_input, c);
    c->out_cb = evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c);
    if (c->in_cb == NULL || c->out_cb == NULL) {
        conn_kill(c);
        return;
    }
    set_read_room(c);
    conn_set_state(c, CONN_IDLE);
}

static void conn_tick(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    unsigned todo = c->todo;

    (void)fd;
    (void)what;
    c->todo = 0;
    if ((todo & CONN_START) != 0)
        conn_start(c);
    else if ((todo & CONN_KILL) != 0)
        conn_kill(c);
    else if ((todo & CONN_LIB_ERROR) != 0)
        conn_lib_error(c);
}

/* evhttp asks for a bufferevent for each accepted socket. NULL makes it use one of its own, which
 * req_arrived then refuses because nobody watches it. */
struct bufferevent *conn_new(struct event_base *base, void *http)
{
    struct net_http *h = http;
    struct conn *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->http = h;
    c->tick = event_new(base, -1, 0, conn_tick, c);
    c->deadline = net_timer_new(h->loop, on_deadline, c);
    c->bev = bufferevent_socket_new(base, -1, 0);
    c->next = h->conns;
    if (c->next != NULL)
        c->next->prev = c;
    h->conns = c;
    if (c->tick == NULL || c->deadline == NULL || c->bev == NULL) {
        if (c->bev != NULL)
            bufferevent_free(c->bev);
        conn_free(c);
        return NULL;
    }
    /* evhttp sets the socket after this returns, and may still fail: hold bev until conn_start. */
    bufferevent_incref(c->bev);
    conn_later(c, CONN_START);
    return c->bev;
}

void conn_free(struct conn *c)
{
    if ((c->todo & CONN_START) != 0)
        bufferevent_decref(c->bev);
    if (c->in_cb != NULL)
        evbuffer_remove_cb_entry(bufferevent_get_input(c->bev), c->in_cb);
    if (c->out_cb != NULL)
        evbuffer_remove_cb_entry(bufferevent_get_output(c->bev), c->out_cb);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        c->http->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    if (c->counted)
        c->http->n_conn--;
    if (c->tick != NULL)
        event_free(c->tick);
    net_timer_free(c->deadline);
    free(c);
}

struct conn *conn_find(struct net_http *h, const struct evhttp_connection *evcon)
{
    /* At most max_conn entries, once a request. */
    for (struct conn *c = h->conns; c != NULL; c = c->next) {
        if (c->evcon == evcon)
            return c;
    }
    return NULL;
}

static void on_complete(struct evhttp_request *ev, void *arg)
{
    struct conn *c = arg;

    (void)ev;
    conn_set_state(c, CONN_IDLE);
    set_read_room(c);
    if (evbuffer_get_length(bufferevent_get_input(c->bev)) > 0)
        conn_set_state(c, CONN_READING); /* sent ahead */
}

/* A whole request has come. evhttp stops reading here, and so would not see the client leave before
 * the reply starts. Reading on needs two more things: no read callback, because evhttp's own calls
 * exit() when a byte comes in this state, and a watermark, because nobody takes the bytes away. */
void conn_working(struct conn *c, struct evhttp_request *ev)
{
    bufferevent_data_cb write_cb;
    bufferevent_event_cb event_cb;
    void *arg;

    conn_set_state(c, CONN_WORKING);
    evhttp_request_set_on_complete_cb(ev, on_complete, c);
    bufferevent_getcb(c->bev, NULL, &write_cb, &event_cb, &arg);
    bufferevent_setcb(c->bev, NULL, write_cb, event_cb, arg);
    bufferevent_setwatermark(c->bev, EV_READ, 0, HTTP_AHEAD_BYTES);
    bufferevent_enable(c->bev, EV_READ);
}
