#include "engine/confidence_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* ---- what an answer was like ---- */

static void part_add(struct eng_answer_part *a, const struct eng_pick *p)
{
    const bool first = a->n++ == 0;
    a->min_logprob = first || p->logprob < a->min_logprob ? p->logprob : a->min_logprob;
    a->max_entropy = first || p->entropy > a->max_entropy ? p->entropy : a->max_entropy;
    a->min_margin = first || p->margin < a->min_margin ? p->margin : a->min_margin;
    a->sum_logprob += (double)p->logprob;
    a->sum_prob += exp((double)p->logprob);
    a->sum_entropy += (double)p->entropy;
    a->sum_margin += (double)p->margin;
}

void eng_answer_stats_add(struct eng_answer_stats *a, const struct eng_pick *p)
{
    part_add(&a->all, p);
    a->n_untold += p->untold;
    if (!p->forced)
        part_add(&a->choice, p);
}

/* What nobody doubted has no entropy and no rival. */
static double min_prob(const struct eng_answer_part *a)
{
    return a->n > 0 ? exp((double)a->min_logprob) : 1.0;
}

static double mean_prob(const struct eng_answer_part *a)
{
    return a->n > 0 ? a->sum_prob / a->n : 1.0;
}

static double geo_prob(const struct eng_answer_part *a)
{
    return a->n > 0 ? exp(a->sum_logprob / a->n) : 1.0;
}

static double all_prob(const struct eng_answer_part *a)
{
    return exp(a->sum_logprob);
}

static double max_entropy(const struct eng_answer_part *a)
{
    return (double)a->max_entropy;
}

static double mean_entropy(const struct eng_answer_part *a)
{
    return a->n > 0 ? a->sum_entropy / a->n : 0.0;
}

static double min_margin(const struct eng_answer_part *a)
{
    return a->n > 0 ? (double)a->min_margin : 1.0;
}

static double mean_margin(const struct eng_answer_part *a)
{
    return a->n > 0 ? a->sum_margin / a->n : 1.0;
}

static const struct {
    const char *name;
    double (*of)(const struct eng_answer_part *a);
    bool choice;
} signals[] = {
    {"min_prob", min_prob, false},         {"choice_min_prob", min_prob, true},
    {"mean_prob", mean_prob, false},       {"choice_mean_prob", mean_prob, true},
    {"geo_prob", geo_prob, false},         {"choice_geo_prob", geo_prob, true},
    {"all_prob", all_prob, false},         {"choice_all_prob", all_prob, true},
    {"max_entropy", max_entropy, false},   {"choice_max_entropy", max_entropy, true},
    {"mean_entropy", mean_entropy, false}, {"choice_mean_entropy", mean_entropy, true},
    {"min_margin", min_margin, false},     {"choice_min_margin", min_margin, true},
    {"mean_margin", mean_margin, false},   {"choice_mean_margin", mean_margin, true},
};
enum { N_SIGNAL = sizeof signals / sizeof signals[0] };

const char *eng_conf_signal_name(int i)
{
    return i >= 0 && i < N_SIGNAL ? signals[i].name : NULL;
}

bool eng_conf_signal_is_choice(int i)
{
    return signals[i].choice;
}

double eng_conf_signal(int i, const struct eng_answer_stats *a)
{
    if (!signals[i].choice && a->n_untold > 0)
        return (double)NAN;
    return signals[i].of(signals[i].choice ? &a->choice : &a->all);
}

/* ---- a file for a model ---- */

static int read_file(const char *path, char **text, size_t *len, struct base_err *err)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return base_err_set(err, BASE_EIO, path, "cannot open: %m");
    int rc = 0;
    char *buf = malloc(CONF_MAX_BYTES + 1);
    if (buf == NULL)
        rc = base_err_set(err, BASE_ENOMEM, path, "no memory to read it");
    *len = buf != NULL ? fread(buf, 1, CONF_MAX_BYTES + 1, f) : 0;
    if (rc == 0 && ferror(f) != 0)
        rc = base_err_set(err, BASE_EIO, path, "cannot read: %m");
    fclose(f);
    if (rc == 0)
        *text = buf;
    else
        free(buf);
    return rc;
}

static int refuse(struct base_err *err, const char *path, const char *what, const char *file,
                  const char *here)
{
    return base_err_set(err, BASE_EMISMATCH, path, "fitted on %s %s, but this is %s", what,
                        file[0] != '\0' ? file : "none", here[0] != '\0' ? here : "none");
}

static int check_binding(const struct eng_conf *c, const char *path, struct eng_model *m,
                         const struct eng_lora *lora, struct base_err *err)
{
    char model[33], adapter[33] = "";
    int rc = eng_lora_base_hash(m, model, err);
    if (rc != 0)
        return rc;
    if (lora != NULL)
        base_hex(eng_lora_info(lora)->hash, sizeof eng_lora_info(lora)->hash, adapter);
    if (strcmp(c->model, model) != 0)
        return refuse(err, path, "model", c->model, model);
    if (strcmp(c->adapter, adapter) != 0)
        return refuse(err, path, "adapter", c->adapter, adapter);
    return 0;
}

int eng_conf_open(struct eng_conf **out, const char *path, struct eng_model *m,
                  const struct eng_lora *lora, struct base_err *err)
{
    char *text = NULL;
    size_t len = 0;
    const struct eng_config *mc = eng_model_config(m);
    *out = NULL;
    int rc = read_file(path, &text, &len, err);
    if (rc != 0)
        return rc;
    rc = eng_conf_parse(out, text, len, path, mc->n_layer, mc->d_model, err);
    free(text);
    if (rc == 0)
        rc = check_binding(*out, path, m, lora, err);
    if (rc != 0) {
        eng_conf_close(*out);
        *out = NULL;
    }
    return rc;
}

void eng_conf_close(struct eng_conf *c)
{
    if (c == NULL)
        return;
    for (int t = 0; t < ENG_CONF_N_TASK; t++) {
        for (int i = 0; i < c->task[t].n_state; i++)
            free(c->task[t].state[i].weight);
        free(c->task[t].knot);
    }
    free(c);
}

/* ---- asking it ---- */

const char *eng_conf_task_name(enum eng_conf_task task)
{
    static const char *const name[ENG_CONF_N_TASK] = {
        [ENG_CONF_CALL] = "call", [ENG_CONF_COMMAND] = "command", [ENG_CONF_ANSWER] = "answer"};
    return name[task];
}

bool eng_conf_has(const struct eng_conf *c, enum eng_conf_task task)
{
    return c != NULL && c->task[task].have;
}

bool eng_conf_choices_only(const struct eng_conf *c, enum eng_conf_task task)
{
    for (int i = 0; c != NULL && i < c->task[task].n_signal; i++) {
        if (!signals[c->task[task].signal[i].id].choice)
            return false;
    }
    return true;
}

void eng_conf_watch(const struct eng_conf *c, enum eng_conf_task task, struct eng_watch_opt *w)
{
    w->n = 0;
    for (int i = 0; c != NULL && i < c->task[task].n_state; i++) {
        const int layer = c->task[task].state[i].layer;
        int at = w->n;
        while (at > 0 && w->layer[at - 1] >= layer)
            at--;
        if (at < w->n && w->layer[at] == layer)
            continue;
        memmove(w->layer + at + 1, w->layer + at, (size_t)(w->n - at) * sizeof w->layer[0]);
        w->layer[at] = layer;
        w->n++;
    }
}

/* NAN: not seen. */
static double state_score(const struct conf_state *k, const struct eng_states *s)
{
    int i = 0;
    while (s != NULL && i < s->n && s->layer[i] != k->layer)
        i++;
    if (s == NULL || i == s->n || s->n_row[i] == 0 || s->d_model != k->n)
        return (double)NAN;
    const float *x = (k->last ? s->last : s->mean) + (size_t)i * (size_t)k->n;
    double sum = 0.0;
    for (int d = 0; d < k->n; d++)
        sum += (double)k->weight[d] * (double)x[d];
    return sum;
}

static double through_knots(const struct conf_task *t, double score)
{
    const struct conf_knot *k = t->knot;
    int lo = 0, hi = t->n_knot - 1;
    if (score <= k[0].score)
        return k[0].p;
    if (score >= k[hi].score)
        return k[hi].p;
    while (hi - lo > 1) {
        const int mid = lo + (hi - lo) / 2;
        if (k[mid].score <= score)
            lo = mid;
        else
            hi = mid;
    }
    return k[lo].p + (k[hi].p - k[lo].p) * ((score - k[lo].score) / (k[hi].score - k[lo].score));
}

float eng_conf_ask(const struct eng_conf *c, enum eng_conf_task task,
                   const struct eng_answer_stats *a, const struct eng_states *s)
{
    if (!eng_conf_has(c, task))
        return -1.0f;
    const struct conf_task *t = &c->task[task];
    double score = t->bias;
    if (t->n_signal > 0 && (a == NULL || a->all.n == 0))
        return -1.0f;
    for (int i = 0; i < t->n_signal; i++) {
        const struct conf_signal *g = &t->signal[i];
        score += g->weight * ((eng_conf_signal(g->id, a) - g->mean) / g->scale);
    }
    for (int i = 0; i < t->n_state; i++)
        score += state_score(&t->state[i], s);
    if (!isfinite(score))
        return -1.0f;
    return (float)(t->n_knot > 0 ? through_knots(t, score) : 1.0 / (1.0 + exp(-score)));
}
