/* A model file's bytes, as far as they are decoded: header, keys, tensor table, vocabulary, merges,
 * chat template; then text and a conversation through what came out. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/chat.h"
#include "engine/gguf.h"
#include "engine/tok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void touch_all(const struct gguf_file *f)
{
    char buf[64];
    for (int i = 0; i < gguf_n_kv(f); i++)
        sink = (uint8_t)(gguf_kv_key(f, i)[0] + gguf_kv_print(f, i, buf, sizeof buf)[0]);
    for (int i = 0; i < gguf_n_tensor(f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        const uint8_t *p = t->data;
        if (gguf_tensor_find(f, t->name) != t)
            abort();
        sink = (uint8_t)(p[0] + p[t->n_bytes - 1]);
    }
}

static void encode(const struct eng_tok *t, const char *text, size_t len)
{
    for (int flags = 0; flags <= (ENG_TOK_BOS | ENG_TOK_SPECIAL); flags++) {
        int32_t *ids;
        int n;
        if (eng_tok_encode(t, text, len, flags, 4096, &ids, &n, NULL) != 0)
            continue;
        for (int i = 0; i < n; i++) {
            size_t k;
            const char *p = eng_tok_piece(t, ids[i], true, &k);
            if (ids[i] < 0 || ids[i] >= eng_tok_n_vocab(t))
                abort();
            if (k > 0)
                sink = (uint8_t)p[k - 1];
        }
        free(ids);
    }
}

static void chat(const struct gguf_file *f, const struct eng_tok *t)
{
    static const char *const force[] = {NULL, "chatml", "llama3", "llama2"};
    const struct eng_chat_msg msg[] = {{"user", "ab <|im_end|>", 13}};
    struct gguf_str tmpl = {"", 0};
    struct base_err err;
    bool found;
    if (gguf_get_str(f, "tokenizer.chat_template", &tmpl, &found, &err) != 0)
        return;
    for (size_t i = 0; i < sizeof force / sizeof force[0]; i++) {
        const struct eng_chat_format *c;
        int32_t *ids;
        int n;
        if (eng_chat_find(&c, tmpl.s, tmpl.len, force[i], &err) != 0)
            continue;
        if (eng_chat_encode(c, t, msg, 1, 4096, &ids, &n, &err) == 0)
            free(ids);
        eng_chat_free(c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf_file *f;
    struct eng_tok *t;
    struct base_err err;
    if (gguf_open_mem(&f, data, size, &err) != 0)
        return 0;
    touch_all(f);
    if (eng_tok_open(&t, f, &err) == 0) {
        size_t tail = size < 64 ? size : 64;
        encode(t, "ab a\n<|im_end|> \xff 12", 19);
        encode(t, (const char *)data + size - tail, tail);
        chat(f, t);
        eng_tok_close(t);
    }
    gguf_close(f);
    return 0;
}
