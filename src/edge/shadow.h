/* Shadow mode: a second policy decides beside the first from the same facts. What it would have
 * done is counted and logged, and never acted upon. Loop thread. */
#ifndef EDGE_SHADOW_H
#define EDGE_SHADOW_H

#include <jansson.h>

#include "edge/request.h"

/* After r's own decision. Does nothing without a shadow. */
void edge_shadow_decide(struct edge_req *r);
/* Route, target, what is sent and how, or the fallback is another. */
bool edge_shadow_differs(const struct edge_req *r);
/* Into e->metrics, once at the request's end. */
void edge_shadow_count(const struct edge_req *r);
/* For the decision log; NULL: no shadow, no decision or no memory. */
json_t *edge_shadow_json(const struct edge_req *r);

#endif
