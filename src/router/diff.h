/* Two policies compared by what they decide, not by their text: for each pair of rules (one of each
 * policy, or none) that can decide the same facts differently, facts that show it. Pure; one
 * thread.
 *
 * Facts are taken as independent of each other, and as the edge gives them: each target has its own
 * link, a text fact with a list of words has one of these. Contexts have at most RT_MAX_CLASS
 * classes. A share moves no threshold here: each stands where its file says. */
#ifndef ROUTER_DIFF_H
#define ROUTER_DIFF_H

#include "router/router.h"

struct rt_diff_change {
    struct rt_decision a, b;
    const struct rt_facts
        *witness;      /* rt_decide gives a and b; valid during the call, as is all else */
    const char *where; /* the region around it, in words: whatever it doesn't name doesn't matter */
};

struct rt_diff_sum {
    int n_change;
    int n_open;     /* pairs of rules that the effort did not settle: then the list may lack some */
    int n_pair;     /* pairs with different outcomes that were looked at */
    int64_t effort; /* conditions evaluated */
};

/* Calls found for each change until it returns non-zero, which is then returned. effort: most
 * conditions to evaluate. Errors: BASE_ENOMEM, BASE_ELIMIT (more than 512 kinds of classes),
 * BASE_EUNSUPPORTED (a fact of the policies' own with two types). */
int rt_diff(const struct rt_policy *a, const struct rt_policy *b, int64_t effort,
            int (*found)(void *ctx, const struct rt_diff_change *c), void *ctx,
            struct rt_diff_sum *sum, struct base_err *err) BASE_MUST_CHECK;

#endif
