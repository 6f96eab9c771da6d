/* Inside the detectors: text -> the form that their patterns are written for. */
#ifndef ROUTER_DETECT_NORM_H
#define ROUTER_DETECT_NORM_H

#include <stddef.h>
#include <stdint.h>

/* Digits of every script, full-width forms, dashes and spaces become ASCII; invisible characters go;
 * the rest stays. out has room for len bytes (nothing grows). Returns the bytes written, SIZE_MAX if
 * text is not UTF-8. */
size_t rt_detect_normalise(const char *text, size_t len, char *out);

#endif
