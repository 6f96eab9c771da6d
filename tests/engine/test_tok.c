#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../fixtures/gguf_put.h"
#include "engine/tok.h"
#include "tiny.h"

/* mktiny's ids: three control tokens, then the bytes, then its merges. */
enum { IM_START = 1, IM_END = 2, BYTE = 3, MERGE = 3 + 256 };

static struct eng_tok *tiny_tok(void)
{
    struct base_err err = {0};
    struct gguf_file *f = tiny_open("--layers 1 --d 8 --heads 1 --kv-heads 1 --ff 8", &err);
    struct eng_tok *t = NULL;
    assert_non_null(f);
    assert_int_equal(eng_tok_open(&t, f, &err), 0);
    gguf_close(f);
    return t;
}

static void expect(const struct eng_tok *t, const char *text, size_t len, int flags,
                   const int32_t *want, int n_want)
{
    int32_t *ids;
    int n;
    struct base_err err;
    assert_int_equal(eng_tok_encode(t, text, len, flags, 1000, &ids, &n, &err), 0);
    assert_int_equal(n, n_want);
    if (n > 0)
        assert_memory_equal(ids, want, (size_t)n * sizeof *ids);
    free(ids);
}
#define EXPECT(t, text, flags, ...)                                   \
    expect(t, text, sizeof text - 1, flags, (int32_t[]){__VA_ARGS__}, \
           sizeof((int32_t[]){__VA_ARGS__}) / 4)

static void bpe_merges_by_rank(void **state)
{
    (void)state;
    struct eng_tok *t = tiny_tok();
    EXPECT(t, "the", 0, BYTE + 't', MERGE + 1);
    EXPECT(t, " the user", 0, MERGE + 6, BYTE + ' ', MERGE + 23);
    EXPECT(t, " and", 0, MERGE + 29); /* "\u0120a" before "an": the lower rank goes first */
    EXPECT(t, "and", 0, MERGE + 20);
    EXPECT(t, "he's", 0, MERGE + 1, BYTE + '\'', BYTE + 's'); /* never across words */
    EXPECT(t, "   a", 0, MERGE + 19, MERGE + 3); /* the last space goes with the word */
    EXPECT(t, "\n\n", 0, BYTE + '\n', BYTE + '\n');
    expect(t, "", 0, 0, NULL, 0);
    eng_tok_close(t);
}

static void bytes_that_are_no_utf8_stay_bytes(void **state)
{
    (void)state;
    struct eng_tok *t = tiny_tok();
    EXPECT(t, "he\xff\xc0\xafhe\xe4\xb8", 0, MERGE + 1, BYTE + 0xff, BYTE + 0xc0, BYTE + 0xaf,
           MERGE + 1, BYTE + 0xe4, BYTE + 0xb8);
    EXPECT(t, "\xed\xa0\x80\0x", 0, BYTE + 0xed, BYTE + 0xa0, BYTE + 0x80, BYTE, BYTE + 'x');
    /* Whatever goes in comes out, for every pair of bytes. */
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b += 5) {
            char in[3] = {(char)a, (char)b, 'x'}, out[8];
            int32_t *ids;
            int n;
            size_t len = 0, k;
            assert_int_equal(eng_tok_encode(t, in, 3, 0, 8, &ids, &n, NULL), 0);
            for (int i = 0; i < n; i++) {
                const char *p = eng_tok_piece(t, ids[i], false, &k);
                memcpy(out + len, p, k);
                len += k;
            }
            assert_int_equal(len, 3);
            assert_memory_equal(in, out, 3);
            free(ids);
        }
    eng_tok_close(t);
}

static void specials_only_where_asked(void **state)
{
    (void)state;
    struct eng_tok *t = tiny_tok();
    EXPECT(t, "a<|im_end|>", ENG_TOK_SPECIAL, BYTE + 'a', IM_END);
    EXPECT(t, "<|im_start|><|im_end|>b", ENG_TOK_SPECIAL, IM_START, IM_END, BYTE + 'b');
    int32_t *ids;
    int n;
    assert_int_equal(eng_tok_encode(t, "<|im_end|>", 10, 0, 100, &ids, &n, NULL), 0);
    assert_true(n > 1);
    for (int i = 0; i < n; i++)
        assert_false(eng_tok_is_special(t, ids[i]));
    free(ids);
    size_t len;
    eng_tok_piece(t, IM_END, false, &len);
    assert_int_equal(len, 0);
    assert_memory_equal(eng_tok_piece(t, IM_END, true, &len), "<|im_end|>", 10);
    assert_int_equal(eng_tok_find(t, "<|im_end|>"), IM_END);
    assert_int_equal(eng_tok_find(t, "<|im_en"), -1);
    assert_true(eng_tok_is_end(t, IM_END));
    assert_true(eng_tok_is_end(t, 0)); /* <|endoftext|>, by its name */
    assert_false(eng_tok_is_end(t, IM_START));
    assert_false(eng_tok_is_end(t, -1));
    assert_false(eng_tok_is_special(t, 1 << 30));
    eng_tok_piece(t, 1 << 30, true, &len);
    assert_int_equal(len, 0);
    eng_tok_close(t);
}

static void too_many_tokens(void **state)
{
    (void)state;
    struct eng_tok *t = tiny_tok();
    int32_t *ids;
    int n;
    struct base_err err;
    assert_int_equal(eng_tok_encode(t, "xyz", 3, 0, 3, &ids, &n, &err), 0);
    free(ids);
    assert_int_equal(eng_tok_encode(t, "xyz", 3, 0, 2, &ids, &n, &err), BASE_ELIMIT);
    assert_null(ids);
    assert_string_equal(err.msg, "more than 2 tokens (3 bytes)");
    eng_tok_close(t);
}

/* A megabyte in one word: quadratic work would take hours, so that merely ending is the test. */
static void long_words_are_not_quadratic(void **state)
{
    (void)state;
    struct eng_tok *t = tiny_tok();
    size_t len = 1 << 20;
    char *text = malloc(len);
    int32_t *ids;
    int n;
    for (size_t i = 0; i < len; i++)
        text[i] = "theyouandist"[i % 12];
    assert_int_equal(eng_tok_encode(t, text, len, 0, 1 << 20, &ids, &n, NULL), 0);
    assert_int_equal(n, 87381 * 6 + 3); /* t he you and is t; they */
    free(ids);
    memset(text, ' ', len);
    assert_int_equal(eng_tok_encode(t, text, len, 0, 1 << 20, &ids, &n, NULL), 0);
    assert_int_equal(n, 1 << 19);
    free(ids);
    memset(text, '<', len);
    assert_int_equal(eng_tok_encode(t, text, len, ENG_TOK_SPECIAL, 1 << 20, &ids, &n, NULL), 0);
    free(ids);
    free(text);
    eng_tok_close(t);
}

static void hash_tells_tokenizers_apart(void **state)
{
    (void)state;
    struct base_err err;
    uint8_t h[2][16];
    struct eng_tok *t = tiny_tok();
    eng_tok_hash(t, h[0]);
    eng_tok_close(t);
    t = tiny_tok();
    eng_tok_hash(t, h[1]);
    assert_memory_equal(h[0], h[1], 16);
    eng_tok_close(t);
    struct gguf_file *f = tiny_open("--type q8_0 --seed 9", &err);
    assert_int_equal(eng_tok_open(&t, f, &err), 0);
    eng_tok_hash(t, h[1]);
    assert_memory_equal(h[0], h[1], 16); /* the weights are none of its business */
    eng_tok_close(t);
    gguf_close(f);
}

/* ---- SentencePiece, from a vocabulary in memory ---- */

#define MARK "\xe2\x96\x81"
static const struct {
    const char *text;
    float score;
    uint32_t type;
} spm[] = {
    {"<unk>", 0, 2},  {"<s>", 0, 3},          {"</s>", 0, 3}, {"<0x0A>", 0, 6}, {"<0xE4>", 0, 6},
    {MARK, -1, 1},    {"a", -2, 1},           {"b", -3, 1},   {"ab", -4, 1},    {MARK "a", -5, 1},
    {"ba", -3.5f, 1}, {MARK MARK MARK, 0, 4}, {"<b>", 0, 4},
};
enum { N_SPM = sizeof spm / sizeof spm[0] };

struct spm_bend {
    const char *model, *what, *place;
    int code, n_score, n_type;
    float score0;
    uint32_t type0, bos;
    int score_kind;
};

static void put_spm(struct base_buf *b, const struct spm_bend *x)
{
    base_buf_init(b, 1 << 16);
    put_head(b, 0, 5);
    put_kv_str(b, "tokenizer.ggml.model", x->model != NULL ? x->model : "llama");
    put_kv_arr(b, "tokenizer.ggml.tokens", GGUF_KV_STR, N_SPM);
    for (int i = 0; i < N_SPM; i++)
        put_str(b, spm[i].text, strlen(spm[i].text));
    int n = x->n_score != 0 ? x->n_score : N_SPM;
    put_kv_arr(b, "tokenizer.ggml.scores", x->score_kind != 0 ? x->score_kind : GGUF_KV_F32,
               (uint64_t)n);
    for (int i = 0; i < n; i++) {
        uint32_t u;
        float v = i == 0 ? x->score0 : i < N_SPM ? spm[i].score : 0;
        memcpy(&u, &v, 4);
        base_buf_u32le(b, u);
    }
    n = x->n_type != 0 ? x->n_type : N_SPM;
    put_kv_arr(b, "tokenizer.ggml.token_type", GGUF_KV_I32, (uint64_t)n);
    for (int i = 0; i < n; i++)
        base_buf_u32le(b, i == 0 && x->type0 != 0 ? x->type0 : i < N_SPM ? spm[i].type : 1);
    put_kv_u32(b, "tokenizer.ggml.bos_token_id", x->bos != 0 ? x->bos : 1);
}

static void spm_merges_by_score(void **state)
{
    (void)state;
    struct base_buf b;
    struct gguf_file *f;
    struct eng_tok *t;
    struct base_err err;
    put_spm(&b, &(struct spm_bend){0});
    assert_int_equal(gguf_open_mem(&f, b.data, b.len, &err), 0);
    assert_int_equal(eng_tok_open(&t, f, &err), 0);
    gguf_close(f);
    memset(b.data, 0xff, b.len); /* nothing of the file may be needed any more */
    base_buf_fini(&b);
    EXPECT(t, "ab", ENG_TOK_BOS, 1, 5, 8); /* " ab": "ab" (-4) before " a" (-5) */
    EXPECT(t, "a", 0, 9);
    EXPECT(t, "bba", 0, 5, 7, 10);   /* "ba" (-3.5) */
    EXPECT(t, MARK "b", 0, 5, 5, 7); /* a literal mark is a space */
    EXPECT(t,
           "\n\xe4"
           "a",
           0, 5, 3, 4, 6);                 /* byte tokens */
    EXPECT(t, "\x01", 0, 5, 0);            /* no token for the byte: unknown */
    EXPECT(t, "b   b", 0, 5, 7, 11, 5, 7); /* user-defined, as the text stands; then a new start */
    EXPECT(t, "<b>", 0, 12);
    EXPECT(t, "</s>", ENG_TOK_SPECIAL, 2);
    expect(t, "", 0, ENG_TOK_BOS, (int32_t[]){1}, 1);
    size_t len;
    assert_memory_equal(eng_tok_piece(t, 9, false, &len), " a", 2);
    assert_memory_equal(eng_tok_piece(t, 3, false, &len), "\n", 1);
    assert_true(eng_tok_is_end(t, 2));
    assert_int_equal(eng_tok_bos(t), 1);
    eng_tok_close(t);
}

static void refuses_bad_vocabularies(void **state)
{
    (void)state;
    static const struct spm_bend bad[] = {
        {.model = "bert", .place = "tokenizer.ggml.model", .code = BASE_EUNSUPPORTED},
        {.model = "gpt2", .place = "key tokenizer.ggml.merges", .code = BASE_EFORMAT},
        {.n_score = 3, .place = "tokenizer.ggml.scores", .code = BASE_EFORMAT},
        {.n_type = 99, .place = "tokenizer.ggml.token_type", .code = BASE_EFORMAT},
        {.type0 = 7, .place = "tokenizer.ggml.token_type", .code = BASE_EFORMAT},
        {.score_kind = GGUF_KV_U32, .place = "key tokenizer.ggml.scores", .code = BASE_EFORMAT},
        {.score0 = __builtin_inff(), .place = "tokenizer.ggml.scores", .code = BASE_EFORMAT},
        {.score0 = __builtin_nanf(""), .place = "tokenizer.ggml.scores", .code = BASE_EFORMAT},
        {.bos = 13, .place = "tokenizer.ggml.bos_token_id", .code = BASE_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct base_buf b;
        struct gguf_file *f;
        struct eng_tok *t;
        struct base_err err = {0};
        put_spm(&b, &bad[i]);
        assert_int_equal(gguf_open_mem(&f, b.data, b.len, &err), 0);
        int rc = eng_tok_open(&t, f, &err);
        if (rc != bad[i].code || strcmp(err.place, bad[i].place) != 0)
            fail_msg("%zu: %d at '%s' (%s)", i, rc, err.place, err.msg);
        assert_null(t);
        gguf_close(f);
        base_buf_fini(&b);
    }
}

/* One BPE file of three tokens and one merge, both as given. */
static int open_bpe(const char *pre, const char *merge, struct base_err *err)
{
    struct base_buf b;
    struct gguf_file *f;
    struct eng_tok *t;
    base_buf_init(&b, 4096);
    put_head(&b, 0, 4);
    put_kv_str(&b, "tokenizer.ggml.model", "gpt2");
    put_kv_str(&b, "tokenizer.ggml.pre", pre);
    put_kv_arr(&b, "tokenizer.ggml.tokens", GGUF_KV_STR, 3);
    put_str(&b, "a", 1);
    put_str(&b, "b", 1);
    put_str(&b, "ab", 2);
    put_kv_arr(&b, "tokenizer.ggml.merges", GGUF_KV_STR, 1);
    put_str(&b, merge, strlen(merge));
    assert_int_equal(gguf_open_mem(&f, b.data, b.len, err), 0);
    int rc = eng_tok_open(&t, f, err);
    eng_tok_close(t);
    gguf_close(f);
    base_buf_fini(&b);
    return rc;
}

static void refuses_bad_merges(void **state)
{
    (void)state;
    struct base_err err;
    static const char *const known[] = {"gpt-2",  "smollm", "llama-bpe",
                                        "llama3", "qwen2",  "default"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal(open_bpe(known[i], "a b", &err), 0);
    assert_int_equal(open_bpe("gpt-4", "a b", &err), BASE_EUNSUPPORTED);
    assert_non_null(strstr(err.msg, "'gpt-4' is none of gpt-2, smollm"));
    assert_int_equal(open_bpe("", "a b", &err), BASE_EUNSUPPORTED);
    assert_int_equal(open_bpe("gpt-2", "ab", &err), BASE_EFORMAT);
    assert_int_equal(open_bpe("gpt-2", "a c", &err), BASE_EFORMAT);
    assert_int_equal(open_bpe("gpt-2", "b a", &err), BASE_EFORMAT);
    assert_int_equal(open_bpe("gpt-2", "\x01 b", &err), BASE_EFORMAT);
    assert_int_equal(open_bpe("gpt-2", "a ", &err), BASE_EFORMAT);
}

/* "b c" has the lowest rank, whatever comes after it, so "a b" finds no 'b' any more. */
static void the_first_of_equal_merges_counts(void **state)
{
    (void)state;
    static const char *const piece[] = {"a", "b", "c", "ab", "bc"};
    static const char *const merge[] = {"b c", "a b", "b c", "a b"};
    struct base_buf b;
    struct base_err err;
    struct gguf_file *f;
    struct eng_tok *t;
    int32_t *ids;
    int n;
    base_buf_init(&b, 4096);
    put_head(&b, 0, 4);
    put_kv_str(&b, "tokenizer.ggml.model", "gpt2");
    put_kv_str(&b, "tokenizer.ggml.pre", "gpt-2");
    put_kv_arr(&b, "tokenizer.ggml.tokens", GGUF_KV_STR, 5);
    for (int i = 0; i < 5; i++)
        put_str(&b, piece[i], strlen(piece[i]));
    put_kv_arr(&b, "tokenizer.ggml.merges", GGUF_KV_STR, 4);
    for (int i = 0; i < 4; i++)
        put_str(&b, merge[i], strlen(merge[i]));
    assert_int_equal(gguf_open_mem(&f, b.data, b.len, &err), 0);
    assert_int_equal(eng_tok_open(&t, f, &err), 0);
    assert_int_equal(eng_tok_encode(t, "abc", 3, 0, 8, &ids, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 0);
    assert_int_equal(ids[1], 4);
    free(ids);
    eng_tok_close(t);
    gguf_close(f);
    base_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe_merges_by_rank),
        cmocka_unit_test(bytes_that_are_no_utf8_stay_bytes),
        cmocka_unit_test(specials_only_where_asked),
        cmocka_unit_test(too_many_tokens),
        cmocka_unit_test(long_words_are_not_quadratic),
        cmocka_unit_test(hash_tells_tokenizers_apart),
        cmocka_unit_test(spm_merges_by_score),
        cmocka_unit_test(refuses_bad_vocabularies),
        cmocka_unit_test(refuses_bad_merges),
        cmocka_unit_test(the_first_of_equal_merges_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
