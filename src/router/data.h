/* What a policy declares beside its rules: data for the programs that keep its state (budgets,
 * quotas, consents, share) and for tools. The router itself keeps none: the state comes back as facts
 * (struct rt_named), named here. All strings belong to the policy. */
#ifndef ROUTER_DATA_H
#define ROUTER_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "router/facts.h"

enum {
    RT_MAX_CALLER = 64,
    RT_MAX_BUDGET = 32,
    RT_MAX_CONSENT = 32,
    RT_MAX_SIGNAL = 64,
    RT_MAX_MOVE = 16,
};

struct rt_policy;

/* targets: where the data goes, as whom it must prove itself, and what it costs. */
struct rt_target_decl {
    const char *name;
    const char *where;    /* "eu", "cn", "owner", …; "" if not said */
    const char *identity; /* what the server must prove to be; "" if not said */
    bool prompt, hidden;  /* modes */
    bool have_price;
    double price_in, price_out; /* money per 10^6 tokens */
};
const struct rt_target_decl *rt_policy_target(const struct rt_policy *p, int i); /* rt_policy_n_target */

/* callers: who asks. The first entry whose given keys all fit is the caller. */
struct rt_caller_decl {
    const char *name;
    const char *socket;     /* name of the listening socket, or NULL: any */
    int64_t uid;            /* of the peer on a unix socket; -1: any */
    const char *key_sha256; /* of the API key, 64 hex digits, or NULL: any */
    const char *const *label; /* [n_label] classes it may declare, "x.*" for a subtree */
    int n_label;
    const char *seat;       /* fact caller.seat, or NULL */
    int priority;           /* 0 … 100 */
    int64_t quota_requests, quota_bytes; /* -1: none; facts caller.requests_left, caller.bytes_left */
    int64_t quota_s;        /* for so many seconds; 0: for the trip */
};
int rt_policy_n_caller(const struct rt_policy *p);
const struct rt_caller_decl *rt_policy_caller(const struct rt_policy *p, int i);

/* budgets: what may be used of something by requests that leave. */
enum rt_budget_unit { RT_BYTES, RT_REQUESTS, RT_MONEY, RT_JOULES };
enum rt_period { RT_TRIP, RT_HOUR, RT_DAY, RT_MONTH };
enum rt_scope { RT_VEHICLE, RT_SIM, RT_SEAT, RT_CALLER };
struct rt_budget_decl {
    const char *name;
    enum rt_budget_unit unit;
    double limit;
    enum rt_period period;
    enum rt_scope scope;
    uint64_t targets;  /* bit a target: whose requests it counts */
    const char *fact;  /* "budget.NAME.left", RT_FACT_REAL */
};
int rt_policy_n_budget(const struct rt_policy *p);
const struct rt_budget_decl *rt_policy_budget(const struct rt_policy *p, int i);

/* consents: what a person agreed to, and when that ends by itself. */
struct rt_consent_decl {
    const char *name;
    enum rt_period lapses; /* RT_TRIP: with the drive */
    const char *ask;       /* for people, or "" */
    bool has_hours; /* it counts only between these, both included; from > to: past midnight */
    int64_t from_minute, to_minute;
    uint8_t days;          /* bit 0: Monday; on which that time begins. 0: every day */
    const char *fact;      /* "consent.NAME", RT_FACT_BOOL */
};
int rt_policy_n_consent(const struct rt_policy *p);
const struct rt_consent_decl *rt_policy_consent(const struct rt_policy *p, int i);

/* signals: vehicle signals by VSS name; the name is the fact's. */
struct rt_signal_decl {
    const char *name; /* "Vehicle.Speed" */
    enum rt_fact_type type;
    const char *unit;
    int64_t max_age_ms;
};
int rt_policy_n_signal(const struct rt_policy *p);
const struct rt_signal_decl *rt_policy_signal(const struct rt_policy *p, int i);

/* share: which fraction of requests the device shall finish, and which thresholds may move for it. The
 * present place of a threshold is the fact; without it, or outside the limits, the rule's own value or
 * the nearer limit holds. */
struct rt_move_decl {
    const char *rule; /* whose threshold */
    const char *asks; /* the fact that the threshold tests */
    double value, min, max;
    bool opens;       /* a higher threshold lets the rule match more often */
    const char *fact; /* "share.RULE", RT_FACT_REAL */
};
struct rt_share_decl {
    double edge;  /* 0 … 1; < 0: the policy states no share */
    int64_t over; /* of so many last requests */
    int n_move;
    struct rt_move_decl move[RT_MAX_MOVE];
};
const struct rt_share_decl *rt_policy_share(const struct rt_policy *p);

/* Egress: for each class of the tree, the pairs (mode, target) that some combination of facts can
 * reach, and those that `classes` permits. Always reach within permits: the compiler refuses more. */
struct rt_pairs {
    uint64_t prompt, hidden; /* bit a target */
};
struct rt_class_decl {
    const char *name;
    bool below; /* the row speaks of the classes below name that the policy does not mention */
    bool declared;
    struct rt_pairs permits, reach;
    const char *because; /* or "" */
};
int rt_policy_n_class(const struct rt_policy *p);
const struct rt_class_decl *rt_policy_class(const struct rt_policy *p, int i);
/* What `classes` permits for a class by name, as the gate may ask once more. */
struct rt_pairs rt_policy_permits(const struct rt_policy *p, const char *cls);
/* The table, for people (Markdown) or as JSON. Errors: those of the buffer. */
int rt_policy_reach(const struct rt_policy *p, bool json, struct base_buf *out) BASE_MUST_CHECK;

#endif
