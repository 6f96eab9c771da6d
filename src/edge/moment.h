/* The moment in local time, for rules and consents that ask for it. The zone is the machine's, looked at
 * each time: cars cross zones. */
#ifndef EDGE_MOMENT_H
#define EDGE_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "router/router.h"

struct edge_moment {
    bool known;  /* false: the clock says an earlier year than that of the build, so nobody has set it */
    int minute;  /* of the day */
    int weekday; /* 0: Monday */
};

struct edge_moment edge_moment_at(int64_t real_us);
const char *edge_weekday_str(int weekday); /* "mon" … */

/* Whether c counts then. What begins on one day and goes on past midnight belongs to that day. */
enum rt_tri edge_moment_counts(const struct edge_moment *m, const struct rt_consent_decl *c);

#endif
