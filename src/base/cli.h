/* The command line that every daemon shares: --config FILE, --set NAME=VALUE, --check-config,
 * --dump-config, --man, --version, --help. */
#ifndef BASE_CLI_H
#define BASE_CLI_H

#include "base/opt.h"

struct base_cli {
    const char *program; /* "waypost-edge" */
    const char *summary; /* one line for --help */
    const struct base_opt *opt;
    int n_opt;
    /* What the table can't express (a file that must exist, two options that exclude each other).
     * NULL or returns 0 or an error for the person. Also run by --check-config. */
    int (*check)(const void *cfg, struct base_err *err);
};

/* Fills cfg from defaults, files and --set, in the order given. Returns -1 to go on and start the
 * daemon, or the exit status (0 after --help and friends, 2 on a usage or configuration error,
 * which was printed to stderr). Prints; only for main(). */
int base_cli_main(const struct base_cli *cli, void *cfg, int argc, char **argv);

/* Writes a bound port to the file that a setting names ("": nothing to do), whole or not at all, so
 * that a waiting script never reads half a number. BASE_EIO, BASE_ENOMEM. */
int base_cli_tell_port(const char *path, int port, struct base_err *err) BASE_MUST_CHECK;

#endif
