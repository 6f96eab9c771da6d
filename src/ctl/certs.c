/* waypostctl certs: a development CA and the three certificates that a bench setup needs. Not a
 * PKI: the CA's key lies beside what it signed, so none of this belongs in a vehicle. */
#include "ctl/ctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/err.h"
#include "base/hash.h"

enum {
    MAX_NAME = 8,
    MAX_DAYS = 3650,
    SERIAL_BYTES = 16,
    /* Clocks of bench machines differ: a certificate made here must be valid there at once. */
    BACKDATE_S = 3600,
    DAY_S = 86400,
};

enum { CA, SERVER, UPLINK, TOOL, N_CERT };

static const struct {
    const char *name; /* of its files, and of --expired and --revoke */
    const char *subject;
    const char *usage, *extended_usage;
} profile[N_CERT] = {
    [CA] = {"ca", "Waypost development CA", "critical,keyCertSign,cRLSign", NULL},
    [SERVER] = {"server", "waypost-cloud-stub", "critical,digitalSignature", "serverAuth"},
    [UPLINK] = {"uplink", "waypost-uplink", "critical,digitalSignature", "clientAuth"},
    [TOOL] = {"tool", "waypost-tool", "critical,digitalSignature", "clientAuth"},
};

struct request {
    const char *dir;
    long days;
    bool json, force;
    const char *name[MAX_NAME]; /* more names of the server: DNS names or addresses */
    int n_name;
    bool expired[N_CERT], revoked[N_CERT];
};

struct issued {
    EVP_PKEY *key[N_CERT];
    X509 *cert[N_CERT];
    X509_CRL *crl;
};

static void usage(FILE *out)
{
    fputs("usage: waypostctl certs DIR [option ...]\n\n"
          "Makes a development CA and three certificates in DIR (ECDSA P-256): `server' for the "
          "cloud\n"
          "stub (localhost, 127.0.0.1, ::1), `uplink' for waypost-uplink, `tool' for curl and "
          "friends.\n"
          "Files: NAME.pem, NAME-key.pem (0600), crl.pem. For benches, never for vehicles.\n\n"
          "  --days N        valid for N days (default 365, at most 3650)\n"
          "  --name HOST     one more DNS name or address of the server; may be given 8 times\n"
          "  --expired NAME  make server, uplink or tool one that ran out yesterday (for tests)\n"
          "  --revoke NAME   list server, uplink or tool in crl.pem (for tests)\n"
          "  --force         replace what is there\n"
          "  --json          print the paths and pins as JSON\n",
          out);
}

static int crypto_fail(struct base_err *err, const char *what)
{
    return base_err_set(err, BASE_EINTERNAL, "", "libcrypto could not make %s", what);
}

static int set_serial(X509 *x)
{
    uint8_t raw[SERIAL_BYTES];
    if (RAND_bytes(raw, sizeof raw) != 1)
        return -1;
    /* Positive, and never a leading zero byte. */
    raw[0] = (uint8_t)((raw[0] & 0x7f) | 0x40);
    BIGNUM *n = BN_bin2bn(raw, sizeof raw, NULL);
    bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
    BN_free(n);
    return ok ? 0 : -1;
}

/* Two CAs of the same name confuse whoever holds both: the serial's start tells them apart. */
static int set_subject(X509 *x, int which)
{
    char cn[64];
    uint8_t tag[4];
    if (which == CA) {
        if (RAND_bytes(tag, sizeof tag) != 1)
            return -1;
        char hex[2 * sizeof tag + 1];
        snprintf(cn, sizeof cn, "%s %s", profile[CA].subject, base_hex(tag, sizeof tag, hex));
    } else {
        snprintf(cn, sizeof cn, "%s", profile[which].subject);
    }
    X509_NAME *n = X509_get_subject_name(x);
    return X509_NAME_add_entry_by_txt(n, "O", MBSTRING_UTF8, (const uint8_t *)"Waypost bench", -1,
                                      -1, 0) == 1 &&
                   X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1,
                                              0) == 1
               ? 0
               : -1;
}

static int add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int ok = e != NULL && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok ? 0 : -1;
}

static bool is_address(const char *s)
{
    uint8_t raw[16];
    return inet_pton(AF_INET, s, raw) == 1 || inet_pton(AF_INET6, s, raw) == 1;
}

static int add_server_names(X509 *x, const struct request *rq)
{
    char san[MAX_NAME * 270 + 64] = "DNS:localhost,IP:127.0.0.1,IP:::1";
    for (int i = 0; i < rq->n_name; i++) {
        size_t len = strlen(san);
        snprintf(san + len, sizeof san - len, ",%s:%s", is_address(rq->name[i]) ? "IP" : "DNS",
                 rq->name[i]);
    }
    return add_extension(x, NULL, NID_subject_alt_name, san);
}

static int add_extensions(X509 *x, X509 *issuer, int which, const struct request *rq)
{
    const char *basic = which == CA ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE";
    if (add_extension(x, issuer, NID_basic_constraints, basic) != 0 ||
        add_extension(x, issuer, NID_key_usage, profile[which].usage) != 0 ||
        add_extension(x, issuer, NID_subject_key_identifier, "hash") != 0 ||
        add_extension(x, issuer, NID_authority_key_identifier, "keyid:always") != 0)
        return -1;
    if (profile[which].extended_usage != NULL &&
        add_extension(x, issuer, NID_ext_key_usage, profile[which].extended_usage) != 0)
        return -1;
    return which == SERVER ? add_server_names(x, rq) : 0;
}

static int issue(struct issued *is, int which, const struct request *rq, struct base_err *err)
{
    is->key[which] = EVP_EC_gen("P-256");
    X509 *x = is->cert[which] = X509_new();
    if (is->key[which] == NULL || x == NULL)
        return crypto_fail(err, "a key");
    X509 *issuer = is->cert[CA]; /* the CA issues itself */
    long from = -(long)BACKDATE_S, to = rq->days * DAY_S;
    if (rq->expired[which]) {
        from = -2L * DAY_S;
        to = -1L * DAY_S;
    }
    if (X509_set_version(x, X509_VERSION_3) != 1 || set_serial(x) != 0 ||
        X509_gmtime_adj(X509_getm_notBefore(x), from) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(x), to) == NULL ||
        X509_set_pubkey(x, is->key[which]) != 1 || set_subject(x, which) != 0 ||
        X509_set_issuer_name(x, X509_get_subject_name(issuer)) != 1 ||
        add_extensions(x, issuer, which, rq) != 0 || X509_sign(x, is->key[CA], EVP_sha256()) <= 0)
        return crypto_fail(err, profile[which].name);
    return 0;
}

static int crl_add(X509_CRL *crl, X509 *cert, ASN1_TIME *when)
{
    X509_REVOKED *r = X509_REVOKED_new();
    if (r == NULL)
        return -1;
    if (X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(cert)) != 1 ||
        X509_REVOKED_set_revocationDate(r, when) != 1 || X509_CRL_add0_revoked(crl, r) != 1) {
        X509_REVOKED_free(r);
        return -1;
    }
    return 0;
}

static int issue_crl(struct issued *is, const struct request *rq, struct base_err *err)
{
    X509_CRL *crl = is->crl = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -(long)BACKDATE_S);
    ASN1_TIME *next = X509_gmtime_adj(NULL, rq->days * DAY_S);
    bool ok = crl != NULL && now != NULL && next != NULL &&
              X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(is->cert[CA])) == 1 &&
              X509_CRL_set1_lastUpdate(crl, now) == 1 && X509_CRL_set1_nextUpdate(crl, next) == 1;
    for (int i = SERVER; ok && i < N_CERT; i++) {
        if (rq->revoked[i])
            ok = crl_add(crl, is->cert[i], now) == 0;
    }
    ok = ok && X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, is->key[CA], EVP_sha256()) > 0;
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
    return ok ? 0 : crypto_fail(err, "the revocation list");
}

static void issued_fini(struct issued *is)
{
    for (int i = 0; i < N_CERT; i++) {
        EVP_PKEY_free(is->key[i]);
        X509_free(is->cert[i]);
    }
    X509_CRL_free(is->crl);
}

/* DIR/NAME suffix, e.g. "certs/server-key.pem". */
static int path_of(char out[512], const struct request *rq, const char *name, const char *suffix,
                   struct base_err *err)
{
    int n = snprintf(out, 512, "%s/%s%s", rq->dir, name, suffix);
    if (n < 0 || n >= 512)
        return base_err_set(err, BASE_ELIMIT, rq->dir, "the path is longer than 511 bytes");
    return 0;
}

/* Each file appears whole or not at all, under its own rights from the first moment. */
static int write_file(const char *path, mode_t mode, const char *data, size_t len,
                      struct base_err *err)
{
    char tmp[520];
    snprintf(tmp, sizeof tmp, "%s.new", path);
    unlink(tmp);
    int r = 0;
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f == NULL) {
        if (fd >= 0)
            close(fd);
        return base_err_set(err, BASE_EIO, tmp, "%s", strerror(errno));
    }
    bool ok = fwrite(data, 1, len, f) == len && fflush(f) == 0 && fsync(fd) == 0;
    ok = fclose(f) == 0 && ok;
    if (!ok || rename(tmp, path) != 0)
        r = base_err_set(err, BASE_EIO, path, "%s", strerror(errno));
    unlink(tmp);
    return r;
}

static int write_bio(const struct request *rq, const char *name, const char *suffix, mode_t mode,
                     BIO *b, struct base_err *err)
{
    char path[512];
    char *data = NULL;
    long len = BIO_get_mem_data(b, &data);
    if (len <= 0)
        return crypto_fail(err, "PEM");
    int r = path_of(path, rq, name, suffix, err);
    return r != 0 ? r : write_file(path, mode, data, (size_t)len, err);
}

static int write_all(const struct issued *is, const struct request *rq, struct base_err *err)
{
    BIO *b = BIO_new(BIO_s_mem());
    int r = b == NULL ? crypto_fail(err, "a buffer") : 0;
    for (int i = 0; r == 0 && i < N_CERT; i++) {
        PEM_write_bio_PKCS8PrivateKey(b, is->key[i], NULL, NULL, 0, NULL, NULL);
        r = write_bio(rq, profile[i].name, "-key.pem", 0600, b, err);
        (void)BIO_reset(b);
        if (r == 0) {
            PEM_write_bio_X509(b, is->cert[i]);
            r = write_bio(rq, profile[i].name, ".pem", 0644, b, err);
        }
        (void)BIO_reset(b);
    }
    if (r == 0) {
        PEM_write_bio_X509_CRL(b, is->crl);
        r = write_bio(rq, "crl", ".pem", 0644, b, err);
    }
    BIO_free(b);
    return r;
}

/* All or nothing: a CA replaced under certificates that stay helps nobody. */
static int prepare_dir(const struct request *rq, struct base_err *err)
{
    if (mkdir(rq->dir, 0700) != 0 && errno != EEXIST)
        return base_err_set(err, BASE_EIO, rq->dir, "%s", strerror(errno));
    for (int i = 0; !rq->force && i < N_CERT; i++) {
        for (int key = 0; key < 2; key++) {
            char path[512];
            int r = path_of(path, rq, profile[i].name, key ? "-key.pem" : ".pem", err);
            if (r != 0)
                return r;
            if (access(path, F_OK) == 0)
                return base_err_set(err, BASE_EIO, path, "is there already (--force replaces it)");
        }
    }
    return 0;
}

/* "sha256//BASE64" of the certificate's SubjectPublicKeyInfo, as curl writes pins. */
static int pin_of(X509 *x, char out[64], struct base_err *err)
{
    uint8_t *der = NULL, h[BASE_SHA256_BYTES];
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    int r = len <= 0 ? BASE_EINTERNAL : base_sha256(der, (size_t)len, h);
    OPENSSL_free(der);
    if (r != 0)
        return crypto_fail(err, "the pin");
    memcpy(out, "sha256//", 8);
    EVP_EncodeBlock((uint8_t *)out + 8, h, sizeof h);
    return 0;
}

static int report(const struct issued *is, const struct request *rq, struct base_err *err)
{
    json_t *all = json_object();
    for (int i = 0; i < N_CERT; i++) {
        char pin[64], cert[512], key[512];
        if (pin_of(is->cert[i], pin, err) != 0 ||
            path_of(cert, rq, profile[i].name, ".pem", err) != 0 ||
            path_of(key, rq, profile[i].name, "-key.pem", err) != 0) {
            json_decref(all);
            return err->code;
        }
        json_object_set_new(all, profile[i].name,
                            json_pack("{s:s, s:s, s:s}", "cert", cert, "key", key, "pin", pin));
        if (!rq->json)
            printf("%-7s %s  %s\n        pin %s\n", profile[i].name, cert, key, pin);
    }
    char crl[512];
    int r = path_of(crl, rq, "crl", ".pem", err);
    json_object_set_new(all, "crl", json_string(crl));
    if (r == 0 && !rq->json)
        printf("crl     %s\n", crl);
    if (r == 0 && rq->json && (json_dumpf(all, stdout, JSON_INDENT(2)) != 0 || puts("") < 0))
        r = base_err_set(err, BASE_EIO, "stdout", "could not be written");
    json_decref(all);
    return r;
}

static bool mark(bool flags[N_CERT], const char *name)
{
    for (int i = SERVER; i < N_CERT; i++) {
        if (strcmp(profile[i].name, name) == 0)
            return flags[i] = true;
    }
    return false;
}

/* The name goes into an extension's text form, where ',' and ':' mean something. */
static bool add_name(struct request *rq, const char *name)
{
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*";
    size_t len = strlen(name);
    if (rq->n_name == MAX_NAME || len == 0 || len > 253)
        return false;
    if (!is_address(name) && strspn(name, ok) != len)
        return false;
    rq->name[rq->n_name++] = name;
    return true;
}

static int parse(struct request *rq, int argc, char **argv)
{
    *rq = (struct request){.days = 365, .json = ctl_take_json(&argc, argv)};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        bool ok = true;
        if (strcmp(a, "--help") == 0) {
            usage(stdout);
            return -1;
        } else if (strcmp(a, "--force") == 0) {
            rq->force = true;
            continue;
        } else if (a[0] != '-' && rq->dir == NULL && a[0] != '\0') {
            rq->dir = a;
            continue;
        } else if (v == NULL) {
            ok = false;
        } else if (strcmp(a, "--days") == 0) {
            char *end;
            rq->days = strtol(v, &end, 10);
            ok = *v != '\0' && *end == '\0' && rq->days >= 1 && rq->days <= MAX_DAYS;
        } else if (strcmp(a, "--name") == 0) {
            ok = add_name(rq, v);
        } else if (strcmp(a, "--expired") == 0) {
            ok = mark(rq->expired, v);
        } else if (strcmp(a, "--revoke") == 0) {
            ok = mark(rq->revoked, v);
        } else {
            ok = false;
        }
        if (!ok) {
            fprintf(stderr, "waypostctl certs: '%s%s%s' is not understood\n", a,
                    v != NULL ? " " : "", v != NULL ? v : "");
            return 2;
        }
        i++;
    }
    if (rq->dir == NULL) {
        usage(stderr);
        return 2;
    }
    return 0;
}

int ctl_certs(int argc, char **argv)
{
    struct request rq;
    struct issued is = {0};
    struct base_err err = {0};
    int r = parse(&rq, argc, argv);
    if (r != 0)
        return r < 0 ? 0 : r;
    r = prepare_dir(&rq, &err);
    for (int i = 0; r == 0 && i < N_CERT; i++)
        r = issue(&is, i, &rq, &err);
    if (r == 0)
        r = issue_crl(&is, &rq, &err);
    if (r == 0)
        r = write_all(&is, &rq, &err);
    if (r == 0)
        r = report(&is, &rq, &err);
    issued_fini(&is);
    if (r != 0) {
        char line[sizeof err.place + sizeof err.msg + 4];
        fprintf(stderr, "waypostctl certs: %s\n", base_err_line(&err, line, sizeof line));
    }
    return r == 0 ? 0 : 3;
}
