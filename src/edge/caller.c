#include "edge/caller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct edge_caller anonymous = {.name = "anonymous"};

bool edge_class_ok(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n < 64 && s[0] >= 'a' && s[0] <= 'z' &&
           strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool seat_ok(const char *s)
{
    return s[0] != '\0' &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
                     "-") == strlen(s);
}

static bool key_parse(const char *hex, uint8_t out[BASE_SHA256_BYTES])
{
    if (strlen(hex) != 2 * BASE_SHA256_BYTES)
        return false;
    for (int i = 0; i < BASE_SHA256_BYTES; i++) {
        int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static int classes_parse(struct edge_caller *c, char *list, const char *place, struct base_err *err)
{
    char *save = NULL;
    for (char *s = strtok_r(list, ",", &save); s != NULL; s = strtok_r(NULL, ",", &save)) {
        if (!edge_class_ok(s))
            return base_err_set(err, BASE_EINVAL, place, "'%s' is not a class name", s);
        if (c->n_cls >= EDGE_MAX_CALLER_CLASS)
            return base_err_set(err, BASE_ELIMIT, place, "more than %d classes",
                                EDGE_MAX_CALLER_CLASS);
        memcpy(c->cls[c->n_cls++], s, strlen(s) + 1);
    }
    return 0;
}

static int caller_parse(struct edge_caller *c, const char *entry, struct base_err *err)
{
    char place[160], v[2048];
    struct base_err why = {0};
    snprintf(place, sizeof place, "caller = %s", entry);
    *c = (struct edge_caller){0};
    int rc = base_opt_words_check(entry, "name|listen|uid|key_sha256|classes|priority|seat", &why);
    if (rc != 0)
        return base_err_set(err, rc, place, "%s", why.msg);
    if (base_opt_word(entry, "name", c->name, sizeof c->name) != 0 || c->name[0] == '\0')
        return base_err_set(err, BASE_EINVAL, place, "name=… is missing or too long");
    rc = base_opt_word(entry, "listen", v, sizeof v);
    if (rc == 0) {
        if (strcmp(v, "unix") != 0 && strcmp(v, "tcp") != 0)
            return base_err_set(err, BASE_EINVAL, place, "listen is neither unix nor tcp");
        c->listen = strcmp(v, "unix") == 0 ? EDGE_LISTEN_UNIX : EDGE_LISTEN_TCP;
    }
    rc = base_opt_word(entry, "uid", v, sizeof v);
    if (rc == 0) {
        char *end;
        errno = 0;
        unsigned long uid = strtoul(v, &end, 10);
        if (errno != 0 || *end != '\0' || end == v || v[0] == '-' || uid >= UINT32_MAX)
            return base_err_set(err, BASE_EINVAL, place, "uid '%s' is not a number", v);
        if (c->listen == EDGE_LISTEN_TCP)
            return base_err_set(err, BASE_EINVAL, place, "uid is known only on the unix socket");
        c->have_uid = true;
        c->uid = (uid_t)uid;
    }
    rc = base_opt_word(entry, "key_sha256", v, sizeof v);
    if (rc == 0) {
        if (!key_parse(v, c->key_sha256))
            return base_err_set(err, BASE_EINVAL, place,
                                "key_sha256 is not 64 lower-case hex digits");
        c->have_key = true;
    }
    rc = base_opt_word(entry, "priority", v, sizeof v);
    if (rc == 0) {
        char *end;
        long n = strtol(v, &end, 10);
        if (*end != '\0' || end == v || n < -EDGE_MAX_PRIORITY || n > EDGE_MAX_PRIORITY)
            return base_err_set(err, BASE_EINVAL, place, "priority '%s' is not in %d..%d", v,
                                -EDGE_MAX_PRIORITY, EDGE_MAX_PRIORITY);
        c->priority = (int)n;
    }
    rc = base_opt_word(entry, "seat", c->seat, sizeof c->seat);
    if (rc == BASE_ELIMIT || (rc == 0 && !seat_ok(c->seat)))
        return base_err_set(err, BASE_EINVAL, place,
                            "seat is not a place: up to %zu letters, digits, '_' and '-'",
                            sizeof c->seat - 1);
    if (c->listen == EDGE_LISTEN_ANY && !c->have_uid && !c->have_key)
        return base_err_set(err, BASE_EINVAL, place, "needs one of listen, uid, key_sha256");
    rc = base_opt_word(entry, "classes", v, sizeof v);
    if (rc == BASE_ELIMIT)
        return base_err_set(err, rc, place, "classes is too long");
    return rc == 0 ? classes_parse(c, v, place, err) : 0;
}

int edge_callers_parse(struct edge_callers *out, const struct base_strlist *entries,
                       struct base_err *err)
{
    *out = (struct edge_callers){0};
    if (entries->n == 0)
        return 0;
    out->at = calloc((size_t)entries->n, sizeof *out->at);
    if (out->at == NULL)
        return base_err_set(err, BASE_ENOMEM, "caller", "out of memory");
    for (int i = 0; i < entries->n; i++) {
        int rc = caller_parse(&out->at[i], entries->item[i], err);
        if (rc != 0) {
            edge_callers_fini(out);
            return rc;
        }
        out->n++;
    }
    return 0;
}

/* A socket that is neither of ours fits nobody, and so does a key or a class that cannot be held.
 */
static bool caller_take(struct edge_caller *c, const struct rt_caller_decl *d)
{
    *c = (struct edge_caller){.priority = d->priority};
    snprintf(c->name, sizeof c->name, "%.63s", d->name);
    if (d->socket != NULL && strcmp(d->socket, "unix") != 0 && strcmp(d->socket, "tcp") != 0)
        return false;
    if (d->socket != NULL)
        c->listen = d->socket[0] == 'u' ? EDGE_LISTEN_UNIX : EDGE_LISTEN_TCP;
    c->have_uid = d->uid >= 0;
    c->uid = (uid_t)d->uid;
    c->have_key = d->key_sha256 != NULL;
    if (c->have_key && !key_parse(d->key_sha256, c->key_sha256))
        return false;
    for (int i = 0; i < d->n_label && c->n_cls < EDGE_MAX_CALLER_CLASS; i++) {
        if (strlen(d->label[i]) < sizeof c->cls[0])
            memcpy(c->cls[c->n_cls++], d->label[i], strlen(d->label[i]) + 1);
    }
    return c->listen != EDGE_LISTEN_ANY || c->have_uid || c->have_key;
}

int edge_callers_of_policy(struct edge_callers *out, const struct rt_policy *p)
{
    const int n = rt_policy_n_caller(p);
    *out = (struct edge_callers){0};
    if (n == 0)
        return 0;
    out->at = calloc((size_t)n, sizeof *out->at);
    if (out->at == NULL)
        return BASE_ENOMEM;
    for (int i = 0; i < n; i++)
        out->n += caller_take(&out->at[out->n], rt_policy_caller(p, i));
    return 0;
}

bool edge_caller_is_anonymous(const struct edge_caller *c)
{
    return c == &anonymous;
}

void edge_callers_fini(struct edge_callers *c)
{
    free(c->at);
    *c = (struct edge_callers){0};
}

/* Without an early exit: the time must not tell how much of a key was right. */
static bool same(const uint8_t *a, const uint8_t *b)
{
    unsigned d = 0;
    for (int i = 0; i < BASE_SHA256_BYTES; i++)
        d |= (unsigned)(a[i] ^ b[i]);
    return d == 0;
}

const struct edge_caller *edge_callers_find(const struct edge_callers *c, bool is_unix, uid_t uid,
                                            const char *authorization)
{
    uint8_t key[BASE_SHA256_BYTES];
    bool have_key = false;
    if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0) {
        const char *k = authorization + 7;
        have_key = *k != '\0' && base_sha256(k, strlen(k), key) == 0;
    }
    for (int i = 0; i < c->n; i++) {
        const struct edge_caller *a = &c->at[i];
        bool listen_ok = a->listen == EDGE_LISTEN_ANY || (a->listen == EDGE_LISTEN_UNIX) == is_unix;
        bool uid_ok = !a->have_uid || (is_unix && uid == a->uid);
        bool key_ok = !a->have_key || (have_key && same(a->key_sha256, key));
        if (listen_ok && uid_ok && key_ok)
            return a;
    }
    return &anonymous;
}

const char *edge_caller_cache_key(const struct edge_caller *c, bool is_unix, uid_t uid,
                                  char buf[EDGE_CACHE_KEY_MAX])
{
    buf[0] = '\0';
    if (is_unix)
        snprintf(buf, EDGE_CACHE_KEY_MAX, "%s uid=%lu", c->name, (unsigned long)uid);
    else if (c != &anonymous)
        snprintf(buf, EDGE_CACHE_KEY_MAX, "%s", c->name);
    return buf;
}

bool edge_caller_may(const struct edge_caller *c, const char *data_class)
{
    for (int i = 0; i < c->n_cls; i++) {
        const char *may = c->cls[i];
        const size_t n = strlen(may);
        if (strcmp(may, data_class) == 0)
            return true;
        if (n > 2 && strcmp(may + n - 2, ".*") == 0 && strncmp(may, data_class, n - 2) == 0 &&
            (data_class[n - 2] == '\0' || data_class[n - 2] == '.'))
            return true;
    }
    return false;
}
