/* How long a target would take for a request, from what its past answers took. Of each answer the link's
 * part (a round trip, and the bytes at the uplink's rate where that is known) is taken off, what is left
 * is the server's; a prediction puts the link as it is now back on. Recent answers weigh more. One for
 * each target and mode; the facts know targets only and are told the slower. Loop thread. */
#ifndef EDGE_OUTLOOK_H
#define EDGE_OUTLOOK_H

#include <stdint.h>

#include "router/router.h"

enum {
    EDGE_OUTLOOK_MAX = 2 * RT_MAX_TARGET,
    EDGE_OUTLOOK_LEAST = 3,     /* answers before anything is said */
    EDGE_OUTLOOK_AGE_S = 30 * 60, /* nothing is said from this long after the last */
};

/* Decaying sums of (x, y): the mean, and a line through it where x varies. */
struct edge_trend {
    double w, x, y, xx, xy;
};

struct edge_past {
    char target[72]; /* "": this one is free */
    enum rt_mode mode;
    int64_t n, last_us;
    bool knew_rate;            /* the uplink's part is taken off `first` */
    struct edge_trend first;   /* prompt tokens -> ms of the server to the first token */
    struct edge_trend answer;  /* answer's tokens -> ms from the first to the last */
    struct edge_trend bytes;   /* prompt tokens -> bytes that go before the first token comes */
};

struct edge_outlook {
    struct edge_past at[EDGE_OUTLOOK_MAX];
};

/* The link as it stands; below or at 0: not known. */
struct edge_wire {
    double rtt_ms, up_kbps;
};

struct edge_took {
    int n_prompt, n_answer; /* tokens */
    double bytes, first_ms; /* released until the first token came; from leaving until then */
    double answer_ms;       /* from the first token to the last */
};

/* One whole answer by the target alone, over a link as it was when the request left. */
void edge_outlook_add(struct edge_outlook *o, int64_t now_us, const char *target, enum rt_mode mode,
                      const struct edge_wire *wire, const struct edge_took *t);
/* Milliseconds to the first token, and to the last of n_answer; -1: not known. */
void edge_outlook_get(const struct edge_outlook *o, int64_t now_us, const char *target,
                      const struct edge_wire *wire, int n_prompt, int n_answer, double *first_ms,
                      double *total_ms);

#endif
