/* Inside of the HTTP/2 server: what server.c (listener), server_conn.c (TLS connection, pump,
 * deadlines) and server_stream.c (nghttp2's callbacks, streams) share. */
#ifndef NET_H2_SERVER_INT_H
#define NET_H2_SERVER_INT_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>

#include "base/arena.h"
#include "base/buf.h"
#include "net/h2/server.h"

enum {
    H2_OUT_HIGH_BYTES = 65536, /* TLS output past which nothing is read or framed */
    H2_OUT_LOW_BYTES = 16384,  /* and below which it goes on */
    H2_SLICE_BYTES = 16384,    /* input given to nghttp2 before output is flushed */
    H2_STREAM_WINDOW_BYTES = 262144,
    H2_CONN_WINDOW_BYTES = 1048576,
    H2_MAX_OUTBOUND_ACK = 128, /* SETTINGS and PING acknowledgements that wait */
    H2_MAX_OUTBOUND_FRAMES = 1024,
    H2_BOMB_FACTOR = 8,           /* headers this many times over the limit end the connection */
    H2_MIN_PROGRESS_BYTES = 1024, /* less than this in a progress deadline is a stall */
    H2_CLOSING_MS = 500,          /* for GOAWAY to arrive */
};

/* What a peer may do often, but not without end. See bucket_limits. */
enum h2_bucket_kind {
    H2_BUCKET_CONTROL, /* PING, SETTINGS, PRIORITY, GOAWAY, unknown frames */
    H2_BUCKET_WINDOW,  /* WINDOW_UPDATE */
    H2_BUCKET_EMPTY,   /* DATA without a byte */
    H2_BUCKET_CONTINUATION,
    H2_BUCKET_RESET_IN,  /* RST_STREAM from the peer: rapid reset */
    H2_BUCKET_RESET_OUT, /* RST_STREAM that the peer made us send: MadeYouReset */
    H2_N_BUCKET
};

struct h2_bucket {
    int64_t level_u; /* millionths of a token */
    int64_t at_us;
};

enum h2_conn_state { H2_HANDSHAKE, H2_OPEN, H2_CLOSING };

struct h2_conn {
    struct h2_conn *prev, *next;
    struct net_h2s *srv;
    struct bufferevent *bev;
    SSL *ssl; /* owned by bev */
    nghttp2_session *session;
    struct event *wake;      /* pump (or end) before the loop polls again */
    struct net_timer *timer; /* checks the deadlines */
    struct net_h2_stream *streams;
    int n_stream;
    enum h2_conn_state state;
    bool in_session;    /* nghttp2 is on the stack: submit only, do not pump */
    bool shut;          /* our side of the closing connection is closed */
    bool broken;        /* the session must not be used, nor freed */
    uint32_t fail_code; /* set: end with GOAWAY and this code */
    const char *fail_why;
    int64_t header_since_us; /* handshake, or a header block that is not whole; 0: none */
    int64_t active_us;       /* last time that a request byte came or a response byte went */
    int64_t out_moved_us;    /* last time that TLS output moved or began to wait */
    struct h2_bucket bucket[H2_N_BUCKET];
    char peer_name[64];
};

struct net_h2_stream {
    struct net_h2_stream *prev, *next;
    struct h2_conn *conn;
    int32_t id;
    void *data;
    struct base_arena arena; /* header strings */
    struct net_h2_header *header;
    int n_header, cap_header;
    size_t header_bytes;
    const char *method, *path;
    struct base_buf out; /* response bytes that no frame has taken */
    size_t out_pos;
    size_t moved_bytes; /* taken since moved_us */
    int64_t moved_us;   /* last real progress of out */
    int64_t active_us;
    int64_t answered_us; /* when END_STREAM went; 0: not yet */
    bool too_big; /* headers over the limit: 431, the application never sees it */
    bool told;    /* on_request was called, so on_close must be */
    bool responded, ended, reset;
    bool request_ended;
    bool deferred; /* nghttp2 waits for bytes in out */
    bool want_writable;
    bool wake_writable;
};

struct net_h2s {
    struct net_loop *loop;
    struct net_h2s_opt opt; /* strings are not kept */
    struct net_h2s_cb cb;
    void *arg;
    SSL_CTX *ctx;
    struct evconnlistener *listener;
    struct net_timer *accept_again;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct h2_conn *conns;
    int n_conn;
    int port;
};

/* server_conn.c */
void h2_conn_accept(struct net_h2s *srv, int fd); /* takes fd */
void h2_conn_kill(struct h2_conn *c);             /* at once; on_close for every stream */
void h2_conn_wake(struct h2_conn *c);
/* From inside of nghttp2's callbacks; the connection ends when they have returned. */
void h2_conn_fail(struct h2_conn *c, uint32_t code, const char *why);
bool h2_conn_take(struct h2_conn *c,
                  enum h2_bucket_kind kind); /* false: and the connection fails */

/* server_stream.c */
int h2_stream_callbacks(nghttp2_session_callbacks **out);
void h2_stream_close(struct net_h2_stream *s, uint32_t code); /* on_close, and frees */
void h2_streams_writable(struct h2_conn *c);
void h2_streams_check(struct h2_conn *c, int64_t now_us);

#endif
