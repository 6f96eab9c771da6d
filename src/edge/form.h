/* The form that a request asks of its answer: functions and schemas in JSON on one side, a grammar for
 * the sampler and text for the prompt on the other. Loop thread. */
#ifndef EDGE_FORM_H
#define EDGE_FORM_H

#include "base/err.h"

struct edge;
struct edge_req;
struct api_error;

/* The model's vocabulary for grammars: e->vocab, sorted once, for the first who asks. Errors:
 * eng_vocab_new's. */
int edge_form_vocab(struct edge *e, struct base_err *err) BASE_MUST_CHECK;

/* Compiles it: r->form stays NULL if the answer is free. Errors, with *e: what a client asks that can't
 * be held to (400), BASE_ENOMEM. */
int edge_form_make(struct edge_req *r, struct api_error *e) BASE_MUST_CHECK;

/* Messages and functions -> r->prompt, r->n_prompt, of at most max_tok tokens. Errors as
 * eng_chat_encode_ask's. */
int edge_form_encode(struct edge_req *r, int max_tok, struct base_err *err) BASE_MUST_CHECK;

#endif
