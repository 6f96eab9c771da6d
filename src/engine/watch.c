#include "engine/watch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int check(const struct eng_watch_opt *o, int n_layer, struct base_err *err)
{
    if (o->n < 0 || o->n > ENG_WATCH_MAX || o->from < 0)
        return base_err_set(err, BASE_EINVAL, "watch", "%d layers from position %d on, at most %d",
                            o->n, o->from, ENG_WATCH_MAX);
    for (int i = 0; i < o->n; i++) {
        if (o->layer[i] < 1 || o->layer[i] > n_layer || (i > 0 && o->layer[i] <= o->layer[i - 1]))
            return base_err_set(err, BASE_EINVAL, "watch", "layer %d is not in order within 1..%d",
                                o->layer[i], n_layer);
    }
    return 0;
}

int eng_watch_init(struct eng_watch *w, const struct eng_watch_opt *o, int n_layer, int d_model,
                   struct base_err *err)
{
    int rc = check(o, n_layer, err);
    if (rc != 0 || o->n == 0)
        return rc;
    const size_t n = (size_t)o->n * (size_t)d_model;
    float *p = calloc(2 * n, sizeof *p);
    if (p == NULL)
        return base_err_set(err, BASE_ENOMEM, "watch", "no memory for %d layers", o->n);
    *w = (struct eng_watch){.o = *o, .d_model = d_model, .until = INT_MAX, .sum = p, .last = p + n};
    return 0;
}

void eng_watch_fini(struct eng_watch *w)
{
    free(w->sum);
    *w = (struct eng_watch){0};
}

void eng_watch_add(struct eng_watch *w, int layer, int pos, const float *x)
{
    int i = 0;
    while (i < w->o.n && w->o.layer[i] != layer)
        i++;
    if (i == w->o.n || pos < w->o.from || pos >= w->until)
        return;
    const size_t at = (size_t)i * (size_t)w->d_model;
    for (int k = 0; k < w->d_model; k++)
        w->sum[at + (size_t)k] += x[k];
    memcpy(w->last + at, x, (size_t)w->d_model * sizeof *x);
    w->n_row[i]++;
}

bool eng_watch_passes(const struct eng_watch *w, int a, int b)
{
    for (int i = 0; i < w->o.n; i++) {
        if (w->o.layer[i] > a && w->o.layer[i] <= b)
            return true;
    }
    return false;
}

void eng_watch_get(const struct eng_watch *w, float *buf, struct eng_states *out)
{
    const size_t d = (size_t)w->d_model, n = (size_t)w->o.n * d;
    *out = (struct eng_states){.n = w->o.n, .d_model = w->d_model, .mean = buf, .last = buf + n};
    memcpy(out->layer, w->o.layer, sizeof out->layer);
    memcpy(out->n_row, w->n_row, sizeof out->n_row);
    memcpy(buf + n, w->last, n * sizeof *buf);
    for (size_t i = 0; i < n; i++) {
        const int rows = w->n_row[i / d];
        buf[i] = rows > 0 ? w->sum[i] / (float)rows : 0.0f;
    }
}
