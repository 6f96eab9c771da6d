/* The engine's thread: takes commands, runs steps, announces events. */
#include "engine/sched_inner.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* What one job does in a step. */
struct sched_slot {
    struct eng_job *job;
    struct sched_cmd *feed; /* freed once it has run whole */
    bool fed;               /* by the owner; else the next row of an answer */
    struct eng_job_run run;
    int n, pos;          /* rows; position of the first */
    bool last;           /* the feed is complete after this */
    struct sched_ev *ev; /* what will be announced; NULL: nothing yet */
};

static void push_ev(struct eng_sched *s, struct sched_ev *e)
{
    struct eng_job *j = e->job;
    e->next = NULL;
    e->ev.n_prompt_tok = j->n_prompt_tok;
    e->ev.n_new_tok = j->n_new_tok;
    e->ev.engine_us = j->engine_us;
    j->engine_us = 0;
    pthread_mutex_lock(&s->lock);
    *s->ev_end = e;
    s->ev_end = &e->next;
    pthread_mutex_unlock(&s->lock);
    const uint64_t one = 1;
    const ssize_t put = write(s->fd, &one, sizeof one);
    (void)put; /* fails only when the counter is full, and then it is readable */
}

static struct sched_ev *ev_new(struct eng_job *j, enum eng_event_kind kind, size_t n_float)
{
    struct sched_ev *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->job = j;
    e->answer_end_pos = -1;
    e->ev.kind = kind;
    if (n_float > 0 && (e->buf = malloc(n_float * sizeof *e->buf)) == NULL) {
        free(e);
        return NULL;
    }
    return e;
}

static void drop_todo(struct eng_sched *s, struct eng_job *j)
{
    while (j->todo != NULL) {
        struct sched_cmd *c = j->todo;
        j->todo = c->next;
        if (c->kind == SCHED_FEED) {
            atomic_fetch_sub(&j->n_waiting, c->n - c->n_done);
            atomic_fetch_sub(&s->n_row_waiting, c->n - c->n_done);
        }
        free(c);
    }
    j->todo_end = &j->todo;
}

static void fail_job(struct eng_sched *s, struct eng_job *j, const struct base_err *err)
{
    drop_todo(s, j);
    j->failed = true;
    j->engine_answering = false;
    j->error_ev.ev.kind = ENG_EV_ERROR;
    j->error_ev.ev.err = *err;
    push_ev(s, &j->error_ev);
}

static void fail_nomem(struct eng_sched *s, struct eng_job *j)
{
    struct base_err err = {0};
    (void)base_err_set(&err, BASE_ENOMEM, "job", "no memory for an event");
    fail_job(s, j, &err);
}

/* ---- commands ---- */

static void close_job(struct eng_sched *s, struct eng_job *j)
{
    struct eng_job **at = &s->jobs;
    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    drop_todo(s, j);
    push_ev(s, &j->gone_ev);
}

static void apply(struct eng_sched *s, struct sched_cmd *c)
{
    struct eng_job *j = c->job;
    switch (c->kind) {
    case SCHED_OPEN:
        j->next = s->jobs;
        s->jobs = j;
        break;
    case SCHED_CLOSE:
        close_job(s, j);
        break;
    case SCHED_FEED:
    case SCHED_ACCEPT:
        c->next = NULL;
        *j->todo_end = c;
        j->todo_end = &c->next;
        if (j->failed)
            drop_todo(s, j);
        break;
    }
}

static void pop_todo(struct eng_job *j)
{
    struct sched_cmd *c = j->todo;
    j->todo = c->next;
    if (j->todo == NULL)
        j->todo_end = &j->todo;
    free(c);
}

/* Has the job rows to run? Accepts that stand before them take effect. */
static bool is_runnable(struct eng_job *j)
{
    if (j->failed)
        return false;
    if (j->engine_answering)
        return true;
    while (j->todo != NULL && j->todo->kind == SCHED_ACCEPT) {
        for (int i = 0; i < j->todo->n; i++)
            eng_sampler_accept(j->sampler, j->todo->token[i]);
        pop_todo(j);
    }
    return j->todo != NULL;
}

/* ---- the step's batch ---- */

static bool is_decode(const struct eng_job *j)
{
    return j->engine_answering || j->todo->n == 1;
}

/* Decode before prefill; then the higher priority; then who waited longer. */
static int order_cmp(const void *a, const void *b)
{
    const struct eng_job *x = *(struct eng_job *const *)a, *y = *(struct eng_job *const *)b;
    if (is_decode(x) != is_decode(y))
        return is_decode(x) ? -1 : 1;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    if (x->last_step != y->last_step)
        return x->last_step < y->last_step ? -1 : 1;
    return 0;
}

static int order_jobs(struct eng_sched *s)
{
    int n = 0;
    for (struct eng_job *j = s->jobs; j != NULL; j = j->next) {
        if (is_runnable(j))
            s->order[n++] = j;
    }
    qsort(s->order, (size_t)n, sizeof *s->order, order_cmp);
    return n;
}

/* Fills slot and seg for at most `room` rows of j, and what the event needs, so that nothing can
 * fail once the rows have run. 0 or BASE_ENOMEM. */
static int fill_slot(struct eng_sched *s, struct eng_job *j, int room, int at)
{
    const size_t d = (size_t)eng_model_config(s->m)->d_model;
    struct sched_slot *t = &s->slot[at];
    struct sched_cmd *f = j->engine_answering ? NULL : j->todo;
    *t = (struct sched_slot){
        .job = j, .feed = f, .fed = f != NULL, .run = f != NULL ? f->run : j->answer_run, .n = 1};
    if (f != NULL) {
        const int left = f->n - f->n_done;
        t->n = left < s->o.chunk_tok ? left : s->o.chunk_tok;
        t->n = t->n < room ? t->n : room;
    }
    t->last = f == NULL || f->n_done + t->n == f->n;
    const bool layers = t->run.layer_begin < t->run.layer_end;
    t->pos = layers ? eng_session_n_pos(j->session, t->run.layer_begin) : 0;
    struct eng_seg *g = &s->seg[at];
    *g = (struct eng_seg){.s = layers ? j->session : NULL,
                          .layer_begin = t->run.layer_begin,
                          .layer_end = t->run.layer_end,
                          .n_row = t->n,
                          .lora = j->lora};
    if (f == NULL)
        g->token = &j->last_pick;
    else if (f->token != NULL)
        g->token = f->token + f->n_done;
    else
        g->x_in = f->row + (size_t)f->n_done * d;
    const bool rows = t->run.out == ENG_OUT_ROWS || (t->run.out == ENG_OUT_STATE && t->last);
    if (rows)
        t->ev = ev_new(j, ENG_EV_ROWS, (size_t)t->n * d);
    else if (t->last)
        t->ev = ev_new(j, t->run.out == ENG_OUT_TOKEN ? ENG_EV_TOKEN : ENG_EV_DONE, 0);
    if ((rows || t->last) && t->ev == NULL)
        return BASE_ENOMEM;
    if (rows)
        g->x_out = t->ev->buf;
    else if (t->last && t->run.out == ENG_OUT_TOKEN)
        g->logits = s->logits + (size_t)at * (size_t)eng_model_config(s->m)->n_vocab;
    return 0;
}

/* Chooses this step's rows; the number of slots. */
static int build(struct eng_sched *s)
{
    const int n_job = order_jobs(s);
    int n = 0, room = s->o.max_row;
    const struct eng_job *first_prefill = NULL;
    for (int i = 0; i < n_job && room > 0; i++) {
        struct eng_job *j = s->order[i];
        if (!is_decode(j)) {
            first_prefill = first_prefill != NULL ? first_prefill : j;
            if (j->priority < first_prefill->priority)
                break;
        }
        if (fill_slot(s, j, room, n) != 0)
            fail_nomem(s, j);
        else
            room -= s->slot[n++].n;
    }
    return n;
}

/* ---- after the step ---- */

/* Tells the sampler about fed tokens, once: its own pick was counted when it was made. */
static void accept_fed(const struct sched_slot *t)
{
    struct eng_job *j = t->job;
    const struct sched_cmd *f = t->feed;
    for (int i = f->n_done; i < f->n_done + t->n; i++) {
        const bool own = f->token != NULL && i == 0 && f->token[0] == j->last_pick;
        if (!own)
            j->n_prompt_tok++;
        if (f->token != NULL && !own)
            eng_sampler_accept(j->sampler, f->token[i]);
    }
    j->last_pick = -1;
}

static void end_answer(struct eng_sched *s, struct eng_job *j, enum eng_done why)
{
    j->engine_answering = false;
    struct sched_ev *e = ev_new(j, ENG_EV_DONE, 0);
    if (e == NULL) {
        fail_nomem(s, j);
        return;
    }
    e->ev.done = why;
    e->answer_end_pos = eng_session_n_pos(j->session, 0);
    e->ev.pos = e->answer_end_pos;
    push_ev(s, e);
}

/* Samples from the slot's logits, announces the token, and goes on with the answer or ends it. */
static void finish_token(struct eng_sched *s, const struct sched_slot *t, float *logits)
{
    struct eng_job *j = t->job;
    struct sched_ev *e = t->ev;
    if (eng_sampler_pick(j->sampler, logits, &e->ev.pick) != 0) {
        struct base_err err = {0};
        (void)base_err_set(&err, BASE_EINTERNAL, "sampler", "the logits are not numbers");
        free(e);
        fail_job(s, j, &err);
        return;
    }
    const int32_t token = e->ev.pick.token;
    j->last_pick = token;
    j->n_new_tok++;
    e->ev.pos = t->pos + t->n - 1;
    push_ev(s, e);
    if (!t->run.autoregress)
        return;
    if (t->fed)
        j->n_answer = 0;
    j->n_answer++;
    j->answer_run = t->run;
    j->engine_answering = true;
    if (eng_tok_is_end(eng_model_tok(s->m), token))
        end_answer(s, j, ENG_DONE_STOP);
    else if (j->n_answer >= t->run.max_new_tok ||
             eng_session_n_pos(j->session, 0) >= eng_session_n_ctx(j->session))
        end_answer(s, j, ENG_DONE_LENGTH);
}

static void finish_rows(struct eng_sched *s, const struct sched_slot *t)
{
    const size_t d = (size_t)eng_model_config(s->m)->d_model;
    struct sched_ev *e = t->ev;
    const int skip = t->run.out == ENG_OUT_STATE ? t->n - 1 : 0;
    e->ev.rows = e->buf + (size_t)skip * d;
    e->ev.n_row = t->n - skip;
    e->ev.pos = t->pos + skip;
    push_ev(s, e);
}

static void finish_slot(struct eng_sched *s, int at, int64_t us)
{
    const struct sched_slot *t = &s->slot[at];
    struct eng_job *j = t->job;
    j->engine_us += us;
    j->last_step = s->n_step;
    if (t->fed) {
        accept_fed(t);
        t->feed->n_done += t->n;
        atomic_fetch_sub(&j->n_waiting, t->n);
        atomic_fetch_sub(&s->n_row_waiting, t->n);
        if (t->last)
            pop_todo(j);
    }
    if (t->ev == NULL)
        return;
    if (t->run.out == ENG_OUT_TOKEN)
        finish_token(s, t, s->seg[at].logits);
    else if (t->run.out == ENG_OUT_NONE)
        push_ev(s, t->ev);
    else
        finish_rows(s, t);
}

/* Decaying sums, so that the averages follow load and clock within some tens of steps. */
static void update_stats(struct eng_sched *s, int n_slot, int64_t us)
{
    const double keep = 0.95;
    uint64_t in = 0, out = 0;
    int most = 0;
    bool decode = false;
    for (int i = 0; i < n_slot; i++) {
        const struct sched_slot *t = &s->slot[i];
        in += t->fed ? (uint64_t)t->n : 0;
        out += t->last && t->run.out == ENG_OUT_TOKEN;
        most = t->n > most ? t->n : most;
        decode = decode || t->n == 1;
    }
    if (most > 1) {
        s->prefill_row = s->prefill_row * keep + most;
        s->prefill_us = s->prefill_us * keep + (double)us;
    }
    if (decode) {
        s->decode_row = s->decode_row * keep + 1;
        s->decode_us = s->decode_us * keep + (double)us;
    }
    struct eng_pool_stats pool;
    eng_exec_stats(s->exec, &pool);
    pthread_mutex_lock(&s->lock);
    s->stats.n_step++;
    s->stats.n_thread = pool.n_use;
    s->stats.n_stall = pool.n_stall;
    s->stats.n_tok_in += in;
    s->stats.n_tok_out += out;
    s->stats.prefill_tok_s = s->prefill_us > 0 ? s->prefill_row / s->prefill_us * 1e6 : 0;
    s->stats.decode_tok_s = s->decode_us > 0 ? s->decode_row / s->decode_us * 1e6 : 0;
    pthread_mutex_unlock(&s->lock);
}

/* The batch was refused, so one of its segments is wrong, which the owner's checks should have
 * caught: run each alone, so that only the wrong job fails. Returns false if slot `at` failed. */
static bool run_alone(struct eng_sched *s, int at)
{
    struct base_err err = {0};
    if (eng_exec_run(s->exec, &s->seg[at], 1, &err) == 0)
        return true;
    if (s->slot[at].ev != NULL)
        free(s->slot[at].ev->buf);
    free(s->slot[at].ev);
    fail_job(s, s->slot[at].job, &err);
    return false;
}

static void step(struct eng_sched *s)
{
    const int n = build(s);
    if (n == 0)
        return;
    s->n_step++;
    const int64_t t0 = base_clock_mono_us();
    const bool whole = eng_exec_run(s->exec, s->seg, n, NULL) == 0;
    const int64_t us = base_clock_mono_us() - t0;
    update_stats(s, n, us);
    for (int i = 0; i < n; i++) {
        if (whole || run_alone(s, i))
            finish_slot(s, i, us);
    }
}

/* ---- the thread ---- */

static bool any_runnable(struct eng_sched *s)
{
    for (struct eng_job *j = s->jobs; j != NULL; j = j->next) {
        if (is_runnable(j))
            return true;
    }
    return false;
}

static int start(struct eng_sched *s, struct base_err *err)
{
    const size_t n = (size_t)s->o.max_job, n_vocab = (size_t)eng_model_config(s->m)->n_vocab;
    s->order = calloc(n, sizeof(struct eng_job *));
    s->slot = calloc(n, sizeof *s->slot);
    s->seg = calloc(n, sizeof *s->seg);
    s->logits = malloc(n * n_vocab * sizeof *s->logits);
    if (s->order == NULL || s->slot == NULL || s->seg == NULL || s->logits == NULL)
        return base_err_set(err, BASE_ENOMEM, "scheduler", "no memory for %d jobs", s->o.max_job);
    return eng_exec_new(&s->exec, s->m, s->o.n_thread, s->o.max_row, err);
}

void *sched_thread(void *sched)
{
    struct eng_sched *s = sched;
    struct base_err err = {0};
    const int rc = start(s, &err); /* here: the pool belongs to the thread that makes it */
    pthread_mutex_lock(&s->lock);
    s->started = true;
    s->start_code = rc;
    s->start_err = err;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    bool stop = rc != 0;
    while (!stop) {
        const bool idle = !any_runnable(s);
        pthread_mutex_lock(&s->lock);
        while (idle && s->cmd == NULL && !s->stop)
            pthread_cond_wait(&s->wake, &s->lock);
        struct sched_cmd *c = s->cmd;
        s->cmd = NULL;
        s->cmd_end = &s->cmd;
        stop = s->stop;
        pthread_mutex_unlock(&s->lock);
        while (c != NULL) {
            struct sched_cmd *next = c->next;
            apply(s, c);
            c = next;
        }
        if (!stop)
            step(s);
    }
    eng_exec_free(s->exec);
    free(s->order);
    free(s->slot);
    free(s->seg);
    free(s->logits);
    return NULL;
}
