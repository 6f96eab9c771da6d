/* Case files: three lines a case (the rule that decides, the facts, what is decided), an empty line
 * between cases, # comments. One thread. */
#ifndef ROUTER_CASES_H
#define ROUTER_CASES_H

#include "router/given.h"

/* What a case's third line says: "local", "prompt cloud else local", "hidden cloud layer 10 tail
 * cloud f16 else local". Cut to fit; returns out. */
enum { RT_DECISION_BYTES = 256 };
const char *rt_decision_text(const struct rt_decision *d, char out[RT_DECISION_BYTES]);

struct rt_case {
    int line;         /* of its first line, from 1 */
    const char *rule; /* [rule_bytes], as in the text, without the end of line; so are the others */
    const char *facts;
    const char *want;
    size_t rule_bytes, facts_bytes, want_bytes;
};

struct rt_cases {
    const char *text; /* [len], borrowed */
    size_t len, at;
    int line;
};

/* The next case. 1: there is one; 0: no more; BASE_EFORMAT: not three lines (err says which line;
 * the next call goes on behind it). Start with {text, len, 0, 0}. */
int rt_cases_next(struct rt_cases *r, struct rt_case *out, struct base_err *err) BASE_MUST_CHECK;

#endif
