/* The inside of a confidence file: confidence_text.c reads it, confidence.c asks it. */
#ifndef ENG_CONFIDENCE_INT_H
#define ENG_CONFIDENCE_INT_H

#include "engine/confidence.h"

enum {
    CONF_VERSION = 1,
    CONF_MAX_BYTES = 4 << 20,
    CONF_MAX_SIGNAL = 16, /* a task */
    CONF_MAX_STATE = 4,   /* a task */
    CONF_MAX_KNOT = 1024, /* a task */
    CONF_MAX_WIDTH = 1 << 17,
};

/* weight * (x - mean) / scale */
struct conf_signal {
    int id; /* in conf_signals */
    double weight, mean, scale;
};

/* The dot product with a layer's state. */
struct conf_state {
    bool last; /* the last row; else the mean */
    int layer, n;
    float *weight; /* [n], owned */
};

struct conf_knot {
    double score, p;
};

/* score = bias + signals + states; then a line through the knots, or without any 1 / (1 +
 * exp(-score)).
 */
struct conf_task {
    bool have;
    double bias;
    int n_signal, n_state, n_knot;
    struct conf_signal signal[CONF_MAX_SIGNAL];
    struct conf_state state[CONF_MAX_STATE];
    struct conf_knot *knot; /* [n_knot], owned */
};

struct eng_conf {
    char model[33], adapter[33]; /* hex; adapter "": fitted without one */
    struct conf_task task[ENG_CONF_N_TASK];
};

#endif
