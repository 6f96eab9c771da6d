#include "ctl/policy_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TOLD = 5, FACTS_BYTES = 1 << 20 };

int ctl_log_open(struct ctl_log *l, const char *path, struct base_err *err)
{
    memset(l, 0, sizeof *l);
    l->path = path;
    l->f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    rt_given_init(&l->r.g, NULL, FACTS_BYTES);
    if (l->f == NULL)
        return base_err_set(err, BASE_EIO, path, "%s", strerror(errno));
    return 0;
}

void ctl_log_close(struct ctl_log *l)
{
    if (l->f != NULL && l->f != stdin)
        fclose(l->f);
    free(l->text);
    rt_given_fini(&l->r.g);
}

static void take_text(const json_t *o, const char *key, char out[CTL_ID_BYTES])
{
    const char *s = json_string_value(json_object_get(o, key));
    snprintf(out, CTL_ID_BYTES, "%s", s != NULL ? s : "");
}

static double take_number(const json_t *o, const char *key, double scale)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) * scale : -1.0;
}

static bool take_mode(const json_t *o, enum rt_mode *out)
{
    const char *s = json_string_value(json_object_get(o, "route"));
    for (int m = RT_LOCAL; s != NULL && m <= RT_REFUSE; m++) {
        if (strcmp(s, rt_mode_str((enum rt_mode)m)) == 0) {
            *out = (enum rt_mode)m;
            return true;
        }
    }
    return false;
}

/* "quality": {"local": 0.4, "cloud": 0.9}; the second by any other name. */
static void take_quality(json_t *o, double out[2])
{
    const char *key;
    json_t *v;

    out[0] = out[1] = -1.0;
    json_object_foreach(o, key, v)
    {
        if (json_is_number(v))
            out[strcmp(key, "local") != 0] = json_number_value(v);
    }
}

static void take_outcome(struct ctl_record *r, const json_t *o)
{
    struct ctl_outcome *w = &r->outcome;
    const char *result = json_string_value(json_object_get(o, "result"));

    *w = (struct ctl_outcome){0};
    /* A refusal or an error tells nothing of how long an answer takes. */
    w->have = take_mode(o, &w->mode) && (result == NULL || strcmp(result, "ok") == 0);
    if (w->mode == RT_PROMPT || w->mode == RT_HIDDEN)
        snprintf(w->target, sizeof w->target, "%s", r->target);
    w->total_ms = take_number(o, "total_us", 1e-3);
    w->first_ms = take_number(o, "first_token_us", 1e-3);
    w->bytes_out = take_number(o, "bytes_out", 1.0);
    w->prompt_tok = (int64_t)take_number(o, "prompt_tokens", 1.0);
    w->answer_tok = (int64_t)take_number(o, "answer_tokens", 1.0);
}

/* A record of the log has its facts inside; else the object is the facts. */
static int take_record(struct ctl_log *l, json_t *root, struct base_err *err)
{
    struct ctl_record *r = &l->r;
    json_t *facts = json_object_get(root, "facts"), *decision = json_object_get(root, "decision");
    bool logged = json_is_object(facts);

    r->line = l->line;
    r->decided = false;
    r->target[0] = r->rule[0] = '\0';
    r->outcome = (struct ctl_outcome){0};
    r->quality[0] = r->quality[1] = -1.0;
    take_text(root, logged ? "request_id" : "", r->id);
    take_text(root, logged ? "session" : "", r->session);
    take_text(root, logged ? "time" : "", r->day);
    if (logged && json_is_object(decision)) {
        r->decided = take_mode(decision, &r->mode);
        take_text(decision, "target", r->target);
        take_text(decision, "rule", r->rule);
    }
    if (logged) {
        take_outcome(r, json_object_get(root, "outcome"));
        take_quality(json_object_get(root, "quality"), r->quality);
    }
    rt_given_fini(&r->g);
    rt_given_init(&r->g, NULL, FACTS_BYTES);
    return ctl_facts_json(&r->g, logged ? facts : root, false, err);
}

static void tell(struct ctl_log *l, int column, const char *why)
{
    if (l->n_bad++ < TOLD)
        fprintf(stderr, "%s:%lld:%d: %s\n", l->path, (long long)l->line, column, why);
}

int ctl_log_next(struct ctl_log *l, struct base_err *err)
{
    json_error_t where;
    ssize_t n;

    while ((n = getline(&l->text, &l->cap, l->f)) >= 0) {
        l->line++;
        if (n == 0 || l->text[strspn(l->text, " \t\r\n")] == '\0')
            continue;
        if (n > CTL_LINE_BYTES) {
            tell(l, 1, "longer than 1 MiB");
            continue;
        }
        json_t *root = json_loadb(l->text, (size_t)n, 0, &where);
        struct base_err own = {0};
        int rc = root != NULL ? take_record(l, root, &own) : 0;
        if (root == NULL)
            tell(l, where.column, where.text);
        else if (rc != 0 && rc != BASE_ENOMEM)
            tell(l, 1, own.msg);
        json_decref(root);
        if (rc == BASE_ENOMEM)
            return base_err_set(err, rc, l->path, "out of memory");
        if (root != NULL && rc == 0)
            return 1;
    }
    if (ferror(l->f) != 0)
        return base_err_set(err, BASE_EIO, l->path, "%s", strerror(errno));
    return 0;
}
