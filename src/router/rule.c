/* Rules: each mapping -> a rule; and of several files, which rule stands where. */
#include "router/compile.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_PROMPT_BYTES = 256 << 10,
    DEFAULT_HIDDEN_BYTES = 16 << 20, /* 4000 rows of 4 KiB: a 2048-wide model in f16 */
    MOST_BYTES = 1 << 30,
    MAX_LAYER = 511,
};

#define RULE_KEYS "name|when|route|target|fallback|max_bytes|layer|tail|dtype|because|final"

/* ---- one rule ---- */

static void rule_target(struct rt_compiler *c, const struct rt_yaml *n, struct rt_rule *r,
                        const struct rt_yaml *route)
{
    const struct rt_yaml *t = rt_key(n, "target");
    bool leaves = rt_leaves(r->route.mode);

    if (t != NULL)
        r->target = rt_target_find(c, t);
    if (t == NULL && leaves)
        rt_tell(c, route, RT_C_NO_TARGET, "route '%s' needs a target: NAME",
                rt_mode_str(r->route.mode));
    if (t != NULL && !leaves && !r->uses_link)
        rt_tell(c, t, RT_C_NO_TARGET, "route '%s' has no target", rt_mode_str(r->route.mode));
    if (t == NULL && !leaves && r->uses_link) {
        if (c->p->n_target == 1)
            r->target = 0;
        else
            rt_tell(c, route, RT_C_NO_TARGET, "link.* of which target? add target: NAME");
    }
    if (r->target < 0)
        return;
    struct rt_target *to = &c->p->target[r->target];
    to->used = true;
    if (!leaves)
        return;
    r->route.target = to->d.name;
    if (!(r->route.mode == RT_PROMPT ? to->d.prompt : to->d.hidden))
        rt_tell(c, route, RT_C_WRONG_MODE,
                "target '%s' does not take '%s'; see its modes in line %d", to->d.name,
                rt_mode_str(r->route.mode), to->line);
}

/* A key that belongs to some routes only. */
static const struct rt_yaml *rule_key(struct rt_compiler *c, const struct rt_yaml *n,
                                      const struct rt_rule *r, const char *key, uint32_t modes)
{
    const struct rt_yaml *v = rt_key(n, key);
    if (v != NULL && (modes >> r->route.mode & 1) == 0) {
        rt_tell(c, v->key, RT_C_WRONG_ROUTE, "'%s' means nothing with route '%s'", key,
                rt_mode_str(r->route.mode));
        return NULL;
    }
    return v;
}

static void rule_params(struct rt_compiler *c, const struct rt_yaml *n, struct rt_rule *r,
                        const struct rt_yaml *route)
{
    const uint32_t hidden = 1u << RT_HIDDEN, leaves = hidden | 1u << RT_PROMPT;
    const struct rt_yaml *layer = rule_key(c, n, r, "layer", hidden);
    const struct rt_yaml *tail = rule_key(c, n, r, "tail", hidden);
    const struct rt_yaml *dtype = rule_key(c, n, r, "dtype", hidden);
    const struct rt_yaml *most = rule_key(c, n, r, "max_bytes", leaves);
    const struct rt_yaml *fallback = rule_key(c, n, r, "fallback", leaves);
    int which;
    int64_t v;

    r->fallback = (struct rt_outcome){.mode = RT_LOCAL};
    r->route.tail = RT_TAIL_CLOUD;
    r->route.dtype = RT_F16;
    r->route.max_bytes = r->route.mode == RT_PROMPT   ? DEFAULT_PROMPT_BYTES
                         : r->route.mode == RT_HIDDEN ? DEFAULT_HIDDEN_BYTES
                                                      : 0;
    if (layer != NULL && rt_take_int(c, layer, "layer", 1, MAX_LAYER, &v))
        r->route.layer = (int)v;
    if (layer == NULL && r->route.mode == RT_HIDDEN && rt_key(n, "layer") == NULL)
        rt_tell(c, route, RT_C_MISSING_KEY,
                "route 'hidden' needs the layer at which the cloud takes over: layer: 10");
    if (tail != NULL && rt_take_choice(c, tail, "tail", "cloud|edge", &which))
        r->route.tail = which == 0 ? RT_TAIL_CLOUD : RT_TAIL_EDGE;
    if (dtype != NULL && rt_take_choice(c, dtype, "dtype", "f32|f16|i8", &which))
        r->route.dtype = which == 0 ? RT_F32 : which == 1 ? RT_F16 : RT_I8;
    if (most != NULL && rt_take_int(c, most, "max_bytes", 1, MOST_BYTES, &v))
        r->route.max_bytes = (uint64_t)v;
    if (fallback != NULL && fallback->kind == RT_YAML_SCALAR &&
        (strcmp(fallback->text, "prompt") == 0 || strcmp(fallback->text, "hidden") == 0))
        rt_tell(c, fallback, RT_C_BAD_FALLBACK,
                "fallback must be one of local|refuse: what fails on the way out does not leave "
                "another way; write a rule for it that asks link.state");
    else if (fallback != NULL && rt_take_choice(c, fallback, "fallback", "local|refuse", &which))
        r->fallback.mode = which == 0 ? RT_LOCAL : RT_REFUSE;
}

static bool names_cabin(struct rt_compiler *c, const struct rt_cond *only)
{
    for (uint32_t i = 0; i < only->n_item; i++) {
        uint32_t id = rt_items(c)[only->item + i].val.str;
        if (id != RT_STR_NONE && strcmp(c->p->str[id], "cabin") == 0)
            return true;
    }
    return false;
}

/* The promise of the language: what leaves is named. `only` has to stand in `when` itself, where a
 * reader sees it, not in some branch of any: or not:. */
static void rule_egress(struct rt_compiler *c, const struct rt_yaml *n, const struct rt_rule *r,
                        const struct rt_yaml *route)
{
    const struct rt_yaml *when = rt_key(n, "when");
    const struct rt_yaml *cls = when != NULL ? rt_key(when, "data.class") : NULL;
    const struct rt_yaml *only = cls != NULL ? rt_key(cls, "only") : NULL;

    if (only == NULL) {
        rt_tell(c, route, RT_C_UNNAMED_CLASSES,
                "route '%s' lets data leave, so the rule must name all classes that may: put "
                "'data.class: { only: [CLASS, …] }' directly under 'when'",
                rt_mode_str(r->route.mode));
        return;
    }
    if (c->err != 0 || c->d->n_error > 0)
        return;
    for (uint32_t i = r->cond + 1; i < r->end; i = rt_conds(c)[i].end) {
        const struct rt_cond *t = &rt_conds(c)[i];
        if (t->op == RT_OP_CLS_ONLY && names_cabin(c, t))
            rt_diag_add(c->d, RT_C_CABIN_LEAVES, t->line, t->col,
                        "this lets unlabelled data (class cabin) leave the car");
    }
}

static bool uses_link(struct rt_compiler *c, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        const struct rt_cond *t = &rt_conds(c)[i];
        if (t->op > RT_OP_NOT && rt_fact_is_targets(t->fact))
            return true;
    }
    return false;
}

static void rule_texts(struct rt_compiler *c, const struct rt_yaml *n, struct rt_rule *r)
{
    const struct rt_yaml *name = rt_key(n, "name");

    r->name = "";
    r->because = rt_keep_text(c, rt_key(n, "because"), "because");
    if (name == NULL) {
        rt_tell(c, n, RT_C_MISSING_KEY, "a rule needs a name");
    } else if (rt_take_name(c, name, "name")) {
        if (strcmp(name->text, "default") == 0 || strcmp(name->text, "caller-hint") == 0)
            rt_tell(c, name, RT_C_RESERVED_NAME,
                    "'%s' is what the router calls a decision of its own", name->text);
        r->name = rt_keep(c, name->text, name->len);
    }
}

static void compile_rule(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_rule r = {.target = -1, .src = c->at, .line = n->line, .col = n->col};

    if (n->kind != RT_YAML_MAP) {
        rt_tell(c, n, RT_C_WRONG_SHAPE, "a rule is a mapping: - name: …");
        return;
    }
    rt_check_keys(c, n, "a rule", RULE_KEYS);
    rule_texts(c, n, &r);
    const struct rt_yaml *when = rt_key(n, "when"), *route = rt_key(n, "route");
    const struct rt_yaml *final = rt_key(n, "final");
    int mode;
    if (final != NULL)
        rt_take_bool(c, final, "final", &r.final);
    r.cond = rt_n_cond(c);
    if (when != NULL)
        rt_cond_compile(c, when);
    r.end = rt_n_cond(c);
    if (c->err == 0)
        r.uses_link = uses_link(c, r.cond, r.end);
    if (route == NULL) {
        rt_tell(c, n, RT_C_MISSING_KEY, "a rule needs a route: local, prompt, hidden or refuse");
    } else if (rt_take_choice(c, route, "route", "local|prompt|hidden|refuse", &mode)) {
        r.route.mode = (enum rt_mode)mode;
        rule_params(c, n, &r, route);
        rule_target(c, n, &r, route);
        if (rt_leaves(r.route.mode))
            rule_egress(c, n, &r, route);
        if (rt_leaves(r.route.mode) && r.final)
            rt_tell(c, final, RT_C_BAD_FINAL,
                    "a final rule keeps data in the car: route local or refuse");
    }
    if (c->err == 0 && base_buf_add(&c->rules, &r, sizeof r) != 0)
        c->err = BASE_ENOMEM;
}

/* ---- which rule stands where ---- */

/* Final rules first, those of included files before those of the including; then the others, the
 * including file's first. A rule of a name that an included file has stands in its place. */
struct slot {
    const struct rt_yaml *n;
    const char *name; /* "" if it has none */
    int src, order;
    bool final, gone;
};

static int by_name(const void *pa, const void *pb)
{
    const struct slot *a = *(struct slot *const *)pa, *b = *(struct slot *const *)pb;
    int cmp = strcmp(a->name, b->name);
    return cmp != 0 ? cmp : a->src != b->src ? a->src - b->src : a->order - b->order;
}

/* of: the rule of the least source, the place; by: that of the greatest, the words. */
static void replace(struct rt_compiler *c, struct slot *of, struct slot *by)
{
    if (of->src == by->src) {
        rt_in_source(c, by->src);
        rt_tell(c, by->n, RT_C_DUPLICATE_NAME, "a rule named '%s' is already in line %d", by->name,
                of->n->line);
        return;
    }
    if (of->final) {
        rt_in_source(c, by->src);
        rt_tell(c, by->n, RT_C_BAD_FINAL, "rule '%s' is final in '%s', line %d", by->name,
                c->src[of->src].name, of->n->line);
        return;
    }
    of->n = by->n;
    of->src = by->src;
    by->gone = true;
}

static void match_names(struct rt_compiler *c, struct slot *slot, size_t n)
{
    struct slot **sorted = calloc(n + 1, sizeof *sorted);

    if (sorted == NULL) {
        c->err = BASE_ENOMEM;
        return;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = &slot[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t first = 0, i = 1; i < n; i++) {
        if (strcmp(sorted[i]->name, sorted[first]->name) != 0 || sorted[i]->name[0] == '\0')
            first = i;
        else
            replace(c, sorted[first], sorted[i]);
    }
    free(sorted);
}

static bool is_final(const struct rt_yaml *n)
{
    const struct rt_yaml *v = rt_key(n, "final");
    return v != NULL && strcmp(v->text, "true") == 0;
}

static void put_slot(struct slot *slot, size_t *at, const struct rt_yaml *n, int src)
{
    const struct rt_yaml *name = rt_key(n, "name");

    slot[*at] = (struct slot){.n = n, .src = src, .order = (int)*at, .name = ""};
    if (name != NULL && name->kind == RT_YAML_SCALAR)
        slot[*at].name = name->text;
    slot[*at].final = is_final(n);
    ++*at;
}

static const struct rt_yaml *rules_of(struct rt_compiler *c, int src)
{
    const struct rt_yaml *rules = rt_key(c->src[src].root, "rules");
    return rules != NULL && rules->kind == RT_YAML_SEQ ? rules->child : NULL;
}

static size_t put_slots(struct rt_compiler *c, struct slot *slot)
{
    size_t n = 0;

    for (int s = 0; s < c->n_src; s++) {
        bool others = false;
        for (const struct rt_yaml *v = rules_of(c, s); v != NULL; v = v->next) {
            rt_in_source(c, s);
            if (is_final(v) && others)
                rt_tell(c, v, RT_C_BAD_FINAL,
                        "final rules are asked first; put them before the others");
            others |= !is_final(v);
            if (is_final(v))
                put_slot(slot, &n, v, s);
        }
    }
    for (int s = c->n_src - 1; s >= 0; s--) {
        for (const struct rt_yaml *v = rules_of(c, s); v != NULL; v = v->next) {
            if (!is_final(v))
                put_slot(slot, &n, v, s);
        }
    }
    return n;
}

/* How many there are at all; errors where there are none or too many. */
static size_t count(struct rt_compiler *c)
{
    size_t n = 0;

    for (int s = 0; s < c->n_src; s++) {
        const struct rt_yaml *rules = rt_key(c->src[s].root, "rules");
        rt_in_source(c, s);
        if (rules == NULL && c->n_src == 1)
            rt_tell(c, c->src[s].root, RT_C_MISSING_KEY,
                    "no 'rules'; a policy under which nothing leaves has rules: []");
        if (rules != NULL && rules->kind != RT_YAML_SEQ)
            rt_tell(c, rules, RT_C_WRONG_SHAPE, "'rules' takes a list: - name: …");
        for (const struct rt_yaml *v = rules_of(c, s); v != NULL; v = v->next) {
            if (n++ < RT_MAX_RULE)
                continue;
            rt_tell(c, v, RT_C_LIMIT,
                    "more than %d rules in one policy, all its files together; this is the first "
                    "too many",
                    RT_MAX_RULE);
            return 0;
        }
    }
    return n;
}

void rt_rules(struct rt_compiler *c)
{
    size_t n = count(c);
    struct slot *slot = n > 0 ? calloc(n, sizeof *slot) : NULL;

    if (n == 0)
        return;
    if (slot == NULL) {
        c->err = BASE_ENOMEM;
        return;
    }
    n = put_slots(c, slot);
    match_names(c, slot, n);
    for (size_t i = 0; i < n && c->err == 0; i++) {
        if (slot[i].gone)
            continue;
        rt_in_source(c, slot[i].src);
        compile_rule(c, slot[i].n);
    }
    free(slot);
}
