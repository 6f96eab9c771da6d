#include "store/sign.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#define HEAD "waypost-policy-signature 1\n"
#define END "signature "

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 2 * n lower-case digits. */
static bool hex_read(const char *hex, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const int hi = hex_digit(hex[2 * i]);
        const int lo = hi < 0 ? -1 : hex_digit(hex[2 * i + 1]);
        if (lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

int store_key_name(struct store_key *k)
{
    uint8_t hash[BASE_SHA256_BYTES];
    if (base_sha256(k->pub, sizeof k->pub, hash) != 0)
        return BASE_EINTERNAL;
    base_hex(hash, STORE_KEY_ID_DIGITS / 2, k->id);
    return 0;
}

int store_key_parse(struct store_key *k, const char *hex, const char *place, struct base_err *err)
{
    if (strlen(hex) != 2 * STORE_KEY_BYTES || !hex_read(hex, k->pub, STORE_KEY_BYTES))
        return base_err_set(err, BASE_EINVAL, place,
                            "'%.80s' is no Ed25519 public key: 64 lower-case hex digits", hex);
    return store_key_name(k) == 0 ? 0 : base_err_set(err, BASE_EINTERNAL, place, "no SHA-256");
}

int store_sig_body(const struct store_set *s, uint64_t serial, const char *key_id,
                   struct base_buf *out)
{
    base_buf_printf(out, HEAD "serial %" PRIu64 "\nkey %s\n", serial, key_id);
    return store_set_list(s, out);
}

int store_sig_end(const uint8_t sig[STORE_SIG_BYTES], struct base_buf *out)
{
    char hex[2 * STORE_SIG_BYTES + 1];
    return base_buf_printf(out, END "%s\n", base_hex(sig, STORE_SIG_BYTES, hex));
}

/* The first lines of a signature. */
static bool head_read(const char *text, uint64_t *serial, char key_id[STORE_KEY_ID_DIGITS + 1])
{
    int end = 0;
    char digits[24];
    if (strncmp(text, HEAD, strlen(HEAD)) != 0 ||
        sscanf(text + strlen(HEAD), "serial %20[0-9]\nkey %16[0-9a-f]\n%n", digits, key_id, &end) !=
            2 ||
        end == 0 || digits[0] == '0' || strlen(key_id) != STORE_KEY_ID_DIGITS)
        return false;
    *serial = strtoull(digits, NULL, 10);
    return *serial > 0 && *serial <= INT64_MAX;
}

uint64_t store_sig_serial(const char *text)
{
    uint64_t serial = 0;
    char id[STORE_KEY_ID_DIGITS + 1];
    return head_read(text, &serial, id) ? serial : 0;
}

/* Says which file the signed list and the files at hand part at. */
static int list_differs(const char *place, const char *signed_text, const struct base_buf *mine,
                        struct base_err *err)
{
    const char *a = signed_text, *b = (const char *)mine->data;
    const char *end = b + mine->len;
    while (b < end) {
        const size_t n = strcspn(b, "\n") + 1;
        if (strncmp(a, b, n) != 0)
            return base_err_set(err, BASE_EPERM, place, "does not vouch for %.*s",
                                strncmp(b, "file ", 5) == 0 ? (int)strcspn(b + 5, " ") : 0,
                                strncmp(b, "file ", 5) == 0 ? b + 5 : "");
        a += n;
        b += n;
    }
    return base_err_set(err, BASE_EPERM, place, "lists files that the policy does not include");
}

static bool ed25519_ok(const struct store_key *k, const void *msg, size_t len,
                       const uint8_t sig[STORE_SIG_BYTES])
{
    EVP_PKEY *pub = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, k->pub, sizeof k->pub);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool ok = pub != NULL && ctx != NULL &&
                    EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pub) == 1 &&
                    EVP_DigestVerify(ctx, sig, STORE_SIG_BYTES, msg, len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pub);
    return ok;
}

static int key_find(const struct store_key *key, int n_key, const char *id)
{
    for (int i = 0; i < n_key; i++) {
        if (strcmp(key[i].id, id) == 0)
            return i;
    }
    return -1;
}

int store_sig_verify(const struct store_set *s, const struct store_key *key, int n_key,
                     uint64_t *serial, struct base_err *err)
{
    char place[STORE_MAX_NAME + 8], id[STORE_KEY_ID_DIGITS + 1];
    uint8_t sig[STORE_SIG_BYTES];
    struct base_buf body;
    snprintf(place, sizeof place, "%s.sig", s->src[0].name);
    if (s->sig == NULL)
        return base_err_set(err, BASE_EPERM, place, "is not there: the policy is not signed");
    if (!head_read(s->sig, serial, id))
        return base_err_set(err, BASE_EFORMAT, place, "is no signature of version 1");
    const int k = key_find(key, n_key, id);
    if (k < 0)
        return base_err_set(err, BASE_EPERM, place, "is signed with key %s, which is not trusted",
                            id);
    base_buf_init(&body, STORE_MAX_SIG_BYTES);
    int rc = store_sig_body(s, *serial, id, &body);
    if (rc != 0) {
        base_buf_fini(&body);
        return base_err_set(err, rc, place, "%s", base_code_str(rc));
    }
    const char *last = s->sig + body.len;
    if (strncmp(s->sig, (const char *)body.data, body.len) != 0 ||
        strncmp(last, END, strlen(END)) != 0)
        rc = list_differs(place, s->sig, &body, err);
    else if (strlen(last) != strlen(END) + 2 * STORE_SIG_BYTES + 1 ||
             !hex_read(last + strlen(END), sig, sizeof sig) || last[strlen(last) - 1] != '\n')
        rc = base_err_set(err, BASE_EFORMAT, place, "does not end with a signature");
    else if (!ed25519_ok(&key[k], body.data, body.len, sig))
        rc = base_err_set(err, BASE_EPERM, place, "is not a signature of key %s", id);
    base_buf_fini(&body);
    return rc;
}
