/* The HTTP/2 server: nghttp2 over TLS 1.3 with client certificates. What nghttp2 leaves to the
 * application is done here: output before input, token buckets, reset counting, header caps, deadlines,
 * queue caps. One thread, the loop's. */
#ifndef NET_H2_SERVER_H
#define NET_H2_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "net/local/loop.h"

struct net_h2s_opt {
    const char *addr;  /* "127.0.0.1" */
    int port;          /* 0: pick one */
    const char *cert_file, *key_file; /* PEM; the key must be 0600 or stricter */
    const char *client_ca_file;       /* who may connect */
    const char *crl_file;             /* or NULL */
    int max_conn, max_stream;         /* streams a connection */
    int max_header_fields, max_header_bytes;
    int header_deadline_ms, idle_deadline_ms;
    int progress_deadline_ms;         /* a blocked peer (zero window) is dropped after this */
    size_t max_out_bytes;             /* queued a stream; net_h2s_write then says BASE_EBUSY */
};

struct net_h2s;
struct net_h2_stream;

struct net_h2s_cb {
    /* Headers are complete: accept by returning 0, or answer at once. */
    void (*on_request)(struct net_h2_stream *s, void *arg);
    void (*on_data)(struct net_h2_stream *s, const uint8_t *p, size_t len, void *arg);
    void (*on_end)(struct net_h2_stream *s, void *arg);  /* request body complete */
    void (*on_writable)(struct net_h2_stream *s, void *arg); /* the out queue has drained */
    /* Always the last call: the stream is gone (finished, reset, connection lost). code: HTTP/2 error
     * code, 0 for a clean end. */
    void (*on_close)(struct net_h2_stream *s, uint32_t code, void *arg);
};

int net_h2s_new(struct net_h2s **out, struct net_loop *l, const struct net_h2s_opt *o,
                const struct net_h2s_cb *cb, void *arg, struct base_err *err) BASE_MUST_CHECK;
void net_h2s_free(struct net_h2s *s);
int net_h2s_port(const struct net_h2s *s);

const char *net_h2_method(const struct net_h2_stream *s);
const char *net_h2_path(const struct net_h2_stream *s);
const char *net_h2_header(const struct net_h2_stream *s, const char *name); /* lower case; NULL */
const char *net_h2_peer_name(const struct net_h2_stream *s); /* certificate's common name */
void net_h2_set_data(struct net_h2_stream *s, void *data);
void *net_h2_data(const struct net_h2_stream *s);

struct net_h2_header {
    const char *name, *value;
};
/* None of the four calls below calls back: on_close and on_writable come later, from the loop, so a
 * caller may go on using what belongs to the stream. */
/* Response headers; content-length is never sent for streams. */
int net_h2_respond(struct net_h2_stream *s, int status, const struct net_h2_header *h, int n_h)
    BASE_MUST_CHECK;
/* BASE_EBUSY: over max_out_bytes, nothing was taken; BASE_ECLOSED. */
int net_h2_write(struct net_h2_stream *s, const void *p, size_t len) BASE_MUST_CHECK;
void net_h2_end(struct net_h2_stream *s);                    /* END_STREAM after what is queued */
void net_h2_reset(struct net_h2_stream *s, uint32_t code);   /* RST_STREAM */

#endif
