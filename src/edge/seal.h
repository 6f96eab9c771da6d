/* The seal: after start the edge may not make a socket, connect, run a program, look into another
 * process or leave a core dump. What it holds open (its listeners, the socket to the uplink, files)
 * is all it will ever have. Applies to every thread, also to those started later. */
#ifndef EDGE_SEAL_H
#define EDGE_SEAL_H

#include "base/err.h"

/* Errors: BASE_EIO (the kernel refused: the daemon must not go on). */
int edge_seal(struct base_err *err) BASE_MUST_CHECK;

#endif
