/* The prefix cache: the sessions of closed jobs, each with the tokens that filled it, for later jobs
 * of the same key whose prompt begins alike. A session is not copied into the cache, it moves there;
 * and moves back to a job that goes on where it ended. Open jobs are asked too. Engine's thread.
 *
 * Tokens are compared one by one: some ten entries of some thousand tokens take microseconds, need no
 * hash that could collide, and share to the last common token. */
#ifndef ENG_SCHED_CACHE_H
#define ENG_SCHED_CACHE_H

#include "engine/sched.h"

struct sched_cmd;

/* A session and what it was told. */
struct sched_past {
    struct sched_past *next; /* in the cache: used before this one */
    char key[ENG_CACHE_KEY_MAX]; /* "": nobody's */
    const struct eng_lora *lora; /* that its rows ran with; outlives the scheduler's use of the cache */
    struct eng_session *session; /* owned */
    int32_t *token; /* [n_ctx + 1] by position, in a map that stays out of core dumps; behind n: what
                     * is about to run */
    int n, n_ctx;
    bool common; /* open to every key (never in the cache) */
    bool whole; /* all its rows were these tokens, through all layers */
    size_t bytes;
    int64_t used_us;
};

struct sched_cache {
    size_t max_bytes; /* 0: no cache */
    int max_entry;
    int64_t max_age_us;
    struct sched_past *first; /* used last */
    size_t bytes;
    int n;
    uint64_t n_evicted;
};

/* Errors: BASE_ENOMEM and eng_session_new's. */
int sched_past_new(struct sched_past **out, const struct eng_model *m,
                   const struct eng_sched_opt *o, const struct eng_job_opt *job,
                   struct base_err *err) BASE_MUST_CHECK;
void sched_past_free(struct sched_past *p); /* NULL is fine. Nothing of it stays in memory */

/* Takes the past of a job that closes; evicts what is over the limits, perhaps this one. */
void sched_cache_put(struct sched_cache *c, struct sched_past *p, int64_t now_us);
/* Drops what is too old. Microseconds until there is more to drop; -1: the cache is empty. */
int64_t sched_cache_expire(struct sched_cache *c, int64_t now_us);
void sched_cache_fini(struct sched_cache *c);

/* The first feed of j is about to run: if a past with its key begins with the same tokens, they are
 * done. The last row of a feed always runs: its output is wanted. */
void sched_cache_use(struct eng_sched *s, struct eng_job *j, struct sched_cmd *f, int64_t now_us);

#endif
