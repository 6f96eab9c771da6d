/* include: which file has the last word, what a base forbids, where errors are. */
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
#include "told.h"

static int sources(struct rt_policy **p, const struct rt_source *src, int n)
{
    return rt_policy_compile_sources(p, src, n, &diags);
}

static struct rt_source source(const char *name, const char *text)
{
    return (struct rt_source){name, text, strlen(text)};
}

static const char base_text[] = HEAD
    "targets: { cloud: { modes: [prompt, hidden], where: eu } }\n"               /* line 3 */
    "classes:\n  shop: [prompt]\n  chat: { permits: none, overridable: true }\n" /* 4 … 6 */
    "rules:\n"
    "  - { name: guard, final: true, route: refuse, when: { data.class: { any: [secret] } } }\n"
    "  - { name: shops, route: prompt, target: cloud, when: { data.class: { only: [shop] }, "
    "caller: base } }\n"
    "  - { name: last, route: refuse, when: { caller: base } }\n";

static void the_including_file_wins(void **state)
{
    (void)state;
    static const char top[] =
        "waypost_policy: 1\nversion: line-7\ninclude: [base.yaml]\n"
        "classes: { chat: [prompt], shop: [{ mode: prompt, target: cloud }] }\n"
        "rules:\n  - { name: mine, route: local, when: { caller: mine } }\n"
        "  - { name: chats, route: prompt, target: cloud, when: { data.class: { only: [chat] } } "
        "}\n"
        "  - { name: shops, route: prompt, target: cloud, when: { data.class: { only: [shop] } } "
        "}\n";
    struct rt_source src[] = {source("top.yaml", top), source("base.yaml", base_text)};
    struct rt_policy *p = NULL;
    int err = sources(&p, src, 2);
    if (err != 0)
        show_diags();
    assert_int_equal(err, 0);
    assert_string_equal(rt_policy_version(p), "line-7");
    static const char *const order[] = {"guard", "mine", "chats", "shops", "last"};
    assert_int_equal(rt_policy_n_rule(p), 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(rt_policy_rule_name(p, i), order[i]);
    struct rt_facts f = {.cls = {"shop"}, .n_cls = 1};
    decides(p, &f, "shops"); /* the line's words: no caller */
    f.cls[0] = "secret";
    decides(p, &f, "guard");
    assert_true(rt_policy_target(p, 0)->prompt);
    /* The hash tells each text and each name. */
    uint8_t first[32];
    memcpy(first, rt_policy_hash(p), sizeof first);
    rt_policy_free(p);
    char other[sizeof base_text + 1];
    snprintf(other, sizeof other, "%s\n", base_text);
    src[1] = source("base.yaml", other);
    assert_int_equal(sources(&p, src, 2), 0);
    assert_memory_not_equal(first, rt_policy_hash(p), sizeof first);
    rt_policy_free(p);
}

static void a_base_is_tightened_and_not_loosened(void **state)
{
    (void)state;
#define TOPHEAD "waypost_policy: 1\nversion: v\ninclude: [base.yaml]\n"
    static const struct {
        const char *text;
        const char *file;
        int line, col;
        const char *says;
    } t[] = {
        {TOPHEAD "classes: { shop: none }\n", "base.yaml", 9, 79, "'shop' in 'top.yaml', line 4"},
        {TOPHEAD "classes: { shop: any }\n", "top.yaml", 4, 12, "would permit more than 'shop'"},
        {TOPHEAD "classes: { shop.basket: [hidden] }\n", "top.yaml", 4, 12,
         "than 'shop' does in 'base.yaml', line 5"},
        {TOPHEAD "targets: { cloud: { modes: [prompt] } }\n", "top.yaml", 4, 12,
         "without 'overridable: true'"},
        {TOPHEAD "rules: [{ name: guard, route: local }]\n", "top.yaml", 4, 9,
         "final in 'base.yaml'"},
        {"waypost_policy: 1\nversion: v\ninclude: [bse.yaml]\n", "top.yaml", 3, 11, "no file"},
        {"waypost_policy: 1\nversion: v\ninclude: base.yaml\n", "top.yaml", 3, 10, "takes a list"},
        {"waypost_policy: 1\nversion: v\ninclude: [../base.yaml]\n", "top.yaml", 3, 11,
         "characters"},
        {"waypost_policy: 1\nversion: v\ninclude: [.base]\n", "top.yaml", 3, 11, "without folders"},
        {"waypost_policy: 1\nversion: v\ninclude: [top.yaml]\n", "top.yaml", 3, 11, "itself"},
        {TOPHEAD "rules: {}\n", "top.yaml", 4, 8, "takes a list"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct rt_source src[] = {source("base.yaml", base_text), source("top.yaml", t[i].text)};
        struct rt_source both[] = {src[1], src[0]};
        struct rt_policy *p = NULL;
        int err = sources(&p, both, 2);
        bool hit = found(t[i].file, false, t[i].line, t[i].col, t[i].says);
        if (!hit) {
            print_message("# wanted %s:%d:%d %s\n", t[i].file, t[i].line, t[i].col, t[i].says);
            show_diags();
        }
        assert_true(hit);
        assert_int_equal(err, BASE_EFORMAT);
        assert_null(p);
    }
}

static void includes_form_a_tree_without_circles(void **state)
{
    (void)state;
#define V "waypost_policy: 1\nversion: v\n"
#define SAYS(who) "budgets: { b: { unit: bytes, limit: " who ", per: day } }\n"
    /* a includes base, b includes base: base < a < b < top. */
    struct rt_source src[] = {
        source("top", V "include: [a, b]\nrules: [{ name: r, route: local, when: { "
                        "budget.b.left: { gt: 0 } } }]\n"),
        source("base", V SAYS("1")),
        source("b", V "include: [base]\n"),
        source("a", V "include: [base]\n" SAYS("2")),
    };
    struct rt_policy *p = NULL;
    assert_int_equal(sources(&p, src, 4), 0);
    assert_true(rt_policy_budget(p, 0)->limit > 1.5);
    rt_policy_free(p);
    /* What both declare is the includer's: signals, consents, callers, an overridable target. */
    struct rt_source both[] = {
        source("top",
               V "include: [base]\nsignals: { Vehicle.A: { type: text } }\n"
                 "consents: { c: { lapses: day } }\ncallers: { nav: { match: { uid: 2 } } }\n"
                 "targets: { t: { modes: [hidden] } }\nrules: [{ name: r, route: local, when: { "
                 "Vehicle.A: w, consent.c: true } }]\n"),
        source("base",
               V "signals: { Vehicle.A: { type: number } }\n"
                 "consents: { c: { lapses: trip } }\ncallers: { nav: { match: { uid: 1 } } }\n"
                 "targets: { t: { modes: [prompt], overridable: true } }\n"),
    };
    assert_int_equal(sources(&p, both, 2), 0);
    assert_int_equal(rt_policy_signal(p, 0)->type, RT_FACT_STR);
    assert_int_equal(rt_policy_own(p, 1)->type, RT_FACT_STR);
    assert_int_equal(rt_policy_consent(p, 0)->lapses, RT_DAY);
    assert_int_equal(rt_policy_caller(p, 0)->uid, 2);
    assert_true(rt_policy_n_target(p) == 1 && rt_policy_target(p, 0)->hidden);
    rt_policy_free(p);
    src[1] = source("base", V "include: [a]\n");
    assert_int_equal(sources(&p, src, 4), BASE_EFORMAT);
    assert_true(found("base", false, 3, 11, "includes itself"));
    struct rt_source many[RT_MAX_SOURCE + 1];
    for (int i = 0; i <= RT_MAX_SOURCE; i++)
        many[i] = src[0];
    assert_int_equal(sources(&p, many, RT_MAX_SOURCE + 1), BASE_ELIMIT);
    src[1] = source("base", "[");
    assert_int_equal(sources(&p, src, 4), BASE_EFORMAT);
    assert_string_equal(diags.at[0].file, "base");
    src[1] = source("base", "- a\n");
    assert_int_equal(sources(&p, src, 4), BASE_EFORMAT);
    assert_true(found("base", false, 1, 1, "a policy is a mapping"));
}

struct listed {
    char text[200];
    int stop;
};

static int take_name(void *ctx, const char *name)
{
    struct listed *l = ctx;
    strcat(strcat(l->text, name), " ");
    return l->stop;
}

static void includes_are_listed(void **state)
{
    (void)state;
    static const char text[] = V "include: [b.yaml, ../x, a]\nrules: 5\n";
    struct listed l = {.text = ""};
    assert_int_equal(rt_policy_includes(text, strlen(text), take_name, &l), 0);
    assert_string_equal(l.text, "b.yaml a ");
    l = (struct listed){.stop = -7};
    assert_int_equal(rt_policy_includes(text, strlen(text), take_name, &l), -7);
    assert_string_equal(l.text, "b.yaml ");
    l = (struct listed){.text = ""};
    assert_int_equal(rt_policy_includes("[", 1, take_name, &l), 0);
    assert_int_equal(rt_policy_includes("", 0, take_name, &l), 0);
    assert_int_equal(rt_policy_includes("include: [a]", 12, take_name, &l), 0);
    assert_string_equal(l.text, "a ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_including_file_wins),
        cmocka_unit_test(a_base_is_tightened_and_not_loosened),
        cmocka_unit_test(includes_form_a_tree_without_circles),
        cmocka_unit_test(includes_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
