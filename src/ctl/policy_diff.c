/* policy diff: which facts two policies decide differently. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/policy.h"
#include "router/diff.h"

enum { OUT_BYTES = 64 << 20, SHOWN = 20 };

struct diff {
    const struct ctl_policy_args *args;
    struct base_buf out;
    json_t *list;
    int n;
    bool colour;
};

/* "prompt cloud else local, at most 65536 bytes": what else than the case's line may differ. */
static void put_outcome(const struct rt_decision *d, const char *paint, const char *plain,
                        struct base_buf *out)
{
    char text[RT_DECISION_BYTES];
    base_buf_printf(out, "%s%s%s", paint, rt_decision_text(d, text), plain);
    if (d->route.target != NULL)
        base_buf_printf(out, ", at most %" PRIu64 " bytes", d->route.max_bytes);
    base_buf_printf(out, " (rule %s)", d->rule);
}

static json_t *outcome(const struct rt_decision *d)
{
    char text[RT_DECISION_BYTES];
    return json_pack("{s:s, s:s, s:I}", "decision", rt_decision_text(d, text), "rule", d->rule,
                     "max_bytes", (json_int_t)d->route.max_bytes);
}

static int found(void *ctx, const struct rt_diff_change *c)
{
    struct diff *d = ctx;
    struct base_buf facts;

    base_buf_init(&facts, OUT_BYTES);
    int rc = rt_given_print(c->witness, &facts);
    const char *words = base_buf_cstr(&facts);
    d->n++;
    if (rc == 0 && words != NULL && d->args->json) {
        json_array_append_new(d->list,
                              json_pack("{s:o, s:o, s:s, s:s}", "a", outcome(&c->a), "b",
                                        outcome(&c->b), "facts", words, "where", c->where));
    } else if (rc == 0 && words != NULL && (d->args->all || d->n <= SHOWN)) {
        const char *plain = d->colour ? "\033[0m" : "";
        base_buf_printf(&d->out, "%d. ", d->n);
        put_outcome(&c->a, d->colour ? "\033[31m" : "", plain, &d->out);
        base_buf_str(&d->out, "\n   -> ");
        put_outcome(&c->b, d->colour ? "\033[32m" : "", plain, &d->out);
        base_buf_printf(&d->out, "\n   where  %s\n   facts  %s\n", c->where, words);
    }
    base_buf_fini(&facts);
    return rc;
}

static void put_end(struct diff *d, const struct rt_diff_sum *sum)
{
    if (!d->args->all && d->n > SHOWN)
        base_buf_printf(&d->out, "… and %d more: --all\n", d->n - SHOWN);
    if (sum->n_change == 0 && sum->n_open == 0)
        base_buf_str(&d->out, "no facts are decided differently\n");
    else
        base_buf_printf(&d->out, "%d pairs of rules decide the same facts differently\n",
                        sum->n_change);
    if (sum->n_open > 0)
        base_buf_printf(&d->out,
                        "%d of %d pairs are not settled within --effort=%" PRId64
                        ": there may be more\n",
                        sum->n_open, sum->n_pair, d->args->effort);
}

static json_t *document(struct diff *d, const struct rt_policy *a, const struct rt_policy *b,
                        const struct rt_diff_sum *sum)
{
    return json_pack("{s:s, s:s, s:O, s:i, s:b, s:i, s:i}", "a", rt_policy_version(a), "b",
                     rt_policy_version(b), "changes", d->list, "n_change", sum->n_change,
                     "complete", sum->n_open == 0, "pairs", sum->n_pair, "unsettled", sum->n_open);
}

int ctl_policy_diff(const struct ctl_policy_args *args)
{
    struct diff d = {.args = args, .list = json_array()};
    struct rt_diff_sum sum = {0};
    struct base_err err = {0};
    int rc, rc_b;
    struct rt_policy *a = ctl_policy_need(args->word[0], &rc);
    struct rt_policy *b = ctl_policy_need(args->word[1], &rc_b);

    d.colour = ctl_policy_colour(args->colour);
    base_buf_init(&d.out, OUT_BYTES);
    rc = rc > rc_b ? rc : rc_b;
    if (rc == CTL_NO) /* 1 is "they differ" here */
        rc = CTL_FAIL;
    if (rc == CTL_OK) {
        int no = rt_diff(a, b, args->effort, found, &d, &sum, &err);
        if (no != 0 && err.code == 0)
            base_err_set(&err, no, "", "%s", base_code_str(no));
        rc = no != 0 ? ctl_policy_fail(&err) : CTL_OK;
    }
    if (rc == CTL_OK) {
        put_end(&d, &sum);
        rc =
            args->json ? ctl_policy_print_json(document(&d, a, b, &sum)) : ctl_policy_print(&d.out);
        if (rc == CTL_OK)
            rc = sum.n_open > 0 ? CTL_FAIL : sum.n_change > 0 ? CTL_NO : CTL_OK;
    }
    json_decref(d.list);
    base_buf_fini(&d.out);
    rt_policy_free(a);
    rt_policy_free(b);
    return rc;
}
