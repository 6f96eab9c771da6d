/* A small server on the local HTTP room for test_http.py. Prints "port N" and then one line for
 * each thing that a test waits for: "work", "gone". Paths: /echo     the method, path, body and
 * peer as text    /work     never answers; reports on_gone /slow     answers after 200 ms /stream
 * five chunks, 20 ms apart /flood    streams until the client is too slow       /quit     stops the
 * loop after the answer */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>

#include "base/buf.h"
#include "base/log.h"
#include "net/local/http.h"

struct job {
    struct net_req *req;
    struct net_timer *timer;
    int left;
    bool flood;
};

static struct net_loop *loop;
static int n_job;

static void say(const char *what)
{
    printf("%s\n", what);
    fflush(stdout);
}

static void job_free(struct job *j)
{
    n_job--;
    net_timer_free(j->timer);
    free(j);
}

static void on_gone(struct net_req *r, void *arg)
{
    (void)r;
    say("gone");
    job_free(arg);
}

static void on_timer(void *arg)
{
    struct job *j = arg;
    static char block[8192];

    if (j->flood) {
        memset(block, 'x', sizeof(block));
        if (net_req_write(j->req, block, sizeof(block)) == 0)
            net_timer_set(j->timer, 100);
        else
            say("slow");
        return;
    }
    if (j->left < 0) {
        net_req_reply(j->req, 200, "text/plain", "slow\n", 5);
        job_free(j);
    } else if (j->left == 0) {
        net_req_end(j->req);
        job_free(j);
    } else {
        char piece[16];
        int n = snprintf(piece, sizeof(piece), "piece %d\n", j->left--);

        if (net_req_write(j->req, piece, (size_t)n) == 0)
            net_timer_set(j->timer, 20000);
    }
}

static struct job *job_new(struct net_req *r)
{
    struct job *j = calloc(1, sizeof(*j));

    if (j == NULL || (j->timer = net_timer_new(loop, on_timer, j)) == NULL)
        abort();
    n_job++;
    j->req = r;
    net_req_on_gone(r, on_gone, j);
    return j;
}

static void echo(struct net_req *r)
{
    struct base_buf b;
    size_t len;
    const char *body = net_req_body(r, &len);
    const char *tag = net_req_header(r, "X-Tag");

    base_buf_init(&b, 1 << 20);
    base_buf_printf(&b, "%s %s unix=%d uid=%jd tag=%s jobs=%d len=%zu\n", net_req_method(r),
                    net_req_path(r), net_req_is_unix(r),
                    net_req_is_unix(r) ? (intmax_t)net_req_peer_uid(r) : -1,
                    tag == NULL ? "-" : tag, n_job, len);
    base_buf_add(&b, body, len);
    net_req_add_header(r, "X-Echo", "yes");
    if (tag != NULL)
        net_req_add_header(r, "X-Bad", "a\r\nInjected: 1");
    net_req_reply(r, 200, "text/plain", b.data, b.len);
    base_buf_fini(&b);
}

static void on_request(struct net_req *r, void *arg)
{
    const char *path = net_req_path(r);

    (void)arg;
    if (strcmp(path, "/work") == 0) {
        job_new(r);
        say("work");
    } else if (strcmp(path, "/slow") == 0) {
        struct job *j = job_new(r);

        j->left = -1;
        net_timer_set(j->timer, 200000);
    } else if (strcmp(path, "/stream") == 0 || strcmp(path, "/flood") == 0) {
        struct job *j = job_new(r);

        j->left = 5;
        j->flood = path[1] == 'f';
        net_req_stream(r, 200, "text/event-stream");
        net_timer_set(j->timer, 0);
    } else if (strcmp(path, "/quit") == 0) {
        net_req_reply(r, 204, NULL, NULL, 0);
        net_loop_stop(loop);
    } else {
        echo(r);
    }
}

static void on_term(int signo, void *arg)
{
    (void)signo;
    (void)arg;
    net_loop_stop(loop);
}

int main(int argc, char **argv)
{
    static const struct net_http_limits lim = {
        .max_conn = 8,
        .max_body_bytes = 65536,
        .max_header_bytes = 4096,
        .read_deadline_ms = 500,
        .idle_deadline_ms = 1500,
        .max_out_bytes = 262144,
    };
    struct net_http *h = NULL;
    struct base_err err = {0};
    char line[600];
    int port = 0, rc;

    base_log_init("http_echo", BASE_LOG_WARN);
    rc = net_loop_new(&loop, &err);
    if (rc == 0)
        rc = net_signal(loop, SIGTERM, on_term, NULL);
    if (rc == 0)
        rc = net_http_new(&h, loop, &lim, on_request, NULL, &err);
    if (rc == 0)
        rc = net_http_listen_tcp(h, argc > 2 ? argv[2] : "127.0.0.1", 0, &port, &err);
    if (rc == 0 && argc > 1)
        rc = net_http_listen_unix(h, argv[1], 0660, &err);
    if (rc == 0) {
        printf("port %d\n", port);
        fflush(stdout);
        rc = net_loop_run(loop);
    } else {
        fprintf(stderr, "http_echo: %s\n", base_err_line(&err, line, sizeof(line)));
    }
    net_http_free(h);
    net_loop_free(loop);
    if (n_job != 0) {
        fprintf(stderr, "http_echo: %d jobs left\n", n_job);
        return 1;
    }
    return rc == 0 ? 0 : 2;
}
