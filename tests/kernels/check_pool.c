/* The pool: every slice runs once, on a worker that exists, before run returns; and who shares a
 * core with others holds up nobody for long. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/pool.h"
#include "engine/pool_adapt.h"
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

/* ---- the policy, with times of our own ---- */

static bool is(struct pool_adapt *a, int64_t now_us, enum pool_mode want)
{
    return pool_adapt_mode(a, now_us) == want;
}

static void check_modes(void)
{
    struct pool_adapt a;
    const int64_t hold = POOL_HOLD_FIRST_US;
    pool_adapt_init(&a);
    tap_ok(is(&a, 0, POOL_GREEDY) && is(&a, INT64_MAX / 4, POOL_GREEDY), "greedy from the start");
    pool_adapt_stall(&a, 1000);
    tap_ok(is(&a, 1000, POOL_POLITE) && is(&a, 1000 + hold - 1, POOL_POLITE), "a stall: polite");
    tap_ok(is(&a, 1000 + hold, POOL_GREEDY), "greedy again after the hold");

    int64_t now = 0;
    pool_adapt_init(&a);
    for (; a.hold_us[POOL_POLITE] < 4 * POOL_CLOSE_US; now = a.until_us)
        if (pool_adapt_mode(&a, now) == POOL_GREEDY)
            pool_adapt_stall(&a, now);
    now = a.until_us - 4 * POOL_CLOSE_US; /* polite until then */
    pool_adapt_stall(&a, now);
    tap_ok(is(&a, now, POOL_POLITE), "one stall of a polite worker changes nothing");
    pool_adapt_stall(&a, now += POOL_CLOSE_US);
    tap_ok(is(&a, now, POOL_POLITE), "nor does one long after");
    pool_adapt_stall(&a, now += POOL_CLOSE_US - 1);
    tap_ok(is(&a, now, POOL_AWAY), "two close together: away");
    pool_adapt_stall(&a, now + 1);
    tap_ok(is(&a, now + hold - 1, POOL_AWAY) && is(&a, now + hold, POOL_POLITE),
           "polite after the hold");
    now = a.until_us;
    tap_ok(is(&a, now - 1, POOL_POLITE) && is(&a, now, POOL_GREEDY), "then greedy");
}

static void check_back_off(void)
{
    struct pool_adapt a;
    int64_t now = 0, longest = 0;
    int n_stall = 0;
    bool doubles = true;
    pool_adapt_init(&a);
    for (; now < 20000000; now += 1000) { /* a core that stays busy stalls whoever is greedy */
        if (pool_adapt_mode(&a, now) != POOL_GREEDY)
            continue;
        pool_adapt_stall(&a, now);
        n_stall++;
        doubles = doubles && (a.hold_us[POOL_POLITE] == 2 * longest || longest == 0 ||
                              a.hold_us[POOL_POLITE] == POOL_HOLD_MOST_US);
        longest = a.hold_us[POOL_POLITE];
    }
    tap_ok(doubles && longest == POOL_HOLD_MOST_US, "each failed try doubles the hold, to a limit");
    tap_ok(n_stall <= 5 + 20, "%d stalls in 20 s", n_stall);
    now += 2 * POOL_HOLD_MOST_US;
    const bool greedy = is(&a, now, POOL_GREEDY);
    now += POOL_TRY_US;
    pool_adapt_stall(&a, now);
    tap_ok(greedy && a.hold_us[POOL_POLITE] == POOL_HOLD_FIRST_US,
           "a try that went well resets it");
}

static void check_limit(void)
{
    tap_ok(pool_adapt_limit_us(0, 0) == POOL_STALL_US &&
               pool_adapt_limit_us(40, 4) == POOL_STALL_US,
           "a short wait is never a stall");
    tap_ok(pool_adapt_limit_us(8000, 4) == 2000 * POOL_STALL_SLICES, "nor is one of a few slices");
}

static void check_caller(void)
{
    struct pool_caller c = {0};
    tap_ok(!pool_caller_asks(&c, POOL_GAP_US) && !pool_caller_asks(&c, POOL_GAP_US + 1) &&
               pool_caller_asks(&c, 2 * POOL_GAP_US + 2),
           "only a gap makes the caller ask");
    int64_t now = 10 * POOL_CLOSE_US;
    tap_ok(!pool_caller_moves(&c, 0, now), "a gap without a loss: a wait for work");
    tap_ok(!pool_caller_moves(&c, 1, now += 1000), "one loss may be anything");
    tap_ok(!pool_caller_moves(&c, 1, now += 1000), "the same one doesn't count twice");
    tap_ok(!pool_caller_moves(&c, 2, now += 1000), "two may be chance");
    tap_ok(pool_caller_moves(&c, 3, now += 1000), "three close together: move");
    tap_ok(!pool_caller_moves(&c, 4, now += 1000) && !pool_caller_moves(&c, 5, now += 1000) &&
               pool_caller_moves(&c, 6, now += 1000),
           "and again only after three more");
    tap_ok(!pool_caller_moves(&c, 7, now += 1000) && !pool_caller_moves(&c, 8, now += 1000) &&
               !pool_caller_moves(&c, 9, now + POOL_CLOSE_US),
           "far apart: stay");
}

/* ---- the policy at work ---- */

struct slow {
    int n_thread, others_us;
    atomic_int n;
};

/* A worker's slices are slow, as if its core had been taken. */
static void slow_slice(void *arg, int i, int worker)
{
    struct slow *s = arg;
    (void)i;
    usleep(worker == 0 ? 200 : (useconds_t)s->others_us);
    atomic_fetch_add(&s->n, 1);
}

enum { PATIENCE_US = 20000000 }; /* not a measure: a run that hangs has to end */

/* Runs until the pool's state is as wanted. */
static bool runs_until(struct eng_pool *p, struct slow *s, int n_use, int n_polite)
{
    const int64_t until = base_clock_mono_us() + PATIENCE_US;
    struct eng_pool_stats st;
    bool good = true;
    do {
        atomic_store(&s->n, 0);
        eng_pool_run(p, slow_slice, s, 12);
        good = good && atomic_load(&s->n) == 12;
        eng_pool_stats(p, &st);
    } while (good && (st.n_use != n_use || st.n_polite != n_polite) &&
             base_clock_mono_us() < until);
    return good && st.n_use == n_use && st.n_polite == n_polite;
}

static void check_stalls(int n_thread)
{
    struct slow s = {.n_thread = n_thread, .others_us = 5000};
    struct eng_pool_stats st;
    struct eng_pool *p;
    struct base_err err;
    cpu_set_t before, after;
    if (sched_getaffinity(0, sizeof before, &before) != 0 || eng_pool_new(&p, n_thread, &err) != 0)
        abort();
    eng_pool_stats(p, &st);
    tap_ok(st.n_use == n_thread && st.n_polite == 0 && st.n_stall == 0, "%d threads: all take part",
           n_thread);
    tap_ok(runs_until(p, &s, 1, 0), "%d threads: who stalls again and again is left out", n_thread);
    eng_pool_stats(p, &st);
    tap_ok(st.n_stall >= 3, "%d threads: %d stalls counted", n_thread, (int)st.n_stall);
    s.others_us = 200;
    tap_ok(runs_until(p, &s, n_thread, 0), "%d threads: and comes back", n_thread);
    s.others_us = 5000;
    (void)runs_until(p, &s, 1, 0);
    eng_pool_free(p); /* while workers are away */
    tap_ok(sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&before, &after),
           "%d threads: the caller may run where it could before", n_thread);
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
    check_modes();
    check_back_off();
    check_limit();
    check_caller();
    check_stalls(2);
    check_stalls(4);
    return tap_end();
}
