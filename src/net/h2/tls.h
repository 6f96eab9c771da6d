/* The TLS profile of the server: 1.3 only, a client certificate always, ALPN h2, no tickets, no
 * early data. Any thread; no state. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <openssl/ssl.h>

#include "base/err.h"

struct net_tls_opt {
    const char *cert_file;      /* PEM, the server's chain */
    const char *key_file;       /* PEM, unencrypted; readable by its owner only, or it is refused */
    const char *client_ca_file; /* PEM, who signs the clients */
    const char *crl_file;       /* PEM, one for each CA of the chain; NULL: no revocation check */
};

/* Errors: BASE_EPERM (key file mode), BASE_EIO (a file cannot be read), BASE_EFORMAT (it is not
 * what it should be), BASE_EMISMATCH (key and certificate), BASE_EINTERNAL (OpenSSL refuses the
 * profile). The caller frees *out with SSL_CTX_free. */
int net_tls_server_ctx(SSL_CTX **out, const struct net_tls_opt *o,
                       struct base_err *err) BASE_MUST_CHECK;

/* After the handshake: 0 when it is TLS 1.3, speaks h2 and the client's certificate was verified;
 * BASE_EPERM otherwise. */
int net_tls_check_peer(const SSL *ssl) BASE_MUST_CHECK;

/* The common name of the client's certificate, for logs: printable ASCII, the rest as '?'; "" when
 * it has none. */
void net_tls_peer_name(const SSL *ssl, char *out, size_t size_bytes);

#endif
