/* Functions that a model may call, and answers held to a form: what a request says of them, how they
 * are told to a model, the grammar of its answer, and calls read out of its text. */
#ifndef API_TOOLS_H
#define API_TOOLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    API_MAX_TOOL = 128,
    API_MAX_CALL = 16,  /* of one message or answer */
    API_MAX_NAME = 64,  /* bytes of a function's name */
    API_MAX_CALL_ID = 64,
};

/* One function: JSON as it came, on one line. */
struct api_tool {
    const char *name;
    const char *json;
    size_t len;
};

/* A call that a model made. args: JSON of an object, unless the model was cut off. */
struct api_call {
    const char *id, *name, *args;
    size_t len;
};

enum api_choice { API_CHOICE_AUTO, API_CHOICE_NONE, API_CHOICE_REQUIRED };
enum api_format { API_FORMAT_TEXT, API_FORMAT_OBJECT, API_FORMAT_SCHEMA };

/* How a model writes a call: open {"name": "…", <args>: {…}} close. From its chat format. */
struct api_syntax {
    const char *open, *close; /* "" both: the bare JSON, one call an answer */
    const char *args;
    bool spaced;
    int indent;
};

struct api_request;
struct api_msg;
struct api_error;

/* Whether functions are to be told to the model and looked for in its answer. */
bool api_tools_active(const struct api_request *r);

/* The grammar that the answer is held to (engine/grammar.h) -> out, empty if it is free. trigger[64]:
 * "", or the text up to which it is free all the same. Errors, with *e: BASE_EUNSUPPORTED,
 * BASE_EFORMAT, BASE_ELIMIT (a schema: param is its JSON pointer), BASE_ENOMEM. */
int api_grammar_write(const struct api_request *r, const struct api_syntax *s, struct base_buf *out,
                      char trigger[64], struct api_error *e) BASE_MUST_CHECK;

/* Function i as the prompt wants it. */
int api_tool_write(const struct api_request *r, int i, const struct api_syntax *s,
                   struct base_buf *out) BASE_MUST_CHECK;

/* A message of the history as the model wrote it: content, then its calls. */
int api_msg_write(const struct api_msg *m, const struct api_syntax *s,
                  struct base_buf *out) BASE_MUST_CHECK;

/* Reads calls out of a model's text as it comes. */
enum api_piece_kind {
    API_PIECE_TEXT,
    API_PIECE_CALL, /* a call begins; text: the function's name */
    API_PIECE_ARGS, /* more of its arguments */
};
struct api_piece {
    enum api_piece_kind kind;
    int call; /* which; from 0 */
    const char *text;
    size_t len;
};
/* false: no more is wanted. */
typedef bool api_piece_cb(void *arg, const struct api_piece *p);

struct api_scan;
struct api_scan *api_scan_new(const struct api_syntax *s); /* borrowed. NULL: out of memory */
void api_scan_free(struct api_scan *x);
/* Text that may yet be a call's beginning waits; last: nothing waits. Errors: BASE_ECANCELED (cb said
 * so), BASE_ELIMIT (calls, a name), BASE_ENOMEM. */
int api_scan_feed(struct api_scan *x, const char *text, size_t len, bool last, api_piece_cb *cb,
                  void *arg) BASE_MUST_CHECK;
int api_scan_n_call(const struct api_scan *x);

#endif
