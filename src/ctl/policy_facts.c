/* Facts as JSON, by hand (explain --facts). policy_log_facts.c reads those of a log's many lines.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/policy.h"

static int bad(struct base_err *err, const char *name, const char *why)
{
    char place[96];
    snprintf(place, sizeof place, "fact '%.80s'", name);
    return base_err_set(err, BASE_EFORMAT, place, "%s", why);
}

static int put_classes(struct rt_given *g, const struct rt_place *at, const json_t *v,
                       struct base_err *err)
{
    int rc = 0;

    if (!json_is_array(v))
        return bad(err, at->name, "is a list of classes");
    for (size_t i = 0; i < json_array_size(v) && rc == 0; i++) {
        const json_t *c = json_array_get(v, i);
        rc = json_is_string(c)
                 ? rt_given_class(g, at, json_string_value(c), json_string_length(c), err)
                 : bad(err, at->name, "is a list of classes");
    }
    return rc;
}

static int put_value(struct rt_given *g, const struct rt_place *at, const json_t *v,
                     struct base_err *err)
{
    if (at->type == RT_FACT_CLASSES)
        return put_classes(g, at, v, err);
    at->v->have = true;
    switch (at->type) {
    case RT_FACT_BOOL:
        at->v->b = json_is_true(v);
        return json_is_boolean(v) ? 0 : bad(err, at->name, "is true or false");
    case RT_FACT_INT:
        if (at->clock && json_is_string(v))
            return rt_clock_read(json_string_value(v), &at->v->i) ? 0
                                                                  : bad(err, at->name, "is HH:MM");
        at->v->i = json_integer_value(v);
        return json_is_integer(v) ? 0 : bad(err, at->name, "is an integer");
    case RT_FACT_REAL:
        at->v->r = json_number_value(v);
        return json_is_number(v) ? 0 : bad(err, at->name, "is a number");
    default:
        return json_is_string(v)
                   ? rt_given_text(g, at, json_string_value(v), json_string_length(v), err)
                   : bad(err, at->name, "is a text");
    }
}

static int put(struct rt_given *g, const char *name, const char *target, const json_t *v,
               struct base_err *err)
{
    struct rt_place at;

    if (json_is_null(v))
        return 0;
    int rc = rt_given_place(g, name, target, &at, err);
    return rc == 0 ? put_value(g, &at, v, err) : rc;
}

/* "state" or, as the decision log writes it, "link.state". */
static int put_link(struct rt_given *g, const char *target, json_t *link, struct base_err *err)
{
    const char *key;
    json_t *v;
    int rc = 0;

    if (!json_is_object(link))
        return bad(err, target, "a link has \"state\" (text), \"rtt_ms\" (number) and so on");
    json_object_foreach(link, key, v)
    {
        char name[64];
        bool whole = rt_fact_find(key) >= 0;
        snprintf(name, sizeof name, "%s%.48s", whole ? "" : "link.", key);
        if (rc == 0)
            rc = put(g, name, target, v, err);
    }
    return rc;
}

int ctl_facts_json(struct rt_given *g, json_t *facts, struct base_err *err)
{
    const char *name, *target;
    json_t *v, *link;
    int rc = 0;

    if (!json_is_object(facts))
        return base_err_set(err, BASE_EFORMAT, "", "facts are a JSON object");
    json_object_foreach(facts, name, v)
    {
        if (rc != 0)
            break;
        if (strcmp(name, "links") != 0) {
            rc = put(g, name, NULL, v, err);
            continue;
        }
        if (!json_is_object(v))
            return bad(err, name, "is an object: {\"cloud\": {\"state\": \"up\"}}");
        g->f.link = g->link; /* none named: none is known */
        json_object_foreach(v, target, link)
        {
            rc = rc == 0 ? put_link(g, target, link, err) : rc;
        }
    }
    return rc;
}
