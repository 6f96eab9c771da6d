/* All candidates on the same held-out folds; the cheapest of those as good as the best is fitted on
 * everything. */
#include "ctl/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CAND = TUNE_MAX_SIGNAL + 2 + 4 * TUNE_MAX_LAYER, LEAST = 10, ANSWER = -1 };

/* Of answers that are held to a catalogue only choices are looked at: the rest is never computed in
 * the car. */
static int signals_of(bool held, int out[TUNE_MAX_SIGNAL])
{
    int n = 0;
    for (int i = 0; n < TUNE_MAX_SIGNAL && eng_conf_signal_name(i) != NULL; i++) {
        if (eng_conf_signal_is_choice(i) == held)
            out[n++] = i;
    }
    return n;
}

/* ---- candidates ---- */

static struct tune_cand *cand_add(struct tune_task *t)
{
    struct tune_cand *c = &t->cand[t->n_cand++];
    c->score = calloc((size_t)t->n_row, sizeof *c->score);
    c->p = calloc((size_t)t->n_row, sizeof *c->p);
    return c->score != NULL && c->p != NULL ? c : NULL;
}

static int add_signals(struct tune_task *t, const struct tune_log *l, bool held)
{
    t->n_signal = signals_of(held, t->signal);
    const int n = t->n_signal;
    t->signals = calloc((size_t)l->n * (size_t)n, sizeof *t->signals);
    if (t->signals == NULL)
        return BASE_ENOMEM;
    for (int i = 0; i <= n; i++) {
        struct tune_cand *c = cand_add(t);
        if (c == NULL)
            return BASE_ENOMEM;
        c->usable = t->task != ENG_CONF_COMMAND; /* that is asked before there is an answer */
        c->n_signal = i < n ? 1 : n;
        c->signal = i;
        c->cost = i < n ? 0 : 1;
        c->d = i < n ? 1 : n;
        c->x = i < n ? NULL : t->signals;
        snprintf(c->name, sizeof c->name, "%s",
                 i < n ? eng_conf_signal_name(t->signal[i]) : "all signals");
        for (int r = 0; r < l->n && i < n; r++)
            t->signals[(size_t)r * (size_t)n + (size_t)i] =
                (float)eng_conf_signal(t->signal[i], &l->row[r].stats);
    }
    return 0;
}

/* For commands: the answer itself, by how sure it is. What it costs to wait for it. */
static int add_answer(struct tune_task *t, const struct tune_log *l)
{
    if (t->task != ENG_CONF_COMMAND)
        return 0;
    struct tune_cand *c = cand_add(t);
    t->answer = calloc((size_t)l->n + 1, sizeof *t->answer);
    if (c == NULL || t->answer == NULL)
        return BASE_ENOMEM;
    c->d = 1;
    c->signal = ANSWER;
    snprintf(c->name, sizeof c->name, "the answer: none or not");
    for (int i = 0; i < l->n; i++) {
        const double sure = exp(l->row[i].stats.choice.sum_logprob);
        t->answer[i] = strcmp(l->row[i].said, "none") == 0 ? -sure : sure;
    }
    return 0;
}

/* fit: the states of what they are fitted on, or NULL. */
static int add_probes(struct tune_task *t, const struct tune_states *s,
                      const struct tune_states *fit, bool bare)
{
    for (int i = 0; i < 2 * s->n_layer; i++) {
        struct tune_cand *c = cand_add(t);
        if (c == NULL)
            return BASE_ENOMEM;
        c->probe = true;
        c->last = i % 2 == 1;
        c->bare = bare;
        c->layer = s->layer[i / 2];
        c->d = s->d;
        c->x = tune_state(s, i / 2, c->last, t->n_row);
        c->fit_x = fit != NULL ? tune_state(fit, i / 2, c->last, t->n_fit) : NULL;
        c->usable = !bare;
        c->cost = 2 + c->layer;
        snprintf(c->name, sizeof c->name, "probe %s %d%s", c->last ? "last" : "mean", c->layer,
                 bare ? ", no adapter" : "");
    }
    return 0;
}

/* ---- held-out folds ---- */

struct fold_work {
    int *fold, *train, *order; /* [n_row] */
    uint8_t *label;            /* [n_row] of the training rows */
    double *held;              /* [n_row] */
    struct fit_knot *knot;     /* [n_row] */
};

static void fold_work_fini(struct fold_work *w)
{
    free(w->fold);
    free(w->train);
    free(w->order);
    free(w->label);
    free(w->held);
    free(w->knot);
}

static bool fold_work_init(struct fold_work *w, int n)
{
    const size_t s = (size_t)n + 1;
    *w = (struct fold_work){0};
    return (w->fold = calloc(s, sizeof(int))) != NULL &&
           (w->train = calloc(s, sizeof(int))) != NULL &&
           (w->order = calloc(s, sizeof(int))) != NULL && (w->label = calloc(s, 1)) != NULL &&
           (w->held = calloc(s, sizeof(double))) != NULL &&
           (w->knot = calloc(s, sizeof *w->knot)) != NULL;
}

static double signal_of(const struct tune_task *t, int row, int signal)
{
    if (signal == ANSWER)
        return t->answer[row];
    return (double)t->signals[(size_t)row * (size_t)t->n_signal + (size_t)signal];
}

static double score_of(const struct tune_task *t, const struct tune_cand *c,
                       const struct fit_logit *logit, double sign, int row)
{
    return c->x != NULL ? fit_logit_score(logit, c->x + (size_t)row * (size_t)c->d)
                        : sign * signal_of(t, row, c->signal);
}

/* The regression of a candidate that is fitted on sentences of its own. */
static int fit_apart(const struct tune_task *t, const struct tune_cand *c, uint64_t seed,
                     struct fit_logit *logit, struct base_err *err)
{
    int *row = calloc((size_t)t->n_fit + 1, sizeof *row);
    double *held = calloc((size_t)t->n_fit + 1, sizeof *held);
    int rc = row == NULL || held == NULL ? base_err_set(err, BASE_ENOMEM, c->name, "no memory") : 0;
    for (int i = 0; i < t->n_fit && rc == 0; i++)
        row[i] = i;
    if (rc == 0)
        rc = fit_logit(logit, c->fit_x, c->d, t->fit_label, row, t->n_fit, seed, held, err);
    free(row);
    free(held);
    return rc;
}

/* Fits c on the rows train[n]: the regression if it is one and not fitted apart, then the knots of
 * scores that were held out. Their number, or an error. */
static int fit_on(const struct tune_task *t, const struct tune_cand *c, struct fold_work *w, int n,
                  uint64_t seed, struct fit_logit *logit, double *sign, struct base_err *err)
{
    for (int i = 0; i < n; i++)
        w->label[i] = t->label[w->train[i]];
    *sign = 1;
    int rc = 0;
    if (c->x != NULL && c->fit_x == NULL) {
        fit_logit_fini(logit);
        rc = fit_logit(logit, c->x, c->d, t->label, w->train, n, seed, w->held, err);
    } else {
        for (int i = 0; i < n; i++)
            w->held[i] = score_of(t, c, logit, 1, w->train[i]);
        if (c->x == NULL && fit_auroc(w->held, w->label, n, w->order) < 0.5)
            *sign = -1;
        for (int i = 0; i < n; i++)
            w->held[i] *= *sign;
    }
    if (rc == 0)
        rc = fit_isotonic(w->held, w->label, n, w->knot, w->order);
    return rc == BASE_ENOMEM ? base_err_set(err, rc, c->name, "no memory") : rc;
}

static int cross_validate(struct tune_task *t, struct tune_cand *c, struct fold_work *w,
                          const struct tune_args *a, struct base_err *err)
{
    struct fit_logit logit = {0};
    int rc = c->fit_x != NULL ? fit_apart(t, c, a->seed + 1, &logit, err) : 0;
    for (int f = 0; f < a->n_fold && rc == 0; f++) {
        double sign = 1;
        int n = 0;
        for (int i = 0; i < t->n_row; i++) {
            if (w->fold[i] != f)
                w->train[n++] = i;
        }
        const int n_knot = fit_on(t, c, w, n, a->seed + 1, &logit, &sign, err);
        rc = n_knot < 0 ? n_knot : 0;
        for (int i = 0; i < t->n_row && rc == 0; i++) {
            if (w->fold[i] != f)
                continue;
            c->score[i] = score_of(t, c, &logit, sign, i);
            c->p[i] = fit_through(w->knot, n_knot, c->score[i]);
        }
    }
    fit_logit_fini(&logit);
    if (rc != 0)
        return rc;
    c->loss = fit_log_loss(c->p, t->label, t->n_row);
    rc = fit_bootstrap(c->score, c->p, t->label, t->n_row, a->n_resample, a->seed + 2, &c->auroc,
                       &c->ece);
    return rc != 0 ? base_err_set(err, rc, c->name, "no memory") : 0;
}

/* Of those within a standard error of the best, the cheapest, and of those the best: Breiman et
 * al., Classification and Regression Trees, 1984, section 3.4.3. */
static int choose(const struct tune_task *t)
{
    int best = -1, out = -1;
    for (int i = 0; i < t->n_cand; i++) {
        if (t->cand[i].usable && (best < 0 || t->cand[i].auroc.at > t->cand[best].auroc.at))
            best = i;
    }
    for (int i = 0; i < t->n_cand && best >= 0; i++) {
        const struct tune_cand *c = &t->cand[i], *o = out >= 0 ? &t->cand[out] : NULL;
        if (!c->usable || c->auroc.at < t->cand[best].auroc.at - t->cand[best].auroc.sd)
            continue;
        if (o == NULL || c->cost < o->cost || (c->cost == o->cost && c->auroc.at > o->auroc.at))
            out = i;
    }
    return out;
}

static int fit_chosen(struct tune_task *t, struct fold_work *w, const struct tune_args *a,
                      struct base_err *err)
{
    for (int i = 0; i < t->n_row; i++)
        w->train[i] = i;
    const struct tune_cand *c = &t->cand[t->best];
    const int rc = c->fit_x != NULL ? fit_apart(t, c, a->seed + 1, &t->logit, err) : 0;
    if (rc != 0)
        return rc;
    const int n = fit_on(t, c, w, t->n_row, a->seed + 1, &t->logit, &t->sign, err);
    if (n < 0)
        return n;
    t->knot = w->knot;
    t->n_knot = n;
    w->knot = NULL;
    return 0;
}

static void tell(const struct tune_task *t, int done)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rcandidates: %d of %d%s", done, t->n_cand, done == t->n_cand ? "\n" : "");
}

static int label_rows(const struct tune_log *l, enum eng_conf_task task, uint8_t **out, int *n_yes,
                      struct base_err *err)
{
    const bool command = task == ENG_CONF_COMMAND;
    *out = calloc((size_t)l->n + 1, 1);
    if (*out == NULL)
        return base_err_set(err, BASE_ENOMEM, "tune", "no memory for %d sentences", l->n);
    *n_yes = 0;
    for (int i = 0; i < l->n; i++)
        *n_yes += (*out)[i] = command ? !tune_is_none(&l->row[i]) : tune_is_right(&l->row[i]);
    if (*n_yes < LEAST || l->n - *n_yes < LEAST)
        return base_err_set(
            err, BASE_EINVAL, command ? "task command" : "task call",
            "%d of %d sentences are %s: to tell these from the others takes %d of both", *n_yes,
            l->n, command ? "commands" : "answered right", LEAST);
    return 0;
}

int tune_task_fit(struct tune_task *t, enum eng_conf_task task, const struct tune_args *a,
                  const struct tune_set *data, const struct tune_set *fit, struct base_err *err)
{
    struct fold_work w = {0};
    int n_yes = 0;
    const struct tune_log *l = &data->log;
    if (task != ENG_CONF_COMMAND)
        fit = NULL;
    *t = (struct tune_task){.task = task, .n_row = l->n, .best = -1};
    int rc = label_rows(l, task, &t->label, &t->n_yes, err);
    if (rc == 0 && fit != NULL) {
        t->n_fit = fit->log.n;
        rc = label_rows(&fit->log, task, &t->fit_label, &n_yes, err);
    }
    if (rc != 0)
        return rc;
    t->cand = calloc(MAX_CAND, sizeof *t->cand);
    if (t->cand == NULL || !fold_work_init(&w, l->n) ||
        add_signals(t, l, a->catalogue != NULL) != 0 || add_answer(t, l) != 0 ||
        add_probes(t, &data->own, fit != NULL ? &fit->own : NULL, false) != 0 ||
        add_probes(t, &data->bare, fit != NULL ? &fit->bare : NULL, true) != 0)
        rc = base_err_set(err, BASE_ENOMEM, "tune", "no memory for candidates");
    if (rc == 0)
        fit_folds(t->label, l->n, a->n_fold, a->seed, w.fold);
    for (int i = 0; i < t->n_cand && rc == 0; i++) {
        rc = cross_validate(t, &t->cand[i], &w, a, err);
        tell(t, i + 1);
    }
    if (rc == 0)
        t->best = choose(t);
    if (rc == 0 && t->best >= 0)
        rc = fit_chosen(t, &w, a, err);
    fold_work_fini(&w);
    return rc;
}

void tune_task_fini(struct tune_task *t)
{
    for (int i = 0; i < t->n_cand; i++) {
        free(t->cand[i].score);
        free(t->cand[i].p);
    }
    free(t->cand);
    free(t->label);
    free(t->fit_label);
    free(t->signals);
    free(t->answer);
    free(t->knot);
    fit_logit_fini(&t->logit);
    *t = (struct tune_task){0};
}
