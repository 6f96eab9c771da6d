/* Hashes: SHA-256 where something is proved to a person (policy, ledger), XXH3-128 where two honest
 * sides only compare (weights, tensor checksums). Thin over libcrypto and xxhash. Any thread. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { BASE_SHA256_BYTES = 32, BASE_XXH128_BYTES = 16 };

/* BASE_EINTERNAL when libcrypto refuses (no such digest). */
int base_sha256(const void *p, size_t n_bytes, uint8_t out[BASE_SHA256_BYTES]) BASE_MUST_CHECK;

/* HMAC (RFC 2104) with SHA-256. BASE_EINTERNAL. */
int base_hmac_sha256(const void *key, size_t key_bytes, const void *p, size_t n_bytes,
                     uint8_t out[BASE_SHA256_BYTES]) BASE_MUST_CHECK;

/* XXH3-128 in canonical (big-endian) byte order. */
void base_xxh128(const void *p, size_t n_bytes, uint8_t out[BASE_XXH128_BYTES]);
uint64_t base_xxh64(const void *p, size_t n_bytes);

/* XXH3-128 over pieces. */
struct base_xxh;
struct base_xxh *base_xxh_new(void); /* NULL: out of memory */
void base_xxh_add(struct base_xxh *h, const void *p, size_t n_bytes);
void base_xxh_end(struct base_xxh *h, uint8_t out[BASE_XXH128_BYTES]); /* and frees h */

/* Lower-case hex with a NUL: out[2 * n + 1]. Returns out. */
char *base_hex(const uint8_t *p, size_t n_bytes, char *out);

#endif
