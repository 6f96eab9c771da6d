/* struct api_request -> JSON for the next tier. */
#include "api/chat.h"

#include <math.h>
#include <string.h>

#include "api/json.h"

/* JSON that was kept as text; NULL: out of memory. */
static json_t *kept(const char *text, size_t len)
{
    return json_loadb(text, len, 0, NULL);
}

static json_t *calls_json(const struct api_msg *m)
{
    bool ok = true;
    json_t *list = json_array();
    for (int i = 0; i < m->n_call; i++) {
        const struct api_call *c = &m->call[i];
        json_t *o = json_object(), *f = json_object();
        api_json_set(f, "name", json_string(c->name), &ok);
        api_json_set(f, "arguments", api_json_text(c->args, c->len), &ok);
        api_json_set(o, "id", json_string(c->id), &ok);
        api_json_set(o, "type", json_string("function"), &ok);
        api_json_set(o, "function", f, &ok);
        ok = json_array_append_new(list, o) == 0 && ok;
    }
    if (ok)
        return list;
    json_decref(list);
    return NULL;
}

static void set_tools(json_t *o, const struct api_request *r, bool *ok)
{
    static const char *const choice[] = {"auto", "none", "required"};
    if (r->format_json != NULL)
        api_json_set(o, "response_format", kept(r->format_json, strlen(r->format_json)), ok);
    if (r->n_tool == 0)
        return;
    json_t *list = json_array();
    for (int i = 0; i < r->n_tool; i++)
        *ok = json_array_append_new(list, kept(r->tool[i].json, r->tool[i].len)) == 0 && *ok;
    api_json_set(o, "tools", list, ok);
    api_json_set(o, "tool_choice",
                 r->tool_named >= 0 ? json_pack("{s:s,s:{s:s}}", "type", "function", "function",
                                                "name", r->tool[r->tool_named].name)
                                    : json_string(choice[r->choice]),
                 ok);
    api_json_set(o, "parallel_tool_calls", json_boolean(r->parallel), ok);
}

static json_t *messages_json(const struct api_request *r)
{
    json_t *list = json_array();
    for (int i = 0; list != NULL && i < r->n_msg; i++) {
        bool ok = true;
        json_t *m = json_object();
        api_json_set(m, "role", json_string(r->msg[i].role), &ok);
        const bool bare = r->msg[i].n_call > 0 && r->msg[i].len == 0;
        api_json_set(m, "content",
                     bare ? json_null() : api_json_text(r->msg[i].content, r->msg[i].len), &ok);
        if (r->msg[i].n_call > 0)
            api_json_set(m, "tool_calls", calls_json(&r->msg[i]), &ok);
        if (r->msg[i].call_id != NULL)
            api_json_set(m, "tool_call_id", json_string(r->msg[i].call_id), &ok);
        if (json_array_append_new(list, m) != 0 || !ok) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

int api_request_write(const struct api_request *r, struct base_buf *out)
{
    bool ok = true;
    json_t *o = json_object();
    api_json_set(o, "model", json_string(r->model), &ok);
    if (r->is_chat)
        api_json_set(o, "messages", messages_json(r), &ok);
    else
        api_json_set(o, "prompt", api_json_text(r->msg[0].content, r->msg[0].len), &ok);
    if (r->is_chat)
        set_tools(o, r, &ok);
    api_json_set(o, "stream", json_boolean(r->stream), &ok);
    if (r->stream && r->include_usage)
        api_json_set(o, "stream_options", json_pack("{s:b}", "include_usage", 1), &ok);
    if (r->max_tok > 0)
        api_json_set(o, "max_tokens", json_integer(r->max_tok), &ok);
    api_json_set(o, "temperature", json_real((double)r->temperature), &ok);
    api_json_set(o, "top_p", json_real((double)r->top_p), &ok);
    /* Not in OpenAI's own API: only when they matter. */
    if (r->min_p > 0)
        api_json_set(o, "min_p", json_real((double)r->min_p), &ok);
    if (r->top_k > 0)
        api_json_set(o, "top_k", json_integer(r->top_k), &ok);
    if (fabsf(r->repeat_penalty - 1) > 1e-6f)
        api_json_set(o, "repetition_penalty", json_real((double)r->repeat_penalty), &ok);
    if (r->have_seed)
        api_json_set(o, "seed", json_integer((json_int_t)r->seed), &ok);
    if (r->n_stop > 0) {
        json_t *stop = json_array();
        for (int i = 0; i < r->n_stop; i++)
            ok = json_array_append_new(stop, json_string(r->stop[i])) == 0 && ok;
        api_json_set(o, "stop", stop, &ok);
    }
    if (r->logprobs && r->is_chat) {
        api_json_set(o, "logprobs", json_true(), &ok);
        if (r->n_top > 0)
            api_json_set(o, "top_logprobs", json_integer(r->n_top), &ok);
    } else if (r->logprobs) {
        api_json_set(o, "logprobs", json_integer(r->n_top), &ok);
    }
    return api_json_put(o, ok, false, out);
}
