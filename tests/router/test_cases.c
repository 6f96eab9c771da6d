/* Runs the case files: policies/NAME.cases and tests/router/cases/NAME.cases, each against the
 * policy beside it. A case is three lines (rule, facts, what is decided) and an empty one; #
 * comments. Facts are NAME=VALUE; link.state@TARGET and the like speak of one target. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/router.h"

struct reading {
    struct rt_facts f;
    struct rt_target_link link[RT_MAX_TARGET];
};

static struct rt_target_link *link_named(struct reading *r, const char *target)
{
    for (int i = 0; i < r->f.n_link; i++) {
        if (strcmp(r->link[i].target, target) == 0)
            return &r->link[i];
    }
    r->f.link = r->link;
    r->link[r->f.n_link] = (struct rt_target_link){.target = target};
    return &r->link[r->f.n_link++];
}

/* word is cut in place and kept by the facts. */
static bool take(struct reading *r, char *word)
{
    char *val = strchr(word, '='), *target = strchr(word, '@');
    if (val == NULL)
        return false;
    *val++ = '\0';
    if (target != NULL)
        *target++ = '\0';
    int id = rt_fact_find(word);
    if (id < 0)
        return false;
    if (target != NULL && !rt_fact_is_targets(id))
        return false;
    struct rt_value *v =
        target != NULL ? rt_link(link_named(r, target), (enum rt_fact_id)id) : &r->f.v[id];
    v->have = true;
    switch (rt_fact_info[id].type) {
    case RT_FACT_BOOL:
        v->b = strcmp(val, "true") == 0;
        return v->b || strcmp(val, "false") == 0;
    case RT_FACT_INT:
        v->i = strtoll(val, &val, 10);
        return *val == '\0';
    case RT_FACT_REAL:
        v->r = strtod(val, &val);
        return *val == '\0';
    case RT_FACT_STR:
        v->s = val;
        return true;
    case RT_FACT_CLASSES:
        if (id != RT_F_DATA_CLASS)
            return false;
        for (char *save, *c = strtok_r(val, ",", &save); c; c = strtok_r(NULL, ",", &save))
            r->f.cls[r->f.n_cls++] = c;
        return true;
    }
    return false;
}

static void print_decision(const struct rt_decision *d, char *out, size_t size)
{
    static const char *const dtype[] = {"f32", "f16", "i8"};
    int n = snprintf(out, size, "%s", rt_mode_str(d->route.mode));
    if (d->route.target != NULL)
        n += snprintf(out + n, size - (size_t)n, " %s", d->route.target);
    if (d->route.mode == RT_HIDDEN)
        n += snprintf(out + n, size - (size_t)n, " layer %d tail %s %s", d->route.layer,
                      d->route.tail == RT_TAIL_CLOUD ? "cloud" : "edge", dtype[d->route.dtype]);
    if (d->route.target != NULL)
        snprintf(out + n, size - (size_t)n, " else %s", rt_mode_str(d->fallback.mode));
}

static int n_test;

static void report(bool ok, const char *file, int line, const char *note)
{
    n_test++;
    printf("%s %d - %s:%d%s%s\n", ok ? "ok" : "not ok", n_test, file, line, ok ? "" : " # ",
           ok ? "" : note);
}

static void run_case(const struct rt_policy *p, const char *file, int line, const char *rule,
                     char *facts, const char *want)
{
    struct reading r = {0};
    struct rt_decision d;
    char got[200], note[400];

    if (strcmp(facts, "(none)") != 0) {
        for (char *save, *w = strtok_r(facts, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
            if (!take(&r, w)) {
                report(false, file, line, "a fact can't be read");
                return;
            }
        }
    }
    rt_decide(p, &r.f, &d);
    print_decision(&d, got, sizeof got);
    snprintf(note, sizeof note, "decided %s by %s", got, d.rule);
    report(strcmp(d.rule, rule) == 0 && strcmp(got, want) == 0, file, line, note);
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

static void run_cases(const struct rt_policy *p, const char *name, char *text)
{
    char *at[3];
    int n = 0, line = 0, first = 0;

    for (char *s = text, *next; s != NULL; s = next) {
        line++;
        next = strchr(s, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (s[0] == '#' || s[0] == '\0') {
            if (n != 0)
                report(false, name, line, "a case has three lines");
            n = 0;
            continue;
        }
        if (n == 0)
            first = line;
        at[n++] = s;
        if (n == 3) {
            run_case(p, name, first, at[0], at[1], at[2]);
            n = 0;
        }
    }
    if (n != 0)
        report(false, name, line, "a case has three lines");
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
    run_policy("policies", "default");
    run_policy("policies", "demo");
    run_policy("tests/router/cases", "links");
    printf("1..%d\n", n_test);
    return 0;
}
