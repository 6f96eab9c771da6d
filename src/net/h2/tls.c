#include "net/h2/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

static const unsigned char alpn_h2[] = {2, 'h', '2'};

/* OpenSSL's reason, and its error queue left empty. */
static int ssl_error(struct base_err *err, int code, const char *place, const char *what)
{
    unsigned long e = ERR_get_error();
    const char *why = ERR_reason_error_string(e);

    ERR_clear_error();
    return base_err_set(err, code, place, "%s: %s", what, why != NULL ? why : "unknown reason");
}

static int need_file(const char *path, const char *what, struct base_err *err)
{
    if (path == NULL || *path == '\0')
        return base_err_set(err, BASE_EINVAL, "", "no %s file is configured", what);
    if (access(path, R_OK) != 0)
        return base_err_set(err, BASE_EIO, path, "cannot read the %s: %s", what, strerror(errno));
    return 0;
}

/* Without it OpenSSL asks the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    (void)arg;
    return -1;
}

/* Checked on the open file, so that it cannot be exchanged in between. */
static int load_key(SSL_CTX *ctx, const char *path, struct base_err *err)
{
    EVP_PKEY *key = NULL;
    FILE *f = NULL;
    struct stat st;
    int rc = need_file(path, "private key", err), fd;

    if (rc != 0)
        return rc;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = base_err_set(err, BASE_EIO, path, "cannot open the private key: %s", strerror(errno));
        goto out;
    }
    if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
        rc = base_err_set(err, BASE_EPERM, path,
                          "the private key must be a file that only its owner can read: mode %04o, "
                          "want 0600 or stricter",
                          (unsigned)(st.st_mode & 07777));
        goto out;
    }
    f = fdopen(fd, "r");
    if (f == NULL) {
        rc = base_err_set(err, BASE_ENOMEM, path, "out of memory");
        goto out;
    }
    fd = -1;
    key = PEM_read_PrivateKey(f, NULL, no_passphrase, NULL);
    if (key == NULL)
        rc = ssl_error(err, BASE_EFORMAT, path, "not an unencrypted PEM private key");
    else if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
        rc = ssl_error(err, BASE_EMISMATCH, path, "the key does not fit the certificate");
out:
    if (fd >= 0)
        close(fd);
    if (f != NULL)
        fclose(f);
    EVP_PKEY_free(key);
    return rc;
}

static int load_clients(SSL_CTX *ctx, const struct net_tls_opt *o, struct base_err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    STACK_OF(X509_NAME) * names;
    X509_LOOKUP *lookup;
    int rc = need_file(o->client_ca_file, "client CA", err);

    if (rc != 0)
        return rc;
    if (SSL_CTX_load_verify_file(ctx, o->client_ca_file) != 1)
        return ssl_error(err, BASE_EFORMAT, o->client_ca_file, "no PEM certificates");
    names = SSL_load_client_CA_file(o->client_ca_file);
    if (names == NULL)
        return ssl_error(err, BASE_EFORMAT, o->client_ca_file, "no CA names");
    SSL_CTX_set_client_CA_list(ctx, names); /* takes names over */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (o->crl_file == NULL || *o->crl_file == '\0')
        return 0;
    rc = need_file(o->crl_file, "revocation list", err);
    if (rc != 0)
        return rc;
    lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, o->crl_file, X509_FILETYPE_PEM) < 1)
        return ssl_error(err, BASE_EFORMAT, o->crl_file, "no PEM revocation list");
    /* All of the chain: a list that is missing or out of date refuses the client. */
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return 0;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned int in_len, void *arg)
{
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto((unsigned char **)out, out_len, alpn_h2, sizeof(alpn_h2), in,
                              in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

static int set_profile(SSL_CTX *ctx, struct base_err *err)
{
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* No resumption: every connection shows its certificate, and a revoked one is out at once. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1 || SSL_CTX_set_max_early_data(ctx, 0) != 1)
        return ssl_error(err, BASE_EINTERNAL, "TLS", "the profile was refused");
    return 0;
}

int net_tls_server_ctx(SSL_CTX **out, const struct net_tls_opt *o, struct base_err *err)
{
    SSL_CTX *ctx;
    int rc;

    *out = NULL;
    ERR_clear_error();
    ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL)
        return ssl_error(err, BASE_ENOMEM, "TLS", "no context");
    rc = set_profile(ctx, err);
    if (rc == 0)
        rc = need_file(o->cert_file, "certificate", err);
    if (rc == 0 && SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1)
        rc = ssl_error(err, BASE_EFORMAT, o->cert_file, "no PEM certificate");
    if (rc == 0)
        rc = load_key(ctx, o->key_file, err);
    if (rc == 0)
        rc = load_clients(ctx, o, err);
    if (rc != 0) {
        SSL_CTX_free(ctx);
        return rc;
    }
    *out = ctx;
    return 0;
}

int net_tls_check_peer(const SSL *ssl)
{
    const unsigned char *proto = NULL;
    unsigned int len = 0;

    /* A client that offers no ALPN at all never reaches select_alpn. */
    SSL_get0_alpn_selected(ssl, &proto, &len);
    if (len != 2 || memcmp(proto, alpn_h2 + 1, 2) != 0)
        return BASE_EPERM;
    if (SSL_version(ssl) != TLS1_3_VERSION || SSL_get0_peer_certificate(ssl) == NULL ||
        SSL_get_verify_result(ssl) != X509_V_OK)
        return BASE_EPERM;
    return 0;
}

void net_tls_peer_name(const SSL *ssl, char *out, size_t size_bytes)
{
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    X509_NAME *subject = cert == NULL ? NULL : X509_get_subject_name(cert);
    const ASN1_STRING *cn;
    const unsigned char *p;
    size_t n = 0;
    int i = subject == NULL ? -1 : X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    out[0] = '\0';
    if (i < 0)
        return;
    cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));
    p = ASN1_STRING_get0_data(cn);
    for (int k = 0; k < ASN1_STRING_length(cn) && n + 1 < size_bytes; k++)
        out[n++] = p[k] >= 0x20 && p[k] < 0x7f && p[k] != '"' ? (char)p[k] : '?';
    out[n] = '\0';
}
