#include "edge/facts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/device.h"
#include "edge/language.h"
#include "edge/moment.h"
#include "edge/own_facts.h"
#include "edge/signals.h"
#include "edge/uplink_link.h"

static int class_refuse(struct api_error *e, int status, int code, const char *fmt, ...)
    BASE_PRINTF(4, 5);

/* Only callers' names and the configuration's words are shown: a label may be anything. */
static int class_refuse(struct api_error *e, int status, int code, const char *fmt, ...)
{
    va_list ap;
    *e = (struct api_error){.status = status,
                            .type = status == 403 ? "permission_error" : "invalid_request_error",
                            .code = "data_class_not_permitted"};
    snprintf(e->param, sizeof e->param, "metadata.data_class");
    va_start(ap, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, ap);
    va_end(ap);
    return code;
}

/* false: there is no room for it. */
static bool class_add(struct rt_facts *f, const char *cls)
{
    for (int i = 0; i < f->n_cls; i++) {
        if (strcmp(f->cls[i], cls) == 0)
            return true;
    }
    if (f->n_cls == RT_MAX_CLASS)
        return false;
    f->cls[f->n_cls++] = cls;
    return true;
}

/* What a person says in several turns, as one text: a number is often dictated in parts. Returns
 * its length, or SIZE_MAX: out of memory. */
static size_t said_get(struct edge_req *r, const char **out)
{
    const struct api_request *q = &r->api;
    char *s = base_arena_get(&r->arena, q->content_bytes + (size_t)q->n_msg);
    size_t n = 0;
    *out = s;
    if (s == NULL)
        return SIZE_MAX;
    for (int i = 0; i < q->n_msg; i++) {
        if (strcmp(q->msg[i].role, "user") != 0)
            continue;
        memcpy(s + n, q->msg[i].content, q->msg[i].len);
        n += q->msg[i].len;
        s[n++] = ' ';
    }
    return n;
}

/* Every text of the caller's that a prompt target would get, not the messages alone. */
static uint64_t detected(struct edge_req *r)
{
    const struct api_request *q = &r->api;
    struct rt_detect *d = r->e->detect;
    const char *said;
    uint64_t found = 0;
    size_t n = said_get(r, &said);
    if (n == SIZE_MAX)
        return UINT64_MAX;
    rt_detect_run(d, said, n, &found);
    for (int i = 0; i < q->n_msg; i++)
        rt_detect_run(d, q->msg[i].content, q->msg[i].len, &found);
    for (int i = 0; i < q->n_stop; i++)
        rt_detect_run(d, q->stop[i], strlen(q->stop[i]), &found);
    rt_detect_run(d, q->model, strlen(q->model), &found);
    if (q->words != NULL)
        rt_detect_run(d, q->words, q->words_len, &found);
    return found;
}

static void set_list(struct rt_facts *f, enum rt_fact_id id, const char *const *list)
{
    f->v[id] = (struct rt_value){.have = list != NULL, .list = list};
}

/* Where the classes come from, each origin by itself. */
static int origins_set(struct edge_req *r, uint64_t found)
{
    const int n = rt_detect_n(r->e->detect);
    const char **declared = base_arena_get(&r->arena, 2 * sizeof *declared);
    const char **seen = base_arena_get(&r->arena, sizeof *seen * ((size_t)n + 1));
    if (declared == NULL || seen == NULL)
        return BASE_ENOMEM;
    declared[0] = r->api.data_class;
    for (int i = 0, k = 0; i < n; i++) {
        if ((found >> i & 1) != 0)
            seen[k++] = rt_detect_class(r->e->detect, i);
    }
    set_list(&r->facts, RT_F_DATA_DECLARED, declared[0] != NULL ? declared : NULL);
    set_list(&r->facts, RT_F_DATA_DETECTED, seen);
    set_list(&r->facts, RT_F_DATA_HISTORY, r->turn.cls);
    return 0;
}

int edge_facts_classes(struct edge_req *r, struct api_error *e)
{
    struct rt_facts *f = &r->facts;
    const char *declared = r->api.data_class;
    if (r->api.hint != NULL && strcmp(r->api.hint, "local") != 0) {
        *e = (struct api_error){
            .status = 400, .type = "invalid_request_error", .code = "route_hint"};
        snprintf(e->param, sizeof e->param, "metadata.route");
        snprintf(
            e->message, sizeof e->message,
            "metadata.route can only be 'local': a request may tighten its route, not widen it.");
        return BASE_EINVAL;
    }
    f->n_cls = 0;
    if (declared == NULL) {
        declared = EDGE_CLASS_CABIN;
    } else if (!edge_class_ok(declared)) {
        return class_refuse(e, 400, BASE_EINVAL,
                            "metadata.data_class must be letters, digits, dots and dashes.");
    } else if (strcmp(declared, EDGE_CLASS_CABIN) != 0 && !edge_caller_may(r->caller, declared)) {
        return class_refuse(
            e, 403, BASE_EPERM,
            "Caller '%s' may not declare this data class: it is not among the classes "
            "of its `caller` entry in the configuration.",
            r->caller->name);
    }
    class_add(f, declared);
    const uint64_t found = detected(r);
    bool fits = edge_history_find(r) == 0 && !r->turn.vague;
    for (int i = 0; fits && i < rt_detect_n(r->e->detect); i++) {
        if ((found >> i & 1) != 0)
            fits = class_add(f, rt_detect_class(r->e->detect, i));
    }
    for (int i = 0; fits && r->turn.cls != NULL && r->turn.cls[i] != NULL; i++)
        fits = class_add(f, r->turn.cls[i]);
    if (!fits)
        f->n_cls = 0; /* more than can be said: nobody may reason about it */
    const int rc = origins_set(r, found);
    if (rc != 0) {
        *e = (struct api_error){.status = 503, .type = "server_error", .code = "out_of_memory"};
        snprintf(e->message, sizeof e->message, "out of memory");
    }
    return rc;
}

static void set_str(struct rt_facts *f, enum rt_fact_id id, const char *s)
{
    f->v[id] = (struct rt_value){.have = s != NULL, .s = s};
}

static void set_int(struct rt_facts *f, enum rt_fact_id id, int64_t i)
{
    f->v[id] = (struct rt_value){.have = true, .i = i};
}

static void set_bool(struct rt_facts *f, enum rt_fact_id id, bool b)
{
    f->v[id] = (struct rt_value){.have = true, .b = b};
}

/* Times on the device, from the measured rates and what is in line before this request. */
static void predict(struct edge_req *r)
{
    struct rt_facts *f = &r->facts;
    struct eng_sched_stats s = {0};
    eng_sched_stats(r->e->sched, &s);
    const int before = eng_sched_rows_before(r->e->sched, r->caller->priority);
    set_int(f, RT_F_ENGINE_QUEUE, r->e->n_session + r->e->n_wait);
    if (!(s.prefill_tok_s > 0))
        return;
    double first_ms = 1000.0 * (r->n_prompt + before) / s.prefill_tok_s;
    set_int(f, RT_F_ENGINE_FIRST_MS, (int64_t)first_ms);
    if (!(s.decode_tok_s > 0))
        return;
    double answer_ms = 1000.0 * r->max_new / s.decode_tok_s;
    /* Those who stand before this one in the line for a session hold one for about as long each. */
    int n_wait = 0;
    for (const struct edge_req *w = r->e->wait_head; w != NULL; w = w->wait_next)
        n_wait += w->caller->priority >= r->caller->priority;
    double turns = 1.0 + (double)n_wait / (double)r->e->cfg.engine_sessions;
    set_int(f, RT_F_ENGINE_LOCAL_MS, (int64_t)((first_ms + answer_ms) * turns));
}

/* What stands before the last message, as far as tokens can be told apart at its beginning. */
static void history_tokens(struct edge_req *r)
{
    const struct api_msg *last = r->api.n_msg > 0 ? &r->api.msg[r->api.n_msg - 1] : NULL;
    int32_t *tok = NULL;
    int n = 0;
    if (last == NULL || !rt_policy_uses(r->policy->rt, RT_F_REQ_HISTORY_TOK))
        return;
    if (r->api.n_msg > 1 && eng_tok_encode(eng_model_tok(r->e->model), last->content, last->len, 0,
                                           r->n_prompt, &tok, &n, NULL) != 0)
        return;
    free(tok);
    set_int(&r->facts, RT_F_REQ_HISTORY_TOK, r->api.n_msg > 1 ? r->n_prompt - n : 0);
}

static void moment(struct edge_req *r)
{
    const struct edge_moment m = edge_moment_at(r->created_us);
    if (!m.known)
        return;
    set_int(&r->facts, RT_F_TIME_OF_DAY, m.minute);
    set_str(&r->facts, RT_F_TIME_WEEKDAY, edge_weekday_str(m.weekday));
}

/* The caller's own word for it, else what the script of the last thing said tells. */
static void language(struct edge_req *r)
{
    const char *tag = r->api.language;
    if (tag != NULL && !edge_language_tag_ok(tag))
        tag = NULL;
    for (int i = r->api.n_msg - 1; i >= 0 && tag == NULL; i--) {
        if (r->api.is_chat && strcmp(r->api.msg[i].role, "user") != 0)
            continue;
        tag = edge_language(r->api.msg[i].content, r->api.msg[i].len);
        break;
    }
    set_str(&r->facts, RT_F_REQ_LANGUAGE, tag);
}

static void history(struct edge_req *r)
{
    static const char *const none[] = {NULL};
    const struct edge_turn *t = &r->turn;
    struct rt_facts *f = &r->facts;
    if (t->n_before >= 0)
        set_int(f, RT_F_HISTORY_TURNS, t->n_before);
    set_str(f, RT_F_HISTORY_LAST_ROUTE, t->last_route);
    set_str(f, RT_F_HISTORY_LAST_TARGET, t->last_target);
    set_list(f, RT_F_HISTORY_RELEASED, t->known ? t->released : t->is_first ? none : NULL);
}

/* A fact out of the feed. One that is too old is none, for the log as for the router. Its text is
 * copied: the feed goes on while the request lives. */
static int feed_fact(struct edge_req *r, enum rt_fact_id id, struct rt_value *to)
{
    struct rt_value v = edge_signals_fact(r->e->signals, id, r->start_us);
    const int64_t most_ms = rt_policy_max_age_ms(r->policy->rt, id);
    if (!v.have || to->have || (most_ms > 0 && v.age_ms > most_ms))
        return 0;
    if (rt_fact_info[id].type == RT_FACT_STR &&
        (v.s = base_arena_strndup(&r->arena, v.s, strlen(v.s))) == NULL)
        return BASE_ENOMEM;
    *to = v;
    return 0;
}

static int vehicle(struct edge_req *r)
{
    int rc = 0;
    for (int id = 0; rc == 0 && id < RT_N_FACT; id++) {
        if (strcmp(rt_fact_info[id].source, "vehicle") == 0 || id == RT_F_ENGINE_POWER_MODE)
            rc = feed_fact(r, (enum rt_fact_id)id, &r->facts.v[id]);
    }
    return rc;
}

static double known_real(const struct rt_target_link *l, enum rt_fact_id id)
{
    const struct rt_value *v = rt_link_c(l, id);
    return v->have ? v->r : 0;
}

static struct edge_wire wire_of(const struct rt_target_link *l)
{
    return (struct edge_wire){.rtt_ms = known_real(l, RT_F_LINK_RTT_MS),
                              .up_kbps = known_real(l, RT_F_LINK_UP_KBPS)};
}

/* Times of a target, over its link as it is now. One that is down takes for ever. */
static void link_predict(struct edge_req *r, struct rt_target_link *l)
{
    const struct rt_value *state = rt_link_c(l, RT_F_LINK_STATE);
    const struct edge_wire wire = wire_of(l);
    double first_ms, total_ms;
    if (state->have && strcmp(state->s, "down") == 0)
        return;
    edge_outlook_get(&r->e->outlook, r->start_us, l->target, &wire, r->n_prompt, r->max_new,
                     &first_ms, &total_ms);
    if (first_ms >= 0)
        *rt_link(l, RT_F_LINK_FIRST_MS) = (struct rt_value){.have = true, .i = (int64_t)first_ms};
    if (total_ms >= 0)
        *rt_link(l, RT_F_LINK_TOTAL_MS) = (struct rt_value){.have = true, .i = (int64_t)total_ms};
}

/* What the vehicle says of its modem holds for all targets, while it is fresh. */
static void link_add(struct edge_req *r, struct rt_target_link *l)
{
    static const enum rt_fact_id said[] = {RT_F_LINK_UP_KBPS, RT_F_LINK_DOWN_KBPS,
                                           RT_F_LINK_LOSS,    RT_F_LINK_METERED,
                                           RT_F_LINK_ROAMING, RT_F_LINK_HANDOVER};
    const struct rt_policy *p = r->policy->rt;
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        const struct rt_value v = edge_signals_fact(r->e->signals, said[i], r->start_us);
        if (v.have && v.age_ms <= EDGE_SIGNAL_LINK_MS)
            *rt_link(l, said[i]) = v;
    }
    link_predict(r, l);
    if (r->turn.known || r->turn.is_first)
        *rt_link(l, RT_F_HISTORY_SEEN) =
            (struct rt_value){.have = true, .b = edge_history_seen(r, l->target)};
    for (int i = 0; i < rt_policy_n_target(p); i++) {
        const struct rt_target_decl *t = rt_policy_target(p, i);
        if (t->have_price && strcmp(t->name, l->target) == 0)
            *rt_link(l, RT_F_REQ_COST) = (struct rt_value){
                .have = true, .r = (t->price_in * r->n_prompt + t->price_out * r->max_new) / 1e6};
    }
}

static int links_copy(struct edge_req *r)
{
    int n = 0;
    const struct rt_target_link *now = edge_uplink_links(r->e->uplink, &n);
    /* No uplink is a link that is down for every target, not one that cannot be told. */
    set_str(&r->facts, RT_F_LINK_STATE, edge_uplink_ready(r->e->uplink) ? "unknown" : "down");
    r->facts.link = NULL;
    r->facts.n_link = 0;
    if (n == 0)
        return 0;
    struct rt_target_link *copy = base_arena_get(&r->arena, sizeof *copy * (size_t)n);
    if (copy == NULL)
        return BASE_ENOMEM;
    for (int i = 0; i < n; i++) {
        copy[i] = now[i];
        copy[i].target = base_arena_strndup(&r->arena, now[i].target, strlen(now[i].target));
        if (copy[i].target == NULL)
            return BASE_ENOMEM;
        link_add(r, &copy[i]);
    }
    r->facts.link = copy;
    r->facts.n_link = n;
    return 0;
}

void edge_facts_learn(struct edge_req *r)
{
    const struct edge_answer *a = &r->answer;
    /* Whole answers that the target alone has given. */
    if (!r->completed || r->left_us == 0 || r->fallback_why[0] != '\0' ||
        a->first_us < r->left_us || r->route != r->dec.route.mode)
        return;
    for (int i = 0; i < r->facts.n_link; i++) {
        const struct rt_target_link *l = &r->facts.link[i];
        if (strcmp(l->target, r->dec.route.target) != 0)
            continue;
        const struct edge_wire wire = wire_of(l);
        const struct edge_took took = {.n_prompt = r->n_prompt,
                                       .n_answer = a->n_tok,
                                       .bytes = (double)a->first_bytes,
                                       .first_ms = (double)(a->first_us - r->left_us) / 1e3,
                                       .answer_ms = (double)(a->last_us - a->first_us) / 1e3};
        edge_outlook_add(&r->e->outlook, a->last_us, l->target, r->route, &wire, &took);
    }
}

int edge_facts_gather(struct edge_req *r)
{
    struct rt_facts *f = &r->facts;
    set_str(f, RT_F_CALLER, r->caller->name);
    if (!f->v[RT_F_CALLER_SEAT].have && r->caller->seat[0] != '\0')
        set_str(f, RT_F_CALLER_SEAT, r->caller->seat);
    f->v[RT_F_DATA_CLASS].have = f->n_cls > 0;
    set_int(f, RT_F_REQ_PROMPT_TOK, r->n_prompt);
    set_int(f, RT_F_REQ_MAX_TOK, r->max_new);
    if (r->api.deadline_ms >= 0)
        set_int(f, RT_F_REQ_DEADLINE_MS, r->api.deadline_ms);
    set_bool(f, RT_F_REQ_STREAM, r->api.stream);
    set_bool(f, RT_F_REQ_TOOLS, r->api.n_tool > 0);
    if (r->api.model[0] != '\0')
        set_str(f, RT_F_REQ_MODEL, r->api.model);
    set_str(f, RT_F_REQ_HINT, r->api.hint);
    set_int(f, RT_F_REQ_IMAGES, 0); /* the API takes none */
    language(r);
    history_tokens(r);
    history(r);
    moment(r);
    predict(r);
    edge_device_facts(r->e->device, r->policy->rt, f);
    if (r->shadow != NULL)
        edge_device_facts(r->e->device, r->shadow->rt, f);
    int rc = vehicle(r);
    if (rc == 0)
        rc = links_copy(r);
    return rc == 0 ? edge_own_facts(r) : rc;
}
