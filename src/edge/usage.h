/* What has been used of budgets and quotas, and which consents hold: numbers by key and period,
 * kept in one file that is written whole or not at all, a second after a change, by a thread of its
 * own. A power cut forgets at most that second. A file that cannot be read makes every number one
 * that cannot be told, so that nothing opens by losing it. Loop thread. */
#ifndef EDGE_USAGE_H
#define EDGE_USAGE_H

#include "net/local/loop.h"
#include "router/data.h"

struct edge_usage;

enum { EDGE_USAGE_MAX = 512, EDGE_USAGE_KEY = 224 };

/* path "": only in memory. Errors: BASE_ENOMEM. */
int edge_usage_open(struct edge_usage **out, const char *path, struct net_loop *l,
                    struct base_err *err) BASE_MUST_CHECK;
void edge_usage_close(struct edge_usage *u); /* writes what is new. NULL is fine */

/* A trip begins with the machine's boot and with each start of the vehicle: `starts` counts those
 * that the feed told, and only ever grows. A restart of the daemon is none. */
void edge_usage_starts(struct edge_usage *u, uint64_t starts);

/* The number of the present period of a kind, as of real_us. Clocks that go back go back in it too.
 */
int64_t edge_usage_period(const struct edge_usage *u, enum rt_period p, int64_t real_us);

/* What has been used in this period; < 0: cannot be told. An earlier period than the one counted
 * last is that one: putting the clock back gives nothing back. */
double edge_usage_get(const struct edge_usage *u, const char *key, int64_t period);
void edge_usage_add(struct edge_usage *u, const char *key, int64_t period, double n);

/* What was said in this very period; false: nothing. */
bool edge_usage_consents(const struct edge_usage *u, const char *name, int64_t period, bool *yes);
/* BASE_ELIMIT: no room; BASE_EIO: the file was unreadable. */
int edge_usage_consent(struct edge_usage *u, const char *name, int64_t period,
                       bool yes) BASE_MUST_CHECK;

bool edge_usage_broken(const struct edge_usage *u);

#endif
