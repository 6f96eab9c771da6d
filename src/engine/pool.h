/* A fixed pool of worker threads for one engine. The caller's thread is worker 0. Work is split into
 * slices taken from a shared counter, so that a core that is busy elsewhere does not hold up the
 * rest; waiting spins briefly, then sleeps. */
#ifndef ENG_POOL_H
#define ENG_POOL_H

#include "base/err.h"

struct eng_pool;

/* n_thread >= 1, caller included. Errors: BASE_EINVAL, BASE_ENOMEM, BASE_EIO (threads). */
int eng_pool_new(struct eng_pool **out, int n_thread, struct base_err *err) BASE_MUST_CHECK;
void eng_pool_free(struct eng_pool *p);
int eng_pool_n_thread(const struct eng_pool *p);

/* Runs fn(arg, slice, worker) for every slice in [0, n_slice), worker in [0, n_thread); returns when
 * all are done. Only the thread that made the pool may call it. Results must not depend on which
 * worker took which slice. */
typedef void eng_pool_fn(void *arg, int slice, int worker);
void eng_pool_run(struct eng_pool *p, eng_pool_fn *fn, void *arg, int n_slice);

#endif
