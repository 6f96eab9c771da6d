#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_name[] = {"error", "warn", "info", "debug"};
static const char *log_program = "waypost";
static enum base_log_level log_max = BASE_LOG_INFO;

void base_log_init(const char *program, enum base_log_level max_level)
{
    log_program = program;
    log_max = max_level;
}

int base_log_level_parse(const char *name, enum base_log_level *out)
{
    for (int i = 0; i <= BASE_LOG_DEBUG; i++) {
        if (strcmp(name, level_name[i]) == 0) {
            *out = (enum base_log_level)i;
            return 0;
        }
    }
    return BASE_EINVAL;
}

void base_log(enum base_log_level level, const char *component, const char *fmt, ...)
{
    if (level > log_max)
        return;
    char line[1024];
    int n = snprintf(line, sizeof line, "%s %s %s: ", log_program, level_name[level], component);
    if (n < 0 || (size_t)n >= sizeof line - 2)
        return;
    va_list ap;
    va_start(ap, fmt);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    if (m < 0)
        return;
    size_t len = strlen(line);
    /* A line break inside a value must not forge a second log line. */
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];
        if (c < 0x20 || c == 0x7f)
            line[i] = ' ';
    }
    line[len++] = '\n';
    /* One write a line keeps lines whole across threads and processes. */
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}
