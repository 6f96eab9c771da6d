/* policy explain and policy facts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/policy.h"

enum { OUT_BYTES = 64 << 20, FACTS_BYTES = 1 << 20 };

static int add_file(struct rt_given *g, const char *path, struct base_err *err)
{
    json_error_t where;
    size_t len = 0;
    char *text = ctl_slurp(path, FACTS_BYTES, &len);

    if (text == NULL)
        return CTL_FAIL;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &where);
    free(text);
    if (root == NULL) {
        fprintf(stderr, "%s:%d:%d: %s\n", path, where.line, where.column, where.text);
        return CTL_FAIL;
    }
    int rc = ctl_facts_json(g, root, err) == 0 ? CTL_OK : ctl_policy_fail(err);
    json_decref(root);
    return rc;
}

static int take_facts(struct rt_given *g, const struct ctl_policy_args *a)
{
    struct base_err err = {0};
    int rc = CTL_OK;

    for (int i = 0; i < a->facts.n && rc == CTL_OK; i++)
        rc = add_file(g, a->facts.at[i], &err);
    for (int i = 1; i < a->n_word && rc == CTL_OK; i++) {
        if (strchr(a->word[i], '=') == NULL) {
            fprintf(stderr, "waypostctl: '%s' is no NAME=VALUE\n", a->word[i]);
            rc = CTL_USAGE;
        } else if (rt_given_word(g, a->word[i], strlen(a->word[i]), &err) != 0) {
            rc = ctl_policy_fail(&err);
        }
    }
    return rc;
}

int ctl_policy_explain(const struct ctl_policy_args *a)
{
    static struct rt_given g;
    struct base_buf out;
    int rc;

    struct rt_policy *p = ctl_policy_need(a->word[0], &rc);
    rt_given_init(&g, p, FACTS_BYTES * (size_t)4);
    base_buf_init(&out, OUT_BYTES);
    if (rc == CTL_OK)
        rc = take_facts(&g, a);
    if (rc == CTL_OK) {
        enum rt_form form = a->json                        ? RT_FORM_JSON
                            : ctl_policy_colour(a->colour) ? RT_FORM_COLOUR
                                                           : RT_FORM_TEXT;
        out.err = rt_explain(p, &g.f, form, &out);
        rc = ctl_policy_print(&out);
    }
    base_buf_fini(&out);
    rt_given_fini(&g);
    rt_policy_free(p);
    return rc;
}

int ctl_policy_facts(const struct ctl_policy_args *a)
{
    struct base_buf out;
    (void)a;
    base_buf_init(&out, OUT_BYTES);
    out.err = rt_facts_reference(&out);
    int rc = ctl_policy_print(&out);
    base_buf_fini(&out);
    return rc;
}
