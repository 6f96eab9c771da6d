/* Inside the HTTP/2 client: client.c keeps targets and streams and does the work from the loop,
 * client_curl.c is everything that libcurl is told and everything that it calls. */
#ifndef NET_H2_CLIENT_IMPL_H
#define NET_H2_CLIENT_IMPL_H

#include <curl/curl.h>

#include "base/buf.h"
#include "net/h2/client.h"

/* A descriptor that libcurl wants watched. */
struct h2c_watch {
    struct h2c_watch *next;
    struct h2c_link *link;
    struct net_watch *w;
    int fd;
};

/* A target and its one connection. A libcurl multi handle of its own: closing the handle is the way to
 * close an idle connection. */
struct h2c_link {
    struct h2c_link *next;
    struct net_h2c *client;
    char *url, *ca, *cert, *key, *crl, *pin;
    int connect_deadline_ms, idle_close_ms;
    CURLM *multi; /* NULL: no connection */
    struct h2c_watch *watches;
    struct net_h2c_stream *streams;
    struct net_timer *curl_timer, *work_timer, *idle_timer;
    bool working;  /* inside libcurl or h2c_work: calls need not wake it */
    int tls_alert;     /* the last fatal one that the peer sent on a connection; -1: none */
    bool tls_we_alert; /* we sent one: it is we who refused */
};

struct net_h2c {
    struct net_loop *loop;
    struct h2c_link *links;
    int n_link;
};

struct net_h2c_stream {
    struct net_h2c_stream *next;
    struct h2c_link *link;
    CURL *easy;
    struct curl_slist *headers;
    struct net_timer *deadline;
    int64_t deadline_at_us;
    const struct net_h2c_cb *cb;
    void *arg;
    struct base_buf out; /* body bytes; [0, out_pos) went to libcurl */
    size_t out_pos;
    uint64_t bytes_out, bytes_in;
    bool preconnect;
    bool added;       /* to the multi handle */
    bool ended, held; /* as the caller wants it */
    bool sending_paused, receiving_paused; /* as libcurl has it */
    bool end_sent;    /* look once whether the answer had ended before */
    bool ready, have_status;
    bool canceled, closing;
    struct base_err err; /* why we stopped it ourselves; code 0: we did not */
    char curl_error[CURL_ERROR_SIZE];
};

/* client.c: settles everything that is noted; to be called after libcurl was. */
void h2c_work(struct h2c_link *l);

/* client_curl.c */
int h2c_global_init(struct base_err *err) BASE_MUST_CHECK;
CURLM *h2c_multi_new(struct h2c_link *l); /* NULL: memory */
void h2c_timer_fire(void *link);          /* libcurl's timer */
/* Makes s->easy and s->headers. r NULL: a preconnect. BASE_ENOMEM, BASE_EINVAL. */
int h2c_easy_new(struct net_h2c_stream *s, const struct net_h2c_req *r, struct base_err *err)
    BASE_MUST_CHECK;
void h2c_error(struct net_h2c_stream *s, CURLcode code, struct base_err *err); /* what a code means */

#endif
