/* How the device itself is: processor load, temperature, power mode, from /proc and /sys where they
 * have them; looked at every few seconds, and only while the policy asks. Loop thread. */
#ifndef EDGE_DEVICE_H
#define EDGE_DEVICE_H

#include "net/local/loop.h"
#include "router/router.h"

struct edge_device;

/* root: where proc/ and sys/ are, "/" but for tests. BASE_ENOMEM. */
int edge_device_new(struct edge_device **out, const char *root, struct net_loop *l,
                    struct base_err *err) BASE_MUST_CHECK;
void edge_device_free(struct edge_device *d); /* NULL is fine */

/* engine.load, .temperature, .power_mode that p asks for and that are known. */
void edge_device_facts(struct edge_device *d, const struct rt_policy *p, struct rt_facts *f);

#endif
