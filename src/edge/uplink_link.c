#include "edge/uplink_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "edge/launcher.h"

enum {
    READ_BYTES = 64 << 10,
    SENT_SLACK_BYTES = 1 << 20,
    MAX_TARGET = IPC_MAX_CLASS,
    STARTING_US = 3000000,
    END_RESERVE_BYTES = 256 << 10, /* an END and a CANCEL of every request that can be open */
};

struct edge_uplink {
    struct net_loop *loop;
    int launcher_fd;
    struct net_watch *launcher_watch;

    int fd; /* -1: no uplink at present */
    struct net_watch *watch;
    struct ipc_decoder *in;
    struct base_buf out; /* queued messages; [0, sent) are written */
    size_t sent;
    bool ready, was_ready;
    int64_t start_us;

    char target[MAX_TARGET][IPC_MAX_TEXT + 1];
    struct rt_target_link link[MAX_TARGET];
    int n_target;

    uint32_t next_id;
    struct edge_up_req *head;
    uint64_t out_bytes;
    uint8_t buf[READ_BYTES];
};

/* Ends one request: counts what left of it, then its last callback, if somebody still listens. */
static void req_closed(struct edge_uplink *u, struct edge_up_req *q, int code, uint64_t out_bytes)
{
    /* More than it was given it cannot have sent. */
    uint64_t out = out_bytes < q->released_bytes ? out_bytes : q->released_bytes;
    u->out_bytes += out;
    if (q->out_bytes != NULL)
        *q->out_bytes -= q->released_bytes - out;
    for (struct edge_up_req **at = &u->head; *at != NULL; at = &(*at)->next) {
        if (*at == q) {
            *at = q->next;
            break;
        }
    }
    const struct edge_up_cb *cb = q->cb;
    void *arg = q->arg;
    free(q);
    if (cb != NULL)
        cb->on_closed(arg, code);
}

static void link_lost(struct edge_uplink *u, const char *why)
{
    if (u->fd < 0)
        return;
    base_log_warn("uplink", "the uplink is gone: %s", why);
    net_watch_free(u->watch);
    close(u->fd);
    ipc_decoder_free(u->in);
    u->watch = NULL;
    u->in = NULL;
    u->fd = -1;
    u->ready = false;
    u->n_target = 0;
    base_buf_reset(&u->out);
    u->sent = 0;
    while (u->head != NULL)
        req_closed(u, u->head, BASE_ECLOSED, u->head->released_bytes);
}

static struct edge_up_req *req_find(struct edge_uplink *u, uint32_t id)
{
    struct edge_up_req *q = u->head;
    while (q != NULL && q->id != id)
        q = q->next;
    return q;
}

static void link_update(struct edge_uplink *u, const struct ipc_msg *m)
{
    static const char *const name[] = {"unknown", "up", "down"};
    for (int i = 0; i < u->n_target; i++) {
        if (strcmp(u->target[i], m->u.link.target) != 0)
            continue;
        int s = (int)m->u.link.state;
        const char *word = s >= 0 && s <= IPC_LINK_DOWN ? name[s] : name[0];
        *rt_link(&u->link[i], RT_F_LINK_STATE) = (struct rt_value){.have = true, .s = word};
        *rt_link(&u->link[i], RT_F_LINK_RTT_MS) =
            (struct rt_value){.have = m->u.link.rtt_us > 0, .r = m->u.link.rtt_us / 1000.0};
        base_log_info("uplink", "target=%s link=%s rtt_us=%u", u->target[i], word,
                      (unsigned)m->u.link.rtt_us);
    }
}

static void targets_read(struct edge_uplink *u, const struct ipc_msg *m)
{
    u->n_target = 0;
    for (int i = 0; i < m->u.ready.n_target && i < MAX_TARGET; i++) {
        memcpy(u->target[i], m->u.ready.targets[i], sizeof u->target[i]);
        u->link[i] = (struct rt_target_link){.target = u->target[i]};
        *rt_link(&u->link[i], RT_F_LINK_STATE) = (struct rt_value){.have = true, .s = "unknown"};
        u->n_target++;
    }
    u->ready = u->was_ready = true;
    base_log_info("uplink", "ready targets=%d", u->n_target);
}

/* false: the message has no business here. */
static bool message_take(struct edge_uplink *u, const struct ipc_msg *m)
{
    struct edge_up_req *q;
    switch (m->type) {
    case IPC_READY:
        targets_read(u, m);
        return true;
    case IPC_LINK:
        link_update(u, m);
        return true;
    case IPC_HEAD:
        q = req_find(u, m->id);
        if (q != NULL && q->cb != NULL)
            q->cb->on_head(q->arg, m->u.head.status);
        return true;
    case IPC_DATA:
        q = req_find(u, m->id);
        if (q != NULL && q->cb != NULL)
            q->cb->on_data(q->arg, m->u.data.p, m->u.data.len);
        return true;
    case IPC_CLOSED:
        q = req_find(u, m->id);
        if (q != NULL)
            req_closed(u, q, m->u.closed.code, m->u.closed.bytes_out);
        return true;
    case IPC_RELEASE:
    case IPC_END:
    case IPC_CANCEL:
        break;
    }
    return false;
}

static void messages_read(struct edge_uplink *u)
{
    struct ipc_msg m;
    struct base_err err = {0};
    int rc = 0;
    /* A callback may end in link_lost. */
    while (u->fd >= 0 && (rc = ipc_decoder_next(u->in, &m, &err)) == 1) {
        if (!message_take(u, &m)) {
            link_lost(u, "it sent a message of the wrong direction");
            return;
        }
    }
    if (u->fd >= 0 && rc < 0)
        link_lost(u, err.msg);
}

static void out_write(struct edge_uplink *u)
{
    while (u->sent < u->out.len) {
        ssize_t n =
            send(u->fd, u->out.data + u->sent, u->out.len - u->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            /* What it has still said is read first: the reader sees the end. */
            net_watch_want(u->watch, NET_READ);
            return;
        }
        u->sent += (size_t)n;
    }
    if (u->sent == u->out.len) {
        base_buf_reset(&u->out);
        u->sent = 0;
    } else if (u->sent > SENT_SLACK_BYTES) {
        base_buf_consume(&u->out, u->sent);
        u->sent = 0;
    }
    net_watch_want(u->watch, u->out.len > 0 ? NET_READ | NET_WRITE : NET_READ);
}

static void on_socket(int fd, int what, void *arg)
{
    struct edge_uplink *u = arg;
    if ((what & NET_WRITE) != 0)
        out_write(u);
    if ((what & NET_READ) == 0 || u->fd != fd)
        return;
    ssize_t n = recv(fd, u->buf, sizeof u->buf, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        link_lost(u, n == 0 ? "it closed its socket" : strerror(errno));
        return;
    }
    int rc = ipc_decoder_feed(u->in, u->buf, (size_t)n);
    if (rc != 0)
        link_lost(u, base_code_str(rc));
    else
        messages_read(u);
}

static void on_launcher(int fd, int what, void *arg)
{
    struct edge_uplink *u = arg;
    (void)what;
    int sock = -1;
    int rc = edge_launcher_take(fd, &sock);
    if (rc == BASE_EBUSY)
        return;
    if (rc != 0) {
        base_log_error("uplink", "the launcher is gone: nothing can leave until a restart");
        net_watch_want(u->launcher_watch, 0);
        return;
    }
    link_lost(u, "another one takes its place");
    u->in = ipc_decoder_new();
    u->watch = net_watch_new(u->loop, sock, on_socket, u);
    if (u->in == NULL || u->watch == NULL) {
        base_log_error("uplink", "out of memory");
        ipc_decoder_free(u->in);
        net_watch_free(u->watch);
        u->in = NULL;
        u->watch = NULL;
        close(sock);
        return;
    }
    u->fd = sock;
    net_watch_want(u->watch, NET_READ);
}

int edge_uplink_new(struct edge_uplink **out, struct net_loop *l, int launcher_fd,
                    size_t max_queue_bytes, struct base_err *err)
{
    struct edge_uplink *u = calloc(1, sizeof *u);
    if (u == NULL)
        return base_err_set(err, BASE_ENOMEM, "uplink", "out of memory");
    u->loop = l;
    u->fd = -1;
    u->launcher_fd = launcher_fd;
    u->next_id = 1;
    u->start_us = base_clock_mono_us();
    base_buf_init(&u->out, max_queue_bytes + END_RESERVE_BYTES);
    u->launcher_watch = net_watch_new(l, launcher_fd, on_launcher, u);
    if (u->launcher_watch == NULL) {
        edge_uplink_free(u);
        return base_err_set(err, BASE_ENOMEM, "uplink", "out of memory");
    }
    net_watch_want(u->launcher_watch, NET_READ);
    *out = u;
    return 0;
}

void edge_uplink_free(struct edge_uplink *u)
{
    if (u == NULL)
        return;
    while (u->head != NULL) {
        struct edge_up_req *q = u->head;
        u->head = q->next;
        free(q);
    }
    net_watch_free(u->launcher_watch);
    net_watch_free(u->watch);
    if (u->fd >= 0)
        close(u->fd);
    ipc_decoder_free(u->in);
    base_buf_fini(&u->out);
    free(u);
}

bool edge_uplink_ready(const struct edge_uplink *u)
{
    return u != NULL && u->ready;
}

bool edge_uplink_starting(const struct edge_uplink *u)
{
    return u != NULL && !u->was_ready && base_clock_mono_us() - u->start_us < STARTING_US;
}

bool edge_uplink_has_target(const struct edge_uplink *u, const char *target)
{
    for (int i = 0; u != NULL && target != NULL && i < u->n_target; i++) {
        if (strcmp(u->target[i], target) == 0)
            return true;
    }
    return false;
}

const struct rt_target_link *edge_uplink_links(const struct edge_uplink *u, int *n)
{
    *n = u != NULL ? u->n_target : 0;
    return u != NULL ? u->link : NULL;
}

uint64_t edge_uplink_out_bytes(const struct edge_uplink *u)
{
    return u != NULL ? u->out_bytes : 0;
}

void edge_uplink_forget(struct edge_uplink *u, const uint64_t *out_bytes)
{
    for (struct edge_up_req *q = u != NULL ? u->head : NULL; q != NULL; q = q->next) {
        if (q->out_bytes == out_bytes)
            q->out_bytes = NULL;
    }
}

struct edge_up_req *edge_uplink_attach(struct edge_uplink *u, const struct edge_up_cb *cb,
                                       void *arg)
{
    struct edge_up_req *q = calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    *q = (struct edge_up_req){.u = u, .id = u->next_id++, .cb = cb, .arg = arg, .next = u->head};
    if (u->next_id == 0)
        u->next_id = 1;
    u->head = q;
    return q;
}

void edge_uplink_drop(struct edge_up_req *q)
{
    q->cb = NULL;
    req_closed(q->u, q, 0, 0);
}

int edge_uplink_queue(struct edge_uplink *u, const void *p, size_t len, bool is_end)
{
    size_t most = u->out.max_bytes - (is_end ? 0 : END_RESERVE_BYTES);
    if (u->fd < 0)
        return BASE_ECLOSED;
    if (u->out.len > most || len > most - u->out.len)
        return BASE_ELIMIT; /* before appending: half a message would poison the stream */
    int rc = base_buf_add(&u->out, p, len);
    if (rc != 0) {
        u->out.err = 0;
        return rc;
    }
    out_write(u);
    return 0;
}
