/* What somebody said -> rules for its spans. A word is what stands between blanks, without the
 * punctuation at its two ends; of scripts that write no blanks, a character is one. A span is words
 * that follow each other, with what stands between them. */
#include "api/catalogue_int.h"

#include <string.h>

#include "api/schema.h"
#include "base/utf8.h"

enum kind { SPACE, PUNCT, CLOSE, LETTER, SIGN }; /* CLOSE: of brackets; SIGN: a word by itself */

struct range {
    uint32_t lo, hi;
};

static bool is_in(uint32_t cp, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (cp >= r[i].lo && cp <= r[i].hi)
            return true;
    }
    return false;
}

/* By blocks of the Unicode Standard, version 15. What is not named is a letter. */
static enum kind kind_of(uint32_t cp)
{
    static const struct range space[] = {{0, 0x20},        {0x7f, 0xa0},     {0x1680, 0x1680},
                                         {0x2000, 0x200b}, {0x2028, 0x2029}, {0x202f, 0x202f},
                                         {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    static const struct range punct[] = {
        {0x21, 0x2f},     {0x3a, 0x40},     {0x5b, 0x60},      {0x7b, 0x7e},     {0xa1, 0xa9},
        {0xab, 0xb4},     {0xb6, 0xb9},     {0xbb, 0xbf},      {0xd7, 0xd7},     {0xf7, 0xf7},
        {0x200c, 0x206f}, {0x2190, 0x2bff}, {0x2e00, 0x2e7f},  {0x3001, 0x3020}, {0x3030, 0x3030},
        {0x303d, 0x303d}, {0x30fb, 0x30fb}, {0xfe30, 0xfe6f},  {0xff01, 0xff0f}, {0xff1a, 0xff20},
        {0xff3b, 0xff40}, {0xff5b, 0xff65}, {0x1f000, 0x1faff}};
    static const uint32_t close[] = {')',    ']',    '}',    0xbb,   0x2019, 0x201d,
                                     0x3009, 0x300b, 0x300d, 0x300f, 0x3011, 0xff09};
    /* Thai, Lao, Myanmar, Khmer; kana, Han, Hangul (whose particles stick to the word). */
    static const struct range sign[] = {{0xe00, 0xeff},   {0x1000, 0x109f},  {0x1100, 0x11ff},
                                        {0x1780, 0x17ff}, {0x2e80, 0x2fdf},  {0x3021, 0x4dbf},
                                        {0x4e00, 0x9fff}, {0xac00, 0xd7ff},  {0xf900, 0xfaff},
                                        {0xff66, 0xffdc}, {0x20000, 0x3ffff}};
    if (is_in(cp, space, sizeof space / sizeof space[0]))
        return SPACE;
    for (size_t i = 0; i < sizeof close / sizeof close[0]; i++) {
        if (cp == close[i])
            return CLOSE;
    }
    if (is_in(cp, punct, sizeof punct / sizeof punct[0]))
        return PUNCT;
    return is_in(cp, sign, sizeof sign / sizeof sign[0]) ? SIGN : LETTER;
}

/* The character at s[0..n) and its bytes; what is no UTF-8 is a blank of one byte. */
static uint32_t next_char(const uint8_t *s, size_t n, size_t *len)
{
    uint32_t cp;
    *len = base_utf8((const char *)s, n, &cp);
    if (*len > 0)
        return cp;
    *len = 1;
    return ' ';
}

/* A word, and brackets that close right behind it: a title may end with them. What stands between
 * two words begins where the first ended. */
struct word {
    size_t at, end, closed;
};

static int words_find(const uint8_t *s, size_t len, struct word *w)
{
    int n = 0;
    bool open = false; /* the last word is of letters, and no blank has come since */
    size_t size;
    for (size_t i = 0; i < len; i += size) {
        const enum kind k = kind_of(next_char(s + i, len - i, &size));
        if (k == SIGN || (k == LETTER && !open))
            w[n++].at = i;
        if (k == SIGN || k == LETTER)
            w[n - 1].end = w[n - 1].closed = i + size;
        if (k == CLOSE && n > 0 && w[n - 1].closed == i)
            w[n - 1].closed = i + size;
        open = k == LETTER || ((k == PUNCT || k == CLOSE) && open);
    }
    return n;
}

/* Text in quotes, white space as one blank each. */
static void put_quoted(const uint8_t *s, size_t len, struct base_buf *out)
{
    char text[API_CAT_MAX_SAID];
    size_t n = 0, size;
    for (size_t i = 0; i < len; i += size) {
        if (kind_of(next_char(s + i, len - i, &size)) != SPACE) {
            memcpy(text + n, s + i, size);
            n += size;
        } else if (n == 0 || text[n - 1] != ' ') {
            text[n++] = ' ';
        }
    }
    api_grammar_quote(out, text, n);
}

int cat_said_rules(const char *said, size_t len, struct base_buf *out)
{
    const uint8_t *s = (const uint8_t *)said;
    struct word w[API_CAT_MAX_SAID];
    const int n = words_find(s, len, w);
    for (int i = 0; i < n; i++)
        base_buf_printf(out, i == 0 ? "t = w0" : " | w%d", i);
    base_buf_str(out, n > 0 ? " ;\n" : "");
    for (int i = 0; i < n; i++) {
        base_buf_printf(out, "w%d = ", i);
        put_quoted(s + w[i].at, w[i].end - w[i].at, out);
        const bool closes = w[i].closed > w[i].end, goes_on = i + 1 < n;
        base_buf_str(out, closes || goes_on ? " (" : "");
        if (closes)
            put_quoted(s + w[i].end, w[i].closed - w[i].end, out);
        base_buf_str(out, closes && goes_on ? " | " : "");
        if (goes_on) {
            put_quoted(s + w[i].end, w[i + 1].at - w[i].end, out);
            base_buf_printf(out, " w%d", i + 1);
        }
        base_buf_str(out, closes || goes_on ? ")?" : "");
        base_buf_str(out, " ;\n");
    }
    return n;
}
