#include "edge/metrics.h"

#include <inttypes.h>

#include "edge/answer.h"
#include "edge/edge.h"
#include "edge/signals.h"
#include "edge/uplink_link.h"
#include "edge/usage.h"

/* Upper bounds in seconds: a cabin command's first token to a long answer on a slow core. */
static const double bound_s[EDGE_N_BUCKET] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                              1,    2.5,   5,    10,  30,   60};

const char *edge_result_str(enum edge_result r)
{
    static const char *const name[] = {"ok", "refused", "error", "gone"};
    return name[r];
}

static void observe(struct edge_histogram *h, int64_t us)
{
    double s = (double)us / 1e6;
    int i = 0;
    while (i < EDGE_N_BUCKET && s > bound_s[i])
        i++;
    h->bucket[i]++;
    h->n++;
    h->sum_s += s;
}

void edge_metrics_first_token(struct edge_metrics *m, int64_t us)
{
    observe(&m->first_token, us);
}

void edge_metrics_total(struct edge_metrics *m, int64_t us)
{
    observe(&m->total, us);
}

void edge_metrics_command(struct edge_metrics *m, enum edge_command_end end, int64_t us)
{
    m->command[end]++;
    observe(&m->command_line, us);
}

static void head(struct base_buf *b, const char *name, const char *type, const char *help)
{
    base_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void counter(struct base_buf *b, const char *name, const char *help, uint64_t v)
{
    head(b, name, "counter", help);
    base_buf_printf(b, "%s %" PRIu64 "\n", name, v);
}

static void gauge(struct base_buf *b, const char *name, const char *help, double v)
{
    head(b, name, "gauge", help);
    base_buf_printf(b, "%s %.15g\n", name, v);
}

static void histogram(struct base_buf *b, const char *name, const char *help,
                      const struct edge_histogram *h)
{
    uint64_t sum = 0;
    head(b, name, "histogram", help);
    for (int i = 0; i < EDGE_N_BUCKET; i++) {
        sum += h->bucket[i];
        base_buf_printf(b, "%s_bucket{le=\"%.9g\"} %" PRIu64 "\n", name, bound_s[i], sum);
    }
    base_buf_printf(b, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n",
                    name, h->n, name, h->sum_s, name, h->n);
}

static void requests(struct base_buf *b, const struct edge_metrics *m)
{
    head(b, "waypost_requests_total", "counter", "Requests ended, by route and result.");
    for (int i = 0; i < EDGE_N_ROUTE; i++) {
        for (int k = 0; k < EDGE_N_RESULT; k++)
            base_buf_printf(b, "waypost_requests_total{route=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                            i == EDGE_ROUTE_NONE ? "none" : rt_mode_str((enum rt_mode)i),
                            edge_result_str((enum edge_result)k), m->request[i][k]);
    }
    head(b, "waypost_answers_total", "counter", "Answers ended, by the tier that made the tokens.");
    for (unsigned i = 1; i < 4; i++)
        base_buf_printf(b, "waypost_answers_total{tier=\"%s\"} %" PRIu64 "\n", edge_tier_str(i),
                        m->tier[i]);
}

static void shadow(struct base_buf *b, const struct edge_metrics *m)
{
    head(b, "waypost_shadow_decisions_total", "counter",
         "Decisions by the policy's route and its shadow's.");
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 4; k++)
            base_buf_printf(
                b, "waypost_shadow_decisions_total{route=\"%s\",shadow=\"%s\"} %" PRIu64 "\n",
                rt_mode_str((enum rt_mode)i), rt_mode_str((enum rt_mode)k), m->shadow[i][k]);
    }
    counter(b, "waypost_shadow_differences_total",
            "Decisions whose route, target or parameters the shadow had otherwise.",
            m->shadow_differs);
}

static void policy(struct base_buf *b, const struct edge *e)
{
    const struct edge_policy_info *p = edge_policies_info(e->policies);
    const struct edge_policy *now = edge_policies_now(e->policies);
    char hex[2 * BASE_SHA256_BYTES + 1];
    head(b, "waypost_policy_info", "gauge", "The policy in force.");
    base_buf_printf(b, "waypost_policy_info{version=\"%s\",sha256=\"%s\",state=\"%s\"} 1\n",
                    rt_policy_version(now->rt),
                    base_hex(rt_policy_hash(now->rt), BASE_SHA256_BYTES, hex),
                    edge_policy_state_str(p->state));
    gauge(b, "waypost_policy_generation", "Policies put into force since start.",
          (double)p->generation);
    gauge(b, "waypost_policy_serial", "Serial number of the signed policy in force; 0: not signed.",
          (double)now->serial);
    head(b, "waypost_policy_reloads_total", "counter", "Loads and roll-backs, by how they ended.");
    for (int i = 0; i < EDGE_POLICY_N_RESULT; i++)
        base_buf_printf(b, "waypost_policy_reloads_total{result=\"%s\"} %" PRIu64 "\n",
                        edge_policy_result_str((enum edge_policy_result)i), p->ended[i]);
    gauge(b, "waypost_policy_last_reload_success", "1: the last load found a good policy.",
          p->have_last && p->last_err.code == 0);
    gauge(b, "waypost_policy_last_reload_timestamp_seconds", "When it was; 0: never.",
          p->have_last ? (double)p->last_us / 1e6 : 0);
}

static void vehicle(struct base_buf *b, const struct edge *e)
{
    struct edge_signals_stats s;
    edge_signals_stats(e->signals, &s);
    counter(b, "waypost_vehicle_lines_total", "Lines of the vehicle's feed.", s.n_line);
    counter(b, "waypost_vehicle_bad_lines_total", "Of these, refused.", s.n_bad);
    gauge(b, "waypost_vehicle_signals", "Signals that were heard of.", s.n_signal);
    gauge(b, "waypost_budget_state_broken", "1: what was used of budgets cannot be told.",
          edge_usage_broken(e->usage));
}

static void commands(struct base_buf *b, const struct edge_metrics *m)
{
    static const char *const end[] = {"call", "none", "elsewhere", "unsure"};
    head(b, "waypost_commands_total", "counter",
         "What the cabin's model made of requests: its own call, none, a call that the policy had "
         "answered elsewhere, or one that it was not sure enough of.");
    for (int i = 0; i < EDGE_N_COMMAND; i++)
        base_buf_printf(b, "waypost_commands_total{end=\"%s\"} %" PRIu64 "\n", end[i],
                        m->command[i]);
    histogram(b, "waypost_command_seconds",
              "From the request to what the cabin's model made of it.", &m->command_line);
}

int edge_metrics_write(const struct edge *e, struct base_buf *b)
{
    const struct edge_metrics *m = &e->metrics;
    struct eng_sched_stats s = {0};
    eng_sched_stats(e->sched, &s);
    head(b, "waypost_build_info", "gauge", "The version that runs.");
    base_buf_printf(b, "waypost_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
    requests(b, m);
    counter(b, "waypost_rejected_busy_total", "Requests answered 429.", m->rejected_busy);
    counter(b, "waypost_fall_backs_total", "Escalations that failed and fell back.", m->fall_back);
    counter(b, "waypost_released_bytes_total", "Body bytes released through the gate.",
            m->released_bytes);
    counter(b, "waypost_out_bytes_total", "Body bytes of ended escalations that left the car.",
            edge_uplink_out_bytes(e->uplink));
    counter(b, "waypost_prompt_tokens_total", "Prompt tokens of ended requests.", m->prompt_tok);
    counter(b, "waypost_answer_tokens_total", "Answer tokens of ended requests.", m->answer_tok);
    histogram(b, "waypost_first_token_seconds", "From the request to its first token.",
              &m->first_token);
    histogram(b, "waypost_request_seconds", "From the request to the end of its answer.",
              &m->total);
    if (e->cabin.catalogue != NULL)
        commands(b, m);
    gauge(b, "waypost_requests_active", "Requests under way.", e->n_req);
    gauge(b, "waypost_requests_waiting", "Requests that wait for a session.", e->n_wait);
    gauge(b, "waypost_engine_jobs", "Sessions in the running batch.", s.n_job);
    gauge(b, "waypost_engine_rows_waiting", "Rows fed and not yet run.", s.n_row_waiting);
    gauge(b, "waypost_engine_prefill_tokens_per_second", "Moving average; 0: not known yet.",
          s.prefill_tok_s);
    gauge(b, "waypost_engine_decode_tokens_per_second", "One session's view; 0: not known yet.",
          s.decode_tok_s);
    counter(b, "waypost_engine_steps_total", "Steps of the batch.", s.n_step);
    gauge(b, "waypost_engine_threads",
          "That take part; fewer where their cores are wanted by others.", s.n_thread);
    counter(b, "waypost_engine_stalls_total", "Waits for a thread whose core was taken from it.",
            s.n_stall);
    gauge(b, "waypost_engine_cancel_steps", "Most steps that a canceled job was still in.",
          s.cancel_steps);
    counter(b, "waypost_engine_drafts_total", "Rows drafted.", s.n_draft);
    counter(b, "waypost_engine_drafts_right_total", "Drafted rows that became tokens.",
            s.n_draft_right);
    counter(b, "waypost_engine_cache_hits_total", "Prompts that began as an earlier one.",
            s.n_cache_hit);
    counter(b, "waypost_engine_cache_tokens_total", "Prompt tokens that were not computed again.",
            s.n_cache_tok);
    counter(b, "waypost_engine_cache_evictions_total", "Kept K/V forgotten: full or old.",
            s.n_cache_evicted);
    gauge(b, "waypost_engine_cache_bytes", "K/V kept of ended requests.", (double)s.cache_bytes);
    gauge(b, "waypost_engine_cache_entries", "Ended requests of which K/V is kept.", s.n_cache);
    policy(b, e);
    vehicle(b, e);
    if (e->cfg.policy_shadow[0] != '\0')
        shadow(b, m);
    gauge(b, "waypost_uplink_ready", "1 while an uplink process is ready.",
          edge_uplink_ready(e->uplink) ? 1 : 0);
    return b->err;
}
