#include "ctl/policy_sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "ctl/policy_talk.h"

enum { ARENA_BYTES = 1 << 30, MS_BYTES = 1 << 28, BYTES_A_TOKEN = 4 };

struct spent { /* a budget's use in one period of one scope */
    char key[2 * CTL_ID_BYTES];
    double used;
    UT_hash_handle hh;
};

struct group {
    struct sim_change c;
    uint64_t key;
    UT_hash_handle hh;
};

struct ctl_sim {
    struct sim_side side[2];
    int n_side;
    struct ctl_talks talks;
    struct spent *spent;
    struct group *groups;
    struct sim_change *sorted;
    struct sim_sum as_logged;
    struct base_arena arena;
};

int ctl_sim_open(struct ctl_sim **out, struct rt_policy *a, struct rt_policy *b)
{
    struct ctl_sim *s = calloc(1, sizeof *s);
    struct rt_policy *const p[2] = {a, b};

    *out = s;
    if (s == NULL)
        return BASE_ENOMEM;
    base_arena_init(&s->arena, ARENA_BYTES);
    s->n_side = b != NULL ? 2 : 1;
    s->talks = (struct ctl_talks){.p = {a, b}, .n_policy = s->n_side, .arena = &s->arena};
    for (int i = 0; i < s->n_side; i++) {
        s->side[i].p = p[i];
        s->side[i].by_rule = calloc((size_t)rt_policy_n_rule(p[i]) + 1, sizeof *s->side[i].by_rule);
        for (int k = 0; k < SIM_MAX_ROUTE; k++)
            base_buf_init(&s->side[i].route[k].ms, MS_BYTES);
        if (s->side[i].by_rule == NULL)
            return BASE_ENOMEM;
    }
    return 0;
}

void ctl_sim_close(struct ctl_sim *s)
{
    if (s == NULL)
        return;
    ctl_talks_fini(&s->talks);
    HASH_CLEAR(hh, s->spent);
    HASH_CLEAR(hh, s->groups);
    for (int i = 0; i < s->n_side; i++) {
        free(s->side[i].by_rule);
        for (int k = 0; k < SIM_MAX_ROUTE; k++)
            base_buf_fini(&s->side[i].route[k].ms);
    }
    free(s->sorted);
    base_arena_fini(&s->arena);
    free(s);
}

struct sim_side *ctl_sim_side(struct ctl_sim *s, int i)
{
    return &s->side[i];
}

int64_t ctl_sim_n_session(const struct ctl_sim *s)
{
    return s->talks.n;
}

struct sim_sum ctl_sim_as_logged(const struct ctl_sim *s)
{
    return s->as_logged;
}

/* ---- what it takes ---- */

int ctl_sim_route(const struct rt_policy *p, enum rt_mode mode, const char *target)
{
    int t = target != NULL ? ctl_sim_target(p, target) : -1;
    if (mode == RT_LOCAL || mode == RT_REFUSE)
        return mode == RT_LOCAL ? SIM_LOCAL : SIM_REFUSE;
    return t >= 0 ? SIM_LEAVE + 2 * t + (mode == RT_HIDDEN) : -1;
}

static void add(struct sim_sum *s, double v)
{
    s->sum += v;
    s->n++;
}

/* A fact of the decision's target, or of all. */
static const struct rt_value *target_fact(const struct rt_facts *f, const char *target,
                                          enum rt_fact_id fact)
{
    for (int i = 0; f->link != NULL && i < f->n_link; i++) {
        if (strcmp(f->link[i].target, target) == 0)
            return rt_link_c(&f->link[i], fact);
    }
    return &f->v[fact];
}

static double money_of(const struct sim_side *side, const struct rt_facts *f,
                       const struct ctl_record *r, const char *target)
{
    const struct rt_value *cost = target_fact(f, target, RT_F_REQ_COST);
    const struct rt_target_decl *d = rt_policy_target(side->p, ctl_sim_target(side->p, target));
    const struct rt_value *in = &f->v[RT_F_REQ_PROMPT_TOK], *most = &f->v[RT_F_REQ_MAX_TOK];
    double out = r->outcome.answer_tok >= 0 && r->outcome.have ? (double)r->outcome.answer_tok
                 : most->have                                  ? (double)most->i
                                                               : 0.0;
    if (cost->have)
        return cost->r;
    return d->have_price && in->have ? ((double)in->i * d->price_in + out * d->price_out) / 1e6
                                     : (double)NAN;
}

static double bytes_of(const struct sim_route *route, const struct ctl_record *r,
                       const struct rt_decision *d, bool same)
{
    const struct rt_value *tok = &r->g.f.v[RT_F_REQ_PROMPT_TOK];

    if (same && r->outcome.bytes_out >= 0.0)
        return r->outcome.bytes_out;
    if (!tok->have)
        return (double)NAN;
    if (route->log_tok.sum > 0.0)
        return (double)tok->i * route->log_bytes.sum / route->log_tok.sum;
    return d->route.mode == RT_PROMPT ? (double)tok->i * BYTES_A_TOKEN : (double)NAN;
}

struct sim_take ctl_sim_predict(const struct sim_side *side, const struct rt_facts *f,
                                const struct ctl_record *r, const struct rt_decision *d)
{
    const struct sim_route *to =
        &side->route[ctl_sim_route(side->p, d->route.mode, d->route.target)];
    bool same = r->outcome.have && r->outcome.mode == d->route.mode &&
                (d->route.target == NULL || strcmp(d->route.target, r->outcome.target) == 0);
    const struct rt_value *fact = d->route.target != NULL
                                      ? target_fact(f, d->route.target, RT_F_LINK_TOTAL_MS)
                                      : &f->v[RT_F_ENGINE_LOCAL_MS];
    struct sim_take t = {.ms = (double)NAN, .source = SIM_UNKNOWN};

    if (d->route.mode == RT_REFUSE)
        return (struct sim_take){.source = SIM_RECORDED};
    if (same && r->outcome.total_ms >= 0.0) {
        t.ms = r->outcome.total_ms;
        t.source = SIM_RECORDED;
    } else if (fact->have) {
        t.ms = (double)fact->i;
        t.source = SIM_FACT;
    } else if (to->log_ms.n > 0) {
        t.ms = to->log_ms.sum / (double)to->log_ms.n;
        t.source = SIM_MEAN;
    }
    if (d->route.target != NULL) {
        t.bytes = bytes_of(to, r, d, same);
        t.money = money_of(side, f, r, d->route.target);
    }
    return t;
}

void ctl_sim_learn(struct sim_side *side, const struct ctl_record *r)
{
    const struct ctl_outcome *w = &r->outcome;
    int i = w->have ? ctl_sim_route(side->p, w->mode, w->target) : -1;

    if (i < 0)
        return;
    if (w->total_ms >= 0.0)
        add(&side->route[i].log_ms, w->total_ms);
    if (w->bytes_out >= 0.0 && w->prompt_tok > 0) {
        add(&side->route[i].log_bytes, w->bytes_out);
        add(&side->route[i].log_tok, (double)w->prompt_tok);
    }
}

/* ---- budgets ---- */

/* "BUDGET/PERIOD/SCOPE" of this record. A log is one trip. */
static void budget_key(const struct rt_budget_decl *b, const struct ctl_record *r,
                       const struct rt_facts *f, int side, char *out, size_t size)
{
    static const int digits[] = {[RT_TRIP] = 0, [RT_HOUR] = 13, [RT_DAY] = 10, [RT_MONTH] = 7};
    const struct rt_value *who = b->scope == RT_SEAT     ? &f->v[RT_F_CALLER_SEAT]
                                 : b->scope == RT_CALLER ? &f->v[RT_F_CALLER]
                                                         : NULL;
    snprintf(out, size, "%d/%s/%.*s/%s", side, b->name, digits[b->period], r->day,
             who != NULL && who->have ? who->s : "");
}

static struct spent *find_spent(struct ctl_sim *s, struct sim_side *side, int b,
                                const struct ctl_record *r, const struct rt_facts *f)
{
    char key[2 * CTL_ID_BYTES];
    struct spent *e;

    budget_key(rt_policy_budget(side->p, b), r, f, (int)(side - s->side), key, sizeof key);
    HASH_FIND_STR(s->spent, key, e);
    if (e == NULL && (e = base_arena_get(&s->arena, sizeof *e)) != NULL) {
        memcpy(e->key, key, sizeof e->key);
        HASH_ADD_STR(s->spent, key, e);
        side->budget[b].n_period++;
    }
    return e;
}

/* What is left, as the facts that the policy asks for. */
static int set_budgets(struct ctl_sim *s, struct sim_side *side, struct ctl_record *r,
                       struct rt_facts *f, struct spent *used[RT_MAX_BUDGET])
{
    struct base_err err;

    for (int b = 0; b < rt_policy_n_budget(side->p); b++) {
        const struct rt_budget_decl *d = rt_policy_budget(side->p, b);
        struct rt_place at;
        used[b] = find_spent(s, side, b, r, f);
        if (used[b] == NULL)
            return BASE_ENOMEM;
        int rc = rt_given_own(&r->g, d->fact, RT_FACT_REAL, &at, &err);
        if (rc != 0)
            return rc;
        double left = d->limit - used[b]->used;
        *at.v = (struct rt_value){.have = true, .r = left > 0.0 ? left : 0.0};
        side->budget[b].n_spent += left <= 0.0;
    }
    f->named = r->g.f.named;
    f->n_named = r->g.f.n_named;
    return 0;
}

static void spend(struct sim_side *side, const struct rt_decision *d, const struct sim_take *t,
                  struct spent *used[RT_MAX_BUDGET])
{
    int target = d->route.target != NULL ? ctl_sim_target(side->p, d->route.target) : -1;

    for (int b = 0; target >= 0 && b < rt_policy_n_budget(side->p); b++) {
        const struct rt_budget_decl *decl = rt_policy_budget(side->p, b);
        double v = decl->unit == RT_BYTES      ? t->bytes
                   : decl->unit == RT_REQUESTS ? 1.0
                   : decl->unit == RT_MONEY    ? t->money
                                               : (double)NAN; /* joules are not predicted */
        if ((decl->targets >> target & 1) == 0 || isnan(v))
            continue;
        used[b]->used += v;
        if (used[b]->used > side->budget[b].most)
            side->budget[b].most = used[b]->used;
    }
}

/* ---- one record ---- */

static int account(struct sim_side *side, const struct rt_decision *d, const struct sim_take *t,
                   const struct ctl_record *r)
{
    struct sim_route *to = &side->route[ctl_sim_route(side->p, d->route.mode, d->route.target)];
    double quality = d->route.mode == RT_REFUSE ? 0.0 : r->quality[d->route.target != NULL];

    side->n++;
    to->n++;
    side->n_hint += d->rule_index < 0 && strcmp(d->rule, "caller-hint") == 0;
    side->by_rule[d->rule_index >= 0 ? d->rule_index : rt_policy_n_rule(side->p)]++;
    if (d->route.mode != RT_REFUSE)
        side->n_source[t->source]++;
    if (quality >= 0.0 && r->quality[0] >= 0.0 && r->quality[1] >= 0.0)
        add(&to->quality, quality);
    if (!isnan(t->bytes))
        add(&to->bytes, t->bytes);
    if (!isnan(t->money))
        add(&to->money, t->money);
    if (isnan(t->ms) || d->route.mode == RT_REFUSE)
        return 0;
    add(&to->time, t->ms);
    float ms = (float)t->ms;
    return base_buf_add(&to->ms, &ms, sizeof ms);
}

static int decide(struct ctl_sim *s, int i, struct ctl_record *r, struct talk *t,
                  struct classes *before, struct rt_decision *d)
{
    struct sim_side *side = &s->side[i];
    struct rt_target_link link[RT_MAX_TARGET];
    struct spent *used[RT_MAX_BUDGET];
    struct rt_facts f = r->g.f;

    if (t != NULL)
        ctl_talk_facts(&s->talks, i, t, before, &f, link);
    int rc = set_budgets(s, side, r, &f, used);
    if (rc != 0)
        return rc;
    rt_decide(side->p, &f, d);
    struct sim_take take = ctl_sim_predict(side, &f, r, d);
    spend(side, d, &take, used);
    ctl_sim_learn(side, r);
    rc = account(side, d, &take, r);
    return rc == 0 && t != NULL ? ctl_talk_end(&s->talks, i, t, d) : rc;
}

static int note_change(struct ctl_sim *s, const struct ctl_record *r, const struct rt_decision d[2])
{
    uint64_t key = (uint64_t)(uint32_t)d[0].rule_index << 32 | (uint32_t)d[1].rule_index;
    struct group *g;

    HASH_FIND(hh, s->groups, &key, sizeof key, g);
    if (g == NULL) {
        g = base_arena_get(&s->arena, sizeof *g);
        if (g == NULL)
            return BASE_ENOMEM;
        g->key = key;
        g->c = (struct sim_change){.rule = {d[0].rule_index, d[1].rule_index}};
        g->c.d[0] = d[0];
        g->c.d[1] = d[1];
        g->c.line = r->line;
        memcpy(g->c.id, r->id, sizeof g->c.id);
        HASH_ADD(hh, s->groups, key, sizeof g->key, g);
    }
    g->c.n++;
    return 0;
}

int ctl_sim_add(struct ctl_sim *s, struct ctl_record *r, bool *changed, struct rt_decision d[2])
{
    struct classes before = {.n = 0};
    struct talk *t;
    int rc = ctl_talk_find(&s->talks, r, &t, &before);

    for (int i = 0; i < s->n_side && rc == 0; i++)
        rc = decide(s, i, r, t, &before, &d[i]);
    if (t != NULL)
        ctl_talk_turn(t);
    if (rc != 0)
        return rc;
    if (r->decided) {
        bool same = r->mode == d[0].route.mode &&
                    strcmp(r->target, d[0].route.target != NULL ? d[0].route.target : "") == 0;
        add(&s->as_logged, same);
    }
    *changed = s->n_side == 2 && !rt_decision_same(&d[0], &d[1]);
    return *changed ? note_change(s, r, d) : 0;
}

static int by_count(const void *pa, const void *pb)
{
    const struct sim_change *a = pa, *b = pb;
    return a->n != b->n ? (a->n < b->n) - (a->n > b->n) : (a->line > b->line) - (a->line < b->line);
}

const struct sim_change *ctl_sim_changes(struct ctl_sim *s, int *n)
{
    struct group *g, *next;

    *n = 0;
    free(s->sorted);
    s->sorted = calloc(HASH_COUNT(s->groups) + 1, sizeof *s->sorted);
    if (s->sorted == NULL)
        return NULL;
    HASH_ITER (hh, s->groups, g, next) {
        s->sorted[(*n)++] = g->c;
    }
    qsort(s->sorted, (size_t)*n, sizeof *s->sorted, by_count);
    return s->sorted;
}
