/* Writes what was fitted as a confidence file (docs/confidence.md). */
#include "ctl/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void write_signals(const struct tune_task *t, const struct tune_cand *c,
                          struct base_buf *out)
{
    if (c->x == NULL) {
        base_buf_printf(out, "  signal %s %.9g 0 1\n", eng_conf_signal_name(t->signal[c->signal]),
                        t->sign);
        return;
    }
    for (int i = 0; i < c->n_signal; i++)
        base_buf_printf(out, "  signal %s %.9g %.9g %.9g\n", eng_conf_signal_name(t->signal[i]),
                        t->logit.weight[i], t->logit.mean[i], t->logit.scale[i]);
    base_buf_printf(out, "  bias %.9g\n", t->logit.bias);
}

/* Means and scales go into weights and bias. */
static void write_probe(const struct tune_task *t, const struct tune_cand *c, struct base_buf *out)
{
    double bias = t->logit.bias;
    base_buf_printf(out, "  state %s %d %d", c->last ? "last" : "mean", c->layer, c->d);
    for (int i = 0; i < c->d; i++) {
        const double w = t->logit.weight[i] / t->logit.scale[i];
        base_buf_printf(out, "%s%.7g", i % 10 == 0 ? "\n    " : " ", w);
        bias -= w * t->logit.mean[i];
    }
    base_buf_printf(out, "\n  bias %.9g\n", bias);
}

/* Knots whose scores are one number when written are one: the last, so that p rises. */
static void write_knots(const struct tune_task *t, struct base_buf *out)
{
    char now[40], next[40];
    for (int i = 0; i < t->n_knot; i++) {
        snprintf(now, sizeof now, "%.9g", t->knot[i].score);
        snprintf(next, sizeof next, "%.9g", i + 1 < t->n_knot ? t->knot[i + 1].score : 0);
        if (i + 1 < t->n_knot && strcmp(now, next) == 0)
            continue;
        base_buf_printf(out, "  knot %s %.6f\n", now, t->knot[i].p);
    }
}

void tune_write(const struct tune_run *r, const struct tune_task *t, int n_task,
                const struct tune_args *a, struct base_buf *out)
{
    base_buf_printf(out, "waypost-confidence 1\nmodel %s\nadapter %s\n", r->model,
                    r->adapter[0] != '\0' ? r->adapter : "none");
    for (int i = 0; i < n_task; i++) {
        if (t[i].best < 0)
            continue;
        const struct tune_cand *c = &t[i].cand[t[i].best];
        base_buf_printf(out,
                        "\n# %s, on %d sentences (%d such). Held out in %d folds: AUROC %.3f "
                        "(%.3f to %.3f),\n# calibration error %.3f (%.3f to %.3f).\ntask %s\n",
                        c->name, t[i].n_row, t[i].n_yes, a->n_fold, c->auroc.at, c->auroc.lo,
                        c->auroc.hi, c->ece.at, c->ece.lo, c->ece.hi,
                        eng_conf_task_name(t[i].task));
        if (c->probe)
            write_probe(&t[i], c, out);
        else
            write_signals(&t[i], c, out);
        write_knots(&t[i], out);
        base_buf_str(out, "end\n");
    }
}

/* Row i's states, in buf [2][layers][d]. */
static void row_states(const struct tune_set *s, int i, float *buf, struct eng_states *out)
{
    const struct tune_states *own = &s->own;
    const size_t d = (size_t)own->d, half = (size_t)own->n_layer * d;
    *out =
        (struct eng_states){.n = own->n_layer, .d_model = own->d, .mean = buf, .last = buf + half};
    memcpy(out->layer, own->layer, sizeof out->layer);
    for (int k = 0; k < own->n_layer; k++) {
        out->n_row[k] = 1;
        for (int last = 0; last < 2; last++)
            memcpy(buf + (size_t)last * half + (size_t)k * d,
                   tune_state(own, k, last, s->log.n) + (size_t)i * d, d * sizeof *buf);
    }
}

int tune_write_rows(const struct tune_set *s, const struct eng_conf *c, struct base_buf *out)
{
    float *buf = calloc(2 * (size_t)s->own.n_layer * (size_t)s->own.d + 1, sizeof *buf);
    if (buf == NULL)
        return BASE_ENOMEM;
    base_buf_str(out, "language\tsentence\twanted\tanswered");
    for (int k = 0; k < ENG_CONF_N_TASK; k++)
        base_buf_printf(out, "\t%s", eng_conf_task_name((enum eng_conf_task)k));
    for (int k = 0; eng_conf_signal_name(k) != NULL; k++)
        base_buf_printf(out, "\t%s", eng_conf_signal_name(k));
    for (int i = 0; i < s->log.n; i++) {
        const struct tune_row *row = &s->log.row[i];
        struct eng_states seen;
        row_states(s, i, buf, &seen);
        base_buf_printf(out, "\n%s\t%s\t%s\t", row->lang, row->text, row->want);
        for (const char *p = row->said; *p != '\0'; p++)
            base_buf_u8(out, (uint8_t)*p < ' ' ? ' ' : (uint8_t)*p);
        for (int k = 0; k < ENG_CONF_N_TASK; k++)
            base_buf_printf(out, "\t%.6f",
                            (double)eng_conf_ask(c, (enum eng_conf_task)k, &row->stats, &seen));
        for (int k = 0; eng_conf_signal_name(k) != NULL; k++)
            base_buf_printf(out, "\t%.6f", eng_conf_signal(k, &row->stats));
    }
    base_buf_str(out, "\n");
    free(buf);
    return out->err;
}
