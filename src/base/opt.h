/* The option table: name, type, limits, default, unit and doc in one place; the configuration
 * parser, --help, --dump-config and the man page all come from it. Start-up only; one thread.
 *
 * A configuration file is lines of `name = value`; '#' starts a comment; a value with outer blanks
 * or '#' is put in double quotes (\" and \\ inside). A list option may be given many times, any
 * other option once. Unknown names, repeats, wrong types and values out of range are errors with
 * file:line:col. */
#ifndef BASE_OPT_H
#define BASE_OPT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

enum base_opt_type {
    BASE_OPT_INT,    /* int64_t */
    BASE_OPT_REAL,   /* double */
    BASE_OPT_BOOL,   /* int: yes/no/true/false/on/off */
    BASE_OPT_STR,    /* char *, owned; "" when unset */
    BASE_OPT_ENUM,   /* int: index into the '|'-separated choices */
    BASE_OPT_LIST,   /* struct base_strlist, one entry a line */
};

struct base_strlist {
    char **item; /* [n], owned */
    int n;
};

struct base_opt {
    const char *name;
    enum base_opt_type type;
    size_t offset;       /* of the field in the program's config struct */
    double min, max;     /* INT and REAL, both inclusive; LIST: max entries */
    const char *def;     /* as it would stand in the file; NULL: "" or an empty list */
    const char *unit;    /* "ms", "bytes", "rows", … or NULL */
    const char *choices; /* ENUM: "a|b|c" */
    const char *doc;     /* one or two sentences */
};

/* Sets every field to its default. Errors: BASE_ENOMEM, BASE_EINVAL (a broken table). */
int base_opt_init(const struct base_opt *t, int n, void *cfg, struct base_err *err) BASE_MUST_CHECK;
void base_opt_fini(const struct base_opt *t, int n, void *cfg);

/* Reads a file over the present values. Errors: BASE_EIO, BASE_EFORMAT, BASE_EINVAL, BASE_ENOTFOUND
 * (unknown name), BASE_ELIMIT (file over 1 MiB), BASE_ENOMEM; err has file:line:col. */
int base_opt_load(const struct base_opt *t, int n, void *cfg, const char *path,
                  struct base_err *err) BASE_MUST_CHECK;

/* The same from memory; name_of_text stands in the errors. */
int base_opt_parse(const struct base_opt *t, int n, void *cfg, const char *name_of_text,
                   const char *text, size_t len, struct base_err *err) BASE_MUST_CHECK;

/* A valid file with every option's present value and its doc as a comment. */
void base_opt_dump(const struct base_opt *t, int n, const void *cfg, FILE *out);

/* The option part of a man page in mdoc. */
void base_opt_mdoc(const struct base_opt *t, int n, FILE *out);

/* Splits a list value such as `name=cloud url="https://a b"` into words key=value: finds key and
 * writes its value (unquoted) to out. BASE_ENOTFOUND if absent, BASE_ELIMIT if out is too small,
 * BASE_EFORMAT if the quoting is broken. */
int base_opt_word(const char *value, const char *key, char *out, size_t size_bytes);

/* Checks that each word of value has one of the '|'-separated keys, once. */
int base_opt_words_check(const char *value, const char *keys, struct base_err *err);

#endif
