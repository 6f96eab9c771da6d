/* A cursor over untrusted bytes with a sticky error: read everything, check once. A read past the
 * end sets the error, yields zeros and does not move. No allocation; the bytes are borrowed. */
#ifndef BASE_RD_H
#define BASE_RD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct base_rd {
    const uint8_t *data; /* [size], borrowed */
    size_t size;
    size_t pos;
    int err;             /* 0 or BASE_EFORMAT, sticky */
    size_t err_pos;      /* where it first failed */
};

void base_rd_init(struct base_rd *r, const void *data, size_t size_bytes);
uint8_t base_rd_u8(struct base_rd *r);
uint16_t base_rd_u16le(struct base_rd *r);
uint32_t base_rd_u32le(struct base_rd *r);
uint64_t base_rd_u64le(struct base_rd *r);
float base_rd_f32le(struct base_rd *r);
double base_rd_f64le(struct base_rd *r);

/* The next n bytes, borrowed, and steps over them; NULL if there are fewer. */
const uint8_t *base_rd_bytes(struct base_rd *r, uint64_t n_bytes);

/* Marks the cursor failed here (a value that makes no sense). Returns BASE_EFORMAT. */
int base_rd_fail(struct base_rd *r);

static inline size_t base_rd_left(const struct base_rd *r)
{
    return r->err != 0 ? 0 : r->size - r->pos;
}

#endif
