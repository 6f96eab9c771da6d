/* The OpenAI API's JSON <-> structs, shared by the edge and the cloud stub. Pure: no sockets, no
 * clock. Limits first: depth, counts and lengths are checked and every refusal says which field. */
#ifndef API_CHAT_H
#define API_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/tools.h"
#include "base/arena.h"

enum {
    API_MAX_MSG = 256,
    API_MAX_STOP = 4,
    API_MAX_META = 16,
    API_MAX_TOP = 20,
};

struct api_msg {
    const char *role;
    const char *content;
    size_t len;
    struct api_call *call; /* [n_call], an assistant's */
    int n_call;
    const char *call_id; /* a tool's: the call that it answers; else NULL */
};

struct api_request {
    bool is_chat;        /* /v1/chat/completions, else /v1/completions */
    const char *model;   /* "" if absent */
    struct api_msg *msg; /* [n_msg]; completions: one, role "" and the prompt */
    int n_msg;
    bool stream, include_usage;
    int max_tok; /* -1: not given */
    float temperature, top_p, min_p, repeat_penalty;
    int top_k;
    uint64_t seed;
    bool have_seed;
    const char *stop[API_MAX_STOP];
    int n_stop;
    bool logprobs;
    int n_top;
    struct api_tool *tool; /* [n_tool] */
    int n_tool, tool_named; /* tool_named: the one that must be called, or -1 */
    enum api_choice choice;
    bool parallel;           /* several calls in one answer may be */
    enum api_format format;
    const char *format_json; /* response_format as it came; NULL: text */
    const char *words;       /* [words_len] every text and number in functions, calls and format */
    size_t words_len;
    int64_t deadline_ms;    /* metadata.deadline_ms; -1: none */
    const char *data_class; /* metadata.data_class; NULL: none */
    const char *hint;       /* metadata.route; NULL: none */
    const char *session;    /* metadata.session; NULL: none */
    const char *language;   /* metadata.language; NULL: none */
    size_t content_bytes;
};

/* What OpenAI's error object carries, and the HTTP status that goes with it. */
struct api_error {
    int status; /* 400, 404, 413, 429, 500, 503, … */
    char message[384];
    const char *type; /* "invalid_request_error", "rate_limit_error", "server_error", … */
    char param[160];   /* "" -> null */
    const char *code; /* "context_length_exceeded", … or NULL -> null */
};

/* body -> *out, all memory from the arena. is_chat chooses the shape. Returns 0 or BASE_EFORMAT,
 * BASE_ELIMIT, BASE_EUNSUPPORTED, BASE_ENOMEM with *e filled. */
int api_request_parse(struct api_request *out, struct base_arena *a, bool is_chat, const char *body,
                      size_t len, struct api_error *e) BASE_MUST_CHECK;

/* A request for the next tier: model, messages, sampling, stream; never metadata or the caller. */
int api_request_write(const struct api_request *r, struct base_buf *out) BASE_MUST_CHECK;

/* How this answer was routed: the `waypost` object. Any pointer may be NULL (left out). */
struct api_route {
    const char *route, *rule, *tier, *policy, *because;
    const char *intent;  /* function that the device understood, or none */
    const char *vss;     /* signal of the device's call */
    double confidence;   /* in the intent; below 0: not known */
    uint64_t bytes_out; /* bytes that left the car */
    int64_t first_token_us, total_us;
};

struct api_logprob {
    const char *token; /* bytes of the piece */
    size_t len;
    float logprob;
    int n_top;
    struct {
        const char *token;
        size_t len;
        float logprob;
    } top[API_MAX_TOP];
};

/* The head of every response object of one request. */
struct api_head {
    bool is_chat;
    const char *id; /* "chatcmpl-…" */
    const char *model;
    int64_t created_s;
};

struct api_usage {
    int prompt_tok, completion_tok;
    int cached_tok; /* of prompt_tok: known from an earlier request; -1: nobody can tell */
};

/* One SSE event `data: {…}\n\n`. The first chunk carries the role (first = true), the last the
 * finish_reason and the route. lp may be NULL. Text is UTF-8. */
int api_chunk_write(const struct api_head *h, bool first, const char *text, size_t len,
                    const struct api_logprob *lp, int n_lp, const char *finish_reason,
                    const struct api_route *route, struct base_buf *out) BASE_MUST_CHECK;
int api_usage_chunk_write(const struct api_head *h, const struct api_usage *u,
                          struct base_buf *out) BASE_MUST_CHECK;
int api_done_write(struct base_buf *out) BASE_MUST_CHECK; /* data: [DONE] */

/* The same for a piece of call number `call`, which begins (c->id, c->name) or goes on (c->args). */
int api_call_chunk_write(const struct api_head *h, bool first, int call, const struct api_call *c,
                         const struct api_logprob *lp, int n_lp, struct base_buf *out) BASE_MUST_CHECK;

/* The whole answer when not streaming. Without text but with calls its content is null. */
int api_response_write(const struct api_head *h, const char *text, size_t len,
                       const struct api_call *call, int n_call, const struct api_logprob *lp, int n_lp,
                       const char *finish_reason, const struct api_usage *u,
                       const struct api_route *route, struct base_buf *out) BASE_MUST_CHECK;

/* {"error":{…}}, with the `waypost` object beside it if route is given; sse = as an SSE event. */
int api_error_write(const struct api_error *e, const struct api_route *route, bool sse,
                    struct base_buf *out) BASE_MUST_CHECK;
int api_models_write(const char *const *model, int n, int64_t created_s,
                     struct base_buf *out) BASE_MUST_CHECK;

#endif
