/* Schema text -> grammar -> a walk by random bytes: nothing may crash or hang, a refusal has a
 * place and a reason, and from wherever the walk stands the answer can be brought to its end, which
 * then is JSON. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api/schema.h"
#include "engine/grammar.h"
#include "engine/tok_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_DEPTH = 64, MAX_WALK = 400 };

/* A vocabulary of the 256 bytes and some longer tokens, and an end. */
static const struct eng_vocab *vocab(void)
{
    static const char *const word[] = {"\",\"", "\":", "{\"", "\"}", "true",
                                       "null",  "  ",  "ab",  "123"};
    static struct eng_vocab *v;
    static struct eng_tok t;
    enum { N_WORD = sizeof word / sizeof word[0], N = 256 + N_WORD + 1 };
    static char pool[256 + 64];
    static uint32_t off[N + 1];
    static uint8_t type[N], is_end[N];
    if (v != NULL)
        return v;
    uint32_t at = 0;
    for (int i = 0; i < N; i++) {
        off[i] = at;
        type[i] = i < N - 1 ? TOK_NORMAL : TOK_CONTROL;
        if (i < 256)
            pool[at++] = (char)i;
        else if (i < N - 1)
            at += (uint32_t)strlen(strcpy(pool + at, word[i - 256]));
    }
    off[N] = at;
    is_end[N - 1] = 1;
    t = (struct eng_tok){
        .n_vocab = N, .pool = pool, .off = off, .type = type, .is_end = is_end, .eos = N - 1};
    struct base_err err;
    if (eng_vocab_new(&v, &t, &err) != 0)
        abort();
    return v;
}

/* jansson recurses: as request.c does, look first. */
static int too_deep(const uint8_t *s, size_t n)
{
    int depth = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        depth += (s[i] == '{' || s[i] == '[') - (s[i] == '}' || s[i] == ']');
        most = depth > most ? depth : most;
    }
    return most > MAX_DEPTH;
}

static void walk(struct eng_grammar *g, const uint8_t *seed, size_t n_seed)
{
    static int32_t list[512];
    static char text[1 << 16];
    struct eng_grammar_state *s = NULL;
    size_t len = 0;
    if (eng_grammar_start(&s, g) != 0)
        return;
    eng_grammar_limit(s, MAX_WALK);
    int end = 0;
    for (int i = 0; i < MAX_WALK && !end; i++) {
        size_t n;
        int32_t id;
        int k = eng_grammar_forced(s, &id, 1);
        if (k == 0) {
            k = eng_grammar_list(s, list, 0);
            if (k > 0)
                id = list[(seed[(size_t)i % n_seed] + 7u * (unsigned)i) % (unsigned)k];
        }
        if (k < 0) {
            if (k != BASE_ELIMIT && k != BASE_ENOMEM) /* never a dead end */
                abort();
            break;
        }
        if (eng_grammar_allows(s, id) != 1 || eng_grammar_take(s, id) != 0)
            abort();
        end = id == 256 + 9;
        const char *p = eng_tok_piece(vocab()->tok, id, false, &n);
        if (len + n <= sizeof text)
            memcpy(text + len, p, n);
        len += n;
    }
    if (end && len <= sizeof text) {
        json_t *v = json_loadb(text, len, JSON_DECODE_ANY, NULL);
        if (v == NULL)
            abort();
        json_decref(v);
    }
    eng_grammar_stop(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct base_err err = {0};
    struct base_buf e, text;
    struct eng_grammar *g = NULL;
    if (size < 2 || size > 1 << 14 || too_deep(data, size))
        return 0;
    json_t *s = json_loadb((const char *)data + 1, size - 1,
                           JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    if (s == NULL)
        return 0;
    struct api_schema *c = api_schema_new(data[0] & 1);
    base_buf_init(&e, 1 << 16);
    base_buf_init(&text, 4 << 20);
    int rc = c == NULL ? BASE_ENOMEM : api_schema_add(c, s, data[0] & 2, "schema", &e, &err);
    if (rc == 0)
        rc = api_schema_write(c, &e, &text);
    else if (err.place[0] == '\0' || err.msg[0] == '\0')
        abort();
    if (rc == 0) {
        rc = eng_grammar_new(&g, vocab(), (const char *)text.data, text.len, NULL, &err);
        /* What we write is well-formed; only its size or its meaning may be refused. */
        if (rc == BASE_EFORMAT)
            abort();
    }
    if (rc == 0)
        walk(g, data, size);
    eng_grammar_unref(g);
    api_schema_free(c);
    base_buf_fini(&e);
    base_buf_fini(&text);
    json_decref(s);
    return 0;
}
