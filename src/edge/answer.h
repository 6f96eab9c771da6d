/* The one answer of a request: tokens or text go in, chunks or one JSON body go out, with headers
 * that tell the route as it is when the first token comes. Part of struct edge_req; loop thread. */
#ifndef EDGE_ANSWER_H
#define EDGE_ANSWER_H

#include <stdbool.h>

#include "api/chat.h"
#include "base/buf.h"
#include "engine/sample.h"
#include "engine/text.h"

struct edge_req;
struct edge_call;

enum { EDGE_TIER_EDGE = 1, EDGE_TIER_CLOUD = 2 };

struct edge_answer {
    unsigned tier;             /* bits: who made tokens so far */
    int n_tok;                 /* tokens (from a prompt target: deltas, or what it said) */
    int prompt_tok_cloud;      /* as the prompt target counted; 0: it did not say */
    int cached_tok;            /* of the prompt: the engine did not compute them again */
    int64_t first_us, last_us; /* monotonic; 0: no token yet */
    uint64_t first_bytes;      /* released when the first token came */
    bool begun;                /* the client has got headers: no other status can be given */
    bool role_sent;
    struct eng_text *decode; /* made when the first token comes */
    struct base_buf text;    /* everything shown so far */
    struct base_buf out;     /* scratch */
    struct api_scan *scan;   /* reads calls out of our own text; NULL: nobody asked for any */
    struct base_buf content; /* with scan: what of text is no call */
    struct edge_call *call;  /* [n_call] */
    int n_call;
    struct api_logprob *lp;  /* of tokens not yet sent (streaming) or of all */
    int n_lp, cap_lp;
};

void edge_answer_init(struct edge_answer *a, size_t max_text_bytes);
void edge_answer_fini(struct edge_answer *a);

/* One more token, made by the tiers in `tier`. Returns true when the request has ended by it (end
 * token, stop string, length, memory): the executor is already stopped. */
bool edge_answer_token(struct edge_req *r, const struct eng_pick *p, unsigned tier);

/* The same for text from a prompt target. */
bool edge_answer_text(struct edge_req *r, const char *text, size_t len) BASE_MUST_CHECK;

/* The same for a piece of call number `index` from a prompt target: it begins with a name. Calls come
 * one after another; BASE_EPROTO in *rc, with nothing done: they do not. */
bool edge_answer_call(struct edge_req *r, int index, const struct api_call *piece,
                      int *rc) BASE_MUST_CHECK;

/* The device's only call, whole, of n_tok tokens: the answer is over with it. */
void edge_answer_whole_call(struct edge_req *r, const char *name, const char *args, size_t len,
                            int n_tok);

/* For request.c only: sends the end. */
void edge_answer_finish(struct edge_req *r, const char *finish_reason);
void edge_answer_fail(struct edge_req *r, const struct api_error *err);

const char *edge_tier_str(unsigned tier);

#endif
