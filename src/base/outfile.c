#include "base/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const struct base_outfile *o, int code, const char *what, struct base_err *err)
{
    if (errno == EEXIST)
        return base_err_set(err, BASE_EPERM, o->path, "it exists already");
    return base_err_set(err, code, o->path, "cannot %s: %s", what, strerror(errno));
}

static int open_folder(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return -1;
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    return fd;
}

/* No name as long as it is not whole: then even a kill -9 leaves nothing. */
static int open_nameless(const struct base_outfile *o)
{
    return openat(o->dir_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
}

static int open_named(struct base_outfile *o)
{
    for (unsigned k = 0; k < 100; k++) {
        snprintf(o->tmp, strlen(o->path) + 24, "%s.part-%d-%u", o->path, (int)getpid(), k);
        const int fd = open(o->tmp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd >= 0)
            return fd;
        o->tmp[0] = '\0'; /* not ours to remove */
        if (errno != EEXIST)
            break;
    }
    return -1;
}

int base_outfile_open(struct base_outfile *o, const char *path, bool force, struct base_err *err)
{
    struct stat st;
    *o = (struct base_outfile){.fd = -1, .dir_fd = -1, .force = force};
    o->path = strdup(path);
    o->tmp = calloc(1, strlen(path) + 24);
    int rc = 0;
    if (o->path == NULL || o->tmp == NULL)
        rc = base_err_set(err, BASE_ENOMEM, path, "out of memory");
    else if (lstat(path, &st) == 0 && !force)
        rc = base_err_set(err, BASE_EPERM, path, "it exists already");
    else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        rc = base_err_set(err, BASE_EPERM, path, "it is there and no regular file");
    if (rc == 0) {
        errno = ENOMEM; /* where open_folder has no memory */
        o->dir_fd = open_folder(path);
        if (o->dir_fd < 0)
            rc = fail(o, errno == ENOMEM ? BASE_ENOMEM : BASE_EIO, "open its folder", err);
    }
    if (rc == 0) {
        o->fd = open_nameless(o);
        if (o->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
            o->fd = open_named(o);
        if (o->fd < 0)
            rc = fail(o, BASE_EIO, "create it", err);
    }
    if (rc != 0)
        base_outfile_abort(o);
    return rc;
}

int base_outfile_reserve(struct base_outfile *o, uint64_t n_bytes, struct base_err *err)
{
    if (n_bytes == 0 || fallocate(o->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)n_bytes) == 0 ||
        errno == EOPNOTSUPP || errno == ENOSYS)
        return 0;
    return base_err_set(err, BASE_EIO, o->path, "no room for %llu bytes: %s",
                        (unsigned long long)n_bytes, strerror(errno));
}

int base_outfile_write(struct base_outfile *o, const void *p, size_t n_bytes, struct base_err *err)
{
    const uint8_t *b = p;
    while (n_bytes > 0) {
        const ssize_t k = write(o->fd, b, n_bytes);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            errno = k == 0 ? ENOSPC : errno;
            return fail(o, BASE_EIO, "write", err);
        }
        b += k;
        n_bytes -= (size_t)k;
    }
    return 0;
}

static int name_nameless(struct base_outfile *o, const char *name)
{
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", o->fd);
    return linkat(AT_FDCWD, self, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

/* A link can't replace a file: then it gets a temporary name first. */
static int give_name(struct base_outfile *o)
{
    if (o->tmp[0] == '\0') {
        if (!o->force)
            return name_nameless(o, o->path);
        int rc = -1;
        for (unsigned k = 0; k < 100 && rc != 0; k++) {
            snprintf(o->tmp, strlen(o->path) + 24, "%s.part-%d-%u", o->path, (int)getpid(), k);
            rc = name_nameless(o, o->tmp);
            if (rc != 0) {
                o->tmp[0] = '\0';
                if (errno != EEXIST)
                    return rc;
            }
        }
        if (rc != 0)
            return rc;
    }
    int rc = renameat2(AT_FDCWD, o->tmp, AT_FDCWD, o->path, o->force ? 0 : RENAME_NOREPLACE);
    if (rc != 0 && !o->force && (errno == EINVAL || errno == ENOSYS)) {
        rc = link(o->tmp, o->path); /* an old file system: atomic all the same */
        if (rc == 0)
            (void)unlink(o->tmp);
    }
    if (rc == 0)
        o->tmp[0] = '\0';
    return rc;
}

/* So that the name survives a power cut; not every file system can. */
static int sync_folder(const struct base_outfile *o)
{
    return fsync(o->dir_fd) == 0 || errno == EINVAL || errno == EROFS ? 0 : -1;
}

int base_outfile_commit(struct base_outfile *o, struct base_err *err)
{
    int rc = 0;
    if (fsync(o->fd) != 0)
        rc = fail(o, BASE_EIO, "flush", err);
    else if (give_name(o) != 0)
        rc = fail(o, BASE_EIO, "put it in its place", err);
    else if (sync_folder(o) != 0)
        rc = fail(o, BASE_EIO, "flush its folder", err);
    base_outfile_abort(o);
    return rc;
}

void base_outfile_abort(struct base_outfile *o)
{
    if (o->tmp != NULL && o->tmp[0] != '\0')
        (void)unlink(o->tmp);
    if (o->fd >= 0)
        close(o->fd);
    if (o->dir_fd >= 0)
        close(o->dir_fd);
    free(o->tmp);
    free(o->path);
    *o = (struct base_outfile)BASE_OUTFILE_NONE;
}

int base_outfile_put(const char *path, bool force, const void *p, size_t n_bytes,
                     struct base_err *err)
{
    struct base_outfile o = BASE_OUTFILE_NONE;
    int rc = base_outfile_open(&o, path, force, err);
    if (rc == 0)
        rc = base_outfile_write(&o, p, n_bytes, err);
    if (rc == 0)
        rc = base_outfile_commit(&o, err);
    base_outfile_abort(&o);
    return rc;
}
