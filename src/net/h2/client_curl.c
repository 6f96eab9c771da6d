#include "net/h2/client_impl.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "base/clock.h"
#include "base/hash.h"

/* Where an SSL_CTX keeps its link. */
static int ctx_index = -1;

int h2c_global_init(struct base_err *err)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return base_err_set(err, BASE_ENOMEM, "libcurl", "cannot be initialised");
    const curl_version_info_data *v = curl_version_info(CURLVERSION_NOW);
    if (ctx_index < 0)
        ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    if (ctx_index >= 0 && (v->features & CURL_VERSION_HTTP2) != 0 && v->ssl_version != NULL &&
        strstr(v->ssl_version, "OpenSSL") != NULL)
        return 0;
    curl_global_cleanup();
    return base_err_set(err, BASE_EUNSUPPORTED, "libcurl", "%s was built without HTTP/2 or OpenSSL",
                        v->version);
}

/* ---- descriptors and time ---- */

static void watch_fire(int fd, int what, void *arg)
{
    struct h2c_link *l = ((struct h2c_watch *)arg)->link;
    int bits = ((what & NET_READ) != 0 ? CURL_CSELECT_IN : 0) |
               ((what & NET_WRITE) != 0 ? CURL_CSELECT_OUT : 0);
    int running;
    l->working = true;
    curl_multi_socket_action(l->multi, fd, bits, &running);
    h2c_work(l);
}

void h2c_timer_fire(void *link)
{
    struct h2c_link *l = link;
    int running;
    if (l->multi == NULL)
        return;
    l->working = true;
    curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    h2c_work(l);
}

static int on_timer(CURLM *m, long timeout_ms, void *arg)
{
    struct h2c_link *l = arg;
    (void)m;
    if (timeout_ms < 0)
        net_timer_clear(l->curl_timer);
    else
        net_timer_set(l->curl_timer, (int64_t)timeout_ms * 1000);
    return 0;
}

static struct h2c_watch *watch_new(struct h2c_link *l, int fd)
{
    struct h2c_watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->link = l;
    w->w = net_watch_new(l->client->loop, fd, watch_fire, w);
    if (w->w == NULL) {
        free(w);
        return NULL;
    }
    w->fd = fd;
    w->next = l->watches;
    l->watches = w;
    return w;
}

static void watch_free(struct h2c_watch *w)
{
    struct h2c_watch **at = &w->link->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    net_watch_free(w->w);
    free(w);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct h2c_link *l = arg;
    struct h2c_watch *w = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL)
            watch_free(w);
        return 0;
    }
    if (w == NULL) {
        w = watch_new(l, fd);
        if (w == NULL)
            return -1;
        curl_multi_assign(l->multi, fd, w);
    }
    net_watch_want(w->w, ((what & CURL_POLL_IN) != 0 ? NET_READ : 0) |
                             ((what & CURL_POLL_OUT) != 0 ? NET_WRITE : 0));
    return 0;
}

static int on_socket_made(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    const struct net_h2c_stream *s = arg;
    unsigned int ms = (unsigned int)s->link->connect_deadline_ms;
    int on = 1, idle_s = ms < 2000 ? 1 : (int)(ms / 2000), each_s = 1;
    (void)purpose;
    /* Without these a dead link is noticed after minutes, and never by who only waits for an answer:
     * that takes a probe. Failing to set them only costs that time. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &each_s, sizeof each_s);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    return CURL_SOCKOPT_OK;
}

CURLM *h2c_multi_new(struct h2c_link *l)
{
    CURLM *m = curl_multi_init();
    if (m == NULL)
        return NULL;
    if (curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
        curl_multi_setopt(m, CURLMOPT_SOCKETDATA, l) != CURLM_OK ||
        curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK ||
        curl_multi_setopt(m, CURLMOPT_TIMERDATA, l) != CURLM_OK ||
        curl_multi_setopt(m, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) != CURLM_OK ||
        curl_multi_setopt(m, CURLMOPT_MAX_HOST_CONNECTIONS, 1L) != CURLM_OK) {
        curl_multi_cleanup(m);
        return NULL;
    }
    return m;
}

/* ---- TLS ---- */

/* In TLS 1.3 the server judges our certificate after the handshake: its alert comes with the first
 * read, and libcurl says only "receive error". */
static void on_tls_info(const SSL *ssl, int where, int ret)
{
    struct h2c_link *l = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ctx_index);
    if (ret >> 8 != SSL3_AL_FATAL)
        return;
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        l->tls_alert = ret & 0xff;
    else if ((where & SSL_CB_WRITE_ALERT) == SSL_CB_WRITE_ALERT)
        l->tls_we_alert = true;
}

static CURLcode on_tls_context(CURL *easy, void *ssl_ctx, void *arg)
{
    struct net_h2c_stream *s = arg;
    (void)easy;
    s->link->tls_alert = -1;
    s->link->tls_we_alert = false;
    /* No keys in files, whatever SSLKEYLOGFILE says. */
    SSL_CTX_set_keylog_callback(ssl_ctx, NULL);
    SSL_CTX_set_info_callback(ssl_ctx, on_tls_info);
    if (SSL_CTX_set_ex_data(ssl_ctx, ctx_index, s->link) != 1 ||
        SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_alpn_protos(ssl_ctx, (const uint8_t *)"\2h2", 3) != 0)
        return CURLE_SSL_CONNECT_ERROR;
    return CURLE_OK;
}

/* The last look before anything of a request is sent, for every request, also on a connection that
 * others used before: libcurl falls back to HTTP/1.1 silently. */
static int check_connection(struct net_h2c_stream *s)
{
    struct curl_tlssessioninfo *info = NULL;
    const unsigned char *alpn = NULL;
    unsigned int len = 0;
    if (curl_easy_getinfo(s->easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == NULL ||
        info->backend != CURLSSLBACKEND_OPENSSL || info->internals == NULL)
        return base_err_set(&s->err, BASE_EPERM, s->link->url, "the connection is not TLS");
    const SSL *ssl = info->internals;
    if (SSL_version(ssl) != TLS1_3_VERSION || SSL_get_verify_result(ssl) != X509_V_OK)
        return base_err_set(&s->err, BASE_EPERM, s->link->url,
                            "the connection is not verified TLS 1.3");
    SSL_get0_alpn_selected(ssl, &alpn, &len);
    if (len != 2 || memcmp(alpn, "h2", 2) != 0)
        return base_err_set(&s->err, BASE_EPROTO, s->link->url, "the server does not speak HTTP/2");
    return 0;
}

static int on_prereq(void *arg, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    struct net_h2c_stream *s = arg;
    (void)peer_ip, (void)local_ip, (void)peer_port, (void)local_port;
    if (s->canceled || s->err.code != 0 || check_connection(s) != 0)
        return CURL_PREREQFUNC_ABORT;
    /* libcurl tries again on a new connection when a stream was refused, and sends the rest of a body
     * whose beginning it had read and not yet sent. */
    if (s->bytes_out > 0) {
        base_err_set(&s->err, BASE_ECLOSED, s->link->url, "the server refused the stream");
        return CURL_PREREQFUNC_ABORT;
    }
    if (!s->ready) {
        s->ready = true;
        net_timer_set(s->deadline, s->deadline_at_us - base_clock_mono_us());
        s->cb->on_ready(s, s->arg);
    }
    return s->preconnect || s->canceled ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* ---- body and headers ---- */

static size_t on_read(char *buf, size_t size, size_t n, void *arg)
{
    struct net_h2c_stream *s = arg;
    size_t room = size * n, have = s->out.len - s->out_pos;
    if (s->canceled || s->err.code != 0 || !s->ready)
        return CURL_READFUNC_ABORT;
    if (have == 0) {
        s->sending_paused = !s->ended;
        s->end_sent = s->ended;
        return s->ended ? 0 : CURL_READFUNC_PAUSE;
    }
    if (have > room)
        have = room;
    memcpy(buf, s->out.data + s->out_pos, have);
    s->out_pos += have;
    s->bytes_out += have;
    /* Moving the rest down only when it is the smaller half keeps the queue linear. */
    if (s->out_pos * 2 >= s->out.len) {
        base_buf_consume(&s->out, s->out_pos);
        s->out_pos = 0;
    }
    return have;
}

static size_t on_write(char *p, size_t size, size_t n, void *arg)
{
    struct net_h2c_stream *s = arg;
    if (s->canceled || s->err.code != 0)
        return 0; /* an error to libcurl: it stops the transfer */
    if (s->held) {
        s->receiving_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    s->bytes_in += size * n;
    s->cb->on_data(s, (const uint8_t *)p, size * n, s->arg);
    return size * n;
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct net_h2c_stream *s = arg;
    long status = 0, version = 0;
    bool last = size * n <= 2; /* the empty line after the fields */
    (void)p;
    if (s->canceled || s->err.code != 0)
        return 0;
    if (!last || s->have_status)
        return size * n;
    curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(s->easy, CURLINFO_HTTP_VERSION, &version);
    if (version != CURL_HTTP_VERSION_2_0) {
        base_err_set(&s->err, BASE_EPROTO, s->link->url, "the answer is not HTTP/2");
        return 0;
    }
    if (status >= 200) {
        s->have_status = true;
        s->cb->on_status(s, (int)status, s->arg);
    }
    return size * n;
}

/* ---- a transfer's options ---- */

static bool add_header(struct net_h2c_stream *s, const char *name, const char *value)
{
    char line[256];
    int n = snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *more =
        n > 0 && (size_t)n < sizeof line ? curl_slist_append(s->headers, line) : NULL;
    if (more != NULL)
        s->headers = more;
    return more != NULL;
}

/* Fixed headers only: a header's length shows on the wire, so none may depend on content. */
static bool set_headers(struct net_h2c_stream *s, const struct net_h2c_req *r)
{
    char hex[33];
    bool ok = add_header(s, "content-type", r->content_type) && add_header(s, "accept", r->accept);
    if (r->idempotency_key != NULL)
        ok = ok && add_header(s, "idempotency-key", base_hex(r->idempotency_key, 16, hex));
    return ok && curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, s->headers) == CURLE_OK;
}

#define SET(option, value) (curl_easy_setopt(s->easy, option, value) == CURLE_OK)

static bool set_tls(struct net_h2c_stream *s)
{
    const struct h2c_link *l = s->link;
    return SET(CURLOPT_SSLVERSION, (long)(CURL_SSLVERSION_TLSv1_3 | CURL_SSLVERSION_MAX_TLSv1_3)) &&
           SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
           /* Debian's libcurl also trusts /etc/ssl/certs unless told otherwise. */
           SET(CURLOPT_CAPATH, NULL) && SET(CURLOPT_CAINFO, l->ca) &&
           SET(CURLOPT_SSLCERT, l->cert) && SET(CURLOPT_SSLKEY, l->key) &&
           SET(CURLOPT_CRLFILE, l->crl) && SET(CURLOPT_PINNEDPUBLICKEY, l->pin) &&
           SET(CURLOPT_SSL_SESSIONID_CACHE, 0L) && SET(CURLOPT_SSL_CTX_FUNCTION, on_tls_context) &&
           SET(CURLOPT_SSL_CTX_DATA, s);
}

static bool set_connection(struct net_h2c_stream *s)
{
    return SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) && SET(CURLOPT_PIPEWAIT, 1L) &&
           SET(CURLOPT_PROTOCOLS_STR, "https") && SET(CURLOPT_PROXY, "") &&
           SET(CURLOPT_NOPROXY, "*") && SET(CURLOPT_FOLLOWLOCATION, 0L) &&
           SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) && SET(CURLOPT_NOSIGNAL, 1L) &&
           SET(CURLOPT_QUICK_EXIT, 1L) && /* a hanging name lookup must not hang the loop */
           SET(CURLOPT_TCP_NODELAY, 1L) && SET(CURLOPT_SOCKOPTFUNCTION, on_socket_made) &&
           SET(CURLOPT_SOCKOPTDATA, s) &&
           SET(CURLOPT_CONNECTTIMEOUT_MS, (long)s->link->connect_deadline_ms) &&
           SET(CURLOPT_PREREQFUNCTION, on_prereq) && SET(CURLOPT_PREREQDATA, s);
}

static bool set_exchange(struct net_h2c_stream *s)
{
    return SET(CURLOPT_POST, 1L) && SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)-1) &&
           SET(CURLOPT_USERAGENT, "waypost/" PACKAGE_VERSION) &&
           SET(CURLOPT_IGNORE_CONTENT_LENGTH, 1L) && SET(CURLOPT_READFUNCTION, on_read) &&
           SET(CURLOPT_READDATA, s) && SET(CURLOPT_WRITEFUNCTION, on_write) &&
           SET(CURLOPT_WRITEDATA, s) && SET(CURLOPT_HEADERFUNCTION, on_header) &&
           SET(CURLOPT_HEADERDATA, s) && SET(CURLOPT_ERRORBUFFER, s->curl_error) &&
           SET(CURLOPT_PRIVATE, s);
}

int h2c_easy_new(struct net_h2c_stream *s, const struct net_h2c_req *r, struct base_err *err)
{
    char url[1024];
    int n = snprintf(url, sizeof url, "%s%s", s->link->url, r != NULL ? r->path : "/");
    if (n < 0 || (size_t)n >= sizeof url)
        return base_err_set(err, BASE_EINVAL, s->link->url, "the URL is longer than 1023 bytes");
    s->easy = curl_easy_init();
    if (s->easy == NULL || !SET(CURLOPT_URL, url) || !set_tls(s) || !set_connection(s) ||
        !set_exchange(s) || (r != NULL && !set_headers(s, r)))
        return base_err_set(err, BASE_ENOMEM, s->link->url, "libcurl refuses a transfer's options");
    return 0;
}

/* ---- what went wrong ---- */

static int code_of(CURLcode code)
{
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return BASE_ENOMEM;
    case CURLE_OPERATION_TIMEDOUT:
        return BASE_ETIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return BASE_EPERM;
    case CURLE_HTTP2:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return BASE_EPROTO;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_FAIL_REWIND:
        return BASE_ECLOSED;
    case CURLE_HTTP2_STREAM:
        return BASE_ECANCELED;
    default:
        return BASE_EINTERNAL;
    }
}

void h2c_error(struct net_h2c_stream *s, CURLcode code, struct base_err *err)
{
    int alert = s->link->tls_alert;
    *err = (struct base_err){0};
    if (s->err.code != 0) {
        *err = s->err;
    } else if (code == CURLE_OK && (s->have_status || s->preconnect)) {
        err->code = 0;
    } else if (code == CURLE_OK) {
        base_err_set(err, BASE_EPROTO, s->link->url, "the answer has no status");
    } else if (s->preconnect && s->ready && code == CURLE_ABORTED_BY_CALLBACK) {
        err->code = 0;
    } else if (alert >= 0 && code != CURLE_OPERATION_TIMEDOUT) {
        base_err_set(err, alert == TLS1_AD_NO_APPLICATION_PROTOCOL ? BASE_EPROTO : BASE_EPERM,
                     s->link->url, "the server refused the TLS connection: %s",
                     SSL_alert_desc_string_long(alert));
    } else {
        /* libcurl's own text tells what is wrong with a certificate; elsewhere it may quote the
         * peer. */
        int base = code_of(code);
        long os_error = 0;
        curl_easy_getinfo(s->easy, CURLINFO_OS_ERRNO, &os_error);
        if (code == CURLE_HTTP2 && os_error != 0)
            base = BASE_ECLOSED; /* it is the socket that failed, not the framing */
        bool own_text = base == BASE_EPERM && s->curl_error[0] != '\0';
        base_err_set(err, base, s->link->url, "%s",
                     own_text ? s->curl_error : curl_easy_strerror(code));
    }
}
