#include "engine/gguf_int.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIN_KV_BYTES = 8 + 1 + 4 + 1, MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8 };

int gguf_fail(struct base_err *err, int code, const char *what, const char *name, const char *fmt,
              ...)
{
    char place[sizeof err->place], msg[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    snprintf(place, sizeof place, "%s%s%s", what, name[0] != '\0' ? " " : "", name);
    return base_err_set(err, code, place, "%s", msg);
}

int gguf_read_name(struct gguf_file *f, struct base_rd *r, const char *what, int index, size_t max,
                   const char **out, struct base_err *err)
{
    char nth[24];
    snprintf(nth, sizeof nth, "#%d", index);
    uint64_t len = base_rd_u64le(r);
    if (r->err == 0 && (len == 0 || len > max))
        return gguf_fail(err, BASE_EFORMAT, what, nth, "a name of %" PRIu64 " bytes (1 to %zu)",
                         len, max);
    const char *s = (const char *)base_rd_bytes(r, len);
    if (s == NULL)
        return gguf_fail(err, BASE_EFORMAT, what, nth, "the file ends inside the name");
    for (size_t i = 0; i < len; i++)
        if (s[i] < 0x21 || s[i] > 0x7e)
            return gguf_fail(err, BASE_EFORMAT, what, nth, "byte 0x%02x in the name",
                             (unsigned char)s[i]);
    *out = base_arena_strndup(&f->arena, s, (size_t)len);
    return *out != NULL ? 0 : gguf_fail(err, BASE_ENOMEM, what, nth, "out of memory");
}

/* ---- header ---- */

static int read_version(struct base_rd *r, struct base_err *err)
{
    const uint8_t *magic = base_rd_bytes(r, 4);
    uint32_t version = base_rd_u32le(r);
    if (magic == NULL || memcmp(magic, "GGUF", 4) != 0)
        return gguf_fail(err, BASE_EFORMAT, "header", "", "not a GGUF file (no magic number)");
    if (r->err != 0)
        return gguf_fail(err, BASE_EFORMAT, "header", "", "the file ends after the magic number");
    if ((version & 0xffff) == 0 && version != 0)
        return gguf_fail(err, BASE_EUNSUPPORTED, "header", "", "a big-endian file");
    if (version != 2 && version != 3)
        return gguf_fail(err, BASE_EUNSUPPORTED, "header", "", "version %" PRIu32 " (2 or 3)",
                         version);
    return 0;
}

static int check_count(const char *what, uint64_t n, uint64_t max, size_t left, size_t min_bytes,
                       struct base_err *err)
{
    if (n > max)
        return gguf_fail(err, BASE_ELIMIT, "header", "", "%" PRIu64 " %s (at most %" PRIu64 ")", n,
                         what, max);
    if (n > left / min_bytes)
        return gguf_fail(err, BASE_EFORMAT, "header", "", "%" PRIu64 " %s cannot fit in %zu bytes",
                         n, what, left);
    return 0;
}

static int read_counts(struct gguf_file *f, struct base_rd *r, struct base_err *err)
{
    uint64_t n_tensor = base_rd_u64le(r), n_kv = base_rd_u64le(r);
    size_t left = base_rd_left(r);
    if (r->err != 0)
        return gguf_fail(err, BASE_EFORMAT, "header", "", "the file ends inside the header");
    int rc = check_count("keys", n_kv, GGUF_MAX_KV, left, MIN_KV_BYTES, err);
    if (rc == 0)
        rc = check_count("tensors", n_tensor, GGUF_MAX_TENSOR, left, MIN_TENSOR_BYTES, err);
    if (rc != 0)
        return rc;
    f->n_kv = (int)n_kv;
    f->n_tensor = (int)n_tensor;
    f->kv = base_arena_get(&f->arena, n_kv * sizeof *f->kv);
    f->kv_by_key = base_arena_get(&f->arena, n_kv * sizeof *f->kv_by_key);
    f->tensor = base_arena_get(&f->arena, n_tensor * sizeof *f->tensor);
    f->tensor_by_name = base_arena_get(&f->arena, n_tensor * sizeof *f->tensor_by_name);
    if (f->kv == NULL || f->kv_by_key == NULL || f->tensor == NULL || f->tensor_by_name == NULL)
        return gguf_fail(err, BASE_ENOMEM, "header", "", "out of memory");
    return 0;
}

/* ---- tensor table ---- */

static int check_shape(struct gguf_tensor *t, const uint64_t *dim, struct base_err *err)
{
    const struct gguf_type_info *ti = gguf_type_info(t->type);
    int64_t n_row = 1;
    for (int i = 0; i < 4; i++) {
        if (dim[i] == 0 || dim[i] > INT64_MAX)
            return gguf_fail(err, BASE_EFORMAT, "tensor", t->name, "dimension %d is %" PRIu64, i,
                             dim[i]);
        t->dim[i] = (int64_t)dim[i];
        if (i > 0 && __builtin_mul_overflow(n_row, t->dim[i], &n_row))
            return gguf_fail(err, BASE_EFORMAT, "tensor", t->name, "its size overflows");
    }
    if (t->dim[0] % ti->block_elems != 0)
        return gguf_fail(err, BASE_EFORMAT, "tensor", t->name,
                         "rows of %" PRId64 " elements are not whole blocks of %d (%s)", t->dim[0],
                         ti->block_elems, ti->name);
    if (__builtin_mul_overflow(t->dim[0] / ti->block_elems, ti->block_bytes, &t->row_bytes) ||
        __builtin_mul_overflow(t->row_bytes, n_row, &t->n_bytes))
        return gguf_fail(err, BASE_EFORMAT, "tensor", t->name, "its size overflows");
    return 0;
}

/* data stays unset until the whole table is read and the data section is known. */
static int read_tensor(struct gguf_file *f, struct base_rd *r, int i, uint64_t *offset,
                       struct base_err *err)
{
    struct gguf_tensor *t = &f->tensor[i];
    const char *name;
    int rc = gguf_read_name(f, r, "tensor", i, sizeof t->name - 1, &name, err);
    if (rc != 0)
        return rc;
    memcpy(t->name, name, strlen(name) + 1);
    uint32_t n_dim = base_rd_u32le(r);
    if (r->err == 0 && (n_dim < 1 || n_dim > 4))
        return gguf_fail(err, BASE_EFORMAT, "tensor", t->name, "%" PRIu32 " dimensions (1 to 4)",
                         n_dim);
    uint64_t dim[4] = {1, 1, 1, 1};
    for (uint32_t d = 0; d < n_dim && r->err == 0; d++)
        dim[d] = base_rd_u64le(r);
    t->type = base_rd_u32le(r);
    *offset = base_rd_u64le(r);
    if (r->err != 0)
        return gguf_fail(err, BASE_EFORMAT, "tensor", t->name, "the file ends inside its entry");
    if (gguf_type_info(t->type)->name == NULL)
        return gguf_fail(err, BASE_EUNSUPPORTED, "tensor", t->name, "unknown type %" PRIu32,
                         t->type);
    t->n_dim = (int)n_dim;
    return check_shape(t, dim, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct gguf_tensor *const *)a)->name, (*(struct gguf_tensor *const *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(struct gguf_tensor *const *)a;
    const struct gguf_tensor *y = *(struct gguf_tensor *const *)b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static int check_offset(const struct gguf_tensor *t, uint64_t offset, size_t data_bytes,
                        uint32_t align, struct base_err *err)
{
    if (offset % align != 0)
        return gguf_fail(err, BASE_EFORMAT, "tensor", t->name,
                         "offset %" PRIu64 " is not a multiple of %" PRIu32, offset, align);
    if (offset > data_bytes || t->n_bytes > data_bytes - offset)
        return gguf_fail(err, BASE_EFORMAT, "tensor", t->name,
                         "%zu bytes at offset %" PRIu64 " reach past the file's %zu bytes of data",
                         t->n_bytes, offset, data_bytes);
    return 0;
}

static int check_order(struct gguf_file *f, struct base_err *err)
{
    struct gguf_tensor **order = f->tensor_by_name;
    size_t n = (size_t)f->n_tensor;
    qsort(order, n, sizeof *order, by_place);
    for (size_t i = 1; i < n; i++)
        if ((const uint8_t *)order[i - 1]->data + order[i - 1]->n_bytes >
            (const uint8_t *)order[i]->data)
            return gguf_fail(err, BASE_EFORMAT, "tensor", order[i]->name, "it overlaps %s",
                             order[i - 1]->name);
    qsort(order, n, sizeof *order, by_name);
    for (size_t i = 1; i < n; i++)
        if (by_name(&order[i - 1], &order[i]) == 0)
            return gguf_fail(err, BASE_EFORMAT, "tensor", order[i]->name, "it is given twice");
    return 0;
}

static int read_alignment(const struct gguf_file *f, uint32_t *align, struct base_err *err)
{
    bool found;
    *align = 32;
    int rc = gguf_get_u32(f, "general.alignment", align, &found, err);
    if (rc == 0 && (*align < 8 || *align > 65536 || (*align & (*align - 1)) != 0))
        rc = gguf_fail(err, BASE_EFORMAT, "key", "general.alignment",
                       "%" PRIu32 " is not a power of two from 8 to 65536", *align);
    return rc;
}

static int read_tensors(struct gguf_file *f, struct base_rd *r, struct base_err *err)
{
    uint32_t align;
    int rc = read_alignment(f, &align, err);
    uint64_t *offset = NULL;
    if (rc != 0 || f->n_tensor == 0)
        return rc;
    offset = calloc((size_t)f->n_tensor, sizeof *offset);
    if (offset == NULL)
        return gguf_fail(err, BASE_ENOMEM, "header", "", "out of memory");
    for (int i = 0; i < f->n_tensor; i++) {
        rc = read_tensor(f, r, i, &offset[i], err);
        if (rc != 0)
            goto out;
    }
    size_t pad = (align - r->pos % align) % align;
    if (base_rd_bytes(r, pad) == NULL && pad > 0) {
        rc = gguf_fail(err, BASE_EFORMAT, "header", "", "the file ends before the tensors' data");
        goto out;
    }
    for (int i = 0; i < f->n_tensor; i++) {
        rc = check_offset(&f->tensor[i], offset[i], base_rd_left(r), align, err);
        if (rc != 0)
            goto out;
        f->tensor[i].data = r->data + r->pos + offset[i];
        f->tensor_by_name[i] = &f->tensor[i];
    }
    rc = check_order(f, err);
out:
    free(offset);
    return rc;
}

/* ---- opening ---- */

int gguf_open_mem(struct gguf_file **out, const void *data, size_t size_bytes, struct base_err *err)
{
    *out = NULL;
    struct gguf_file *f = calloc(1, sizeof *f);
    if (f == NULL)
        return gguf_fail(err, BASE_ENOMEM, "header", "", "out of memory");
    f->map = data;
    f->fd = -1;
    f->size = size_bytes;
    base_arena_init(&f->arena, GGUF_MAX_META_BYTES);
    struct base_rd r;
    base_rd_init(&r, data, size_bytes);
    int rc = read_version(&r, err);
    if (rc == 0)
        rc = read_counts(f, &r, err);
    if (rc == 0)
        rc = gguf_read_kvs(f, &r, err);
    if (rc == 0)
        rc = read_tensors(f, &r, err);
    if (rc != 0) {
        gguf_close(f);
        return rc;
    }
    *out = f;
    return 0;
}

/* A path that names the file in an error of the parser. */
static void add_path(struct base_err *err, const char *path)
{
    const char *name = strrchr(path, '/');
    char place[sizeof err->place];
    if (err == NULL)
        return;
    snprintf(place, sizeof place, "%.80s: %.70s", name != NULL ? name + 1 : path, err->place);
    memcpy(err->place, place, sizeof place);
}

static int map_file(int fd, const char *path, const void **map, size_t *size, struct base_err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return base_err_set(err, BASE_EIO, path, "cannot stat: %s", strerror(errno));
    if (!S_ISREG(st.st_mode))
        return base_err_set(err, BASE_EIO, path, "not a regular file");
    if (st.st_size <= 0)
        return base_err_set(err, BASE_EFORMAT, path, "the file is empty");
    *size = (size_t)st.st_size;
    void *p = mmap(NULL, *size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return base_err_set(err, BASE_EIO, path, "cannot map %zu bytes: %s", *size,
                            strerror(errno));
    *map = p;
    return 0;
}

/* A file that is cut short while it is mapped makes the next read of a lost page a SIGBUS, which
 * ends the process. That is left so: it is fail-closed, and a handler that goes on with zeros for
 * weights would answer nonsense. What is done: the file's length is compared again after the header
 * was read, and the way to replace a model is to rename a new file over it (scripts/fetch-model
 * does), which leaves the old mapping whole. */
int gguf_open(struct gguf_file **out, const char *path, struct base_err *err)
{
    const void *map = NULL;
    size_t size = 0;
    struct stat st;
    struct gguf_file *f = NULL;
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return base_err_set(err, BASE_EIO, path, "cannot open: %s", strerror(errno));
    int rc = map_file(fd, path, &map, &size, err);
    if (rc != 0)
        goto out;
    rc = gguf_open_mem(&f, map, size, err);
    if (rc != 0) {
        add_path(err, path);
        goto out;
    }
    if (fstat(fd, &st) != 0 || (size_t)st.st_size != size) {
        rc = base_err_set(err, BASE_EIO, path, "the file changed while it was read");
        goto out;
    }
    f->fd = fd;
    *out = f;
    return 0;
out:
    gguf_close(f); /* the caller's memory, as yet */
    if (map != NULL)
        munmap((void *)map, size);
    close(fd);
    return rc;
}

void gguf_close(struct gguf_file *f)
{
    if (f == NULL)
        return;
    if (f->fd >= 0) {
        munmap((void *)f->map, f->size);
        close(f->fd);
    }
    base_arena_fini(&f->arena);
    free(f);
}

/* ---- access ---- */

size_t gguf_size_bytes(const struct gguf_file *f)
{
    return f->size;
}

int gguf_n_tensor(const struct gguf_file *f)
{
    return f->n_tensor;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf_file *f, int i)
{
    return &f->tensor[i];
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf_file *f, const char *name)
{
    int lo = 0, hi = f->n_tensor;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = strcmp(name, f->tensor_by_name[mid]->name);
        if (c == 0)
            return f->tensor_by_name[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

int gguf_tensor_get(const struct gguf_file *f, const char *name, int64_t d0, int64_t d1,
                    const struct gguf_tensor **out, struct base_err *err)
{
    const struct gguf_tensor *t = gguf_tensor_find(f, name);
    if (t == NULL)
        return gguf_fail(err, BASE_ENOTFOUND, "tensor", name, "the file has no such tensor");
    int64_t rows = d1 == 0 ? 1 : d1;
    if (t->dim[0] != d0 || t->dim[1] != rows || t->dim[2] != 1 || t->dim[3] != 1)
        return gguf_fail(err, BASE_EFORMAT, "tensor", name,
                         "expected %" PRId64 " x %" PRId64 ", found %" PRId64 " x %" PRId64
                         " x %" PRId64 " x %" PRId64,
                         d0, rows, t->dim[0], t->dim[1], t->dim[2], t->dim[3]);
    const struct gguf_type_info *ti = gguf_type_info(t->type);
    if (!ti->supported)
        return gguf_fail(err, BASE_EUNSUPPORTED, "tensor", name, "type %s", ti->name);
    *out = t;
    return 0;
}

void gguf_read(const struct gguf_file *f, const void *data, size_t n_bytes, void *out)
{
    const off_t at = (const uint8_t *)data - f->map;
    if (f->fd < 0 || pread(f->fd, out, n_bytes, at) != (ssize_t)n_bytes)
        memcpy(out, data, n_bytes);
}

void gguf_advise(const struct gguf_file *f, const void *data, size_t n_bytes, bool will_need)
{
    long page = sysconf(_SC_PAGESIZE);
    if (f->fd < 0 || page <= 0)
        return;
    /* The map starts on a page. Pages shared with a neighbour are fetched, but never given up. */
    size_t p = (size_t)page, begin = (size_t)((const uint8_t *)data - f->map);
    size_t end = begin + n_bytes;
    begin = (will_need ? begin : begin + p - 1) / p * p;
    end = (will_need ? end + p - 1 : end) / p * p;
    if (end > begin)
        (void)madvise((void *)(f->map + begin), end - begin,
                      will_need ? MADV_WILLNEED : MADV_DONTNEED);
}
