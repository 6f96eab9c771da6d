#include "cloud-stub/config.h"

#include <stddef.h>
#include <unistd.h>

#define AT(m) offsetof(struct stub_config, m)
#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))

/* clang-format off: one option, two lines. */
static const struct base_opt options[] = {
    {"listen.addr", BASE_OPT_STR, AT(addr), 0, 0, "127.0.0.1", NULL, NULL, "Address to listen on."},
    {"listen.port", BASE_OPT_INT, AT(port), 0, 65535, "8443", NULL, NULL,
     "TCP port; 0: the system picks one."},
    {"listen.port_file", BASE_OPT_STR, AT(port_file), 0, 0, NULL, NULL, NULL,
     "File that the port is written to once the stub listens."},
    {"tls.cert", BASE_OPT_STR, AT(tls_cert), 0, 0, NULL, NULL, NULL,
     "The server's certificate, PEM."},
    {"tls.key", BASE_OPT_STR, AT(tls_key), 0, 0, NULL, NULL, NULL,
     "Its key, PEM, readable by its owner only."},
    {"tls.client_ca", BASE_OPT_STR, AT(tls_client_ca), 0, 0, NULL, NULL, NULL,
     "Who signs the clients' certificates, PEM. A client without one is refused."},
    {"tls.crl", BASE_OPT_STR, AT(tls_crl), 0, 0, NULL, NULL, NULL,
     "Revocation list, PEM; empty: none is checked."},
    {"model.path", BASE_OPT_STR, AT(model_path), 0, 0, NULL, NULL, NULL, "The GGUF file."},
    {"model.name", BASE_OPT_STR, AT(model_name), 0, 0, "waypost", NULL, NULL,
     "Its name in the API. A request for another one is refused."},
    {"model.chat_format", BASE_OPT_STR, AT(chat_format), 0, 0, NULL, NULL, NULL,
     "Forces a chat format; empty: the one that the file's template calls for."},
    {"engine.exact", BASE_OPT_BOOL, AT(exact), 0, 0, "no", NULL, NULL,
     "Keep activations in f32: slow, for comparisons. Both tiers must have the same."},
    {"engine.pack_cache", BASE_OPT_STR, AT(pack_cache), 0, 0, NULL, NULL, NULL,
     "Folder where packed weights are kept for the next start; empty: packed anew at each start."},
    {"engine.threads", BASE_OPT_INT, AT(n_thread), 0, 256, "0", "threads", NULL,
     "Worker threads; 0: one a core."},
    {"engine.sessions", BASE_OPT_INT, AT(n_session), 1, 1024, "8", "sessions", NULL,
     "Answers and split sessions at once; more are told to come back."},
    {"engine.context", BASE_OPT_INT, AT(n_ctx), 16, 131072, "2048", "tokens", NULL,
     "Positions of one session: prompt and answer, or rows."},
    {"engine.chunk", BASE_OPT_INT, AT(chunk_tok), 1, 2048, "64", "rows", NULL,
     "Rows of one session's prompt in one step; other sessions wait no longer than that."},
    {"engine.kv", BASE_OPT_ENUM, AT(kv), 0, 0, "f16", NULL, "f16|f32|q8_0",
     "Precision of the kept keys and values. The same on both tiers gives the same tokens."},
    {"limits.connections", BASE_OPT_INT, AT(max_conn), 1, 65536, "64", "connections", NULL,
     "Open connections."},
    {"limits.streams", BASE_OPT_INT, AT(max_stream), 1, 1000, "64", "streams", NULL,
     "HTTP/2 streams of one connection."},
    {"limits.peer_streams", BASE_OPT_INT, AT(max_peer_stream), 1, 1000000, "64", "streams", NULL,
     "Requests at once under one certificate name, over all its connections; more get 429."},
    {"limits.body_bytes", BASE_OPT_INT, AT(max_body_bytes), 1024, 67108864, "1048576", "bytes",
     NULL, "A chat request's body; larger ones get 413."},
    {"limits.out_bytes", BASE_OPT_INT, AT(max_out_bytes), 65536, 67108864, "1048576", "bytes", NULL,
     "Queued for a client that reads slowly; past it the stream is dropped."},
    {"limits.header_fields", BASE_OPT_INT, AT(max_header_fields), 8, 1000, "64", "fields", NULL,
     "Header fields of a request."},
    {"limits.header_bytes", BASE_OPT_INT, AT(max_header_bytes), 1024, 1048576, "16384", "bytes",
     NULL, "Their size, uncompressed."},
    {"limits.header_ms", BASE_OPT_INT, AT(header_ms), 10, 3600000, "10000", "ms", NULL,
     "From the first byte of a request's headers, or of a connection, to their last."},
    {"limits.idle_ms", BASE_OPT_INT, AT(idle_ms), 10, 86400000, "60000", "ms", NULL,
     "A connection without a request is closed after this."},
    {"limits.progress_ms", BASE_OPT_INT, AT(progress_ms), 10, 3600000, "10000", "ms", NULL,
     "A client that takes no byte of a waiting answer for this long is dropped."},
    {"limits.body_ms", BASE_OPT_INT, AT(body_ms), 10, 3600000, "30000", "ms", NULL,
     "From a chat request's headers to the end of its body."},
    {"limits.request_ms", BASE_OPT_INT, AT(request_ms), 10, 86400000, "120000", "ms", NULL,
     "A whole chat request, body and answer."},
    {"limits.session_ms", BASE_OPT_INT, AT(session_ms), 10, 86400000, "600000", "ms", NULL,
     "A whole split session; the client may ask for less."},
    {"limits.session_idle_ms", BASE_OPT_INT, AT(session_idle_ms), 10, 86400000, "30000", "ms", NULL,
     "A split session that owes no answer and sends nothing ends after this."},
    {"limits.keys", BASE_OPT_INT, AT(n_key), 1, 1048576, "4096", "keys", NULL,
     "Idempotency keys that are remembered; past that the oldest is forgotten."},
    {"limits.key_ms", BASE_OPT_INT, AT(key_ms), 0, 86400000, "600000", "ms", NULL,
     "How long a key is remembered."},
    {"log.level", BASE_OPT_ENUM, AT(log_level), 0, 0, "info", NULL, "error|warn|info|debug",
     "What is logged to standard error."},
};
/* clang-format on */

static int need_file(const char *option, const char *path, struct base_err *err)
{
    if (path[0] == '\0')
        return base_err_set(err, BASE_EINVAL, option, "is not set");
    if (access(path, R_OK) != 0)
        return base_err_set(err, BASE_EIO, option, "%s: %m", path);
    return 0;
}

static int check(const void *cfg, struct base_err *err)
{
    const struct stub_config *c = cfg;
    int rc;
    if ((rc = need_file("tls.cert", c->tls_cert, err)) != 0 ||
        (rc = need_file("tls.key", c->tls_key, err)) != 0 ||
        (rc = need_file("tls.client_ca", c->tls_client_ca, err)) != 0 ||
        (rc = need_file("model.path", c->model_path, err)) != 0)
        return rc;
    if (c->tls_crl[0] != '\0' && (rc = need_file("tls.crl", c->tls_crl, err)) != 0)
        return rc;
    if (c->model_name[0] == '\0')
        return base_err_set(err, BASE_EINVAL, "model.name", "is empty");
    return 0;
}

const struct base_cli stub_cli = {
    .program = "waypost-cloud-stub",
    .summary = "the bundled cloud tier: chat completions and split sessions over HTTP/2",
    .opt = options,
    .n_opt = COUNT(options),
    .check = check,
};
