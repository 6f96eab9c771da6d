/* The grammar's text -> places. One pass of recursive descent; a rule may be named before it is
 * written. */
#include "engine/grammar_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/utf8.h"

enum { NAME_MAX_BYTES = 64, CLASS_MAX = 512, CP_MAX = 0x10ffff };

struct name {
    const char *s; /* in the text */
    int len;
    int32_t first; /* -1: not written yet */
};

struct parse {
    struct eng_grammar *g;
    const char *text, *at, *end;
    int depth, rc;
    struct name *name; /* [n_name]; its number is the rule's */
    int n_name, cap_name;
    int32_t *slot; /* [cap_slot] open addressing into name; -1: free */
    int cap_slot;
    struct base_err *err;
};

/* A piece of a rule: from start on; its end is a JOIN without a next. */
struct frag {
    int32_t start, end;
};

static bool fail(struct parse *p, int code, const char *what)
{
    if (p->rc != 0)
        return false;
    int line = 1, col = 1;
    for (const char *s = p->text; s < p->at; s++) {
        line += *s == '\n';
        col = *s == '\n' ? 1 : col + 1;
    }
    char place[48];
    snprintf(place, sizeof place, "grammar:%d:%d", line, col);
    p->rc = base_err_set(p->err, code, place, "%s", what);
    return false;
}

static int32_t add(struct parse *p, struct gram_node n)
{
    int rc = 0;
    const int32_t at = gram_add(p->g, n, &rc);
    if (at < 0)
        fail(p, rc, rc == BASE_ELIMIT ? "the grammar has too many places" : "out of memory");
    return at;
}

static int32_t add_kind(struct parse *p, enum gram_kind kind, int32_t next, int32_t alt)
{
    return add(p, (struct gram_node){.kind = (uint8_t)kind, .next = next, .alt = alt});
}

/* ---- names ---- */

static bool slots_grow(struct parse *p)
{
    const int cap = p->cap_slot == 0 ? 64 : p->cap_slot * 2;
    int32_t *slot = malloc((size_t)cap * sizeof *slot);
    if (slot == NULL)
        return fail(p, BASE_ENOMEM, "out of memory");
    memset(slot, 0xff, (size_t)cap * sizeof *slot);
    for (int i = 0; i < p->n_name; i++) {
        uint64_t h = base_xxh64(p->name[i].s, (size_t)p->name[i].len);
        while (slot[h % (unsigned)cap] >= 0)
            h++;
        slot[h % (unsigned)cap] = i;
    }
    free(p->slot);
    p->slot = slot;
    p->cap_slot = cap;
    return true;
}

/* The number of the rule of this name, new or not; -1: failed. */
static int rule_of(struct parse *p, const char *s, int len)
{
    if (2 * p->n_name >= p->cap_slot && !slots_grow(p))
        return -1;
    uint64_t h = base_xxh64(s, (size_t)len);
    int32_t *at;
    while (*(at = &p->slot[h % (unsigned)p->cap_slot]) >= 0) {
        if (p->name[*at].len == len && memcmp(p->name[*at].s, s, (size_t)len) == 0)
            return *at;
        h++;
    }
    if (p->n_name == ENG_GRAMMAR_MAX_RULE) {
        fail(p, BASE_ELIMIT, "the grammar has too many rules");
        return -1;
    }
    if (p->n_name == p->cap_name) {
        const int cap = p->cap_name == 0 ? 32 : p->cap_name * 2;
        struct name *n = realloc(p->name, (size_t)cap * sizeof *n);
        if (n == NULL) {
            fail(p, BASE_ENOMEM, "out of memory");
            return -1;
        }
        p->name = n;
        p->cap_name = cap;
    }
    *at = p->n_name;
    p->name[p->n_name] = (struct name){s, len, -1};
    return p->n_name++;
}

/* ---- letters ---- */

static void skip_blank(struct parse *p)
{
    for (; p->at < p->end; p->at++) {
        if (*p->at == '#')
            while (p->at + 1 < p->end && *p->at != '\n')
                p->at++;
        else if (*p->at != ' ' && *p->at != '\n' && *p->at != '\t' && *p->at != '\r')
            return;
    }
}

static bool is_at(struct parse *p, char c)
{
    skip_blank(p);
    return p->at < p->end && *p->at == c;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

static int name_len(const struct parse *p)
{
    int n = 0;
    while (p->at + n < p->end && is_name(p->at[n]))
        n++;
    return n;
}

/* Hexadecimal digits, from `least` to `most` of them; -1: failed. */
static int32_t hex(struct parse *p, int least, int most)
{
    int32_t v = 0;
    int n = 0;
    for (; n < most && p->at < p->end; n++, p->at++) {
        const char c = *p->at;
        const int d = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
        if (d < 0)
            break;
        v = v << 4 | d;
    }
    if (n >= least)
        return v;
    fail(p, BASE_EFORMAT, "hexadecimal digits are missing");
    return -1;
}

/* What stands after a backslash; -1: failed. */
static int32_t escaped(struct parse *p)
{
    static const char from[] = "nrt\"\\]^-[", to[] = "\n\r\t\"\\]^-[";
    const char c = p->at < p->end ? *p->at++ : '\0';
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    if (known != NULL)
        return (uint8_t)to[known - from];
    if (c == 'x')
        return hex(p, 2, 2);
    if (c == 'u' && p->at < p->end && *p->at == '{') {
        p->at++;
        const int32_t v = hex(p, 1, 6);
        if (v >= 0 && v <= CP_MAX && p->at < p->end && *p->at++ == '}')
            return v;
    }
    fail(p, BASE_EFORMAT, "an unknown escape");
    return -1;
}

/* ---- pieces ---- */

static struct frag empty(struct parse *p)
{
    const int32_t j = add_kind(p, GRAM_JOIN, -1, -1);
    return (struct frag){j, j};
}

/* a, then b. */
static struct frag then(struct parse *p, struct frag a, struct frag b)
{
    if (p->rc != 0)
        return a;
    p->g->node[a.end].next = b.start;
    return (struct frag){a.start, b.end};
}

/* a or b: both end where b does. */
static struct frag either(struct parse *p, struct frag a, struct frag b)
{
    const int32_t s = add_kind(p, GRAM_SPLIT, a.start, b.start);
    if (p->rc == 0)
        p->g->node[a.end].next = b.end;
    return (struct frag){s, b.end};
}

static struct frag bytes(struct parse *p, const uint8_t *lo, const uint8_t *hi, int n)
{
    struct frag f = empty(p);
    const int32_t last = f.end;
    for (int i = n - 1; i >= 0 && p->rc == 0; i--)
        f.start = add(p, (struct gram_node){GRAM_BYTE, lo[i], hi[i], false, f.start, -1, 0});
    return (struct frag){f.start, last};
}

static struct frag literal(struct parse *p)
{
    struct frag f = empty(p);
    p->at++;
    while (p->rc == 0 && p->at < p->end && *p->at != '"') {
        int32_t v = (uint8_t)*p->at++;
        if (v == '\\' && p->at < p->end && *p->at == 'u')
            fail(p, BASE_EFORMAT, "a string is of bytes: \\u{…} belongs into a class");
        else if (v == '\\')
            v = escaped(p);
        const uint8_t b = (uint8_t)v;
        if (p->rc == 0)
            f = then(p, f, bytes(p, &b, &b, 1));
    }
    if (p->rc == 0 && p->at == p->end)
        fail(p, BASE_EFORMAT, "a string has no end");
    p->at++;
    return f;
}

/* ---- classes ---- */

struct range {
    int32_t lo, hi;
};

static int32_t class_char(struct parse *p)
{
    const int n = eng_utf8_len(p->at, (size_t)(p->end - p->at));
    if (n <= 0) {
        fail(p, BASE_EFORMAT, "the class is not UTF-8");
        return -1;
    }
    const uint8_t *s = (const uint8_t *)p->at;
    p->at += n;
    switch (n) {
    case 1:
        return s[0] == '\\' ? escaped(p) : s[0];
    case 2:
        return (s[0] & 0x1f) << 6 | (s[1] & 0x3f);
    case 3:
        return (s[0] & 0xf) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    default:
        return (s[0] & 7) << 18 | (s[1] & 0x3f) << 12 | (s[2] & 0x3f) << 6 | (s[3] & 0x3f);
    }
}

static int by_lo(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

/* Sorts, joins, and takes the complement if asked. */
static int tidy(struct range *r, int n, bool negated)
{
    int m = 0;
    qsort(r, (size_t)n, sizeof *r, by_lo);
    for (int i = 0; i < n; i++) {
        if (m > 0 && r[i].lo <= r[m - 1].hi + 1)
            r[m - 1].hi = r[i].hi > r[m - 1].hi ? r[i].hi : r[m - 1].hi;
        else
            r[m++] = r[i];
    }
    if (!negated)
        return m;
    int32_t from = 0;
    int k = 0;
    for (int i = 0; i < m; i++) {
        const struct range now = r[i];
        if (now.lo > from)
            r[k++] = (struct range){from, now.lo - 1};
        from = now.hi + 1;
    }
    if (from <= CP_MAX)
        r[k++] = (struct range){from, CP_MAX};
    return k;
}

static int encode(int32_t cp, uint8_t *out)
{
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    const int n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--, cp >>= 6)
        out[i] = (uint8_t)(0x80 | (cp & 0x3f));
    out[0] = (uint8_t)(cp | (n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0));
    return n;
}

/* One range of code points as sequences of byte ranges: cut where the number of bytes changes, at
 * the surrogates, and so that only the last byte that varies is not a whole 80..bf. */
static struct frag chars(struct parse *p, int32_t lo, int32_t hi, struct frag f, bool *any)
{
    static const int32_t edge[] = {0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff, CP_MAX};
    while (lo <= hi && p->rc == 0) {
        int32_t to = hi;
        for (size_t i = 0; i < sizeof edge / sizeof edge[0]; i++) {
            if (lo <= edge[i]) {
                to = to < edge[i] ? to : edge[i];
                break;
            }
        }
        for (int shift = 6; to > 0x7f && shift <= 18; shift += 6) {
            const int32_t mask = (1 << shift) - 1;
            if ((lo & ~mask) == (to & ~mask))
                break;
            if ((lo & mask) != 0)
                to = lo | mask;
            else if ((to & mask) != mask)
                to = (to & ~mask) - 1;
        }
        if (lo < 0xd800 || lo > 0xdfff) {
            uint8_t a[4], b[4];
            const int n = encode(lo, a);
            (void)encode(to, b);
            const struct frag one = bytes(p, a, b, n);
            f = *any ? either(p, f, one) : one;
            *any = true;
        }
        lo = to + 1;
    }
    return f;
}

static struct frag class(struct parse *p)
{
    struct range r[CLASS_MAX + 1];
    struct frag f = {-1, -1};
    int n = 0;
    bool any = false;
    p->at++;
    const bool negated = p->at < p->end && *p->at == '^';
    p->at += negated;
    while (p->rc == 0 && p->at < p->end && *p->at != ']') {
        struct range now;
        now.lo = now.hi = class_char(p);
        if (p->rc == 0 && p->end - p->at >= 2 && *p->at == '-' && p->at[1] != ']') {
            p->at++;
            now.hi = class_char(p);
        }
        if (p->rc == 0 && now.hi < now.lo)
            fail(p, BASE_EFORMAT, "a range of the class runs backwards");
        if (p->rc == 0 && n == CLASS_MAX)
            fail(p, BASE_ELIMIT, "the class has too many ranges");
        if (p->rc == 0)
            r[n++] = now;
    }
    if (p->rc == 0 && p->at == p->end)
        fail(p, BASE_EFORMAT, "a class has no end");
    p->at++;
    n = p->rc == 0 ? tidy(r, n, negated) : 0;
    for (int i = 0; i < n; i++)
        f = chars(p, r[i].lo, r[i].hi, f, &any);
    if (p->rc == 0 && !any)
        fail(p, BASE_EFORMAT, "a class of no character");
    return f;
}

/* ---- rules ---- */

static struct frag alternatives(struct parse *p);

/* {n} {n,} {n,m}; *most -1: no end. */
static bool counts(struct parse *p, int *least, int *most)
{
    int v[2] = {0, 0}, i = 0;
    bool digit[2] = {false, false};
    for (p->at++; p->at < p->end && *p->at != '}'; p->at++) {
        if (*p->at == ',' && i == 0) {
            i = 1;
            continue;
        }
        if (*p->at < '0' || *p->at > '9')
            return fail(p, BASE_EFORMAT, "a repeat is {n}, {n,} or {n,m}");
        v[i] = v[i] * 10 + (*p->at - '0');
        digit[i] = true;
        if (v[i] > ENG_GRAMMAR_MAX_REPEAT)
            return fail(p, BASE_ELIMIT, "a repeat is too long");
    }
    if (p->at == p->end || !digit[0] || (digit[1] && v[1] < v[0]))
        return fail(p, BASE_EFORMAT, "a repeat is {n}, {n,} or {n,m}");
    p->at++;
    *least = v[0];
    *most = i == 0 ? v[0] : digit[1] ? v[1] : -1;
    return true;
}

/* f as often as said. What is repeated becomes a rule of its own, so that a repeat costs a place or
 * two and not a copy. */
static struct frag repeat(struct parse *p, struct frag f, int least, int most)
{
    if (least == 1 && most == 1)
        return f;
    const int32_t ret = add_kind(p, GRAM_RET, -1, -1);
    struct frag out = empty(p);
    if (p->rc != 0)
        return f;
    p->g->node[f.end].next = ret;
    const int32_t last = out.end;
    if (most < 0) { /* split: once more, or out */
        const int32_t s = add_kind(p, GRAM_SPLIT, -1, last);
        const int32_t c = add_kind(p, GRAM_CALL, s, f.start);
        if (p->rc != 0)
            return f;
        p->g->node[s].next = c;
        out.start = s;
    }
    for (int i = least; i < most && p->rc == 0; i++) {
        const int32_t c = add_kind(p, GRAM_CALL, out.start, f.start);
        out.start = add_kind(p, GRAM_SPLIT, c, last);
    }
    for (int i = 0; i < least && p->rc == 0; i++)
        out.start = add_kind(p, GRAM_CALL, out.start, f.start);
    return (struct frag){out.start, last};
}

static struct frag item(struct parse *p)
{
    struct frag f = {-1, -1};
    const int n = name_len(p);
    if (*p->at == '"') {
        f = literal(p);
    } else if (*p->at == '[') {
        f = class(p);
    } else if (*p->at == '(') {
        p->at++;
        f = alternatives(p);
        if (p->rc == 0 && !is_at(p, ')'))
            fail(p, BASE_EFORMAT, "a group has no end");
        p->at++;
    } else if (n > 0) {
        const int rule = rule_of(p, p->at, n);
        p->at += n;
        const int32_t j = add_kind(p, GRAM_JOIN, -1, -1);
        /* ~rule: which place that is will be known once all are written. */
        f = (struct frag){add_kind(p, GRAM_CALL, j, ~rule), j};
    } else {
        fail(p, BASE_EFORMAT, "a string, a class, a name or a group is missing");
    }
    if (p->rc != 0 || p->at >= p->end)
        return f;
    int least = 1, most = 1;
    switch (*p->at) {
    case '*':
    case '?':
    case '+':
        least = *p->at == '+';
        most = *p->at == '?' ? 1 : -1;
        p->at++;
        break;
    case '{':
        if (!counts(p, &least, &most))
            return f;
        break;
    default:
        break;
    }
    return repeat(p, f, least, most);
}

static struct frag alternatives(struct parse *p)
{
    struct frag all = {-1, -1};
    if (++p->depth > ENG_GRAMMAR_MAX_NEST)
        fail(p, BASE_ELIMIT, "groups are nested too deep");
    for (bool first = true; p->rc == 0; first = false) {
        struct frag seq = empty(p);
        for (;;) {
            skip_blank(p);
            if (p->rc != 0 || p->at >= p->end || strchr("|);", *p->at) != NULL)
                break;
            seq = then(p, seq, item(p));
        }
        if (p->rc != 0)
            break;
        all = first ? seq : either(p, all, seq);
        if (!is_at(p, '|'))
            break;
        p->at++;
    }
    p->depth--;
    return all;
}

static bool one_rule(struct parse *p)
{
    const int n = name_len(p);
    if (n == 0 || n > NAME_MAX_BYTES)
        return fail(p, BASE_EFORMAT, "a rule begins with its name, of at most 64 letters");
    const int rule = rule_of(p, p->at, n);
    if (rule < 0)
        return false;
    if (p->name[rule].first >= 0)
        return fail(p, BASE_EFORMAT, "this rule stands twice");
    p->at += n;
    if (!is_at(p, '='))
        return fail(p, BASE_EFORMAT, "'=' is missing");
    p->at++;
    const struct frag f = alternatives(p);
    const int32_t ret = add_kind(p, GRAM_RET, -1, -1);
    if (p->rc != 0)
        return false;
    p->g->node[f.end].next = ret;
    p->name[rule].first = f.start;
    if (!is_at(p, ';'))
        return fail(p, BASE_EFORMAT, "';' is missing");
    p->at++;
    return true;
}

/* Calls by number -> by place. */
static bool resolve(struct parse *p)
{
    struct eng_grammar *g = p->g;
    if (p->n_name == 0)
        return fail(p, BASE_EFORMAT, "there is no rule");
    g->rule = malloc((size_t)p->n_name * sizeof *g->rule);
    if (g->rule == NULL)
        return fail(p, BASE_ENOMEM, "out of memory");
    for (int i = 0; i < p->n_name; i++) {
        if (p->name[i].first < 0) {
            p->at = p->name[i].s;
            return fail(p, BASE_EFORMAT, "this rule is not written");
        }
        g->rule[i] = p->name[i].first;
    }
    g->n_rule = p->n_name;
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i].kind == GRAM_CALL && g->node[i].alt < 0)
            g->node[i].alt = g->rule[~g->node[i].alt];
    }
    return true;
}

int gram_parse(struct eng_grammar *g, const char *text, size_t len, struct base_err *err)
{
    struct parse p = {.g = g, .text = text, .at = text, .end = text + len, .err = err};
    if (len > ENG_GRAMMAR_MAX_BYTES)
        return base_err_set(err, BASE_ELIMIT, "grammar", "%zu bytes, at most %d", len,
                            ENG_GRAMMAR_MAX_BYTES);
    skip_blank(&p);
    while (p.rc == 0 && p.at < p.end && one_rule(&p))
        skip_blank(&p);
    if (p.rc == 0)
        resolve(&p);
    free(p.name);
    free(p.slot);
    return p.rc;
}
