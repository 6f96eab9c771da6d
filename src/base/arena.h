/* A per-request arena: many small allocations, one release. Memory is zeroed. One thread. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct base_arena_block;

struct base_arena {
    struct base_arena_block *head;
    size_t used_bytes;
    size_t max_bytes; /* base_arena_get returns NULL past this */
};

void base_arena_init(struct base_arena *a, size_t max_bytes);
void base_arena_fini(struct base_arena *a);

/* n zeroed bytes aligned for any type; NULL when memory or max_bytes runs out. */
void *base_arena_get(struct base_arena *a, size_t n_bytes);

/* A NUL-terminated copy of s[0..n). */
char *base_arena_strndup(struct base_arena *a, const char *s, size_t n);

#endif
