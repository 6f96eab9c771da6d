/* Chat messages -> prompt tokens, by the model's own format. The format is recognised from the
 * file's template text; we do not run templates. Const: any thread. */
#ifndef ENG_CHAT_H
#define ENG_CHAT_H

#include "engine/tok.h"

struct eng_chat_msg {
    const char *role;    /* "system", "user", "assistant", "tool" */
    const char *content; /* [len] UTF-8 */
    size_t len;
};

struct eng_chat_format;

/* By template text (len 0: none in the file) or by forced name ("chatml", "llama3", …; NULL: from
 * the template). Errors: BASE_EUNSUPPORTED with the known names and the config key that forces one
 * (`model.chat_format`). *out holds a copy of the template's default system message: free it with
 * eng_chat_free. Also BASE_ENOMEM. */
int eng_chat_find(const struct eng_chat_format **out, const char *tmpl, size_t len,
                  const char *force, struct base_err *err) BASE_MUST_CHECK;
void eng_chat_free(const struct eng_chat_format *f); /* NULL is fine */
const char *eng_chat_name(const struct eng_chat_format *f);

/* Encodes the conversation and the opening of the assistant's turn. Users' text never yields special
 * tokens. *ids is malloc'd. Errors: BASE_EINVAL (role), BASE_ELIMIT (max_tok), BASE_ENOMEM. */
int eng_chat_encode(const struct eng_chat_format *f, const struct eng_tok *t,
                    const struct eng_chat_msg *msg, int n_msg, int max_tok, int32_t **ids, int *n,
                    struct base_err *err) BASE_MUST_CHECK;

/* How the format's models write a call of a function: open, {"name": "…", <args>: {…}}, close. */
struct eng_chat_calls {
    const char *open, *close; /* "" both: a call is the bare JSON, and there is only one */
    const char *args;         /* "arguments" or "parameters" */
    bool spaced;              /* ", " and ": " in its JSON, else no white space */
    int indent;               /* of a function's JSON in the prompt; 0: on one line */
};
void eng_chat_calls(const struct eng_chat_format *f, struct eng_chat_calls *out);

/* What a prompt asks for beyond its messages. */
struct eng_chat_ask {
    const char *const *tool; /* [n_tool] JSON of functions that may be called */
    int n_tool;
    bool held; /* the answer will be held to a form from its first token: no thinking aloud */
};

/* As eng_chat_encode, and: functions stand where the model's template puts them, or, if it knows none,
 * behind the system message in our words; "tool" messages (results) are taken by every format, and
 * calls in an assistant's message are text already. */
int eng_chat_encode_ask(const struct eng_chat_format *f, const struct eng_tok *t,
                        const struct eng_chat_msg *msg, int n_msg, const struct eng_chat_ask *ask,
                        int max_tok, int32_t **ids, int *n, struct base_err *err) BASE_MUST_CHECK;

/* Where the words of the last message begin in ids[n], which eng_chat_encode_ask made of the same
 * arguments: behind what every last message has before it. Errors: the same. */
int eng_chat_words_at(const struct eng_chat_format *f, const struct eng_tok *t,
                      const struct eng_chat_msg *msg, int n_msg, const struct eng_chat_ask *ask,
                      const int32_t *ids, int n, int *at, struct base_err *err) BASE_MUST_CHECK;

#endif
