/* Reading one JSON text in place: for logs of many lines, where a tree a line costs more than all
 * else. Pull: the caller asks for what it expects. Strict (RFC 8259, UTF-8); no NUL in strings. One
 * thread.
 *
 * After the first error every call returns false; why and at say what and where. */
#ifndef CTL_JSON_READ_H
#define CTL_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_read {
    char *text, *at, *end; /* text is changed: strings are decoded where they stand, with a NUL */
    const char *why;       /* NULL: no error */
    bool first;            /* no member of this object or array was read yet */
};

enum json_kind {
    JSON_KIND_NONE,
    JSON_KIND_OBJECT,
    JSON_KIND_ARRAY,
    JSON_KIND_STRING,
    JSON_KIND_NUMBER,
    JSON_KIND_TRUE,
    JSON_KIND_FALSE,
    JSON_KIND_NULL
};

struct json_number {
    bool whole; /* written as an integer, and fits: i counts */
    int64_t i;
    double r;
};

/* text[len] must be a NUL that is no part of it. */
void json_read_init(struct json_read *j, char *text, size_t len);
bool json_read_fail(struct json_read *j, const char *why); /* false */

enum json_kind json_peek(struct json_read *j);

/* '{' or '['; then members: false is the end (or an error). A member's value must be read or
 * skipped before the next. */
bool json_open(struct json_read *j, enum json_kind kind);
bool json_key(struct json_read *j, const char **key);
bool json_item(struct json_read *j);

bool json_text(struct json_read *j, const char **s, size_t *len);
bool json_num(struct json_read *j, struct json_number *n);
bool json_skip(struct json_read *j); /* a value of any kind, checked */

/* Nothing but spaces may follow. */
bool json_end(struct json_read *j);

/* Whether the object that the text is has this member, an object; the text is left as it is. */
bool json_has_object(const struct json_read *j, const char *key);

#endif
