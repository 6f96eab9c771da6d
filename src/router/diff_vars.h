/* Inside rt_diff: what the two policies' conditions depend on. A scalar fact (of a target, where it
 * is a target's) is a variable whose values fall into regions: two values of one region give every
 * condition of both policies the same answer. Classes fall into kinds likewise. */
#ifndef ROUTER_DIFF_VARS_H
#define ROUTER_DIFF_VARS_H

#include "router/compile.h"
#include "router/diff.h"

enum { RT_DIFF_WORDS = 8, RT_DIFF_KINDS = 64 * RT_DIFF_WORDS };

struct rt_bits {
    uint64_t w[RT_DIFF_WORDS];
};

/* Bits of a set of answers. */
enum { RT_CAN_NO = 1 << RT_NO, RT_CAN_YES = 1 << RT_YES, RT_CAN_NOT_TELL = 1 << RT_CANNOT_TELL };

struct rt_dval {
    struct rt_value v; /* a value of the part; have false: not known */
    bool point;        /* REAL: the value alone, else (lo, hi) */
    double lo, hi;     /* numbers: bounds of the part; INT: both included */
    int region;
};

struct rt_dvar {
    int fact;           /* RT_N_FACT: the policies' own */
    const char *name;   /* of the fact */
    const char *target; /* of facts of targets, else NULL */
    const struct rt_fact_info *info;
    struct rt_dval *val; /* [n_val], numbers ascending; the last is "not known" */
    int n_val, n_region;
};

struct rt_dclass { /* one fact that is a set of classes */
    bool used;
    const char *kind[RT_DIFF_KINDS]; /* [n_kind] a class of each */
    int n_kind;
};

struct rt_dleaf {
    int var;              /* scalar: index; -1: cannot tell, whatever the facts (no target) */
    uint8_t any;          /* scalar: every answer that some region gives */
    uint8_t *tri;         /* scalar: [n_region of var] */
    struct rt_bits *mask; /* classes: ANY, ONLY: one, kinds that match (ONLY: that don't); ALL: one
                             an item */
};

struct rt_dpolicy {
    const struct rt_policy *p;
    struct rt_dleaf *leaf; /* [n_cond] */
    int *rule_of;          /* [n_cond] */
    uint64_t *hash;        /* [n_rule] of condition, target and outcome */
    int *match;            /* [n_rule] first rule of the other policy that is the same, or -1 */
};

struct rt_dvars {
    struct rt_dpolicy p[2];
    struct rt_dvar *var; /* [n_var] */
    int n_var;
    struct rt_dclass cls[RT_N_CLS_FACT];
    struct base_arena arena;
};

/* v->p[].p are given. rt_dvars_fini also after an error. */
int rt_dvars_init(struct rt_dvars *v, struct base_err *err) BASE_MUST_CHECK;
void rt_dvars_fini(struct rt_dvars *v);

/* Region r of variable i in words: "request.prompt_tokens > 2000". */
void rt_dvars_text(const struct rt_dvars *v, int i, int r, struct base_buf *out);

/* diff_match.c. Fills hash and match. Errors: BASE_ENOMEM. */
int rt_match_rules(struct rt_dpolicy p[2]) BASE_MUST_CHECK;

static inline bool rt_bit(const struct rt_bits *b, int i)
{
    return (b->w[i / 64] >> (i % 64) & 1) != 0;
}
static inline void rt_bit_set(struct rt_bits *b, int i, bool on)
{
    uint64_t m = UINT64_C(1) << (i % 64);
    b->w[i / 64] = on ? b->w[i / 64] | m : b->w[i / 64] & ~m;
}

#endif
