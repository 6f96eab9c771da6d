/* Where one UTF-8 character ends. Overlong forms, surrogates and values past U+10FFFF are invalid
 * (Unicode 15, table 3-7). Pure. */
#ifndef ENG_UTF8_H
#define ENG_UTF8_H

#include <stddef.h>

/* Bytes (1..4) of the character at s[0..n); 0: s[0] starts no character; -1: the bytes are the
 * beginning of one and n ends it too early. n >= 1. */
int eng_utf8_len(const char *s, size_t n);

#endif
