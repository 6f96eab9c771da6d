/* policy simulate: a log through one policy or two. */
#include <inttypes.h>
#include <string.h>

#include "ctl/policy_sim.h"

enum { OUT_BYTES = 256 << 20 };

static void put_record(const struct ctl_log *l, const struct rt_decision d[2], struct base_buf *out)
{
    char text[RT_DECISION_BYTES];

    base_buf_printf(out, "%s:%" PRId64 ":", l->path, l->r.line);
    if (l->r.id[0] != '\0') {
        base_buf_str(out, " ");
        ctl_policy_safe(out, l->r.id, strlen(l->r.id));
    }
    base_buf_printf(out, " %s (%s)", rt_decision_text(&d[0], text), d[0].rule);
    base_buf_printf(out, " -> %s (%s)\n", rt_decision_text(&d[1], text), d[1].rule);
}

static int replay(struct ctl_sim *s, const char *path, bool list, struct base_buf *out)
{
    static struct ctl_log l;
    struct base_err err = {0};
    struct rt_decision d[2];
    bool changed;
    int rc = ctl_log_open(&l, path, &err), next = 0;

    while (rc == 0 && (next = ctl_log_next(&l, &err)) > 0) {
        rc = ctl_sim_add(s, &l.r, &changed, d);
        if (rc != 0)
            base_err_set(&err, rc, path, "%s", base_code_str(rc));
        else if (changed && list)
            put_record(&l, d, out);
    }
    rc = rc == 0 ? next : rc;
    if (rc == 0 && ctl_sim_side(s, 0)->n == 0)
        rc = base_err_set(&err, BASE_EFORMAT, path, "holds no request");
    if (l.n_bad > 0)
        fprintf(stderr, "waypostctl: %s: %" PRId64 " lines could not be read and are left out\n",
                path, l.n_bad);
    ctl_log_close(&l);
    return rc == 0 ? CTL_OK : ctl_policy_fail(&err);
}

int ctl_policy_simulate(const struct ctl_policy_args *a)
{
    struct rt_policy *p[2] = {NULL, NULL};
    struct ctl_sim *s = NULL;
    struct base_buf out;
    int n = a->n_word - 1, rc = CTL_OK;

    base_buf_init(&out, OUT_BYTES);
    for (int i = 0; i < n && rc == CTL_OK; i++)
        p[i] = ctl_policy_need(a->word[i + 1], &rc);
    if (rc == CTL_OK && ctl_sim_open(&s, p[0], p[1]) != 0)
        rc = ctl_policy_fail(&(struct base_err){.msg = "out of memory"});
    for (int i = 0; i < n && rc == CTL_OK; i++)
        ctl_sim_side(s, i)->path = a->word[i + 1];
    if (rc == CTL_OK)
        rc = replay(s, a->word[0], a->all && !a->json, &out);
    if (rc == CTL_OK && a->json) {
        rc = ctl_policy_print_json(ctl_sim_json(s, n));
    } else if (rc == CTL_OK) {
        ctl_sim_text(s, n, a->all, ctl_policy_colour(a->colour), &out);
        rc = ctl_policy_print(&out);
    }
    ctl_sim_close(s);
    base_buf_fini(&out);
    rt_policy_free(p[0]);
    rt_policy_free(p[1]);
    return rc;
}
