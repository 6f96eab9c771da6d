/* Fitting a policy's numbers to a goal over a labelled log. One thread.
 *
 * A test such as `confidence: { lt: 0.4 }` splits the records by one fact. With all other numbers
 * fixed, a record has one outcome on the one side of the split and one on the other, so sums over
 * the records in order of that fact give every place of this number at once. Number by number, that
 * climbs: to the most quality less a price for each request that leaves, for many prices; then one
 * number goes in steps and each other is swept beside it. The best seen at each edge share is the
 * frontier, and from there it climbs to the best that meets the goal. */
#ifndef CTL_POLICY_TUNE_H
#define CTL_POLICY_TUNE_H

#include "ctl/policy_sim.h"
#include "router/numbers.h"

enum {
    TUNE_MAX_NUMBER = 16,
    TUNE_MAX_ROUTE = 16,
    TUNE_MAX_GOAL = 8,
    TUNE_N_BIN = 100,  /* of the frontier, by edge share */
    TUNE_N_TIED = 129, /* of the baseline, at most */
    TUNE_SAMPLE = 10000,
};

/* Sums over records; means by division. */
struct tune_sum {
    double n, left, quality, ms, bytes;
};
enum tune_metric { TUNE_EDGE, TUNE_QUALITY, TUNE_MS, TUNE_BYTES };
/* edge share (0..1), mean quality, mean ms, mean bytes out a request */
double tune_metric(const struct tune_sum *s, enum tune_metric m);

struct tune_goal {
    enum tune_metric metric;
    int sign; /* 0: equal, 1: at least, -1: at most */
    double value;
};

struct tune_cost {
    float quality, ms, bytes;
};

struct tune_data {
    struct rt_policy *p;
    int64_t n, n_skipped;   /* records; those without labels */
    struct rt_facts *f;     /* [n] */
    uint8_t *held;          /* [n] not for fitting */
    struct tune_cost *cost; /* [n][n_route] */
    int n_route;
    bool leaves[TUNE_MAX_ROUTE];
    uint8_t *route_of; /* [n_rule + 1] by rule, the last: none */
    int64_t n_guessed; /* times taken from a mean of the route, n_unknown: 0 */
    int64_t n_unknown;
    struct base_arena arena;
};
/* Reads the log. holdout: share of the conversations that are not for fitting. tune_data_fini also
 * after an error. Errors: BASE_EIO, BASE_ENOMEM, BASE_ELIMIT, BASE_EFORMAT (no labels). */
int tune_data_read(struct tune_data *d, struct rt_policy *p, const char *log, double holdout,
                   struct base_err *err) BASE_MUST_CHECK;
void tune_data_fini(struct tune_data *d);

struct tune_point {
    double value[TUNE_MAX_NUMBER];
    struct tune_sum sum;
};

struct tune {
    struct tune_data *d;
    struct rt_number number[TUNE_MAX_NUMBER];
    int n_number;
    struct tune_goal goal[TUNE_MAX_GOAL];
    int n_goal;
    struct tune_point now, best;            /* as the file is; what was found */
    bool met;                               /* the goal, by best */
    struct tune_point frontier[TUNE_N_BIN]; /* [n_frontier] by edge share, from none */
    int n_frontier;
    struct tune_point tied[TUNE_N_TIED]; /* one value for all numbers on one fact */
    int n_tied;
    struct tune_point fixed; /* of tied: nearest to the goal */
};
/* Errors: BASE_ENOMEM. */
int tune_fit(struct tune *t, struct base_err *err) BASE_MUST_CHECK;
/* Sums with these values over the records that are held out, or the others. */
struct tune_sum tune_eval(struct tune *t, const double *value, bool held);
/* How far the goal is missed: 0 is met. */
double tune_miss(const struct tune *t, const struct tune_sum *s);

/* policy_plot.c: the frontier as SVG. */
int tune_plot(const struct tune *t, const char *title, struct base_buf *out) BASE_MUST_CHECK;

#endif
