/* A policy as it lies on the disk: the file, what it includes, and the signature beside it. All
 * come out of one folder, opened once: where its path goes through a link (`current -> b`),
 * switching the link in the middle of reading mixes nothing. Links further in are refused. One
 * thread at a time. */
#ifndef STORE_FILES_H
#define STORE_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "router/router.h"

enum {
    STORE_MAX_FILE = RT_MAX_SOURCE, /* the file and all that it includes */
    STORE_MAX_DEPTH = 8,
    STORE_MAX_NAME = 128,
    STORE_MAX_SIG_BYTES = 16 << 10,
};

struct store_set {
    struct rt_source src[STORE_MAX_FILE]; /* [n], owned; the file given first, then as it is read */
    int depth[STORE_MAX_FILE];
    int n;
    size_t bytes;
    char *sig;                        /* FILE.sig; NULL: there is none */
    uint8_t hash[BASE_SHA256_BYTES];  /* of all names and contents */
    uint8_t stamp[BASE_XXH128_BYTES]; /* of the files as they were read */
};

/* STORE_BY_HAND: what somebody at a terminal names may be a link, a pipe, "-" for standard input, or
 * writable by anybody, and the first name is not looked at; a text that is too long is cut one byte
 * behind the limit, so that the compiler says where that is; there are no signature, hash and stamp. */
enum { STORE_BY_HAND = 1 };

/* Reads path and what it includes, beside it, each file once. Errors: BASE_EIO, BASE_ENOTFOUND,
 * BASE_EPERM (a link, no regular file, one that anybody may write), BASE_ELIMIT (number, bytes: with the
 * place, depth), BASE_EINVAL (a name that leads out), BASE_ENOMEM. After an error *s holds the names that
 * were met, and is to be freed all the same. */
int store_set_read(struct store_set *s, const char *path, unsigned flags,
                   struct base_err *err) BASE_MUST_CHECK;
/* The same by hand, with a text that stands for path's own. */
int store_set_read_text(struct store_set *s, const char *path, const char *text, size_t len,
                        struct base_err *err) BASE_MUST_CHECK;
void store_set_fini(struct store_set *s);

/* The list of files, as signed and hashed: a line `file NAME SHA256` for each. Errors: those of
 * buf, BASE_EINTERNAL. */
int store_set_list(const struct store_set *s, struct base_buf *out) BASE_MUST_CHECK;

/* The whole set as one text, and back. unpack: BASE_EFORMAT, BASE_ELIMIT, BASE_ENOMEM. */
int store_set_pack(const struct store_set *s, struct base_buf *out) BASE_MUST_CHECK;
int store_set_unpack(struct store_set *s, const char *place, const uint8_t *p, size_t len,
                     struct base_err *err) BASE_MUST_CHECK;

/* Sizes, times and inode numbers of path, its signature and the files that s names, as they are
 * now: to be compared with s->stamp. Missing files count too. */
void store_set_stamp(const struct store_set *s, const char *path, uint8_t out[BASE_XXH128_BYTES]);

/* One whole regular file that only its owner's group may write. NUL-terminated, malloc'd. */
int store_file_read(int dir_fd, const char *name, const char *place, size_t max_bytes, char **out,
                    size_t *len, struct base_err *err) BASE_MUST_CHECK;

#endif
