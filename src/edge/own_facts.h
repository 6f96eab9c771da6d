/* Facts that the policy declares itself: signals, budgets, consents, moved thresholds; and quotas
 * of callers. Their state is in edge/usage.h, edge/signals.h, edge/share.h. Loop thread. */
#ifndef EDGE_OWN_FACTS_H
#define EDGE_OWN_FACTS_H

#include "edge/request.h"

/* Into r->facts, for r's policy and its shadow. Errors: BASE_ENOMEM. */
int edge_own_facts(struct edge_req *r) BASE_MUST_CHECK;

/* r has ended: what it used is counted, by what the uplink said has left. */
void edge_own_count(struct edge_req *r);

#endif
