/* The vocabulary sorted by the tokens' bytes, so that an automaton over bytes sees which tokens it
 * takes: neighbours share their beginning, and what one was refused for refuses all that share it.
 * Control tokens are not in it. Const after opening: any thread. */
#ifndef ENG_VOCAB_H
#define ENG_VOCAB_H

#include "engine/tok.h"

enum { ENG_VOCAB_END_MAX = 16 };

struct eng_vocab {
    const struct eng_tok *tok; /* borrowed */
    int n;
    int32_t *id;        /* [n] sorted by bytes; of equal ones a normal token first, then the lowest */
    uint16_t *lcp;      /* [n] bytes shared with the one before; the first of a first byte has 0 */
    int first[257];     /* id[first[b]] … id[first[b + 1]) begin with byte b */
    bool has_byte[256]; /* a token of exactly this byte */
    size_t max_bytes;   /* of a token */
    int32_t end[ENG_VOCAB_END_MAX]; /* end tokens, the file's own EOS first */
    int n_end;
};

/* t must outlive it. Errors: BASE_ENOMEM, BASE_EUNSUPPORTED (no end token). */
int eng_vocab_new(struct eng_vocab **out, const struct eng_tok *t, struct base_err *err) BASE_MUST_CHECK;
void eng_vocab_free(struct eng_vocab *v); /* NULL is fine */

/* The tokens that begin with s[0..len): id[*lo..*hi). */
void eng_vocab_range(const struct eng_vocab *v, const uint8_t *s, size_t len, int *lo, int *hi);

/* The longest token that s[0..len) begins with, or -1; *n its bytes. */
int32_t eng_vocab_longest(const struct eng_vocab *v, const uint8_t *s, size_t len, size_t *n);

#endif
