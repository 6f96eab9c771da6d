#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const code_text[] = {
    [-BASE_OK] = "ok",
    [-BASE_ENOMEM] = "out of memory",
    [-BASE_EINVAL] = "invalid argument",
    [-BASE_ELIMIT] = "limit reached",
    [-BASE_EFORMAT] = "malformed input",
    [-BASE_EIO] = "input/output error",
    [-BASE_ETIMEOUT] = "deadline passed",
    [-BASE_ECANCELED] = "canceled",
    [-BASE_ENOTFOUND] = "not found",
    [-BASE_EPERM] = "not permitted",
    [-BASE_EBUSY] = "busy",
    [-BASE_EUNSUPPORTED] = "not supported",
    [-BASE_EMISMATCH] = "the two sides disagree",
    [-BASE_ECLOSED] = "the peer closed the connection",
    [-BASE_EPROTO] = "the peer broke the protocol",
    [-BASE_EINTERNAL] = "internal error",
};

const char *base_code_str(int code)
{
    int n = (int)(sizeof code_text / sizeof code_text[0]);
    if (code > 0 || -code >= n)
        return "unknown error";
    return code_text[-code];
}

int base_err_set(struct base_err *err, int code, const char *place, const char *fmt, ...)
{
    if (err == NULL)
        return code;
    err->code = code;
    snprintf(err->place, sizeof err->place, "%s", place != NULL ? place : "");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    return code;
}

const char *base_err_line(const struct base_err *err, char *buf, unsigned long size_bytes)
{
    const char *msg = err->msg[0] != '\0' ? err->msg : base_code_str(err->code);
    if (err->place[0] != '\0')
        snprintf(buf, size_bytes, "%s: %s", err->place, msg);
    else
        snprintf(buf, size_bytes, "%s", msg);
    return buf;
}
