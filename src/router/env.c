/* Facts as they come -> what conditions compare: strings become ids, stale and odd values become
 * unknown. Touches only what the policy uses. */
#include "router/policy.h"

#include <math.h>
#include <string.h>

static const char UNLABELLED[] = "cabin";

static void add_class(struct rt_env_cls *e, const struct rt_policy *p, const char *cls)
{
    int at = e->n++;
    size_t len = strlen(cls);

    e->at[at].full = rt_str_find(p, cls, len);
    e->at[at].n_prefix = 0;
    for (size_t i = 1; i <= len && e->at[at].n_prefix < RT_MAX_CLASS_PARTS; i++) {
        if (i == len || cls[i] == '.')
            e->at[at].prefix[e->at[at].n_prefix++] = rt_str_find(p, cls, i);
    }
}

static void data_class(struct rt_env_cls *e, const struct rt_policy *p, const struct rt_facts *f)
{
    e->n = 0;
    for (int i = 0; i < f->n_cls && i < RT_MAX_CLASS; i++)
        add_class(e, p, f->cls[i] != NULL ? f->cls[i] : UNLABELLED);
    if (f->n_cls == 0)
        add_class(e, p, UNLABELLED);
    if (f->n_cls < 0 || f->n_cls > RT_MAX_CLASS)
        e->n = -1;
}

static bool fresh(const struct rt_value *v, int64_t max_age_ms)
{
    return v->have && (max_age_ms == 0 || (v->age_ms >= 0 && v->age_ms <= max_age_ms));
}

static void class_set(struct rt_env_cls *e, const struct rt_policy *p, const struct rt_value *v)
{
    e->n = v->have && v->list != NULL ? 0 : -1;
    for (int i = 0; e->n >= 0 && v->list[i] != NULL; i++) {
        if (i == RT_MAX_CLASS)
            e->n = -1;
        else
            add_class(e, p, v->list[i]);
    }
}

static void value(struct rt_have *to, const struct rt_policy *p, const struct rt_value *v, int fact)
{
    to->have = fresh(v, rt_max_age_ms(p, fact));
    if (!to->have)
        return;
    switch (rt_info(p, fact)->type) {
    case RT_FACT_BOOL:
        to->val.b = v->b;
        break;
    case RT_FACT_INT:
        to->val.i = v->i;
        break;
    case RT_FACT_REAL:
        to->val.r = v->r;
        to->have = !isnan(v->r);
        break;
    default:
        to->have = v->s != NULL;
        to->val.str = to->have ? rt_str_find(p, v->s, strlen(v->s)) : RT_STR_NONE;
    }
}

static const struct rt_target_link *link_of(const struct rt_facts *f, const char *target)
{
    for (int i = 0; i < f->n_link; i++) {
        if (f->link[i].target != NULL && strcmp(f->link[i].target, target) == 0)
            return &f->link[i];
    }
    return NULL;
}

static void links(struct rt_env *e, const struct rt_policy *p, const struct rt_facts *f)
{
    static const struct rt_value unknown;

    for (int t = 0; t < p->n_target; t++) {
        const struct rt_target_link *l = link_of(f, p->target[t].d.name);
        for (int i = 0; i < p->n_used; i++) {
            int fact = p->used[i];
            if (rt_fact_is_targets(fact))
                value(&e->link[t][fact - RT_F_TARGET_FIRST], p,
                      l != NULL ? rt_link_c(l, (enum rt_fact_id)fact) : &unknown, fact);
        }
    }
}

/* The policy's own facts come by name. The last of two of one name holds. */
static void own_facts(struct rt_env *e, const struct rt_policy *p, const struct rt_facts *f)
{
    for (int i = 0; i < p->n_own; i++)
        e->v[RT_N_FACT + i].have = false;
    for (int i = 0; i < f->n_named && p->n_own > 0; i++) {
        const struct rt_named *g = &f->named[i];
        uint32_t id = g->name != NULL ? rt_str_find(p, g->name, strlen(g->name)) : RT_STR_NONE;
        if (id == RT_STR_NONE || id > (uint32_t)p->n_own)
            continue;
        const struct rt_fact_info *info = &p->own[id - 1];
        struct rt_have *to = &e->v[RT_N_FACT + (int)id - 1];
        struct rt_value v = g->v;
        to->have = false;
        if (g->type == RT_FACT_INT && info->type == RT_FACT_REAL)
            v.r = (double)v.i;
        else if (g->type != info->type)
            continue;
        value(to, p, &v, RT_N_FACT + (int)id - 1);
    }
}

/* Where the share has its thresholds: within their limits, the rule's own value if nobody says. */
static void moves(struct rt_env *e, const struct rt_policy *p)
{
    for (int i = 0; i < p->share.n_move; i++) {
        const struct rt_move_decl *m = &p->share.move[i];
        const struct rt_have *h = &e->v[RT_N_FACT + p->move_own[i]];
        double at = h->have ? h->val.r : m->value;
        at = at < m->min ? m->min : at > m->max ? m->max : at;
        if (p->move_whole[i])
            e->move[i].i = (int64_t)at;
        else
            e->move[i].r = at;
    }
}

void rt_env_init(struct rt_env *e, const struct rt_policy *p, const struct rt_facts *f)
{
    e->f = f;
    for (int i = 0; i < p->n_used; i++) {
        int fact = p->used[i];
        if (fact >= RT_N_FACT)
            continue;
        if (fact == RT_F_DATA_CLASS)
            data_class(&e->cls[0], p, f);
        else if (rt_fact_info[fact].type == RT_FACT_CLASSES)
            class_set(&e->cls[rt_cls_index(fact)], p, &f->v[fact]);
        else
            value(&e->v[fact], p, &f->v[fact], fact);
    }
    own_facts(e, p, f);
    moves(e, p);
    if (f->link != NULL)
        links(e, p, f);
}
