#include "router/facts.h"

#include <string.h>

#include "router/router.h"

#define RT_FACT_INFO(id, name, type, unit, source, age, absent, doc) \
    [RT_F_##id] = {name, RT_FACT_##type, unit, source, age, absent, doc},
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
    switch (fact) {
    case RT_F_LINK_STATE:
        return "unknown|up|down";
    case RT_F_ENGINE_POWER_MODE:
        return "normal|saving|critical";
    case RT_F_VEHICLE_IGNITION:
        return "lock|off|acc|on|start";
    case RT_F_TIME_WEEKDAY:
        return "mon|tue|wed|thu|fri|sat|sun";
    case RT_F_HISTORY_LAST_ROUTE:
        return "local|prompt|hidden|refuse";
    default:
        return NULL;
    }
}

const char *rt_fact_vss(enum rt_fact_id fact)
{
    switch (fact) {
    case RT_F_ENGINE_BATTERY:
        return "Vehicle.Powertrain.TractionBattery.StateOfCharge.Displayed";
    case RT_F_VEHICLE_IGNITION:
        return "Vehicle.LowVoltageSystemState";
    case RT_F_VEHICLE_MOVING:
        return "Vehicle.IsMoving";
    default:
        return NULL;
    }
}

bool rt_clock_read(const char *s, int64_t *minutes)
{
    if (strspn(s, "0123456789") != 2 || s[2] != ':' || strspn(s + 3, "0123456789") != 2 ||
        s[5] != '\0')
        return false;
    const int hour = (s[0] - '0') * 10 + s[1] - '0', minute = (s[3] - '0') * 10 + s[4] - '0';
    *minutes = hour * 60 + minute;
    return hour < 24 && minute < 60;
}

int rt_facts_reference(struct base_buf *out)
{
    static const char *const type[] = {"true/false", "integer", "number", "text", "classes"};

    base_buf_str(out, "| Fact | Type | Unit | Source | Meaning | If absent |\n"
                      "|---|---|---|---|---|---|\n");
    for (int i = 0; i < RT_N_FACT; i++) {
        const struct rt_fact_info *f = &rt_fact_info[i];
        const char *words = rt_fact_values((enum rt_fact_id)i);
        const char *vss = rt_fact_vss((enum rt_fact_id)i);
        base_buf_printf(out, "| `%s` | %s | %s | %s | %s", f->name, type[f->type], f->unit,
                        f->source, f->doc);
        for (const char *w = words; w != NULL;
             w = strchr(w, '|') != NULL ? strchr(w, '|') + 1 : NULL)
            base_buf_printf(out, "%s`%.*s`", w == words ? ": " : ", ", (int)strcspn(w, "|"), w);
        if (vss != NULL)
            base_buf_printf(out, " (`%s`)", vss);
        if (f->max_age_ms > 0)
            base_buf_printf(out, "; at most %g s old", (double)f->max_age_ms / 1000.0);
        base_buf_printf(out, " | %s |\n", f->absent);
    }
    return out->err;
}
