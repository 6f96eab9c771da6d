#include "wire/scan.h"

#include <stdbool.h>

struct level {
    uint64_t left;     /* values still to come in this container */
    uint64_t next_key; /* maps: the smallest key allowed next */
    bool is_map, at_key;
};

struct scan {
    const uint8_t *p;
    size_t len, pos;
    struct level level[WIRE_SCAN_MAX_DEPTH];
    int depth, n_item;
    struct base_err *err;
};

/* What the head of one value says. */
enum kind { KIND_UINT, KIND_PLAIN, KIND_STR, KIND_BIN, KIND_ARRAY, KIND_MAP, KIND_BAD };
struct head {
    enum kind kind;
    uint64_t n; /* UINT: the value; STR, BIN: bytes; ARRAY, MAP: values */
    int n_more; /* head bytes after the first one */
};

int wire_utf8_ok(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint8_t c = p[i++];
        if (c < 0x80)
            continue;
        int n = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        uint32_t least = n == 3 ? 0x10000 : n == 2 ? 0x800 : 0x80;
        if (c < 0xc2 || c > 0xf4 || len - i < (size_t)n)
            return 0;
        uint32_t v = c & (0x3fu >> n);
        for (int k = 0; k < n; k++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            v = v << 6 | (p[i++] & 0x3fu);
        }
        if (v < least || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
            return 0;
    }
    return 1;
}

static int fail(struct scan *s, int code, const char *what)
{
    return base_err_set(s->err, code, NULL, "%s", what);
}

/* Bytes of the length or number that follow the first byte, by msgpack's type byte. */
static struct head head_of(uint8_t c)
{
    if (c <= 0x7f)
        return (struct head){.kind = KIND_UINT, .n = c};
    if (c <= 0x8f)
        return (struct head){.kind = KIND_MAP, .n = c & 0x0f};
    if (c <= 0x9f)
        return (struct head){.kind = KIND_ARRAY, .n = c & 0x0f};
    if (c <= 0xbf)
        return (struct head){.kind = KIND_STR, .n = c & 0x1f};
    if (c >= 0xe0)
        return (struct head){.kind = KIND_PLAIN};
    switch (c) {
    case 0xc0: /* nil */
    case 0xc2: /* false */
    case 0xc3: /* true */
        return (struct head){.kind = KIND_PLAIN};
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return (struct head){.kind = KIND_BIN, .n_more = 1 << (c - 0xc4)};
    case 0xca: /* float 32 */
    case 0xd2: /* int 32 */
        return (struct head){.kind = KIND_PLAIN, .n_more = 4};
    case 0xcb: /* float 64 */
    case 0xd3: /* int 64 */
        return (struct head){.kind = KIND_PLAIN, .n_more = 8};
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return (struct head){.kind = KIND_UINT, .n_more = 1 << (c - 0xcc)};
    case 0xd0: /* int 8 */
        return (struct head){.kind = KIND_PLAIN, .n_more = 1};
    case 0xd1: /* int 16 */
        return (struct head){.kind = KIND_PLAIN, .n_more = 2};
    case 0xd9:
    case 0xda:
    case 0xdb:
        return (struct head){.kind = KIND_STR, .n_more = 1 << (c - 0xd9)};
    case 0xdc:
    case 0xdd:
        return (struct head){.kind = KIND_ARRAY, .n_more = 2 << (c - 0xdc)};
    case 0xde:
    case 0xdf:
        return (struct head){.kind = KIND_MAP, .n_more = 2 << (c - 0xde)};
    default: /* 0xc1 and the extension types */
        return (struct head){.kind = KIND_BAD};
    }
}

static int read_head(struct scan *s, struct head *h)
{
    *h = head_of(s->p[s->pos]);
    if (h->kind == KIND_BAD)
        return fail(s, BASE_EFORMAT, "a type that is not used here");
    if (s->len - s->pos - 1 < (size_t)h->n_more)
        return fail(s, BASE_EFORMAT, "ends inside a value");
    if (h->n_more > 0) {
        h->n = 0;
        for (int i = 1; i <= h->n_more; i++)
            h->n = h->n << 8 | s->p[s->pos + (size_t)i];
    }
    return 0;
}

static int check_key(struct scan *s, struct level *l, const struct head *h)
{
    if (h->kind != KIND_UINT)
        return fail(s, BASE_EFORMAT, "a key that is not an unsigned integer");
    if (h->n < l->next_key)
        return fail(s, BASE_EFORMAT, "keys repeat or do not ascend");
    if (h->n == UINT64_MAX)
        return fail(s, BASE_EFORMAT, "a key out of range");
    l->next_key = h->n + 1;
    return 0;
}

static int push(struct scan *s, const struct head *h)
{
    bool is_map = h->kind == KIND_MAP;
    uint64_t n = is_map ? h->n * 2 : h->n;
    if (n > s->len - s->pos)
        return fail(s, BASE_EFORMAT, "a count larger than the bytes left");
    if (s->depth == WIRE_SCAN_MAX_DEPTH)
        return fail(s, BASE_ELIMIT, "nested too deep");
    s->level[s->depth++] = (struct level){.left = n, .is_map = is_map, .at_key = is_map};
    return 0;
}

/* One value's head, and for text and bytes its body. */
static int scan_value(struct scan *s)
{
    struct head h;
    if (s->pos >= s->len)
        return fail(s, BASE_EFORMAT, "ends before all values came");
    if (++s->n_item > WIRE_SCAN_MAX_ITEM)
        return fail(s, BASE_ELIMIT, "too many values");
    int rc = read_head(s, &h);
    if (rc != 0)
        return rc;
    if (s->depth > 0) {
        struct level *l = &s->level[s->depth - 1];
        if (l->at_key && (rc = check_key(s, l, &h)) != 0)
            return rc;
        l->at_key = l->is_map && !l->at_key;
        l->left--;
    } else if (h.kind != KIND_MAP) {
        return fail(s, BASE_EFORMAT, "not a map");
    }
    size_t start = s->pos;
    s->pos += 1 + (size_t)h.n_more;
    if (h.kind == KIND_ARRAY || h.kind == KIND_MAP)
        return push(s, &h);
    if (h.kind != KIND_STR && h.kind != KIND_BIN)
        return 0;
    if (h.n > s->len - s->pos) {
        s->pos = start;
        return fail(s, BASE_EFORMAT, "a length larger than the bytes left");
    }
    if (h.kind == KIND_STR && !wire_utf8_ok(s->p + s->pos, (size_t)h.n)) {
        s->pos = start;
        return fail(s, BASE_EFORMAT, "text that is not UTF-8");
    }
    s->pos += (size_t)h.n;
    return 0;
}

int wire_scan(const uint8_t *p, size_t len, size_t *at, struct base_err *err)
{
    struct scan s = {.p = p, .len = len, .err = err};
    int rc;
    do {
        rc = scan_value(&s);
        while (rc == 0 && s.depth > 0 && s.level[s.depth - 1].left == 0)
            s.depth--;
    } while (rc == 0 && s.depth > 0);
    if (rc == 0 && s.pos != len)
        rc = fail(&s, BASE_EFORMAT, "bytes after the message");
    *at = s.pos;
    return rc;
}
