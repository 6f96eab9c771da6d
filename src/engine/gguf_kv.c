#include "engine/gguf_int.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_KV_TYPE = GGUF_KV_F64 + 1 };

/* bytes: of one value; 0: has its own length. */
static const struct {
    const char *name;
    uint8_t bytes;
} kind[N_KV_TYPE] = {
    [GGUF_KV_U8] = {"u8", 1},     [GGUF_KV_I8] = {"i8", 1},     [GGUF_KV_U16] = {"u16", 2},
    [GGUF_KV_I16] = {"i16", 2},   [GGUF_KV_U32] = {"u32", 4},   [GGUF_KV_I32] = {"i32", 4},
    [GGUF_KV_F32] = {"f32", 4},   [GGUF_KV_BOOL] = {"bool", 1}, [GGUF_KV_STR] = {"string", 0},
    [GGUF_KV_ARR] = {"array", 0}, [GGUF_KV_U64] = {"u64", 8},   [GGUF_KV_I64] = {"i64", 8},
    [GGUF_KV_F64] = {"f64", 8},
};

static int truncated(const struct gguf_kv *kv, const struct base_rd *r, struct base_err *err)
{
    return gguf_fail(err, BASE_EFORMAT, "key", kv->key,
                     "the value does not fit in the file (it is cut at byte %zu of %zu)",
                     r->err_pos, r->size);
}

/* Strings carry their lengths inside, so they are walked once here and trusted afterwards. */
static void skip_strings(struct base_rd *r, uint64_t n)
{
    for (uint64_t i = 0; i < n && r->err == 0; i++)
        (void)base_rd_bytes(r, base_rd_u64le(r));
}

static int read_array(struct gguf_kv *kv, struct base_rd *r, struct base_err *err)
{
    uint32_t elem = base_rd_u32le(r);
    kv->n = base_rd_u64le(r);
    if (r->err != 0)
        return truncated(kv, r, err);
    if (elem >= N_KV_TYPE)
        return gguf_fail(err, BASE_EFORMAT, "key", kv->key, "array of unknown kind %" PRIu32, elem);
    if (elem == GGUF_KV_ARR)
        return gguf_fail(err, BASE_EUNSUPPORTED, "key", kv->key, "an array of arrays");
    kv->elem = elem;
    size_t begin = r->pos, each = elem == GGUF_KV_STR ? 8 : kind[elem].bytes;
    if (kv->n > base_rd_left(r) / each)
        return gguf_fail(err, BASE_EFORMAT, "key", kv->key,
                         "%" PRIu64 " elements of %s do not fit in the %zu bytes left", kv->n,
                         kind[elem].name, base_rd_left(r));
    if (elem == GGUF_KV_STR)
        skip_strings(r, kv->n);
    else
        (void)base_rd_bytes(r, kv->n * each);
    if (r->err != 0)
        return truncated(kv, r, err);
    kv->data = r->data + begin;
    kv->n_bytes = r->pos - begin;
    if (elem == GGUF_KV_BOOL)
        for (size_t i = 0; i < kv->n_bytes; i++)
            if (kv->data[i] > 1)
                return gguf_fail(err, BASE_EFORMAT, "key", kv->key, "%u is not a bool",
                                 kv->data[i]);
    return 0;
}

static int read_kv(struct gguf_file *f, struct base_rd *r, int i, struct base_err *err)
{
    struct gguf_kv *kv = &f->kv[i];
    int rc = gguf_read_name(f, r, "key", i, GGUF_MAX_KEY_BYTES, &kv->key, err);
    if (rc != 0)
        return rc;
    uint32_t type = base_rd_u32le(r);
    if (r->err != 0)
        return truncated(kv, r, err);
    if (type >= N_KV_TYPE)
        return gguf_fail(err, BASE_EFORMAT, "key", kv->key, "unknown value kind %" PRIu32, type);
    kv->type = type;
    if (type == GGUF_KV_ARR)
        return read_array(kv, r, err);
    kv->n = type == GGUF_KV_STR ? base_rd_u64le(r) : 1;
    uint64_t n_bytes = type == GGUF_KV_STR ? kv->n : kind[type].bytes;
    kv->data = base_rd_bytes(r, n_bytes);
    if (r->err != 0)
        return truncated(kv, r, err);
    kv->n_bytes = (size_t)n_bytes;
    if (type == GGUF_KV_BOOL && kv->data[0] > 1)
        return gguf_fail(err, BASE_EFORMAT, "key", kv->key, "%u is not a bool", kv->data[0]);
    return 0;
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(struct gguf_kv *const *)a)->key, (*(struct gguf_kv *const *)b)->key);
}

int gguf_read_kvs(struct gguf_file *f, struct base_rd *r, struct base_err *err)
{
    for (int i = 0; i < f->n_kv; i++) {
        int rc = read_kv(f, r, i, err);
        if (rc != 0)
            return rc;
        f->kv_by_key[i] = &f->kv[i];
    }
    if (f->n_kv > 0)
        qsort(f->kv_by_key, (size_t)f->n_kv, sizeof *f->kv_by_key, by_key);
    for (int i = 1; i < f->n_kv; i++)
        if (by_key(&f->kv_by_key[i - 1], &f->kv_by_key[i]) == 0)
            return gguf_fail(err, BASE_EFORMAT, "key", f->kv_by_key[i]->key, "it is given twice");
    return 0;
}

static const struct gguf_kv *kv_find(const struct gguf_file *f, const char *key)
{
    int lo = 0, hi = f->n_kv;
    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = strcmp(key, f->kv_by_key[mid]->key);
        if (c == 0)
            return f->kv_by_key[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static int wrong_kind(const struct gguf_kv *kv, const char *want, struct base_err *err)
{
    return gguf_fail(err, BASE_EFORMAT, "key", kv->key, "expected %s, found %s", want,
                     kind[kv->type].name);
}

static uint64_t load_le(const uint8_t *p, size_t n_bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, n_bytes);
    return le64toh(v);
}

/* An integer of any kind; *neg when it is below zero. false: not an integer. */
static bool load_int(const struct gguf_kv *kv, uint64_t *v, bool *neg)
{
    unsigned bits = kind[kv->type].bytes * 8u;
    *neg = false;
    switch (kv->type) {
    case GGUF_KV_I8:
    case GGUF_KV_I16:
    case GGUF_KV_I32:
    case GGUF_KV_I64:
        *v = load_le(kv->data, kv->n_bytes);
        *neg = (*v >> (bits - 1)) & 1;
        if (*neg && bits < 64)
            *v |= UINT64_MAX << bits;
        return true;
    case GGUF_KV_U8:
    case GGUF_KV_U16:
    case GGUF_KV_U32:
    case GGUF_KV_U64:
        *v = load_le(kv->data, kv->n_bytes);
        return true;
    default:
        return false;
    }
}

static double load_real(const struct gguf_kv *kv)
{
    struct base_rd r;
    base_rd_init(&r, kv->data, kv->n_bytes);
    return kv->type == GGUF_KV_F32 ? (double)base_rd_f32le(&r) : base_rd_f64le(&r);
}

int gguf_get_u32(const struct gguf_file *f, const char *key, uint32_t *out, bool *found,
                 struct base_err *err)
{
    const struct gguf_kv *kv = kv_find(f, key);
    uint64_t v;
    bool neg;
    *found = kv != NULL;
    if (kv == NULL)
        return 0;
    if (!load_int(kv, &v, &neg))
        return wrong_kind(kv, "an integer", err);
    if (neg || v > UINT32_MAX)
        return neg ? gguf_fail(err, BASE_EFORMAT, "key", key, "%" PRId64 " is below 0", (int64_t)v)
                   : gguf_fail(err, BASE_EFORMAT, "key", key, "%" PRIu64 " is above %" PRIu32, v,
                               UINT32_MAX);
    *out = (uint32_t)v;
    return 0;
}

int gguf_get_f32(const struct gguf_file *f, const char *key, float *out, bool *found,
                 struct base_err *err)
{
    const struct gguf_kv *kv = kv_find(f, key);
    *found = kv != NULL;
    if (kv == NULL)
        return 0;
    if (kv->type != GGUF_KV_F32 && kv->type != GGUF_KV_F64)
        return wrong_kind(kv, "f32", err);
    *out = (float)load_real(kv);
    return 0;
}

int gguf_get_bool(const struct gguf_file *f, const char *key, bool *out, bool *found,
                  struct base_err *err)
{
    const struct gguf_kv *kv = kv_find(f, key);
    *found = kv != NULL;
    if (kv == NULL)
        return 0;
    if (kv->type != GGUF_KV_BOOL)
        return wrong_kind(kv, "bool", err);
    *out = kv->data[0] != 0;
    return 0;
}

int gguf_get_str(const struct gguf_file *f, const char *key, struct gguf_str *out, bool *found,
                 struct base_err *err)
{
    const struct gguf_kv *kv = kv_find(f, key);
    *found = kv != NULL;
    if (kv == NULL)
        return 0;
    if (kv->type != GGUF_KV_STR)
        return wrong_kind(kv, "a string", err);
    *out = (struct gguf_str){(const char *)kv->data, kv->n_bytes};
    return 0;
}

int gguf_get_arr(const struct gguf_file *f, const char *key, enum gguf_kv_type elem, uint64_t *n,
                 bool *found, struct base_err *err)
{
    const struct gguf_kv *kv = kv_find(f, key);
    *found = kv != NULL;
    *n = 0;
    if (kv == NULL)
        return 0;
    if (kv->type != GGUF_KV_ARR)
        return wrong_kind(kv, "an array", err);
    if (kv->elem != elem)
        return gguf_fail(err, BASE_EFORMAT, "key", key, "expected an array of %s, found one of %s",
                         kind[elem].name, kind[kv->elem].name);
    *n = kv->n;
    return 0;
}

struct gguf_strs gguf_arr_strs(const struct gguf_file *f, const char *key)
{
    const struct gguf_kv *kv = kv_find(f, key);
    if (kv == NULL || kv->type != GGUF_KV_ARR || kv->elem != GGUF_KV_STR)
        return (struct gguf_strs){NULL, NULL};
    return (struct gguf_strs){kv->data, kv->data + kv->n_bytes};
}

/* The lengths were checked when the file was opened. */
struct gguf_str gguf_strs_next(struct gguf_strs *s)
{
    if (s->at == s->end)
        return (struct gguf_str){"", 0};
    const size_t len = (size_t)load_le(s->at, 8);
    const struct gguf_str str = {(const char *)s->at + 8, len};
    s->at += 8 + len;
    return str;
}

const void *gguf_arr_data(const struct gguf_file *f, const char *key)
{
    const struct gguf_kv *kv = kv_find(f, key);
    return kv != NULL && kv->type == GGUF_KV_ARR && kv->elem != GGUF_KV_STR ? kv->data : NULL;
}

int gguf_n_kv(const struct gguf_file *f)
{
    return f->n_kv;
}

const char *gguf_kv_key(const struct gguf_file *f, int i)
{
    return f->kv[i].key;
}

/* The file's text goes to a terminal: control bytes become '.', long ones are cut. */
static void print_str(const struct gguf_kv *kv, char *buf, size_t size_bytes)
{
    size_t n = kv->n_bytes < size_bytes ? kv->n_bytes : size_bytes - 1;
    for (size_t i = 0; i < n; i++)
        buf[i] = kv->data[i] < 0x20 || kv->data[i] == 0x7f ? '.' : (char)kv->data[i];
    buf[n] = '\0';
    if (n < kv->n_bytes && n > 3)
        memcpy(buf + n - 3, "...", 3);
}

const char *gguf_kv_print(const struct gguf_file *f, int i, char *buf, size_t size_bytes)
{
    const struct gguf_kv *kv = &f->kv[i];
    uint64_t v;
    bool neg;
    if (kv->type == GGUF_KV_STR)
        print_str(kv, buf, size_bytes);
    else if (kv->type == GGUF_KV_ARR)
        snprintf(buf, size_bytes, "[%" PRIu64 " %s]", kv->n, kind[kv->elem].name);
    else if (kv->type == GGUF_KV_BOOL)
        snprintf(buf, size_bytes, "%s", kv->data[0] != 0 ? "true" : "false");
    else if (load_int(kv, &v, &neg) && neg)
        snprintf(buf, size_bytes, "%" PRId64, (int64_t)v);
    else if (load_int(kv, &v, &neg))
        snprintf(buf, size_bytes, "%" PRIu64, v);
    else
        snprintf(buf, size_bytes, "%g", load_real(kv));
    return buf;
}
