/* UTF-8, one character at a time (Unicode 15, table 3-7). Pure. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The character that s[0..n) begins with: its bytes (1 to 4) and *cp. 0, and *cp as it was: nothing
 * is there, or it is ill-formed: overlong, a surrogate, past U+10FFFF, cut off. */
size_t base_utf8(const char *s, size_t n, uint32_t *cp);

#endif
