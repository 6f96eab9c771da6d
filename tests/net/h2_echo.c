/* A small server on the HTTP/2 room for test_h2.py: h2_echo DIR [--no-crl]. DIR holds server.pem,
 * server.key, ca.pem and, if it is there, crl.pem. Prints "port N", then a line for each event that
 * a test waits for: "close CODE" and "writable". Paths: /echo   answers with what comes in, as it
 * comes in    /info  method, path, peer and header x-tag /work   never answers /flood writes until
 * told BASE_EBUSY, and on /early  answers before the request body is whole      /reset resets the
 * stream with CANCEL */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "net/h2/server.h"

static struct net_loop *loop;
static int n_open;
static char mark[7][8] = {"echo", "work", "flood", "early", "info", "reset", "other"};

static bool is(const struct net_h2_stream *s, int i)
{
    return net_h2_data(s) == mark[i];
}

static void must(struct net_h2_stream *s, int rc)
{
    if (rc == BASE_ENOMEM)
        net_h2_reset(s, 2);
    else if (rc != 0 && rc != BASE_ECLOSED)
        abort();
}

static void flood(struct net_h2_stream *s)
{
    static char block[4096];

    memset(block, 'f', sizeof(block));
    for (int i = 0; i < 100000; i++) {
        int rc = net_h2_write(s, block, sizeof(block));

        if (rc == BASE_EBUSY)
            return;
        if (rc != 0)
            abort();
    }
    abort(); /* a queue without an end */
}

static void on_request(struct net_h2_stream *s, void *arg)
{
    static const struct net_h2_header h[] = {{"content-type", "text/plain"}};
    char text[512];
    int i;

    (void)arg;
    n_open++;
    for (i = 0; i < 6 && strcmp(net_h2_path(s) + 1, mark[i]) != 0; i++)
        continue;
    net_h2_set_data(s, mark[i]);
    if (is(s, 1))
        return;
    if (is(s, 5)) {
        net_h2_reset(s, 8);
        return;
    }
    if (net_h2_respond(s, 200, &(struct net_h2_header){"x", "a\r\nb: c"}, 1) != BASE_EINVAL ||
        net_h2_respond(s, 200, &(struct net_h2_header){"x y", "a"}, 1) != BASE_EINVAL)
        abort();
    must(s, net_h2_respond(s, i == 6 ? 404 : 200, h, 1));
    if (net_h2_respond(s, 200, h, 1) == 0) /* a second answer */
        abort();
    if (is(s, 2))
        flood(s);
    if (is(s, 4)) {
        const char *tag = net_h2_header(s, "x-tag");
        int n = snprintf(text, sizeof(text), "%s %s peer=%s tag=%s open=%d\n", net_h2_method(s),
                         net_h2_path(s), net_h2_peer_name(s), tag == NULL ? "-" : tag, n_open);

        must(s, net_h2_write(s, text, (size_t)n));
    }
    if (is(s, 3))
        must(s, net_h2_write(s, "early\n", 6));
    if (is(s, 3) || is(s, 4) || is(s, 6))
        net_h2_end(s);
}

static void on_data(struct net_h2_stream *s, const uint8_t *p, size_t len, void *arg)
{
    (void)arg;
    if (is(s, 0) && net_h2_write(s, p, len) == BASE_EBUSY)
        net_h2_reset(s, 11);
}

static void on_end(struct net_h2_stream *s, void *arg)
{
    (void)arg;
    if (is(s, 0))
        net_h2_end(s);
}

static void on_writable(struct net_h2_stream *s, void *arg)
{
    (void)arg;
    if (is(s, 2))
        flood(s);
}

static void on_close(struct net_h2_stream *s, uint32_t code, void *arg)
{
    (void)s;
    (void)arg;
    n_open--;
    printf("close %" PRIu32 "\n", code);
    fflush(stdout);
}

static void on_term(int signo, void *arg)
{
    (void)signo;
    (void)arg;
    net_loop_stop(loop);
}

int main(int argc, char **argv)
{
    static const struct net_h2s_cb cb = {on_request, on_data, on_end, on_writable, on_close};
    char cert[256], key[256], ca[256], crl[256], line[600];
    const char *dir = argc > 1 ? argv[1] : ".";
    struct net_h2s_opt o = {
        .addr = "127.0.0.1",
        .cert_file = cert,
        .key_file = key,
        .client_ca_file = ca,
        .crl_file = crl,
        .max_conn = 16,
        .max_stream = 8,
        .max_header_fields = 40,
        .max_header_bytes = 4096,
        .header_deadline_ms = 1000,
        .idle_deadline_ms = 1500,
        .progress_deadline_ms = 800,
        .max_out_bytes = 262144,
    };
    struct net_h2s *srv = NULL;
    struct base_err err = {0};
    int rc;

    snprintf(cert, sizeof(cert), "%s/server.pem", dir);
    snprintf(key, sizeof(key), "%s/server.key", dir);
    snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
    snprintf(crl, sizeof(crl), "%s/crl.pem", dir);
    if (access(crl, F_OK) != 0)
        o.crl_file = NULL;
    base_log_init("h2_echo", BASE_LOG_INFO);
    rc = net_loop_new(&loop, &err);
    if (rc == 0)
        rc = net_signal(loop, SIGTERM, on_term, NULL);
    if (rc == 0)
        rc = net_h2s_new(&srv, loop, &o, &cb, NULL, &err);
    if (rc == 0) {
        printf("port %d\n", net_h2s_port(srv));
        fflush(stdout);
        rc = net_loop_run(loop);
    } else {
        fprintf(stderr, "h2_echo: %s\n", base_err_line(&err, line, sizeof(line)));
    }
    net_h2s_free(srv);
    net_loop_free(loop);
    if (n_open != 0) {
        fprintf(stderr, "h2_echo: %d streams without on_close\n", n_open);
        return 1;
    }
    return rc == 0 ? 0 : 2;
}
