/* The compiler: each kind of mistake with its place, limits, hostile texts, and what a good policy
 * says about itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "router/router.h"

static struct rt_diags diags;

static int compile(const char *text, struct rt_policy **p)
{
    return rt_policy_compile(p, text, strlen(text), &diags);
}

/* ---- mistakes ---- */

#define HEAD "waypost_policy: 1\nversion: v1\n"                   /* lines 1, 2 */
#define CLOUD "targets: { cloud: { modes: [prompt, hidden] } }\n" /* line 3 */
#define ONLY "      data.class: { only: [public.a] }\n"
/* rules: is line 4, name 5, when 6, the condition 7 */
#define WHEN(cond) HEAD CLOUD "rules:\n  - name: r\n    when:\n      " cond "\n    route: local\n"
/* when 6, only 7, route 8 */
#define PROMPT(rest) HEAD CLOUD "rules:\n  - name: r\n    when:\n" ONLY "    route: prompt\n" rest
#define HIDDEN(rest) HEAD CLOUD "rules:\n  - name: r\n    when:\n" ONLY "    route: hidden\n" rest
#define RULES(rules) HEAD CLOUD "rules:\n" rules

static const struct {
    const char *text;
    int line, col;
    const char *says;
} bad[] = {
    /* not YAML, or not our part of it */
    {"", 1, 1, "empty"},
    {"# only a comment\n", 1, 1, "empty"},
    {"a: [1, 2", 1, 9, "not valid YAML"},
    {"a: [1, 2\n", 2, 1, "not valid YAML"},
    {HEAD "rules: ]\n", 3, 8, "not valid YAML"},
    {"waypost_policy: 1\n  version: v\n", 2, 10, "not valid YAML"},
    {"\xEF\xBB\xBFwaypost_policy: 1\n", 1, 1, "byte order mark"},
    {HEAD "rules:\n\t- name: a\n", 4, 1, "tab"},
    {HEAD "rules: [] # caf\xE9\n", 3, 16, "not UTF-8"},
    {HEAD "rules: [] # \xE2\x80\xAE\n", 3, 13, "direction"},
    {HEAD "rules: []\001\n", 3, 10, "control"},
    {HEAD "rules: []\r", 3, 10, "control"},
    {"\xFE\xFF\0w\0a", 1, 1, "not UTF-8"},
    {"waypost_policy: 1\nversion: \"a\\0b\"\nrules: []\n", 2, 10, "control"},
    {"waypost_policy: 1\nversion: \"a\\u202Eb\"\nrules: []\n", 2, 10, "direction"},
    {HEAD "rules: &a []\n", 3, 8, "anchors"},
    {HEAD "rules:\n  - &a x\n", 4, 5, "anchors"},
    {HEAD "rules: *a\n", 3, 8, "aliases"},
    {HEAD "rules: !!seq []\n", 3, 8, "tags"},
    {HEAD "rules:\n  - !x y\n", 4, 5, "tags"},
    {"%YAML 1.1\n---\nwaypost_policy: 1\n", 1, 1, "directives"},
    {HEAD "rules: []\n---\na: 1\n", 4, 1, "second document"},
    {HEAD "rules: []\n? [a]\n: b\n", 4, 3, "key must be"},
    {HEAD "rules: []\n? {a: b}\n: b\n", 4, 3, "key must be"},
    {"[[[[[[[[[[[[[[[[[", 1, 17, "deeper than 16"},
    {"- - - - - - - - - - - - - - - - - a\n", 1, 33, "deeper than 16"},
    {HEAD "rules: []\nversion: v2\n", 4, 1, "duplicate key 'version', first in line 2"},
    {"- a\n", 1, 1, "a policy is a mapping"},
    {"text\n", 1, 1, "a policy is a mapping"},

    /* head */
    {"version: v1\nrules: []\n", 1, 1, "starts with 'waypost_policy: 1'"},
    {"version: v1\nwaypost_policy: 1\nrules: []\n", 2, 1, "starts with 'waypost_policy: 1'"},
    {"waypost_policy: 2\nversion: v1\nrules: []\n", 1, 17, "must be 1 to 1, not '2'"},
    {"waypost_policy: \"1\"\nversion: v1\nrules: []\n", 1, 17, "in quotes"},
    {"waypost_policy: 1\nrules: []\n", 1, 1, "no 'version'"},
    {"waypost_policy: 1\nversion: 2026\nrules: []\n", 2, 10, "double quotes"},
    {"waypost_policy: 1\nversion: 1.0\nrules: []\n", 2, 10, "double quotes"},
    {"waypost_policy: 1\nversion: true\nrules: []\n", 2, 10, "double quotes"},
    {"waypost_policy: 1\nversion: \nrules: []\n", 2, 9, "needs text, not nothing"},
    {"waypost_policy: 1\nversion: [a]\nrules: []\n", 2, 10, "needs text, not a list"},
    {"waypost_policy: 1\nversion: \"a b\"\nrules: []\n", 2, 10, "characters"},
    {HEAD, 1, 1, "no 'rules'"},
    {HEAD "rules: {}\n", 3, 8, "takes a list"},
    {HEAD "rule: []\nrules: []\n", 3, 1, "did you mean 'rules'?"},
    {HEAD "rules: []\nzzz: 1\n", 4, 1, "unknown key 'zzz'"},

    /* targets */
    {HEAD "targets: [cloud]\nrules: []\n", 3, 10, "'targets' takes names"},
    {HEAD "targets: { cloud: }\nrules: []\n", 3, 19, "needs its modes"},
    {HEAD "targets: { cloud: { modes: [] } }\nrules: []\n", 3, 28, "needs its modes"},
    {HEAD "targets: { cloud: { modes: [promt] } }\nrules: []\n", 3, 29, "did you mean 'prompt'?"},
    {HEAD "targets: { cloud: { modes: [local] } }\nrules: []\n", 3, 29, "prompt|hidden"},
    {HEAD "targets: { cloud: { modes: [prompt, prompt] } }\nrules: []\n", 3, 37, "twice"},
    {HEAD "targets: { cloud: { mode: [prompt] } }\nrules: []\n", 3, 21, "did you mean 'modes'?"},
    {HEAD "targets: { \"a b\": { modes: [prompt] } }\nrules: []\n", 3, 12, "characters"},

    /* rules */
    {RULES("  - local\n"), 5, 5, "a rule is a mapping"},
    {RULES("  - route: local\n"), 5, 5, "needs a name"},
    {RULES("  - name: r\n"), 5, 5, "needs a route"},
    {RULES("  - name: r\n    route: locl\n"), 6, 12, "did you mean 'local'?"},
    {RULES("  - name: r\n    route: [local]\n"), 6, 12, "not a list"},
    {RULES("  - name: r\n    rute: local\n    route: local\n"), 6, 5, "did you mean 'route'?"},
    {RULES("  - name: \"r 1\"\n    route: local\n"), 5, 11, "characters"},
    {RULES("  - name: 7\n    route: local\n"), 5, 11, "double quotes"},
    {RULES("  - name: default\n    route: local\n"), 5, 11, "router calls"},
    {RULES("  - name: caller-hint\n    route: local\n"), 5, 11, "router calls"},
    {RULES("  - name: r\n    when: { link.state: up }\n    route: local\n"
           "  - name: r\n    route: local\n"),
     8, 5, "already in line 5"},
    {RULES("  - name: r\n    route: local\n    target: cloud\n"), 7, 13, "has no target"},
    {RULES("  - name: r\n    route: local\n    fallback: local\n"), 7, 5, "means nothing"},
    {RULES("  - name: r\n    route: refuse\n    max_bytes: 1\n"), 7, 5, "means nothing"},
    {RULES("  - name: r\n    when: [a]\n    route: prompt\n    target: cloud\n"), 6, 11,
     "leave it out"},
    {RULES("  - name: r\n    when: { data.class: [a] }\n    route: prompt\n    target: cloud\n"), 6,
     25, "is a set"},
    {PROMPT("    target: clod\n"), 9, 13, "did you mean 'cloud'?"},
    {PROMPT("    target: elsewhere\n"), 9, 13, "no target 'elsewhere'"},
    {PROMPT(""), 8, 12, "needs a target"},
    {PROMPT("    target: cloud\n    layer: 3\n"), 10, 5, "'layer' means nothing"},
    {PROMPT("    target: cloud\n    tail: edge\n"), 10, 5, "'tail' means nothing"},
    {PROMPT("    target: cloud\n    max_bytes: 0\n"), 10, 16, "must be 1 to"},
    {PROMPT("    target: cloud\n    max_bytes: 64k\n"), 10, 16, "needs an integer, not '64k'"},
    {PROMPT("    target: cloud\n    max_bytes: 1e6\n"), 10, 16, "needs an integer"},
    {PROMPT("    target: cloud\n    max_bytes: 0x10\n"), 10, 16, "needs an integer"},
    {PROMPT("    target: cloud\n    max_bytes: 010\n"), 10, 16, "needs an integer"},
    {PROMPT("    target: cloud\n    max_bytes: 99999999999999999999\n"), 10, 16, "must be 1 to"},
    {PROMPT("    target: cloud\n    fallback: prompt\n"), 10, 15, "local|refuse"},
    {PROMPT("    target: cloud\n    because: 5\n"), 10, 14, "double quotes"},
    {HIDDEN("    target: cloud\n"), 8, 12, "needs the layer"},
    {HIDDEN("    target: cloud\n    layer: 0\n"), 10, 12, "must be 1 to 511, not '0'"},
    {HIDDEN("    target: cloud\n    layer: 512\n"), 10, 12, "must be 1 to 511"},
    {HIDDEN("    target: cloud\n    layer: 3\n    dtype: f8\n"), 11, 12, "f32|f16|i8"},
    {HIDDEN("    target: cloud\n    layer: 3\n    tail: cluod\n"), 11, 11, "did you mean 'cloud'?"},
    {HEAD "targets: { cloud: { modes: [hidden] } }\nrules:\n  - name: r\n    when:\n" ONLY
          "    route: prompt\n    target: cloud\n",
     8, 12, "does not take 'prompt'"},

    /* what leaves is named */
    {RULES("  - name: r\n    route: prompt\n    target: cloud\n"), 6, 12, "only: [CLASS"},
    {RULES("  - name: r\n    when: { link.state: up }\n    route: prompt\n    target: cloud\n"), 7,
     12, "only: [CLASS"},
    {RULES("  - name: r\n    when: { data.class: { any: [public.a] } }\n    route: prompt\n"
           "    target: cloud\n"),
     7, 12, "only: [CLASS"},
    {RULES("  - name: r\n    when: { any: [ { data.class: { only: [public.a] } }, { link.state: up "
           "} ] "
           "}\n    route: prompt\n    target: cloud\n"),
     7, 12, "only: [CLASS"},
    {RULES(
         "  - name: r\n    when: { not: { data.class: { only: [public.a] } } }\n    route: hidden\n"
         "    layer: 1\n    target: cloud\n"),
     7, 12, "only: [CLASS"},
    {RULES("  - name: r\n    when: { all: [ { data.class: { only: [public.a] } } ] }\n"
           "    route: prompt\n    target: cloud\n"),
     7, 12, "directly under 'when'"},
    {WHEN("data.class: { only: [\"*\"] }"), 7, 28, "class cabin"},
    {WHEN("data.class: { only: [\"c*\"] }"), 7, 28, "whole end"},
    {WHEN("data.class: { only: [public.a, \"*\"] }"), 7, 38, "class cabin"},
    {WHEN("data.class: { only: [*] }"), 7, 29, "not valid YAML"},

    /* conditions */
    {WHEN("data.clas: { any: [a] }"), 7, 7, "did you mean 'data.class'?"},
    {WHEN("link_state: up"), 7, 7, "did you mean 'link.state'?"},
    {WHEN("speed: 30"), 7, 7, "unknown key 'speed'"},
    {WHEN("data.class: public.a"), 7, 19, "is a set"},
    {WHEN("data.class: [public.a]"), 7, 19, "is a set"},
    {WHEN("data.class: { in: [public.a] }"), 7, 21, "any|only|all"},
    {WHEN("data.class: { onyl: [public.a] }"), 7, 21, "did you mean 'only'?"},
    {WHEN("data.class: { any: [] }"), 7, 26, "list of 1 to"},
    {WHEN("data.class: { any: public.a }"), 7, 26, "list of 1 to"},
    {WHEN("data.class: { any: [a, b, a] }"), 7, 33, "twice"},
    {WHEN("data.class: { any: [\"*.a\"] }"), 7, 27, "whole end"},
    {WHEN("data.class: { any: [a..b] }"), 7, 27, "joined by dots"},
    {WHEN("data.class: { any: [.a] }"), 7, 27, "joined by dots"},
    {WHEN("data.class: { any: [a.] }"), 7, 27, "joined by dots"},
    {WHEN("data.class: { any: [Public] }"), 7, 27, "a-z"},
    {WHEN("data.class: { any: [a.b.c.d.e.f.g.h.i] }"), 7, 27, "1 to 8 words"},
    {WHEN("data.class: { any: [[a]] }"), 7, 27, "not a list"},
    {WHEN("data.class: {}"), 7, 19, "empty condition"},
    {WHEN("caller: {}"), 7, 15, "empty condition"},
    {WHEN("caller: 5"), 7, 15, "double quotes"},
    {WHEN("caller: yes"), 7, 15, "double quotes"},
    {WHEN("caller: { lt: a }"), 7, 17, "unknown key 'lt'"},
    {WHEN("caller: [a, b]"), 7, 15, "in: [ … ]"},
    {WHEN("caller: { in: [] }"), 7, 21, "list of 1 to"},
    {WHEN("caller: { in: [a, a] }"), 7, 25, "twice"},
    {WHEN("caller: { not: [a, b] }"), 7, 22, "takes one value"},
    {WHEN("request.stream: 1"), 7, 23, "true or false"},
    {WHEN("request.stream: yes"), 7, 23, "true or false"},
    {WHEN("request.stream: \"true\""), 7, 23, "in quotes"},
    {WHEN("request.stream: { in: [true] }"), 7, 25, "eq|ne|not"},
    {WHEN("request.prompt_tokens: many"), 7, 30, "needs an integer, not 'many'"},
    {WHEN("request.prompt_tokens: 2.5"), 7, 30, "needs an integer"},
    {WHEN("request.prompt_tokens: \"5\""), 7, 30, "in quotes"},
    {WHEN("request.prompt_tokens: { le: }"), 7, 36, "not nothing"},
    {WHEN("request.prompt_tokens: { lee: 5 }"), 7, 32, "did you mean 'le'?"},
    {WHEN("request.prompt_tokens: { between: [1] }"), 7, 41, "two numbers"},
    {WHEN("request.prompt_tokens: { between: [1, 2, 3] }"), 7, 41, "two numbers"},
    {WHEN("request.prompt_tokens: { between: [9, 2] }"), 7, 45, "never hold"},
    {WHEN("request.prompt_tokens: { in: [1, 2, 1] }"), 7, 43, "twice"},
    {WHEN("link.rtt_ms: .nan"), 7, 20, "needs a number"},
    {WHEN("link.rtt_ms: 1e999"), 7, 20, "needs a number"},
    {WHEN("link.rtt_ms: .5"), 7, 20, "needs a number"},
    {WHEN("link.rtt_ms: 5."), 7, 20, "needs a number"},
    {WHEN("link.rtt_ms: 05"), 7, 20, "needs a number"},
    {WHEN("link.rtt_ms: 1e"), 7, 20, "needs a number"},
    {WHEN("link.rtt_ms: 1e+5x"), 7, 20, "needs a number"},
    {WHEN("link.rtt_ms: \"5\""), 7, 20, "in quotes"},
    {WHEN("link.rtt_ms: { lt: [5] }"), 7, 26, "not a list"},
    {WHEN("link.rtt_ms: { in: [1.5, 1.5] }"), 7, 32, "twice"},
    {WHEN("link.rtt_ms: { between: 5 }"), 7, 31, "two numbers"},
    {WHEN("request.stream: [true]"), 7, 23, "in: [ … ]"},
    {WHEN("request.stream: { eq: {} }"), 7, 29, "not a mapping"},
    {WHEN("caller: \"a\xEF\xBF\xBE\""), 7, 17, "no character"},
    {WHEN("caller: \"\""), 7, 15, "1 to 512 bytes"},
    {WHEN("caller: \"\xE2\x80\xA8\""), 7, 16, "control"},
    {WHEN("caller: \"\xE2\x80\x8E\""), 7, 16, "direction"},
    {WHEN("caller: \"\xE2\x81\xA6\""), 7, 16, "direction"},
    {WHEN("caller: \"\xED\xA0\x80\""), 7, 16, "not UTF-8"},
    {WHEN("caller: \"\xE2\x28\xA1\""), 7, 16, "not UTF-8"},
    {WHEN("caller: \"\xF4\x90\x80\x80\""), 7, 16, "not UTF-8"},
    {WHEN("link.state: dwon"), 7, 19, "did you mean 'down'?"},
    {WHEN("link.state: { not: dwon }"), 7, 26, "did you mean 'down'?"},
    {WHEN("any: { link.state: up }"), 7, 12, "takes a list"},
    {WHEN("any: []"), 7, 12, "takes a list"},
    {WHEN("all: []"), 7, 12, "takes a list"},
    {WHEN("all: [ up ]"), 7, 14, "takes conditions"},
    {WHEN("any: [ {} ]"), 7, 14, "takes conditions"},
    {WHEN("not: [ { link.state: up } ]"), 7, 12, "takes conditions"},
    {WHEN("not: {}"), 7, 12, "takes conditions"},
    {RULES("  - name: r\n    when:\n    route: local\n"), 6, 10, "leave it out"},
    {RULES("  - name: r\n    when: {}\n    route: local\n"), 6, 11, "leave it out"},
    {RULES("  - name: r\n    when: always\n    route: local\n"), 6, 11, "leave it out"},
    {HEAD "rules:\n  - name: r\n    when: { link.state: up }\n    route: local\n", 6, 12,
     "of which target"},

    /* what can't hold, what can't be reached */
    {WHEN("request.prompt_tokens: { lt: 3, gt: 5 }"), 7, 43, "never hold"},
    {WHEN("request.prompt_tokens: { lt: 4, gt: 3 }"), 7, 43, "never hold"},
    {WHEN("all: [ { engine.queue: { ge: 5 } }, { engine.queue: 4 } ]"), 7, 59, "engine.queue"},
    {WHEN("engine.queue: { in: [1, 2], gt: 2 }"), 7, 27, "never hold"},
    {WHEN("engine.queue: { eq: 2, not: 2 }"), 7, 35, "never hold"},
    {WHEN("link.rtt_ms: { lt: 1.5, ge: 1.5 }"), 7, 35, "never hold"},
    {WHEN("request.stream: { eq: true, ne: true }"), 7, 39, "never hold"},
    {WHEN("all: [ { caller: a }, { caller: b } ]"), 7, 39, "caller"},
    {WHEN("any: [ { link.state: up }, { engine.queue: { lt: 1, gt: 1 } } ]"), 7, 63, "never hold"},
    {RULES("  - name: a\n    route: local\n  - name: b\n    route: refuse\n"), 7, 5,
     "'a' in line 5 always matches"},
    {RULES("  - name: a\n    when: { caller: x, engine.queue: 3 }\n    route: local\n"
           "  - name: b\n    when: { engine.queue: 3, caller: x }\n    route: refuse\n"),
     8, 5, "same condition"},
    {RULES(
         "  - name: a\n    when: { caller: { in: [x, z] } }\n    route: local\n"
         "  - name: b\n    when: { caller: { in: [z, x] }, engine.queue: 3 }\n    route: refuse\n"),
     8, 5, "matches whenever this one would"},
};

static void mistakes_are_found_where_they_are(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rt_policy *p = NULL;
        bool hit = false;
        int err = compile(bad[i].text, &p);
        for (int k = 0; k < diags.n; k++)
            hit |= !diags.at[k].warning && diags.at[k].line == bad[i].line &&
                   diags.at[k].col == bad[i].col && strstr(diags.at[k].msg, bad[i].says) != NULL;
        if ((err == BASE_EFORMAT || err == BASE_ELIMIT) && p == NULL && hit)
            continue;
        wrong++;
        print_message("# %d, wanted %d:%d %s in:\n%s\n", err, bad[i].line, bad[i].col, bad[i].says,
                      bad[i].text);
        for (int k = 0; k < diags.n; k++)
            print_message("#   got %d:%d %s\n", diags.at[k].line, diags.at[k].col, diags.at[k].msg);
        rt_policy_free(p);
    }
    assert_int_equal(wrong, 0);
}

/* Nothing of the above is refused for the company it keeps. */
static void what_is_right_is_taken(void **state)
{
    (void)state;
    static const char *const good[] = {
        HEAD "rules: []\n",
        HEAD "rules: []",
        "---\n" HEAD "rules: []\n...\n",
        "waypost_policy: 1\r\nversion: \"1\"\r\nrules: []\r\n",
        "{ waypost_policy: 1, version: \"2026-11-23.1\", rules: [] }",
        PROMPT("    target: cloud\n"),
        HIDDEN("    target: cloud\n    layer: 511\n    tail: edge\n    dtype: i8\n"),
        RULES("  - name: r\n    route: refuse\n"),
        WHEN("data.class: { any: [\"*\"] }"),
        WHEN("data.class: { only: [cabin, public.*], all: [public] }"),
        WHEN("request.prompt_tokens: { lt: 5, gt: 3 }"),
        WHEN("link.rtt_ms: { lt: 1.5, ge: 1.4 }"),
        WHEN("link.rtt_ms: { between: [1, 1] }"),
        WHEN("request.prompt_tokens: { in: [1, 2, 3], between: [3, 9] }"),
        WHEN("all: [ { caller: { not: a } }, { caller: b } ]"),
        WHEN("any: [ { engine.queue: 1 }, { engine.queue: 2 } ]"),
        WHEN("not: { not: { not: { all: [ { any: [ { link.state: up } ] } ] } } }"),
        WHEN("link.state: \"up\""),
        WHEN("caller: \"5\""),
        WHEN("caller: 车机"),
        RULES("  - name: a\n    when: { caller: x, engine.queue: 3 }\n    route: local\n"
              "  - name: b\n    when: { caller: x }\n    route: refuse\n"),
        RULES("  - name: a\n    when: { engine.queue: 3 }\n    route: local\n"
              "  - name: b\n    when: { engine.queue: 4 }\n    route: refuse\n"),
        /* the same words about two links */
        HEAD
        "targets: { a: { modes: [prompt] }, b: { modes: [prompt] } }\nrules:\n"
        "  - { name: a, when: { data.class: { only: [public.x] }, link.state: up }, route: prompt, "
        "target: a }\n"
        "  - { name: b, when: { data.class: { only: [public.x] }, link.state: up }, route: prompt, "
        "target: b }\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct rt_policy *p = NULL;
        int err = compile(good[i], &p);
        if (err != 0)
            print_message("# %s\n# %d:%d %s\n", good[i], diags.at[0].line, diags.at[0].col,
                          diags.at[0].msg);
        assert_int_equal(err, 0);
        rt_policy_free(p);
    }
}

static void a_policy_knows_itself(void **state)
{
    (void)state;
    static const char text[] =
        PROMPT("    target: cloud\n    because: |\n      Two\n      lines.\n");
    struct rt_policy *p;
    uint8_t hash[32];
    assert_int_equal(compile(text, &p), 0);
    assert_int_equal(base_sha256(text, strlen(text), hash), 0);
    assert_memory_equal(rt_policy_hash(p), hash, 32);
    assert_string_equal(rt_policy_version(p), "v1");
    assert_int_equal(rt_policy_n_rule(p), 1);
    assert_string_equal(rt_policy_rule_name(p, 0), "r");
    assert_int_equal(rt_policy_n_target(p), 1);
    assert_string_equal(rt_policy_target_name(p, 0), "cloud");
    assert_true(rt_policy_uses(p, RT_F_DATA_CLASS));
    assert_false(rt_policy_uses(p, RT_F_LINK_STATE));
    struct rt_facts f = {.cls = {"public.a"}, .n_cls = 1};
    struct rt_decision d;
    rt_decide(p, &f, &d);
    assert_string_equal(d.because, "Two lines.");
    assert_int_equal(d.route.max_bytes, 256 << 10);
    rt_policy_free(p);

    const struct rt_policy *none = rt_policy_none();
    assert_int_equal(rt_policy_n_rule(none), 0);
    assert_string_equal(rt_policy_version(none), "none");
    rt_decide(none, &f, &d);
    assert_int_equal(d.route.mode, RT_LOCAL);
    assert_string_equal(d.rule, "default");
    rt_policy_free(NULL);
}

static void warnings_are_no_errors(void **state)
{
    (void)state;
    struct rt_policy *p;
    assert_int_equal(compile(HEAD CLOUD "rules: []\n", &p), 0);
    assert_int_equal(diags.n_error, 0);
    assert_int_equal(diags.n, 1);
    assert_true(diags.at[0].warning);
    assert_int_equal(diags.at[0].line, 3);
    assert_non_null(strstr(diags.at[0].msg, "no rule uses target 'cloud'"));
    rt_policy_free(p);
    static const char *const named[] = {"cabin", "cabin.*"};
    for (int i = 0; i < 2; i++) {
        char text[400];
        snprintf(text, sizeof text,
                 HEAD CLOUD "classes: { cabin: any%s }\nrules:\n"
                            "  - name: r\n    when: { data.class: { only: [%s] } }\n"
                            "    route: prompt\n    target: cloud\n",
                 i == 0 ? "" : ", cabin.speech: any, cabin.navigation: any", named[i]);
        assert_int_equal(compile(text, &p), 0);
        assert_int_equal(diags.n, 1);
        assert_non_null(strstr(diags.at[0].msg, "unlabelled"));
        rt_policy_free(p);
    }
}

static void many_mistakes_are_counted(void **state)
{
    (void)state;
    char *text = calloc(1, 100000);
    struct rt_policy *p;
    strcpy(text, HEAD "rules:\n");
    for (int i = 0; i < 500; i++)
        strcat(text, "  - 1\n");
    assert_int_equal(compile(text, &p), BASE_EFORMAT);
    assert_int_equal(diags.n, RT_MAX_DIAG);
    assert_int_equal(diags.n_error, 500);
    strcpy(text, HEAD "classes: {");
    for (int i = 0; i < 129; i++)
        sprintf(text + strlen(text), "a%d: none, ", i);
    strcat(text, "}\nrules: []\n");
    assert_int_equal(compile(text, &p), BASE_ELIMIT);
    assert_non_null(strstr(diags.at[0].msg, "more than 128 keys"));
    free(text);
}

/* ---- limits ---- */

static char *repeat(const char *head, const char *piece, size_t n, const char *tail)
{
    size_t h = strlen(head), s = strlen(piece);
    char *t = malloc(h + n * s + strlen(tail) + 1);
    assert_non_null(t);
    memcpy(t, head, h);
    for (size_t i = 0; i < n; i++)
        memcpy(t + h + i * s, piece, s);
    strcpy(t + h + n * s, tail);
    return t;
}

/* Each would be slow or large in a parser that reads on: the test is that it ends, located. */
static void hostile_texts_end(void **state)
{
    (void)state;
    static const struct {
        const char *head, *piece;
        size_t n;
        const char *tail;
    } t[] = {
        {"", "[", 200000, ""},
        {"", "{a: ", 200000, ""},
        {"", "- ", 200000, ""},
        {"", "? ", 200000, ""},
        {"", "a: ", 200000, ""},
        {"", "\"", 200001, ""},
        {"", "# x\n", 500000, ""},
        {"", "\n", 2000000, ""},
        {"", " ", 2000000, "x"},
        {"a: \"", "x", 2000000, ""},
        {"a: >\n", " x\n", 1000000, ""},
        {"a: [", "b,", 600000, "]"},
        {"a: {", "b,", 600000, "}"},
        {"", "---\n", 500000, ""},
        {"", "&a ", 200000, ""},
        {"", "!a ", 200000, ""},
        {"", "%a\n", 200000, ""},
        {"", "x", RT_MAX_TEXT_BYTES + 1, ""},
        {HEAD "rules: [", "{name: a, route: local},", 100000, "]"},
        {HEAD "rules: [[", "[a, b, c], ", 300000, "]]"},
        {HEAD "rules: [",
         "[[a,a,a,a,a,a,a,a],[b,b,b,b,b,b,b,b],[c,c,c,c,c,c,c,c],[d,d,d,d,d,d,d,d]],", 16000, "]"},
        {HEAD "rules: [{name: a, when: {caller: {in: [", "\"x\",", 100000, "]}}}]"},
        {HEAD "rules: [{name: a, when: {all: [", "{caller: x},", 100000, "]}}]"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        char *text = repeat(t[i].head, t[i].piece, t[i].n, t[i].tail);
        struct rt_policy *p = NULL;
        int err = compile(text, &p);
        assert_true(err == BASE_EFORMAT || err == BASE_ELIMIT);
        assert_null(p);
        assert_true(diags.n_error > 0 && diags.at[0].line > 0 && diags.at[0].col > 0);
        free(text);
    }
}

static void full_size_compiles(void **state)
{
    (void)state;
    char *text = malloc(RT_MAX_TEXT_BYTES);
    assert_non_null(text);
    size_t n = (size_t)sprintf(text, "%sclasses: { x: [prompt] }\nrules:\n", HEAD CLOUD);
    for (int i = 0; i < RT_MAX_RULE; i++)
        n += (size_t)sprintf(text + n,
                             "  - name: r%d\n    when: { data.class: { only: [public.c%d, x.*] }, "
                             "request.prompt_tokens: { le: %d } }\n    route: prompt\n"
                             "    target: cloud\n",
                             i, i % 97, i + 1);
    struct rt_policy *p;
    assert_int_equal(rt_policy_compile(&p, text, n, &diags), 0);
    struct rt_facts f = {.cls = {"public.c33"}, .n_cls = 1};
    f.v[RT_F_REQ_PROMPT_TOK] = (struct rt_value){.have = true, .i = 8000};
    struct rt_decision d;
    rt_decide(p, &f, &d);
    assert_string_equal(d.rule, "r8084"); /* the first i >= 7999 with i % 97 == 33 */
    rt_policy_free(p);

    n += (size_t)sprintf(text + n, "  - { name: last, route: local }\n");
    assert_int_equal(rt_policy_compile(&p, text, n, &diags), BASE_ELIMIT);
    assert_non_null(strstr(diags.at[0].msg, "8192 rules"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_found_where_they_are),
        cmocka_unit_test(what_is_right_is_taken),
        cmocka_unit_test(a_policy_knows_itself),
        cmocka_unit_test(warnings_are_no_errors),
        cmocka_unit_test(many_mistakes_are_counted),
        cmocka_unit_test(hostile_texts_end),
        cmocka_unit_test(full_size_compiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
