/* For tests of one text after the other: what the compiler said, and what a policy decides. After
 * cmocka.h and router.h. */
#ifndef TESTS_ROUTER_TOLD_H
#define TESTS_ROUTER_TOLD_H

#define HEAD "waypost_policy: 1\nversion: v1\n" /* lines 1, 2 */

static struct rt_diags diags;

static void show_diags(void)
{
    for (int i = 0; i < diags.n; i++)
        print_message("#   got %s:%d:%d %s%s\n", diags.at[i].file, diags.at[i].line,
                      diags.at[i].col, diags.at[i].warning ? "warning: " : "", diags.at[i].msg);
}

static bool found(const char *file, bool warning, int line, int col, const char *says)
{
    for (int i = 0; i < diags.n; i++) {
        const struct rt_diag *d = &diags.at[i];
        if (d->warning == warning && strcmp(d->file, file) == 0 && d->line == line &&
            d->col == col && strstr(d->msg, says) != NULL)
            return true;
    }
    return false;
}

static void decides(const struct rt_policy *p, const struct rt_facts *f, const char *rule)
{
    struct rt_decision d;
    rt_decide(p, f, &d);
    assert_string_equal(d.rule, rule);
}

#endif
