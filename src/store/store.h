/* The policy store: loads FILE with its includes, verifies its signature where keys are configured,
 * compiles it, and remembers what was good: the highest serial number and copies of the last two
 * policies, in a folder of its own. It never decides what is in force; its owner does. One thread.
 *
 * Without keys a policy needs no signature and has serial 0. Without a folder nothing is remembered
 * over a restart. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "store/sign.h"

struct store;

struct store_opt {
    const char *file;
    const char *state_dir; /* "": none */
    struct store_key key[STORE_MAX_KEY];
    int n_key;
};

/* A policy that may be put into force. Owned by whoever got it: store_policy_fini. */
struct store_policy {
    struct rt_policy *rt;
    uint64_t serial; /* 0: not signed */
    uint8_t hash[BASE_SHA256_BYTES];
    struct store_set set;
};
void store_policy_fini(struct store_policy *p);

/* Reads what the folder remembers. A folder that is not there, or that others may write to, is an
 * error; what it holds may be broken, which store_last_good tells. Errors: BASE_EIO, BASE_EPERM,
 * BASE_ENOMEM. */
int store_open(struct store **out, const struct store_opt *o, struct base_err *err) BASE_MUST_CHECK;
void store_close(struct store *s); /* NULL is fine */

/* FILE as it is now. Remembers nothing: a dry run. diags has every finding of the compiler. Errors:
 * BASE_EPERM (signature, rights, rolled back before), BASE_EMISMATCH (a serial number below the
 * highest, or the highest with other files), BASE_EFORMAT (the policy), BASE_EIO, BASE_ENOTFOUND,
 * BASE_ELIMIT, BASE_EINVAL, BASE_ENOMEM. */
int store_load(struct store *s, struct store_policy *out, struct rt_diags *diags,
               struct base_err *err) BASE_MUST_CHECK;

/* p is in force: what was good before becomes the previous one, p the last good. The serial number
 * counts from here on even where writing fails. BASE_EIO, BASE_ENOMEM. */
int store_keep(struct store *s, const struct store_policy *p, struct base_err *err) BASE_MUST_CHECK;

/* The copy of the last good one, verified and compiled again. BASE_ENOTFOUND: there is none; else
 * as store_load. */
int store_last_good(struct store *s, struct store_policy *out,
                    struct base_err *err) BASE_MUST_CHECK;

/* The one before it, which becomes the last good one; what was in its place is refused from now on,
 * until other files come. Errors as store_last_good and store_keep. */
int store_roll_back(struct store *s, struct store_policy *out,
                    struct base_err *err) BASE_MUST_CHECK;

/* What was loaded last is known now, good or not: store_changed tells what comes after it. */
void store_settle(struct store *s);
/* Whether FILE or one of its includes has changed since then, and has kept still between
 * the last two: so that nobody reads a file that is being written. */
bool store_changed(struct store *s);

uint64_t store_floor(const struct store *s); /* the highest serial number kept */

/* Compiles a set that was read. Errors as rt_policy_compile_sources, with place and reason. */
int store_compile(struct rt_policy **out, const struct store_set *set, struct rt_diags *diags,
                  struct base_err *err) BASE_MUST_CHECK;

#endif
