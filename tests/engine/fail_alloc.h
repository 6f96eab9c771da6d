/* Allocations that fail, for programs linked with $(WRAP_ALLOC): of our own objects only, the C
 * library's and PCRE2's are not ours to fail. */
#ifndef TESTS_ENGINE_FAIL_ALLOC_H
#define TESTS_ENGINE_FAIL_ALLOC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

static atomic_int alloc_left = -1; /* until one fails, in any thread; negative: none does */

static inline bool alloc_fails(void)
{
    return atomic_load(&alloc_left) >= 0 && atomic_fetch_sub(&alloc_left, 1) == 0;
}

/* Ends a scenario: whether an allocation has failed in it. */
static inline bool alloc_failed(void)
{
    return atomic_exchange(&alloc_left, -1) < 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t n)
{
    return alloc_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return alloc_fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return alloc_fails() ? NULL : __real_aligned_alloc(align, n);
}

char *__wrap_strdup(const char *s)
{
    return alloc_fails() ? NULL : __real_strdup(s);
}

#endif
