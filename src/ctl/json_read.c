#include "ctl/json_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

void json_read_init(struct json_read *j, char *text, size_t len)
{
    *j = (struct json_read){.text = text, .at = text, .end = text + len};
}

bool json_read_fail(struct json_read *j, const char *why)
{
    j->why = j->why != NULL ? j->why : why;
    return false;
}

static void space(struct json_read *j)
{
    while (*j->at == ' ' || *j->at == '\t' || *j->at == '\r' || *j->at == '\n')
        j->at++;
}

enum json_kind json_peek(struct json_read *j)
{
    space(j);
    if (j->why != NULL || j->at >= j->end)
        return JSON_KIND_NONE;
    switch (*j->at) {
    case '{':
        return JSON_KIND_OBJECT;
    case '[':
        return JSON_KIND_ARRAY;
    case '"':
        return JSON_KIND_STRING;
    case 't':
        return JSON_KIND_TRUE;
    case 'f':
        return JSON_KIND_FALSE;
    case 'n':
        return JSON_KIND_NULL;
    default:
        return *j->at == '-' || (*j->at >= '0' && *j->at <= '9') ? JSON_KIND_NUMBER
                                                                 : JSON_KIND_NONE;
    }
}

bool json_open(struct json_read *j, enum json_kind kind)
{
    if (json_peek(j) != kind)
        return json_read_fail(j, kind == JSON_KIND_OBJECT ? "an object was expected"
                                                          : "a list was expected");
    j->at++;
    j->first = true;
    return true;
}

/* Past a comma, if one is due; false at the closing character. */
static bool next(struct json_read *j, char close)
{
    bool first = j->first;

    space(j);
    j->first = false;
    if (j->why != NULL)
        return false;
    if (*j->at == close) {
        j->at++;
        return false;
    }
    if (first)
        return true;
    if (*j->at != ',')
        return json_read_fail(j,
                              close == '}' ? "',' or '}' was expected" : "',' or ']' was expected");
    j->at++;
    space(j);
    return true;
}

/* ---- strings ---- */

static int hex4(const char *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = s[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

static char *put_utf8(char *to, uint32_t cp)
{
    if (cp < 0x80) {
        *to++ = (char)cp;
    } else if (cp < 0x800) {
        *to++ = (char)(0xC0U | cp >> 6);
        *to++ = (char)(0x80U | (cp & 0x3FU));
    } else if (cp < 0x10000) {
        *to++ = (char)(0xE0U | cp >> 12);
        *to++ = (char)(0x80U | (cp >> 6 & 0x3FU));
        *to++ = (char)(0x80U | (cp & 0x3FU));
    } else {
        *to++ = (char)(0xF0U | cp >> 18);
        *to++ = (char)(0x80U | (cp >> 12 & 0x3FU));
        *to++ = (char)(0x80U | (cp >> 6 & 0x3FU));
        *to++ = (char)(0x80U | (cp & 0x3FU));
    }
    return to;
}

/* Behind the backslash at *from; false: no such escape. Never longer than it was. */
static bool escape(char **from, char **to)
{
    static const char name[] = "\"\\/bfnrt", value[] = "\"\\/\b\f\n\r\t";
    char *s = *from + 1;
    const char *known = *s != '\0' ? strchr(name, *s) : NULL;

    if (known != NULL) {
        *(*to)++ = value[known - name];
        *from = s + 1;
        return true;
    }
    int cp = *s == 'u' ? hex4(s + 1) : -1;
    s += 5;
    if (cp >= 0xD800 && cp < 0xDC00) {
        int low = s[0] == '\\' && s[1] == 'u' ? hex4(s + 2) : -1;
        cp = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00) : -1;
        s += 6;
    }
    if (cp <= 0 || (cp >= 0xDC00 && cp < 0xE000)) /* NUL ends our strings */
        return false;
    *to = put_utf8(*to, (uint32_t)cp);
    *from = s;
    return true;
}

/* Bytes of the UTF-8 character at s, which is not ASCII; 0: none. A NUL ends the text, so that no
 * more than that is read. */
static int utf8(const char *s)
{
    const unsigned char *u = (const unsigned char *)s;
    int n = u[0] >= 0xC2 && u[0] < 0xE0   ? 2
            : u[0] >= 0xE0 && u[0] < 0xF0 ? 3
            : u[0] >= 0xF0 && u[0] < 0xF5 ? 4
                                          : 0;
    for (int i = 1; i < n; i++) {
        if ((u[i] & 0xC0U) != 0x80U)
            return 0;
    }
    if ((u[0] == 0xE0 && u[1] < 0xA0) || (u[0] == 0xED && u[1] > 0x9F) ||
        (u[0] == 0xF0 && u[1] < 0x90) || (u[0] == 0xF4 && u[1] > 0x8F))
        return 0;
    return n;
}

/* The text between the quotes, decoded to where it starts if keep; *end behind the closing quote.
 */
static bool string(struct json_read *j, bool keep, const char **out, size_t *len)
{
    char *s = j->at + 1, *start = s, *to = s, sink[8];

    for (;;) {
        char *from = s;
        while ((unsigned char)*s >= 0x20 && (unsigned char)*s < 0x80 && *s != '"' && *s != '\\')
            s++;
        for (int n; (unsigned char)*s >= 0x80; s += n) {
            if ((n = utf8(s)) == 0) {
                j->at = s;
                return json_read_fail(j, "bytes that are no UTF-8");
            }
        }
        if (keep && to != from)
            memmove(to, from, (size_t)(s - from));
        to += s - from;
        if (*s == '"')
            break;
        char *none = sink;
        j->at = s;
        if (*s == '\\' && !escape(&s, keep ? &to : &none))
            return json_read_fail(j, "an escape that is none");
        if (s >= j->end || (s == j->at && (unsigned char)*s < 0x20))
            return json_read_fail(j, "a string that does not end");
    }
    j->at = s + 1;
    if (keep) {
        *to = '\0';
        *out = start;
        *len = (size_t)(to - start);
    }
    return true;
}

bool json_text(struct json_read *j, const char **s, size_t *len)
{
    if (json_peek(j) != JSON_KIND_STRING)
        return json_read_fail(j, "a text was expected");
    return string(j, true, s, len);
}

bool json_key(struct json_read *j, const char **key)
{
    size_t len;

    if (!next(j, '}'))
        return false;
    if (*j->at != '"')
        return json_read_fail(j, "a name in double quotes was expected");
    if (!string(j, true, key, &len))
        return false;
    space(j);
    if (*j->at != ':')
        return json_read_fail(j, "':' was expected");
    j->at++;
    return true;
}

bool json_item(struct json_read *j)
{
    return next(j, ']');
}

/* ---- numbers ---- */

static bool digits(char **s)
{
    char *from = *s;
    while (**s >= '0' && **s <= '9')
        ++*s;
    return *s > from;
}

/* Up to 15 digits and ten to the 22 are exact, so that one division rounds right (Clinger 1990);
 * the rest is strtod's. */
static double real(const char *from, const char *to)
{
    static const double ten[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    int64_t m = 0;
    int n = 0, behind = -1;

    for (const char *s = from + (*from == '-'); s < to; s++) {
        if (*s == '.') {
            behind = 0;
            continue;
        }
        if (*s < '0' || *s > '9' || ++n > 15)
            return strtod(from, NULL);
        m = m * 10 + (*s - '0');
        behind += behind >= 0;
    }
    double v = (double)m / ten[behind > 0 ? behind : 0];
    return *from == '-' ? -v : v;
}

bool json_num(struct json_read *j, struct json_number *n)
{
    if (json_peek(j) != JSON_KIND_NUMBER)
        return json_read_fail(j, "a number was expected");
    char *from = j->at, *s = from + (*from == '-');
    bool zero = *s == '0';
    bool ok = digits(&s) && !(zero && s - from - (*from == '-') > 1);
    n->whole = *s != '.' && *s != 'e' && *s != 'E' && s - from <= 18;
    if (*s == '.') {
        s++;
        ok = digits(&s) && ok;
    }
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '+' || *s == '-';
        ok = digits(&s) && ok;
    }
    if (!ok)
        return json_read_fail(j, "a number that is none");
    n->i = n->whole ? strtoll(from, NULL, 10) : 0;
    n->r = n->whole ? (double)n->i : real(from, s);
    if (isinf(n->r))
        return json_read_fail(j, "a number too big");
    j->at = s;
    return true;
}

/* ---- skipping ---- */

static bool word(struct json_read *j, const char *w)
{
    size_t n = strlen(w);
    if (strncmp(j->at, w, n) != 0)
        return json_read_fail(j, "a value was expected");
    j->at += n;
    return true;
}

static bool skip(struct json_read *j, int depth)
{
    struct json_number n;
    enum json_kind kind = json_peek(j);
    const char *s;
    size_t len;

    if (depth > MAX_DEPTH)
        return json_read_fail(j, "too many levels");
    switch (kind) {
    case JSON_KIND_OBJECT:
    case JSON_KIND_ARRAY:
        j->at++;
        j->first = true;
        while (next(j, kind == JSON_KIND_OBJECT ? '}' : ']')) {
            if (kind == JSON_KIND_OBJECT) {
                if (*j->at != '"')
                    return json_read_fail(j, "a name in double quotes was expected");
                if (!string(j, false, &s, &len))
                    return false;
                space(j);
                if (*j->at != ':')
                    return json_read_fail(j, "':' was expected");
                j->at++;
            }
            if (!skip(j, depth + 1))
                return false;
        }
        return j->why == NULL;
    case JSON_KIND_STRING:
        return string(j, false, &s, &len);
    case JSON_KIND_NUMBER:
        return json_num(j, &n);
    case JSON_KIND_TRUE:
        return word(j, "true");
    case JSON_KIND_FALSE:
        return word(j, "false");
    case JSON_KIND_NULL:
        return word(j, "null");
    default:
        return json_read_fail(j, "a value was expected");
    }
}

bool json_skip(struct json_read *j)
{
    bool ok = skip(j, 0);
    j->first = false;
    return ok;
}

bool json_end(struct json_read *j)
{
    space(j);
    return j->at == j->end || json_read_fail(j, "something behind the end");
}

bool json_has_object(const struct json_read *j, const char *key)
{
    struct json_read c = *j;
    size_t n = strlen(key);

    if (!json_open(&c, JSON_KIND_OBJECT))
        return false;
    while (next(&c, '}')) {
        const char *from = c.at, *s;
        size_t len;
        if (*from != '"' || !string(&c, false, &s, &len))
            return false;
        bool it = (size_t)(c.at - from) == n + 2 && memcmp(from + 1, key, n) == 0;
        space(&c);
        if (*c.at++ != ':')
            return false;
        if (it && json_peek(&c) == JSON_KIND_OBJECT)
            return true;
        if (!json_skip(&c))
            return false;
    }
    return false;
}
