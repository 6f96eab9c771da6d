/* The edge's end of the socketpair to the uplink: reads its messages, keeps the links' states,
 * hands each request's messages to its executor. It writes only what the gate has queued. Loop
 * thread.
 *
 * The launcher starts (and restarts) the uplink and hands over a fresh socket each time. */
#ifndef EDGE_UPLINK_LINK_H
#define EDGE_UPLINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/local/loop.h"
#include "router/facts.h"
#include "wire/ipc.h"

struct edge_uplink;

struct edge_up_cb {
    void (*on_head)(void *arg, int status);
    void (*on_data)(void *arg, const uint8_t *p, size_t len);
    void (*on_closed)(void *arg, int code); /* the last call; code 0: the response came whole */
};

/* One escalation. Made and driven by gate.c; freed when the uplink has closed it. */
struct edge_up_req {
    struct edge_uplink *u;
    uint32_t id;
    const struct edge_up_cb *cb; /* NULL: nobody listens any more */
    void *arg;
    uint64_t released_bytes, max_bytes;
    uint64_t
        *out_bytes; /* a count from which released bytes that did not leave are taken, or NULL */
    bool body_ended;
    struct edge_up_req *next;
};

/* launcher_fd: where sockets come from; borrowed. */
int edge_uplink_new(struct edge_uplink **out, struct net_loop *l, int launcher_fd,
                    size_t max_queue_bytes, struct base_err *err) BASE_MUST_CHECK;
void edge_uplink_free(struct edge_uplink *u); /* NULL is fine; no callbacks */

/* It has read its configuration and said so. u may be NULL. */
bool edge_uplink_ready(const struct edge_uplink *u);
/* Not ready yet, but only just started: whoever waits for the daemon may wait a little longer. */
bool edge_uplink_starting(const struct edge_uplink *u);
/* Whether the uplink has such a target. */
bool edge_uplink_has_target(const struct edge_uplink *u, const char *target);
/* The links' states for the router: [*n], valid until the loop turns. u may be NULL. */
const struct rt_target_link *edge_uplink_links(const struct edge_uplink *u, int *n);

/* Body bytes that left the car, of all escalations that have ended, as the uplink said; where it
 * died without a word, all that it was given. u may be NULL. */
uint64_t edge_uplink_out_bytes(const struct edge_uplink *u);
/* The owner of this count goes away. u may be NULL. */
void edge_uplink_forget(struct edge_uplink *u, const uint64_t *out_bytes);

/* For gate.c: a new request with a fresh id. NULL: out of memory. */
struct edge_up_req *edge_uplink_attach(struct edge_uplink *u, const struct edge_up_cb *cb,
                                       void *arg);
/* For gate.c: gives up a request of which nothing was queued. */
void edge_uplink_drop(struct edge_up_req *q);
/* For gate.c: whole encoded messages. is_end: one that ends a request; for those there is always
 * room left, or the bytes before them would leave for nobody. Errors: BASE_ELIMIT (queue),
 * BASE_ENOMEM, BASE_ECLOSED. */
int edge_uplink_queue(struct edge_uplink *u, const void *p, size_t len,
                      bool is_end) BASE_MUST_CHECK;

#endif
