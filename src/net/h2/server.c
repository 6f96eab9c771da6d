#include "net/h2/server_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/listener.h>

#include "base/log.h"
#include "net/h2/tls.h"

enum { LISTEN_BACKLOG = 128, ACCEPT_AGAIN_US = 100000 };

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
                      void *arg)
{
    struct net_h2s *srv = arg;
    int one = 1;

    (void)l;
    (void)sa;
    (void)len;
    if (srv->n_conn >= srv->opt.max_conn) {
        base_log_warn("h2", "connection refused: too many n_conn=%d", srv->n_conn);
        close((int)fd);
        return;
    }
    if (setsockopt((int)fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
        base_log_debug("h2", "TCP_NODELAY refused");
    h2_conn_accept(srv, (int)fd);
}

static void on_accept_again(void *arg)
{
    struct net_h2s *srv = arg;

    evconnlistener_enable(srv->listener);
}

/* Out of descriptors or memory: the listener stays readable, so going on would spin. */
static void on_accept_error(struct evconnlistener *l, void *arg)
{
    struct net_h2s *srv = arg;

    base_log_warn("h2", "accept failed, trying again soon error=\"%s\"", strerror(errno));
    evconnlistener_disable(l);
    net_timer_set(srv->accept_again, ACCEPT_AGAIN_US);
}

static int open_socket(const struct net_h2s_opt *o, int *port, struct base_err *err)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
    bool v6 = strchr(o->addr, ':') != NULL;
    struct sockaddr *sa = v6 ? (struct sockaddr *)&sin6 : (struct sockaddr *)&sin;
    socklen_t len = v6 ? sizeof(sin6) : sizeof(sin);
    int one = 1, fd, rc;

    if (inet_pton(v6 ? AF_INET6 : AF_INET, o->addr,
                  v6 ? (void *)&sin6.sin6_addr : (void *)&sin.sin_addr) != 1)
        return base_err_set(err, BASE_EINVAL, o->addr, "not a numeric IPv4 or IPv6 address");
    sin.sin_port = sin6.sin6_port = htons((uint16_t)o->port);
    fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return base_err_set(err, BASE_EIO, o->addr, "no socket: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, sa, len) != 0 || getsockname(fd, sa, &len) != 0) {
        rc = base_err_set(err, BASE_EIO, o->addr, "cannot bind port %d: %s", o->port,
                          strerror(errno));
        close(fd);
        return rc;
    }
    *port = ntohs(v6 ? sin6.sin6_port : sin.sin_port);
    return fd;
}

static int start_listening(struct net_h2s *srv, const struct net_h2s_opt *o, struct base_err *err)
{
    int fd = open_socket(o, &srv->port, err);

    if (fd < 0)
        return fd;
    srv->listener =
        evconnlistener_new(net_loop_base(srv->loop), on_accept, srv,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, LISTEN_BACKLOG, fd);
    if (srv->listener == NULL) {
        int rc = base_err_set(err, BASE_EIO, o->addr, "cannot listen: %s", strerror(errno));

        close(fd);
        return rc;
    }
    evconnlistener_set_error_cb(srv->listener, on_accept_error);
    return 0;
}

static int set_options(struct net_h2s *srv)
{
    if (nghttp2_option_new(&srv->option) != 0)
        return BASE_ENOMEM;
    nghttp2_option_set_max_outbound_ack(srv->option, H2_MAX_OUTBOUND_ACK);
    /* Closed streams are kept for the old priority tree, which we do not use. */
    nghttp2_option_set_no_closed_streams(srv->option, 1);
    return h2_stream_callbacks(&srv->callbacks);
}

static bool options_ok(const struct net_h2s_opt *o)
{
    return o->addr != NULL && o->port >= 0 && o->port <= 65535 && o->max_conn > 0 &&
           o->max_stream > 0 && o->max_header_fields > 0 && o->max_header_bytes > 0 &&
           o->header_deadline_ms > 0 && o->idle_deadline_ms > 0 && o->progress_deadline_ms > 0 &&
           o->max_out_bytes > 0;
}

int net_h2s_new(struct net_h2s **out, struct net_loop *l, const struct net_h2s_opt *o,
                const struct net_h2s_cb *cb, void *arg, struct base_err *err)
{
    const struct net_tls_opt tls = {.cert_file = o->cert_file,
                                    .key_file = o->key_file,
                                    .client_ca_file = o->client_ca_file,
                                    .crl_file = o->crl_file};
    struct net_h2s *srv;
    int rc;

    *out = NULL;
    if (!options_ok(o))
        return base_err_set(err, BASE_EINVAL, "h2 server", "an address and every limit is needed");
    srv = calloc(1, sizeof(*srv));
    if (srv == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory for the HTTP/2 server");
    srv->loop = l;
    srv->opt = *o;
    srv->cb = *cb;
    srv->arg = arg;
    srv->accept_again = net_timer_new(l, on_accept_again, srv);
    if (srv->accept_again == NULL || set_options(srv) != 0) {
        rc = base_err_set(err, BASE_ENOMEM, "", "out of memory for the HTTP/2 server");
        goto out;
    }
    rc = net_tls_server_ctx(&srv->ctx, &tls, err);
    if (rc == 0)
        rc = start_listening(srv, o, err);
out:
    if (rc != 0) {
        net_h2s_free(srv);
        return rc;
    }
    *out = srv;
    return 0;
}

void net_h2s_free(struct net_h2s *srv)
{
    if (srv == NULL)
        return;
    if (srv->listener != NULL)
        evconnlistener_free(srv->listener);
    while (srv->conns != NULL)
        h2_conn_kill(srv->conns);
    net_timer_free(srv->accept_again);
    nghttp2_session_callbacks_del(srv->callbacks);
    nghttp2_option_del(srv->option);
    SSL_CTX_free(srv->ctx);
    free(srv);
}

int net_h2s_port(const struct net_h2s *srv)
{
    return srv->port;
}
