/* Strings: lengths, formats, and patterns (a subset of ECMA-262's, read into the grammar's own
 * sequences, classes and repeats). What a pattern means is a text; the grammar wants that text as
 * JSON spells it, with quotes, backslashes and control characters escaped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/schema_int.h"

enum { MAX_RANGE = 256, MAX_NEST = 32, CP_MAX = 0x10ffff };

/* ---- formats ---- */

#define YEAR "[1-9] [0-9]{3}"
#define D31 "(\"0\" [1-9] | [12] [0-9] | \"3\" [01])"
#define D30 "(\"0\" [1-9] | [12] [0-9] | \"30\")"
#define D28 "(\"0\" [1-9] | \"1\" [0-9] | \"2\" [0-8])"
#define DATE                                                                                      \
    YEAR " \"-\" ((\"0\" [13578] | \"1\" [02]) \"-\" " D31 " | (\"0\" [469] | \"11\") \"-\" " D30 \
         " | \"02-\" " D28 ")"
#define HOUR "([01] [0-9] | \"2\" [0-3])"
#define TIME HOUR " (\":\" [0-5] [0-9]){2} (\"Z\" | [+\\-] " HOUR " \":\" [0-5] [0-9])"
#define OCTET "([1-9]? [0-9] | \"1\" [0-9]{2} | \"2\" [0-4] [0-9] | \"25\" [0-5])"
#define LABEL "[a-zA-Z0-9] (\"-\"? [a-zA-Z0-9]){0,30}"

/* RFC 3339's times (leap days and seconds are left out), RFC 4122, RFC 2673's dotted quad, RFC
 * 1123's names, and the plain half of RFC 5321's mailboxes: what the formats of JSON Schema
 * validation, section 7.3, name. */
static const struct {
    const char *name, *expr;
} format[] = {
    {"date", DATE},
    {"time", TIME},
    {"date-time", DATE " \"T\" " TIME},
    {"uuid", "[0-9a-f]{8} (\"-\" [0-9a-f]{4}){3} \"-\" [0-9a-f]{12}"},
    {"ipv4", OCTET " (\".\" " OCTET "){3}"},
    {"hostname", LABEL " (\".\" " LABEL "){0,3}"},
    {"email", "[a-zA-Z0-9] ([._+\\-]? [a-zA-Z0-9]){0,30} \"@\" " LABEL " (\".\" " LABEL
              "){0,2} \".\" [a-z]{2,8}"},
};

static int by_format(struct api_schema *c, const char *name, const struct schema_at *at,
                     struct base_buf *e)
{
    for (size_t i = 0; i < sizeof format / sizeof format[0]; i++) {
        if (strcmp(name, format[i].name) == 0) {
            base_buf_printf(e, "\"\\\"\" %s \"\\\"\"", format[i].expr);
            return 0;
        }
    }
    return schema_refuse(c, at, BASE_EUNSUPPORTED,
                         "this 'format' is none of date, time, date-time, uuid, ipv4, hostname, "
                         "email");
}

/* ---- sets of characters ---- */

struct chars {
    struct {
        int32_t lo, hi;
    } r[MAX_RANGE];
    int n;
    bool full; /* too many ranges */
};

static void chars_add(struct chars *s, int32_t lo, int32_t hi)
{
    if (s->n == MAX_RANGE) {
        s->full = true;
        return;
    }
    s->r[s->n].lo = lo;
    s->r[s->n++].hi = hi;
}

static bool chars_has(const struct chars *s, int32_t cp)
{
    for (int i = 0; i < s->n; i++) {
        if (cp >= s->r[i].lo && cp <= s->r[i].hi)
            return true;
    }
    return false;
}

/* The end of the gap or of the range that cp is in: every bound is one. */
static int32_t next_edge(const struct chars *s, int32_t cp)
{
    int32_t edge = CP_MAX + 1;
    for (int i = 0; i < s->n; i++) {
        if (s->r[i].lo > cp && s->r[i].lo < edge)
            edge = s->r[i].lo;
        if (s->r[i].hi >= cp && s->r[i].hi + 1 < edge)
            edge = s->r[i].hi + 1;
    }
    return edge;
}

static void chars_add_not(struct chars *s, const struct chars * not )
{
    for (int32_t cp = 0; cp <= CP_MAX;) {
        const int32_t end = next_edge(not, cp);
        if (!chars_has(not, cp))
            chars_add(s, cp, end - 1);
        cp = end;
    }
}

/* Those that stand for themselves -> a class; false: there are none. */
static bool put_plain(struct base_buf *e, const struct chars *s)
{
    static const int32_t special[] = {0x20, '"', '"' + 1, '\\', '\\' + 1, 0xd800, 0xe000};
    bool any = false;
    for (int32_t cp = 0x20; cp <= CP_MAX;) {
        int32_t end = next_edge(s, cp);
        for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
            end = special[i] > cp && special[i] < end ? special[i] : end;
        if (chars_has(s, cp) && cp != '"' && cp != '\\' && (cp < 0xd800 || cp > 0xdfff)) {
            base_buf_printf(e, "%s\\u{%x}-\\u{%x}", any ? "" : "[", (unsigned)cp,
                            (unsigned)(end - 1));
            any = true;
        }
        cp = end;
    }
    base_buf_str(e, any ? "]" : "");
    return any;
}

/* The set as JSON spells its characters, a group; false: JSON has no spelling for any. */
static bool chars_put(struct base_buf *e, const struct chars *s)
{
    static const struct {
        int32_t cp;
        const char *expr;
    } escape[] = {{'"', "\"\\\\\\\"\""}, {'\\', "\"\\\\\\\\\""}, {'\n', "\"\\\\n\""},
                  {'\r', "\"\\\\r\""},   {'\t', "\"\\\\t\""},    {'\b', "\"\\\\b\""},
                  {'\f', "\"\\\\f\""}};
    base_buf_str(e, " (");
    bool any = put_plain(e, s);
    for (size_t i = 0; i < sizeof escape / sizeof escape[0]; i++) {
        if (!chars_has(s, escape[i].cp))
            continue;
        base_buf_printf(e, "%s%s", any ? " | " : "", escape[i].expr);
        any = true;
    }
    base_buf_str(e, ")");
    return any;
}

/* ---- patterns ---- */

struct pattern {
    struct api_schema *c;
    const struct schema_at *at;
    const char *s;
    struct base_buf *e;
    int depth;
};

static int bad(const struct pattern *p, const char *what)
{
    return schema_refuse(p->c, p->at, BASE_EUNSUPPORTED, "'pattern' %s", what);
}

/* One UTF-8 character (jansson has checked it). */
static int32_t take_char(struct pattern *p)
{
    const unsigned char *s = (const unsigned char *)p->s;
    const int n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    int32_t cp = n == 1 ? s[0] : s[0] & (0xff >> (n + 1));
    for (int i = 1; i < n; i++)
        cp = cp << 6 | (s[i] & 0x3f);
    p->s += n;
    return cp;
}

static void named(struct chars *s, char name)
{
    /* White space and line ends of ECMA-262. */
    static const int32_t space[][2] = {
        {9, 13},          {0x20, 0x20},     {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
        {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
    switch (name) {
    case 'w':
        chars_add(s, 'a', 'z');
        chars_add(s, 'A', 'Z');
        chars_add(s, '_', '_');
        chars_add(s, '0', '9');
        break;
    case 'd':
        chars_add(s, '0', '9');
        break;
    default:
        for (size_t i = 0; i < sizeof space / sizeof space[0]; i++)
            chars_add(s, space[i][0], space[i][1]);
        break;
    }
}

static int hex_char(struct pattern *p, int n, int32_t *cp)
{
    *cp = 0;
    for (int i = 0; i < n; i++, p->s++) {
        const char *digit =
            *p->s != '\0' ? strchr("0123456789abcdef0123456789ABCDEF", *p->s) : NULL;
        if (digit == NULL)
            return bad(p, "has an escape without its digits");
        *cp = *cp << 4 | (int32_t)((digit - "0123456789abcdef0123456789ABCDEF") & 15);
    }
    return 0;
}

/* After a backslash: adds what it means to s. *one: the character, or -1: a class. */
static int escape(struct pattern *p, struct chars *s, int32_t *one)
{
    static const char from[] = "nrtfv", to[] = "\n\r\t\f\v";
    const char k = *p->s;
    *one = -1;
    if (k == '\0')
        return bad(p, "ends in a backslash");
    p->s++;
    if (strchr("dws", k) != NULL) {
        named(s, k);
        return 0;
    }
    if (strchr("DWS", k) != NULL) {
        struct chars not = {.n = 0};
        named(&not, (char)(k | 0x20));
        chars_add_not(s, &not );
        return 0;
    }
    const char *at = strchr(from, k);
    int rc = 0;
    if (at != NULL)
        *one = to[at - from];
    else if (k == 'x')
        rc = hex_char(p, 2, one);
    else if (k == 'u')
        rc = hex_char(p, 4, one);
    else if ((k >= 'a' && k <= 'z') || (k >= 'A' && k <= 'Z') || (k >= '0' && k <= '9') ||
             (unsigned char)k >= 0x80)
        return bad(p, "has an escape that is not held (\\b, \\p{…}, references)");
    else
        *one = k;
    if (rc == 0)
        chars_add(s, *one, *one);
    return rc;
}

static int bracket(struct pattern *p, struct chars *out)
{
    struct chars s = {.n = 0};
    const bool negated = *p->s == '^';
    p->s += negated;
    while (*p->s != ']') {
        int32_t lo = -1, hi = -1;
        struct chars one = {.n = 0};
        int rc = 0;
        if (*p->s == '\0')
            return bad(p, "has a class without end");
        if (*p->s == '\\') {
            p->s++;
            rc = escape(p, &one, &lo);
        } else {
            lo = take_char(p);
        }
        if (rc != 0)
            return rc;
        if (lo < 0) {
            for (int i = 0; i < one.n; i++)
                chars_add(&s, one.r[i].lo, one.r[i].hi);
            continue;
        }
        hi = lo;
        if (p->s[0] == '-' && p->s[1] != ']' && p->s[1] != '\0') {
            p->s++;
            if (*p->s == '\\') {
                p->s++;
                rc = escape(p, &one, &hi);
            } else {
                hi = take_char(p);
            }
            if (rc != 0)
                return rc;
            if (hi < lo)
                return bad(p, "has a range that runs backwards");
        }
        chars_add(&s, lo, hi);
    }
    p->s++;
    if (negated)
        chars_add_not(out, &s);
    else
        *out = s;
    out->full = out->full || s.full;
    return 0;
}

static int alternatives(struct pattern *p);

static int group(struct pattern *p)
{
    if (p->s[0] == '?' && p->s[1] != ':')
        return bad(p, "looks ahead or behind, or names a group");
    p->s += p->s[0] == '?' ? 2 : 0;
    if (++p->depth > MAX_NEST)
        return schema_refuse(p->c, p->at, BASE_ELIMIT, "'pattern' is nested too deep");
    base_buf_str(p->e, " (");
    int rc = alternatives(p);
    if (rc == 0 && *p->s != ')')
        rc = bad(p, "has a group without end");
    p->s += rc == 0;
    p->depth--;
    base_buf_str(p->e, ")");
    return rc;
}

static int quantifier(struct pattern *p)
{
    int least = 0, most = 0, used = 0;
    if (*p->s == '{' && p->s[1 + strspn(p->s + 1, "0123456789,")] != '}') {
        return bad(p, "has a repeat that is not {n}, {n,} or {n,m}");
    } else if (*p->s == '{') {
        const bool exact = sscanf(p->s, "{%5d%n", &least, &used) == 1 && p->s[used] == '}';
        const bool open = !exact && used > 0 && p->s[used] == ',' && p->s[used + 1] == '}';
        if (exact)
            base_buf_printf(p->e, "{%d}", most = least);
        else if (open)
            base_buf_printf(p->e, "{%d,}", most = least);
        else if (sscanf(p->s, "{%5d,%5d%n", &least, &most, &used) == 2 && p->s[used] == '}')
            base_buf_printf(p->e, "{%d,%d}", least, most);
        else
            return bad(p, "has a repeat that is not {n}, {n,} or {n,m}");
        if (least < 0 || most < least || most > API_SCHEMA_MAX_REPEAT)
            return schema_refuse(p->c, p->at, BASE_ELIMIT, "'pattern' repeats at most %d times",
                                 API_SCHEMA_MAX_REPEAT);
        p->s += used + 1 + open;
    } else if (*p->s != '\0' && strchr("*+?", *p->s) != NULL) {
        base_buf_add(p->e, p->s++, 1);
    } else {
        return 0;
    }
    p->s += *p->s == '?'; /* a lazy repeat is of the same texts */
    return *p->s != '\0' && strchr("*+?{", *p->s) != NULL ? bad(p, "repeats a repeat") : 0;
}

static int atom(struct pattern *p)
{
    struct chars s = {.n = 0};
    struct chars not = {.n = 0};
    int32_t one;
    int rc = 0;
    switch (*p->s) {
    case '(':
        p->s++;
        return group(p);
    case '*':
    case '+':
    case '?':
    case '{':
        return bad(p, "repeats nothing");
    case ']':
    case '}':
        return bad(p, "has a bracket without its beginning");
    case '^':
    case '$':
        return bad(p, "has an anchor other than at its two ends");
    case '[':
        p->s++;
        rc = bracket(p, &s);
        break;
    case '\\':
        p->s++;
        rc = escape(p, &s, &one);
        break;
    case '.':
        p->s++;
        chars_add(&not, '\n', '\n');
        chars_add(&not, '\r', '\r');
        chars_add(&not, 0x2028, 0x2029);
        chars_add_not(&s, &not );
        break;
    default:
        one = take_char(p);
        chars_add(&s, one, one);
        break;
    }
    if (rc == 0 && s.full)
        rc = schema_refuse(p->c, p->at, BASE_ELIMIT, "'pattern' has a class of too many ranges");
    if (rc == 0 && !chars_put(p->e, &s))
        rc = bad(p, "asks for a character that JSON text can't have");
    return rc;
}

static int alternatives(struct pattern *p)
{
    int rc = 0;
    while (rc == 0 && *p->s != '\0' && *p->s != ')' && !(p->s[0] == '$' && p->s[1] == '\0')) {
        if (*p->s == '|') {
            base_buf_str(p->e, " |");
            p->s++;
            continue;
        }
        rc = atom(p);
        if (rc == 0)
            rc = quantifier(p);
    }
    return rc;
}

/* Whether a '|' stands outside of all groups. */
static bool splits(const char *s)
{
    int depth = 0;
    bool in_class = false;
    for (; *s != '\0'; s++) {
        if (*s == '\\' && s[1] != '\0')
            s++;
        else if (in_class)
            in_class = *s != ']';
        else if (*s == '[')
            in_class = true;
        else if (*s == '|' && depth == 0)
            return true;
        else
            depth += (*s == '(') - (*s == ')');
    }
    return false;
}

int schema_pattern(struct api_schema *c, const char *s, const struct schema_at *at,
                   struct base_buf *e)
{
    struct pattern p = {.c = c, .at = at, .s = s, .e = e};
    const bool begins = s[0] == '^';
    if (begins && splits(s))
        return bad(&p, "has an anchor beside '|'; put the alternatives into a group");
    p.s += begins;
    if (!begins) {
        c->used |= RULE_CHAR;
        base_buf_str(e, " char*");
    }
    base_buf_str(e, " (");
    int rc = alternatives(&p);
    base_buf_str(e, ")");
    const bool ends = rc == 0 && p.s[0] == '$';
    if (rc == 0 && *p.s == ')')
        rc = bad(&p, "has a bracket without its beginning");
    if (rc == 0 && ends && splits(s))
        rc = bad(&p, "has an anchor beside '|'; put the alternatives into a group");
    if (rc == 0 && !ends) {
        c->used |= RULE_CHAR;
        base_buf_str(e, " char*");
    }
    return rc;
}

/* ---- strings ---- */

int schema_string(struct api_schema *c, const json_t *s, const struct schema_at *at,
                  struct base_buf *e)
{
    const json_t *pattern = json_object_get(s, "pattern"), *f = json_object_get(s, "format");
    int64_t least = 0, most = -1;
    int rc = schema_count(c, s, "minLength", at, 0, &least);
    if (rc == 0)
        rc = schema_count(c, s, "maxLength", at, -1, &most);
    if (rc != 0)
        return rc;
    if ((pattern != NULL && !json_is_string(pattern)) || (f != NULL && !json_is_string(f)))
        return schema_refuse(c, at, BASE_EFORMAT, "'pattern' and 'format' must be strings");
    if ((pattern != NULL) + (f != NULL) + (least > 0 || most >= 0) > 1)
        return schema_refuse(c, at, BASE_EUNSUPPORTED,
                             "only one of 'pattern', 'format' and lengths can be held at a time");
    if (most >= 0 && most < least)
        return schema_refuse(c, at, BASE_EUNSUPPORTED, "'maxLength' is less than 'minLength'");
    if (least > API_SCHEMA_MAX_REPEAT)
        return schema_refuse(c, at, BASE_ELIMIT, "'minLength' is more than %d",
                             API_SCHEMA_MAX_REPEAT);
    if (f != NULL)
        return by_format(c, json_string_value(f), at, e);
    if (pattern != NULL) {
        if (strlen(json_string_value(pattern)) != json_string_length(pattern))
            return schema_refuse(c, at, BASE_EUNSUPPORTED, "'pattern' has a NUL");
        base_buf_str(e, "\"\\\"\"");
        rc = schema_pattern(c, json_string_value(pattern), at, e);
        base_buf_str(e, " \"\\\"\"");
        return rc;
    }
    if (least == 0 && most < 0) {
        c->used |= RULE_STRING | RULE_CHAR;
        base_buf_str(e, "string");
        return 0;
    }
    c->used |= RULE_CHAR;
    if (most < 0)
        base_buf_printf(e, "\"\\\"\" char{%d,} \"\\\"\"", (int)least);
    else
        base_buf_printf(e, "\"\\\"\" char{%d,%d} \"\\\"\"", (int)least,
                        (int)(most < API_SCHEMA_MAX_REPEAT ? most : API_SCHEMA_MAX_REPEAT));
    return 0;
}
