/* What chat.c (templates -> formats) and chat_format.c (messages -> ids) share; nobody else
 * includes this. */
#ifndef ENG_CHAT_INT_H
#define ENG_CHAT_INT_H

#include <string.h>

#include "base/buf.h"
#include "engine/chat.h"

/* Text is collected until a special token comes, so that it is merged across our own words and the
 * user's exactly as if a template had rendered it. */
struct chat_prompt {
    const struct eng_tok *t;
    struct base_buf text;
    int32_t *ids;
    int n, cap, max;
    bool held;    /* see eng_chat_ask */
    bool results; /* a "tool" message is taken */
    bool told;    /* of functions, the template's way */
    int rc;
    struct base_err *err;
};

/* What else a template tells its format. */
enum chat_read { CHAT_READ_NOTHING, CHAT_READ_SYSTEM, CHAT_READ_DATE };

struct chat_kind {
    const char *name;
    const char *has[3], *lacks; /* what its template's text shows */
    const char *roles;          /* '|'-separated */
    void (*encode)(const struct eng_chat_format *f, struct chat_prompt *p,
                   const struct eng_chat_msg *msg, int n_msg);
    enum chat_read read;
};

struct eng_chat_format {
    const struct chat_kind *kind;
    char *system;  /* what the template says when nobody gave a system message; NULL: nothing */
    char date[24]; /* llama3: of 3.1 and later; "": no preamble */
    bool thinks;   /* chatml: answers begin with <think> … </think>, as Qwen3's */
    bool opens;    /* … which the prompt opens already */
    /* What the template says around the functions; NULL: it knows none. */
    char *tools_head, *tools_tail;
    bool responds; /* chatml: results are a user's turn, in <tool_response> */
};

/* Reads from the template how functions are told. 0 or BASE_ENOMEM. */
int chat_find_tools(struct eng_chat_format *f, const char *tmpl, size_t len) BASE_MUST_CHECK;

enum { CHAT_N_KIND = 5 };
extern const struct chat_kind chat_kinds[CHAT_N_KIND];

/* Encodes with p's t, max, err and wishes; p's memory is given up or handed to *ids. */
int chat_encode(const struct eng_chat_format *f, struct chat_prompt *p,
                const struct eng_chat_msg *msg, int n_msg, int32_t **ids,
                int *n) BASE_MUST_CHECK;

static inline const char *chat_find(const char *s, size_t len, const char *what)
{
    return len == 0 ? NULL : memmem(s, len, what, strlen(what));
}

#endif
