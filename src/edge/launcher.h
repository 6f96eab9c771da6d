/* The launcher: a tiny process forked before the edge seals itself. It starts waypost-uplink with
 * one end of a socketpair as descriptor 3, hands the other end to the edge, and starts it again
 * (with back-off) when it dies. It exists because the edge's seal forbids new programs, and a
 * program started after the seal would inherit it and could not open a connection. It never sees a
 * request. */
#ifndef EDGE_LAUNCHER_H
#define EDGE_LAUNCHER_H

#include <sys/types.h>

#include "base/err.h"

struct edge_launcher {
    pid_t pid;
    int fd; /* the edge's end: sockets to uplinks come here */
};

/* Forks. program is run as `program --ipc-fd 3 --config config`. Before threads are started.
 * Errors: BASE_EIO. */
int edge_launcher_start(struct edge_launcher *l, const char *program, const char *config,
                        struct base_err *err) BASE_MUST_CHECK;

/* Lets the launcher stop its uplink and waits for it. */
void edge_launcher_stop(struct edge_launcher *l);

/* Takes the next socket from the launcher. Errors: BASE_EBUSY (none now), BASE_ECLOSED (the
 * launcher is gone). */
int edge_launcher_take(int launcher_fd, int *sock) BASE_MUST_CHECK;

#endif
