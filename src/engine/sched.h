/* The engine's thread: runs steps of one batch over all jobs. Prefill goes in chunks, decode rows of
 * all jobs together, cancel takes effect between steps. The owner (one thread, the event loop) calls
 * everything here; events come back through eng_sched_poll, woken by a file descriptor. No state is
 * shared: commands and events are queues. */
#ifndef ENG_SCHED_H
#define ENG_SCHED_H

#include "engine/model.h"
#include "engine/sample.h"
#include "engine/watch.h"

struct eng_sched;
struct eng_job;

struct eng_sched_opt {
    int n_thread;
    int max_job;       /* open jobs; each owns a session */
    int n_ctx;         /* positions a session */
    int chunk_tok;     /* prefill rows of one job in one step */
    int max_row;       /* rows of all jobs in one step */
    enum kern_kv_type kv;
    int step_ms;     /* what a step should take at most while an answer waits for its end; 0: any */
    int yield_steps; /* an answer gets one row in so many steps while a higher priority prefills */
    int draft_tok;   /* rows of one answer that may be drafted in a step; 0: none */
    bool draft_always; /* draft also where it doesn't seem to pay: for tests and measurements */
    /* What closed jobs' sessions hold is kept for jobs with the same cache_key. bytes 0: nothing is. */
    size_t cache_bytes;
    int cache_entries, cache_age_ms; /* since last used */
};

int eng_sched_new(struct eng_sched **out, const struct eng_model *m, const struct eng_sched_opt *o,
                  struct base_err *err) BASE_MUST_CHECK;
void eng_sched_free(struct eng_sched *s); /* closes all jobs, joins the thread */
int eng_sched_fd(const struct eng_sched *s); /* readable when eng_sched_poll has work */
void eng_sched_poll(struct eng_sched *s);    /* calls the jobs' callbacks on this thread */

/* Whether a job can be opened now. Closed ones count until the engine has let go of them, which
 * eng_sched_poll notices. */
bool eng_sched_has_room(const struct eng_sched *s);

enum eng_job_output {
    ENG_OUT_ROWS,  /* x after layer_end, for every row fed */
    ENG_OUT_STATE, /* x after layer_end, for the last row of each feed */
    ENG_OUT_TOKEN, /* head + sampler on the last row of each feed */
    ENG_OUT_NONE,  /* only K/V (a prefix); DONE says that a feed has run */
};

/* What a job runs on each feed. */
struct eng_job_run {
    int layer_begin, layer_end;
    enum eng_job_output out;
    /* With layer_begin 0 and ENG_OUT_TOKEN: feed each token back until an end token, max_new_tok,
     * or the owner stops it. */
    bool autoregress;
    int max_new_tok;
};

enum eng_event_kind { ENG_EV_TOKEN, ENG_EV_ROWS, ENG_EV_DONE, ENG_EV_ERROR };
enum eng_done { ENG_DONE_STOP, ENG_DONE_LENGTH }; /* end token; max_new_tok or context full */

struct eng_event {
    enum eng_event_kind kind;
    struct eng_pick pick;       /* TOKEN (end tokens are reported too, before DONE) */
    const float *rows;          /* ROWS: [n_row][d_model], valid during the callback */
    int n_row, pos;             /* position of the first row; TOKEN: of the row that gave it */
    int n_prompt_tok, n_new_tok;/* rows fed by the owner, tokens sampled, of the job so far */
    int n_cached_tok;           /* of n_prompt_tok: not computed, but taken from the cache */
    enum eng_done done;         /* DONE: autoregress ended (or an ENG_OUT_NONE feed has run) */
    struct base_err err;        /* ERROR: the job is dead, close it */
    int64_t engine_us;          /* time inside steps since the last event of this job */
    /* At the end of a feed of a job that watches, if it ran a watched layer: all that was seen so far
     * of the rows fed. Else NULL. Valid during the callback. */
    const struct eng_states *states;
};
typedef void eng_job_cb(struct eng_job *j, const struct eng_event *ev, void *arg);

/* What a job is, from open to close. Copied. */
struct eng_job_opt {
    struct eng_job_run run;
    struct eng_sample_params sample;
    int priority; /* higher first */
    /* Adapter of all rows, or NULL; it must outlive the job. It changes K/V: only jobs
     * with the same one share them. */
    const struct eng_lora *lora;
    /* Whose prompts these are: K/V is shared only among jobs with the same key, because that a prompt
     * is read faster tells that it was asked before. NULL or "": it is neither shared nor kept. */
    const char *cache_key; /* below ENG_CACHE_KEY_MAX bytes */
    /* Its prompt is nobody's secret, such as what stands before all sentences: as long as it is open,
     * every job that begins alike takes K/V from it, whatever its key. */
    bool common;
    /* Rows that count are computed, not taken from the cache: only what lies before watch.from is. */
    struct eng_watch_opt watch;
};
enum { ENG_CACHE_KEY_MAX = 128 };

/* A new job with its own session and sampler. Among jobs that prefill, only those of the highest
 * priority do; jobs that decode run in every step, those of a lower priority than that in one of
 * yield_steps. Errors: BASE_EBUSY (max_job), BASE_EINVAL (range not held, autoregress where it can't
 * be, another model's adapter, the sampler's, a long key), BASE_ENOMEM. */
int eng_job_open(struct eng_job **out, struct eng_sched *s, const struct eng_job_opt *opt,
                 eng_job_cb *cb, void *arg, struct base_err *err) BASE_MUST_CHECK;

/* Feeds are copied and run in order. The event comes once the whole feed has run (ROWS: one a chunk).
 * feed_rows: rows[n][d_model] enter layer_begin. Fed tokens count for the repetition penalty; the
 * sampler's own last pick, fed back, counts once. Errors: BASE_EINVAL (token ids, layers at different
 * positions), BASE_ELIMIT (context: counted over all feeds), BASE_EBUSY (an autoregressive answer is
 * running: wait for DONE or close), BASE_ECLOSED (after ERROR), BASE_ENOMEM. */
int eng_job_feed_tokens(struct eng_job *j, const int32_t *tok, int n, struct base_err *err)
    BASE_MUST_CHECK;
int eng_job_feed_rows(struct eng_job *j, const float *rows, int n, struct base_err *err)
    BASE_MUST_CHECK;
/* Tells the sampler about tokens that another tier chose or that rows stand for, in order with the
 * feeds. BASE_EINVAL, BASE_ELIMIT (more than the context holds), BASE_ENOMEM. */
int eng_job_accept(struct eng_job *j, const int32_t *tok, int n) BASE_MUST_CHECK;

/* Changes what later feeds run, keeping session and sampler: e.g. from [0,k) rows to [k,L) token
 * when the link died, then to [0,L) autoregress. */
int eng_job_switch(struct eng_job *j, const struct eng_job_run *run, struct base_err *err)
    BASE_MUST_CHECK;
/* Another adapter (NULL: none) for later feeds, e.g. once the layers below it have told what the
 * prompt is. BASE_EINVAL: another model's, or one of the two works on layers that have rows already;
 * BASE_EBUSY, BASE_ECLOSED as for feeds. */
int eng_job_adapt(struct eng_job *j, const struct eng_lora *lora, struct base_err *err) BASE_MUST_CHECK;

/* No callback after this returns; the engine drops the work before its next step. NULL is fine. */
void eng_job_close(struct eng_job *j);

struct eng_sched_stats {
    int n_job, n_row_waiting;          /* open jobs; rows fed and not yet run */
    double prefill_tok_s, decode_tok_s;/* moving averages, one session's view; 0: not known yet */
    uint64_t n_step, n_tok_in, n_tok_out;
    int n_thread;                      /* that take part now; fewer where cores are wanted by others */
    uint64_t n_stall;                  /* waits for a thread whose core was taken */
    uint64_t n_draft, n_draft_right;         /* rows drafted; those that were the answer's */
    uint64_t n_cache_hit, n_cache_tok, n_cache_evicted; /* tok: not computed thanks to a hit */
    size_t cache_bytes;                      /* K/V kept for later jobs, now */
    int n_cache;                             /* entries, now */
    int cancel_steps;                        /* most steps that a closed job was in after its close */
};
void eng_sched_stats(const struct eng_sched *s, struct eng_sched_stats *out); /* a recent snapshot */
/* Rows waiting in jobs that a new one of this priority would not overtake. */
int eng_sched_rows_before(const struct eng_sched *s, int priority);

#endif
