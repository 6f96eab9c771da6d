#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/opt.h"
#include "base/rd.h"
#include "base/utf8.h"

static void buf_grows_to_its_maximum(void **state)
{
    (void)state;
    struct base_buf b;
    base_buf_init(&b, 10);
    assert_int_equal(base_buf_str(&b, "12345"), 0);
    assert_int_equal(base_buf_u32le(&b, 0x01020304), 0);
    assert_int_equal(base_buf_printf(&b, "%d", 12), BASE_ELIMIT);
    assert_int_equal(base_buf_u8(&b, 7), BASE_ELIMIT);
    assert_int_equal(b.len, 9);
    assert_memory_equal(b.data + 5, "\4\3\2\1", 4);
    base_buf_reset(&b);
    assert_int_equal(base_buf_str(&b, "abcdefghij"), 0);
    assert_string_equal(base_buf_cstr(&b), "abcdefghij");
    base_buf_consume(&b, 4);
    assert_string_equal(base_buf_cstr(&b), "efghij");
    base_buf_fini(&b);
}

static void rd_is_sticky(void **state)
{
    (void)state;
    const uint8_t raw[] = {1, 2, 0, 3, 0, 0, 0};
    struct base_rd r;
    base_rd_init(&r, raw, sizeof raw);
    assert_int_equal(base_rd_u8(&r), 1);
    assert_int_equal(base_rd_u16le(&r), 2);
    assert_int_equal(base_rd_u64le(&r), 0);
    assert_int_equal(r.err, BASE_EFORMAT);
    assert_int_equal(r.err_pos, 3);
    assert_int_equal(base_rd_u8(&r), 0);
    assert_int_equal(base_rd_left(&r), 0);
    base_rd_init(&r, raw, sizeof raw);
    assert_null(base_rd_bytes(&r, UINT64_MAX));
}

static void arena_has_a_limit(void **state)
{
    (void)state;
    struct base_arena a;
    base_arena_init(&a, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        char *p = base_arena_get(&a, 100);
        assert_non_null(p);
        assert_int_equal(p[99], 0);
        memset(p, 1, 100);
    }
    assert_null(base_arena_get(&a, 1 << 20));
    assert_null(base_arena_get(&a, SIZE_MAX));
    assert_string_equal(base_arena_strndup(&a, "hello", 4), "hell");
    base_arena_fini(&a);
}

struct cfg {
    int64_t n;
    double r;
    int b, e;
    char *s;
    struct base_strlist l;
};

static const struct base_opt table[] = {
    {"n", BASE_OPT_INT, offsetof(struct cfg, n), 1, 10, "3", "rows", NULL, "A count."},
    {"r", BASE_OPT_REAL, offsetof(struct cfg, r), 0, 1, "0.5", NULL, NULL, "A share."},
    {"b", BASE_OPT_BOOL, offsetof(struct cfg, b), 0, 0, "no", NULL, NULL, "A switch."},
    {"e", BASE_OPT_ENUM, offsetof(struct cfg, e), 0, 0, "two", NULL, "one|two", "A choice."},
    {"s", BASE_OPT_STR, offsetof(struct cfg, s), 0, 0, "", NULL, NULL, "A text."},
    {"l", BASE_OPT_LIST, offsetof(struct cfg, l), 0, 2, NULL, NULL, NULL, "Many."},
};
enum { N_OPT = sizeof table / sizeof table[0] };

static int parse(struct cfg *c, const char *text, struct base_err *err)
{
    assert_int_equal(base_opt_init(table, N_OPT, c, err), 0);
    return base_opt_parse(table, N_OPT, c, "f", text, strlen(text), err);
}

static void opt_reads_a_file(void **state)
{
    (void)state;
    struct cfg c;
    struct base_err err = {0};
    assert_int_equal(parse(&c,
                           "# comment\n n = 7 # seven\nb=yes\ne = one\ns = \"a # \\\"b\\\" \"\n"
                           "l = name=x path=\"/a b#c\"\nl = name=y\n",
                           &err),
                     0);
    assert_int_equal(c.n, 7);
    assert_int_equal(c.b, 1);
    assert_int_equal(c.e, 0);
    assert_string_equal(c.s, "a # \"b\" ");
    assert_int_equal(c.l.n, 2);
    char v[16];
    assert_int_equal(base_opt_word(c.l.item[0], "path", v, sizeof v), 0);
    assert_string_equal(v, "/a b#c");
    assert_int_equal(base_opt_word(c.l.item[1], "path", v, sizeof v), BASE_ENOTFOUND);
    assert_int_equal(base_opt_word(c.l.item[0], "path", v, 3), BASE_ELIMIT);
    assert_int_equal(base_opt_words_check(c.l.item[0], "name|path", &err), 0);
    assert_int_equal(base_opt_words_check(c.l.item[0], "name", &err), BASE_EINVAL);
    base_opt_fini(table, N_OPT, &c);
}

static void opt_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place;
        int code;
    } bad[] = {
        {"n = 7\nm = 1\n", "f:2:1", BASE_ENOTFOUND},
        {"n = 11", "f:1:5", BASE_EINVAL},
        {"n = 1x", "f:1:5", BASE_EINVAL},
        {"n = 1\nn = 2", "f:2:1", BASE_EFORMAT},
        {"r = nan", "f:1:5", BASE_EINVAL},
        {"b = maybe", "f:1:5", BASE_EINVAL},
        {"e = three", "f:1:5", BASE_EINVAL},
        {"n 7", "f:1:3", BASE_EFORMAT},
        {"s = \"open", "f:1:10", BASE_EFORMAT},
        {"s = \"a\" b", "f:1:9", BASE_EFORMAT},
        {"l = a=1\nl = a=2\nl = a=3", "f:3:5", BASE_ELIMIT},
        {"s = a\001b", "f:1:6", BASE_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cfg c;
        struct base_err err = {0};
        assert_int_equal(parse(&c, bad[i].text, &err), bad[i].code);
        assert_string_equal(err.place, bad[i].place);
        assert_true(err.msg[0] != '\0');
        base_opt_fini(table, N_OPT, &c);
    }
}

static void opt_dump_reads_back(void **state)
{
    (void)state;
    struct cfg c, d;
    struct base_err err = {0};
    assert_int_equal(parse(&c, "n=9\ns = \" #\\\\x\"\nl = a=1\nb = on", &err), 0);
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    base_opt_dump(table, N_OPT, &c, f);
    fclose(f);
    assert_int_equal(parse(&d, text, &err), 0);
    assert_int_equal(d.n, 9);
    assert_string_equal(d.s, " #\\x");
    assert_int_equal(d.b, 1);
    assert_string_equal(d.l.item[0], "a=1");
    free(text);
    base_opt_fini(table, N_OPT, &c);
    base_opt_fini(table, N_OPT, &d);
}

static void opt_mdoc_escapes(void **state)
{
    (void)state;
    static const struct base_opt odd[] = {
        {"a", BASE_OPT_STR, 0, 0, 0, "C:\\x", NULL, NULL, ".hidden file. `Quoted` at v1.5 of it."},
        {"b", BASE_OPT_INT, 0, 1, 9, "2", "ms", NULL, "'quote. 'Twas one. And more."},
    };
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    base_opt_mdoc(odd, 2, f);
    fclose(f);
    assert_string_equal(text, ".Bl -tag -width Ds\n"
                              ".It Ic a\n\\&.hidden file.\n\\(oqQuoted\\(cq at v1.5 of it.\n"
                              "Default: \\(oqC:\\ex\\(cq.\n"
                              ".It Ic b\n\\&'quote. 'Twas one.\nAnd more.\n1..9 ms.\n"
                              "Default: \\(oq2\\(cq.\n"
                              ".El\n");
    free(text);
}

static void hashes_are_the_published_ones(void **state)
{
    (void)state;
    uint8_t h[32];
    char hex[65];
    assert_int_equal(base_sha256("abc", 3, h), 0);
    assert_string_equal(base_hex(h, 32, hex),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    uint8_t x[16], y[16];
    base_xxh128("abcdef", 6, x);
    struct base_xxh *s = base_xxh_new();
    base_xxh_add(s, "abc", 3);
    base_xxh_add(s, "def", 3);
    base_xxh_end(s, y);
    assert_memory_equal(x, y, 16);
}

static void utf8_is_taken_whole_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        size_t n, len;
        uint32_t cp;
    } t[] = {
        {"a\xc3", 2, 1, 'a'},
        {"\x7f", 1, 1, 0x7f},
        {"\xc2\x80", 2, 2, 0x80},
        {"\xdf\xbf", 2, 2, 0x7ff},
        {"\xe0\xa0\x80", 3, 3, 0x800},
        {"\xef\xbf\xbf", 3, 3, 0xffff},
        {"\xf0\x90\x80\x80", 4, 4, 0x10000},
        {"\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff},
        {"", 0, 0, 1},
        {"\x80", 1, 0, 1},
        {"\xc1\xbf", 2, 0, 1},
        {"\xe0\x9f\xbf", 3, 0, 1},
        {"\xf0\x8f\xbf\xbf", 4, 0, 1},
        {"\xed\xa0\x80", 3, 0, 1},
        {"\xf4\x90\x80\x80", 4, 0, 1},
        {"\xf5\x80\x80\x80", 4, 0, 1},
        {"\xe4\xb8", 2, 0, 1},
        {"\xe4\xb8"
         "a",
         3, 0, 1},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        uint32_t cp = 1;
        assert_int_equal(base_utf8(t[i].s, t[i].n, &cp), t[i].len);
        assert_int_equal(cp, t[i].cp);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_grows_to_its_maximum),
        cmocka_unit_test(rd_is_sticky),
        cmocka_unit_test(arena_has_a_limit),
        cmocka_unit_test(opt_reads_a_file),
        cmocka_unit_test(opt_says_where),
        cmocka_unit_test(opt_dump_reads_back),
        cmocka_unit_test(opt_mdoc_escapes),
        cmocka_unit_test(hashes_are_the_published_ones),
        cmocka_unit_test(utf8_is_taken_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
