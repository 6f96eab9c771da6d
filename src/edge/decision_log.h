/* The decision log: one JSON line for each ended request, with the facts, the decision and the
 * outcome, from which a policy can be replayed. Never content: strings that a client chose freely
 * are left out. Size-capped with rotation. Loop thread. */
#ifndef EDGE_DECISION_LOG_H
#define EDGE_DECISION_LOG_H

#include "edge/request.h"

struct edge_dlog;
/* Opens or creates path (0600). Errors: BASE_EIO, BASE_ENOMEM. */
int edge_dlog_open(struct edge_dlog **out, const char *path, int64_t max_bytes, int keep,
                   struct base_err *err) BASE_MUST_CHECK;
void edge_dlog_close(struct edge_dlog *d); /* NULL is fine */

/* One line. A failure is logged and no reason to fail a request. d may be NULL. */
void edge_dlog_write(struct edge_dlog *d, const struct edge_req *r, enum edge_result result,
                     int http_status);

#endif
