/* The owner's side: everything here runs on the owner's thread. */
#include "engine/lora.h"
#include "engine/sched_inner.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MAX_JOB_LIMIT = 1024, MAX_DRAFT = 64 };

static int check_opt(const struct eng_sched_opt *o, struct base_err *err)
{
    if (o->max_job < 1 || o->max_job > MAX_JOB_LIMIT)
        return base_err_set(err, BASE_EINVAL, "scheduler", "%d jobs are not in 1..%d", o->max_job,
                            MAX_JOB_LIMIT);
    if (o->chunk_tok < 1 || o->chunk_tok > o->max_row)
        return base_err_set(err, BASE_EINVAL, "scheduler",
                            "chunks of %d rows in steps of at most %d", o->chunk_tok, o->max_row);
    if (o->n_ctx < 1)
        return base_err_set(err, BASE_EINVAL, "scheduler", "a context of %d", o->n_ctx);
    if (o->draft_tok < 0 || o->draft_tok > MAX_DRAFT)
        return base_err_set(err, BASE_EINVAL, "scheduler", "%d drafted rows are not in 0..%d",
                            o->draft_tok, MAX_DRAFT);
    if (o->step_ms < 0 || o->yield_steps < 0 || o->cache_entries < 0 || o->cache_age_ms < 0)
        return base_err_set(err, BASE_EINVAL, "scheduler", "a limit is below 0");
    return 0;
}

static int wait_for_start(struct eng_sched *s, struct base_err *err)
{
    pthread_mutex_lock(&s->lock);
    while (!s->started)
        pthread_cond_wait(&s->wake, &s->lock);
    const int rc = s->start_code;
    if (rc != 0 && err != NULL)
        *err = s->start_err;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int eng_sched_new(struct eng_sched **out, const struct eng_model *m, const struct eng_sched_opt *o,
                  struct base_err *err)
{
    int rc = check_opt(o, err);
    if (rc != 0)
        return rc;
    struct eng_sched *s = calloc(1, sizeof *s);
    if (s == NULL)
        return base_err_set(err, BASE_ENOMEM, "scheduler", "no memory");
    s->m = m;
    s->o = *o;
    s->cmd_end = &s->cmd;
    s->ev_end = &s->ev;
    s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->fd < 0) {
        free(s);
        return base_err_set(err, BASE_EIO, "scheduler", "eventfd: %m");
    }
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &clock);
    pthread_condattr_destroy(&clock);
    if (pthread_create(&s->thread, NULL, sched_thread, s) != 0) {
        rc = base_err_set(err, BASE_EIO, "scheduler", "cannot start the engine's thread");
        goto out;
    }
    rc = wait_for_start(s, err);
    if (rc != 0) {
        pthread_join(s->thread, NULL);
        goto out;
    }
    *out = s;
    return 0;
out:
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    close(s->fd);
    free(s);
    return rc;
}

void eng_sched_free(struct eng_sched *s)
{
    if (s == NULL)
        return;
    while (s->open_jobs != NULL)
        eng_job_close(s->open_jobs);
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    eng_sched_poll(s); /* every job is closed: only frees */
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    close(s->fd);
    free(s);
}

int eng_sched_fd(const struct eng_sched *s)
{
    return s->fd;
}

static void push_cmd(struct eng_sched *s, struct sched_cmd *c)
{
    c->next = NULL;
    pthread_mutex_lock(&s->lock);
    c->n_step = s->stats.n_step;
    *s->cmd_end = c;
    s->cmd_end = &c->next;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static void job_free(struct eng_job *j)
{
    sched_past_free(j->past);
    eng_watch_fini(&j->watch);
    eng_sampler_free(j->sampler);
    free(j->planned);
    free(j);
}

static void deliver(struct eng_job *j, const struct sched_ev *e)
{
    if (j->closed)
        return;
    if (e->ev.kind == ENG_EV_ERROR)
        j->dead = true;
    if (e->answer_end_pos >= 0) {
        j->answering = false;
        for (int l = 0; l < eng_model_config(j->sched->m)->n_layer; l++)
            j->planned[l] = e->answer_end_pos;
    }
    j->cb(j, &e->ev, j->arg);
}

void eng_sched_poll(struct eng_sched *s)
{
    uint64_t count;
    const ssize_t got = read(s->fd, &count, sizeof count);
    (void)got; /* nothing to read: nothing was announced; the list says it all */
    pthread_mutex_lock(&s->lock);
    struct sched_ev *e = s->ev;
    s->ev = NULL;
    s->ev_end = &s->ev;
    pthread_mutex_unlock(&s->lock);
    while (e != NULL) {
        struct sched_ev *next = e->next;
        struct eng_job *j = e->job;
        if (e == &j->gone_ev) {
            s->n_alive--;
            job_free(j);
        } else {
            deliver(j, e);
            if (e != &j->error_ev)
                sched_ev_free(e);
        }
        e = next;
    }
}

static int check_run(const struct eng_sched *s, const struct eng_job_run *r, struct base_err *err)
{
    const int n_layer = eng_model_config(s->m)->n_layer;
    const bool token = r->out == ENG_OUT_TOKEN;
    if (!eng_model_holds(s->m, r->layer_begin, r->layer_end, false, token))
        return base_err_set(err, BASE_EINVAL, "job", "layers [%d, %d)%s are not held",
                            r->layer_begin, r->layer_end, token ? " and the head" : "");
    if (token && r->layer_end != n_layer)
        return base_err_set(err, BASE_EINVAL, "job", "tokens come after layer %d, not %d", n_layer,
                            r->layer_end);
    if (r->autoregress && (!token || r->layer_begin != 0 ||
                           !eng_model_holds(s->m, 0, n_layer, true, true) || r->max_new_tok < 1))
        return base_err_set(err, BASE_EINVAL, "job",
                            "to answer by itself it needs tokens, all layers and max_new_tok > 0");
    return 0;
}

bool eng_sched_has_room(const struct eng_sched *s)
{
    /* Closed jobs hold their memory until the engine's next step has let go of them. */
    return s->n_open < s->o.max_job && s->n_alive < 2 * s->o.max_job;
}

int eng_job_open(struct eng_job **out, struct eng_sched *s, const struct eng_job_opt *opt,
                 eng_job_cb *cb, void *arg, struct base_err *err)
{
    int rc = check_run(s, &opt->run, err);
    if (rc != 0)
        return rc;
    if (opt->cache_key != NULL && strlen(opt->cache_key) >= ENG_CACHE_KEY_MAX)
        return base_err_set(err, BASE_EINVAL, "job", "a cache key of %zu bytes",
                            strlen(opt->cache_key));
    if (opt->lora != NULL && eng_lora_model(opt->lora) != s->m)
        return base_err_set(err, BASE_EINVAL, "job", "the adapter is another model's");
    if (!eng_sched_has_room(s))
        return base_err_set(err, BASE_EBUSY, "job", "all %d are in use", s->o.max_job);
    struct eng_job *j = calloc(1, sizeof *j);
    if (j == NULL)
        return base_err_set(err, BASE_ENOMEM, "job", "no memory");
    j->sched = s;
    j->cb = cb;
    j->arg = arg;
    j->priority = opt->priority;
    j->run = opt->run;
    j->lora = opt->lora;
    j->todo_end = &j->todo;
    j->last_pick = -1;
    j->draft_right = SCHED_DRAFT_PRIOR / 100.0;
    j->open_cmd = (struct sched_cmd){.kind = SCHED_OPEN, .job = j};
    j->close_cmd = (struct sched_cmd){.kind = SCHED_CLOSE, .job = j};
    j->error_ev.job = j->gone_ev.job = j;
    j->error_ev.answer_end_pos = -1;
    j->planned = calloc((size_t)eng_model_config(s->m)->n_layer, sizeof *j->planned);
    if (j->planned == NULL)
        rc = base_err_set(err, BASE_ENOMEM, "job", "no memory");
    if (rc != 0 ||
        (rc = eng_watch_init(&j->watch, &opt->watch, eng_model_config(s->m)->n_layer,
                             eng_model_config(s->m)->d_model, err)) != 0 ||
        (rc = sched_past_new(&j->past, s->m, &s->o, opt, err)) != 0 ||
        (rc = eng_sampler_new(&j->sampler, &opt->sample, eng_model_config(s->m)->n_vocab, err)) !=
            0) {
        job_free(j);
        return rc;
    }
    j->owner_next = s->open_jobs;
    j->owner_link = &s->open_jobs;
    if (s->open_jobs != NULL)
        s->open_jobs->owner_link = &j->owner_next;
    s->open_jobs = j;
    s->n_open++;
    s->n_alive++;
    push_cmd(s, &j->open_cmd);
    *out = j;
    return 0;
}

void eng_job_close(struct eng_job *j)
{
    if (j == NULL)
        return;
    j->closed = true;
    *j->owner_link = j->owner_next;
    if (j->owner_next != NULL)
        j->owner_next->owner_link = j->owner_link;
    j->sched->n_open--;
    push_cmd(j->sched, &j->close_cmd);
}

static int check_idle(const struct eng_job *j, struct base_err *err)
{
    if (j->dead)
        return base_err_set(err, BASE_ECLOSED, "job", "it has failed");
    if (j->answering)
        return base_err_set(err, BASE_EBUSY, "job", "its answer is still running");
    return 0;
}

/* May n rows be fed now? */
static int check_feed(const struct eng_job *j, int n, struct base_err *err)
{
    int rc = check_idle(j, err);
    if (rc != 0)
        return rc;
    const int n_ctx = j->sched->o.n_ctx, a = j->run.layer_begin;
    if (n < 1)
        return base_err_set(err, BASE_EINVAL, "job", "%d rows", n);
    for (int l = a; l < j->run.layer_end; l++) {
        if (j->planned[l] != j->planned[a])
            return base_err_set(err, BASE_EINVAL, "job",
                                "layer %d is at position %d, layer %d at %d", a, j->planned[a], l,
                                j->planned[l]);
    }
    const int used = a < j->run.layer_end ? j->planned[a] : 0;
    if (n > n_ctx - used || n > n_ctx - atomic_load(&j->n_waiting))
        return base_err_set(err, BASE_ELIMIT, "job", "%d rows after position %d, context of %d", n,
                            used, n_ctx);
    return 0;
}

static int check_tokens(const struct eng_job *j, const int32_t *tok, int n, struct base_err *err)
{
    const int n_vocab = eng_model_config(j->sched->m)->n_vocab;
    for (int i = 0; i < n; i++) {
        if (tok[i] < 0 || tok[i] >= n_vocab)
            return base_err_set(err, BASE_EINVAL, "job", "token %d is not one of %d", i, n_vocab);
    }
    return 0;
}

/* A command with n_bytes of payload behind it. */
static struct sched_cmd *cmd_new(struct eng_job *j, enum sched_cmd_kind kind, int n,
                                 const void *payload, size_t n_bytes)
{
    struct sched_cmd *c = malloc(sizeof *c + n_bytes);
    if (c == NULL)
        return NULL;
    *c = (struct sched_cmd){.kind = kind, .job = j, .run = j->run, .lora = j->lora, .n = n};
    memcpy(c + 1, payload, n_bytes);
    return c;
}

static void push_feed(struct eng_job *j, struct sched_cmd *c)
{
    for (int l = j->run.layer_begin; l < j->run.layer_end; l++)
        j->planned[l] += c->n;
    j->answering = j->run.autoregress;
    atomic_fetch_add(&j->n_waiting, c->n);
    atomic_fetch_add(&j->sched->n_row_waiting, c->n);
    push_cmd(j->sched, c);
}

int eng_job_feed_tokens(struct eng_job *j, const int32_t *tok, int n, struct base_err *err)
{
    int rc = check_feed(j, n, err);
    if (rc != 0 || (rc = check_tokens(j, tok, n, err)) != 0)
        return rc;
    if (j->run.layer_begin != 0 || !eng_model_holds(j->sched->m, 0, 0, true, false))
        return base_err_set(err, BASE_EINVAL, "job", "tokens enter at layer 0 with the embedding");
    struct sched_cmd *c = cmd_new(j, SCHED_FEED, n, tok, (size_t)n * sizeof *tok);
    if (c == NULL)
        return base_err_set(err, BASE_ENOMEM, "job", "no memory for %d tokens", n);
    c->token = (int32_t *)(c + 1);
    push_feed(j, c);
    return 0;
}

int eng_job_feed_rows(struct eng_job *j, const float *rows, int n, struct base_err *err)
{
    int rc = check_feed(j, n, err);
    if (rc != 0)
        return rc;
    const size_t row_bytes = (size_t)eng_model_config(j->sched->m)->d_model * sizeof *rows;
    struct sched_cmd *c = cmd_new(j, SCHED_FEED, n, rows, (size_t)n * row_bytes);
    if (c == NULL)
        return base_err_set(err, BASE_ENOMEM, "job", "no memory for %d rows", n);
    c->row = (float *)(c + 1);
    push_feed(j, c);
    return 0;
}

int eng_job_accept(struct eng_job *j, const int32_t *tok, int n)
{
    if (j->dead || n < 0 || check_tokens(j, tok, n, NULL) != 0)
        return BASE_EINVAL;
    if (n == 0)
        return 0;
    if (n > j->sched->o.n_ctx - j->n_accepted)
        return BASE_ELIMIT;
    struct sched_cmd *c = cmd_new(j, SCHED_ACCEPT, n, tok, (size_t)n * sizeof *tok);
    if (c == NULL)
        return BASE_ENOMEM;
    c->token = (int32_t *)(c + 1);
    j->n_accepted += n;
    push_cmd(j->sched, c);
    return 0;
}

int eng_job_switch(struct eng_job *j, const struct eng_job_run *run, struct base_err *err)
{
    int rc = check_idle(j, err);
    if (rc != 0 || (rc = check_run(j->sched, run, err)) != 0)
        return rc;
    j->run = *run;
    return 0;
}

/* Rows of both kinds may not meet in a layer's K/V. */
int eng_job_adapt(struct eng_job *j, const struct eng_lora *lora, struct base_err *err)
{
    int rc = check_idle(j, err);
    if (rc != 0)
        return rc;
    if (lora != NULL && eng_lora_model(lora) != j->sched->m)
        return base_err_set(err, BASE_EINVAL, "job", "the adapter is another model's");
    for (int l = 0; lora != j->lora && l < eng_model_config(j->sched->m)->n_layer; l++) {
        const bool both = eng_lora_touches(lora, l, l + 1) || eng_lora_touches(j->lora, l, l + 1);
        if (j->planned[l] > 0 && both)
            return base_err_set(err, BASE_EINVAL, "job", "layer %d has rows of another adapter", l);
    }
    j->lora = lora;
    return 0;
}

void eng_sched_stats(const struct eng_sched *s, struct eng_sched_stats *out)
{
    struct eng_sched *w = (struct eng_sched *)s; /* the lock is not part of what const promises */
    pthread_mutex_lock(&w->lock);
    *out = s->stats;
    pthread_mutex_unlock(&w->lock);
    out->n_job = s->n_open;
    out->n_row_waiting = atomic_load(&w->n_row_waiting);
}

int eng_sched_rows_before(const struct eng_sched *s, int priority)
{
    int n = 0;
    for (struct eng_job *j = s->open_jobs; j != NULL; j = j->owner_next)
        n += j->priority >= priority ? atomic_load(&j->n_waiting) : 0;
    return n;
}
