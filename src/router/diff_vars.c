#include "router/diff_vars.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/given.h"

enum { ARENA_BYTES = 1 << 30, MAX_NAME = 160 };

static int no_memory(struct base_err *err)
{
    return base_err_set(err, BASE_ENOMEM, "", "out of memory");
}

static bool is_leaf(const struct rt_cond *c)
{
    return c->op > RT_OP_NOT;
}

/* ---- scalars ---- */

/* The variable of a leaf, made if it is new; -1: none, -2: err. */
static int var_of(struct rt_dvars *v, const struct rt_dpolicy *dp, uint32_t at,
                  struct base_err *err)
{
    const struct rt_policy *p = dp->p;
    const struct rt_rule *r = &p->rule[dp->rule_of[at]];
    int fact = p->cond[at].fact < RT_N_FACT ? p->cond[at].fact : RT_N_FACT;
    const struct rt_fact_info *info = rt_info(p, p->cond[at].fact);
    bool targets = rt_fact_is_targets(p->cond[at].fact);
    /* A rule that asks for a target's fact has a target: the compiler sees to it. */
    const char *target = targets ? rt_policy_target_name(p, r->target) : NULL;

    for (int i = 0; i < v->n_var; i++) {
        struct rt_dvar *var = &v->var[i];
        if (strcmp(var->name, info->name) != 0 || (target == NULL) != (var->target == NULL) ||
            (target != NULL && strcmp(target, var->target) != 0))
            continue;
        if (var->info->type == info->type)
            return i;
        base_err_set(err, BASE_EUNSUPPORTED, info->name,
                     "is of two types in the two policies, so no value means the same in both");
        return -2;
    }
    v->var[v->n_var] =
        (struct rt_dvar){.fact = fact, .name = info->name, .target = target, .info = info};
    return v->n_var++;
}

/* Every constant that a leaf of variable i is compared with. */
static void each_const(const struct rt_dvars *v, int i,
                       void (*take)(struct base_buf *b, const struct rt_policy *p,
                                    const union rt_const *c),
                       struct base_buf *b)
{
    for (int s = 0; s < 2; s++) {
        const struct rt_policy *p = v->p[s].p;
        for (uint32_t at = 0; at < p->n_cond; at++) {
            const struct rt_cond *c = &p->cond[at];
            if (!is_leaf(c) || c->op >= RT_OP_CLS_ANY || v->p[s].leaf[at].var != i)
                continue;
            if (c->op < RT_OP_IN)
                take(b, p, &c->val);
            for (uint32_t k = 0; c->op == RT_OP_IN && k < c->n_item; k++)
                take(b, p, &p->item[c->item + k].val);
        }
    }
}

static void take_text(struct base_buf *b, const struct rt_policy *p, const union rt_const *c)
{
    const char *s = p->str[c->str];
    base_buf_add(b, &s, sizeof s);
}

static void take_int(struct base_buf *b, const struct rt_policy *p, const union rt_const *c)
{
    (void)p;
    base_buf_add(b, &c->i, sizeof c->i);
}

static void take_real(struct base_buf *b, const struct rt_policy *p, const union rt_const *c)
{
    (void)p;
    base_buf_add(b, &c->r, sizeof c->r);
}

static int by_int(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int by_real(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_val(struct base_buf *b, struct rt_dval val)
{
    val.v.have = true;
    base_buf_add(b, &val, sizeof val);
}

/* Counts and times of the table are never below 0. */
static void put_ints(const struct rt_dvar *var, int64_t *c, size_t n, struct base_buf *out)
{
    int64_t from = var->fact < RT_N_FACT ? 0 : INT64_MIN;
    const int64_t top = rt_fact_is_clock(var->fact) ? RT_DAY_MINUTES - 1 : INT64_MAX;
    bool end = false; /* nothing above */

    if (n > 0)
        qsort(c, n, sizeof *c, by_int);
    for (size_t i = 0; i < n; i++) {
        if (c[i] < from || end)
            continue;
        if (c[i] > from)
            add_val(out, (struct rt_dval){
                             .v = {.i = c[i] - 1}, .lo = (double)from, .hi = (double)(c[i] - 1)});
        add_val(out, (struct rt_dval){.v = {.i = c[i]}, .lo = (double)c[i], .hi = (double)c[i]});
        end = c[i] == top;
        from = end ? from : c[i] + 1;
    }
    if (!end)
        add_val(out, (struct rt_dval){.v = {.i = from == INT64_MIN ? 0 : from},
                                      .lo = (double)from,
                                      .hi = INFINITY});
}

static void put_between(double lo, double hi, struct base_buf *out)
{
    double mid = isinf(lo) && isinf(hi) ? 0.0
                 : isinf(lo)            ? hi - fmax(1.0, fabs(hi))
                 : isinf(hi)            ? lo + fmax(1.0, fabs(lo))
                                        : lo + (hi - lo) / 2.0;
    if (mid > lo && mid < hi)
        add_val(out, (struct rt_dval){.v = {.r = mid}, .lo = lo, .hi = hi});
}

static void put_reals(const struct rt_dvar *var, double *c, size_t n, struct base_buf *out)
{
    bool any = var->fact == RT_N_FACT || var->fact == RT_F_ENGINE_TEMPERATURE;
    double from = any ? -INFINITY : 0.0,
           top = strcmp(var->info->unit, "0..1") == 0 ? 1.0 : INFINITY;

    if (n > 0)
        qsort(c, n, sizeof *c, by_real);
    if (!any)
        add_val(out, (struct rt_dval){.v = {.r = 0.0}, .point = true});
    for (size_t i = 0; i < n; i++) {
        if (c[i] <= from || c[i] > top || isinf(c[i]))
            continue;
        put_between(from, c[i], out);
        add_val(out, (struct rt_dval){.v = {.r = c[i]}, .point = true, .lo = c[i], .hi = c[i]});
        from = c[i];
    }
    put_between(from, top, out);
    if (!isinf(top) && from < top)
        add_val(out, (struct rt_dval){.v = {.r = top}, .point = true, .lo = top, .hi = top});
}

static void put_texts(struct rt_dvars *v, const struct rt_dvar *var, const char **c, size_t n,
                      struct base_buf *out)
{
    const char *words = var->fact < RT_N_FACT ? rt_fact_values((enum rt_fact_id)var->fact) : NULL;

    if (n > 0)
        qsort(c, n, sizeof *c, by_text);
    for (const char *w = words; w != NULL; w = *w == '|' ? w + 1 : NULL) {
        size_t len = strcspn(w, "|");
        const char *copy = base_arena_strndup(&v->arena, w, len);
        if (copy == NULL)
            out->err = BASE_ENOMEM;
        add_val(out, (struct rt_dval){.v = {.s = copy}});
        w += len;
    }
    for (size_t i = 0; i < n && words == NULL; i++) {
        /* request.hint: local is decided before any rule, and so the same */
        bool hint = var->fact == RT_F_REQ_HINT && strcmp(c[i], "local") == 0;
        if (!hint && (i == 0 || strcmp(c[i], c[i - 1]) != 0))
            add_val(out, (struct rt_dval){.v = {.s = c[i]}});
    }
    if (words == NULL) {
        const char *other = "other";
        for (size_t i = 0; i < n; i++) /* sorted: a longer one comes later */
            other = strcmp(c[i], other) == 0 ? "another" : other;
        add_val(out, (struct rt_dval){.v = {.s = other}});
    }
}

static int list_values(struct rt_dvars *v, struct rt_dvar *var)
{
    struct base_buf c, out;
    int i = (int)(var - v->var);

    base_buf_init(&c, ARENA_BYTES);
    base_buf_init(&out, ARENA_BYTES);
    switch (var->info->type) {
    case RT_FACT_INT:
        each_const(v, i, take_int, &c);
        put_ints(var, (int64_t *)(void *)c.data, c.len / sizeof(int64_t), &out);
        break;
    case RT_FACT_REAL:
        each_const(v, i, take_real, &c);
        put_reals(var, (double *)(void *)c.data, c.len / sizeof(double), &out);
        break;
    case RT_FACT_STR:
        each_const(v, i, take_text, &c);
        put_texts(v, var, (const char **)(void *)c.data, c.len / sizeof(char *), &out);
        break;
    default:
        add_val(&out, (struct rt_dval){.v = {.b = false}});
        add_val(&out, (struct rt_dval){.v = {.b = true}});
    }
    base_buf_add(&out, &(struct rt_dval){.v = {.have = false}}, sizeof(struct rt_dval));
    var->val = base_arena_get(&v->arena, out.len);
    var->n_val = (int)(out.len / sizeof *var->val);
    int rc = c.err != 0 ? c.err : out.err != 0 ? out.err : var->val == NULL ? BASE_ENOMEM : 0;
    if (rc == 0)
        memcpy(var->val, out.data, out.len);
    base_buf_fini(&c);
    base_buf_fini(&out);
    return rc;
}

/* Facts in which nothing is known but variable i, which has value val. */
static void one_fact(const struct rt_dvar *var, const struct rt_dval *val, struct rt_facts *f,
                     struct rt_target_link *link, struct rt_named *named)
{
    memset(f, 0, sizeof *f);
    memset(link, 0, sizeof *link);
    link->target = var->target != NULL ? var->target : "";
    f->link = link;
    f->n_link = 1;
    if (var->fact == RT_N_FACT) {
        *named = (struct rt_named){.name = var->name, .type = var->info->type, .v = val->v};
        f->named = named;
        f->n_named = 1;
    } else if (var->target != NULL) {
        *rt_link(link, (enum rt_fact_id)var->fact) = val->v;
    } else {
        f->v[var->fact] = val->v;
    }
}

/* answers[n_val][n_leaf]: what each leaf of variable i says to each of its values. */
static void ask(struct rt_dvars *v, int i, struct rt_env *e, uint8_t *answers, size_t n_leaf)
{
    struct rt_dvar *var = &v->var[i];
    struct rt_target_link link;
    struct rt_named named;
    struct rt_facts f;

    for (int k = 0; k < var->n_val; k++) {
        uint8_t *to = answers + (size_t)k * n_leaf;
        one_fact(var, &var->val[k], &f, &link, &named);
        for (int s = 0; s < 2; s++) {
            const struct rt_policy *p = v->p[s].p;
            rt_env_init(e, p, &f);
            for (uint32_t at = 0; at < p->n_cond; at++) {
                if (is_leaf(&p->cond[at]) && p->cond[at].op < RT_OP_CLS_ANY &&
                    v->p[s].leaf[at].var == i)
                    *to++ = (uint8_t)rt_eval(p, e, &p->rule[v->p[s].rule_of[at]], at);
            }
        }
    }
}

static size_t count_leaves(const struct rt_dvars *v, int i)
{
    size_t n = 0;
    for (int s = 0; s < 2; s++) {
        for (uint32_t at = 0; at < v->p[s].p->n_cond; at++) {
            const struct rt_cond *c = &v->p[s].p->cond[at];
            n += is_leaf(c) && c->op < RT_OP_CLS_ANY && v->p[s].leaf[at].var == i;
        }
    }
    return n;
}

/* Values with the same answers are one region; each leaf gets its answer by region. */
static int find_regions(struct rt_dvars *v, int i, struct rt_env *e)
{
    struct rt_dvar *var = &v->var[i];
    size_t n_leaf = count_leaves(v, i), at_leaf = 0;
    uint8_t *answers = malloc((size_t)var->n_val * n_leaf + 1);
    int *first = malloc((size_t)var->n_val * sizeof *first); /* a value of each region */
    int rc = answers != NULL && first != NULL ? 0 : BASE_ENOMEM;

    if (rc == 0)
        ask(v, i, e, answers, n_leaf);
    for (int k = 0; k < var->n_val && rc == 0; k++) {
        int r = 0;
        while (r < var->n_region && memcmp(answers + (size_t)first[r] * n_leaf,
                                           answers + (size_t)k * n_leaf, n_leaf) != 0)
            r++;
        if (r == var->n_region)
            first[var->n_region++] = k;
        var->val[k].region = r;
    }
    for (int s = 0; s < 2 && rc == 0; s++) {
        for (uint32_t at = 0; at < v->p[s].p->n_cond && rc == 0; at++) {
            struct rt_dleaf *l = &v->p[s].leaf[at];
            const struct rt_cond *c = &v->p[s].p->cond[at];
            if (!is_leaf(c) || c->op >= RT_OP_CLS_ANY || l->var != i)
                continue;
            l->tri = base_arena_get(&v->arena, (size_t)var->n_region);
            rc = l->tri != NULL ? 0 : BASE_ENOMEM;
            for (int r = 0; r < var->n_region && rc == 0; r++) {
                l->tri[r] = answers[(size_t)first[r] * n_leaf + at_leaf];
                l->any |= (uint8_t)(1U << l->tri[r]);
            }
            at_leaf++;
        }
    }
    free(answers);
    free(first);
    return rc;
}

/* ---- classes ---- */

static bool matches(const char *cls, const struct rt_policy *p, const struct rt_item *g)
{
    if (g->val.str == RT_STR_ROOT)
        return true;
    const char *s = p->str[g->val.str];
    size_t n = strlen(s);
    return strncmp(cls, s, n) == 0 && (cls[n] == '\0' || (g->subtree && cls[n] == '.'));
}

static bool is_class_leaf(const struct rt_policy *p, uint32_t at, int cf)
{
    return p->cond[at].op >= RT_OP_CLS_ANY && rt_cls_index(p->cond[at].fact) == cf;
}

/* Two classes of one kind match the same entries of every list. */
static bool same_kind(const struct rt_dvars *v, int cf, const char *a, const char *b)
{
    for (int s = 0; s < 2; s++) {
        const struct rt_policy *p = v->p[s].p;
        for (uint32_t at = 0; at < p->n_cond; at++) {
            for (uint32_t k = 0; is_class_leaf(p, at, cf) && k < p->cond[at].n_item; k++) {
                const struct rt_item *g = &p->item[p->cond[at].item + k];
                if (matches(a, p, g) != matches(b, p, g))
                    return false;
            }
        }
    }
    return true;
}

static int add_kind(struct rt_dvars *v, int cf, const char *cls, struct base_err *err)
{
    struct rt_dclass *c = &v->cls[cf];

    for (int i = 0; i < c->n_kind; i++) {
        if (same_kind(v, cf, c->kind[i], cls))
            return 0;
    }
    if (c->n_kind == RT_DIFF_KINDS)
        return base_err_set(err, BASE_ELIMIT, "", "more than %d kinds of data classes",
                            RT_DIFF_KINDS);
    c->kind[c->n_kind] = base_arena_strndup(&v->arena, cls, strlen(cls));
    return c->kind[c->n_kind++] != NULL ? 0 : no_memory(err);
}

/* A class of every kind: each that is named, one below each, and one that nobody names. */
static int list_kinds(struct rt_dvars *v, int cf, struct base_err *err)
{
    char below[RT_MAX_TEXT_VALUE + 16];
    int rc = 0;

    for (int s = 0; s < 2; s++) {
        const struct rt_policy *p = v->p[s].p;
        for (uint32_t at = 0; at < p->n_cond && rc == 0; at++) {
            for (uint32_t k = 0; is_class_leaf(p, at, cf) && k < p->cond[at].n_item; k++) {
                uint32_t str = p->item[p->cond[at].item + k].val.str;
                v->cls[cf].used = true;
                if (str == RT_STR_ROOT)
                    continue;
                snprintf(below, sizeof below, "%s.other", p->str[str]);
                rc = rc == 0 ? add_kind(v, cf, p->str[str], err) : rc;
                rc = rc == 0 ? add_kind(v, cf, below, err) : rc;
            }
        }
    }
    return rc == 0 && v->cls[cf].used ? add_kind(v, cf, "other", err) : rc;
}

static int mask_leaf(struct rt_dvars *v, int s, uint32_t at)
{
    const struct rt_policy *p = v->p[s].p;
    const struct rt_cond *c = &p->cond[at];
    const struct rt_dclass *cls = &v->cls[rt_cls_index(c->fact)];
    struct rt_bits *m =
        base_arena_get(&v->arena, sizeof *m * (c->op == RT_OP_CLS_ALL ? c->n_item : 1));

    v->p[s].leaf[at].mask = m;
    for (int k = 0; k < cls->n_kind && m != NULL; k++) {
        bool listed = false;
        for (uint32_t i = 0; i < c->n_item; i++) {
            bool hit = matches(cls->kind[k], p, &p->item[c->item + i]);
            listed = listed || hit;
            if (c->op == RT_OP_CLS_ALL)
                rt_bit_set(&m[i], k, hit);
        }
        if (c->op != RT_OP_CLS_ALL)
            rt_bit_set(m, k, listed == (c->op == RT_OP_CLS_ANY));
    }
    return m != NULL ? 0 : BASE_ENOMEM;
}

/* ---- all together ---- */

static int alloc_policy(struct rt_dvars *v, struct rt_dpolicy *d)
{
    const struct rt_policy *p = d->p;

    d->leaf = base_arena_get(&v->arena, sizeof *d->leaf * ((size_t)p->n_cond + 1));
    d->rule_of = base_arena_get(&v->arena, sizeof *d->rule_of * ((size_t)p->n_cond + 1));
    d->hash = base_arena_get(&v->arena, sizeof *d->hash * ((size_t)p->n_rule + 1));
    d->match = base_arena_get(&v->arena, sizeof *d->match * ((size_t)p->n_rule + 1));
    if (d->leaf == NULL || d->rule_of == NULL || d->hash == NULL || d->match == NULL)
        return BASE_ENOMEM;
    for (int i = 0; i < p->n_rule; i++) {
        for (uint32_t at = p->rule[i].cond; at < p->rule[i].end; at++)
            d->rule_of[at] = i;
    }
    return 0;
}

static int find_vars(struct rt_dvars *v, struct base_err *err)
{
    for (int s = 0; s < 2; s++) {
        for (uint32_t at = 0; at < v->p[s].p->n_cond; at++) {
            struct rt_dleaf *l = &v->p[s].leaf[at];
            const struct rt_cond *c = &v->p[s].p->cond[at];
            l->var = is_leaf(c) && c->op < RT_OP_CLS_ANY ? var_of(v, &v->p[s], at, err) : -1;
            if (l->var == -2)
                return err->code;
        }
    }
    return 0;
}

int rt_dvars_init(struct rt_dvars *v, struct base_err *err)
{
    struct rt_env *e = malloc(sizeof *e);
    int rc = e != NULL ? 0 : BASE_ENOMEM;

    base_arena_init(&v->arena, ARENA_BYTES);
    for (int s = 0; s < 2 && rc == 0; s++)
        rc = alloc_policy(v, &v->p[s]);
    /* at most one variable a fact of the table, of the policies' own, and a fact of each target */
    size_t most = 2 * (RT_MAX_FACT + RT_MAX_TARGET * (size_t)RT_N_TARGET_FACT);
    v->var = rc == 0 ? base_arena_get(&v->arena, most * sizeof *v->var) : NULL;
    rc = rc == 0 && v->var == NULL ? BASE_ENOMEM : rc;
    rc = rc == 0 ? rt_match_rules(v->p) : rc;
    if (rc == 0 && (rc = find_vars(v, err)) != 0)
        goto out;
    for (int i = 0; i < v->n_var && rc == 0; i++) {
        rc = list_values(v, &v->var[i]);
        rc = rc == 0 ? find_regions(v, i, e) : rc;
    }
    for (int cf = 0; cf < RT_N_CLS_FACT && rc == 0; cf++) {
        if ((rc = list_kinds(v, cf, err)) != 0)
            goto out;
    }
    for (int s = 0; s < 2; s++) {
        for (uint32_t at = 0; at < v->p[s].p->n_cond && rc == 0; at++)
            rc = v->p[s].p->cond[at].op >= RT_OP_CLS_ANY ? mask_leaf(v, s, at) : 0;
    }
    rc = rc != 0 ? no_memory(err) : 0;
out:
    free(e);
    return rc;
}

void rt_dvars_fini(struct rt_dvars *v)
{
    base_arena_fini(&v->arena);
}

static void put_number(const struct rt_dvar *var, double x, struct base_buf *out)
{
    char text[RT_REAL_BYTES];
    if (rt_fact_is_clock(var->fact))
        rt_put_int(var->fact, (int64_t)x, out);
    else if (var->info->type == RT_FACT_INT)
        base_buf_printf(out, "%.0f", x);
    else
        base_buf_str(out, rt_real_text(x, text));
}

/* A run of parts, from a to b. */
static void put_run(const struct rt_dvar *var, const struct rt_dval *a, const struct rt_dval *b,
                    struct base_buf *out)
{
    bool closed = var->info->type == RT_FACT_INT;
    bool low = a > var->val,
         high = b + 2 < var->val + var->n_val; /* bounded: not the first, last */

    if (a == b && (a->point || (closed && a->lo >= a->hi))) {
        base_buf_str(out, " is ");
        put_number(var, a->lo, out);
        return;
    }
    if (low) {
        base_buf_str(out, closed || a->point ? " >= " : " > ");
        put_number(var, a->lo, out);
    }
    if (high) {
        base_buf_str(out, low ? " and" : "");
        base_buf_str(out, closed || b->point ? " <= " : " < ");
        put_number(var, b->hi, out);
    }
    if (!low && !high)
        base_buf_str(out, " is known");
}

void rt_dvars_text(const struct rt_dvars *v, int i, int r, struct base_buf *out)
{
    const struct rt_dvar *var = &v->var[i];
    bool number = var->info->type == RT_FACT_INT || var->info->type == RT_FACT_REAL;
    int n = 0;

    base_buf_printf(out, "%s%s%s", var->name, var->target != NULL ? "@" : "",
                    var->target != NULL ? var->target : "");
    for (int k = 0; k < var->n_val; k++) {
        const struct rt_dval *val = &var->val[k];
        int last = k;
        if (val->region != r)
            continue;
        base_buf_str(out, n++ > 0 ? " or" : "");
        while (number && last + 2 < var->n_val && var->val[last + 1].region == r)
            last++;
        if (!val->v.have)
            base_buf_str(out, " is not known");
        else if (number)
            put_run(var, val, &var->val[last], out);
        else if (var->info->type == RT_FACT_BOOL)
            base_buf_printf(out, " is %s", val->v.b ? "true" : "false");
        else
            base_buf_printf(out, " is %s", val->v.s);
        k = last;
    }
}
