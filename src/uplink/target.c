/* What is known of each target's link, told to the edge when it changes; and preconnects. A
 * connection is a signal in itself, so none is made before a release unless the configuration says
 * so. */
#include "uplink/uplink.h"

#include <string.h>

#include "base/log.h"

enum { BACKOFF_MIN_MS = 1000, BACKOFF_MAX_MS = 60000 };

static void tell(struct up_target *t)
{
    struct ipc_msg m = {.type = IPC_LINK};
    memcpy(m.u.link.target, t->cfg.name, sizeof m.u.link.target);
    m.u.link.state = t->state;
    m.u.link.rtt_us = t->rtt_us;
    up_sock_send(t->up->sock, &m);
}

/* A quarter more or less is news; the jitter below it is not. */
static bool is_news(uint32_t old, uint32_t now)
{
    uint32_t diff = now > old ? now - old : old - now;
    return diff > old / 4;
}

void up_target_is_up(struct up_target *t, int64_t rtt_us)
{
    uint32_t rtt = rtt_us > UINT32_MAX ? UINT32_MAX : (uint32_t)rtt_us;
    bool news = t->state != IPC_LINK_UP || (rtt != 0 && is_news(t->rtt_us, rtt));
    t->state = IPC_LINK_UP;
    t->backoff_ms = 0;
    if (!t->cfg.preconnect)
        net_timer_clear(t->timer);
    if (!news)
        return;
    if (rtt != 0)
        t->rtt_us = rtt;
    tell(t);
}

void up_target_failed(struct up_target *t)
{
    bool news = t->state != IPC_LINK_DOWN;
    t->state = IPC_LINK_DOWN;
    t->rtt_us = 0;
    /* The router may keep off a link that is down, and then nothing would ever find out better. */
    if (!t->cfg.preconnect)
        net_timer_set(t->timer, t->up->cfg.link_retry_ms * 1000);
    if (news)
        tell(t);
}

static void pre_ready(struct net_h2c_stream *s, void *arg)
{
    up_target_is_up(arg, net_h2c_rtt_us(s));
}

static void pre_status(struct net_h2c_stream *s, int status, void *arg)
{
    (void)s, (void)status, (void)arg;
}

static void pre_data(struct net_h2c_stream *s, const uint8_t *p, size_t len, void *arg)
{
    (void)s, (void)p, (void)len, (void)arg;
}

static void pre_again(struct up_target *t, bool failed)
{
    int64_t after_ms = t->up->cfg.idle_close_ms / 2; /* before the idle connection is closed */
    if (failed) {
        t->backoff_ms = t->backoff_ms == 0 ? BACKOFF_MIN_MS : t->backoff_ms * 2;
        t->backoff_ms = t->backoff_ms < BACKOFF_MAX_MS ? t->backoff_ms : BACKOFF_MAX_MS;
        after_ms = t->backoff_ms;
    }
    net_timer_set(t->timer, after_ms * 1000);
}

static void pre_close(struct net_h2c_stream *s, const struct base_err *err, void *arg)
{
    struct up_target *t = arg;
    (void)s;
    t->pre = NULL;
    if (err->code != 0) {
        if (t->state != IPC_LINK_DOWN)
            base_log_warn("target", "%s: preconnect: %s", t->cfg.name, err->msg);
        up_target_failed(t);
    }
    pre_again(t, err->code != 0);
}

static const struct net_h2c_cb pre_callbacks = {pre_ready, pre_status, pre_data, pre_close};

static void timer_fire(void *arg)
{
    struct up_target *t = arg;
    struct base_err err = {0};
    if (!t->cfg.preconnect) {
        t->state = IPC_LINK_UNKNOWN;
        tell(t);
        return;
    }
    if (t->pre == NULL &&
        net_h2c_open(&t->pre, t->up->net, &t->net, NULL, &pre_callbacks, t, &err) != 0) {
        base_log_warn("target", "%s: preconnect: %s", t->cfg.name, err.msg);
        pre_again(t, true);
    }
}

int up_targets_init(struct up *u, struct base_err *err)
{
    struct up_target_config cfg[UP_MAX_TARGET];
    int n, e = up_config_targets(&u->cfg, cfg, &n, err);
    for (int i = 0; e == 0 && i < n; i++) {
        struct up_target *t = &u->target[i];
        t->up = u;
        t->cfg = cfg[i];
        t->net = (struct net_h2c_target){
            .url = t->cfg.url,
            .ca_file = t->cfg.ca,
            .cert_file = t->cfg.cert,
            .key_file = t->cfg.key,
            .crl_file = t->cfg.crl[0] != '\0' ? t->cfg.crl : NULL,
            .pin = t->cfg.pin[0] != '\0' ? t->cfg.pin : NULL,
            .connect_deadline_ms = (int)u->cfg.connect_deadline_ms,
            .idle_close_ms = (int)u->cfg.idle_close_ms,
        };
        t->timer = net_timer_new(u->loop, timer_fire, t);
        if (t->timer == NULL)
            e = base_err_set(err, BASE_ENOMEM, "", "out of memory");
        u->n_target = i + 1;
    }
    return e;
}

void up_targets_start(struct up *u)
{
    for (int i = 0; i < u->n_target; i++) {
        if (!u->target[i].cfg.preconnect)
            continue;
        base_log_info("target", "%s: preconnect to %s, as configured", u->target[i].cfg.name,
                      u->target[i].cfg.url);
        net_timer_set(u->target[i].timer, 0);
    }
}

void up_targets_fini(struct up *u)
{
    for (int i = 0; i < u->n_target; i++)
        net_timer_free(u->target[i].timer);
    u->n_target = 0;
}

struct up_target *up_target_find(struct up *u, const char *name)
{
    for (int i = 0; i < u->n_target; i++) {
        if (strcmp(u->target[i].cfg.name, name) == 0)
            return &u->target[i];
    }
    return NULL;
}
