/* One chat or text completion, from its first byte to its last. chat.c owns it; form.c makes of what
 * it asks for a prompt and a grammar, and of its text an answer. */
#ifndef STUB_CHAT_H
#define STUB_CHAT_H

#include "base/arena.h"
#include "cloud-stub/stub.h"
#include "engine/text.h"

enum { CHAT_ID_BYTES = 96 };

struct chat_call {
    char name[API_MAX_NAME + 1];
    struct base_buf args;
};

struct chat {
    bool is_chat, streaming, role_sent, gone; /* gone: nobody reads the stream any more */
    struct base_buf body, text, out;          /* request body; the answer so far; scratch */
    struct base_arena arena;
    struct api_request req;
    struct api_syntax syntax;
    struct eng_grammar *form; /* of the answer; NULL: free */
    bool form_free;           /* only from a call's beginning on */
    struct eng_job *job;
    struct eng_text *decode;
    struct api_scan *scan;   /* reads calls out of text; NULL: nobody asked for any */
    struct base_buf content; /* with scan: what of text is no call */
    struct chat_call *call;  /* [n_call] */
    int n_call;
    struct api_logprob *lp; /* not yet sent (streaming) or all */
    int n_lp, cap_lp;
    char id[CHAT_ID_BYTES];
};

struct api_head chat_head(const struct stub_req *r);

/* form.c */

/* The request's form. 0, or *e is filled. */
int chat_form_make(struct stub_req *r, struct api_error *e) BASE_MUST_CHECK;
/* The prompt, of at most max tokens. Errors as eng_chat_encode_ask's, and eng_model_chat's. */
int chat_form_encode(struct stub_req *r, int max, int32_t **ids, int *n,
                     struct base_err *err) BASE_MUST_CHECK;
/* Reads what the answer grew by since `from` for calls and sends it if streaming. Errors:
 * BASE_ECANCELED (nobody is there), BASE_ELIMIT, BASE_ENOMEM. */
int chat_form_read(struct stub_req *r, size_t from, bool last) BASE_MUST_CHECK;
/* The calls -> call[API_MAX_CALL], ids with them; their number. */
int chat_form_calls(struct stub_req *r, struct api_call *call, char (*id)[API_MAX_CALL_ID + 1]);
void chat_form_fini(struct chat *c);

#endif
