/* Inside the router's compiler: diagnostics, the YAML tree, and the steps from tree to policy. */
#ifndef ROUTER_COMPILE_H
#define ROUTER_COMPILE_H

#include "router/policy.h"

/* ---- text.c: diagnostics and strings ---- */

void rt_diag_add(struct rt_diags *d, bool warning, int line, int col, const char *fmt, ...)
    BASE_PRINTF(5, 6);
void rt_diag_sort(struct rt_diags *d);

/* Refuses what a reader cannot see or an editor shows otherwise: bad UTF-8, control characters, tabs,
 * byte order marks, direction overrides. newline: '\n' and "\r\n" are fine. True if clean; else
 * *line and *col (from 1, in characters) and *what say where and why. */
bool rt_text_clean(const char *s, size_t n, bool newline, int *line, int *col, const char **what);

/* One UTF-8 character of s[0..n): its length, 0 if ill-formed. */
size_t rt_utf8(const char *s, size_t n, uint32_t *cp);

/* s for a message: quoted, cut at 40 characters. Returns buf. */
enum { RT_SHOW_BYTES = 180 };
const char *rt_show(const char *s, size_t n, char buf[RT_SHOW_BYTES]);

/* The candidate nearest to s (a misspelling), or NULL. next(ctx, i) yields candidates until NULL. */
const char *rt_nearest(const char *s, const char *(*next)(const void *ctx, int i), const void *ctx);

/* ---- yaml.c: text -> tree ---- */

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

/* Errors: BASE_EFORMAT, BASE_ELIMIT (a diagnostic says where), BASE_ENOMEM. The tree lives in a. */
int rt_yaml_parse(struct base_arena *a, const char *text, size_t len, struct rt_diags *d,
                  struct rt_yaml **root) BASE_MUST_CHECK;

/* ---- compile.c, values.c, cond.c, check.c ---- */

struct rt_compiler {
    struct rt_policy *p;
    struct rt_diags *d;
    struct base_buf conds, items, rules, strs; /* arrays while they grow */
    int err;                                   /* sticky: BASE_ENOMEM or BASE_ELIMIT */
};

#define rt_error(c, node, ...) rt_diag_add((c)->d, false, (node)->line, (node)->col, __VA_ARGS__)
#define rt_warn(c, node, ...) rt_diag_add((c)->d, true, (node)->line, (node)->col, __VA_ARGS__)

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
static inline uint32_t rt_n_cond(const struct rt_compiler *c)
{
    return (uint32_t)(c->conds.len / sizeof(struct rt_cond));
}

/* values.c: each returns true and the value, or adds an error and returns false. what: the key's
 * name, for the message. */
bool rt_take_int(struct rt_compiler *c, const struct rt_yaml *n, const char *what, int64_t min,
                 int64_t max, int64_t *out);
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
void rt_unknown_key(struct rt_compiler *c, const struct rt_yaml *key, const char *where,
                    const char *choices);

/* cond.c: a `when` mapping -> one ALL group in c->conds. */
void rt_cond_compile(struct rt_compiler *c, const struct rt_yaml *when);

/* check.c: conditions that cannot hold, rules that cannot be reached. */
void rt_check_group(struct rt_compiler *c, uint32_t at);
void rt_check_reach(struct rt_compiler *c);

#endif
