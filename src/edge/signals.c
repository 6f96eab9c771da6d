#include "edge/signals.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/files.h"

enum {
    MAX_CONN = 4,
    FILE_EVERY_US = 1000000,
    FUTURE_US = 1000000, /* clocks of two processes on one machine: more is a mistake */
    QUIET_US = 10000000, /* between two complaints */
};

struct signal {
    char name[EDGE_SIGNAL_NAME];
    enum { S_NULL, S_BOOL, S_INT, S_REAL, S_TEXT } kind;
    bool b;
    int64_t i;
    double r;
    char text[EDGE_SIGNAL_TEXT + 1];
    int64_t at_us; /* monotonic */
};

struct conn {
    struct edge_signals *s;
    int fd; /* -1: free */
    struct net_watch *watch;
    struct base_buf in;
};

struct edge_signals {
    struct signal at[EDGE_SIGNAL_MAX]; /* by name */
    int n;
    struct edge_signals_stats stats;
    bool was_on, had_ignition;
    uint64_t starts;
    int64_t quiet_until_us;

    struct net_loop *loop;
    char *path; /* of the socket; unlinked at the end */
    int fd;
    struct net_watch *watch;
    struct conn conn[MAX_CONN];

    const char *file; /* "": none */
    struct net_timer *timer;
    struct timespec file_mtime;
    ino_t file_ino;
};

/* ---- the table ---- */

static int place_of(const struct edge_signals *s, const char *name, bool *found)
{
    int lo = 0, hi = s->n;
    while (lo < hi) {
        const int mid = (lo + hi) / 2;
        const int c = strcmp(s->at[mid].name, name);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *found = false;
    return lo;
}

static bool name_ok(const char *s)
{
    return isalpha((unsigned char)s[0]) != 0 && strlen(s) < EDGE_SIGNAL_NAME &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._") ==
               strlen(s);
}

static bool value_read(struct signal *g, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_NULL:
        g->kind = S_NULL;
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        g->kind = S_BOOL;
        g->b = json_is_true(v);
        return true;
    case JSON_INTEGER:
        g->kind = S_INT;
        g->i = json_integer_value(v);
        return true;
    case JSON_REAL:
        g->kind = S_REAL;
        g->r = json_real_value(v);
        return isfinite(g->r);
    case JSON_STRING:
        g->kind = S_TEXT;
        if (json_string_length(v) > EDGE_SIGNAL_TEXT ||
            strlen(json_string_value(v)) != json_string_length(v))
            return false;
        snprintf(g->text, sizeof g->text, "%s", json_string_value(v));
        return true;
    default:
        return false;
    }
}

static bool set(struct edge_signals *s, const struct signal *g)
{
    bool found;
    const int i = place_of(s, g->name, &found);
    if (found) {
        if (g->at_us >= s->at[i].at_us) /* an older value comes late: what is there is newer */
            s->at[i] = *g;
        return true;
    }
    if (s->n == EDGE_SIGNAL_MAX)
        return false;
    memmove(&s->at[i + 1], &s->at[i], sizeof s->at[0] * (size_t)(s->n - i));
    s->at[i] = *g;
    s->n++;
    return true;
}

/* A start is a change from not on to on: the first thing heard is none. */
static void ignition_look(struct edge_signals *s, int64_t mono_us)
{
    const struct rt_value v = edge_signals_fact(s, RT_F_VEHICLE_IGNITION, mono_us);
    if (!v.have)
        return;
    const bool on = strcmp(v.s, "on") == 0 || strcmp(v.s, "start") == 0;
    if (on && s->had_ignition && !s->was_on)
        s->starts++;
    s->was_on = on;
    s->had_ignition = true;
}

static int object_take(struct edge_signals *s, json_t *o, int64_t mono_us, int64_t real_us,
                       struct base_err *err)
{
    const char *name;
    json_t *v;
    struct signal g = {.at_us = mono_us};
    const json_t *time = json_object_get(o, "time");
    if (time != NULL) {
        const double age_us = (double)real_us - json_number_value(time) * 1e6;
        if (!json_is_number(time) || !(age_us > -(double)FUTURE_US && age_us < 4e15))
            return base_err_set(err, BASE_EFORMAT, "time", "is no Unix time, or lies ahead");
        g.at_us = mono_us - (age_us > 0 ? (int64_t)age_us : 0);
    }
    json_object_foreach(o, name, v)
    {
        if (v != time && (!name_ok(name) || !value_read(&g, v)))
            return base_err_set(err, BASE_EFORMAT, "", "a name or a value that no signal can have");
    }
    json_object_foreach(o, name, v)
    {
        if (v == time)
            continue;
        snprintf(g.name, sizeof g.name, "%s", name);
        (void)value_read(&g, v);
        if (!set(s, &g))
            return base_err_set(err, BASE_ELIMIT, "", "more than %d signals", EDGE_SIGNAL_MAX);
    }
    ignition_look(s, mono_us);
    return 0;
}

int edge_signals_take(struct edge_signals *s, const char *line, size_t len, int64_t mono_us,
                      int64_t real_us, struct base_err *err)
{
    json_t *o = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    int rc = json_is_object(o) ? object_take(s, o, mono_us, real_us, err)
                               : base_err_set(err, BASE_EFORMAT, "", "is no JSON object");
    json_decref(o);
    s->stats.n_line++;
    s->stats.n_bad += rc != 0;
    return rc;
}

struct rt_value edge_signals_get(const struct edge_signals *s, const char *name,
                                 enum rt_fact_type type, int64_t mono_us)
{
    struct rt_value v = {.have = false};
    bool found = false;
    const int i = s != NULL ? place_of(s, name, &found) : 0;
    if (!found)
        return v;
    const struct signal *g = &s->at[i];
    const int64_t age_ms = (mono_us - g->at_us) / 1000;
    v.age_ms = age_ms < 0 ? 0 : age_ms > INT32_MAX ? INT32_MAX : (int32_t)age_ms;
    switch (type) {
    case RT_FACT_BOOL:
        v.have = g->kind == S_BOOL;
        v.b = g->b;
        break;
    case RT_FACT_INT:
        v.have = g->kind == S_INT;
        v.i = g->i;
        break;
    case RT_FACT_REAL:
        v.have = g->kind == S_REAL || g->kind == S_INT;
        v.r = g->kind == S_INT ? (double)g->i : g->r;
        break;
    case RT_FACT_STR:
        v.have = g->kind == S_TEXT;
        v.s = g->text;
        break;
    case RT_FACT_CLASSES:
        break;
    }
    return v;
}

/* VSS writes its words in capitals. The table's own word for it, or NULL. */
static const char *word_find(const char *words, const char *s)
{
    static const char *const known[] = {"lock",  "off",    "acc",    "on",
                                        "start", "normal", "saving", "critical"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const char *w = strstr(words, known[i]);
        if (w != NULL && strcasecmp(known[i], s) == 0)
            return known[i];
    }
    return NULL;
}

struct rt_value edge_signals_fact(const struct edge_signals *s, enum rt_fact_id id, int64_t mono_us)
{
    const struct rt_fact_info *f = &rt_fact_info[id];
    const char *vss = rt_fact_vss(id), *words = rt_fact_values(id);
    struct rt_value v = {.have = false};
    if (vss != NULL)
        v = edge_signals_get(s, vss, f->type, mono_us);
    if (!v.have)
        v = edge_signals_get(s, f->name, f->type, mono_us);
    if (v.have && words != NULL) {
        v.s = word_find(words, v.s);
        v.have = v.s != NULL;
    }
    if (v.have && id == RT_F_VEHICLE_COUNTRY)
        v.have = isupper((unsigned char)v.s[0]) && isupper((unsigned char)v.s[1]) && v.s[2] == '\0';
    return v;
}

uint64_t edge_signals_starts(const struct edge_signals *s)
{
    return s != NULL ? s->starts : 0;
}

void edge_signals_stats(const struct edge_signals *s, struct edge_signals_stats *out)
{
    *out = (struct edge_signals_stats){0};
    if (s != NULL) {
        *out = s->stats;
        out->n_signal = s->n;
    }
}

/* ---- where lines come from ---- */

static void complain(struct edge_signals *s, const char *where, const struct base_err *err)
{
    const int64_t now = base_clock_mono_us();
    if (now < s->quiet_until_us)
        return;
    s->quiet_until_us = now + QUIET_US;
    base_log_warn("vehicle", "%s: a line is refused: %s", where, err->msg);
}

static void take(struct edge_signals *s, const char *line, size_t len, const char *where)
{
    struct base_err err = {0};
    if (len > 0 &&
        edge_signals_take(s, line, len, base_clock_mono_us(), base_clock_real_us(), &err) != 0)
        complain(s, where, &err);
}

static void conn_close(struct conn *c)
{
    net_watch_free(c->watch);
    if (c->fd >= 0)
        close(c->fd);
    base_buf_fini(&c->in);
    c->watch = NULL;
    c->fd = -1;
}

static void on_conn(int fd, int what, void *arg)
{
    struct conn *c = arg;
    char piece[8192];
    const struct base_err too_long = {.msg = "it is too long; the connection is closed"};
    (void)what;
    const ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_close(c);
        return;
    }
    for (ssize_t i = 0; i < n;) {
        const char *nl = memchr(piece + i, '\n', (size_t)(n - i));
        const size_t k = nl != NULL ? (size_t)(nl - (piece + i)) : (size_t)(n - i);
        if (base_buf_add(&c->in, piece + i, k) != 0) {
            complain(c->s, "vehicle.socket", &too_long);
            c->s->stats.n_bad++;
            conn_close(c);
            return;
        }
        i += (ssize_t)k + (nl != NULL);
        if (nl != NULL) {
            take(c->s, (const char *)c->in.data, c->in.len, "vehicle.socket");
            base_buf_reset(&c->in);
        }
    }
}

static void on_accept(int fd, int what, void *arg)
{
    struct edge_signals *s = arg;
    struct conn *c = NULL;
    (void)what;
    const int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    for (int i = 0; i < MAX_CONN && c == NULL; i++)
        c = s->conn[i].fd < 0 ? &s->conn[i] : NULL;
    if (got < 0)
        return;
    if (c == NULL || (c->watch = net_watch_new(s->loop, got, on_conn, c)) == NULL) {
        base_log_warn("vehicle", "a connection to vehicle.socket is refused: %s",
                      c == NULL ? "there are enough" : "out of memory");
        close(got);
        return;
    }
    c->fd = got;
    base_buf_init(&c->in, EDGE_SIGNAL_LINE);
    net_watch_want(c->watch, NET_READ);
}

static int file_read(struct edge_signals *s, const struct stat *st, struct base_err *err)
{
    char *text = NULL;
    size_t len = 0;
    int rc = store_file_read(AT_FDCWD, s->file, s->file, EDGE_SIGNAL_LINE, &text, &len, err);
    if (rc != 0)
        return rc;
    /* As old as the file, unless it says so itself. */
    const int64_t real_us = base_clock_real_us(), mono_us = base_clock_mono_us();
    const int64_t age_us =
        real_us - (int64_t)st->st_mtim.tv_sec * 1000000 - st->st_mtim.tv_nsec / 1000;
    rc = edge_signals_take(s, text, len, mono_us - (age_us > 0 ? age_us : 0),
                           real_us - (age_us > 0 ? age_us : 0), err);
    free(text);
    return rc;
}

static void on_timer(void *arg)
{
    struct edge_signals *s = arg;
    struct stat st;
    struct base_err err = {0};
    if (stat(s->file, &st) == 0 &&
        (st.st_ino != s->file_ino || st.st_mtim.tv_sec != s->file_mtime.tv_sec ||
         st.st_mtim.tv_nsec != s->file_mtime.tv_nsec)) {
        s->file_ino = st.st_ino;
        s->file_mtime = st.st_mtim;
        if (file_read(s, &st, &err) != 0)
            complain(s, s->file, &err);
    }
    net_timer_set(s->timer, FILE_EVERY_US);
}

/* ---- opening ---- */

static int socket_bind(struct edge_signals *s, const struct edge_config *c, struct base_err *err)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct stat st;
    const char *path = c->vehicle_socket;
    if (strlen(path) >= sizeof a.sun_path)
        return base_err_set(err, BASE_ELIMIT, "vehicle.socket", "its path is longer than %zu bytes",
                            sizeof a.sun_path - 1);
    memcpy(a.sun_path, path, strlen(path));
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return base_err_set(err, BASE_EPERM, path, "is there and no socket");
    (void)unlink(path); /* an earlier run's */
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const mode_t mask = umask(0777 & ~(mode_t)strtoul(c->vehicle_socket_mode, NULL, 8));
    const int bound = s->fd < 0 ? -1 : bind(s->fd, (struct sockaddr *)&a, sizeof a);
    umask(mask);
    if (bound != 0 || listen(s->fd, MAX_CONN) != 0)
        return base_err_set(err, BASE_EIO, path, "cannot listen: %s", strerror(errno));
    s->path = strdup(path);
    s->watch = net_watch_new(s->loop, s->fd, on_accept, s);
    if (s->path == NULL || s->watch == NULL)
        return base_err_set(err, BASE_ENOMEM, path, "out of memory");
    net_watch_want(s->watch, NET_READ);
    return 0;
}

int edge_signals_open(struct edge_signals **out, const struct edge_config *c, struct net_loop *l,
                      struct base_err *err)
{
    struct edge_signals *s = calloc(1, sizeof *s);
    *out = s;
    if (s == NULL)
        return base_err_set(err, BASE_ENOMEM, "vehicle", "out of memory");
    s->loop = l;
    s->fd = -1;
    s->file = c->vehicle_file;
    for (int i = 0; i < MAX_CONN; i++)
        s->conn[i] = (struct conn){.s = s, .fd = -1};
    int rc = c->vehicle_socket[0] != '\0' ? socket_bind(s, c, err) : 0;
    if (rc == 0 && s->file[0] != '\0') {
        s->timer = net_timer_new(l, on_timer, s);
        if (s->timer == NULL)
            return base_err_set(err, BASE_ENOMEM, "vehicle.file", "out of memory");
        on_timer(s);
    }
    return rc;
}

void edge_signals_free(struct edge_signals *s)
{
    if (s == NULL)
        return;
    for (int i = 0; i < MAX_CONN; i++) {
        if (s->conn[i].fd >= 0)
            conn_close(&s->conn[i]);
    }
    net_watch_free(s->watch);
    net_timer_free(s->timer);
    if (s->fd >= 0)
        close(s->fd);
    if (s->path != NULL)
        (void)unlink(s->path);
    free(s->path);
    free(s);
}
