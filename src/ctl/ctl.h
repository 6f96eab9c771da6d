/* waypostctl: a table of commands, one file a family. Each command gets its own argv (argv[0] is its
 * name) and returns an exit status: 0 fine, 1 the answer is no, 2 usage, 3 could not do it. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>

int ctl_model(int argc, char **argv);  /* model info|bench|perplexity */
int ctl_tune(int argc, char **argv);   /* tune confidence */
int ctl_policy(int argc, char **argv); /* policy check|explain|test|simulate|diff|tune … */
int ctl_policy_keys(int argc, char **argv); /* policy keygen|sign|verify; -1: none of them */
int ctl_ledger(int argc, char **argv); /* ledger show|verify */
int ctl_certs(int argc, char **argv);  /* certs */

/* Takes --json out of argv; true if it was there. */
bool ctl_take_json(int *argc, char **argv);

#endif
