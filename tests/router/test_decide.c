/* Decisions: three-valued logic, order, links; random policies against an interpreter that is too
 * simple to be wrong; no allocation while deciding; every allocation failed once while compiling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/router.h"

/* ---- the linker sends the router's allocations through here (--wrap) ---- */

static long n_alloc, fail_at = -1;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *__wrap_malloc(size_t n)
{
    return n_alloc++ == fail_at ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return n_alloc++ == fail_at ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return n_alloc++ == fail_at ? NULL : __real_realloc(p, n);
}

static struct rt_diags diags;

/* The first error, or NULL. */
static const struct rt_diag *first_error(void)
{
    for (int i = 0; i < diags.n; i++) {
        if (!diags.at[i].warning)
            return &diags.at[i];
    }
    return NULL;
}

static struct rt_policy *must_compile(const char *text)
{
    struct rt_policy *p = NULL;
    int err = rt_policy_compile(&p, text, strlen(text), &diags);
    if (err != 0)
        print_message("# %d:%d %s\n", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    assert_int_equal(err, 0);
    return p;
}

static const struct rt_value unknown;

static struct rt_value str(const char *s)
{
    return (struct rt_value){.have = true, .s = s};
}

static struct rt_value num(int64_t i)
{
    return (struct rt_value){.have = true, .i = i};
}

static struct rt_value real(double r)
{
    return (struct rt_value){.have = true, .r = r};
}

/* rtt_ms < 0: not known. state NULL: not known. */
static struct rt_target_link link_is(const char *target, const char *state, double rtt_ms)
{
    struct rt_target_link l = {.target = target};
    *rt_link(&l, RT_F_LINK_STATE) = state != NULL ? str(state) : unknown;
    *rt_link(&l, RT_F_LINK_RTT_MS) = rtt_ms >= 0 ? real(rtt_ms) : unknown;
    return l;
}

/* ---- by hand ---- */

#define HEAD "waypost_policy: 1\nversion: v1\n"

/* The truth tables of and, or, not over (no, yes, cannot tell). */
static void logic_is_kleenes(void **state)
{
    (void)state;
    static const enum rt_tri and[3][3] = {{0, 0, 0}, {0, 1, 2}, {0, 2, 2}};
    static const enum rt_tri or [3][3] = {{0, 1, 2}, {1, 1, 1}, {2, 1, 2}};
    static const enum rt_tri not [3] = {1, 0, 2};
    /* To see "no" apart from "cannot tell", ask for the condition and for its negation. */
    static const char *const form[] = {
        "all: [ { caller: a }, { request.model: a } ]",
        "any: [ { caller: a }, { request.model: a } ]",
        "not: { caller: a }",
    };
    struct rt_value v[3] = {str("b"), str("a"), unknown};
    for (int f = 0; f < 3; f++) {
        char text[600];
        snprintf(text, sizeof text,
                 HEAD "rules:\n  - { name: holds, when: { %s }, route: refuse }\n"
                      "  - { name: fails, when: { not: { %s } }, route: refuse }\n",
                 form[f], form[f]);
        struct rt_policy *p = must_compile(text);
        for (int a = 0; a < 3; a++) {
            for (int b = 0; b < 3; b++) {
                struct rt_facts facts = {0};
                struct rt_decision d;
                facts.v[RT_F_CALLER] = v[a];
                facts.v[RT_F_REQ_MODEL] = v[b];
                enum rt_tri want = f == 0 ? and[a][b] : f == 1 ? or [a][b] : not [a];
                rt_decide(p, &facts, &d);
                assert_string_equal(d.rule, want == RT_YES  ? "holds"
                                            : want == RT_NO ? "fails"
                                                            : "default");
                assert_int_equal(d.route.mode, want == RT_CANNOT_TELL ? RT_LOCAL : RT_REFUSE);
            }
        }
        rt_policy_free(p);
    }
}

static void link_facts_are_the_targets(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(
        HEAD
        "targets: { near: { modes: [prompt] }, far: { modes: [prompt] } }\nrules:\n"
        "  - name: near\n    when: { data.class: { only: [public.*] }, link.state: up, "
        "link.rtt_ms: { lt: 50 } }\n    route: prompt\n    target: near\n"
        "  - name: far\n    when: { data.class: { only: [public.*] }, link.state: { not: down } "
        "}\n    route: prompt\n    target: far\n"
        "  - name: cut\n    when: { link.state: down }\n    route: refuse\n    target: far\n");
    struct rt_target_link link[] = {link_is("far", "up", 10), link_is("near", "up", 80)};
    struct rt_facts f = {.cls = {"public.x"}, .n_cls = 1, .link = link, .n_link = 2};
    struct rt_decision d;
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "far");
    assert_string_equal(d.route.target, "far");
    *rt_link(&link[1], RT_F_LINK_RTT_MS) = real(49);
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "near");
    *rt_link(&link[1], RT_F_LINK_RTT_MS) = unknown;
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "far");
    *rt_link(&link[0], RT_F_LINK_STATE) = str("down");
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "cut");
    f.n_link = 0; /* nothing is known of any target */
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "default");
    f.link = NULL; /* one state for all */
    f.v[RT_F_LINK_STATE] = str("up");
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "far");
    rt_policy_free(p);
}

static const char release_all[] = HEAD
    "targets: { cloud: { modes: [prompt] } }\nrules:\n"
    "  - { name: r, when: { data.class: { only: [public.*] } }, route: prompt, target: cloud }\n";

static void odd_facts_stay_at_home(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(release_all);
    struct rt_decision d;
    static const struct {
        const char *cls[3];
        int n;
        enum rt_mode mode;
    } t[] = {
        {{"public.a"}, 1, RT_PROMPT},
        {{"public"}, 1, RT_PROMPT},
        {{"public.a.b.c.d.e.f.g.h.i.j"}, 1, RT_PROMPT},
        {{"publicity"}, 1, RT_LOCAL},
        {{"Public.a"}, 1, RT_LOCAL},
        {{""}, 1, RT_LOCAL},
        {{NULL}, 1, RT_LOCAL},
        {{"x.public"}, 1, RT_LOCAL},
        {{" public.a"}, 1, RT_LOCAL},
        {{"public.a", "cabin"}, 2, RT_LOCAL},
        {{"public.a", NULL}, 2, RT_LOCAL},
        {{"public.a", "public.b"}, 2, RT_PROMPT},
        {{"public.a"}, 0, RT_LOCAL},
        {{"public.a"}, -1, RT_LOCAL},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct rt_facts f = {.n_cls = t[i].n};
        memcpy(f.cls, t[i].cls, sizeof t[i].cls);
        rt_decide(p, &f, &d);
        assert_int_equal(d.route.mode, t[i].mode);
    }
    struct rt_facts many = {.n_cls = RT_MAX_CLASS + 1};
    for (int i = 0; i < RT_MAX_CLASS; i++)
        many.cls[i] = "public.a";
    rt_decide(p, &many, &d);
    assert_int_equal(d.route.mode, RT_LOCAL);
    rt_policy_free(p);
}

static void the_callers_hint_only_tightens(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(release_all);
    struct rt_facts f = {.cls = {"public.a"}, .n_cls = 1};
    struct rt_decision d;
    f.v[RT_F_REQ_HINT] = str("local");
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "caller-hint");
    assert_int_equal(d.rule_index, -1);
    assert_int_equal(d.route.mode, RT_LOCAL);
    static const char *const other[] = {"prompt", "cloud", "Local", ""};
    for (int i = 0; i < 4; i++) {
        f.v[RT_F_REQ_HINT] = str(other[i]);
        f.n_cls = 1;
        rt_decide(p, &f, &d);
        assert_string_equal(d.rule, "r");
        f.n_cls = 0;
        rt_decide(p, &f, &d);
        assert_string_equal(d.rule, "default");
    }
    rt_policy_free(p);
}

static void numbers_compare_at_their_edges(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(
        HEAD
        "rules:\n"
        "  - { name: max, when: { engine.queue: 9223372036854775807 }, route: local }\n"
        "  - { name: big, when: { engine.queue: { gt: 9007199254740992 } }, route: local }\n"
        "  - { name: neg, when: { engine.queue: { lt: 0 } }, route: local }\n"
        "  - { name: set, when: { engine.queue: { in: [3, 5] } }, route: local }\n"
        "  - { name: span, when: { engine.queue: { between: [4, 7] } }, route: local }\n"
        "  - { name: conf, when: { model.confidence: { ge: 0.25, lt: 0.5 } }, route: local }\n");
    static const struct {
        int64_t i;
        const char *rule;
    } t[] = {{INT64_MAX, "max"},
             {INT64_MAX - 1, "big"},
             {INT64_C(9007199254740993), "big"},
             {INT64_C(9007199254740992), "default"},
             {-1, "neg"},
             {INT64_MIN, "neg"},
             {0, "default"},
             {3, "set"},
             {5, "set"},
             {4, "span"},
             {7, "span"},
             {8, "default"}};
    struct rt_facts f = {0};
    struct rt_decision d;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        f.v[RT_F_ENGINE_QUEUE] = num(t[i].i);
        rt_decide(p, &f, &d);
        assert_string_equal(d.rule, t[i].rule);
    }
    f.v[RT_F_ENGINE_QUEUE] = unknown;
    static const struct {
        double r;
        const char *rule;
    } c[] = {{0.25, "conf"}, {0.4999, "conf"}, {0.5, "default"}, {0.2499, "default"}};
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        f.v[RT_F_MODEL_CONFIDENCE] = real(c[i].r);
        rt_decide(p, &f, &d);
        assert_string_equal(d.rule, c[i].rule);
    }
    f.v[RT_F_MODEL_CONFIDENCE] = real((double)__builtin_nanf(""));
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "default");
    rt_policy_free(p);
}

static void explain_shows_each_answer(void **state)
{
    (void)state;
    struct rt_policy *p = must_compile(
        HEAD "rules:\n"
             "  - { name: first, when: { caller: nav, engine.queue: { gt: 3 } }, route: refuse }\n"
             "  - { name: second, when: { request.stream: true }, route: refuse }\n"
             "  - { name: third, when: { not: { any: [ { caller: a }, { caller: b } ] } }, "
             "route: refuse, because: \"so \\\"it\\\" is\" }\n"
             "  - { name: fourth, route: local }\n");
    struct rt_facts f = {0};
    struct base_buf out;
    f.v[RT_F_CALLER] = str("na\"v\n\xFF");
    base_buf_init(&out, 1 << 16);
    assert_int_equal(rt_explain(p, &f, false, &out), 0);
    const char *s = base_buf_cstr(&out);
    assert_non_null(strstr(s, "caller is nav; caller is na\"v??\n"));
    assert_non_null(strstr(s, "cannot tell request.stream is true; request.stream is not known\n"));
    assert_non_null(strstr(s, "not ((caller is a or caller is b))"));
    assert_non_null(strstr(s, "fourth                   not reached"));
    assert_non_null(strstr(s, "=> refuse   (rule third)"));
    base_buf_reset(&out);
    assert_int_equal(rt_explain(p, &f, true, &out), 0);
    s = base_buf_cstr(&out);
    assert_non_null(strstr(s, "\"because\":\"so \\\"it\\\" is\""));
    assert_non_null(strstr(s, "caller is na\\\"v??"));
    base_buf_fini(&out);
    base_buf_init(&out, 100);
    assert_int_equal(rt_explain(p, &f, true, &out), BASE_ELIMIT);
    base_buf_fini(&out);
    rt_policy_free(p);
}

/* ---- random policies against the plain reading of the language ---- */

static uint64_t seed = 0x9E3779B97F4A7C15u;

static unsigned rnd(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % n;
}

static const char *const callers[] = {"a", "b", "c"};
static const char *const states[] = {"up", "down", "unknown"};
static const char *const patterns[] = {"public.a", "public.*", "public",  "identifier.*", "cabin",
                                       "x.y",      "x.*",      "cabin.*", "x.y.*",        "*"};
static const char *const classes[] = {"public.a",   "public.b.c", "public", "identifier.phone",
                                      "cabin",      "x.y",        "x",      "x.y.z",
                                      "cabin.seat", "publicly"};
static const int asked[] = {RT_F_CALLER,          RT_F_DATA_CLASS, RT_F_REQ_PROMPT_TOK,
                            RT_F_REQ_STREAM,      RT_F_LINK_STATE, RT_F_LINK_RTT_MS,
                            RT_F_MODEL_CONFIDENCE};
static const char *const target_name[] = {"t0", "t1"};

struct ask {
    int fact;
    char op[8];
    int n, val[3]; /* index into the fact's words, or the number */
};

struct map { /* a condition mapping */
    struct ask ask[4];
    struct map *any[2], *all[2], *no;
    int n_ask, n_any, n_all;
};

struct gen_rule {
    struct map *when; /* NULL: always */
    enum rt_mode mode;
    int target; /* -1: none */
};

static struct map pool[512];
static int n_pool;

static void gen_ask(struct ask *a, int fact)
{
    static const char *const order[] = {"eq", "not", "lt", "le", "gt", "ge", "in", "between"};
    static const char *const word[] = {"eq", "not", "in"};
    static const char *const set[] = {"any", "only", "all"};
    enum rt_fact_type type = rt_fact_info[fact].type;
    a->fact = fact;
    unsigned top = type == RT_FACT_CLASSES ? 10
                   : type == RT_FACT_STR   ? 3
                   : type == RT_FACT_BOOL  ? 2
                                           : 6;
    strcpy(a->op, type == RT_FACT_CLASSES ? set[rnd(3)]
                  : type == RT_FACT_BOOL  ? word[rnd(2)]
                  : type == RT_FACT_STR   ? word[rnd(3)]
                                          : order[rnd(8)]);
    if (strcmp(a->op, "only") == 0)
        top--; /* no "*" */
    bool list = type == RT_FACT_CLASSES || strcmp(a->op, "in") == 0;
    a->n = list ? 1 + (int)rnd(3) : strcmp(a->op, "between") == 0 ? 2 : 1;
    int first = (int)rnd(top);
    for (int i = 0; i < a->n; i++)
        a->val[i] = list ? (first + i) % (int)top : (int)rnd(top);
    if (strcmp(a->op, "between") == 0 && a->val[0] > a->val[1])
        a->val[1] = a->val[0];
}

static struct map *gen_map(int depth)
{
    struct map *m = &pool[n_pool++];
    memset(m, 0, sizeof *m);
    int at = (int)rnd(7), n = 1 + (int)rnd(3);
    for (int i = 0; i < n; i++)
        gen_ask(&m->ask[m->n_ask++], asked[(at + i * 2) % 7]);
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

static void put_val(struct base_buf *b, int fact, int v)
{
    switch (rt_fact_info[fact].type) {
    case RT_FACT_BOOL:
        base_buf_str(b, v ? "true" : "false");
        break;
    case RT_FACT_INT:
        base_buf_printf(b, "%d", v);
        break;
    case RT_FACT_REAL:
        base_buf_printf(b, "%d.5", v);
        break;
    default:
        base_buf_printf(b, "\"%s\"",
                        fact == RT_F_CALLER       ? callers[v]
                        : fact == RT_F_LINK_STATE ? states[v]
                                                  : patterns[v]);
    }
}

static void put_map(struct base_buf *b, const struct map *m)
{
    base_buf_str(b, "{ ");
    for (int i = 0; i < m->n_ask; i++) {
        const struct ask *a = &m->ask[i];
        bool list = a->n > 1 || strcmp(a->op, "in") == 0 || a->fact == RT_F_DATA_CLASS;
        base_buf_printf(b, "%s%s: { %s: %s", i > 0 ? ", " : "", rt_fact_info[a->fact].name, a->op,
                        list ? "[" : "");
        for (int k = 0; k < a->n; k++) {
            base_buf_str(b, k > 0 ? ", " : "");
            put_val(b, a->fact, a->val[k]);
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

static bool map_asks_link(const struct map *m)
{
    bool yes = false;
    for (int i = 0; i < m->n_ask; i++)
        yes |= m->ask[i].fact == RT_F_LINK_STATE || m->ask[i].fact == RT_F_LINK_RTT_MS;
    for (int i = 0; i < m->n_any; i++)
        yes |= map_asks_link(m->any[i]);
    for (int i = 0; i < m->n_all; i++)
        yes |= map_asks_link(m->all[i]);
    return yes || (m->no != NULL && map_asks_link(m->no));
}

/* A rule that may leave gets its `only` where the language wants it. */
static void give_only(struct map *m)
{
    struct ask *a = NULL;
    for (int i = 0; i < m->n_ask; i++) {
        if (m->ask[i].fact == RT_F_DATA_CLASS)
            a = &m->ask[i];
    }
    if (a == NULL)
        a = &m->ask[m->n_ask++];
    do
        gen_ask(a, RT_F_DATA_CLASS);
    while (strcmp(a->op, "only") != 0);
}

static int gen_policy(struct gen_rule *rule, struct base_buf *b)
{
    static const char *const mode[] = {"local", "prompt", "hidden", "refuse"};
    int n = 1 + (int)rnd(5);
    n_pool = 0;
    base_buf_reset(b);
    base_buf_str(b, HEAD
                 "classes: { cabin: any, cabin.speech: any, cabin.navigation: any, identifier: "
                 "any, x: any }\n"
                 "targets: { t0: { modes: [prompt, hidden] }, t1: { modes: [prompt, hidden] } }\n"
                 "rules:\n");
    for (int i = 0; i < n; i++) {
        struct gen_rule *r = &rule[i];
        r->mode = (enum rt_mode)rnd(4);
        bool leaves = r->mode == RT_PROMPT || r->mode == RT_HIDDEN;
        r->when = leaves || rnd(20) > 0 ? gen_map(2) : NULL;
        if (leaves)
            give_only(r->when);
        r->target = leaves || (r->when != NULL && map_asks_link(r->when)) ? (int)rnd(2) : -1;
        base_buf_printf(b, "  - name: r%d\n    route: %s\n", i, mode[r->mode]);
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
    return n;
}

static void gen_facts(struct rt_facts *f, struct rt_target_link *link)
{
    memset(f, 0, sizeof *f);
    f->n_cls = (int)rnd(4);
    for (int i = 0; i < f->n_cls; i++)
        f->cls[i] = classes[rnd(10)];
    f->v[RT_F_CALLER] = rnd(4) ? str(callers[rnd(3)]) : unknown;
    f->v[RT_F_REQ_PROMPT_TOK] = rnd(4) ? num(rnd(6)) : unknown;
    f->v[RT_F_REQ_STREAM] = rnd(4) ? (struct rt_value){.have = true, .b = rnd(2)} : unknown;
    f->v[RT_F_MODEL_CONFIDENCE] = rnd(4) ? real(0.5 + rnd(6)) : unknown;
    f->v[RT_F_LINK_STATE] = rnd(4) ? str(states[rnd(3)]) : unknown;
    f->v[RT_F_LINK_RTT_MS] = rnd(4) ? real(0.5 + rnd(6)) : unknown;
    if (rnd(2)) {
        f->link = link;
        f->n_link = (int)rnd(3);
        for (int i = 0; i < f->n_link; i++)
            link[i] =
                link_is(target_name[i], rnd(4) ? states[rnd(3)] : NULL, rnd(2) ? 0.5 + rnd(6) : -1);
    }
}

static bool ref_glob(const char *pattern, const char *cls)
{
    size_t n = strlen(pattern);
    if (strcmp(pattern, "*") == 0)
        return true;
    if (n < 2 || strcmp(pattern + n - 2, ".*") != 0)
        return strcmp(pattern, cls) == 0;
    return strncmp(pattern, cls, n - 2) == 0 && (cls[n - 2] == '\0' || cls[n - 2] == '.');
}

static enum rt_tri ref_classes(const struct ask *a, const struct rt_facts *f)
{
    static const char *const unlabelled[] = {"cabin"};
    const char *const *cls = f->n_cls > 0 ? f->cls : unlabelled;
    int n = f->n_cls > 0 ? f->n_cls : 1, covered = 0, met = 0;
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

static enum rt_tri ref_ask(const struct ask *a, const struct rt_facts *f, int target)
{
    if (a->fact == RT_F_DATA_CLASS)
        return ref_classes(a, f);
    struct rt_value v = f->v[a->fact];
    if (f->link != NULL && (a->fact == RT_F_LINK_RTT_MS || a->fact == RT_F_LINK_STATE)) {
        v = unknown;
        for (int i = 0; i < f->n_link; i++) {
            if (strcmp(f->link[i].target, target_name[target]) == 0)
                v = *rt_link_c(&f->link[i], (enum rt_fact_id)a->fact);
        }
    }
    if (!v.have)
        return RT_CANNOT_TELL;
    int have = -1; /* in the scale of ask.val */
    enum rt_fact_type type = rt_fact_info[a->fact].type;
    if (type == RT_FACT_BOOL)
        have = v.b;
    if (type == RT_FACT_INT)
        have = (int)v.i;
    if (type == RT_FACT_REAL)
        have = (int)v.r;
    for (int i = 0; type == RT_FACT_STR && i < 3; i++) {
        if (strcmp(a->fact == RT_F_CALLER ? callers[i] : states[i], v.s) == 0)
            have = i;
    }
    int x = a->val[0];
    bool in = false;
    for (int i = 0; i < a->n; i++)
        in |= a->val[i] == have;
    const char *op = a->op;
    return strcmp(op, "eq") == 0    ? have == x
           : strcmp(op, "not") == 0 ? have != x
           : strcmp(op, "lt") == 0  ? have < x
           : strcmp(op, "le") == 0  ? have <= x
           : strcmp(op, "gt") == 0  ? have > x
           : strcmp(op, "ge") == 0  ? have >= x
           : strcmp(op, "in") == 0  ? in
                                    : have >= x && have <= a->val[1];
}

static enum rt_tri ref_and(enum rt_tri a, enum rt_tri b)
{
    return a == RT_NO || b == RT_NO ? RT_NO : a == RT_YES && b == RT_YES ? RT_YES : RT_CANNOT_TELL;
}

static enum rt_tri ref_not(enum rt_tri a)
{
    return a == RT_CANNOT_TELL ? a : a == RT_NO ? RT_YES : RT_NO;
}

static enum rt_tri ref_map(const struct map *m, const struct rt_facts *f, int target)
{
    enum rt_tri all = RT_YES, none = RT_YES;
    for (int i = 0; i < m->n_ask; i++)
        all = ref_and(all, ref_ask(&m->ask[i], f, target));
    for (int i = 0; i < m->n_all; i++)
        all = ref_and(all, ref_map(m->all[i], f, target));
    for (int i = 0; i < m->n_any; i++)
        none = ref_and(none, ref_not(ref_map(m->any[i], f, target)));
    if (m->n_any > 0)
        all = ref_and(all, ref_not(none));
    if (m->no != NULL)
        all = ref_and(all, ref_not(ref_map(m->no, f, target)));
    return all;
}

static int ref_decide(const struct gen_rule *rule, int n, const struct rt_facts *f)
{
    for (int i = 0; i < n; i++) {
        if (rule[i].when == NULL || ref_map(rule[i].when, f, rule[i].target) == RT_YES)
            return i;
    }
    return -1;
}

/* Said again without the interpreter: what leaves has every class in the rule's own `only`. */
static void check_egress(const struct gen_rule *r, const struct rt_facts *f)
{
    const struct ask *only = NULL;
    for (int i = 0; i < r->when->n_ask; i++) {
        if (r->when->ask[i].fact == RT_F_DATA_CLASS)
            only = &r->when->ask[i];
    }
    assert_non_null(only);
    for (int i = 0; i < (f->n_cls > 0 ? f->n_cls : 1); i++) {
        const char *cls = f->n_cls > 0 ? f->cls[i] : "cabin";
        bool named = false;
        for (int k = 0; k < only->n; k++)
            named |= ref_glob(patterns[only->val[k]], cls);
        assert_true(named);
    }
}

static void random_policies_mean_what_they_say(void **state)
{
    (void)state;
    enum { N_POLICY = 4000, N_FACTS = 100 };
    static struct gen_rule rule[8];
    struct base_buf text;
    long triples = 0, left = 0, unreachable = 0;
    base_buf_init(&text, 1 << 16);
    for (int i = 0; i < N_POLICY; i++) {
        struct rt_policy *p = NULL;
        struct rt_facts f;
        struct rt_target_link link[2];
        struct rt_decision d;
        int n = gen_policy(rule, &text);
        int err = rt_policy_compile(&p, (const char *)text.data, text.len, &diags);
        const struct rt_diag *why = first_error();
        assert_true((err == 0) == (why == NULL));
        if (err != 0 && strstr(why->msg, "never") == NULL) {
            print_message("# %d:%d %s\n%s", why->line, why->col, why->msg, base_buf_cstr(&text));
            fail();
        }
        int dead = -1; /* a rule that the compiler calls unreachable */
        if (err != 0 && sscanf(why->msg, "rule 'r%d' can never", &dead) == 1)
            unreachable++;
        for (int k = 0; k < N_FACTS; k++) {
            gen_facts(&f, link);
            int want = ref_decide(rule, n, &f);
            assert_true(dead < 0 || want != dead);
            if (err != 0)
                continue;
            long before = n_alloc;
            rt_decide(p, &f, &d);
            assert_int_equal(n_alloc, before);
            triples++;
            if (d.rule_index != want) {
                struct base_buf how;
                base_buf_init(&how, 1 << 16);
                if (rt_explain(p, &f, false, &how) != 0)
                    print_message("# no explanation\n");
                print_message("# wanted rule %d\n%s%s", want, base_buf_cstr(&text),
                              base_buf_cstr(&how));
                base_buf_fini(&how);
            }
            assert_int_equal(d.rule_index, want);
            assert_int_equal(d.route.mode, want < 0 ? RT_LOCAL : rule[want].mode);
            if (d.route.mode == RT_PROMPT || d.route.mode == RT_HIDDEN) {
                check_egress(&rule[want], &f);
                assert_string_equal(d.route.target, target_name[rule[want].target]);
                left++;
            }
        }
        rt_policy_free(p);
    }
    print_message("# %ld decisions, %ld left the car, %ld policies with a dead rule\n", triples,
                  left, unreachable);
    assert_true(triples > 100000 && left > 1000 && unreachable > 10);
    base_buf_fini(&text);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct base_buf text;
    static struct gen_rule rule[8];
    base_buf_init(&text, 1 << 16);
    struct rt_policy *p = NULL;
    do
        gen_policy(rule, &text);
    while (rt_policy_compile(&p, (const char *)text.data, text.len, &diags) != 0);
    rt_policy_free(p);
    int err = BASE_ENOMEM;
    long n = 0;
    for (; err == BASE_ENOMEM; n++) {
        n_alloc = 0;
        fail_at = n;
        err = rt_policy_compile(&p, (const char *)text.data, text.len, &diags);
        fail_at = -1;
        assert_true(err == 0 || (err == BASE_ENOMEM && p == NULL));
        rt_policy_free(p);
    }
    assert_int_equal(err, 0);
    assert_true(n > 5);
    base_buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logic_is_kleenes),
        cmocka_unit_test(link_facts_are_the_targets),
        cmocka_unit_test(odd_facts_stay_at_home),
        cmocka_unit_test(the_callers_hint_only_tightens),
        cmocka_unit_test(numbers_compare_at_their_edges),
        cmocka_unit_test(explain_shows_each_answer),
        cmocka_unit_test(random_policies_mean_what_they_say),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
