/* A growable byte buffer that must state its maximum, with sticky errors: append everything, check
 * once. Also the sticky little-endian writer. One thread at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct base_buf {
    uint8_t *data;    /* [len], owned; capacity cap */
    size_t len;
    size_t cap;
    size_t max_bytes; /* len never exceeds this */
    int err;          /* first error, sticky: BASE_ENOMEM or BASE_ELIMIT; 0 while whole */
};

void base_buf_init(struct base_buf *b, size_t max_bytes);
void base_buf_fini(struct base_buf *b);
void base_buf_reset(struct base_buf *b); /* len = 0, err = 0, keeps the memory */

/* Each returns b->err. After an error nothing more is appended. */
int base_buf_add(struct base_buf *b, const void *p, size_t n_bytes);
int base_buf_str(struct base_buf *b, const char *s);
int base_buf_printf(struct base_buf *b, const char *fmt, ...) BASE_PRINTF(2, 3);
int base_buf_u8(struct base_buf *b, uint8_t v);
int base_buf_u16le(struct base_buf *b, uint16_t v);
int base_buf_u32le(struct base_buf *b, uint32_t v);
int base_buf_u64le(struct base_buf *b, uint64_t v);

/* Room for n more bytes at the end, uninitialised; NULL on error. len grows by n. */
uint8_t *base_buf_grow(struct base_buf *b, size_t n_bytes);

/* Drops the first n bytes (n <= len). */
void base_buf_consume(struct base_buf *b, size_t n_bytes);

/* The content as a NUL-terminated string (the NUL is not counted); NULL on error. */
const char *base_buf_cstr(struct base_buf *b);

#endif
