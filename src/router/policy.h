/* Inside the router: the compiled policy and what its files share. Built once by compile.c, then
 * const. Everything that a decision reads is a flat array; strings are interned, so that a decision
 * hashes each fact once and then compares numbers. */
#ifndef ROUTER_POLICY_H
#define ROUTER_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "router/router.h"

enum {
    RT_MAX_CLASS_PARTS = 8,               /* "a.b.c" has 3 */
    RT_MAX_NAME_BYTES = 64,               /* rule, target, class, version: they travel in headers */
    RT_MAX_TEXT_VALUE = 512,              /* because, and strings to compare with */
    RT_MAX_LIST = 256,                    /* entries of in:, any:, only:, all: */
    RT_MAX_OWN = 128,                     /* facts of the policy's own: signals, budgets, … */
    RT_MAX_FACT = RT_N_FACT + RT_MAX_OWN, /* ids from RT_N_FACT are the policy's own */
    RT_RULE_WORDS = RT_MAX_RULE / 64,     /* of a set of rules as bits */
    RT_N_CLS_FACT = 5,                    /* facts that are sets of classes */
};

enum rt_op {
    RT_OP_ALL, /* groups: children follow in prefix order up to `end` */
    RT_OP_ANY,
    RT_OP_NOT,
    RT_OP_EQ, /* leaves */
    RT_OP_LT,
    RT_OP_LE,
    RT_OP_GT,
    RT_OP_GE,
    RT_OP_IN,
    RT_OP_CLS_ANY,
    RT_OP_CLS_ONLY,
    RT_OP_CLS_ALL,
};

union rt_const {
    bool b;
    int64_t i;
    double r;
    uint32_t str; /* id of an interned string */
};

struct rt_cond {
    uint8_t op;   /* enum rt_op */
    uint8_t move; /* EQ … GE: 1 + the share's move whose place is compared with, 0: val */
    uint8_t fact; /* leaves: enum rt_fact_id, or one of the policy's own */
    uint32_t end; /* index one past this subtree */
    int line, col;
    union rt_const val;    /* EQ … GE */
    uint32_t item, n_item; /* IN, CLS_*: items[item .. item + n_item) */
};

struct rt_item {
    union rt_const val; /* classes: str, or RT_STR_ROOT for "*" */
    bool subtree;       /* classes: "x.*", which is x and everything below it */
    int line, col;
};

/* Id 0 is "no string of this policy": equal to nothing. */
enum { RT_STR_NONE = 0 };
#define RT_STR_ROOT UINT32_MAX

struct rt_rule {
    const char *name, *because;
    struct rt_outcome route, fallback;
    int target;         /* index; -1: none. Also whose link.* facts hold */
    uint32_t cond, end; /* conds[cond .. end) is one ALL group; empty: always */
    bool uses_link, final;
    int src, line, col;
};

struct rt_target {
    struct rt_target_decl d;
    bool used, overridable;
    int src, line, col;
};

/* A data class that the policy names, or that is built in. */
struct rt_node {
    uint32_t str;
    const char *name, *because;
    int parent;             /* index of the nearest named class above it, -1: none */
    struct rt_pairs permits; /* its own or its parent's */
    struct rt_pairs reach, reach_below;
    bool declared, builtin, overridable;
    int src, line, col;     /* of the declaration */
};

struct rt_fast; /* index.c */

struct rt_policy {
    const char *version;
    uint8_t hash[32];
    uint8_t used[RT_MAX_FACT]; /* [n_used]: the facts that some rule asks for */
    int n_used, n_own;
    struct rt_fact_info own[RT_MAX_OWN]; /* [n_own]; the name of own[i] is string i + 1 */
    struct rt_rule *rule; /* [n_rule] */
    struct rt_cond *cond; /* [n_cond] */
    struct rt_item *item; /* [n_item] */
    struct rt_node *node; /* [n_node], in order of names */
    struct rt_class_decl *row; /* [n_row]: the nodes, told */
    struct rt_fast *fast; /* NULL: all rules are looked at in order */
    const char **str;     /* [n_str], from id 1 */
    uint32_t *slot;       /* [slot_mask + 1], open addressing: id or 0 */
    uint32_t slot_mask;
    int n_src; /* the last is the file given */
    int n_rule, n_target, n_node, n_row;
    uint32_t n_cond, n_item, n_str;
    struct rt_target target[RT_MAX_TARGET];
    int n_caller, n_budget, n_consent, n_signal;
    struct rt_caller_decl caller[RT_MAX_CALLER];
    struct rt_budget_decl budget[RT_MAX_BUDGET];
    struct rt_consent_decl consent[RT_MAX_CONSENT];
    struct rt_signal_decl signal[RT_MAX_SIGNAL];
    int64_t max_age_ms[RT_N_FACT]; /* where `signals` changes the table's; 0: it does not */
    struct rt_share_decl share;
    int move_own[RT_MAX_MOVE];    /* index into own */
    bool move_whole[RT_MAX_MOVE]; /* the threshold is an integer */
    struct base_arena arena; /* owns all of the above and every string */
};

/* policy.c. Id of s[0..n), RT_STR_NONE if the policy does not hold it. */
uint32_t rt_str_find(const struct rt_policy *p, const char *s, size_t n);

/* Of the target of a pair: its bit. */
static inline bool rt_pair_has(const struct rt_pairs *p, enum rt_mode mode, int target)
{
    return ((mode == RT_PROMPT ? p->prompt : p->hidden) >> target & 1) != 0;
}
static inline void rt_pair_add(struct rt_pairs *p, enum rt_mode mode, int target)
{
    *(mode == RT_PROMPT ? &p->prompt : &p->hidden) |= UINT64_C(1) << target;
}
static inline bool rt_leaves(enum rt_mode mode)
{
    return mode == RT_PROMPT || mode == RT_HIDDEN;
}

static inline const struct rt_fact_info *rt_info(const struct rt_policy *p, int fact)
{
    return fact < RT_N_FACT ? &rt_fact_info[fact] : &p->own[fact - RT_N_FACT];
}

static inline int64_t rt_max_age_ms(const struct rt_policy *p, int fact)
{
    return fact < RT_N_FACT && p->max_age_ms[fact] > 0 ? p->max_age_ms[fact]
                                                       : rt_info(p, fact)->max_age_ms;
}

/* env.c: the facts of one decision, prepared for comparing. Only what the policy uses is set. */
struct rt_have {
    bool have;
    union rt_const val;
};

struct rt_env_cls {
    int n; /* -1: nobody can tell: unknown, or more classes than can be held */
    struct {
        uint32_t full;
        int n_prefix;
        uint32_t prefix[RT_MAX_CLASS_PARTS]; /* a, a.b, a.b.c */
    } at[RT_MAX_CLASS];
};

struct rt_env {
    const struct rt_facts *f;
    struct rt_have v[RT_MAX_FACT];
    struct rt_env_cls cls[RT_N_CLS_FACT];                 /* by rt_cls_index */
    struct rt_have link[RT_MAX_TARGET][RT_N_TARGET_FACT]; /* if f->link is given */
    union rt_const move[RT_MAX_MOVE];                     /* where each threshold stands */
};

/* 0 … RT_N_CLS_FACT - 1 of a fact that is a set of classes. */
static inline int rt_cls_index(int fact)
{
    return fact == RT_F_HISTORY_RELEASED ? RT_N_CLS_FACT - 1 : fact - RT_F_DATA_CLASS;
}
void rt_env_init(struct rt_env *e, const struct rt_policy *p, const struct rt_facts *f);
/* decide.c. The value of a fact in this rule, NULL if it is not known; facts of targets are those
 * of the rule's target. Not for classes. */
const union rt_const *rt_env_get(const struct rt_env *e, const struct rt_rule *r, int fact);
enum rt_tri rt_eval(const struct rt_policy *p, const struct rt_env *e, const struct rt_rule *r,
                    uint32_t at);
/* The rule that decides, by looking at all in order; -1: none. */
int rt_first_rule(const struct rt_policy *p, const struct rt_env *e);
/* Whether the condition is surely `want`: yes, or no. */
bool rt_holds(const struct rt_policy *p, const struct rt_env *e, const struct rt_rule *r,
              uint32_t at, bool want);
/* index.c: the rules that may match, as bits; every other one does not. */
void rt_index_look(const struct rt_policy *p, const struct rt_env *e,
                   uint64_t bits[RT_RULE_WORDS]);
void rt_index_free(struct rt_fast *f);
/* narrow.c: takes rules out of the bits that a number rules out. */
struct rt_narrow;
int rt_narrow_build(const struct rt_policy *p, struct rt_narrow **out) BASE_MUST_CHECK;
void rt_narrow_look(const struct rt_narrow *w, const struct rt_env *e, uint64_t *bits);
void rt_narrow_free(struct rt_narrow *w);
enum rt_tri rt_eval_rule(const struct rt_policy *p, const struct rt_env *e,
                         const struct rt_rule *r);
/* request.hint == "local": the caller tightens, before any rule. */
bool rt_hint_is_local(const struct rt_facts *f);

#endif
