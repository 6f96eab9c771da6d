#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct base_arena_block {
    struct base_arena_block *next;
    size_t size, used;
    alignas(max_align_t) unsigned char data[];
};

enum { BLOCK_BYTES = 16 * 1024 };

void base_arena_init(struct base_arena *a, size_t max_bytes)
{
    *a = (struct base_arena){.max_bytes = max_bytes};
}

void base_arena_fini(struct base_arena *a)
{
    while (a->head != NULL) {
        struct base_arena_block *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    a->used_bytes = 0;
}

void *base_arena_get(struct base_arena *a, size_t n_bytes)
{
    const size_t align = alignof(max_align_t);
    if (n_bytes > a->max_bytes || n_bytes > SIZE_MAX - align)
        return NULL;
    size_t n = (n_bytes + align - 1) / align * align;
    if (n > a->max_bytes - a->used_bytes)
        return NULL;
    struct base_arena_block *b = a->head;
    if (b == NULL || n > b->size - b->used) {
        size_t size = n > BLOCK_BYTES ? n : BLOCK_BYTES;
        b = calloc(1, sizeof *b + size);
        if (b == NULL)
            return NULL;
        b->size = size;
        b->next = a->head;
        a->head = b;
    }
    void *p = b->data + b->used;
    b->used += n;
    a->used_bytes += n;
    return p;
}

char *base_arena_strndup(struct base_arena *a, const char *s, size_t n)
{
    char *p = n < SIZE_MAX ? base_arena_get(a, n + 1) : NULL;
    if (p != NULL)
        memcpy(p, s, n);
    return p;
}
