/* edge_seal, from inside: what is refused after it, and what still works. Each case in a child, since
 * there is no way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "edge/seal.h"

/* The exit status of fn in a sealed child: 0 is well; 100: the seal itself failed. */
static int in_sealed_child(int (*fn)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(edge_seal(NULL) == 0 ? fn() : 100);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int refused(long rc)
{
    return rc == -1 && errno == EPERM ? 0 : 1;
}

static int no_socket(void)
{
    return refused(socket(AF_INET, SOCK_STREAM, 0)) + refused(socket(AF_INET6, SOCK_DGRAM, 0)) +
           refused(socket(AF_UNIX, SOCK_STREAM, 0)) + refused(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int early_fd = -1; /* made before the seal */

static int no_connect(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return refused(connect(early_fd, (struct sockaddr *)&to, sizeof to)) +
           refused(bind(early_fd, (struct sockaddr *)&to, sizeof to)) + refused(listen(early_fd, 1));
}

static int no_program(void)
{
    char *const argv[] = {(char *)"true", NULL};
    return refused(execve("/bin/true", argv, argv + 1)) +
           refused(syscall(SYS_execveat, -1, "/bin/true", argv, argv + 1, 0));
}

static int no_way_around(void)
{
    int bad = refused(syscall(SYS_io_uring_setup, 1, NULL)) +
              refused(syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0)) +
              refused(syscall(SYS_bpf, 0, NULL, 0));
#ifdef SYS_pidfd_getfd
    bad += refused(syscall(SYS_pidfd_getfd, 0, 0, 0));
#endif
    return bad;
}

static int no_dump(void)
{
    struct rlimit core;
    bool none = getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0;
#ifndef WP_SANITIZED
    none = none && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
#endif
    return none && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1;
}

/* A thread that was there before the seal, and one that comes after it. */
static int pipe_fd[2];

static void *thread_tries(void *arg)
{
    char c;
    (void)arg;
    if (read(pipe_fd[0], &c, 1) != 1)
        return (void *)1;
    return (void *)(intptr_t)no_socket();
}

static void threads_are_sealed_too(void **state)
{
    (void)state;
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t early, late;
        void *a = (void *)9, *b = (void *)9;
        bool ok = pipe(pipe_fd) == 0 && pthread_create(&early, NULL, thread_tries, NULL) == 0 &&
                  edge_seal(NULL) == 0 && pthread_create(&late, NULL, thread_tries, NULL) == 0 &&
                  write(pipe_fd[1], "xx", 2) == 2 && pthread_join(early, &a) == 0 &&
                  pthread_join(late, &b) == 0;
        _exit(ok && a == NULL && b == NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void ways_out_are_refused(void **state)
{
    (void)state;
    early_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(early_fd >= 0);
    assert_int_equal(in_sealed_child(no_socket), 0);
    assert_int_equal(in_sealed_child(no_connect), 0);
    assert_int_equal(in_sealed_child(no_program), 0);
    assert_int_equal(in_sealed_child(no_way_around), 0);
    assert_int_equal(in_sealed_child(no_dump), 0);
    close(early_fd);
}

static int pair[2];

static int open_ones_work(void)
{
    char c = 0;
    int listener = early_fd;
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    bool ok = send(pair[0], "x", 1, MSG_NOSIGNAL) == 1 && recv(pair[1], &c, 1, 0) == 1 && c == 'x' &&
              getsockname(listener, (struct sockaddr *)&at, &len) == 0;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return ok && fd >= 0 && send(fd, "y", 1, MSG_NOSIGNAL) == 1 ? 0 : 1;
}

static void what_was_open_goes_on(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;
    char c = 0;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    early_fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(early_fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(early_fd, 1), 0);
    assert_int_equal(getsockname(early_fd, (struct sockaddr *)&at, &len), 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(in_sealed_child(open_ones_work), 0);
    assert_int_equal(recv(client, &c, 1, 0), 1);
    assert_int_equal(c, 'y');
    close(client);
    close(early_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_out_are_refused),
        cmocka_unit_test(threads_are_sealed_too),
        cmocka_unit_test(what_was_open_goes_on),
    };
    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
