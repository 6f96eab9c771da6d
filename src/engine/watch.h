/* The residual stream of a prompt, seen at a few layers while it is computed anyway: the mean over
 * its rows and the last row. A layer k stands for x_k, the stream that leaves block k - 1 (and
 * would enter block k), 1 to n_layer. Rows are added in order, so the result is the same bits for
 * every batch, chunk and thread count, and for layers run as [0,k) and [k,L). What is seen is as
 * private as the text that it was computed from. */
#ifndef ENG_WATCH_H
#define ENG_WATCH_H

enum { ENG_WATCH_MAX = 8 };

struct eng_watch_opt {
    int n;                    /* layers; 0: nothing is watched */
    int layer[ENG_WATCH_MAX]; /* ascending */
    int from; /* the first position that counts, e.g. where the last message begins */
};

/* What was seen so far. */
struct eng_states {
    int n, layer[ENG_WATCH_MAX];
    int n_row[ENG_WATCH_MAX]; /* rows that have passed the layer; 0: none yet, mean and last are 0
                               */
    const float *mean, *last; /* [n][d_model] */
};

#endif
