/* Runs the case files: policies/NAME.cases and tests/router/cases/NAME.cases, each against the
 * policy beside it. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/cases.h"

static int n_test;

static void report(bool ok, const char *file, int line, const char *note)
{
    n_test++;
    printf("%s %d - %s:%d%s%s\n", ok ? "ok" : "not ok", n_test, file, line, ok ? "" : " # ",
           ok ? "" : note);
}

static bool same(const char *have, const char *s, size_t n)
{
    return strlen(have) == n && memcmp(have, s, n) == 0;
}

static void run_case(const struct rt_policy *p, const char *file, const struct rt_case *c)
{
    static struct rt_given g;
    struct base_err err = {0};
    struct rt_decision d;
    char got[RT_DECISION_BYTES], note[2 * RT_DECISION_BYTES];

    rt_given_init(&g, p, 1 << 16);
    int rc = rt_given_line(&g, c->facts, c->facts_bytes, &err);
    if (rc != 0) {
        report(false, file, c->line, err.msg);
    } else {
        rt_decide(p, &g.f, &d);
        snprintf(note, sizeof note, "decided %s by %s", rt_decision_text(&d, got), d.rule);
        report(same(d.rule, c->rule, c->rule_bytes) && same(got, c->want, c->want_bytes), file,
               c->line, note);
    }
    rt_given_fini(&g);
}

static char *slurp(const char *path)
{
    char *text = calloc(1, 1 << 20);
    FILE *f = fopen(path, "rb");
    if (f == NULL || text == NULL || fread(text, 1, (1 << 20) - 1, f) == 0) {
        free(text);
        text = NULL;
    }
    if (f != NULL)
        fclose(f);
    return text;
}

static void run_cases(const struct rt_policy *p, const char *name, const char *text)
{
    struct rt_cases r = {.text = text, .len = strlen(text)};
    struct base_err err;
    struct rt_case c;

    for (int rc; (rc = rt_cases_next(&r, &c, &err)) != 0;) {
        if (rc > 0)
            run_case(p, name, &c);
        else
            report(false, name, c.line, err.msg);
    }
}

static void run_policy(const char *dir, const char *name)
{
    static struct rt_diags diags;
    const char *top = getenv("top_srcdir");
    char path[1024];
    struct rt_policy *p = NULL;

    snprintf(path, sizeof path, "%s/%s/%s.yaml", top != NULL ? top : ".", dir, name);
    char *text = slurp(path);
    int err = text != NULL ? rt_policy_compile(&p, text, strlen(text), &diags) : BASE_EIO;
    report(err == 0 && diags.n == 0, path, diags.n > 0 ? diags.at[0].line : 0,
           diags.n > 0 ? diags.at[0].msg : base_code_str(err));
    free(text);
    snprintf(path, sizeof path, "%s/%s/%s.cases", top != NULL ? top : ".", dir, name);
    text = slurp(path);
    int before = n_test;
    if (p != NULL && text != NULL)
        run_cases(p, name, text);
    if (n_test == before)
        report(false, path, 0, "no cases");
    free(text);
    rt_policy_free(p);
}

int main(void)
{
    static const char *const shipped[] = {"balanced", "china", "cost-capped",  "default",
                                          "demo",     "eu",    "offline-first"};
    for (size_t i = 0; i < sizeof shipped / sizeof shipped[0]; i++)
        run_policy("policies", shipped[i]);
    run_policy("tests/router/cases", "links");
    printf("1..%d\n", n_test);
    return 0;
}
