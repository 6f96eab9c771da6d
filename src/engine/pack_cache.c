/* A cache file: one page of header, then the panels as they lie in memory.
 *
 *   | magic 8 | version u32 | 0 u32 | key 16 | n_bytes u64 | hash 16 | 0 … |
 *   0         8             12      16       32            40        56  4096
 *
 * The hash is XXH3-128 of the pieces' XXH3-128, so that several threads can make it. */
#include "engine/pack_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/outfile.h"

enum { HEADER_BYTES = 4096, PATH_BYTES = 4096, PIECE_BYTES = 4 << 20, FORMAT = 2 };

struct header {
    char magic[8];
    uint32_t version, zero;
    uint8_t key[PACK_CACHE_KEY_BYTES];
    uint64_t n_bytes;
    uint8_t hash[BASE_XXH128_BYTES];
};

struct pack_cache {
    uint8_t *map; /* the file */
    size_t n_bytes;
    struct header want; /* but for its hash */
    char path[PATH_BYTES];
    atomic_size_t next; /* piece to hash */
    size_t n_piece;
    uint8_t hash[][BASE_XXH128_BYTES]; /* [n_piece] */
};

static struct header header_of(const uint8_t *key, size_t n_bytes)
{
    struct header h = {.magic = "WPPACK\r\n", .version = FORMAT, .n_bytes = n_bytes};
    memcpy(h.key, key, sizeof h.key);
    return h;
}

static size_t n_piece_of(size_t n_bytes)
{
    return (n_bytes + PIECE_BYTES - 1) / PIECE_BYTES;
}

static size_t piece_bytes(size_t n_bytes, size_t i)
{
    const size_t left = n_bytes - i * PIECE_BYTES;
    return left < PIECE_BYTES ? left : PIECE_BYTES;
}

static int path_of(char path[PATH_BYTES], const char *dir, const uint8_t *key, struct base_err *err)
{
    char hex[2 * PACK_CACHE_KEY_BYTES + 1];
    const int n =
        snprintf(path, PATH_BYTES, "%s/%s.pack", dir, base_hex(key, PACK_CACHE_KEY_BYTES, hex));
    if (n < 0 || n >= PATH_BYTES)
        return base_err_set(err, BASE_EINVAL, dir, "the path is too long");
    return 0;
}

/* Who can write the folder decides what the model says. */
static int check_dir(const char *dir, struct base_err *err)
{
    struct stat st;
    if (stat(dir, &st) != 0)
        return base_err_set(err, BASE_EIO, dir, "%s", strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return base_err_set(err, BASE_EIO, dir, "not a folder");
    if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return base_err_set(err, BASE_EPERM, dir,
                            "others can write to this folder: chown it to the daemon's user and "
                            "chmod it 0700");
    return 0;
}

int pack_cache_open(struct pack_cache **out, const char *dir,
                    const uint8_t key[PACK_CACHE_KEY_BYTES], size_t n_bytes, struct base_err *err)
{
    const size_t n_piece = n_piece_of(n_bytes), size = n_bytes + HEADER_BYTES;
    struct pack_cache *c = malloc(sizeof *c + n_piece * sizeof c->hash[0]);
    *out = NULL;
    if (c == NULL)
        return base_err_set(err, BASE_ENOMEM, "weights", "no memory for hashes");
    if (check_dir(dir, err) != 0 || path_of(c->path, dir, key, err) != 0) {
        free(c);
        return BASE_ENOTFOUND;
    }
    c->n_bytes = n_bytes;
    c->n_piece = n_piece;
    c->want = header_of(key, n_bytes);
    atomic_init(&c->next, 0);
    const int fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    void *map = MAP_FAILED;
    int rc = 0;
    if (fd < 0)
        rc = base_err_set(err, BASE_ENOTFOUND, c->path, "%s", strerror(errno));
    else if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size == size)
        map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && map == MAP_FAILED)
        rc = base_err_set(err, BASE_ENOTFOUND, c->path, "it has another size: it is made anew");
    if (rc != 0) {
        free(c);
        return rc;
    }
    c->map = map;
    *out = c;
    return 0;
}

void pack_cache_hash(struct pack_cache *c)
{
    for (size_t i; (i = atomic_fetch_add(&c->next, 1)) < c->n_piece;) {
        uint8_t *piece = c->map + HEADER_BYTES + i * PIECE_BYTES;
        const size_t n = piece_bytes(c->n_bytes, i);
#ifdef MADV_POPULATE_READ
        (void)madvise(piece, n, MADV_POPULATE_READ); /* one fault instead of one for 16 pages */
#endif
        base_xxh128(piece, n, c->hash[i]);
    }
}

uint8_t *pack_cache_accept(struct pack_cache *c, struct base_err *err)
{
    uint8_t *data = c->map + HEADER_BYTES;
    base_xxh128(c->hash, c->n_piece * sizeof c->hash[0], c->want.hash);
    if (memcmp(c->map, &c->want, sizeof c->want) != 0) {
        (void)base_err_set(err, BASE_ENOTFOUND, c->path,
                           "damaged, or of another version: it is made anew");
        pack_cache_unmap(data, c->n_bytes);
        data = NULL;
    }
    free(c);
    return data;
}

void pack_cache_unmap(uint8_t *data, size_t n_bytes)
{
    munmap(data - HEADER_BYTES, n_bytes + HEADER_BYTES);
}

int pack_cache_write(const char *dir, const uint8_t key[PACK_CACHE_KEY_BYTES], const uint8_t *data,
                     size_t n_bytes, struct base_err *err)
{
    char path[PATH_BYTES];
    uint8_t page[HEADER_BYTES] = {0}, hash[BASE_XXH128_BYTES];
    struct base_outfile out = BASE_OUTFILE_NONE;
    int rc = check_dir(dir, err);
    if (rc != 0 || (rc = path_of(path, dir, key, err)) != 0)
        return rc;
    struct header h = header_of(key, n_bytes);
    struct base_xxh *all = base_xxh_new();
    if (all == NULL)
        return base_err_set(err, BASE_ENOMEM, path, "no memory for a hash");
    for (size_t i = 0; i < n_piece_of(n_bytes); i++) {
        base_xxh128(data + i * PIECE_BYTES, piece_bytes(n_bytes, i), hash);
        base_xxh_add(all, hash, sizeof hash);
    }
    base_xxh_end(all, h.hash);
    memcpy(page, &h, sizeof h);
    if ((rc = base_outfile_open(&out, path, true, err)) != 0)
        return rc;
    if (fchmod(out.fd, 0600) != 0)
        rc = base_err_set(err, BASE_EIO, path, "%s", strerror(errno));
    if (rc == 0 && (rc = base_outfile_write(&out, page, sizeof page, err)) == 0 &&
        (rc = base_outfile_write(&out, data, n_bytes, err)) == 0)
        rc = base_outfile_commit(&out, err);
    base_outfile_abort(&out);
    return rc;
}
