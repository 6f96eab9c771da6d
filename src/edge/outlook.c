#include "edge/outlook.h"

#include <stdio.h>
#include <string.h>

/* An answer weighs half of its successor's successor's successor: a changed server is believed after a
 * handful, a single slow answer moves a mean by a fifth. */
static const double KEEP = 0.8;

static void trend_add(struct edge_trend *t, double x, double y)
{
    t->w = KEEP * t->w + 1;
    t->x = KEEP * t->x + x;
    t->y = KEEP * t->y + y;
    t->xx = KEEP * t->xx + x * x;
    t->xy = KEEP * t->xy + x * y;
}

/* A slope below 0 is chance: more tokens do not take less. Below its mean the line is not followed to
 * less than nothing. */
static double trend_at(const struct edge_trend *t, double x)
{
    const double mx = t->x / t->w, my = t->y / t->w;
    const double var = t->xx / t->w - mx * mx, cov = t->xy / t->w - mx * my;
    const double slope = var > 1e-6 * mx * mx && cov > 0 ? cov / var : 0;
    const double y = my + slope * (x - mx);
    return y > 0 ? y : 0;
}

/* The same through the origin: so much for each. */
static double trend_each(const struct edge_trend *t)
{
    return t->x > 0 ? t->y / t->x : 0;
}

static double transfer_ms(double bytes, double up_kbps)
{
    return up_kbps > 0 ? 8 * bytes / up_kbps : 0;
}

/* The one of this target and mode, else a free one, else the one unused for longest. */
static struct edge_past *past_for(struct edge_outlook *o, const char *target, enum rt_mode mode)
{
    struct edge_past *p = &o->at[0];
    for (int i = 0; i < EDGE_OUTLOOK_MAX; i++) {
        struct edge_past *q = &o->at[i];
        if (q->mode == mode && strcmp(q->target, target) == 0)
            return q;
        if (q->last_us < p->last_us)
            p = q;
    }
    *p = (struct edge_past){.mode = mode};
    snprintf(p->target, sizeof p->target, "%s", target);
    return p;
}

void edge_outlook_add(struct edge_outlook *o, int64_t now_us, const char *target, enum rt_mode mode,
                      const struct edge_wire *wire, const struct edge_took *t)
{
    /* Without a round trip known the connection was made in that time, too. */
    if (!(wire->rtt_ms > 0) || t->first_ms < 0 || t->answer_ms < 0)
        return;
    struct edge_past *p = past_for(o, target, mode);
    const bool knows = wire->up_kbps > 0;
    if (p->n > 0 && p->knew_rate != knows) {
        /* What the server took alone cannot be told from the old ones any more. */
        p->n = 0;
        p->first = (struct edge_trend){0};
    }
    p->knew_rate = knows;
    p->n++;
    p->last_us = now_us;
    const double server_ms = t->first_ms - wire->rtt_ms - transfer_ms(t->bytes, wire->up_kbps);
    trend_add(&p->first, t->n_prompt, server_ms > 0 ? server_ms : 0);
    trend_add(&p->bytes, t->n_prompt, t->bytes);
    if (t->n_answer > 1)
        trend_add(&p->answer, t->n_answer - 1, t->answer_ms);
}

static void one_get(const struct edge_past *p, const struct edge_wire *wire, int n_prompt,
                    int n_answer, double *first_ms, double *total_ms)
{
    const double bytes = trend_at(&p->bytes, n_prompt);
    const double first = wire->rtt_ms + transfer_ms(bytes, p->knew_rate ? wire->up_kbps : 0) +
                         trend_at(&p->first, n_prompt);
    *first_ms = first > *first_ms ? first : *first_ms;
    if (!(p->answer.w > 0) || n_answer < 1)
        return;
    const double total = first + trend_each(&p->answer) * (n_answer - 1);
    *total_ms = total > *total_ms ? total : *total_ms;
}

void edge_outlook_get(const struct edge_outlook *o, int64_t now_us, const char *target,
                      const struct edge_wire *wire, int n_prompt, int n_answer, double *first_ms,
                      double *total_ms)
{
    *first_ms = *total_ms = -1;
    for (int i = 0; i < EDGE_OUTLOOK_MAX && wire->rtt_ms > 0; i++) {
        const struct edge_past *p = &o->at[i];
        if (strcmp(p->target, target) != 0 || p->n < EDGE_OUTLOOK_LEAST ||
            now_us - p->last_us > (int64_t)EDGE_OUTLOOK_AGE_S * 1000000)
            continue;
        /* Answers over a link of known rate say nothing of one whose rate is not known. */
        if (p->knew_rate && !(wire->up_kbps > 0))
            continue;
        one_get(p, wire, n_prompt, n_answer, first_ms, total_ms);
    }
}
