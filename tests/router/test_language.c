/* What stands beside the rules: classes and what they permit, targets, callers, budgets, consents,
 * signals, share; and the proof of egress. */
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
#include "told.h"

static struct rt_policy *compiled(const char *text)
{
    struct rt_policy *p = NULL;
    int err = rt_policy_compile(&p, text, strlen(text), &diags);
    if (err != 0) {
        print_message("%s\n", text);
        show_diags();
    }
    assert_int_equal(err, 0);
    return p;
}

#define CLOUD \
    "targets: { cloud: { modes: [prompt, hidden] }, eu: { modes: [prompt], where: eu } }\n"
#define TOP(more) HEAD CLOUD more "rules: []\n" /* more from line 4 */
/* The rule that lets the classes out by prompt to cloud; its list starts in column 35. */
#define OUT(list)                                                                          \
    "rules:\n  - { name: out, when: { data.class: { only: [" list "] } }, route: prompt, " \
    "target: cloud }\n"
#define RULE(when) "rules:\n  - { name: a, route: refuse, when: { " when " } }\n"
#define TWO(first, second)                                       \
    HEAD "targets: { cloud: { modes: [prompt] } }\nrules:\n"     \
         "  - { name: a, route: refuse, when: { " first " } }\n" \
         "  - { name: b, route: local, when: { " second " } }\n"

static const struct {
    const char *text;
    int line, col;
    const char *says;
} bad[] = {
    /* classes */
    {TOP("classes: [public]\n"), 4, 10, "'classes' takes names"},
    {TOP("classes: { Public: none }\n"), 4, 12, "a data class is"},
    {TOP("classes: { public.*: none }\n"), 4, 12, "without '.*'"},
    {TOP("classes: { \"*\": none }\n"), 4, 12, "class cabin"},
    {TOP("classes: { a: nothing }\n"), 4, 15, "none|any"},
    {TOP("classes: { a: [] }\n"), 4, 15, "none, any, or a list"},
    {TOP("classes: { a: {} }\n"), 4, 15, "needs 'permits'"},
    {TOP("classes: { a: { permit: none } }\n"), 4, 17, "did you mean 'permits'?"},
    {TOP("classes: { a: { permits: { mode: prompt } } }\n"), 4, 26, "none, any, or a list"},
    {TOP("classes: { a: { permits: none, overridable: perhaps } }\n"), 4, 45, "true or false"},
    {TOP("classes: { a: [local] }\n"), 4, 16, "prompt|hidden"},
    {TOP("classes: { a: [{ target: cloud }] }\n"), 4, 16, "names a mode"},
    {TOP("classes: { a: [{ mode: prompt, target: clod }] }\n"), 4, 40, "did you mean 'cloud'?"},
    {TOP("classes: { a: [{ mode: prompt, to: cloud }] }\n"), 4, 32, "unknown key 'to'"},

    /* the proof */
    {HEAD CLOUD OUT("cabin.speech"), 5, 47, "'cabin.speech' may not leave by prompt to 'cloud'"},
    {HEAD CLOUD OUT("public.a, cabin"), 5, 57, "'cabin' (built in) does not permit it"},
    {HEAD CLOUD OUT("weather"), 5, 47, "classes: { weather: [prompt] }"},
    {HEAD CLOUD OUT("public.*, location.precise"), 5, 57, "location.precise"},
    {HEAD CLOUD "classes: { public: none }\n" OUT("public.a"), 6, 47, "'public' in line 4"},
    {HEAD CLOUD "classes: { public.secret: none }\n" OUT("public.*"), 6, 47, "'public.secret'"},
    {HEAD CLOUD "classes: { location: any }\n" OUT("location.*"), 6, 47, "'location.precise'"},
    {HEAD CLOUD "classes: { a: [hidden] }\n" OUT("a"), 6, 47, "by prompt to 'cloud'"},
    {HEAD CLOUD "classes: { a: [{ mode: prompt, where: eu }] }\n" OUT("a"), 6, 47, "to 'cloud'"},
    {HEAD CLOUD "classes: { a: [{ mode: prompt, target: eu }] }\n" OUT("a"), 6, 47, "to 'cloud'"},
    {HEAD CLOUD "rules:\n  - name: r\n    when: { data.class: { only: [public.a] } }\n"
                "    route: prompt\n    target: cloud\n    fallback: hidden\n",
     9, 15, "does not leave another way"},

    /* targets */
    {HEAD "targets: { a: { modes: [prompt], where: \"a b\" } }\nrules: []\n", 3, 41, "characters"},
    {HEAD "targets: { a: { modes: [prompt], price: 3 } }\nrules: []\n", 3, 41, "10^6 tokens"},
    {HEAD "targets: { a: { modes: [prompt], price: { in: 1 } } }\nrules: []\n", 3, 41, "10^6"},
    {HEAD "targets: { a: { modes: [prompt], price: { in: 1, out: -1 } } }\nrules: []\n", 3, 41,
     "not below 0"},
    {HEAD "targets: { a: { modes: [prompt], identity: 5 } }\nrules: []\n", 3, 44, "double quotes"},
    {HEAD "targets: { a: { modes: [prompt], overridable: 1 } }\nrules: []\n", 3, 47, "true or"},

    /* callers */
    {TOP("callers: { nav: { seat: driver } }\n"), 4, 12, "needs 'match'"},
    {TOP("callers: { nav: nav }\n"), 4, 17, "a mapping"},
    {TOP("callers: { nav: { match: {} } }\n"), 4, 26, "'match' takes"},
    {TOP("callers: { nav: { match: { uid: root } } }\n"), 4, 33, "needs an integer"},
    {TOP("callers: { nav: { match: { pid: 3 } } }\n"), 4, 28, "unknown key 'pid'"},
    {TOP("callers: { nav: { match: { key_sha256: abc } } }\n"), 4, 40, "64 digits"},
    {TOP("callers: { nav: { match: { uid: 1 }, priority: 101 } }\n"), 4, 48, "0 to 100"},
    {TOP("callers: { nav: { match: { uid: 1 }, labels: [] } }\n"), 4, 46, "'labels' takes"},
    {TOP("callers: { nav: { match: { uid: 1 }, labels: [\"*\"] } }\n"), 4, 47, "class cabin"},
    {TOP("callers: { nav: { match: { uid: 1 }, quota: { per: hour } } }\n"), 4, 45, "a quota says"},
    {TOP("callers: { nav: { match: { uid: 1 }, quota: { bytes: 1, per: week } } }\n"), 4, 62,
     "trip|hour|day"},

    /* budgets, consents, signals */
    {TOP("budgets: { data: { unit: bytes } }\n"), 4, 12, "needs unit, limit and per"},
    {TOP("budgets: { data: { unit: byte, limit: 1, per: day } }\n"), 4, 26,
     "did you mean 'bytes'?"},
    {TOP("budgets: { data: { unit: bytes, limit: -1, per: day } }\n"), 4, 40, "not below 0"},
    {TOP("budgets: { data: { unit: bytes, limit: 1, per: week } }\n"), 4, 48,
     "trip|hour|day|month"},
    {TOP("budgets: { data: { unit: bytes, limit: 1, per: [sim] } }\n"), 4, 48, "[sim, day]"},
    {TOP("budgets: { data: { unit: bytes, limit: 1, per: [sim, car] } }\n"), 4, 54, "trip|hour"},
    {TOP("budgets: { data: { unit: bytes, limit: 1, per: day, targets: [] } }\n"), 4, 62, "list"},
    {TOP("budgets: { data: { unit: bytes, limit: 1, per: day, targets: [x] } }\n"), 4, 63,
     "no target 'x'"},
    {TOP("consents: { cloud: { ask: \"May I?\" } }\n"), 4, 13, "needs 'lapses'"},
    {TOP("consents: { cloud: { lapses: never } }\n"), 4, 30, "trip|hour|day|month"},
    {TOP("signals: { Speed: { type: number } }\n"), 4, 12, "named as in VSS"},
    {TOP("signals: { Vehicle.Speed: {} }\n"), 4, 12, "needs its type"},
    {TOP("signals: { Vehicle.Speed: { type: float } }\n"), 4, 35, "boolean|integer|number|text"},
    {TOP("signals: { Vehicle.Speed: { type: number, max_age_ms: 0 } }\n"), 4, 55, "must be 1 to"},
    {TOP("signals: { vehicle.moving: { type: boolean } }\n"), 4, 12, "only max_age_ms"},
    {TOP("signals: { caller: { max_age_ms: 5 } }\n"), 4, 12, "it has none"},
    {HEAD RULE("Vehicle.Speed: { gt: 3 }"), 4, 39, "is not declared; write signals"},
    {HEAD RULE("budget.data.left: { gt: 3 }"), 4, 39, "unknown key 'budget.data.left'"},

    {TOP("targets2: 1\n"), 4, 1, "unknown key 'targets2'"},
    {TOP("callers: { \"a b\": { match: { uid: 1 } } }\n"), 4, 12, "characters"},
    {TOP("callers: [nav]\n"), 4, 10, "'callers' takes names"},
    {TOP("callers: { nav: { match: 5 } }\n"), 4, 26, "'match' takes"},
    {TOP("callers: { nav: { match: { uid: 1 }, quota: 5 } }\n"), 4, 45, "a quota says"},
    {TOP("callers: { nav: { match: { uid: 1 }, labels: public.a } }\n"), 4, 46, "'labels' takes"},
    {TOP("callers: { nav: { match: { key_sha256: "
         "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f } } }\n"),
     4, 40, "64 digits"},
    {TOP("budgets: { data: 5 }\n"), 4, 18, "a mapping"},
    {TOP("budgets: { data: { unit: bytes, limit: 1, per: {} } }\n"), 4, 48, "[sim, day]"},
    {TOP("budgets: { data: { unit: bytes, limit: 1, per: day, targets: cloud } }\n"), 4, 62,
     "list"},
    {TOP("budgets: { data: { unit: bytes, limit: 1, per: day, targets: [[cloud]] } }\n"), 4, 63,
     "not a list"},
    {TOP("consents: { c: trip }\n"), 4, 16, "a mapping"},
    {TOP("signals: { Vehicle.Speed: number }\n"), 4, 27, "a mapping"},
    {TOP("signals: { vehicle.moving: { max_age_ms: 5, type: boolean } }\n"), 4, 12, "only max_age"},

    /* share */
    {TOP("share: { edge: 0.7, moves: 5 }\n"), 4, 8, "a share is"},
    {TOP("share: { edge: 0.7, moves: [{ rule: a, fact: [b], min: 0, max: 1 }] }\n"), 4, 46, "list"},
    {TOP("share: { edge: -1, moves: [] }\n"), 4, 16, "0 to 1"},
    {TOP("share: 0.7\n"), 4, 8, "a share is"},
    {TOP("share: { edge: 1.2, moves: [] }\n"), 4, 16, "0 to 1"},
    {TOP("share: { edge: 0.7, over: 0, moves: [] }\n"), 4, 27, "must be 1 to"},
    {TOP("share: { edge: 0.7, moves: [a] }\n"), 4, 29, "a move is"},
    {TOP("share: { edge: 0.7, moves: [{ rule: a, fact: confidence, min: 1, max: 0 }] }\n"), 4, 71,
     "above min"},
    {TOP("share: { edge: 0.7, moves: [{ rule: a, fact: confidence, min: 0, max: 1 }] }\n"), 4, 37,
     "no rule 'a'"},
    {HEAD "share: { edge: 0.7, moves: [{ rule: a, fact: confidence, min: 0, max: 1 }] }\n" RULE(
         "engine.queue: { gt: 3 }"),
     3, 46, "has no test"},
    {HEAD "share: { edge: 0.7, moves: [{ rule: a, fact: engine.queue, min: 4, max: 9 }] }\n" RULE(
         "engine.queue: { gt: 3 }"),
     3, 29, "not between min and max"},
    {HEAD "share: { edge: 0.7, moves: [{ rule: a, fact: engine.queue, min: 0, max: 9 }, "
          "{ rule: a, fact: engine.load, min: 0, max: 9 }] }\n" RULE("engine.queue: { gt: 3 }"),
     3, 86, "here twice"},
    {HEAD
     "share: { edge: 0.7, moves: [{ rule: a, fact: engine.queue, min: 0, max: 1e300 }] }\n" RULE(
         "engine.queue: { gt: 3 }"),
     3, 29, "too large"},

    /* rules */
    {HEAD CLOUD "rules:\n  - { name: a, route: local, when: { caller: x } }\n"
                "  - { name: b, route: local, final: true, when: { caller: y } }\n",
     6, 5, "before the others"},
    {HEAD CLOUD "rules:\n  - name: a\n    final: true\n    route: prompt\n    target: cloud\n"
                "    when: { data.class: { only: [public.a] } }\n",
     6, 12, "keeps data in the car"},

    /* lists of classes that cannot both hold */
    {HEAD RULE("data.class: { only: [a.*], any: [b] }"), 4, 71, "never hold"},
    {HEAD RULE("data.class: { only: [a], all: [a, b] }"), 4, 69, "never hold"},
    {HEAD RULE("all: [{ data.class: { only: [a.b] } }, { data.class: { only: [a.c] } }]"), 4, 100,
     "never hold"},
    {HEAD RULE("data.class: { any: [a.b] }, not: { data.class: { any: [a.*] } }"), 4, 93,
     "never hold"},
    {HEAD RULE("data.class: { only: [a] }, not: { data.class: { any: [a, b] } }"), 4, 92,
     "never hold"},
    {HEAD RULE("data.class: { all: [x, a.b] }, not: { data.class: { any: [a.*] } }"), 4, 96,
     "never hold"},

    /* rules that can't match, by implication */
    {TWO("data.class: { only: [a, b] }", "data.class: { only: [a] }"), 6, 5, "never match"},
    {TWO("data.class: { any: [id.*] }", "data.class: { only: [id.a] }"), 6, 5, "never"},
    {TWO("data.class: { any: [id.*] }", "data.class: { all: [x, id.a] }"), 6, 5, "never"},
    {TWO("data.class: { all: [a.*] }", "data.class: { only: [a.b] }"), 6, 5, "never"},
    {TWO("not: { data.class: { any: [b] } }", "data.class: { only: [a] }"), 6, 5, "never"},
    {TWO("engine.queue: { gt: 3 }", "engine.queue: { ge: 4 }, caller: a"), 6, 5, "never"},
    {TWO("engine.queue: { between: [1, 9] }", "engine.queue: { in: [2, 3] }"), 6, 5, "never"},
    {TWO("engine.queue: { not: 3 }", "engine.queue: { gt: 3 }"), 6, 5, "never"},
    {TWO("engine.load: { le: 0.5 }", "engine.load: { lt: 0.5 }"), 6, 5, "never"},
    {TWO("caller: { in: [a, b] }", "caller: a, engine.queue: 1"), 6, 5, "never"},
    {TWO("caller: { not: c }", "caller: { in: [a, b] }"), 6, 5, "never"},
    {TWO("request.stream: { not: true }", "request.stream: false"), 6, 5, "never"},
    {TWO("link.rtt_ms: { lt: 9 }", "link.rtt_ms: { lt: 5 }"), 6, 5, "never"},
};

static void mistakes_are_found_where_they_are(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct rt_policy *p = NULL;
        int err = rt_policy_compile(&p, bad[i].text, strlen(bad[i].text), &diags);
        if (err == BASE_EFORMAT && p == NULL &&
            found("", false, bad[i].line, bad[i].col, bad[i].says))
            continue;
        wrong++;
        print_message("# %d, wanted %d:%d %s in:\n%s\n", err, bad[i].line, bad[i].col, bad[i].says,
                      bad[i].text);
        show_diags();
        rt_policy_free(p);
    }
    assert_int_equal(wrong, 0);
}

/* Near the above, but right. */
static void what_is_right_is_taken(void **state)
{
    (void)state;
    static const char *const good[] = {
        TOP("classes: { a: none, b: any, c.d: [prompt, hidden] }\n"),
        HEAD CLOUD "classes: { a: [prompt] }\n" OUT("a, a.b"),
        HEAD CLOUD
        "rules:\n"
        "  - { name: a, route: local, final: true, when: { vehicle.guest_mode: true } }\n"
        "  - { name: b, route: prompt, target: cloud, when: { data.class: { only: "
        "[public.a] }, vehicle.guest_mode: { not: true } } }\n",
        HEAD CLOUD "classes: { a: none, a.b: any }\n" OUT("a.b.*"),
        HEAD CLOUD "classes: { a: [{ mode: prompt, target: cloud }] }\n" OUT("a.*"),
        HEAD CLOUD
        "classes: { cabin: any, cabin.speech: any, cabin.navigation: any }\n" OUT("cabin.*"),
        /* what an earlier rule takes, or the rule itself leaves out, does not leave */
        HEAD CLOUD
        "classes: { public.secret: none }\nrules:\n"
        "  - { name: a, route: local, when: { data.class: { any: [public.secret.*] } } }\n"
        "  - { name: b, route: prompt, target: cloud, when: { data.class: { only: "
        "[public.*] } } }\n",
        HEAD CLOUD "classes: { public.secret: none }\nrules:\n"
                   "  - { name: b, route: prompt, target: cloud, when: { data.class: { only: "
                   "[public.*] }, not: { data.class: { any: [public.secret.*] } } } }\n",
        HEAD CLOUD "classes: { public.secret: none }\nrules:\n"
                   "  - { name: b, route: prompt, target: cloud, when: { data.class: { only: "
                   "[public.*] }, all: [ { data.class: { only: [public.a, other] } } ] } }\n",
        TWO("data.class: { only: [a] }", "data.class: { only: [a, b] }"),
        TWO("data.class: { any: [a] }", "data.class: { any: [a.*] }"),
        TWO("data.class: { any: [a] }", "data.class: { all: [b] }"),
        TWO("data.history: { any: [a] }", "data.history: { only: [a] }"),
        TWO("engine.queue: { gt: 3 }", "engine.queue: { ge: 3 }"),
        TWO("engine.load: { lt: 0.5 }", "engine.load: { le: 0.5 }"),
        TWO("engine.queue: { not: 3 }", "engine.queue: { ge: 3 }"),
        TWO("caller: { in: [a, b] }", "caller: { in: [a, c] }"),
        TWO("caller: { not: a }", "engine.queue: 3"),
        TWO("engine.queue: { gt: 9007199254740993 }", "engine.queue: { ge: 9007199254740993 }"),
        HEAD RULE("data.history: { only: [a], any: [a.b, a] }"),
        HEAD RULE("all: [{ data.history: { only: [a] } }, { data.history: { only: [b] } }]"),
        HEAD RULE("data.class: { only: [a.*], any: [a.b] }"),
        /* the share may move the earlier threshold away */
        HEAD "share: { edge: 0.5, moves: [{ rule: a, fact: engine.queue, min: 0, max: 9 }] }\n"
             "rules:\n  - { name: a, route: refuse, when: { engine.queue: { gt: 3 } } }\n"
             "  - { name: b, route: local, when: { engine.queue: { gt: 4 } } }\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        rt_policy_free(compiled(good[i]));
}

static void what_is_odd_is_warned_of(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line, col;
        const char *says;
    } t[] = {
        {TOP("classes: { a: [prompt] }\n"), 4, 12, "but no rule lets it"},
        {TOP("classes: { a: [{ mode: prompt, where: mars }] }\n"), 4, 39, "no target is in 'mars'"},
        {TOP("budgets: { data: { unit: bytes, limit: 1, per: day } }\n"), 4, 12, "limits nothing"},
        {TOP("consents: { c: { lapses: trip } }\n"), 4, 13, "limits nothing"},
        {HEAD CLOUD
         "rules:\n"
         "  - { name: a, route: local, final: true, when: { vehicle.guest_mode: true } }\n"
         "  - { name: b, route: prompt, target: cloud, when: { data.class: { only: "
         "[public.a] } } }\n",
         5, 71, "guards only while vehicle.guest_mode is known, and 'b' in line 6"},
        {HEAD CLOUD "rules:\n"
                    "  - { name: a, route: local, when: { data.class: { any: [public.*] } } }\n"
                    "  - { name: b, route: prompt, target: cloud, when: { data.class: { only: "
                    "[public.a] }, link.state: up } }\n",
         6, 5, "never match"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        struct rt_policy *p = NULL;
        int err = rt_policy_compile(&p, t[i].text, strlen(t[i].text), &diags);
        bool dead = strcmp(t[i].says, "never match") == 0;
        if (!found("", !dead, t[i].line, t[i].col, t[i].says))
            show_diags();
        assert_true(found("", !dead, t[i].line, t[i].col, t[i].says));
        assert_int_equal(err, dead ? BASE_EFORMAT : 0);
        rt_policy_free(p);
    }
}

/* ---- what a policy tells ---- */

static void declarations_are_told(void **state)
{
    (void)state;
    struct rt_policy *p = compiled(
        HEAD
        "targets:\n"
        "  cloud: { modes: [prompt], where: eu, identity: \"CN=cloud\", price: { in: 0.5, "
        "out: 1.5 } }\n"
        "callers:\n"
        "  nav: { match: { socket: main, uid: 1001, key_sha256: "
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f }, labels: "
        "[public.navigation, public.media.*], seat: driver, priority: 7, quota: { requests: 5, "
        "bytes: 6, per: hour } }\n"
        "  app: { match: { uid: 0 } }\n"
        "budgets: { roam: { unit: money, limit: 2.5, per: [sim, month], targets: [cloud] } }\n"
        "consents: { c: { lapses: trip, ask: \"May it?\" } }\n"
        "signals: { Vehicle.Speed: { type: number, unit: km/h, max_age_ms: 500 }, "
        "vehicle.moving: { max_age_ms: 100 } }\n"
        "share: { edge: 0.7, over: 50, moves: [{ rule: r, fact: confidence, min: 0.2, max: "
        "0.9 }] }\n"
        "rules:\n  - { name: r, route: prompt, target: cloud, when: { data.class: { only: "
        "[public.a] }, confidence: { lt: 0.5 }, budget.roam.left: { gt: 0 }, consent.c: true, "
        "Vehicle.Speed: { lt: 30 } } }\n");
    const struct rt_target_decl *t = rt_policy_target(p, 0);
    assert_true(t->prompt && !t->hidden && t->have_price);
    assert_string_equal(t->where, "eu");
    assert_string_equal(t->identity, "CN=cloud");
    assert_true(t->price_in > 0.49 && t->price_out > 1.49);
    assert_int_equal(rt_policy_n_caller(p), 2);
    const struct rt_caller_decl *c = rt_policy_caller(p, 0);
    assert_string_equal(c->name, "nav");
    assert_string_equal(c->socket, "main");
    assert_int_equal(c->uid, 1001);
    assert_int_equal(strlen(c->key_sha256), 64);
    assert_int_equal(c->n_label, 2);
    assert_string_equal(c->label[1], "public.media.*");
    assert_string_equal(c->seat, "driver");
    assert_true(c->priority == 7 && c->quota_requests == 5 && c->quota_bytes == 6);
    assert_int_equal(c->quota_s, 3600);
    c = rt_policy_caller(p, 1);
    assert_true(c->uid == 0 && c->socket == NULL && c->key_sha256 == NULL && c->seat == NULL);
    assert_true(c->quota_requests == -1 && c->quota_bytes == -1 && c->n_label == 0);
    assert_int_equal(rt_policy_n_budget(p), 1);
    const struct rt_budget_decl *b = rt_policy_budget(p, 0);
    assert_true(b->unit == RT_MONEY && b->period == RT_MONTH && b->scope == RT_SIM);
    assert_true(b->targets == 1 && b->limit > 2.4);
    assert_string_equal(b->fact, "budget.roam.left");
    assert_int_equal(rt_policy_n_consent(p), 1);
    assert_string_equal(rt_policy_consent(p, 0)->ask, "May it?");
    assert_string_equal(rt_policy_consent(p, 0)->fact, "consent.c");
    assert_int_equal(rt_policy_consent(p, 0)->lapses, RT_TRIP);
    assert_int_equal(rt_policy_n_signal(p), 1);
    assert_string_equal(rt_policy_signal(p, 0)->name, "Vehicle.Speed");
    assert_int_equal(rt_policy_signal(p, 0)->max_age_ms, 500);
    const struct rt_share_decl *s = rt_policy_share(p);
    assert_true(s->edge > 0.69 && s->over == 50 && s->n_move == 1);
    assert_true(s->move[0].opens && s->move[0].value > 0.49 && s->move[0].value < 0.51);
    assert_string_equal(s->move[0].fact, "share.r");
    assert_int_equal(rt_policy_n_own(p), 4);
    int used = 0;
    for (int i = 0; i < rt_policy_n_own(p); i++)
        used += rt_policy_uses_own(p, i);
    assert_int_equal(used, 3);
    assert_string_equal(rt_policy_own(p, 0)->name, "budget.roam.left");
    rt_policy_free(p);
    assert_true(rt_policy_share(rt_policy_none())->edge < 0);
    assert_int_equal(rt_policy_n_class(rt_policy_none()), 0);
}

/* ---- facts of the policy's own, ages, moved thresholds ---- */

static struct rt_named named(const char *name, enum rt_fact_type type, double v)
{
    struct rt_named n = {.name = name, .type = type, .v.have = true};
    if (type == RT_FACT_BOOL)
        n.v.b = v > 0;
    else if (type == RT_FACT_INT)
        n.v.i = (int64_t)v;
    else
        n.v.r = v;
    return n;
}

static void own_facts_come_by_name(void **state)
{
    (void)state;
    struct rt_policy *p = compiled(
        HEAD "signals: { Vehicle.Speed: { type: number, max_age_ms: 100 }, Vehicle.Gear: { type: "
             "text } }\n"
             "rules:\n  - { name: fast, route: refuse, when: { Vehicle.Speed: { gt: 30 } } }\n"
             "  - { name: park, route: refuse, when: { Vehicle.Gear: P } }\n");
    struct rt_named n[2] = {named("Vehicle.Speed", RT_FACT_REAL, 31)};
    struct rt_facts f = {.named = n, .n_named = 1};
    decides(p, &f, "fast");
    n[0].v.age_ms = 100;
    decides(p, &f, "fast");
    n[0].v.age_ms = 101;
    decides(p, &f, "default");
    n[0].v.age_ms = -1;
    decides(p, &f, "default");
    n[0] = named("Vehicle.Speed", RT_FACT_INT, 31);
    decides(p, &f, "fast");
    n[0] = named("Vehicle.Speed", RT_FACT_REAL, (double)__builtin_nanf(""));
    decides(p, &f, "default");
    n[0] = named("Vehicle.Speed", RT_FACT_BOOL, 1);
    decides(p, &f, "default");
    n[0] = named("Vehicle.Spee", RT_FACT_REAL, 31);
    decides(p, &f, "default");
    n[0] = named("P", RT_FACT_REAL, 31); /* a string of the policy, but no fact */
    decides(p, &f, "default");
    n[0] = named(NULL, RT_FACT_REAL, 31);
    decides(p, &f, "default");
    n[0] = named("Vehicle.Speed", RT_FACT_REAL, 31);
    n[1] = named("Vehicle.Speed", RT_FACT_BOOL, 1); /* the last one holds */
    f.n_named = 2;
    decides(p, &f, "default");
    n[1] = (struct rt_named){
        .name = "Vehicle.Gear", .type = RT_FACT_STR, .v = {.have = true, .s = "P"}};
    n[0].v.r = 3;
    decides(p, &f, "park");
    struct base_buf out;
    base_buf_init(&out, 1 << 16);
    n[0].v.age_ms = 500;
    assert_int_equal(rt_explain(p, &f, false, &out), 0);
    assert_non_null(strstr(base_buf_cstr(&out), "Vehicle.Speed is not known (500 ms old)"));
    base_buf_fini(&out);
    rt_policy_free(p);
}

static void stale_facts_are_not_known(void **state)
{
    (void)state;
    static const char rules[] = "rules: [{ name: still, route: refuse, when: { vehicle.moving: "
                                "false } }]\n";
    char text[400];
    struct rt_facts f = {0};
    f.v[RT_F_VEHICLE_MOVING] = (struct rt_value){.have = true, .age_ms = 2000};
    snprintf(text, sizeof text, HEAD "%s", rules);
    struct rt_policy *p = compiled(text);
    decides(p, &f, "still");
    f.v[RT_F_VEHICLE_MOVING].age_ms = 2001;
    decides(p, &f, "default");
    rt_policy_free(p);
    snprintf(text, sizeof text, HEAD "signals: { vehicle.moving: { max_age_ms: 5000 } }\n%s",
             rules);
    p = compiled(text);
    decides(p, &f, "still");
    rt_policy_free(p);
}

static void the_share_moves_thresholds_within_limits(void **state)
{
    (void)state;
    struct rt_policy *p = compiled(
        HEAD "share: { edge: 0.7, moves: [{ rule: a, fact: confidence, min: 0.2, max: 0.8 }, { "
             "rule: b, fact: engine.queue, min: 1, max: 8 }] }\n"
             "rules:\n  - { name: a, route: refuse, when: { confidence: { lt: 0.5 } } }\n"
             "  - { name: b, route: refuse, when: { engine.queue: { ge: 4 } } }\n");
    struct rt_named n[2] = {named("share.a", RT_FACT_REAL, 0.7)};
    struct rt_facts f = {0};
    f.v[RT_F_CONFIDENCE] = (struct rt_value){.have = true, .r = 0.6};
    decides(p, &f, "default");
    f.named = n;
    f.n_named = 1;
    decides(p, &f, "a");
    f.v[RT_F_CONFIDENCE].r = 0.85;
    n[0] = named("share.a", RT_FACT_REAL, 0.95); /* past its limit */
    decides(p, &f, "default");
    f.v[RT_F_CONFIDENCE].r = 0.15;
    n[0] = named("share.a", RT_FACT_REAL, -7);
    decides(p, &f, "a");
    f.v[RT_F_CONFIDENCE].have = false;
    f.v[RT_F_ENGINE_QUEUE] = (struct rt_value){.have = true, .i = 3};
    decides(p, &f, "default");
    n[1] = named("share.b", RT_FACT_REAL, 2.5);
    f.n_named = 2;
    decides(p, &f, "b");
    rt_policy_free(p);
}

static void sets_of_classes_beside_data_class(void **state)
{
    (void)state;
    struct rt_policy *p = compiled(
        HEAD "rules:\n  - { name: a, route: refuse, when: { data.history: { any: [x.*] } } }\n"
             "  - { name: b, route: refuse, when: { history.released: { only: [z] } } }\n");
    static const char *const x[] = {"w", "x.q", NULL}, *const y[] = {"z", NULL},
                             *const no[] = {NULL};
    const char *many[RT_MAX_CLASS + 2] = {NULL};
    struct rt_facts f = {0};
    decides(p, &f, "default");
    f.v[RT_F_DATA_HISTORY] = (struct rt_value){.have = true, .list = x};
    decides(p, &f, "a");
    f.v[RT_F_DATA_HISTORY].list = NULL;
    decides(p, &f, "default");
    f.v[RT_F_HISTORY_RELEASED] = (struct rt_value){.have = true, .list = y};
    decides(p, &f, "b");
    f.v[RT_F_HISTORY_RELEASED].list = no; /* nothing else than z has left */
    decides(p, &f, "b");
    for (int i = 0; i <= RT_MAX_CLASS; i++)
        many[i] = "z";
    f.v[RT_F_HISTORY_RELEASED].list = many;
    decides(p, &f, "default");
    struct base_buf out;
    base_buf_init(&out, 1 << 16);
    f.v[RT_F_HISTORY_RELEASED].list = x;
    assert_int_equal(rt_explain(p, &f, false, &out), 0);
    assert_non_null(strstr(base_buf_cstr(&out), "history.released is [w, x.q]"));
    base_buf_fini(&out);
    rt_policy_free(p);
}

/* ---- reach ---- */

static void reach_is_a_table(void **state)
{
    (void)state;
    struct rt_policy *p =
        compiled(HEAD CLOUD "classes: { a: [{ mode: prompt, where: eu }, hidden] }\nrules:\n"
                            "  - { name: r, route: prompt, target: eu, when: { data.class: { only: "
                            "[a.b] }, link.state: up } }\n");
    struct base_buf out;
    base_buf_init(&out, 1 << 16);
    assert_int_equal(rt_policy_reach(p, false, &out), 0);
    const char *s = base_buf_cstr(&out);
    assert_non_null(strstr(s, "| `cabin` | nothing | nothing |\n"));
    assert_non_null(strstr(s, "| `a` | prompt to eu, hidden to cloud | nothing |\n"));
    assert_non_null(strstr(s, "| `a.b` | prompt to eu, hidden to cloud | prompt to eu |\n"));
    assert_non_null(strstr(s, "| `a.b.*` | prompt to eu, hidden to cloud | nothing |\n"));
    base_buf_reset(&out);
    assert_int_equal(rt_policy_reach(p, true, &out), 0);
    s = base_buf_cstr(&out);
    assert_non_null(strstr(s,
                           "{\"class\":\"a.b\",\"below\":false,\"permits\":[{\"mode\":\"prompt\","
                           "\"target\":\"eu\"},{\"mode\":\"hidden\",\"target\":\"cloud\"}],"
                           "\"reach\":[{\"mode\":\"prompt\",\"target\":\"eu\"}]}"));
    base_buf_fini(&out);
    base_buf_init(&out, 50);
    assert_int_equal(rt_policy_reach(p, true, &out), BASE_ELIMIT);
    base_buf_fini(&out);
    bool seen = false;
    for (int i = 0; i < rt_policy_n_class(p); i++) {
        const struct rt_class_decl *c = rt_policy_class(p, i);
        if (strcmp(c->name, "a.b") != 0 || c->below)
            continue;
        seen = true;
        assert_true(!c->declared && c->reach.prompt == 2 && c->reach.hidden == 0);
        assert_true(c->permits.prompt == 2 && c->permits.hidden == 1);
    }
    assert_true(seen);
    static const struct {
        const char *cls;
        uint64_t prompt;
    } t[] = {{"a", 2},     {"a.b", 2},    {"a.b.c", 2},       {"a.x.y.z.a.b.c.d.e", 2}, {"ab", 0},
             {"cabin", 0}, {"public", 3}, {"public.x", 3},    {"publicity", 0},         {"", 0},
             {".", 0},     {"a.", 2},     {"cabin.speech", 0}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        assert_int_equal(rt_policy_permits(p, t[i].cls).prompt, t[i].prompt);
    char longer[200] = "a.";
    memset(longer + 2, 'x', 150);
    assert_int_equal(rt_policy_permits(p, longer).prompt, 2);
    assert_int_equal(rt_policy_permits(rt_policy_none(), "public").prompt, 0);
    rt_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_found_where_they_are),
        cmocka_unit_test(what_is_right_is_taken),
        cmocka_unit_test(what_is_odd_is_warned_of),
        cmocka_unit_test(declarations_are_told),
        cmocka_unit_test(own_facts_come_by_name),
        cmocka_unit_test(stale_facts_are_not_known),
        cmocka_unit_test(the_share_moves_thresholds_within_limits),
        cmocka_unit_test(sets_of_classes_beside_data_class),
        cmocka_unit_test(reach_is_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
