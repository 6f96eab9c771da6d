/* Conversations of a replayed log: what their turns have brought, and what each policy would have
 * let out. One thread. */
#ifndef CTL_POLICY_TALK_H
#define CTL_POLICY_TALK_H

#include "base/arena.h"
#include "ctl/policy_log.h"

struct classes {
    const char *at[RT_MAX_CLASS + 1]; /* [n], kept by ctl_talks */
    int n;                            /* RT_MAX_CLASS + 1: more than fit */
};

struct word;
struct talk;

struct ctl_talks {
    const struct rt_policy *p[2]; /* [n_policy], borrowed */
    int n_policy;
    struct word *words;
    struct talk *talks;
    int64_t n;
    struct base_arena *arena; /* borrowed */
};
void ctl_talks_fini(struct ctl_talks *s);

/* The record's conversation, with its labels added; *out NULL: it belongs to none. *before: the
 * classes of earlier turns. Errors: BASE_ENOMEM. */
int ctl_talk_find(struct ctl_talks *s, const struct ctl_record *r, struct talk **out,
                  struct classes *before) BASE_MUST_CHECK;

/* The record's facts as policy i would have met them: with the conversation's labels, and with what
 * it would have done before. Borrows t, before and link, which has room for RT_MAX_TARGET. */
void ctl_talk_facts(const struct ctl_talks *s, int i, struct talk *t, struct classes *before,
                    struct rt_facts *f, struct rt_target_link *link);

/* Policy i decided d; after the last policy, ctl_talk_turn. Errors: BASE_ENOMEM. */
int ctl_talk_end(struct ctl_talks *s, int i, struct talk *t,
                 const struct rt_decision *d) BASE_MUST_CHECK;
void ctl_talk_turn(struct talk *t);

/* Index of a policy's target, -1: none. */
int ctl_sim_target(const struct rt_policy *p, const char *name);

#endif
