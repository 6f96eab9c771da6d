/* policy test: case files against a policy, and what they have not seen of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/policy.h"
#include "router/cover.h"

enum { CASES_BYTES = 16 << 20, FACTS_BYTES = 1 << 16, OUT_BYTES = 64 << 20 };

struct run {
    const char *path; /* of the policy */
    const struct rt_policy *p;
    struct rt_cover *cover;
    struct rt_given g;
    int n_case, n_fail;
    bool json, colour;
    struct base_buf out; /* text for people */
    json_t *cases;
};

static const char *paint(const struct run *r, const char *code)
{
    return r->colour ? code : "";
}
#define RED(r) paint(r, "\033[31m")
#define GREEN(r) paint(r, "\033[32m")
#define YELLOW(r) paint(r, "\033[33m")
#define BOLD(r) paint(r, "\033[1m")
#define PLAIN(r) paint(r, "\033[0m")

static bool same(const char *have, const char *s, size_t n)
{
    return strlen(have) == n && memcmp(have, s, n) == 0;
}

static int rule_named(const struct rt_policy *p, const char *s, size_t n)
{
    for (int i = 0; i < rt_policy_n_rule(p); i++) {
        if (same(rt_policy_rule_name(p, i), s, n))
            return i;
    }
    return -1;
}

static const char *tri_str(enum rt_tri t)
{
    return t == RT_YES ? "yes" : t == RT_NO ? "no" : "cannot tell";
}

/* Why it came otherwise: what the wanted rule answered, if it was asked, else what the rule before
 * it did. */
static void put_why(const struct run *r, const struct rt_case *c, const struct rt_decision *d,
                    struct base_buf *out)
{
    int want = rule_named(r->p, c->rule, c->rule_bytes);
    bool known = want >= 0 || same("default", c->rule, c->rule_bytes) ||
                 same("caller-hint", c->rule, c->rule_bytes);
    enum rt_tri answer;

    if (!known) {
        base_buf_str(out, "the policy has no rule of that name");
    } else if (strcmp(d->rule, "caller-hint") == 0) {
        base_buf_str(out, "request.hint is local: no rule is asked");
    } else if (same(d->rule, c->rule, c->rule_bytes)) {
        base_buf_printf(out, "rule %s says so; the third line is another", d->rule);
    } else {
        int i = want >= 0 && (d->rule_index < 0 || want < d->rule_index) ? want : d->rule_index;
        struct base_buf reason;
        base_buf_init(&reason, OUT_BYTES);
        int err = rt_explain_rule(r->p, &r->g.f, i, &answer, &reason);
        base_buf_printf(out, "%s: %s: ", rt_policy_rule_name(r->p, i), tri_str(answer));
        base_buf_add(out, reason.data, reason.len);
        out->err = err != 0 ? err : out->err;
        base_buf_fini(&reason);
    }
}

static void text_failure(struct run *r, const char *file, const struct rt_case *c, const char *got,
                         const char *rule, const char *why)
{
    struct base_buf *o = &r->out;

    base_buf_printf(o, "%s%s:%d: fails%s\n  facts     ", RED(r), file, c->line, PLAIN(r));
    ctl_policy_safe(o, c->facts, c->facts_bytes);
    if (got != NULL) {
        base_buf_printf(o, "\n  expected  %s", BOLD(r));
        ctl_policy_safe(o, c->want, c->want_bytes);
        base_buf_printf(o, "%s   (rule ", PLAIN(r));
        ctl_policy_safe(o, c->rule, c->rule_bytes);
        base_buf_printf(o, ")\n  got       %s%s%s   (rule %s)", BOLD(r), got, PLAIN(r), rule);
    }
    base_buf_printf(o, "\n  why       ");
    ctl_policy_safe(o, why, strlen(why));
    base_buf_str(o, "\n");
}

static void put(json_t *o, const char *key, const char *s, size_t n)
{
    struct base_buf safe; /* bytes that are no UTF-8 would make it no JSON */
    base_buf_init(&safe, OUT_BYTES);
    ctl_policy_safe(&safe, s, n);
    json_t *v = safe.len > 0 ? json_stringn((const char *)safe.data, safe.len) : json_string("");
    json_object_set_new(o, key, v != NULL ? v : json_string("(not UTF-8)"));
    base_buf_fini(&safe);
}

static void json_case(struct run *r, const char *file, const struct rt_case *c, const char *got,
                      const char *rule, const char *why)
{
    json_t *o = json_pack("{s:i, s:b}", "line", c->line, "ok", why == NULL);
    put(o, "file", file, strlen(file));
    if (why != NULL) {
        put(o, "facts", c->facts != NULL ? c->facts : "", c->facts_bytes);
        put(o, "expected", c->want != NULL ? c->want : "", c->want_bytes);
        put(o, "expected_rule", c->rule != NULL ? c->rule : "", c->rule_bytes);
        put(o, "why", why, strlen(why));
    }
    if (got != NULL) {
        put(o, "got", got, strlen(got));
        put(o, "rule", rule, strlen(rule));
    }
    json_array_append_new(r->cases, o);
}

/* why NULL: passed. got NULL: it could not be run. */
static void report(struct run *r, const char *file, const struct rt_case *c, const char *got,
                   const char *rule, const char *why)
{
    r->n_case++;
    r->n_fail += why != NULL;
    if (r->json)
        json_case(r, file, c, got, rule, why);
    else if (why != NULL)
        text_failure(r, file, c, got, rule, why);
}

static int run_case(struct run *r, const char *file, const struct rt_case *c)
{
    struct base_err err = {0};
    struct rt_decision d;
    struct base_buf why;
    char got[RT_DECISION_BYTES];
    int rc = 0;

    rt_given_init(&r->g, r->p, FACTS_BYTES);
    base_buf_init(&why, OUT_BYTES);
    if (rt_given_line(&r->g, c->facts, c->facts_bytes, &err) != 0) {
        base_buf_printf(&why, "%s%s%s", err.place, err.place[0] != '\0' ? ": " : "", err.msg);
        report(r, file, c, NULL, NULL, base_buf_cstr(&why));
    } else {
        rt_cover_decide(r->cover, &r->g.f, &d);
        rt_decision_text(&d, got);
        bool ok = same(d.rule, c->rule, c->rule_bytes) && same(got, c->want, c->want_bytes);
        if (!ok)
            put_why(r, c, &d, &why);
        report(r, file, c, got, d.rule, ok ? NULL : base_buf_cstr(&why));
    }
    rc = why.err;
    base_buf_fini(&why);
    rt_given_fini(&r->g);
    return rc;
}

static int run_file(struct run *r, const char *file)
{
    size_t len = 0;
    char *text = ctl_slurp(file, CASES_BYTES, &len);
    struct base_err err = {0};
    struct rt_case c;
    int before = r->n_case, rc = text != NULL ? CTL_OK : CTL_FAIL;

    if (text == NULL)
        return rc;
    struct rt_cases cases = {.text = text, .len = len};
    for (int next; rc == CTL_OK && (next = rt_cases_next(&cases, &c, &err)) != 0;) {
        if (next < 0)
            report(r, file, &c, NULL, NULL, err.msg);
        else if (run_case(r, file, &c) != 0)
            rc = ctl_policy_fail(&(struct base_err){.msg = "out of memory"});
    }
    if (rc == CTL_OK && r->n_case == before) {
        fprintf(stderr, "waypostctl: %s: no cases\n", file);
        rc = CTL_FAIL;
    }
    free(text);
    return rc;
}

/* ---- what was not seen ---- */

struct tally {
    int rules, rules_seen, answers, answers_seen;
};

static void text_unseen(struct run *r, int line, int col, const char *rule, const char *what,
                        const char *never)
{
    base_buf_printf(&r->out, "  %s:%d:%d: %s%s%s: never %s%s%s\n", r->path, line, col, rule,
                    what[0] != '\0' ? ": " : "", what, YELLOW(r), never, PLAIN(r));
}

static void unseen(struct run *r, json_t *list, int line, int col, int rule, const char *what,
                   const char *never)
{
    const char *name = rule >= 0 ? rt_policy_rule_name(r->p, rule) : "default";
    if (r->json)
        json_array_append_new(list,
                              json_pack("{s:i, s:i, s:s, s:s, s:s}", "line", line, "column", col,
                                        "rule", name, "condition", what, "never", never));
    else
        text_unseen(r, line, col, name, what, never);
}

static void tally_tests(struct run *r, struct tally *t, json_t *list)
{
    for (int i = 0; i < rt_cover_n_test(r->cover); i++) {
        struct rt_cover_test c = rt_cover_test(r->cover, i);
        struct base_buf what;
        base_buf_init(&what, OUT_BYTES);
        if (rt_cover_test_text(r->cover, i, &what) != 0)
            r->out.err = what.err;
        for (int k = 0; k < (c.always_known ? 2 : 3); k++) {
            static const enum rt_tri order[] = {RT_YES, RT_NO, RT_CANNOT_TELL};
            t->answers++;
            t->answers_seen += c.seen[order[k]] > 0;
            if (c.seen[order[k]] == 0 && r->out.err == 0)
                unseen(r, list, c.line, c.col, c.rule, base_buf_cstr(&what), tri_str(order[k]));
        }
        base_buf_fini(&what);
    }
}

/* Rules that no case decided, answers that no test gave. */
static struct tally coverage(struct run *r, json_t *list)
{
    struct tally t = {0};

    for (int i = 0; i < rt_policy_n_rule(r->p); i++) {
        t.rules++;
        t.rules_seen += rt_cover_rule(r->cover, i) > 0;
        if (rt_cover_rule(r->cover, i) == 0)
            unseen(r, list, rt_policy_rule_line(r->p, i), 1, i, "", "decides");
    }
    tally_tests(r, &t, list);
    return t;
}

static double share(const struct tally *t)
{
    int all = t->rules + t->answers;
    return all > 0 ? (double)(t->rules_seen + t->answers_seen) / all : 1.0;
}

static int finish(struct run *r, double wanted)
{
    json_t *list = json_array();
    struct tally t = coverage(r, list);
    bool enough = share(&t) >= wanted;
    int rc;

    if (r->json) {
        rc = ctl_policy_print_json(
            json_pack("{s:s, s:b, s:i, s:i, s:o, s:{s:i, s:i, s:i, s:i, s:f, s:o}}", "policy",
                      r->path, "ok", r->n_fail == 0 && enough, "passed", r->n_case - r->n_fail,
                      "failed", r->n_fail, "cases", json_incref(r->cases), "coverage", "rules",
                      t.rules, "rules_seen", t.rules_seen, "answers", t.answers, "answers_seen",
                      t.answers_seen, "share", share(&t), "unseen", list));
    } else {
        base_buf_printf(&r->out,
                        "%s%d of %d cases pass%s; seen: %d of %d rules, %d of %d answers of "
                        "conditions (%.1f %%)%s\n",
                        r->n_fail == 0 ? GREEN(r) : RED(r), r->n_case - r->n_fail, r->n_case,
                        PLAIN(r), t.rules_seen, t.rules, t.answers_seen, t.answers,
                        100.0 * share(&t), enough ? "" : ", less than was asked for");
        rc = ctl_policy_print(&r->out);
        json_decref(list);
    }
    return rc != CTL_OK ? rc : r->n_fail == 0 && enough ? CTL_OK : CTL_NO;
}

/* policies/x.yaml -> policies/x.cases */
static char *beside(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    int stem =
        dot != NULL && (slash == NULL || dot > slash) ? (int)(dot - path) : (int)strlen(path);
    char *out = NULL;
    return asprintf(&out, "%.*s.cases", stem, path) >= 0 ? out : NULL;
}

int ctl_policy_test(const struct ctl_policy_args *a)
{
    static struct run r;
    int rc;
    struct rt_policy *p = ctl_policy_need(a->word[0], &rc);

    r = (struct run){.path = a->word[0], .p = p, .json = a->json};
    r.colour = ctl_policy_colour(a->colour);
    r.cases = json_array();
    base_buf_init(&r.out, OUT_BYTES);
    if (rc == CTL_OK && rt_cover_open(&r.cover, p) != 0)
        rc = ctl_policy_fail(&(struct base_err){.msg = "out of memory"});
    for (int i = 1; i < a->n_word && rc == CTL_OK; i++)
        rc = run_file(&r, a->word[i]);
    if (rc == CTL_OK && a->n_word == 1) {
        char *file = beside(a->word[0]);
        rc = file != NULL ? run_file(&r, file) : CTL_FAIL;
        free(file);
    }
    if (rc == CTL_OK)
        rc = finish(&r, a->coverage);
    rt_cover_close(r.cover);
    json_decref(r.cases);
    base_buf_fini(&r.out);
    rt_policy_free(p);
    return rc;
}
