/* A catalogue of functions that a small model was trained to call: OpenAI `tools`, with keys of ours.
 * The model answers a sentence in one line: a function's name and its arguments in the catalogue's
 * order, `seat_heating driver 3`, or `none`: not a command. Here is what such a line may be, its
 * grammar (engine/grammar.h) and the call that it stands for. A catalogue is const: any thread.
 *
 * All parameters are required, and each is one of
 *  - a list of values: enum, const, boolean, an integer between two bounds, a number with multipleOf
 *    between two bounds, or several of these by anyOf;
 *  - free text, the last one: {"type": "string"}, answered in words of the sentence.
 * Keys of ours: "x-place": true at a parameter, which then may also be `me`, the place of who speaks;
 * "x-also": [text, …] at free text, which may stand though nobody said it; "x-vss" beside "function":
 * the signal's name, or {value of an argument: name, …}. docs/cabin.md is the guide. */
#ifndef API_CATALOGUE_H
#define API_CATALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/tools.h"
#include "base/arena.h"

#define API_CAT_NONE "none"
#define API_CAT_ME "me"

enum {
    API_CAT_MAX_FUNC = 64,
    API_CAT_MAX_ARG = 8,      /* of a function */
    API_CAT_MAX_VALUE = 1024, /* of an argument */
    API_CAT_MAX_SAID = 1024,  /* bytes of a sentence: what is longer is no command */
};

struct api_request;
struct api_catalogue;

/* name: what errors call the text; their place is name and a JSON pointer. Errors: BASE_EFORMAT (no
 * JSON, no catalogue), BASE_EUNSUPPORTED (a schema that no line can be held to), BASE_ELIMIT,
 * BASE_ENOMEM. */
int api_catalogue_parse(struct api_catalogue **out, const char *text, size_t len, const char *name,
                        struct base_err *err) BASE_MUST_CHECK;
void api_catalogue_free(struct api_catalogue *c); /* NULL is fine */

int api_catalogue_n(const struct api_catalogue *c);                    /* without none */
const char *api_catalogue_name(const struct api_catalogue *c, int i);
const struct api_tool *api_catalogue_tools(const struct api_catalogue *c); /* [n], without our keys */
/* Whether `me` can be said at all, and this place be what it stands for wherever it can. */
bool api_catalogue_has_place(const struct api_catalogue *c, const char *place, bool everywhere);

/* What may be answered. */
struct api_cat_offer {
    uint64_t func;   /* functions, by bit */
    bool none;
    const char *me;  /* the place of who speaks; `me` may not be said where that is no value */
    const bool *may; /* values by number; NULL: all */
};

/* All of it. */
struct api_cat_offer api_catalogue_all(const struct api_catalogue *c, const char *me);

/* What a request's tools and tool_choice leave of it. Errors: BASE_ENOTFOUND (something else is asked:
 * no tools, a function that is not in the catalogue, a schema that does not take what the catalogue
 * has, tool_choice none; why says what), BASE_ENOMEM. */
int api_catalogue_offer(const struct api_catalogue *c, const struct api_request *r, const char *me,
                        struct base_arena *a, struct api_cat_offer *out,
                        struct base_err *why) BASE_MUST_CHECK;

/* The grammar of a line about this sentence. BASE_ELIMIT (API_CAT_MAX_SAID), BASE_ENOMEM, BASE_EINVAL
 * (nothing may be answered: only free text, and no words). */
int api_catalogue_grammar(const struct api_catalogue *c, const struct api_cat_offer *o, const char *said,
                          size_t len, struct base_buf *out) BASE_MUST_CHECK;

struct api_cat_call {
    int func;                   /* -1: none */
    int value[API_CAT_MAX_ARG]; /* by argument: its value's number; free text: -1 */
    const char *text;           /* [text_len], points into the line */
    size_t text_len;
};

/* A line -> the call. BASE_EFORMAT: it is none. */
int api_catalogue_read(const struct api_catalogue *c, const char *line, size_t len, const char *me,
                       struct api_cat_call *out) BASE_MUST_CHECK;

/* Its arguments, a JSON object in the catalogue's order. */
int api_catalogue_args(const struct api_catalogue *c, const struct api_cat_call *call,
                       struct base_buf *out) BASE_MUST_CHECK;

/* The vehicle signal that it sets or asks for; NULL: the catalogue names none. */
const char *api_catalogue_vss(const struct api_catalogue *c, const struct api_cat_call *call);

#endif
