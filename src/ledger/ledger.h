/* The egress ledger: an append-only file of records, each chained to the one before by SHA-256 and
 * flushed to the medium before the call returns. Written by the uplink alone, read by waypostctl.
 * One line of JSON a record, so that an officer can read it with any tool; docs/ledger.md gives the
 * bytes. Never content. One thread. */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
    LEDGER_MAX_CLASS = 16,
    LEDGER_MAX_TEXT = 256,
    /* Every text at its longest with every byte escaped to six, and the fixed fields. */
    LEDGER_MAX_LINE = 32 << 10,
};

enum ledger_kind { LEDGER_RELEASE, LEDGER_CLOSE };

struct ledger_record {
    enum ledger_kind kind;
    uint64_t seq;                 /* set by append and read */
    char hash[65];                /* hex, of this record: the chain's head; set by append and read */
    int64_t time_us;              /* CLOCK_REALTIME */
    char decision_id[33];         /* hex; joins RELEASE and CLOSE */
    /* RELEASE */
    char rule[LEDGER_MAX_TEXT + 1], target[LEDGER_MAX_TEXT + 1], mode[16];
    char policy_hash[65];
    char classes[LEDGER_MAX_CLASS][LEDGER_MAX_TEXT + 1];
    int n_class;
    uint64_t max_bytes;
    /* CLOSE */
    uint64_t bytes_out, bytes_in; /* body bytes that really went and came */
    char result[LEDGER_MAX_TEXT + 1]; /* "ok" or the error's code text */
};

struct ledger;
/* Opens or creates (0600) and verifies the chain's end; takes an exclusive lock. A torn last line (power
 * cut) is moved to FILE.torn-<seq> and said in *err with code 0. Errors: BASE_EIO, BASE_EBUSY (another
 * writer), BASE_EFORMAT (broken chain: refuses to append), BASE_EPERM (not a file of ours that only we
 * can write), BASE_ENOMEM. */
int ledger_open(struct ledger **out, const char *path, struct base_err *err) BASE_MUST_CHECK;
void ledger_close(struct ledger *l);

/* Writes, flushes to the medium, then returns 0 with r->seq and r->hash set. BASE_EINVAL (a field breaks
 * the format; nothing was written), BASE_EIO, BASE_EFORMAT (the file was moved or changed under us),
 * BASE_ENOMEM. After any error the ledger refuses all later appends with BASE_EIO. */
int ledger_append(struct ledger *l, struct ledger_record *r, struct base_err *err) BASE_MUST_CHECK;

/* Calls cb for each record from the start, verifying as it goes; a result of cb other than 0 stops and
 * is returned. Stops at the first broken record with BASE_EFORMAT and err->place "FILE:line". head: the
 * last hash in hex, zeros for an empty file (may be NULL). Also BASE_EIO, BASE_ENOMEM. */
typedef int ledger_read_cb(const struct ledger_record *r, void *arg);
int ledger_read(const char *path, ledger_read_cb *cb, void *arg, char head[65], struct base_err *err)
    BASE_MUST_CHECK;

#endif
