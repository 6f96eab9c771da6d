#include "edge/own_facts.h"

#include <string.h>

#include "base/clock.h"
#include "edge/moment.h"
#include "edge/signals.h"
#include "edge/usage.h"

/* ---- keys and amounts ---- */

/* Whose counter of b it is for r; false: cannot be told. */
static bool budget_key(const struct rt_budget_decl *b, const struct edge_req *r,
                       char key[EDGE_USAGE_KEY])
{
    const struct rt_value *seat = &r->facts.v[RT_F_CALLER_SEAT];
    const struct rt_value sim = edge_signals_get(r->e->signals, "sim", RT_FACT_STR, r->start_us);
    const char *who = "";
    switch (b->scope) {
    case RT_VEHICLE:
        break;
    case RT_SIM:
        who = sim.have ? sim.s : NULL;
        break;
    case RT_SEAT:
        who = seat->have ? seat->s : NULL;
        break;
    case RT_CALLER:
        who = r->caller->name;
        break;
    }
    if (who == NULL)
        return false;
    snprintf(key, EDGE_USAGE_KEY, "budget/%.64s/%.64s", b->name, who);
    return true;
}

static int target_index(const struct rt_policy *p, const char *target)
{
    for (int i = 0; target != NULL && i < rt_policy_n_target(p); i++) {
        if (strcmp(rt_policy_target_name(p, i), target) == 0)
            return i;
    }
    return -1;
}

/* Of all requests, unless the budget names targets: most of the energy goes into what stays here.
 */
static double joules_of(const struct rt_budget_decl *b, const struct edge_req *r, bool left_for_it)
{
    const double now = r->started ? edge_energy_since(&r->e->energy, &r->energy) : 0;
    return left_for_it || b->targets == UINT64_MAX ? r->joules + (now > 0 ? now : 0) : 0;
}

/* What r has used of b so far; 0 where b does not count its target. */
static double used_of(const struct rt_budget_decl *b, const struct edge_req *r)
{
    const struct rt_policy *p = r->policy->rt;
    const int t = target_index(p, r->dec.rule != NULL ? r->dec.route.target : NULL);
    const bool counts = t >= 0 && r->released_bytes > 0 && (b->targets >> t & 1) != 0;
    if (b->unit == RT_JOULES)
        return joules_of(b, r, counts);
    if (!counts)
        return 0;
    const struct rt_target_decl *d = rt_policy_target(p, t);
    switch (b->unit) {
    case RT_BYTES:
        return (double)r->out_bytes;
    case RT_REQUESTS:
        return 1;
    case RT_MONEY:
        return d->have_price ? (d->price_in * r->n_prompt + d->price_out * r->answer.n_tok) / 1e6
                             : 0;
    case RT_JOULES: /* above */
        break;
    }
    return 0;
}

/* ---- what is left ---- */

/* Released by requests under way, which are not counted yet. */
static double under_way(const struct rt_budget_decl *b, const struct edge_req *r, const char *key)
{
    char other[EDGE_USAGE_KEY];
    double sum = 0;
    for (const struct edge_req *q = r->e->req_head; q != NULL; q = q->next) {
        if (!q->ended && q != r && budget_key(b, q, other) && strcmp(other, key) == 0)
            sum += used_of(b, q);
    }
    return sum;
}

static const char *lost_key(enum rt_period p, char key[EDGE_USAGE_KEY])
{
    snprintf(key, EDGE_USAGE_KEY, "lost/joules/%d", (int)p);
    return key;
}

/* Where the counter of energy could not be read while requests ran, nobody knows what they used: no
 * budget of joules can be told for the rest of its period. */
static void gaps_note(struct edge_req *r)
{
    struct edge *e = r->e;
    char key[EDGE_USAGE_KEY];
    if (e->energy.n_gap == e->n_energy_gap)
        return;
    e->n_energy_gap = e->energy.n_gap;
    for (int p = RT_TRIP; p <= RT_MONTH; p++)
        edge_usage_add(e->usage, lost_key((enum rt_period)p, key),
                       edge_usage_period(e->usage, (enum rt_period)p, base_clock_real_us()), 1);
}

static bool joules_known(struct edge_req *r, const struct rt_budget_decl *b)
{
    struct edge_usage *u = r->e->usage;
    char key[EDGE_USAGE_KEY];
    edge_energy_look(&r->e->energy);
    gaps_note(r);
    return r->e->energy.fd >= 0 && r->e->energy.have &&
           !(edge_usage_get(u, lost_key(b->period, key),
                            edge_usage_period(u, b->period, r->created_us)) > 0);
}

/* A target without a price costs nobody knows what. */
static bool countable(const struct rt_budget_decl *b, const struct rt_policy *p, struct edge_req *r)
{
    for (int i = 0; b->unit == RT_MONEY && i < rt_policy_n_target(p); i++) {
        if ((b->targets >> i & 1) != 0 && !rt_policy_target(p, i)->have_price)
            return false;
    }
    return b->unit != RT_JOULES || joules_known(r, b);
}

static struct rt_value budget_left(struct edge_req *r, const struct rt_policy *p,
                                   const struct rt_budget_decl *b)
{
    const struct edge_usage *u = r->e->usage;
    char key[EDGE_USAGE_KEY];
    struct rt_value v = {.have = false};
    if (!countable(b, p, r) || !budget_key(b, r, key))
        return v;
    const double used = edge_usage_get(u, key, edge_usage_period(u, b->period, r->created_us));
    if (used < 0)
        return v;
    const double left = b->limit - used - under_way(b, r, key);
    return (struct rt_value){.have = true, .r = left > 0 ? left : 0};
}

static struct rt_value own_value(struct edge_req *r, const struct rt_policy *p,
                                 const struct rt_fact_info *f)
{
    struct rt_value v = {.have = false};
    for (int i = 0; i < rt_policy_n_budget(p); i++) {
        if (strcmp(rt_policy_budget(p, i)->fact, f->name) == 0)
            return budget_left(r, p, rt_policy_budget(p, i));
    }
    for (int i = 0; i < rt_policy_n_consent(p); i++) {
        const struct rt_consent_decl *c = rt_policy_consent(p, i);
        if (strcmp(c->fact, f->name) != 0)
            continue;
        bool yes = false;
        v.have = edge_usage_consents(
            r->e->usage, c->name, edge_usage_period(r->e->usage, c->lapses, r->created_us), &yes);
        const struct edge_moment now = edge_moment_at(r->created_us);
        const enum rt_tri counts = edge_moment_counts(&now, c);
        v.have = v.have && counts != RT_CANNOT_TELL;
        v.b = yes && counts == RT_YES;
        return v;
    }
    const struct rt_share_decl *s = rt_policy_share(p);
    for (int i = 0; i < s->n_move; i++) {
        if (strcmp(s->move[i].fact, f->name) == 0) {
            v.have = edge_share_moved(&r->e->share, s, i, &v.r);
            return v;
        }
    }
    return edge_signals_get(r->e->signals, f->name, f->type, r->start_us);
}

/* Appends p's own facts that are known; what another policy has named already stays. */
static int named_add(struct edge_req *r, const struct rt_policy *p, struct rt_named *to, int *n)
{
    for (int i = 0; i < rt_policy_n_own(p); i++) {
        const struct rt_fact_info *f = rt_policy_own(p, i);
        bool there = false;
        for (int k = 0; k < *n; k++)
            there = there || strcmp(to[k].name, f->name) == 0;
        struct rt_value v = {.have = false};
        if (!there)
            v = own_value(r, p, f);
        if (!v.have || (f->max_age_ms > 0 && v.age_ms > f->max_age_ms))
            continue;
        if (f->type == RT_FACT_STR &&
            (v.s = base_arena_strndup(&r->arena, v.s, strlen(v.s))) == NULL)
            return BASE_ENOMEM;
        to[(*n)++] = (struct rt_named){.name = f->name, .type = f->type, .v = v};
    }
    return 0;
}

/* ---- quotas ---- */

static const struct rt_caller_decl *caller_find(const struct edge_req *r)
{
    const struct rt_policy *p = r->policy->rt;
    for (int i = 0; i < rt_policy_n_caller(p); i++) {
        if (strcmp(rt_policy_caller(p, i)->name, r->caller->name) == 0)
            return rt_policy_caller(p, i);
    }
    return NULL;
}

static int64_t quota_period(const struct edge_req *r, const struct rt_caller_decl *c)
{
    return c->quota_s > 0 ? r->created_us / 1000000 / c->quota_s
                          : edge_usage_period(r->e->usage, RT_TRIP, r->created_us);
}

static const char *quota_key(const char *what, const struct rt_caller_decl *c,
                             char key[EDGE_USAGE_KEY])
{
    snprintf(key, EDGE_USAGE_KEY, "quota/%s/%.64s", what, c->name);
    return key;
}

static void quota_fact(struct edge_req *r, const struct rt_caller_decl *c, enum rt_fact_id id,
                       const char *what, int64_t quota)
{
    char key[EDGE_USAGE_KEY];
    if (quota < 0)
        return;
    const double used = edge_usage_get(r->e->usage, quota_key(what, c, key), quota_period(r, c));
    if (used < 0)
        return;
    double now = 0;
    for (const struct edge_req *q = r->e->req_head; q != NULL; q = q->next) {
        if (!q->ended && q != r && q->dec.rule != NULL && strcmp(q->caller->name, c->name) == 0)
            now += id == RT_F_CALLER_BYTES_LEFT ? (double)q->out_bytes : 1;
    }
    const double left = (double)quota - used - now;
    r->facts.v[id] = (struct rt_value){.have = true, .i = left > 0 ? (int64_t)left : 0};
}

/* ---- */

int edge_own_facts(struct edge_req *r)
{
    const struct rt_policy *p = r->policy->rt, *s = r->shadow != NULL ? r->shadow->rt : NULL;
    const struct rt_caller_decl *c = caller_find(r);
    double share;
    int n = 0;
    edge_usage_starts(r->e->usage, edge_signals_starts(r->e->signals));
    if (c != NULL) {
        if (c->seat != NULL && !r->facts.v[RT_F_CALLER_SEAT].have)
            r->facts.v[RT_F_CALLER_SEAT] = (struct rt_value){.have = true, .s = c->seat};
        quota_fact(r, c, RT_F_CALLER_REQUESTS_LEFT, "requests", c->quota_requests);
        quota_fact(r, c, RT_F_CALLER_BYTES_LEFT, "bytes", c->quota_bytes);
    }
    if (edge_share_get(&r->e->share, &share))
        r->facts.v[RT_F_SHARE_EDGE] = (struct rt_value){.have = true, .r = share};
    const int most = rt_policy_n_own(p) + (s != NULL ? rt_policy_n_own(s) : 0);
    if (most == 0)
        return 0;
    struct rt_named *to = base_arena_get(&r->arena, sizeof *to * (size_t)most);
    int rc = to == NULL ? BASE_ENOMEM : named_add(r, p, to, &n);
    if (rc == 0 && s != NULL)
        rc = named_add(r, s, to, &n);
    r->facts.named = to;
    r->facts.n_named = rc == 0 ? n : 0;
    return rc;
}

void edge_own_count(struct edge_req *r)
{
    struct edge_usage *u = r->e->usage;
    const struct rt_policy *p = r->policy->rt;
    const struct rt_caller_decl *c = caller_find(r);
    char key[EDGE_USAGE_KEY];
    gaps_note(r);
    if (r->dec.rule == NULL)
        return;
    for (int i = 0; i < rt_policy_n_budget(p); i++) {
        const struct rt_budget_decl *b = rt_policy_budget(p, i);
        if (budget_key(b, r, key))
            edge_usage_add(u, key, edge_usage_period(u, b->period, r->created_us), used_of(b, r));
    }
    if (c != NULL && c->quota_requests >= 0 && r->route != RT_REFUSE)
        edge_usage_add(u, quota_key("requests", c, key), quota_period(r, c), 1);
    if (c != NULL && c->quota_bytes >= 0)
        edge_usage_add(u, quota_key("bytes", c, key), quota_period(r, c), (double)r->out_bytes);
    if (r->completed)
        edge_share_add(&r->e->share, rt_policy_share(p), (r->answer.tier & EDGE_TIER_CLOUD) == 0);
}
