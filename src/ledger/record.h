/* One record <-> one line. Pure; shared by the writer and the reader so that there is one form
 * only. */
#ifndef LEDGER_RECORD_H
#define LEDGER_RECORD_H

#include <stddef.h>

#include "ledger/ledger.h"

/* The line of r without its newline, chained to prev (hex), on the heap; sets r->hash. BASE_EINVAL
 * (field, place names it), BASE_ENOMEM, BASE_EINTERNAL. */
int ledger_line(char **out, struct ledger_record *r, const char prev[65],
                struct base_err *err) BASE_MUST_CHECK;

/* Reads line[0..len) (no newline) into r and checks its hash and that it is in the one form that
 * ledger_line writes. prev: what the line names as the hash before it. BASE_EFORMAT, BASE_ENOMEM.
 */
int ledger_parse(struct ledger_record *r, char prev[65], const char *line, size_t len,
                 const char *place, struct base_err *err) BASE_MUST_CHECK;

#endif
