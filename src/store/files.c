#include "store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FROM_STDIN = 0x100 }; /* one flag more, between functions here */

#define PACK_HEAD "waypost-policy-set 1\n"

static int no_memory(const char *place, struct base_err *err)
{
    return base_err_set(err, BASE_ENOMEM, place, "out of memory");
}

/* ---- names and folders ---- */

/* Of [A-Za-z0-9._-], not beginning with a dot: a file beside the first, as the compiler has it. */
static bool name_ok(const char *s)
{
    const size_t n = strlen(s);
    return n > 0 && n <= STORE_MAX_NAME && s[0] != '.' &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

/* The folder that path stands in, and path's last part in *base (into copy, malloc'd). -1: errno.
 */
static int folder_open(const char *path, char **copy, const char **base)
{
    *copy = strdup(path);
    if (*copy == NULL)
        return -1;
    char *slash = strrchr(*copy, '/');
    *base = slash != NULL ? slash + 1 : *copy;
    if (slash == NULL)
        return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *slash = '\0';
    return open(slash == *copy ? "/" : *copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Never through a link; and a FIFO must not make anybody wait. -1: errno. */
static int open_in(int dir_fd, const char *name)
{
    return openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static int open_by_hand(int dir_fd, const char *name, unsigned flags)
{
    return (flags & FROM_STDIN) != 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                                     : openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
}

/* ---- reading ---- */

/* What of a file shows that it is another one, or was written to. NULL: it is not there. */
static void stamp_add(struct base_xxh *h, const struct stat *st)
{
    int64_t v[7] = {0};
    if (st != NULL) {
        const int64_t now[7] = {(int64_t)st->st_dev, (int64_t)st->st_ino, (int64_t)st->st_size,
                                st->st_mtim.tv_sec,  st->st_mtim.tv_nsec, st->st_ctim.tv_sec,
                                st->st_ctim.tv_nsec};
        memcpy(v, now, sizeof v);
    }
    base_xxh_add(h, v, sizeof v);
}

static int fd_check(int fd, const char *place, size_t max_bytes, struct stat *st,
                    struct base_err *err)
{
    if (fstat(fd, st) != 0)
        return base_err_set(err, BASE_EIO, place, "cannot stat: %s", strerror(errno));
    if (!S_ISREG(st->st_mode))
        return base_err_set(err, BASE_EPERM, place, "is no regular file");
    if ((st->st_mode & S_IWOTH) != 0)
        return base_err_set(err, BASE_EPERM, place, "anybody may write to it (mode %04o)",
                            (unsigned)(st->st_mode & 07777));
    if ((uint64_t)st->st_size > max_bytes)
        return base_err_set(err, BASE_ELIMIT, place, "has %lld bytes; %zu are left for it",
                            (long long)st->st_size, max_bytes);
    return 0;
}

/* cut: of more than max_bytes, those. */
static int fd_read(int fd, const char *place, size_t max_bytes, bool cut, struct base_buf *b,
                   struct base_err *err)
{
    uint8_t piece[8192];
    while (!cut || b->len < max_bytes) {
        const size_t left = max_bytes - b->len;
        const ssize_t n = read(fd, piece, cut && left < sizeof piece ? left : sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return base_err_set(err, BASE_EIO, place, "cannot read: %s", strerror(errno));
        if (n == 0)
            break;
        if (base_buf_add(b, piece, (size_t)n) == BASE_ELIMIT)
            return base_err_set(err, BASE_ELIMIT, place, "grew past %zu bytes", max_bytes);
    }
    return base_buf_cstr(b) == NULL ? no_memory(place, err) : 0;
}

static int file_read(int dir_fd, const char *name, unsigned flags, const char *place,
                     size_t max_bytes, char **out, size_t *len, struct stat *st,
                     struct base_err *err)
{
    struct base_buf b;
    const bool by_hand = (flags & STORE_BY_HAND) != 0;
    const int fd = by_hand ? open_by_hand(dir_fd, name, flags) : open_in(dir_fd, name);
    if (fd < 0) {
        const bool gone = errno == ENOENT;
        return base_err_set(err,
                            gone             ? BASE_ENOTFOUND
                            : errno == ELOOP ? BASE_EPERM
                                             : BASE_EIO,
                            place, "cannot open: %s",
                            errno == ELOOP ? "it is a link" : strerror(errno));
    }
    base_buf_init(&b, max_bytes + 1); /* and the NUL */
    int rc = by_hand ? 0 : fd_check(fd, place, max_bytes, st, err);
    if (rc == 0)
        rc = fd_read(fd, place, max_bytes, by_hand, &b, err);
    close(fd);
    if (rc == 0) {
        *out = (char *)b.data;
        *len = b.len;
        b.data = NULL;
    }
    base_buf_fini(&b);
    return rc;
}

int store_file_read(int dir_fd, const char *name, const char *place, size_t max_bytes, char **out,
                    size_t *len, struct base_err *err)
{
    struct stat st;
    return file_read(dir_fd, name, 0, place, max_bytes, out, len, &st, err);
}

/* ---- the set ---- */

struct reader {
    struct store_set *s;
    struct base_xxh *stamp;
    const char *path;
    unsigned flags;
    int from; /* whose includes are being read */
    struct base_err *err;
    int rc;
};

/* A name for a file to be read; its text comes later. */
static void name_add(struct reader *r, const char *name)
{
    struct store_set *s = r->s;
    const char *place = s->n > 0 ? s->src[r->from].name : r->path;
    for (int i = 0; i < s->n; i++) {
        if (strcmp(s->src[i].name, name) == 0)
            return;
    }
    if (!name_ok(name) && (s->n > 0 || (r->flags & STORE_BY_HAND) == 0))
        r->rc = base_err_set(r->err, BASE_EINVAL, place,
                             "'%.80s' is no name of a policy file", name);
    else if (s->n == STORE_MAX_FILE)
        r->rc = base_err_set(r->err, BASE_ELIMIT, place, "more than %d files", STORE_MAX_FILE);
    else if (s->n > 0 && s->depth[r->from] + 1 >= STORE_MAX_DEPTH)
        r->rc = base_err_set(r->err, BASE_ELIMIT, place, "includes are more than %d deep",
                             STORE_MAX_DEPTH);
    else if ((s->src[s->n].name = strdup(name)) == NULL)
        r->rc = no_memory(place, r->err);
    else {
        s->src[s->n].text = NULL;
        s->depth[s->n] = s->n > 0 ? s->depth[r->from] + 1 : 0;
        s->n++;
    }
}

static int on_include(void *arg, const char *name)
{
    struct reader *r = arg;
    name_add(r, name);
    return r->rc;
}

/* A text that is too long: where the limit is crossed is what one can do something about. */
static int too_long(int dir_fd, const char *name, size_t max_bytes, struct base_err *err)
{
    struct stat st;
    struct base_err why = {0};
    char *text = NULL, place[STORE_MAX_NAME + 32];
    size_t len = 0;
    int line = 1, col = 1;
    if (file_read(dir_fd, name, STORE_BY_HAND, name, max_bytes, &text, &len, &st, &why) == 0)
        rt_text_place(text, len, &line, &col);
    free(text);
    snprintf(place, sizeof place, "%s:%d:%d", name, line, col);
    return base_err_set(err, BASE_ELIMIT, place,
                        "a policy has at most %d bytes, all its files together; this is the first "
                        "too many",
                        RT_MAX_TEXT_BYTES);
}

static int text_read(struct reader *r, int i, int dir_fd)
{
    struct store_set *s = r->s;
    const bool by_hand = (r->flags & STORE_BY_HAND) != 0;
    const size_t left = RT_MAX_TEXT_BYTES - s->bytes;
    struct stat st;
    char *text = NULL;
    size_t len = 0;
    const bool given = by_hand && i == 0; /* by the person */
    const unsigned from = given && strcmp(r->path, "-") == 0 ? FROM_STDIN : 0;
    int rc = file_read(dir_fd, s->src[i].name, r->flags | from, given ? r->path : s->src[i].name,
                       left + by_hand, &text, &len, &st, r->err);
    if (rc == BASE_ELIMIT)
        rc = too_long(dir_fd, s->src[i].name, left, r->err);
    if (rc != 0)
        return rc;
    if (!by_hand)
        stamp_add(r->stamp, &st);
    s->src[i].text = text;
    s->src[i].len = len;
    s->bytes += len < left ? len : left;
    return 0;
}

static int sig_read(struct reader *r, int dir_fd)
{
    char name[STORE_MAX_NAME + 8];
    size_t len = 0;
    struct stat st;
    struct base_err why = {0};
    snprintf(name, sizeof name, "%s.sig", r->s->src[0].name);
    int rc = file_read(dir_fd, name, 0, name, STORE_MAX_SIG_BYTES, &r->s->sig, &len, &st, &why);
    stamp_add(r->stamp, rc == 0 ? &st : NULL);
    if (rc == 0 && strlen(r->s->sig) != len)
        return base_err_set(r->err, BASE_EFORMAT, name, "has a NUL in it");
    if (rc != 0 && rc != BASE_ENOTFOUND && r->err != NULL)
        *r->err = why;
    return rc == BASE_ENOTFOUND ? 0 : rc;
}

static int hash_set(struct store_set *s, struct base_err *err)
{
    struct base_buf b;
    base_buf_init(&b, STORE_MAX_FILE * (STORE_MAX_NAME + 128));
    int rc = store_set_list(s, &b);
    if (rc == 0)
        rc = base_sha256(b.data, b.len, s->hash);
    base_buf_fini(&b);
    return rc == 0 ? 0 : base_err_set(err, rc, s->src[0].name, "cannot be hashed");
}

/* Everything that name number 0 leads to. */
static void all_read(struct reader *r, int dir_fd)
{
    struct store_set *s = r->s;
    const bool by_hand = (r->flags & STORE_BY_HAND) != 0;
    for (int i = 0; r->rc == 0 && i < s->n; i++) {
        r->from = i;
        if (s->src[i].text == NULL)
            r->rc = text_read(r, i, dir_fd);
        /* What is no policy at all includes nothing: the compiler says what is wrong with it. */
        if (r->rc == 0 && rt_policy_includes(s->src[i].text, s->src[i].len, on_include, r) != 0 &&
            r->rc == 0)
            r->rc = no_memory(s->src[i].name, r->err);
        if (r->rc == 0 && i == 0 && !by_hand)
            r->rc = sig_read(r, dir_fd);
    }
    if (r->rc == 0 && !by_hand)
        r->rc = hash_set(s, r->err);
}

/* text: what stands for the first file's, or NULL; taken. */
static int set_read(struct store_set *s, const char *path, unsigned flags, char *text, size_t len,
                    struct base_err *err)
{
    char *copy = NULL;
    const char *base = "";
    *s = (struct store_set){.n = 0};
    const int dir_fd = folder_open(path, &copy, &base);
    struct reader r = {.s = s, .path = path, .flags = flags, .err = err};
    if (copy == NULL || (r.stamp = base_xxh_new()) == NULL)
        r.rc = no_memory(path, err);
    else if (dir_fd < 0)
        r.rc = base_err_set(err, BASE_EIO, path, "cannot open its folder: %s", strerror(errno));
    else
        name_add(&r, base);
    if (r.rc == 0) {
        s->src[0].text = text;
        s->src[0].len = text != NULL ? len : 0;
        s->bytes = text != NULL && len < RT_MAX_TEXT_BYTES ? len
                   : text != NULL                          ? RT_MAX_TEXT_BYTES
                                                           : 0;
        all_read(&r, dir_fd);
    } else {
        free(text);
    }
    if (dir_fd >= 0)
        close(dir_fd);
    free(copy);
    if (r.stamp != NULL)
        base_xxh_end(r.stamp, s->stamp);
    return r.rc;
}

int store_set_read(struct store_set *s, const char *path, unsigned flags, struct base_err *err)
{
    return set_read(s, path, flags, NULL, 0, err);
}

int store_set_read_text(struct store_set *s, const char *path, const char *text, size_t len,
                        struct base_err *err)
{
    const size_t most = RT_MAX_TEXT_BYTES + (size_t)1, n = len < most ? len : most;
    char *copy = malloc(n + 1);
    *s = (struct store_set){.n = 0};
    if (copy == NULL)
        return no_memory(path, err);
    memcpy(copy, text, n);
    copy[n] = '\0';
    return set_read(s, path, STORE_BY_HAND, copy, n, err);
}

void store_set_fini(struct store_set *s)
{
    for (int i = 0; i < s->n; i++) {
        free((char *)s->src[i].name);
        free((char *)s->src[i].text);
    }
    free(s->sig);
    *s = (struct store_set){.n = 0};
}

int store_set_list(const struct store_set *s, struct base_buf *out)
{
    uint8_t hash[BASE_SHA256_BYTES];
    char hex[2 * BASE_SHA256_BYTES + 1];
    for (int i = 0; i < s->n; i++) {
        if (base_sha256(s->src[i].text, s->src[i].len, hash) != 0)
            return BASE_EINTERNAL;
        base_buf_printf(out, "file %s %s\n", s->src[i].name, base_hex(hash, sizeof hash, hex));
    }
    return out->err;
}

/* ---- one text ---- */

int store_set_pack(const struct store_set *s, struct base_buf *out)
{
    base_buf_str(out, PACK_HEAD);
    for (int i = 0; i < s->n; i++) {
        base_buf_printf(out, "%s %zu\n", s->src[i].name, s->src[i].len);
        base_buf_add(out, s->src[i].text, s->src[i].len);
    }
    base_buf_printf(out, "/ %zu\n", s->sig != NULL ? strlen(s->sig) : 0);
    return base_buf_str(out, s->sig != NULL ? s->sig : "");
}

/* `NAME LENGTH\n` and so many bytes at *at. The name is in name[], the bytes in a copy with a NUL.
 */
static char *part_take(const uint8_t *p, size_t len, size_t *at, char name[STORE_MAX_NAME + 1],
                       size_t *n_bytes)
{
    char head[STORE_MAX_NAME + 32];
    const uint8_t *nl = memchr(p + *at, '\n', len - *at);
    const size_t n = nl != NULL ? (size_t)(nl - (p + *at)) : sizeof head;
    if (n >= sizeof head)
        return NULL;
    memcpy(head, p + *at, n);
    head[n] = '\0';
    int end = 0;
    unsigned long long size = 0;
    if (sscanf(head, "%128s %llu%n", name, &size, &end) != 2 || (size_t)end != n ||
        size > len - *at - n - 1)
        return NULL;
    char *copy = malloc((size_t)size + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, p + *at + n + 1, (size_t)size);
    copy[size] = '\0';
    *at += n + 1 + (size_t)size;
    *n_bytes = (size_t)size;
    return copy;
}

int store_set_unpack(struct store_set *s, const char *place, const uint8_t *p, size_t len,
                     struct base_err *err)
{
    size_t at = strlen(PACK_HEAD), n = 0;
    char name[STORE_MAX_NAME + 1];
    bool whole = len >= at && memcmp(p, PACK_HEAD, at) == 0;
    *s = (struct store_set){.n = 0};
    while (whole && s->sig == NULL) {
        char *text = part_take(p, len, &at, name, &n);
        if (text != NULL && strcmp(name, "/") == 0) {
            s->sig = text;
            whole = strlen(text) == n && at == len && s->n > 0;
            break;
        }
        whole = text != NULL && name_ok(name) && s->n < STORE_MAX_FILE;
        char *copy = whole ? strdup(name) : NULL;
        if (copy == NULL) {
            free(text);
            whole = false;
            break;
        }
        s->src[s->n++] = (struct rt_source){.name = copy, .text = text, .len = n};
        s->bytes += n;
    }
    int rc = whole ? hash_set(s, err)
                   : base_err_set(err, BASE_EFORMAT, place, "is no whole set of policy files");
    if (rc == 0 && s->sig[0] == '\0') {
        free(s->sig);
        s->sig = NULL;
    }
    if (rc != 0)
        store_set_fini(s);
    return rc;
}

/* ---- changes ---- */

static void stamp_now(struct base_xxh *h, int dir_fd, const char *name)
{
    struct stat st;
    const int fd = open_in(dir_fd, name);
    stamp_add(h, fd >= 0 && fstat(fd, &st) == 0 ? &st : NULL);
    if (fd >= 0)
        close(fd);
}

void store_set_stamp(const struct store_set *s, const char *path, uint8_t out[BASE_XXH128_BYTES])
{
    char *copy = NULL, sig[STORE_MAX_NAME + 8];
    const char *base = "";
    struct base_xxh *h = base_xxh_new();
    memset(out, 0, BASE_XXH128_BYTES);
    if (h == NULL)
        return;
    const int dir_fd = folder_open(path, &copy, &base);
    if (dir_fd >= 0 && name_ok(base)) {
        snprintf(sig, sizeof sig, "%s.sig", base);
        stamp_now(h, dir_fd, base);
        stamp_now(h, dir_fd, sig);
        for (int i = 1; i < s->n; i++)
            stamp_now(h, dir_fd, s->src[i].name);
    }
    if (dir_fd >= 0)
        close(dir_fd);
    free(copy);
    base_xxh_end(h, out);
}
