/* One frame of every kind with fixed values, and a text form of any frame: used by the wire tests,
 * the vector tool and the corpora. */
#ifndef TESTS_WIRE_SAMPLES_H
#define TESTS_WIRE_SAMPLES_H

#include <stdio.h>

#include "wire/ipc.h"
#include "wire/wire.h"

/* Good frames, by index until it returns NULL. Each is named as its vector is. */
const char *sample_wire(int i, struct wire_frame *f);
const char *sample_ipc(int i, struct ipc_msg *m);

/* One `field value` a line, so that any implementation can compare. */
void dump_wire(const struct wire_frame *f, FILE *out);

#endif
