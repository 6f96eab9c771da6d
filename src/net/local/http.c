#include "net/local/http_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/listener.h>

#include "base/log.h"

enum { LISTEN_BACKLOG = 128, ACCEPT_AGAIN_US = 100000 };

/* evhttp makes itself the argument of its listeners' callbacks: this is the way back to ours. */
static _Thread_local struct net_http *servers;

static void set_accepting(struct net_http *h, bool on)
{
    for (int i = 0; i < h->n_listener; i++) {
        if (on)
            evconnlistener_enable(h->listener[i].listener);
        else
            evconnlistener_disable(h->listener[i].listener);
    }
}

static void on_accept_again(void *arg)
{
    set_accepting(arg, true);
}

/* Out of descriptors or memory: the listener stays readable, so going on would spin. */
static void on_accept_error(struct evconnlistener *l, void *evhttp)
{
    struct net_http *h = servers;

    (void)l;
    base_log_warn("http", "accept failed, trying again soon error=\"%s\"", strerror(errno));
    while (h != NULL && h->evhttp != evhttp)
        h = h->next;
    if (h == NULL)
        return;
    set_accepting(h, false);
    net_timer_set(h->accept_again, ACCEPT_AGAIN_US);
}

int net_http_new(struct net_http **out, struct net_loop *l, const struct net_http_limits *lim,
                 net_http_cb *cb, void *arg, struct base_err *err)
{
    struct net_http *h;

    *out = NULL;
    if (lim->max_conn < 1 || lim->max_body_bytes < 0 || lim->max_header_bytes < 64 ||
        lim->read_deadline_ms < 1 || lim->idle_deadline_ms < 1 || lim->max_out_bytes < 1)
        return base_err_set(err, BASE_EINVAL, "http limits", "every limit must be positive");
    h = calloc(1, sizeof(*h));
    if (h == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory for the HTTP server");
    h->loop = l;
    h->lim = *lim;
    h->cb = cb;
    h->arg = arg;
    h->evhttp = evhttp_new(net_loop_base(l));
    h->scratch = evbuffer_new();
    h->accept_again = net_timer_new(l, on_accept_again, h);
    if (h->evhttp == NULL || h->scratch == NULL || h->accept_again == NULL) {
        net_http_free(h);
        return base_err_set(err, BASE_ENOMEM, "", "out of memory for the HTTP server");
    }
    evhttp_set_max_headers_size(h->evhttp, lim->max_header_bytes);
    evhttp_set_max_body_size(h->evhttp, lim->max_body_bytes);
    evhttp_set_default_content_type(h->evhttp, NULL);
    /* Not CONNECT and TRACE, and nothing that evhttp does not know: 501. */
    evhttp_set_allowed_methods(h->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                              EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                              EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_gencb(h->evhttp, req_arrived, h);
    evhttp_set_bevcb(h->evhttp, conn_new, h);
    /* For a connection that conn_new had no memory to watch; conn_start takes it off again. */
    evhttp_set_timeout_tv(h->evhttp, &(struct timeval){.tv_sec = lim->idle_deadline_ms / 1000 + 1});
    h->next = servers;
    servers = h;
    *out = h;
    return 0;
}

/* Takes fd over, also on failure. */
static int listen_on(struct net_http *h, int fd, const char *place, struct base_err *err)
{
    struct http_listener *hl;
    struct evconnlistener *l;

    if (h->n_listener == HTTP_MAX_LISTENERS) {
        close(fd);
        return base_err_set(err, BASE_ELIMIT, place, "more than %d listeners", HTTP_MAX_LISTENERS);
    }
    l = evconnlistener_new(net_loop_base(h->loop), NULL, h,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, LISTEN_BACKLOG, fd);
    if (l == NULL) {
        int rc = base_err_set(err, BASE_EIO, place, "cannot listen: %s", strerror(errno));

        close(fd);
        return rc;
    }
    hl = &h->listener[h->n_listener];
    *hl = (struct http_listener){.listener = l};
    hl->bound = evhttp_bind_listener(h->evhttp, l);
    if (hl->bound == NULL) {
        evconnlistener_free(l);
        return base_err_set(err, BASE_ENOMEM, place, "out of memory for a listener");
    }
    evconnlistener_set_error_cb(l, on_accept_error);
    h->n_listener++;
    return 0;
}

int net_http_listen_tcp(struct net_http *h, const char *addr, int port, int *bound_port,
                        struct base_err *err)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    bool v6 = strcmp(addr, "::1") == 0;
    struct sockaddr *sa = v6 ? (struct sockaddr *)&sin6 : (struct sockaddr *)&sin;
    socklen_t len = v6 ? sizeof(sin6) : sizeof(sin);
    int one = 1, fd, rc;

    if (!v6 && strcmp(addr, "127.0.0.1") != 0)
        return base_err_set(err, BASE_EPERM, addr,
                            "the local API listens on 127.0.0.1 and ::1 only");
    if (port < 0 || port > 65535)
        return base_err_set(err, BASE_EINVAL, addr, "port %d is not in 0..65535", port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = sin6.sin6_port = htons((uint16_t)port);
    fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return base_err_set(err, BASE_EIO, addr, "no socket: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, sa, len) != 0 || getsockname(fd, sa, &len) != 0) {
        rc = base_err_set(err, BASE_EIO, addr, "cannot bind port %d: %s", port, strerror(errno));
        close(fd);
        return rc;
    }
    rc = listen_on(h, fd, addr, err);
    if (rc == 0 && bound_port != NULL)
        *bound_port = ntohs(v6 ? sin6.sin6_port : sin.sin_port);
    return rc;
}

/* A socket file that nobody listens on is left over from a process that died. */
static int remove_stale(const struct sockaddr_un *sun, struct base_err *err)
{
    struct stat st;
    int fd, rc;

    if (lstat(sun->sun_path, &st) != 0) {
        if (errno == ENOENT)
            return 0;
        return base_err_set(err, BASE_EIO, sun->sun_path, "%s", strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode))
        return base_err_set(err, BASE_EPERM, sun->sun_path, "exists and is not a socket");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return base_err_set(err, BASE_EIO, sun->sun_path, "no socket: %s", strerror(errno));
    rc = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ? 0 : errno;
    close(fd);
    if (rc != ECONNREFUSED)
        return base_err_set(err, BASE_EBUSY, sun->sun_path, "another process listens here");
    if (unlink(sun->sun_path) != 0)
        return base_err_set(err, BASE_EIO, sun->sun_path, "cannot remove the stale socket: %s",
                            strerror(errno));
    return 0;
}

static int bind_unix(int fd, const struct sockaddr_un *sun, mode_t mode, struct base_err *err)
{
    mode_t old = umask(0177); /* nobody else until chmod has set the mode asked for */
    int rc = bind(fd, (const struct sockaddr *)sun, sizeof(*sun));

    umask(old);
    if (rc != 0 || chmod(sun->sun_path, mode) != 0)
        return base_err_set(err, BASE_EIO, sun->sun_path, "cannot bind: %s", strerror(errno));
    return 0;
}

int net_http_listen_unix(struct net_http *h, const char *path, mode_t mode, struct base_err *err)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct stat st;
    struct http_listener *hl;
    char *copy;
    int fd, rc;

    if (*path == '\0') /* the kernel would make up an abstract name */
        return base_err_set(err, BASE_EINVAL, path, "the socket path is empty");
    if (strlen(path) >= sizeof(sun.sun_path))
        return base_err_set(err, BASE_ELIMIT, path, "a socket path has at most %zu bytes",
                            sizeof(sun.sun_path) - 1);
    strcpy(sun.sun_path, path);
    rc = remove_stale(&sun, err);
    if (rc != 0)
        return rc;
    copy = strdup(path);
    if (copy == NULL)
        return base_err_set(err, BASE_ENOMEM, path, "out of memory for a listener");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        free(copy);
        return base_err_set(err, BASE_EIO, path, "no socket: %s", strerror(errno));
    }
    rc = bind_unix(fd, &sun, mode, err);
    if (rc == 0)
        rc = listen_on(h, fd, path, err);
    else
        close(fd);
    if (rc != 0) {
        free(copy);
        return rc;
    }
    hl = &h->listener[h->n_listener - 1];
    hl->path = copy;
    if (stat(path, &st) == 0) {
        hl->dev = st.st_dev;
        hl->ino = st.st_ino;
    }
    return 0;
}

void net_http_stop_accepting(struct net_http *h)
{
    if (h->accept_again != NULL)
        net_timer_clear(h->accept_again);
    while (h->n_listener > 0) {
        struct http_listener *hl = &h->listener[--h->n_listener];
        struct stat st;

        evhttp_del_accept_socket(h->evhttp, hl->bound);
        /* Only our own: a successor may already listen under the same name. */
        if (hl->path != NULL && lstat(hl->path, &st) == 0 && st.st_dev == hl->dev &&
            st.st_ino == hl->ino && unlink(hl->path) != 0)
            base_log_warn("http", "cannot remove socket path=%s error=\"%s\"", hl->path,
                          strerror(errno));
        free(hl->path);
    }
}

void net_http_free(struct net_http *h)
{
    if (h == NULL)
        return;
    for (struct net_http **p = &servers; *p != NULL; p = &(*p)->next) {
        if (*p == h) {
            *p = h->next;
            break;
        }
    }
    if (h->evhttp != NULL) {
        net_http_stop_accepting(h);
        evhttp_free(h->evhttp); /* closes the connections; open requests get on_gone */
    }
    while (h->conns != NULL)
        conn_free(h->conns); /* accepted in this very turn of the loop */
    net_timer_free(h->accept_again);
    if (h->scratch != NULL)
        evbuffer_free(h->scratch);
    free(h);
}
