/* The two sides of the scheduler: sched.c is what the owner's thread calls, sched_run.c is the
 * engine's thread. They share the two queues under `lock`, the snapshot of stats, and nothing else;
 * each field says whose it is. Nobody else includes this. */
#ifndef ENG_SCHED_INNER_H
#define ENG_SCHED_INNER_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/sched.h"

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
};

/* Engine -> owner. GONE: the engine has forgotten the job; its memory may go. */
struct sched_ev {
    struct sched_ev *next;
    struct eng_job *job;
    bool gone;
    int answer_end_pos; /* DONE of an answer: the session's position; else -1 */
    float *buf;         /* rows, owned; ev.rows points into it */
    struct eng_event ev;
};

struct eng_job {
    /* Set by open, then const. */
    struct eng_sched *sched;
    eng_job_cb *cb;
    void *arg;
    int priority;
    const struct eng_lora *lora;

    /* Owner's. */
    struct eng_job *owner_next, **owner_link; /* all jobs that are not closed */
    bool closed, dead, answering;
    struct eng_job_run run;
    int *planned;   /* [n_layer] positions when all feeds have run */
    int n_accepted; /* through eng_job_accept */

    atomic_int n_waiting; /* rows fed and not yet run: owner adds, engine subtracts */

    /* Nodes that must not fail for lack of memory. */
    struct sched_cmd open_cmd, close_cmd;
    struct sched_ev error_ev, gone_ev;

    /* Engine's. */
    struct eng_job *next;
    struct eng_session *session;
    struct eng_sampler *sampler;
    struct sched_cmd *todo, **todo_end; /* feeds and accepts in order */
    struct eng_job_run answer_run;
    bool engine_answering, failed;
    int32_t last_pick; /* sampled and not yet run; -1: none */
    int n_answer, n_prompt_tok, n_new_tok;
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
    float *logits;           /* [max_job][n_vocab], touched as far as needed */
    uint64_t n_step;
    double prefill_row, prefill_us, decode_row, decode_us; /* decaying sums */
};

void *sched_thread(void *sched);

#endif
