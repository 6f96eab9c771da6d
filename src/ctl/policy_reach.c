#include "ctl/policy_reach.h"

#include <stdio.h>

#include "ctl/policy.h"

enum { OUT_BYTES = 64 << 20 };

int ctl_policy_reach(const struct rt_policy *p, bool json)
{
    struct base_buf out;

    base_buf_init(&out, OUT_BYTES);
    int err = rt_policy_reach(p, json, &out);
    if (err != 0)
        fprintf(stderr, "waypostctl: %s\n", base_code_str(err));
    const int status = err == 0 ? ctl_policy_print(&out) : CTL_FAIL;
    base_buf_fini(&out);
    return status;
}
