/* Random policies, facts and faults against an interpreter that is too simple to be wrong: what is
 * decided, that nothing leaves which is not named and permitted, that each decision lies in the
 * printed reach, and that what the compiler calls impossible never happens. WAYPOST_TRIPLES says
 * how many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/policy.h"
#include "../fixtures/wrap_alloc.h"

static uint64_t seed = 0x9E3779B97F4A7C15u;

static int rnd(int n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int)((seed >> 33) % (uint64_t)n);
}

/* ---- the words ---- */

static const char *const words[] = {"wa", "wb", "wc", "wd", "we", "wf", "wg", "wh"};
static const char *const states[] = {"up", "down", "unknown"};
static const char *const patterns[] = {
    "public.a", "public.*", "public", "identifier.*", "cabin", "x.v",        "x.*",
    "cabin.*",  "x.v.*",    "u.a",    "u.b.*",        "u",     "location.*", "*"};
static const char *const classes[] = {
    "public.a", "public.b.c", "public",     "identifier.phone", "cabin",       "x.v",
    "x",        "x.v.z",      "cabin.seat", "publicly",         "u.a",         "u.b",
    "u.b.c.d",  "",           "location",   "location.precise", "cabin.speech"};
enum { N_WORD = 8, N_PATTERN = 14, N_CLASS = 17, N_TARGET = 2, MAX_RULES = 60 };
static const char *const target_name[] = {"t0", "t1"};

/* What a condition can be about: a fact of the table, or one of the policy's own. */
static const struct subject {
    const char *name;
    enum rt_fact_type type;
    int id; /* -1: its own */
    int64_t max_age_ms;
} subjects[] = {
    {"data.class", RT_FACT_CLASSES, RT_F_DATA_CLASS, 0},
    {"caller", RT_FACT_STR, RT_F_CALLER, 0},
    {"request.prompt_tokens", RT_FACT_INT, RT_F_REQ_PROMPT_TOK, 0},
    {"request.stream", RT_FACT_BOOL, RT_F_REQ_STREAM, 0},
    {"link.state", RT_FACT_STR, RT_F_LINK_STATE, 0},
    {"link.rtt_ms", RT_FACT_REAL, RT_F_LINK_RTT_MS, 0},
    {"link.metered", RT_FACT_BOOL, RT_F_LINK_METERED, 0},
    {"confidence", RT_FACT_REAL, RT_F_CONFIDENCE, 0},
    {"intent", RT_FACT_STR, RT_F_INTENT, 0},
    {"data.history", RT_FACT_CLASSES, RT_F_DATA_HISTORY, 0},
    {"history.released", RT_FACT_CLASSES, RT_F_HISTORY_RELEASED, 0},
    {"vehicle.moving", RT_FACT_BOOL, RT_F_VEHICLE_MOVING, 2000},
    {"vehicle.seats_occupied", RT_FACT_INT, RT_F_VEHICLE_SEATS, 77}, /* changed by `signals` */
    {"Vehicle.A", RT_FACT_REAL, -1, 100},
    {"Vehicle.B", RT_FACT_STR, -1, 10000},
    {"budget.b.left", RT_FACT_REAL, -1, 0},
    {"consent.c", RT_FACT_BOOL, -1, 0},
};
enum { N_SUBJECT = sizeof subjects / sizeof subjects[0] };

static bool of_target(const struct subject *s)
{
    return s->id >= 0 && strcmp(rt_fact_info[s->id].source, "target") == 0;
}

static const char *word_of(const struct subject *s, int v)
{
    return s->id == RT_F_LINK_STATE ? states[v] : words[v];
}

/* ---- a policy as a tree ---- */

struct ask {
    const struct subject *s;
    char op[8];
    int n, val[3]; /* index into the words or patterns, or the number */
};

struct map { /* a condition mapping */
    struct ask ask[4];
    struct map *any[2], *all[2], *no;
    int n_ask, n_any, n_all;
};

struct gen_rule {
    int name;
    struct map *when; /* NULL: always */
    enum rt_mode mode;
    int target; /* -1: none */
};

/* A declared class: the pairs as bits, mode * 2 + target. */
struct gen_class {
    const char *name;
    unsigned permits;
};

static struct map pool[2048];
static int n_pool, top_number;
static struct gen_rule rule[MAX_RULES];
static int n_rule;
static struct gen_class declared[8];
static int n_declared;
static double move_min, move_max; /* of the first rule's confidence; min < 0: no share */

static void gen_ask(struct ask *a, const struct subject *s)
{
    static const char *const order[] = {"eq", "not", "lt", "le", "gt", "ge", "in", "between"};
    static const char *const word[] = {"eq", "not", "in"};
    static const char *const set[] = {"any", "only", "all"};
    int top = s->type == RT_FACT_CLASSES ? N_PATTERN
              : s->id == RT_F_LINK_STATE ? 3
              : s->type == RT_FACT_STR   ? N_WORD
              : s->type == RT_FACT_BOOL  ? 2
                                         : top_number;
    a->s = s;
    strcpy(a->op, s->type == RT_FACT_CLASSES ? set[rnd(3)]
                  : s->type == RT_FACT_BOOL  ? word[rnd(2)]
                  : s->type == RT_FACT_STR   ? word[rnd(3)]
                                             : order[rnd(8)]);
    if (strcmp(a->op, "only") == 0)
        top--; /* no "*" */
    bool list = s->type == RT_FACT_CLASSES || strcmp(a->op, "in") == 0;
    a->n = list ? 1 + rnd(3) : strcmp(a->op, "between") == 0 ? 2 : 1;
    int first = rnd(top);
    for (int i = 0; i < a->n; i++)
        a->val[i] = list ? (first + i) % top : rnd(top);
    if (strcmp(a->op, "between") == 0 && a->val[0] > a->val[1])
        a->val[1] = a->val[0];
}

static struct map *gen_map(int depth)
{
    struct map *m = &pool[n_pool++];
    memset(m, 0, sizeof *m);
    int at = rnd(N_SUBJECT), n = 1 + rnd(3);
    if (top_number > 6 && rnd(4) > 0) { /* many rules: many thresholds of one number */
        static const int numbers[] = {2, 7, 13};
        gen_ask(&m->ask[m->n_ask++], &subjects[numbers[rnd(3)]]);
        n = 0;
    }
    for (int i = 0; i < n; i++)
        gen_ask(&m->ask[m->n_ask++], &subjects[(at + i * 5) % N_SUBJECT]);
    if (depth > 0 && rnd(3) == 0)
        for (m->n_any = 0; m->n_any < 2; m->n_any++)
            m->any[m->n_any] = gen_map(depth - 1);
    if (depth > 0 && rnd(4) == 0)
        for (m->n_all = 0; m->n_all < 2; m->n_all++)
            m->all[m->n_all] = gen_map(depth - 1);
    if (depth > 0 && rnd(3) == 0)
        m->no = gen_map(depth - 1);
    return m;
}

static struct ask *classes_asked(struct map *m)
{
    for (int i = 0; i < m->n_ask; i++) {
        if (m->ask[i].s == &subjects[0])
            return &m->ask[i];
    }
    return NULL;
}

/* A rule that may leave gets its `only` where the language wants it. */
static void give_only(struct map *m)
{
    struct ask *a = classes_asked(m);
    if (a == NULL)
        a = &m->ask[m->n_ask++];
    do
        gen_ask(a, &subjects[0]);
    while (strcmp(a->op, "only") != 0);
}

static bool asks_target(const struct map *m)
{
    bool yes = m->no != NULL && asks_target(m->no);
    for (int i = 0; i < m->n_ask; i++)
        yes |= of_target(m->ask[i].s);
    for (int i = 0; i < m->n_any; i++)
        yes |= asks_target(m->any[i]);
    for (int i = 0; i < m->n_all; i++)
        yes |= asks_target(m->all[i]);
    return yes;
}

static void gen_classes(void)
{
    static const char *const names[] = {"cabin",      "cabin.speech", "cabin.navigation", "x", "u",
                                        "identifier", "location",     "location.precise"};
    bool open = rnd(6) > 0;
    n_declared = 0;
    for (int i = 0; i < 8; i++) {
        if (open || rnd(2))
            declared[n_declared++] = (struct gen_class){names[i], open ? 15u : (unsigned)rnd(16)};
    }
}

static void gen_policy(void)
{
    bool big = rnd(8) == 0;
    n_rule = big ? 40 + rnd(MAX_RULES - 40) : 1 + rnd(6);
    top_number = big ? 40 : 6;
    n_pool = 0;
    gen_classes();
    for (int i = 0; i < n_rule; i++) {
        struct gen_rule *r = &rule[i];
        r->name = i;
        r->mode = (enum rt_mode)rnd(4);
        bool leaves = r->mode == RT_PROMPT || r->mode == RT_HIDDEN;
        r->when = leaves || big || rnd(20) > 0 ? gen_map(big ? rnd(2) : rnd(3)) : NULL;
        if (leaves)
            give_only(r->when);
        r->target = leaves || (r->when != NULL && asks_target(r->when)) ? rnd(N_TARGET) : -1;
    }
    move_min = -1;
    if (rnd(3) == 0 && rule[0].when != NULL && rule[0].when->n_ask < 4) {
        struct map *m = rule[0].when;
        bool has = false;
        for (int i = 0; i < m->n_ask; i++)
            has |= m->ask[i].s->id == RT_F_CONFIDENCE;
        if (has)
            return;
        struct ask *a = &m->ask[m->n_ask++];
        *a = (struct ask){.s = &subjects[7], .n = 1, .val = {2}};
        strcpy(a->op, rnd(2) ? "lt" : "ge");
        move_min = 1.5;
        move_max = 4.5;
    }
}

/* ---- the tree as text ---- */

static void put_val(struct base_buf *b, const struct subject *s, int v)
{
    switch (s->type) {
    case RT_FACT_BOOL:
        base_buf_str(b, v ? "true" : "false");
        break;
    case RT_FACT_INT:
        base_buf_printf(b, "%d", v);
        break;
    case RT_FACT_REAL:
        base_buf_printf(b, "%d.5", v);
        break;
    case RT_FACT_STR:
        base_buf_str(b, word_of(s, v));
        break;
    default:
        base_buf_printf(b, "\"%s\"", patterns[v]);
    }
}

static void put_map(struct base_buf *b, const struct map *m)
{
    base_buf_str(b, "{ ");
    for (int i = 0; i < m->n_ask; i++) {
        const struct ask *a = &m->ask[i];
        bool list = a->n > 1 || strcmp(a->op, "in") == 0 || a->s->type == RT_FACT_CLASSES;
        base_buf_printf(b, "%s%s: { %s: %s", i > 0 ? ", " : "", a->s->name, a->op, list ? "[" : "");
        for (int k = 0; k < a->n; k++) {
            base_buf_str(b, k > 0 ? ", " : "");
            put_val(b, a->s, a->val[k]);
        }
        base_buf_str(b, list ? "] }" : " }");
    }
    for (int i = 0; i < m->n_any; i++) {
        base_buf_str(b, i == 0 ? ", any: [ " : ", ");
        put_map(b, m->any[i]);
    }
    base_buf_str(b, m->n_any > 0 ? " ]" : "");
    for (int i = 0; i < m->n_all; i++) {
        base_buf_str(b, i == 0 ? ", all: [ " : ", ");
        put_map(b, m->all[i]);
    }
    base_buf_str(b, m->n_all > 0 ? " ]" : "");
    if (m->no != NULL) {
        base_buf_str(b, ", not: ");
        put_map(b, m->no);
    }
    base_buf_str(b, " }");
}

static void put_classes(struct base_buf *b)
{
    for (int i = 0; i < n_declared; i++) {
        base_buf_printf(b, "%s%s: ", i > 0 ? ", " : "", declared[i].name);
        if (declared[i].permits == 0 || declared[i].permits == 15) {
            base_buf_str(b, declared[i].permits == 0 ? "none" : "any");
            continue;
        }
        for (int k = 0, n = 0; k < 4; k++) {
            if ((declared[i].permits >> k & 1) != 0)
                base_buf_printf(b, "%s{ mode: %s, target: t%d }", n++ == 0 ? "[" : ", ",
                                k < 2 ? "prompt" : "hidden", k % 2);
        }
        base_buf_str(b, "]");
    }
}

static void put_policy(struct base_buf *b)
{
    static const char *const mode[] = {"local", "prompt", "hidden", "refuse"};

    base_buf_reset(b);
    base_buf_str(
        b, "waypost_policy: 1\nversion: v\n"
           "targets: { t0: { modes: [prompt, hidden] }, t1: { modes: [prompt, hidden] } }\n"
           "signals: { Vehicle.A: { type: number, max_age_ms: 100 }, Vehicle.B: { type: text },"
           " vehicle.seats_occupied: { max_age_ms: 77 } }\n"
           "budgets: { b: { unit: bytes, limit: 5, per: day } }\n"
           "consents: { c: { lapses: trip } }\nclasses: {");
    put_classes(b);
    base_buf_str(b, "}\n");
    if (move_min >= 0)
        base_buf_printf(b,
                        "share: { edge: 0.5, moves: [{ rule: r%d, fact: confidence, min: %g, max: "
                        "%g }] }\n",
                        rule[0].name, move_min, move_max);
    base_buf_str(b, "rules:\n");
    for (int i = 0; i < n_rule; i++) {
        const struct gen_rule *r = &rule[i];
        base_buf_printf(b, "  - name: r%d\n    route: %s\n", r->name, mode[r->mode]);
        if (r->target >= 0)
            base_buf_printf(b, "    target: t%d\n", r->target);
        if (r->mode == RT_HIDDEN)
            base_buf_printf(b, "    layer: %d\n", 1 + i);
        if (r->when != NULL) {
            base_buf_str(b, "    when: ");
            put_map(b, r->when);
            base_buf_str(b, "\n");
        }
    }
}

/* ---- facts, some of them odd ---- */

struct given {
    struct rt_facts f;
    struct rt_target_link link[N_TARGET];
    struct rt_named named[6];
    const char *list[2][RT_MAX_CLASS + 2];
};

static struct rt_value gen_value(struct given *g, const struct subject *s)
{
    struct rt_value v = {.have = rnd(5) > 0};

    if (s->max_age_ms > 0 && rnd(3) == 0) {
        static const int off[] = {-1, 0, 1};
        v.age_ms = rnd(4) ? (int32_t)s->max_age_ms + off[rnd(3)] : -rnd(3);
    }
    switch (s->type) {
    case RT_FACT_BOOL:
        v.b = rnd(2);
        break;
    case RT_FACT_INT:
        v.i = rnd(50) ? rnd(top_number) : rnd(2) ? INT64_MAX : INT64_MIN;
        break;
    case RT_FACT_REAL:
        v.r = rnd(50)  ? 0.5 + rnd(top_number)
              : rnd(2) ? (double)__builtin_nanf("")
                       : (double)__builtin_inff();
        break;
    case RT_FACT_STR:
        v.s = rnd(20) == 0 ? (rnd(2) ? NULL : "else")
                           : word_of(s, rnd(s->id == RT_F_LINK_STATE ? 3 : N_WORD));
        break;
    case RT_FACT_CLASSES: {
        const char **list = g->list[s->id == RT_F_DATA_HISTORY];
        int n = rnd(30) == 0 ? RT_MAX_CLASS + rnd(2) : rnd(4);
        for (int i = 0; i < n; i++)
            list[i] = classes[rnd(N_CLASS)];
        list[n] = NULL;
        v.list = rnd(30) == 0 ? NULL : list;
        break;
    }
    }
    return v;
}

static void gen_classes_of(struct rt_facts *f)
{
    f->n_cls = rnd(4);
    for (int i = 0; i < f->n_cls; i++)
        f->cls[i] = rnd(60) ? classes[rnd(rnd(2) ? 3 : N_CLASS)] : NULL;
    if (rnd(60) == 0) {
        static const int odd[] = {-1, RT_MAX_CLASS, RT_MAX_CLASS + 1, INT32_MAX};
        f->n_cls = odd[rnd(4)];
        for (int i = 0; i < RT_MAX_CLASS; i++)
            f->cls[i] = classes[rnd(3)];
    }
}

static void gen_own(struct given *g)
{
    static const char *const other[] = {"Vehicle.C", "wa", "budget.b", "x.v"};
    int n = 0;
    for (int i = 0; i < N_SUBJECT; i++) {
        const struct subject *s = &subjects[i];
        if (s->id >= 0 || rnd(4) == 0)
            continue;
        struct rt_named *to = &g->named[n++];
        *to = (struct rt_named){s->name, s->type, gen_value(g, s)};
        if (rnd(20) == 0) { /* another type than declared; integers will do for numbers */
            to->type = (enum rt_fact_type)rnd(RT_FACT_STR);
            to->v = (struct rt_value){.have = true, .age_ms = to->v.age_ms};
            to->v.i = to->type == RT_FACT_INT ? rnd(6) : 1;
        }
        if (rnd(40) == 0)
            to->name = rnd(5) ? other[rnd(4)] : NULL;
    }
    if (move_min >= 0 && rnd(3) > 0) {
        static char name[16];
        snprintf(name, sizeof name, "share.r%d", rule[0].name);
        g->named[n++] = (struct rt_named){name, RT_FACT_REAL, {.have = true, .r = rnd(9) - 2.0}};
    }
    g->f.named = g->named;
    g->f.n_named = n;
}

static void gen_facts(struct given *g)
{
    struct rt_facts *f = &g->f;
    memset(f, 0, sizeof *f);
    gen_classes_of(f);
    for (int i = 1; i < N_SUBJECT; i++) {
        if (subjects[i].id >= 0)
            f->v[subjects[i].id] = gen_value(g, &subjects[i]);
    }
    gen_own(g);
    if (rnd(30) == 0)
        f->v[RT_F_REQ_HINT] = (struct rt_value){.have = true, .s = rnd(2) ? "local" : "cloud"};
    if (rnd(2) == 0)
        return;
    f->link = g->link;
    f->n_link = rnd(3);
    for (int t = 0; t < f->n_link; t++) {
        g->link[t] = (struct rt_target_link){.target = rnd(30) ? target_name[t] : NULL};
        for (int i = 0; i < N_SUBJECT; i++) {
            if (of_target(&subjects[i]))
                *rt_link(&g->link[t], (enum rt_fact_id)subjects[i].id) = gen_value(g, &subjects[i]);
        }
    }
}

/* ---- the plain reading of the language ---- */

static bool ref_glob(const char *pattern, const char *cls)
{
    size_t n = strlen(pattern);
    if (strcmp(pattern, "*") == 0)
        return true;
    if (n < 2 || strcmp(pattern + n - 2, ".*") != 0)
        return strcmp(pattern, cls) == 0;
    return strncmp(pattern, cls, n - 2) == 0 && (cls[n - 2] == '\0' || cls[n - 2] == '.');
}

/* The classes as a list; -1: nobody can tell. */
static int ref_list(const struct subject *s, const struct rt_facts *f,
                    const char *out[RT_MAX_CLASS + 2])
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
    for (int i = 0; s->type == RT_FACT_STR && i < (s->id == RT_F_LINK_STATE ? 3 : N_WORD); i++) {
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
    return 2 * (at < move_min ? move_min : at > move_max ? move_max : at);
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

/* moved: the direct tests are those of the rule whose threshold the share moves. */
static enum rt_tri ref_map(const struct map *m, const struct rt_facts *f, int target, bool moved)
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

/* Index of the rule; -1: none, -2: the caller's hint. */
static int ref_decide(const struct rt_facts *f)
{
    const struct rt_value *hint = &f->v[RT_F_REQ_HINT];
    if (hint->have && strcmp(hint->s, "local") == 0)
        return -2;
    for (int i = 0; i < n_rule; i++) {
        if (rule[i].when == NULL ||
            ref_map(rule[i].when, f, rule[i].target, move_min >= 0 && i == 0) == RT_YES)
            return i;
    }
    return -1;
}

/* What `classes` permits: the longest declared or built-in name at or above the class. */
static bool ref_permits(const char *cls, enum rt_mode mode, int target)
{
    static const struct gen_class builtin[] = {
        {"cabin", 0},    {"cabin.navigation", 0},      {"cabin.speech", 0},
        {"driver", 0},   {"driver.health", 0},         {"identifier", 0},
        {"location", 0}, {"location.precise", 0},      {"occupant", 0},
        {"public", 15},  {"vehicle.identification", 0}};
    size_t best = 0;
    unsigned permits = 0;
    for (int i = 0; i < 11 + n_declared; i++) {
        const struct gen_class *c = i < 11 ? &builtin[i] : &declared[i - 11];
        size_t n = strlen(c->name);
        if (strncmp(c->name, cls, n) != 0 || (cls[n] != '\0' && cls[n] != '.') || n < best)
            continue;
        best = n;
        permits = c->permits;
    }
    return (permits >> ((mode == RT_HIDDEN) * 2 + target) & 1) != 0;
}

/* ---- what must hold of every decision that leaves ---- */

/* The row of the printed table that speaks of the class: its own, or the nearest above it. */
static bool in_reach(const struct rt_policy *p, const char *cls, enum rt_mode mode, int target)
{
    const struct rt_class_decl *best = NULL;
    size_t len = 0;
    for (int i = 0; i < rt_policy_n_class(p); i++) {
        const struct rt_class_decl *d = rt_policy_class(p, i);
        size_t n = strlen(d->name);
        bool self = strcmp(d->name, cls) == 0;
        bool above = strncmp(d->name, cls, n) == 0 && cls[n] == '.';
        if ((self && !d->below) || (above && n >= len && (best == NULL || d->below || n > len))) {
            best = d;
            len = n;
        }
        if (self && !d->below)
            break;
    }
    uint64_t bits = best == NULL ? 0 : mode == RT_PROMPT ? best->reach.prompt : best->reach.hidden;
    return (bits >> target & 1) != 0;
}

static void check_egress(const struct rt_policy *p, const struct gen_rule *r,
                         const struct rt_facts *f)
{
    const struct ask *only = classes_asked(r->when);
    const char *cls[RT_MAX_CLASS + 2];
    int n = ref_list(&subjects[0], f, cls);
    assert_true(n > 0);
    assert_string_equal(only->op, "only");
    for (int i = 0; i < n; i++) {
        bool named = false;
        for (int k = 0; k < only->n; k++)
            named |= ref_glob(patterns[only->val[k]], cls[i]);
        assert_true(named);
        assert_true(ref_permits(cls[i], r->mode, r->target));
        struct rt_pairs may = rt_policy_permits(p, cls[i]);
        assert_true(((r->mode == RT_PROMPT ? may.prompt : may.hidden) >> r->target & 1) != 0);
        if (!in_reach(p, cls[i], r->mode, r->target))
            print_message("# '%s' is not in the reach\n", cls[i]);
        assert_true(in_reach(p, cls[i], r->mode, r->target));
    }
}

/* ---- the run ---- */

static struct rt_diags diags;

static const struct rt_diag *first_error(void)
{
    int i = 0;
    while (i < diags.n && diags.at[i].warning)
        i++;
    assert_true(i < diags.n);
    return &diags.at[i];
}

/* The rule in whose text the finding is; its index, -1: none. */
static int rule_at(struct base_buf *text, int line)
{
    int at = -1, name = -1;
    const char *s = base_buf_cstr(text);
    for (int l = 1; l <= line && s != NULL; l++) {
        if (sscanf(s, "  - name: r%d", &name) == 1)
            at = name;
        s = strchr(s, '\n');
        s = s != NULL ? s + 1 : NULL;
    }
    for (int i = 0; i < n_rule; i++) {
        if (rule[i].name == at)
            return i;
    }
    return -1;
}

static struct counts {
    long triples, policies, indexed, left, dead, leaks, impossible;
} n;

/* A refusal must be justified; then the rule is taken out of the tree. False: start anew. */
static bool repair(struct base_buf *text)
{
    const struct rt_diag *why = first_error();
    int target, at = rule_at(text, why->line);
    char cls[80], mode[16];
    static struct given g;
    bool dead = strstr(why->msg, "can never match") != NULL;

    if (sscanf(why->msg, "class '%79[^']' may not leave by %15s to 't%d'", cls, mode, &target) ==
        3) {
        assert_false(ref_permits(cls, mode[0] == 'p' ? RT_PROMPT : RT_HIDDEN, target));
        n.leaks++;
    } else if (dead) {
        n.dead++;
    } else if (strstr(why->msg, "can never hold") != NULL) {
        n.impossible++;
    } else {
        print_message("# %d:%d %s\n", why->line, why->col, why->msg);
        printf("%.*s\n", (int)text->len, (const char *)text->data);
        fail();
    }
    assert_true(at >= 0);
    const struct map *m = rule[at].when;
    bool flat = m != NULL && m->n_any == 0 && m->n_all == 0 && m->no == NULL;
    for (int i = 0; i < 20; i++) {
        gen_facts(&g);
        if (dead)
            assert_int_not_equal(ref_decide(&g.f), at);
        else if (flat && strstr(why->msg, "hold") != NULL)
            assert_int_not_equal(ref_map(m, &g.f, rule[at].target, false), RT_YES);
    }
    if (at == 0)
        return false;
    memmove(&rule[at], &rule[at + 1], (size_t)(n_rule - at - 1) * sizeof rule[0]);
    n_rule--;
    return true;
}

static void show(const struct rt_policy *p, const struct rt_facts *f, int want,
                 struct base_buf *text)
{
    struct base_buf how;
    base_buf_init(&how, 1 << 18);
    if (rt_explain(p, f, false, &how) != 0)
        print_message("# no explanation\n");
    print_message("# wanted rule %d\n", want);
    printf("%s\n%s\n", base_buf_cstr(text), base_buf_cstr(&how));
    base_buf_fini(&how);
}

static bool check_one(const struct rt_policy *p, const struct given *g, struct base_buf *text)
{
    static struct rt_env env;
    struct rt_decision d;
    int want = ref_decide(&g->f), wanted = want < 0 ? -1 : want;
    long before = n_alloc;
    rt_decide(p, &g->f, &d);
    assert_int_equal(n_alloc, before);
    if (d.rule_index != wanted)
        show(p, &g->f, want, text);
    assert_int_equal(d.rule_index, wanted);
    assert_string_equal(d.rule, want == -2 ? "caller-hint" : want == -1 ? "default" : d.rule);
    assert_int_equal(d.route.mode, want < 0 ? RT_LOCAL : rule[want].mode);
    /* The linear reading of the compiled rules, and the three-valued one of explain. */
    rt_env_init(&env, p, &g->f);
    if (want != -2)
        assert_int_equal(rt_first_rule(p, &env), wanted);
    for (int i = 0; i <= wanted; i++)
        assert_true((rt_eval_rule(p, &env, &p->rule[i]) == RT_YES) == (i == wanted));
    bool leaves = d.route.mode == RT_PROMPT || d.route.mode == RT_HIDDEN;
    if (leaves) {
        check_egress(p, &rule[want], &g->f);
        assert_string_equal(d.route.target, target_name[rule[want].target]);
    }
    return leaves;
}

static void random_policies_mean_what_they_say(void **state)
{
    (void)state;
    enum { N_FACTS = 50 };
    const char *asked = getenv("WAYPOST_TRIPLES");
    const long goal = asked != NULL ? atol(asked) : 60000;
    struct base_buf text;
    static struct given g;
    base_buf_init(&text, 1 << 20);
    while (n.triples < goal) {
        struct rt_policy *p = NULL;
        int err;
        gen_policy();
        do {
            put_policy(&text);
            err = rt_policy_compile(&p, (const char *)text.data, text.len, &diags);
        } while (err != 0 && repair(&text));
        if (err != 0)
            continue;
        n.policies++;
        n.indexed += p->fast != NULL;
        for (int k = 0; k < N_FACTS; k++, n.triples++) {
            gen_facts(&g);
            n.left += check_one(p, &g, &text);
        }
        rt_policy_free(p);
    }
    print_message(
        "# %ld decisions under %ld policies (%ld with an index), %ld left the car; refused: "
        "%ld dead rules, %ld leaks, %ld conditions that can't hold\n",
        n.triples, n.policies, n.indexed, n.left, n.dead, n.leaks, n.impossible);
    assert_true(n.left > goal / 50 && n.dead > 50 && n.leaks > 50 && n.impossible > 50);
    assert_true(n.indexed > n.policies / 50);
    base_buf_fini(&text);
}

/* Enough thresholds that the numbers narrow the rules: the same rule as by looking at all. */
static void thresholds_narrow_and_lose_nothing(void **state)
{
    (void)state;
    enum { N_RULE = 700, N_TRY = 4000 };
    struct base_buf text;
    struct rt_policy *p = NULL;
    base_buf_init(&text, 1 << 20);
    base_buf_str(
        &text, "waypost_policy: 1\nversion: v\nsignals: { Vehicle.A: { type: number } }\nrules:\n");
    for (int i = 0; i < N_RULE; i++)
        base_buf_printf(
            &text,
            "  - { name: r%d, route: refuse, when: { request.prompt_tokens: { %s: %d, %s: "
            "%d }, Vehicle.A: { %s: %d.5 }, confidence: { %s: 0.%d } } }\n",
            i, i % 2 ? "ge" : "gt", i / 2 * 3, i % 3 ? "lt" : "le", i / 2 * 3 + 4 + i % 2,
            i % 2 ? "lt" : "ge", 10 + i % 7, i % 4 ? "gt" : "le", 1 + i % 9);
    int err = rt_policy_compile(&p, (const char *)text.data, text.len, &diags);
    if (err != 0)
        print_message("# %d:%d %s\n", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    assert_int_equal(err, 0);
    assert_non_null(p->fast);
    static struct rt_env env;
    int matched = 0;
    for (int k = 0; k < N_TRY; k++) {
        struct rt_facts f = {0};
        struct rt_named own = {"Vehicle.A", RT_FACT_REAL, {.have = rnd(9) > 0, .r = rnd(60) / 2.0}};
        struct rt_decision d;
        f.v[RT_F_REQ_PROMPT_TOK] = (struct rt_value){.have = rnd(9) > 0, .i = rnd(1100) - 20};
        f.v[RT_F_CONFIDENCE] = (struct rt_value){.have = rnd(9) > 0, .r = rnd(12) / 10.0};
        if (rnd(50) == 0)
            f.v[RT_F_REQ_PROMPT_TOK].i = rnd(2) ? INT64_MIN : INT64_MAX;
        f.named = &own;
        f.n_named = 1;
        rt_env_init(&env, p, &f);
        rt_decide(p, &f, &d);
        assert_int_equal(d.rule_index, rt_first_rule(p, &env));
        matched += d.rule_index >= 0;
    }
    assert_true(matched > N_TRY / 10);
    rt_policy_free(p);
    base_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_narrow_and_lose_nothing),
        cmocka_unit_test(random_policies_mean_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
