/* The proof of egress: for every class, the pairs (mode, target) that some combination of facts can
 * reach, held against what `classes` permits.
 *
 * A cell is a class that the policy names, or all those below it that it does not name: no rule can
 * tell the latter apart, so the cells stand for every class there is. A rule covers the cells that
 * all its direct `only` lists cover, less those that a direct `not: { data.class: any }` takes out.
 * A rule of which every condition is a direct `any` on data.class catches its cells: whatever holds
 * one of them is decided there, so no later rule sees it. All other conditions are taken to hold.
 * So the table holds at least what can happen, and a decision outside it is impossible. */
#include "router/compile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cells {
    int n;         /* nodes */
    int *of_str;   /* [n_str + 1]: node, or -1 */
    uint8_t *mark; /* [n]: scratch of cover() */
    uint8_t *in;   /* [n]: bit 0 the class itself, bit 1 those below: covered by the rule at hand */
    uint8_t *out;  /* [n]: what the rule at hand takes out again */
    uint8_t *caught;
};

enum { SELF = 1, BELOW = 2, BOTH = 3 };

/* into[i] &= or |= what the list covers of node i. */
static void cover(const struct rt_policy *p, struct cells *k, const struct rt_cond *t, bool both,
                  uint8_t *into)
{
    uint8_t all = 0;

    memset(k->mark, 0, (size_t)k->n);
    for (uint32_t i = 0; i < t->n_item; i++) {
        const struct rt_item *it = &p->item[t->item + i];
        if (it->val.str == RT_STR_ROOT)
            all = BOTH;
        else
            k->mark[k->of_str[it->val.str]] |= it->subtree ? BOTH : SELF;
    }
    for (int i = 0; i < k->n; i++) {
        int up = p->node[i].parent;
        if (up >= 0 && (k->mark[up] & BELOW) != 0)
            k->mark[i] = BOTH;
        k->mark[i] |= all;
        into[i] = both ? into[i] & k->mark[i] : into[i] | k->mark[i];
    }
}

static bool is_any(const struct rt_cond *t)
{
    return t->op == RT_OP_CLS_ANY && t->fact == RT_F_DATA_CLASS;
}

/* k->in: the cells that the rule can let out. */
static void covered(const struct rt_policy *p, struct cells *k, const struct rt_rule *r)
{
    memset(k->in, BOTH, (size_t)k->n);
    for (uint32_t i = r->cond + 1; i < r->end; i = p->cond[i].end) {
        const struct rt_cond *t = &p->cond[i];
        if (t->op == RT_OP_CLS_ONLY && t->fact == RT_F_DATA_CLASS)
            cover(p, k, t, true, k->in);
    }
    for (uint32_t i = r->cond + 1; i < r->end; i = p->cond[i].end) {
        const struct rt_cond *t = &p->cond[i];
        bool one = t->op == RT_OP_NOT && t[1].op == RT_OP_ALL && t[1].end == t->end &&
                   is_any(&t[2]) && t[2].end == t->end;
        if (!one)
            continue;
        memset(k->out, 0, (size_t)k->n);
        cover(p, k, &t[2], false, k->out);
        for (int n = 0; n < k->n; n++)
            k->in[n] &= (uint8_t)~k->out[n];
    }
    for (int n = 0; n < k->n; n++)
        k->in[n] &= (uint8_t)~k->caught[n];
}

static void catch (const struct rt_policy *p, struct cells *k, const struct rt_rule *r)
{
    for (uint32_t i = r->cond + 1; i < r->end; i = p->cond[i].end) {
        if (!is_any(&p->cond[i]))
            return;
    }
    memset(k->in, BOTH, (size_t)k->n);
    for (uint32_t i = r->cond + 1; i < r->end; i = p->cond[i].end)
        cover(p, k, &p->cond[i], true, k->in);
    for (int n = 0; n < k->n; n++)
        k->caught[n] |= k->in[n];
}

/* Where the first item stands of the rule's `only` lists that covers the node; the rule's place if
 * there is none. */
struct place {
    int line, col;
};

static struct place blame(const struct rt_policy *p, const struct rt_rule *r,
                          const struct rt_node *node)
{
    for (uint32_t i = r->cond + 1; i < r->end; i = p->cond[i].end) {
        const struct rt_cond *t = &p->cond[i];
        if (t->op != RT_OP_CLS_ONLY || t->fact != RT_F_DATA_CLASS)
            continue;
        for (uint32_t j = 0; j < t->n_item; j++) {
            const struct rt_item *it = &p->item[t->item + j];
            const char *name = p->str[it->val.str];
            size_t n = strlen(name);
            if (it->val.str == node->str ||
                (it->subtree && strncmp(node->name, name, n) == 0 && node->name[n] == '.'))
                return (struct place){it->line, it->col};
        }
    }
    return (struct place){r->line, r->col};
}

static void refuse(struct rt_compiler *c, const struct rt_rule *r, int node, struct place at)
{
    const struct rt_policy *p = c->p;
    const struct rt_node *n = &p->node[node], *by = n;
    const char *mode = rt_mode_str(r->route.mode);
    char place[128] = "";

    while (!by->declared && !by->builtin && by->parent >= 0)
        by = &p->node[by->parent];
    if (by->declared && by->src == r->src)
        snprintf(place, sizeof place, " in line %d", by->line);
    else if (by->declared)
        snprintf(place, sizeof place, " in '%.72s', line %d", c->src[by->src].name, by->line);
    rt_in_source(c, r->src);
    if (by->declared || by->builtin)
        rt_diag_add(c->d, RT_C_LEAK, at.line, at.col,
                    "class '%s' may not leave by %s to '%s': '%s'%s%s does not permit it; take it "
                    "out of 'only', or permit it: classes: { %s: [%s] }",
                    n->name, mode, r->route.target, by->name, by->declared ? "" : " (built in)",
                    place, n->name, mode);
    else
        rt_diag_add(c->d, RT_C_LEAK, at.line, at.col,
                    "class '%s' may not leave by %s to '%s': nothing in 'classes' permits it; "
                    "write classes: { %s: [%s] } if it may",
                    n->name, mode, r->route.target, n->name, mode);
}

/* One finding an item is enough: the first node that it covers and that may not leave. */
static void hold_against(struct rt_compiler *c, struct cells *k, const struct rt_rule *r)
{
    struct rt_policy *p = c->p;
    struct place told = {0, 0};
    bool any = false;

    for (int n = 0; n < k->n; n++) {
        struct rt_node *node = &p->node[n];
        if (k->in[n] == 0)
            continue;
        any = true;
        if ((k->in[n] & SELF) != 0)
            rt_pair_add(&node->reach, r->route.mode, r->target);
        if ((k->in[n] & BELOW) != 0)
            rt_pair_add(&node->reach_below, r->route.mode, r->target);
        if (rt_pair_has(&node->permits, r->route.mode, r->target))
            continue;
        struct place at = blame(p, r, node);
        if (at.line != told.line || at.col != told.col)
            refuse(c, r, n, at);
        told = at;
    }
    if (!any) {
        rt_in_source(c, r->src);
        rt_diag_add(c->d, RT_C_LETS_NOTHING, r->line, r->col,
                    "rule '%s' lets nothing out: earlier rules take every class that it names",
                    r->name);
    }
}

static void check_unused(struct rt_compiler *c)
{
    const struct rt_policy *p = c->p;
    bool *used = calloc((size_t)p->n_node + 1, sizeof *used);

    if (used == NULL) {
        c->err = BASE_ENOMEM;
        return;
    }
    for (int i = p->n_node - 1; i >= 0; i--) {
        const struct rt_node *n = &p->node[i];
        const struct rt_pairs *a = &n->reach, *b = &n->reach_below;
        used[i] |= (a->prompt | a->hidden | b->prompt | b->hidden) != 0;
        if (used[i] && n->parent >= 0)
            used[n->parent] = true;
        if (used[i] || !n->declared || (n->permits.prompt | n->permits.hidden) == 0 ||
            n->src != c->n_src - 1)
            continue;
        rt_in_source(c, n->src);
        rt_diag_add(c->d, RT_C_UNUSED_PERMIT, n->line, n->col,
                    "class '%s' may leave, but no rule lets it; 'none' would say so", n->name);
    }
    free(used);
}

void rt_check_egress(struct rt_compiler *c)
{
    struct rt_policy *p = c->p;
    size_t n = (size_t)p->n_node;
    struct cells k = {.n = p->n_node};

    k.of_str = malloc(((size_t)p->n_str + 1) * sizeof *k.of_str);
    k.mark = calloc(n + 1, 4);
    if (k.of_str == NULL || k.mark == NULL) {
        c->err = BASE_ENOMEM;
    } else {
        k.in = k.mark + n;
        k.out = k.in + n;
        k.caught = k.out + n;
        for (size_t i = 0; i < n; i++)
            k.of_str[p->node[i].str] = (int)i;
        for (int r = 0; r < p->n_rule && c->d->n_error < RT_MAX_DIAG; r++) {
            if (rt_leaves(p->rule[r].route.mode)) {
                covered(p, &k, &p->rule[r]);
                hold_against(c, &k, &p->rule[r]);
            }
            catch (p, &k, &p->rule[r]);
        }
        check_unused(c);
    }
    free(k.of_str);
    free(k.mark);
}

/* ---- the table ---- */

static bool same(struct rt_pairs a, struct rt_pairs b)
{
    return a.prompt == b.prompt && a.hidden == b.hidden;
}

int rt_reach_rows(struct rt_policy *p)
{
    int at = 0;

    p->row = base_arena_get(&p->arena, sizeof *p->row * (2 * (size_t)p->n_node + 1));
    if (p->row == NULL)
        return BASE_ENOMEM;
    for (int i = 0; i < p->n_node; i++) {
        const struct rt_node *n = &p->node[i];
        struct rt_class_decl d = {.name = n->name,
                                  .declared = n->declared || n->builtin,
                                  .permits = n->permits,
                                  .reach = n->reach,
                                  .because = n->because};
        p->row[at++] = d;
        if (same(n->reach, n->reach_below))
            continue;
        d.below = true;
        d.reach = n->reach_below;
        p->row[at++] = d;
    }
    p->n_row = at;
    return 0;
}

static void put_pairs(const struct rt_policy *p, struct rt_pairs pairs, bool json,
                      struct base_buf *out)
{
    bool any = false;

    base_buf_str(out, json ? "[" : "");
    for (int m = RT_PROMPT; m <= RT_HIDDEN; m++) {
        for (int t = 0; t < p->n_target; t++) {
            if (!rt_pair_has(&pairs, (enum rt_mode)m, t))
                continue;
            base_buf_printf(out, json ? "%s{\"mode\":\"%s\",\"target\":\"%s\"}" : "%s%s to %s",
                            !any   ? ""
                            : json ? ","
                                   : ", ",
                            rt_mode_str((enum rt_mode)m), p->target[t].d.name);
            any = true;
        }
    }
    base_buf_str(out, json ? "]" : any ? "" : "nothing");
}

/* Names are of a few characters by their grammar: nothing to escape. */
int rt_policy_reach(const struct rt_policy *p, bool json, struct base_buf *out)
{
    base_buf_printf(out,
                    json ? "{\"version\":\"%s\",\"classes\":["
                         : "| Class | May leave | Can leave |\n|---|---|---|\n",
                    p->version);
    for (int i = 0; i < p->n_row; i++) {
        const struct rt_class_decl *d = &p->row[i];
        base_buf_printf(out,
                        json ? "%s{\"class\":\"%s\",\"below\":%s,\"permits\":" : "%s| `%s%s` | ",
                        json && i > 0 ? "," : "", d->name,
                        json       ? (d->below ? "true" : "false")
                        : d->below ? ".*"
                                   : "");
        put_pairs(p, d->permits, json, out);
        base_buf_str(out, json ? ",\"reach\":" : " | ");
        put_pairs(p, d->reach, json, out);
        base_buf_str(out, json ? "}" : " |\n");
    }
    if (json)
        base_buf_str(out, "]}\n");
    else
        base_buf_str(out, "\nNothing else can leave: a class that is not here has what the nearest "
                          "one above it has, and without one above it stays.\n");
    return out->err;
}
