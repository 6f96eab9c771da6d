/* Grammars: what they take, what their text must be, what they ask of a vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../fixtures/gguf_put.h"
#include "grammar_case.h"

static void texts_are_taken_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *grammar;
        const char *yes[6], *no[8];
    } row[] = {
        {"a = \"yes\" | \"no\" ;", {"yes", "no"}, {"", "y", "yesno", "n", "NO"}},
        {"a = \"x\"* ;", {"", "x", "xxxx"}, {"y", "xy"}},
        {"a = \"x\"+ \"y\"? ;", {"x", "xxy", "xy"}, {"", "y", "xyy"}},
        {"a = [a-c]{2} ;", {"ab", "cc"}, {"a", "abc", "ad"}},
        {"a = [a-c]{2,} ;", {"ab", "abcabc"}, {"a", "abd"}},
        {"a = [a-c]{0,2} \"!\" ;", {"!", "a!", "ab!"}, {"abc!", "ab"}},
        {"a = (\"ab\" | \"c\"){1,3} ;", {"ab", "cab", "ccc", "abcab"}, {"", "cccc", "a"}},
        {"a = b b ; b = \"1\" | \"12\" ;", {"11", "112", "121", "1212"}, {"1", "12", "122"}},
        {"a = \"(\" a \")\" | \"\" ;", {"", "()", "((()))"}, {"(", "())", ")("}},
        {"a = \"x\" a | \"\" ;", {"", "xxx"}, {"y"}},
        {"a = [^a] ;", {"b", "\xc3\xa4", "\xf0\x9f\x98\x80", "\n"}, {"a", "", "\xc3", "\xff"}},
        {"a = [\\u{e4}-\\u{10000}] ;",
         {"\xc3\xa4", "\xe4\xb8\xad", "\xf0\x90\x80\x80", "\xed\x9f\xbf"},
         {"\xc3\xa3", "a", "\xed\xa0\x80", "\xf0\x90\x80\x81", "\xe0\x80\x80", "\xc0\xa4"}},
        {"a = [\xc3\xa4\\]\\-x] ;", {"\xc3\xa4", "]", "-", "x"}, {"\\", "\xc3", "\xa4"}},
        {"a = \"\\x00\\xff\\\"\\\\\\n\" ;", {NULL}, {""}},
        {"# a comment\na = \"1\" # another\n ;", {"1"}, {"#"}},
        {"a = (\"\")* \"x\" ;", {"x"}, {""}},
        {"a = (b*)* ; b = \"x\"? ;", {"", "xx"}, {"y"}},
        {"a = \"a\" b \"c\" ; b = ; ", {"ac"}, {"abc"}},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        for (int k = 0; k < 6 && row[i].yes[k] != NULL; k++) {
            if (!takes(row[i].grammar, row[i].yes[k], strlen(row[i].yes[k])))
                fail_msg("%s refuses '%s'", row[i].grammar, row[i].yes[k]);
        }
        for (int k = 0; k < 8 && row[i].no[k] != NULL; k++) {
            if (takes(row[i].grammar, row[i].no[k], strlen(row[i].no[k])))
                fail_msg("%s takes '%s'", row[i].grammar, row[i].no[k]);
        }
    }
    assert_true(takes("a = \"\\x00\\xff\\\"\\\\\\n\" ;", "\0\xff\"\\\n", 5));
}

/* Every code point and every surrogate through a class of everything. */
static void classes_are_whole_characters(void **state)
{
    (void)state;
    struct eng_grammar_state *s = begin("a = [\\u{0}-\\u{10ffff}]* ;", NULL);
    for (uint32_t cp = 0; cp < 0x110000; cp += cp < 0x3000 || cp > 0xd700 ? 1 : 37) {
        char b[4];
        int n = 1;
        if (cp < 0x80) {
            b[0] = (char)cp;
        } else {
            n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
            uint32_t v = cp;
            for (int i = n - 1; i > 0; i--, v >>= 6)
                b[i] = (char)(0x80 | (v & 0x3f));
            b[0] = (char)(v | (n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0));
        }
        const bool is_char = cp < 0xd800 || cp > 0xdfff;
        const int rc = eng_grammar_take_text(s, b, (size_t)n);
        if (rc != (is_char ? 0 : BASE_EINVAL) || !eng_grammar_may_end(s))
            fail_msg("U+%04X: %d", cp, rc);
        if (cp > 0xe100 && cp < 0x10fe00)
            cp += 251;
    }
    eng_grammar_stop(s);
}

static void bad_text_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place;
        int code;
    } bad[] = {
        {"", "grammar:1:1", BASE_EFORMAT},
        {"a = \"x\"", "grammar:1:8", BASE_EFORMAT},
        {"a = \"x ;", "grammar:1:9", BASE_EFORMAT},
        {"a = [a ;", "grammar:1:9", BASE_EFORMAT},
        {"a = [] ;", "grammar:1:7", BASE_EFORMAT},
        {"a = [z-a] ;", "grammar:1:9", BASE_EFORMAT},
        {"a = [\\u{d800}-\\u{dfff}] ;", "grammar:1:24", BASE_EFORMAT},
        {"a = [\xff] ;", "grammar:1:6", BASE_EFORMAT},
        {"a = \"\\q\" ;", "grammar:1:8", BASE_EFORMAT},
        {"a = \"\\u{e4}\" ;", "grammar:1:7", BASE_EFORMAT},
        {"a = \"x\"{3,2} ;", "grammar:1:12", BASE_EFORMAT},
        {"a = \"x\"{} ;", "grammar:1:9", BASE_EFORMAT},
        {"a = \"x\"{99999} ;", "grammar:1:12", BASE_ELIMIT},
        {"a = (\"x\" ;", "grammar:1:10", BASE_EFORMAT},
        {"a = \"x\" ) ;", "grammar:1:9", BASE_EFORMAT},
        {"a = b ;", "grammar:1:5", BASE_EFORMAT},
        {"a = \"x\" ;\na = \"y\" ;", "grammar:2:1", BASE_EFORMAT},
        {"a b", "grammar:1:3", BASE_EFORMAT},
        {"= \"x\" ;", "grammar:1:1", BASE_EFORMAT},
        {"a = a ;", "grammar", BASE_EINVAL},
        {"a = a \"x\" | \"y\" ;", "grammar", BASE_EINVAL},
        {"a = \"x\" | b ; b = c a ; c = \"\" | \"z\" ;", "grammar", BASE_EINVAL},
        {"a = \"x\" | ( \"\" | a ) \"y\" ;", "grammar", BASE_EINVAL},
        {"a = \"x\" a ;", "grammar", BASE_EINVAL},
        {"a = \"x\" b ; b = \"y\" c ; c = \"z\" b ;", "grammar", BASE_EINVAL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eng_grammar *g;
        struct base_err err = {0};
        const int rc = eng_grammar_new(&g, vocab, bad[i].text, strlen(bad[i].text), NULL, &err);
        if (rc != bad[i].code || strcmp(err.place, bad[i].place) != 0 || err.msg[0] == '\0')
            fail_msg("%s: %d at %s: %s", bad[i].text, rc, err.place, err.msg);
        assert_null(g);
    }
}

static void sizes_have_limits(void **state)
{
    (void)state;
    struct eng_grammar *g;
    struct base_err err = {0};
    struct base_buf b;
    base_buf_init(&b, 4 << 20);
    base_buf_str(&b, "a = ");
    for (int i = 0; i < 100; i++)
        base_buf_str(&b, "(");
    assert_int_equal(eng_grammar_new(&g, vocab, (char *)b.data, b.len, NULL, &err), BASE_ELIMIT);
    base_buf_reset(&b);
    for (int i = 0; i <= ENG_GRAMMAR_MAX_RULE; i++)
        base_buf_printf(&b, "r%d = \"x\" ;\n", i);
    assert_int_equal(eng_grammar_new(&g, vocab, (char *)b.data, b.len, NULL, &err), BASE_ELIMIT);
    base_buf_reset(&b);
    base_buf_str(&b, "a = ");
    for (int i = 0; i < 40; i++)
        base_buf_str(&b, "\"x\"{8000} ");
    base_buf_str(&b, ";");
    assert_int_equal(eng_grammar_new(&g, vocab, (char *)b.data, b.len, NULL, &err), BASE_ELIMIT);
    base_buf_reset(&b);
    for (int i = 0; i < 2000; i++)
        base_buf_printf(&b, "%*s\n", 600, "");
    assert_int_equal(eng_grammar_new(&g, vocab, (char *)b.data, b.len, NULL, &err), BASE_ELIMIT);
    base_buf_fini(&b);
    char trigger[80];
    memset(trigger, 'x', 79);
    trigger[79] = '\0';
    assert_int_equal(eng_grammar_new(&g, vocab, "a = \"x\" ;", 9, trigger, &err), BASE_ELIMIT);

    /* Ambiguity without end: the number of places grows until it is refused, which stays. */
    struct eng_grammar_state *s = begin("a = b b b ; b = \"x\" b \"y\" | \"x\" b | \"x\" ;", NULL);
    int rc = 0;
    for (int i = 0; i < 20000 && rc == 0; i++)
        rc = eng_grammar_take_text(s, "x", 1);
    assert_int_equal(rc, BASE_ELIMIT);
    assert_int_equal(eng_grammar_take_text(s, "x", 1), BASE_ELIMIT);
    assert_int_equal(eng_grammar_allows(s, 5), BASE_ELIMIT);
    eng_grammar_stop(s);
}

/* ---- tokens ---- */

/* The list is what asking token by token gives, wherever the walk stands. */
static void lists_are_what_is_allowed(void **state)
{
    (void)state;
    static const char *const grammar[] = {
        "a = [^\\x00-\\x1f\"\\\\]{0,4} \"\\\"\" ;",
        "a = (\"the\" | \"then\" | \"there\" | \"user\" | \"ing\") \" \" a | \"\" ;",
        "a = \"[\" (a (\",\" a)*)? \"]\" | [0-9]+ ;",
        "a = [\\u{80}-\\u{10ffff}]+ ;",
    };
    const int n_vocab = eng_tok_n_vocab(tok);
    int32_t list[2048];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof grammar / sizeof grammar[0]; i++) {
        struct eng_grammar_state *s = begin(grammar[i], NULL);
        for (int step = 0; step < 60; step++) {
            const int n = eng_grammar_list(s, list, 0);
            assert_true(n > 0);
            int n_allowed = 0;
            for (int32_t id = 0; id < n_vocab; id++)
                n_allowed += eng_grammar_allows(s, id);
            assert_int_equal(n, n_allowed);
            for (int k = 0; k < n; k++)
                assert_int_equal(eng_grammar_allows(s, list[k]), 1);
            assert_int_equal(eng_grammar_list(s, list, 0), n); /* kept */
            seed = seed * 1664525 + 1013904223;
            const int32_t id = list[(seed >> 8) % (uint32_t)n];
            if (eng_tok_is_end(tok, id))
                break;
            assert_int_equal(eng_grammar_take(s, id), 0);
        }
        eng_grammar_stop(s);
    }
    struct eng_grammar_state *s = begin("a = [^a]* ;", NULL);
    assert_int_equal(eng_grammar_list(s, list, 10), BASE_EBUSY);
    assert_int_equal(eng_grammar_take(s, token_of("<|im_start|>")), BASE_EINVAL);
    assert_int_equal(eng_grammar_allows(s, token_of("<|im_start|>")), 0);
    assert_int_equal(eng_grammar_allows(s, -1), 0);
    assert_int_equal(eng_grammar_allows(s, n_vocab), 0);
    assert_int_equal(eng_grammar_take(s, token_of("<|im_end|>")), 0);
    eng_grammar_stop(s);
}

static void ends_come_exactly_where_they_may(void **state)
{
    (void)state;
    struct eng_grammar_state *s = begin("a = \"the\" \"n\"? ;", NULL);
    const int32_t end = token_of("<|im_end|>"), other = token_of("<|endoftext|>");
    assert_int_equal(eng_grammar_allows(s, end), 0);
    assert_int_equal(eng_grammar_take(s, end), BASE_EINVAL);
    assert_int_equal(eng_grammar_take_text(s, "the", 3), 0);
    assert_int_equal(eng_grammar_allows(s, end), 1);
    assert_int_equal(eng_grammar_allows(s, other), 1);
    assert_int_equal(eng_grammar_take_text(s, "n", 1), 0);
    int32_t list[300];
    assert_int_equal(eng_grammar_list(s, list, 0), 2);
    int32_t out[4];
    assert_int_equal(eng_grammar_forced(s, out, 4), 1);
    assert_int_equal(out[0], end); /* the file's EOS */
    eng_grammar_stop(s);
}

static void certain_tokens_are_foretold(void **state)
{
    (void)state;
    struct eng_grammar_state *s = begin("a = \"the user\" (\"s\" | \" and\") \"!\" ;", NULL);
    int32_t out[16], again[16];
    const int n = eng_grammar_forced(s, out, 16);
    char text[64] = "";
    for (int i = 0; i < n; i++) {
        size_t len;
        const char *p = eng_tok_piece(tok, out[i], false, &len);
        strncat(text, p, len);
    }
    assert_string_equal(text, "the user");
    assert_true(n < 8); /* longer tokens than bytes */
    for (int i = 0; i < n; i++) {
        assert_int_equal(eng_grammar_forced(s, again, 16), n - i);
        assert_int_equal(again[0], out[i]);
        assert_int_equal(eng_grammar_forced(s, again, 1), 1);
        assert_int_equal(eng_grammar_take(s, out[i]), 0);
    }
    assert_int_equal(eng_grammar_forced(s, out, 16), 0);
    assert_int_equal(eng_grammar_take_text(s, "s", 1), 0);
    assert_int_equal(eng_grammar_forced(s, out, 16), 2); /* '!' and the end */
    assert_int_equal(out[1], token_of("<|im_end|>"));
    eng_grammar_stop(s);

    /* What is longer than one look is foretold piece by piece, and the same. */
    char grammar[700] = "a = \"";
    for (int i = 0; i < 100; i++)
        strcat(grammar, "then i");
    strcat(grammar, "\" ;");
    s = begin(grammar, NULL);
    int total = 0, got;
    int32_t many[400];
    while ((got = eng_grammar_forced(s, many, 400)) > 0 && !eng_tok_is_end(tok, many[0])) {
        int32_t one;
        for (int i = 0; i < got && !eng_tok_is_end(tok, many[i]); i++, total++) {
            assert_int_equal(eng_grammar_forced(s, &one, 1), 1);
            assert_int_equal(one, many[i]);
            assert_int_equal(eng_grammar_take(s, one), 0);
        }
    }
    assert_true(total > 200 && eng_grammar_may_end(s));
    eng_grammar_stop(s);
}

/* Where a token of the vocabulary goes on behind what is certain, the model is asked: it has learnt
 * that token. */
static void a_token_may_go_beyond_what_is_certain(void **state)
{
    (void)state;
    struct eng_grammar_state *s = begin("a = \"x\" (\" the\" | \" in\" | \" 1\") ;", NULL);
    int32_t out[4], list[300];
    assert_int_equal(eng_grammar_forced(s, out, 4), 1);
    assert_int_equal(out[0], token_of("x"));
    assert_int_equal(eng_grammar_take(s, out[0]), 0);
    assert_int_equal(eng_grammar_forced(s, out, 4), 0);
    assert_int_equal(eng_grammar_list(s, list, 0), 3); /* ' ', " t", " the" */
    assert_int_equal(eng_grammar_allows(s, token_of(" the")), 1);
    assert_int_equal(eng_grammar_take(s, token_of(" t")), 0);
    assert_int_equal(eng_grammar_forced(s, out, 4), 2); /* "he" and the end */
    eng_grammar_stop(s);

    /* No token goes on with a digit: the blank is certain. Nor does one that comes too late. */
    s = begin("a = \" \" [0-9] ;", NULL);
    assert_int_equal(eng_grammar_forced(s, out, 4), 1);
    eng_grammar_stop(s);
    s = begin("a = \" the\" \"xxxxxxx\" | \" in\" ;", NULL);
    eng_grammar_limit(s, 4);
    assert_int_equal(eng_grammar_forced(s, out, 4), 1);
    assert_int_equal(out[0], token_of(" "));
    eng_grammar_stop(s);
}

static void a_trigger_begins_it(void **state)
{
    (void)state;
    struct eng_grammar_state *s = begin("a = \"1\" ;", "<<call");
    int32_t out[4];
    assert_true(eng_grammar_may_end(s));
    assert_int_equal(eng_grammar_forced(s, out, 4), 0);
    assert_int_equal(eng_grammar_take_text(s, "any \xff <<cal <<<call", 19), 0);
    assert_false(eng_grammar_may_end(s));
    assert_int_equal(eng_grammar_take_text(s, "2", 1), BASE_EINVAL);
    assert_int_equal(eng_grammar_forced(s, out, 4), 2);
    assert_int_equal(eng_grammar_take_text(s, "1", 1), 0);
    assert_true(eng_grammar_may_end(s));
    assert_int_equal(eng_grammar_take_text(s, "x", 1), BASE_EINVAL);
    eng_grammar_stop(s);
}

/* Long answers in a grammar that makes new sets all the time: what is behind is forgotten. */
static void long_answers_do_not_pile_up(void **state)
{
    (void)state;
    struct eng_grammar_state *s = begin("a = \"[\" (a (\",\" a)*)? \"]\" | [a-z]{1,8000} ;", NULL);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(eng_grammar_take_text(s, "[", 1), 0);
    for (int i = 0; i < 7000; i++)
        assert_int_equal(eng_grammar_take_text(s, "q", 1), 0);
    assert_int_equal(eng_grammar_take_text(s, "1", 1), BASE_EINVAL);
    for (int i = 0; i < 3000; i++) {
        assert_false(eng_grammar_may_end(s));
        assert_int_equal(eng_grammar_take_text(s, "]", 1), 0);
    }
    assert_true(eng_grammar_may_end(s));
    assert_int_equal(eng_grammar_take_text(s, "]", 1), BASE_EINVAL);
    eng_grammar_stop(s);
}

/* A limit is kept to wherever it can be, and never leads into a corner. */
static void limits_bring_it_to_its_end(void **state)
{
    (void)state;
    static const char grammar[] = "a = \"{\" [^\\x00-\\x1f\"]* (\"[\" a{2} \"]\")? \"}\" ;";
    int32_t list[1024];
    uint32_t seed = 5;
    for (int limit = 1; limit < 60; limit++) {
        struct eng_grammar_state *s = begin(grammar, NULL);
        eng_grammar_limit(s, limit);
        bool end = false;
        int n_tok = 0;
        for (; !end && n_tok < limit; n_tok++) {
            const int n = eng_grammar_list(s, list, 0);
            assert_true(n > 0);
            seed = seed * 1664525 + 1013904223;
            int32_t id = list[(seed >> 8) % (uint32_t)n];
            for (int i = 0; i < n; i++) /* what leads deeper, where it may */
                id = list[i] == token_of("[") && n_tok % 3 == 2 ? list[i] : id;
            assert_int_equal(eng_grammar_allows(s, id), 1);
            assert_int_equal(eng_grammar_take(s, id), 0);
            end = eng_tok_is_end(tok, id);
        }
        assert_true(end == (limit >= 3)); /* '{', '}' and an end */
        eng_grammar_stop(s);
    }
    /* Nothing is begun behind a trigger that could not be ended. */
    struct eng_grammar_state *s = begin("a = \"123456\" ;", "!");
    eng_grammar_limit(s, 8);
    assert_int_equal(eng_grammar_allows(s, token_of("!")), 1);
    assert_int_equal(eng_grammar_take(s, token_of("a")), 0);
    for (int i = 0; i < 9; i++) { /* but free text is not made to end */
        assert_int_equal(eng_grammar_allows(s, token_of("!")), 0);
        assert_int_equal(eng_grammar_allows(s, token_of("a")), 1);
        assert_int_equal(eng_grammar_take(s, token_of("a")), 0);
    }
    eng_grammar_stop(s);
}

/* ---- vocabularies ---- */

/* SentencePiece with only the tokens named: [0] unknown, [1] BOS, [2] EOS, the rest normal. */
static struct eng_tok *small_tok(const char *const *piece, int n)
{
    static uint8_t mem[1 << 14];
    struct base_buf b;
    struct gguf_file *f;
    struct eng_tok *t = NULL;
    struct base_err err = {0};
    base_buf_init(&b, sizeof mem);
    put_head(&b, 0, 5);
    put_kv_str(&b, "tokenizer.ggml.model", "llama");
    put_kv_arr(&b, "tokenizer.ggml.tokens", GGUF_KV_STR, (uint64_t)n + 3);
    put_str(&b, "<unk>", 5);
    put_str(&b, "<s>", 3);
    put_str(&b, "</s>", 4);
    for (int i = 0; i < n; i++)
        put_str(&b, piece[i], strlen(piece[i]));
    put_kv_arr(&b, "tokenizer.ggml.scores", GGUF_KV_F32, (uint64_t)n + 3);
    for (int i = 0; i < n + 3; i++)
        base_buf_u32le(&b, 0);
    put_kv_arr(&b, "tokenizer.ggml.token_type", GGUF_KV_I32, (uint64_t)n + 3);
    for (int i = 0; i < n + 3; i++)
        base_buf_u32le(&b, i == 0 ? 2 : i < 3 ? 3 : piece[i - 3][0] == '<' ? 6 : 1);
    put_kv_u32(&b, "tokenizer.ggml.eos_token_id", 2);
    memcpy(mem, b.data, b.len);
    if (gguf_open_mem(&f, mem, b.len, &err) != 0 || eng_tok_open(&t, f, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    gguf_close(f);
    base_buf_fini(&b);
    return t;
}

static void what_a_vocabulary_lacks_is_left_out(void **state)
{
    (void)state;
    static const char *const piece[] = {"a", "b", "ab", "<0x7B>", "\xe2\x96\x81", "\xc3", "x"};
    struct eng_tok *t = small_tok(piece, 7);
    struct eng_vocab *v = NULL;
    struct eng_grammar *g = NULL;
    struct base_err err = {0};
    assert_int_equal(eng_vocab_new(&v, t, &err), 0);
    assert_true(v->has_byte['a'] && v->has_byte['{'] && v->has_byte[' '] && !v->has_byte['c']);
    /* No way to end without 'c' … */
    assert_int_equal(eng_grammar_new(&g, v, "a = \"ab\" \"c\" ;", 14, NULL, &err),
                     BASE_EUNSUPPORTED);
    assert_int_equal(eng_grammar_new(&g, v, "a = \"a\" ;", 9, "c", &err), BASE_EUNSUPPORTED);
    /* … but where there is another, nothing leads to the dead end. */
    static const char two[] = "a = \"a\" (\"bc\" | \"x\") | [\\u{80}-\\u{7ff}] | \"{ \" ;";
    assert_int_equal(eng_grammar_new(&g, v, two, sizeof two - 1, NULL, &err), 0);
    struct eng_grammar_state *s = NULL;
    assert_int_equal(eng_grammar_start(&s, g), 0);
    int32_t list[16];
    assert_int_equal(eng_grammar_list(s, list, 0), 2); /* 'a' and '{': not "ab", not 0xc3 */
    assert_int_equal(eng_grammar_take_text(s, "a", 1), 0);
    assert_int_equal(eng_grammar_forced(s, list, 16), 2);
    assert_int_equal(eng_grammar_take_text(s, "b", 1), BASE_EINVAL);
    eng_grammar_stop(s);
    eng_grammar_unref(g);
    eng_vocab_free(v);
    eng_tok_close(t);
}

/* Beginnings longer than a key's eight bytes; and of equal texts a normal token is what the
 * tokenizer finds, so it comes first. */
static void equal_and_long_tokens_have_an_order(void **state)
{
    (void)state;
    static const char *const piece[] = {"<0x62>",   "b",       "b",      "aaaaaaaac", "aaaaaaaab",
                                        "aaaaaaaa", "aaaaaaa", "<0x61>", "a"};
    static const int32_t want[] = {11, 10, 9, 8, 7, 6, 4, 5, 3};
    struct eng_tok *t = small_tok(piece, 9);
    struct eng_vocab *v = NULL;
    struct base_err err = {0};
    int32_t *ids = NULL;
    int n = 0;
    assert_int_equal(eng_vocab_new(&v, t, &err), 0);
    assert_int_equal(v->n, 9);
    assert_memory_equal(v->id, want, sizeof want);
    assert_int_equal(v->lcp[4], 8);
    assert_int_equal(eng_tok_encode(t, "b", 1, 0, 8, &ids, &n, &err), 0);
    assert_true(n > 0 && ids[n - 1] == 4);
    free(ids);
    eng_vocab_free(v);
    eng_tok_close(t);
}

static void the_vocabulary_is_sorted(void **state)
{
    (void)state;
    size_t n_before = 0;
    const char *before = "";
    int n = 0;
    for (int i = 0; i < vocab->n; i++) {
        size_t len, k = 0;
        const char *p = eng_tok_piece(tok, vocab->id[i], false, &len);
        while (k < len && k < n_before && p[k] == before[k])
            k++;
        assert_int_equal(vocab->lcp[i], k);
        assert_true(k == n_before || (k < len && (uint8_t)p[k] > (uint8_t)before[k]));
        before = p;
        n_before = len;
    }
    for (int32_t id = 0; id < eng_tok_n_vocab(tok); id++)
        n += !eng_tok_is_special(tok, id) && !eng_tok_is_end(tok, id);
    assert_int_equal(vocab->n, n);
    for (int b = 0; b < 256; b++)
        assert_true(vocab->has_byte[b] && vocab->first[b] < vocab->first[b + 1]);
    assert_int_equal(vocab->end[0], eng_tok_eos(tok));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_taken_or_not),
        cmocka_unit_test(classes_are_whole_characters),
        cmocka_unit_test(bad_text_says_where),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(lists_are_what_is_allowed),
        cmocka_unit_test(ends_come_exactly_where_they_may),
        cmocka_unit_test(certain_tokens_are_foretold),
        cmocka_unit_test(a_token_may_go_beyond_what_is_certain),
        cmocka_unit_test(a_trigger_begins_it),
        cmocka_unit_test(long_answers_do_not_pile_up),
        cmocka_unit_test(limits_bring_it_to_its_end),
        cmocka_unit_test(what_a_vocabulary_lacks_is_left_out),
        cmocka_unit_test(equal_and_long_tokens_have_an_order),
        cmocka_unit_test(the_vocabulary_is_sorted),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
