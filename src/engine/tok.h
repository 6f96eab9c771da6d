/* Text <-> token ids, from the vocabulary in a GGUF file. Byte-level BPE (pre-tokenizers of GPT-2,
 * SmolLM2, Llama 3, Qwen2) and SentencePiece BPE. Const after opening: any thread may encode. */
#ifndef ENG_TOK_H
#define ENG_TOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/gguf.h"

struct eng_tok;

/* Copies what it needs; f may be closed afterwards. Errors: BASE_EFORMAT, BASE_EUNSUPPORTED (model
 * or pre-tokenizer by name, with the list of known ones), BASE_ENOMEM. */
int eng_tok_open(struct eng_tok **out, const struct gguf_file *f, struct base_err *err) BASE_MUST_CHECK;
void eng_tok_close(struct eng_tok *t);

int eng_tok_n_vocab(const struct eng_tok *t);
int32_t eng_tok_bos(const struct eng_tok *t); /* -1: none */
int32_t eng_tok_eos(const struct eng_tok *t);
bool eng_tok_add_bos(const struct eng_tok *t);
bool eng_tok_is_end(const struct eng_tok *t, int32_t id);     /* EOS, EOT, EOM … */
bool eng_tok_is_special(const struct eng_tok *t, int32_t id); /* control tokens: print as "" */

/* XXH3-128 over vocabulary, merges, types and specials: the tokenizer's part of the identity. */
void eng_tok_hash(const struct eng_tok *t, uint8_t out[16]);

enum {
    ENG_TOK_BOS = 1,     /* put BOS first if the model wants it */
    ENG_TOK_SPECIAL = 2, /* recognise special tokens' text (templates only, never users' text) */
};

/* text[0..len) -> *ids (malloc'd, caller frees), *n. Invalid UTF-8 is encoded byte by byte, never
 * refused. Errors: BASE_ENOMEM, BASE_ELIMIT (more than max_tok tokens). */
int eng_tok_encode(const struct eng_tok *t, const char *text, size_t len, int flags, int max_tok,
                   int32_t **ids, int *n, struct base_err *err) BASE_MUST_CHECK;

/* The bytes of one token (borrowed; maybe a part of a UTF-8 character). Specials give "" unless
 * show_special. For SentencePiece a leading space is kept; the caller drops the very first one. */
const char *eng_tok_piece(const struct eng_tok *t, int32_t id, bool show_special, size_t *len);

/* Id of a special token by its exact text, or -1. */
int32_t eng_tok_find(const struct eng_tok *t, const char *text);

#endif
