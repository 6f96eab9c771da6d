/* The plain reading of the tree: no index, no order that matters, no early end. */
#include <string.h>

#include "random_policy.h"

bool ref_glob(const char *pattern, const char *cls)
{
    size_t n = strlen(pattern);
    if (strcmp(pattern, "*") == 0)
        return true;
    if (n < 2 || strcmp(pattern + n - 2, ".*") != 0)
        return strcmp(pattern, cls) == 0;
    return strncmp(pattern, cls, n - 2) == 0 && (cls[n - 2] == '\0' || cls[n - 2] == '.');
}

int ref_list(const struct subject *s, const struct rt_facts *f, const char *out[RT_MAX_CLASS + 2])
{
    int n = 0;
    if (s->id != RT_F_DATA_CLASS) {
        const struct rt_value *v = &f->v[s->id];
        for (; v->have && v->list != NULL && n <= RT_MAX_CLASS && v->list[n] != NULL; n++)
            out[n] = v->list[n];
        return !v->have || v->list == NULL || n > RT_MAX_CLASS ? -1 : n;
    }
    if (f->n_cls < 0 || f->n_cls > RT_MAX_CLASS)
        return -1;
    for (; n < f->n_cls; n++)
        out[n] = f->cls[n] != NULL ? f->cls[n] : "cabin";
    if (n == 0)
        out[n++] = "cabin";
    return n;
}

static enum rt_tri ref_classes(const struct ask *a, const struct rt_facts *f)
{
    const char *cls[RT_MAX_CLASS + 2];
    int n = ref_list(a->s, f, cls), covered = 0, met = 0;
    if (n < 0)
        return RT_CANNOT_TELL;
    for (int i = 0; i < n; i++) {
        bool in = false;
        for (int k = 0; k < a->n; k++)
            in |= ref_glob(patterns[a->val[k]], cls[i]);
        covered += in;
    }
    for (int k = 0; k < a->n; k++) {
        bool in = false;
        for (int i = 0; i < n; i++)
            in |= ref_glob(patterns[a->val[k]], cls[i]);
        met += in;
    }
    if (strcmp(a->op, "any") == 0)
        return covered > 0;
    return strcmp(a->op, "only") == 0 ? covered == n : met == a->n;
}

/* The value that counts, as a number in the scale of ask.val (times two: reals are halves). */
static bool ref_value(const struct subject *s, const struct rt_facts *f, int target, double *out)
{
    struct rt_value v = {0};
    if (s->id < 0) {
        for (int i = 0; i < f->n_named; i++) {
            if (f->named[i].name == NULL || strcmp(f->named[i].name, s->name) != 0)
                continue;
            v = f->named[i].v;
            if (f->named[i].type == RT_FACT_INT && s->type == RT_FACT_REAL)
                v.r = (double)v.i;
            else if (f->named[i].type != s->type)
                v.have = false;
        }
    } else if (f->link != NULL && of_target(s)) {
        for (int i = f->n_link - 1; i >= 0; i--) {
            if (f->link[i].target != NULL && strcmp(f->link[i].target, target_name[target]) == 0)
                v = *rt_link_c(&f->link[i], (enum rt_fact_id)s->id);
        }
    } else {
        v = f->v[s->id];
    }
    if (!v.have || (s->max_age_ms > 0 && (v.age_ms < 0 || v.age_ms > s->max_age_ms)))
        return false;
    *out = -2; /* a word that no policy has */
    if (s->type == RT_FACT_BOOL)
        *out = 2 * v.b;
    if (s->type == RT_FACT_INT)
        *out = 2 * (double)v.i;
    if (s->type == RT_FACT_REAL)
        *out = 2 * v.r;
    if (s->type == RT_FACT_STR && v.s == NULL)
        return false;
    for (int i = 0; s->type == RT_FACT_STR && i < n_word(s); i++) {
        if (strcmp(word_of(s, i), v.s) == 0)
            *out = 2 * i;
    }
    return s->type != RT_FACT_REAL || v.r <= 0 || v.r > 0; /* NaN is neither */
}

static double ref_wanted(const struct ask *a, int i)
{
    return 2 * a->val[i] + (a->s->type == RT_FACT_REAL);
}

/* Where the share has put the first rule's threshold. */
static double ref_moved(const struct ask *a, const struct rt_facts *f)
{
    double at = ref_wanted(a, 0) / 2;
    for (int i = 0; i < f->n_named; i++) {
        if (f->named[i].name != NULL && strncmp(f->named[i].name, "share.", 6) == 0)
            at = f->named[i].v.r;
    }
    return 2 * (at < made.move_min ? made.move_min : at > made.move_max ? made.move_max : at);
}

static enum rt_tri ref_ask(const struct ask *a, const struct rt_facts *f, int target, bool moved)
{
    double have = 0, x = ref_wanted(a, 0);
    bool in = false;
    if (a->s->type == RT_FACT_CLASSES)
        return ref_classes(a, f);
    if (!ref_value(a->s, f, target, &have))
        return RT_CANNOT_TELL;
    if (moved && a->s->id == RT_F_CONFIDENCE)
        x = ref_moved(a, f);
    for (int i = 0; i < a->n; i++)
        in |= !(ref_wanted(a, i) < have) && !(ref_wanted(a, i) > have);
    const char *op = a->op;
    return strcmp(op, "eq") == 0    ? in
           : strcmp(op, "not") == 0 ? !in
           : strcmp(op, "lt") == 0  ? have < x
           : strcmp(op, "le") == 0  ? have <= x
           : strcmp(op, "gt") == 0  ? have > x
           : strcmp(op, "ge") == 0  ? have >= x
           : strcmp(op, "in") == 0  ? in
                                    : have >= x && have <= ref_wanted(a, 1);
}

static enum rt_tri ref_and(enum rt_tri a, enum rt_tri b)
{
    return a == RT_NO || b == RT_NO ? RT_NO : a == RT_YES && b == RT_YES ? RT_YES : RT_CANNOT_TELL;
}

static enum rt_tri ref_not(enum rt_tri a)
{
    return a == RT_CANNOT_TELL ? a : a == RT_NO ? RT_YES : RT_NO;
}

enum rt_tri ref_map(const struct map *m, const struct rt_facts *f, int target, bool moved)
{
    enum rt_tri all = RT_YES, none = RT_YES;
    for (int i = 0; i < m->n_ask; i++)
        all = ref_and(all, ref_ask(&m->ask[i], f, target, moved));
    for (int i = 0; i < m->n_all; i++)
        all = ref_and(all, ref_map(m->all[i], f, target, false));
    for (int i = 0; i < m->n_any; i++)
        none = ref_and(none, ref_not(ref_map(m->any[i], f, target, false)));
    if (m->n_any > 0)
        all = ref_and(all, ref_not(none));
    if (m->no != NULL)
        all = ref_and(all, ref_not(ref_map(m->no, f, target, false)));
    return all;
}

int ref_decide(const struct rt_facts *f)
{
    const struct rt_value *hint = &f->v[RT_F_REQ_HINT];
    if (hint->have && strcmp(hint->s, "local") == 0)
        return -2;
    for (int i = 0; i < made.n_rule; i++) {
        if (made.rule[i].when == NULL || ref_map(made.rule[i].when, f, made.rule[i].target,
                                                 made.move_min >= 0 && i == 0) == RT_YES)
            return i;
    }
    return -1;
}

bool ref_permits(const char *cls, enum rt_mode mode, int target)
{
    static const struct gen_class builtin[] = {
        {"cabin", 0},    {"cabin.navigation", 0},      {"cabin.speech", 0},
        {"driver", 0},   {"driver.health", 0},         {"identifier", 0},
        {"location", 0}, {"location.precise", 0},      {"occupant", 0},
        {"public", 15},  {"vehicle.identification", 0}};
    size_t best = 0;
    unsigned permits = 0;
    for (int i = 0; i < 11 + made.n_declared; i++) {
        const struct gen_class *c = i < 11 ? &builtin[i] : &made.declared[i - 11];
        size_t n = strlen(c->name);
        if (strncmp(c->name, cls, n) != 0 || (cls[n] != '\0' && cls[n] != '.') || n < best)
            continue;
        best = n;
        permits = c->permits;
    }
    return (permits >> ((mode == RT_HIDDEN) * 2 + target) & 1) != 0;
}
