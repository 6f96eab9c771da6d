/* Workers take slices from one atomic word, the ticket: (run number << 32) | slices left to take. A
 * worker reads the job's fields first and then takes a slice by compare-and-swap. The fields change
 * only while no slice is left, and each run has its own number, so that a swap that succeeds proves
 * that the fields belong to the slice. A worker that wakes late finds nothing and is never waited
 * for: only slices are. */
#include "engine/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    POOL_MAX = 256,
    /* Looks at the ticket before going to sleep, some 20–60 us: longer than the gaps between the
     * operations of one forward pass, much shorter than a wait for a request. */
    POOL_SPIN = 2000,
};

struct worker {
    struct eng_pool *pool;
    pthread_t thread;
    int id;
};

struct eng_pool {
    int n_thread;  /* the caller included */
    int n_started; /* threads that exist */
    int n_spin;
    uint32_t run; /* caller only */
    _Atomic(eng_pool_fn *) fn;
    _Atomic(void *) arg;
    atomic_int n_slice;
    _Atomic uint64_t ticket;
    atomic_int unfinished; /* slices */
    atomic_int n_asleep;   /* workers that may be waiting for `wake` */
    atomic_int caller_asleep;
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    struct worker *worker; /* [n_thread - 1] */
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes and runs slices until none is left. */
static void work(struct eng_pool *p, int id)
{
    uint64_t t = atomic_load(&p->ticket);
    while ((uint32_t)t != 0) {
        eng_pool_fn *fn = atomic_load_explicit(&p->fn, memory_order_relaxed);
        void *arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
        int n_slice = atomic_load_explicit(&p->n_slice, memory_order_relaxed);
        if (!atomic_compare_exchange_weak(&p->ticket, &t, t - 1))
            continue;
        fn(arg, n_slice - (int)(uint32_t)t, id);
        if (atomic_fetch_sub(&p->unfinished, 1) == 1 && atomic_load(&p->caller_asleep)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
        t = atomic_load(&p->ticket);
    }
}

static bool has_work(struct eng_pool *p)
{
    return (uint32_t)atomic_load(&p->ticket) != 0 || atomic_load(&p->stop);
}

static bool finished(struct eng_pool *p)
{
    return atomic_load(&p->unfinished) == 0;
}

static bool spin_until(struct eng_pool *p, bool (*cond)(struct eng_pool *))
{
    for (int i = 0; i < p->n_spin; i++) {
        if (cond(p))
            return true;
        relax();
    }
    return cond(p);
}

/* The counter is raised before the last look at the ticket, and the caller publishes the ticket
 * before it looks at the counter (both sequentially consistent): one of the two sees the other. The
 * same holds for caller_asleep and unfinished. Both flags are set by exchange: a plain sequentially
 * consistent store would do by the language, but qemu 7.2 lets the next load overtake it (STLR,
 * LDAR on an x86 host), and tests/kernels/check_pool then hung about one time in five. */
static void sleep_until_work(struct eng_pool *p)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->n_asleep, 1);
    while (!has_work(p))
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->n_asleep, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct eng_pool *p = w->pool;
    while (!atomic_load(&p->stop)) {
        if (!spin_until(p, has_work))
            sleep_until_work(p);
        work(p, w->id);
    }
    return NULL;
}

static void wake_workers(struct eng_pool *p)
{
    if (atomic_load(&p->n_asleep) == 0)
        return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static void wait_finished(struct eng_pool *p)
{
    if (spin_until(p, finished))
        return;
    pthread_mutex_lock(&p->lock);
    atomic_exchange(&p->caller_asleep, 1);
    while (!finished(p))
        pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_asleep, 0);
    pthread_mutex_unlock(&p->lock);
}

void eng_pool_run(struct eng_pool *p, eng_pool_fn *fn, void *arg, int n_slice)
{
    if (p->n_thread == 1 || n_slice <= 1) {
        for (int i = 0; i < n_slice; i++)
            fn(arg, i, 0);
        return;
    }
    atomic_store_explicit(&p->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&p->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&p->n_slice, n_slice, memory_order_relaxed);
    atomic_store(&p->unfinished, n_slice);
    p->run++;
    atomic_exchange(&p->ticket, (uint64_t)p->run << 32 | (uint32_t)n_slice);
    wake_workers(p);
    work(p, 0);
    wait_finished(p);
}

/* Spinning threads that outnumber the cores only keep each other from working. */
static int spin_count(int n_thread)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) < n_thread)
        return 0;
    return POOL_SPIN;
}

/* Signals are the business of the thread that made the pool. */
static int start_workers(struct eng_pool *p)
{
    sigset_t all, old;
    int rc = 0;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
        return -1;
    for (int i = 0; i < p->n_thread - 1 && rc == 0; i++) {
        struct worker *w = &p->worker[i];
        *w = (struct worker){.pool = p, .id = i + 1};
        rc = pthread_create(&w->thread, NULL, worker_main, w);
        if (rc == 0)
            p->n_started++;
    }
    if (pthread_sigmask(SIG_SETMASK, &old, NULL) != 0)
        return -1;
    return rc == 0 ? 0 : -1;
}

int eng_pool_new(struct eng_pool **out, int n_thread, struct base_err *err)
{
    *out = NULL;
    if (n_thread < 1 || n_thread > POOL_MAX)
        return base_err_set(err, BASE_EINVAL, "", "%d threads: 1 to %d are possible", n_thread,
                            POOL_MAX);
    struct eng_pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "no memory for a thread pool");
    p->worker = calloc((size_t)n_thread, sizeof *p->worker);
    if (p->worker == NULL) {
        free(p);
        return base_err_set(err, BASE_ENOMEM, "", "no memory for %d threads", n_thread);
    }
    p->n_thread = n_thread;
    p->n_spin = spin_count(n_thread);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    if (start_workers(p) != 0) {
        int n = p->n_started + 1;
        eng_pool_free(p);
        return base_err_set(err, BASE_EIO, "", "the system gave only %d of %d threads", n,
                            n_thread);
    }
    *out = p;
    return 0;
}

void eng_pool_free(struct eng_pool *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_started; i++)
        pthread_join(p->worker[i].thread, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->worker);
    free(p);
}

int eng_pool_n_thread(const struct eng_pool *p)
{
    return p->n_thread;
}
