/* The scheduler's inside: sched.c is what the owner's thread calls, the others are the engine's
 * thread: sched_run.c its loop and what follows a step, sched_batch.c which rows a step has,
 * sched_cache.c and sched_draft.c what saves work. Owner and engine share the two queues under
 * `lock`, the snapshot of stats, and nothing else; each field says whose it is. */
#ifndef ENG_SCHED_INNER_H
#define ENG_SCHED_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/sched.h"
#include "engine/sched_cache.h"
#include "engine/sched_draft.h"

/* Owner -> engine. */
enum sched_cmd_kind { SCHED_OPEN, SCHED_FEED, SCHED_ACCEPT, SCHED_CLOSE };
struct sched_cmd {
    struct sched_cmd *next;
    enum sched_cmd_kind kind;
    struct eng_job *job;
    struct eng_job_run run; /* FEED: what to do with it */
    int n, n_done;          /* FEED, ACCEPT: rows or tokens; those that have run */
    int32_t *token;         /* [n], in the same allocation; NULL: rows */
    float *row;             /* [n][d_model], in the same allocation; NULL: tokens */
    const struct eng_lora *lora; /* FEED: its rows' */
    uint64_t n_step;        /* CLOSE: steps that had run when it was said */
};

/* Engine -> owner. GONE: the engine has forgotten the job; its memory may go. */
struct sched_ev {
    struct sched_ev *next;
    struct eng_job *job;
    bool gone;
    int answer_end_pos; /* DONE of an answer: the session's position; else -1 */
    float *buf;         /* rows, owned; ev.rows points into it */
    float *seen;        /* what a watch saw, owned; NULL: nothing is told. states points into it */
    struct eng_states states;
    struct eng_event ev;
};

/* What one job does in a step. */
struct sched_slot {
    struct eng_job *job;
    struct sched_cmd *feed; /* freed once it has run whole */
    bool fed;               /* by the owner; else the next row of an answer */
    struct eng_job_run run;
    int n, pos;          /* rows; position of the first */
    int n_draft;         /* of n, the last ones: drafted */
    int n_sure;          /* of n, the last ones of a prompt: the answer's, which begins by them */
    bool sure;           /* the drafts' source is never wrong */
    bool last;           /* the feed is complete after this */
    int n_out;           /* tokens sampled */
    struct sched_ev *ev; /* what will be announced, one a row that is sampled; NULL: nothing yet */
};

struct eng_job {
    /* Set by open, then const. */
    struct eng_sched *sched;
    eng_job_cb *cb;
    void *arg;
    int priority;

    /* Owner's. */
    struct eng_job *owner_next, **owner_link; /* all jobs that are not closed */
    bool closed, dead, answering;
    struct eng_job_run run;
    const struct eng_lora *lora;
    int *planned;   /* [n_layer] positions when all feeds have run */
    int n_accepted; /* through eng_job_accept */

    atomic_int n_waiting; /* rows fed and not yet run: owner adds, engine subtracts */

    /* Nodes that must not fail for lack of memory. */
    struct sched_cmd open_cmd, close_cmd;
    struct sched_ev error_ev, gone_ev;

    /* Engine's. */
    struct eng_job *next;
    struct sched_past *past; /* session and tokens; NULL once the cache has them */
    struct eng_sampler *sampler;
    struct eng_watch watch; /* o.n 0: none */
    struct sched_cmd *todo, **todo_end; /* feeds and accepts in order */
    struct eng_job_run answer_run;
    bool engine_answering, failed;
    int32_t last_pick; /* sampled and not yet run; -1: none */
    int n_owed; /* tokens of the answer that are told and not yet run: past->token, behind the session */
    int n_answer, n_prompt_tok, n_cached_tok, n_new_tok;
    double draft_right; /* how often a drafted token was right lately, 0..1 */
    uint64_t last_step;
    int64_t engine_us;
};

struct eng_sched {
    /* Const after eng_sched_new. */
    const struct eng_model *m;
    struct eng_sched_opt o;
    int fd;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Under lock. */
    struct sched_cmd *cmd, **cmd_end;
    struct sched_ev *ev, **ev_end;
    bool stop, started;
    int start_code;
    struct base_err start_err;
    struct eng_sched_stats stats;

    atomic_int n_row_waiting;

    /* Owner's. */
    struct eng_job *open_jobs;
    int n_open, n_alive; /* n_alive: GONE has not come yet */

    /* Engine's. */
    struct eng_exec *exec;
    struct eng_job *jobs;    /* at most max_job: a close comes before the open that replaces it */
    struct eng_job **order;  /* [max_job] */
    struct sched_slot *slot; /* [max_job] */
    struct eng_seg *seg;     /* [max_job] */
    float *logits;           /* [rows that can want them][n_vocab], touched as far as needed */
    struct sched_ev *out, **out_end; /* announced together, when a step is over */
    struct eng_sched_stats now;      /* becomes stats at the same time */
    struct sched_cache cache;
    struct sched_cost cost;
    double prefill_row, prefill_us, decode_row, decode_us; /* decaying sums */
    double row_us; /* of a row in late steps with prefill; 0: not known yet */
};

void *sched_thread(void *sched);

/* sched_batch.c. Chooses the next step's rows: slot, seg; their number. What it needs memory for is
 * had then, so that nothing can fail once the rows have run. */
int sched_build(struct eng_sched *s) BASE_MUST_CHECK;
int sched_logits_rows(const struct eng_sched_opt *o); /* the most that a step can want */

/* sched_run.c. */
bool sched_is_runnable(struct eng_job *j); /* has it rows to run? accepts before them take effect */
struct sched_ev *sched_ev_new(struct eng_job *j, enum eng_event_kind kind, size_t n_float);
void sched_ev_free(struct sched_ev *e); /* one that was made by sched_ev_new */
void sched_slot_drop(struct sched_slot *t); /* what it would have announced */
void sched_fail_nomem(struct eng_sched *s, struct eng_job *j);
/* The next n rows of a feed are done, whoever computed them: position, counts, sampler. */
void sched_feed_advance(struct eng_sched *s, struct eng_job *j, struct sched_cmd *f, int n);

#endif
