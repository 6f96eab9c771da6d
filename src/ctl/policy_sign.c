/* waypostctl policy keygen, sign, verify: who vouches for a policy. */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/outfile.h"
#include "ctl/policy.h"
#include "store/store.h"

static const char help[] =
    "usage: waypostctl policy keygen KEYFILE [--json]\n"
    "       waypostctl policy sign FILE --key KEYFILE [--serial N] [--json]\n"
    "       waypostctl policy verify FILE --key HEX [--key HEX ...] [--above N] [--json]\n"
    "\n"
    "keygen  makes an Ed25519 key: KEYFILE (PEM, mode 0600) stays with whoever signs; the line\n"
    "        printed goes into the edge's configuration.\n"
    "sign    checks FILE and writes FILE.sig, which vouches for FILE and all that it includes "
    "under\n"
    "        a serial number that only grows: one above that of the FILE.sig that is there, else "
    "1.\n"
    "verify  says whether FILE.sig is one of these keys' for FILE as it is, as the edge would.\n"
    "        --above N: with a serial number above N.\n"
    "\n"
    "Exit status: 0 fine, 1 the answer is no (a broken policy, no good signature), 2 wrong usage,\n"
    "3 a file can't be read or written.\n";

struct args {
    const char *file, *key[STORE_MAX_KEY];
    int n_key;
    bool json, have_n;
    uint64_t n; /* --serial, --above */
};

static int fail(const struct base_err *err)
{
    char line[sizeof err->place + sizeof err->msg + 4];
    fprintf(stderr, "waypostctl: %s\n", base_err_line(err, line, sizeof line));
    return err->code == BASE_EFORMAT || err->code == BASE_EPERM || err->code == BASE_EMISMATCH ? 1
                                                                                               : 3;
}

/* ---- the private key ---- */

/* A key that others could read is nobody's: refused. NULL: *err. */
static EVP_PKEY *key_read(const char *path, struct base_err *err)
{
    struct stat st;
    EVP_PKEY *key = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (f == NULL || fstat(fd, &st) != 0) {
        base_err_set(err, BASE_EIO, path, "cannot open: %s", strerror(errno));
    } else if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
        base_err_set(err, BASE_EPERM, path,
                     "must be a file that only its owner can read (mode %04o)",
                     (unsigned)(st.st_mode & 07777));
    } else {
        key = PEM_read_PrivateKey(f, NULL, NULL,
                                  (char *)""); /* no terminal is asked for a password */
        if (key == NULL || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519) {
            base_err_set(err, BASE_EFORMAT, path, "is no Ed25519 private key in PEM");
            EVP_PKEY_free(key);
            key = NULL;
        }
    }
    if (f != NULL)
        fclose(f);
    else if (fd >= 0)
        close(fd);
    return key;
}

static int public_of(const EVP_PKEY *key, struct store_key *out)
{
    size_t n = sizeof out->pub;
    return EVP_PKEY_get_raw_public_key(key, out->pub, &n) == 1 && n == sizeof out->pub
               ? store_key_name(out)
               : BASE_EINTERNAL;
}

static int key_write(const char *path, const EVP_PKEY *key, struct base_err *err)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *pem = NULL;
    long n = 0;
    if (b != NULL && PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1)
        n = BIO_get_mem_data(b, &pem);
    int rc = n > 0 ? 0 : base_err_set(err, BASE_ENOMEM, path, "out of memory");
    const mode_t mask = umask(0177);
    if (rc == 0)
        rc = base_outfile_put(path, false, pem, (size_t)n, err);
    umask(mask);
    BIO_free(b);
    return rc;
}

static int keygen(const struct args *a)
{
    struct base_err err = {0};
    struct store_key pub;
    char hex[2 * STORE_KEY_BYTES + 1];
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    int rc = key != NULL && public_of(key, &pub) == 0
                 ? 0
                 : base_err_set(&err, BASE_EINTERNAL, a->file, "libcrypto makes no Ed25519 key");
    if (rc == 0)
        rc = key_write(a->file, key, &err);
    EVP_PKEY_free(key);
    if (rc != 0)
        return err.code == BASE_EPERM ? (fail(&err), 3) : fail(&err);
    base_hex(pub.pub, sizeof pub.pub, hex);
    if (a->json)
        return ctl_policy_print_json(
            json_pack("{s:s, s:s, s:s}", "file", a->file, "public_key", hex, "key_id", pub.id));
    printf("# key %s; %s stays with whoever signs\npolicy.key = %s\n", pub.id, a->file, hex);
    return 0;
}

/* ---- sign ---- */

static int body_sign(EVP_PKEY *key, struct base_buf *body)
{
    uint8_t sig[STORE_SIG_BYTES];
    size_t n = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
                    EVP_DigestSign(ctx, sig, &n, body->data, body->len) == 1 && n == sizeof sig;
    EVP_MD_CTX_free(ctx);
    return ok ? store_sig_end(sig, body) : BASE_EINTERNAL;
}

/* Beside FILE, readable as FILE is. */
static int sig_write(const char *file, const struct base_buf *b, struct base_err *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s.sig", file) < 0)
        return base_err_set(err, BASE_ENOMEM, file, "out of memory");
    int rc = base_outfile_put(path, true, b->data, b->len, err);
    free(path);
    return rc;
}

/* The set at file, compiled: nobody vouches for what does not run. */
static int set_get(struct store_set *set, const char *file, struct base_err *err)
{
    struct rt_policy *p = NULL;
    struct rt_diags *diags = calloc(1, sizeof *diags);
    int rc = store_set_read(set, file, 0, err);
    if (rc == 0)
        rc = diags == NULL ? base_err_set(err, BASE_ENOMEM, file, "out of memory")
                           : store_compile(&p, set, diags, err);
    rt_policy_free(p);
    free(diags);
    return rc;
}

static int sign_told(const struct args *a, const struct store_set *set, uint64_t serial,
                     const struct store_key *pub)
{
    char hex[2 * STORE_KEY_BYTES + 1];
    base_hex(pub->pub, sizeof pub->pub, hex);
    if (a->json)
        return ctl_policy_print_json(json_pack("{s:s, s:I, s:s, s:s, s:i}", "file", a->file,
                                               "serial", (json_int_t)serial, "key_id", pub->id,
                                               "public_key", hex, "files", set->n));
    printf("%s: signed as serial %" PRIu64 " with key %s, %d file%s\n", a->file, serial, pub->id,
           set->n, set->n == 1 ? "" : "s");
    return 0;
}

static int sign(const struct args *a)
{
    struct base_err err = {0};
    struct store_set set;
    struct store_key pub;
    struct base_buf body;
    base_buf_init(&body, STORE_MAX_SIG_BYTES);
    EVP_PKEY *key = key_read(a->key[0], &err);
    int rc = set_get(&set, a->file, &err);
    if (key == NULL)
        rc = rc != 0 ? rc : err.code;
    const uint64_t before = set.sig != NULL ? store_sig_serial(set.sig) : 0;
    const uint64_t serial = a->have_n ? a->n : before + 1;
    if (rc == 0 && serial <= before)
        rc = base_err_set(&err, BASE_EMISMATCH, a->file,
                          "is signed as serial %" PRIu64 " already: the next must be above it",
                          before);
    if (rc == 0 && (public_of(key, &pub) != 0 || store_sig_body(&set, serial, pub.id, &body) != 0 ||
                    body_sign(key, &body) != 0))
        rc = base_err_set(&err, BASE_EINTERNAL, a->file, "cannot be signed");
    if (rc == 0)
        rc = sig_write(a->file, &body, &err);
    const int status = rc != 0 ? fail(&err) : sign_told(a, &set, serial, &pub);
    EVP_PKEY_free(key);
    base_buf_fini(&body);
    store_set_fini(&set);
    return status;
}

/* ---- verify ---- */

static int verify(const struct args *a)
{
    struct base_err err = {0};
    struct store_set set = {.n = 0};
    struct store_key key[STORE_MAX_KEY];
    uint64_t serial = 0;
    int rc = 0;
    for (int i = 0; rc == 0 && i < a->n_key; i++)
        rc = store_key_parse(&key[i], a->key[i], "--key", &err);
    if (rc != 0)
        return fail(&err), 2;
    rc = set_get(&set, a->file, &err);
    if (rc == 0)
        rc = store_sig_verify(&set, key, a->n_key, &serial, &err);
    if (rc == 0 && a->have_n && serial <= a->n)
        rc = base_err_set(&err, BASE_EMISMATCH, a->file,
                          "has serial number %" PRIu64 ", not above %" PRIu64, serial, a->n);
    int status = rc != 0 ? fail(&err) : 0;
    if (status == 0 && a->json)
        status = ctl_policy_print_json(json_pack("{s:s, s:b, s:I, s:i}", "file", a->file, "ok", 1,
                                                 "serial", (json_int_t)serial, "files", set.n));
    else if (status == 0)
        printf("%s: fine: serial %" PRIu64 ", %d file%s\n", a->file, serial, set.n,
               set.n == 1 ? "" : "s");
    store_set_fini(&set);
    return status;
}

/* ---- the command line ---- */

static bool number(const char *s, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(s, &end, 10);
    return errno == 0 && *end == '\0' && s[0] >= '0' && s[0] <= '9' && *out > 0 && *out < INT64_MAX;
}

/* false: said on stderr. */
static bool parse(int argc, char **argv, const char *n_name, bool keys, struct args *a)
{
    const struct option opt[] = {{"json", no_argument, NULL, 'j'},
                                 {"key", required_argument, NULL, 'k'},
                                 {n_name, required_argument, NULL, 'n'},
                                 {NULL, 0, NULL, 0}};
    int c;
    optind = 1;
    while ((c = getopt_long(argc, argv, "", opt, NULL)) != -1) {
        if (c == 'j')
            a->json = true;
        else if (c == 'k' && keys && a->n_key < STORE_MAX_KEY)
            a->key[a->n_key++] = optarg;
        else if (c == 'n' && keys && number(optarg, &a->n))
            a->have_n = true;
        else
            return false;
    }
    a->file = argc - optind == 1 ? argv[optind] : "";
    return a->file[0] != '\0';
}

int ctl_policy_keys(int argc, char **argv)
{
    static const struct {
        const char *name, *n_name;
        int (*run)(const struct args *a);
        int min_key, max_key;
    } commands[] = {{"keygen", "-", keygen, 0, 0},
                    {"sign", "serial", sign, 1, 1},
                    {"verify", "above", verify, 1, STORE_MAX_KEY}};
    struct args a = {.file = ""};
    for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (argc == 3 && strcmp(argv[2], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (parse(argc - 1, argv + 1, commands[i].n_name, commands[i].max_key > 0, &a) &&
            a.n_key >= commands[i].min_key && a.n_key <= commands[i].max_key)
            return commands[i].run(&a);
        fputs(help, stderr);
        return 2;
    }
    return -1;
}
