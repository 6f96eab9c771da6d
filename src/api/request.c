/* OpenAI request JSON -> struct api_request, and back for the next tier. */
#include "api/request_int.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { API_MAX_DEPTH = 64, API_MAX_TOKENS = 1 << 20 };

int api_refuse(struct api_parse *p, int code, const char *param, const char *fmt, ...)
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

int api_no_memory(struct api_parse *p)
{
    return api_refuse(p, BASE_ENOMEM, "",
                      "The request needs more memory than one request may have.");
}

int api_copy_text(struct api_parse *p, const json_t *v, const char *param, const char **out,
                  size_t *len)
{
    if (!json_is_string(v))
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be a string.", param);
    size_t n = json_string_length(v);
    *out = base_arena_strndup(p->a, json_string_value(v), n);
    if (*out == NULL)
        return api_no_memory(p);
    if (len != NULL)
        *len = n;
    return 0;
}

static int get_int(struct api_parse *p, const json_t *v, const char *param, int64_t lo, int64_t hi,
                   int64_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < lo || json_integer_value(v) > hi)
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be a whole number from %lld to %lld.",
                          param, (long long)lo, (long long)hi);
    *out = json_integer_value(v);
    return 0;
}

static int get_real(struct api_parse *p, const json_t *v, const char *param, double lo, double hi,
                    float *out)
{
    if (!json_is_number(v) || !(json_number_value(v) >= lo && json_number_value(v) <= hi))
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be a number from %g to %g.", param, lo,
                          hi);
    *out = (float)json_number_value(v);
    return 0;
}

static int get_bool(struct api_parse *p, const json_t *v, const char *param, bool *out)
{
    if (!json_is_boolean(v))
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be true or false.", param);
    *out = json_is_true(v);
    return 0;
}

static int get_stop(struct api_parse *p, const json_t *v)
{
    const json_t *one = json_is_string(v) ? v : NULL;
    size_t n = one != NULL ? 1 : json_array_size(v);
    if (one == NULL && !json_is_array(v))
        return api_refuse(p, BASE_EFORMAT, "stop", "'stop' must be a string or a list of strings.");
    if (n > API_MAX_STOP)
        return api_refuse(p, BASE_ELIMIT, "stop", "'stop' has %zu entries; at most %d are taken.",
                          n, API_MAX_STOP);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = one != NULL ? one : json_array_get(v, i);
        if (!json_is_string(s) || json_string_length(s) == 0)
            return api_refuse(p, BASE_EFORMAT, "stop", "'stop' must hold non-empty strings.");
        int rc = api_copy_text(p, s, "stop", &p->r->stop[p->r->n_stop], NULL);
        if (rc != 0)
            return rc;
        p->r->n_stop++;
    }
    return 0;
}

static int get_metadata(struct api_parse *p, const json_t *v)
{
    if (!json_is_object(v))
        return api_refuse(p, BASE_EFORMAT, "metadata", "'metadata' must be an object of strings.");
    if (json_object_size(v) > API_MAX_META)
        return api_refuse(p, BASE_ELIMIT, "metadata", "'metadata' has more than %d entries.",
                          API_MAX_META);
    const char *key;
    json_t *s;
    json_object_foreach((json_t *)v, key, s)
    {
        if (!json_is_string(s) || json_string_length(s) > 512 || strlen(key) > 64)
            return api_refuse(
                p, BASE_EFORMAT, "metadata",
                "'metadata' takes strings of at most 512 bytes under keys of at most 64.");
    }
    int rc = 0;
    if ((s = json_object_get(v, "data_class")) != NULL)
        rc = api_copy_text(p, s, "metadata.data_class", &p->r->data_class, NULL);
    if (rc == 0 && (s = json_object_get(v, "route")) != NULL)
        rc = api_copy_text(p, s, "metadata.route", &p->r->hint, NULL);
    if (rc == 0 && (s = json_object_get(v, "session")) != NULL)
        rc = api_copy_text(p, s, "metadata.session", &p->r->session, NULL);
    if (rc == 0 && (s = json_object_get(v, "language")) != NULL)
        rc = api_copy_text(p, s, "metadata.language", &p->r->language, NULL);
    if (rc == 0 && (s = json_object_get(v, "deadline_ms")) != NULL) {
        int ms = 0, used = 0;
        if (sscanf(json_string_value(s), "%8d%n", &ms, &used) != 1 || ms < 1 ||
            json_string_value(s)[used] != '\0')
            return api_refuse(
                p, BASE_EFORMAT, "metadata.deadline_ms",
                "'metadata.deadline_ms' must be a whole number of milliseconds from 1.");
        p->r->deadline_ms = ms;
    }
    return rc;
}

static int get_logprobs(struct api_parse *p, const json_t *v)
{
    if (p->r->is_chat)
        return get_bool(p, v, "logprobs", &p->r->logprobs);
    int64_t n = 0;
    int rc = get_int(p, v, "logprobs", 0, API_MAX_TOP, &n);
    p->r->logprobs = rc == 0;
    p->r->n_top = (int)n;
    return rc;
}

static int get_stream_options(struct api_parse *p, const json_t *v)
{
    if (!json_is_object(v))
        return api_refuse(p, BASE_EFORMAT, "stream_options", "'stream_options' must be an object.");
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

static int one_field(struct api_parse *p, const char *key, const json_t *v)
{
    static const char *const neutral_only[] = {"n",
                                               "best_of",
                                               "echo",
                                               "suffix",
                                               "presence_penalty",
                                               "frequency_penalty",
                                               "logit_bias",
                                               "audio",
                                               "functions",
                                               "function_call"};
    static const char *const harmless[] = {"user", "store", "service_tier", "safety_identifier",
                                           "prompt_cache_key"};
    struct api_request *r = p->r;
    int64_t i = 0;
    int rc;
#define IS(name) (strcmp(key, name) == 0)
    if (IS("messages") && r->is_chat)
        return api_get_messages(p, v);
    if (IS("prompt") && !r->is_chat)
        return api_get_prompt(p, v);
    if (json_is_null(v))
        return 0;
    if (IS("model"))
        return api_copy_text(p, v, key, &r->model, NULL);
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
    if (IS("parallel_tool_calls"))
        return get_bool(p, v, key, &r->parallel);
    /* Read last: they speak of each other. */
    if (r->is_chat && (IS("tools") || IS("tool_choice") || IS("response_format")))
        return 0;
    if (IS("tools") || IS("tool_choice") || IS("response_format"))
        return is_neutral(key, v) ? 0
                                  : api_refuse(p, BASE_EUNSUPPORTED, key,
                                               "'%s' is for chat completions only.", key);
#undef IS
    for (size_t k = 0; k < sizeof neutral_only / sizeof neutral_only[0]; k++) {
        if (strcmp(key, neutral_only[k]) == 0)
            return is_neutral(key, v) ? 0
                                      : api_refuse(p, BASE_EUNSUPPORTED, key,
                                                   "'%s' is not supported with this value.", key);
    }
    for (size_t k = 0; k < sizeof harmless / sizeof harmless[0]; k++) {
        if (strcmp(key, harmless[k]) == 0)
            return 0;
    }
    char shown[64];
    snprintf(shown, sizeof shown, "%.60s", key);
    return api_refuse(p, BASE_EUNSUPPORTED, shown, "Unrecognised field '%s'.", shown);
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
    struct api_parse p = {.r = out, .a = a, .e = e};
    *out = (struct api_request){
        .is_chat = is_chat,
        .model = "",
        .max_tok = -1,
        .temperature = 1,
        .top_p = 1,
        .repeat_penalty = 1,
        .deadline_ms = -1,
        .tool_named = -1,
        .parallel = true,
    };
    memset(e, 0, sizeof *e);
    if (too_deep(body, len))
        return api_refuse(&p, BASE_ELIMIT, "", "The body is nested deeper than %d levels.",
                          API_MAX_DEPTH);
    json_error_t je;
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &je);
    if (root == NULL) {
        /* jansson quotes the text near the error: content, so it is left out. */
        size_t n = strcspn(je.text, "'\"");
        return api_refuse(&p, BASE_EFORMAT, "", "The body is not JSON: line %d column %d: %.*s.",
                          je.line, je.column, (int)n, je.text);
    }
    int rc = 0;
    const char *key;
    json_t *v;
    if (!json_is_object(root))
        rc = api_refuse(&p, BASE_EFORMAT, "", "The body must be a JSON object.");
    if (rc == 0)
        json_object_foreach(root, key, v)
        {
            rc = one_field(&p, key, v);
            if (rc != 0)
                break;
        }
    if (rc == 0 && is_chat)
        rc = api_get_tools(&p, root);
    const char *need = is_chat ? "messages" : "prompt";
    if (rc == 0 && out->n_msg == 0)
        rc = api_refuse(&p, BASE_EFORMAT, need, "'%s' is missing.", need);
    if (rc == 0 && is_chat && out->n_top > 0 && !out->logprobs)
        rc = api_refuse(&p, BASE_EFORMAT, "top_logprobs", "'top_logprobs' needs 'logprobs': true.");
    if (rc == 0 && out->include_usage && !out->stream)
        rc = api_refuse(&p, BASE_EFORMAT, "stream_options",
                        "'stream_options' needs 'stream': true.");
    json_decref(root);
    return rc;
}
