#include "wire/mp.h"

#include <math.h>
#include <string.h>

#include "wire/scan.h"

static int write_cb(void *data, const char *p, size_t len)
{
    return base_buf_add(data, p, len);
}

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

static bool text_ok(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (is_control((uint8_t)s[i]))
            return false;
    }
    return wire_utf8_ok((const uint8_t *)s, len);
}

static void put_str(struct mp_writer *w, const char *s, size_t len)
{
    msgpack_pack_str(&w->pk, len);
    msgpack_pack_str_body(&w->pk, s, len);
}

void mp_put_text(struct mp_writer *w, const char *s, size_t size)
{
    size_t len = strnlen(s, size);
    if (len == size || !text_ok(s, len)) {
        w->err = BASE_EINVAL;
        return;
    }
    put_str(w, s, len);
}

/* A message for people must always get through: whatever it quotes is made harmless here. */
static void put_message(struct mp_writer *w, const char *s, size_t size)
{
    char clean[1024];
    size_t len = strnlen(s, size - 1);
    if (len > sizeof clean)
        len = sizeof clean;
    memcpy(clean, s, len);
    bool whole = wire_utf8_ok((const uint8_t *)s, len);
    for (size_t i = 0; i < len; i++) {
        if (is_control((uint8_t)clean[i]) || (!whole && (clean[i] & 0x80) != 0))
            clean[i] = '?';
    }
    put_str(w, clean, len);
}

void mp_put_real(struct mp_writer *w, float v, double min, double max)
{
    if (!isfinite(v) || v < min || v > max)
        w->err = BASE_EINVAL;
    else
        msgpack_pack_float(&w->pk, v);
}

static void put_field(struct mp_writer *w, const struct mp_field *f, const void *s)
{
    const void *at = (const char *)s + f->offset;
    switch (f->kind) {
    case MP_INT: {
        int v = *(const int *)at;
        if (v < f->min || v > f->max)
            w->err = BASE_EINVAL;
        else
            msgpack_pack_int(&w->pk, v);
        break;
    }
    case MP_U32:
        msgpack_pack_uint32(&w->pk, *(const uint32_t *)at);
        break;
    case MP_U64:
        msgpack_pack_uint64(&w->pk, *(const uint64_t *)at);
        break;
    case MP_REAL:
        mp_put_real(w, *(const float *)at, f->min, f->max);
        break;
    case MP_BOOL:
        if (*(const bool *)at)
            msgpack_pack_true(&w->pk);
        else
            msgpack_pack_false(&w->pk);
        break;
    case MP_BYTES:
        msgpack_pack_bin(&w->pk, f->size);
        msgpack_pack_bin_body(&w->pk, at, f->size);
        break;
    case MP_TEXT:
        mp_put_text(w, at, f->size);
        break;
    case MP_MESSAGE:
        put_message(w, at, f->size);
        break;
    case MP_SPECIAL:
        f->put(w, s);
        break;
    }
}

int mp_write(struct base_buf *out, int type, const struct mp_field *f, int n, const void *s)
{
    struct mp_writer w = {.out = out};
    msgpack_packer_init(&w.pk, out, write_cb);
    msgpack_pack_map(&w.pk, (size_t)n + 1);
    msgpack_pack_int(&w.pk, 0);
    msgpack_pack_int(&w.pk, type);
    for (int i = 0; i < n && w.err == 0; i++) {
        msgpack_pack_int(&w.pk, i + 1);
        put_field(&w, &f[i], s);
    }
    return w.err != 0 ? w.err : out->err;
}

int mp_open(struct mp_message *m, const uint8_t *p, size_t len, size_t *at, struct base_err *err)
{
    msgpack_unpacked_init(&m->unpacked);
    m->map = NULL;
    int rc = wire_scan(p, len, at, err);
    if (rc != 0)
        return rc;
    size_t off = 0;
    *at = 0;
    switch (msgpack_unpack_next(&m->unpacked, (const char *)p, len, &off)) {
    case MSGPACK_UNPACK_SUCCESS:
        break;
    case MSGPACK_UNPACK_NOMEM_ERROR:
        return base_err_set(err, BASE_ENOMEM, NULL, "out of memory");
    default:
        return base_err_set(err, BASE_EFORMAT, NULL, "not msgpack");
    }
    m->map = &m->unpacked.data.via.map;
    const msgpack_object_kv *kv = m->map->ptr;
    if (m->map->size == 0 || kv->key.via.u64 != 0 ||
        kv->val.type != MSGPACK_OBJECT_POSITIVE_INTEGER || kv->val.via.u64 > 127)
        return base_err_set(err, BASE_EFORMAT, NULL,
                            "key 0 (the type) is missing or no small number");
    m->type = (int)kv->val.via.u64;
    return 0;
}

void mp_close(struct mp_message *m)
{
    msgpack_unpacked_destroy(&m->unpacked);
}

static int wrong_type(struct base_err *err, const char *want)
{
    return base_err_set(err, BASE_EFORMAT, NULL, "is not %s", want);
}

static int get_int(const msgpack_object *v, int *out, double min, double max, struct base_err *err)
{
    int64_t n;
    if (v->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        n = v->via.i64;
    else if (v->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        n = v->via.u64 > INT64_MAX ? INT64_MAX : (int64_t)v->via.u64;
    else
        return wrong_type(err, "an integer");
    if ((double)n < min || (double)n > max)
        return base_err_set(err, BASE_EFORMAT, NULL, "%lld is not in [%.0f, %.0f]", (long long)n,
                            min, max);
    *out = (int)n;
    return 0;
}

static int get_uint(const msgpack_object *v, uint64_t *out, uint64_t max, struct base_err *err)
{
    if (v->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return wrong_type(err, "an unsigned integer");
    if (v->via.u64 > max)
        return base_err_set(err, BASE_EFORMAT, NULL, "%llu is over %llu",
                            (unsigned long long)v->via.u64, (unsigned long long)max);
    *out = v->via.u64;
    return 0;
}

int mp_get_real(const msgpack_object *v, float *out, double min, double max, struct base_err *err)
{
    if (v->type != MSGPACK_OBJECT_FLOAT32 && v->type != MSGPACK_OBJECT_FLOAT64)
        return wrong_type(err, "a float");
    double x = v->via.f64;
    if (!isfinite(x) || x < min || x > max || !isfinite((float)x))
        return base_err_set(err, BASE_EFORMAT, NULL, "%g is not a number in [%g, %g]", x, min, max);
    *out = (float)x;
    return 0;
}

int mp_get_text(const msgpack_object *v, char *out, size_t size, struct base_err *err)
{
    if (v->type != MSGPACK_OBJECT_STR)
        return wrong_type(err, "text");
    size_t len = v->via.str.size;
    if (len >= size)
        return base_err_set(err, BASE_EFORMAT, NULL, "%zu bytes of text, at most %zu", len,
                            size - 1);
    if (!text_ok(v->via.str.ptr, len))
        return base_err_set(err, BASE_EFORMAT, NULL, "text with control characters");
    if (len > 0) /* msgpack-c's pointer to no bytes is NULL */
        memcpy(out, v->via.str.ptr, len);
    out[len] = '\0';
    return 0;
}

static int get_bytes(const msgpack_object *v, void *out, size_t size, struct base_err *err)
{
    if (v->type != MSGPACK_OBJECT_BIN)
        return wrong_type(err, "bytes");
    if (v->via.bin.size != size)
        return base_err_set(err, BASE_EFORMAT, NULL, "%u bytes, not %zu", v->via.bin.size, size);
    memcpy(out, v->via.bin.ptr, size);
    return 0;
}

static int get_field(const struct mp_field *f, const msgpack_object *v, void *s, void *ctx,
                     struct base_err *err)
{
    void *at = (char *)s + f->offset;
    uint64_t u = 0;
    int rc;
    switch (f->kind) {
    case MP_INT:
        return get_int(v, at, f->min, f->max, err);
    case MP_U32:
        rc = get_uint(v, &u, UINT32_MAX, err);
        *(uint32_t *)at = (uint32_t)u;
        return rc;
    case MP_U64:
        return get_uint(v, at, UINT64_MAX, err);
    case MP_REAL:
        return mp_get_real(v, at, f->min, f->max, err);
    case MP_BOOL:
        if (v->type != MSGPACK_OBJECT_BOOLEAN)
            return wrong_type(err, "true or false");
        *(bool *)at = v->via.boolean;
        return 0;
    case MP_BYTES:
        return get_bytes(v, at, f->size, err);
    case MP_TEXT:
    case MP_MESSAGE:
        return mp_get_text(v, at, f->size, err);
    case MP_SPECIAL:
        return f->get(v, s, ctx, err);
    }
    return BASE_EINTERNAL;
}

int mp_read(const struct mp_message *m, const struct mp_field *f, int n, void *s, void *ctx,
            struct base_err *err)
{
    /* Keys ascend and start at 0, so the right number of them with the right last one is all. */
    uint32_t want = (uint32_t)n + 1;
    if (m->map->size != want || m->map->ptr[n].key.via.u64 != (uint64_t)n)
        return base_err_set(err, BASE_EFORMAT, NULL,
                            "type %d has keys 0 to %d, all of them, no others", m->type, n);
    for (int i = 0; i < n; i++) {
        struct base_err why = {0};
        int rc = get_field(&f[i], &m->map->ptr[i + 1].val, s, ctx, &why);
        if (rc != 0)
            return base_err_set(err, rc, NULL, "key %d (%s): %s", i + 1, f[i].name, why.msg);
    }
    return 0;
}
