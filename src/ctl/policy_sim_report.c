#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/policy_sim.h"

enum { SHOWN = 20 };

static int by_ms(const void *pa, const void *pb)
{
    const float a = *(const float *)pa, b = *(const float *)pb;
    return (a > b) - (a < b);
}

/* Nearest rank; NAN: no times. Sorts. */
static double percentile(struct base_buf *ms, double p)
{
    size_t n = ms->len / sizeof(float);
    float *v = (float *)(void *)ms->data;

    if (n == 0)
        return (double)NAN;
    qsort(v, n, sizeof *v, by_ms);
    size_t rank = (size_t)ceil(p * (double)n);
    return (double)v[rank > 0 ? rank - 1 : 0];
}

static const char *route_name(const struct sim_side *s, int i, char *out, size_t size)
{
    if (i < SIM_LEAVE)
        snprintf(out, size, "%s", i == SIM_LOCAL ? "local" : "refuse");
    else
        snprintf(out, size, "%s %s", (i - SIM_LEAVE) % 2 != 0 ? "hidden" : "prompt",
                 rt_policy_target_name(s->p, (i - SIM_LEAVE) / 2));
    return out;
}

static double share(int64_t n, int64_t all)
{
    return all > 0 ? (double)n / (double)all : 0.0;
}

struct totals {
    struct sim_sum time, bytes, money, quality;
    int64_t leave; /* decisions that leave */
};

static void plus(struct sim_sum *to, const struct sim_sum *s)
{
    to->sum += s->sum;
    to->n += s->n;
}

static struct totals total(const struct sim_side *s)
{
    struct totals t = {.leave = 0};
    for (int i = 0; i < SIM_MAX_ROUTE; i++) {
        plus(&t.time, &s->route[i].time);
        plus(&t.quality, &s->route[i].quality);
        if (i >= SIM_LEAVE) {
            plus(&t.bytes, &s->route[i].bytes);
            plus(&t.money, &s->route[i].money);
        }
        t.leave += i >= SIM_LEAVE ? s->route[i].n : 0;
    }
    return t;
}

/* ---- for people ---- */

static void put_ms(struct base_buf *out, double ms)
{
    if (isnan(ms))
        base_buf_printf(out, " %9s", "-");
    else
        base_buf_printf(out, " %9.0f", ms);
}

static void put_sum(struct base_buf *out, const struct sim_sum *s, double scale, int digits)
{
    if (s->n == 0)
        base_buf_printf(out, " %12s", "-");
    else
        base_buf_printf(out, " %12.*f", digits, s->sum * scale);
}

static void put_mean(struct base_buf *out, const struct sim_sum *s)
{
    if (s->n == 0)
        base_buf_printf(out, " %8s", "-");
    else
        base_buf_printf(out, " %8.4f", s->sum / (double)s->n);
}

static void text_routes(struct sim_side *s, struct base_buf *out)
{
    char name[96];

    base_buf_printf(out, "  %-24s %9s %8s %9s %9s %12s %12s %8s\n", "route", "requests", "share",
                    "ms p50", "ms p95", "MB out", "money", "quality");
    for (int i = 0; i < SIM_MAX_ROUTE; i++) {
        struct sim_route *r = &s->route[i];
        if (r->n == 0)
            continue;
        base_buf_printf(out, "  %-24s %9" PRId64 " %6.2f %%", route_name(s, i, name, sizeof name),
                        r->n, 100.0 * share(r->n, s->n));
        put_ms(out, percentile(&r->ms, 0.50));
        put_ms(out, percentile(&r->ms, 0.95));
        put_sum(out, &r->bytes, 1e-6, 3);
        put_sum(out, &r->money, 1.0, 4);
        put_mean(out, &r->quality);
        base_buf_str(out, "\n");
    }
}

static void text_totals(const struct sim_side *s, struct base_buf *out)
{
    struct totals t = total(s);

    base_buf_printf(out, "  on the device %.2f %%", 100.0 * share(s->n - t.leave, s->n));
    if (t.time.n > 0)
        base_buf_printf(out, ", mean %.1f ms", t.time.sum / (double)t.time.n);
    if (t.leave > 0 && t.bytes.n > 0)
        base_buf_printf(out, ", %.3f MB out", t.bytes.sum * 1e-6);
    if (t.bytes.n < t.leave)
        base_buf_printf(out, " (of %" PRId64 " requests not known)", t.leave - t.bytes.n);
    if (t.money.n > 0)
        base_buf_printf(out, ", money %.4f", t.money.sum);
    if (t.quality.n > 0)
        base_buf_printf(out, ", quality %.4f (%" PRId64 " labelled)",
                        t.quality.sum / (double)t.quality.n, t.quality.n);
    base_buf_printf(out,
                    "\n  times: %" PRId64 " as recorded, %" PRId64
                    " predicted by the edge, %" PRId64 " the route's mean, %" PRId64 " not known\n",
                    s->n_source[SIM_RECORDED], s->n_source[SIM_FACT], s->n_source[SIM_MEAN],
                    s->n_source[SIM_UNKNOWN]);
}

static void text_rules(const struct sim_side *s, struct base_buf *out)
{
    int n = rt_policy_n_rule(s->p), idle = 0;
    int64_t none = s->by_rule[n] - s->n_hint;

    for (int i = 0; i < n; i++) {
        idle += s->by_rule[i] == 0;
        if (s->by_rule[i] > 0)
            base_buf_printf(out, "  rule %-24s %9" PRId64 " %6.2f %%\n",
                            rt_policy_rule_name(s->p, i), s->by_rule[i],
                            100.0 * share(s->by_rule[i], s->n));
    }
    if (s->n_hint > 0)
        base_buf_printf(out, "  rule %-24s %9" PRId64 " %6.2f %%\n", "caller-hint", s->n_hint,
                        100.0 * share(s->n_hint, s->n));
    if (none > 0)
        base_buf_printf(out, "  rule %-24s %9" PRId64 " %6.2f %%\n", "default", none,
                        100.0 * share(none, s->n));
    if (idle > 0)
        base_buf_printf(out, "  %d of %d rules decided nothing\n", idle, n);
}

static const char *unit_str(enum rt_budget_unit u)
{
    static const char *const name[] = {"bytes", "requests", "money", "joules"};
    return name[u];
}

static void text_budgets(const struct sim_side *s, struct base_buf *out)
{
    for (int i = 0; i < rt_policy_n_budget(s->p); i++) {
        const struct rt_budget_decl *d = rt_policy_budget(s->p, i);
        base_buf_printf(out,
                        "  budget %-20s %.6g of %.6g %s at most (%.1f %%) in %" PRId64
                        " periods; nothing left for %" PRId64 " decisions\n",
                        d->name, s->budget[i].most, d->limit, unit_str(d->unit),
                        d->limit > 0.0 ? 100.0 * s->budget[i].most / d->limit : 0.0,
                        s->budget[i].n_period, s->budget[i].n_spent);
    }
}

static void text_changes(struct ctl_sim *s, bool all, bool colour, struct base_buf *out)
{
    char text[RT_DECISION_BYTES];
    int64_t n_request = 0;
    int n;
    const struct sim_change *c = ctl_sim_changes(s, &n);

    for (int i = 0; i < n; i++)
        n_request += c[i].n;
    base_buf_printf(out, "%" PRId64 " of %" PRId64 " decisions differ (%.2f %%), groups: %d\n",
                    n_request, ctl_sim_side(s, 0)->n,
                    100.0 * share(n_request, ctl_sim_side(s, 0)->n), n);
    for (int i = 0; i < n && (all || i < SHOWN); i++) {
        base_buf_printf(out, "  %9" PRId64 "  %s%s%s (%s)", c[i].n, colour ? "\033[31m" : "",
                        rt_decision_text(&c[i].d[0], text), colour ? "\033[0m" : "",
                        c[i].d[0].rule);
        base_buf_printf(out, " -> %s%s%s (%s), first in line %" PRId64 "\n",
                        colour ? "\033[32m" : "", rt_decision_text(&c[i].d[1], text),
                        colour ? "\033[0m" : "", c[i].d[1].rule, c[i].line);
    }
    if (n > SHOWN && !all)
        base_buf_printf(out, "  … and %d groups more: --all\n", n - SHOWN);
}

void ctl_sim_text(struct ctl_sim *s, int n_side, bool all, bool colour, struct base_buf *out)
{
    struct sim_sum logged = ctl_sim_as_logged(s);

    base_buf_printf(out, "%" PRId64 " requests, %" PRId64 " conversations", ctl_sim_side(s, 0)->n,
                    ctl_sim_n_session(s));
    if (logged.n > 0)
        base_buf_printf(out, "; %.2f %% of %" PRId64 " logged decisions are made by %s too",
                        100.0 * logged.sum / (double)logged.n, logged.n, ctl_sim_side(s, 0)->path);
    base_buf_str(out, "\n");
    for (int i = 0; i < n_side; i++) {
        struct sim_side *side = ctl_sim_side(s, i);
        base_buf_printf(out, "%s%s%s (version %s)\n", colour ? "\033[1m" : "", side->path,
                        colour ? "\033[0m" : "", rt_policy_version(side->p));
        text_totals(side, out);
        text_routes(side, out);
        text_rules(side, out);
        text_budgets(side, out);
    }
    if (n_side == 2)
        text_changes(s, all, colour, out);
}

/* ---- as JSON ---- */

static json_t *number(double v)
{
    return isnan(v) ? json_null() : json_real(v);
}

static json_t *sum_json(const struct sim_sum *s)
{
    return json_pack("{s:o, s:I, s:o}", "sum", number(s->n > 0 ? s->sum : (double)NAN), "n",
                     (json_int_t)s->n, "mean",
                     number(s->n > 0 ? s->sum / (double)s->n : (double)NAN));
}

static json_t *route_json(struct sim_side *s, int i)
{
    struct sim_route *r = &s->route[i];
    char name[96];
    return json_pack("{s:s, s:I, s:f, s:{s:o, s:o, s:o}, s:o, s:o, s:o}", "route",
                     route_name(s, i, name, sizeof name), "requests", (json_int_t)r->n, "share",
                     share(r->n, s->n), "ms", "p50", number(percentile(&r->ms, 0.50)), "p95",
                     number(percentile(&r->ms, 0.95)), "mean",
                     number(r->time.n > 0 ? r->time.sum / (double)r->time.n : (double)NAN), "bytes",
                     sum_json(&r->bytes), "money", sum_json(&r->money), "quality",
                     sum_json(&r->quality));
}

static json_t *side_json(struct sim_side *s)
{
    struct totals t = total(s);
    json_t *routes = json_array(), *rules = json_object(), *budgets = json_array();

    for (int i = 0; i < SIM_MAX_ROUTE; i++) {
        if (s->route[i].n > 0)
            json_array_append_new(routes, route_json(s, i));
    }
    for (int i = 0; i < rt_policy_n_rule(s->p); i++)
        json_object_set_new(rules, rt_policy_rule_name(s->p, i),
                            json_integer((json_int_t)s->by_rule[i]));
    json_object_set_new(rules, "caller-hint", json_integer((json_int_t)s->n_hint));
    json_object_set_new(rules, "default",
                        json_integer((json_int_t)(s->by_rule[rt_policy_n_rule(s->p)] - s->n_hint)));
    for (int i = 0; i < rt_policy_n_budget(s->p); i++) {
        const struct rt_budget_decl *d = rt_policy_budget(s->p, i);
        json_array_append_new(budgets, json_pack("{s:s, s:s, s:f, s:f, s:I, s:I}", "name", d->name,
                                                 "unit", unit_str(d->unit), "limit", d->limit,
                                                 "most", s->budget[i].most, "periods",
                                                 (json_int_t)s->budget[i].n_period, "nothing_left",
                                                 (json_int_t)s->budget[i].n_spent));
    }
    return json_pack("{s:s, s:s, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I, s:I}}",
                     "policy", s->path, "version", rt_policy_version(s->p), "edge_share",
                     share(s->n - t.leave, s->n), "ms", sum_json(&t.time), "bytes",
                     sum_json(&t.bytes), "money", sum_json(&t.money), "quality",
                     sum_json(&t.quality), "routes", routes, "rules", rules, "budgets", budgets,
                     "times", "recorded", (json_int_t)s->n_source[SIM_RECORDED], "predicted",
                     (json_int_t)s->n_source[SIM_FACT], "mean", (json_int_t)s->n_source[SIM_MEAN],
                     "unknown", (json_int_t)s->n_source[SIM_UNKNOWN]);
}

static json_t *changes_json(struct ctl_sim *s)
{
    char a[RT_DECISION_BYTES], b[RT_DECISION_BYTES];
    json_t *list = json_array();
    int n;
    const struct sim_change *c = ctl_sim_changes(s, &n);

    for (int i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:s}", "requests", (json_int_t)c[i].n,
                            "a", rt_decision_text(&c[i].d[0], a), "rule_a", c[i].d[0].rule, "b",
                            rt_decision_text(&c[i].d[1], b), "rule_b", c[i].d[1].rule, "line",
                            (json_int_t)c[i].line, "request_id", c[i].id));
    return list;
}

json_t *ctl_sim_json(struct ctl_sim *s, int n_side)
{
    struct sim_sum logged = ctl_sim_as_logged(s);
    json_t *sides = json_array();

    for (int i = 0; i < n_side; i++)
        json_array_append_new(sides, side_json(ctl_sim_side(s, i)));
    return json_pack("{s:I, s:I, s:o, s:o, s:o*}", "requests", (json_int_t)ctl_sim_side(s, 0)->n,
                     "conversations", (json_int_t)ctl_sim_n_session(s), "as_logged",
                     number(logged.n > 0 ? logged.sum / (double)logged.n : (double)NAN), "policies",
                     sides, "changes", n_side == 2 ? changes_json(s) : NULL);
}
