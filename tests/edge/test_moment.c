/* The moment in local time: zones, clocks that nobody has set, and when a consent counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "edge/moment.h"

/* Of the first Monday of the year after the build's, at 00:00 in UTC. */
static int64_t monday_us(void)
{
    struct tm tm = {.tm_year = WP_BUILD_YEAR + 1 - 1900, .tm_mday = 1};
    time_t t = timegm(&tm);
    gmtime_r(&t, &tm);
    return ((int64_t)t + (int64_t)((8 - tm.tm_wday) % 7) * 86400) * 1000000;
}

static const int64_t MINUTE = 60 * (int64_t)1000000;

static void expect(const char *zone, int64_t us, int minute, int weekday)
{
    setenv("TZ", zone, 1);
    const struct edge_moment m = edge_moment_at(us);
    assert_true(m.known);
    assert_int_equal(m.minute, minute);
    assert_int_equal(m.weekday, weekday);
}

static void it_is_local(void **x)
{
    (void)x;
    const int64_t monday = monday_us();
    expect("UTC0", monday, 0, 0);
    expect("UTC0", monday - 1, 1439, 6);
    expect("UTC0", monday + 754 * MINUTE, 754, 0);
    expect("IST-5:30", monday, 330, 0); /* the zone changes while the program runs */
    expect("PST8", monday, 960, 6);
    expect("UTC0", monday, 0, 0);
}

static void a_clock_that_is_not_set_says_nothing(void **x)
{
    (void)x;
    struct tm tm = {.tm_year = WP_BUILD_YEAR - 1900, .tm_mday = 1};
    setenv("TZ", "UTC0", 1);
    const int64_t year_us = (int64_t)timegm(&tm) * 1000000;
    assert_true(edge_moment_at(year_us).known);
    assert_false(edge_moment_at(year_us - 1000000).known);
    assert_false(edge_moment_at(0).known);
    assert_false(edge_moment_at(-1).known);
}

static enum rt_tri counts(bool known, int weekday, int minute, int from, int to, unsigned days)
{
    const struct edge_moment m = {.known = known, .minute = minute, .weekday = weekday};
    const struct rt_consent_decl c = {
        .has_hours = from >= 0, .from_minute = from, .to_minute = to, .days = (uint8_t)days};
    return edge_moment_counts(&m, &c);
}

static void consents_have_hours(void **x)
{
    (void)x;
    enum { MON = 1, FRI = 16, SUN = 64 };
    assert_int_equal(counts(false, 0, 0, -1, 0, 0), RT_YES); /* always */
    assert_int_equal(counts(false, 0, 0, 60, 120, 0), RT_CANNOT_TELL);
    assert_int_equal(counts(false, 0, 0, -1, 0, MON), RT_CANNOT_TELL);
    assert_int_equal(counts(true, 0, 59, 60, 120, 0), RT_NO);
    assert_int_equal(counts(true, 0, 60, 60, 120, 0), RT_YES);
    assert_int_equal(counts(true, 0, 120, 60, 120, 0), RT_YES);
    assert_int_equal(counts(true, 0, 121, 60, 120, 0), RT_NO);
    assert_int_equal(counts(true, 0, 60, 60, 120, FRI), RT_NO);
    assert_int_equal(counts(true, 4, 60, 60, 120, FRI), RT_YES);
    assert_int_equal(counts(true, 0, 600, -1, 0, MON), RT_YES);
    assert_int_equal(counts(true, 1, 600, -1, 0, MON), RT_NO);
    /* Friday's night from 22:00 to 06:00 */
    assert_int_equal(counts(true, 4, 1320, 1320, 360, FRI), RT_YES);
    assert_int_equal(counts(true, 5, 360, 1320, 360, FRI), RT_YES);
    assert_int_equal(counts(true, 5, 361, 1320, 360, FRI), RT_NO);
    assert_int_equal(counts(true, 5, 1320, 1320, 360, FRI), RT_NO);
    assert_int_equal(counts(true, 4, 300, 1320, 360, FRI), RT_NO);
    assert_int_equal(counts(true, 0, 300, 1320, 360, SUN), RT_YES);
}

static void days_have_names(void **x)
{
    (void)x;
    assert_string_equal(edge_weekday_str(0), "mon");
    assert_string_equal(edge_weekday_str(6), "sun");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_local),
        cmocka_unit_test(a_clock_that_is_not_set_says_nothing),
        cmocka_unit_test(consents_have_hours),
        cmocka_unit_test(days_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
