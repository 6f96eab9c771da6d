/* Answers: chunks, whole responses, errors, the model list. */
#include "api/chat.h"

#include <math.h>
#include <string.h>

#include "api/json.h"

static json_t *route_json(const struct api_route *r)
{
    bool ok = true;
    json_t *o = json_object();
    const struct {
        const char *key, *val;
    } text[] = {{"route", r->route},   {"rule", r->rule},       {"tier", r->tier},
                {"policy", r->policy}, {"because", r->because}, {"intent", r->intent},
                {"vss", r->vss}};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        if (text[i].val != NULL && text[i].val[0] != '\0')
            api_json_set(o, text[i].key, json_string(text[i].val), &ok);
    }
    if (r->intent != NULL && r->confidence >= 0)
        api_json_set(o, "confidence", json_real(r->confidence), &ok);
    api_json_set(o, "bytes_out", json_integer((json_int_t)r->bytes_out), &ok);
    if (r->first_token_us > 0)
        api_json_set(o, "first_token_ms", json_real((double)r->first_token_us / 1e3), &ok);
    if (r->total_us > 0)
        api_json_set(o, "total_ms", json_real((double)r->total_us / 1e3), &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

/* JSON has no infinity: a probability of zero is written as OpenAI does, -9999. */
static json_t *logprob_json(float lp)
{
    return json_real(isfinite(lp) ? (double)lp : -9999.0);
}

static json_t *token_json(const char *s, size_t n, float lp)
{
    bool ok = true;
    json_t *o = json_object(), *bytes = json_array();
    api_json_set(o, "token", api_json_text(s, n), &ok);
    api_json_set(o, "logprob", logprob_json(lp), &ok);
    for (size_t i = 0; i < n; i++)
        ok = json_array_append_new(bytes, json_integer((unsigned char)s[i])) == 0 && ok;
    api_json_set(o, "bytes", bytes, &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *chat_logprobs(const struct api_logprob *lp, int n)
{
    bool ok = true;
    json_t *list = json_array(), *o = json_object();
    for (int i = 0; i < n; i++) {
        json_t *t = token_json(lp[i].token, lp[i].len, lp[i].logprob), *top = json_array();
        for (int k = 0; k < lp[i].n_top; k++)
            ok = json_array_append_new(top, token_json(lp[i].top[k].token, lp[i].top[k].len,
                                                       lp[i].top[k].logprob)) == 0 &&
                 ok;
        api_json_set(t, "top_logprobs", top, &ok);
        ok = json_array_append_new(list, t) == 0 && ok;
    }
    api_json_set(o, "content", list, &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *completion_logprobs(const struct api_logprob *lp, int n)
{
    bool ok = true;
    json_t *tok = json_array(), *val = json_array(), *top = json_array(), *o = json_object();
    for (int i = 0; i < n; i++) {
        ok = json_array_append_new(tok, api_json_text(lp[i].token, lp[i].len)) == 0 && ok;
        ok = json_array_append_new(val, logprob_json(lp[i].logprob)) == 0 && ok;
        json_t *alt = json_object();
        for (int k = 0; k < lp[i].n_top; k++) {
            json_t *name = api_json_text(lp[i].top[k].token, lp[i].top[k].len);
            ok = name != NULL && ok;
            if (name != NULL)
                api_json_set(alt, json_string_value(name), logprob_json(lp[i].top[k].logprob), &ok);
            json_decref(name);
        }
        ok = json_array_append_new(top, alt) == 0 && ok;
    }
    api_json_set(o, "tokens", tok, &ok);
    api_json_set(o, "token_logprobs", val, &ok);
    api_json_set(o, "top_logprobs", top, &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

static void set_choice_tail(json_t *choice, const struct api_head *h, const struct api_logprob *lp,
                            int n_lp, const char *finish_reason, bool *ok)
{
    api_json_set(choice, "logprobs",
                 lp == NULL   ? json_null()
                 : h->is_chat ? chat_logprobs(lp, n_lp)
                              : completion_logprobs(lp, n_lp),
                 ok);
    api_json_set(choice, "finish_reason",
                 finish_reason != NULL ? json_string(finish_reason) : json_null(), ok);
}

static json_t *head_json(const struct api_head *h, const char *object, bool *ok)
{
    json_t *o = json_object();
    api_json_set(o, "id", json_string(h->id), ok);
    api_json_set(o, "object", json_string(object), ok);
    api_json_set(o, "created", json_integer(h->created_s), ok);
    api_json_set(o, "model", json_string(h->model), ok);
    return o;
}

static void set_choices(json_t *o, json_t *choice, bool *ok)
{
    json_t *list = json_array();
    if (choice != NULL && json_array_append_new(list, choice) != 0)
        *ok = false;
    api_json_set(o, "choices", list, ok);
}

static void set_usage(json_t *o, const struct api_usage *u, bool *ok)
{
    json_t *usage = json_pack("{s:i,s:i,s:i}", "prompt_tokens", u->prompt_tok, "completion_tokens",
                              u->completion_tok, "total_tokens", u->prompt_tok + u->completion_tok);
    if (u->cached_tok >= 0)
        api_json_set(usage, "prompt_tokens_details",
                     json_pack("{s:i}", "cached_tokens", u->cached_tok), ok);
    api_json_set(o, "usage", usage, ok);
}

int api_chunk_write(const struct api_head *h, bool first, const char *text, size_t len,
                    const struct api_logprob *lp, int n_lp, const char *finish_reason,
                    const struct api_route *route, struct base_buf *out)
{
    bool ok = true;
    json_t *o = head_json(h, h->is_chat ? "chat.completion.chunk" : "text_completion", &ok);
    json_t *choice = json_object();
    api_json_set(choice, "index", json_integer(0), &ok);
    if (h->is_chat) {
        json_t *delta = json_object();
        if (first)
            api_json_set(delta, "role", json_string("assistant"), &ok);
        if (len > 0 || first)
            api_json_set(delta, "content", api_json_text(text, len), &ok);
        api_json_set(choice, "delta", delta, &ok);
    } else {
        api_json_set(choice, "text", api_json_text(text, len), &ok);
    }
    set_choice_tail(choice, h, lp, n_lp, finish_reason, &ok);
    set_choices(o, choice, &ok);
    if (route != NULL)
        api_json_set(o, "waypost", route_json(route), &ok);
    return api_json_put(o, ok, true, out);
}

/* id and name where it begins, arguments where they come: delta is true in a stream. */
static json_t *call_json(const struct api_call *c, int index, bool delta, bool *ok)
{
    json_t *o = json_object(), *f = json_object();
    if (delta)
        api_json_set(o, "index", json_integer(index), ok);
    if (c->id != NULL)
        api_json_set(o, "id", api_json_text(c->id, strlen(c->id)), ok);
    if (c->name != NULL) {
        api_json_set(o, "type", json_string("function"), ok);
        api_json_set(f, "name", api_json_text(c->name, strlen(c->name)), ok);
    }
    api_json_set(f, "arguments", api_json_text(c->args, c->len), ok);
    api_json_set(o, "function", f, ok);
    return o;
}

int api_call_chunk_write(const struct api_head *h, bool first, int call, const struct api_call *c,
                         const struct api_logprob *lp, int n_lp, struct base_buf *out)
{
    bool ok = true;
    json_t *o = head_json(h, "chat.completion.chunk", &ok);
    json_t *choice = json_object(), *delta = json_object(), *list = json_array();
    api_json_set(choice, "index", json_integer(0), &ok);
    if (first) {
        api_json_set(delta, "role", json_string("assistant"), &ok);
        api_json_set(delta, "content", json_null(), &ok);
    }
    ok = json_array_append_new(list, call_json(c, call, true, &ok)) == 0 && ok;
    api_json_set(delta, "tool_calls", list, &ok);
    api_json_set(choice, "delta", delta, &ok);
    set_choice_tail(choice, h, lp, n_lp, NULL, &ok);
    set_choices(o, choice, &ok);
    return api_json_put(o, ok, true, out);
}

int api_usage_chunk_write(const struct api_head *h, const struct api_usage *u, struct base_buf *out)
{
    bool ok = true;
    json_t *o = head_json(h, h->is_chat ? "chat.completion.chunk" : "text_completion", &ok);
    set_choices(o, NULL, &ok);
    set_usage(o, u, &ok);
    return api_json_put(o, ok, true, out);
}

int api_done_write(struct base_buf *out)
{
    return base_buf_str(out, "data: [DONE]\n\n");
}

int api_response_write(const struct api_head *h, const char *text, size_t len,
                       const struct api_call *call, int n_call, const struct api_logprob *lp,
                       int n_lp, const char *finish_reason, const struct api_usage *u,
                       const struct api_route *route, struct base_buf *out)
{
    bool ok = true;
    json_t *o = head_json(h, h->is_chat ? "chat.completion" : "text_completion", &ok);
    json_t *choice = json_object();
    api_json_set(choice, "index", json_integer(0), &ok);
    if (h->is_chat) {
        json_t *m = json_object();
        api_json_set(m, "role", json_string("assistant"), &ok);
        api_json_set(m, "content", len == 0 && n_call > 0 ? json_null() : api_json_text(text, len),
                     &ok);
        api_json_set(m, "refusal", json_null(), &ok);
        json_t *list = n_call > 0 ? json_array() : NULL;
        for (int i = 0; i < n_call; i++)
            ok = json_array_append_new(list, call_json(&call[i], i, false, &ok)) == 0 && ok;
        if (n_call > 0)
            api_json_set(m, "tool_calls", list, &ok);
        api_json_set(choice, "message", m, &ok);
    } else {
        api_json_set(choice, "text", api_json_text(text, len), &ok);
    }
    set_choice_tail(choice, h, lp, n_lp, finish_reason, &ok);
    set_choices(o, choice, &ok);
    if (u != NULL)
        set_usage(o, u, &ok);
    if (route != NULL)
        api_json_set(o, "waypost", route_json(route), &ok);
    return api_json_put(o, ok, false, out);
}

int api_error_write(const struct api_error *e, const struct api_route *route, bool sse,
                    struct base_buf *out)
{
    bool ok = true;
    json_t *o = json_object(), *in = json_object();
    api_json_set(in, "message", api_json_text(e->message, strlen(e->message)), &ok);
    api_json_set(in, "type", json_string(e->type != NULL ? e->type : "server_error"), &ok);
    api_json_set(in, "param",
                 e->param[0] != '\0' ? api_json_text(e->param, strlen(e->param)) : json_null(),
                 &ok);
    api_json_set(in, "code", e->code != NULL ? json_string(e->code) : json_null(), &ok);
    api_json_set(o, "error", in, &ok);
    if (route != NULL)
        api_json_set(o, "waypost", route_json(route), &ok);
    return api_json_put(o, ok, sse, out);
}

int api_models_write(const char *const *model, int n, int64_t created_s, struct base_buf *out)
{
    bool ok = true;
    json_t *o = json_object(), *list = json_array();
    api_json_set(o, "object", json_string("list"), &ok);
    for (int i = 0; i < n; i++)
        ok = json_array_append_new(list, json_pack("{s:s,s:s,s:I,s:s}", "id", model[i], "object",
                                                   "model", "created", (json_int_t)created_s,
                                                   "owned_by", "waypost")) == 0 &&
             ok;
    api_json_set(o, "data", list, &ok);
    return api_json_put(o, ok, false, out);
}
