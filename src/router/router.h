/* The router: policy text -> compiled policy; (policy, facts) -> decision + reason. Pure: no I/O, no
 * clock, no allocation in rt_decide. A compiled policy is const: any thread.
 *
 * What is promised: no policy, a fact that can't be had, or a rule that does not name the request's
 * data classes, the mode and the target decides `local`. Data without a label is class `cabin`. */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "router/codes.h"
#include "router/data.h"
#include "router/facts.h"

enum {
    RT_MAX_RULE = 8192,
    RT_MAX_TARGET = 64,
    RT_MAX_TEXT_BYTES = 2 << 20, /* of all sources together: 8192 rules of 256 bytes */
    RT_MAX_SOURCE = 16,
    RT_MAX_DIAG = 64,
};

/* Where byte `at` of a text stands: line and column from 1, the column in characters. */
void rt_text_place(const char *text, size_t at, int *line, int *col);

enum rt_mode { RT_LOCAL, RT_PROMPT, RT_HIDDEN, RT_REFUSE };
const char *rt_mode_str(enum rt_mode m); /* "local", "prompt", "hidden", "refuse" */
enum rt_tail { RT_TAIL_CLOUD, RT_TAIL_EDGE };
enum rt_dtype { RT_F32, RT_F16, RT_I8 };

/* One finding of the compiler. */
struct rt_diag {
    int line, col; /* from 1 */
    bool warning;
    enum rt_code code;
    char file[72]; /* the source's name; "" if there is but one text */
    char msg[256]; /* what and what to do */
};

struct rt_diags {
    struct rt_diag at[RT_MAX_DIAG];
    int n;            /* kept */
    int n_error;      /* seen */
    const char *file; /* the compiler's own: the source being read */
};

struct rt_policy;

/* Errors: BASE_EFORMAT (see diags), BASE_ELIMIT, BASE_ENOMEM. Warnings alone are no error. */
int rt_policy_compile(struct rt_policy **out, const char *text, size_t len, struct rt_diags *diags)
    BASE_MUST_CHECK;
void rt_policy_free(struct rt_policy *p);

/* A policy of several files: src[0] is the one given, the others those that `include:` names, in any
 * order, by the name written there. What wins: docs/policy.md. Errors: as rt_policy_compile. */
struct rt_source {
    const char *name;
    const char *text;
    size_t len;
};
int rt_policy_compile_sources(struct rt_policy **out, const struct rt_source *src, int n,
                              struct rt_diags *diags) BASE_MUST_CHECK;
/* The names that a text includes itself, in order; none if it can't be read. cb's non-zero ends it.
 * Errors: BASE_ENOMEM, and what cb returned. */
int rt_policy_includes(const char *text, size_t len, int (*cb)(void *ctx, const char *name),
                       void *ctx) BASE_MUST_CHECK;

const char *rt_policy_version(const struct rt_policy *p);  /* the file's `version` */
const uint8_t *rt_policy_hash(const struct rt_policy *p);  /* [32]: SHA-256 of the text; of several,
                                                              of their names and hashes */
int rt_policy_n_rule(const struct rt_policy *p);
const char *rt_policy_rule_name(const struct rt_policy *p, int i);
int rt_policy_rule_line(const struct rt_policy *p, int i); /* in the text, from 1 */
int rt_policy_n_target(const struct rt_policy *p);
const char *rt_policy_target_name(const struct rt_policy *p, int i);

/* Whether any rule asks for this fact (so that the edge gathers only what is needed). */
bool rt_policy_uses(const struct rt_policy *p, enum rt_fact_id fact);
/* The oldest that a value of this fact may be for p, in ms; 0: no limit. */
int64_t rt_policy_max_age_ms(const struct rt_policy *p, enum rt_fact_id fact);
/* The facts of the policy's own, in any order: name, type, unit, age. */
int rt_policy_n_own(const struct rt_policy *p);
const struct rt_fact_info *rt_policy_own(const struct rt_policy *p, int i);
bool rt_policy_uses_own(const struct rt_policy *p, int i);

/* The policy to use when there is none: every request local. Never NULL, never freed. */
const struct rt_policy *rt_policy_none(void);

struct rt_outcome {
    enum rt_mode mode;
    const char *target;  /* prompt, hidden; else NULL. Borrowed from the policy */
    int layer;           /* hidden */
    enum rt_tail tail;
    enum rt_dtype dtype;
    uint64_t max_bytes;  /* that may leave; the policy's or a default */
};

struct rt_decision {
    struct rt_outcome route;
    struct rt_outcome fallback; /* local or refuse only (what to do if route fails before the first token) */
    const char *rule;           /* name; "default" if none matched */
    int rule_index;             /* -1: none matched */
    const char *because;        /* the rule's text for people, or "" */
};

/* facts -> decision. Microseconds; no allocation; never fails (the worst answer is local). */
void rt_decide(const struct rt_policy *p, const struct rt_facts *f, struct rt_decision *out);

/* What is decided when rule i matches; -1: no rule does. */
void rt_decision_set(const struct rt_policy *p, int i, struct rt_decision *out);

/* Whether both do the same: route, its parameters and the fallback. Rules and reasons don't count. */
bool rt_decision_same(const struct rt_decision *a, const struct rt_decision *b);

/* Three-valued results, for explain and tests. */
enum rt_tri { RT_NO, RT_YES, RT_CANNOT_TELL };

/* Writes for each rule, in order, its result and the condition that decided it, then the decision:
 * text for people, a JSON document, or text with a terminal's colours. */
enum rt_form { RT_FORM_TEXT, RT_FORM_JSON, RT_FORM_COLOUR };
int rt_explain(const struct rt_policy *p, const struct rt_facts *f, enum rt_form form,
               struct base_buf *out) BASE_MUST_CHECK;

/* What rule i answers, and the part of its condition that decided it, with the facts. */
int rt_explain_rule(const struct rt_policy *p, const struct rt_facts *f, int i,
                    enum rt_tri *answer, struct base_buf *out) BASE_MUST_CHECK;

/* The reference page of facts, for docs (Markdown). */
int rt_facts_reference(struct base_buf *out) BASE_MUST_CHECK;

#endif
