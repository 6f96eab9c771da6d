/* The local HTTP/1.1 server (TCP on loopback and unix sockets), on libevent's evhttp, with what it
 * leaves to us: absolute deadlines, connection counts, caps, early disconnects, strict headers, JSON
 * errors. One thread, the loop's. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include <stddef.h>
#include <sys/types.h>

#include "net/local/loop.h"

struct net_http;
struct net_req;

struct net_http_limits {
    int max_conn;            /* connections, all listeners */
    int max_body_bytes;      /* -> 413 */
    int max_header_bytes;    /* -> 431 */
    int read_deadline_ms;    /* from the first byte to the whole request */
    int idle_deadline_ms;    /* keep-alive without a request */
    int max_out_bytes;       /* queued to one slow reader; past it the connection is dropped */
};

/* Called when a whole request has come. The handler (or later code) must end it with exactly one
 * net_req_reply, or net_req_stream … net_req_end. */
typedef void net_http_cb(struct net_req *r, void *arg);

int net_http_new(struct net_http **out, struct net_loop *l, const struct net_http_limits *lim,
                 net_http_cb *cb, void *arg, struct base_err *err) BASE_MUST_CHECK;
void net_http_free(struct net_http *h);
/* addr "127.0.0.1" or "::1" (others are refused: BASE_EPERM); port 0 picks one, see *bound_port. */
int net_http_listen_tcp(struct net_http *h, const char *addr, int port, int *bound_port,
                        struct base_err *err) BASE_MUST_CHECK;
/* Unlinks a stale socket first; refuses a path that is something else. mode e.g. 0660. */
int net_http_listen_unix(struct net_http *h, const char *path, mode_t mode, struct base_err *err)
    BASE_MUST_CHECK;

/* The request; strings and body live until it ends. */
const char *net_req_method(const struct net_req *r);
const char *net_req_path(const struct net_req *r);               /* without the query */
const char *net_req_header(const struct net_req *r, const char *name); /* NULL: absent */
const char *net_req_body(const struct net_req *r, size_t *len);
bool net_req_is_unix(const struct net_req *r);
uid_t net_req_peer_uid(const struct net_req *r); /* unix: SO_PEERCRED; TCP: (uid_t)-1 */

/* on_gone is called at most once, when the client disconnects before the reply is complete; after it
 * r is gone. */
typedef void net_req_gone_cb(struct net_req *r, void *arg);
void net_req_on_gone(struct net_req *r, net_req_gone_cb *cb, void *arg);

void net_req_add_header(struct net_req *r, const char *name, const char *value); /* before a reply */
void net_req_reply(struct net_req *r, int status, const char *content_type, const void *body,
                   size_t len); /* ends r */
void net_req_stream(struct net_req *r, int status, const char *content_type);
/* BASE_ECLOSED: the client is gone or too slow (on_gone has been or will be called). */
int net_req_write(struct net_req *r, const void *p, size_t len);
void net_req_end(struct net_req *r); /* ends a stream and r */

/* Stops listening; open requests go on. */
void net_http_stop_accepting(struct net_http *h);

#endif
