/* waypostctl policy reach: what each class of data permits, and what can leave. */
#ifndef CTL_POLICY_REACH_H
#define CTL_POLICY_REACH_H

#include <stdbool.h>

#include "router/router.h"

/* Prints the table of a compiled policy, as Markdown or as JSON. The exit status. */
int ctl_policy_reach(const struct rt_policy *p, bool json);

#endif
