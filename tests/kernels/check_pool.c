/* The pool: every slice runs once, on a worker that exists, before run returns. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "engine/pool.h"
#include "tap.h"

enum { MAX_SLICE = 400, MAX_THREAD = 8 };

struct job {
    int n_thread;
    int round;
    int seen[MAX_SLICE];              /* plain: the pool itself must order these (TSan watches) */
    atomic_int in_worker[MAX_THREAD]; /* slices now running on a worker: never more than one */
    atomic_bool bad;
    int slow_us; /* slice 0 takes this long */
};

static void slice(void *arg, int i, int worker)
{
    struct job *j = arg;
    if (worker < 0 || worker >= j->n_thread || atomic_fetch_add(&j->in_worker[worker], 1) != 0)
        atomic_store(&j->bad, true);
    if (i == 0 && j->slow_us > 0)
        usleep((useconds_t)j->slow_us);
    j->seen[i] += j->round;
    atomic_fetch_sub(&j->in_worker[worker], 1);
}

static bool run(struct eng_pool *p, struct job *j, int n_slice, int round)
{
    int before[MAX_SLICE];
    bool good;
    memcpy(before, j->seen, sizeof before);
    j->round = round;
    eng_pool_run(p, slice, j, n_slice);
    good = !atomic_load(&j->bad);
    for (int i = 0; i < MAX_SLICE; i++)
        good = good && j->seen[i] == before[i] + (i < n_slice ? round : 0);
    return good;
}

static void check_many(int n_thread, int n_round)
{
    struct job j = {.n_thread = n_thread};
    struct eng_pool *p;
    struct base_err err;
    bool good = true;
    if (!tap_ok(eng_pool_new(&p, n_thread, &err) == 0, "%d threads start", n_thread))
        return;
    tap_ok(eng_pool_n_thread(p) == n_thread, "%d threads: told", n_thread);
    for (int i = 0; i < n_round && good; i++)
        good = run(p, &j, rng_in(0, i % 10 == 0 ? MAX_SLICE : 6), 1 + i % 3);
    tap_ok(good, "%d threads: each slice once in %d runs", n_thread, n_round);
    good = true;
    for (int i = 0; i < 20 && good; i++) {
        usleep(1500); /* long enough for the workers to fall asleep */
        good = run(p, &j, rng_in(1, 20), 1);
    }
    tap_ok(good, "%d threads: sleepers wake", n_thread);
    j.slow_us = 3000; /* long enough for the others, or the caller, to fall asleep */
    for (int i = 0; i < 10 && good; i++)
        good = run(p, &j, 1 + i, 1);
    tap_ok(good, "%d threads: a slow slice is waited for", n_thread);
    eng_pool_free(p);
}

static atomic_bool hog_stop;

static void *hog(void *arg)
{
    (void)arg;
    while (!atomic_load(&hog_stop))
        ;
    return NULL;
}

/* With every core busy elsewhere the runs still end, and soon: nobody waits for a worker that the
 * system does not let run. */
static void check_busy_cores(void)
{
    enum { HOGS = 4 };
    struct job j = {.n_thread = 4};
    struct eng_pool *p;
    struct base_err err;
    pthread_t t[HOGS];
    bool good = true;
    if (!tap_ok(eng_pool_new(&p, 4, &err) == 0, "4 threads start"))
        return;
    for (int i = 0; i < HOGS; i++)
        if (pthread_create(&t[i], NULL, hog, NULL) != 0)
            abort();
    for (int i = 0; i < 30 && good; i++)
        good = run(p, &j, rng_in(1, 40), 1);
    atomic_store(&hog_stop, true);
    for (int i = 0; i < HOGS; i++)
        pthread_join(t[i], NULL);
    tap_ok(good, "busy cores: each slice once");
    eng_pool_free(p);
}

static void check_new(void)
{
    struct eng_pool *p;
    struct base_err err;
    tap_ok(eng_pool_new(&p, 0, &err) == BASE_EINVAL && p == NULL, "0 threads are refused");
    tap_ok(eng_pool_new(&p, 100000, &err) == BASE_EINVAL && p == NULL, "100000 are refused");
    for (int i = 0; i < 20; i++) { /* freed while the workers are still starting */
        if (eng_pool_new(&p, 1 + i % 4, &err) != 0)
            abort();
        eng_pool_free(p);
    }
    eng_pool_free(NULL);
    tap_ok(true, "pools come and go");
}

int main(void)
{
    check_new();
    check_many(1, 200);
    check_many(2, 3000);
    check_many(3, 3000);
    check_many(MAX_THREAD, 1000);
    check_busy_cores();
    return tap_end();
}
