#include "edge/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A miss of the whole share moves a threshold through its whole range in one window. The window answers
 * half a window late; an integrator behind a delay is stable up to gain times delay = pi/2 and hardly
 * overshoots at 1/2, which this is. */
static const double GAIN = 1.0;

void edge_share_fini(struct edge_share *s)
{
    free(s->last);
    *s = (struct edge_share){.last = NULL};
}

bool edge_share_get(const struct edge_share *s, double *out)
{
    if (s->n == 0 || 2 * s->n < s->cap)
        return false;
    *out = (double)s->n_edge / (double)s->n;
    return true;
}

bool edge_share_moved(const struct edge_share *s, const struct rt_share_decl *d, int i, double *out)
{
    if (s->rule[i][0] == '\0' || strcmp(s->rule[i], d->move[i].rule) != 0)
        return false;
    *out = s->moved[i];
    return true;
}

static void window_set(struct edge_share *s, int64_t n)
{
    if (s->cap == n)
        return;
    edge_share_fini(s);
    s->last = calloc((size_t)n, 1);
    s->cap = s->last != NULL ? n : 0;
}

static double within(double v, const struct rt_move_decl *m)
{
    return v < m->min ? m->min : v > m->max ? m->max : v;
}

static void move(struct edge_share *s, const struct rt_share_decl *d, int i, double miss)
{
    const struct rt_move_decl *m = &d->move[i];
    double at = within(m->value, m);
    (void)edge_share_moved(s, d, i, &at);
    /* Too much on the device: rules that leave must match more often. */
    const double step = miss * GAIN * (m->max - m->min) / (double)s->cap;
    s->moved[i] = within(at + (m->opens ? step : -step), m);
    snprintf(s->rule[i], sizeof s->rule[i], "%s", m->rule);
}

void edge_share_add(struct edge_share *s, const struct rt_share_decl *d, bool on_device)
{
    double share;
    if (d->edge < 0 || d->over <= 0)
        return;
    window_set(s, d->over);
    if (s->cap == 0)
        return;
    s->n_edge += on_device - (s->n == s->cap ? s->last[s->at] : 0);
    s->n += s->n < s->cap;
    s->last[s->at] = on_device;
    s->at = (s->at + 1) % s->cap;
    for (int i = 0; edge_share_get(s, &share) && i < d->n_move; i++)
        move(s, d, i, share - d->edge);
}
