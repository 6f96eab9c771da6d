#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/text.h"
#include "engine/utf8.h"
#include "tiny.h"

enum { BYTE = 3 }; /* mktiny's id of byte 0 */

static struct eng_tok *tok;

static int setup(void **state)
{
    (void)state;
    struct base_err err = {0};
    struct gguf_file *f = tiny_open("--layers 1 --d 8 --heads 1 --kv-heads 1 --ff 8", &err);
    int rc = f != NULL ? eng_tok_open(&tok, f, &err) : -1;
    gguf_close(f);
    return rc;
}

static int teardown(void **state)
{
    (void)state;
    eng_tok_close(tok);
    return 0;
}

/* Feeds bytes as one-byte tokens; what each step showed is joined with '|', a stop shows as '!'. */
static void expect(const char *const *stop, int n_stop, const char *bytes, const char *want)
{
    struct eng_text *x;
    struct base_buf out, all;
    int rc = 0;
    base_buf_init(&out, 1 << 16);
    base_buf_init(&all, 1 << 16);
    assert_int_equal(eng_text_new(&x, tok, stop, n_stop, NULL), 0);
    for (size_t i = 0; bytes[i] != '\0' && rc == 0; i++) {
        base_buf_reset(&out);
        rc = eng_text_add(x, BYTE + (uint8_t)bytes[i], &out);
        assert_true(rc >= 0);
        base_buf_add(&all, out.data, out.len);
        base_buf_str(&all, rc == 1 ? "!" : "|");
    }
    if (rc == 1)
        assert_int_equal(eng_text_add(x, BYTE + 'z', &all), 1); /* stopped stays stopped */
    base_buf_reset(&out);
    assert_int_equal(eng_text_end(x, &out), 0);
    base_buf_add(&all, out.data, out.len);
    assert_string_equal(base_buf_cstr(&all), want);
    eng_text_free(x);
    base_buf_fini(&out);
    base_buf_fini(&all);
}

static void whole_characters_only(void **state)
{
    (void)state;
    expect(NULL, 0, "ab", "a|b|");
    expect(NULL, 0, "\xc3\xa4x", "|\xc3\xa4|x|");
    expect(NULL, 0, "\xf0\x9f\x98\x80", "|||\xf0\x9f\x98\x80|");
}

static void broken_bytes_become_replacement_characters(void **state)
{
    (void)state;
    expect(NULL, 0,
           "\xff"
           "a",
           "\xef\xbf\xbd|a|");
    expect(NULL, 0, "\xc3", "|\xef\xbf\xbd");
    expect(NULL, 0,
           "\xc3"
           "b",
           "|\xef\xbf\xbd"
           "b|");
    expect(NULL, 0, "\xe4\xb8", "||\xef\xbf\xbd");
    expect(NULL, 0, "\xed\xa0\x80", "|\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd|");
}

static void stop_strings_are_held_and_cut(void **state)
{
    (void)state;
    static const char *const end[] = {"END"};
    expect(end, 1, "aENDb", "a|||!");
    expect(end, 1, "aENx", "a|||ENx|");
    expect(end, 1, "aEN", "a|||EN");
    expect(end, 1, "EENDx", "|E||!");
}

static void overlapping_stops(void **state)
{
    (void)state;
    static const char *const two[] = {"abcd", "bc"};
    expect(two, 2, "xabcd", "x|||a!");
    static const char *const same[] = {"aab"};
    expect(same, 1, "aaab", "||a|!");
}

static void newline_stop(void **state)
{
    (void)state;
    static const char *const nl[] = {"\n\n", ""}; /* an empty one is no stop */
    expect(nl, 2, "a\nb\n\nc", "a||\nb||!");
    static const char *const utf8[] = {"\xc3\xa4\xc3\xb6"};
    expect(utf8, 1, "x\xc3\xa4y\xc3\xa4\xc3\xb6", "x|||\xc3\xa4y||||!");
}

static void specials_show_nothing(void **state)
{
    (void)state;
    struct eng_text *x;
    struct base_buf out;
    base_buf_init(&out, 100);
    assert_int_equal(eng_text_new(&x, tok, NULL, 0, NULL), 0);
    assert_int_equal(eng_text_add(x, 2, &out), 0);
    assert_int_equal(eng_text_add(x, -1, &out), 0);
    assert_int_equal(eng_text_end(x, &out), 0);
    assert_int_equal(out.len, 0);
    eng_text_free(x);
    base_buf_fini(&out);
}

static void limits(void **state)
{
    (void)state;
    struct eng_text *x;
    struct base_err err;
    const char *many[ENG_STOP_MAX + 1];
    for (int i = 0; i <= ENG_STOP_MAX; i++)
        many[i] = "x";
    assert_int_equal(eng_text_new(&x, tok, many, ENG_STOP_MAX + 1, &err), BASE_ELIMIT);
    char *huge = calloc(1, 3000);
    memset(huge, 'x', 2999);
    many[0] = huge;
    assert_int_equal(eng_text_new(&x, tok, many, 1, &err), BASE_ELIMIT);
    free(huge);
    struct base_buf out;
    base_buf_init(&out, 1);
    assert_int_equal(eng_text_new(&x, tok, NULL, 0, &err), 0);
    assert_int_equal(eng_text_add(x, BYTE + 'a', &out), 0);
    assert_int_equal(eng_text_add(x, BYTE + 'a', &out), BASE_ELIMIT);
    eng_text_free(x);
    eng_text_free(NULL);
    base_buf_fini(&out);
}

static void utf8_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        size_t n;
        int want;
    } c[] = {
        {"a", 1, 1},
        {"\0", 1, 1},
        {"\x80", 1, 0},
        {"\xc1\x81", 2, 0},
        {"\xc2\x80", 2, 2},
        {"\xc2", 1, -1},
        {"\xe0\x9f\xbf", 3, 0},
        {"\xe0\xa0\x80", 3, 3},
        {"\xed\x9f\xbf", 3, 3},
        {"\xed\xa0\x80", 3, 0},
        {"\xef\xbf\xbf", 3, 3},
        {"\xe4\xb8", 2, -1},
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\xf0\x90\x80\x80", 4, 4},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0},
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xf0\x90\x80", 3, -1},
        {"\xf0\x90\x41\x80", 4, 0},
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++)
        assert_int_equal(eng_utf8_len(c[i].s, c[i].n), c[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_characters_only),
        cmocka_unit_test(broken_bytes_become_replacement_characters),
        cmocka_unit_test(stop_strings_are_held_and_cut),
        cmocka_unit_test(overlapping_stops),
        cmocka_unit_test(newline_stop),
        cmocka_unit_test(specials_show_nothing),
        cmocka_unit_test(limits),
        cmocka_unit_test(utf8_lengths),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
