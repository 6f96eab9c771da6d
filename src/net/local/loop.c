#include "net/local/loop.h"

#include <signal.h>
#include <stdlib.h>

#include <event2/event.h>

#include "base/log.h"

struct loop_signal {
    struct loop_signal *next;
    struct event *ev;
    net_signal_cb *cb;
    void *arg;
};

struct net_loop {
    struct event_base *base;
    struct loop_signal *signals;
    bool stop;
};

struct net_timer {
    struct event *ev;
    net_timer_cb *cb;
    void *arg;
};

struct net_watch {
    struct net_loop *loop;
    struct event *ev;
    net_watch_cb *cb;
    void *arg;
    int fd;
};

/* libevent prints to stderr by itself otherwise. Its warnings carry errno texts, never content. */
static void loop_log(int severity, const char *msg)
{
    if (severity == EVENT_LOG_ERR)
        base_log_error("net", "libevent: %s", msg);
    else if (severity == EVENT_LOG_WARN)
        base_log_warn("net", "libevent: %s", msg);
}

static struct event_base *loop_new_base(void)
{
    struct event_config *conf = event_config_new();
    struct event_base *base = NULL;

    if (conf == NULL)
        return NULL;
    /* Without these a timer counts from the time cached at the last wake-up on a clock of 4 ms, and
     * fires before it is due. And no EVENT_EPOLL and friends: the environment of a daemon does not
     * choose its backend. */
    if (event_config_set_flag(conf, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NO_CACHE_TIME |
                                        EVENT_BASE_FLAG_IGNORE_ENV) == 0)
        base = event_base_new_with_config(conf);
    event_config_free(conf);
    return base;
}

int net_loop_new(struct net_loop **out, struct base_err *err)
{
    struct net_loop *l;

    *out = NULL;
    event_set_log_callback(loop_log);
    l = calloc(1, sizeof(*l));
    if (l == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory for the event loop");
    l->base = loop_new_base();
    if (l->base == NULL) {
        free(l);
        return base_err_set(err, BASE_EIO, "", "cannot make an event loop");
    }
    /* A peer that went away is an error code of the write, never a signal. */
    signal(SIGPIPE, SIG_IGN);
    *out = l;
    return 0;
}

void net_loop_free(struct net_loop *l)
{
    if (l == NULL)
        return;
    while (l->signals != NULL) {
        struct loop_signal *s = l->signals;

        l->signals = s->next;
        event_free(s->ev);
        free(s);
    }
    event_base_free(l->base);
    free(l);
}

int net_loop_run(struct net_loop *l)
{
    /* libevent forgets a break that came before the loop; we do not. */
    while (!l->stop) {
        if (event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
            return BASE_EIO;
    }
    l->stop = false;
    return 0;
}

void net_loop_stop(struct net_loop *l)
{
    l->stop = true;
    event_base_loopbreak(l->base);
}

struct event_base *net_loop_base(struct net_loop *l)
{
    return l->base;
}

static void timer_fire(evutil_socket_t fd, short what, void *arg)
{
    struct net_timer *t = arg;

    (void)fd;
    (void)what;
    t->cb(t->arg);
}

struct net_timer *net_timer_new(struct net_loop *l, net_timer_cb *cb, void *arg)
{
    struct net_timer *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    t->cb = cb;
    t->arg = arg;
    t->ev = evtimer_new(l->base, timer_fire, t);
    if (t->ev == NULL) {
        free(t);
        return NULL;
    }
    return t;
}

void net_timer_set(struct net_timer *t, int64_t after_us)
{
    struct timeval tv = {0, 0};

    if (after_us > 0) {
        tv.tv_sec = (time_t)(after_us / 1000000);
        tv.tv_usec = (suseconds_t)(after_us % 1000000);
    }
    if (event_add(t->ev, &tv) != 0)
        base_log_error("net", "a timer could not be set");
}

void net_timer_clear(struct net_timer *t)
{
    event_del(t->ev);
}

void net_timer_free(struct net_timer *t)
{
    if (t == NULL)
        return;
    event_free(t->ev);
    free(t);
}

static void watch_fire(evutil_socket_t fd, short what, void *arg)
{
    struct net_watch *w = arg;
    int bits = 0;

    if ((what & EV_READ) != 0)
        bits |= NET_READ;
    if ((what & EV_WRITE) != 0)
        bits |= NET_WRITE;
    w->cb((int)fd, bits, w->arg);
}

struct net_watch *net_watch_new(struct net_loop *l, int fd, net_watch_cb *cb, void *arg)
{
    struct net_watch *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    w->loop = l;
    w->fd = fd;
    w->cb = cb;
    w->arg = arg;
    w->ev = event_new(l->base, fd, EV_PERSIST, watch_fire, w);
    if (w->ev == NULL) {
        free(w);
        return NULL;
    }
    return w;
}

void net_watch_want(struct net_watch *w, int what)
{
    short events = EV_PERSIST;

    if ((what & NET_READ) != 0)
        events |= EV_READ;
    if ((what & NET_WRITE) != 0)
        events |= EV_WRITE;
    event_del(w->ev);
    if (events == EV_PERSIST)
        return;
    if (event_assign(w->ev, w->loop->base, w->fd, events, watch_fire, w) != 0 ||
        event_add(w->ev, NULL) != 0)
        base_log_error("net", "cannot watch descriptor fd=%d", w->fd);
}

void net_watch_free(struct net_watch *w)
{
    if (w == NULL)
        return;
    event_free(w->ev);
    free(w);
}

static void signal_fire(evutil_socket_t signo, short what, void *arg)
{
    struct loop_signal *s = arg;

    (void)what;
    s->cb((int)signo, s->arg);
}

int net_signal(struct net_loop *l, int signo, net_signal_cb *cb, void *arg)
{
    struct loop_signal *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return BASE_ENOMEM;
    s->cb = cb;
    s->arg = arg;
    s->ev = evsignal_new(l->base, signo, signal_fire, s);
    if (s->ev == NULL || event_add(s->ev, NULL) != 0) {
        if (s->ev != NULL)
            event_free(s->ev);
        free(s);
        return BASE_EIO;
    }
    s->next = l->signals;
    l->signals = s;
    return 0;
}
