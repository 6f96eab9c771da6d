#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/policy_tune.h"

/* A goal of equality is met when it is missed by no more. */
static const double SHARE_TOLERANCE = 0.002, OTHER_TOLERANCE = 0.01;
/* What a rounder number may cost. */
static const double ROUND_QUALITY = 0.0005;

struct order {  /* the fitted records in order of one number's fact */
    int64_t n;  /* known */
    int64_t *i; /* [n_fit]: records; those where the fact is not known at the end */
    double *v;  /* [n] */
};

struct fit {
    struct tune *t;
    int64_t n_fit;
    int64_t *rec; /* [n_fit] */
    struct order order[TUNE_MAX_NUMBER];
    double value[TUNE_MAX_NUMBER]; /* in the policy now */
    double price;                  /* of a request that leaves; NAN: the goal counts */
    uint8_t *yes, *no;             /* [n_fit] routes with a number's test so and so */
    struct tune_point bin[TUNE_N_BIN];
    double fixed_at;
};

double tune_miss(const struct tune *t, const struct tune_sum *s)
{
    double miss = 0.0;

    for (int i = 0; i < t->n_goal; i++) {
        const struct tune_goal *g = &t->goal[i];
        double v = tune_metric(s, g->metric);
        bool unit = g->metric == TUNE_EDGE || g->metric == TUNE_QUALITY;
        double scale = unit ? 1.0 : fmax(1.0, fabs(g->value));
        double off = (v - g->value) / scale;
        double by = g->sign == 0 ? fmax(0.0, fabs(off) - (unit ? SHARE_TOLERANCE : OTHER_TOLERANCE))
                    : g->sign > 0 ? fmax(0.0, -off)
                                  : fmax(0.0, off);
        miss += by;
    }
    return miss;
}

/* Higher is better. With a goal, meeting it comes first; then quality, or, where the goal is about
 * quality, staying. */
static double score(const struct fit *f, const struct tune_sum *s)
{
    bool stay = false;

    if (!isnan(f->price))
        return tune_metric(s, TUNE_QUALITY) + f->price * tune_metric(s, TUNE_EDGE);
    for (int i = 0; i < f->t->n_goal; i++)
        stay = stay || f->t->goal[i].metric == TUNE_QUALITY;
    return -1000.0 * tune_miss(f->t, s) + tune_metric(s, stay ? TUNE_EDGE : TUNE_QUALITY);
}

static void put(struct fit *f, int k, double value)
{
    f->value[k] = value;
    rt_number_set(f->t->d->p, &f->t->number[k], value);
}

static int route(const struct tune_data *d, int64_t i)
{
    struct rt_decision out;
    rt_decide(d->p, &d->f[i], &out);
    return out.rule_index >= 0 ? d->route_of[out.rule_index] : 0;
}

static void add(const struct tune_data *d, struct tune_sum *s, int64_t i, int route_id, double sign)
{
    const struct tune_cost *c = &d->cost[i * d->n_route + route_id];
    s->n += sign;
    s->left += d->leaves[route_id] ? sign : 0.0;
    s->quality += sign * (double)c->quality;
    s->ms += sign * (double)c->ms;
    s->bytes += sign * (double)c->bytes;
}

struct tune_sum tune_eval(struct tune *t, const double *value, bool held)
{
    struct tune_sum s = {.n = 0.0};

    for (int k = 0; k < t->n_number; k++)
        rt_number_set(t->d->p, &t->number[k], value[k]);
    for (int64_t i = 0; i < t->d->n; i++) {
        if ((t->d->held[i] != 0) == held)
            add(t->d, &s, i, route(t->d, i), 1.0);
    }
    return s;
}

static struct tune_sum eval_fit(struct fit *f)
{
    struct tune_sum s = {.n = 0.0};
    for (int64_t i = 0; i < f->n_fit; i++)
        add(f->t->d, &s, f->rec[i], route(f->t->d, f->rec[i]), 1.0);
    return s;
}

/* ---- where a number may stand ---- */

/* The number with the fewest digits in [lo, hi]; one end is excluded: the lower one if open_low. */
static double roundest(double lo, double hi, bool open_low, bool whole)
{
    double mid = isinf(lo) ? hi : isinf(hi) ? lo : lo + (hi - lo) / 2.0;

    for (int digits = whole ? -6 : -3; digits <= 12; digits++) {
        double unit = pow(10.0, digits), r = round(mid * unit) / unit;
        if (whole && digits > 0)
            break;
        if (r >= lo && r <= hi && !(open_low ? r <= lo : r >= hi))
            return r;
    }
    return open_low ? hi : lo;
}

/* The number that parts the first `cut` records from the rest. NAN: there is none within its
 * limits. lt, ge: the value itself lies above the number; le, gt: below. */
static double place(const struct rt_number *n, const struct order *o, int64_t cut)
{
    bool open_low = n->op[1] == 't' ? n->op[0] == 'l' : n->op[0] == 'g'; /* lt, ge: v < number */
    double lo = cut > 0 ? o->v[cut - 1] : -INFINITY, hi = cut < o->n ? o->v[cut] : INFINITY;
    double at;

    if (o->n == 0)
        return n->value;
    if (isinf(lo))
        lo = fmax(n->min, hi - fmax(1.0, fabs(hi)));
    if (isinf(hi))
        hi = fmin(n->max, lo + fmax(1.0, fabs(lo)));
    lo = fmax(lo, n->min);
    hi = fmin(hi, n->max);
    if (!(lo < hi))
        return (double)NAN;
    at = roundest(lo, hi, open_low, n->whole);
    return at >= n->min && at <= n->max ? at : (double)NAN;
}

/* ---- one number at a time ---- */

static void routes_with(struct fit *f, int k, double value, uint8_t *out)
{
    rt_number_set(f->t->d->p, &f->t->number[k], value);
    for (int64_t i = 0; i < f->n_fit; i++)
        out[i] = (uint8_t)route(f->t->d, f->order[k].i[i]);
}

/* Whether the record with this value is one of the first when the number stands at `at`. */
static bool below(const struct rt_number *n, double v, double at)
{
    bool strict = n->op[1] == 't' ? n->op[0] == 'l' : n->op[0] == 'g';
    return strict ? v < at : v <= at;
}

/* Keeps the best quality seen at each edge share. */
static void note(struct fit *f, const struct tune_sum *s, int k, int64_t cut)
{
    int bin = (int)(tune_metric(s, TUNE_EDGE) * (TUNE_N_BIN - 1) + 0.5);
    struct tune_point *b = &f->bin[bin];
    double at;

    if (b->sum.n > 0.0 && tune_metric(s, TUNE_QUALITY) <= tune_metric(&b->sum, TUNE_QUALITY))
        return;
    at = place(&f->t->number[k], &f->order[k], cut);
    if (isnan(at))
        return;
    memcpy(b->value, f->value, sizeof b->value);
    b->value[k] = at;
    b->sum = *s;
}

/* Moves number k to the best of its places; true if that is better than before. */
static bool climb(struct fit *f, int k)
{
    const struct rt_number *n = &f->t->number[k];
    const struct order *o = &f->order[k];
    const uint8_t *first = f->yes,
                  *rest = f->no; /* of the records below the number, of the others */
    struct tune_sum s = {.n = 0.0};
    double before = -INFINITY, best = -INFINITY, best_value = f->value[k];
    bool passed = false;

    routes_with(f, k, n->op[0] == 'l' ? INFINITY : -INFINITY, f->yes);
    routes_with(f, k, n->op[0] == 'l' ? -INFINITY : INFINITY, f->no);
    if (n->op[0] == 'g') {
        first = f->no;
        rest = f->yes;
    }
    for (int64_t i = 0; i < f->n_fit; i++)
        add(f->t->d, &s, o->i[i], rest[i], 1.0); /* not known: both are the same */
    for (int64_t cut = 0; cut <= o->n; cut++) {
        if (cut == 0 || cut == o->n || o->v[cut] > o->v[cut - 1]) {
            double sc = score(f, &s), at;
            if (!passed && (cut == o->n || !below(n, o->v[cut], f->value[k]))) {
                passed = true; /* this is where it stands */
                before = sc;
            }
            note(f, &s, k, cut);
            if (sc > best + 1e-12 && !isnan(at = place(n, o, cut))) {
                best = sc;
                best_value = at;
            }
        }
        if (cut < o->n) {
            add(f->t->d, &s, o->i[cut], rest[cut], -1.0);
            add(f->t->d, &s, o->i[cut], first[cut], 1.0);
        }
    }
    bool better = best > before + 1e-9;
    put(f, k, better ? best_value : f->value[k]);
    return better;
}

static void climb_all(struct fit *f)
{
    bool better = true;
    for (int round = 0; better && round < 8; round++) {
        better = false;
        for (int k = 0; k < f->t->n_number; k++)
            better = climb(f, k) || better;
    }
}

/* People read these numbers: as few digits as the goal and the quality allow. */
static void round_values(struct fit *f)
{
    struct tune_sum s = eval_fit(f);
    double floor_score = score(f, &s) - ROUND_QUALITY;

    for (int k = 0; k < f->t->n_number; k++) {
        double keep = f->value[k];
        for (int digits = 1; digits <= 4; digits++) {
            char text[32];
            snprintf(text, sizeof text, "%.*g", digits, keep);
            double r = strtod(text, NULL);
            if (r < f->t->number[k].min || r > f->t->number[k].max)
                continue;
            put(f, k, r);
            s = eval_fit(f);
            if (score(f, &s) >= floor_score)
                break;
            put(f, k, keep);
        }
    }
}

/* ---- all of it ---- */

static const struct order *sorting; /* qsort has no argument for it */

static int by_value(const void *pa, const void *pb)
{
    const int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;
    return (sorting->v[a] > sorting->v[b]) - (sorting->v[a] < sorting->v[b]);
}

/* The fitted records in order of number k's fact. */
static int make_order(struct fit *f, int k)
{
    struct order *o = &f->order[k];
    const struct tune_data *d = f->t->d;
    int64_t *at = malloc(sizeof *at * ((size_t)f->n_fit + 1)), last = f->n_fit;
    double *v = malloc(sizeof *v * ((size_t)f->n_fit + 1));

    o->i = malloc(sizeof *o->i * ((size_t)f->n_fit + 1));
    o->v = malloc(sizeof *o->v * ((size_t)f->n_fit + 1));
    if (at == NULL || v == NULL || o->i == NULL || o->v == NULL) {
        free(at);
        free(v);
        return BASE_ENOMEM;
    }
    for (int64_t i = 0; i < f->n_fit; i++) {
        if (rt_number_fact(d->p, &f->t->number[k], &d->f[f->rec[i]], &v[i]))
            at[o->n++] = i;
        else
            o->i[--last] = f->rec[i];
    }
    struct order by = {.v = v};
    sorting = &by;
    qsort(at, (size_t)o->n, sizeof *at, by_value);
    for (int64_t i = 0; i < o->n; i++) {
        o->i[i] = f->rec[at[i]];
        o->v[i] = v[at[i]];
    }
    free(at);
    free(v);
    return 0;
}

static void close_fit(struct fit *f)
{
    for (int k = 0; k < TUNE_MAX_NUMBER; k++) {
        free(f->order[k].i);
        free(f->order[k].v);
        f->order[k] = (struct order){0};
    }
    free(f->rec);
    free(f->yes);
    free(f->no);
}

/* At most `most` of the records that are not held out, evenly. */
static int open_fit(struct fit *f, struct tune *t, int64_t most)
{
    int64_t n = 0, seen = 0;

    *f = (struct fit){.t = t, .price = (double)NAN};
    for (int64_t i = 0; i < t->d->n; i++)
        n += t->d->held[i] == 0;
    most = n < most ? n : most;
    f->rec = malloc(sizeof *f->rec * ((size_t)most + 1));
    f->yes = malloc((size_t)most + 1);
    f->no = malloc((size_t)most + 1);
    if (f->rec == NULL || f->yes == NULL || f->no == NULL)
        return BASE_ENOMEM;
    for (int64_t i = 0; i < t->d->n; i++) {
        if (t->d->held[i] == 0 && seen++ * most / n >= f->n_fit && f->n_fit < most)
            f->rec[f->n_fit++] = i;
    }
    int rc = 0;
    for (int k = 0; k < t->n_number && rc == 0; k++)
        rc = make_order(f, k);
    for (int k = 0; k < t->n_number; k++)
        t->now.value[k] = t->number[k].value;
    return rc;
}

static void take_point(struct fit *f, struct tune_point *out)
{
    memcpy(out->value, f->value, sizeof out->value);
    out->sum = eval_fit(f);
}

static void use_point(struct fit *f, const struct tune_point *p)
{
    for (int k = 0; k < f->t->n_number; k++)
        put(f, k, p->value[k]);
}

/* Through the prices: quality lies within 0..1, so all of them lie within -1..1. */
static void by_price(struct fit *f)
{
    enum { N_PRICE = 17 };
    for (int i = 0; i < N_PRICE; i++) {
        f->price = 1.0 - 2.0 * i / (N_PRICE - 1);
        climb_all(f);
    }
    f->price = (double)NAN;
}

/* Prices find the corners only. Between them, one number goes in steps from a point that is seen,
 * and each other one is swept beside it. */
static void by_pairs(struct fit *f)
{
    enum { N_STEP = 24, N_FROM = 3 };
    struct tune_point from[N_FROM];
    int n = f->t->n_number > 2 ? N_FROM : 1;

    for (int i = 0; i < n; i++) {
        int bin = (i + 1) * TUNE_N_BIN / (n + 1);
        while (bin < TUNE_N_BIN - 1 && f->bin[bin].sum.n <= 0.0)
            bin++;
        from[i] = f->bin[bin].sum.n > 0.0 ? f->bin[bin] : f->t->now;
    }
    for (int i = 0; i < n; i++) {
        for (int a = 0; a < f->t->n_number; a++) {
            for (int step = 0; step <= N_STEP; step++) {
                double at = place(&f->t->number[a], &f->order[a], f->order[a].n * step / N_STEP);
                for (int b = 0; b < f->t->n_number && !isnan(at); b++) {
                    use_point(f, &from[i]);
                    put(f, a, at);
                    if (b != a)
                        (void)climb(f, b);
                }
            }
        }
    }
}

/* From the best points that were seen. */
static void find_best(struct fit *f)
{
    enum { N_TRY = 6 };
    struct tune *t = f->t;
    bool tried[TUNE_N_BIN] = {false};
    double best = -INFINITY;

    for (int try = 0; try <= N_TRY; try++) {
        const struct tune_point *from = &t->now;
        int lead = -1;
        for (int i = 0; i < TUNE_N_BIN && try > 0; i++) {
            if (f->bin[i].sum.n > 0.0 && !tried[i] &&
                (lead < 0 || score(f, &f->bin[i].sum) > score(f, &f->bin[lead].sum)))
                lead = i;
        }
        if (lead >= 0) {
            tried[lead] = true;
            from = &f->bin[lead];
        }
        use_point(f, from);
        climb_all(f);
        struct tune_sum s = eval_fit(f);
        if (score(f, &s) > best) {
            best = score(f, &s);
            take_point(f, &t->best);
        }
    }
}

/* What is better in quality than all that keeps more on the device. */
static void find_frontier(struct fit *f)
{
    struct tune *t = f->t;
    double best = -INFINITY;

    for (int i = TUNE_N_BIN - 1; i >= 0; i--) {
        const struct tune_point *b = &f->bin[i];
        if (b->sum.n <= 0.0 || tune_metric(&b->sum, TUNE_QUALITY) <= best)
            continue;
        best = tune_metric(&b->sum, TUNE_QUALITY);
        t->frontier[t->n_frontier++] = *b;
    }
}

static void add_tied(struct fit *f, const char *fact, double at)
{
    struct tune *t = f->t;

    if (t->n_tied == TUNE_N_TIED || isnan(at))
        return;
    for (int k = 0; k < t->n_number; k++) {
        if (strcmp(t->number[k].fact, fact) == 0)
            put(f, k, at);
    }
    take_point(f, &t->tied[t->n_tied]);
    if (t->n_tied == 0 || tune_miss(t, &t->tied[t->n_tied].sum) < tune_miss(t, &t->fixed.sum)) {
        t->fixed = t->tied[t->n_tied];
        f->fixed_at = at;
    }
    t->n_tied++;
}

/* The fact that most numbers ask for, all of them at one value: what one threshold can do. Around
 * the goal in smaller steps. */
static void find_tied(struct fit *f)
{
    enum { N_WIDE = 65, N_CLOSE = 16 };
    struct tune *t = f->t;
    int lead = 0, most = 0;

    for (int k = 0; k < t->n_number; k++) {
        int n = 0;
        for (int j = 0; j < t->n_number; j++)
            n += strcmp(t->number[j].fact, t->number[k].fact) == 0;
        if (n > most) {
            most = n;
            lead = k;
        }
    }
    const struct order *o = &f->order[lead];
    if (o->n == 0)
        return;
    use_point(f, &t->now);
    double step = (o->v[o->n - 1] - o->v[0]) / (N_WIDE - 1);
    for (int i = 0; i < N_WIDE; i++)
        add_tied(f, t->number[lead].fact, o->v[0] + step * i);
    for (int round = 0; round < 4; round++) {
        double around = f->fixed_at;
        for (int i = 1 - N_CLOSE / 2; i < N_CLOSE / 2; i++) {
            if (i != 0)
                add_tied(f, t->number[lead].fact, around + step * 2 * i / N_CLOSE);
        }
        step *= 2.0 / N_CLOSE;
    }
}

int tune_fit(struct tune *t, struct base_err *err)
{
    struct fit f, whole;
    int rc = open_fit(&f, t, TUNE_SAMPLE), rc_whole = open_fit(&whole, t, t->d->n);

    if (rc != 0 || rc_whole != 0) {
        rc = base_err_set(err, BASE_ENOMEM, "", "out of memory");
        goto out;
    }
    use_point(&f, &t->now);
    take_point(&f, &t->now);
    by_price(&f);
    by_pairs(&f);
    find_best(&f);
    find_frontier(&f);
    find_tied(&f);
    /* The sample found where; all of the records say exactly. */
    use_point(&whole, &t->best);
    climb_all(&whole);
    round_values(&whole);
    take_point(&whole, &t->best);
    use_point(&whole, &t->now);
    take_point(&whole, &t->now);
    if (t->n_tied > 0) {
        use_point(&whole, &t->fixed);
        take_point(&whole, &t->fixed);
    }
    t->met = tune_miss(t, &t->best.sum) <= 0.0;
out:
    close_fit(&f);
    close_fit(&whole);
    return rc;
}
