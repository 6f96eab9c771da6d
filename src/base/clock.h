/* The two clocks. Rooms that decide (router, protocol state machines) take the time as a parameter
 * instead, so that tests own it. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in microseconds: durations and deadlines. */
int64_t base_clock_mono_us(void);

/* CLOCK_REALTIME in microseconds since 1970: what is written down. */
int64_t base_clock_real_us(void);

/* "2026-11-23T05:04:03.123456Z" into buf. Returns buf. */
const char *base_clock_iso8601(int64_t real_us, char buf[32]);

#endif
