/* The tree of data classes: what is built in, what `classes` declares, what rules name; and what
 * each permits. A class without a declaration has what the nearest one above it has; without any,
 * nothing. */
#include "router/compile.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODE = 4096 };

#define CLASS_KEYS "permits|overridable|because"
#define PERMIT_KEYS "mode|target|where"

/* Private are the branches that COVESA VSS 6.0 fills with persons, the cabin and places, and what
 * the detectors find. Only what is public from the start may leave, where a rule names it. */
static const struct {
    const char *name, *because;
    bool open;
} builtin[] = {
    {"cabin", "Vehicle.Cabin.*, what is said in the cabin, and all that has no label", false},
    {"cabin.navigation", "Vehicle.Cabin.Infotainment.Navigation.*", false},
    {"cabin.speech", "What the microphones hear", false},
    {"driver", "Vehicle.Driver.*", false},
    {"driver.health", "Vehicle.Driver.* about heart rate, fatigue and the like", false},
    {"identifier", "Phone numbers, addresses and the like, as detectors find them", false},
    {"location", "Vehicle.CurrentLocation.*", false},
    {"location.precise", "Coordinates", false},
    {"occupant", "Vehicle.Occupant.*", false},
    {"public", "What anybody could ask from anywhere", true},
    {"vehicle.identification", "Vehicle.VehicleIdentification.*", false},
};

static struct rt_node *nodes(struct rt_compiler *c)
{
    return (struct rt_node *)(void *)c->nodes.data;
}

static int n_node(const struct rt_compiler *c)
{
    return (int)(c->nodes.len / sizeof(struct rt_node));
}

/* ---- what a class permits ---- */

static struct rt_pairs all_pairs(const struct rt_policy *p)
{
    struct rt_pairs all = {0};
    for (int i = 0; i < p->n_target; i++) {
        all.prompt |= (uint64_t)p->target[i].d.prompt << i;
        all.hidden |= (uint64_t)p->target[i].d.hidden << i;
    }
    return all;
}

static bool within(struct rt_pairs a, struct rt_pairs b)
{
    return (a.prompt & ~b.prompt) == 0 && (a.hidden & ~b.hidden) == 0;
}

/* { mode: prompt, target: cloud }, { mode: prompt, where: eu }, or a mode alone: to any target. */
static void take_permit(struct rt_compiler *c, const struct rt_yaml *n, struct rt_pairs *to)
{
    const bool map = n->kind == RT_YAML_MAP;
    const struct rt_yaml *mode = map ? rt_key(n, "mode") : n;
    const struct rt_yaml *target = map ? rt_key(n, "target") : NULL;
    const struct rt_yaml *where = map ? rt_key(n, "where") : NULL;
    struct rt_pairs all = all_pairs(c->p);
    uint64_t some = UINT64_MAX;
    int which;

    if (map)
        rt_check_keys(c, n, "a permission", PERMIT_KEYS);
    if (mode == NULL) {
        rt_tell(c, n, RT_C_MISSING_KEY,
                "a permission names a mode: { mode: prompt, target: cloud }");
        return;
    }
    if (!rt_take_choice(c, mode, "a mode that is permitted", "prompt|hidden", &which))
        return;
    if (target != NULL) {
        int t = rt_target_find(c, target);
        some = t >= 0 ? UINT64_C(1) << t : 0;
    }
    if (where != NULL && rt_take_name(c, where, "where")) {
        uint64_t there = 0;
        for (int i = 0; i < c->p->n_target; i++)
            there |= (uint64_t)(strcmp(c->p->target[i].d.where, where->text) == 0) << i;
        if (there == 0)
            rt_tell(c, where, RT_C_EMPTY_WHERE, "no target is in '%s'", where->text);
        some &= there;
    }
    if (which == 0)
        to->prompt |= all.prompt & some;
    else
        to->hidden |= all.hidden & some;
}

static void take_permits(struct rt_compiler *c, const struct rt_yaml *n, struct rt_pairs *to)
{
    int which;

    if (n->kind == RT_YAML_SEQ && n->n > 0) {
        for (const struct rt_yaml *v = n->child; v != NULL; v = v->next)
            take_permit(c, v, to);
    } else if (n->kind != RT_YAML_SCALAR) {
        rt_tell(c, n, RT_C_WRONG_SHAPE,
                "what a class permits is none, any, or a list: [{ mode: prompt, target: "
                "cloud }]");
    } else if (rt_take_choice(c, n, "what a class permits", "none|any", &which) && which == 1) {
        *to = all_pairs(c->p);
    }
}

/* ---- the tree ---- */

static int by_name(const void *pa, const void *pb)
{
    const struct rt_node *a = pa, *b = pb;
    return strcmp(a->name, b->name);
}

static const struct rt_node *find_node(const struct rt_node *at, int n, const char *name)
{
    struct rt_node key = {.name = name};
    return n > 0 ? bsearch(&key, at, (size_t)n, sizeof key, by_name) : NULL;
}

/* The nearest of the nodes at or above the class of that name. */
static const struct rt_node *covering(const struct rt_node *at, int n, const char *cls)
{
    char name[RT_MAX_NAME_BYTES + 1];
    size_t len = strlen(cls);

    if (len > RT_MAX_NAME_BYTES)
        len = RT_MAX_NAME_BYTES;
    memcpy(name, cls, len);
    while (len > 0) {
        bool whole = cls[len] == '\0' || cls[len] == '.';
        name[len] = '\0';
        const struct rt_node *found = whole ? find_node(at, n, name) : NULL;
        if (found != NULL)
            return found;
        while (len > 0 && name[len - 1] != '.')
            len--;
        len -= len > 0;
    }
    return NULL;
}

static void add_node(struct rt_compiler *c, const struct rt_node *node)
{
    if (n_node(c) >= MAX_NODE) {
        rt_diag_add(c->d, RT_C_LIMIT, node->line, node->col, "more than %d different data classes",
                    MAX_NODE);
        c->err = BASE_ELIMIT;
        return;
    }
    if (c->err == 0)
        c->err = base_buf_add(&c->nodes, node, sizeof *node);
}

static void add_builtin(struct rt_compiler *c)
{
    for (size_t i = 0; i < sizeof builtin / sizeof builtin[0] && c->err == 0; i++) {
        struct rt_node n = {.name = builtin[i].name,
                            .because = builtin[i].because,
                            .builtin = true,
                            .overridable = true,
                            .src = -1};
        n.str = rt_str_add(c, n.name, strlen(n.name));
        if (builtin[i].open)
            n.permits = all_pairs(c->p);
        add_node(c, &n);
    }
}

/* The nearest class at or above this one that a file has declared. */
static const struct rt_node *declared_above(const struct rt_node *old, int n_old, const char *cls)
{
    char name[RT_MAX_NAME_BYTES + 1];
    const struct rt_node *at = covering(old, n_old, cls);

    while (at != NULL && at->builtin) {
        const char *dot = strrchr(at->name, '.');
        if (dot == NULL)
            return NULL;
        memcpy(name, at->name, (size_t)(dot - at->name));
        name[dot - at->name] = '\0';
        at = covering(old, n_old, name);
    }
    return at;
}

/* A class that an included file has declared, or that lies below one, can only permit less. */
static void check_override(struct rt_compiler *c, const struct rt_yaml *n,
                           const struct rt_node *old, int n_old, const struct rt_node *now)
{
    const struct rt_node *above = covering(old, n_old, now->name);
    const struct rt_node *by = declared_above(old, n_old, now->name);

    if (by == NULL || by->overridable || within(now->permits, above->permits))
        return;
    rt_tell(c, n, RT_C_NOT_OVERRIDABLE,
            "class '%s' would permit more than '%s' does in '%s', line %d; a file that includes "
            "another can only permit less, unless that class says 'overridable: true'",
            now->name, by->name, c->src[by->src].name, by->line);
}

static void take_class(struct rt_compiler *c, const struct rt_yaml *n, const struct rt_node *old,
                       int n_old)
{
    struct rt_item it;
    struct rt_node node = {
        .because = "", .declared = true, .src = c->at, .line = n->key->line, .col = n->key->col};
    const bool map = n->kind == RT_YAML_MAP;
    const struct rt_yaml *permits = map ? rt_key(n, "permits") : n, *over;

    if (!rt_take_glob(c, n->key, false, &it))
        return;
    if (it.subtree) {
        rt_tell(c, n->key, RT_C_BAD_CLASS,
                "a class stands for all below it; write it without '.*'");
        return;
    }
    node.str = it.val.str;
    node.name = c->p->str[it.val.str];
    if (map)
        rt_check_keys(c, n, "a class", CLASS_KEYS);
    if (permits == NULL)
        rt_tell(c, n, RT_C_MISSING_KEY, "a class needs 'permits': none, any, or a list of modes");
    else
        take_permits(c, permits, &node.permits);
    if (map && (over = rt_key(n, "overridable")) != NULL)
        rt_take_bool(c, over, "overridable", &node.overridable);
    node.because = rt_keep_text(c, map ? rt_key(n, "because") : NULL, "because");
    check_override(c, n->key, old, n_old, &node);
    add_node(c, &node);
}

/* Sorts; of two of one name the later added stays. */
static void settle(struct rt_compiler *c)
{
    struct rt_node *at = nodes(c);
    int n = n_node(c), kept = 0;

    /* qsort is not stable: the order of adding is src, with what is built in first. */
    qsort(at, (size_t)n, sizeof *at, by_name);
    for (int i = 0; i < n; i++) {
        if (kept == 0 || strcmp(at[kept - 1].name, at[i].name) != 0)
            at[kept++] = at[i];
        else if (at[i].src > at[kept - 1].src)
            at[kept - 1] = at[i];
    }
    c->nodes.len = (size_t)kept * sizeof *at;
}

static void take_source(struct rt_compiler *c)
{
    const struct rt_yaml *n = rt_key(c->src[c->at].root, "classes");
    if (n == NULL)
        return;
    if (n->kind != RT_YAML_MAP) {
        rt_tell(c, n, RT_C_WRONG_SHAPE, "'classes' takes names: public.media: [prompt]");
        return;
    }
    /* What was there before this file, by which it is measured. */
    size_t bytes = c->nodes.len;
    struct rt_node *old = malloc(bytes);
    if (old == NULL) {
        c->err = BASE_ENOMEM;
        return;
    }
    memcpy(old, c->nodes.data, bytes);
    for (const struct rt_yaml *v = n->child; v != NULL && c->err == 0; v = v->next)
        take_class(c, v, old, (int)(bytes / sizeof *old));
    free(old);
}

/* Classes that conditions name are rows of the table too. They come with src -2: a declaration
 * wins. */
static void add_named(struct rt_compiler *c)
{
    bool *seen = calloc((size_t)c->p->n_str + 1, sizeof *seen);

    if (seen == NULL) {
        c->err = BASE_ENOMEM;
        return;
    }
    for (int i = 0; i < n_node(c); i++)
        seen[nodes(c)[i].str] = true;
    for (uint32_t i = 0; i < rt_n_cond(c) && c->err == 0; i++) {
        const struct rt_cond *t = &rt_conds(c)[i];
        for (uint32_t k = 0; t->op >= RT_OP_CLS_ANY && k < t->n_item && c->err == 0; k++) {
            const struct rt_item *it = &rt_items(c)[t->item + k];
            if (it->val.str == RT_STR_ROOT || seen[it->val.str])
                continue;
            seen[it->val.str] = true;
            struct rt_node node = {.str = it->val.str,
                                   .name = c->p->str[it->val.str],
                                   .because = "",
                                   .src = -2,
                                   .line = it->line,
                                   .col = it->col};
            add_node(c, &node);
        }
    }
    free(seen);
}

static void inherit(struct rt_compiler *c)
{
    struct rt_node *at = nodes(c);
    int n = n_node(c);

    for (int i = 0; i < n; i++) {
        const char *dot = strrchr(at[i].name, '.');
        char above[RT_MAX_NAME_BYTES + 1];
        at[i].parent = -1;
        if (dot != NULL) {
            memcpy(above, at[i].name, (size_t)(dot - at[i].name));
            above[dot - at[i].name] = '\0';
            const struct rt_node *up = covering(at, i, above);
            at[i].parent = up != NULL ? (int)(up - at) : -1;
        }
        if (!at[i].declared && !at[i].builtin && at[i].parent >= 0)
            at[i].permits = at[at[i].parent].permits;
    }
}

void rt_classes(struct rt_compiler *c)
{
    add_builtin(c);
    for (int s = 0; s < c->n_src && c->err == 0; s++) {
        rt_in_source(c, s);
        take_source(c);
        if (c->err == 0)
            settle(c);
    }
    if (c->err == 0)
        add_named(c);
    if (c->err != 0)
        return;
    settle(c);
    inherit(c);
}

struct rt_pairs rt_policy_permits(const struct rt_policy *p, const char *cls)
{
    const struct rt_node *n = covering(p->node, p->n_node, cls);
    return n != NULL ? n->permits : (struct rt_pairs){0};
}
