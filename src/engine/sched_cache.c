#include "engine/sched_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { MIN_TOK = 16 }; /* below it a hit saves less than it costs, and every chat begins alike */

static size_t token_bytes(const struct sched_past *p)
{
    return ((size_t)p->n_ctx + 1) * sizeof *p->token;
}

int sched_past_new(struct sched_past **out, const struct eng_model *m,
                   const struct eng_sched_opt *o, const struct eng_job_opt *job,
                   struct base_err *err)
{
    struct sched_past *p = calloc(1, sizeof *p);
    if (p == NULL)
        return base_err_set(err, BASE_ENOMEM, "job", "no memory");
    p->n_ctx = o->n_ctx;
    p->lora = job->lora;
    p->whole = true;
    p->common = job->common;
    snprintf(p->key, sizeof p->key, "%s", job->cache_key != NULL ? job->cache_key : "");
    int rc = eng_session_new(&p->session, m, o->n_ctx, o->kv, err);
    if (rc == 0) {
        void *map = mmap(NULL, token_bytes(p), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        p->token = map != MAP_FAILED ? map : NULL;
    }
    if (rc == 0 && p->token == NULL)
        rc = base_err_set(err, BASE_ENOMEM, "job", "no memory for %d tokens", o->n_ctx);
    if (rc != 0) {
        sched_past_free(p);
        return rc;
    }
    madvise(p->token, token_bytes(p), MADV_DONTDUMP); /* it holds what people said */
    *out = p;
    return 0;
}

void sched_past_free(struct sched_past *p)
{
    if (p == NULL)
        return;
    if (p->token != NULL)
        munmap(p->token, token_bytes(p)); /* the kernel zeroes pages before anyone gets them */
    eng_session_free(p->session);
    free(p);
}

/* Whether what one computed may serve the other. */
static bool alike(const struct sched_past *a, const struct sched_past *b)
{
    return a->key[0] != '\0' && strcmp(a->key, b->key) == 0 && a->lora == b->lora;
}

static int n_same(const struct sched_past *p, const int32_t *tok, int n)
{
    int i = 0;
    n = n < p->n ? n : p->n;
    while (i < n && p->token[i] == tok[i])
        i++;
    return i;
}

static void unlink_past(struct sched_cache *c, struct sched_past *p)
{
    struct sched_past **at = &c->first;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    c->bytes -= p->bytes;
    c->n--;
}

static void link_first(struct sched_cache *c, struct sched_past *p, int64_t now_us)
{
    p->next = c->first;
    p->used_us = now_us;
    c->first = p;
    c->bytes += p->bytes;
    c->n++;
}

static struct sched_past *last(const struct sched_cache *c)
{
    struct sched_past *p = c->first;
    while (p != NULL && p->next != NULL)
        p = p->next;
    return p;
}

static void evict(struct sched_cache *c, struct sched_past *p)
{
    unlink_past(c, p);
    sched_past_free(p);
    c->n_evicted++;
}

void sched_cache_put(struct sched_cache *c, struct sched_past *p, int64_t now_us)
{
    if (c->max_bytes == 0 || p->key[0] == '\0' || !p->whole || p->n < MIN_TOK) {
        sched_past_free(p);
        return;
    }
    struct sched_past *next;
    for (struct sched_past *e = c->first; e != NULL; e = next) {
        next = e->next;
        if (!alike(e, p))
            continue;
        const int same = n_same(e, p->token, p->n);
        if (same == p->n) { /* nothing new in it */
            unlink_past(c, e);
            sched_past_free(p);
            link_first(c, e, now_us);
            return;
        }
        if (same == e->n) { /* the beginning of the new one */
            unlink_past(c, e);
            sched_past_free(e);
        }
    }
    p->bytes = eng_session_bytes(p->session) + (size_t)p->n * sizeof *p->token;
    link_first(c, p, now_us);
    while (c->n > c->max_entry || c->bytes > c->max_bytes)
        evict(c, last(c));
}

int64_t sched_cache_expire(struct sched_cache *c, int64_t now_us)
{
    for (struct sched_past *p; (p = last(c)) != NULL;) {
        const int64_t left_us = p->used_us + c->max_age_us - now_us;
        if (left_us > 0)
            return left_us;
        evict(c, p);
    }
    return -1;
}

void sched_cache_fini(struct sched_cache *c)
{
    while (c->first != NULL)
        evict(c, c->first);
}

/* The past that has most of f's beginning in common, a closed job's or an open one's. Rows that a
 * watch must see are not looked for. */
static struct sched_past *find(struct eng_sched *s, const struct eng_job *j,
                               const struct sched_cmd *f, int *n, bool *open)
{
    struct sched_past *best = NULL;
    const int most = j->watch.o.n > 0 && j->watch.o.from < f->n - 1 ? j->watch.o.from : f->n - 1;
    *n = MIN_TOK - 1;
    for (struct sched_past *p = s->cache.first; p != NULL; p = p->next) {
        const int same = alike(p, j->past) ? n_same(p, f->token, most) : 0;
        if (same > *n) {
            best = p;
            *n = same;
            *open = false;
        }
    }
    for (struct eng_job *o = s->jobs; o != NULL; o = o->next) {
        const struct sched_past *p = o->past;
        const bool may = o != j && p->whole && !o->failed &&
                         (p->common ? p->lora == j->past->lora : alike(p, j->past));
        const int same = may ? n_same(p, f->token, most) : 0;
        if (same > *n) {
            best = o->past;
            *n = same;
            *open = true;
        }
    }
    return best;
}

void sched_cache_use(struct eng_sched *s, struct eng_job *j, struct sched_cmd *f, int64_t now_us)
{
    const int n_layer = eng_model_config(s->m)->n_layer;
    bool open = false;
    int n = 0;
    if (s->cache.max_bytes == 0 || j->past->n > 0 || !j->past->whole || f->token == NULL ||
        f->n_done > 0 || f->run.layer_begin != 0 || f->run.layer_end != n_layer ||
        f->run.out == ENG_OUT_ROWS)
        return;
    struct sched_past *p = find(s, j, f, &n, &open);
    if (p == NULL)
        return;
    if (!open) {
        unlink_past(&s->cache, p);
        if (n == p->n) {
            sched_past_free(j->past);
            j->past = p;
            p->n = 0;
        } else {
            link_first(&s->cache, p, now_us);
        }
    }
    if (p != j->past)
        eng_session_copy_prefix(j->past->session, p->session, 0, n_layer, n);
    sched_feed_advance(s, j, f, n);
    j->n_cached_tok += n;
    s->now.n_cache_hit++;
    s->now.n_cache_tok += (uint64_t)n;
}
