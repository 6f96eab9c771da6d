/* waypostctl tune confidence, in its parts: the log is read (tune_log.c), run through the model
 * (tune_run.c), signals are compared (tune_fit.c), and told (tune_report.c, tune_file.c). */
#ifndef CTL_TUNE_H
#define CTL_TUNE_H

#include <jansson.h>

#include "ctl/fit.h"
#include "engine/confidence.h"

struct base_buf;

enum { TUNE_MAX_SIGNAL = 32, TUNE_MAX_LAYER = ENG_WATCH_MAX };

struct tune_args {
    const char *model, *adapter, *data, *fit, *catalogue, *out, *rows; /* NULL: not given */
    int layer[TUNE_MAX_LAYER], n_layer; /* 0: spread over the model */
    int n_fold, n_resample, max_tok, n_thread;
    uint64_t seed;
    bool json, force, has_task[ENG_CONF_N_TASK];
};

/* A sentence and what should be answered to it. */
struct tune_row {
    const char *lang, *text, *want; /* in the log's buffer */
    char *said;                     /* what was answered; owned */
    struct eng_answer_stats stats;
};

struct tune_log {
    char *buf;
    struct tune_row *row;
    int n;
};

/* LANGUAGE tab SENTENCE tab LINE; lines that begin with # are skipped. Errors: BASE_EFORMAT with
 * FILE:LINE, BASE_ELIMIT (FIT_MAX_ROWS, bytes), BASE_EIO, BASE_ENOMEM. */
int tune_log_read(struct tune_log *out, const char *path, struct base_err *err) BASE_MUST_CHECK;
void tune_log_fini(struct tune_log *l);
bool tune_is_none(const struct tune_row *r);  /* an open question */
bool tune_is_right(const struct tune_row *r); /* the line that was wanted */

/* The states of every sentence's words, at some layers. */
struct tune_states {
    int n_layer, layer[TUNE_MAX_LAYER], d;
    float *v; /* [layer][mean, last][row][d] */
};
static inline const float *tune_state(const struct tune_states *s, int layer, bool last, int n_row)
{
    return s->v + (size_t)(2 * layer + last) * (size_t)n_row * (size_t)s->d;
}

/* A log and what the model made of it. */
struct tune_set {
    struct tune_log log;
    struct tune_states own,
        bare; /* with the adapter; without, where that differs (n_layer 0: nowhere) */
};
void tune_set_fini(struct tune_set *s);

struct tune_run {
    struct eng_model *m;
    struct eng_lora *lora;       /* NULL: none */
    char model[33], adapter[33]; /* hashes; "": none */
    struct eng_exec *e;
    struct eng_vocab *vocab;
    struct api_catalogue *cat; /* NULL: answers are free */
    int layer[TUNE_MAX_LAYER], n_layer;
};
int tune_run_open(struct tune_run *r, const struct tune_args *a,
                  struct base_err *err) BASE_MUST_CHECK;
void tune_run_close(struct tune_run *r);
/* Runs every sentence of s->log: states, and, if wanted, answers and signals. */
int tune_run_set(struct tune_run *r, const struct tune_args *a, struct tune_set *s, bool answers,
                 struct base_err *err) BASE_MUST_CHECK;

/* A way to tell. */
struct tune_cand {
    char name[64];
    int n_signal, signal; /* one of the task's, or with n_signal > 1 a regression over all */
    bool probe, last, bare;
    int layer;          /* of a probe */
    int d;              /* features */
    const float *x;     /* [row][d], borrowed; NULL: the signal itself */
    const float *fit_x; /* [row of the set to fit on][d], borrowed; NULL: fitted on other folds */
    bool usable;        /* the engine can have it when the task asks */
    int cost;           /* of those as good, the least is chosen */
    double *score, *p;  /* [row] when held out */
    struct fit_interval auroc, ece;
    double loss;
};

struct tune_task {
    enum eng_conf_task task;
    int n_row, n_yes, n_fit;
    uint8_t *label, *fit_label; /* [n_row], [n_fit] */
    struct tune_cand *cand;
    int n_cand, best;                      /* -1: none is usable */
    int n_signal, signal[TUNE_MAX_SIGNAL]; /* the engine's numbers */
    float *signals;                        /* [row][n_signal], owned */
    double *answer; /* [row] of commands: how sure it is, negative if it is none; owned */
    /* The chosen one, fitted on all rows. */
    struct fit_logit logit; /* d 0: the signal itself, times sign */
    double sign;
    struct fit_knot *knot;
    int n_knot;
};

/* Compares all candidates on held-out folds of data, chooses, and fits the chosen one on
 * everything. fit: what probes for commands are fitted on; NULL: on the other folds, as all the
 * rest. Errors: BASE_EINVAL (too few sentences of one kind), BASE_ENOMEM. */
int tune_task_fit(struct tune_task *out, enum eng_conf_task task, const struct tune_args *a,
                  const struct tune_set *data, const struct tune_set *fit,
                  struct base_err *err) BASE_MUST_CHECK;
void tune_task_fini(struct tune_task *t);

void tune_print(const struct tune_task *t, const struct tune_log *l, const struct tune_args *a);
json_t *tune_json(const struct tune_task *t, const struct tune_log *l);
/* The confidence file of these tasks. */
void tune_write(const struct tune_run *r, const struct tune_task *t, int n_task,
                const struct tune_args *a, struct base_buf *out);
/* Every sentence with what was answered, the signals, and what c makes of them. BASE_ENOMEM. */
int tune_write_rows(const struct tune_set *s, const struct eng_conf *c,
                    struct base_buf *out) BASE_MUST_CHECK;

#endif
