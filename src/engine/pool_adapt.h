/* How a worker takes part in the pool while its core is also wanted by others. A pure function of
 * stalls and times: no clock, no threads; the caller of eng_pool_run owns the state.
 *
 *          a stall                  two stalls, close together
 *  GREEDY ---------> POLITE -------------------------------> AWAY
 *     ^   <---------        <-------------------------------
 *       the hold is over             the hold is over
 *
 * A stall is a wait for a slice that is far longer than slices take: its worker was taken off its core
 * inside it, and does not come back before the other side's time slice (3 or 4 ms, a whole token of a
 * small model) is over. A polite worker naps between slices, after less time than the system lets
 * anybody run. Measured beside a busy loop on Linux 6.18: of bursts of 500 us less than 1 % were cut
 * short, of 2 ms a tenth, of 5 ms most, while the worker still got 45 % of the core. So the system takes
 * its turns while nobody waits.
 * Each hold doubles when the try that followed the one before failed soon: a core that stays busy
 * costs one stall a second, one that is free again is back within a second, and chance stalls far
 * apart cost a short hold each. */
#ifndef ENG_POOL_ADAPT_H
#define ENG_POOL_ADAPT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    POOL_BURST_US = 400, /* a polite worker's time between naps */
    POOL_NAP_US = 60,
    POOL_STALL_US = 150,         /* the shortest wait that may be a stall, */
    POOL_STALL_SLICES = 4,       /* and in slices: their sizes differ */
    POOL_HOLD_FIRST_US = 20000,  /* before the next mode up is tried again */
    POOL_HOLD_MOST_US = 1000000,
    POOL_TRY_US = 50000, /* a try that lasts is good: a busy core is taken within some milliseconds */
    POOL_CLOSE_US = 30000, /* two stalls of a polite worker within: politeness does not help */
};

enum {
    /* Between two runs of the caller: may be a loss of its core. Others that want little of it are
     * gone before. */
    POOL_GAP_US = 2000,
};

enum pool_mode { POOL_GREEDY, POOL_POLITE, POOL_AWAY, POOL_N_MODE };

struct pool_adapt {
    enum pool_mode mode;
    int64_t until_us;             /* the end of the hold; GREEDY has none */
    int64_t stall_us;             /* the last stall of a polite worker */
    int64_t hold_us[POOL_N_MODE]; /* of each mode, the last */
    int64_t left_us[POOL_N_MODE]; /* when it was last left for the one above */
};

void pool_adapt_init(struct pool_adapt *a);
/* A slice of this worker was waited for too long. Times never run backwards. */
void pool_adapt_stall(struct pool_adapt *a, int64_t now_us);
/* The mode from now on: goes up once a hold is over. */
enum pool_mode pool_adapt_mode(struct pool_adapt *a, int64_t now_us);
/* The caller itself can't be done without; where it shares its core, it should trade places with a
 * worker. */
struct pool_caller {
    int64_t run_us;     /* the last run's start */
    int64_t lost_us[2]; /* when it lost its core last, and before */
    int64_t n_lost;     /* how often, as the system counts */
};

/* Whether to ask the system how often the caller's core was taken from it. */
bool pool_caller_asks(struct pool_caller *c, int64_t now_us);
/* With the answer: whether to trade places, which the third loss in POOL_CLOSE_US says. */
bool pool_caller_moves(struct pool_caller *c, int64_t n_lost, int64_t now_us);

/* How long the caller waits, after n_slice slices of its own in own_us, before it is a stall. */
int64_t pool_adapt_limit_us(int64_t own_us, int n_slice);

#endif
