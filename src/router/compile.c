/* Texts -> compiled policy: the top level, and the order of the steps. */
#include "router/compile.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
    LANGUAGE = 1,
    POLICY_BYTES = 64 << 20, /* strings of a policy */
};

#define TOP_KEYS \
    "waypost_policy|version|include|classes|targets|callers|signals|budgets|consents|share|rules"

const struct rt_yaml *rt_key(const struct rt_yaml *map, const char *key)
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

void rt_check_keys(struct rt_compiler *c, const struct rt_yaml *map, const char *where,
                   const char *choices)
{
    for (const struct rt_yaml *v = map->child; v != NULL; v = v->next) {
        if (!listed(v->key->text, choices))
            rt_unknown_key(c, v->key, RT_C_UNKNOWN_KEY, where, choices);
    }
}

char *rt_keep(struct rt_compiler *c, const char *s, size_t n)
{
    char *p = base_arena_strndup(&c->p->arena, s, n);
    if (p == NULL)
        c->err = BASE_ENOMEM;
    return p;
}

const char *rt_keep_text(struct rt_compiler *c, const struct rt_yaml *v, const char *what)
{
    if (v == NULL || !rt_take_text(c, v, what))
        return "";
    size_t len = v->len;
    while (len > 0 && (v->text[len - 1] == '\n' || v->text[len - 1] == ' '))
        len--;
    char *s = rt_keep(c, v->text, len);
    for (char *nl = s; nl != NULL && (nl = strchr(nl, '\n')) != NULL;)
        *nl = ' ';
    return s != NULL ? s : "";
}

/* ---- head ---- */

static void compile_head(struct rt_compiler *c)
{
    const struct rt_yaml *root = c->src[c->at].root;
    const struct rt_yaml *lang = rt_key(root, "waypost_policy"), *version = rt_key(root, "version");
    int64_t n;

    rt_check_keys(c, root, "a policy", TOP_KEYS);
    if (lang == NULL || lang != root->child)
        rt_tell(c, lang != NULL ? lang->key : root, RT_C_NO_POLICY,
                "a policy starts with 'waypost_policy: 1'");
    if (lang != NULL)
        rt_take_int(c, lang, "waypost_policy, the version of the language,", LANGUAGE, LANGUAGE,
                    &n);
    if (version == NULL)
        rt_tell(c, root, RT_C_MISSING_KEY,
                "no 'version': give the file one, such as version: \"2026-11-23.1\"");
    else if (rt_take_name(c, version, "version"))
        c->p->version = rt_keep(c, version->text, version->len);
}

/* ---- the whole ---- */

/* Hands the grown arrays to the policy; from here rt_policy_free has them. */
static void take_arrays(struct rt_compiler *c)
{
    struct rt_policy *p = c->p;
    p->cond = rt_conds(c);
    p->n_cond = rt_n_cond(c);
    p->item = rt_items(c);
    p->n_item = (uint32_t)(c->items.len / sizeof *p->item);
    p->rule = rt_rules_of(c);
    p->n_rule = (int)rt_n_rule(c);
    p->node = (struct rt_node *)(void *)c->nodes.data;
    p->n_node = (int)(c->nodes.len / sizeof *p->node);
    p->str = (const char **)(void *)c->strs.data;
}

static void check_targets(struct rt_compiler *c)
{
    for (int i = 0; i < c->p->n_target; i++) {
        const struct rt_target *t = &c->p->target[i];
        if (t->used)
            continue;
        rt_in_source(c, t->src);
        rt_diag_add(c->d, RT_C_UNUSED_TARGET, t->line, t->col, "no rule uses target '%s'",
                    t->d.name);
    }
}

/* A budget that no rule asks after, or a consent, is no limit at all. */
static void check_own(struct rt_compiler *c)
{
    for (int i = 0; i < c->p->n_own; i++) {
        const struct rt_fact_info *f = &c->p->own[i];
        bool state = strcmp(f->source, "budget") == 0 || strcmp(f->source, "consent") == 0;
        if (!state || rt_policy_uses(c->p, (enum rt_fact_id)(RT_N_FACT + i)))
            continue;
        rt_in_source(c, c->own_at[i].src);
        rt_diag_add(c->d, RT_C_UNUSED_STATE, c->own_at[i].line, c->own_at[i].col,
                    "no rule asks after '%s', so it limits nothing", f->name);
    }
}

static bool asks_directly(const struct rt_policy *p, const struct rt_rule *r, int fact)
{
    for (uint32_t i = r->cond + 1; i < r->end; i = p->cond[i].end) {
        const struct rt_cond *t = &p->cond[i];
        if (t->op == RT_OP_NOT && t[1].op == RT_OP_EQ)
            t++;
        if (t->op > RT_OP_NOT && t->fact == fact)
            return true;
    }
    return false;
}

/* A final rule is there to guard, and one on a fact that is missing does not: then the rules behind
 * it must ask for that fact themselves. */
static void check_guard(struct rt_compiler *c, const struct rt_rule *guard)
{
    const struct rt_policy *p = c->p;

    for (uint32_t i = guard->cond; i < guard->end; i++) {
        const struct rt_cond *t = &p->cond[i];
        if (t->op <= RT_OP_NOT || t->fact == RT_F_DATA_CLASS)
            continue;
        for (int r = 0; r < p->n_rule; r++) {
            if (!rt_leaves(p->rule[r].route.mode) || asks_directly(p, &p->rule[r], t->fact))
                continue;
            rt_in_source(c, guard->src);
            rt_diag_add(c->d, RT_C_WEAK_GUARD, t->line, t->col,
                        "rule '%s' guards only while %s is known, and '%s' in line %d leaves "
                        "without asking for it",
                        guard->name, rt_info(p, t->fact)->name, p->rule[r].name, p->rule[r].line);
            return;
        }
    }
}

static void check_guards(struct rt_compiler *c)
{
    for (int r = 0; r < c->p->n_rule; r++) {
        if (c->p->rule[r].final)
            check_guard(c, &c->p->rule[r]);
    }
}

/* What needs all rules, and that they are right so far. */
static void check_whole(struct rt_compiler *c)
{
    rt_bind_share(c);
    rt_check_dead(c);
    if (c->err == 0)
        rt_check_egress(c);
    check_targets(c);
    check_own(c);
    check_guards(c);
}

static int compile(struct rt_compiler *c)
{
    for (int s = 0; s < c->n_src; s++) {
        rt_in_source(c, s);
        compile_head(c); /* the last is the file given: its version is the policy's */
    }
    rt_declare(c);
    if (c->err == 0)
        rt_rules(c);
    if (c->err == 0)
        rt_classes(c);
    take_arrays(c);
    if (c->err == 0 && c->d->n_error == 0)
        check_whole(c);
    if (c->err == 0 && c->d->n_error == 0)
        c->err = rt_reach_rows(c->p);
    if (c->err == 0 && c->d->n_error == 0)
        c->err = rt_index_build(c->p);
    return c->err;
}

/* Of one text, its hash; of several, the hash of their names and hashes, in the order in which the
 * later wins. */
static int hash_sources(struct rt_compiler *c, const struct rt_source *src, int n)
{
    struct base_buf all;
    uint8_t one[BASE_SHA256_BYTES];

    if (c->n_src == 1)
        return base_sha256(src[0].text, src[0].len, c->p->hash);
    base_buf_init(&all, SIZE_MAX / 2);
    int err = 0;
    for (int s = 0; s < c->n_src && err == 0; s++) {
        int i = 0;
        while (i < n - 1 && src[i].name != c->src[s].name)
            i++;
        err = base_sha256(src[i].text, src[i].len, one);
        base_buf_add(&all, src[i].name, strlen(src[i].name) + 1);
        base_buf_add(&all, one, sizeof one);
    }
    if (err == 0)
        err = all.err != 0 ? all.err : base_sha256(all.data, all.len, c->p->hash);
    base_buf_fini(&all);
    return err;
}

int rt_policy_compile_sources(struct rt_policy **out, const struct rt_source *src, int n,
                              struct rt_diags *diags)
{
    struct base_arena tree;
    struct rt_policy *p = calloc(1, sizeof *p);

    *out = NULL;
    diags->n = diags->n_error = 0;
    diags->file = NULL;
    if (p == NULL)
        return BASE_ENOMEM;
    struct rt_compiler c = {.p = p, .d = diags, .tree = &tree};
    base_arena_init(&tree, RT_TREE_BYTES);
    base_arena_init(&p->arena, POLICY_BYTES);
    base_buf_init(&c.conds, SIZE_MAX / 2);
    base_buf_init(&c.items, SIZE_MAX / 2);
    base_buf_init(&c.rules, SIZE_MAX / 2);
    base_buf_init(&c.nodes, SIZE_MAX / 2);
    base_buf_init(&c.strs, SIZE_MAX / 2);
    int err = rt_include(&c, src, n);
    if (err == 0)
        err = c.n_src > 0 ? compile(&c) : BASE_EFORMAT; /* the given text may be no mapping */
    p->n_src = c.n_src;
    take_arrays(&c);
    rt_diag_sort(diags);
    if (err == 0 && diags->n_error > 0)
        err = BASE_EFORMAT;
    if (err == 0)
        err = hash_sources(&c, src, n);
    diags->file = NULL;
    base_arena_fini(&tree);
    if (err != 0)
        rt_policy_free(p);
    else
        *out = p;
    return err;
}

int rt_policy_compile(struct rt_policy **out, const char *text, size_t len, struct rt_diags *diags)
{
    const struct rt_source one = {.name = "", .text = text, .len = len};
    return rt_policy_compile_sources(out, &one, 1, diags);
}
