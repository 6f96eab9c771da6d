/* The gate: the one place where bytes are released to the uplink. It takes the decision again from
 * the policy and the facts, refuses anything that this decision does not name, writes the release
 * record from it, and counts every byte against it. No other file may write to the uplink's socket.
 */
#ifndef EDGE_GATE_H
#define EDGE_GATE_H

#include "edge/request.h"
#include "edge/uplink_link.h"

/* Opens a release for r's present decision. Errors: BASE_EPERM (the policy does not say so: our own
 * bug was caught, logged), BASE_ENOTFOUND (no such target, no uplink), BASE_ELIMIT, BASE_ENOMEM,
 * BASE_ECLOSED. */
int edge_gate_open(struct edge_up_req **out, struct edge_req *r, const struct edge_up_cb *cb,
                   void *arg, struct base_err *err) BASE_MUST_CHECK;

/* Body bytes. BASE_ELIMIT: past the decision's max_bytes, or the queue is full; nothing was taken.
 */
int edge_gate_send(struct edge_up_req *q, struct edge_req *r, const void *p, size_t len,
                   struct base_err *err) BASE_MUST_CHECK;

/* The body is complete. Nothing more may be sent. */
void edge_gate_end(struct edge_up_req *q);

/* Nobody waits for q any more: no callback comes, q must be forgotten. now: the uplink stops the
 * request at once; else it may end by itself. NULL is fine. */
void edge_gate_leave(struct edge_up_req *q, bool now);

#endif
