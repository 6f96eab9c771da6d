/* The routing policy's life: loaded at start, again on SIGHUP, when its files change and when the
 * API says so; what was good stays in force where the new one is not. A request takes a reference
 * when it begins and is decided, gated and logged by that policy to its end.
 *
 * Reading, verifying, compiling and flushing to the disk happen on a thread of their own, one at a
 * time; only the pointer is swapped on the loop's. All functions: the loop's thread. */
#ifndef EDGE_POLICY_H
#define EDGE_POLICY_H

#include "edge/caller.h"
#include "edge/config.h"
#include "net/local/loop.h"
#include "store/store.h"

struct edge_policy {
    const struct rt_policy *rt; /* never NULL */
    char label[128];            /* version and hash, for the header */
    uint64_t serial;
    struct edge_callers callers; /* that it declares: where the configuration knows nobody */
    struct store_policy own;
    int n_ref;
};
struct edge_policy *edge_policy_ref(struct edge_policy *p); /* NULL stays NULL */
void edge_policy_unref(struct edge_policy *p);

enum edge_policy_state {
    EDGE_POLICY_NONE,        /* no file is configured */
    EDGE_POLICY_OK,          /* what the file says is in force */
    EDGE_POLICY_KEPT,        /* the file is no good: the last good one is in force */
    EDGE_POLICY_ROLLED_BACK, /* the one before the last is in force because somebody said so */
    EDGE_POLICY_LOCAL_ONLY,  /* there is none that is good: nothing leaves */
};
const char *edge_policy_state_str(enum edge_policy_state s);

enum edge_policy_ask { EDGE_POLICY_LOAD, EDGE_POLICY_CHECK, EDGE_POLICY_ROLL_BACK };

/* How an asked-for job ended; the order is that of edge_policy_result_str. */
enum edge_policy_result {
    EDGE_POLICY_R_OK,
    EDGE_POLICY_R_UNCHANGED,
    EDGE_POLICY_R_UNREADABLE,
    EDGE_POLICY_R_BROKEN,
    EDGE_POLICY_R_SIGNATURE, /* or rights, or rolled back before */
    EDGE_POLICY_R_SERIAL,
    EDGE_POLICY_R_FAILED,
    EDGE_POLICY_N_RESULT
};
const char *edge_policy_result_str(enum edge_policy_result r);

/* What /readyz, /metrics and /v1/policy tell. */
struct edge_policy_info {
    enum edge_policy_state state;
    uint64_t generation;                  /* policies put into force since start */
    uint64_t ended[EDGE_POLICY_N_RESULT]; /* loads and roll-backs */
    bool have_last;
    enum edge_policy_result last;
    int64_t last_us;          /* real time */
    struct base_err last_err; /* with the place; code 0: none */
    bool unsaved;             /* the last good one could not be written down */
    bool shadow_broken;
};

struct edge_policies;

/* Loads what there is. A policy that is no good is no error here, but logged. BASE_ENOMEM. */
int edge_policies_open(struct edge_policies **out, const struct edge_config *c,
                       struct base_err *err) BASE_MUST_CHECK;
/* From now on jobs can be asked for, and files are watched. BASE_ENOMEM, BASE_EIO. */
int edge_policies_run(struct edge_policies *s, struct net_loop *l,
                      struct base_err *err) BASE_MUST_CHECK;
/* Ends the timer and waits for a job under way; before the loop is freed. NULL is fine. */
void edge_policies_stop(struct edge_policies *s);
void edge_policies_close(struct edge_policies *s); /* NULL is fine */

struct edge_policy *edge_policies_now(const struct edge_policies *s);    /* borrowed, never NULL */
struct edge_policy *edge_policies_shadow(const struct edge_policies *s); /* borrowed, or NULL */
const struct edge_policy_info *edge_policies_info(const struct edge_policies *s);

/* done is called once, in a later turn of the loop, unless edge_policies_forget(arg) comes first.
 * BASE_EBUSY: one is under way (a load is then done once more after it, without a callback);
 * BASE_ENOTFOUND: no file is configured; BASE_ENOMEM. */
typedef void edge_policy_done(void *arg, enum edge_policy_result r, const struct base_err *err);
int edge_policies_ask(struct edge_policies *s, enum edge_policy_ask ask, edge_policy_done *done,
                      void *arg) BASE_MUST_CHECK;
void edge_policies_forget(struct edge_policies *s, const void *arg);

/* For --check-config: FILE, and the shadow's, as they are now. */
int edge_policies_check(const struct edge_config *c, struct base_err *err) BASE_MUST_CHECK;

/* policy.key's entries. BASE_EINVAL. */
int edge_policy_keys(const struct edge_config *c, struct store_opt *o,
                     struct base_err *err) BASE_MUST_CHECK;

#endif
