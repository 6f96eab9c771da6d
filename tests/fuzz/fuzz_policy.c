/* Any bytes as a policy, the same bytes as the text of a request: compile, decide under a few sets
 * of facts, explain, detect. Beyond not crashing: an error is always located, and nothing leaves
 * unlabelled unless the text itself says "cabin". */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "router/detect.h"
#include "router/router.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool cond)
{
    if (!cond)
        abort();
}

static void fill(struct rt_facts *f, const struct rt_target_link *link, int set)
{
    static const char *const cls[] = {"public.general", "public", "identifier.phone", "a.b.c"};

    static const char *const list[] = {"public.general", "a.b", NULL};

    memset(f, 0, sizeof *f);
    f->n_cls = set % 3;
    for (int i = 0; i < f->n_cls; i++)
        f->cls[i] = cls[(set + i) % 4];
    for (int i = 0; i < RT_N_FACT && set > 0; i++) {
        f->v[i].have = (i + set) % 4 != 0;
        if (rt_fact_info[i].type == RT_FACT_CLASSES)
            f->v[i].list = list;
        else if (rt_fact_info[i].type == RT_FACT_STR)
            f->v[i].s = i == RT_F_LINK_STATE ? "up" : "a";
        else if (rt_fact_info[i].type == RT_FACT_REAL)
            f->v[i].r = set;
        else
            f->v[i].i = set;
    }
    if (set > 3) {
        f->link = link;
        f->n_link = 2;
    }
}

static void decide(const struct rt_policy *p, bool says_cabin)
{
    struct rt_target_link link[] = {{.target = "cloud"}, {.target = "a"}};

    *rt_link(&link[0], RT_F_LINK_STATE) = (struct rt_value){.have = true, .s = "up"};
    *rt_link(&link[0], RT_F_LINK_RTT_MS) = (struct rt_value){.have = true, .r = 3};
    for (int set = 0; set < 6; set++) {
        struct rt_facts f;
        struct rt_decision d;
        struct base_buf out;
        fill(&f, link, set);
        rt_decide(p, &f, &d);
        bool leaves = d.route.mode == RT_PROMPT || d.route.mode == RT_HIDDEN;
        need(leaves == (d.route.target != NULL));
        need(!leaves || (d.rule_index >= 0 && d.route.max_bytes > 0));
        need(!leaves || f.n_cls > 0 || says_cabin);
        need(d.fallback.mode == RT_LOCAL || d.fallback.mode == RT_REFUSE);
        base_buf_init(&out, 8 << 20);
        need(rt_explain(p, &f, set % 2 == 0, &out) == 0);
        base_buf_fini(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rt_detect *detect;
    static struct rt_diags diags;
    struct rt_policy *p;
    struct base_err err;
    uint64_t bits = 0;

    if (detect == NULL && rt_detect_open(&detect, &err) != 0)
        abort();
    rt_detect_run(detect, (const char *)data, size, &bits);
    int code = rt_policy_compile(&p, (const char *)data, size, &diags);
    need((code == 0) == (p != NULL) && (code == 0) == (diags.n_error == 0));
    for (int i = 0; i < diags.n; i++)
        need(diags.at[i].line > 0 && diags.at[i].col > 0 && diags.at[i].msg[0] != '\0');
    if (code == 0)
        /* Escapes in quotes can spell cabin without the bytes; they need a backslash. */
        decide(p, memmem(data, size, "cabin", 5) != NULL || memchr(data, '\\', size) != NULL);
    rt_policy_free(p);
    return 0;
}
