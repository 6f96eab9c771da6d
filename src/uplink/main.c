/* waypost-uplink: start-up as a list to be read, the loop, and the way down. */
#include "uplink/uplink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

enum { MAX_FILES = 256, FIRST_OTHER_FD = 3 };

static int fail(const struct base_err *err)
{
    char line[sizeof err->place + sizeof err->msg + 4];
    base_log_error("start", "%s", base_err_line(err, line, sizeof line));
    return 1;
}

/* Takes `--ipc-fd N` out of argv, where the edge puts it. -1: not given, -2: not a descriptor. */
static int take_ipc_fd(int *argc, char **argv)
{
    int fd = -1, n = 0;
    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], "--ipc-fd") != 0 || i + 1 == *argc) {
            argv[n++] = argv[i];
            continue;
        }
        char *end;
        long v = strtol(argv[++i], &end, 10);
        fd = *argv[i] != '\0' && *end == '\0' && v >= 0 && v < MAX_FILES ? (int)v : -2;
    }
    argv[n] = NULL;
    *argc = n;
    return fd;
}

/* Proxies, key logs, another OpenSSL configuration: none of the environment is ours to obey. */
static int clean_process(int ipc_fd, struct base_err *err)
{
    if (clearenv() != 0)
        return base_err_set(err, BASE_EIO, "environment", "cannot be cleared");
    umask(077);
    for (int fd = FIRST_OTHER_FD; fd < MAX_FILES; fd++) {
        if (fd != ipc_fd)
            close(fd);
    }
    if (fcntl(ipc_fd, F_SETFD, FD_CLOEXEC) != 0)
        return base_err_set(err, BASE_EIO, "--ipc-fd", "%s", strerror(errno));
    return 0;
}

/* Released content and the client's key stay out of core dumps and out of other processes' reach.
 */
static int seal(struct base_err *err)
{
    struct rlimit none = {0, 0}, files = {MAX_FILES, MAX_FILES};
    if (setrlimit(RLIMIT_CORE, &none) != 0 || setrlimit(RLIMIT_NOFILE, &files) != 0)
        return base_err_set(err, BASE_EIO, "seal", "limits: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return base_err_set(err, BASE_EIO, "seal", "no_new_privs: %s", strerror(errno));
#ifndef WP_SANITIZED /* the leak checker looks at its own process at exit */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return base_err_set(err, BASE_EIO, "seal", "dumpable: %s", strerror(errno));
#endif
    return 0;
}

static int open_ledger(struct up *u, struct base_err *err)
{
    char line[sizeof err->place + sizeof err->msg + 4];
    struct base_err note = {0};
    int e = ledger_open(&u->ledger, u->cfg.ledger_file, &note);
    if (e != 0)
        *err = note;
    else if (note.msg[0] != '\0')
        base_log_warn("ledger", "%s", base_err_line(&note, line, sizeof line));
    return e;
}

static void on_signal(int signo, void *arg)
{
    struct up *u = arg;
    base_log_info("main", "signal %d: stopping", signo);
    net_loop_stop(u->loop);
}

static void on_edge_gone(struct up *u)
{
    net_loop_stop(u->loop);
}

static int start_loop(struct up *u, int ipc_fd, struct base_err *err)
{
    int e = net_loop_new(&u->loop, err);
    if (e != 0 || (e = net_h2c_new(&u->net, u->loop, err)) != 0 ||
        (e = up_sock_new(u, ipc_fd, on_edge_gone, err)) != 0 || (e = up_targets_init(u, err)) != 0)
        return e;
    if (net_signal(u->loop, SIGTERM, on_signal, u) != 0 ||
        net_signal(u->loop, SIGINT, on_signal, u) != 0)
        return base_err_set(err, BASE_EIO, "signal", "cannot be handled");
    return 0;
}

static void say_ready(struct up *u)
{
    struct ipc_msg *m = calloc(1, sizeof *m);
    if (m == NULL)
        return; /* the edge waits for it, and nothing is sent */
    m->type = IPC_READY;
    for (int i = 0; i < u->n_target; i++)
        memcpy(m->u.ready.targets[i], u->target[i].cfg.name, sizeof m->u.ready.targets[i]);
    m->u.ready.n_target = u->n_target;
    up_sock_send(u->sock, m);
    free(m);
    base_log_info("main", "ready targets=%d ledger=%s", u->n_target, u->cfg.ledger_file);
}

static void stop(struct up *u)
{
    if (u->sock != NULL) {
        up_req_close_all(u, BASE_ECANCELED, "the uplink stops");
        up_sock_flush(u->sock);
    }
    net_h2c_free(u->net);
    up_targets_fini(u);
    up_sock_free(u->sock);
    net_loop_free(u->loop);
    /* Whoever keeps the log keeps a head with which `ledger verify --head` finds a cut end. */
    if (u->head[0] != '\0')
        base_log_info("ledger", "head=%s", u->head);
    ledger_close(u->ledger);
    base_opt_fini(up_cli.opt, up_cli.n_opt, &u->cfg);
}

static int run(struct up *u, int ipc_fd)
{
    struct base_err err = {0};
    int status = 1;
    if (clean_process(ipc_fd, &err) != 0 || seal(&err) != 0 || open_ledger(u, &err) != 0 ||
        start_loop(u, ipc_fd, &err) != 0) {
        fail(&err);
    } else {
        say_ready(u);
        up_targets_start(u);
        status = net_loop_run(u->loop) == 0 ? 0 : 1;
    }
    stop(u);
    return status;
}

int main(int argc, char **argv)
{
    static struct up u;
    int ipc_fd = take_ipc_fd(&argc, argv);
    int status = base_cli_main(&up_cli, &u.cfg, argc, argv);
    if (status >= 0) {
        base_opt_fini(up_cli.opt, up_cli.n_opt, &u.cfg);
        return status;
    }
    if (ipc_fd < FIRST_OTHER_FD) {
        fputs("waypost-uplink: waypost-edge starts this program, with --ipc-fd N (3 or more)\n",
              stderr);
        base_opt_fini(up_cli.opt, up_cli.n_opt, &u.cfg);
        return 2;
    }
    base_log_init("waypost-uplink", (enum base_log_level)u.cfg.log_level);
    return run(&u, ipc_fd);
}
