/* A policy of several files. Each text is read once; what is included comes before what includes
 * it, and of two included by one text the later comes later. So later wins, and the given text is
 * last. */
#include "router/compile.h"

#include <stdlib.h>
#include <string.h>

void rt_in_source(struct rt_compiler *c, int at)
{
    c->at = at;
    c->d->file = c->src[at].name;
}

struct visit {
    struct rt_compiler *c;
    const struct rt_source *src;
    int n;
    size_t left; /* bytes */
    enum { NEW, OPEN, DONE } state[RT_MAX_SOURCE];
};

static bool take_file(struct rt_compiler *c, const struct rt_yaml *n)
{
    if (!rt_take_name(c, n, "the name of an included file"))
        return false;
    if (n->text[0] == '.') {
        rt_tell(c, n, RT_C_BAD_INCLUDE,
                "an included file is named without folders: include: [fleet.yaml]");
        return false;
    }
    return true;
}

static int visit(struct visit *v, int at);

static int follow(struct visit *v, int from, const struct rt_yaml *n)
{
    struct rt_compiler *c = v->c;

    if (!take_file(c, n))
        return 0;
    for (int i = 0; i < v->n; i++) {
        if (strcmp(v->src[i].name, n->text) != 0)
            continue;
        if (v->state[i] == OPEN)
            rt_tell(c, n, RT_C_BAD_INCLUDE, "'%s' includes itself, here or on the way here",
                    n->text);
        int err = v->state[i] == NEW ? visit(v, i) : 0;
        c->d->file = v->src[from].name;
        return err;
    }
    rt_tell(c, n, RT_C_BAD_INCLUDE, "no file '%s' beside this one", n->text);
    return 0;
}

static int visit(struct visit *v, int at)
{
    struct rt_compiler *c = v->c;
    struct rt_yaml *root;

    v->state[at] = OPEN;
    c->d->file = v->src[at].name;
    int err = rt_yaml_parse(c->tree, v->src[at].text, v->src[at].len, v->left, c->d, &root);
    if (err != 0)
        return err;
    v->left -= v->src[at].len;
    if (root->kind != RT_YAML_MAP) {
        rt_tell(c, root, RT_C_NO_POLICY,
                "a policy is a mapping that starts with 'waypost_policy: 1'");
        return 0;
    }
    const struct rt_yaml *inc = rt_key(root, "include");
    if (inc != NULL && (inc->kind != RT_YAML_SEQ || inc->n == 0))
        rt_tell(c, inc, RT_C_WRONG_SHAPE, "'include' takes a list of files: include: [fleet.yaml]");
    for (const struct rt_yaml *f = inc != NULL ? inc->child : NULL; f != NULL && err == 0;
         f = f->next)
        err = follow(v, at, f);
    v->state[at] = DONE;
    c->src[c->n_src++] = (struct rt_src){.name = v->src[at].name, .root = root};
    return err;
}

int rt_include(struct rt_compiler *c, const struct rt_source *src, int n)
{
    struct visit v = {.c = c, .src = src, .n = n, .left = RT_MAX_TEXT_BYTES};

    if (n > RT_MAX_SOURCE) {
        rt_diag_add(c->d, RT_C_LIMIT, 1, 1, "%d files; a policy has at most %d", n, RT_MAX_SOURCE);
        return BASE_ELIMIT;
    }
    return visit(&v, 0);
}

/* Most policies include nothing, and need not be read twice to know it. The word may be hidden
 * behind escapes. */
static bool may_include(const char *text, size_t len)
{
    return memmem(text, len, "include", 7) != NULL || memchr(text, '\\', len) != NULL;
}

int rt_policy_includes(const char *text, size_t len, int (*cb)(void *ctx, const char *name),
                       void *ctx)
{
    struct base_arena tree;
    struct rt_yaml *root;
    struct rt_diags *d = calloc(1, sizeof *d);
    struct rt_compiler c = {.d = d};
    int err = 0;

    if (!may_include(text, len)) {
        free(d);
        return 0;
    }
    if (d == NULL)
        return BASE_ENOMEM;
    base_arena_init(&tree, RT_TREE_BYTES);
    int parsed = rt_yaml_parse(&tree, text, len, RT_MAX_TEXT_BYTES, d, &root);
    const struct rt_yaml *inc = parsed == 0 ? rt_key(root, "include") : NULL;
    for (const struct rt_yaml *f = inc != NULL ? inc->child : NULL; f != NULL && err == 0;
         f = f->next) {
        if (take_file(&c, f))
            err = cb(ctx, f->text);
    }
    base_arena_fini(&tree);
    free(d);
    return parsed == BASE_ENOMEM ? parsed : err;
}
