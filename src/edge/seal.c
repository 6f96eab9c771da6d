#include "edge/seal.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* A deny list: the ways out of the process and the ways around the list itself. An allow list would
 * have to follow every libc and kernel; what matters here is that there is no way out. */
static const int denied[] = {
    /* ways out */
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(socketcall), /* all of them at once, on old 32-bit machines */
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    /* another program does not carry our promises */
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(memfd_create),
    /* other processes, the uplink above all */
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(kcmp),
    SCMP_SYS(process_vm_writev),
#ifndef WP_SANITIZED /* the leak checker looks at its own threads with these at exit */
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
#endif
    /* the kernel */
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
};

static int filter_load(struct base_err *err)
{
    int rc = 0;
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    if (ctx == NULL)
        return base_err_set(err, BASE_EIO, "seal", "seccomp is not available");
    for (size_t i = 0; rc == 0 && i < sizeof denied / sizeof denied[0]; i++)
        rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
    /* Calls of another architecture would pass by the list; libseccomp's default kills them. */
    if (rc == 0)
        rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = seccomp_load(ctx);
    seccomp_release(ctx);
    return rc == 0 ? 0 : base_err_set(err, BASE_EIO, "seal", "seccomp: %s", strerror(-rc));
}

int edge_seal(struct base_err *err)
{
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return base_err_set(err, BASE_EIO, "seal", "no core dumps: %s", strerror(errno));
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return base_err_set(err, BASE_EIO, "seal", "no_new_privs: %s", strerror(errno));
#ifndef WP_SANITIZED
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return base_err_set(err, BASE_EIO, "seal", "dumpable: %s", strerror(errno));
#endif
    return filter_load(err);
}
