#include "edge/history.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/hash.h"
#include "edge/request.h"

enum {
    MAX_CLASS = 256, /* different ones, of all conversations */
    MAX_TARGET = 64,
    NAME_BYTES = 64,
    WORDS = MAX_CLASS / 64,
    KEY_BYTES = 32,
};

struct entry {
    uint8_t key[EDGE_TURN_KEY_BYTES];
    uint64_t cls[WORDS], released[WORDS]; /* bits by h->cls */
    uint64_t seen;                        /* bits by h->target */
    int last_target;                      /* -1: none */
    enum rt_mode last_route;
    bool vague;      /* more classes than fit */
    int64_t used_us; /* monotonic; 0: free */
};

struct edge_history {
    uint8_t secret[KEY_BYTES];
    char cls[MAX_CLASS][NAME_BYTES], target[MAX_TARGET][NAME_BYTES];
    int n_cls, n_target;
    int64_t max_age_us;
    int n; /* entries */
    struct entry at[];
};

int edge_history_new(struct edge_history **out, int max_entries, int64_t max_age_ms,
                     struct base_err *err)
{
    struct edge_history *h = calloc(1, sizeof *h + sizeof h->at[0] * (size_t)max_entries);
    *out = h;
    if (h == NULL)
        return base_err_set(err, BASE_ENOMEM, "history", "out of memory");
    h->n = max_entries;
    h->max_age_us = max_age_ms * 1000;
    if (getrandom(h->secret, sizeof h->secret, 0) != (ssize_t)sizeof h->secret)
        return base_err_set(err, BASE_EIO, "history", "no random numbers");
    return 0;
}

void edge_history_free(struct edge_history *h)
{
    if (h != NULL)
        explicit_bzero(h->secret, sizeof h->secret);
    free(h);
}

/* ---- keys ---- */

/* The key of a conversation that goes on from `before` with this. */
static int chain(const struct edge_history *h, const uint8_t before[BASE_SHA256_BYTES],
                 const char *role, const char *text, size_t len, uint8_t out[BASE_SHA256_BYTES])
{
    uint8_t in[2 * BASE_SHA256_BYTES + NAME_BYTES] = {0};
    memcpy(in, before, BASE_SHA256_BYTES);
    const int rc = base_sha256(text, len, in + BASE_SHA256_BYTES);
    const size_t n = strlen(role);
    memcpy(in + 2 * BASE_SHA256_BYTES, role, n < NAME_BYTES ? n : NAME_BYTES);
    return rc == 0 ? base_hmac_sha256(h->secret, sizeof h->secret, in, sizeof in, out) : rc;
}

/* What the model said itself is left out: clients repeat it as they like. */
static bool counts(const struct api_msg *m)
{
    return strcmp(m->role, "assistant") != 0;
}

/* ---- the table ---- */

static struct entry *find(struct edge_history *h, const uint8_t *key, int64_t now_us)
{
    for (int i = 0; i < h->n; i++) {
        struct entry *e = &h->at[i];
        if (e->used_us != 0 && memcmp(e->key, key, sizeof e->key) == 0)
            return now_us - e->used_us <= h->max_age_us ? e : NULL;
    }
    return NULL;
}

/* A free one, or the one that was not used for longest. */
static struct entry *make(struct edge_history *h, const uint8_t *key)
{
    struct entry *old = &h->at[0];
    for (int i = 0; i < h->n; i++) {
        struct entry *e = &h->at[i];
        if (e->used_us != 0 && memcmp(e->key, key, sizeof e->key) == 0) {
            old = e;
            break;
        }
        if (e->used_us < old->used_us)
            old = e;
    }
    *old = (struct entry){.last_target = -1};
    memcpy(old->key, key, sizeof old->key);
    return old;
}

/* The number of a name in a table that only grows; -1: it is full. */
static int name_id(char (*table)[NAME_BYTES], int *n, int max, const char *name)
{
    const size_t len = strlen(name);
    for (int i = 0; i < *n; i++) {
        if (strcmp(table[i], name) == 0)
            return i;
    }
    if (*n == max || len >= NAME_BYTES)
        return -1;
    memcpy(table[*n], name, len + 1);
    return (*n)++;
}

static const char *const *list_make(struct edge_req *r, const uint64_t bits[WORDS])
{
    const struct edge_history *h = r->e->history;
    int n = 0;
    for (int i = 0; i < WORDS; i++)
        n += __builtin_popcountll(bits[i]);
    const char **list = base_arena_get(&r->arena, sizeof *list * ((size_t)n + 1));
    if (list == NULL)
        return NULL;
    n = 0;
    for (int i = 0; i < h->n_cls; i++) {
        if ((bits[i / 64] >> (i % 64) & 1) != 0)
            list[n++] = h->cls[i];
    }
    return list;
}

/* ---- a request ---- */

static int turn_set(struct edge_req *r, const struct entry *e)
{
    const struct edge_history *h = r->e->history;
    struct edge_turn *t = &r->turn;
    t->known = true;
    t->vague = e->vague;
    t->seen = e->seen;
    t->last_route = rt_mode_str(e->last_route);
    t->last_target = e->last_target >= 0 ? h->target[e->last_target] : NULL;
    if (e->vague)
        return 0;
    t->cls = list_make(r, e->cls);
    t->released = list_make(r, e->released);
    return t->cls != NULL && t->released != NULL ? 0 : BASE_ENOMEM;
}

/* The keys of all beginnings of r, shortest first: [n] of them, the last is the whole. */
static int keys_make(struct edge_req *r, uint8_t (*key)[BASE_SHA256_BYTES], int *n, int *first_user)
{
    const struct edge_history *h = r->e->history;
    uint8_t at[BASE_SHA256_BYTES] = {0};
    int rc = chain(h, at, "caller", r->caller->name, strlen(r->caller->name), at);
    *n = 0;
    *first_user = -1;
    for (int i = 0; rc == 0 && i < r->api.n_msg; i++) {
        const struct api_msg *m = &r->api.msg[i];
        if (!counts(m))
            continue;
        rc = chain(h, at, m->role, m->content, m->len, at);
        if (*first_user < 0 && strcmp(m->role, "user") == 0)
            *first_user = *n;
        memcpy(key[(*n)++], at, sizeof at);
    }
    return rc;
}

static int by_session(struct edge_req *r, const struct entry **e)
{
    struct edge_history *h = r->e->history;
    uint8_t at[BASE_SHA256_BYTES] = {0};
    const char *s = r->api.session;
    int rc = chain(h, at, "caller", r->caller->name, strlen(r->caller->name), at);
    if (rc == 0)
        rc = chain(h, at, "session", s, strlen(s), at);
    memcpy(r->turn.key, at, sizeof r->turn.key);
    base_hex(at, sizeof r->turn.session / 2, r->turn.session);
    *e = find(h, r->turn.key, r->start_us);
    return rc;
}

static int by_beginning(struct edge_req *r, const struct entry **e)
{
    uint8_t key[API_MAX_MSG][BASE_SHA256_BYTES];
    int n, first_user;
    int rc = keys_make(r, key, &n, &first_user);
    if (rc != 0 || n == 0)
        return rc;
    memcpy(r->turn.key, key[n - 1], sizeof r->turn.key);
    base_hex(key[first_user >= 0 ? first_user : 0], sizeof r->turn.session / 2, r->turn.session);
    for (int i = n - 2; i >= 0 && *e == NULL; i--)
        *e = find(r->e->history, key[i], r->start_us);
    return 0;
}

int edge_history_find(struct edge_req *r)
{
    struct edge_turn *t = &r->turn;
    const struct entry *e = NULL;
    int n_user = 0, n_other = 0;
    for (int i = 0; i < r->api.n_msg; i++) {
        n_user += strcmp(r->api.msg[i].role, "user") == 0;
        n_other += strcmp(r->api.msg[i].role, "system") != 0;
    }
    *t = (struct edge_turn){.n_before = n_user > 0 ? n_user - 1 : -1, .is_first = n_other <= 1};
    int rc = r->api.session != NULL ? by_session(r, &e) : by_beginning(r, &e);
    t->have_key = rc == 0;
    return rc == 0 && e != NULL ? turn_set(r, e) : rc;
}

void edge_history_record(const struct edge_req *r)
{
    struct edge_history *h = r->e->history;
    if (!r->turn.have_key || r->dec.rule == NULL)
        return;
    struct entry before = {.last_target = -1};
    /* The same question asked again, or another turn of the session that has ended meanwhile. */
    const struct entry *past = find(h, r->turn.key, r->start_us);
    if (past != NULL)
        before = *past;
    struct entry *e = make(h, r->turn.key);
    memcpy(e->released, before.released, sizeof e->released);
    memcpy(e->cls, before.cls, sizeof e->cls);
    e->seen = before.seen | r->turn.seen;
    e->vague = before.vague || r->facts.n_cls <= 0;
    for (int i = 0; i < r->facts.n_cls; i++) {
        const int id = name_id(h->cls, &h->n_cls, MAX_CLASS, r->facts.cls[i]);
        if (id < 0) {
            e->vague = true;
            continue;
        }
        e->cls[id / 64] |= UINT64_C(1) << (id % 64);
        if (r->released_bytes > 0)
            e->released[id / 64] |= UINT64_C(1) << (id % 64);
    }
    for (int i = 0; r->turn.released != NULL && r->turn.released[i] != NULL; i++) {
        const int id = name_id(h->cls, &h->n_cls, MAX_CLASS, r->turn.released[i]);
        if (id >= 0)
            e->released[id / 64] |= UINT64_C(1) << (id % 64);
    }
    e->last_route = r->route;
    e->last_target = before.last_target;
    if (r->turn.last_target != NULL)
        e->last_target = name_id(h->target, &h->n_target, MAX_TARGET, r->turn.last_target);
    if (r->released_bytes > 0 && r->dec.route.target != NULL) {
        const int id = name_id(h->target, &h->n_target, MAX_TARGET, r->dec.route.target);
        if (id >= 0) {
            e->seen |= UINT64_C(1) << id;
            e->last_target = id;
        }
    }
    e->used_us = base_clock_mono_us();
}

bool edge_history_seen(const struct edge_req *r, const char *target)
{
    const struct edge_history *h = r->e->history;
    for (int i = 0; i < h->n_target; i++) {
        if (strcmp(h->target[i], target) == 0)
            return (r->turn.seen >> i & 1) != 0;
    }
    return false;
}
