/* A file that appears whole or not at all: written beside its place under no name (or, where the
 * file system can't do that, a temporary one), flushed, then given its name. One thread at a time.
 */
#ifndef BASE_OUTFILE_H
#define BASE_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct base_outfile {
    int fd;     /* -1: closed */
    int dir_fd; /* its folder */
    char *path; /* where it will appear */
    char *tmp;  /* its present name; "": none */
    bool force; /* replaces what is there */
};

#define BASE_OUTFILE_NONE      \
    {                          \
        .fd = -1, .dir_fd = -1 \
    }

/* Without force, something at path is an error, now and at the end (whoever puts it there meanwhile
 * wins). Mode 0666 less the umask. Errors: BASE_EPERM (it exists), BASE_EIO, BASE_ENOMEM. *o may be
 * aborted after an error too. */
int base_outfile_open(struct base_outfile *o, const char *path, bool force,
                      struct base_err *err) BASE_MUST_CHECK;

/* Takes n_bytes of the disk now, so that a full one is told before the work, where the file system
 * can. BASE_EIO. */
int base_outfile_reserve(struct base_outfile *o, uint64_t n_bytes,
                         struct base_err *err) BASE_MUST_CHECK;

/* Appends. BASE_EIO. */
int base_outfile_write(struct base_outfile *o, const void *p, size_t n_bytes,
                       struct base_err *err) BASE_MUST_CHECK;

/* Flushes it, gives it its name and flushes the folder. Only if that last flush fails is the file
 * there in spite of the error. BASE_EIO, BASE_EPERM (it exists). */
int base_outfile_commit(struct base_outfile *o, struct base_err *err) BASE_MUST_CHECK;

/* All of that for bytes that are there already: path holds p[n_bytes], or what it held before. Errors
 * as above. */
int base_outfile_put(const char *path, bool force, const void *p, size_t n_bytes,
                     struct base_err *err) BASE_MUST_CHECK;

/* Forgets what was written. Does nothing after base_outfile_commit, or on BASE_OUTFILE_NONE. */
void base_outfile_abort(struct base_outfile *o);

#endif
