/* The far side for test_uplink.py: h2_peer CERT_DIR LEDGER. Any path; the first byte of the body
 * says what happens: E echoes the body, S says nothing, R resets the stream, B answers without an
 * end, D drops every connection (the process ends), Y answers at once and ends while the body goes
 * on. Prints "port N", then for each request "request …" with the ledger's number of records at the
 * very moment at which the first headers came, "body N" and "close CODE BYTES". */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "ledger/ledger.h"
#include "net/h2/server.h"

struct request {
    char mode; /* 0: nothing came yet */
    size_t n_body;
};

static struct net_loop *loop;
static const char *ledger_path;

static void must(int rc)
{
    if (rc != 0 && rc != BASE_ECLOSED)
        abort();
}

static int count(const struct ledger_record *r, void *arg)
{
    (void)r;
    ++*(int *)arg;
    return 0;
}

static const char *header(const struct net_h2_stream *s, const char *name)
{
    const char *v = net_h2_header(s, name);
    return v != NULL ? v : "-";
}

static void on_request(struct net_h2_stream *s, void *arg)
{
    int n = 0;
    struct base_err err;
    struct request *q = calloc(1, sizeof *q);
    (void)arg;
    if (q == NULL)
        abort();
    net_h2_set_data(s, q);
    if (ledger_read(ledger_path, count, &n, NULL, &err) != 0)
        n = -1;
    printf(
        "request %s %s peer=%s ledger=%d type=%s accept=%s agent=%s key=%s length=%s expect=%s\n",
        net_h2_method(s), net_h2_path(s), net_h2_peer_name(s), n, header(s, "content-type"),
        header(s, "accept"), header(s, "user-agent"), header(s, "idempotency-key"),
        header(s, "content-length"), header(s, "expect"));
}

static void fill(struct net_h2_stream *s)
{
    static char block[4096];
    while (net_h2_write(s, block, sizeof block) == 0)
        continue;
}

static void first_byte(struct net_h2_stream *s, struct request *q)
{
    static const struct net_h2_header h[] = {{"content-type", "text/event-stream"}};
    if (q->mode == 'D')
        _exit(0);
    if (q->mode == 'R') {
        net_h2_reset(s, 8);
        return;
    }
    if (q->mode == 'S')
        return;
    must(net_h2_respond(s, 200, h, 1));
    if (q->mode == 'B')
        fill(s);
    if (q->mode == 'Y') {
        must(net_h2_write(s, "early", 5));
        net_h2_end(s);
    }
}

static void on_data(struct net_h2_stream *s, const uint8_t *p, size_t len, void *arg)
{
    struct request *q = net_h2_data(s);
    (void)arg;
    if (len == 0)
        return;
    bool first = q->mode == 0;
    if (first)
        q->mode = (char)p[0];
    q->n_body += len;
    printf("body %zu\n", q->n_body);
    if (first)
        first_byte(s, q);
    if (q->mode == 'E' || q->mode == 'Z')
        must(net_h2_write(s, p, len));
    if (q->mode == 'Z' && !first)
        net_h2_end(s);
}

static void on_end(struct net_h2_stream *s, void *arg)
{
    const struct request *q = net_h2_data(s);
    (void)arg;
    if (q->mode == 'E')
        net_h2_end(s);
}

static void on_writable(struct net_h2_stream *s, void *arg)
{
    const struct request *q = net_h2_data(s);
    (void)arg;
    if (q->mode == 'B')
        fill(s);
}

static void on_close(struct net_h2_stream *s, uint32_t code, void *arg)
{
    struct request *q = net_h2_data(s);
    (void)arg;
    printf("close %" PRIu32 " %zu\n", code, q->n_body);
    free(q);
}

static void on_term(int signo, void *arg)
{
    (void)signo, (void)arg;
    net_loop_stop(loop);
}

int main(int argc, char **argv)
{
    static const struct net_h2s_cb cb = {on_request, on_data, on_end, on_writable, on_close};
    char cert[256], key[256], ca[256], crl[256], line[600];
    struct net_h2s_opt o = {
        .addr = "127.0.0.1",
        .cert_file = cert,
        .key_file = key,
        .client_ca_file = ca,
        .crl_file = crl,
        .max_conn = 16,
        .max_stream = 32,
        .max_header_fields = 40,
        .max_header_bytes = 4096,
        .header_deadline_ms = 5000,
        .idle_deadline_ms = 20000,
        .progress_deadline_ms = 5000,
        .max_out_bytes = 8 << 20,
    };
    struct net_h2s *srv = NULL;
    struct base_err err = {0};
    if (argc != 3)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    ledger_path = argv[2];
    snprintf(cert, sizeof cert, "%s/server.pem", argv[1]);
    snprintf(key, sizeof key, "%s/server-key.pem", argv[1]);
    snprintf(ca, sizeof ca, "%s/ca.pem", argv[1]);
    snprintf(crl, sizeof crl, "%s/crl.pem", argv[1]);
    base_log_init("h2_peer", BASE_LOG_WARN);
    int rc = net_loop_new(&loop, &err);
    if (rc == 0)
        rc = net_signal(loop, SIGTERM, on_term, NULL);
    if (rc == 0)
        rc = net_h2s_new(&srv, loop, &o, &cb, NULL, &err);
    if (rc == 0) {
        printf("port %d\n", net_h2s_port(srv));
        rc = net_loop_run(loop);
    } else {
        fprintf(stderr, "h2_peer: %s\n", base_err_line(&err, line, sizeof line));
    }
    net_h2s_free(srv);
    net_loop_free(loop);
    return rc == 0 ? 0 : 1;
}
