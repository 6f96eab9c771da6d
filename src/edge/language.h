/* The language of a text, as far as its script tells: zh, ja, ko, th, el, he, ka, hy. Scripts that
 * several languages share (Latin, Cyrillic, Arabic, Devanagari) tell nothing. Pure. */
#ifndef EDGE_LANGUAGE_H
#define EDGE_LANGUAGE_H

#include <stdbool.h>
#include <stddef.h>

/* A BCP 47 subtag, or NULL. The text is UTF-8; what is not counts as no letter. A language needs
 * most of the text: a Chinese sentence with an English name in it is Chinese. */
const char *edge_language(const char *text, size_t len);

/* Whether a caller's word for a language has the form of one: `de`, `zh-Hant`, `en-GB`. */
bool edge_language_tag_ok(const char *tag);

#endif
