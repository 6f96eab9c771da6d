/* JSON Schema -> the text of a grammar (engine/grammar.h describes the form) that makes only
 * instances of it. Inside the api room.
 *
 * Never more than the schema allows, sometimes less: properties come in the schema's order, those
 * that it does not name only where it says so, white space nowhere but where `spaced` puts it. What
 * can't be held is refused with its JSON pointer: a keyword that would constrain is never passed
 * over. docs/internals/api.md has the table. */
#ifndef API_SCHEMA_H
#define API_SCHEMA_H

#include <stdbool.h>

#include <jansson.h>

#include "base/buf.h"

enum {
    API_SCHEMA_MAX_DEPTH = 48,      /* schemas in schemas */
    API_SCHEMA_MAX_PROPERTY = 512,  /* of one object */
    API_SCHEMA_MAX_ENUM = 4096,     /* values of one schema */
    API_SCHEMA_MAX_REF = 1024,      /* different targets of $ref */
    API_SCHEMA_MAX_REPEAT = 4096,   /* longest string and array that are bounded */
    API_SCHEMA_MAX_TEXT = 1 << 20,  /* bytes of grammar */
    API_SCHEMA_ANY_DEPTH = 12,      /* nesting where anything may stand */
};

struct api_schema;

/* spaced: ", " and ": " as most models have learnt it, else no white space. */
struct api_schema *api_schema_new(bool spaced); /* NULL: out of memory */
void api_schema_free(struct api_schema *c);

/* Compiles s (borrowed until api_schema_free; also what $refs point into); place: its name in errors,
 * borrowed as well. object: of its instances only objects. Appends to e an expression that other rules may use. Errors: BASE_EFORMAT (not a schema),
 * BASE_EUNSUPPORTED, BASE_ELIMIT, BASE_ENOMEM; err->place is the place and JSON pointer. */
int api_schema_add(struct api_schema *c, const json_t *s, bool object, const char *place,
                   struct base_buf *e, struct base_err *err) BASE_MUST_CHECK;

/* An expression of any JSON object -> e. */
void api_schema_any_object(struct api_schema *c, struct base_buf *e);

/* "answer = <expression> ;" and the rules that were made for it. */
int api_schema_write(struct api_schema *c, const struct base_buf *e, struct base_buf *out) BASE_MUST_CHECK;

/* Bytes as a string of the grammar's text. */
void api_grammar_quote(struct base_buf *b, const char *s, size_t n);

#endif
