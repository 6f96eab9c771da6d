/* Wire v1: round trips of every frame, cuts at every byte, flips of every bit, limits, packing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "samples.h"
#include "wire/pack.h"

static char *dumped(const struct wire_frame *f)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_non_null(out);
    dump_wire(f, out);
    fclose(out);
    return text;
}

static void encode(const struct wire_frame *f, struct base_buf *b)
{
    base_buf_init(b, 2 * WIRE_MAX_FRAME);
    assert_int_equal(wire_encode(f, b), 0);
}

static int decode_all(const uint8_t *p, size_t len, struct base_err *err)
{
    struct wire_decoder *d = wire_decoder_new();
    struct wire_frame f;
    int n = 0, rc = wire_decoder_feed(d, p, len);
    if (rc == 0) {
        while ((rc = wire_decoder_next(d, &f, err)) == 1)
            n++;
    }
    if (rc == 0 && wire_decoder_partial(d))
        rc = -100;
    wire_decoder_free(d);
    return rc != 0 ? rc : n;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct wire_frame f, g;
    for (int i = 0; sample_wire(i, &f) != NULL; i++) {
        struct base_buf b, again;
        encode(&f, &b);
        struct wire_decoder *d = wire_decoder_new();
        assert_int_equal(wire_decoder_feed(d, b.data, b.len), 0);
        assert_int_equal(wire_decoder_next(d, &g, NULL), 1);
        if (f.type == WIRE_ROWS && f.u.rows.dtype == WIRE_I8) {
            for (int k = 0; k < f.u.rows.n_row * f.u.rows.d; k++)
                assert_true(fabsf(f.u.rows.x[k] - g.u.rows.x[k]) <= 512.0f / 127.0f / 2 + 0.2f);
        } else {
            char *want = dumped(&f), *got = dumped(&g);
            assert_string_equal(want, got);
            free(want);
            free(got);
        }
        encode(&g, &again);
        if (f.type != WIRE_ROWS || f.u.rows.dtype != WIRE_I8) {
            assert_int_equal(b.len, again.len);
            assert_memory_equal(b.data, again.data, b.len);
        }
        assert_int_equal(wire_decoder_next(d, &g, NULL), 0);
        assert_false(wire_decoder_partial(d));
        wire_decoder_free(d);
        base_buf_fini(&b);
        base_buf_fini(&again);
    }
}

/* A stream of all frames, fed in pieces of every small size. */
static void test_pieces(void **state)
{
    (void)state;
    struct base_buf all;
    struct wire_frame f;
    base_buf_init(&all, 1 << 20);
    int n_sample = 0;
    while (sample_wire(n_sample, &f) != NULL) {
        assert_int_equal(wire_encode(&f, &all), 0);
        n_sample++;
    }
    for (size_t step = 1; step < 70; step += 3) {
        struct wire_decoder *d = wire_decoder_new();
        int n = 0, rc = 0;
        for (size_t at = 0; at < all.len; at += step) {
            size_t len = all.len - at < step ? all.len - at : step;
            assert_int_equal(wire_decoder_feed(d, all.data + at, len), 0);
            while ((rc = wire_decoder_next(d, &f, NULL)) == 1)
                n++;
            assert_int_equal(rc, 0);
        }
        assert_int_equal(n, n_sample);
        wire_decoder_free(d);
    }
    base_buf_fini(&all);
}

static void test_every_cut(void **state)
{
    (void)state;
    struct wire_frame f;
    for (int i = 0; sample_wire(i, &f) != NULL; i++) {
        struct base_buf b;
        encode(&f, &b);
        for (size_t n = 1; n < b.len; n++)
            assert_int_equal(decode_all(b.data, n, NULL), -100);
        /* A length that lies about a cut body must be found out too. */
        for (size_t n = 6; n < b.len; n++) {
            uint8_t *p = malloc(n);
            memcpy(p, b.data, n);
            p[0] = (uint8_t)(n - 5);
            p[1] = (uint8_t)((n - 5) >> 8);
            p[2] = 0;
            assert_true(decode_all(p, n, NULL) < 0);
            free(p);
        }
        base_buf_fini(&b);
    }
}

/* No flip crashes or hangs; one inside a tensor's packed bytes never passes. */
static void test_every_bit(void **state)
{
    (void)state;
    struct wire_frame f;
    for (int i = 0; sample_wire(i, &f) != NULL; i++) {
        struct base_buf b;
        encode(&f, &b);
        bool tensor = f.type == WIRE_ROWS || f.type == WIRE_STATE;
        size_t packed = tensor ? wire_pack_bytes(f.u.rows.dtype, f.u.rows.n_row, f.u.rows.d) : 0;
        size_t tail = f.type == WIRE_ROWS ? 2 : 0; /* key 4 and want */
        for (size_t bit = 0; bit < b.len * 8; bit++) {
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int rc = decode_all(b.data, b.len, NULL);
            if (tensor && b.data[4] == 0 && bit / 8 >= b.len - tail - packed &&
                bit / 8 < b.len - tail)
                assert_int_equal(rc, BASE_EMISMATCH);
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(decode_all(b.data, b.len, NULL), 1);
        base_buf_fini(&b);
    }
}

static void test_error_is_final(void **state)
{
    (void)state;
    struct wire_decoder *d = wire_decoder_new();
    struct wire_frame f;
    struct base_err err;
    struct base_buf b;
    sample_wire(10, &f);
    encode(&f, &b);
    assert_int_equal(wire_decoder_feed(d, b.data, b.len), 0);
    assert_int_equal(wire_decoder_feed(d, "\2\0\0\0\0\x81\xc1", 7), 0);
    assert_int_equal(wire_decoder_next(d, &f, &err), 1);
    assert_int_equal(wire_decoder_next(d, &f, &err), BASE_EFORMAT);
    char place[32];
    snprintf(place, sizeof place, "frame 1 byte %zu", b.len + 6);
    assert_string_equal(err.place, place);
    assert_int_equal(wire_decoder_feed(d, b.data, b.len), BASE_EFORMAT);
    assert_int_equal(wire_decoder_next(d, &f, &err), BASE_EFORMAT);
    wire_decoder_free(d);
    base_buf_fini(&b);
}

static void test_head_limits(void **state)
{
    (void)state;
    struct base_err err;
    /* The head alone is enough to refuse: no megabytes are awaited. */
    assert_int_equal(decode_all((const uint8_t *)"\1\0\x80\0\0", 5, &err), BASE_ELIMIT);
    assert_non_null(strstr(err.msg, "8388609"));
    assert_int_equal(decode_all((const uint8_t *)"\0\0\0\0\0", 5, &err), BASE_EFORMAT);
    assert_int_equal(decode_all((const uint8_t *)"\1\0\0\0\2", 5, &err), BASE_EFORMAT);
    assert_int_equal(decode_all((const uint8_t *)"\xff\xff\xff\xff\0", 5, &err), BASE_ELIMIT);
}

static void test_encode_refuses(void **state)
{
    (void)state;
    struct wire_frame f;
    struct base_buf b;
    base_buf_init(&b, 1 << 20);
    base_buf_str(&b, "before");
    sample_wire(3, &f);
    f.u.rows.x[5] = NAN;
    assert_int_equal(wire_encode(&f, &b), BASE_EINVAL);
    f.u.rows.x[5] = INFINITY;
    assert_int_equal(wire_encode(&f, &b), BASE_EINVAL);
    f.u.rows.x[5] = 65505.0f;
    f.u.rows.dtype = WIRE_F16;
    assert_int_equal(wire_encode(&f, &b), BASE_EINVAL);
    f.u.rows.n_row = 0;
    assert_int_equal(wire_encode(&f, &b), BASE_ELIMIT);
    sample_wire(1, &f);
    f.u.open.layer = WIRE_MAX_LAYER + 1;
    assert_int_equal(wire_encode(&f, &b), BASE_EINVAL);
    sample_wire(1, &f);
    f.u.open.temperature = NAN;
    assert_int_equal(wire_encode(&f, &b), BASE_EINVAL);
    f.type = (enum wire_type)99;
    assert_int_equal(wire_encode(&f, &b), BASE_EINVAL);
    assert_int_equal(b.len, 6);
    b.max_bytes = 10;
    sample_wire(1, &f);
    assert_int_equal(wire_encode(&f, &b), BASE_ELIMIT);
    assert_int_equal(b.len, 6);
    assert_int_equal(b.err, 0);
    base_buf_fini(&b);
}

static void test_message_made_harmless(void **state)
{
    (void)state;
    struct wire_frame f, g;
    struct base_buf b;
    sample_wire(12, &f);
    snprintf(f.u.status.message, sizeof f.u.status.message, "line\nbreak \xff bad");
    encode(&f, &b);
    struct wire_decoder *d = wire_decoder_new();
    assert_int_equal(wire_decoder_feed(d, b.data, b.len), 0);
    assert_int_equal(wire_decoder_next(d, &g, NULL), 1);
    assert_string_equal(g.u.status.message, "line?break ? bad");
    memset(f.u.status.message, 'x', sizeof f.u.status.message);
    base_buf_reset(&b);
    assert_int_equal(wire_encode(&f, &b), 0);
    assert_int_equal(wire_decoder_feed(d, b.data, b.len), 0);
    assert_int_equal(wire_decoder_next(d, &g, NULL), 1);
    assert_int_equal(strlen(g.u.status.message), WIRE_MAX_TEXT);
    wire_decoder_free(d);
    base_buf_fini(&b);
}

static void test_f16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float x = wire_f32_from_f16((uint16_t)h);
        if (isnan(x))
            assert_true(isnan(wire_f32_from_f16(wire_f16_from_f32(x))));
        else
            assert_int_equal(wire_f16_from_f32(x), h);
    }
    /* Halfway between two neighbours: to the even one. */
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float a = wire_f32_from_f16((uint16_t)h), b = wire_f32_from_f16((uint16_t)(h + 1));
        float mid = (a + b) / 2;
        assert_int_equal(wire_f16_from_f32(mid), h + (h & 1));
        assert_int_equal(wire_f16_from_f32(nextafterf(mid, 0)), h);
        assert_int_equal(wire_f16_from_f32(nextafterf(mid, 1e9f)), h + 1);
    }
    assert_int_equal(wire_f16_from_f32(65519.99f), 0x7bff);
    assert_int_equal(wire_f16_from_f32(65520.0f), 0x7c00);
}

/* An outlier channel may only spoil its own block of 32. */
static void test_int8_outliers(void **state)
{
    (void)state;
    enum { d = 576 };
    float x[d], y[d];
    uint8_t p[612];
    for (int i = 0; i < d; i++)
        x[i] = sinf((float)i);
    x[100] = 3000.0f;
    assert_int_equal(wire_pack_bytes(WIRE_I8, 1, d), sizeof p);
    assert_int_equal(wire_pack_bytes(WIRE_F16, 1, d), 1152);
    assert_int_equal(wire_pack_bytes(WIRE_I8, 3, 33), 3 * (4 + 33));
    wire_pack(WIRE_I8, x, 1, d, p);
    assert_true(wire_packed_ok(WIRE_I8, p, 1, d));
    wire_unpack(WIRE_I8, p, 1, d, y);
    for (int i = 0; i < d; i++) {
        float step = i / 32 == 100 / 32 ? 3000.0f / 127 : 1.0f / 127;
        assert_true(fabsf(x[i] - y[i]) <= step * 0.5f + fabsf(x[i]) * 0x1p-10f);
    }
    memset(x, 0, sizeof x);
    x[0] = 1e-9f; /* too small for an f16 scale: becomes zero, not NaN */
    x[40] = 127.0f * 65504.0f;
    wire_pack(WIRE_I8, x, 1, d, p);
    assert_true(wire_packed_ok(WIRE_I8, p, 1, d));
    wire_unpack(WIRE_I8, p, 1, d, y);
    assert_true(y[0] == 0.0f && y[40] == x[40]);
}

static void test_max_rows(void **state)
{
    (void)state;
    assert_int_equal(wire_max_rows(0), 0);
    assert_int_equal(wire_max_rows(WIRE_MAX_DIM + 1), 0);
    assert_int_equal(wire_max_rows(1), WIRE_MAX_ROWS);
    struct wire_frame f = {.type = WIRE_ROWS};
    f.u.rows = (struct wire_rows){.d = WIRE_MAX_DIM, .n_row = wire_max_rows(WIRE_MAX_DIM)};
    size_t n = (size_t)f.u.rows.n_row * WIRE_MAX_DIM;
    f.u.rows.x = malloc(n * sizeof *f.u.rows.x);
    uint32_t r = 1;
    for (size_t i = 0; i < n; i++) {
        r = r * 1664525u + 1013904223u;
        f.u.rows.x[i] = (float)r / 4294967296.0f - 0.5f;
    }
    struct base_buf b;
    encode(&f, &b); /* the largest frame, hardly compressible, fits */
    assert_int_equal(decode_all(b.data, b.len, NULL), 1);
    base_buf_fini(&b);
    f.u.rows.n_row++;
    base_buf_init(&b, 1 << 20);
    assert_int_equal(wire_encode(&f, &b), BASE_ELIMIT);
    base_buf_fini(&b);
    free(f.u.rows.x);
}

static void test_identity(void **state)
{
    (void)state;
    struct wire_frame f, g;
    struct base_err err;
    uint8_t other[3][16];
    sample_wire(0, &f);
    g = f;
    memcpy(other, f.u.hello.id.layer, sizeof other);
    g.u.hello.id.layer = other;
    assert_int_equal(wire_identity_compare(&f.u.hello.id, &g.u.hello.id, &err), 0);
    memset(other[1], 7, 16); /* ours does not hold layer 1 */
    memset(g.u.hello.id.head, 0, 16);
    assert_int_equal(wire_identity_compare(&f.u.hello.id, &g.u.hello.id, &err), 0);
    other[2][15] ^= 1;
    assert_int_equal(wire_identity_compare(&f.u.hello.id, &g.u.hello.id, &err), BASE_EMISMATCH);
    assert_string_equal(err.msg, "layer 2 differs: ours 909192939495969798999a9b9c9d9e9f, theirs "
                                 "909192939495969798999a9b9c9d9e9e");
    g.u.hello.id.head[0] = 1;
    assert_int_equal(wire_identity_compare(&f.u.hello.id, &g.u.hello.id, &err), BASE_EMISMATCH);
    assert_non_null(strstr(err.msg, "head differs"));
    g.u.hello.id.tok[0] ^= 1;
    assert_int_equal(wire_identity_compare(&f.u.hello.id, &g.u.hello.id, &err), BASE_EMISMATCH);
    assert_non_null(strstr(err.msg, "tokenizer differs"));
    g.u.hello.id.config[0] ^= 1;
    assert_int_equal(wire_identity_compare(&f.u.hello.id, &g.u.hello.id, &err), BASE_EMISMATCH);
    assert_non_null(strstr(err.msg, "config differs"));
    g.u.hello.id.n_layer = 2;
    assert_int_equal(wire_identity_compare(&f.u.hello.id, &g.u.hello.id, &err), BASE_EMISMATCH);
    assert_non_null(strstr(err.msg, "3 layers"));
}

static void test_other_version(void **state)
{
    (void)state;
    /* {0: HELLO, 1: 2, 9: "whatever comes"}: only the version is read. */
    static const uint8_t p[] = {11, 0, 0, 0, 0, 0x83, 0, 1, 1, 2, 9, 0xa4, 'w', 'h', 'a', 't'};
    struct wire_decoder *d = wire_decoder_new();
    struct wire_frame f;
    assert_int_equal(wire_decoder_feed(d, p, sizeof p), 0);
    assert_int_equal(wire_decoder_next(d, &f, NULL), 1);
    assert_int_equal(f.type, WIRE_HELLO);
    assert_int_equal(f.u.hello.version, 2);
    assert_int_equal(f.u.hello.id.n_layer, 0);
    wire_decoder_free(d);
}

static void test_status_text(void **state)
{
    (void)state;
    for (int i = WIRE_ST_OK; i <= WIRE_ST_REPEATED; i++)
        assert_string_not_equal(wire_status_str((enum wire_status)i), "unknown status");
    assert_string_equal(wire_status_str((enum wire_status)77), "unknown status");
    wire_decoder_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_error_is_final),
        cmocka_unit_test(test_head_limits),
        cmocka_unit_test(test_encode_refuses),
        cmocka_unit_test(test_message_made_harmless),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_int8_outliers),
        cmocka_unit_test(test_max_rows),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_other_version),
        cmocka_unit_test(test_status_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
