/* `when` -> conditions in prefix order. A mapping is a conjunction, so a group ALL holds the tests
 * of all its keys flat, also those of an `all:` below it. */
#include "router/compile.h"

#include <stdio.h>
#include <string.h>

static uint32_t emit(struct rt_compiler *c, const struct rt_yaml *n, enum rt_op op, int fact)
{
    struct rt_cond cond = {
        .op = (uint8_t)op, .fact = (uint8_t)fact, .line = n->line, .col = n->col};
    uint32_t at = rt_n_cond(c);

    cond.end = at + 1;
    if (c->err == 0)
        c->err = base_buf_add(&c->conds, &cond, sizeof cond);
    return at;
}

static void close_group(struct rt_compiler *c, uint32_t at)
{
    if (c->err == 0)
        rt_conds(c)[at].end = rt_n_cond(c);
}

static bool take_const(struct rt_compiler *c, const struct rt_yaml *n, int fact,
                       union rt_const *out)
{
    const char *name = rt_info(c->p, fact)->name;
    int which;

    *out = (union rt_const){0};
    switch (rt_info(c->p, fact)->type) {
    case RT_FACT_BOOL:
        return rt_take_bool(c, n, name, &out->b);
    case RT_FACT_INT:
        if (rt_fact_is_clock(fact))
            return rt_take_clock(c, n, name, &out->i);
        return rt_take_int(c, n, name, INT64_MIN, INT64_MAX, &out->i);
    case RT_FACT_REAL:
        return rt_take_real(c, n, name, &out->r);
    default:
        if (fact < RT_N_FACT && rt_fact_values((enum rt_fact_id)fact) != NULL) {
            if (!rt_take_choice(c, n, name, rt_fact_values((enum rt_fact_id)fact), &which))
                return false;
        } else if (!rt_take_text(c, n, name)) {
            return false;
        }
        out->str = rt_str_add(c, n->text, n->len);
        return out->str != RT_STR_NONE;
    }
}

static void put_leaf(struct rt_compiler *c, const struct rt_yaml *n, enum rt_op op, int fact,
                     union rt_const v)
{
    uint32_t at = emit(c, n, op, fact);
    if (c->err == 0)
        rt_conds(c)[at].val = v;
}

static void leaf(struct rt_compiler *c, const struct rt_yaml *n, enum rt_op op, int fact)
{
    union rt_const v;
    if (take_const(c, n, fact, &v))
        put_leaf(c, n, op, fact, v);
}

static void leaf_not(struct rt_compiler *c, const struct rt_yaml *n, int fact)
{
    if (n->kind == RT_YAML_SEQ) {
        rt_tell(c, n, RT_C_WRONG_SHAPE,
                "%s: 'not' takes one value; for several write not: { %s: { in: […] } }",
                rt_info(c->p, fact)->name, rt_info(c->p, fact)->name);
        return;
    }
    uint32_t at = emit(c, n, RT_OP_NOT, fact);
    leaf(c, n, RT_OP_EQ, fact);
    close_group(c, at);
}

static bool same_item(enum rt_fact_type type, const struct rt_item *a, const struct rt_item *b)
{
    switch (type) {
    case RT_FACT_INT:
        return a->val.i == b->val.i;
    case RT_FACT_REAL:
        return !(a->val.r < b->val.r) && !(a->val.r > b->val.r);
    default:
        return a->val.str == b->val.str && a->subtree == b->subtree;
    }
}

/* in:, any:, only:, all: take a list of values or class patterns, without repeats. */
static void leaf_list(struct rt_compiler *c, const struct rt_yaml *n, enum rt_op op, int fact,
                      const char *word)
{
    const char *name = rt_info(c->p, fact)->name;
    uint32_t first = (uint32_t)(c->items.len / sizeof(struct rt_item));

    if (n->kind != RT_YAML_SEQ || n->n == 0 || n->n > RT_MAX_LIST) {
        rt_tell(c, n, RT_C_WRONG_SHAPE, "%s: '%s' takes a list of 1 to %d entries: %s: [ … ]", name,
                word, RT_MAX_LIST, word);
        return;
    }
    for (const struct rt_yaml *v = n->child; v != NULL; v = v->next) {
        struct rt_item it = {0};
        bool ok = rt_info(c->p, fact)->type == RT_FACT_CLASSES
                      ? rt_take_glob(c, v, op != RT_OP_CLS_ONLY, &it)
                      : take_const(c, v, fact, &it.val);
        if (!ok)
            continue;
        uint32_t have = (uint32_t)(c->items.len / sizeof it);
        for (uint32_t i = first; i < have; i++) {
            char show[RT_SHOW_BYTES];
            if (same_item(rt_info(c->p, fact)->type, &rt_items(c)[i], &it)) {
                rt_tell(c, v, RT_C_DUPLICATE_ENTRY, "%s is twice in the list",
                        rt_show(v->text, v->len, show));
                break;
            }
        }
        if (c->err == 0)
            c->err = base_buf_add(&c->items, &it, sizeof it);
    }
    uint32_t at = emit(c, n, op, fact);
    if (c->err == 0) {
        rt_conds(c)[at].item = first;
        rt_conds(c)[at].n_item = (uint32_t)(c->items.len / sizeof(struct rt_item)) - first;
    }
}

static void leaf_between(struct rt_compiler *c, const struct rt_yaml *n, int fact)
{
    if (n->kind != RT_YAML_SEQ || n->n != 2) {
        rt_tell(
            c, n, RT_C_WRONG_SHAPE,
            "%s: 'between' takes two numbers or times of day: between: [low, high], both included",
            rt_info(c->p, fact)->name);
        return;
    }
    union rt_const low, high;
    const bool both = take_const(c, n->child, fact, &low);
    if (!take_const(c, n->child->next, fact, &high) || !both)
        return;
    /* between: [22:00, 06:00] goes on past midnight */
    const bool wraps = rt_fact_is_clock(fact) && low.i > high.i;
    const uint32_t at = wraps ? emit(c, n, RT_OP_ANY, 0) : 0;
    put_leaf(c, n->child, RT_OP_GE, fact, low);
    put_leaf(c, n->child->next, RT_OP_LE, fact, high);
    if (wraps)
        close_group(c, at);
}

static void class_op(struct rt_compiler *c, const struct rt_yaml *n, int fact)
{
    const char *op = n->key->text;

    if (strcmp(op, "any") == 0)
        leaf_list(c, n, RT_OP_CLS_ANY, fact, "any");
    else if (strcmp(op, "only") == 0)
        leaf_list(c, n, RT_OP_CLS_ONLY, fact, "only");
    else if (strcmp(op, "all") == 0)
        leaf_list(c, n, RT_OP_CLS_ALL, fact, "all");
    else
        rt_unknown_key(c, n->key, RT_C_UNKNOWN_TEST, rt_info(c->p, fact)->name, "any|only|all");
}

static void value_op(struct rt_compiler *c, const struct rt_yaml *n, int fact)
{
    static const struct {
        const char *word;
        enum rt_op op;
    } order[] = {{"lt", RT_OP_LT}, {"le", RT_OP_LE}, {"gt", RT_OP_GT}, {"ge", RT_OP_GE}};
    enum rt_fact_type type = rt_info(c->p, fact)->type;
    bool number = type == RT_FACT_INT || type == RT_FACT_REAL;
    const char *op = n->key->text;

    if (strcmp(op, "eq") == 0) {
        leaf(c, n, RT_OP_EQ, fact);
        return;
    }
    if (strcmp(op, "not") == 0 || strcmp(op, "ne") == 0) {
        leaf_not(c, n, fact);
        return;
    }
    if (strcmp(op, "in") == 0 && type != RT_FACT_BOOL) {
        leaf_list(c, n, RT_OP_IN, fact, "in");
        return;
    }
    if (number && strcmp(op, "between") == 0) {
        leaf_between(c, n, fact);
        return;
    }
    for (int i = 0; i < 4 && number; i++) {
        if (strcmp(op, order[i].word) == 0) {
            leaf(c, n, order[i].op, fact);
            return;
        }
    }
    rt_unknown_key(c, n->key, RT_C_UNKNOWN_TEST, rt_info(c->p, fact)->name,
                   number                 ? "eq|ne|not|lt|le|gt|ge|between|in"
                   : type == RT_FACT_BOOL ? "eq|ne|not"
                                          : "eq|ne|not|in");
}

static void fact_cond(struct rt_compiler *c, const struct rt_yaml *n, int fact)
{
    const struct rt_fact_info *f = rt_info(c->p, fact);
    bool classes = f->type == RT_FACT_CLASSES;

    if (!rt_policy_uses(c->p, (enum rt_fact_id)fact))
        c->p->used[c->p->n_used++] = (uint8_t)fact;
    if (n->kind == RT_YAML_SEQ || (classes && n->kind == RT_YAML_SCALAR)) {
        rt_tell(c, n, RT_C_WRONG_SHAPE,
                classes ? "%s is a set; write { only: [ … ] } if every class must be listed "
                          "or { any: [ … ] } if one is enough"
                        : "%s: for one of several values write { in: [ … ] }",
                f->name);
        return;
    }
    if (n->kind == RT_YAML_SCALAR) {
        leaf(c, n, RT_OP_EQ, fact);
        return;
    }
    if (n->n == 0)
        rt_tell(c, n, RT_C_MISSING_KEY, "%s: an empty condition", f->name);
    for (const struct rt_yaml *v = n->child; v != NULL; v = v->next) {
        if (classes)
            class_op(c, v, fact);
        else
            value_op(c, v, fact);
    }
}

static void mapping(struct rt_compiler *c, const struct rt_yaml *n);

static bool is_map(struct rt_compiler *c, const struct rt_yaml *n, const char *what)
{
    if (n->kind == RT_YAML_MAP && n->n > 0)
        return true;
    rt_tell(c, n, RT_C_WRONG_SHAPE, "%s takes conditions, such as { link.state: up }", what);
    return false;
}

static bool is_list(struct rt_compiler *c, const struct rt_yaml *n, const char *word)
{
    if (n->kind == RT_YAML_SEQ && n->n > 0 && n->n <= RT_MAX_LIST)
        return true;
    rt_tell(c, n, RT_C_WRONG_SHAPE, "'%s' takes a list of 1 to %d conditions: - { FACT: … }", word,
            RT_MAX_LIST);
    return false;
}

static void group(struct rt_compiler *c, const struct rt_yaml *n)
{
    uint32_t at = emit(c, n, RT_OP_ALL, 0);
    mapping(c, n);
    close_group(c, at);
    rt_check_group(c, at);
}

/* A fact of the table or of the policy's own; -1: neither. */
static int find_fact(const struct rt_policy *p, const char *name)
{
    int id = rt_fact_find(name);
    for (int i = 0; id < 0 && i < p->n_own; i++) {
        if (strcmp(p->own[i].name, name) == 0)
            id = RT_N_FACT + i;
    }
    return id;
}

static const char *next_fact(const void *ctx, int i)
{
    static const char *const group[] = {"all", "any", "not"};
    const struct rt_policy *p = ctx;
    return i < 3 ? group[i] : i - 3 < RT_N_FACT + p->n_own ? rt_info(p, i - 3)->name : NULL;
}

static void unknown_fact(struct rt_compiler *c, const struct rt_yaml *key)
{
    char show[RT_SHOW_BYTES];
    const char *hint = rt_nearest(c, key->text, next_fact, c->p);

    rt_show(key->text, key->len, show);
    if (hint != NULL)
        rt_tell(c, key, RT_C_UNKNOWN_FACT, "unknown key %s in a condition; did you mean '%s'?",
                show, hint);
    else if (strncmp(key->text, "Vehicle.", 8) == 0)
        rt_tell(c, key, RT_C_UNKNOWN_SIGNAL,
                "signal %s is not declared; write signals: { %s: { type: number } }", show,
                key->text);
    else
        rt_tell(c, key, RT_C_UNKNOWN_FACT,
                "unknown key %s in a condition; waypostctl policy facts lists all", show);
}

static void mapping(struct rt_compiler *c, const struct rt_yaml *n)
{
    for (const struct rt_yaml *v = n->child; v != NULL && c->err == 0; v = v->next) {
        const char *key = v->key->text;
        int fact = find_fact(c->p, key);
        uint32_t at;

        if (fact >= 0) {
            fact_cond(c, v, fact);
        } else if (strcmp(key, "all") == 0) {
            for (const struct rt_yaml *m = is_list(c, v, "all") ? v->child : NULL; m; m = m->next) {
                if (is_map(c, m, "an entry of 'all'"))
                    mapping(c, m);
            }
        } else if (strcmp(key, "any") == 0) {
            at = emit(c, v, RT_OP_ANY, 0);
            for (const struct rt_yaml *m = is_list(c, v, "any") ? v->child : NULL; m; m = m->next) {
                if (is_map(c, m, "an entry of 'any'"))
                    group(c, m);
            }
            close_group(c, at);
        } else if (strcmp(key, "not") == 0) {
            at = emit(c, v, RT_OP_NOT, 0);
            if (is_map(c, v, "'not'"))
                group(c, v);
            close_group(c, at);
        } else {
            unknown_fact(c, v->key);
        }
    }
}

void rt_cond_compile(struct rt_compiler *c, const struct rt_yaml *when)
{
    if (when->kind != RT_YAML_MAP || when->n == 0) {
        rt_tell(c, when, RT_C_WRONG_SHAPE,
                "'when' takes conditions, such as { link.state: up }; leave it out for a "
                "rule that always matches");
        return;
    }
    group(c, when);
}
