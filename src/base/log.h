/* Logging to standard error: one line an event, `level component: message key=value`. Never content
 * of a request: the caller passes ids, counts and codes. Thread-safe; lines are not interleaved. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum base_log_level { BASE_LOG_ERROR, BASE_LOG_WARN, BASE_LOG_INFO, BASE_LOG_DEBUG };

/* program: the prefix of every line (borrowed for good). */
void base_log_init(const char *program, enum base_log_level max_level);

/* "error" | "warn" | "info" | "debug" -> level; BASE_EINVAL for anything else. */
int base_log_level_parse(const char *name, enum base_log_level *out);

void base_log(enum base_log_level level, const char *component, const char *fmt, ...)
    BASE_PRINTF(3, 4);

#define base_log_error(c, ...) base_log(BASE_LOG_ERROR, c, __VA_ARGS__)
#define base_log_warn(c, ...) base_log(BASE_LOG_WARN, c, __VA_ARGS__)
#define base_log_info(c, ...) base_log(BASE_LOG_INFO, c, __VA_ARGS__)
#define base_log_debug(c, ...) base_log(BASE_LOG_DEBUG, c, __VA_ARGS__)

#endif
