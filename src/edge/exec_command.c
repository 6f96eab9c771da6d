/* A request that the cabin is asked about: what the person said last is answered in one line by the
 * adapter, held to the catalogue's functions. Then the router decides, knowing what is meant. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "edge/cabin.h"
#include "edge/form.h"
#include "edge/request.h"
#include "engine/chat.h"

enum {
    LINE_BYTES = 2 * API_CAT_MAX_SAID,
    LINE_TOK = 160,
    GRAMMAR_BYTES = 1 << 20,
    ARGS_BYTES = 1 << 20
};

struct edge_command {
    const struct api_catalogue *catalogue;
    struct api_cat_offer offer;
    int32_t *prompt; /* [n_prompt], owned */
    int n_prompt;
    bool bare; /* the client brought no functions: those of the catalogue are meant */

    struct eng_job *job;
    struct base_buf line; /* as far as it has come */
    int n_tok;
    struct eng_answer_stats stats;
    struct eng_states states; /* of the prompt, where the confidence asks for them: a copy … */
    float *state;             /* … in here */
    bool known;               /* the line is there */
    struct api_cat_call call;
    double confidence; /* < 0: not known */
    bool sure;         /* enough to carry a call out */
};

/* ---- what it is ---- */

static bool is_call(const struct edge_command *c)
{
    return c != NULL && c->known && c->call.func >= 0;
}

bool edge_command_acts(const struct edge_command *c)
{
    return is_call(c) && c->sure;
}

const char *edge_command_intent(const struct edge_command *c)
{
    if (c == NULL || !c->known)
        return NULL;
    return c->call.func < 0 ? API_CAT_NONE : api_catalogue_name(c->catalogue, c->call.func);
}

double edge_command_confidence(const struct edge_command *c)
{
    return c != NULL && c->known ? c->confidence : -1;
}

const char *edge_command_vss(const struct edge_command *c)
{
    return edge_command_acts(c) ? api_catalogue_vss(c->catalogue, &c->call) : NULL;
}

void edge_command_free(struct edge_command *c)
{
    if (c == NULL)
        return;
    base_buf_fini(&c->line);
    free(c->prompt);
    free(c->state);
    free(c);
}

/* ---- whether the cabin is asked ---- */

static int no_memory(struct api_error *e)
{
    *e = (struct api_error){.status = 503, .type = "server_error", .code = "out_of_memory"};
    snprintf(e->message, sizeof e->message, "out of memory");
    return BASE_ENOMEM;
}

static int not_ours(struct api_error *e, const struct base_err *why)
{
    *e = (struct api_error){
        .status = 400, .type = "invalid_request_error", .code = "not_in_catalogue"};
    snprintf(e->param, sizeof e->param, "%s", why->place);
    snprintf(e->message, sizeof e->message,
             "The model '" EDGE_CABIN_MODEL
             "' calls the functions of its catalogue: %.40s: %.250s.",
             why->place, why->msg);
    return BASE_ENOTFOUND;
}

/* What the person said last, if that is what is to be answered. */
static const struct api_msg *said(const struct api_request *q)
{
    const struct api_msg *m = q->n_msg > 0 ? &q->msg[q->n_msg - 1] : NULL;
    return m != NULL && strcmp(m->role, "user") == 0 && m->len <= API_CAT_MAX_SAID ? m : NULL;
}

/* The prompt is that of a plain chat with these words and nothing else, so that rows below the
 * adapter's first layer are those of the chat. */
static int prompt_make(struct edge_req *r, struct edge_command *c)
{
    const struct api_msg *m = said(&r->api);
    const struct eng_chat_msg one = {"user", m->content, m->len};
    struct base_err err;
    return eng_chat_encode(r->e->chat, eng_model_tok(r->e->model), &one, 1,
                           (int)r->e->cfg.engine_context - LINE_TOK, &c->prompt, &c->n_prompt,
                           &err);
}

int edge_command_take(struct edge_req *r, struct api_error *e)
{
    const struct api_catalogue *cat = r->e->cabin.catalogue;
    const bool named = cat != NULL && strcmp(r->api.model, EDGE_CABIN_MODEL) == 0;
    struct api_cat_offer offer;
    struct base_err why = {0};
    r->model_name = named ? EDGE_CABIN_MODEL : r->model_name;
    if (cat == NULL || !r->api.is_chat || said(&r->api) == NULL ||
        (r->api.n_tool > 0 ? !api_tools_active(&r->api) : !named) ||
        r->api.format != API_FORMAT_TEXT)
        return 0;
    const bool bare = r->api.n_tool == 0;
    offer = api_catalogue_all(cat, NULL);
    int rc = bare ? 0 : api_catalogue_offer(cat, &r->api, NULL, &r->arena, &offer, &why);
    if (rc == BASE_ENOTFOUND)
        return named ? not_ours(e, &why) : 0;
    struct edge_command *c = rc == 0 ? calloc(1, sizeof *c) : NULL;
    if (c == NULL)
        return no_memory(e);
    c->catalogue = cat;
    c->offer = offer;
    c->bare = bare;
    c->confidence = -1;
    base_buf_init(&c->line, LINE_BYTES);
    rc = prompt_make(r, c);
    if (rc == 0)
        r->command = c;
    else
        edge_command_free(c);
    return rc == BASE_ENOMEM ? no_memory(e) : 0; /* too long for the context: no command */
}

/* ---- the line is there ---- */

static void facts_set(struct edge_req *r)
{
    const struct edge_command *c = r->command;
    struct rt_value *v = r->facts.v;
    if (!c->known)
        return;
    v[RT_F_INTENT] = (struct rt_value){.have = true, .s = edge_command_intent(c)};
    v[RT_F_CONFIDENCE] = (struct rt_value){.have = c->confidence >= 0, .r = c->confidence};
    if (!edge_command_acts(c))
        return;
    /* The device's answer is there already. */
    v[RT_F_ENGINE_FIRST_MS] = v[RT_F_ENGINE_LOCAL_MS] = (struct rt_value){.have = true, .i = 0};
}

/* Who asks waypost-cabin without functions wants those of the catalogue, wherever it is answered.
 * They are the configuration's words, not the caller's: there is nothing in them to detect. */
static bool tools_bring(struct edge_req *r)
{
    const int n = api_catalogue_n(r->command->catalogue);
    if (!r->command->bare || r->route != RT_PROMPT)
        return true;
    r->api.tool = base_arena_get(&r->arena, sizeof *r->api.tool * (size_t)n);
    if (r->api.tool == NULL)
        return false;
    memcpy(r->api.tool, api_catalogue_tools(r->command->catalogue),
           sizeof *r->api.tool * (size_t)n);
    r->api.n_tool = n;
    return true;
}

/* The prompt's states last as long as the event. No memory: how sure it is cannot be told. */
static void states_keep(struct edge_req *r, const struct eng_states *s)
{
    struct edge_command *c = r->command;
    const size_t n = (size_t)s->n * (size_t)eng_model_config(r->e->model)->d_model;
    free(c->state);
    c->state = malloc((2 * n + 1) * sizeof *c->state);
    if (c->state == NULL)
        return;
    memcpy(c->state, s->mean, n * sizeof *c->state);
    memcpy(c->state + n, s->last, n * sizeof *c->state);
    c->states = *s;
    c->states.mean = c->state;
    c->states.last = c->state + n;
}

static void line_done(struct edge_req *r, bool whole)
{
    struct edge_command *c = r->command;
    const char *line = c->line.len > 0 ? (const char *)c->line.data : "";
    c->known = whole && c->line.err == 0 &&
               api_catalogue_read(c->catalogue, line, c->line.len, c->offer.me, &c->call) == 0;
    const float p =
        eng_conf_call(r->e->cabin.conf, &c->stats, c->state != NULL ? &c->states : NULL);
    c->confidence = p < 0 ? -1 : round((double)p * 1e6) / 1e6; /* 0.9 is not 0.899999976 */
    /* Where it cannot be told, or the client wants a call in any case, the likeliest one counts. */
    c->sure =
        c->confidence < 0 || !c->offer.none || c->confidence >= r->e->cfg.cabin_min_confidence;
    facts_set(r);
    edge_req_decide(r);
    edge_metrics_command(&r->e->metrics,
                         !is_call(c)            ? EDGE_CMD_NONE
                         : r->route != RT_LOCAL ? EDGE_CMD_ELSEWHERE
                         : c->sure              ? EDGE_CMD_CALL
                                                : EDGE_CMD_UNSURE,
                         base_clock_mono_us() - r->start_us);
    if (tools_bring(r))
        edge_req_carry_out(r);
    else
        edge_req_fail_f(r, 503, "server_error", "out_of_memory", "out of memory");
}

static void on_event(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    struct edge_req *r = arg;
    struct edge_command *c = r->command;
    const struct eng_tok *t = eng_model_tok(r->e->model);
    size_t len;
    (void)j;
    if (ev->states != NULL)
        states_keep(r, ev->states);
    switch (ev->kind) {
    case ENG_EV_TOKEN:
        c->n_tok++;
        eng_answer_stats_add(&c->stats, &ev->pick);
        if (!eng_tok_is_end(t, ev->pick.token)) {
            const char *piece = eng_tok_piece(t, ev->pick.token, false, &len);
            base_buf_add(&c->line, piece, len); /* an error stays: then it is no line */
        }
        return;
    case ENG_EV_DONE:
        r->answer.cached_tok = ev->n_cached_tok;
        line_done(r, ev->done == ENG_DONE_STOP);
        return;
    case ENG_EV_ERROR:
        edge_req_engine_failed(r, &ev->err);
        return;
    case ENG_EV_ROWS:
        return;
    }
}

/* ---- the executors ---- */

static int grammar_make(struct edge_req *r, struct eng_grammar **out, struct base_err *err)
{
    const struct edge_command *c = r->command;
    const struct api_msg *m = said(&r->api);
    struct base_buf text;
    base_buf_init(&text, GRAMMAR_BYTES);
    int rc = api_catalogue_grammar(c->catalogue, &c->offer, m->content, m->len, &text);
    rc = rc != 0 ? base_err_set(err, rc, "catalogue", "%s", base_code_str(rc))
                 : eng_grammar_new(out, r->e->vocab, (const char *)text.data, text.len, NULL, err);
    base_buf_fini(&text);
    return rc;
}

/* What of the prompt the confidence wants to see. */
static int watch_set(struct edge_req *r, struct eng_watch_opt *w, struct base_err *err)
{
    const struct edge_command *c = r->command;
    const struct api_msg *m = said(&r->api);
    const struct eng_chat_msg one = {"user", m->content, m->len};
    const struct eng_chat_ask ask = {0};
    if (!eng_conf_has(r->e->cabin.conf, ENG_CONF_CALL))
        return 0;
    eng_conf_watch(r->e->cabin.conf, ENG_CONF_CALL, w);
    return w->n == 0 ? 0
                     : eng_chat_words_at(r->e->chat, eng_model_tok(r->e->model), &one, 1, &ask,
                                         c->prompt, c->n_prompt, &w->from, err);
}

static void command_start(struct edge_req *r)
{
    struct edge_command *c = r->command;
    const struct rt_value *seat = &r->facts.v[RT_F_CALLER_SEAT];
    struct eng_grammar *form = NULL;
    struct base_err err = {0};
    c->offer.me = seat->have ? seat->s : r->e->cfg.cabin_seat;
    int rc = grammar_make(r, &form, &err);
    if (rc == BASE_EINVAL) { /* nothing that may be called fits these words */
        line_done(r, false);
        return;
    }
    struct eng_sample_params sp = ENG_SAMPLE_GREEDY;
    sp.grammar = form;
    sp.logprobs = eng_conf_has(r->e->cabin.conf, ENG_CONF_CALL);
    sp.choices_only = eng_conf_choices_only(r->e->cabin.conf, ENG_CONF_CALL);
    sp.max_tok = LINE_TOK;
    struct eng_job_opt opt = {.run = {.layer_begin = 0,
                                      .layer_end = eng_model_config(r->e->model)->n_layer,
                                      .out = ENG_OUT_TOKEN,
                                      .autoregress = true,
                                      .max_new_tok = LINE_TOK},
                              .sample = sp,
                              .priority = r->caller->priority,
                              .lora = r->e->cabin.lora,
                              .cache_key = r->cache_key};
    if (rc == 0)
        rc = watch_set(r, &opt.watch, &err);
    if (rc == 0)
        rc = eng_job_open(&c->job, r->e->sched, &opt, on_event, r, &err);
    if (rc == 0)
        rc = eng_job_feed_tokens(c->job, c->prompt, c->n_prompt, &err);
    eng_grammar_unref(form);
    if (rc != 0)
        edge_req_engine_failed(r, &err);
}

static void command_stop(struct edge_req *r)
{
    eng_job_close(r->command->job);
    r->command->job = NULL;
}

static void call_start(struct edge_req *r)
{
    const struct edge_command *c = r->command;
    struct base_buf args;
    base_buf_init(&args, ARGS_BYTES);
    if (api_catalogue_args(c->catalogue, &c->call, &args) != 0)
        edge_req_fail_f(r, 503, "server_error", "out_of_memory", "out of memory");
    else
        edge_answer_whole_call(r, edge_command_intent(c), (const char *)args.data, args.len,
                               c->n_tok);
    base_buf_fini(&args);
}

static void call_stop(struct edge_req *r)
{
    (void)r;
}

const struct edge_exec edge_exec_command = {
    .needs_session = true, .start = command_start, .stop = command_stop};
/* The device's call, which is there. */
const struct edge_exec edge_exec_call = {
    .needs_session = false, .start = call_start, .stop = call_stop};
