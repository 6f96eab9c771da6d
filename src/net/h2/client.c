#include "net/h2/client_impl.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/clock.h"

/* ---- the work, from the loop ---- */

static void wake(struct h2c_link *l)
{
    if (!l->working)
        net_timer_set(l->work_timer, 0);
}

static void stream_free(struct net_h2c_stream *s)
{
    if (s->easy != NULL) {
        if (s->added)
            curl_multi_remove_handle(s->link->multi, s->easy); /* sends RST_STREAM if it runs */
        curl_easy_cleanup(s->easy);
    }
    curl_slist_free_all(s->headers);
    net_timer_free(s->deadline);
    base_buf_fini(&s->out);
    free(s);
}

static void stream_unlink(struct net_h2c_stream *s)
{
    struct net_h2c_stream **at = &s->link->streams;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

static void link_disconnect(struct h2c_link *l)
{
    if (l->multi != NULL)
        curl_multi_cleanup(l->multi);
    l->multi = NULL;
    net_timer_clear(l->curl_timer);
    while (l->watches != NULL) {
        struct h2c_watch *w = l->watches;
        l->watches = w->next;
        net_watch_free(w->w);
        free(w);
    }
}

/* libcurl 7.88 queues the RST_STREAM of a removed transfer and sends it with the next one's frames:
 * a server would work on. Pausing another stream makes it send; without another one the connection
 * is closed, which says the same. */
static void flush_reset(struct h2c_link *l)
{
    for (struct net_h2c_stream *s = l->streams; s != NULL; s = s->next) {
        if (!s->added || !s->ready || s->canceled || s->err.code != 0)
            continue;
        int now =
            (s->sending_paused ? CURLPAUSE_SEND : 0) | (s->receiving_paused ? CURLPAUSE_RECV : 0);
        curl_easy_pause(s->easy, now | CURLPAUSE_RECV);
        curl_easy_pause(s->easy, now);
        return;
    }
    if (l->streams == NULL)
        link_disconnect(l);
}

static void stream_close(struct net_h2c_stream *s, const struct base_err *err)
{
    struct h2c_link *l = s->link;
    bool reset = err->code != 0 && s->added && s->ready;
    stream_unlink(s);
    s->closing = true;
    s->cb->on_close(s, err, s->arg);
    stream_free(s);
    if (reset)
        flush_reset(l);
}

static void stream_cancel(struct net_h2c_stream *s)
{
    struct h2c_link *l = s->link;
    bool reset = s->added && s->ready;
    stream_unlink(s);
    stream_free(s);
    if (reset)
        flush_reset(l);
}

static void take_results(struct h2c_link *l)
{
    int left;
    for (CURLMsg *m; l->multi != NULL && (m = curl_multi_info_read(l->multi, &left)) != NULL;) {
        struct net_h2c_stream *s = NULL;
        struct base_err err;
        if (m->msg != CURLMSG_DONE ||
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &s) != CURLE_OK)
            continue;
        if (s->canceled)
            continue; /* settle() frees it */
        h2c_error(s, m->data.result, &err);
        stream_close(s, &err);
    }
}

static int start(struct net_h2c_stream *s)
{
    struct h2c_link *l = s->link;
    if (l->multi == NULL)
        l->multi = h2c_multi_new(l);
    if (l->multi == NULL || curl_multi_add_handle(l->multi, s->easy) != CURLM_OK)
        return base_err_set(&s->err, BASE_ENOMEM, l->url, "out of memory");
    s->added = true;
    return 0;
}

/* Does what the stream's owner noted. False: s is gone, and with it the list's shape. */
static bool settle(struct net_h2c_stream *s)
{
    if (s->canceled) {
        stream_cancel(s);
        return false;
    }
    if ((!s->added && s->err.code == 0 && start(s) != 0) || s->err.code != 0) {
        struct base_err err = s->err;
        stream_close(s, &err);
        return false;
    }
    bool send = s->sending_paused && (s->ended || s->out.len > s->out_pos);
    bool receive = s->receiving_paused && !s->held;
    if (send || receive) {
        s->sending_paused = s->sending_paused && !send;
        s->receiving_paused = s->receiving_paused && !receive;
        curl_easy_pause(s->easy, (s->sending_paused ? CURLPAUSE_SEND : 0) |
                                     (s->receiving_paused ? CURLPAUSE_RECV : 0));
    }
    return true;
}

/* An answer may end before its question. libcurl then waits for a descriptor that says nothing
 * more; resuming what is not paused makes it look at the stream itself. */
static void look_again(struct h2c_link *l)
{
    for (struct net_h2c_stream *s = l->streams; s != NULL; s = s->next) {
        if (!s->end_sent || s->canceled)
            continue;
        s->end_sent = false;
        if (!s->receiving_paused) {
            curl_easy_pause(s->easy, CURLPAUSE_RECV);
            curl_easy_pause(s->easy, CURLPAUSE_CONT);
        }
    }
}

void h2c_work(struct h2c_link *l)
{
    l->working = true;
    /* Each round can call back, and so change what is to do; it ends when a round finds all
     * settled. */
    for (bool again = true; again;) {
        again = false;
        take_results(l);
        for (struct net_h2c_stream *s = l->streams; s != NULL && !again; s = again ? NULL : s->next)
            again = !settle(s);
    }
    l->working = false;
    for (const struct net_h2c_stream *s = l->streams; s != NULL; s = s->next) {
        if (s->end_sent)
            net_timer_set(l->work_timer, 0);
    }
    if (l->streams == NULL && l->multi != NULL)
        net_timer_set(l->idle_timer, (int64_t)l->idle_close_ms * 1000);
}

static void work_fire(void *arg)
{
    struct h2c_link *l = arg;
    l->working = true;
    look_again(l);
    h2c_work(l);
}

static void idle_fire(void *arg)
{
    struct h2c_link *l = arg;
    if (l->streams == NULL)
        link_disconnect(l);
}

static void deadline_fire(void *arg)
{
    struct net_h2c_stream *s = arg;
    struct h2c_link *l = s->link;
    if (s->err.code == 0)
        base_err_set(&s->err, BASE_ETIMEOUT, l->url, "%s",
                     s->ready ? "the answer did not end before the deadline"
                              : "no connection before the deadline");
    h2c_work(l);
}

/* ---- targets ---- */

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static struct h2c_link *link_find(const struct net_h2c *c, const struct net_h2c_target *t)
{
    for (struct h2c_link *l = c->links; l != NULL; l = l->next) {
        if (same(l->url, t->url) && same(l->ca, t->ca_file) && same(l->cert, t->cert_file) &&
            same(l->key, t->key_file) && same(l->crl, t->crl_file) && same(l->pin, t->pin) &&
            l->connect_deadline_ms == t->connect_deadline_ms &&
            l->idle_close_ms == t->idle_close_ms)
            return l;
    }
    return NULL;
}

static void link_free(struct h2c_link *l)
{
    while (l->streams != NULL) {
        struct net_h2c_stream *s = l->streams;
        stream_unlink(s);
        stream_free(s);
    }
    if (l->curl_timer != NULL)
        link_disconnect(l);
    net_timer_free(l->curl_timer);
    net_timer_free(l->work_timer);
    net_timer_free(l->idle_timer);
    free(l->url);
    free(l->ca);
    free(l->cert);
    free(l->key);
    free(l->crl);
    free(l->pin);
    free(l);
}

static bool copy(char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return *to != NULL || from == NULL;
}

static struct h2c_link *link_new(struct net_h2c *c, const struct net_h2c_target *t)
{
    struct h2c_link *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->client = c;
    l->tls_alert = -1;
    l->connect_deadline_ms = t->connect_deadline_ms;
    l->idle_close_ms = t->idle_close_ms;
    l->curl_timer = net_timer_new(c->loop, h2c_timer_fire, l);
    l->work_timer = net_timer_new(c->loop, work_fire, l);
    l->idle_timer = net_timer_new(c->loop, idle_fire, l);
    if (l->curl_timer == NULL || l->work_timer == NULL || l->idle_timer == NULL ||
        !copy(&l->url, t->url) || !copy(&l->ca, t->ca_file) || !copy(&l->cert, t->cert_file) ||
        !copy(&l->key, t->key_file) || !copy(&l->crl, t->crl_file) || !copy(&l->pin, t->pin)) {
        link_free(l);
        return NULL;
    }
    return l;
}

static int link_get(struct h2c_link **out, struct net_h2c *c, const struct net_h2c_target *t,
                    struct base_err *err)
{
    *out = link_find(c, t);
    if (*out != NULL)
        return 0;
    if (strncasecmp(t->url, "https://", 8) != 0)
        return base_err_set(err, BASE_EINVAL, t->url, "the URL does not start with https://");
    if (c->n_link == NET_H2C_MAX_TARGET)
        return base_err_set(err, BASE_ELIMIT, t->url, "more than %d targets", NET_H2C_MAX_TARGET);
    struct h2c_link *l = link_new(c, t);
    if (l == NULL)
        return base_err_set(err, BASE_ENOMEM, t->url, "out of memory");
    l->next = c->links;
    c->links = l;
    c->n_link++;
    *out = l;
    return 0;
}

/* ---- the calls ---- */

int net_h2c_new(struct net_h2c **out, struct net_loop *loop, struct base_err *err)
{
    *out = NULL;
    int e = h2c_global_init(err);
    if (e != 0)
        return e;
    struct net_h2c *c = calloc(1, sizeof *c);
    if (c == NULL) {
        curl_global_cleanup();
        return base_err_set(err, BASE_ENOMEM, "", "out of memory");
    }
    c->loop = loop;
    *out = c;
    return 0;
}

void net_h2c_free(struct net_h2c *c)
{
    if (c == NULL)
        return;
    while (c->links != NULL) {
        struct h2c_link *l = c->links;
        c->links = l->next;
        link_free(l);
    }
    free(c);
    curl_global_cleanup();
}

int net_h2c_open(struct net_h2c_stream **out, struct net_h2c *c, const struct net_h2c_target *t,
                 const struct net_h2c_req *r, const struct net_h2c_cb *cb, void *arg,
                 struct base_err *err)
{
    struct h2c_link *l;
    *out = NULL;
    int e = link_get(&l, c, t, err);
    if (e != 0)
        return e;
    struct net_h2c_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return base_err_set(err, BASE_ENOMEM, t->url, "out of memory");
    s->link = l;
    s->cb = cb;
    s->arg = arg;
    s->preconnect = r == NULL;
    base_buf_init(&s->out, NET_H2C_MAX_QUEUE);
    s->deadline = net_timer_new(c->loop, deadline_fire, s);
    e = s->deadline != NULL ? h2c_easy_new(s, r, err)
                            : base_err_set(err, BASE_ENOMEM, t->url, "out of memory");
    if (e != 0) {
        stream_free(s);
        return e;
    }
    int64_t connect_us = (int64_t)t->connect_deadline_ms * 1000;
    int64_t whole_us = r != NULL ? r->deadline_ms * 1000 : connect_us;
    s->deadline_at_us = base_clock_mono_us() + whole_us;
    net_timer_set(s->deadline, whole_us < connect_us ? whole_us : connect_us);
    net_timer_clear(l->idle_timer);
    s->next = l->streams;
    l->streams = s;
    wake(l);
    *out = s;
    return 0;
}

int net_h2c_write(struct net_h2c_stream *s, const void *p, size_t len)
{
    if (len > NET_H2C_MAX_QUEUE - (s->out.len - s->out_pos))
        return BASE_ELIMIT;
    if (len > NET_H2C_MAX_QUEUE - s->out.len) {
        base_buf_consume(&s->out, s->out_pos);
        s->out_pos = 0;
    }
    int e = base_buf_add(&s->out, p, len);
    if (e == 0)
        wake(s->link);
    return e;
}

void net_h2c_end(struct net_h2c_stream *s)
{
    s->ended = true;
    wake(s->link);
}

void net_h2c_hold(struct net_h2c_stream *s, bool on)
{
    s->held = on;
    if (!on)
        wake(s->link);
}

void net_h2c_cancel(struct net_h2c_stream *s)
{
    if (s->closing)
        return;
    s->canceled = true;
    net_timer_clear(s->deadline);
    wake(s->link);
}

uint64_t net_h2c_bytes_out(const struct net_h2c_stream *s)
{
    return s->bytes_out;
}

uint64_t net_h2c_bytes_in(const struct net_h2c_stream *s)
{
    return s->bytes_in;
}

int64_t net_h2c_rtt_us(const struct net_h2c_stream *s)
{
    /* Others of the link's descriptors: an address family that lost the race, a lookup's wake-up.
     */
    for (const struct h2c_watch *w = s->link->watches; w != NULL; w = w->next) {
        struct tcp_info info;
        socklen_t len = sizeof info;
        if (getsockopt(w->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
            info.tcpi_state == TCP_ESTABLISHED)
            return info.tcpi_rtt;
    }
    return 0;
}
