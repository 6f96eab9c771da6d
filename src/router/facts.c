#include "router/facts.h"

#include <string.h>

#include "router/router.h"

#define RT_FACT_INFO(id, name, type, unit, doc) [RT_F_##id] = {name, RT_FACT_##type, unit, doc},
const struct rt_fact_info rt_fact_info[RT_N_FACT] = {RT_FACT_TABLE(RT_FACT_INFO)};
#undef RT_FACT_INFO

int rt_fact_find(const char *name)
{
    for (int i = 0; i < RT_N_FACT; i++) {
        if (strcmp(rt_fact_info[i].name, name) == 0)
            return i;
    }
    return -1;
}

const char *rt_fact_values(enum rt_fact_id fact)
{
    return fact == RT_F_LINK_STATE ? "unknown|up|down" : NULL;
}

int rt_facts_reference(struct base_buf *out)
{
    static const char *const type[] = {"true/false", "integer", "number", "text", "classes"};

    base_buf_str(out, "| Fact | Type | Unit | Meaning |\n|---|---|---|---|\n");
    for (int i = 0; i < RT_N_FACT; i++) {
        const struct rt_fact_info *f = &rt_fact_info[i];
        base_buf_printf(out, "| `%s` | %s | %s | %s |\n", f->name, type[f->type], f->unit, f->doc);
    }
    return out->err;
}
