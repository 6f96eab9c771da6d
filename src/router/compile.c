/* Tree -> compiled policy: the top level, targets and rules. */
#include "router/compile.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
    LANGUAGE = 1,
    DEFAULT_PROMPT_BYTES = 256 << 10,
    DEFAULT_HIDDEN_BYTES = 16 << 20, /* 4000 rows of 4 KiB: a 2048-wide model in f16 */
    MOST_BYTES = 1 << 30,
    MAX_LAYER = 511,
    POLICY_BYTES = 64 << 20, /* strings of a policy */
    TREE_BYTES = 128 << 20,
};

#define TOP_KEYS "waypost_policy|version|targets|rules"
#define TARGET_KEYS "modes"
#define RULE_KEYS "name|when|route|target|fallback|max_bytes|layer|tail|dtype|because"

/* NULL also if it is no mapping, which is reported where it is read. */
static const struct rt_yaml *find(const struct rt_yaml *map, const char *key)
{
    for (const struct rt_yaml *v = map->kind == RT_YAML_MAP ? map->child : NULL; v != NULL;
         v = v->next) {
        if (strcmp(v->key->text, key) == 0)
            return v;
    }
    return NULL;
}

static bool listed(const char *word, const char *choices)
{
    size_t n = strlen(word);
    for (const char *s = choices; s != NULL;
         s = strchr(s, '|') != NULL ? strchr(s, '|') + 1 : NULL) {
        if (n > 0 && strncmp(s, word, n) == 0 && (s[n] == '|' || s[n] == '\0'))
            return true;
    }
    return false;
}

static void check_keys(struct rt_compiler *c, const struct rt_yaml *map, const char *where,
                       const char *choices)
{
    for (const struct rt_yaml *v = map->child; v != NULL; v = v->next) {
        if (!listed(v->key->text, choices))
            rt_unknown_key(c, v->key, where, choices);
    }
}

static char *keep(struct rt_compiler *c, const char *s, size_t n)
{
    char *p = base_arena_strndup(&c->p->arena, s, n);
    if (p == NULL)
        c->err = BASE_ENOMEM;
    return p;
}

/* ---- head ---- */

static void compile_head(struct rt_compiler *c, const struct rt_yaml *root)
{
    const struct rt_yaml *lang = find(root, "waypost_policy"), *version = find(root, "version");
    int64_t n;

    if (lang == NULL || lang != root->child)
        rt_error(c, lang != NULL ? lang->key : root, "a policy starts with 'waypost_policy: 1'");
    if (lang != NULL)
        rt_take_int(c, lang, "waypost_policy, the version of the language,", LANGUAGE, LANGUAGE,
                    &n);
    if (version == NULL)
        rt_error(c, root, "no 'version': give the file one, such as version: \"2026-11-23.1\"");
    else if (rt_take_name(c, version, "version"))
        c->p->version = keep(c, version->text, version->len);
}

/* ---- targets ---- */

static void compile_target(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_target t = {.line = n->key->line, .col = n->key->col};

    if (!rt_take_name(c, n->key, "the name of a target"))
        return;
    if (c->p->n_target == RT_MAX_TARGET) {
        rt_error(c, n->key, "more than %d targets", RT_MAX_TARGET);
        return;
    }
    const struct rt_yaml *modes = find(n, "modes");
    if (n->kind == RT_YAML_MAP)
        check_keys(c, n, "a target", TARGET_KEYS);
    if (modes == NULL || modes->kind != RT_YAML_SEQ || modes->n == 0) {
        rt_error(c, modes != NULL ? modes : n,
                 "a target needs its modes: { modes: [prompt, hidden] }");
        modes = NULL;
    }
    for (const struct rt_yaml *m = modes != NULL ? modes->child : NULL; m != NULL; m = m->next) {
        int which;
        if (!rt_take_choice(c, m, "a target's mode", "prompt|hidden", &which))
            continue;
        uint32_t bit = 1u << (which == 0 ? RT_PROMPT : RT_HIDDEN);
        if ((t.modes & bit) != 0)
            rt_error(c, m, "'%s' is twice in the list", m->text);
        t.modes |= bit;
    }
    t.name = keep(c, n->key->text, n->key->len);
    c->p->target[c->p->n_target++] = t;
}

static void compile_targets(struct rt_compiler *c, const struct rt_yaml *n)
{
    if (n->kind != RT_YAML_MAP) {
        rt_error(c, n, "'targets' takes names: cloud: { modes: [prompt, hidden] }");
        return;
    }
    for (const struct rt_yaml *v = n->child; v != NULL && c->err == 0; v = v->next)
        compile_target(c, v);
}

static const char *next_target(const void *ctx, int i)
{
    const struct rt_policy *p = ctx;
    return i < p->n_target ? p->target[i].name : NULL;
}

static int find_target(struct rt_compiler *c, const struct rt_yaml *n)
{
    char show[RT_SHOW_BYTES];

    if (!rt_take_name(c, n, "target"))
        return -1;
    for (int i = 0; i < c->p->n_target; i++) {
        if (strcmp(c->p->target[i].name, n->text) == 0)
            return i;
    }
    const char *hint = rt_nearest(n->text, next_target, c->p);
    rt_error(c, n, "no target %s in 'targets'%s%s%s", rt_show(n->text, n->len, show),
             hint != NULL ? "; did you mean '" : "", hint != NULL ? hint : "",
             hint != NULL ? "'?" : "");
    return -1;
}

/* ---- rules ---- */

static void rule_target(struct rt_compiler *c, const struct rt_yaml *n, struct rt_rule *r,
                        const struct rt_yaml *route)
{
    const struct rt_yaml *t = find(n, "target");
    bool leaves = r->route.mode == RT_PROMPT || r->route.mode == RT_HIDDEN;

    if (t != NULL)
        r->target = find_target(c, t);
    if (t == NULL && leaves)
        rt_error(c, route, "route '%s' needs a target: NAME", rt_mode_str(r->route.mode));
    if (t != NULL && !leaves && !r->uses_link)
        rt_error(c, t, "route '%s' has no target", rt_mode_str(r->route.mode));
    if (t == NULL && !leaves && r->uses_link) {
        if (c->p->n_target == 1)
            r->target = 0;
        else
            rt_error(c, route, "link.* of which target? add target: NAME");
    }
    if (r->target < 0)
        return;
    struct rt_target *to = &c->p->target[r->target];
    to->used = true;
    if (!leaves)
        return;
    r->route.target = to->name;
    if ((to->modes >> r->route.mode & 1) == 0)
        rt_error(c, route, "target '%s' does not take '%s'; see its modes in line %d", to->name,
                 rt_mode_str(r->route.mode), to->line);
}

/* A key that belongs to some routes only. */
static const struct rt_yaml *rule_key(struct rt_compiler *c, const struct rt_yaml *n,
                                      const struct rt_rule *r, const char *key, uint32_t modes)
{
    const struct rt_yaml *v = find(n, key);
    if (v != NULL && (modes >> r->route.mode & 1) == 0) {
        rt_error(c, v->key, "'%s' means nothing with route '%s'", key, rt_mode_str(r->route.mode));
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
    if (layer == NULL && r->route.mode == RT_HIDDEN && find(n, "layer") == NULL)
        rt_error(c, route,
                 "route 'hidden' needs the layer at which the cloud takes over: layer: 10");
    if (tail != NULL && rt_take_choice(c, tail, "tail", "cloud|edge", &which))
        r->route.tail = which == 0 ? RT_TAIL_CLOUD : RT_TAIL_EDGE;
    if (dtype != NULL && rt_take_choice(c, dtype, "dtype", "f32|f16|i8", &which))
        r->route.dtype = which == 0 ? RT_F32 : which == 1 ? RT_F16 : RT_I8;
    if (most != NULL && rt_take_int(c, most, "max_bytes", 1, MOST_BYTES, &v))
        r->route.max_bytes = (uint64_t)v;
    if (fallback != NULL && rt_take_choice(c, fallback, "fallback", "local|refuse", &which))
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
    const struct rt_yaml *when = find(n, "when");
    const struct rt_yaml *cls = when != NULL ? find(when, "data.class") : NULL;
    const struct rt_yaml *only = cls != NULL ? find(cls, "only") : NULL;

    if (only == NULL) {
        rt_error(c, route,
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
            rt_diag_add(c->d, true, t->line, t->col,
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
    const struct rt_yaml *name = find(n, "name"), *because = find(n, "because");

    r->name = r->because = "";
    if (name == NULL) {
        rt_error(c, n, "a rule needs a name");
    } else if (rt_take_name(c, name, "name")) {
        if (strcmp(name->text, "default") == 0 || strcmp(name->text, "caller-hint") == 0)
            rt_error(c, name, "'%s' is what the router calls a decision of its own", name->text);
        r->name = keep(c, name->text, name->len);
    }
    if (because != NULL && rt_take_text(c, because, "because")) {
        size_t len = because->len;
        while (len > 0 && (because->text[len - 1] == '\n' || because->text[len - 1] == ' '))
            len--;
        char *s = keep(c, because->text, len);
        for (char *nl = s; nl != NULL && (nl = strchr(nl, '\n')) != NULL;)
            *nl = ' ';
        r->because = s;
    }
}

static void compile_rule(struct rt_compiler *c, const struct rt_yaml *n)
{
    struct rt_rule r = {.target = -1, .line = n->line, .col = n->col};

    if (n->kind != RT_YAML_MAP) {
        rt_error(c, n, "a rule is a mapping: - name: …");
        return;
    }
    check_keys(c, n, "a rule", RULE_KEYS);
    rule_texts(c, n, &r);
    const struct rt_yaml *when = find(n, "when"), *route = find(n, "route");
    int mode;
    r.cond = rt_n_cond(c);
    if (when != NULL)
        rt_cond_compile(c, when);
    r.end = rt_n_cond(c);
    if (c->err == 0)
        r.uses_link = uses_link(c, r.cond, r.end);
    if (route == NULL) {
        rt_error(c, n, "a rule needs a route: local, prompt, hidden or refuse");
    } else if (rt_take_choice(c, route, "route", "local|prompt|hidden|refuse", &mode)) {
        r.route.mode = (enum rt_mode)mode;
        rule_params(c, n, &r, route);
        rule_target(c, n, &r, route);
        if (r.route.mode == RT_PROMPT || r.route.mode == RT_HIDDEN)
            rule_egress(c, n, &r, route);
    }
    if (c->err == 0 && base_buf_add(&c->rules, &r, sizeof r) != 0)
        c->err = BASE_ENOMEM;
}

static int by_name(const void *pa, const void *pb)
{
    const struct rt_rule *a = *(const struct rt_rule *const *)pa;
    const struct rt_rule *b = *(const struct rt_rule *const *)pb;
    int cmp = strcmp(a->name, b->name);
    return cmp != 0 ? cmp : a->line < b->line ? -1 : a->line > b->line;
}

static void check_names(struct rt_compiler *c)
{
    const struct rt_rule *rule = (const struct rt_rule *)(const void *)c->rules.data;
    size_t n = c->rules.len / sizeof *rule;
    const struct rt_rule **sorted = calloc(n + 1, sizeof *sorted);

    if (sorted == NULL) {
        c->err = BASE_ENOMEM;
        return;
    }
    for (size_t i = 0; i < n; i++)
        sorted[i] = &rule[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0 && sorted[i]->name[0] != '\0')
            rt_diag_add(c->d, false, sorted[i]->line, sorted[i]->col,
                        "a rule named '%s' is already in line %d", sorted[i]->name,
                        sorted[i - 1]->line);
    }
    free(sorted);
}

static void compile_rules(struct rt_compiler *c, const struct rt_yaml *n)
{
    if (n->kind != RT_YAML_SEQ) {
        rt_error(c, n, "'rules' takes a list: - name: …");
        return;
    }
    if (n->n > RT_MAX_RULE) {
        rt_error(c, n, "%d rules; a policy has at most %d", n->n, RT_MAX_RULE);
        return;
    }
    for (const struct rt_yaml *v = n->child; v != NULL && c->err == 0; v = v->next)
        compile_rule(c, v);
    if (c->err == 0)
        check_names(c);
    if (c->err == 0 && c->d->n_error == 0)
        rt_check_reach(c);
}

/* ---- the whole ---- */

static void compile_root(struct rt_compiler *c, const struct rt_yaml *root)
{
    if (root->kind != RT_YAML_MAP) {
        rt_error(c, root, "a policy is a mapping that starts with 'waypost_policy: 1'");
        return;
    }
    check_keys(c, root, "a policy", TOP_KEYS);
    compile_head(c, root);
    const struct rt_yaml *targets = find(root, "targets"), *rules = find(root, "rules");
    if (targets != NULL)
        compile_targets(c, targets);
    if (rules == NULL)
        rt_error(c, root, "no 'rules'; a policy under which nothing leaves has rules: []");
    else
        compile_rules(c, rules);
    for (int i = 0; i < c->p->n_target && c->d->n_error == 0; i++) {
        const struct rt_target *t = &c->p->target[i];
        if (!t->used)
            rt_diag_add(c->d, true, t->line, t->col, "no rule uses target '%s'", t->name);
    }
}

/* Hands the grown arrays to the policy; from here rt_policy_free has them. */
static void take_arrays(struct rt_compiler *c)
{
    struct rt_policy *p = c->p;
    p->cond = rt_conds(c);
    p->n_cond = rt_n_cond(c);
    p->item = rt_items(c);
    p->n_item = (uint32_t)(c->items.len / sizeof *p->item);
    p->rule = (struct rt_rule *)(void *)c->rules.data;
    p->n_rule = (int)(c->rules.len / sizeof *p->rule);
    p->str = (const char **)(void *)c->strs.data;
}

int rt_policy_compile(struct rt_policy **out, const char *text, size_t len, struct rt_diags *diags)
{
    struct base_arena tree;
    struct rt_yaml *root;
    struct rt_policy *p = calloc(1, sizeof *p);

    *out = NULL;
    diags->n = diags->n_error = 0;
    if (p == NULL)
        return BASE_ENOMEM;
    struct rt_compiler c = {.p = p, .d = diags};
    base_arena_init(&tree, TREE_BYTES);
    base_arena_init(&p->arena, POLICY_BYTES);
    base_buf_init(&c.conds, SIZE_MAX / 2);
    base_buf_init(&c.items, SIZE_MAX / 2);
    base_buf_init(&c.rules, SIZE_MAX / 2);
    base_buf_init(&c.strs, SIZE_MAX / 2);
    int err = rt_yaml_parse(&tree, text, len, diags, &root);
    if (err == 0) {
        compile_root(&c, root);
        err = c.err;
    }
    take_arrays(&c);
    rt_diag_sort(diags);
    if (err == 0 && diags->n_error > 0)
        err = BASE_EFORMAT;
    if (err == 0)
        err = base_sha256(text, len, p->hash);
    base_arena_fini(&tree);
    if (err != 0)
        rt_policy_free(p);
    else
        *out = p;
    return err;
}
