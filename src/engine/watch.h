/* The residual stream of a prompt, seen at a few layers while it is computed anyway: the mean over
 * its rows and the last row. A layer k stands for x_k, the stream that leaves block k - 1 (and
 * would enter block k), 1 to n_layer. Rows are added in order, so the result is the same bits for
 * every batch, chunk and thread count, and for layers run as [0,k) and [k,L). What is seen is as
 * private as the text that it was computed from. */
#ifndef ENG_WATCH_H
#define ENG_WATCH_H

#include <stdbool.h>

#include "base/err.h"

enum { ENG_WATCH_MAX = 8 };

struct eng_watch_opt {
    int n;                    /* layers; 0: nothing is watched */
    int layer[ENG_WATCH_MAX]; /* ascending */
    int from; /* the first position that counts, e.g. where the last message's words begin */
};

/* What was seen so far. */
struct eng_states {
    int n, d_model, layer[ENG_WATCH_MAX];
    int n_row[ENG_WATCH_MAX]; /* rows that have passed the layer; 0: mean and last are 0 */
    const float *mean, *last; /* [n][d_model] */
};

/* A watch over one session's rows; see eng_seg. One thread at a time. */
struct eng_watch {
    struct eng_watch_opt o;
    int d_model;
    int until; /* rows from this position on don't count; as large as can be from eng_watch_init on
                */
    int n_row[ENG_WATCH_MAX];
    float *sum, *last; /* [o.n][d_model], owned */
};

/* w is zeroed, or after eng_watch_fini. Errors: BASE_EINVAL (layers that are none or out of order),
 * BASE_ENOMEM. */
int eng_watch_init(struct eng_watch *w, const struct eng_watch_opt *o, int n_layer, int d_model,
                   struct base_err *err) BASE_MUST_CHECK;
void eng_watch_fini(struct eng_watch *w);
/* A row x[d_model] at position pos has passed layer. */
void eng_watch_add(struct eng_watch *w, int layer, int pos, const float *x);
/* Whether any watched layer is in (a, b]: blocks [a, b) will pass it. */
bool eng_watch_passes(const struct eng_watch *w, int a, int b);
/* mean and last go into buf [2][o.n][d_model], to which out then points. */
void eng_watch_get(const struct eng_watch *w, float *buf, struct eng_states *out);

#endif
