/* The policy over the API. Who is told everything and may reload or roll back: root and the
 * daemon's own user on the unix socket, who could send it a signal or write its files anyway. Loop
 * thread. */
#ifndef EDGE_POLICY_API_H
#define EDGE_POLICY_API_H

#include "edge/edge.h"

void edge_policy_api_get(struct edge *e, struct net_req *r);    /* GET /v1/policy */
void edge_policy_api_reload(struct edge *e, struct net_req *r); /* POST, and so on */
void edge_policy_api_check(struct edge *e, struct net_req *r);
void edge_policy_api_roll_back(struct edge *e, struct net_req *r);
/* {"consent": NAME, "granted": true|false}: one that the policy in force declares. */
void edge_policy_api_consent(struct edge *e, struct net_req *r);

/* What /readyz tells everybody: state, version, hash, numbers, and how the last load ended, without
 * its reason. A JSON object. Errors: those of buf, BASE_ENOMEM. */
int edge_policy_brief(const struct edge *e, struct base_buf *out) BASE_MUST_CHECK;

#endif
