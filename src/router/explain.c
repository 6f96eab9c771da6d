/* Shows how a decision was made: each rule, its answer, and the part of its condition that gave it.
 */
#include "router/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "router/compile.h"

static const char *tri_str(enum rt_tri t)
{
    return t == RT_YES ? "yes" : t == RT_NO ? "no" : "cannot tell";
}

static const char *tail_str(enum rt_tail t)
{
    return t == RT_TAIL_CLOUD ? "cloud" : "edge";
}

static const char *dtype_str(enum rt_dtype t)
{
    return t == RT_F32 ? "f32" : t == RT_F16 ? "f16" : "i8";
}

/* ---- conditions and values as text ---- */

void rt_put_int(int fact, int64_t i, struct base_buf *out)
{
    if (rt_fact_is_clock(fact) && i >= 0 && i < RT_DAY_MINUTES)
        base_buf_printf(out, "%02d:%02d", (int)i / 60, (int)i % 60);
    else
        base_buf_printf(out, "%" PRId64, i);
}

static void put_const(const struct rt_policy *p, int fact, const struct rt_item *it,
                      struct base_buf *out)
{
    const enum rt_fact_type type = rt_info(p, fact)->type;

    if (type == RT_FACT_BOOL)
        base_buf_str(out, it->val.b ? "true" : "false");
    else if (type == RT_FACT_INT)
        rt_put_int(fact, it->val.i, out);
    else if (type == RT_FACT_REAL)
        base_buf_printf(out, "%.9g", it->val.r);
    else if (it->val.str == RT_STR_ROOT)
        base_buf_str(out, "*");
    else
        base_buf_printf(out, "%s%s", p->str[it->val.str], it->subtree ? ".*" : "");
}

static void put_leaf(const struct rt_policy *p, const struct rt_cond *c, bool negated,
                     struct base_buf *out)
{
    static const char *const word[] = {
        [RT_OP_EQ] = "is",       [RT_OP_LT] = "<",          [RT_OP_LE] = "<=",
        [RT_OP_GT] = ">",        [RT_OP_GE] = ">=",         [RT_OP_IN] = "in",
        [RT_OP_CLS_ANY] = "any", [RT_OP_CLS_ONLY] = "only", [RT_OP_CLS_ALL] = "all",
    };

    base_buf_printf(out, "%s %s%s", rt_info(p, c->fact)->name, word[c->op],
                    negated ? " not " : " ");
    if (c->op < RT_OP_IN) {
        struct rt_item it = {.val = c->val};
        put_const(p, c->fact, &it, out);
        return;
    }
    for (uint32_t i = 0; i < c->n_item; i++) {
        base_buf_str(out, i == 0 ? "[" : ", ");
        put_const(p, c->fact, &p->item[c->item + i], out);
    }
    base_buf_str(out, "]");
}

void rt_put_cond(const struct rt_policy *p, uint32_t at, struct base_buf *out)
{
    const struct rt_cond *c = &p->cond[at];
    const char *sep = c->op == RT_OP_ANY ? " or " : " and ";

    if (c->op > RT_OP_NOT) {
        put_leaf(p, c, false, out);
        return;
    }
    if (c->op == RT_OP_NOT && p->cond[at + 1].op == RT_OP_EQ) {
        put_leaf(p, c + 1, true, out);
        return;
    }
    if (c->op == RT_OP_NOT)
        base_buf_str(out, "not ");
    bool brackets = c->op != RT_OP_ALL || c->end > p->cond[at + 1].end;
    base_buf_str(out, brackets ? "(" : "");
    for (uint32_t i = at + 1; i < c->end; i = p->cond[i].end) {
        base_buf_str(out, i > at + 1 ? sep : "");
        rt_put_cond(p, i, out);
    }
    base_buf_str(out, brackets ? ")" : "");
}

/* Text from outside, on one line whatever it holds. */
static void put_safe(const char *s, struct base_buf *out)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int line, col;
        const char *what;
        size_t len = base_utf8(s + i, n - i, &cp);
        if (len == 0 || !rt_text_clean(s + i, len, false, &line, &col, &what)) {
            base_buf_str(out, "?");
            i += len > 0 ? len : 1;
        } else {
            base_buf_add(out, s + i, len);
            i += len;
        }
    }
}

static void put_data_class(const struct rt_facts *f, struct base_buf *out)
{
    if (f->n_cls == 0) {
        base_buf_str(out, "[cabin] (no label)");
        return;
    }
    base_buf_str(out, "[");
    for (int i = 0; i < f->n_cls && i < RT_MAX_CLASS; i++) {
        base_buf_str(out, i > 0 ? ", " : "");
        put_safe(f->cls[i] != NULL ? f->cls[i] : "cabin", out);
    }
    base_buf_str(out, f->n_cls > RT_MAX_CLASS ? ", and more than fit]" : "]");
}

static void put_list(const char *const *list, struct base_buf *out)
{
    base_buf_str(out, "[");
    for (int i = 0; list[i] != NULL && i <= RT_MAX_CLASS; i++) {
        base_buf_str(out, i > 0 ? ", " : "");
        put_safe(list[i], out);
    }
    base_buf_str(out, "]");
}

/* The fact as it was given to this rule, whatever its age. */
static struct rt_value given(const struct rt_policy *p, const struct rt_facts *f,
                             const struct rt_rule *r, int fact)
{
    if (fact >= RT_N_FACT) {
        for (int i = f->n_named - 1; i >= 0; i--) {
            if (f->named[i].name != NULL && strcmp(f->named[i].name, rt_info(p, fact)->name) == 0)
                return f->named[i].v;
        }
        return (struct rt_value){0};
    }
    if (f->link == NULL || !rt_fact_is_targets(fact))
        return f->v[fact];
    for (int i = 0; i < f->n_link; i++) {
        if (f->link[i].target != NULL &&
            strcmp(f->link[i].target, p->target[r->target].d.name) == 0)
            return *rt_link_c(&f->link[i], (enum rt_fact_id)fact);
    }
    return (struct rt_value){0};
}

/* The fact as this rule sees it. */
static void put_fact(const struct rt_policy *p, const struct rt_env *e, const struct rt_rule *r,
                     int fact, struct base_buf *out)
{
    const struct rt_fact_info *info = rt_info(p, fact);
    struct rt_value v = given(p, e->f, r, fact);
    const union rt_const *have = info->type != RT_FACT_CLASSES ? rt_env_get(e, r, fact) : NULL;
    bool targets = rt_fact_is_targets(fact);

    base_buf_printf(out, "%s%s%s is ", info->name, targets ? " of " : "",
                    targets ? p->target[r->target].d.name : "");
    if (fact == RT_F_DATA_CLASS)
        put_data_class(e->f, out);
    else if (info->type == RT_FACT_CLASSES && v.have && v.list != NULL)
        put_list(v.list, out);
    else if (have == NULL && v.have && rt_max_age_ms(p, fact) > 0)
        base_buf_printf(out, "not known (%" PRId32 " ms old)", v.age_ms);
    else if (have == NULL)
        base_buf_str(out, "not known");
    else if (info->type == RT_FACT_BOOL)
        base_buf_str(out, have->b ? "true" : "false");
    else if (info->type == RT_FACT_INT)
        rt_put_int(fact, have->i, out);
    else if (info->type == RT_FACT_REAL)
        base_buf_printf(out, "%.9g", have->r);
    else
        put_safe(v.s, out);
}

/* The smallest part of the condition that explains its answer. */
static uint32_t decider(const struct rt_policy *p, const struct rt_env *e, const struct rt_rule *r,
                        uint32_t at)
{
    const struct rt_cond *c = &p->cond[at];
    enum rt_tri result = rt_eval(p, e, r, at);

    if (c->op > RT_OP_ANY)
        return at;
    bool one_child = p->cond[at + 1].end == c->end;
    bool whole = result == (c->op == RT_OP_ALL ? RT_YES : RT_NO); /* it took all the children */
    if (whole && !one_child)
        return at;
    for (uint32_t i = at + 1; i < c->end; i = p->cond[i].end) {
        if (rt_eval(p, e, r, i) == result)
            return decider(p, e, r, i);
    }
    return at;
}

static void put_reason(const struct rt_policy *p, const struct rt_env *e, const struct rt_rule *r,
                       struct base_buf *out)
{
    if (r->cond == r->end) {
        base_buf_str(out, "no condition: always");
        return;
    }
    uint32_t at = decider(p, e, r, r->cond);
    bool seen[RT_MAX_FACT] = {false}, any = false;
    rt_put_cond(p, at, out);
    base_buf_str(out, "; ");
    for (uint32_t i = at; i < p->cond[at].end; i++) {
        const struct rt_cond *c = &p->cond[i];
        if (c->op <= RT_OP_NOT || seen[c->fact])
            continue;
        base_buf_str(out, any ? ", " : "");
        put_fact(p, e, r, c->fact, out);
        seen[c->fact] = any = true;
    }
}

int rt_explain_rule(const struct rt_policy *p, const struct rt_facts *f, int i, enum rt_tri *answer,
                    struct base_buf *out)
{
    struct rt_env e;

    rt_env_init(&e, p, f);
    *answer = rt_eval_rule(p, &e, &p->rule[i]);
    put_reason(p, &e, &p->rule[i], out);
    return out->err;
}

/* ---- the two forms ---- */

static void put_json(struct base_buf *out, const char *s)
{
    size_t n = strlen(s);

    base_buf_str(out, "\"");
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        size_t len = base_utf8(s + i, n - i, &cp);
        if (len == 0)
            base_buf_str(out, "\xEF\xBF\xBD");
        else if (cp == '"' || cp == '\\')
            base_buf_printf(out, "\\%c", (char)cp);
        else if (cp < 0x20 || cp == 0x7F)
            base_buf_printf(out, "\\u%04x", (unsigned)cp);
        else
            base_buf_add(out, s + i, len);
        i += len > 0 ? len : 1;
    }
    base_buf_str(out, "\"");
}

enum paint { PLAIN, BOLD, DIM, RED, GREEN, YELLOW };

static void paint(struct base_buf *out, enum rt_form form, enum paint how)
{
    static const char *const code[] = {"0", "1", "2", "31", "32", "33"};
    if (form == RT_FORM_COLOUR)
        base_buf_printf(out, "\033[%sm", code[how]);
}

static void text_decision(const struct rt_decision *d, enum rt_form form, struct base_buf *out)
{
    const struct rt_outcome *r = &d->route;

    base_buf_str(out, "=> ");
    paint(out, form, BOLD);
    base_buf_str(out, rt_mode_str(r->mode));
    if (r->target != NULL)
        base_buf_printf(out, " to %s", r->target);
    paint(out, form, PLAIN);
    if (r->mode == RT_HIDDEN)
        base_buf_printf(out, ", layer %d, tail %s, %s", r->layer, tail_str(r->tail),
                        dtype_str(r->dtype));
    if (r->target != NULL)
        base_buf_printf(out, ", at most %" PRIu64 " bytes, else %s", r->max_bytes,
                        rt_mode_str(d->fallback.mode));
    base_buf_printf(out, "   (rule %s)\n", d->rule);
    if (d->because[0] != '\0')
        base_buf_printf(out, "   %s\n", d->because);
}

static void json_decision(const struct rt_decision *d, struct base_buf *out)
{
    const struct rt_outcome *r = &d->route;

    base_buf_printf(out, "{\"route\":\"%s\",\"rule\":", rt_mode_str(r->mode));
    put_json(out, d->rule);
    base_buf_printf(out, ",\"rule_index\":%d,\"because\":", d->rule_index);
    put_json(out, d->because);
    base_buf_printf(out, ",\"fallback\":\"%s\"", rt_mode_str(d->fallback.mode));
    if (r->target != NULL) {
        base_buf_str(out, ",\"target\":");
        put_json(out, r->target);
        base_buf_printf(out, ",\"max_bytes\":%" PRIu64, r->max_bytes);
    }
    if (r->mode == RT_HIDDEN)
        base_buf_printf(out, ",\"layer\":%d,\"tail\":\"%s\",\"dtype\":\"%s\"", r->layer,
                        tail_str(r->tail), dtype_str(r->dtype));
    base_buf_str(out, "}");
}

/* A rule behind the one that decided is told too, but as one that nobody asked. */
static void text_rule(const struct rt_policy *p, const struct rt_env *e, int i, bool reached,
                      enum rt_form form, struct base_buf *out)
{
    const struct rt_rule *r = &p->rule[i];
    enum rt_tri t = rt_eval_rule(p, e, r);

    paint(out, form, reached ? PLAIN : DIM);
    base_buf_printf(out, "%4d  %-24s ", i + 1, r->name);
    if (reached)
        paint(out, form, t == RT_YES ? GREEN : t == RT_NO ? RED : YELLOW);
    base_buf_printf(out, "%-12s", tri_str(t));
    if (reached)
        paint(out, form, PLAIN);
    base_buf_str(out, reached ? "" : "(not reached) ");
    put_reason(p, e, r, out);
    if (!reached)
        paint(out, form, PLAIN);
    base_buf_str(out, "\n");
}

static int json_rule(const struct rt_policy *p, const struct rt_env *e, int i, bool reached,
                     struct base_buf *out)
{
    const struct rt_rule *r = &p->rule[i];
    struct base_buf why;

    base_buf_init(&why, out->max_bytes);
    put_reason(p, e, r, &why);
    int line = r->line, col = r->col; /* of what decided */
    if (r->cond < r->end) {
        const struct rt_cond *c = &p->cond[decider(p, e, r, r->cond)];
        line = c->line;
        col = c->col;
    }
    base_buf_printf(out, "%s{\"index\":%d,\"name\":", i > 0 ? "," : "", i);
    put_json(out, r->name);
    base_buf_printf(out,
                    ",\"line\":%d,\"result\":\"%s\",\"reached\":%s,"
                    "\"decided_at\":{\"line\":%d,\"column\":%d},\"reason\":",
                    r->line, tri_str(rt_eval_rule(p, e, r)), reached ? "true" : "false", line, col);
    const char *s = base_buf_cstr(&why);
    if (s != NULL)
        put_json(out, s);
    else if (out->err == 0)
        out->err = why.err;
    base_buf_str(out, "}");
    base_buf_fini(&why);
    return out->err;
}

int rt_explain(const struct rt_policy *p, const struct rt_facts *f, enum rt_form form,
               struct base_buf *out)
{
    struct rt_env e;
    struct rt_decision d;
    char hex[2 * BASE_SHA256_BYTES + 1];
    const bool json = form == RT_FORM_JSON;

    rt_env_init(&e, p, f);
    rt_decide(p, f, &d);
    base_hex(p->hash, BASE_SHA256_BYTES, hex);
    base_buf_printf(out,
                    json ? "{\"policy\":{\"version\":\"%s\",\"sha256\":\"%s\"},\"rules\":["
                         : "policy %s, sha256 %s\n",
                    p->version, hex);
    bool hint = rt_hint_is_local(f);
    if (hint && !json)
        base_buf_str(out, "      the caller's hint is local: no rule is asked\n");
    for (int i = 0; i < p->n_rule && out->err == 0; i++) {
        bool reached = !hint && (d.rule_index < 0 || i <= d.rule_index);
        if (json)
            json_rule(p, &e, i, reached, out);
        else
            text_rule(p, &e, i, reached, form, out);
    }
    if (json) {
        base_buf_str(out, "],\"decision\":");
        json_decision(&d, out);
        base_buf_str(out, "}\n");
    } else {
        text_decision(&d, form, out);
    }
    return out->err;
}
