/* The field tables of wire v1, used by encoder and decoder. Inside this room only. */
#ifndef WIRE_MSG_H
#define WIRE_MSG_H

#include "wire/mp.h"
#include "wire/wire.h"

struct wire_msg {
    const char *name;
    const struct mp_field *f;
    int n;
};
/* NULL: no such type. */
const struct wire_msg *wire_msg_find(int type);

/* What the decoder lends to the fields that need memory. */
struct wire_msg_ctx {
    float *x; /* [n_x], owned by the decoder */
    size_t n_x;
};

#endif
