#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "ctl/policy_talk.h"
#include "ctl/policy_tune.h"

enum { MAX_RECORD = 2000000 };
static const size_t ARENA_BYTES = (size_t)8 << 30;

double tune_metric(const struct tune_sum *s, enum tune_metric m)
{
    double n = s->n > 0.0 ? s->n : 1.0;
    switch (m) {
    case TUNE_EDGE:
        return 1.0 - s->left / n;
    case TUNE_QUALITY:
        return s->quality / n;
    case TUNE_MS:
        return s->ms / n;
    default:
        return s->bytes / n;
    }
}

/* ---- facts that last ---- */

static const char *copy_text(struct base_arena *a, const char *s, bool *ok)
{
    const char *c = s != NULL ? base_arena_strndup(a, s, strlen(s)) : NULL;
    *ok = *ok && (s == NULL || c != NULL);
    return c;
}

static void copy_value(struct base_arena *a, enum rt_fact_type type, struct rt_value *v, bool *ok)
{
    int n = 0;

    if (!v->have)
        return;
    if (type == RT_FACT_STR)
        v->s = copy_text(a, v->s, ok);
    if (type != RT_FACT_CLASSES || v->list == NULL)
        return;
    while (v->list[n] != NULL)
        n++;
    const char **list = base_arena_get(a, sizeof *list * ((size_t)n + 1));
    *ok = *ok && list != NULL;
    for (int i = 0; i < n && *ok; i++)
        list[i] = copy_text(a, v->list[i], ok);
    v->list = list;
}

static bool copy_facts(struct base_arena *a, const struct rt_facts *f, struct rt_facts *out)
{
    bool ok = true;

    *out = *f;
    for (int i = 0; i < f->n_cls; i++)
        out->cls[i] = copy_text(a, f->cls[i], &ok);
    for (int i = 0; i < RT_N_FACT; i++) {
        if (i != RT_F_DATA_CLASS)
            copy_value(a, rt_fact_info[i].type, &out->v[i], &ok);
    }
    struct rt_target_link *link = base_arena_get(a, sizeof *link * ((size_t)f->n_link + 1));
    struct rt_named *named = base_arena_get(a, sizeof *named * ((size_t)f->n_named + 1));
    if (link == NULL || named == NULL || !ok)
        return false;
    for (int i = 0; i < f->n_link; i++) {
        link[i] = f->link[i];
        link[i].target = copy_text(a, f->link[i].target, &ok);
        for (int k = RT_F_TARGET_FIRST; k <= RT_F_TARGET_LAST; k++)
            copy_value(a, rt_fact_info[k].type, rt_link(&link[i], (enum rt_fact_id)k), &ok);
    }
    for (int i = 0; i < f->n_named; i++) {
        named[i] = f->named[i];
        named[i].name = copy_text(a, f->named[i].name, &ok);
        copy_value(a, named[i].type, &named[i].v, &ok);
        /* where the share had moved a threshold: here it stands where we put it */
        if (strncmp(f->named[i].name, "share.", 6) == 0)
            named[i].v.have = false;
    }
    out->link = f->link != NULL ? link : NULL;
    out->named = named;
    return ok;
}

/* ---- routes ---- */

/* The ways that the policy's rules go; the first is local. */
static int list_routes(struct tune_data *d, int id[TUNE_MAX_ROUTE],
                       struct rt_decision way[TUNE_MAX_ROUTE], struct base_err *err)
{
    int n_rule = rt_policy_n_rule(d->p);

    d->route_of = calloc((size_t)n_rule + 1, 1);
    if (d->route_of == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "out of memory");
    d->n_route = 1;
    id[0] = SIM_LOCAL;
    way[0] = (struct rt_decision){.rule = "default", .rule_index = -1};
    for (int i = 0; i < n_rule; i++) {
        struct rt_decision one;
        int k = 0;
        rt_decision_set(d->p, i, &one);
        int route = ctl_sim_route(d->p, one.route.mode, one.route.target);
        while (k < d->n_route && id[k] != route)
            k++;
        if (k == TUNE_MAX_ROUTE)
            return base_err_set(err, BASE_ELIMIT, "", "more than %d routes", TUNE_MAX_ROUTE);
        if (k == d->n_route) {
            id[d->n_route] = route;
            way[d->n_route++] = one;
        }
        d->route_of[i] = (uint8_t)k;
    }
    for (int k = 0; k < d->n_route; k++)
        d->leaves[k] = id[k] >= SIM_LEAVE;
    return 0;
}

static int grow(struct tune_data *d, int64_t *cap)
{
    if (d->n < *cap)
        return 0;
    *cap = *cap > 0 ? *cap * 2 : 4096;
    struct rt_facts *f = realloc(d->f, sizeof *f * (size_t)*cap);
    d->f = f != NULL ? f : d->f;
    uint8_t *held = realloc(d->held, (size_t)*cap);
    d->held = held != NULL ? held : d->held;
    struct tune_cost *cost = realloc(d->cost, sizeof *cost * (size_t)*cap * (size_t)d->n_route);
    d->cost = cost != NULL ? cost : d->cost;
    return f != NULL && held != NULL && cost != NULL ? 0 : BASE_ENOMEM;
}

/* Whole conversations are held out: their requests resemble each other. */
static bool is_held(const struct ctl_record *r, double holdout)
{
    const char *key = r->session[0] != '\0' ? r->session : r->id;
    uint64_t h =
        key[0] != '\0' ? base_xxh64(key, strlen(key)) : base_xxh64(&r->line, sizeof r->line);
    return (double)(h >> 11) * 0x1p-53 < holdout;
}

/* The labels of earlier turns count, as in a replay; of what left before, the log is believed. */
static int add_labels(struct ctl_talks *talks, struct ctl_record *r)
{
    struct rt_target_link link[RT_MAX_TARGET];
    struct classes before = {.n = 0};
    struct talk *t;
    int rc = ctl_talk_find(talks, r, &t, &before);

    if (rc == 0 && t != NULL)
        ctl_talk_facts(talks, 0, t, &before, &r->g.f, link);
    return rc;
}

static int add_record(struct tune_data *d, struct sim_side *side, struct ctl_record *r,
                      const struct rt_decision way[TUNE_MAX_ROUTE], double holdout, int64_t *cap)
{
    if (r->quality[0] < 0.0 || r->quality[1] < 0.0) {
        d->n_skipped++;
        return 0;
    }
    if (grow(d, cap) != 0 || !copy_facts(&d->arena, &r->g.f, &d->f[d->n]))
        return BASE_ENOMEM;
    for (int k = 0; k < d->n_route; k++) {
        struct tune_cost *c = &d->cost[d->n * d->n_route + k];
        struct sim_take t = ctl_sim_predict(side, &r->g.f, r, &way[k]);
        double q = way[k].route.mode == RT_REFUSE ? 0.0 : r->quality[way[k].route.target != NULL];
        c->quality = (float)q;
        c->ms = (float)t.ms;
        c->bytes = isnan(t.bytes) ? 0.0F : (float)t.bytes;
        d->n_guessed += t.source == SIM_MEAN;
    }
    ctl_sim_learn(side, r);
    d->held[d->n] = is_held(r, holdout);
    d->n++;
    return 0;
}

/* Times that nothing told yet: the route's mean over the whole log. */
static void fill_times(struct tune_data *d, const struct sim_side *side,
                       const int id[TUNE_MAX_ROUTE])
{
    for (int64_t i = 0; i < d->n * d->n_route; i++) {
        const struct sim_sum *m = &side->route[id[i % d->n_route]].log_ms;
        if (!isnan(d->cost[i].ms))
            continue;
        d->cost[i].ms = m->n > 0 ? (float)(m->sum / (double)m->n) : 0.0F;
        d->n_guessed += m->n > 0;
        d->n_unknown += m->n == 0;
    }
}

int tune_data_read(struct tune_data *d, struct rt_policy *p, const char *log, double holdout,
                   struct base_err *err)
{
    static struct ctl_log l;
    struct rt_decision way[TUNE_MAX_ROUTE];
    struct ctl_sim *sim = NULL;
    int id[TUNE_MAX_ROUTE], rc, next = 0;
    int64_t cap = 0;

    *d = (struct tune_data){.p = p};
    base_arena_init(&d->arena, ARENA_BYTES);
    if (ctl_sim_open(&sim, p, NULL) != 0) {
        ctl_sim_close(sim);
        return base_err_set(err, BASE_ENOMEM, log, "out of memory");
    }
    struct ctl_talks talks = {.p = {p}, .n_policy = 1, .arena = &d->arena};
    rc = list_routes(d, id, way, err);
    if (rc == 0)
        rc = ctl_log_open(&l, log, err);
    while (rc == 0 && (next = ctl_log_next(&l, err)) > 0) {
        rc = add_labels(&talks, &l.r);
        rc = rc == 0 ? add_record(d, ctl_sim_side(sim, 0), &l.r, way, holdout, &cap) : rc;
        if (rc != 0)
            base_err_set(err, rc, log, "out of memory");
        else if (d->n > MAX_RECORD)
            rc = base_err_set(err, BASE_ELIMIT, log, "more than %d labelled requests", MAX_RECORD);
    }
    rc = rc == 0 ? next : rc;
    fill_times(d, ctl_sim_side(sim, 0), id);
    if (rc == 0 && d->n == 0)
        rc = base_err_set(err, BASE_EFORMAT, log,
                          "no request has \"quality\": {\"local\": 0..1, \"cloud\": 0..1}");
    ctl_talks_fini(&talks);
    ctl_log_close(&l);
    ctl_sim_close(sim);
    return rc;
}

void tune_data_fini(struct tune_data *d)
{
    free(d->f);
    free(d->held);
    free(d->cost);
    free(d->route_of);
    base_arena_fini(&d->arena);
}
