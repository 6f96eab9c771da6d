/* The uplink's settings: the option table, and its target lines taken apart. */
#ifndef UPLINK_CONFIG_H
#define UPLINK_CONFIG_H

#include <stdbool.h>

#include "base/cli.h"
#include "wire/ipc.h"

enum { UP_MAX_TARGET = IPC_MAX_CLASS };

struct up_target_config {
    char name[IPC_MAX_TEXT + 1];
    char url[512], ca[512], cert[512], key[512], crl[512], pin[64]; /* crl, pin: "" if none */
    bool preconnect;
};

struct up_config {
    struct base_strlist target_line, preconnect;
    char *ledger_file;
    int64_t connect_deadline_ms, idle_close_ms, link_retry_ms;
    int64_t max_requests, max_deadline_ms, queue_bytes, answer_bytes;
    int log_level;
};

extern const struct base_cli up_cli;

/* Reads the target lines and looks at the files that they name. out: [UP_MAX_TARGET]. */
int up_config_targets(const struct up_config *c, struct up_target_config *out, int *n,
                      struct base_err *err) BASE_MUST_CHECK;

#endif
