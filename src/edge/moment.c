#include "edge/moment.h"

#include <time.h>

struct edge_moment edge_moment_at(int64_t real_us)
{
    struct tm tm;
    const time_t t = (time_t)(real_us / 1000000);
    tzset();
    if (real_us < 0 || localtime_r(&t, &tm) == NULL || tm.tm_year + 1900 < WP_BUILD_YEAR)
        return (struct edge_moment){.known = false};
    return (struct edge_moment){
        .known = true, .minute = tm.tm_hour * 60 + tm.tm_min, .weekday = (tm.tm_wday + 6) % 7};
}

const char *edge_weekday_str(int weekday)
{
    static const char *const name[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    return name[weekday];
}

enum rt_tri edge_moment_counts(const struct edge_moment *m, const struct rt_consent_decl *c)
{
    int day = m->weekday;
    if (!c->has_hours && c->days == 0)
        return RT_YES;
    if (!m->known)
        return RT_CANNOT_TELL;
    if (c->has_hours) {
        const bool wraps = c->from_minute > c->to_minute;
        const bool after = m->minute >= c->from_minute, before = m->minute <= c->to_minute;
        if (wraps ? !after && !before : !after || !before)
            return RT_NO;
        if (wraps && before)
            day = (day + 6) % 7;
    }
    return c->days == 0 || (c->days >> day & 1) != 0 ? RT_YES : RT_NO;
}
