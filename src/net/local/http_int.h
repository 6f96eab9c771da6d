/* Inside of the local HTTP server: what http.c (listeners), http_conn.c (life of a connection) and
 * http_req.c (a request and its reply) share. */
#ifndef NET_HTTP_INT_H
#define NET_HTTP_INT_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>

#include "net/local/http.h"

enum {
    HTTP_MAX_LISTENERS = 8,
    /* While a handler works nobody reads the connection's bytes: no more than this is kept of what
     * a client sends ahead. */
    HTTP_AHEAD_BYTES = 16384,
    HTTP_LINGER_MS = 1000, /* an error page gets this long to reach a client that still sends */
};

enum conn_state {
    CONN_IDLE,     /* no byte of a request has come: idle deadline */
    CONN_READING,  /* a request is coming in: read deadline */
    CONN_WORKING,  /* the handler has it: no deadline of ours */
    CONN_FLUSHING, /* the reply is complete and on its way: idle deadline */
    CONN_LINGER,   /* an error page of ours is on its way, input is thrown away */
};

/* What a connection has to do as soon as the present callback has returned. */
enum { CONN_START = 1, CONN_LIB_ERROR = 2, CONN_KILL = 4 };

struct conn {
    struct conn *prev, *next;
    struct net_http *http;
    struct bufferevent *bev;         /* owned by evcon */
    struct evhttp_connection *evcon; /* NULL until started */
    struct evbuffer_cb_entry *in_cb, *out_cb;
    struct event *tick; /* runs `todo` before the loop polls again */
    struct net_timer *deadline;
    struct net_req *req; /* the request that the handler has */
    size_t n_consumed;   /* bytes the parser took of the request being read */
    unsigned todo;
    enum conn_state state;
    bool counted; /* in http->n_conn */
    bool is_unix;
    uid_t uid;
};

struct net_req {
    struct conn *conn;
    struct evhttp_request *ev;
    char *path;
    net_req_gone_cb *gone_cb;
    void *gone_arg;
    bool streaming;
};

struct http_listener {
    struct evconnlistener *listener; /* owned by evhttp */
    struct evhttp_bound_socket *bound;
    char *path; /* unix: to unlink; NULL for TCP */
    dev_t dev;
    ino_t ino;
};

struct net_http {
    struct net_http *next;
    struct net_loop *loop;
    struct evhttp *evhttp;
    struct net_http_limits lim;
    net_http_cb *cb;
    void *arg;
    struct conn *conns;
    int n_conn;
    struct evbuffer *scratch;
    struct net_timer *accept_again;
    struct http_listener listener[HTTP_MAX_LISTENERS];
    int n_listener;
};

/* http_conn.c */
struct bufferevent *conn_new(struct event_base *base, void *http);
void conn_free(struct conn *c);
struct conn *conn_find(struct net_http *h, const struct evhttp_connection *evcon);
void conn_set_state(struct conn *c, enum conn_state state);
void conn_working(struct conn *c, struct evhttp_request *ev);
void conn_later(struct conn *c, unsigned todo);

/* http_req.c */
void req_arrived(struct evhttp_request *ev, void *http);
void req_gone(struct net_req *r); /* the connection is closing */
/* Appends the JSON body for an error status. */
void http_error_body(struct evbuffer *out, int status);
const char *http_reason(int status);

#endif
