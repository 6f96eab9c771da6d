/* Limits of a policy's text: each hostile one ends soon, with an error that says which limit or mistake
 * it is and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "router/router.h"

#define HEAD "waypost_policy: 1\nversion: \"1\"\n"
#define ALL_OF_IT "{ name: a, when: { caller: b }, route: local }"

/* What the issue allows for each. Measured as processor time, the best of five; not in builds that are
 * slow on purpose. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && \
    !defined(WP_SLOW_BUILD)
enum { MOST_MS = 50 };
#else
enum { MOST_MS = 2000 };
#endif

static struct rt_diags diags;

static const struct hostile {
    const char *name, *head, *piece;
    size_t n;
    const char *tail;
    int line, col;
    const char *says;
} hostile[] = {
    {"10 MB of one line", "", "x", 10000000, "", 1, RT_MAX_TEXT_BYTES + 1, "2097152 bytes (2 MiB)"},
    {"10 MB of lines", HEAD, "# x\n", 2500000, "", 524283, 2, "2097152 bytes (2 MiB)"},
    {"10 MB of characters", HEAD, "# \xE4\xBD\xA0\n", 1700000, "", 349523, 2, "2097152 bytes"},
    {"100,000 rules", HEAD "rules:\n", "- name: a\n  route: local\n", 100000, "", 16388, 1,
     "8192 rules"},
    {"100,000 rules, indented", HEAD "rules:  # all\n\n", "  # x\n  - " ALL_OF_IT "\r\n", 100000, "",
     16390, 3, "8192 rules"},
    {"100,000 rules, one a word", HEAD "rules:\n", "-\n", 100000, "", 8196, 1, "8192 rules"},
    {"rules in brackets", HEAD "rules: [", "{name: a, route: local},", 80000, "]", 3,
     9 + 24 * RT_MAX_RULE, "8192 rules"},
    {"a long list", HEAD "x: [", "a,", 100000, "]", 3, 5 + 2 * RT_MAX_RULE, "8192 entries in one list"},
    {"a long list in lines", HEAD "x:\n", "- a\n", 100000, "", 8196, 3, "8192 entries in one list"},
    {"a list below rules", HEAD "rules:\n- ", "- a\n  ", 100000, "", 8196, 5, "8192 entries in one list"},
    {"200 kB of [", "", "[", 200000, "", 1, 17, "16 levels"},
    {"200 kB of [ below a key", HEAD "rules: ", "[", 200000, "", 3, 23, "16 levels"},
    {"200 kB of {", "", "{a: ", 50000, "", 1, 65, "16 levels"},
    {"200 kB of dashes", "", "- ", 100000, "", 1, 33, "16 levels"},
    {"an alias", HEAD "rules: [", "*a, ", 1, "]\n", 3, 9, "aliases"},
    {"many anchors", HEAD, "b: &b [*a, *a, *a]\n", 20000, "", 3, 4, "anchors"},
    {"a late alias", HEAD, "# x\n", 400000, "rules: [*a]\n", 400003, 9, "aliases"},
    {"a byte order mark", "\xEF\xBB\xBF", HEAD, 1, "rules: []\n", 1, 1, "byte order mark"},
    {"a tab", HEAD "rules:\n", "\t- name: a\n", 1, "", 4, 1, "a tab"},
    {"a late tab", HEAD "rules:\n", "# x\n", 500000, "\t- name: a\n", 500004, 1, "a tab"},
    {"a duplicate key", HEAD, "rules: []\n", 2, "", 4, 1, "duplicate key 'rules', first in line 3"},
    {"a late duplicate key", HEAD "rules:\n", "  - " ALL_OF_IT "\n", 8000, "  - { name: a, name: a }\n",
     8004, 16, "duplicate key 'name'"},
    {"many duplicate keys", HEAD "rules:\n", "  - { name: a, name: a }\n", 8000, "", 4, 16,
     "duplicate key 'name'"},
    {"many keys", HEAD "classes: {", "a: none, ", 100000, "}", 3, 20, "duplicate key 'a'"},
    {"bad UTF-8", HEAD "rules: [", "\xFF", 1, "]\n", 3, 9, "not UTF-8"},
    {"late bad UTF-8", HEAD, "# \xE5\xA5\xBD\n", 300000, "\xC0\xAF", 300003, 1, "not UTF-8"},
    {"a text without end", "a: \"", "x", 2000000, "", 1, 2000005, "not valid YAML"},
    {"blanks", "", " ", 2000000, "x", 1, 2000001, "a policy is a mapping"},
    {"mistakes only", HEAD "rules:\n", "  - { nmae: a, rote: local }\n", 8000, "", 4, 5, "needs a name"},
};

static char *repeat(const struct hostile *h, size_t *len)
{
    size_t head = strlen(h->head), piece = strlen(h->piece);
    *len = head + h->n * piece + strlen(h->tail);
    char *t = malloc(*len + 1);
    assert_non_null(t);
    memcpy(t, h->head, head);
    for (size_t i = 0; i < h->n; i++)
        memcpy(t + head + i * piece, h->piece, piece);
    strcpy(t + head + h->n * piece, h->tail);
    return t;
}

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int never(void *ctx, const char *name)
{
    (void)ctx;
    fail_msg("includes %s", name);
    return 1;
}

/* As a program reads it: what does it include, and what is it. */
static double look(const char *text, size_t len)
{
    double start = cpu_ms();
    struct rt_policy *p = NULL;
    assert_int_equal(rt_policy_includes(text, len, never, NULL), 0);
    int err = rt_policy_compile(&p, text, len, &diags);
    double took = cpu_ms() - start;
    assert_true(err == BASE_EFORMAT || err == BASE_ELIMIT);
    assert_null(p);
    return took;
}

static void each_ends_soon_and_is_located(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        const struct hostile *h = &hostile[i];
        size_t len;
        char *text = repeat(h, &len);
        double best = look(text, len);
        for (int k = 0; k < 4 && best > MOST_MS / 4.0; k++) {
            double again = look(text, len);
            best = again < best ? again : best;
        }
        const struct rt_diag *d = &diags.at[0];
        bool fine = diags.n_error > 0 && d->line == h->line && d->col == h->col &&
                    strstr(d->msg, h->says) != NULL && best < MOST_MS;
        wrong += !fine;
        print_message("%s %-26s %5.1f ms %d:%d %.60s\n", fine ? "#" : "# WRONG", h->name, best, d->line,
                      d->col, d->msg);
        free(text);
    }
    assert_int_equal(wrong, 0);
}

/* Just within them is no error of this kind. */
static void the_limits_themselves_are_allowed(void **state)
{
    (void)state;
    char *text = malloc(RT_MAX_TEXT_BYTES + 2);
    struct rt_policy *p;
    assert_non_null(text);
    size_t n = (size_t)sprintf(text, HEAD "rules:\n");
    for (int i = 0; i < RT_MAX_RULE; i++)
        n += (size_t)sprintf(text + n, " - { name: r%d, when: { caller: \"%d\" }, route: local }\n", i, i);
    memset(text + n, '#', RT_MAX_TEXT_BYTES + 1 - n);
    assert_int_equal(rt_policy_compile(&p, text, RT_MAX_TEXT_BYTES, &diags), 0);
    assert_int_equal(rt_policy_n_rule(p), RT_MAX_RULE);
    rt_policy_free(p);
    assert_int_equal(rt_policy_compile(&p, text, RT_MAX_TEXT_BYTES + 1, &diags), BASE_ELIMIT);
    assert_non_null(strstr(diags.at[0].msg, "2097152 bytes"));
    assert_int_equal(diags.at[0].line, RT_MAX_RULE + 4);
    free(text);
}

/* Bytes and rules are counted over all files. */
static void files_count_together(void **state)
{
    (void)state;
    static const char top[] = HEAD "include: [base.yaml]\nrules: [{ name: one, route: refuse }]\n";
    char *text = malloc(RT_MAX_TEXT_BYTES);
    struct rt_policy *p;
    assert_non_null(text);
    size_t n = (size_t)sprintf(text, HEAD "rules:\n");
    for (int i = 0; i < RT_MAX_RULE; i++)
        n += (size_t)sprintf(text + n, " - { name: r%d, when: { caller: \"%d\" }, route: local }\n", i, i);
    struct rt_source src[] = {{"top.yaml", top, strlen(top)}, {"base.yaml", text, n}};
    assert_int_equal(rt_policy_compile_sources(&p, src, 2, &diags), BASE_EFORMAT);
    assert_string_equal(diags.at[0].file, "top.yaml"); /* its rules come later */
    assert_int_equal(diags.at[0].line, 4);
    assert_int_equal(diags.at[0].col, 9);
    assert_non_null(strstr(diags.at[0].msg, "8192 rules in one policy, all its files"));
    memset(text + n, '#', RT_MAX_TEXT_BYTES - n);
    src[1].len = RT_MAX_TEXT_BYTES;
    assert_int_equal(rt_policy_compile_sources(&p, src, 2, &diags), BASE_ELIMIT);
    assert_string_equal(diags.at[0].file, "base.yaml");
    assert_int_equal(diags.at[0].line, RT_MAX_RULE + 4);
    assert_non_null(strstr(diags.at[0].msg, "all its files together"));
    free(text);
}

static int count(void *ctx, const char *name)
{
    ++*(int *)ctx;
    assert_string_equal(name, "a.yaml");
    return 0;
}

/* The quick look for the word is not fooled by how it is written. */
static void includes_are_found_however_written(void **state)
{
    (void)state;
    static const char *const text[] = {"{ include: [a.yaml] }", "\"inc\\x6cude\": [a.yaml]\n",
                                       "\"incl\\\nude\": [a.yaml]\n", "'include': [a.yaml]\n"};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++) {
        int n = 0;
        assert_int_equal(rt_policy_includes(text[i], strlen(text[i]), count, &n), 0);
        if (i != 2) /* a key on two lines is none */
            assert_int_equal(n, 1);
    }
    int n = 0;
    assert_int_equal(rt_policy_includes("a: b\n", 5, count, &n), 0);
    assert_int_equal(n, 0);
}

static void places_count_characters(void **state)
{
    (void)state;
    static const char text[] = "a\n\xE4\xBD\xA0z\n";
    static const struct {
        size_t at;
        int line, col;
    } t[] = {{0, 1, 1}, {1, 1, 2}, {2, 2, 1}, {5, 2, 2}, {6, 2, 3}, {7, 3, 1}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        int line, col;
        rt_text_place(text, t[i].at, &line, &col);
        assert_int_equal(line, t[i].line);
        assert_int_equal(col, t[i].col);
    }
}

/* ---- how many of each kind ---- */

static void each_kind_has_its_limit(void **state)
{
    (void)state;
    static const struct {
        const char *head, *before, *after, *tail;
        int n;
        const char *says;
    } t[] = {
        {"targets: {", "t", ": { modes: [prompt] }, ", "}\n", RT_MAX_TARGET,
         "more than 64 targets"},
        {"callers: {", "c", ": { match: { uid: 1 } }, ", "}\n", RT_MAX_CALLER,
         "more than 64 callers"},
        {"budgets: {", "b", ": { unit: bytes, limit: 1, per: day }, ", "}\n", RT_MAX_BUDGET,
         "more than 32 budgets"},
        {"consents: {", "c", ": { lapses: trip }, ", "}\n", RT_MAX_CONSENT,
         "more than 32 consents"},
        {"signals: {", "Vehicle.S", ": { type: number }, ", "}\n", RT_MAX_SIGNAL,
         "more than 64 signals"},
        {"share: { edge: 1, moves: [", "{ rule: r", ", fact: confidence, min: 0, max: 1 }, ",
         "] }\n", RT_MAX_MOVE, "more than 16 moves"},
    };
    char *text = malloc(1 << 16);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        for (int more = 0; more < 2; more++) {
            struct rt_policy *p = NULL;
            int n = sprintf(text, "%s%s", HEAD, t[i].head);
            for (int k = 0; k < t[i].n + more; k++)
                n += sprintf(text + n, "%s%d%s", t[i].before, k, t[i].after);
            n += sprintf(text + n, "%srules:\n", t[i].tail);
            for (int k = 0; k < RT_MAX_MOVE; k++)
                n += sprintf(text + n,
                             "  - { name: r%d, route: local, when: { confidence: { lt: 0.5 }, "
                             "caller: c%d } }\n",
                             k, k);
            int err = rt_policy_compile(&p, text, (size_t)n, &diags);
            if ((err == 0) != (more == 0))
                print_message("# %s\n", diags.at[0].msg);
            assert_int_equal(err, more == 0 ? 0 : BASE_EFORMAT);
            assert_true(more == 0 || strstr(diags.at[0].msg, t[i].says) != NULL);
            rt_policy_free(p);
        }
    }
    free(text);
}

/* Class names that rules invent are counted too. */
static void classes_have_a_limit(void **state)
{
    (void)state;
    char *text = malloc(1 << 20);
    struct rt_policy *p = NULL;
    assert_non_null(text);
    int n = sprintf(text, "%srules:\n", HEAD);
    for (int k = 0; k < 40; k++) {
        n += sprintf(text + n, "  - { name: r%d, route: local, when: { data.class: { any: [", k);
        for (int i = 0; i < 128; i++)
            n += sprintf(text + n, "c%d, ", k * 128 + i);
        n += sprintf(text + n, "] } } }\n");
    }
    assert_int_equal(rt_policy_compile(&p, text, (size_t)n, &diags), BASE_ELIMIT);
    assert_non_null(strstr(diags.at[0].msg, "more than 4096"));
    assert_true(diags.at[0].line > 30);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_ends_soon_and_is_located),
        cmocka_unit_test(the_limits_themselves_are_allowed),
        cmocka_unit_test(files_count_together),
        cmocka_unit_test(includes_are_found_however_written),
        cmocka_unit_test(places_count_characters),
        cmocka_unit_test(each_kind_has_its_limit),
        cmocka_unit_test(classes_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
