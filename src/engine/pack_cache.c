/* A cache file: one page of header, then the panels as they lie in memory.
 *
 *   | magic 8 | version u32 | 0 u32 | key 16 | n_bytes u64 | XXH3-128 of the panels 16 | 0 … |
 *   0         8             12      16       32            40                          56  4096 */
#include "engine/pack_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/outfile.h"

enum { HEADER_BYTES = 4096, PATH_BYTES = 4096, FORMAT = 1 };

struct header {
    char magic[8];
    uint32_t version, zero;
    uint8_t key[PACK_CACHE_KEY_BYTES];
    uint64_t n_bytes;
    uint8_t hash[BASE_XXH128_BYTES];
};

static struct header header_of(const uint8_t *key, const uint8_t *data, size_t n_bytes)
{
    struct header h = {.magic = "WPPACK\r\n", .version = FORMAT, .n_bytes = n_bytes};
    memcpy(h.key, key, sizeof h.key);
    base_xxh128(data, n_bytes, h.hash);
    return h;
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

static int check_content(const char *path, const uint8_t *map, const uint8_t *key, size_t n_bytes,
                         struct base_err *err)
{
    const struct header want = header_of(key, map + HEADER_BYTES, n_bytes);
    if (memcmp(map, &want, sizeof want) != 0)
        return base_err_set(err, BASE_ENOTFOUND, path,
                            "damaged, or of another version: it is made anew");
    return 0;
}

int pack_cache_map(const char *dir, const uint8_t key[PACK_CACHE_KEY_BYTES], size_t n_bytes,
                   uint8_t **out, struct base_err *err)
{
    char path[PATH_BYTES];
    int rc = check_dir(dir, err);
    if (rc != 0 || (rc = path_of(path, dir, key, err)) != 0)
        return BASE_ENOTFOUND;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return base_err_set(err, BASE_ENOTFOUND, path, "%s", strerror(errno));
    struct stat st;
    void *map = MAP_FAILED;
    const size_t size = n_bytes + HEADER_BYTES;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size == size)
        map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return base_err_set(err, BASE_ENOTFOUND, path, "it has another size: it is made anew");
    rc = check_content(path, map, key, n_bytes, err);
    if (rc != 0) {
        munmap(map, size);
        return rc;
    }
    *out = (uint8_t *)map + HEADER_BYTES;
    return 0;
}

void pack_cache_unmap(uint8_t *data, size_t n_bytes)
{
    munmap(data - HEADER_BYTES, n_bytes + HEADER_BYTES);
}

int pack_cache_write(const char *dir, const uint8_t key[PACK_CACHE_KEY_BYTES], const uint8_t *data,
                     size_t n_bytes, struct base_err *err)
{
    char path[PATH_BYTES];
    uint8_t page[HEADER_BYTES] = {0};
    struct base_outfile out = BASE_OUTFILE_NONE;
    int rc = check_dir(dir, err);
    if (rc != 0 || (rc = path_of(path, dir, key, err)) != 0)
        return rc;
    const struct header h = header_of(key, data, n_bytes);
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
