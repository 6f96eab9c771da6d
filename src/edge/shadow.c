#include "edge/shadow.h"

void edge_shadow_decide(struct edge_req *r)
{
    if (r->shadow != NULL)
        rt_decide(r->shadow->rt, &r->facts, &r->shadow_dec);
}

bool edge_shadow_differs(const struct edge_req *r)
{
    return !rt_decision_same(&r->dec, &r->shadow_dec);
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
