/* Detectors: text -> data classes it certainly carries (identifiers such as phone numbers, e-mail
 * addresses, IBANs, VINs, coordinates). They only ever add labels. Const after opening. */
#ifndef ROUTER_DETECT_H
#define ROUTER_DETECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct rt_detect;
/* The built-in set. Errors: BASE_ENOMEM, BASE_EINTERNAL (a pattern does not compile). */
int rt_detect_open(struct rt_detect **out, struct base_err *err) BASE_MUST_CHECK;
void rt_detect_close(struct rt_detect *d);
int rt_detect_n(const struct rt_detect *d);
const char *rt_detect_class(const struct rt_detect *d, int i); /* "identifier.phone", … */

/* Bit i of *found is set if detector i's class was found in text[0..len). A match limit or any other
 * trouble sets the bit: when in doubt it is there. Not thread-safe (one match buffer). */
void rt_detect_run(struct rt_detect *d, const char *text, size_t len, uint64_t *found);

#endif
