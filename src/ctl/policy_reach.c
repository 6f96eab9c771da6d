#include "ctl/policy_reach.h"

#include <stdio.h>

enum { OUT_BYTES = 64 << 20 };

int ctl_policy_reach(const struct rt_policy *p, bool json)
{
    struct base_buf out;

    base_buf_init(&out, OUT_BYTES);
    int err = rt_policy_reach(p, json, &out);
    if (err == 0 && fwrite(out.data, 1, out.len, stdout) != out.len)
        err = BASE_EIO;
    if (err != 0)
        fprintf(stderr, "waypostctl: %s\n", base_code_str(err));
    base_buf_fini(&out);
    return err == 0 ? 0 : 3;
}
