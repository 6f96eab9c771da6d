/* OpenAI request JSON -> struct api_request, and back for the next tier. */
#include "api/chat.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/json.h"

enum { API_MAX_DEPTH = 32, API_MAX_TOKENS = 1 << 20 };

struct parse {
    struct api_request *r;
    struct base_arena *a;
    struct api_error *e;
};

static int refuse(struct parse *p, int code, const char *param, const char *fmt, ...)
    BASE_PRINTF(4, 5);

static int refuse(struct parse *p, int code, const char *param, const char *fmt, ...)
{
    p->e->status = code == BASE_ENOMEM ? 503 : 400;
    p->e->type = code == BASE_ENOMEM ? "server_error" : "invalid_request_error";
    p->e->code = code == BASE_EUNSUPPORTED ? "unsupported_parameter"
                 : code == BASE_ELIMIT     ? "limit_exceeded"
                                           : NULL;
    snprintf(p->e->param, sizeof p->e->param, "%s", param);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->e->message, sizeof p->e->message, fmt, ap);
    va_end(ap);
    return code;
}

static int no_memory(struct parse *p)
{
    return refuse(p, BASE_ENOMEM, "", "The request needs more memory than one request may have.");
}

static int copy_text(struct parse *p, const json_t *v, const char *param, const char **out,
                     size_t *len)
{
    if (!json_is_string(v))
        return refuse(p, BASE_EFORMAT, param, "'%s' must be a string.", param);
    size_t n = json_string_length(v);
    *out = base_arena_strndup(p->a, json_string_value(v), n);
    if (*out == NULL)
        return no_memory(p);
    if (len != NULL)
        *len = n;
    return 0;
}

static int get_int(struct parse *p, const json_t *v, const char *param, int64_t lo, int64_t hi,
                   int64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
        return refuse(p, BASE_EFORMAT, param, "'%s' must be a whole number from %lld to %lld.",
                      param, (long long)lo, (long long)hi);
    *out = json_integer_value(v);
    return 0;
}

static int get_real(struct parse *p, const json_t *v, const char *param, double lo, double hi,
                    float *out)
{
    if (!json_is_number(v) || !(json_number_value(v) >= lo && json_number_value(v) <= hi))
        return refuse(p, BASE_EFORMAT, param, "'%s' must be a number from %g to %g.", param, lo,
                      hi);
    *out = (float)json_number_value(v);
    return 0;
}

static int get_bool(struct parse *p, const json_t *v, const char *param, bool *out)
{
    if (!json_is_boolean(v))
        return refuse(p, BASE_EFORMAT, param, "'%s' must be true or false.", param);
    *out = json_is_true(v);
    return 0;
}

/* Content parts [{type: "text", text: "…"}, …] joined. */
static int content_parts(struct parse *p, const json_t *v, const char *param, struct api_msg *m)
{
    size_t total = 0, i;
    json_t *part;
    json_array_foreach(v, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (type == NULL || (strcmp(type, "text") != 0 && strcmp(type, "input_text") != 0))
            return refuse(p, BASE_EUNSUPPORTED, param,
                          "'%s' has a part that is not text; only text is supported.", param);
        if (!json_is_string(text))
            return refuse(p, BASE_EFORMAT, param, "'%s' has a text part without text.", param);
        total += json_string_length(text);
    }
    char *at = base_arena_get(p->a, total + 1);
    if (at == NULL)
        return no_memory(p);
    m->content = at;
    m->len = total;
    json_array_foreach(v, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        memcpy(at, json_string_value(text), json_string_length(text));
        at += json_string_length(text);
    }
    return 0;
}

static int one_message(struct parse *p, const json_t *v, int i)
{
    static const struct {
        const char *from, *to;
    } role[] = {{"system", "system"},
                {"developer", "system"},
                {"user", "user"},
                {"assistant", "assistant"},
                {"tool", "tool"}};
    struct api_msg *m = &p->r->msg[i];
    char param[48];
    snprintf(param, sizeof param, "messages[%d]", i);
    if (!json_is_object(v))
        return refuse(p, BASE_EFORMAT, param, "'%s' must be an object.", param);
    const char *given = json_string_value(json_object_get(v, "role"));
    for (size_t k = 0; given != NULL && k < sizeof role / sizeof role[0]; k++) {
        if (strcmp(given, role[k].from) == 0)
            m->role = role[k].to;
    }
    snprintf(param, sizeof param, "messages[%d].role", i);
    if (m->role == NULL)
        return refuse(p, BASE_EFORMAT, param,
                      "'%s' must be system, developer, user, assistant or tool.", param);
    snprintf(param, sizeof param, "messages[%d].content", i);
    const json_t *c = json_object_get(v, "content");
    if (json_is_array(c))
        return content_parts(p, c, param, m);
    /* An assistant's turn that was a tool call has no content. */
    if ((c == NULL || json_is_null(c)) && strcmp(m->role, "assistant") == 0) {
        m->content = "";
        return 0;
    }
    return copy_text(p, c, param, &m->content, &m->len);
}

static int get_messages(struct parse *p, const json_t *v)
{
    size_t n = json_array_size(v);
    if (!json_is_array(v) || n == 0)
        return refuse(p, BASE_EFORMAT, "messages",
                      "'messages' must be a list of at least one message.");
    if (n > API_MAX_MSG)
        return refuse(p, BASE_ELIMIT, "messages",
                      "'messages' has %zu entries; at most %d are taken.", n, API_MAX_MSG);
    p->r->msg = base_arena_get(p->a, n * sizeof *p->r->msg);
    if (p->r->msg == NULL)
        return no_memory(p);
    p->r->n_msg = (int)n;
    for (int i = 0; i < (int)n; i++) {
        int rc = one_message(p, json_array_get(v, (size_t)i), i);
        if (rc != 0)
            return rc;
        p->r->content_bytes += p->r->msg[i].len;
    }
    return 0;
}

static int get_prompt(struct parse *p, const json_t *v)
{
    /* The batch form with one entry is the same thing. */
    if (json_is_array(v) && json_array_size(v) == 1 && json_is_string(json_array_get(v, 0)))
        v = json_array_get(v, 0);
    if (json_is_array(v))
        return refuse(p, BASE_EUNSUPPORTED, "prompt", "'prompt' must be one string.");
    p->r->msg = base_arena_get(p->a, sizeof *p->r->msg);
    if (p->r->msg == NULL)
        return no_memory(p);
    p->r->n_msg = 1;
    p->r->msg[0].role = "";
    int rc = copy_text(p, v, "prompt", &p->r->msg[0].content, &p->r->msg[0].len);
    p->r->content_bytes = p->r->msg[0].len;
    return rc;
}

static int get_stop(struct parse *p, const json_t *v)
{
    const json_t *one = json_is_string(v) ? v : NULL;
    size_t n = one != NULL ? 1 : json_array_size(v);
    if (one == NULL && !json_is_array(v))
        return refuse(p, BASE_EFORMAT, "stop", "'stop' must be a string or a list of strings.");
    if (n > API_MAX_STOP)
        return refuse(p, BASE_ELIMIT, "stop", "'stop' has %zu entries; at most %d are taken.", n,
                      API_MAX_STOP);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = one != NULL ? one : json_array_get(v, i);
        if (!json_is_string(s) || json_string_length(s) == 0)
            return refuse(p, BASE_EFORMAT, "stop", "'stop' must hold non-empty strings.");
        int rc = copy_text(p, s, "stop", &p->r->stop[p->r->n_stop], NULL);
        if (rc != 0)
            return rc;
        p->r->n_stop++;
    }
    return 0;
}

static int get_metadata(struct parse *p, const json_t *v)
{
    if (!json_is_object(v))
        return refuse(p, BASE_EFORMAT, "metadata", "'metadata' must be an object of strings.");
    if (json_object_size(v) > API_MAX_META)
        return refuse(p, BASE_ELIMIT, "metadata", "'metadata' has more than %d entries.",
                      API_MAX_META);
    const char *key;
    json_t *s;
    json_object_foreach((json_t *)v, key, s)
    {
        if (!json_is_string(s) || json_string_length(s) > 512 || strlen(key) > 64)
            return refuse(
                p, BASE_EFORMAT, "metadata",
                "'metadata' takes strings of at most 512 bytes under keys of at most 64.");
    }
    int rc = 0;
    if ((s = json_object_get(v, "data_class")) != NULL)
        rc = copy_text(p, s, "metadata.data_class", &p->r->data_class, NULL);
    if (rc == 0 && (s = json_object_get(v, "route")) != NULL)
        rc = copy_text(p, s, "metadata.route", &p->r->hint, NULL);
    if (rc == 0 && (s = json_object_get(v, "deadline_ms")) != NULL) {
        int ms = 0, used = 0;
        if (sscanf(json_string_value(s), "%8d%n", &ms, &used) != 1 || ms < 1 ||
            json_string_value(s)[used] != '\0')
            return refuse(p, BASE_EFORMAT, "metadata.deadline_ms",
                          "'metadata.deadline_ms' must be a whole number of milliseconds from 1.");
        p->r->deadline_ms = ms;
    }
    return rc;
}

static int get_logprobs(struct parse *p, const json_t *v)
{
    if (p->r->is_chat)
        return get_bool(p, v, "logprobs", &p->r->logprobs);
    int64_t n = 0;
    int rc = get_int(p, v, "logprobs", 0, API_MAX_TOP, &n);
    p->r->logprobs = rc == 0;
    p->r->n_top = (int)n;
    return rc;
}

static int get_stream_options(struct parse *p, const json_t *v)
{
    if (!json_is_object(v))
        return refuse(p, BASE_EFORMAT, "stream_options", "'stream_options' must be an object.");
    const json_t *u = json_object_get(v, "include_usage");
    return u == NULL ? 0 : get_bool(p, u, "stream_options.include_usage", &p->r->include_usage);
}

/* What we know of but do not do: taken only with the value that means "nothing special". */
static int is_neutral(const char *key, const json_t *v)
{
    if (json_is_number(v)) {
        double want = strcmp(key, "n") == 0 || strcmp(key, "best_of") == 0 ? 1 : 0;
        return fabs(json_number_value(v) - want) < 1e-12;
    }
    if (json_is_string(v))
        return strcmp(json_string_value(v), "none") == 0 ||
               strcmp(json_string_value(v), "auto") == 0 || json_string_length(v) == 0;
    if (json_is_object(v)) {
        const char *type = json_string_value(json_object_get(v, "type"));
        return json_object_size(v) == 0 || (type != NULL && strcmp(type, "text") == 0);
    }
    return json_is_false(v) || (json_is_array(v) && json_array_size(v) == 0);
}

static int one_field(struct parse *p, const char *key, const json_t *v)
{
    static const char *const neutral_only[] = {
        "n",          "best_of",          "echo",
        "suffix",     "presence_penalty", "frequency_penalty",
        "logit_bias", "response_format",  "tool_choice",
        "audio",      "functions",        "function_call"};
    static const char *const harmless[] = {"user",
                                           "store",
                                           "service_tier",
                                           "parallel_tool_calls",
                                           "safety_identifier",
                                           "prompt_cache_key"};
    struct api_request *r = p->r;
    int64_t i = 0;
    int rc;
#define IS(name) (strcmp(key, name) == 0)
    if (IS("messages") && r->is_chat)
        return get_messages(p, v);
    if (IS("prompt") && !r->is_chat)
        return get_prompt(p, v);
    if (json_is_null(v))
        return 0;
    if (IS("model"))
        return copy_text(p, v, key, &r->model, NULL);
    if (IS("stream"))
        return get_bool(p, v, key, &r->stream);
    if (IS("stream_options"))
        return get_stream_options(p, v);
    if (IS("max_tokens") || IS("max_completion_tokens")) {
        rc = get_int(p, v, key, 1, API_MAX_TOKENS, &i);
        r->max_tok = r->max_tok < 0 || i < r->max_tok ? (int)i : r->max_tok;
        return rc;
    }
    if (IS("temperature"))
        return get_real(p, v, key, 0, 2, &r->temperature);
    if (IS("top_p"))
        return get_real(p, v, key, 0, 1, &r->top_p);
    if (IS("min_p"))
        return get_real(p, v, key, 0, 1, &r->min_p);
    if (IS("repeat_penalty") || IS("repetition_penalty"))
        return get_real(p, v, key, 0.1, 10, &r->repeat_penalty);
    if (IS("top_k")) {
        rc = get_int(p, v, key, 0, 1 << 20, &i);
        r->top_k = (int)i;
        return rc;
    }
    if (IS("seed")) {
        rc = get_int(p, v, key, INT64_MIN, INT64_MAX, &i);
        r->seed = (uint64_t)i;
        r->have_seed = rc == 0;
        return rc;
    }
    if (IS("stop"))
        return get_stop(p, v);
    if (IS("logprobs"))
        return get_logprobs(p, v);
    if (IS("top_logprobs") && r->is_chat) {
        rc = get_int(p, v, key, 0, API_MAX_TOP, &i);
        r->n_top = (int)i;
        return rc;
    }
    if (IS("metadata"))
        return get_metadata(p, v);
    if (IS("tools")) {
        if (!json_is_array(v))
            return refuse(p, BASE_EFORMAT, key, "'tools' must be a list.");
        r->has_tools = json_array_size(v) > 0;
        return 0;
    }
#undef IS
    for (size_t k = 0; k < sizeof neutral_only / sizeof neutral_only[0]; k++) {
        if (strcmp(key, neutral_only[k]) == 0)
            return is_neutral(key, v) ? 0
                                      : refuse(p, BASE_EUNSUPPORTED, key,
                                               "'%s' is not supported with this value.", key);
    }
    for (size_t k = 0; k < sizeof harmless / sizeof harmless[0]; k++) {
        if (strcmp(key, harmless[k]) == 0)
            return 0;
    }
    char shown[64];
    snprintf(shown, sizeof shown, "%.60s", key);
    return refuse(p, BASE_EUNSUPPORTED, shown, "Unrecognised field '%s'.", shown);
}

/* jansson recurses; a look ahead keeps its stack small. */
static bool too_deep(const char *s, size_t n)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                in_string = false;
        } else if (s[i] == '"') {
            in_string = true;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++depth > API_MAX_DEPTH)
                return true;
        } else if (s[i] == '}' || s[i] == ']') {
            depth--;
        }
    }
    return false;
}

int api_request_parse(struct api_request *out, struct base_arena *a, bool is_chat, const char *body,
                      size_t len, struct api_error *e)
{
    struct parse p = {.r = out, .a = a, .e = e};
    *out = (struct api_request){
        .is_chat = is_chat,
        .model = "",
        .max_tok = -1,
        .temperature = 1,
        .top_p = 1,
        .repeat_penalty = 1,
        .deadline_ms = -1,
    };
    memset(e, 0, sizeof *e);
    if (too_deep(body, len))
        return refuse(&p, BASE_ELIMIT, "", "The body is nested deeper than %d levels.",
                      API_MAX_DEPTH);
    json_error_t je;
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &je);
    if (root == NULL) {
        /* jansson quotes the text near the error: content, so it is left out. */
        size_t n = strcspn(je.text, "'\"");
        return refuse(&p, BASE_EFORMAT, "", "The body is not JSON: line %d column %d: %.*s.",
                      je.line, je.column, (int)n, je.text);
    }
    int rc = 0;
    const char *key;
    json_t *v;
    if (!json_is_object(root))
        rc = refuse(&p, BASE_EFORMAT, "", "The body must be a JSON object.");
    if (rc == 0)
        json_object_foreach(root, key, v)
        {
            rc = one_field(&p, key, v);
            if (rc != 0)
                break;
        }
    const char *need = is_chat ? "messages" : "prompt";
    if (rc == 0 && out->n_msg == 0)
        rc = refuse(&p, BASE_EFORMAT, need, "'%s' is missing.", need);
    if (rc == 0 && is_chat && out->n_top > 0 && !out->logprobs)
        rc = refuse(&p, BASE_EFORMAT, "top_logprobs", "'top_logprobs' needs 'logprobs': true.");
    if (rc == 0 && out->include_usage && !out->stream)
        rc = refuse(&p, BASE_EFORMAT, "stream_options", "'stream_options' needs 'stream': true.");
    json_decref(root);
    return rc;
}

static json_t *messages_json(const struct api_request *r)
{
    json_t *list = json_array();
    for (int i = 0; list != NULL && i < r->n_msg; i++) {
        bool ok = true;
        json_t *m = json_object();
        api_json_set(m, "role", json_string(r->msg[i].role), &ok);
        api_json_set(m, "content", api_json_text(r->msg[i].content, r->msg[i].len), &ok);
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
