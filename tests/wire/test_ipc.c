/* The edge-uplink protocol: round trips, cuts, flips, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "samples.h"

static int decode(const uint8_t *p, size_t len, struct ipc_msg *m, struct base_err *err)
{
    struct ipc_decoder *d = ipc_decoder_new();
    int rc = ipc_decoder_feed(d, p, len);
    if (rc == 0)
        rc = ipc_decoder_next(d, m, err);
    ipc_decoder_free(d);
    return rc;
}

static void encode(const struct ipc_msg *m, struct base_buf *b)
{
    base_buf_init(b, 2 * IPC_MAX_FRAME);
    assert_int_equal(ipc_encode(m, b), 0);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct ipc_msg m, g;
    for (int i = 0; sample_ipc(i, &m) != NULL; i++) {
        struct base_buf b;
        encode(&m, &b);
        struct ipc_decoder *d = ipc_decoder_new();
        assert_int_equal(ipc_decoder_feed(d, b.data, b.len), 0);
        assert_int_equal(ipc_decoder_next(d, &g, NULL), 1);
        if (m.type == IPC_DATA) {
            assert_int_equal(g.u.data.len, m.u.data.len);
            assert_memory_equal(g.u.data.p, m.u.data.p, m.u.data.len);
        } else {
            /* Both start zeroed, so that the whole struct compares. */
            assert_memory_equal(&m, &g, sizeof m);
        }
        assert_int_equal(ipc_decoder_next(d, &g, NULL), 0);
        ipc_decoder_free(d);
        base_buf_fini(&b);
    }
}

static void test_cuts_and_flips(void **state)
{
    (void)state;
    struct ipc_msg m, g;
    for (int i = 0; sample_ipc(i, &m) != NULL; i++) {
        struct base_buf b;
        encode(&m, &b);
        for (size_t n = 0; n < b.len; n++)
            assert_int_equal(decode(b.data, n, &g, NULL), 0);
        for (size_t n = 6; n < b.len; n++) {
            uint8_t *p = malloc(n);
            memcpy(p, b.data, n);
            p[0] = (uint8_t)(n - 5);
            p[1] = (uint8_t)((n - 5) >> 8);
            assert_true(decode(p, n, &g, NULL) < 0);
            free(p);
        }
        for (size_t bit = 0; bit < b.len * 8; bit++) {
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int rc = decode(b.data, b.len, &g, NULL);
            assert_true(rc <= 1);
            if (bit / 8 == 4)
                assert_int_equal(rc, BASE_EFORMAT); /* no flags in this protocol */
            b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        base_buf_fini(&b);
    }
}

static void test_encode_refuses(void **state)
{
    (void)state;
    struct ipc_msg m;
    struct base_buf b;
    base_buf_init(&b, 1 << 20);
    sample_ipc(0, &m);
    m.id = 0;
    assert_int_equal(ipc_encode(&m, &b), BASE_EINVAL);
    sample_ipc(0, &m);
    m.u.release.mode = (enum ipc_mode)0;
    assert_int_equal(ipc_encode(&m, &b), BASE_EINVAL);
    sample_ipc(0, &m);
    m.u.release.n_class = IPC_MAX_CLASS + 1;
    assert_int_equal(ipc_encode(&m, &b), BASE_EINVAL);
    sample_ipc(0, &m);
    strcpy(m.u.release.rule, "two\nlines");
    assert_int_equal(ipc_encode(&m, &b), BASE_EINVAL);
    sample_ipc(0, &m);
    memset(m.u.release.target, 'x', sizeof m.u.release.target); /* no NUL */
    assert_int_equal(ipc_encode(&m, &b), BASE_EINVAL);
    sample_ipc(1, &m);
    m.u.data.len = IPC_MAX_DATA + 1;
    assert_int_equal(ipc_encode(&m, &b), BASE_ELIMIT);
    sample_ipc(6, &m);
    m.id = 1;
    assert_int_equal(ipc_encode(&m, &b), BASE_EINVAL);
    m.type = (enum ipc_type)9;
    assert_int_equal(ipc_encode(&m, &b), BASE_EINVAL);
    assert_int_equal(b.len, 0);
    base_buf_fini(&b);
}

static void test_limits(void **state)
{
    (void)state;
    struct ipc_msg m;
    struct base_err err;
    static uint8_t body[IPC_MAX_DATA];
    struct base_buf b;
    m = (struct ipc_msg){.type = IPC_DATA, .id = 1};
    m.u.data.p = body;
    m.u.data.len = sizeof body;
    encode(&m, &b);
    assert_int_equal(decode(b.data, b.len, &m, &err), 1);
    assert_int_equal(m.u.data.len, sizeof body);
    base_buf_fini(&b);
    /* The same by hand with a byte more than a DATA may have. */
    base_buf_init(&b, 1 << 20);
    base_buf_u32le(&b, 1 + 2 + 2 + 1 + 5 + IPC_MAX_DATA + 1);
    base_buf_add(&b, "\0\x83\0\2\1\1\2\xc6\0\4\0\1", 12);
    base_buf_add(&b, body, sizeof body);
    base_buf_u8(&b, 0);
    assert_int_equal(decode(b.data, b.len, &m, &err), BASE_ELIMIT);
    base_buf_fini(&b);
    assert_int_equal(decode((const uint8_t *)"\1\0\x10\0\0", 5, &m, &err), BASE_ELIMIT);
    /* END for request 0, LINK for a request, an unknown type. */
    assert_int_equal(decode((const uint8_t *)"\5\0\0\0\0\x82\0\3\1\0", 10, &m, &err), BASE_EFORMAT);
    assert_non_null(strstr(err.msg, "END"));
    assert_int_equal(decode((const uint8_t *)"\3\0\0\0\0\x81\0\x09", 8, &m, &err),
                     BASE_EUNSUPPORTED);
    ipc_decoder_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_cuts_and_flips),
        cmocka_unit_test(test_encode_refuses),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
