/* The tiny model's tokenizer and its sorted vocabulary, for tests of what is held to a form.
 * Include it after cmocka.h; set_up and tear_down are the group's. */
#ifndef TESTS_ENGINE_TINY_VOCAB_H
#define TESTS_ENGINE_TINY_VOCAB_H

#include "engine/vocab.h"
#include "tiny.h"

static struct eng_tok *tok;
static struct eng_vocab *vocab;

static inline int set_up(void **state)
{
    (void)state;
    struct base_err err = {0};
    struct gguf_file *f = tiny_open("--layers 1", &err);
    if (f == NULL || eng_tok_open(&tok, f, &err) != 0 || eng_vocab_new(&vocab, tok, &err) != 0) {
        fprintf(stderr, "# %s: %s\n", err.place, err.msg);
        return -1;
    }
    gguf_close(f);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    eng_vocab_free(vocab);
    eng_tok_close(tok);
    return 0;
}

#endif
