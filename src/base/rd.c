#include "base/rd.h"

#include <endian.h>
#include <string.h>

void base_rd_init(struct base_rd *r, const void *data, size_t size_bytes)
{
    *r = (struct base_rd){.data = data, .size = size_bytes};
}

int base_rd_fail(struct base_rd *r)
{
    if (r->err == 0) {
        r->err = BASE_EFORMAT;
        r->err_pos = r->pos;
    }
    return r->err;
}

const uint8_t *base_rd_bytes(struct base_rd *r, uint64_t n_bytes)
{
    if (r->err != 0 || n_bytes > r->size - r->pos) {
        base_rd_fail(r);
        return NULL;
    }
    const uint8_t *p = r->data + r->pos;
    r->pos += (size_t)n_bytes;
    return p;
}

static inline uint64_t read_le(struct base_rd *r, int n_bytes)
{
    const uint8_t *p = base_rd_bytes(r, (uint64_t)n_bytes);
    uint64_t v = 0;
    if (p != NULL)
        memcpy(&v, p, (size_t)n_bytes);
    return le64toh(v);
}

uint8_t base_rd_u8(struct base_rd *r)
{
    return (uint8_t)read_le(r, 1);
}

uint16_t base_rd_u16le(struct base_rd *r)
{
    return (uint16_t)read_le(r, 2);
}

uint32_t base_rd_u32le(struct base_rd *r)
{
    return (uint32_t)read_le(r, 4);
}

uint64_t base_rd_u64le(struct base_rd *r)
{
    return read_le(r, 8);
}

float base_rd_f32le(struct base_rd *r)
{
    uint32_t u = base_rd_u32le(r);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

double base_rd_f64le(struct base_rd *r)
{
    uint64_t u = base_rd_u64le(r);
    double f;
    memcpy(&f, &u, sizeof f);
    return f;
}
