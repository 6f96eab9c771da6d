/* Every code that a finding can have is made at least once, as what the table says it is. */
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

static struct rt_diags diags;

#define HEAD "waypost_policy: 1\nversion: \"1\"\n"
#define CLOUD HEAD "targets: { cloud: { modes: [prompt] } }\n"
#define RULE(words) CLOUD "rules: [{ name: a, " words " }]\n"
#define WHEN(cond) RULE("when: { " cond " }, route: local")
#define OUT "data.class: { only: [public.a] }"

static const struct {
    enum rt_code code;
    const char *text, *base; /* of several files: what base.yaml holds */
} made[] = {
    {RT_C_BAD_TEXT, "\tx: 1\n", NULL},
    {RT_C_BAD_TEXT, "\xEF\xBB\xBFx: 1\n", NULL},
    {RT_C_BAD_TEXT, "x: \xFF\n", NULL},
    {RT_C_BAD_TEXT, WHEN("caller: \"\\u200e\""), NULL},
    {RT_C_YAML, "x: [\n", NULL},
    {RT_C_YAML_FEATURE, "x: &a 1\n", NULL},
    {RT_C_YAML_FEATURE, "x: *a\n", NULL},
    {RT_C_YAML_FEATURE, "x: !a 1\n", NULL},
    {RT_C_YAML_FEATURE, "a: 1\n---\nb: 1\n", NULL},
    {RT_C_YAML_FEATURE, "[a]: 1\n", NULL},
    {RT_C_LIMIT, "[[[[[[[[[[[[[[[[[", NULL},
    {RT_C_DUPLICATE_KEY, "x: 1\nx: 1\n", NULL},
    {RT_C_DUPLICATE_ENTRY, WHEN("data.class: { any: [a, a] }"), NULL},
    {RT_C_DUPLICATE_ENTRY, HEAD "targets: { c: { modes: [prompt, prompt] } }\nrules: []\n", NULL},
    {RT_C_DUPLICATE_NAME, HEAD "rules: [{ name: a, route: local }, { name: a, route: local }]\n",
     NULL},
    {RT_C_RESERVED_NAME, HEAD "rules: [{ name: default, route: local }]\n", NULL},
    {RT_C_NO_POLICY, "", NULL},
    {RT_C_NO_POLICY, "a\n", NULL},
    {RT_C_NO_POLICY, "version: \"1\"\nrules: []\n", NULL},
    {RT_C_MISSING_KEY, HEAD, NULL},
    {RT_C_MISSING_KEY, RULE("when: { " OUT " }"), NULL},
    {RT_C_UNKNOWN_KEY, HEAD "rules: []\nrule: []\n", NULL},
    {RT_C_UNKNOWN_FACT, WHEN("link.stat: up"), NULL},
    {RT_C_UNKNOWN_FACT, WHEN("something: up"), NULL},
    {RT_C_UNKNOWN_SIGNAL, WHEN("Vehicle.Speed: 1"), NULL},
    {RT_C_UNKNOWN_TARGET, RULE("when: { " OUT " }, route: prompt, target: clud"), NULL},
    {RT_C_UNKNOWN_RULE,
     HEAD
     "rules: []\nshare: { edge: 0.5, moves: [{ rule: a, fact: confidence, min: 0, max: 1 }] }\n",
     NULL},
    {RT_C_UNKNOWN_TEST, WHEN("caller: { lt: a }"), NULL},
    {RT_C_UNKNOWN_TEST, WHEN("data.class: { eq: [a] }"), NULL},
    {RT_C_WRONG_SHAPE, HEAD "rules: {}\n", NULL},
    {RT_C_WRONG_TYPE, WHEN("request.max_tokens: many"), NULL},
    {RT_C_WRONG_TYPE, WHEN("request.stream: \"true\""), NULL},
    {RT_C_BAD_VALUE, RULE("route: hiden"), NULL},
    {RT_C_BAD_VALUE, HEAD "budgets: { b: { unit: bytes, limit: -1, per: day } }\nrules: []\n",
     NULL},
    {RT_C_BAD_NAME, HEAD "rules: [{ name: a b, route: local }]\n", NULL},
    {RT_C_BAD_CLASS, WHEN("data.class: { only: [\"*\"] }"), NULL},
    {RT_C_NO_TARGET, RULE("when: { " OUT " }, route: prompt"), NULL},
    {RT_C_NO_TARGET, RULE("route: local, target: cloud"), NULL},
    {RT_C_WRONG_MODE, RULE("when: { " OUT " }, route: hidden, layer: 1, target: cloud"), NULL},
    {RT_C_WRONG_ROUTE, RULE("route: local, layer: 1"), NULL},
    {RT_C_BAD_FALLBACK, RULE("when: { " OUT " }, route: prompt, target: cloud, fallback: hidden"),
     NULL},
    {RT_C_UNNAMED_CLASSES, RULE("route: prompt, target: cloud"), NULL},
    {RT_C_LEAK, RULE("when: { data.class: { only: [location] } }, route: prompt, target: cloud"),
     NULL},
    {RT_C_CONTRADICTION, WHEN("engine.queue: { lt: 1, gt: 1 }"), NULL},
    {RT_C_DEAD_RULE, HEAD "rules: [{ name: a, route: local }, { name: b, route: refuse }]\n", NULL},
    {RT_C_BAD_FINAL, RULE("when: { " OUT " }, route: prompt, target: cloud, final: true"), NULL},
    {RT_C_NOT_OVERRIDABLE, CLOUD "include: [base.yaml]\nclasses: { shop: any }\n",
     HEAD "classes: { shop: none }\n"},
    {RT_C_BAD_MOVE,
     RULE("route: local") "share: { edge: 0.5, moves: [{ rule: a, fact: confidence, min: 0, max: 1 "
                          "}] }\n",
     NULL},
    {RT_C_BAD_INCLUDE, HEAD "include: [other.yaml]\nrules: []\n", NULL},
    {RT_C_UNUSED_TARGET, CLOUD "rules: []\n", NULL},
    {RT_C_UNUSED_STATE, HEAD "consents: { c: { lapses: trip } }\nrules: []\n", NULL},
    {RT_C_UNUSED_PERMIT, CLOUD "classes: { location: any }\nrules: []\n", NULL},
    {RT_C_EMPTY_WHERE, CLOUD "classes: { location: [{ mode: prompt, where: eu }] }\nrules: []\n",
     NULL},
    {RT_C_LETS_NOTHING,
     CLOUD "rules:\n- { name: a, when: { data.class: { any: [public.a] } }, route: local }\n"
           "- { name: b, when: { data.class: { any: [public.b] } }, route: local }\n"
           "- { name: c, when: { data.class: { only: [public.a, public.b] } }, route: prompt, "
           "target: cloud }\n",
     NULL},
    {RT_C_CABIN_LEAVES,
     CLOUD "classes: { cabin: any }\nrules:\n- { name: b, when: { data.class: { only: [cabin] } }, "
           "route: prompt, target: cloud }\n",
     NULL},
    {RT_C_WEAK_GUARD,
     CLOUD "rules:\n- { name: a, final: true, when: { vehicle.guest_mode: true }, route: local }\n"
           "- { name: b, when: { " OUT " }, route: prompt, target: cloud }\n",
     NULL},
};

static void each_code_is_made(void **state)
{
    (void)state;
    bool seen[RT_N_CODE] = {false};
    int wrong = 0;
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        const char *base = made[i].base;
        struct rt_source src[2] = {{"p.yaml", made[i].text, strlen(made[i].text)},
                                   {"base.yaml", base, base != NULL ? strlen(base) : 0}};
        struct rt_policy *p = NULL;
        int err = rt_policy_compile_sources(&p, src, base != NULL ? 2 : 1, &diags);
        bool hit = false;
        for (int k = 0; k < diags.n; k++) {
            assert_int_equal(diags.at[k].warning, rt_code_is_warning(diags.at[k].code));
            hit |= diags.at[k].code == made[i].code;
        }
        seen[made[i].code] |= hit;
        if (!hit || (err == 0) != rt_code_is_warning(made[i].code)) {
            wrong++;
            print_message("# %d, wanted %s of:\n%s\n", err, rt_code_str(made[i].code),
                          made[i].text);
            for (int k = 0; k < diags.n; k++)
                print_message("#   got %s: %s\n", rt_code_str(diags.at[k].code), diags.at[k].msg);
        }
        rt_policy_free(p);
    }
    assert_int_equal(wrong, 0);
    for (int c = 0; c < RT_N_CODE; c++) {
        if (!seen[c])
            fail_msg("nothing makes %s", rt_code_str((enum rt_code)c));
    }
}

static void codes_are_words_of_their_own(void **state)
{
    (void)state;
    struct base_buf out;
    base_buf_init(&out, 1 << 16);
    assert_int_equal(rt_codes_reference(&out), 0);
    const char *table = base_buf_cstr(&out);
    for (int c = 0; c < RT_N_CODE; c++) {
        const char *word = rt_code_str((enum rt_code)c);
        char cell[64];
        assert_int_equal(strspn(word, "abcdefghijklmnopqrstuvwxyz-"), strlen(word));
        snprintf(cell, sizeof cell, "| `%s` | ", word);
        const char *at = strstr(table, cell);
        assert_non_null(at);
        assert_null(strstr(at + 1, cell));
        assert_int_equal(strncmp(at + strlen(cell),
                                 rt_code_is_warning((enum rt_code)c) ? "warning" : "error", 5),
                         0);
    }
    base_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_code_is_made),
        cmocka_unit_test(codes_are_words_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
