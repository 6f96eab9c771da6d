/* What test_grammar.c and test_held.c share: a grammar's text compiled and begun, what it takes,
 * tokens by their text. Include it after cmocka.h. */
#ifndef TESTS_ENGINE_GRAMMAR_CASE_H
#define TESTS_ENGINE_GRAMMAR_CASE_H

#include <string.h>

#include "engine/grammar.h"
#include "tiny_vocab.h"

static inline struct eng_grammar *compile(const char *text, const char *trigger)
{
    struct eng_grammar *g = NULL;
    struct base_err err = {0};
    if (eng_grammar_new(&g, vocab, text, strlen(text), trigger, &err) != 0)
        fail_msg("%s: %s: %s", text, err.place, err.msg);
    return g;
}

static inline struct eng_grammar_state *begin(const char *text, const char *trigger)
{
    struct eng_grammar *g = compile(text, trigger);
    struct eng_grammar_state *s = NULL;
    assert_int_equal(eng_grammar_start(&s, g), 0);
    eng_grammar_unref(g); /* the state has its own */
    return s;
}

/* Whether the whole text is an answer, byte by byte. */
static inline bool takes(const char *grammar, const char *text, size_t len)
{
    struct eng_grammar_state *s = begin(grammar, NULL);
    bool ok = true;
    for (size_t i = 0; i < len && ok; i++) {
        const int rc = eng_grammar_take_text(s, text + i, 1);
        assert_true(rc == 0 || rc == BASE_EINVAL);
        ok = rc == 0;
    }
    ok = ok && eng_grammar_may_end(s);
    eng_grammar_stop(s);
    return ok;
}

static inline int32_t token_of(const char *text)
{
    for (int32_t id = 0; id < eng_tok_n_vocab(tok); id++) {
        size_t n;
        const char *p = eng_tok_piece(tok, id, true, &n);
        if (n == strlen(text) && memcmp(p, text, n) == 0)
            return id;
    }
    fail_msg("no token is '%s'", text);
    return -1;
}

#endif
