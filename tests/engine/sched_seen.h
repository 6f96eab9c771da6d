/* What tests of the scheduler share: jobs whose callbacks write down all they saw. Include it after
 * cmocka.h. */
#ifndef TESTS_ENGINE_SCHED_SEEN_H
#define TESTS_ENGINE_SCHED_SEEN_H

#include <poll.h>

#include "engine/sched.h"
#include "tiny_model.h"

enum { SEEN_MAX = 1024, LAYERS = 3, D = 64 };

/* All that a job's callback saw. */
struct seen {
    int n_token, n_rows, n_done, n_error, n_call;
    int32_t token[SEEN_MAX];
    struct eng_pick pick[SEEN_MAX];
    int token_pos[SEEN_MAX];
    int token_at[SEEN_MAX], rows_at[SEEN_MAX], done_at; /* when, among all jobs' events */
    int n_chunk, chunk[SEEN_MAX];                       /* rows of each ROWS event */
    float row[SEEN_MAX][D];
    int pos[SEEN_MAX];
    enum eng_done done;
    int done_pos;
    int n_prompt_tok, n_cached_tok, n_new_tok;
    int64_t engine_us;
    int n_states;             /* events that told of a watch */
    struct eng_states states; /* of the last of them; its rows: */
    float mean[ENG_WATCH_MAX][D], last[ENG_WATCH_MAX][D];
    struct base_err err;
    int close_after; /* closes itself after so many tokens; 0: never */
    bool closed;
};
static int seen_clock;

static inline void see(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    struct seen *s = arg;
    assert_false(s->closed);
    s->n_call++;
    s->n_prompt_tok = ev->n_prompt_tok;
    s->n_cached_tok = ev->n_cached_tok;
    s->n_new_tok = ev->n_new_tok;
    s->engine_us += ev->engine_us;
    if (ev->states != NULL) {
        s->n_states++;
        s->states = *ev->states;
        memcpy(s->mean, ev->states->mean, (size_t)ev->states->n * sizeof s->mean[0]);
        memcpy(s->last, ev->states->last, (size_t)ev->states->n * sizeof s->last[0]);
    }
    seen_clock++;
    switch (ev->kind) {
    case ENG_EV_TOKEN:
        s->token_at[s->n_token] = seen_clock;
        s->token_pos[s->n_token] = ev->pos;
        s->pick[s->n_token] = ev->pick;
        s->token[s->n_token++] = ev->pick.token;
        if (s->n_token == s->close_after) {
            s->closed = true;
            eng_job_close(j);
        }
        break;
    case ENG_EV_ROWS:
        s->rows_at[s->n_chunk] = seen_clock;
        s->chunk[s->n_chunk++] = ev->n_row;
        for (int i = 0; i < ev->n_row; i++) {
            s->pos[s->n_rows] = ev->pos + i;
            memcpy(s->row[s->n_rows++], ev->rows + (size_t)i * D, sizeof s->row[0]);
        }
        break;
    case ENG_EV_DONE:
        s->n_done++;
        s->done = ev->done;
        s->done_pos = ev->pos;
        s->done_at = seen_clock;
        break;
    case ENG_EV_ERROR:
        s->n_error++;
        s->err = ev->err;
        break;
    }
}

static inline struct eng_sched *seen_sched(const struct eng_model *m, const struct eng_sched_opt *o)
{
    struct eng_sched *s = NULL;
    struct base_err err = {0};
    if (eng_sched_new(&s, m, o, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    return s;
}

static inline struct eng_job *seen_job(struct eng_sched *s, const struct eng_job_opt *o,
                                       struct seen *to)
{
    struct eng_job *j = NULL;
    struct base_err err = {0};
    memset(to, 0, sizeof *to);
    if (eng_job_open(&j, s, o, see, to, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    return j;
}

/* Polls until *what reaches n; a hang ends the test. */
static inline void wait_for(struct eng_sched *s, const int *what, int n)
{
    for (int tries = 0; *what < n; tries++) {
        struct pollfd p = {eng_sched_fd(s), POLLIN, 0};
        if (tries == 20000 || poll(&p, 1, 10000) != 1)
            fail_msg("waited in vain: %d of %d", *what, n);
        eng_sched_poll(s);
    }
}

static inline void prompt(int which, int n, int32_t *ids)
{
    for (int i = 0; i < n; i++)
        ids[i] = 3 + (which * 53 + i * 97) % 270;
}

static inline void feed(struct eng_job *j, const int32_t *ids, int n)
{
    struct base_err err = {0};
    if (eng_job_feed_tokens(j, ids, n, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
}

/* Both told the same answer. */
static inline void seen_same(const struct seen *a, const struct seen *b)
{
    assert_int_equal(a->n_token, b->n_token);
    assert_memory_equal(a->token, b->token, (size_t)a->n_token * sizeof a->token[0]);
    assert_memory_equal(a->token_pos, b->token_pos, (size_t)a->n_token * sizeof a->token_pos[0]);
    assert_int_equal(a->n_done, b->n_done);
    assert_int_equal(a->done, b->done);
    assert_int_equal(a->done_pos, b->done_pos);
    assert_int_equal(a->n_prompt_tok, b->n_prompt_tok);
    assert_int_equal(a->n_new_tok, b->n_new_tok);
}

#endif
