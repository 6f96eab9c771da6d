/* A request: the checks that evhttp leaves out, and the reply. */
#include "net/local/http_int.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <event2/keyvalq_struct.h>

#include "base/log.h"

struct http_error {
    int status;
    const char *reason, *code, *message;
};

static const struct http_error errors[] = {
    {400, "Bad Request", "bad_request", "the request is not valid HTTP/1.1"},
    {403, "Forbidden", "forbidden_origin",
     "only programs on this machine may use this address: Host and Origin must be loopback"},
    {408, "Request Timeout", "request_timeout", "the request did not come whole in time"},
    {413, "Content Too Large", "body_too_large", "the request body is over the limit"},
    {417, "Expectation Failed", "expectation_failed", "only Expect: 100-continue is known"},
    {431, "Request Header Fields Too Large", "header_too_large",
     "the request line and headers are over the limit"},
    {500, "Internal Server Error", "internal", "the server failed"},
    {501, "Not Implemented", "not_implemented",
     "this method or transfer coding is not implemented"},
    {503, "Service Unavailable", "busy", "too many connections"},
    {505, "HTTP Version Not Supported", "http_version", "only HTTP/1.0 and HTTP/1.1 are spoken"},
};

static const struct http_error *find_error(int status)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].status == status)
            return &errors[i];
    }
    return &errors[0];
}

const char *http_reason(int status)
{
    return find_error(status)->reason;
}

/* Only texts from the table go in: nothing of the request, so nothing to escape. */
void http_error_body(struct evbuffer *out, int status)
{
    const struct http_error *e = find_error(status);

    evbuffer_add_printf(out,
                        "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,"
                        "\"code\":\"%s\"}}\n",
                        e->message, status >= 500 ? "server_error" : "invalid_request_error",
                        e->code);
}

/* The value if the header is there exactly once. *n: how often it is. */
static const char *find_once(const struct evkeyvalq *h, const char *name, int *n)
{
    const char *value = NULL;
    const struct evkeyval *kv;

    *n = 0;
    TAILQ_FOREACH(kv, h, next)
    {
        if (strcasecmp(kv->key, name) == 0) {
            value = kv->value;
            (*n)++;
        }
    }
    return value;
}

static bool is_token(const char *s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    if (*s == '\0')
        return false;
    for (; *s != '\0'; s++) {
        bool alnum =
            (*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z');

        if (!alnum && strchr(others, *s) == NULL)
            return false;
    }
    return true;
}

static bool is_digits(const char *s)
{
    return *s != '\0' && s[strspn(s, "0123456789")] == '\0';
}

static bool fields_ok(const struct evkeyvalq *h)
{
    const struct evkeyval *kv;

    TAILQ_FOREACH(kv, h, next)
    {
        if (!is_token(kv->key))
            return false;
        for (const char *p = kv->value; *p != '\0'; p++) {
            if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
                return false;
        }
    }
    return true;
}

/* "localhost", 127.0.0.0/8 or [::1], with or without a port. */
static bool is_loopback(const char *host)
{
    char name[64];
    struct in_addr a;
    size_t n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

    if (n >= sizeof(name) || n > strlen(host))
        return false;
    memcpy(name, host, n);
    name[n] = '\0';
    host += n;
    if (*host != '\0' && (*host != ':' || !is_digits(host + 1)))
        return false;
    if (strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, name, &a) == 1 && (ntohl(a.s_addr) >> 24) == 127;
}

/* A web page in a browser on this machine reaches the loopback port in two ways: under its own name
 * that it rebinds to 127.0.0.1 (Host shows the name), or as a cross-site request (Origin or
 * Sec-Fetch-Site show it). */
static bool from_browser_page(const struct evkeyvalq *h, const char *host)
{
    int n;
    const char *origin = find_once(h, "Origin", &n);
    const char *site;

    if (!is_loopback(host))
        return true;
    if (n > 0) {
        if (n > 1)
            return true;
        if (strncmp(origin, "http://", 7) == 0)
            origin += 7;
        else if (strncmp(origin, "https://", 8) == 0)
            origin += 8;
        else
            return true;
        if (!is_loopback(origin))
            return true;
    }
    site = find_once(h, "Sec-Fetch-Site", &n);
    return n > 1 || (site != NULL && strcmp(site, "cross-site") == 0);
}

/* 0, or the status to refuse with. */
static int check(const struct conn *c, struct evhttp_request *ev)
{
    const struct evkeyvalq *h = evhttp_request_get_input_headers(ev);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(ev);
    const char *host, *length, *coding;
    int n_host, n_length, n_coding;

    if (ev->major != 1 || ev->minor < 0 || ev->minor > 1) {
        ev->major = 1; /* evhttp answers in the version that it was asked in */
        ev->minor = 1;
        return 505;
    }
    if (!fields_ok(h))
        return 400;
    host = find_once(h, "Host", &n_host);
    if (n_host > 1 || (n_host == 0 && (ev->minor == 1 || !c->is_unix)))
        return 400;
    length = find_once(h, "Content-Length", &n_length);
    coding = find_once(h, "Transfer-Encoding", &n_coding);
    if (n_length > 1 || (n_length == 1 && (n_coding > 0 || !is_digits(length))))
        return 400;
    if (n_coding > 0 && (n_coding > 1 || ev->minor == 0))
        return 400;
    if (n_coding == 1 && strcasecmp(coding, "chunked") != 0)
        return 501;
    /* A host in the request line would stand above the Host header; we are no proxy. */
    if (uri == NULL || evhttp_uri_get_host(uri) != NULL || evhttp_uri_get_path(uri) == NULL)
        return 400;
    if (!c->is_unix && from_browser_page(h, host))
        return 403;
    return 0;
}

static void req_free(struct net_req *r)
{
    free(r->path);
    free(r);
}

static void req_refuse(struct net_req *r, int status)
{
    struct evbuffer *body = r->conn->http->scratch;
    size_t len;

    http_error_body(body, status);
    len = evbuffer_get_length(body);
    evhttp_add_header(evhttp_request_get_output_headers(r->ev), "Connection", "close");
    net_req_reply(r, status, "application/json", evbuffer_pullup(body, -1), len);
    evbuffer_drain(body, len);
}

void req_arrived(struct evhttp_request *ev, void *http)
{
    struct net_http *h = http;
    struct evhttp_connection *evcon = evhttp_request_get_connection(ev);
    struct conn *c = conn_find(h, evcon);
    struct net_req *r;
    int status;

    if (c == NULL) {
        evhttp_connection_free(evcon);
        return;
    }
    conn_working(c, ev);
    status = check(c, ev);
    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        conn_later(c, CONN_KILL);
        return;
    }
    c->req = r;
    r->conn = c;
    r->ev = ev;
    /* Without chunks the end of a stream is the end of the connection. */
    if (ev->minor == 0)
        evhttp_remove_header(evhttp_request_get_input_headers(ev), "Connection");
    if (status == 0) {
        r->path = strdup(evhttp_uri_get_path(evhttp_request_get_evhttp_uri(ev)));
        if (r->path == NULL)
            status = 500;
    }
    if (status != 0)
        req_refuse(r, status);
    else
        h->cb(r, h->arg);
}

void req_gone(struct net_req *r)
{
    r->conn->req = NULL;
    if (r->gone_cb != NULL)
        r->gone_cb(r, r->gone_arg);
    /* When the client left, evhttp has cut the request off the connection and it is ours to free;
     * when we close the connection it goes with it. */
    if (evhttp_request_get_connection(r->ev) == NULL)
        evhttp_request_free(r->ev);
    req_free(r);
}

const char *net_req_method(const struct net_req *r)
{
    switch (evhttp_request_get_command(r->ev)) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_OPTIONS:
        return "OPTIONS";
    case EVHTTP_REQ_PATCH:
        return "PATCH";
    default:
        return "OTHER";
    }
}

const char *net_req_path(const struct net_req *r)
{
    return r->path;
}

const char *net_req_header(const struct net_req *r, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(r->ev), name);
}

const char *net_req_body(const struct net_req *r, size_t *len)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(r->ev);
    const unsigned char *p = evbuffer_pullup(in, -1);

    *len = p == NULL ? 0 : evbuffer_get_length(in);
    return p == NULL ? "" : (const char *)p;
}

bool net_req_is_unix(const struct net_req *r)
{
    return r->conn->is_unix;
}

uid_t net_req_peer_uid(const struct net_req *r)
{
    return r->conn->uid;
}

void net_req_on_gone(struct net_req *r, net_req_gone_cb *cb, void *arg)
{
    r->gone_cb = cb;
    r->gone_arg = arg;
}

void net_req_add_header(struct net_req *r, const char *name, const char *value)
{
    if (evhttp_add_header(evhttp_request_get_output_headers(r->ev), name, value) != 0)
        base_log_warn("http", "response header dropped: it breaks the line name=%s", name);
}

/* r is over for the handler: what is left is to write it out. */
static struct evhttp_request *req_finish(struct net_req *r)
{
    struct evhttp_request *ev = r->ev;

    r->conn->req = NULL;
    conn_set_state(r->conn, CONN_FLUSHING);
    req_free(r);
    return ev;
}

void net_req_reply(struct net_req *r, int status, const char *content_type, const void *body,
                   size_t len)
{
    struct evhttp_request *ev = r->ev;
    struct conn *c = r->conn;

    if (content_type != NULL)
        net_req_add_header(r, "Content-Type", content_type);
    if (evhttp_request_get_command(ev) == EVHTTP_REQ_HEAD) {
        /* evhttp would send the body after the headers. */
        char size[24];

        evutil_snprintf(size, sizeof(size), "%zu", len);
        net_req_add_header(r, "Content-Length", size);
    } else if (evbuffer_add(evhttp_request_get_output_buffer(ev), body, len) != 0) {
        conn_later(c, CONN_KILL);
    }
    evhttp_send_reply(req_finish(r), status, NULL, NULL);
}

void net_req_stream(struct net_req *r, int status, const char *content_type)
{
    if (content_type != NULL)
        net_req_add_header(r, "Content-Type", content_type);
    r->streaming = true;
    evhttp_send_reply_start(r->ev, status, NULL);
}

int net_req_write(struct net_req *r, const void *p, size_t len)
{
    struct conn *c = r->conn;
    struct evbuffer *chunk = c->http->scratch;
    size_t queued = evbuffer_get_length(bufferevent_get_output(c->bev));

    if ((c->todo & CONN_KILL) != 0)
        return BASE_ECLOSED;
    if (len > (size_t)c->http->lim.max_out_bytes ||
        queued > (size_t)c->http->lim.max_out_bytes - len || evbuffer_add(chunk, p, len) != 0) {
        conn_later(c, CONN_KILL);
        return BASE_ECLOSED;
    }
    evhttp_send_reply_chunk(r->ev, chunk);
    evbuffer_drain(chunk, evbuffer_get_length(chunk)); /* HEAD: it was not taken */
    return 0;
}

void net_req_end(struct net_req *r)
{
    evhttp_send_reply_end(req_finish(r));
}
