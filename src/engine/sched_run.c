/* The engine's thread: takes commands, runs steps, announces what came of them. */
#include "engine/sched_inner.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* Announces with what else the step brings: see flush. */
static void push_ev(struct eng_sched *s, struct sched_ev *e)
{
    struct eng_job *j = e->job;
    e->next = NULL;
    e->ev.n_prompt_tok = j->n_prompt_tok;
    e->ev.n_cached_tok = j->n_cached_tok;
    e->ev.n_new_tok = j->n_new_tok;
    e->ev.engine_us = j->engine_us;
    j->engine_us = 0;
    *s->out_end = e;
    s->out_end = &e->next;
}

/* Events and stats of the same moment become the owner's. */
static void flush(struct eng_sched *s)
{
    s->now.cache_bytes = s->cache.bytes;
    s->now.n_cache = s->cache.n;
    s->now.n_cache_evicted = s->cache.n_evicted;
    const bool news = s->out != NULL;
    pthread_mutex_lock(&s->lock);
    s->stats = s->now;
    if (news) {
        *s->ev_end = s->out;
        s->ev_end = s->out_end;
    }
    pthread_mutex_unlock(&s->lock);
    s->out = NULL;
    s->out_end = &s->out;
    const uint64_t one = 1;
    const ssize_t put = news ? write(s->fd, &one, sizeof one) : 0;
    (void)put; /* fails only when the counter is full, and then it is readable */
}

struct sched_ev *sched_ev_new(struct eng_job *j, enum eng_event_kind kind, size_t n_float)
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

void sched_ev_free(struct sched_ev *e)
{
    free(e->buf);
    free(e->seen);
    free(e);
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

void sched_fail_nomem(struct eng_sched *s, struct eng_job *j)
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
    const int steps = (int)(s->now.n_step - j->close_cmd.n_step);
    s->now.cancel_steps = steps > s->now.cancel_steps ? steps : s->now.cancel_steps;
    if (!j->failed) {
        sched_cache_put(&s->cache, j->past, base_clock_mono_us());
        j->past = NULL;
    }
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

bool sched_is_runnable(struct eng_job *j)
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

/* ---- after the step ---- */

/* The sampler hears about fed tokens once: its own pick was counted when it was made. */
void sched_feed_advance(struct eng_sched *s, struct eng_job *j, struct sched_cmd *f, int n)
{
    struct sched_past *p = j->past;
    const int n_layer = eng_model_config(s->m)->n_layer;
    for (int i = f->n_done; i < f->n_done + n; i++) {
        const bool own = f->token != NULL && i == 0 && f->token[0] == j->last_pick;
        if (!own)
            j->n_prompt_tok++;
        if (f->token != NULL && !own)
            eng_sampler_accept(j->sampler, f->token[i]);
    }
    j->last_pick = -1;
    p->whole = p->whole && f->token != NULL && f->run.layer_end == n_layer;
    if (p->whole) {
        memcpy(p->token + p->n, f->token + f->n_done, (size_t)n * sizeof *p->token);
        p->n += n;
    }
    f->n_done += n;
    atomic_fetch_sub(&j->n_waiting, n);
    atomic_fetch_sub(&s->n_row_waiting, n);
}

static void end_answer(struct eng_sched *s, struct eng_job *j, enum eng_done why, int end_pos)
{
    j->engine_answering = false;
    struct sched_ev *e = sched_ev_new(j, ENG_EV_DONE, 0);
    if (e == NULL) {
        sched_fail_nomem(s, j);
        return;
    }
    e->ev.done = why;
    e->answer_end_pos = end_pos;
    e->ev.pos = end_pos;
    push_ev(s, e);
}

/* The answer's next token is known after the row at pos: does it go on? */
static bool answer_goes_on(struct eng_sched *s, const struct sched_slot *t, int32_t token, int pos)
{
    struct eng_job *j = t->job;
    j->n_answer++;
    j->answer_run = t->run;
    j->engine_answering = true;
    if (eng_tok_is_end(eng_model_tok(s->m), token))
        end_answer(s, j, ENG_DONE_STOP, pos + 1);
    else if (j->n_answer >= t->run.max_new_tok || pos + 1 >= j->past->n_ctx)
        end_answer(s, j, ENG_DONE_LENGTH, pos + 1);
    return j->engine_answering;
}

static void fail_sampler(struct eng_sched *s, struct eng_job *j, int rc)
{
    struct base_err err = {0};
    (void)base_err_set(&err, rc, "sampler", "%s",
                       rc == BASE_EINTERNAL ? "the logits are not numbers" : base_code_str(rc));
    fail_job(s, j, &err);
}

static void tell_token(struct eng_sched *s, struct sched_slot *t, struct sched_ev *e, int pos)
{
    struct eng_job *j = t->job;
    j->last_pick = e->ev.pick.token;
    j->n_new_tok++;
    t->n_out++;
    e->ev.pos = pos;
    push_ev(s, e);
}

/* Samples from one row's logits and announces the token. false: the job has failed. */
static bool pick_token(struct eng_sched *s, struct sched_slot *t, float *logits, int pos)
{
    struct sched_ev *e = t->ev;
    t->ev = e->next;
    const int rc = eng_sampler_pick(t->job->sampler, logits, &e->ev.pick);
    if (rc != 0) {
        sched_ev_free(e);
        fail_sampler(s, t->job, rc);
        return false;
    }
    tell_token(s, t, e, pos);
    return true;
}

/* The same without logits: 1, or 0 if it is not sure, or if the job has failed. */
static int take_sure(struct eng_sched *s, struct sched_slot *t, int pos)
{
    struct eng_pick pick;
    const int rc = eng_sampler_take_sure(t->job->sampler, &pick);
    if (rc <= 0) {
        if (rc < 0)
            fail_sampler(s, t->job, rc);
        return 0;
    }
    struct sched_ev *e = sched_ev_new(t->job, ENG_EV_TOKEN, 0);
    if (e == NULL) {
        sched_fail_nomem(s, t->job);
        return 0;
    }
    e->ev.pick = pick;
    tell_token(s, t, e, pos);
    return 1;
}

/* An answer that goes on behind the row at pos owes its last token's row. What is sure to come
 * behind that is told at once: it needs no logits, so its rows join the next step, and if it is the
 * answer's end there is none. */
static void tell_sure(struct eng_sched *s, struct sched_slot *t, int pos)
{
    struct eng_job *j = t->job;
    do {
        j->past->token[++pos] = j->last_pick;
        j->n_owed++;
    } while (take_sure(s, t, pos) && answer_goes_on(s, t, j->last_pick, pos));
}

static void draft_seen(struct eng_sched *s, const struct sched_slot *t, bool right)
{
    struct eng_job *j = t->job;
    s->now.n_draft_right += right;
    if (!t->sure)
        j->draft_right += 0.15 * ((right ? 1.0 : 0.0) - j->draft_right);
}

/* Row by row as long as the sampler picks what was drafted; the rows behind that are taken back. */
static void finish_tokens(struct eng_sched *s, struct sched_slot *t, float *logits)
{
    struct eng_job *j = t->job;
    const struct eng_config *c = eng_model_config(s->m);
    const int n_told = t->n - t->n_draft;
    const int32_t *drafted = j->past->token + t->pos + n_told;
    int pos = t->pos + n_told - t->n_sure - 1;
    if (t->fed)
        j->n_answer = 0;
    for (int i = 0; i < t->n_sure && !j->failed; i++, pos++) {
        const bool same = take_sure(s, t, pos) && j->last_pick == j->past->token[pos + 1];
        if (!j->failed && (!same || !answer_goes_on(s, t, j->last_pick, pos)))
            fail_sampler(s, j, BASE_EINTERNAL);
    }
    if (j->failed)
        return;
    for (int i = 0;; i++, pos++) {
        if (!pick_token(s, t, logits + (size_t)i * (size_t)c->n_vocab, pos))
            break;
        if (!t->run.autoregress || !answer_goes_on(s, t, j->last_pick, pos) || i == t->n_draft)
            break;
        const bool right = j->last_pick == drafted[i];
        draft_seen(s, t, right);
        if (!right)
            break;
    }
    if (t->n_draft > 0)
        eng_session_trim(j->past->session, 0, c->n_layer, pos + 1);
    if (!t->fed)
        j->past->n = pos + 1;
    s->now.n_draft += (uint64_t)t->n_draft;
    if (j->engine_answering)
        tell_sure(s, t, pos);
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

void sched_slot_drop(struct sched_slot *t)
{
    for (struct sched_ev *e = t->ev, *next; e != NULL; e = next) {
        next = e->next;
        sched_ev_free(e);
    }
    t->ev = NULL;
}

static void finish_slot(struct eng_sched *s, int at, int64_t us)
{
    struct sched_slot *t = &s->slot[at];
    struct eng_job *j = t->job;
    j->engine_us += us;
    j->last_step = s->now.n_step;
    if (t->fed) {
        sched_feed_advance(s, j, t->feed, t->n - t->n_sure);
        if (t->last)
            pop_todo(j);
        j->past->n += j->past->whole ? t->n_sure : 0;
    } else {
        j->n_owed -= t->n - t->n_draft;
        j->past->n = t->pos + t->n - t->n_draft;
    }
    if (t->ev == NULL)
        return;
    if (t->ev->seen != NULL) {
        eng_watch_get(&j->watch, t->ev->seen, &t->ev->states);
        t->ev->ev.states = &t->ev->states;
    }
    if (t->run.out == ENG_OUT_TOKEN) {
        finish_tokens(s, t, s->seg[at].logits);
        sched_slot_drop(t); /* what was drafted in vain */
    } else if (t->run.out == ENG_OUT_NONE) {
        push_ev(s, t->ev);
    } else {
        finish_rows(s, t);
    }
}

/* Decaying sums, so that the averages follow load and clock within some tens of steps. An answer's
 * rate counts its tokens, not its rows: drafts make more than one a step. */
static void update_stats(struct eng_sched *s, int n_slot, int64_t us)
{
    const double keep = 0.95;
    int most = 0, n_row = 0, n_decode = 0, n_tok = 0;
    for (int i = 0; i < n_slot; i++) {
        const struct sched_slot *t = &s->slot[i];
        const bool decode = !t->fed || t->n == 1;
        s->now.n_tok_in += t->fed ? (uint64_t)(t->n - t->n_sure) : 0;
        s->now.n_tok_out += (uint64_t)t->n_out;
        n_row += t->n;
        n_decode += decode;
        n_tok += !decode ? 0 : t->n_out > 1 ? t->n_out : 1;
        most = !decode && t->n > most ? t->n : most;
    }
    if (most > 0) {
        const double row_us = (double)us / n_row;
        s->row_us += (s->row_us > 0 ? 0.3 : 1.0) * (row_us - s->row_us);
        s->prefill_row = s->prefill_row * keep + most;
        s->prefill_us = s->prefill_us * keep + (double)us;
    } else {
        sched_cost_add(&s->cost, n_row, us);
    }
    if (n_decode > 0) {
        s->decode_row = s->decode_row * keep + (double)n_tok / n_decode;
        s->decode_us = s->decode_us * keep + (double)us;
    }
    struct eng_pool_stats pool;
    eng_exec_stats(s->exec, &pool);
    s->now.n_thread = pool.n_use;
    s->now.n_stall = pool.n_stall;
    s->now.prefill_tok_s = s->prefill_us > 0 ? s->prefill_row / s->prefill_us * 1e6 : 0;
    s->now.decode_tok_s = s->decode_us > 0 ? s->decode_row / s->decode_us * 1e6 : 0;
}

/* The batch was refused, so one of its segments is wrong, which the owner's checks should have
 * caught: run each alone, so that only the wrong job fails. Returns false if slot `at` failed. */
static bool run_alone(struct eng_sched *s, int at)
{
    struct base_err err = {0};
    if (eng_exec_run(s->exec, &s->seg[at], 1, &err) == 0)
        return true;
    sched_slot_drop(&s->slot[at]);
    fail_job(s, s->slot[at].job, &err);
    return false;
}

static void step(struct eng_sched *s)
{
    const int n = sched_build(s);
    if (n == 0)
        return;
    s->now.n_step++;
    const int64_t t0 = base_clock_mono_us();
    const bool whole = eng_exec_run(s->exec, s->seg, n, NULL) == 0;
    const int64_t us = base_clock_mono_us() - t0;
    for (int i = 0; i < n; i++) {
        if (whole || run_alone(s, i))
            finish_slot(s, i, us);
    }
    update_stats(s, n, us);
}

/* ---- the thread ---- */

static bool any_runnable(struct eng_sched *s)
{
    for (struct eng_job *j = s->jobs; j != NULL; j = j->next) {
        if (sched_is_runnable(j))
            return true;
    }
    return false;
}

static int start(struct eng_sched *s, struct base_err *err)
{
    const size_t n = (size_t)s->o.max_job, n_vocab = (size_t)eng_model_config(s->m)->n_vocab;
    const size_t n_logits = (size_t)sched_logits_rows(&s->o);
    s->cache.max_bytes = s->o.cache_bytes;
    s->cache.max_entry = s->o.cache_entries;
    s->cache.max_age_us = (int64_t)s->o.cache_age_ms * 1000;
    s->order = calloc(n, sizeof(struct eng_job *));
    s->slot = calloc(n, sizeof *s->slot);
    s->seg = calloc(n, sizeof *s->seg);
    s->logits = malloc(n_logits * n_vocab * sizeof *s->logits);
    if (s->order == NULL || s->slot == NULL || s->seg == NULL || s->logits == NULL)
        return base_err_set(err, BASE_ENOMEM, "scheduler", "no memory for %d jobs", s->o.max_job);
    return eng_exec_new(&s->exec, s->m, s->o.n_thread, s->o.max_row, err);
}

/* Under lock: until there is something to do, or (idle) until something kept is too old, at
 * until_us of the monotonic clock; -1: never. */
static void wait_for_work(struct eng_sched *s, bool idle, int64_t until_us)
{
    const struct timespec until = {.tv_sec = until_us / 1000000,
                                   .tv_nsec = until_us % 1000000 * 1000};
    int rc = 0;
    while (idle && rc == 0 && s->cmd == NULL && !s->stop)
        rc = until_us < 0 ? pthread_cond_wait(&s->wake, &s->lock)
                          : pthread_cond_timedwait(&s->wake, &s->lock, &until);
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
    s->out_end = &s->out;
    while (!stop) {
        const int64_t now_us = base_clock_mono_us();
        const int64_t expire_us = sched_cache_expire(&s->cache, now_us);
        flush(s); /* of the last step, and what has just expired */
        const bool idle = !any_runnable(s);
        pthread_mutex_lock(&s->lock);
        wait_for_work(s, idle, expire_us < 0 ? -1 : now_us + expire_us);
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
        flush(s); /* what was closed is gone before the step */
        if (!stop)
            step(s);
    }
    sched_cache_fini(&s->cache);
    eng_exec_free(s->exec);
    free(s->order);
    free(s->slot);
    free(s->seg);
    free(s->logits);
    return NULL;
}
