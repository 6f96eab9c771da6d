/* Scalars of a policy, each read as the one type that its key has. */
#include "router/compile.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *kind_name(const struct rt_yaml *n)
{
    return n->kind == RT_YAML_MAP ? "a mapping" : n->kind == RT_YAML_SEQ ? "a list" : "a value";
}

static bool scalar(struct rt_compiler *c, const struct rt_yaml *n, const char *what,
                   const char *wanted)
{
    if (n->kind == RT_YAML_SCALAR && (n->len > 0 || !n->plain))
        return true;
    rt_tell(c, n, RT_C_WRONG_SHAPE, "%s needs %s, not %s", what, wanted,
            n->kind == RT_YAML_SCALAR ? "nothing" : kind_name(n));
    return false;
}

static size_t digits(const char *s)
{
    return strspn(s, "0123456789");
}

/* -?(0|[1-9][0-9]*): what every reader of YAML takes for the same integer. */
static bool is_int(const char *s)
{
    s += *s == '-';
    size_t n = digits(s);
    return n > 0 && s[n] == '\0' && (n == 1 || s[0] != '0');
}

static bool is_real(const char *s)
{
    s += *s == '-';
    size_t n = digits(s);
    if (n == 0 || (n > 1 && s[0] == '0'))
        return false;
    s += n;
    if (*s == '.') {
        n = digits(++s);
        if (n == 0)
            return false;
        s += n;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        n = digits(s);
        if (n == 0)
            return false;
        s += n;
    }
    return *s == '\0';
}

bool rt_take_int(struct rt_compiler *c, const struct rt_yaml *n, const char *what, int64_t min,
                 int64_t max, int64_t *out)
{
    char show[RT_SHOW_BYTES];

    if (!scalar(c, n, what, "an integer"))
        return false;
    if (!n->plain || !is_int(n->text)) {
        rt_tell(c, n, RT_C_WRONG_TYPE, "%s needs an integer, not %s%s", what,
                rt_show(n->text, n->len, show), !n->plain && is_int(n->text) ? " in quotes" : "");
        return false;
    }
    errno = 0;
    long long v = strtoll(n->text, NULL, 10);
    if (errno != 0 || v < min || v > max) {
        rt_tell(c, n, RT_C_BAD_VALUE, "%s must be %" PRId64 " to %" PRId64 ", not %s", what, min,
                max, rt_show(n->text, n->len, show));
        return false;
    }
    *out = v;
    return true;
}

bool rt_take_clock(struct rt_compiler *c, const struct rt_yaml *n, const char *what, int64_t *out)
{
    char show[RT_SHOW_BYTES];

    if (!scalar(c, n, what, "a time of day"))
        return false;
    if (rt_clock_read(n->text, out))
        return true;
    rt_tell(c, n, RT_C_BAD_VALUE, "%s needs a time of day, 00:00 to 23:59, not %s", what,
            rt_show(n->text, n->len, show));
    return false;
}

bool rt_take_real(struct rt_compiler *c, const struct rt_yaml *n, const char *what, double *out)
{
    char show[RT_SHOW_BYTES];

    if (!scalar(c, n, what, "a number"))
        return false;
    char *end = NULL;
    double v = n->plain && is_real(n->text) ? strtod(n->text, &end) : 0;
    if (end == NULL || *end != '\0' || !isfinite(v)) {
        rt_tell(c, n, RT_C_WRONG_TYPE, "%s needs a number such as 0.5, not %s%s", what,
                rt_show(n->text, n->len, show), !n->plain && is_real(n->text) ? " in quotes" : "");
        return false;
    }
    *out = v;
    return true;
}

bool rt_take_bool(struct rt_compiler *c, const struct rt_yaml *n, const char *what, bool *out)
{
    char show[RT_SHOW_BYTES];

    if (!scalar(c, n, what, "true or false"))
        return false;
    if (!n->plain || (strcmp(n->text, "true") != 0 && strcmp(n->text, "false") != 0)) {
        rt_tell(c, n, RT_C_WRONG_TYPE, "%s needs true or false, not %s%s", what,
                rt_show(n->text, n->len, show), n->plain ? "" : " in quotes");
        return false;
    }
    *out = n->text[0] == 't';
    return true;
}

/* Would some reader of YAML take the plain word for something else than text? */
static bool ambiguous(const char *s)
{
    static const char *const words[] = {"null", "~",   "true", "false", "yes",  "no",
                                        "on",   "off", "y",    "n",     ".inf", ".nan"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(s, words[i]) == 0)
            return true;
    }
    char *end;
    strtod(s, &end);
    return end != s && *end == '\0';
}

bool rt_take_text(struct rt_compiler *c, const struct rt_yaml *n, const char *what)
{
    char show[RT_SHOW_BYTES];

    if (!scalar(c, n, what, "text"))
        return false;
    if (n->plain && ambiguous(n->text)) {
        rt_tell(c, n, RT_C_WRONG_TYPE, "%s needs text; put %s in double quotes", what,
                rt_show(n->text, n->len, show));
        return false;
    }
    if (n->len == 0 || n->len > RT_MAX_TEXT_VALUE) {
        rt_tell(c, n, RT_C_BAD_VALUE, "%s must have 1 to %d bytes, not %zu", what,
                RT_MAX_TEXT_VALUE, n->len);
        return false;
    }
    return true;
}

bool rt_take_name(struct rt_compiler *c, const struct rt_yaml *n, const char *what)
{
    char show[RT_SHOW_BYTES];

    if (!rt_take_text(c, n, what))
        return false;
    size_t ok =
        strspn(n->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (ok != n->len || n->len > RT_MAX_NAME_BYTES) {
        rt_tell(c, n, RT_C_BAD_NAME,
                "%s must be 1 to %d of the characters A-Z a-z 0-9 . _ -, not %s", what,
                RT_MAX_NAME_BYTES, rt_show(n->text, n->len, show));
        return false;
    }
    return true;
}

/* The i-th word of "a|b|c" in a rotating buffer, for rt_nearest. */
struct words {
    const char *choices;
    char (*buf)[RT_MAX_NAME_BYTES + 1];
};

enum { MAX_WORDS = 256 };

static const char *next_word(const void *ctx, int i)
{
    const struct words *w = ctx;
    const char *s = w->choices;
    for (int k = 0; k < i; k++) {
        s = strchr(s, '|');
        if (s == NULL)
            return NULL;
        s++;
    }
    if (i >= MAX_WORDS)
        return NULL;
    snprintf(w->buf[i], sizeof w->buf[i], "%.*s", (int)strcspn(s, "|"), s);
    return w->buf[i];
}

static const char *near(struct rt_compiler *c, const char *s, const char *choices,
                        char buf[][RT_MAX_NAME_BYTES + 1])
{
    struct words w = {choices, buf};
    return rt_nearest(c, s, next_word, &w);
}

bool rt_take_choice(struct rt_compiler *c, const struct rt_yaml *n, const char *what,
                    const char *choices, int *out)
{
    char show[RT_SHOW_BYTES], buf[MAX_WORDS][RT_MAX_NAME_BYTES + 1];
    struct words w = {choices, buf};
    const char *word;

    if (!scalar(c, n, what, "one word"))
        return false;
    for (int i = 0; (word = next_word(&w, i)) != NULL; i++) {
        if (strcmp(word, n->text) == 0) {
            *out = i;
            return true;
        }
    }
    const char *hint = near(c, n->text, choices, buf);
    rt_tell(c, n, RT_C_BAD_VALUE, "%s must be one of %s, not %s%s%s%s", what, choices,
            rt_show(n->text, n->len, show), hint != NULL ? "; did you mean '" : "",
            hint != NULL ? hint : "", hint != NULL ? "'?" : "");
    return false;
}

void rt_unknown_key(struct rt_compiler *c, const struct rt_yaml *key, enum rt_code code,
                    const char *where, const char *choices)
{
    char show[RT_SHOW_BYTES], buf[MAX_WORDS][RT_MAX_NAME_BYTES + 1];
    const char *hint = near(c, key->text, choices, buf);

    if (hint != NULL)
        rt_tell(c, key, code, "unknown key %s in %s; did you mean '%s'?",
                rt_show(key->text, key->len, show), where, hint);
    else
        rt_tell(c, key, code, "unknown key %s in %s; known are %s",
                rt_show(key->text, key->len, show), where, choices);
}

bool rt_take_glob(struct rt_compiler *c, const struct rt_yaml *n, bool star, struct rt_item *out)
{
    char show[RT_SHOW_BYTES];

    *out = (struct rt_item){.line = n->line, .col = n->col};
    if (!rt_take_text(c, n, "a data class"))
        return false;
    if (strcmp(n->text, "*") == 0) {
        if (!star)
            rt_tell(c, n, RT_C_BAD_CLASS,
                    "'*' would also cover unlabelled data (class cabin); name the classes, "
                    "and cabin itself if you mean it");
        out->val.str = RT_STR_ROOT;
        out->subtree = true;
        return star;
    }
    size_t len = n->len;
    if (len > 2 && strcmp(n->text + len - 2, ".*") == 0) {
        out->subtree = true;
        len -= 2;
    }
    int parts = 0;
    for (size_t i = 0; i <= len && parts >= 0; parts++) {
        size_t w = strspn(n->text + i, "abcdefghijklmnopqrstuvwxyz0123456789_-");
        if (w == 0 || (i + w < len && n->text[i + w] != '.') || i + w > len)
            parts = -2;
        i += w + 1;
    }
    if (parts < 1 || parts > RT_MAX_CLASS_PARTS || n->len > RT_MAX_NAME_BYTES) {
        rt_tell(c, n, RT_C_BAD_CLASS,
                "a data class is 1 to %d words of a-z 0-9 _ - joined by dots, and '*' may stand "
                "only for its whole end (public.*), not %s",
                RT_MAX_CLASS_PARTS, rt_show(n->text, n->len, show));
        return false;
    }
    out->val.str = rt_str_add(c, n->text, len);
    return out->val.str != RT_STR_NONE;
}
