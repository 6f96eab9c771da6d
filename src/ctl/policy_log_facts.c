#include <stdlib.h>
#include <string.h>

#include "ctl/policy_log.h"

struct reading {
    struct json_read *j;
    struct rt_given *g;
    struct ctl_seen *seen; /* [CTL_N_SEEN] */
    int n_seen;            /* names of this line so far */
    struct base_err *err;
};

static int bad(struct reading *r, const char *name, const char *why)
{
    (void)json_read_fail(r->j, why);
    return base_err_set(r->err, BASE_EFORMAT, "", "fact '%.80s': %s", name, r->j->why);
}

/* rt_fact_find, which looks through the whole table, only where the last line was another. */
static int find(struct reading *r, const char *name)
{
    struct ctl_seen *s = r->n_seen < CTL_N_SEEN ? &r->seen[r->n_seen++] : NULL;

    if (s != NULL && strcmp(s->name, name) == 0)
        return s->fact;
    int fact = rt_fact_find(name);
    if (s != NULL && strlen(name) < sizeof s->name) {
        strcpy(s->name, name);
        s->fact = fact;
    }
    return fact;
}

static int take_classes(struct reading *r, const struct rt_place *at)
{
    const char *s;
    size_t len;
    int rc = 0;

    if (!json_open(r->j, JSON_KIND_ARRAY))
        return bad(r, at->name, "is a list of classes");
    while (rc == 0 && json_item(r->j)) {
        if (!json_text(r->j, &s, &len))
            return bad(r, at->name, "is a list of classes");
        if (at->data_class && len > 0 && r->g->f.n_cls < RT_MAX_CLASS) {
            r->g->f.cls[r->g->f.n_cls++] = s;
            at->v->have = true;
        } else {
            rc = rt_given_class(r->g, at, s, len, r->err);
        }
    }
    return rc != 0 ? rc : r->j->why != NULL ? bad(r, at->name, r->j->why) : 0;
}

static int take_value(struct reading *r, const struct rt_place *at)
{
    struct rt_value *v = at->v;
    enum json_kind kind = json_peek(r->j);
    struct json_number n;
    size_t len;

    switch (at->type) {
    case RT_FACT_CLASSES:
        return take_classes(r, at);
    case RT_FACT_BOOL:
        v->b = kind == JSON_KIND_TRUE;
        v->have = (v->b || kind == JSON_KIND_FALSE) && json_skip(r->j);
        return v->have ? 0 : bad(r, at->name, "is true or false");
    case RT_FACT_INT:
        v->have = json_num(r->j, &n) && n.whole;
        v->i = v->have ? n.i : 0;
        return v->have ? 0 : bad(r, at->name, "is an integer");
    case RT_FACT_REAL:
        v->have = json_num(r->j, &n);
        v->r = v->have ? n.r : 0.0;
        return v->have ? 0 : bad(r, at->name, "is a number");
    default:
        v->have = json_text(r->j, &v->s, &len);
        return v->have ? 0 : bad(r, at->name, "is a text");
    }
}

/* A fact of some policy's own: its type is that of the value. */
static int take_own(struct reading *r, const char *name)
{
    enum json_kind kind = json_peek(r->j);
    struct json_number n;
    struct rt_place at;

    if (kind == JSON_KIND_OBJECT || kind == JSON_KIND_ARRAY)
        return json_skip(r->j) ? 0 : bad(r, name, r->j->why);
    if (kind == JSON_KIND_NUMBER) {
        if (!json_num(r->j, &n))
            return bad(r, name, r->j->why);
        int rc = rt_given_own(r->g, name, n.whole ? RT_FACT_INT : RT_FACT_REAL, &at, r->err);
        if (rc != 0)
            return rc;
        at.v->have = true;
        if (n.whole)
            at.v->i = n.i;
        else
            at.v->r = n.r;
        return 0;
    }
    int rc = rt_given_own(r->g, name, kind == JSON_KIND_STRING ? RT_FACT_STR : RT_FACT_BOOL, &at,
                          r->err);
    return rc == 0 ? take_value(r, &at) : rc;
}

static int take(struct reading *r, const char *name, int fact, const char *target)
{
    struct rt_place at;

    if (json_peek(r->j) == JSON_KIND_NULL)
        return json_skip(r->j) ? 0 : bad(r, name, r->j->why);
    if (fact < 0)
        return take_own(r, name);
    int rc = rt_given_fact(r->g, (enum rt_fact_id)fact, target, &at, r->err);
    return rc == 0 ? take_value(r, &at) : rc;
}

static int take_links(struct reading *r)
{
    const char *target, *key;
    int rc = 0;

    if (!json_open(r->j, JSON_KIND_OBJECT))
        return bad(r, "links", "is an object: {\"cloud\": {\"state\": \"up\"}}");
    r->g->f.link = r->g->link; /* none named: none is known */
    while (rc == 0 && json_key(r->j, &target)) {
        if (!json_open(r->j, JSON_KIND_OBJECT))
            return bad(r, target, "a link is an object");
        while (rc == 0 && json_key(r->j, &key)) {
            char full[64];
            int fact = find(r, key);
            if (fact < 0) { /* "state" for link.state */
                snprintf(full, sizeof full, "link.%.50s", key);
                fact = rt_fact_find(full);
            }
            if (fact >= 0)
                rc = take(r, key, fact, target);
            else if (!json_skip(r->j))
                rc = bad(r, key, r->j->why);
        }
    }
    return rc != 0 ? rc : r->j->why != NULL ? bad(r, "links", r->j->why) : 0;
}

int ctl_facts_read(struct json_read *j, struct rt_given *g, struct ctl_seen seen[CTL_N_SEEN],
                   struct base_err *err)
{
    struct reading r = {.j = j, .g = g, .seen = seen, .err = err};
    const char *name;
    int rc = 0;

    if (!json_open(j, JSON_KIND_OBJECT))
        return base_err_set(err, BASE_EFORMAT, "", "a line is a JSON object: %s", j->why);
    while (rc == 0 && json_key(j, &name)) {
        int fact = find(&r, name);
        rc = fact < 0 && strcmp(name, "links") == 0 ? take_links(&r) : take(&r, name, fact, NULL);
    }
    return rc != 0 ? rc : j->why != NULL ? base_err_set(err, BASE_EFORMAT, "", "%s", j->why) : 0;
}
