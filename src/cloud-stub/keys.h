/* Idempotency keys of work that was started: a retry of it is refused, not run twice. A fixed ring;
 * when it is full the oldest key is forgotten. Time is the caller's. One thread. */
#ifndef STUB_KEYS_H
#define STUB_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { STUB_KEY_BYTES = 16 };

struct stub_keys;
int stub_keys_new(struct stub_keys **out, int n_key, int64_t keep_us) BASE_MUST_CHECK; /* ENOMEM */
void stub_keys_free(struct stub_keys *k);
bool stub_keys_seen(const struct stub_keys *k, const uint8_t key[STUB_KEY_BYTES], int64_t now_us);
void stub_keys_add(struct stub_keys *k, const uint8_t key[STUB_KEY_BYTES], int64_t now_us);

/* 32 hex digits -> key. */
bool stub_key_parse(const char *hex, uint8_t key[STUB_KEY_BYTES]);

#endif
