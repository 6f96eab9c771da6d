#include "engine/pretok.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/utf8.h"

enum { MAX_STAGE = 4 };

/* White space by Unicode's White_Space property, spelt out: PCRE2's own \s also takes U+180E. */
#define WS                                                                                      \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}" \
    "\\x{205f}\\x{3000}"
#define SPACES "[" WS "]+(?![^" WS "])|[" WS "]+"
#define OTHER "[^" WS "\\p{L}\\p{N}]+"
#define LINES "[" WS "]*[\\r\\n]+"

/* The patterns that the models were trained with, from their tokenizers' own files. */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?" OTHER "|" SPACES
#define CL100K(digits)                                                                             \
    "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?" OTHER \
    "[\\r\\n]*|" LINES "|" SPACES

/* Each stage cuts the pieces of the stage before it: its matches, and what lies between them. */
static const struct spec {
    const char *name; /* '|'-separated */
    bool whole_words, add_bos;
    const char *stage[MAX_STAGE];
} known[] = {
    {"gpt-2", false, false, {GPT2}},
    {"smollm", false, false, {"\\p{N}", GPT2}},
    {"llama-bpe|llama3|llama-v3", true, true, {CL100K("\\p{N}{1,3}")}},
    {"qwen2|deepseek-r1-qwen", false, false, {CL100K("\\p{N}")}},
    {"default", false, false, {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9]{3}"}},
};
#define KNOWN_NAMES "gpt-2, smollm, llama-bpe (llama3, llama-v3), qwen2, default"

struct pretok {
    const struct spec *spec;
    pcre2_code *code[MAX_STAGE];
    int n_stage;
};

static bool name_is(const char *names, const char *name, size_t len)
{
    for (const char *p = names; *p != '\0';) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, name, n) == 0)
            return true;
        p += n + (p[n] == '|');
    }
    return false;
}

int pretok_new(struct pretok **out, const char *name, size_t len, struct base_err *err)
{
    const struct spec *spec = NULL;
    *out = NULL;
    for (size_t i = 0; i < sizeof known / sizeof known[0] && spec == NULL; i++)
        if (name_is(known[i].name, name, len))
            spec = &known[i];
    if (spec == NULL)
        return base_err_set(err, BASE_EUNSUPPORTED, "key tokenizer.ggml.pre",
                            "pre-tokenizer '%.*s' is none of " KNOWN_NAMES,
                            (int)(len < 40 ? len : 40), name);
    struct pretok *p = calloc(1, sizeof *p);
    if (p == NULL)
        return base_err_set(err, BASE_ENOMEM, "tokenizer", "out of memory");
    p->spec = spec;
    for (; p->n_stage < MAX_STAGE && spec->stage[p->n_stage] != NULL; p->n_stage++) {
        int code;
        PCRE2_SIZE at;
        pcre2_code *re = pcre2_compile((PCRE2_SPTR)spec->stage[p->n_stage], PCRE2_ZERO_TERMINATED,
                                       PCRE2_UTF, &code, &at, NULL);
        if (re == NULL) {
            pretok_free(p);
            return base_err_set(err, code == PCRE2_ERROR_NOMEMORY ? BASE_ENOMEM : BASE_EINTERNAL,
                                "tokenizer", "PCRE2 error %d in the pattern at %zu", code,
                                (size_t)at);
        }
#ifndef WP_NO_JIT
        /* Where memory may not be both written and executed, this fails and the interpreter runs.
         */
        (void)pcre2_jit_compile(re, PCRE2_JIT_COMPLETE);
#endif
        p->code[p->n_stage] = re;
    }
    *out = p;
    return 0;
}

void pretok_free(struct pretok *p)
{
    for (int i = 0; p != NULL && i < p->n_stage; i++)
        pcre2_code_free(p->code[i]);
    free(p);
}

bool pretok_whole_words(const struct pretok *p)
{
    return p->spec->whole_words;
}

bool pretok_add_bos(const struct pretok *p)
{
    return p->spec->add_bos;
}

struct split {
    const struct pretok *p;
    pcre2_match_data *md[MAX_STAGE];
    pretok_fn *fn;
    void *ctx;
};

/* The first match at or after from: 1 and [*begin, *end), 0: none, or an error. */
static int match(const struct split *s, int stage, const char *text, size_t len, size_t from,
                 size_t *begin, size_t *end)
{
    pcre2_match_data *md = s->md[stage];
    int rc =
        pcre2_match(s->p->code[stage], (PCRE2_SPTR)text, len, from, PCRE2_NO_UTF_CHECK, md, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(s->p->code[stage], (PCRE2_SPTR)text, len, from,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, md, NULL);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc < 0)
        return rc == PCRE2_ERROR_NOMEMORY ? BASE_ENOMEM : BASE_ELIMIT;
    const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(md);
    *begin = ov[0];
    *end = ov[1];
    return *end > *begin ? 1 : BASE_EINTERNAL; /* no pattern above matches nothing */
}

/* text is whole UTF-8. */
static int split_stage(struct split *s, int stage, const char *text, size_t len)
{
    if (len == 0)
        return 0;
    if (stage == s->p->n_stage)
        return s->fn(s->ctx, text, len);
    int rc = 0;
    for (size_t pos = 0, begin, end; pos < len && rc == 0; pos = end) {
        rc = match(s, stage, text, len, pos, &begin, &end);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return split_stage(s, stage + 1, text + pos, len - pos);
        rc = split_stage(s, stage + 1, text + pos, begin - pos);
        if (rc == 0)
            rc = split_stage(s, stage + 1, text + begin, end - begin);
    }
    return rc;
}

static int split_valid_runs(struct split *s, const char *text, size_t len)
{
    size_t run = 0;
    int rc = 0;
    for (size_t pos = 0; pos < len && rc == 0;) {
        int n = eng_utf8_len(text + pos, len - pos);
        if (n > 0) {
            pos += (size_t)n;
            continue;
        }
        rc = split_stage(s, 0, text + run, pos - run);
        if (rc == 0)
            rc = s->fn(s->ctx, text + pos, 1);
        run = ++pos;
    }
    return rc != 0 ? rc : split_stage(s, 0, text + run, len - run);
}

int pretok_split(const struct pretok *p, const char *text, size_t len, pretok_fn *fn, void *ctx)
{
    struct split s = {.p = p, .fn = fn, .ctx = ctx};
    int rc = 0;
    for (int i = 0; i < p->n_stage; i++) {
        s.md[i] = pcre2_match_data_create(1, NULL);
        if (s.md[i] == NULL)
            rc = BASE_ENOMEM;
    }
    if (rc == 0)
        rc = split_valid_runs(&s, text, len);
    for (int i = 0; i < p->n_stage; i++)
        pcre2_match_data_free(s.md[i]);
    return rc;
}
