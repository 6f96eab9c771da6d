/* Replays proto/vectors: what is good decodes to its text and encodes to the same bytes again; what
 * is bad is refused for the stated reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "samples.h"

static FILE *open_vector(const char *name, const char *ext)
{
    const char *top = getenv("top_srcdir");
    char path[1024];
    snprintf(path, sizeof path, "%s/proto/vectors/%s.%s", top != NULL ? top : ".", name, ext);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s is missing", path);
    return f;
}

static void read_hex(const char *name, struct base_buf *b)
{
    FILE *f = open_vector(name, "hex");
    unsigned byte;
    base_buf_init(b, 1 << 20);
    while (fscanf(f, "%2x", &byte) == 1)
        base_buf_u8(b, (uint8_t)byte);
    assert_true(feof(f) && b->err == 0 && b->len > 0);
    fclose(f);
}

static char *read_text(const char *name)
{
    FILE *f = open_vector(name, "txt");
    char *text = calloc(1, 1 << 17);
    assert_non_null(text);
    size_t n = fread(text, 1, (1 << 17) - 1, f);
    assert_true(n > 0 && feof(f));
    fclose(f);
    return text;
}

static void check_good(const char *name, const struct base_buf *b, const struct wire_frame *f)
{
    char *text = NULL, *want = read_text(name);
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    dump_wire(f, out);
    fclose(out);
    if (strcmp(text, want) != 0)
        fail_msg("%s: decodes to\n%s", name, text);
    free(text);
    free(want);
    /* int8 need not survive a second rounding, zstd's bytes belong to its version. */
    bool int8 = f->type == WIRE_ROWS && f->u.rows.dtype == WIRE_I8;
    if (int8 || b->data[4] != 0)
        return;
    struct base_buf again;
    base_buf_init(&again, 1 << 20);
    assert_int_equal(wire_encode(f, &again), 0);
    if (again.len != b->len || memcmp(again.data, b->data, b->len) != 0)
        fail_msg("%s: encodes to other bytes", name);
    base_buf_fini(&again);
}

static int code_of(const char *word)
{
    static const struct {
        const char *word;
        int code;
    } words[] = {
        {"ok", 1},
        {"format", BASE_EFORMAT},
        {"limit", BASE_ELIMIT},
        {"unsupported", BASE_EUNSUPPORTED},
        {"mismatch", BASE_EMISMATCH},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i].word) == 0)
            return words[i].code;
    }
    fail_msg("the manifest says '%s'", word);
    return 0;
}

static void check_vector(const char *name, int want)
{
    struct base_buf b;
    struct wire_frame f;
    struct base_err err = {0};
    read_hex(name, &b);
    struct wire_decoder *d = wire_decoder_new();
    assert_int_equal(wire_decoder_feed(d, b.data, b.len), 0);
    int rc = wire_decoder_next(d, &f, &err);
    if (rc != want)
        fail_msg("%s: answer %d (%s), expected %d", name, rc, err.msg, want);
    if (rc == 1)
        check_good(name, &b, &f);
    else if (err.msg[0] == '\0' || strncmp(err.place, "frame 0 byte ", 13) != 0)
        fail_msg("%s: '%s' at '%s'", name, err.msg, err.place);
    wire_decoder_free(d);
    base_buf_fini(&b);
}

static void test_manifest(void **state)
{
    (void)state;
    FILE *f = open_vector("manifest", "txt");
    char line[256], name[128], word[32];
    int n_good = 0, n_bad = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%127s %31s", name, word), 2);
        int want = code_of(word);
        check_vector(name, want);
        *(want == 1 ? &n_good : &n_bad) += 1;
    }
    fclose(f);
    assert_true(n_good >= 13 && n_bad >= 50);
}

/* The committed good vectors are exactly what today's encoder writes for the samples. */
static void test_samples_are_committed(void **state)
{
    (void)state;
    struct wire_frame s;
    const char *name;
    for (int i = 0; (name = sample_wire(i, &s)) != NULL; i++) {
        struct base_buf b, now;
        read_hex(name, &b);
        base_buf_init(&now, 1 << 20);
        assert_int_equal(wire_encode(&s, &now), 0);
        assert_int_equal(now.data[4], b.data[4]);
        if (b.data[4] == 0)
            assert_true(now.len == b.len && memcmp(now.data, b.data, b.len) == 0);
        base_buf_fini(&b);
        base_buf_fini(&now);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_samples_are_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
