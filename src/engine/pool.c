/* Workers take slices from one atomic word, the ticket: (run number << 32) | slices left to take. A
 * worker reads the job's fields first and then takes a slice by compare-and-swap. The fields change
 * only while no slice is left, and each run has its own number, so that a swap that succeeds proves
 * that the fields belong to the slice. A worker that wakes late finds nothing and is never waited
 * for: only slices are. Whose slices are waited for too long changes its ways: pool_adapt.h. */
#include "engine/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "engine/pool_adapt.h"

enum {
    POOL_MAX = 256,
    /* Looks at the ticket before going to sleep, some 20–60 us: longer than the gaps between the
     * operations of one forward pass, much shorter than a wait for a request. */
    POOL_SPIN = 2000,
    LINE = 64, /* of a cache: what one thread writes and another spins on has its own */
};

struct worker {
    alignas(LINE) struct eng_pool *pool;
    pthread_t thread;
    int id;
    atomic_int mode;                       /* enum pool_mode; the caller sets it */
    atomic_int in_slice;                   /* the caller looks whom it waits for */
    atomic_int cpu;                        /* where it last took slices */
    int64_t awake_us;                      /* since when it hasn't slept; its own */
    alignas(LINE) struct pool_adapt adapt; /* the caller's */
};

struct eng_pool {
    int n_thread;  /* the caller included */
    int n_started; /* threads that exist */
    int n_spin;
    struct worker *worker; /* [n_thread - 1] */
    pthread_mutex_t lock;
    pthread_cond_t wake, done;

    /* Caller only. */
    uint32_t run;
    int n_tamed; /* workers that are not greedy */
    uint64_t n_stall;
    struct pool_caller caller;
    cpu_set_t cpus; /* what the pool's maker may use */
    bool settled;   /* the caller and a worker keep to a core each, for a while */

    /* The job; read once the ticket shows a slice. */
    alignas(LINE) _Atomic(eng_pool_fn *) fn;
    _Atomic(void *) arg;
    atomic_int n_slice;

    alignas(LINE) _Atomic uint64_t ticket; /* idle workers spin on it */
    alignas(LINE) atomic_int unfinished;   /* slices; the caller spins on it */
    alignas(LINE) atomic_int n_asleep;     /* workers that may be waiting for `wake` */
    atomic_int caller_asleep;
    atomic_bool stop;
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A polite worker that has been awake long enough. */
static bool wants_nap(const struct worker *w)
{
    return atomic_load_explicit(&w->mode, memory_order_relaxed) == POOL_POLITE &&
           base_clock_mono_us() - w->awake_us >= POOL_BURST_US;
}

/* Takes and runs slices until none is left, or a nap is due. w: NULL for the caller. Returns how
 * many. */
static int work(struct eng_pool *p, struct worker *w)
{
    int n = 0;
    uint64_t t = atomic_load(&p->ticket);
    if (w != NULL && (uint32_t)t != 0)
        atomic_store_explicit(&w->cpu, sched_getcpu(), memory_order_relaxed);
    while ((uint32_t)t != 0 && (w == NULL || !wants_nap(w))) {
        eng_pool_fn *fn = atomic_load_explicit(&p->fn, memory_order_relaxed);
        void *arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
        int n_slice = atomic_load_explicit(&p->n_slice, memory_order_relaxed);
        if (!atomic_compare_exchange_weak(&p->ticket, &t, t - 1))
            continue;
        if (w != NULL)
            atomic_store_explicit(&w->in_slice, 1, memory_order_relaxed);
        fn(arg, n_slice - (int)(uint32_t)t, w != NULL ? w->id : 0);
        if (w != NULL)
            atomic_store_explicit(&w->in_slice, 0, memory_order_relaxed);
        n++;
        if (atomic_fetch_sub(&p->unfinished, 1) == 1 && atomic_load(&p->caller_asleep)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
        t = atomic_load(&p->ticket);
    }
    return n;
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

/* Away: not even counted among the sleepers, so that no run wakes it. */
static void sleep_until_back(struct worker *w)
{
    struct eng_pool *p = w->pool;
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&w->mode) == POOL_AWAY && !atomic_load(&p->stop))
        pthread_cond_wait(&p->wake, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void nap(void)
{
    const struct timespec t = {.tv_nsec = POOL_NAP_US * 1000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct eng_pool *p = w->pool;
    (void)prctl(PR_SET_TIMERSLACK, 1000UL); /* ns; 50 us by default would double a nap */
    w->awake_us = base_clock_mono_us();
    while (!atomic_load(&p->stop)) {
        bool slept = true;
        if (atomic_load(&w->mode) == POOL_AWAY)
            sleep_until_back(w);
        else if (wants_nap(w))
            nap();
        else if (!spin_until(p, has_work))
            sleep_until_work(p);
        else
            slept = false;
        if (slept)
            w->awake_us = base_clock_mono_us();
        work(p, w);
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

static void keep_to(pthread_t thread, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)pthread_setaffinity_np(thread, sizeof set, &set); /* refused: it stays as it is */
}

/* Keeps the worker to the core that others want too, and the caller to another: left alone, the
 * system puts the one that wakes onto the other's core as readily. Only where every core has a
 * thread of ours; with more of them the system finds a free one by itself. */
static void settle(struct eng_pool *p, struct worker *w, int worker_cpu, int caller_cpu)
{
    if (CPU_COUNT(&p->cpus) != p->n_thread)
        return;
    for (int i = 0; worker_cpu == caller_cpu && i < CPU_SETSIZE; i++)
        caller_cpu = CPU_ISSET(i, &p->cpus) && i != worker_cpu ? i : caller_cpu;
    if (worker_cpu < 0 || caller_cpu < 0)
        return;
    keep_to(w->thread, worker_cpu);
    keep_to(pthread_self(), caller_cpu);
    p->settled = true;
}

static void unsettle(struct eng_pool *p)
{
    for (int i = 0; i < p->n_started && p->settled; i++)
        (void)pthread_setaffinity_np(p->worker[i].thread, sizeof p->cpus, &p->cpus);
    if (p->settled)
        (void)pthread_setaffinity_np(pthread_self(), sizeof p->cpus, &p->cpus);
    p->settled = false;
}

static void set_mode(struct eng_pool *p, struct worker *w, enum pool_mode before)
{
    const enum pool_mode mode = w->adapt.mode;
    p->n_tamed += (mode != POOL_GREEDY) - (before != POOL_GREEDY);
    if (mode == before)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&w->mode, (int)mode);
    if (before == POOL_AWAY)
        pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

static void stall(struct eng_pool *p, struct worker *w, int64_t now_us)
{
    const enum pool_mode before = w->adapt.mode;
    pool_adapt_stall(&w->adapt, now_us);
    set_mode(p, w, before);
}

/* Those who are still in a slice are who is waited for. */
static void note_stall(struct eng_pool *p, int64_t now_us)
{
    p->n_stall++;
    for (int i = 0; i < p->n_started; i++) {
        struct worker *w = &p->worker[i];
        if (atomic_load_explicit(&w->in_slice, memory_order_relaxed) == 0)
            continue;
        stall(p, w, now_us);
        if (!p->settled)
            settle(p, w, atomic_load_explicit(&w->cpu, memory_order_relaxed), sched_getcpu());
    }
}

/* Lets workers come back whose hold is over. */
static void adapt(struct eng_pool *p, int64_t now_us)
{
    for (int i = 0; i < p->n_started; i++) {
        struct worker *w = &p->worker[i];
        const enum pool_mode before = w->adapt.mode;
        pool_adapt_mode(&w->adapt, now_us);
        set_mode(p, w, before);
    }
    if (p->n_tamed == 0)
        unsettle(p);
}

/* The caller has perhaps lost its core since the last run: it trades places with a worker that kept
 * its own, or else with any. */
static void look_at_caller(struct eng_pool *p, int64_t now_us)
{
    struct rusage u;
    if (getrusage(RUSAGE_THREAD, &u) != 0 || !pool_caller_moves(&p->caller, u.ru_nivcsw, now_us))
        return;
    struct worker *w = &p->worker[0];
    for (int i = 0; i < p->n_started && w->adapt.mode != POOL_GREEDY; i++)
        w = &p->worker[i];
    p->n_stall++;
    settle(p, w, sched_getcpu(), atomic_load_explicit(&w->cpu, memory_order_relaxed));
    if (p->settled && w->adapt.mode == POOL_GREEDY)
        stall(p, w, now_us);
}

static struct timespec after_us(int64_t us)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const int64_t ns = t.tv_nsec + us * 1000;
    t.tv_sec += (time_t)(ns / 1000000000);
    t.tv_nsec = (long)(ns % 1000000000);
    return t;
}

/* The caller took own slices since t0_us, and none is left to take. */
static void wait_finished(struct eng_pool *p, int64_t t0_us, int own)
{
    if (spin_until(p, finished))
        return;
    const int64_t limit_us = pool_adapt_limit_us(base_clock_mono_us() - t0_us, own);
    const struct timespec limit = after_us(limit_us);
    pthread_mutex_lock(&p->lock);
    atomic_exchange(&p->caller_asleep, 1);
    int rc = 0;
    while (!finished(p) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&p->done, &p->lock, &limit);
    if (!finished(p)) {
        pthread_mutex_unlock(&p->lock);
        note_stall(p, base_clock_mono_us());
        pthread_mutex_lock(&p->lock);
    }
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
    const int64_t t0_us = base_clock_mono_us();
    if (p->n_tamed > 0)
        adapt(p, t0_us);
    if (pool_caller_asks(&p->caller, t0_us))
        look_at_caller(p, t0_us);
    atomic_store_explicit(&p->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&p->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&p->n_slice, n_slice, memory_order_relaxed);
    atomic_store(&p->unfinished, n_slice);
    p->run++;
    atomic_exchange(&p->ticket, (uint64_t)p->run << 32 | (uint32_t)n_slice);
    wake_workers(p);
    const int own = work(p, NULL);
    wait_finished(p, t0_us, own);
}

void eng_pool_stats(const struct eng_pool *p, struct eng_pool_stats *out)
{
    *out = (struct eng_pool_stats){.n_use = p->n_thread, .n_stall = p->n_stall};
    for (int i = 0; i < p->n_started && p->n_tamed > 0; i++) {
        out->n_use -= p->worker[i].adapt.mode == POOL_AWAY;
        out->n_polite += p->worker[i].adapt.mode == POOL_POLITE;
    }
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
        pool_adapt_init(&w->adapt);
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
    struct eng_pool *p = aligned_alloc(LINE, sizeof *p);
    if (p == NULL)
        return base_err_set(err, BASE_ENOMEM, "", "no memory for a thread pool");
    memset(p, 0, sizeof *p);
    p->worker = aligned_alloc(LINE, (size_t)n_thread * sizeof *p->worker);
    if (p->worker == NULL) {
        free(p);
        return base_err_set(err, BASE_ENOMEM, "", "no memory for %d threads", n_thread);
    }
    p->n_thread = n_thread;
    if (sched_getaffinity(0, sizeof p->cpus, &p->cpus) != 0)
        CPU_ZERO(&p->cpus);
    /* Spinning threads that outnumber the cores only keep each other from working. */
    p->n_spin = CPU_COUNT(&p->cpus) < n_thread ? 0 : POOL_SPIN;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->done, &attr);
    pthread_condattr_destroy(&attr);
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
    unsettle(p);
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
