/* A request's life: accepted, labelled, decided, carried out by an executor, answered exactly once.
 * Everything that a request owns hangs on struct edge_req. Loop thread only.
 *
 * Ending is deferred: edge_req_finish, _fail and a client's disconnect stop the executor and mark
 * the request ended; its memory goes a turn of the loop later. So a callback may end its own
 * request, and must return at once when a function here says that it is over. */
#ifndef EDGE_REQUEST_H
#define EDGE_REQUEST_H

#include "api/chat.h"
#include "base/arena.h"
#include "edge/answer.h"
#include "edge/edge.h"
#include "edge/history.h"

enum { EDGE_ID_MAX = 64 };

/* How a decision is carried out. start: begins; a session is granted if needs_session. stop: drops
 * engine and uplink work now; called once, and never calls back. */
struct edge_exec {
    bool needs_session;
    void (*start)(struct edge_req *r);
    void (*stop)(struct edge_req *r);
    void (*silent)(struct edge_req *r); /* the cloud lost our patience; NULL: never awaits it */
};
extern const struct edge_exec edge_exec_local, edge_exec_prompt, edge_exec_hidden;
extern const struct edge_exec edge_exec_command, edge_exec_call; /* exec_command.c */

struct edge_req {
    struct edge *e;
    struct net_req *http; /* NULL: answered or the client is gone */
    struct base_arena arena;
    struct api_request api;

    char id[EDGE_ID_MAX + 1]; /* x-request-id */
    uint8_t decision_id[16];  /* ours, random: joins the decision log and the ledger */
    char completion_id[48];   /* "chatcmpl-…" */
    const struct edge_caller *caller;
    char cache_key[EDGE_CACHE_KEY_MAX];
    int64_t start_us, created_us; /* monotonic, real */
    int64_t deadline_us;          /* monotonic */
    struct net_timer *deadline;
    struct net_timer *patience; /* with a cloud that owes us something */

    struct edge_policy *policy; /* held from beginning to end */
    struct edge_policy *shadow; /* decides beside it; NULL: none */
    struct edge_turn turn; /* of its conversation */
    struct rt_facts facts;
    struct rt_decision dec, shadow_dec;
    enum rt_mode route;    /* as it is being carried out: a fallback changes it */
    char fallback_why[96]; /* "" or why the route was left */

    const char *model_name;      /* the model's own, or of the adapter that was asked for */
    const struct eng_lora *lora; /* NULL: none */
    struct api_syntax syntax; /* how the model writes calls */
    struct eng_grammar *form; /* of the answer; NULL: free */
    bool form_free;           /* only from a call's beginning on */
    int32_t *prompt;       /* [n_prompt], owned */
    struct edge_command *command; /* what the cabin makes of it; NULL: it is not asked */
    int n_prompt, max_new; /* tokens */

    const struct edge_exec *exec; /* NULL: none runs */
    void *x;                      /* the executor's own */
    bool started, has_session, is_waiting;
    struct edge_energy_mark energy; /* while started */
    double joules;                  /* of the times before */
    bool joules_lost;               /* some of them could not be measured */
    struct edge_req *wait_next;

    struct edge_answer answer;
    int64_t left_us;         /* monotonic: the gate opened for it, the last time; 0: never */
    uint64_t released_bytes; /* through the gate */
    uint64_t out_bytes;      /* less what the uplink says never left the car */
    bool ended, completed;   /* answered or gone; with a whole answer */
    struct edge_req *next, *prev;
};

/* Takes an HTTP request that is meant for the model. Always answers it in the end. */
void edge_req_accept(struct edge *e, struct net_req *http, bool is_chat);

/* The answer is complete. finish_reason: "stop" or "length"; with calls in it "stop" is shown as
 * "tool_calls". */
void edge_req_finish(struct edge_req *r, const char *finish_reason);

/* No answer, or no more of it: an error object, or an error event if the answer has begun. */
void edge_req_fail(struct edge_req *r, const struct api_error *err);
void edge_req_fail_f(struct edge_req *r, int status, const char *type, const char *code,
                     const char *fmt, ...) BASE_PRINTF(5, 6);

/* The escalation went wrong (why: for the log and the decision log, no content). Goes on locally if
 * the decision's fallback is local, else ends the request. The executor has been stopped. */
void edge_req_fall_back(struct edge_req *r, const struct base_err *why);

/* The same for an executor that goes on by itself: only notes it. false: the fallback is not local,
 * and the request has been failed. */
bool edge_req_note_fall_back(struct edge_req *r, const struct base_err *why);

/* Replaces the executor (stopping the present one) and starts it, perhaps after waiting for a
 * session. */
void edge_req_run(struct edge_req *r, const struct edge_exec *x);

/* An executor starts (again) or ends to wait for the cloud: after uplink.patience_ms without a word
 * its `silent` is called. Stopping it ends the wait. */
void edge_req_await_cloud(struct edge_req *r, bool waits);

/* Decides again with more facts. true if the outcome is now to be carried out elsewhere; the caller
 * then calls edge_req_carry_out. */
bool edge_req_decide(struct edge_req *r);
void edge_req_carry_out(struct edge_req *r);

/* Whether the model is told of the request's functions, and its text is read for calls. Not where
 * the cabin was asked: it has said already that none is meant. */
static inline bool edge_req_told_tools(const struct edge_req *r)
{
    return r->command == NULL && api_tools_active(&r->api);
}

/* The engine could not do it: 503 or 500. */
void edge_req_engine_failed(struct edge_req *r, const struct base_err *err);

/* Milliseconds until the deadline, at least 1. */
uint32_t edge_req_left_ms(const struct edge_req *r);

/* Sampling as the caller asked for it. */
void edge_req_sampling(const struct edge_req *r, struct eng_sample_params *out);

/* Ends every open request with 503 (shutdown). */
void edge_req_fail_all(struct edge *e, const char *why);

/* The loop's later-timer. */
void edge_req_housekeeping(void *edge);

#endif
