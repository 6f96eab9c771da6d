/* Plays the edge for test_uplink.py: ipc_drive PROGRAM [ARGUMENT ...] starts the uplink with its
 * socket on descriptor 3 and turns lines into messages, messages into lines. in:  release ID
 * DECISION TARGET MODE MAX_BYTES DEADLINE_MS CLASSES RULE (DECISION: a number, it is repeated 16
 * times; CLASSES: how many) | data ID FIRST_LETTER N_BYTES | end ID | cancel ID | stall MS (reads
 * nothing for so long) | raw HEX | hangup out: ready TARGET,… | link TARGET STATE RTT | head ID
 * STATUS | data ID N | closed ID CODE OUT IN TEXT | gone | exit STATUS */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wire/ipc.h"

static int sock;

static void die(const char *what)
{
    fprintf(stderr, "ipc_drive: %s\n", what);
    exit(3);
}

static void put(const void *p, size_t n)
{
    for (const char *at = p; n > 0;) {
        ssize_t w = send(sock, at, n, MSG_NOSIGNAL);
        if (w <= 0)
            return; /* the test sees "gone" */
        at += w;
        n -= (size_t)w;
    }
}

static void put_message(const struct ipc_msg *m)
{
    struct base_buf b;
    base_buf_init(&b, 2 << 20);
    if (ipc_encode(m, &b) != 0)
        die("cannot encode");
    put(b.data, b.len);
    base_buf_fini(&b);
}

static void release(const char *args)
{
    static struct ipc_msg m;
    struct ipc_release *r = &m.u.release;
    unsigned decision, n_class;
    int mode;
    unsigned long long max;
    m = (struct ipc_msg){.type = IPC_RELEASE};
    if (sscanf(args, "%u %u %256s %d %llu %u %u %256s", &m.id, &decision, r->target, &mode, &max,
               &r->deadline_ms, &n_class, r->rule) < 7)
        die("release: arguments");
    memset(r->decision_id, (int)decision, sizeof r->decision_id);
    memset(r->policy_hash, 0xab, sizeof r->policy_hash);
    for (unsigned i = 0; i < n_class && i < IPC_MAX_CLASS; i++)
        snprintf(r->classes[i], sizeof r->classes[i], "public.%u", i);
    r->n_class = (int)n_class;
    r->mode = (enum ipc_mode)mode;
    r->max_bytes = max;
    put_message(&m);
}

static void data(const char *args)
{
    static uint8_t block[IPC_MAX_DATA];
    struct ipc_msg m = {.type = IPC_DATA};
    char letter;
    size_t n;
    if (sscanf(args, "%u %c %zu", &m.id, &letter, &n) != 3)
        die("data: arguments");
    memset(block, letter, sizeof block);
    while (n > 0) {
        m.u.data.p = block;
        m.u.data.len = n < sizeof block ? n : sizeof block;
        put_message(&m);
        n -= m.u.data.len;
    }
}

static void raw(const char *hex)
{
    for (unsigned v; sscanf(hex, "%2x", &v) == 1; hex += 2) {
        uint8_t b = (uint8_t)v;
        put(&b, 1);
    }
}

static void command(const char *line)
{
    struct ipc_msg m = {.type = IPC_END};
    if (strncmp(line, "release ", 8) == 0) {
        release(line + 8);
    } else if (strncmp(line, "data ", 5) == 0) {
        data(line + 5);
    } else if (strncmp(line, "raw ", 4) == 0) {
        raw(line + 4);
    } else if (strncmp(line, "stall ", 6) == 0) {
        usleep((useconds_t)atoi(line + 6) * 1000);
    } else if (strcmp(line, "hangup") == 0) {
        shutdown(sock, SHUT_WR);
    } else if (sscanf(line, "end %u", &m.id) == 1) {
        put_message(&m);
    } else if (sscanf(line, "cancel %u", &m.id) == 1) {
        m.type = IPC_CANCEL;
        put_message(&m);
    } else {
        die("unknown command");
    }
}

static void show(const struct ipc_msg *m)
{
    static const char *const state[] = {"unknown", "up", "down"};
    switch (m->type) {
    case IPC_READY:
        printf("ready");
        for (int i = 0; i < m->u.ready.n_target; i++)
            printf("%c%s", i == 0 ? ' ' : ',', m->u.ready.targets[i]);
        putchar('\n');
        break;
    case IPC_LINK:
        printf("link %s %s %u\n", m->u.link.target, state[m->u.link.state], m->u.link.rtt_us);
        break;
    case IPC_HEAD:
        printf("head %u %d\n", m->id, m->u.head.status);
        break;
    case IPC_DATA:
        printf("data %u %zu\n", m->id, m->u.data.len);
        break;
    case IPC_CLOSED:
        printf("closed %u %d %llu %llu %s\n", m->id, m->u.closed.code,
               (unsigned long long)m->u.closed.bytes_out, (unsigned long long)m->u.closed.bytes_in,
               m->u.closed.message);
        break;
    default:
        printf("wrong %d\n", (int)m->type);
    }
}

/* False when the socket has ended. */
static bool read_messages(struct ipc_decoder *d)
{
    static uint8_t buf[65536];
    static struct ipc_msg m;
    struct base_err err;
    int rc;
    ssize_t n = recv(sock, buf, sizeof buf, 0);
    if (n <= 0)
        return false;
    if (ipc_decoder_feed(d, buf, (size_t)n) != 0)
        die("feed");
    while ((rc = ipc_decoder_next(d, &m, &err)) == 1)
        show(&m);
    if (rc < 0)
        die(err.msg);
    return true;
}

/* False at the end of the input. Lines, unbuffered, so that poll() tells the truth. */
static bool read_commands(void)
{
    static char line[4096];
    static size_t len;
    ssize_t n = read(0, line + len, sizeof line - 1 - len);
    if (n <= 0)
        return false;
    len += (size_t)n;
    line[len] = '\0';
    for (char *nl; (nl = strchr(line, '\n')) != NULL;) {
        *nl = '\0';
        command(line);
        len -= (size_t)(nl + 1 - line);
        memmove(line, nl + 1, len + 1);
    }
    return true;
}

int main(int argc, char **argv)
{
    int pair[2], status;
    struct ipc_decoder *d = ipc_decoder_new();
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2 || d == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        die("cannot start");
    pid_t pid = fork();
    if (pid == 0) {
        if (pair[1] == 3 ? dup2(dup(3), 3) < 0 : dup2(pair[1], 3) < 0)
            _exit(3);
        execv(argv[1], argv + 1);
        _exit(3);
    }
    close(pair[1]);
    sock = pair[0];
    printf("pid %d\n", (int)pid);
    bool open = true, input = true;
    while (open) {
        struct pollfd p[] = {{sock, POLLIN, 0}, {input ? 0 : -1, POLLIN, 0}};
        if (poll(p, 2, -1) < 0)
            die("poll");
        if (p[1].revents != 0 && !read_commands()) {
            input = false;
            shutdown(sock, SHUT_WR);
        }
        if (p[0].revents != 0)
            open = read_messages(d);
    }
    puts("gone");
    close(sock);
    ipc_decoder_free(d);
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid");
    printf("exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return 0;
}
