/* Which rows a step has. */
#include "engine/sched_inner.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { MIN_CHUNK = 8 }; /* prefill goes on by that many rows, whatever a step should take */

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
        if (sched_is_runnable(j))
            s->order[n++] = j;
    }
    qsort(s->order, (size_t)n, sizeof *s->order, order_cmp);
    return n;
}

/* An answer that begins by what the grammar leaves no choice about: those tokens run with the
 * prompt's last rows, so that the step's logits are for the first choice. */
static void add_sure(struct eng_sched *s, struct sched_slot *t, struct eng_seg *g, int room)
{
    struct eng_job *j = t->job;
    int32_t *tok = j->past->token + t->pos;
    int max = t->run.max_new_tok - 1;
    max = max < room - t->n ? max : room - t->n;
    max = max < s->o.chunk_tok - t->n ? max : s->o.chunk_tok - t->n;
    max = max < j->past->n_ctx - 1 - t->pos - t->n ? max : j->past->n_ctx - 1 - t->pos - t->n;
    if (!t->last || !t->run.autoregress || !j->past->whole || max <= 0)
        return;
    int n = eng_sampler_sure(j->sampler, tok + t->n, max); /* an error: the pick finds it too */
    if (n > 0 && eng_tok_is_end(eng_model_tok(s->m), tok[t->n + n - 1]))
        n--;
    if (n <= 0)
        return;
    memcpy(tok, g->token, (size_t)t->n * sizeof *tok);
    g->token = tok;
    t->n_sure = n;
    t->n = g->n_row = t->n + n;
}

/* Fills slot and seg for at most `room` rows of j, and what the event needs. 0 or BASE_ENOMEM. */
static int fill_slot(struct eng_sched *s, struct eng_job *j, int room, int at)
{
    const size_t d = (size_t)eng_model_config(s->m)->d_model;
    struct sched_slot *t = &s->slot[at];
    struct sched_cmd *f = j->n_owed > 0 ? NULL : j->todo;
    if (f != NULL)
        j->past->lora = f->lora;
    if (f != NULL)
        sched_cache_use(s, j, f, base_clock_mono_us());
    *t = (struct sched_slot){
        .job = j, .feed = f, .fed = f != NULL, .run = f != NULL ? f->run : j->answer_run};
    const int left = f != NULL ? f->n - f->n_done : j->n_owed;
    t->n = left < s->o.chunk_tok ? left : s->o.chunk_tok;
    t->n = t->n < room ? t->n : room;
    t->last = t->n == left && (f != NULL || j->engine_answering);
    const bool layers = t->run.layer_begin < t->run.layer_end;
    t->pos = layers ? eng_session_n_pos(j->past->session, t->run.layer_begin) : 0;
    struct eng_seg *g = &s->seg[at];
    j->watch.until = t->pos + t->n; /* whatever joins the slot is the answer's */
    *g = (struct eng_seg){.s = layers ? j->past->session : NULL,
                          .layer_begin = t->run.layer_begin,
                          .layer_end = t->run.layer_end,
                          .n_row = t->n,
                          .lora = j->past->lora,
                          .watch = f != NULL && j->watch.o.n > 0 ? &j->watch : NULL};
    if (f == NULL) {
        g->token = j->past->token + t->pos; /* drafts come behind it */
    } else if (f->token != NULL) {
        g->token = f->token + f->n_done;
        add_sure(s, t, g, room);
    } else {
        g->x_in = f->row + (size_t)f->n_done * d;
    }
    const bool rows = t->run.out == ENG_OUT_ROWS || (t->run.out == ENG_OUT_STATE && t->last);
    if (rows)
        t->ev = sched_ev_new(j, ENG_EV_ROWS, (size_t)t->n * d);
    else if (t->last)
        t->ev = sched_ev_new(j, t->run.out == ENG_OUT_TOKEN ? ENG_EV_TOKEN : ENG_EV_DONE, 0);
    if ((rows || t->last) && t->ev == NULL)
        return BASE_ENOMEM;
    if (t->last && f != NULL && eng_watch_passes(&j->watch, t->run.layer_begin, t->run.layer_end)) {
        t->ev->seen = malloc(2 * (size_t)j->watch.o.n * d * sizeof *t->ev->seen);
        if (t->ev->seen == NULL) {
            sched_slot_drop(t);
            return BASE_ENOMEM;
        }
    }
    if (rows)
        g->x_out = t->ev->buf;
    return 0;
}

/* ---- drafts ---- */

/* Whole drafts behind the token of an answer's slot, in the session's tokens: how many. */
static int draft(const struct eng_sched *s, struct sched_slot *t, int max)
{
    const struct eng_job *j = t->job;
    int32_t *tok = j->past->token;
    const int to_end = t->run.max_new_tok - j->n_answer - 1, n = t->pos + 1;
    max = max < to_end ? max : to_end;
    max = max < j->past->n_ctx - n ? max : j->past->n_ctx - n;
    int got = 0;
    for (int i = 0; i < sched_n_draft_source && got == 0 && max > 0; i++) {
        got = sched_draft_source[i].find(j, tok, n, tok + n, max);
        t->sure = sched_draft_source[i].sure;
    }
    for (int i = 0; i < got; i++) {
        if (eng_tok_is_end(eng_model_tok(s->m), tok[n + i]))
            return i; /* nothing comes after it */
    }
    return got;
}

/* Makes n drafted rows part of the slot. Each may become a token to announce. */
static int slot_widen(struct sched_slot *t, struct eng_seg *g, int n)
{
    for (int i = 0; i < n; i++) {
        struct sched_ev *e = sched_ev_new(t->job, ENG_EV_TOKEN, 0);
        if (e == NULL)
            return BASE_ENOMEM;
        e->next = t->ev;
        t->ev = e;
    }
    t->n += n;
    t->n_draft = n;
    g->n_row = t->n;
    g->logits_all = true;
    return 0;
}

/* Adds drafted rows as long as they pay: they share what a step costs anyway. Not while a prompt is
 * read: such a step's time is its rows. Returns the slots that are left (no memory: one less). */
static int add_drafts(struct eng_sched *s, int n_slot, int room)
{
    int n_row = 0, kept = 0;
    double n_tok = n_slot;
    for (int i = 0; i < n_slot; i++)
        n_row += s->slot[i].n;
    for (int i = 0; i < n_slot; i++) {
        s->slot[kept] = s->slot[i];
        s->seg[kept] = s->seg[i];
        struct sched_slot *t = &s->slot[kept];
        struct eng_job *j = t->job;
        const int max = t->fed || t->n > 1 || !t->last || !j->past->whole ? 0 : s->o.draft_tok;
        const int found = max > 0 ? draft(s, t, max < room ? max : room) : 0;
        double right = 1.0;
        int n = 0;
        for (; n < found; n++, n_row++) {
            right *= t->sure ? 1.0 : j->draft_right;
            if (!s->o.draft_always && !sched_cost_pays(&s->cost, right, n_row, n_tok))
                break;
            n_tok += right;
        }
        if (found > 0 && n == 0) /* what didn't pay a while ago is tried again some day */
            j->draft_right += 0.02 * (SCHED_DRAFT_PRIOR / 100.0 - j->draft_right);
        if (n > 0 && slot_widen(t, &s->seg[kept], n) != 0) {
            sched_slot_drop(t);
            sched_fail_nomem(s, j);
            continue;
        }
        room -= n;
        kept++;
    }
    return kept;
}

/* ---- the whole step ---- */

int sched_logits_rows(const struct eng_sched_opt *o)
{
    const int64_t want = (int64_t)o->max_job * (1 + o->draft_tok);
    return want < o->max_row ? (int)want : o->max_row;
}

static void place_logits(struct eng_sched *s, int n_slot)
{
    float *at = s->logits;
    for (int i = 0; i < n_slot; i++) {
        const struct sched_slot *t = &s->slot[i];
        if (!t->last || t->run.out != ENG_OUT_TOKEN)
            continue;
        s->seg[i].logits = at;
        at += (size_t)(1 + t->n_draft) * (size_t)eng_model_config(s->m)->n_vocab;
    }
}

/* Rows that prefill may take beside n_decode answers that must not wait: by the target if there are
 * such, or if the prompt itself is in no hurry. */
static int prefill_room(const struct eng_sched *s, int room, int n_decode, int priority)
{
    if (s->o.step_ms == 0 || s->row_us <= 0 || (n_decode == 0 && priority >= 0))
        return room;
    const double fit = 1000.0 * s->o.step_ms / s->row_us - n_decode;
    const int least = MIN_CHUNK < room ? MIN_CHUNK : room;
    return fit < least ? least : fit < room ? (int)fit : room;
}

int sched_build(struct eng_sched *s)
{
    const int n_job = order_jobs(s);
    int n = 0, room = s->o.max_row, n_decode = 0, first_prefill = 0;
    while (first_prefill < n_job && is_decode(s->order[first_prefill]))
        first_prefill++;
    const bool prefill = first_prefill < n_job;
    const int top = prefill ? s->order[first_prefill]->priority : INT_MIN;
    for (int i = 0; i < first_prefill && room > 0; i++) {
        struct eng_job *j = s->order[i];
        if (j->priority < top && s->now.n_step + 1 - j->last_step < (uint64_t)s->o.yield_steps)
            continue;
        const int others = first_prefill - i - 1; /* one row each */
        if (fill_slot(s, j, room > others ? room - others : 1, n) != 0) {
            sched_fail_nomem(s, j);
            continue;
        }
        n_decode += j->priority >= top;
        room -= s->slot[n++].n;
    }
    if (!prefill)
        n = add_drafts(s, n, room);
    else
        room = prefill_room(s, room, n_decode, top);
    for (int i = first_prefill; i < n_job && room > 0 && s->order[i]->priority == top; i++) {
        if (fill_slot(s, s->order[i], room, n) != 0)
            sched_fail_nomem(s, s->order[i]);
        else
            room -= s->slot[n++].n;
    }
    place_logits(s, n);
    return n;
}
