/* The local executor: one engine job that feeds its own tokens back. Also what an escalation falls
 * back to, with the answer so far as the beginning of the assistant's turn.
 *
 * Where the policy asks for model.confidence, the first tokens are held back until it is known:
 * then the decision is taken again, and they are shown, or dropped because another tier answers. */
#include "edge/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum { HOLD_MAX = 64, PROBES = 32 };

struct local {
    struct eng_job *job;
    bool holding;
    int n_hold;
    struct eng_pick hold[HOLD_MAX];
};

/* Whether any confidence could send this request elsewhere: else nothing is held back. A rule that
 * asks for a band narrower than a probe's step is missed, and the request stays local. */
static bool confidence_matters(const struct edge_req *r)
{
    struct rt_facts f = r->facts;
    struct rt_value *v = &f.v[RT_F_MODEL_CONFIDENCE];
    if (!rt_policy_uses(r->policy->rt, RT_F_MODEL_CONFIDENCE) || v->have || r->api.hint != NULL ||
        r->answer.first_us != 0 || (r->e->conf != NULL && r->lora != NULL) ||
        r->fallback_why[0] != '\0')
        return false;
    v->have = true;
    for (int i = 0; i <= PROBES; i++) {
        struct rt_decision d;
        v->r = (double)i / PROBES;
        rt_decide(r->policy->rt, &f, &d);
        if (d.route.mode != RT_LOCAL)
            return true;
    }
    return false;
}

/* The held tokens are enough: decide with their confidence. true: the request is over or elsewhere.
 */
static bool hold_decide(struct edge_req *r)
{
    struct local *x = r->x;
    struct eng_answer_stats a = {0};
    x->holding = false;
    for (int i = 0; i < x->n_hold; i++)
        eng_answer_stats_add(&a, &x->hold[i]);
    const double sure = r->e->conf != NULL
                            ? (double)eng_conf_ask(r->e->conf, ENG_CONF_ANSWER, &a, NULL)
                            : a.all.sum_prob / (a.all.n > 0 ? a.all.n : 1);
    r->facts.v[RT_F_MODEL_CONFIDENCE] =
        (struct rt_value){.have = x->n_hold > 0 && sure >= 0, .r = sure};
    if (edge_req_decide(r)) {
        edge_req_carry_out(r);
        return true;
    }
    for (int i = 0; i < x->n_hold; i++) {
        if (edge_answer_token(r, &x->hold[i], EDGE_TIER_EDGE))
            return true;
    }
    return false;
}

static void on_event(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    struct edge_req *r = arg;
    struct local *x = r->x;
    (void)j;
    r->answer.cached_tok = ev->n_cached_tok;
    switch (ev->kind) {
    case ENG_EV_TOKEN:
        if (!x->holding) {
            edge_answer_token(r, &ev->pick, EDGE_TIER_EDGE);
            return;
        }
        x->hold[x->n_hold++] = ev->pick;
        if (x->n_hold >= r->e->cfg.router_confidence_tok || x->n_hold == HOLD_MAX)
            hold_decide(r);
        return;
    case ENG_EV_DONE:
        if (x->holding && hold_decide(r))
            return;
        edge_req_finish(r, ev->done == ENG_DONE_LENGTH ? "length" : "stop");
        return;
    case ENG_EV_ERROR:
        edge_req_engine_failed(r, &ev->err);
        return;
    case ENG_EV_ROWS:
        return;
    }
}

/* Prompt, and behind it what another tier has already answered: in one feed, after which the job
 * answers by itself. */
static int feed_all(struct edge_req *r, struct local *x, struct base_err *err)
{
    const struct base_buf *text = &r->answer.text;
    if (text->len == 0)
        return eng_job_feed_tokens(x->job, r->prompt, r->n_prompt, err);
    int32_t *said = NULL, *all = NULL;
    int n = 0;
    int rc = eng_tok_encode(eng_model_tok(r->e->model), (const char *)text->data, text->len, 0,
                            (int)r->e->cfg.engine_context, &said, &n, err);
    if (rc == 0 && (all = malloc(sizeof *all * (size_t)(r->n_prompt + n))) == NULL)
        rc = base_err_set(err, BASE_ENOMEM, "local", "out of memory");
    if (rc == 0) {
        memcpy(all, r->prompt, sizeof *all * (size_t)r->n_prompt);
        memcpy(all + r->n_prompt, said, sizeof *all * (size_t)n);
        rc = eng_job_feed_tokens(x->job, all, r->n_prompt + n, err);
    }
    free(said);
    free(all);
    return rc;
}

static void start(struct edge_req *r)
{
    struct eng_sample_params sp;
    struct base_err err = {0};
    struct local *x = base_arena_get(&r->arena, sizeof *x);
    r->x = x;
    if (x == NULL) {
        edge_req_fail_f(r, 503, "server_error", "out_of_memory", "out of memory");
        return;
    }
    if (r->answer.n_call > 0) {
        edge_req_fail_f(r, 503, "server_error", "escalation_failed",
                        "The target broke off in the middle of a function call.");
        return;
    }
    if (r->answer.n_tok >= r->max_new) {
        edge_req_finish(r, "length");
        return;
    }
    edge_req_sampling(r, &sp);
    x->holding = confidence_matters(r);
    sp.logprobs = sp.logprobs || x->holding;
    struct eng_job_run run = {.layer_begin = 0,
                              .layer_end = eng_model_config(r->e->model)->n_layer,
                              .out = ENG_OUT_TOKEN,
                              .autoregress = true,
                              .max_new_tok = r->max_new - r->answer.n_tok};
    const struct eng_job_opt opt = {.run = run,
                                    .sample = sp,
                                    .priority = r->caller->priority,
                                    .lora = r->lora,
                                    .cache_key = r->cache_key};
    int rc = eng_job_open(&x->job, r->e->sched, &opt, on_event, r, &err);
    if (rc == 0)
        rc = feed_all(r, x, &err);
    if (rc == BASE_EINVAL && r->form != NULL && r->answer.text.len > 0)
        edge_req_fail_f(r, 503, "server_error", "escalation_failed",
                        "The target broke off, and its text so far is not of the form asked for.");
    else if (rc == BASE_ELIMIT && r->answer.text.len > 0)
        edge_req_finish(r, "length"); /* prompt and answer so far fill the context */
    else if (rc != 0)
        edge_req_engine_failed(r, &err);
}

static void stop(struct edge_req *r)
{
    struct local *x = r->x;
    if (x != NULL)
        eng_job_close(x->job);
    r->x = NULL;
}

const struct edge_exec edge_exec_local = {.needs_session = true, .start = start, .stop = stop};
