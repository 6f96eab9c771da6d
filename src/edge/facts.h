/* A request's facts for the router: labels (the caller's declaration within its rights, and what
 * the detectors add), the request's own numbers, the engine's load and the links' states. */
#ifndef EDGE_FACTS_H
#define EDGE_FACTS_H

#include "edge/request.h"

#define EDGE_CLASS_CABIN "cabin" /* what has no label */

/* The data classes of r's whole message list into r->facts. A class that the caller may not declare
 * is an error (403), never a silent change. Errors: BASE_EPERM, BASE_EINVAL, BASE_ENOMEM with *e
 * filled. */
int edge_facts_classes(struct edge_req *r, struct api_error *e) BASE_MUST_CHECK;

/* Everything else, as things are now. The links' states are copied, so that the gate sees the same
 * facts as the decision. Errors: BASE_ENOMEM. */
int edge_facts_gather(struct edge_req *r) BASE_MUST_CHECK;

/* What r's target took, for the predictions of later requests; at r's end. */
void edge_facts_learn(struct edge_req *r);

#endif
