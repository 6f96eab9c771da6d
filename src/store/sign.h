/* What vouches for a policy: FILE.sig beside it. It lists every file with its SHA-256, has a serial
 * number that only grows, names the key, and ends with an Ed25519 signature (RFC 8032) of the lines
 * before the last, as bytes:
 *
 *   waypost-policy-signature 1
 *   serial 42
 *   key 0123456789abcdef
 *   file policy.yaml <sha256>
 *   file base.yaml <sha256>
 *   signature <128 hex digits>
 *
 * Any thread; no state. */
#ifndef STORE_SIGN_H
#define STORE_SIGN_H

#include "store/files.h"

enum {
    STORE_KEY_BYTES = 32,
    STORE_SIG_BYTES = 64,
    STORE_KEY_ID_DIGITS = 16, /* the first of the SHA-256 of the public key */
    STORE_MAX_KEY = 8,
};

struct store_key {
    uint8_t pub[STORE_KEY_BYTES];
    char id[STORE_KEY_ID_DIGITS + 1];
};

/* A public key as 64 hex digits. BASE_EINVAL (place stands in the message). */
int store_key_parse(struct store_key *k, const char *hex, const char *place,
                    struct base_err *err) BASE_MUST_CHECK;
/* Fills k->id from k->pub. BASE_EINTERNAL. */
int store_key_name(struct store_key *k) BASE_MUST_CHECK;

/* The lines that are signed. serial: 1 to 2^63-1. Errors: those of buf, BASE_EINTERNAL. */
int store_sig_body(const struct store_set *s, uint64_t serial, const char *key_id,
                   struct base_buf *out) BASE_MUST_CHECK;
/* And the last one. */
int store_sig_end(const uint8_t sig[STORE_SIG_BYTES], struct base_buf *out) BASE_MUST_CHECK;

/* The serial number that a signature's text claims; 0: none can be read. Nothing is verified. */
uint64_t store_sig_serial(const char *text);

/* Whether s->sig is one of these keys' for exactly these files. Errors: BASE_EPERM (none, another
 * key, other files, a wrong signature), BASE_EFORMAT, BASE_ENOMEM, BASE_EINTERNAL. */
int store_sig_verify(const struct store_set *s, const struct store_key *key, int n_key,
                     uint64_t *serial, struct base_err *err) BASE_MUST_CHECK;

#endif
