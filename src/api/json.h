/* Inside the api room: jansson values <-> base_buf. */
#ifndef API_JSON_H
#define API_JSON_H

#include <stdbool.h>

#include <jansson.h>

#include "base/buf.h"

/* A JSON string of s[0..n); bytes that are no UTF-8 become U+FFFD. NULL: out of memory. */
json_t *api_json_text(const char *s, size_t n);

/* Sets key to v (stolen). A NULL v, or memory running out, clears *ok. */
void api_json_set(json_t *obj, const char *key, json_t *v, bool *ok);

/* Appends v compactly; sse wraps it as one event. Steals v; a NULL v or !ok is BASE_ENOMEM. */
int api_json_put(json_t *v, bool ok, bool sse, struct base_buf *out);

#endif
