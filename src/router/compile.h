/* Inside the router's compiler: diagnostics, the YAML tree, and the steps from tree to policy. */
#ifndef ROUTER_COMPILE_H
#define ROUTER_COMPILE_H

#include "router/policy.h"

/* ---- text.c: diagnostics and strings ---- */

/* Findings are added under d->file. */
void rt_diag_add(struct rt_diags *d, enum rt_code code, int line, int col, const char *fmt, ...)
    BASE_PRINTF(5, 6);
void rt_diag_sort(struct rt_diags *d);

/* Refuses what a reader cannot see or an editor shows otherwise: bad UTF-8, control characters, tabs,
 * byte order marks, direction overrides. newline: '\n' and "\r\n" are fine. True if clean; else
 * *line and *col (from 1, in characters) and *what say where and why. */
bool rt_text_clean(const char *s, size_t n, bool newline, int *line, int *col, const char **what);

/* s for a message: quoted, cut at 40 characters. Returns buf. */
enum { RT_SHOW_BYTES = 180 };
const char *rt_show(const char *s, size_t n, char buf[RT_SHOW_BYTES]);

/* ---- yaml.c: text -> tree ---- */

enum { RT_TREE_BYTES = 128 << 20 };

enum rt_yaml_kind { RT_YAML_SCALAR, RT_YAML_SEQ, RT_YAML_MAP };

struct rt_yaml {
    enum rt_yaml_kind kind;
    bool plain; /* scalar without quotes */
    int line, col;
    const char *text; /* scalar: NUL-terminated, no NUL inside */
    size_t len;
    const struct rt_yaml *key;    /* in a map: this value's key */
    struct rt_yaml *child, *next; /* children in order */
    int n;
};

/* most: bytes that are left for it. Errors: BASE_EFORMAT, BASE_ELIMIT (a diagnostic says where),
 * BASE_ENOMEM. The tree lives in a. */
int rt_yaml_parse(struct base_arena *a, const char *text, size_t len, size_t most,
                  struct rt_diags *d, struct rt_yaml **root) BASE_MUST_CHECK;

/* ---- the steps ---- */

/* One text of the policy. Of two that speak of the same name, the later in rt_compiler.src wins. */
struct rt_src {
    const char *name;
    const struct rt_yaml *root; /* a mapping */
};

struct rt_compiler {
    struct rt_policy *p;
    struct rt_diags *d;
    struct base_arena *tree;    /* for what lives as long as the compilation */
    struct rt_src src[RT_MAX_SOURCE]; /* [n_src] */
    int n_src, at;              /* at: the one being read */
    struct base_buf conds, items, rules, nodes, strs; /* arrays while they grow */
    struct {
        int src, line, col;
    } own_at[RT_MAX_OWN];       /* where p->own[i] is declared */
    int err;                    /* sticky: BASE_ENOMEM or BASE_ELIMIT */
};

/* From here findings are about source at. */
void rt_in_source(struct rt_compiler *c, int at);

/* text.c. The candidate nearest to s (a misspelling), or NULL; none is looked for when there is no room
 * for another finding. next(ctx, i) yields candidates until NULL. */
const char *rt_nearest(const struct rt_compiler *c, const char *s,
                       const char *(*next)(const void *ctx, int i), const void *ctx);

/* Whether it is an error or a warning is the code's. */
#define rt_tell(c, node, code, ...) \
    rt_diag_add((c)->d, code, (node)->line, (node)->col, __VA_ARGS__)

/* policy.c. Interns; RT_STR_NONE (and c->err) when out of memory. */
uint32_t rt_str_add(struct rt_compiler *c, const char *s, size_t n);
static inline struct rt_cond *rt_conds(struct rt_compiler *c)
{
    return (struct rt_cond *)(void *)c->conds.data;
}
static inline struct rt_item *rt_items(struct rt_compiler *c)
{
    return (struct rt_item *)(void *)c->items.data;
}
static inline struct rt_rule *rt_rules_of(struct rt_compiler *c)
{
    return (struct rt_rule *)(void *)c->rules.data;
}
static inline uint32_t rt_n_rule(const struct rt_compiler *c)
{
    return (uint32_t)(c->rules.len / sizeof(struct rt_rule));
}
static inline uint32_t rt_n_cond(const struct rt_compiler *c)
{
    return (uint32_t)(c->conds.len / sizeof(struct rt_cond));
}

/* values.c: each returns true and the value, or adds an error and returns false. what: the key's
 * name, for the message. */
bool rt_take_int(struct rt_compiler *c, const struct rt_yaml *n, const char *what, int64_t min,
                 int64_t max, int64_t *out);
/* "HH:MM", with or without quotes. */
bool rt_take_clock(struct rt_compiler *c, const struct rt_yaml *n, const char *what, int64_t *out);
bool rt_take_real(struct rt_compiler *c, const struct rt_yaml *n, const char *what, double *out);
bool rt_take_bool(struct rt_compiler *c, const struct rt_yaml *n, const char *what, bool *out);
bool rt_take_text(struct rt_compiler *c, const struct rt_yaml *n, const char *what);
bool rt_take_name(struct rt_compiler *c, const struct rt_yaml *n, const char *what);
/* choices: "a|b|c"; *out is the index. */
bool rt_take_choice(struct rt_compiler *c, const struct rt_yaml *n, const char *what,
                    const char *choices, int *out);
/* A class or "x.*"; star: whether "*" is one. */
bool rt_take_glob(struct rt_compiler *c, const struct rt_yaml *n, bool star, struct rt_item *out);
/* Error with a suggestion if one is near. choices: "a|b|c". */
void rt_unknown_key(struct rt_compiler *c, const struct rt_yaml *key, enum rt_code code,
                    const char *where, const char *choices);

/* compile.c. NULL also if map is no mapping, which is reported where it is read. */
const struct rt_yaml *rt_key(const struct rt_yaml *map, const char *key);
void rt_check_keys(struct rt_compiler *c, const struct rt_yaml *map, const char *where,
                   const char *choices);
/* Copies for the policy; NULL and c->err when out of memory. */
char *rt_keep(struct rt_compiler *c, const char *s, size_t n);
/* `because` and its like: one line for people, "" if v is NULL or wrong. */
const char *rt_keep_text(struct rt_compiler *c, const struct rt_yaml *v, const char *what);

/* include.c: src[0] and what it includes -> c->src, what is included before what includes it. */
int rt_include(struct rt_compiler *c, const struct rt_source *src, int n) BASE_MUST_CHECK;

/* declare.c: targets, callers, budgets, consents, signals. */
void rt_declare(struct rt_compiler *c);
int rt_target_find(struct rt_compiler *c, const struct rt_yaml *n); /* index, or -1 and an error */
/* A fact of the policy's own; its name, which the policy owns, or "" after an error. They are the
 * first strings of all: own[i] is named by string i + 1. */
const char *rt_own_fact(struct rt_compiler *c, const struct rt_yaml *n, const char *name,
                        const struct rt_fact_info *info);

/* share.c: what is declared; after the rules, the tests whose thresholds it moves. */
void rt_declare_share(struct rt_compiler *c);
void rt_bind_share(struct rt_compiler *c);

/* classes.c: the tree of classes and what each permits, those of rules included; in order of names,
 * so that a parent stands before its children. */
void rt_classes(struct rt_compiler *c);

/* rule.c */
void rt_rules(struct rt_compiler *c);

/* cond.c: a `when` mapping -> one ALL group in c->conds. */
void rt_cond_compile(struct rt_compiler *c, const struct rt_yaml *when);

/* glob.c: sets of classes as lists of patterns. */
struct rt_list {
    const struct rt_item *at; /* [n] */
    uint32_t n;
};
bool rt_glob_within(const struct rt_policy *p, const struct rt_item *inner,
                    const struct rt_item *outer);
bool rt_list_has(const struct rt_policy *p, const struct rt_list *l, const struct rt_item *inner);
bool rt_list_within(const struct rt_policy *p, const struct rt_list *inner,
                    const struct rt_list *outer);
/* Whether some class is in both. */
bool rt_list_meets(const struct rt_policy *p, const struct rt_list *l, const struct rt_item *it);
bool rt_lists_meet(const struct rt_policy *p, const struct rt_list *a, const struct rt_list *b);

/* implies.c: whether l, where it holds, makes e hold; false if that is not sure. Both speak of the same
 * target. */
bool rt_implies(const struct rt_policy *p, const struct rt_cond *l, const struct rt_cond *e);

/* check.c: conditions that cannot hold. dead.c: rules that cannot match. reach.c: what can leave. */
void rt_check_group(struct rt_compiler *c, uint32_t at);
void rt_check_dead(struct rt_compiler *c);
void rt_check_egress(struct rt_compiler *c);
int rt_reach_rows(struct rt_policy *p) BASE_MUST_CHECK;

/* index.c: which rules a decision need not look at. */
int rt_index_build(struct rt_policy *p) BASE_MUST_CHECK;

/* explain.c: an integer of a fact, HH:MM where it is a time of day; the condition at `at` in words. */
void rt_put_int(int fact, int64_t i, struct base_buf *out);
void rt_put_cond(const struct rt_policy *p, uint32_t at, struct base_buf *out);

#endif
