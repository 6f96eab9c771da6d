/* Rules that are the same in two policies. */
#include <inttypes.h>
#include <string.h>

#include "base/hash.h"
#include "router/diff_vars.h"

static void hash_text(struct base_buf *b, const char *s)
{
    base_buf_add(b, s, strlen(s) + 1);
}

static void hash_const(struct base_buf *b, const struct rt_policy *p, enum rt_fact_type type,
                       const struct rt_item *it)
{
    base_buf_u8(b, it->subtree);
    if (type == RT_FACT_STR || type == RT_FACT_CLASSES)
        hash_text(b, it->val.str == RT_STR_ROOT ? "*" : p->str[it->val.str]);
    else if (type == RT_FACT_BOOL)
        base_buf_u8(b, it->val.b);
    else
        base_buf_u64le(b, (uint64_t)it->val.i); /* of a number: its bits */
}

static int hash_rule(struct base_buf *b, const struct rt_policy *p, int i, uint64_t *out)
{
    const struct rt_rule *r = &p->rule[i];
    struct rt_decision d;

    base_buf_reset(b);
    rt_decision_set(p, i, &d);
    base_buf_printf(b, "%d %d %d %d %" PRIu64 " %d", d.route.mode, d.route.layer, d.route.tail,
                    d.route.dtype, d.route.max_bytes, d.fallback.mode);
    hash_text(b, r->target >= 0 ? rt_policy_target_name(p, r->target) : "");
    for (uint32_t at = r->cond; at < r->end; at++) {
        const struct rt_cond *c = &p->cond[at];
        base_buf_u8(b, c->op);
        base_buf_u32le(b, c->end - at);
        if (c->op <= RT_OP_NOT)
            continue;
        enum rt_fact_type type = rt_info(p, c->fact)->type;
        hash_text(b, rt_info(p, c->fact)->name);
        struct rt_item one = {.val = c->val};
        for (uint32_t k = 0; k < (c->op < RT_OP_IN ? 1 : c->n_item); k++)
            hash_const(b, p, type, c->op < RT_OP_IN ? &one : &p->item[c->item + k]);
        base_buf_u32le(b, c->n_item);
    }
    *out = b->err == 0 ? base_xxh64(b->data, b->len) : 0;
    return b->err;
}

int rt_match_rules(struct rt_dpolicy p[2])
{
    struct base_buf b;
    int rc = 0;

    base_buf_init(&b, 64 << 20);
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < p[s].p->n_rule && rc == 0; i++)
            rc = hash_rule(&b, p[s].p, i, &p[s].hash[i]);
    }
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < p[s].p->n_rule; i++) {
            p[s].match[i] = -1;
            for (int k = 0; k < p[1 - s].p->n_rule && p[s].match[i] < 0; k++)
                p[s].match[i] = p[1 - s].hash[k] == p[s].hash[i] ? k : -1;
        }
    }
    base_buf_fini(&b);
    return rc;
}
