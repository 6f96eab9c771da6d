/* Server-sent events from an OpenAI-compatible server -> deltas. The far side is not trusted: sizes
 * are capped, anything that is not understood is an error, nothing is guessed. */
#include "api/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/json.h"

struct api_stream {
    struct base_buf in;    /* bytes not yet taken */
    struct base_buf event; /* the data lines of the event being read */
    bool has_data;
    json_t *held; /* owns what the last delta points to */
    char finish[32];
};

struct api_stream *api_stream_new(size_t max_event_bytes)
{
    struct api_stream *s = calloc(1, sizeof *s);
    if (s != NULL) {
        base_buf_init(&s->in, 2 * max_event_bytes);
        base_buf_init(&s->event, max_event_bytes);
    }
    return s;
}

void api_stream_free(struct api_stream *s)
{
    if (s == NULL)
        return;
    base_buf_fini(&s->in);
    base_buf_fini(&s->event);
    json_decref(s->held);
    free(s);
}

int api_stream_feed(struct api_stream *s, const void *p, size_t n)
{
    return base_buf_add(&s->in, p, n);
}

/* Far above any model's context, and the sum of two is still an int. */
enum { USAGE_MAX_TOK = 1 << 28 };

static int read_usage(const json_t *u, struct api_delta *d)
{
    const json_t *p = json_object_get(u, "prompt_tokens"),
                 *c = json_object_get(u, "completion_tokens");
    if (!json_is_object(u))
        return 0;
    if (!json_is_integer(p) || !json_is_integer(c) || json_integer_value(p) < 0 ||
        json_integer_value(c) < 0 || json_integer_value(p) > USAGE_MAX_TOK ||
        json_integer_value(c) > USAGE_MAX_TOK)
        return BASE_EFORMAT;
    d->has_usage = true;
    d->usage.prompt_tok = (int)json_integer_value(p);
    d->usage.completion_tok = (int)json_integer_value(c);
    return 0;
}

/* Pieces of calls. A server may leave out the index of the only one. */
static int read_calls(const json_t *list, struct api_delta *d)
{
    size_t i;
    json_t *v;
    if (list == NULL || json_is_null(list))
        return 0;
    if (!json_is_array(list) || json_array_size(list) > API_MAX_CALL)
        return BASE_EFORMAT;
    json_array_foreach((json_t *)list, i, v)
    {
        const json_t *index = json_object_get(v, "index"), *id = json_object_get(v, "id"),
                     *f = json_object_get(v, "function"), *name = json_object_get(f, "name"),
                     *args = json_object_get(f, "arguments");
        const json_int_t at = index != NULL ? json_integer_value(index) : (json_int_t)i;
        struct api_call *c = &d->call[d->n_call].piece;
        if ((index != NULL && !json_is_integer(index)) || at < 0 || at >= API_MAX_CALL ||
            (args != NULL && !json_is_null(args) && !json_is_string(args)) ||
            json_string_length(id) > API_MAX_CALL_ID || json_string_length(name) > API_MAX_NAME)
            return BASE_EFORMAT;
        d->call[d->n_call++].index = (int)at;
        /* Some repeat an empty name in each piece. */
        *c = (struct api_call){json_string_length(id) > 0 ? json_string_value(id) : NULL,
                               json_string_length(name) > 0 ? json_string_value(name) : NULL,
                               json_is_string(args) ? json_string_value(args) : "",
                               json_string_length(args)};
    }
    return 0;
}

static int read_event(struct api_stream *s, struct api_delta *d)
{
    static const char done[] = "[DONE]";
    if (s->event.len == sizeof done - 1 && memcmp(s->event.data, done, sizeof done - 1) == 0) {
        d->done = true;
        return 1;
    }
    json_decref(s->held);
    s->held = json_loadb((const char *)s->event.data, s->event.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(s->held))
        return BASE_EFORMAT;
    const json_t *err = json_object_get(s->held, "error");
    if (json_is_object(err)) {
        const char *m = json_string_value(json_object_get(err, "message"));
        d->is_error = true;
        snprintf(d->error, sizeof d->error, "%s", m != NULL ? m : "");
        return 1;
    }
    if (read_usage(json_object_get(s->held, "usage"), d) != 0)
        return BASE_EFORMAT;
    const json_t *choice = json_array_get(json_object_get(s->held, "choices"), 0);
    if (choice == NULL)
        return 1;
    const json_t *delta = json_object_get(choice, "delta");
    const json_t *text =
        delta != NULL ? json_object_get(delta, "content") : json_object_get(choice, "text");
    if (json_is_string(text)) {
        d->text = json_string_value(text);
        d->len = json_string_length(text);
    } else if (text != NULL && !json_is_null(text)) {
        return BASE_EFORMAT;
    }
    if (read_calls(json_object_get(delta, "tool_calls"), d) != 0)
        return BASE_EFORMAT;
    const char *f = json_string_value(json_object_get(choice, "finish_reason"));
    if (f != NULL) {
        snprintf(s->finish, sizeof s->finish, "%s", f);
        d->finish_reason = s->finish;
    }
    return 1;
}

/* Takes one line (without its end) into the event. 1: the event is complete. */
static int take_line(struct api_stream *s, const char *line, size_t n)
{
    if (n == 0)
        return s->has_data;
    if (n < 5 || memcmp(line, "data:", 5) != 0)
        return 0; /* comments and fields that we do not use */
    line += 5;
    n -= 5;
    if (n > 0 && *line == ' ') {
        line++;
        n--;
    }
    if (s->has_data)
        base_buf_str(&s->event, "\n");
    s->has_data = true;
    return base_buf_add(&s->event, line, n);
}

int api_stream_next(struct api_stream *s, struct api_delta *d)
{
    *d = (struct api_delta){.text = ""};
    if (s->in.err != 0)
        return BASE_EFORMAT;
    size_t at = 0;
    int rc = 0;
    while (rc == 0 && at < s->in.len) {
        const char *line = (const char *)s->in.data + at;
        const char *nl = memchr(line, '\n', s->in.len - at);
        if (nl == NULL)
            break;
        size_t n = (size_t)(nl - line);
        at += n + 1;
        if (n > 0 && line[n - 1] == '\r')
            n--;
        rc = take_line(s, line, n);
    }
    base_buf_consume(&s->in, at);
    if (rc == 1) {
        rc = read_event(s, d);
        base_buf_reset(&s->event);
        s->has_data = false;
    }
    return rc < 0 ? BASE_EFORMAT : rc;
}
