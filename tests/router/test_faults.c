/* What a call that fails does to the router: each allocation in turn, and the calls into libyaml
 * and PCRE2 that allocate by themselves. The answer is an error and nothing stays behind (the
 * sanitized build looks for leaks), or the call did without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <yaml.h>

#include "router/cases.h"
#include "router/cover.h"
#include "router/detect.h"
#include "router/diff.h"
#include "router/router.h"
#include "../fixtures/wrap_alloc.h"
#include "rich_policy.h"

/* ---- calls of libraries that fail once ---- */

static int calls, fail_call; /* the fail_call-th of them fails; 0: none */

int __real_yaml_parser_initialize(yaml_parser_t *p);
int __wrap_yaml_parser_initialize(yaml_parser_t *p);
int __wrap_yaml_parser_initialize(yaml_parser_t *p)
{
    return ++calls == fail_call ? 0 : __real_yaml_parser_initialize(p);
}

int __real_yaml_parser_parse(yaml_parser_t *p, yaml_event_t *ev);
int __wrap_yaml_parser_parse(yaml_parser_t *p, yaml_event_t *ev);
int __wrap_yaml_parser_parse(yaml_parser_t *p, yaml_event_t *ev)
{
    if (++calls != fail_call)
        return __real_yaml_parser_parse(p, ev);
    p->error = YAML_MEMORY_ERROR;
    return 0;
}

pcre2_code *__real_pcre2_compile_8(PCRE2_SPTR s, PCRE2_SIZE n, uint32_t o, int *rc, PCRE2_SIZE *at,
                                   pcre2_compile_context *ctx);
pcre2_code *__wrap_pcre2_compile_8(PCRE2_SPTR s, PCRE2_SIZE n, uint32_t o, int *rc, PCRE2_SIZE *at,
                                   pcre2_compile_context *ctx);
pcre2_code *__wrap_pcre2_compile_8(PCRE2_SPTR s, PCRE2_SIZE n, uint32_t o, int *rc, PCRE2_SIZE *at,
                                   pcre2_compile_context *ctx)
{
    if (++calls != fail_call)
        return __real_pcre2_compile_8(s, n, o, rc, at, ctx);
    *rc = PCRE2_ERROR_HEAP_FAILED;
    *at = 0;
    return NULL;
}

pcre2_match_data *__real_pcre2_match_data_create_8(uint32_t n, pcre2_general_context *ctx);
pcre2_match_data *__wrap_pcre2_match_data_create_8(uint32_t n, pcre2_general_context *ctx);
pcre2_match_data *__wrap_pcre2_match_data_create_8(uint32_t n, pcre2_general_context *ctx)
{
    return ++calls == fail_call ? NULL : __real_pcre2_match_data_create_8(n, ctx);
}

pcre2_match_context *__real_pcre2_match_context_create_8(pcre2_general_context *ctx);
pcre2_match_context *__wrap_pcre2_match_context_create_8(pcre2_general_context *ctx);
pcre2_match_context *__wrap_pcre2_match_context_create_8(pcre2_general_context *ctx)
{
    return ++calls == fail_call ? NULL : __real_pcre2_match_context_create_8(ctx);
}

int __real_pcre2_match_8(const pcre2_code *c, PCRE2_SPTR s, PCRE2_SIZE n, PCRE2_SIZE at, uint32_t o,
                         pcre2_match_data *md, pcre2_match_context *ctx);
int __wrap_pcre2_match_8(const pcre2_code *c, PCRE2_SPTR s, PCRE2_SIZE n, PCRE2_SIZE at, uint32_t o,
                         pcre2_match_data *md, pcre2_match_context *ctx);
int __wrap_pcre2_match_8(const pcre2_code *c, PCRE2_SPTR s, PCRE2_SIZE n, PCRE2_SIZE at, uint32_t o,
                         pcre2_match_data *md, pcre2_match_context *ctx)
{
    return ++calls == fail_call ? PCRE2_ERROR_NOMEMORY
                                : __real_pcre2_match_8(c, s, n, at, o, md, ctx);
}

/* What the router takes from base, which takes memory in big pieces: each call fails once. */
void *__real_base_arena_get(struct base_arena *a, size_t n);
void *__wrap_base_arena_get(struct base_arena *a, size_t n);
void *__wrap_base_arena_get(struct base_arena *a, size_t n)
{
    return ++calls == fail_call ? NULL : __real_base_arena_get(a, n);
}

char *__real_base_arena_strndup(struct base_arena *a, const char *s, size_t n);
char *__wrap_base_arena_strndup(struct base_arena *a, const char *s, size_t n);
char *__wrap_base_arena_strndup(struct base_arena *a, const char *s, size_t n)
{
    return ++calls == fail_call ? NULL : __real_base_arena_strndup(a, s, n);
}

int __real_base_buf_add(struct base_buf *b, const void *p, size_t n);
int __wrap_base_buf_add(struct base_buf *b, const void *p, size_t n);
int __wrap_base_buf_add(struct base_buf *b, const void *p, size_t n)
{
    if (++calls != fail_call)
        return __real_base_buf_add(b, p, n);
    return b->err = BASE_ENOMEM;
}

/* ---- the policies ---- */

/* Wrong in as many ways as there are kinds of findings. */
static const char wrong[] =
    "waypost_policy: 1\n"
    "version: wrong\n"
    "targets: { cloud: { modes: [prompt] }, idle: { modes: [hidden] } }\n"
    "rules:\n"
    "  - { name: x, when: { data.class: { only: [public.a] } }, route: prompt, target: cloud }\n"
    "  - { name: dead, when: { data.class: { only: [public.a] }, caller: me }, route: local }\n"
    "  - { name: never, when: { link.rtt_ms: { lt: 3, gt: 5 }, caller: a }, route: refuse }\n"
    "  - { name: leak, when: { data.class: { only: [cabin.*, weather] } }, route: prompt,\n"
    "      target: cloud }\n"
    "  - { name: x, wen: 3, route: sideways }\n";
static const char base[] =
    "waypost_policy: 1\n"
    "version: base\n"
    "include: [deeper.yaml]\n"
    "targets: { cloud: { modes: [prompt] } }\n"
    "rules: [{ name: f, final: true, when: { data.class: { any: [cabin] } },\n"
    "          route: local }]\n";
static const char deeper[] = "waypost_policy: 1\nversion: d\nrules: []\n"
                             "classes: { weather: [prompt] }\n";
static const char line[] = "waypost_policy: 1\nversion: line\ninclude: [base.yaml]\n"
                           "rules: [{ name: g, when: { data.class: { only: [weather] } }, route: "
                           "prompt, target: cloud }]\n";

static struct rt_policy *must(const char *text)
{
    struct rt_policy *p = NULL;
    struct rt_diags diags;
    int rc = rt_policy_compile(&p, text, strlen(text), &diags);
    for (int i = 0; rc != 0 && i < diags.n; i++)
        print_message("# %d:%d %s\n", diags.at[i].line, diags.at[i].col, diags.at[i].msg);
    assert_int_equal(rc, 0);
    return p;
}

/* Lets each allocation of `once` fail in turn, until none of its does. Returns how many there were.
 */
static int each_fails(int (*once)(void *ctx), void *ctx)
{
    for (int n = 0; n < 20000; n++) {
        n_alloc = 0;
        fail_at = n;
        int rc = once(ctx);
        const bool hit = n_alloc > n;
        fail_at = -1;
        if (!hit) {
            assert_int_equal(rc, 0);
            return n;
        }
        if (rc != 0 && rc != BASE_ENOMEM && rc != BASE_ELIMIT)
            fail_msg("allocation %d: error %d", n, rc);
    }
    fail_msg("no end");
    return 0;
}

/* The same with the calls into libraries. */
static int each_call_fails(int (*once)(void *ctx), void *ctx)
{
    for (int n = 1; n < 20000; n++) {
        calls = 0;
        fail_call = n;
        const int rc = once(ctx);
        const bool hit = calls >= n;
        fail_call = 0;
        if (!hit) {
            assert_int_equal(rc, 0);
            return n - 1;
        }
        if (rc != 0 && rc != BASE_ENOMEM && rc != BASE_ELIMIT)
            fail_msg("call %d: error %d", n, rc);
    }
    fail_msg("no end");
    return 0;
}

static int compile_rich(void *ctx)
{
    struct rt_policy *p = NULL;
    struct rt_diags diags;
    (void)ctx;
    int rc = rt_policy_compile(&p, rich, strlen(rich), &diags);
    assert_true((rc == 0) == (p != NULL));
    rt_policy_free(p);
    return rc;
}

static int compile_wrong(void)
{
    struct rt_policy *p = NULL;
    struct rt_diags diags;
    int rc = rt_policy_compile(&p, wrong, strlen(wrong), &diags);
    assert_null(p);
    return rc;
}

static int compile_three(void *ctx)
{
    const struct rt_source src[] = {{"line.yaml", line, strlen(line)},
                                    {"base.yaml", base, strlen(base)},
                                    {"deeper.yaml", deeper, strlen(deeper)}};
    struct rt_policy *p = NULL;
    struct rt_diags diags;
    (void)ctx;
    int rc = rt_policy_compile_sources(&p, src, 3, &diags);
    rt_policy_free(p);
    return rc;
}

/* A file of ours, whole. */
static char *slurp(const char *name)
{
    char path[512];
    const char *top = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/policies/%s", top != NULL ? top : ".", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = test_calloc(1, 1 << 16);
    assert_true(fread(text, 1, (1 << 16) - 1, f) > 0);
    fclose(f);
    return text;
}

static int compile_text(void *ctx)
{
    struct rt_policy *p = NULL;
    struct rt_diags diags;
    int rc = rt_policy_compile(&p, ctx, strlen(ctx), &diags);
    rt_policy_free(p);
    return rc;
}

static void compiling(void **state)
{
    static const char *const shipped[] = {"balanced.yaml",     "china.yaml", "cost-capped.yaml",
                                          "default.yaml",      "demo.yaml",  "eu.yaml",
                                          "offline-first.yaml"};
    (void)state;
    assert_true(each_fails(compile_rich, NULL) > 20);
    for (int n = 0, hit = true; hit; n++) {
        n_alloc = 0;
        fail_at = n;
        const int rc = compile_wrong();
        hit = n_alloc > n;
        fail_at = -1;
        assert_true(rc == BASE_EFORMAT || (hit && rc == BASE_ENOMEM));
    }
    assert_true(each_fails(compile_three, NULL) > 10);
    for (size_t i = 0; i < sizeof shipped / sizeof shipped[0]; i++) {
        char *text = slurp(shipped[i]);
        assert_true(each_fails(compile_text, text) > 10);
        test_free(text);
    }
    assert_true(each_call_fails(compile_rich, NULL) > 100);
    assert_true(each_call_fails(compile_three, NULL) > 50);
}

static int name_seen(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return 0;
}

static int list_includes(void *ctx)
{
    int n = 0;
    int rc = rt_policy_includes(line, strlen(line), name_seen, &n);
    (void)ctx;
    assert_true(rc != 0 || n == 1);
    return rc;
}

static void listing_includes(void **state)
{
    (void)state;
    assert_true(each_fails(list_includes, NULL) > 1);
    calls = 0;
    fail_call = 1;
    assert_int_equal(list_includes(NULL), BASE_ENOMEM);
    fail_call = 0;
}

struct said {
    struct rt_policy *p;
    struct rt_given *g;
    size_t max;
    enum rt_form form;
};

/* Writes all that is written about a policy, in a buffer that may be too small. */
static int say(void *ctx)
{
    const struct said *s = ctx;
    struct base_buf out;
    enum rt_tri answer;
    base_buf_init(&out, s->max);
    int rc = rt_explain(s->p, &s->g->f, s->form, &out);
    for (int i = 0; rc == 0 && i < rt_policy_n_rule(s->p); i++)
        rc = rt_explain_rule(s->p, &s->g->f, i, &answer, &out);
    if (rc == 0)
        rc = rt_policy_reach(s->p, s->form == RT_FORM_JSON, &out);
    if (rc == 0)
        rc = rt_facts_reference(&out);
    if (rc == 0)
        rc = rt_given_print(&s->g->f, &out);
    base_buf_fini(&out);
    return rc;
}

static void saying(void **state)
{
    static const char facts[] = "data.class=c.x confidence=0.3 Vehicle.Speed=2 budget.b.left=77 "
                                "link.rtt_ms@cloud=5 consent.share=true caller=nav "
                                "data.history=a,c.d link.state@cloud=up";
    struct said s = {.p = must(rich), .max = 1 << 20};
    struct base_err err = {0};
    (void)state;
    s.g = test_calloc(1, sizeof *s.g);
    rt_given_init(s.g, s.p, 1 << 16);
    assert_int_equal(rt_given_line(s.g, facts, strlen(facts), &err), 0);
    for (s.form = RT_FORM_TEXT; s.form <= RT_FORM_COLOUR; s.form++) {
        s.max = 1 << 20;
        assert_true(each_fails(say, &s) > 0);
        assert_true(each_call_fails(say, &s) > 0);
        for (s.max = 1; s.max < 40000; s.max += 1 + s.max / 16) {
            int rc = say(&s);
            assert_true(rc == 0 || rc == BASE_ELIMIT);
        }
    }
    rt_given_fini(s.g);
    test_free(s.g);
    rt_policy_free(s.p);
}

static int give(void *ctx)
{
    static const char facts[] = "data.class=a,c data.history=a.b caller=nav request.language=de "
                                "link.state@cloud=up link.state@home=down Vehicle.Speed=3~200";
    struct base_err err = {0};
    struct rt_given *g = ctx;
    rt_given_init(g, g->p, 1 << 16);
    struct rt_place place;
    int rc = rt_given_line(g, facts, strlen(facts), &err);
    if (rc == 0)
        rc = rt_given_own(g, "Vehicle.Name", RT_FACT_STR, &place, &err);
    if (rc == 0)
        rc = rt_given_text(g, &place, "x", 1, &err);
    rt_given_fini(g);
    return rc;
}

static void giving(void **state)
{
    struct rt_given *g = test_calloc(1, sizeof *g);
    struct rt_policy *p = must(rich);
    (void)state;
    g->p = p;
    assert_int_equal(give(g), 0);
    assert_true(each_fails(give, g) > 0);
    assert_true(each_call_fails(give, g) > 5);
    test_free(g);
    rt_policy_free(p);
}

static int change(void *ctx, const struct rt_diff_change *c)
{
    (void)c;
    ++*(int *)ctx;
    return 0;
}

static int compare(void *ctx)
{
    struct rt_policy *const *p = ctx;
    struct rt_diff_sum sum;
    struct base_err err = {0};
    int n = 0;
    return rt_diff(p[0], p[1], 200000, change, &n, &sum, &err);
}

/* A copy of text with what stands before each '|' of pairs replaced by what stands behind it. */
static char *altered(const char *text, const char *const (*pair)[2], int n)
{
    char *out = test_calloc(1, 1 << 14);
    snprintf(out, 1 << 14, "%s", text);
    for (int i = 0; i < n; i++) {
        char *at = strstr(out, pair[i][0]);
        assert_non_null(at);
        assert_int_equal(strlen(pair[i][0]), strlen(pair[i][1]));
        memcpy(at, pair[i][1], strlen(pair[i][1]));
    }
    return out;
}

static void comparing(void **state)
{
    static const char *const pairs[][2] = {
        {"confidence: { lt: 0.5 }", "confidence: { lt: 0.6 }"},
        {"Vehicle.Speed: { le: 3 }", "Vehicle.Speed: { lt: 7 }"},
        {"budget.b.left: { gt: 10 }", "budget.b.left: { gt: 20 }"},
        {"only: [c.x, c.*]", "only: [c.y, c.*]"},
        {"link.metered: false", "link.roaming: false"},
    };
    struct rt_policy *p[] = {must(rich), NULL};
    char *text = altered(rich, pairs, sizeof pairs / sizeof pairs[0]);
    (void)state;
    p[1] = must(text);
    assert_true(each_fails(compare, p) > 20);
    assert_true(each_call_fails(compare, p) > 20);
    rt_policy_free(p[1]);
    test_free(text);
    text = slurp("balanced.yaml");
    p[1] = must(text);
    assert_true(each_fails(compare, p) > 20);
    assert_true(each_call_fails(compare, p) > 20);
    rt_policy_free(p[1]);
    rt_policy_free(p[0]);
    test_free(text);
}

static int detect(void *ctx)
{
    static const char text[] = "ring +49 170 1234567 or write to a.b@example.org";
    struct rt_detect *d = NULL;
    struct base_err err = {0};
    uint64_t found = 0;
    int rc = rt_detect_open(&d, &err);
    assert_true((rc == 0) == (d != NULL));
    if (rc == 0)
        rt_detect_run(d, text, strlen(text), &found);
    /* In doubt, found: what could not be looked at counts as there. */
    assert_true(rc != 0 || found != 0);
    rt_detect_close(d);
    *(uint64_t *)ctx |= found;
    return rc;
}

static void detecting(void **state)
{
    uint64_t seen = 0;
    (void)state;
    rt_detect_close(NULL);
    assert_true(each_fails(detect, &seen) > 1);
    calls = fail_call = 0;
    assert_int_equal(detect(&seen), 0);
    for (int n = 1, all = calls; n <= all; n++) {
        calls = 0;
        fail_call = n;
        const int rc = detect(&seen);
        assert_true(rc == 0 || rc == BASE_ENOMEM || rc == BASE_EINTERNAL);
        fail_call = 0;
    }
    assert_int_not_equal(seen, 0);
}

static int cover(void *ctx)
{
    struct rt_cover *c = NULL;
    struct base_buf out;
    int rc = rt_cover_open(&c, ctx);
    base_buf_init(&out, 1 << 14);
    for (int i = 0; rc == 0 && i < rt_cover_n_test(c); i++)
        rc = rt_cover_test_text(c, i, &out);
    base_buf_fini(&out);
    rt_cover_close(c);
    return rc;
}

static void covering(void **state)
{
    struct rt_policy *p = must(rich);
    (void)state;
    assert_true(each_fails(cover, p) > 1);
    rt_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiling), cmocka_unit_test(listing_includes),
        cmocka_unit_test(saying),    cmocka_unit_test(giving),
        cmocka_unit_test(comparing), cmocka_unit_test(detecting),
        cmocka_unit_test(covering),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
