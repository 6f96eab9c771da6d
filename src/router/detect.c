/* Detectors: one class each, some patterns each. A pattern proposes, an optional check (checksum)
 * confirms. Missing an identifier may let it leave the car; a false alarm only keeps a request at
 * home. So the patterns are wide, and any trouble counts as found. */
#include "router/detect.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "router/detect_norm.h"

enum {
    MAX_TEXT_BYTES = 64 << 20,
    MATCH_LIMIT = 100000, /* steps of one match attempt */
    HEAP_LIMIT_KIB = 1024,
    MAX_CANDIDATES = 4096, /* that a check turned down, of one pattern in one text */
};

/* Whether the text from at on is what the pattern took it for. */
typedef bool check_fn(const char *s, size_t len, size_t at);

static check_fn check_iban, check_card, check_vin;

enum { PHONE, EMAIL, IBAN, CARD, VIN, LOCATION, N_CLASS };

static const char *const class_name[N_CLASS] = {
    [PHONE] = "identifier.phone", [EMAIL] = "identifier.email", [IBAN] = "identifier.iban",
    [CARD] = "identifier.card",   [VIN] = "identifier.vin",     [LOCATION] = "location.precise",
};

/* Written for the normalised text: digits, dashes, spaces and brackets are ASCII. No UTF mode:
 * other letters are bytes from 0x80 on. SEP: what people put between a number's digits. */
#define SEP "[ ./()\\-]{0,3}"
#define NO_DIGIT_BEFORE "(?<!\\d)(?<!\\d[.,:/\\-])"

static const struct {
    int cls;
    const char *regex;
    check_fn *check;
} pattern[] = {
    /* +49 170 1234567, 0086 138 0013 8000: seven digits at least */
    {PHONE, "(?<![\\w.])(?:\\+|00)" SEP "[1-9](?:" SEP "\\d){6}", NULL},
    /* 089/123456, (030) 1234-567, 010-12345678: a trunk zero, seven digits at least, no date */
    {PHONE,
     NO_DIGIT_BEFORE "(?<![A-Za-z])\\(?(?!\\d\\d([./\\-])\\d\\d\\1\\d{2,4}(?!\\d))0[1-9](?:" SEP
                     "\\d){5}",
     NULL},
    /* 13800138000, 138-0013-8000: Chinese mobile numbers */
    {PHONE, "(?<!\\d)1[3-9]\\d(?:[ .\\-]?\\d){8}(?!\\d)", NULL},
    /* 400-800-1234: Chinese service numbers */
    {PHONE, "(?<!\\d)[48]00[ \\-]?\\d{3}[ \\-]?\\d{4}(?!\\d)", NULL},
    {PHONE, "(?<!\\d)[48]00[ \\-]?\\d{4}[ \\-]?\\d{3}(?!\\d)", NULL},
    /* (415) 555-2671, 1-800-555-0199, 4155552671: North America; also 555-2671 */
    {PHONE,
     NO_DIGIT_BEFORE "(?:1[ .\\-]{0,2})?\\(?[2-9]\\d\\d\\)?[ ./\\-]{0,3}[2-9]\\d\\d[ .\\-]{0,3}"
                     "\\d{4}(?![\\d])",
     NULL},
    {PHONE, NO_DIGIT_BEFORE "[2-9]\\d\\d-\\d{4}(?![\\d])(?!-\\d)", NULL},
    /* a word that announces a number, then six digits at least */
    {PHONE,
     "(?i)(?:\\b(?:call|dial|ring|text|sms|phone|mobile|cell|tel|fax|whatsapp|telefon\\w*|anruf\\w*"
     "|"
     "ruf\\w*|handy\\w*|nummer|number|durchwahl|w\xC3\xA4hle?)\\b|\xE7\x94\xB5\xE8\xAF\x9D|"
     "\xE6\x89\x8B\xE6\x9C\xBA|\xE5\x8F\xB7\xE7\xA0\x81|\xE6\x8B\xA8\xE6\x89\x93|"
     "\xE6\x89\x93\xE7\xBB\x99|\xE8\x87\xB4\xE7\x94\xB5)[^\\d\\n]{0,24}\\d(?:" SEP "\\d){5}",
     NULL},
    {EMAIL,
     "[A-Za-z0-9._%+'\\-\\x80-\\xff]@(?:[A-Za-z0-9\\-\\x80-\\xff]{1,63}\\.){1,8}"
     "[A-Za-z\\x80-\\xff]{2}",
     NULL},
    {EMAIL,
     "(?i)[a-z0-9] ?[\\[({] ?(?:at|\xC3\xA4t) ?[\\])}] ?[a-z0-9\\-]{1,63} ?(?:\\.|[\\[({] ?(?:dot|"
     "punkt) ?[\\])}]) ?[a-z]{2}",
     NULL},
    {EMAIL, "(?i)[a-z0-9] at [a-z0-9\\-]{1,63} (?:dot|punkt) [a-z]{2}", NULL},
    {IBAN, "(?i)(?<![A-Za-z0-9])[A-Z]{2}[ \\-]?\\d[ \\-]?\\d(?:[ .\\-]?[A-Z0-9]){11}", check_iban},
    {CARD, "(?<!\\d)[2-6](?:[ .\\-]?\\d){12}", check_card},
    {VIN, "(?i)(?<![A-Za-z0-9])[A-HJ-NPR-Z0-9]{17}(?![A-Za-z0-9])", check_vin},
    /* 48.137154, 11.576124 · 48,1371; 11,5761 · -33.8688 151.2093 */
    {LOCATION,
     "(?<![\\d.,])[+\\-]?\\d{1,3}\\.\\d{3,}(?: ?(?:\xC2\xB0|deg))? ?[NSns]?[ ,;/|]{1,3}"
     "(?:lon\\w*|lng)?[ :=]{0,2}[+\\-]?\\d{1,3}\\.\\d{3,}",
     NULL},
    {LOCATION,
     "(?<![\\d.,])[+\\-]?\\d{1,3},\\d{3,}\\d?[ \xC2\xB0NS]{0,4}[;/ |]{1,3}[+\\-]?\\d{1,3},"
     "\\d{4,}",
     NULL},
    /* 48°08'14"N */
    {LOCATION, "\\d{1,3} ?\xC2\xB0 ?\\d{1,2}(?:[.,]\\d+)? ?'", NULL},
    {LOCATION, "\\d{1,3}(?:[.,]\\d{2,})? ?\xC2\xB0 ?[NSEWO]\\b", NULL},
    {LOCATION,
     "(?i)\\b(?:lat|latitude|lon|lng|long|longitude|breitengrad|l\xC3\xA4ngengrad)\\b[^\\d\\n]{0,8}"
     "\\d{1,3}[.,]\\d{2}",
     NULL},
    /* 北纬 南纬 东经 西经 纬度 经度 */
    {LOCATION,
     "(?:\xE5\x8C\x97\xE7\xBA\xAC|\xE5\x8D\x97\xE7\xBA\xAC|\xE4\xB8\x9C\xE7\xBB\x8F|"
     "\xE8\xA5\xBF\xE7\xBB\x8F|\xE7\xBA\xAC\xE5\xBA\xA6|\xE7\xBB\x8F\xE5\xBA\xA6)[^\\d\\n]{0,8}\\d",
     NULL},
};

enum { N_PATTERN = sizeof pattern / sizeof pattern[0] };

struct rt_detect {
    pcre2_code *code[N_PATTERN];
    pcre2_match_data *md;
    pcre2_match_context *ctx;
    char *text; /* [cap], the normalised text; wiped after each run */
    size_t cap;
};

int rt_detect_open(struct rt_detect **out, struct base_err *err)
{
    struct rt_detect *d = calloc(1, sizeof *d);

    *out = NULL;
    if (d == NULL)
        return base_err_set(err, BASE_ENOMEM, "detectors", "out of memory");
    d->md = pcre2_match_data_create(1, NULL);
    d->ctx = pcre2_match_context_create(NULL);
    if (d->md == NULL || d->ctx == NULL) {
        rt_detect_close(d);
        return base_err_set(err, BASE_ENOMEM, "detectors", "out of memory");
    }
    pcre2_set_match_limit(d->ctx, MATCH_LIMIT);
    pcre2_set_heap_limit(d->ctx, HEAP_LIMIT_KIB);
    for (int i = 0; i < N_PATTERN; i++) {
        int code;
        PCRE2_SIZE at;
        d->code[i] =
            pcre2_compile((PCRE2_SPTR)pattern[i].regex, PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);
        if (d->code[i] == NULL) {
            rt_detect_close(d);
            return base_err_set(err, BASE_EINTERNAL, "detectors",
                                "pattern %d does not compile at %zu (pcre2 %d)", i, (size_t)at,
                                code);
        }
#ifndef WP_NO_JIT
        /* Without write+execute memory (a sandbox) this fails and the interpreter does the work. */
        (void)pcre2_jit_compile(d->code[i], PCRE2_JIT_COMPLETE);
#endif
    }
    *out = d;
    return 0;
}

void rt_detect_close(struct rt_detect *d)
{
    if (d == NULL)
        return;
    for (int i = 0; i < N_PATTERN; i++)
        pcre2_code_free(d->code[i]);
    pcre2_match_data_free(d->md);
    pcre2_match_context_free(d->ctx);
    free(d->text);
    free(d);
}

int rt_detect_n(const struct rt_detect *d)
{
    (void)d;
    return N_CLASS;
}

const char *rt_detect_class(const struct rt_detect *d, int i)
{
    (void)d;
    return class_name[i];
}

/* ---- checks ---- */

static bool alnum(const char *s, size_t len, size_t at)
{
    return at < len && isalnum((unsigned char)s[at]) != 0;
}

static bool digit(const char *s, size_t len, size_t at)
{
    return at < len && s[at] >= '0' && s[at] <= '9';
}

/* ISO 13616: 15 to 34 characters, the first four moved to the end, letters as 10 … 35: 1 modulo 97.
 * Where it ends is not known beforehand, since words may follow. */
static bool check_iban(const char *s, size_t len, size_t at)
{
    char c[34];
    size_t n = 0;

    for (size_t i = at; i < len && n < sizeof c; i++) {
        if (!alnum(s, len, i)) {
            if (strchr(" -.", s[i]) == NULL)
                break;
            continue;
        }
        c[n++] = (char)toupper((unsigned char)s[i]);
        if (n < 15 || alnum(s, len, i + 1))
            continue;
        unsigned mod = 0;
        for (size_t k = 0; k < n; k++) {
            char ch = c[(k + 4) % n];
            unsigned v = ch <= '9' ? (unsigned)(ch - '0') : (unsigned)(ch - 'A') + 10;
            mod = (mod * (v > 9 ? 100 : 10) + v) % 97;
        }
        if (mod == 1)
            return true;
    }
    return false;
}

/* ISO 7812: 13 to 19 digits, Luhn's sum. An expiry date may follow, so every end is tried. */
static bool check_card(const char *s, size_t len, size_t at)
{
    unsigned char d[19];
    size_t n = 0;

    for (size_t i = at; i < len && n < sizeof d; i++) {
        if (!digit(s, len, i)) {
            if (strchr(" -.", s[i]) == NULL)
                break;
            continue;
        }
        d[n++] = (unsigned char)(s[i] - '0');
        if (n < 13 || digit(s, len, i + 1))
            continue;
        unsigned sum = 0;
        for (size_t k = 0; k < n; k++) {
            unsigned v = d[n - 1 - k] * (k % 2 == 0 ? 1u : 2u);
            sum += v > 9 ? v - 9 : v;
        }
        if (sum % 10 == 0)
            return true;
    }
    return false;
}

/* ISO 3779: 17 characters without I, O, Q. The check digit is North American only; letters and
 * digits both are asked for, so that neither words nor numbers pass. */
static bool check_vin(const char *s, size_t len, size_t at)
{
    int digits = 0, letters = 0;
    for (size_t i = at; i < len && i < at + 17; i++) {
        digits += digit(s, len, i);
        letters += !digit(s, len, i);
    }
    return digits >= 3 && letters >= 2;
}

/* ---- run ---- */

static bool matches(struct rt_detect *d, int i, size_t len)
{
    size_t at = 0;

    for (int n = 0; n < MAX_CANDIDATES; n++) {
        int rc = pcre2_match(d->code[i], (PCRE2_SPTR)d->text, len, at, 0, d->md, d->ctx);
        if (rc == PCRE2_ERROR_NOMATCH)
            return false;
        if (rc < 0)
            return true; /* a limit, or no memory: in doubt, found */
        size_t start = pcre2_get_ovector_pointer(d->md)[0];
        if (pattern[i].check == NULL || pattern[i].check(d->text, len, start))
            return true;
        at = start + 1;
    }
    return true;
}

/* Fills d->text; SIZE_MAX if that can't be done. */
static size_t prepare(struct rt_detect *d, const char *text, size_t len)
{
    if (len > MAX_TEXT_BYTES)
        return SIZE_MAX;
    if (len + 1 > d->cap) {
        free(d->text);
        d->text = malloc(len + 1);
        d->cap = d->text != NULL ? len + 1 : 0;
        if (d->text == NULL)
            return SIZE_MAX;
    }
    size_t n = rt_detect_normalise(text, len, d->text);
    if (n == SIZE_MAX)
        explicit_bzero(d->text, len);
    return n;
}

void rt_detect_run(struct rt_detect *d, const char *text, size_t len, uint64_t *found)
{
    size_t n = prepare(d, text, len);

    if (n == SIZE_MAX) { /* too long, no memory, not UTF-8 */
        *found |= (UINT64_C(1) << N_CLASS) - 1;
        return;
    }
    for (int i = 0; i < N_PATTERN; i++) {
        uint64_t bit = UINT64_C(1) << pattern[i].cls;
        if ((*found & bit) == 0 && matches(d, i, n))
            *found |= bit;
    }
    explicit_bzero(d->text, n);
}
