/* What a decision costs: rotating facts, each decision timed by itself, the clock's own time taken
 * off.
 *
 * usage: bench_router RULES [DECISIONS]     measures, prints one JSON object
 *        bench_router RULES --policy        the policy
 *        bench_router RULES --cel           its conditions as CEL, a JSON array
 *        bench_router RULES --facts         the facts, a JSON object a line, with the rule that
 * decides
 *
 * Two readings of the clock with nothing between them take the time that is taken off each
 * decision: the median of 100,000 such pairs. Percentiles are those of ten batches, so that a
 * reader sees how much they vary. Rules, facts and order come from one seed. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "router/router.h"
#include "../fixtures/wrap_alloc.h"

enum { N_FACTS = 4096, N_BATCH = 10, N_TOPIC = 64, N_PAIR = 100000 };

static int n_topic = 12; /* of 5,000 rules, more: nobody has as many about a dozen things */
static uint64_t seed = 0x9E3779B97F4A7C15u;

static int rnd(int n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int)((seed >> 33) % (uint64_t)n);
}

/* ---- rules ---- */

static const char *const callers[] = {"assistant", "navigation", "media", "workshop", "calendar"};
static const char *const languages[] = {"en", "de", "zh", "fr"};
static const char *const states[] = {"up", "down", "unknown"};

/* One rule in both languages. Bounds grow with i, so that no rule is hidden by an earlier one. */
struct rule {
    bool leaves;
    int a, b; /* topics */
    int tokens, queue, caller, language, percent;
    bool has_queue, has_caller, has_language, has_conf, has_link;
};

static struct rule make_rule(int i)
{
    struct rule r = {
        .leaves = rnd(3) != 0, .a = rnd(n_topic), .b = rnd(n_topic), .tokens = 100 + i};
    r.b = r.b == r.a ? (r.a + 1) % n_topic : r.b;
    r.has_queue = rnd(2) != 0;
    r.queue = 1 + rnd(5);
    r.has_caller = rnd(3) == 0;
    r.caller = rnd(5);
    r.has_language = rnd(4) == 0;
    r.language = rnd(4);
    r.has_conf = rnd(2) != 0;
    r.percent = 20 + rnd(60);
    r.has_link = r.leaves;
    return r;
}

static void put_yaml(struct base_buf *b, const struct rule *r, int i)
{
    base_buf_printf(b, "  - name: r%d\n    when:\n      data.class: { %s: [%s.t%d, %s.t%d] }\n", i,
                    r->leaves ? "only" : "any", r->leaves ? "public" : "cabin", r->a,
                    r->leaves ? "public" : "cabin", r->b);
    base_buf_printf(b, "      request.prompt_tokens: { le: %d }\n", r->tokens);
    if (r->has_queue)
        base_buf_printf(b, "      engine.queue: { ge: %d }\n", r->queue);
    if (r->has_caller)
        base_buf_printf(b, "      caller: %s\n", callers[r->caller]);
    if (r->has_language)
        base_buf_printf(b, "      request.language: { not: %s }\n", languages[r->language]);
    if (r->has_conf)
        base_buf_printf(b, "      confidence: { lt: 0.%02d }\n", r->percent);
    if (r->has_link)
        base_buf_str(b, "      link.state: { not: down }\n");
    base_buf_str(b, r->leaves ? "    route: prompt\n    target: cloud\n" : "    route: local\n");
}

static void put_cel(struct base_buf *b, const struct rule *r, int i)
{
    base_buf_printf(b, "%s{\"name\":\"r%d\",\"when\":\"classes.%s(c, c in ['%s.t%d', '%s.t%d'])",
                    i > 0 ? ",\n" : "[", i, r->leaves ? "all" : "exists",
                    r->leaves ? "public" : "cabin", r->a, r->leaves ? "public" : "cabin", r->b);
    base_buf_printf(b, " && tokens <= %d", r->tokens);
    if (r->has_queue)
        base_buf_printf(b, " && queue >= %d", r->queue);
    if (r->has_caller)
        base_buf_printf(b, " && caller == '%s'", callers[r->caller]);
    if (r->has_language)
        base_buf_printf(b, " && language != '%s'", languages[r->language]);
    if (r->has_conf)
        base_buf_printf(b, " && confidence < 0.%02d", r->percent);
    if (r->has_link)
        base_buf_str(b, " && link != 'down'");
    base_buf_str(b, "\"}");
}

/* ---- facts ---- */

static struct rt_facts facts[N_FACTS];
static struct rt_target_link links[N_FACTS];
static char topic[2][N_TOPIC][16];

static void make_facts(int n_rule)
{
    for (int i = 0; i < N_TOPIC; i++) {
        snprintf(topic[0][i], sizeof topic[0][i], "public.t%d", i);
        snprintf(topic[1][i], sizeof topic[1][i], "cabin.t%d", i);
    }
    for (int i = 0; i < N_FACTS; i++) {
        struct rt_facts *f = &facts[i];
        f->n_cls = 1 + rnd(3);
        for (int k = 0; k < f->n_cls; k++)
            f->cls[k] = topic[rnd(8) == 0][rnd(n_topic)];
        f->v[RT_F_CALLER] = (struct rt_value){.have = true, .s = callers[rnd(5)]};
        f->v[RT_F_REQ_LANGUAGE] = (struct rt_value){.have = true, .s = languages[rnd(4)]};
        f->v[RT_F_REQ_PROMPT_TOK] = (struct rt_value){.have = true, .i = 1 + rnd(100 + n_rule)};
        f->v[RT_F_ENGINE_QUEUE] = (struct rt_value){.have = true, .i = rnd(7)};
        f->v[RT_F_CONFIDENCE] = (struct rt_value){.have = true, .r = rnd(1000) / 1000.0};
        links[i].target = "cloud";
        *rt_link(&links[i], RT_F_LINK_STATE) = (struct rt_value){.have = true, .s = states[rnd(3)]};
        f->link = &links[i];
        f->n_link = 1;
    }
}

static void put_facts(const struct rt_policy *p)
{
    for (int i = 0; i < N_FACTS; i++) {
        const struct rt_facts *f = &facts[i];
        struct rt_decision d;
        rt_decide(p, f, &d);
        printf("{\"classes\":[");
        for (int k = 0; k < f->n_cls; k++)
            printf("%s\"%s\"", k > 0 ? "," : "", f->cls[k]);
        printf("],\"caller\":\"%s\",\"language\":\"%s\",\"tokens\":%" PRId64 ",\"queue\":%" PRId64
               ",\"confidence\":%.3f,\"link\":\"%s\",\"decided\":%d}\n",
               f->v[RT_F_CALLER].s, f->v[RT_F_REQ_LANGUAGE].s, f->v[RT_F_REQ_PROMPT_TOK].i,
               f->v[RT_F_ENGINE_QUEUE].i, f->v[RT_F_CONFIDENCE].r,
               rt_link_c(&links[i], RT_F_LINK_STATE)->s, d.rule_index);
    }
}

/* ---- measuring ---- */

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_ns(const void *pa, const void *pb)
{
    const uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
    return (a > b) - (a < b);
}

static uint32_t clock_cost(void)
{
    static uint32_t v[N_PAIR];
    for (int i = 0; i < N_PAIR; i++) {
        int64_t a = now_ns();
        v[i] = (uint32_t)(now_ns() - a);
    }
    qsort(v, N_PAIR, sizeof v[0], by_ns);
    return v[N_PAIR / 2];
}

static void put_list(const char *name, const uint32_t *v)
{
    printf(",\"%s\":[", name);
    for (int i = 0; i < N_BATCH; i++)
        printf("%s%" PRIu32, i > 0 ? "," : "", v[i]);
    printf("]");
}

static int measure(const struct rt_policy *p, int n_rule, long n)
{
    uint32_t cost = clock_cost(), p50[N_BATCH], p99[N_BATCH], p999[N_BATCH];
    size_t each = (size_t)(n / N_BATCH);
    uint32_t *ns = calloc(each, sizeof *ns);
    uint64_t sum = 0;
    double all_ns = 0.0;
    struct rt_decision d;

    if (ns == NULL)
        return 1;
    for (int i = 0; i < 3 * N_FACTS; i++)
        rt_decide(p, &facts[i % N_FACTS], &d);
    long before = n_alloc;
    for (int b = 0; b < N_BATCH; b++) {
        for (size_t i = 0; i < each; i++) {
            int64_t from = now_ns();
            rt_decide(p, &facts[i % N_FACTS], &d);
            int64_t took = now_ns() - from - cost;
            ns[i] = took > 0 ? (uint32_t)took : 0;
            sum += (uint64_t)(d.rule_index + 1);
            all_ns += (double)ns[i];
        }
        qsort(ns, each, sizeof *ns, by_ns);
        p50[b] = ns[each / 2];
        p99[b] = ns[each * 99 / 100];
        p999[b] = ns[each * 999 / 1000];
    }
    printf("{\"rules\":%d,\"decisions\":%zu,\"allocations\":%ld,\"clock_ns\":%" PRIu32
           ",\"mean_ns\":%.1f,\"sum\":%" PRIu64,
           n_rule, each * N_BATCH, n_alloc - before, cost, all_ns / (double)(each * N_BATCH), sum);
    put_list("p50_ns", p50);
    put_list("p99_ns", p99);
    put_list("p999_ns", p999);
    puts("}");
    free(ns);
    return n_alloc - before > 1; /* qsort may take memory, a decision must not */
}

int main(int argc, char **argv)
{
    static struct rt_diags diags;
    struct base_buf yaml, cel;
    struct rt_policy *p = NULL;
    int n_rule = argc > 1 ? atoi(argv[1]) : 0, rc = 0;
    const char *what = argc > 2 ? argv[2] : "1000000";

    if (n_rule < 1 || n_rule > RT_MAX_RULE) {
        fputs("usage: bench_router RULES [DECISIONS|--policy|--cel|--facts]\n", stderr);
        return 2;
    }
    n_topic = n_rule >= 1000 ? N_TOPIC : n_topic;
    base_buf_init(&yaml, 64 << 20);
    base_buf_init(&cel, 64 << 20);
    base_buf_str(&yaml, "waypost_policy: 1\nversion: \"bench\"\n"
                        "targets: { cloud: { modes: [prompt] } }\nrules:\n");
    for (int i = 0; i < n_rule; i++) {
        struct rule r = make_rule(i);
        put_yaml(&yaml, &r, i);
        put_cel(&cel, &r, i);
    }
    base_buf_str(&cel, "]\n");
    make_facts(n_rule);
    int err = rt_policy_compile(&p, base_buf_cstr(&yaml), yaml.len, &diags);
    if (err != 0) {
        fprintf(stderr, "%d:%d: %s\n", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
        rc = 1;
    } else if (strcmp(what, "--policy") == 0) {
        fputs(base_buf_cstr(&yaml), stdout);
    } else if (strcmp(what, "--cel") == 0) {
        fputs(base_buf_cstr(&cel), stdout);
    } else if (strcmp(what, "--facts") == 0) {
        put_facts(p);
    } else {
        rc = measure(p, n_rule, atol(what) > N_BATCH ? atol(what) : N_BATCH);
    }
    rt_policy_free(p);
    base_buf_fini(&yaml);
    base_buf_fini(&cel);
    return rc;
}
