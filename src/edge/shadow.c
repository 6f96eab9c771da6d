#include "edge/shadow.h"

#include <string.h>

void edge_shadow_decide(struct edge_req *r)
{
    if (r->shadow != NULL)
        rt_decide(r->shadow->rt, &r->facts, &r->shadow_dec);
}

bool edge_shadow_differs(const struct edge_req *r)
{
    const struct rt_outcome *a = &r->dec.route, *b = &r->shadow_dec.route;
    const bool leaves = a->mode == RT_PROMPT || a->mode == RT_HIDDEN;
    if (a->mode != b->mode)
        return true;
    if (!leaves)
        return false;
    return strcmp(a->target, b->target) != 0 || a->layer != b->layer || a->tail != b->tail ||
           a->dtype != b->dtype || a->max_bytes != b->max_bytes ||
           r->dec.fallback.mode != r->shadow_dec.fallback.mode;
}

void edge_shadow_count(const struct edge_req *r)
{
    struct edge_metrics *m = &r->e->metrics;
    if (r->shadow == NULL || r->dec.rule == NULL)
        return;
    m->shadow[r->dec.route.mode][r->shadow_dec.route.mode]++;
    m->shadow_differs += edge_shadow_differs(r);
}

json_t *edge_shadow_json(const struct edge_req *r)
{
    const struct rt_decision *d = &r->shadow_dec;
    if (r->shadow == NULL || r->dec.rule == NULL)
        return NULL;
    return json_pack("{s:s, s:s, s:s, s:s, s:s*, s:b}", "policy", r->shadow->label, "rule", d->rule,
                     "route", rt_mode_str(d->route.mode), "fallback", rt_mode_str(d->fallback.mode),
                     "target", d->route.target, "differs", edge_shadow_differs(r));
}
