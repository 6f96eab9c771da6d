/* Errors: one enum of codes for the whole product, one message table, and a struct for the places
 * where a person reads the result. Any thread; no state. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define BASE_MUST_CHECK __attribute__((warn_unused_result))
#define BASE_PRINTF(f, a) __attribute__((format(printf, f, a)))

enum base_code {
    BASE_OK = 0,
    BASE_ENOMEM = -1,       /* out of memory */
    BASE_EINVAL = -2,       /* the caller's argument is wrong */
    BASE_ELIMIT = -3,       /* a documented limit was reached */
    BASE_EFORMAT = -4,      /* untrusted bytes break their format */
    BASE_EIO = -5,          /* the operating system refused */
    BASE_ETIMEOUT = -6,     /* a deadline passed */
    BASE_ECANCELED = -7,    /* the owner withdrew the work */
    BASE_ENOTFOUND = -8,    /* no such thing */
    BASE_EPERM = -9,        /* not permitted, by policy or by rights */
    BASE_EBUSY = -10,       /* try again later */
    BASE_EUNSUPPORTED = -11,/* well-formed, but not something we do */
    BASE_EMISMATCH = -12,   /* two sides disagree (model, version, hash) */
    BASE_ECLOSED = -13,     /* the peer is gone */
    BASE_EPROTO = -14,      /* the peer broke the protocol */
    BASE_EINTERNAL = -15,   /* our own bug */
};

/* For a person: what went wrong, where, and with which value. */
struct base_err {
    int code;        /* enum base_code */
    char place[160]; /* "file:line:col", "tensor blk.3.attn_q.weight", "frame 12", … or "" */
    char msg[352];   /* one sentence with the offending value; never content of a request */
};

/* Fills *err (which may be NULL) and returns code, so that `return base_err_set(…)` reads well. */
int base_err_set(struct base_err *err, int code, const char *place, const char *fmt, ...)
    BASE_PRINTF(4, 5);

/* The table's text for a code, e.g. "limit reached". Never NULL. */
const char *base_code_str(int code);

/* "place: message", for a log line or stderr. Returns buf. */
const char *base_err_line(const struct base_err *err, char *buf, unsigned long size_bytes);

#endif
