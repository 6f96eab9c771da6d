/* What requests cost in energy, from a counter of the machine: Linux powercap's energy_uj (with
 * max_energy_range_uj beside it, where it starts anew) or hwmon's energy*_input, both in microjoules.
 * It is read whenever a request begins or ends to run; what was used since the last time is divided
 * equally among those that ran. What nobody ran for is nobody's. So all requests together are told what
 * the counter says for the time when any ran, the machine's own needs in that time included. Loop
 * thread. */
#ifndef EDGE_ENERGY_H
#define EDGE_ENERGY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct edge_energy {
    int fd; /* -1: no counter */
    bool have;
    uint64_t at_uj, range_uj; /* the last reading; 0: it does not start anew */
    int n_run;
    double each_j;  /* of one request that would have run all the time */
    uint64_t n_gap; /* times that could not be measured while somebody ran */
};

/* One request's, while it runs. */
struct edge_energy_mark {
    double each_j;
    uint64_t n_gap;
};

/* path "": none. A counter that cannot be opened is an error: the configuration names it.
 * Errors: BASE_EIO. */
int edge_energy_open(struct edge_energy *e, const char *path, struct base_err *err) BASE_MUST_CHECK;
void edge_energy_close(struct edge_energy *e);

/* Reads the counter. */
void edge_energy_look(struct edge_energy *e);
void edge_energy_begin(struct edge_energy *e, struct edge_energy_mark *m);
/* Joules since the mark, as of the last look; -1: not known. */
double edge_energy_since(const struct edge_energy *e, const struct edge_energy_mark *m);
/* The same, with a look, for one that has ended to run. */
double edge_energy_end(struct edge_energy *e, const struct edge_energy_mark *m);

#endif
