/* TAP on stdout and reproducible random numbers, so that these checks need no test library and
 * cross-build and run under emulation as they are. */
#ifndef TESTS_KERNELS_TAP_H
#define TESTS_KERNELS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_n, tap_bad;

/* One test point; the text tells values only when it fails. */
__attribute__((format(printf, 2, 3))) static inline bool tap_ok(bool good, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("%sok %d - ", good ? "" : "not ", ++tap_n);
    vprintf(fmt, ap);
    putchar('\n');
    va_end(ap);
    tap_bad += !good;
    return good;
}

static inline int tap_end(void)
{
    printf("1..%d\n", tap_n);
    return tap_bad != 0;
}

static uint64_t rng_state = 1;

static inline uint64_t rng_u64(void)
{
    uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline int rng_in(int lo, int hi) /* both included */
{
    return lo + (int)(rng_u64() % (uint64_t)(hi - lo + 1));
}

/* Bell-shaped around 0, about unit variance, the same on every machine (sums of integers). */
static inline float rng_f32(void)
{
    int32_t s = 0;
    for (int i = 0; i < 3; i++)
        s += (int32_t)(rng_u64() & 0x3ffff) - 0x20000;
    return (float)s * 0x1p-17f;
}

static inline void rng_bytes(void *p, size_t n)
{
    uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        b[i] = (uint8_t)rng_u64();
}

static inline void rng_floats(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = rng_f32();
}

static inline void *tap_alloc(size_t n_bytes)
{
    void *p = aligned_alloc(64, (n_bytes + 63) / 64 * 64);
    if (p == NULL) {
        printf("Bail out! out of memory\n");
        exit(1);
    }
    return p;
}

#define TAP_LEN(a) (int)(sizeof(a) / sizeof((a)[0]))

#endif
