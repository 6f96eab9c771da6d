/* Cuts text into the words inside which byte-level BPE merges, by the model's own pattern. A split
 * is const: any thread may run it. The only place that knows PCRE2. */
#ifndef ENG_PRETOK_H
#define ENG_PRETOK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct pretok;

/* name[0..len): tokenizer.ggml.pre. Errors: BASE_EUNSUPPORTED (lists the known ones), BASE_ENOMEM.
 */
int pretok_new(struct pretok **out, const char *name, size_t len,
               struct base_err *err) BASE_MUST_CHECK;
void pretok_free(struct pretok *p);

/* Facts that go with a pattern and that older files do not state. */
bool pretok_whole_words(const struct pretok *p); /* a word that is a token is not merged again */
bool pretok_add_bos(const struct pretok *p);

/* Calls fn(ctx, word, len) for each word in order; together they are text[0..len) exactly. A byte
 * that is no UTF-8 is a word of its own. Returns 0, what fn returned if not 0, or BASE_ENOMEM,
 * BASE_ELIMIT (the matcher's own limit). */
typedef int pretok_fn(void *ctx, const char *word, size_t len);
int pretok_split(const struct pretok *p, const char *text, size_t len, pretok_fn *fn,
                 void *ctx) BASE_MUST_CHECK;

#endif
