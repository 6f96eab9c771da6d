#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void base_buf_init(struct base_buf *b, size_t max_bytes)
{
    *b = (struct base_buf){.max_bytes = max_bytes};
}

void base_buf_fini(struct base_buf *b)
{
    free(b->data);
    *b = (struct base_buf){.max_bytes = b->max_bytes};
}

void base_buf_reset(struct base_buf *b)
{
    b->len = 0;
    b->err = 0;
}

/* Capacity for need bytes; the terminator's byte may exceed max_bytes by one. */
static int reserve(struct base_buf *b, size_t need)
{
    if (b->err != 0)
        return b->err;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap != 0 ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (b->max_bytes < SIZE_MAX && cap > b->max_bytes + 1)
        cap = b->max_bytes + 1;
    uint8_t *p = realloc(b->data, cap);
    if (p == NULL)
        return b->err = BASE_ENOMEM;
    b->data = p;
    b->cap = cap;
    return 0;
}

uint8_t *base_buf_grow(struct base_buf *b, size_t n_bytes)
{
    if (b->err != 0)
        return NULL;
    if (n_bytes > b->max_bytes - b->len) {
        b->err = BASE_ELIMIT;
        return NULL;
    }
    /* At least one byte, so that a pointer to nothing is still not NULL. */
    if (reserve(b, b->len + (n_bytes > 0 ? n_bytes : 1)) != 0)
        return NULL;
    uint8_t *p = b->data + b->len;
    b->len += n_bytes;
    return p;
}

int base_buf_add(struct base_buf *b, const void *p, size_t n_bytes)
{
    uint8_t *at = base_buf_grow(b, n_bytes);
    if (at != NULL && n_bytes > 0)
        memcpy(at, p, n_bytes);
    return b->err;
}

int base_buf_str(struct base_buf *b, const char *s)
{
    return base_buf_add(b, s, strlen(s));
}

int base_buf_printf(struct base_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        return b->err != 0 ? b->err : (b->err = BASE_EINVAL);
    if ((size_t)n > b->max_bytes - b->len)
        return b->err != 0 ? b->err : (b->err = BASE_ELIMIT);
    if (reserve(b, b->len + (size_t)n + 1) != 0)
        return b->err;
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

static int add_le(struct base_buf *b, uint64_t v, int n_bytes)
{
    uint8_t raw[8];
    for (int i = 0; i < n_bytes; i++)
        raw[i] = (uint8_t)(v >> (8 * i));
    return base_buf_add(b, raw, (size_t)n_bytes);
}

int base_buf_u8(struct base_buf *b, uint8_t v)
{
    return base_buf_add(b, &v, 1);
}

int base_buf_u16le(struct base_buf *b, uint16_t v)
{
    return add_le(b, v, 2);
}

int base_buf_u32le(struct base_buf *b, uint32_t v)
{
    return add_le(b, v, 4);
}

int base_buf_u64le(struct base_buf *b, uint64_t v)
{
    return add_le(b, v, 8);
}

void base_buf_consume(struct base_buf *b, size_t n_bytes)
{
    if (n_bytes >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n_bytes, b->len - n_bytes);
    b->len -= n_bytes;
}

const char *base_buf_cstr(struct base_buf *b)
{
    if (reserve(b, b->len + 1) != 0)
        return NULL;
    b->data[b->len] = '\0';
    return (const char *)b->data;
}
