#include "edge/decision_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "edge/shadow.h"

struct edge_dlog {
    char *path;
    int fd;
    int64_t size_bytes, max_bytes;
    int keep;
};

static int file_open(struct edge_dlog *d)
{
    struct stat st;
    d->fd = open(d->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->fd < 0)
        return BASE_EIO;
    d->size_bytes = fstat(d->fd, &st) == 0 ? (int64_t)st.st_size : 0;
    return 0;
}

int edge_dlog_open(struct edge_dlog **out, const char *path, int64_t max_bytes, int keep,
                   struct base_err *err)
{
    struct edge_dlog *d = calloc(1, sizeof *d);
    if (d == NULL || (d->path = strdup(path)) == NULL) {
        free(d);
        return base_err_set(err, BASE_ENOMEM, path, "out of memory");
    }
    d->max_bytes = max_bytes;
    d->keep = keep;
    if (file_open(d) != 0) {
        int rc = base_err_set(err, BASE_EIO, path, "cannot open: %s", strerror(errno));
        edge_dlog_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

void edge_dlog_close(struct edge_dlog *d)
{
    if (d == NULL)
        return;
    if (d->fd >= 0)
        close(d->fd);
    free(d->path);
    free(d);
}

/* FILE.n-1 -> FILE.n … FILE -> FILE.1; what falls off the end is gone. */
static void rotate(struct edge_dlog *d)
{
    char *from = NULL, *to = NULL;
    close(d->fd);
    d->fd = -1;
    for (int i = d->keep; i >= 1; i--) {
        int a = i == 1 ? asprintf(&from, "%s", d->path) : asprintf(&from, "%s.%d", d->path, i - 1);
        int b = asprintf(&to, "%s.%d", d->path, i);
        if (a >= 0 && b >= 0 && rename(from, to) != 0 && errno != ENOENT)
            base_log_warn("decision_log", "cannot rotate: %s", strerror(errno));
        if (a >= 0)
            free(from);
        if (b >= 0)
            free(to);
    }
    if (file_open(d) != 0)
        base_log_error("decision_log", "cannot open: %s", strerror(errno));
}

/* Set if there is a value: a member that could not be made is left out. */
static void put(json_t *o, const char *key, json_t *v)
{
    if (v != NULL)
        (void)json_object_set_new(o, key, v);
}

static json_t *value_json(const struct rt_value *v, enum rt_fact_type type)
{
    json_t *list;
    switch (type) {
    case RT_FACT_BOOL:
        return json_boolean(v->b);
    case RT_FACT_INT:
        return json_integer(v->i);
    case RT_FACT_REAL:
        return json_real(v->r);
    case RT_FACT_STR:
        return json_string(v->s);
    case RT_FACT_CLASSES:
        list = json_array();
        for (int i = 0; v->list != NULL && v->list[i] != NULL; i++)
            (void)json_array_append_new(list, json_string(v->list[i]));
        return list;
    }
    return NULL;
}

static json_t *fact_json(const struct edge_req *r, int id)
{
    const struct rt_value *v = &r->facts.v[id];
    if (!v->have || id == RT_F_DATA_CLASS || rt_fact_is_targets(id))
        return NULL;
    /* A model's name comes from the client: only our own are known to be no content. */
    if (id == RT_F_REQ_MODEL && strcmp(v->s, r->model_name) != 0)
        return json_string("(other)");
    return value_json(v, rt_fact_info[id].type);
}

/* A signal's text may be anything, a name of a song: only what looks like a word of a table is
 * shown. */
static bool is_word(const char *s)
{
    return strlen(s) <= 24 &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
               strlen(s);
}

static json_t *link_json(const struct rt_target_link *l)
{
    json_t *o = json_object();
    for (int id = RT_F_TARGET_FIRST; id <= RT_F_TARGET_LAST; id++) {
        const struct rt_value *v = rt_link_c(l, (enum rt_fact_id)id);
        if (v->have)
            put(o, rt_fact_info[id].name, value_json(v, rt_fact_info[id].type));
    }
    return o;
}

static json_t *facts_json(const struct edge_req *r)
{
    json_t *o = json_object(), *cls = json_array(), *links = json_object();
    for (int i = 0; i < RT_N_FACT; i++)
        put(o, rt_fact_info[i].name, fact_json(r, i));
    for (int i = 0; i < r->facts.n_cls; i++)
        (void)json_array_append_new(cls, json_string(r->facts.cls[i]));
    put(o, rt_fact_info[RT_F_DATA_CLASS].name, cls);
    for (int i = 0; i < r->facts.n_named; i++) {
        const struct rt_named *n = &r->facts.named[i];
        put(o, n->name,
            n->type == RT_FACT_STR && !is_word(n->v.s) ? json_string("(other)")
                                                       : value_json(&n->v, n->type));
    }
    for (int i = 0; i < r->facts.n_link; i++)
        put(links, r->facts.link[i].target, link_json(&r->facts.link[i]));
    put(o, "links", links);
    return o;
}

static json_t *decision_json(const struct edge_req *r)
{
    const struct rt_outcome *w = &r->dec.route;
    json_t *o = json_object();
    put(o, "rule", r->dec.rule != NULL ? json_string(r->dec.rule) : NULL);
    put(o, "policy", json_string(r->policy->label));
    put(o, "route", json_string(rt_mode_str(w->mode)));
    put(o, "fallback", json_string(rt_mode_str(r->dec.fallback.mode)));
    if (w->target != NULL)
        put(o, "target", json_string(w->target));
    if (w->mode == RT_HIDDEN) {
        put(o, "layer", json_integer(w->layer));
        put(o, "tail", json_string(w->tail == RT_TAIL_EDGE ? "edge" : "cloud"));
    }
    return o;
}

static json_t *outcome_json(const struct edge_req *r, enum edge_result result, int http_status)
{
    const struct edge_answer *a = &r->answer;
    json_t *o = json_object();
    put(o, "result", json_string(edge_result_str(result)));
    put(o, "status", json_integer(http_status));
    put(o, "route", json_string(rt_mode_str(r->route)));
    put(o, "tier", a->tier != 0 ? json_string(edge_tier_str(a->tier)) : NULL);
    put(o, "prompt_tokens", json_integer(r->n_prompt));
    put(o, "answer_tokens", json_integer(a->n_tok));
    put(o, "released_bytes", json_integer((json_int_t)r->released_bytes));
    put(o, "bytes_out", json_integer((json_int_t)r->out_bytes));
    if (r->e->energy.fd >= 0 && !r->joules_lost)
        put(o, "joules", json_real(r->joules));
    if (a->first_us != 0)
        put(o, "first_token_us", json_integer(a->first_us - r->start_us));
    put(o, "total_us", json_integer(base_clock_mono_us() - r->start_us));
    if (r->fallback_why[0] != '\0')
        put(o, "fall_back", json_string(r->fallback_why));
    return o;
}

static char *line_make(const struct edge_req *r, enum edge_result result, int http_status)
{
    char time[32], id[33];
    json_t *o = json_object();
    put(o, "time", json_string(base_clock_iso8601(r->created_us, time)));
    put(o, "request_id", json_string(r->id));
    put(o, "decision_id", json_string(base_hex(r->decision_id, sizeof r->decision_id, id)));
    if (r->turn.have_key)
        put(o, "session", json_string(r->turn.session));
    put(o, "facts", facts_json(r));
    if (r->dec.rule != NULL) /* refused before it came to a decision */
        put(o, "decision", decision_json(r));
    put(o, "shadow", edge_shadow_json(r));
    put(o, "outcome", outcome_json(r, result, http_status));
    char *s = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return s;
}

void edge_dlog_write(struct edge_dlog *d, const struct edge_req *r, enum edge_result result,
                     int http_status)
{
    if (d == NULL)
        return;
    char *json = line_make(r, result, http_status), *line = NULL;
    int n = json != NULL ? asprintf(&line, "%s\n", json) : -1;
    free(json);
    if (n < 0) {
        base_log_error("decision_log", "out of memory");
        return;
    }
    if (d->size_bytes > 0 && d->size_bytes + n > d->max_bytes)
        rotate(d);
    if (d->fd < 0 || write(d->fd, line, (size_t)n) != n)
        base_log_error("decision_log", "a line could not be written: %s", strerror(errno));
    else
        d->size_bytes += n;
    free(line);
}
