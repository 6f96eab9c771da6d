/* What a compiled policy tells about itself, and its table of strings. */
#include "router/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "router/compile.h"

const char *rt_mode_str(enum rt_mode m)
{
    static const char *const name[] = {"local", "prompt", "hidden", "refuse"};
    return name[m];
}

const char *rt_policy_version(const struct rt_policy *p)
{
    return p->version;
}

const uint8_t *rt_policy_hash(const struct rt_policy *p)
{
    return p->hash;
}

int rt_policy_n_rule(const struct rt_policy *p)
{
    return p->n_rule;
}

const char *rt_policy_rule_name(const struct rt_policy *p, int i)
{
    return p->rule[i].name;
}

int rt_policy_rule_line(const struct rt_policy *p, int i)
{
    return p->rule[i].line;
}

int rt_policy_n_target(const struct rt_policy *p)
{
    return p->n_target;
}

const char *rt_policy_target_name(const struct rt_policy *p, int i)
{
    return p->target[i].d.name;
}

int64_t rt_policy_max_age_ms(const struct rt_policy *p, enum rt_fact_id fact)
{
    return rt_max_age_ms(p, (int)fact);
}

bool rt_policy_uses(const struct rt_policy *p, enum rt_fact_id fact)
{
    for (int i = 0; i < p->n_used; i++) {
        if (p->used[i] == fact)
            return true;
    }
    return false;
}

int rt_policy_n_own(const struct rt_policy *p)
{
    return p->n_own;
}

const struct rt_fact_info *rt_policy_own(const struct rt_policy *p, int i)
{
    return &p->own[i];
}

bool rt_policy_uses_own(const struct rt_policy *p, int i)
{
    return rt_policy_uses(p, (enum rt_fact_id)(RT_N_FACT + i));
}

const struct rt_target_decl *rt_policy_target(const struct rt_policy *p, int i)
{
    return &p->target[i].d;
}

int rt_policy_n_caller(const struct rt_policy *p)
{
    return p->n_caller;
}

const struct rt_caller_decl *rt_policy_caller(const struct rt_policy *p, int i)
{
    return &p->caller[i];
}

int rt_policy_n_budget(const struct rt_policy *p)
{
    return p->n_budget;
}

const struct rt_budget_decl *rt_policy_budget(const struct rt_policy *p, int i)
{
    return &p->budget[i];
}

int rt_policy_n_consent(const struct rt_policy *p)
{
    return p->n_consent;
}

const struct rt_consent_decl *rt_policy_consent(const struct rt_policy *p, int i)
{
    return &p->consent[i];
}

int rt_policy_n_signal(const struct rt_policy *p)
{
    return p->n_signal;
}

const struct rt_signal_decl *rt_policy_signal(const struct rt_policy *p, int i)
{
    return &p->signal[i];
}

const struct rt_share_decl *rt_policy_share(const struct rt_policy *p)
{
    return &p->share;
}

int rt_policy_n_class(const struct rt_policy *p)
{
    return p->n_row;
}

const struct rt_class_decl *rt_policy_class(const struct rt_policy *p, int i)
{
    return &p->row[i];
}

const struct rt_policy *rt_policy_none(void)
{
    static const struct rt_policy none = {.version = "none", .share = {.edge = -1}};
    return &none;
}

void rt_policy_free(struct rt_policy *p)
{
    if (p == NULL)
        return;
    free(p->rule);
    free(p->cond);
    free(p->item);
    free(p->node);
    rt_index_free(p->fast);
    free(p->str);
    free(p->slot);
    base_arena_fini(&p->arena);
    free(p);
}

uint32_t rt_str_find(const struct rt_policy *p, const char *s, size_t n)
{
    if (p->slot == NULL)
        return RT_STR_NONE;
    uint32_t at = (uint32_t)base_xxh64(s, n) & p->slot_mask;
    for (uint32_t id; (id = p->slot[at]) != RT_STR_NONE; at = (at + 1) & p->slot_mask) {
        if (strncmp(p->str[id], s, n) == 0 && p->str[id][n] == '\0')
            return id;
    }
    return RT_STR_NONE;
}

/* Keeps the table at most half full. The strings' array may have moved: p->str is its new place. */
static int grow_slots(struct rt_policy *p)
{
    if (p->slot != NULL && p->n_str * 2 <= p->slot_mask)
        return 0;
    uint32_t mask = p->slot != NULL ? p->slot_mask * 2 + 1 : 255;
    uint32_t *slot = calloc((size_t)mask + 1, sizeof *slot);
    if (slot == NULL)
        return BASE_ENOMEM;
    for (uint32_t id = 1; id < p->n_str; id++) {
        uint32_t at = (uint32_t)base_xxh64(p->str[id], strlen(p->str[id])) & mask;
        while (slot[at] != RT_STR_NONE)
            at = (at + 1) & mask;
        slot[at] = id;
    }
    free(p->slot);
    p->slot = slot;
    p->slot_mask = mask;
    return 0;
}

uint32_t rt_str_add(struct rt_compiler *c, const char *s, size_t n)
{
    struct rt_policy *p = c->p;
    uint32_t id = rt_str_find(p, s, n);
    if (id != RT_STR_NONE || c->err != 0)
        return id;
    bool first = c->strs.len == 0;
    const char *copy = base_arena_strndup(&p->arena, s, n);
    const char *nothing = "";
    if (first)
        base_buf_add(&c->strs, &nothing, sizeof nothing);
    if (copy == NULL || base_buf_add(&c->strs, &copy, sizeof copy) != 0) {
        c->err = BASE_ENOMEM;
        return RT_STR_NONE;
    }
    p->str = (const char **)(void *)c->strs.data;
    p->n_str = (uint32_t)(c->strs.len / sizeof copy);
    id = p->n_str - 1;
    if (grow_slots(p) != 0) {
        c->err = BASE_ENOMEM;
        return RT_STR_NONE;
    }
    uint32_t at = (uint32_t)base_xxh64(s, n) & p->slot_mask;
    while (p->slot[at] != RT_STR_NONE && p->slot[at] != id)
        at = (at + 1) & p->slot_mask;
    p->slot[at] = id;
    return id;
}
