/* Fails the 1st, 2nd, … nth allocation of opening a model file, encoding and streaming: each gives
 * BASE_ENOMEM, and (under ASan) nothing leaks. The linker wraps the allocator for this program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/chat.h"
#include "engine/text.h"
#include "tiny.h"

static long countdown = -1; /* allocations until one fails; below 0: none does */

static int fails(void)
{
    return countdown >= 0 && countdown-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

static int stream(const struct eng_tok *t, struct base_err *err)
{
    static const char *const stop[] = {"END", "\n\n"};
    struct eng_text *x;
    struct base_buf out;
    base_buf_init(&out, 4096);
    int rc = eng_text_new(&x, t, stop, 2, err);
    for (int i = 0; i < 200 && rc == 0; i++)
        rc = eng_text_add(x, 3 + 'a' + i % 26, &out);
    if (rc == 0)
        rc = eng_text_end(x, &out);
    eng_text_free(x);
    base_buf_fini(&out);
    return rc;
}

static int converse(const struct eng_tok *t, struct base_err *err)
{
    static const char tmpl[] = "'<|im_start|>system\nBe kind.<|im_end|>'";
    const struct eng_chat_msg m[] = {{"user", "the user and the rest of it", 27}};
    const struct eng_chat_format *c;
    int32_t *ids = NULL;
    int n, rc;
    rc = eng_chat_find(&c, tmpl, sizeof tmpl - 1, NULL, err);
    if (rc == 0)
        rc = eng_chat_encode(c, t, m, 1, 1000, &ids, &n, err);
    free(ids);
    eng_chat_free(c);
    return rc;
}

static int scenario(const void *data, size_t size)
{
    struct gguf_file *f;
    struct eng_tok *t = NULL;
    struct base_err err;
    int rc = gguf_open_mem(&f, data, size, &err);
    if (rc == 0)
        rc = eng_tok_open(&t, f, &err);
    if (rc == 0)
        rc = converse(t, &err);
    if (rc == 0)
        rc = stream(t, &err);
    eng_tok_close(t);
    gguf_close(f);
    return rc;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char path[] = TINY_PATH;
    assert_int_equal(tiny_write("--layers 1 --d 8 --heads 1 --kv-heads 1 --ff 8", path), 0);
    FILE *f = fopen(path, "rb");
    unlink(path);
    assert_non_null(f);
    static uint8_t data[1 << 18];
    size_t size = fread(data, 1, sizeof data, f);
    assert_true(size > 1000 && size < sizeof data);
    fclose(f);
    int n = 0, rc;
    for (;; n++) {
        countdown = n;
        rc = scenario(data, size);
        if (rc == 0)
            break;
        assert_int_equal(rc, BASE_ENOMEM);
        assert_true(n < 500);
    }
    countdown = -1;
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
