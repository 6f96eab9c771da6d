/* Signals of the vehicle, by name (COVESA VSS, or a fact's own): JSON lines on a unix socket that
 * the edge listens on, or a file that is read again when it changes.
 *
 *   {"Vehicle.Speed": 48.5, "Vehicle.IsMoving": true, "vehicle.guest_mode": null, "time":
 * 1795655000.25}
 *
 * A value is true, false, a number, a text of at most 64 bytes, or null: not known any more.
 * `time`: when it was measured, Unix seconds; without it, now (a file: when it was written). Who
 * may write is who may open the socket or the file. Loop thread. */
#ifndef EDGE_SIGNALS_H
#define EDGE_SIGNALS_H

#include "edge/config.h"
#include "net/local/loop.h"
#include "router/router.h"

struct edge_signals;

enum {
    EDGE_SIGNAL_MAX = 256,
    EDGE_SIGNAL_NAME = 96,
    EDGE_SIGNAL_TEXT = 64,
    EDGE_SIGNAL_LINE = 64 << 10, /* longest line */
    EDGE_SIGNAL_LINK_MS = 10000, /* what is said of the link counts for so long */
};

/* Binds the socket: before the seal. Errors: BASE_ENOMEM, BASE_EIO, BASE_EPERM (something else is
 * at its path). */
int edge_signals_open(struct edge_signals **out, const struct edge_config *c, struct net_loop *l,
                      struct base_err *err) BASE_MUST_CHECK;
void edge_signals_free(struct edge_signals *s); /* NULL is fine */

/* One line. Whole or not at all. BASE_EFORMAT, BASE_ELIMIT, BASE_ENOMEM. */
int edge_signals_take(struct edge_signals *s, const char *line, size_t len, int64_t mono_us,
                      int64_t real_us, struct base_err *err) BASE_MUST_CHECK;

/* The present value of a name as the type asked for, with its age; have false: there is none, or it
 * is of another type. Texts are valid until the next line. s may be NULL. */
struct rt_value edge_signals_get(const struct edge_signals *s, const char *name,
                                 enum rt_fact_type type, int64_t mono_us);
/* A fact of the table: by its VSS name, else its own; a word that it cannot have is unknown. */
struct rt_value edge_signals_fact(const struct edge_signals *s, enum rt_fact_id id,
                                  int64_t mono_us);

/* Goes up with each start of the vehicle that was seen. s may be NULL. */
uint64_t edge_signals_starts(const struct edge_signals *s);

struct edge_signals_stats {
    uint64_t n_line, n_bad;
    int n_signal;
};
void edge_signals_stats(const struct edge_signals *s, struct edge_signals_stats *out);

#endif
