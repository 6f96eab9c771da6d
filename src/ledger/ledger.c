#include "ledger/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger/record.h"

static const char zero_hash[65] =
    "0000000000000000000000000000000000000000000000000000000000000000";

struct ledger {
    int fd;
    char *path;
    uint64_t next_seq;
    char head[65];
    off_t size; /* of the file, whole records only */
    bool failed;
};

static int fail_errno(const char *place, const char *what, struct base_err *err)
{
    return base_err_set(err, BASE_EIO, place, "%s: %s", what, strerror(errno));
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return -1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int read_at(int fd, char *p, size_t n, off_t at)
{
    while (n > 0) {
        ssize_t r = pread(fd, p, n, at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return -1;
        p += r;
        at += r;
        n -= (size_t)r;
    }
    return 0;
}

/* A new file's name is durable only once its directory is. */
static int sync_dir(const char *path, struct base_err *err)
{
    int e = 0;
    char *copy = strdup(path);
    if (copy == NULL)
        return base_err_set(err, BASE_ENOMEM, path, "out of memory");
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        e = fail_errno(path, "its folder cannot be synced", err);
    if (fd >= 0)
        close(fd);
    free(copy);
    return e;
}

/* Keeps the bytes after the last whole record as evidence, then cuts them off. */
static int set_aside(struct ledger *l, const char *torn, size_t n, struct base_err *err)
{
    char name[4200];
    int len = snprintf(name, sizeof name, "%s.torn-%llu", l->path, (unsigned long long)l->next_seq);
    if (len < 0 || (size_t)len >= sizeof name)
        return base_err_set(err, BASE_ELIMIT, l->path, "the path is too long");
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write_all(fd, torn, n) == 0 && fsync(fd) == 0;
    int e = ok ? 0 : fail_errno(name, "cannot keep the torn record", err);
    if (fd >= 0)
        close(fd);
    if (e == 0)
        e = sync_dir(name, err);
    if (e == 0 && (ftruncate(l->fd, l->size) != 0 || fsync(l->fd) != 0))
        e = fail_errno(l->path, "cannot cut the torn record off", err);
    if (e == 0)
        base_err_set(err, 0, l->path, "%zu bytes of a torn record were moved to %s", n, name);
    return e;
}

/* Finds the last whole record in tail, which ends at the end of the file; len bytes from offset at.
 */
static int take_tail(struct ledger *l, const char *tail, size_t len, off_t at, struct base_err *err)
{
    const char *nl = memrchr(tail, '\n', len);
    size_t whole = nl != NULL ? (size_t)(nl - tail) + 1 : 0;
    if ((whole == 0 && at > 0) || len - whole > LEDGER_MAX_LINE)
        return base_err_set(err, BASE_EFORMAT, l->path, "its end is longer than any record");
    l->size = at + (off_t)whole;
    if (whole > 0) {
        const char *before = memrchr(tail, '\n', whole - 1);
        const char *line = before != NULL ? before + 1 : tail;
        size_t n = whole - 1 - (size_t)(line - tail);
        if ((before == NULL && at > 0) || n > LEDGER_MAX_LINE)
            return base_err_set(err, BASE_EFORMAT, l->path,
                                "its last line is longer than any record");
        struct ledger_record r;
        char prev[65], place[sizeof err->place];
        snprintf(place, sizeof place, "%.140s: last record", l->path);
        int e = ledger_parse(&r, prev, line, n, place, err);
        if (e != 0)
            return e;
        memcpy(l->head, r.hash, sizeof l->head);
        l->next_seq = r.seq + 1;
    }
    return len > whole ? set_aside(l, tail + whole, len - whole, err) : 0;
}

static int read_end(struct ledger *l, off_t size, struct base_err *err)
{
    /* A torn record after a whole one, each at its longest. */
    size_t len = 2 * (LEDGER_MAX_LINE + 1);
    if ((off_t)len > size)
        len = (size_t)size;
    if (len == 0)
        return 0;
    char *tail = malloc(len);
    if (tail == NULL)
        return base_err_set(err, BASE_ENOMEM, l->path, "out of memory");
    off_t at = size - (off_t)len;
    int e = read_at(l->fd, tail, len, at) != 0 ? fail_errno(l->path, "cannot be read", err)
                                               : take_tail(l, tail, len, at, err);
    free(tail);
    return e;
}

static int check_file(const struct ledger *l, const struct stat *st, struct base_err *err)
{
    if (!S_ISREG(st->st_mode))
        return base_err_set(err, BASE_EPERM, l->path, "not a regular file");
    if (st->st_uid != geteuid())
        return base_err_set(err, BASE_EPERM, l->path, "belongs to user %u, not to us (%u)",
                            (unsigned)st->st_uid, (unsigned)geteuid());
    if ((st->st_mode & 022) != 0)
        return base_err_set(err, BASE_EPERM, l->path, "others can write it (mode %03o)",
                            (unsigned)st->st_mode & 0777);
    return 0;
}

static int open_locked(struct ledger *l, struct base_err *err)
{
    struct stat st;
    /* O_NONBLOCK: opening a pipe somebody put there must not hang. */
    l->fd = open(l->path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (l->fd < 0)
        return fail_errno(l->path, "cannot be opened for writing", err);
    if (fstat(l->fd, &st) != 0)
        return fail_errno(l->path, "fstat", err);
    int e = check_file(l, &st, err);
    if (e != 0)
        return e;
    if (flock(l->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? base_err_set(err, BASE_EBUSY, l->path, "another process writes this ledger")
                   : fail_errno(l->path, "flock", err);
    e = sync_dir(l->path, err);
    /* The size only counts once the lock is ours. */
    if (e == 0 && fstat(l->fd, &st) != 0)
        e = fail_errno(l->path, "fstat", err);
    return e != 0 ? e : read_end(l, st.st_size, err);
}

int ledger_open(struct ledger **out, const char *path, struct base_err *err)
{
    *out = NULL;
    struct ledger *l = calloc(1, sizeof *l);
    if (l == NULL)
        return base_err_set(err, BASE_ENOMEM, path, "out of memory");
    l->fd = -1;
    l->next_seq = 1;
    memcpy(l->head, zero_hash, sizeof l->head);
    l->path = strdup(path);
    int e = l->path == NULL ? base_err_set(err, BASE_ENOMEM, path, "out of memory")
                            : open_locked(l, err);
    if (e != 0)
        ledger_close(l);
    else
        *out = l;
    return e;
}

void ledger_close(struct ledger *l)
{
    if (l == NULL)
        return;
    if (l->fd >= 0)
        close(l->fd);
    free(l->path);
    free(l);
}

/* A ledger that somebody moved, removed or wrote to is no longer where the officer looks. */
static int check_in_place(const struct ledger *l, struct base_err *err)
{
    struct stat ours, named;
    if (fstat(l->fd, &ours) != 0)
        return fail_errno(l->path, "fstat", err);
    if (lstat(l->path, &named) != 0 || named.st_ino != ours.st_ino || named.st_dev != ours.st_dev)
        return base_err_set(err, BASE_EFORMAT, l->path, "the file was moved or removed");
    if (ours.st_size != l->size)
        return base_err_set(err, BASE_EFORMAT, l->path, "%lld bytes long, we left it at %lld",
                            (long long)ours.st_size, (long long)l->size);
    return 0;
}

static int append(struct ledger *l, struct ledger_record *r, struct base_err *err)
{
    char *line = NULL;
    r->seq = l->next_seq;
    int e = check_in_place(l, err);
    if (e == 0)
        e = ledger_line(&line, r, l->head, err);
    if (e != 0)
        return e;
    size_t n = strlen(line);
    line[n++] = '\n'; /* takes the NUL's place: one write a record */
    if (write_all(l->fd, line, n) != 0)
        e = fail_errno(l->path, "cannot be written", err);
    else if (fdatasync(l->fd) != 0)
        e = fail_errno(l->path, "cannot be flushed to the medium", err);
    free(line);
    if (e == 0) {
        memcpy(l->head, r->hash, sizeof l->head);
        l->next_seq++;
        l->size += (off_t)n;
    }
    return e;
}

int ledger_append(struct ledger *l, struct ledger_record *r, struct base_err *err)
{
    if (l->failed)
        return base_err_set(err, BASE_EIO, l->path, "refused after an earlier error");
    int e = append(l, r, err);
    /* After a failed flush the kernel may forget the dirty pages: a later success would prove
     * nothing. */
    l->failed = e != 0;
    return e;
}

static int read_lines(FILE *f, const char *path, char *buf, ledger_read_cb *cb, void *arg,
                      char head[65], struct base_err *err)
{
    uint64_t seq = 0;
    while (fgets(buf, LEDGER_MAX_LINE + 2, f) != NULL) {
        struct ledger_record r;
        char place[sizeof err->place], prev[65];
        size_t n = strlen(buf); /* a NUL inside makes the line end early, so malformed */
        seq++;
        snprintf(place, sizeof place, "%.135s:%llu", path, (unsigned long long)seq);
        if (n == 0 || buf[n - 1] != '\n')
            return base_err_set(err, BASE_EFORMAT, place,
                                "the record is not complete, or too long");
        int e = ledger_parse(&r, prev, buf, n - 1, place, err);
        if (e != 0)
            return e;
        if (r.seq != seq)
            return base_err_set(err, BASE_EFORMAT, place,
                                "record %llu stands where record %llu belongs",
                                (unsigned long long)r.seq, (unsigned long long)seq);
        if (strcmp(prev, head) != 0)
            return base_err_set(err, BASE_EFORMAT, place,
                                "the chain is broken: the record before has the hash %s, not %s",
                                head, prev);
        memcpy(head, r.hash, sizeof r.hash);
        e = cb != NULL ? cb(&r, arg) : 0;
        if (e != 0)
            return e;
    }
    return ferror(f) ? fail_errno(path, "cannot be read", err) : 0;
}

int ledger_read(const char *path, ledger_read_cb *cb, void *arg, char head[65],
                struct base_err *err)
{
    char last[65];
    memcpy(last, zero_hash, sizeof last);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return fail_errno(path, "cannot be opened", err);
    char *buf = malloc(LEDGER_MAX_LINE + 2);
    int e = buf == NULL ? base_err_set(err, BASE_ENOMEM, path, "out of memory")
                        : read_lines(f, path, buf, cb, arg, last, err);
    free(buf);
    fclose(f);
    if (head != NULL)
        memcpy(head, last, sizeof last);
    return e;
}
