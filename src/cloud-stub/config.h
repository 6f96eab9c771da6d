/* The stub's settings: filled from the option table at start-up, then const. */
#ifndef STUB_CONFIG_H
#define STUB_CONFIG_H

#include <stdint.h>

#include "base/cli.h"

struct stub_config {
    char *addr, *port_file;
    int64_t port;
    char *tls_cert, *tls_key, *tls_client_ca, *tls_crl;
    char *model_path, *model_name, *chat_format;
    char *pack_cache;
    int exact;
    int64_t n_thread, n_session, n_ctx, chunk_tok;
    int kv; /* index into f16|f32|q8_0 */
    int64_t max_conn, max_stream, max_peer_stream, max_body_bytes, max_out_bytes;
    int64_t max_header_fields, max_header_bytes;
    int64_t header_ms, idle_ms, progress_ms, body_ms, request_ms, session_ms, session_idle_ms;
    int64_t n_key, key_ms;
    int log_level;
};

extern const struct base_cli stub_cli;

#endif
