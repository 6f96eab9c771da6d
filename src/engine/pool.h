/* A fixed pool of worker threads for one engine. The caller's thread is worker 0. Work is split into
 * slices taken from a shared counter, so that a core that is busy elsewhere takes fewer; a worker
 * that loses its core inside a slice takes part more carefully, or not at all for a while
 * (pool_adapt.h). Waiting spins briefly, then sleeps. */
#ifndef ENG_POOL_H
#define ENG_POOL_H

#include <stdint.h>

#include "base/err.h"

struct eng_pool;

/* n_thread >= 1, caller included. Errors: BASE_EINVAL, BASE_ENOMEM, BASE_EIO (threads). */
int eng_pool_new(struct eng_pool **out, int n_thread, struct base_err *err) BASE_MUST_CHECK;
void eng_pool_free(struct eng_pool *p); /* by the maker's thread */
int eng_pool_n_thread(const struct eng_pool *p);

/* Runs fn(arg, slice, worker) for every slice in [0, n_slice), worker in [0, n_thread); returns when
 * all are done. Only the thread that made the pool may call it. Results must not depend on which
 * worker took which slice. */
typedef void eng_pool_fn(void *arg, int slice, int worker);
void eng_pool_run(struct eng_pool *p, eng_pool_fn *fn, void *arg, int n_slice);

struct eng_pool_stats {
    int n_use;    /* threads that take part now, the caller included */
    int n_polite; /* of them, those that nap because their core is wanted by others */
    uint64_t n_stall;
};
void eng_pool_stats(const struct eng_pool *p, struct eng_pool_stats *out); /* the maker's thread */

#endif
