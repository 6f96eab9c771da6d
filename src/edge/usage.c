#include "edge/usage.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/outfile.h"
#include "store/files.h"

enum { WRITE_AFTER_US = 1000000, FILE_BYTES = 1 << 20, BOOT_ID = 40 };

struct counter {
    char key[EDGE_USAGE_KEY];
    int64_t period;
    double used;
};

struct edge_usage {
    struct counter at[EDGE_USAGE_MAX];
    int n;
    int64_t trip;
    uint64_t starts;
    char boot[BOOT_ID];
    bool broken, full_told, dirty;

    char *path; /* "": none */
    struct net_timer *timer;
    pthread_t thread;
    bool writing;
    char *text; /* the thread's while it runs */
    int rc;
};

/* ---- the file ---- */

static void boot_id_read(char out[BOOT_ID])
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    out[0] = '\0';
    if (f != NULL) {
        if (fscanf(f, "%36[0-9a-f-]", out) != 1)
            out[0] = '\0';
        fclose(f);
    }
}

static char *text_make(const struct edge_usage *u)
{
    json_t *list = json_array();
    for (int i = 0; i < u->n; i++)
        (void)json_array_append_new(
            list, json_pack("[s, I, f]", u->at[i].key, (json_int_t)u->at[i].period, u->at[i].used));
    json_t *o = json_pack("{s:i, s:s, s:I, s:o}", "waypost_usage", 1, "boot", u->boot, "trip",
                          (json_int_t)u->trip, "used", list);
    char *s = o != NULL && json_array_size(list) == (size_t)u->n
                  ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(17))
                  : NULL;
    json_decref(o);
    return s;
}

static bool counter_read(struct counter *c, const json_t *v)
{
    const char *key = json_string_value(json_array_get(v, 0));
    const json_t *period = json_array_get(v, 1), *used = json_array_get(v, 2);
    if (key == NULL || strlen(key) >= sizeof c->key || !json_is_integer(period) ||
        !json_is_number(used) || !(json_number_value(used) >= 0))
        return false;
    snprintf(c->key, sizeof c->key, "%s", key);
    c->period = json_integer_value(period);
    c->used = json_number_value(used);
    return true;
}

static bool text_read(struct edge_usage *u, const char *text, size_t len)
{
    json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    json_t *list = json_object_get(o, "used");
    const char *boot = json_string_value(json_object_get(o, "boot"));
    const json_t *trip = json_object_get(o, "trip");
    bool ok = json_integer_value(json_object_get(o, "waypost_usage")) == 1 && boot != NULL &&
              json_is_integer(trip) && json_integer_value(trip) >= 0 && json_is_array(list) &&
              json_array_size(list) <= EDGE_USAGE_MAX;
    for (size_t i = 0; ok && i < json_array_size(list); i++)
        ok = counter_read(&u->at[u->n++], json_array_get(list, i));
    if (ok)
        u->trip = json_integer_value(trip) + (strcmp(boot, u->boot) != 0);
    json_decref(o);
    return ok;
}

static int load(struct edge_usage *u, struct base_err *err)
{
    char *text = NULL;
    size_t len = 0;
    int rc = store_file_read(AT_FDCWD, u->path, u->path, FILE_BYTES, &text, &len, err);
    if (rc == 0 && !text_read(u, text, len))
        rc = base_err_set(err, BASE_EFORMAT, u->path, "is no record of what was used");
    free(text);
    return rc == BASE_ENOTFOUND ? 0 : rc;
}

/* ---- writing beside the loop ---- */

static void *write_thread(void *arg)
{
    struct edge_usage *u = arg;
    struct base_err err = {0};
    char line[512];
    u->rc = base_outfile_put(u->path, true, u->text, strlen(u->text), &err);
    if (u->rc != 0)
        base_log_error("usage", "%s", base_err_line(&err, line, sizeof line));
    return NULL;
}

static void written(struct edge_usage *u)
{
    free(u->text);
    u->text = NULL;
    u->writing = false;
    u->dirty = u->dirty || u->rc != 0;
}

static void on_timer(void *arg)
{
    struct edge_usage *u = arg;
    if (u->writing && pthread_tryjoin_np(u->thread, NULL) == 0)
        written(u);
    if (!u->writing && u->dirty) {
        u->text = text_make(u);
        u->writing = u->text != NULL && pthread_create(&u->thread, NULL, write_thread, u) == 0;
        u->dirty = !u->writing;
        if (!u->writing)
            free(u->text);
    }
    if (u->writing || u->dirty)
        net_timer_set(u->timer, WRITE_AFTER_US);
}

static void changed(struct edge_usage *u)
{
    if (u->path[0] == '\0' || u->broken || u->dirty)
        return;
    u->dirty = true;
    if (!u->writing)
        net_timer_set(u->timer, WRITE_AFTER_US);
}

int edge_usage_open(struct edge_usage **out, const char *path, struct net_loop *l,
                    struct base_err *err)
{
    struct edge_usage *u = calloc(1, sizeof *u);
    struct base_err why = {0};
    char line[512];
    *out = u;
    if (u == NULL || (u->path = strdup(path)) == NULL ||
        (u->timer = net_timer_new(l, on_timer, u)) == NULL) {
        return base_err_set(err, BASE_ENOMEM, "usage", "out of memory");
    }
    boot_id_read(u->boot);
    if (path[0] != '\0' && load(u, &why) != 0) {
        u->broken = true;
        base_log_error("usage", "%s; no budget, quota or consent can be told until it is removed",
                       base_err_line(&why, line, sizeof line));
    }
    return 0;
}

void edge_usage_close(struct edge_usage *u)
{
    struct base_err err = {0};
    char line[512];
    if (u == NULL)
        return;
    if (u->writing) {
        pthread_join(u->thread, NULL);
        written(u);
    }
    if (u->dirty && u->path[0] != '\0') {
        char *text = text_make(u);
        if (text == NULL || base_outfile_put(u->path, true, text, strlen(text), &err) != 0)
            base_log_error("usage", "%s", base_err_line(&err, line, sizeof line));
        free(text);
    }
    net_timer_free(u->timer);
    free(u->path);
    free(u);
}

bool edge_usage_broken(const struct edge_usage *u)
{
    return u->broken;
}

/* ---- periods ---- */

void edge_usage_starts(struct edge_usage *u, uint64_t starts)
{
    if (starts == u->starts)
        return;
    u->starts = starts;
    u->trip++;
    changed(u);
}

int64_t edge_usage_period(const struct edge_usage *u, enum rt_period p, int64_t real_us)
{
    const time_t s = (time_t)(real_us / 1000000);
    struct tm tm;
    switch (p) {
    case RT_TRIP:
        return u->trip;
    case RT_HOUR:
        return s / 3600;
    case RT_DAY:
        return s / 86400;
    case RT_MONTH:
        return gmtime_r(&s, &tm) != NULL ? (int64_t)tm.tm_year * 12 + tm.tm_mon : 0;
    }
    return 0;
}

/* ---- numbers ---- */

static struct counter *find(const struct edge_usage *u, const char *key)
{
    for (int i = 0; i < u->n; i++) {
        if (strcmp(u->at[i].key, key) == 0)
            return (struct counter *)&u->at[i];
    }
    return NULL;
}

static struct counter *find_or_make(struct edge_usage *u, const char *key)
{
    struct counter *c = find(u, key);
    if (c != NULL || u->broken || strlen(key) >= EDGE_USAGE_KEY)
        return c;
    if (u->n == EDGE_USAGE_MAX) {
        if (!u->full_told)
            base_log_error("usage", "more than %d things to be counted: the rest cannot be told",
                           EDGE_USAGE_MAX);
        u->full_told = true;
        return NULL;
    }
    c = &u->at[u->n++];
    *c = (struct counter){.period = INT64_MIN};
    snprintf(c->key, sizeof c->key, "%s", key);
    return c;
}

double edge_usage_get(const struct edge_usage *u, const char *key, int64_t period)
{
    const struct counter *c = find(u, key);
    if (u->broken || strlen(key) >= EDGE_USAGE_KEY || (c == NULL && u->n == EDGE_USAGE_MAX))
        return -1;
    return c == NULL || c->period < period ? 0 : c->used;
}

void edge_usage_add(struct edge_usage *u, const char *key, int64_t period, double n)
{
    struct counter *c = find_or_make(u, key);
    if (c == NULL || !(n > 0))
        return;
    if (c->period < period) {
        c->period = period;
        c->used = 0;
    }
    c->used += n;
    changed(u);
}

static const char *consent_key(const char *name, char key[EDGE_USAGE_KEY])
{
    snprintf(key, EDGE_USAGE_KEY, "consent/%.128s", name);
    return key;
}

bool edge_usage_consents(const struct edge_usage *u, const char *name, int64_t period, bool *yes)
{
    char key[EDGE_USAGE_KEY];
    const struct counter *c = find(u, consent_key(name, key));
    *yes = c != NULL && !u->broken && c->period == period && c->used > 0;
    return c != NULL && !u->broken && c->period == period;
}

int edge_usage_consent(struct edge_usage *u, const char *name, int64_t period, bool yes)
{
    char key[EDGE_USAGE_KEY];
    struct counter *c = find_or_make(u, consent_key(name, key));
    if (c == NULL || u->broken)
        return u->broken ? BASE_EIO : BASE_ELIMIT;
    c->period = period;
    c->used = yes ? 1 : 0;
    changed(u);
    return 0;
}
