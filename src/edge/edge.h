/* The daemon's parts, put together by main.c. One thread, the loop's; the engine has its own behind
 * eng_sched. */
#ifndef EDGE_EDGE_H
#define EDGE_EDGE_H

#include "edge/adapter.h"
#include "edge/cabin.h"
#include "edge/caller.h"
#include "edge/config.h"
#include "edge/energy.h"
#include "edge/metrics.h"
#include "edge/outlook.h"
#include "edge/policy.h"
#include "edge/share.h"
#include "engine/sched.h"
#include "net/local/http.h"
#include "net/local/loop.h"
#include "router/detect.h"
#include "router/router.h"

struct edge_req;
struct edge_uplink;
struct edge_dlog;
struct edge_history;
struct edge_signals;
struct edge_device;
struct edge_usage;

enum { EDGE_FLUSH_US = 50000 }; /* on the way down: for last answers to reach the kernel */

enum { EDGE_N_COMMON = 2 };

struct edge {
    struct edge_config cfg;
    struct edge_callers callers;
    const char *model_name;

    struct net_loop *loop;
    struct net_http *http;
    struct eng_model *model;
    struct edge_adapters adapters;
    struct edge_cabin cabin;
    struct eng_conf *conf; /* of general answers; NULL: model.confidence is a mean probability */
    const struct eng_chat_format *chat;
    struct eng_vocab *vocab; /* NULL until somebody asks for a form */
    struct eng_job *common[EDGE_N_COMMON]; /* hold the beginning of commands' prompts, with the cabin's
                                              adapter and without; NULL: none */
    size_t max_prompt_bytes; /* above it no text fits into the context */
    struct eng_sched *sched;
    struct net_watch *sched_watch;

    struct edge_policies *policies;
    struct edge_history *history;
    struct edge_signals *signals;
    struct edge_device *device;
    struct edge_usage *usage;
    struct edge_share share;
    struct edge_energy energy;
    uint64_t n_energy_gap; /* of energy, that the budgets know of */
    struct edge_outlook outlook; /* of the targets */
    struct rt_detect *detect;

    struct edge_uplink *uplink; /* NULL: nothing can leave */
    struct edge_dlog *dlog;     /* NULL: none */
    struct edge_metrics metrics;

    struct edge_req *req_head;              /* every request that is not freed */
    int n_req;                              /* accepted and not yet answered */
    struct edge_req *wait_head, *wait_tail; /* for a session, in order */
    int n_wait, n_session;                  /* waiting; sessions in use */
    struct net_timer *later;                /* frees ended requests, starts waiting ones */
    bool draining;
    struct net_timer *drain;
};

#endif
