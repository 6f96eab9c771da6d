/* The HTTP/2 client: libcurl multi on the loop, full-duplex streams, one connection a target. HTTP/2
 * over TLS 1.3 is required, the environment's proxies are ignored, and the server is checked against a
 * pinned CA and an optional SPKI pin before any byte of a request goes out, its headers included. One
 * thread, the loop's.
 *
 * The calls only note what is wanted; the work is done from the loop. So a callback never comes from
 * inside a call, and every call but net_h2c_free may be made from inside a callback. */
#ifndef NET_H2_CLIENT_H
#define NET_H2_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/local/loop.h"

enum {
    NET_H2C_MAX_TARGET = 16,
    NET_H2C_MAX_QUEUE = 16 << 20, /* body bytes of a stream that wait for the link */
};

struct net_h2c_target {
    const char *url;  /* "https://host:port", no path */
    const char *ca_file, *cert_file, *key_file, *crl_file; /* PEM; crl_file may be NULL */
    const char *pin;  /* "sha256//base64", or NULL */
    /* Name, TCP and TLS; also how long sent bytes or a probe of a silent line may stay
     * unacknowledged. */
    int connect_deadline_ms;
    int idle_close_ms;/* an unused connection is closed after this */
};

struct net_h2c;
struct net_h2c_stream;

/* BASE_ENOMEM, BASE_EUNSUPPORTED (a libcurl without HTTP/2 or OpenSSL). */
int net_h2c_new(struct net_h2c **out, struct net_loop *l, struct base_err *err) BASE_MUST_CHECK;
void net_h2c_free(struct net_h2c *c); /* cancels all streams without callbacks */

struct net_h2c_cb {
    /* The connection is up, verified and HTTP/2. Only now may a body byte go out; writes before are
     * queued. */
    void (*on_ready)(struct net_h2c_stream *s, void *arg);
    void (*on_status)(struct net_h2c_stream *s, int status, void *arg);
    void (*on_data)(struct net_h2c_stream *s, const uint8_t *p, size_t len, void *arg);
    /* Always the last call, s is gone after it. err->code 0: the response came whole. Codes:
     * BASE_ETIMEOUT, BASE_ECLOSED (no connection, or lost), BASE_ECANCELED (reset by the peer), BASE_EPERM (TLS: certificate, pin, refused
     * by the peer), BASE_EPROTO (not HTTP/2), BASE_ENOMEM, BASE_EINTERNAL. */
    void (*on_close)(struct net_h2c_stream *s, const struct base_err *err, void *arg);
};

struct net_h2c_req {
    const char *path;         /* "/v1/chat/completions" */
    const char *content_type;
    const char *accept;
    const uint8_t *idempotency_key; /* [16], sent as hex in a header, or NULL */
    int64_t deadline_ms;      /* whole exchange */
};

/* Starts POST target.url + path. The strings of t and r are copied. r NULL: a preconnect, which brings
 * the connection up, sends no request, and closes with code 0. cb is borrowed until on_close.
 * BASE_EINVAL (url), BASE_ELIMIT (targets), BASE_ENOMEM. */
int net_h2c_open(struct net_h2c_stream **out, struct net_h2c *c, const struct net_h2c_target *t,
                 const struct net_h2c_req *r, const struct net_h2c_cb *cb, void *arg,
                 struct base_err *err) BASE_MUST_CHECK;
int net_h2c_write(struct net_h2c_stream *s, const void *p, size_t len) BASE_MUST_CHECK; /* ENOMEM, ELIMIT */
void net_h2c_end(struct net_h2c_stream *s);    /* the body is complete */
void net_h2c_hold(struct net_h2c_stream *s, bool on); /* stops on_data, and so the sender */
void net_h2c_cancel(struct net_h2c_stream *s); /* RST_STREAM; s is gone, no callback after this */
uint64_t net_h2c_bytes_out(const struct net_h2c_stream *s); /* body bytes handed to TLS */
uint64_t net_h2c_bytes_in(const struct net_h2c_stream *s);
int64_t net_h2c_rtt_us(const struct net_h2c_stream *s); /* the kernel's, from on_ready on; 0: unknown */

#endif
