/* Fails the 1st, 2nd, … nth allocation of opening a model file, encoding and streaming: each gives
 * BASE_ENOMEM, and (under ASan) nothing leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/chat.h"
#include "engine/sample.h"
#include "engine/text.h"
#include "fail_alloc.h"
#include "tiny.h"

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

static int ask(const struct eng_tok *t, struct base_err *err)
{
    static const char tmpl[] =
        "{{- 'a\\n\\n# Tools <tool_call>' }} {{- \"\\n</tools>\\n<|im_end|>\" }} "
        "<|im_start|> <tool_response>";
    static const char *const tool[] = {"{}"};
    const struct eng_chat_msg m[] = {{"user", "a", 1}, {"tool", "b", 1}, {"tool", "c", 1}};
    const struct eng_chat_ask what = {tool, 1, true};
    const struct eng_chat_format *c;
    int32_t *ids = NULL;
    int n;
    int rc = eng_chat_find(&c, tmpl, sizeof tmpl - 1, NULL, err);
    if (rc == 0)
        rc = eng_chat_encode_ask(c, t, m, 3, &what, 1000, &ids, &n, err);
    free(ids);
    eng_chat_free(c);
    return rc;
}

/* An answer held to a grammar, by both ways of picking, and with what was said before. */
static int hold(const struct eng_tok *t, struct base_err *err)
{
    static const char text[] =
        "a = \"[\" (a (\",\" a)*)? \"]\" | \"'\" [^'\\x00-\\x1f]{1,200} \"'\" ;";
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    struct eng_vocab *v = NULL;
    struct eng_grammar *g = NULL;
    struct eng_sampler *s = NULL;
    static float logits[1024];
    int rc = eng_vocab_new(&v, t, err);
    if (rc == 0)
        rc = eng_grammar_new(&g, v, text, sizeof text - 1, NULL, err);
    p.grammar = g;
    p.temperature = 1.0f;
    p.said = "[[";
    p.said_len = 2;
    p.max_tok = 120;
    if (rc == 0)
        rc = eng_sampler_new(&s, &p, eng_tok_n_vocab(t), err);
    for (int i = 0; i < 120 && rc == 0; i++) {
        struct eng_pick out;
        for (int k = 0; k < 1024; k++)
            logits[k] = (float)((k * 7 + i) % 13);
        rc = eng_sampler_pick(s, logits, &out);
        if (rc == 0 && eng_tok_is_end(t, out.token))
            break;
    }
    eng_sampler_free(s);
    eng_grammar_unref(g);
    eng_vocab_free(v);
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
    if (rc == 0)
        rc = ask(t, &err);
    if (rc == 0)
        rc = hold(t, &err);
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
        atomic_store(&alloc_left, n);
        rc = scenario(data, size);
        /* Where a list can't be kept it is made again: that one failure is no error. */
        if (rc == 0 && !alloc_failed())
            break;
        assert_true(rc == BASE_ENOMEM || rc == 0);
        assert_true(n < 500);
    }
    (void)alloc_failed();
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
