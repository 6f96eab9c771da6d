/* The share of requests that the device finishes, over the last so many, and the thresholds that
 * move so that it comes to what the policy wants (`share`): an integral controller, a step an ended
 * request, within each threshold's limits. Nothing is kept over a restart or a policy with another
 * window. Loop thread. */
#ifndef EDGE_SHARE_H
#define EDGE_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "router/data.h"

struct edge_share {
    uint8_t *last; /* [cap] 1: finished on the device */
    int64_t cap, n, at, n_edge;
    double moved[RT_MAX_MOVE];  /* by the policy's moves */
    char rule[RT_MAX_MOVE][72]; /* whose they are; "": none yet */
};

void edge_share_fini(struct edge_share *s);

/* The share so far; false: fewer than half the window. */
bool edge_share_get(const struct edge_share *s, double *out);
/* Where move i of d stands; false: the rule's own value holds. */
bool edge_share_moved(const struct edge_share *s, const struct rt_share_decl *d, int i,
                      double *out);
/* One more answer. Without memory for the window nothing moves. */
void edge_share_add(struct edge_share *s, const struct rt_share_decl *d, bool on_device);

#endif
