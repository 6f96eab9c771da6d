/* What the schema compiler's parts share; nobody else includes this. */
#ifndef API_SCHEMA_INT_H
#define API_SCHEMA_INT_H

#include <stdint.h>

#include "api/schema.h"

/* Rules that many schemas need; written once, where used. */
enum schema_rule {
    RULE_CHAR = 1,     /* one character of a string, as JSON spells it */
    RULE_STRING = 2,
    RULE_INTEGER = 4,
    RULE_NUMBER = 8,
    RULE_ANY = 16,     /* any0 … and obj0 … */
    RULE_PLAIN = 32,   /* a character that needs no escape */
};

/* Where the compiler stands: a chain on its own stack, read only when something is refused. */
struct schema_at {
    const struct schema_at *up;
    const char *key; /* NULL: index */
    size_t index;
};

/* Types of instances. A number's may be an integer. */
enum {
    SCHEMA_NULL = 1,
    SCHEMA_BOOLEAN = 2,
    SCHEMA_INTEGER = 4,
    SCHEMA_NUMBER = 8,
    SCHEMA_STRING = 16,
    SCHEMA_ARRAY = 32,
    SCHEMA_OBJECT = 64,
    SCHEMA_ALL = 127,
};

struct schema_ref {
    const json_t *to;
    const char *pointer; /* "#/$defs/x", borrowed from the schema */
    unsigned types;
};

struct api_schema {
    struct base_buf rules;
    bool spaced;
    unsigned used; /* enum schema_rule */
    int n_rule, depth;
    const json_t *root;
    const char *place;
    struct schema_ref *ref; /* [n_ref]; rule "ref<i>" */
    int n_ref;
    json_t *merged; /* array: schemas that allOf made */
    struct base_err *err;
};

/* Refuses; returns code. */
int schema_refuse(struct api_schema *c, const struct schema_at *at, int code, const char *fmt, ...)
    BASE_PRINTF(4, 5);

/* Makes the rule "s<*rule>" of a schema, of whose instances only those of `types` are meant. */
int schema_value(struct api_schema *c, const json_t *s, const struct schema_at *at, unsigned types,
                 int *rule) BASE_MUST_CHECK;

int schema_object(struct api_schema *c, const json_t *s, const struct schema_at *at,
                  struct base_buf *e) BASE_MUST_CHECK;
int schema_array(struct api_schema *c, const json_t *s, const struct schema_at *at,
                 struct base_buf *e) BASE_MUST_CHECK;

/* The expression of a string, an integer or a number by the keywords of s -> e. */
int schema_string(struct api_schema *c, const json_t *s, const struct schema_at *at,
                  struct base_buf *e) BASE_MUST_CHECK;
int schema_number(struct api_schema *c, const json_t *s, const struct schema_at *at, bool integer,
                  struct base_buf *e) BASE_MUST_CHECK;

/* A pattern's expression, without the quotes. */
int schema_pattern(struct api_schema *c, const char *p, const struct schema_at *at,
                   struct base_buf *e) BASE_MUST_CHECK;

/* A count: keyword of s, or `none`. BASE_EFORMAT. */
int schema_count(struct api_schema *c, const json_t *s, const char *key, const struct schema_at *at,
                 int64_t none, int64_t *out) BASE_MUST_CHECK;

#endif
