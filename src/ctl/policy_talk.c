#include "ctl/policy_talk.h"

#include <string.h>

#include <uthash.h>

struct word { /* a class or a target's name, kept once */
    char *s;
    UT_hash_handle hh;
};

struct talk { /* a conversation */
    char id[CTL_ID_BYTES];
    struct classes cls;
    int64_t turns; /* before the next */
    struct {
        bool any;
        enum rt_mode last;
        const char *last_target; /* NULL: none yet */
        uint64_t seen;           /* bit a target of this policy */
        struct classes released;
    } by[2]; /* policy */
    UT_hash_handle hh;
};

void ctl_talks_fini(struct ctl_talks *s)
{
    HASH_CLEAR(hh, s->words);
    HASH_CLEAR(hh, s->talks);
}

int ctl_sim_target(const struct rt_policy *p, const char *name)
{
    for (int i = 0; i < rt_policy_n_target(p); i++) {
        if (strcmp(rt_policy_target_name(p, i), name) == 0)
            return i;
    }
    return -1;
}

static const char *keep(struct ctl_talks *s, const char *text)
{
    struct word *w;

    HASH_FIND_STR(s->words, text, w);
    if (w == NULL) {
        w = base_arena_get(s->arena, sizeof *w);
        if (w == NULL || (w->s = base_arena_strndup(s->arena, text, strlen(text))) == NULL)
            return NULL;
        HASH_ADD_KEYPTR(hh, s->words, w->s, strlen(w->s), w);
    }
    return w->s;
}

static int add_class(struct ctl_talks *s, struct classes *c, const char *cls)
{
    for (int i = 0; i < c->n; i++) {
        if (c->n > RT_MAX_CLASS || strcmp(c->at[i], cls) == 0)
            return 0;
    }
    if (c->n < RT_MAX_CLASS && (c->at[c->n] = keep(s, cls)) == NULL)
        return BASE_ENOMEM;
    c->n++;
    return 0;
}

static int add_list(struct ctl_talks *s, struct classes *c, const struct rt_value *v)
{
    int rc = 0;
    for (int i = 0; v->have && v->list[i] != NULL && rc == 0; i++)
        rc = add_class(s, c, v->list[i]);
    return rc;
}

/* The conversation so far as the first record that we see of it tells. */
static int begin_talk(struct ctl_talks *s, struct talk *t, const struct rt_facts *f)
{
    int rc = 0;

    if (f->v[RT_F_HISTORY_TURNS].have)
        t->turns = f->v[RT_F_HISTORY_TURNS].i;
    rc = add_list(s, &t->cls, &f->v[RT_F_DATA_HISTORY]);
    for (int i = 0; i < s->n_policy && rc == 0; i++) {
        rc = add_list(s, &t->by[i].released, &f->v[RT_F_HISTORY_RELEASED]);
        for (int k = 0; k < f->n_link; k++) {
            const struct rt_value *seen = rt_link_c(&f->link[k], RT_F_HISTORY_SEEN);
            for (int n = 0; n < rt_policy_n_target(s->p[i]); n++) {
                bool it = strcmp(rt_policy_target_name(s->p[i], n), f->link[k].target) == 0;
                t->by[i].seen |= it && seen->have && seen->b ? UINT64_C(1) << n : 0;
            }
        }
    }
    return rc;
}

/* *before: the classes that earlier turns brought. */
int ctl_talk_find(struct ctl_talks *s, const struct ctl_record *r, struct talk **out,
                  struct classes *before)
{
    const struct rt_facts *f = &r->g.f;
    struct talk *t = NULL;
    int rc = 0;

    *out = NULL;
    if (r->session[0] == '\0')
        return 0;
    HASH_FIND_STR(s->talks, r->session, t);
    if (t == NULL) {
        t = base_arena_get(s->arena, sizeof *t);
        if (t == NULL)
            return BASE_ENOMEM;
        memcpy(t->id, r->session, sizeof t->id);
        rc = begin_talk(s, t, f);
        HASH_ADD_STR(s->talks, id, t);
        s->n++;
    }
    *before = t->cls;
    for (int i = 0; i < f->n_cls && rc == 0; i++)
        rc = add_class(s, &t->cls, f->cls[i]);
    if (f->n_cls == 0 && rc == 0)
        rc = add_class(s, &t->cls, "cabin");
    *out = t;
    return rc;
}

static struct rt_value known(void)
{
    return (struct rt_value){.have = true};
}

static void set_list(struct rt_value *v, struct classes *c)
{
    *v = (struct rt_value){0};
    if (c->n > RT_MAX_CLASS)
        return;
    c->at[c->n] = NULL;
    v->have = true;
    v->list = c->at;
}

/* The record's facts as this policy would have met them: with the conversation's labels, and with
 * what it would have done before. link has room for RT_MAX_TARGET. */
void ctl_talk_facts(const struct ctl_talks *s, int i, struct talk *t, struct classes *before,
                    struct rt_facts *f, struct rt_target_link *link)
{
    const struct rt_policy *p = s->p[i];

    f->n_cls = t->cls.n;
    for (int k = 0; k < t->cls.n && k < RT_MAX_CLASS; k++)
        f->cls[k] = t->cls.at[k];
    if (!t->by[i].any) /* as recorded */
        return;
    set_list(&f->v[RT_F_DATA_HISTORY], before);
    set_list(&f->v[RT_F_HISTORY_RELEASED], &t->by[i].released);
    f->v[RT_F_HISTORY_TURNS] = known();
    f->v[RT_F_HISTORY_TURNS].i = t->turns;
    f->v[RT_F_HISTORY_LAST_ROUTE] = known();
    f->v[RT_F_HISTORY_LAST_ROUTE].s = rt_mode_str(t->by[i].last);
    f->v[RT_F_HISTORY_LAST_TARGET] = (struct rt_value){.have = t->by[i].last_target != NULL};
    f->v[RT_F_HISTORY_LAST_TARGET].s = t->by[i].last_target;
    f->v[RT_F_HISTORY_SEEN] = known();
    f->v[RT_F_HISTORY_SEEN].b = t->by[i].seen != 0;
    if (f->link == NULL)
        return;
    memcpy(link, f->link, sizeof *link * (size_t)f->n_link);
    f->link = link;
    for (int k = 0; k < f->n_link; k++) {
        struct rt_value *seen = rt_link(&link[k], RT_F_HISTORY_SEEN);
        *seen = known();
        for (int n = 0; n < rt_policy_n_target(p); n++)
            seen->b = seen->b || (strcmp(rt_policy_target_name(p, n), link[k].target) == 0 &&
                                  (t->by[i].seen >> n & 1) != 0);
    }
}

int ctl_talk_end(struct ctl_talks *s, int i, struct talk *t, const struct rt_decision *d)
{
    int rc = 0;

    t->by[i].any = true;
    t->by[i].last = d->route.mode;
    if (d->route.target == NULL)
        return 0;
    t->by[i].last_target = d->route.target;
    t->by[i].seen |= UINT64_C(1) << ctl_sim_target(s->p[i], d->route.target);
    for (int k = 0; k < t->cls.n && k < RT_MAX_CLASS && rc == 0; k++)
        rc = add_class(s, &t->by[i].released, t->cls.at[k]);
    return rc;
}

void ctl_talk_turn(struct talk *t)
{
    t->turns++;
}
