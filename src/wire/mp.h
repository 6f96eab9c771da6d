/* Messages as tables: one row a field gives its key, type and range, and both the encoder and the
 * decoder follow it. A message is a msgpack map whose key 0 is its type and whose keys 1..n are
 * the table's rows, all present. Shared by wire and ipc; inside this room only. */
#ifndef WIRE_MP_H
#define WIRE_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <msgpack.h>

#include "base/buf.h"
#include "base/err.h"

enum mp_kind {
    MP_INT,     /* int or an enum, in [min, max] */
    MP_U32,     /* uint32_t, any */
    MP_U64,     /* uint64_t, any */
    MP_REAL,    /* float, finite, in [min, max] */
    MP_BOOL,    /* bool */
    MP_BYTES,   /* uint8_t[size] */
    MP_TEXT,    /* char[size] with its NUL: an identifier, no control characters */
    MP_MESSAGE, /* the same for people: the encoder replaces what does not belong, and cuts */
    MP_SPECIAL, /* put and get do it */
};

struct mp_writer {
    msgpack_packer pk;
    struct base_buf *out;
    int err; /* BASE_EINVAL, BASE_ELIMIT; memory is in out->err */
};

/* ctx is the decoder's. Errors with err->msg set (without the field's name). */
typedef void mp_put_fn(struct mp_writer *w, const void *s);
typedef int mp_get_fn(const msgpack_object *v, void *s, void *ctx, struct base_err *err);

struct mp_field {
    const char *name;
    enum mp_kind kind;
    size_t offset;
    double min, max;
    size_t size;
    mp_put_fn *put;
    mp_get_fn *get;
};

/* Appends the message to out. Errors: BASE_EINVAL (a field out of its range), BASE_ELIMIT,
 * BASE_ENOMEM; out may then hold a part of it. */
int mp_write(struct base_buf *out, int type, const struct mp_field *f, int n,
             const void *s) BASE_MUST_CHECK;

/* A scanned and unpacked message; pointers in it reach into the bytes it was made from. */
struct mp_message {
    msgpack_unpacked unpacked;
    const msgpack_object_map *map;
    int type; /* key 0 */
};
/* Errors: BASE_EFORMAT, BASE_ELIMIT, BASE_ENOMEM; *at as in wire_scan. Close it in any case. */
int mp_open(struct mp_message *m, const uint8_t *p, size_t len, size_t *at,
            struct base_err *err) BASE_MUST_CHECK;
void mp_close(struct mp_message *m);
/* Fills s from keys 1..n. Errors: BASE_EFORMAT and what get returns. */
int mp_read(const struct mp_message *m, const struct mp_field *f, int n, void *s, void *ctx,
            struct base_err *err) BASE_MUST_CHECK;

/* For specials: text into out[size], as MP_TEXT. */
int mp_get_text(const msgpack_object *v, char *out, size_t size, struct base_err *err);
void mp_put_text(struct mp_writer *w, const char *s, size_t size);
int mp_get_real(const msgpack_object *v, float *out, double min, double max, struct base_err *err);
void mp_put_real(struct mp_writer *w, float v, double min, double max);

#endif
