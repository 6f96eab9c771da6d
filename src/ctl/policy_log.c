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
    l->seen = calloc(CTL_N_SEEN, sizeof *l->seen);
    if (l->seen == NULL)
        return base_err_set(err, BASE_ENOMEM, path, "out of memory");
    if (l->f == NULL)
        return base_err_set(err, BASE_EIO, path, "%s", strerror(errno));
    return 0;
}

void ctl_log_close(struct ctl_log *l)
{
    if (l->f != NULL && l->f != stdin)
        fclose(l->f);
    free(l->text);
    free(l->seen);
    rt_given_fini(&l->r.g);
}

/* A text of at most so many bytes; other kinds and longer ones are none. */
static void take_text(struct json_read *j, char out[CTL_ID_BYTES])
{
    const char *s;
    size_t len;

    out[0] = '\0';
    if (json_peek(j) != JSON_KIND_STRING)
        (void)json_skip(j);
    else if (json_text(j, &s, &len) && len < CTL_ID_BYTES)
        memcpy(out, s, len + 1);
}

static double take_number(struct json_read *j, double scale)
{
    struct json_number n;

    if (json_peek(j) == JSON_KIND_NUMBER)
        return json_num(j, &n) ? n.r * scale : -1.0;
    (void)json_skip(j);
    return -1.0;
}

static bool take_mode(struct json_read *j, enum rt_mode *out)
{
    char s[CTL_ID_BYTES];

    take_text(j, s);
    for (int m = RT_LOCAL; m <= RT_REFUSE; m++) {
        if (strcmp(s, rt_mode_str((enum rt_mode)m)) == 0) {
            *out = (enum rt_mode)m;
            return true;
        }
    }
    return false;
}

/* "quality": {"local": 0.4, "cloud": 0.9}; the second by any other name. */
static void take_quality(struct json_read *j, double out[2])
{
    const char *key;

    (void)json_open(j, JSON_KIND_OBJECT);
    while (json_key(j, &key)) {
        double *to = &out[strcmp(key, "local") != 0];
        *to = take_number(j, 1.0);
        if (*to > 1.0)
            (void)json_read_fail(j, "a quality is within 0..1");
    }
}

static void take_decision(struct json_read *j, struct ctl_record *r)
{
    const char *key;

    (void)json_open(j, JSON_KIND_OBJECT);
    while (json_key(j, &key)) {
        if (strcmp(key, "route") == 0)
            r->decided = take_mode(j, &r->mode);
        else if (strcmp(key, "target") == 0)
            take_text(j, r->target);
        else if (strcmp(key, "rule") == 0)
            take_text(j, r->rule);
        else
            (void)json_skip(j);
    }
}

static void take_outcome(struct json_read *j, struct ctl_outcome *w)
{
    char result[CTL_ID_BYTES] = "ok";
    const char *key;

    *w = (struct ctl_outcome){
        .total_ms = -1.0, .first_ms = -1.0, .bytes_out = -1.0, .prompt_tok = -1, .answer_tok = -1};
    (void)json_open(j, JSON_KIND_OBJECT);
    while (json_key(j, &key)) {
        if (strcmp(key, "route") == 0)
            w->have = take_mode(j, &w->mode);
        else if (strcmp(key, "result") == 0)
            take_text(j, result);
        else if (strcmp(key, "total_us") == 0)
            w->total_ms = take_number(j, 1e-3);
        else if (strcmp(key, "first_token_us") == 0)
            w->first_ms = take_number(j, 1e-3);
        else if (strcmp(key, "bytes_out") == 0)
            w->bytes_out = take_number(j, 1.0);
        else if (strcmp(key, "prompt_tokens") == 0)
            w->prompt_tok = (int64_t)take_number(j, 1.0);
        else if (strcmp(key, "answer_tokens") == 0)
            w->answer_tok = (int64_t)take_number(j, 1.0);
        else
            (void)json_skip(j);
    }
    /* A refusal or an error tells nothing of how long an answer takes. */
    w->have = w->have && strcmp(result, "ok") == 0;
}

static int take_logged(struct ctl_log *l, struct json_read *j, struct base_err *err)
{
    struct ctl_record *r = &l->r;
    const char *key;
    int rc = 0;

    (void)json_open(j, JSON_KIND_OBJECT);
    while (rc == 0 && json_key(j, &key)) {
        bool object = json_peek(j) == JSON_KIND_OBJECT;
        if (strcmp(key, "facts") == 0)
            rc = ctl_facts_read(j, &r->g, l->seen, err);
        else if (object && strcmp(key, "decision") == 0)
            take_decision(j, r);
        else if (object && strcmp(key, "outcome") == 0)
            take_outcome(j, &r->outcome);
        else if (object && strcmp(key, "quality") == 0)
            take_quality(j, r->quality);
        else if (strcmp(key, "request_id") == 0)
            take_text(j, r->id);
        else if (strcmp(key, "session") == 0)
            take_text(j, r->session);
        else if (strcmp(key, "time") == 0)
            take_text(j, r->day);
        else
            (void)json_skip(j);
    }
    if (r->outcome.mode == RT_PROMPT || r->outcome.mode == RT_HIDDEN)
        memcpy(r->outcome.target, r->target, sizeof r->target);
    return rc;
}

/* A record of the log has its facts inside; else the object is the facts. */
static int take_record(struct ctl_log *l, struct json_read *j, struct base_err *err)
{
    struct ctl_record *r = &l->r;

    r->line = l->line;
    r->decided = false;
    r->id[0] = r->session[0] = r->day[0] = r->target[0] = r->rule[0] = '\0';
    r->outcome = (struct ctl_outcome){0};
    r->quality[0] = r->quality[1] = -1.0;
    rt_given_fini(&r->g);
    rt_given_init(&r->g, NULL, FACTS_BYTES);
    int rc = json_has_object(j, "facts") ? take_logged(l, j, err)
                                         : ctl_facts_read(j, &r->g, l->seen, err);
    if (rc == 0 && json_end(j) && j->why == NULL)
        return 0;
    return rc != 0 ? rc : base_err_set(err, BASE_EFORMAT, "", "%s", j->why);
}

static void tell(struct ctl_log *l, int column, const char *why)
{
    if (l->n_bad++ < TOLD)
        fprintf(stderr, "%s:%lld:%d: %s\n", l->path, (long long)l->line, column, why);
}

int ctl_log_next(struct ctl_log *l, struct base_err *err)
{
    ssize_t n;

    while ((n = getline(&l->text, &l->cap, l->f)) >= 0) {
        struct json_read j;
        struct base_err own = {0};
        l->line++;
        if (n == 0 || l->text[strspn(l->text, " \t\r\n")] == '\0')
            continue;
        if (n > CTL_LINE_BYTES) {
            tell(l, 1, "longer than 1 MiB");
            continue;
        }
        json_read_init(&j, l->text, (size_t)n);
        int rc = take_record(l, &j, &own);
        if (rc == 0)
            return 1;
        if (rc == BASE_ENOMEM)
            return base_err_set(err, rc, l->path, "out of memory");
        tell(l, (int)(j.at - j.text) + 1, own.msg);
    }
    if (ferror(l->f) != 0)
        return base_err_set(err, BASE_EIO, l->path, "%s", strerror(errno));
    return 0;
}
