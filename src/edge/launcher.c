#include "edge/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 10000,
    LIVED_WELL_MS = 30000, /* an uplink that lived so long starts the back-off afresh */
    STOP_MS = 3000,        /* between SIGTERM and SIGKILL */
    UPLINK_FD = 3,
};

/* The uplink's whole environment: no proxies, no key logs, nothing of the edge's. */
static void environment_make(char *env[8])
{
    int n = 0;
    env[n++] = (char *)"PATH=/usr/local/bin:/usr/bin:/bin";
    env[n++] = (char *)"LANG=C.UTF-8";
#ifdef WP_SANITIZED
    static const char *const keep[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
                                       "TSAN_OPTIONS"};
    for (int i = 0; i < 4; i++) {
        char *s = NULL;
        const char *v = getenv(keep[i]);
        if (v != NULL && asprintf(&s, "%s=%s", keep[i], v) > 0)
            env[n++] = s;
    }
#endif
    env[n] = NULL;
}

static _Noreturn void uplink_exec(const char *program, const char *config, int sock)
{
    char *env[8];
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        _exit(126);
    /* dup2 onto itself would leave close-on-exec set. */
    if (sock == UPLINK_FD ? fcntl(sock, F_SETFD, 0) < 0 : dup2(sock, UPLINK_FD) < 0)
        _exit(126);
    if (close_range(UPLINK_FD + 1, ~0U, 0) != 0)
        _exit(126);
    char *argv[] = {(char *)"waypost-uplink", (char *)"--ipc-fd", (char *)"3",
                    (char *)"--config",       (char *)config,     NULL};
    environment_make(env);
    execve(program, argv, env);
    base_log_error("launcher", "cannot run %s: %s", program, strerror(errno));
    _exit(127);
}

static int socket_hand_over(int ctl, int sock)
{
    char byte = 0;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } u = {0};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.space, .msg_controllen = sizeof u.space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &sock, sizeof sock);
    return sendmsg(ctl, &m, MSG_NOSIGNAL) == 1 ? 0 : BASE_ECLOSED;
}

/* Starts one uplink. Its pid, or -1. */
static pid_t uplink_start(const char *program, const char *config, int ctl)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0)
        uplink_exec(program, config, pair[1]);
    close(pair[1]);
    if (pid > 0)
        (void)socket_hand_over(ctl, pair[0]); /* if the edge is gone, poll says so next */
    close(pair[0]);
    return pid;
}

/* Waits for the uplink's end or the edge's, at most timeout_ms (-1: for ever). */
static void wait_for(int ctl, int sigfd, int timeout_ms, bool *edge_gone)
{
    struct pollfd p[2] = {{.fd = ctl, .events = POLLIN}, {.fd = sigfd, .events = POLLIN}};
    if (poll(p, 2, timeout_ms) <= 0)
        return;
    struct signalfd_siginfo si;
    if ((p[1].revents & POLLIN) != 0 && read(sigfd, &si, sizeof si) == (ssize_t)sizeof si &&
        si.ssi_signo != SIGCHLD)
        *edge_gone = true; /* SIGTERM, SIGINT: the whole group is told to stop */
    char c;
    if ((p[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && recv(ctl, &c, 1, MSG_DONTWAIT) == 0)
        *edge_gone = true;
}

static bool uplink_reap(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, WNOHANG) != pid)
        return false;
    if (WIFSIGNALED(status))
        base_log_warn("launcher", "the uplink was killed by signal %d", WTERMSIG(status));
    else
        base_log_warn("launcher", "the uplink ended with status %d", WEXITSTATUS(status));
    return true;
}

static void uplink_stop(pid_t pid, int sigfd)
{
    bool gone = false;
    kill(pid, SIGTERM);
    for (int waited = 0; waited < STOP_MS; waited += 100) {
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return;
        wait_for(-1, sigfd, 100, &gone);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static _Noreturn void launcher_run(const char *program, const char *config, int ctl, int sigfd)
{
    pid_t pid = -1;
    int64_t started_us = 0;
    int backoff_ms = 0;
    for (bool edge_gone = false; !edge_gone;) {
        if (pid < 0) {
            int64_t due_us = started_us + (int64_t)backoff_ms * 1000, now_us = base_clock_mono_us();
            if (started_us != 0 && now_us < due_us) {
                wait_for(ctl, sigfd, (int)((due_us - now_us) / 1000) + 1, &edge_gone);
                continue;
            }
            started_us = now_us;
            pid = uplink_start(program, config, ctl);
        }
        if (pid > 0)
            wait_for(ctl, sigfd, -1, &edge_gone);
        if (pid <= 0 || uplink_reap(pid)) {
            bool lived_well = base_clock_mono_us() - started_us > LIVED_WELL_MS * 1000LL;
            backoff_ms = lived_well || backoff_ms == 0 ? BACKOFF_MIN_MS : backoff_ms * 2;
            backoff_ms = backoff_ms < BACKOFF_MAX_MS ? backoff_ms : BACKOFF_MAX_MS;
            started_us = base_clock_mono_us();
            pid = -1;
        }
    }
    if (pid > 0)
        uplink_stop(pid, sigfd);
    _exit(0);
}

int edge_launcher_start(struct edge_launcher *l, const char *program, const char *config,
                        struct base_err *err)
{
    int pair[2];
    *l = (struct edge_launcher){.pid = -1, .fd = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return base_err_set(err, BASE_EIO, "launcher", "socketpair: %s", strerror(errno));
    l->pid = fork();
    if (l->pid < 0) {
        close(pair[0]);
        close(pair[1]);
        return base_err_set(err, BASE_EIO, "launcher", "fork: %s", strerror(errno));
    }
    if (l->pid > 0) {
        close(pair[1]);
        l->fd = pair[0];
        return 0;
    }
    close(pair[0]);
    prctl(PR_SET_NAME, "waypost-launch");
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int sigfd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (sigfd < 0)
        _exit(126);
    launcher_run(program, config, pair[1], sigfd);
}

void edge_launcher_stop(struct edge_launcher *l)
{
    if (l->fd >= 0)
        close(l->fd);
    if (l->pid > 0)
        waitpid(l->pid, NULL, 0);
    *l = (struct edge_launcher){.pid = -1, .fd = -1};
}

int edge_launcher_take(int launcher_fd, int *sock)
{
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } u;
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.space, .msg_controllen = sizeof u.space};
    ssize_t n = recvmsg(launcher_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return BASE_EBUSY;
    if (n <= 0)
        return BASE_ECLOSED;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len != CMSG_LEN(sizeof(int))) {
        /* Out of descriptors: the kernel has closed it, so that uplink ends and another one comes.
         */
        base_log_error("launcher", "an uplink's socket could not be taken: no descriptor is free");
        return BASE_EBUSY;
    }
    memcpy(sock, CMSG_DATA(c), sizeof *sock);
    return 0;
}
