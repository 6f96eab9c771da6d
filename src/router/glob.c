/* What class patterns say of each other. */
#include "router/compile.h"

#include <string.h>

bool rt_glob_within(const struct rt_policy *p, const struct rt_item *inner,
                    const struct rt_item *outer)
{
    if (outer->val.str == RT_STR_ROOT)
        return true;
    if (inner->val.str == RT_STR_ROOT || (inner->subtree && !outer->subtree))
        return false;
    if (inner->val.str == outer->val.str)
        return true;
    const char *o = p->str[outer->val.str], *i = p->str[inner->val.str];
    size_t n = strlen(o);
    return outer->subtree && strncmp(i, o, n) == 0 && i[n] == '.';
}

bool rt_list_has(const struct rt_policy *p, const struct rt_list *l, const struct rt_item *inner)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (rt_glob_within(p, inner, &l->at[i]))
            return true;
    }
    return false;
}

bool rt_list_within(const struct rt_policy *p, const struct rt_list *inner,
                    const struct rt_list *outer)
{
    for (uint32_t i = 0; i < inner->n; i++) {
        if (!rt_list_has(p, outer, &inner->at[i]))
            return false;
    }
    return true;
}

/* Patterns are trees: they overlap only if one holds the other. */
bool rt_list_meets(const struct rt_policy *p, const struct rt_list *l, const struct rt_item *it)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (rt_glob_within(p, it, &l->at[i]) || rt_glob_within(p, &l->at[i], it))
            return true;
    }
    return false;
}

bool rt_lists_meet(const struct rt_policy *p, const struct rt_list *a, const struct rt_list *b)
{
    for (uint32_t i = 0; i < a->n; i++) {
        if (rt_list_meets(p, b, &a->at[i]))
            return true;
    }
    return false;
}
