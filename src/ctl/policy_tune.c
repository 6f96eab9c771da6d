/* policy tune: numbers of a policy fitted to a goal. */
#include "ctl/policy_tune.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/outfile.h"

enum { OUT_BYTES = 16 << 20 };

/* ---- what was asked for ---- */

static bool is_line_col(const char *s, int *line, int *col)
{
    int end = 0;
    return sscanf(s, "%d:%d%n", line, col, &end) == 2 && s[end] == '\0';
}

/* "RULE:FACT", "RULE:FACT:OP" or "LINE:COLUMN" */
static bool fits(const struct rt_number *n, const char *spec)
{
    char full[256];
    int line, col;

    if (is_line_col(spec, &line, &col))
        return line == n->line && col == n->col;
    snprintf(full, sizeof full, "%s:%s:%s", n->rule, n->fact, n->op);
    size_t len = strlen(spec);
    return strncmp(full, spec, len) == 0 && (full[len] == '\0' || full[len] == ':') &&
           strchr(spec, ':') != NULL;
}

static void list_numbers(FILE *to, const char *path, const struct rt_number *n, int n_number)
{
    char value[RT_REAL_BYTES];
    for (int i = 0; i < n_number; i++)
        fprintf(to, "%s:%d:%d: %s:%s:%s is %s%s\n", path, n[i].line, n[i].col, n[i].rule, n[i].fact,
                n[i].op, rt_real_text(n[i].value, value), n[i].moves ? " (moved by share)" : "");
}

/* Those that --param names, else those that `share` moves. */
static int choose(struct tune *t, const struct ctl_policy_args *a, const struct rt_number *all,
                  int n_all)
{
    bool used[CTL_MAX_LIST] = {false};

    for (int i = 0; i < n_all; i++) {
        bool take = a->param.n == 0 && all[i].moves;
        for (int k = 0; k < a->param.n; k++) {
            bool fit = fits(&all[i], a->param.at[k]);
            used[k] = used[k] || fit;
            take = take || fit;
        }
        if (take && t->n_number == TUNE_MAX_NUMBER) {
            fprintf(stderr, "waypostctl: more than %d numbers to fit\n", TUNE_MAX_NUMBER);
            return CTL_USAGE;
        }
        if (take)
            t->number[t->n_number++] = all[i];
    }
    for (int k = 0; k < a->param.n; k++) {
        if (!used[k]) {
            fprintf(stderr, "waypostctl: --param %s: no such number; the policy has\n",
                    a->param.at[k]);
            list_numbers(stderr, a->word[0], all, n_all);
            return CTL_USAGE;
        }
    }
    if (t->n_number == 0) {
        fprintf(stderr,
                "waypostctl: %s moves no threshold by share: name some by --param; it has\n",
                a->word[0]);
        list_numbers(stderr, a->word[0], all, n_all);
        return CTL_USAGE;
    }
    return CTL_OK;
}

/* "edge_share=0.7,ms<=900" */
static bool take_goal(struct tune *t, const char *s)
{
    static const char *const name[] = {"edge_share", "quality", "ms", "bytes"};

    while (t->n_goal < TUNE_MAX_GOAL) {
        struct tune_goal *g = &t->goal[t->n_goal++];
        size_t len = strcspn(s, "<>=");
        int m = 0;
        char *end;
        while (m < 4 && (strlen(name[m]) != len || strncmp(name[m], s, len) != 0))
            m++;
        s += len;
        g->metric = (enum tune_metric)m;
        g->sign = *s == '>' ? 1 : *s == '<' ? -1 : 0;
        if (m == 4 || (g->sign != 0 && s[1] != '='))
            return false;
        s += g->sign != 0 ? 2 : 1;
        g->value = strtod(s, &end);
        if (end == s || !isfinite(g->value) || (*end != ',' && *end != '\0') || s[-1] != '=')
            return false;
        if (*end == '\0')
            return true;
        s = end + 1;
    }
    return false;
}

/* ---- the policy with its new numbers ---- */

/* Only the numbers' own bytes change. */
static int edit(const struct tune *t, const char *text, size_t len, struct base_buf *out,
                struct base_err *err)
{
    size_t done = 0;

    for (int k = 0; k < t->n_number; k++) { /* in order of the text */
        const struct rt_number *n = &t->number[k];
        char value[RT_REAL_BYTES], *end;
        size_t from, to;
        bool there = rt_scalar_at(text, len, n->line, n->col, &from, &to) && from >= done;
        double was = there ? strtod(text + from, &end) : 0.0;
        if (!there || end != text + to || was < n->value || was > n->value)
            return base_err_set(err, BASE_EINTERNAL, n->rule, "%s is not at line %d, column %d",
                                n->fact, n->line, n->col);
        base_buf_add(out, text + done, from - done);
        if (n->whole)
            base_buf_printf(out, "%.0f", t->best.value[k]);
        else
            base_buf_str(out, rt_real_text(t->best.value[k], value));
        done = to;
    }
    base_buf_add(out, text + done, len - done);
    return out->err != 0 ? base_err_set(err, out->err, "", "%s", base_code_str(out->err)) : 0;
}

/* The text must say what was fitted: it decides each of the records as the fit did. */
static int verify(struct tune *t, const char *path, const struct base_buf *text,
                  struct base_err *err)
{
    static struct rt_diags diags;
    struct rt_policy *p = NULL;
    int64_t n_other = 0;
    int rc = ctl_policy_recompile(path, (const char *)text->data, text->len, &p, &diags);

    (void)tune_eval(t, t->best.value, false); /* puts the numbers in */
    for (int64_t i = 0; rc == 0 && i < t->d->n; i++) {
        struct rt_decision a, b;
        rt_decide(t->d->p, &t->d->f[i], &a);
        rt_decide(p, &t->d->f[i], &b);
        n_other += !rt_decision_same(&a, &b);
    }
    if (rc != 0)
        base_err_set(err, rc, "", "the fitted policy does not compile: %s",
                     diags.n > 0 ? diags.at[0].msg : base_code_str(rc));
    else if (n_other > 0)
        rc = base_err_set(err, BASE_EINTERNAL, "",
                          "the written policy decides %" PRId64 " records otherwise", n_other);
    rt_policy_free(p);
    return rc;
}

static int write_file(const char *path, const struct base_buf *b, bool force, struct base_err *err)
{
    if (strcmp(path, "-") == 0)
        return fwrite(b->data, 1, b->len, stdout) == b->len ? 0 : BASE_EIO;
    return base_outfile_put(path, force, b->data, b->len, err);
}

/* ---- telling ---- */

static void put_row(struct base_buf *out, const char *name, const struct tune_sum *s)
{
    base_buf_printf(out, "  %-26s %9.0f %9.2f %% %9.4f %11.1f %11.1f\n", name, s->n,
                    100.0 * tune_metric(s, TUNE_EDGE), tune_metric(s, TUNE_QUALITY),
                    tune_metric(s, TUNE_MS), tune_metric(s, TUNE_BYTES));
}

struct held { /* the same on what was held out */
    struct tune_sum now, best, fixed;
};

static void put_numbers(const struct tune *t, const char *path, bool colour, struct base_buf *out)
{
    char was[RT_REAL_BYTES], is[RT_REAL_BYTES];
    for (int k = 0; k < t->n_number; k++) {
        const struct rt_number *n = &t->number[k];
        base_buf_printf(out, "%s:%d:%d: %s: %s %s %s -> %s%s%s\n", path, n->line, n->col, n->rule,
                        n->fact, n->op, rt_real_text(n->value, was), colour ? "\033[1m" : "",
                        rt_real_text(t->best.value[k], is), colour ? "\033[0m" : "");
    }
}

static void put_text(const struct tune *t, const struct held *h, const char *path, bool colour,
                     bool all, struct base_buf *out)
{
    base_buf_printf(out, "%" PRId64 " labelled requests", t->d->n);
    if (t->d->n_skipped > 0)
        base_buf_printf(out, " (%" PRId64 " without labels left out)", t->d->n_skipped);
    if (t->d->n_guessed + t->d->n_unknown > 0)
        base_buf_printf(out, "; times: %" PRId64 " are a route's mean, %" PRId64 " not known",
                        t->d->n_guessed, t->d->n_unknown);
    base_buf_str(out, "\n");
    put_numbers(t, path, colour, out);
    base_buf_printf(out, "  %-26s %9s %11s %9s %11s %11s\n", "", "requests", "edge share",
                    "quality", "ms", "bytes");
    put_row(out, "as it is", &t->now.sum);
    put_row(out, "tuned", &t->best.sum);
    if (t->n_tied > 0)
        put_row(out, "one threshold", &t->fixed.sum);
    if (h->best.n > 0.0) {
        put_row(out, "held out, as it is", &h->now);
        put_row(out, "held out, tuned", &h->best);
        if (t->n_tied > 0)
            put_row(out, "held out, one threshold", &h->fixed);
    }
    for (int i = 0; all && i < t->n_frontier; i++) {
        char name[64];
        snprintf(name, sizeof name, "frontier %d", i + 1);
        put_row(out, name, &t->frontier[i].sum);
    }
    if (!t->met)
        base_buf_printf(out, "%sthe goal is not met%s: nothing nearer was found\n",
                        colour ? "\033[31m" : "", colour ? "\033[0m" : "");
}

static json_t *sum_json(const struct tune_sum *s)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "requests", s->n, "edge_share",
                     tune_metric(s, TUNE_EDGE), "quality", tune_metric(s, TUNE_QUALITY), "ms",
                     tune_metric(s, TUNE_MS), "bytes", tune_metric(s, TUNE_BYTES));
}

static json_t *points_json(const struct tune *t, const struct tune_point *p, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *o = sum_json(&p[i].sum), *values = json_array();
        for (int k = 0; k < t->n_number; k++)
            json_array_append_new(values, json_real(p[i].value[k]));
        json_object_set_new(o, "values", values);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *document(const struct tune *t, const struct held *h, const char *path)
{
    json_t *numbers = json_array();

    for (int k = 0; k < t->n_number; k++) {
        const struct rt_number *n = &t->number[k];
        json_array_append_new(numbers,
                              json_pack("{s:s, s:s, s:s, s:i, s:i, s:f, s:f}", "rule", n->rule,
                                        "fact", n->fact, "test", n->op, "line", n->line, "column",
                                        n->col, "was", n->value, "is", t->best.value[k]));
    }
    return json_pack("{s:s, s:b, s:o, s:I, s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o}, s:o, s:o}",
                     "policy", path, "met", t->met, "numbers", numbers, "left_out",
                     (json_int_t)t->d->n_skipped, "fitted", "now", sum_json(&t->now.sum), "tuned",
                     sum_json(&t->best.sum), "one_threshold", sum_json(&t->fixed.sum), "held_out",
                     "now", sum_json(&h->now), "tuned", sum_json(&h->best), "one_threshold",
                     sum_json(&h->fixed), "frontier", points_json(t, t->frontier, t->n_frontier),
                     "tied", points_json(t, t->tied, t->n_tied));
}

static int write_outputs(struct tune *t, const struct ctl_policy_args *a, const char *text,
                         size_t len)
{
    struct base_err err = {0};
    struct base_buf policy, svg;
    char title[512];

    base_buf_init(&policy, OUT_BYTES);
    base_buf_init(&svg, OUT_BYTES);
    int rc = edit(t, text, len, &policy, &err);
    rc = rc == 0 ? verify(t, a->word[0], &policy, &err) : rc;
    if (rc == 0 && a->out != NULL)
        rc = write_file(a->out, &policy, a->force, &err);
    if (rc == 0 && a->plot != NULL) {
        snprintf(title, sizeof title, "%s, tuned to %s", rt_policy_version(t->d->p), a->goal);
        rc = tune_plot(t, title, &svg);
        rc = rc == 0 ? write_file(a->plot, &svg, a->force, &err) : rc;
    }
    if (rc != 0 && err.code == 0)
        base_err_set(&err, rc, "", "%s", base_code_str(rc));
    base_buf_fini(&policy);
    base_buf_fini(&svg);
    return rc == 0 ? CTL_OK : ctl_policy_fail(&err);
}

static int run(struct tune *t, const struct ctl_policy_args *a, const char *text, size_t len)
{
    struct base_err err = {0};
    struct held h;
    struct base_buf out;

    int rc = tune_data_read(t->d, t->d->p, a->log, a->holdout, &err);
    rc = rc == 0 ? tune_fit(t, &err) : rc;
    if (rc != 0)
        return ctl_policy_fail(&err);
    h.now = tune_eval(t, t->now.value, true);
    h.best = tune_eval(t, t->best.value, true);
    h.fixed = tune_eval(t, t->fixed.value, true);
    base_buf_init(&out, OUT_BYTES);
    put_text(t, &h, a->word[0], ctl_policy_colour(a->colour), a->all, &out);
    if (a->json)
        rc = ctl_policy_print_json(document(t, &h, a->word[0]));
    else if (a->out == NULL || strcmp(a->out, "-") != 0)
        rc = ctl_policy_print(&out);
    base_buf_fini(&out);
    rc = rc == CTL_OK ? write_outputs(t, a, text, len) : rc;
    return rc == CTL_OK && !t->met ? CTL_NO : rc;
}

int ctl_policy_tune(const struct ctl_policy_args *a)
{
    static struct tune t;
    static struct tune_data d;
    static struct rt_diags diags;
    enum { MOST = 4096 };
    struct rt_number *all = calloc(MOST, sizeof *all);
    char *text = NULL;
    size_t len = 0;
    int rc = CTL_FAIL, n = 0;
    struct rt_policy *p =
        all != NULL ? ctl_policy_load(a->word[0], &diags, &text, &len, &rc) : NULL;

    t.d = &d;
    d.p = p;
    if (rc == CTL_NO)
        ctl_policy_print_diags(a->word[0], &diags);
    if (rc == CTL_OK) {
        rt_numbers(p, all, MOST, &n);
        n = n < MOST ? n : MOST;
    }
    if (rc == CTL_OK && a->list) {
        list_numbers(stdout, a->word[0], all, n);
    } else if (rc == CTL_OK && (a->log == NULL || a->goal == NULL || !take_goal(&t, a->goal))) {
        fputs("waypostctl: policy tune needs --log FILE and --goal, such as edge_share=0.70 or "
              "edge_share>=0.7,ms<=900 (edge_share, quality, ms, bytes)\n",
              stderr);
        rc = CTL_USAGE;
    } else if (rc == CTL_OK) {
        rc = choose(&t, a, all, n);
        rc = rc == CTL_OK ? run(&t, a, text, len) : rc;
    }
    tune_data_fini(&d);
    rt_policy_free(p);
    free(all);
    free(text);
    return rc;
}
