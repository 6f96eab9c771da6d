#include "router/given.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/compile.h"

void rt_given_init(struct rt_given *g, const struct rt_policy *p, size_t max_bytes)
{
    memset(&g->f, 0, sizeof g->f);
    g->p = p;
    base_arena_init(&g->arena, max_bytes);
}

void rt_given_fini(struct rt_given *g)
{
    base_arena_fini(&g->arena);
}

static int no_memory(struct base_err *err, const char *place)
{
    return base_err_set(err, BASE_ENOMEM, place, "out of memory");
}

/* ---- where a fact goes ---- */

static int link_place(struct rt_given *g, int fact, const char *target, struct rt_place *out,
                      struct base_err *err)
{
    for (int i = 0; i < g->f.n_link; i++) {
        if (strcmp(g->link[i].target, target) == 0) {
            out->v = rt_link(&g->link[i], (enum rt_fact_id)fact);
            return 0;
        }
    }
    if (g->f.n_link == RT_MAX_TARGET)
        return base_err_set(err, BASE_ELIMIT, out->name, "more than %d targets", RT_MAX_TARGET);
    char *copy = base_arena_strndup(&g->arena, target, strlen(target));
    if (copy == NULL)
        return no_memory(err, out->name);
    g->f.link = g->link;
    g->link[g->f.n_link] = (struct rt_target_link){.target = copy};
    out->v = rt_link(&g->link[g->f.n_link++], (enum rt_fact_id)fact);
    return 0;
}

int rt_given_own(struct rt_given *g, const char *name, enum rt_fact_type type, struct rt_place *out,
                 struct base_err *err)
{
    *out = (struct rt_place){.type = type};
    for (int i = 0; i < g->f.n_named; i++) {
        if (strcmp(g->named[i].name, name) == 0) {
            g->named[i].type = type;
            out->v = &g->named[i].v;
            out->name = g->named[i].name;
            return 0;
        }
    }
    if (g->f.n_named == RT_MAX_GIVEN_NAMED)
        return base_err_set(err, BASE_ELIMIT, "", "more than %d facts of the policy's own",
                            RT_MAX_GIVEN_NAMED);
    out->name = base_arena_strndup(&g->arena, name, strlen(name));
    if (out->name == NULL)
        return no_memory(err, "facts");
    g->f.named = g->named;
    g->named[g->f.n_named] = (struct rt_named){.name = out->name, .type = type};
    out->v = &g->named[g->f.n_named++].v;
    return 0;
}

static int own_place(struct rt_given *g, const char *name, struct rt_place *out,
                     struct base_err *err)
{
    const struct rt_fact_info *info = NULL;
    char show[RT_SHOW_BYTES];

    for (int i = 0; g->p != NULL && i < g->p->n_own && info == NULL; i++) {
        if (strcmp(g->p->own[i].name, name) == 0)
            info = &g->p->own[i];
    }
    if (info == NULL)
        return base_err_set(err, BASE_ENOTFOUND, "",
                            "no fact %s in the table (waypostctl policy facts) or the policy",
                            rt_show(name, strlen(name), show));
    int rc = rt_given_own(g, name, info->type, out, err);
    out->aged = info->max_age_ms > 0;
    return rc;
}

int rt_given_fact(struct rt_given *g, enum rt_fact_id fact, const char *target,
                  struct rt_place *out, struct base_err *err)
{
    *out = (struct rt_place){.type = rt_fact_info[fact].type, .name = rt_fact_info[fact].name};
    if (target != NULL && !rt_fact_is_targets((int)fact))
        return base_err_set(err, BASE_EFORMAT, out->name, "is no fact of a target");
    out->v = &g->f.v[fact];
    out->aged =
        g->p != NULL ? rt_max_age_ms(g->p, (int)fact) > 0 : rt_fact_info[fact].max_age_ms > 0;
    out->data_class = fact == RT_F_DATA_CLASS;
    out->clock = rt_fact_is_clock((int)fact);
    return target != NULL ? link_place(g, (int)fact, target, out, err) : 0;
}

int rt_given_place(struct rt_given *g, const char *name, const char *target, struct rt_place *out,
                   struct base_err *err)
{
    int fact = rt_fact_find(name);

    if (fact >= 0)
        return rt_given_fact(g, (enum rt_fact_id)fact, target, out, err);
    return target == NULL ? own_place(g, name, out, err)
                          : base_err_set(err, BASE_EFORMAT, name, "is no fact of a target");
}

int rt_given_text(struct rt_given *g, const struct rt_place *at, const char *s, size_t n,
                  struct base_err *err)
{
    if (memchr(s, '\0', n) != NULL)
        return base_err_set(err, BASE_EFORMAT, at->name, "a NUL in the text");
    at->v->s = base_arena_strndup(&g->arena, s, n);
    at->v->have = true;
    return at->v->s != NULL ? 0 : no_memory(err, at->name);
}

int rt_given_class(struct rt_given *g, const struct rt_place *at, const char *s, size_t n,
                   struct base_err *err)
{
    int have = 0;

    if (!at->data_class && !at->v->have) {
        at->v->list = base_arena_get(&g->arena, (RT_MAX_CLASS + 1) * sizeof *at->v->list);
        if (at->v->list == NULL)
            return no_memory(err, at->name);
    }
    while (!at->data_class && at->v->list[have] != NULL)
        have++;
    if (at->data_class)
        have = g->f.n_cls;
    if (n == 0 || memchr(s, '\0', n) != NULL)
        return base_err_set(err, BASE_EFORMAT, at->name, "an empty class");
    if (have == RT_MAX_CLASS)
        return base_err_set(err, BASE_ELIMIT, at->name, "more than %d classes", RT_MAX_CLASS);
    char *copy = base_arena_strndup(&g->arena, s, n);
    if (copy == NULL)
        return no_memory(err, at->name);
    at->v->have = true;
    if (at->data_class)
        g->f.cls[g->f.n_cls++] = copy;
    else
        ((const char **)(uintptr_t)at->v->list)[have] = copy; /* ours, from the arena */
    return 0;
}

/* ---- words ---- */

/* Decimal only: strtod's own "nan", "inf" and hexadecimal are no facts. */
static bool take_number(const char *s, double *r, int64_t *i)
{
    char *end;

    if (s[0] == '\0' || s[strspn(s, "0123456789+-.eE")] != '\0')
        return false;
    errno = 0;
    if (i != NULL)
        *i = strtoll(s, &end, 10);
    else
        *r = strtod(s, &end);
    return *end == '\0' && errno == 0;
}

static int bad(struct base_err *err, const char *place, const char *what, const char *s)
{
    char show[RT_SHOW_BYTES];
    return base_err_set(err, BASE_EFORMAT, place, "%s, not %s", what, rt_show(s, strlen(s), show));
}

static int take_classes(struct rt_given *g, const struct rt_place *at, const char *s,
                        struct base_err *err)
{
    for (int rc;; s++) {
        size_t n = strcspn(s, ",");
        rc = rt_given_class(g, at, s, n, err);
        s += n;
        if (rc != 0 || *s == '\0')
            return rc;
    }
}

/* Cuts "~MS" off; false if it is no age. */
static bool take_age(char *val, struct rt_value *v)
{
    char *mark = strrchr(val, '~');
    int64_t ms = 0;

    if (mark == NULL)
        return true;
    *mark = '\0';
    bool ok = take_number(mark + 1, NULL, &ms) && ms >= 0 && ms <= INT32_MAX;
    v->age_ms = (int32_t)ms;
    return ok;
}

static int take_value(struct rt_given *g, const struct rt_place *at, char *val,
                      struct base_err *err)
{
    struct rt_value *v = at->v;

    if (at->type == RT_FACT_CLASSES)
        return take_classes(g, at, val, err);
    if (at->aged && !take_age(val, v))
        return bad(err, at->name, "an age is in ms", val);
    v->have = true;
    switch (at->type) {
    case RT_FACT_BOOL:
        v->b = strcmp(val, "true") == 0;
        return v->b || strcmp(val, "false") == 0 ? 0 : bad(err, at->name, "is true or false", val);
    case RT_FACT_INT:
        if (at->clock)
            return rt_clock_read(val, &v->i) ? 0 : bad(err, at->name, "is HH:MM", val);
        return take_number(val, NULL, &v->i) ? 0 : bad(err, at->name, "is an integer", val);
    case RT_FACT_REAL:
        return take_number(val, &v->r, NULL) ? 0 : bad(err, at->name, "is a number", val);
    default:
        v->s = val;
        return 0;
    }
}

int rt_given_word(struct rt_given *g, const char *word, size_t n, struct base_err *err)
{
    char *name = base_arena_strndup(&g->arena, word, n);
    char show[RT_SHOW_BYTES];
    struct rt_place at;

    if (name == NULL)
        return no_memory(err, "facts");
    char *val = strchr(name, '=');
    if (val == NULL || strlen(name) != n)
        return base_err_set(err, BASE_EFORMAT, "", "%s is no NAME=VALUE", rt_show(word, n, show));
    *val++ = '\0';
    char *target = strchr(name, '@');
    if (target != NULL)
        *target++ = '\0';
    int rc = rt_given_place(g, name, target, &at, err);
    size_t len = strlen(val);
    if (len >= 2 && val[0] == '"' && val[len - 1] == '"') {
        val[len - 1] = '\0';
        val++;
    }
    return rc == 0 ? take_value(g, &at, val, err) : rc;
}

int rt_given_line(struct rt_given *g, const char *line, size_t n, struct base_err *err)
{
    if (n == 6 && memcmp(line, "(none)", 6) == 0)
        return 0;
    for (size_t at = 0; at < n;) {
        size_t end = at;
        for (bool quoted = false; end < n && (quoted || line[end] != ' '); end++)
            quoted ^= line[end] == '"';
        int rc = end > at ? rt_given_word(g, line + at, end - at, err) : 0;
        if (rc != 0)
            return rc;
        at = end + 1;
    }
    return 0;
}

/* ---- and back ---- */

const char *rt_real_text(double r, char out[RT_REAL_BYTES])
{
    bool plain = fabs(r) < 1e15; /* 20 rather than 2e+01 */
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, RT_REAL_BYTES, "%.*g", digits, r);
        double back = strtod(out, NULL);
        if (back >= r && back <= r && !(plain && strstr(out, "e+") != NULL))
            break;
    }
    return out;
}

static void put_text(struct base_buf *out, const char *s)
{
    const char *quote = s[0] == '\0' || strpbrk(s, " \"") != NULL ? "\"" : "";
    base_buf_printf(out, "%s%s%s", quote, s, quote);
}

/* " NAME@TARGET=VALUE" unless v is not known. */
static void put_word(struct base_buf *out, int fact, const char *name, const char *target,
                     enum rt_fact_type type, const struct rt_value *v)
{
    char real[RT_REAL_BYTES];

    if (!v->have || (type == RT_FACT_STR && v->s == NULL) ||
        (type == RT_FACT_CLASSES && (v->list == NULL || v->list[0] == NULL)))
        return;
    base_buf_printf(out, " %s%s%s=", name, target != NULL ? "@" : "", target != NULL ? target : "");
    switch (type) {
    case RT_FACT_BOOL:
        base_buf_str(out, v->b ? "true" : "false");
        break;
    case RT_FACT_INT:
        rt_put_int(fact, v->i, out);
        break;
    case RT_FACT_REAL:
        base_buf_str(out, rt_real_text(v->r, real));
        break;
    case RT_FACT_STR:
        put_text(out, v->s);
        break;
    case RT_FACT_CLASSES:
        for (int i = 0; v->list[i] != NULL; i++)
            base_buf_printf(out, "%s%s", i > 0 ? "," : "", v->list[i]);
    }
    if (v->age_ms > 0)
        base_buf_printf(out, "~%" PRId32, v->age_ms);
}

int rt_given_print(const struct rt_facts *f, struct base_buf *out)
{
    struct base_buf line;

    base_buf_init(&line, out->max_bytes);
    for (int i = 0; i < f->n_cls; i++)
        base_buf_printf(&line, "%s%s", i == 0 ? " data.class=" : ",",
                        f->cls[i] != NULL ? f->cls[i] : "cabin");
    for (int i = 0; i < RT_N_FACT; i++) {
        if (i != RT_F_DATA_CLASS)
            put_word(&line, i, rt_fact_info[i].name, NULL, rt_fact_info[i].type, &f->v[i]);
    }
    for (int i = 0; i < f->n_named; i++)
        put_word(&line, RT_N_FACT, f->named[i].name, NULL, f->named[i].type, &f->named[i].v);
    for (int i = 0; i < f->n_link; i++) {
        for (int k = RT_F_TARGET_FIRST; k <= RT_F_TARGET_LAST; k++)
            put_word(&line, k, rt_fact_info[k].name, f->link[i].target, rt_fact_info[k].type,
                     rt_link_c(&f->link[i], (enum rt_fact_id)k));
    }
    if (line.err != 0)
        out->err = line.err;
    else if (line.len == 0)
        base_buf_str(out, "(none)");
    else
        base_buf_add(out, line.data + 1, line.len - 1);
    base_buf_fini(&line);
    return out->err;
}
