/* The generator: a policy as a tree, the tree as text, facts, some of them odd. */
#include <stdio.h>
#include <string.h>

#include "random_policy.h"

static uint64_t seed = 0x9E3779B97F4A7C15u;

int rnd(int n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int)((seed >> 33) % (uint64_t)n);
}

/* ---- the words ---- */

static const char *const words[N_WORD] = {"wa", "wb", "wc", "wd", "we", "wf", "wg", "wh"};
static const char *const states[] = {"up", "down", "unknown"};
const char *const patterns[N_PATTERN] = {
    "public.a", "public.*", "public", "identifier.*", "cabin", "x.v",        "x.*",
    "cabin.*",  "x.v.*",    "u.a",    "u.b.*",        "u",     "location.*", "*"};
static const char *const classes[N_CLASS] = {
    "public.a", "public.b.c", "public",     "identifier.phone", "cabin",       "x.v",
    "x",        "x.v.z",      "cabin.seat", "publicly",         "u.a",         "u.b",
    "u.b.c.d",  "",           "location",   "location.precise", "cabin.speech"};
const char *const target_name[N_TARGET] = {"t0", "t1"};

const struct subject subjects[N_SUBJECT] = {
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

bool of_target(const struct subject *s)
{
    return s->id >= 0 && strcmp(rt_fact_info[s->id].source, "target") == 0;
}

int n_word(const struct subject *s)
{
    return s->id == RT_F_LINK_STATE ? 3 : N_WORD;
}

const char *word_of(const struct subject *s, int v)
{
    return s->id == RT_F_LINK_STATE ? states[v] : words[v];
}

/* ---- a policy as a tree ---- */

struct random_policy made;

static void gen_ask(struct ask *a, const struct subject *s)
{
    static const char *const order[] = {"eq", "not", "lt", "le", "gt", "ge", "in", "between"};
    static const char *const word[] = {"eq", "not", "in"};
    static const char *const set[] = {"any", "only", "all"};
    int top = s->type == RT_FACT_CLASSES ? N_PATTERN
              : s->type == RT_FACT_STR   ? n_word(s)
              : s->type == RT_FACT_BOOL  ? 2
                                         : made.top_number;
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
    struct map *m = &made.pool[made.n_pool++];
    memset(m, 0, sizeof *m);
    int at = rnd(N_SUBJECT), n = 1 + rnd(3);
    if (made.top_number > 6 && rnd(4) > 0) { /* many rules: many thresholds of one number */
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

struct ask *classes_asked(struct map *m)
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
    made.n_declared = 0;
    for (int i = 0; i < 8; i++) {
        if (open || rnd(2))
            made.declared[made.n_declared++] =
                (struct gen_class){names[i], open ? 15u : (unsigned)rnd(16)};
    }
}

void gen_policy(void)
{
    bool big = rnd(8) == 0;
    made.n_rule = big ? 40 + rnd(MAX_RULES - 40) : 1 + rnd(6);
    made.top_number = big ? 40 : 6;
    made.n_pool = 0;
    gen_classes();
    for (int i = 0; i < made.n_rule; i++) {
        struct gen_rule *r = &made.rule[i];
        r->name = i;
        r->mode = (enum rt_mode)rnd(4);
        bool leaves = r->mode == RT_PROMPT || r->mode == RT_HIDDEN;
        r->when = leaves || big || rnd(20) > 0 ? gen_map(big ? rnd(2) : rnd(3)) : NULL;
        if (leaves)
            give_only(r->when);
        r->target = leaves || (r->when != NULL && asks_target(r->when)) ? rnd(N_TARGET) : -1;
    }
    made.move_min = -1;
    if (rnd(3) == 0 && made.rule[0].when != NULL && made.rule[0].when->n_ask < 4) {
        struct map *m = made.rule[0].when;
        bool has = false;
        for (int i = 0; i < m->n_ask; i++)
            has |= m->ask[i].s->id == RT_F_CONFIDENCE;
        if (has)
            return;
        struct ask *a = &m->ask[m->n_ask++];
        *a = (struct ask){.s = &subjects[7], .n = 1, .val = {2}};
        strcpy(a->op, rnd(2) ? "lt" : "ge");
        made.move_min = 1.5;
        made.move_max = 4.5;
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
    for (int i = 0; i < made.n_declared; i++) {
        base_buf_printf(b, "%s%s: ", i > 0 ? ", " : "", made.declared[i].name);
        if (made.declared[i].permits == 0 || made.declared[i].permits == 15) {
            base_buf_str(b, made.declared[i].permits == 0 ? "none" : "any");
            continue;
        }
        for (int k = 0, n = 0; k < 4; k++) {
            if ((made.declared[i].permits >> k & 1) != 0)
                base_buf_printf(b, "%s{ mode: %s, target: t%d }", n++ == 0 ? "[" : ", ",
                                k < 2 ? "prompt" : "hidden", k % 2);
        }
        base_buf_str(b, "]");
    }
}

void put_policy(struct base_buf *b)
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
    if (made.move_min >= 0)
        base_buf_printf(b,
                        "share: { edge: 0.5, moves: [{ rule: r%d, fact: confidence, min: %g, max: "
                        "%g }] }\n",
                        made.rule[0].name, made.move_min, made.move_max);
    base_buf_str(b, "rules:\n");
    for (int i = 0; i < made.n_rule; i++) {
        const struct gen_rule *r = &made.rule[i];
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
        v.i = rnd(50) ? rnd(made.top_number) : rnd(2) ? INT64_MAX : INT64_MIN;
        break;
    case RT_FACT_REAL:
        v.r = rnd(50)  ? 0.5 + rnd(made.top_number)
              : rnd(2) ? (double)__builtin_nanf("")
                       : (double)__builtin_inff();
        break;
    case RT_FACT_STR:
        v.s = rnd(20) == 0 ? (rnd(2) ? NULL : "else") : word_of(s, rnd(n_word(s)));
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
    if (made.move_min >= 0 && rnd(3) > 0) {
        static char name[16];
        snprintf(name, sizeof name, "share.r%d", made.rule[0].name);
        g->named[n++] = (struct rt_named){name, RT_FACT_REAL, {.have = true, .r = rnd(9) - 2.0}};
    }
    g->f.named = g->named;
    g->f.n_named = n;
}

void gen_facts(struct given *g)
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
