/* Tokens -> text that may be shown: whole UTF-8 characters only, stop strings held back and cut.
 * One a conversation; one thread. */
#ifndef ENG_TEXT_H
#define ENG_TEXT_H

#include "base/buf.h"
#include "engine/tok.h"

enum { ENG_STOP_MAX = 8 };

struct eng_text;
/* stop[n_stop] are copied. Errors: BASE_ELIMIT (n_stop), BASE_ENOMEM. */
int eng_text_new(struct eng_text **out, const struct eng_tok *t, const char *const *stop, int n_stop,
                 struct base_err *err) BASE_MUST_CHECK;
void eng_text_free(struct eng_text *x);

/* Adds a token; appends to out what may be shown now (maybe nothing). Returns 1 when a stop string
 * was met (out ends before it), else 0 or BASE_ENOMEM/BASE_ELIMIT. */
int eng_text_add(struct eng_text *x, int32_t token, struct base_buf *out) BASE_MUST_CHECK;

/* The end: what was held back; bytes that never became a character become U+FFFD. */
int eng_text_end(struct eng_text *x, struct base_buf *out) BASE_MUST_CHECK;

#endif
