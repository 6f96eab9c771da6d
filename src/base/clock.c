#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t now_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t base_clock_mono_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t base_clock_real_us(void)
{
    return now_us(CLOCK_REALTIME);
}

const char *base_clock_iso8601(int64_t real_us, char buf[32])
{
    time_t s = (time_t)(real_us / 1000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    size_t n = strftime(buf, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf + n, 32 - n, ".%06dZ", (int)(real_us % 1000000));
    return buf;
}
