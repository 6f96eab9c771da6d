#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../fixtures/gguf_put.h"

/* A sound file: 6 keys, a 4 x 2 F32 matrix and a Q8_0 vector of 32. Tests bend one thing of it. */
struct bend {
    const char *what;
    int code;
    const char *place;
    uint32_t version;        /* 0: 3 */
    uint64_t n_tensor, n_kv; /* 0: right */
    uint32_t align;          /* 0: none given */
    const char *key, *name;  /* of the second key and tensor */
    uint32_t kv_type, elem;
    uint64_t arr_n, str_len;
    uint32_t n_dim, type;
    uint64_t dim0, dim1, offset;
    int bool_value;
};

static void put_keys(struct base_buf *b, const struct bend *x)
{
    put_kv_u32(b, "u", 7);
    if (x->align != 0)
        put_kv_u32(b, "general.alignment", x->align);
    else
        put_kv_f32(b, "f", 0.5f);
    put_str(b, x->key, strlen(x->key));
    base_buf_u32le(b, x->kv_type);
    if (x->kv_type == GGUF_KV_ARR) {
        base_buf_u32le(b, x->elem);
        base_buf_u64le(b, x->arr_n);
    }
    base_buf_u64le(b, x->str_len);
    base_buf_str(b, "abc");
    put_kv_bool(b, "b", x->bool_value);
    put_key(b, "neg", GGUF_KV_I8);
    base_buf_u8(b, 0xfe);
    put_kv_arr(b, "strs", GGUF_KV_STR, 2);
    put_str(b, "one", 3);
    put_str(b, "", 0);
}

static void make(struct base_buf *b, const struct bend *bend)
{
    struct bend x = *bend;
    x.version = x.version != 0 ? x.version : 3;
    x.key = x.key != NULL ? x.key : "s";
    x.name = x.name != NULL ? x.name : "vec";
    x.kv_type = x.kv_type != 0 ? x.kv_type : GGUF_KV_STR;
    x.str_len = x.str_len != 0 ? x.str_len : 3;
    x.n_dim = x.n_dim != 0 ? x.n_dim : 1;
    x.type = x.type != 0 ? x.type : GGUF_Q8_0;
    base_buf_init(b, 1 << 20);
    base_buf_str(b, "GGUF");
    base_buf_u32le(b, x.version);
    base_buf_u64le(b, x.n_tensor != 0 ? x.n_tensor : 2);
    base_buf_u64le(b, x.n_kv != 0 ? x.n_kv : 6);
    put_keys(b, &x);
    put_tensor(b, "mat", 2, (uint64_t[]){4, 2}, GGUF_F32, 0);
    uint64_t dim[8] = {x.dim0 != 0 ? x.dim0 : 32, x.dim1 != 0 ? x.dim1 : 1, 1, 1, 1, 1, 1, 1};
    if (x.dim0 == UINT64_MAX)
        dim[0] = 0;
    put_tensor(b, x.name, (int)x.n_dim, dim, x.type, x.offset != 0 ? x.offset : 32);
    put_pad(b, 32);
    for (int i = 0; i < 32 + 34; i++)
        base_buf_u8(b, (uint8_t)i);
    assert_int_equal(b->err, 0);
}

static void reads_what_was_written(void **state)
{
    (void)state;
    struct base_buf b;
    struct gguf_file *f;
    struct base_err err;
    make(&b, &(struct bend){0});
    assert_int_equal(gguf_open_mem(&f, b.data, b.len, &err), 0);
    uint32_t u = 0;
    float r = 0;
    bool found, flag = false;
    struct gguf_str s;
    uint64_t n;
    assert_int_equal(gguf_get_u32(f, "u", &u, &found, &err), 0);
    assert_int_equal(u, 7);
    assert_int_equal(gguf_get_u32(f, "absent", &u, &found, &err), 0);
    assert_false(found);
    assert_int_equal(gguf_get_u32(f, "f", &u, &found, &err), BASE_EFORMAT);
    assert_int_equal(gguf_get_u32(f, "neg", &u, &found, &err), BASE_EFORMAT);
    assert_string_equal(err.msg, "-2 is below 0");
    assert_int_equal(gguf_get_f32(f, "f", &r, &found, &err), 0);
    assert_true(r == 0.5f);
    assert_int_equal(gguf_get_bool(f, "b", &flag, &found, &err), 0);
    assert_int_equal(gguf_get_str(f, "s", &s, &found, &err), 0);
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.s, "abc", 3);
    assert_int_equal(gguf_get_arr(f, "strs", GGUF_KV_STR, &n, &found, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(gguf_get_arr(f, "strs", GGUF_KV_F32, &n, &found, &err), BASE_EFORMAT);
    struct gguf_strs strs = gguf_arr_strs(f, "strs");
    s = gguf_strs_next(&strs);
    assert_int_equal(s.len, 3);
    s = gguf_strs_next(&strs);
    assert_int_equal(s.len, 0);
    s = gguf_strs_next(&strs); /* past the end: empty, not wild */
    assert_int_equal(s.len, 0);
    strs = gguf_arr_strs(f, "f");
    s = gguf_strs_next(&strs);
    assert_int_equal(s.len, 0);
    assert_null(gguf_arr_data(f, "strs"));
    char buf[16];
    assert_string_equal(gguf_kv_print(f, 4, buf, sizeof buf), "-2");
    assert_string_equal(gguf_kv_print(f, 5, buf, sizeof buf), "[2 string]");

    const struct gguf_tensor *t;
    assert_int_equal(gguf_n_tensor(f), 2);
    assert_int_equal(gguf_tensor_get(f, "mat", 4, 2, &t, &err), 0);
    assert_int_equal(t->row_bytes, 16);
    assert_int_equal(t->n_bytes, 32);
    assert_int_equal(*(const uint8_t *)t->data, 0);
    assert_int_equal(gguf_tensor_get(f, "vec", 32, 0, &t, &err), 0);
    assert_int_equal(*(const uint8_t *)t->data, 32);
    assert_int_equal(t->n_bytes, 34);
    assert_int_equal(gguf_tensor_get(f, "none", 1, 0, &t, &err), BASE_ENOTFOUND);
    assert_int_equal(gguf_tensor_get(f, "mat", 2, 4, &t, &err), BASE_EFORMAT);
    assert_string_equal(err.place, "tensor mat");
    assert_string_equal(err.msg, "expected 2 x 4, found 4 x 2 x 1 x 1");
    gguf_close(f);
    base_buf_fini(&b);
}

static const struct bend bad[] = {
    {.what = "version 1", BASE_EUNSUPPORTED, "header", .version = 1},
    {.what = "big-endian", BASE_EUNSUPPORTED, "header", .version = 3u << 24},
    {.what = "too many keys", BASE_ELIMIT, "header", .n_kv = 1 << 20},
    {.what = "more keys than bytes", BASE_EFORMAT, "header", .n_kv = 60000},
    {.what = "more tensors than bytes", BASE_EFORMAT, "header", .n_tensor = 60000},
    {.what = "absurd tensors", BASE_ELIMIT, "header", .n_tensor = UINT64_MAX},
    {.what = "key twice", BASE_EFORMAT, "key u", .key = "u"},
    {.what = "control byte in key", BASE_EFORMAT, "key #2", .key = "a\nb"},
    {.what = "empty key", BASE_EFORMAT, "key #2", .key = ""},
    {.what = "string past the end", BASE_EFORMAT, "key s", .str_len = 1 << 20},
    {.what = "string length overflow", BASE_EFORMAT, "key s", .str_len = UINT64_MAX},
    {.what = "unknown kind", BASE_EFORMAT, "key s", .kv_type = 99},
    {.what = "array of arrays",
     BASE_EUNSUPPORTED,
     "key s",
     .kv_type = GGUF_KV_ARR,
     .elem = GGUF_KV_ARR,
     .arr_n = 1},
    {.what = "array of unknown", BASE_EFORMAT, "key s", .kv_type = GGUF_KV_ARR, .elem = 77},
    {.what = "array too long",
     BASE_EFORMAT,
     "key s",
     .kv_type = GGUF_KV_ARR,
     .elem = GGUF_KV_F64,
     .arr_n = UINT64_MAX / 8 + 2},
    {.what = "strings too many",
     BASE_EFORMAT,
     "key s",
     .kv_type = GGUF_KV_ARR,
     .elem = GGUF_KV_STR,
     .arr_n = 1 << 30},
    {.what = "not a bool", BASE_EFORMAT, "key b", .bool_value = 2},
    {.what = "alignment 0", BASE_EFORMAT, "key general.alignment", .align = UINT32_MAX},
    {.what = "alignment 48", BASE_EFORMAT, "key general.alignment", .align = 48},
    {.what = "alignment 1", BASE_EFORMAT, "key general.alignment", .align = 1},
    {.what = "tensor twice", BASE_EFORMAT, "tensor mat", .name = "mat"},
    {.what = "five dimensions", BASE_EFORMAT, "tensor vec", .n_dim = 5},
    {.what = "zero dimension", BASE_EFORMAT, "tensor vec", .dim0 = UINT64_MAX},
    {.what = "negative dimension", BASE_EFORMAT, "tensor vec", .dim0 = 1ull << 63},
    {.what = "size overflow",
     BASE_EFORMAT,
     "tensor vec",
     .n_dim = 2,
     .dim0 = 1ull << 40,
     .dim1 = 1ull << 40},
    {.what = "product overflow",
     BASE_EFORMAT,
     "tensor vec",
     .n_dim = 2,
     .dim0 = 1ull << 62,
     .dim1 = 32},
    {.what = "half a block", BASE_EFORMAT, "tensor vec", .dim0 = 33},
    {.what = "unknown type", BASE_EUNSUPPORTED, "tensor vec", .type = 4},
    {.what = "type out of range", BASE_EUNSUPPORTED, "tensor vec", .type = UINT32_MAX},
    {.what = "past the end", BASE_EFORMAT, "tensor vec", .dim0 = 64},
    {.what = "offset past the end", BASE_EFORMAT, "tensor vec", .offset = 1 << 20},
    {.what = "offset overflow", BASE_EFORMAT, "tensor vec", .offset = UINT64_MAX - 31},
    {.what = "offset not aligned", BASE_EFORMAT, "tensor vec", .offset = 33},
};

static void refuses_what_is_bent(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct base_buf b;
        struct gguf_file *f;
        struct base_err err = {0};
        make(&b, &bad[i]);
        int rc = gguf_open_mem(&f, b.data, b.len, &err);
        if (rc != bad[i].code || strcmp(err.place, bad[i].place) != 0)
            fail_msg("%s: %d at '%s' (%s)", bad[i].what, rc, err.place, err.msg);
        assert_null(f);
        assert_true(err.msg[0] != '\0');
        base_buf_fini(&b);
    }
}

static void refuses_overlap(void **state)
{
    (void)state;
    struct base_buf b;
    struct gguf_file *f;
    struct base_err err;
    base_buf_init(&b, 1 << 20);
    put_head(&b, 2, 0);
    put_tensor(&b, "a", 1, (uint64_t[]){16}, GGUF_F32, 0);
    put_tensor(&b, "b", 1, (uint64_t[]){16}, GGUF_F32, 32);
    put_pad(&b, 32);
    for (int i = 0; i < 96; i++)
        base_buf_u8(&b, 0);
    assert_int_equal(gguf_open_mem(&f, b.data, b.len, &err), BASE_EFORMAT);
    assert_string_equal(err.msg, "it overlaps a");
    base_buf_fini(&b);
}

/* Cut anywhere, the file is refused; with any byte of its head changed it is read or refused, and
 * (under the sanitizers) never read past its end. */
static void survives_damage(void **state)
{
    (void)state;
    struct base_buf b;
    struct gguf_file *f;
    struct base_err err;
    make(&b, &(struct bend){0});
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, b.data, n);
        assert_true(gguf_open_mem(&f, cut, n, &err) < 0);
        free(cut);
    }
    for (size_t i = 0; i < b.len; i++)
        for (int v = 0; v < 256; v += 17) {
            uint8_t was = b.data[i];
            b.data[i] = (uint8_t)v;
            if (gguf_open_mem(&f, b.data, b.len, &err) == 0)
                gguf_close(f);
            b.data[i] = was;
        }
    base_buf_fini(&b);
}

static void opens_files(void **state)
{
    (void)state;
    char path[] = "/tmp/waypost-gguf-XXXXXX";
    struct base_buf b;
    struct gguf_file *f;
    struct base_err err;
    make(&b, &(struct bend){0});
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(gguf_open(&f, path, &err), BASE_EFORMAT);
    assert_string_equal(err.msg, "the file is empty");
    assert_int_equal(write(fd, b.data, b.len), (ssize_t)b.len);
    assert_int_equal(gguf_open(&f, path, &err), 0);
    const struct gguf_tensor *t = gguf_tensor_find(f, "vec");
    gguf_advise(f, t->data, t->n_bytes, true);
    gguf_advise(f, t->data, t->n_bytes, false);
    assert_int_equal(*(const uint8_t *)t->data, 32);
    gguf_close(f);
    assert_int_equal(ftruncate(fd, (off_t)b.len - 1), 0);
    assert_int_equal(gguf_open(&f, path, &err), BASE_EFORMAT);
    assert_non_null(strstr(err.place, ": tensor vec"));
    close(fd);
    unlink(path);
    assert_int_equal(gguf_open(&f, path, &err), BASE_EIO);
    assert_int_equal(gguf_open(&f, "/tmp", &err), BASE_EIO);
    base_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(refuses_what_is_bent),
        cmocka_unit_test(refuses_overlap),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(opens_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
