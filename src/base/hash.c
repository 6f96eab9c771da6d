#include "base/hash.h"

#include <openssl/evp.h>
#include <xxhash.h>

int base_sha256(const void *p, size_t n_bytes, uint8_t out[BASE_SHA256_BYTES])
{
    unsigned int len = 0;
    if (EVP_Digest(p, n_bytes, out, &len, EVP_sha256(), NULL) != 1 || len != BASE_SHA256_BYTES)
        return BASE_EINTERNAL;
    return 0;
}

int base_hmac_sha256(const void *key, size_t key_bytes, const void *p, size_t n_bytes,
                     uint8_t out[BASE_SHA256_BYTES])
{
    size_t len = 0;
    if (EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key, key_bytes, p, n_bytes, out,
                  BASE_SHA256_BYTES, &len) == NULL ||
        len != BASE_SHA256_BYTES)
        return BASE_EINTERNAL;
    return 0;
}

static void canonical(XXH128_hash_t h, uint8_t out[BASE_XXH128_BYTES])
{
    XXH128_canonical_t c;
    XXH128_canonicalFromHash(&c, h);
    for (int i = 0; i < BASE_XXH128_BYTES; i++)
        out[i] = c.digest[i];
}

void base_xxh128(const void *p, size_t n_bytes, uint8_t out[BASE_XXH128_BYTES])
{
    canonical(XXH3_128bits(p, n_bytes), out);
}

uint64_t base_xxh64(const void *p, size_t n_bytes)
{
    return XXH3_64bits(p, n_bytes);
}

struct base_xxh *base_xxh_new(void)
{
    XXH3_state_t *s = XXH3_createState();
    if (s != NULL)
        XXH3_128bits_reset(s);
    return (struct base_xxh *)s;
}

void base_xxh_add(struct base_xxh *h, const void *p, size_t n_bytes)
{
    XXH3_128bits_update((XXH3_state_t *)h, p, n_bytes);
}

void base_xxh_end(struct base_xxh *h, uint8_t out[BASE_XXH128_BYTES])
{
    canonical(XXH3_128bits_digest((XXH3_state_t *)h), out);
    XXH3_freeState((XXH3_state_t *)h);
}

char *base_hex(const uint8_t *p, size_t n_bytes, char *out)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < n_bytes; i++) {
        out[2 * i] = digit[p[i] >> 4];
        out[2 * i + 1] = digit[p[i] & 15];
    }
    out[2 * n_bytes] = '\0';
    return out;
}
