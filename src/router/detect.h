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

/* Sets bit i of *found if detector i's class is in text[0..len), and leaves all other bits as they are,
 * so that several texts (a history) are run into one word. Start with 0. A match limit or any other
 * trouble sets the bit: when in doubt it is there. Not thread-safe (one match buffer). */
void rt_detect_run(struct rt_detect *d, const char *text, size_t len, uint64_t *found);

#endif
