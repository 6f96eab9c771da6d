/* The check of a message's bytes before msgpack-c sees them: msgpack-c trusts counts (five bytes
 * can reserve gigabytes), takes duplicate keys and invalid UTF-8. Pure; any thread. */
#ifndef WIRE_SCAN_H
#define WIRE_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    WIRE_SCAN_MAX_DEPTH = 16,
    /* Values in one message. The largest legal message has some 70; msgpack-c takes 24 bytes each.
     */
    WIRE_SCAN_MAX_ITEM = 1024,
};

/* p[0..len) must be exactly one map; in every map the keys are unsigned integers in ascending order
 * (so none comes twice); text is UTF-8; no extension types. *at is the offset of what is wrong.
 * Errors: BASE_EFORMAT, BASE_ELIMIT (depth, items). */
int wire_scan(const uint8_t *p, size_t len, size_t *at, struct base_err *err) BASE_MUST_CHECK;

/* Whole UTF-8, no surrogates, no overlong forms. */
int wire_utf8_ok(const uint8_t *p, size_t len);

#endif
