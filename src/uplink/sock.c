#include "uplink/uplink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

enum {
    READ_BYTES = 64 << 10,
    /* Answers are held back above HIGH and go on below LOW. MAX is out of reach unless the edge
     * reads nothing while requests open and close by the thousand. */
    OUT_HIGH_BYTES = 1 << 20,
    OUT_LOW_BYTES = 256 << 10,
    OUT_MAX_BYTES = 16 << 20,
};

struct up_sock {
    struct up *up;
    int fd;
    struct net_watch *watch;
    struct ipc_decoder *in;
    struct base_buf out; /* [sent, len) waits */
    size_t sent;
    bool holding;
    bool gone;   /* the loop is about to be told; nothing is read any more */
    bool broken; /* nothing can be written any more */
    struct net_timer *gone_timer;
    void (*on_gone)(struct up *u);
    uint8_t buf[READ_BYTES];
};

/* From the loop, never from inside a send: the caller may be in the middle of a request. */
static void gone_fire(void *arg)
{
    struct up_sock *s = arg;
    s->on_gone(s->up);
}

static void lose(struct up_sock *s, enum base_log_level level, const char *why)
{
    if (s->gone)
        return;
    base_log(level, "ipc", "the edge is gone: %s", why);
    s->gone = true;
    net_watch_want(s->watch, 0); /* the last words are flushed by hand */
    net_timer_set(s->gone_timer, 0);
}

static void hold(struct up_sock *s, bool on)
{
    if (s->holding == on)
        return;
    s->holding = on;
    up_req_hold_all(s->up, on);
}

void up_sock_flush(struct up_sock *s)
{
    while (!s->broken && s->sent < s->out.len) {
        ssize_t n =
            send(s->fd, s->out.data + s->sent, s->out.len - s->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            s->broken = true;
            lose(s, BASE_LOG_WARN, strerror(errno));
            return;
        }
        s->sent += (size_t)n;
    }
    if (s->gone)
        return;
    if (s->sent == s->out.len || s->sent > OUT_LOW_BYTES) {
        base_buf_consume(&s->out, s->sent);
        s->sent = 0;
    }
    size_t waiting = s->out.len - s->sent;
    net_watch_want(s->watch, waiting > 0 ? NET_READ | NET_WRITE : NET_READ);
    if (waiting < OUT_LOW_BYTES)
        hold(s, false);
}

void up_sock_send(struct up_sock *s, const struct ipc_msg *m)
{
    if (s->broken)
        return;
    int e = ipc_encode(m, &s->out);
    if (e != 0) {
        s->broken = true;
        lose(s, BASE_LOG_ERROR, base_code_str(e));
        return;
    }
    if (s->out.len - s->sent > OUT_HIGH_BYTES)
        hold(s, true);
    if (!s->gone)
        net_watch_want(s->watch, NET_READ | NET_WRITE);
}

bool up_sock_is_full(const struct up_sock *s)
{
    return s->holding;
}

static bool take(struct up *u, const struct ipc_msg *m)
{
    switch (m->type) {
    case IPC_RELEASE:
        up_req_release(u, m->id, &m->u.release);
        return true;
    case IPC_DATA:
        up_req_data(u, m->id, m->u.data.p, m->u.data.len);
        return true;
    case IPC_END:
        up_req_end(u, m->id);
        return true;
    case IPC_CANCEL:
        up_req_cancel(u, m->id);
        return true;
    case IPC_HEAD:
    case IPC_CLOSED:
    case IPC_LINK:
    case IPC_READY:
        break;
    }
    return false;
}

static void on_socket(int fd, int what, void *arg)
{
    struct up_sock *s = arg;
    struct base_err err = {0};
    if ((what & NET_WRITE) != 0)
        up_sock_flush(s);
    if ((what & NET_READ) == 0 || s->gone)
        return;
    ssize_t n = recv(fd, s->buf, sizeof s->buf, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        lose(s, n == 0 ? BASE_LOG_INFO : BASE_LOG_WARN, n == 0 ? "it closed" : strerror(errno));
        return;
    }
    int e = ipc_decoder_feed(s->in, s->buf, (size_t)n);
    struct ipc_msg *m = malloc(sizeof *m);
    if (m == NULL)
        e = BASE_ENOMEM;
    while (e == 0 && !s->gone && (e = ipc_decoder_next(s->in, m, &err)) == 1)
        e = take(s->up, m)
                ? 0
                : base_err_set(&err, BASE_EPROTO, "", "a message of the wrong direction");
    free(m);
    if (e < 0)
        lose(s, BASE_LOG_ERROR, err.msg[0] != '\0' ? err.msg : base_code_str(e));
}

int up_sock_new(struct up *u, int fd, void (*on_gone)(struct up *u), struct base_err *err)
{
    int type = 0;
    socklen_t len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_STREAM)
        return base_err_set(err, BASE_EINVAL, "--ipc-fd",
                            "descriptor %d is not the edge's socket: %s", fd,
                            "waypost-edge starts this program");
    struct up_sock *s = calloc(1, sizeof *s);
    if (s == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory");
    s->up = u;
    s->fd = fd;
    s->on_gone = on_gone;
    base_buf_init(&s->out, OUT_MAX_BYTES);
    s->in = ipc_decoder_new();
    s->watch = net_watch_new(u->loop, fd, on_socket, s);
    s->gone_timer = net_timer_new(u->loop, gone_fire, s);
    u->sock = s;
    if (s->in == NULL || s->watch == NULL || s->gone_timer == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory");
    net_watch_want(s->watch, NET_READ);
    return 0;
}

void up_sock_free(struct up_sock *s)
{
    if (s == NULL)
        return;
    net_watch_free(s->watch);
    net_timer_free(s->gone_timer);
    ipc_decoder_free(s->in);
    base_buf_fini(&s->out);
    close(s->fd);
    free(s);
}
