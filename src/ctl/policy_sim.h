/* Replaying recorded requests through a policy, conversation by conversation: what it would decide,
 * and what that would take. One thread.
 *
 * What can't be known is predicted, in this order: what the record says, where the route was the
 * same; the prediction in its facts; the mean of the records so far on that route; else it is not
 * told. */
#ifndef CTL_POLICY_SIM_H
#define CTL_POLICY_SIM_H

#include "base/buf.h"
#include "ctl/policy_log.h"
#include "router/data.h"

enum { SIM_LOCAL, SIM_REFUSE, SIM_LEAVE, SIM_MAX_ROUTE = SIM_LEAVE + 2 * RT_MAX_TARGET };
enum sim_source { SIM_RECORDED, SIM_FACT, SIM_MEAN, SIM_UNKNOWN, SIM_N_SOURCE };

struct sim_sum {
    double sum;
    int64_t n;
};

struct sim_route { /* local, refuse, or a mode and a target */
    int64_t n;
    struct base_buf ms; /* float each: predicted times */
    struct sim_sum time, bytes, money, quality;
    struct sim_sum log_ms, log_bytes, log_tok; /* as recorded, whatever the policy decides */
};

struct sim_budget {
    double most;      /* used in the fullest of its periods */
    int64_t n_period; /* periods and scopes seen */
    int64_t n_spent;  /* decisions that found nothing left */
};

struct sim_side {
    const char *path;
    struct rt_policy *p;
    int64_t *by_rule; /* [n_rule + 1], the last: no rule */
    int64_t n, n_hint;
    int64_t n_source[SIM_N_SOURCE]; /* of the times */
    struct sim_route route[SIM_MAX_ROUTE];
    struct sim_budget budget[RT_MAX_BUDGET];
};

/* A group of requests that the second policy decides otherwise. */
struct sim_change {
    int rule[2]; /* -1: none */
    struct rt_decision d[2];
    int64_t n, line; /* of the first */
    char id[CTL_ID_BYTES];
};

/* What a decision on a record would take. */
struct sim_take {
    double ms, bytes, money; /* NAN: not known */
    enum sim_source source;  /* of ms */
};
/* f: the facts as the policy met them. */
struct sim_take ctl_sim_predict(const struct sim_side *side, const struct rt_facts *f,
                                const struct ctl_record *r, const struct rt_decision *d);
/* What the record says of its own route, for the means of later ones. */
void ctl_sim_learn(struct sim_side *side, const struct ctl_record *r);
/* Index into sim_side.route; -1: the policy has no such target. */
int ctl_sim_route(const struct rt_policy *p, enum rt_mode mode, const char *target);

struct ctl_sim;

/* Borrows the policies; b NULL: one. Errors: BASE_ENOMEM. */
int ctl_sim_open(struct ctl_sim **out, struct rt_policy *a, struct rt_policy *b) BASE_MUST_CHECK;
void ctl_sim_close(struct ctl_sim *s);

/* One record through both. changed (may be NULL): whether they decide differently; d[2] what.
 * Errors: BASE_ENOMEM. */
int ctl_sim_add(struct ctl_sim *s, struct ctl_record *r, bool *changed,
                struct rt_decision d[2]) BASE_MUST_CHECK;

struct sim_side *ctl_sim_side(struct ctl_sim *s, int i);
int64_t ctl_sim_n_session(const struct ctl_sim *s);
/* Records whose logged decision the first policy makes too, of those with one. */
struct sim_sum ctl_sim_as_logged(const struct ctl_sim *s);
/* The groups, most requests first. */
const struct sim_change *ctl_sim_changes(struct ctl_sim *s, int *n);

/* policy_sim_report.c: the whole, for people or as JSON. */
void ctl_sim_text(struct ctl_sim *s, int n_side, bool all, bool colour, struct base_buf *out);
json_t *ctl_sim_json(struct ctl_sim *s, int n_side);

#endif
