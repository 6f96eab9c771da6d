/* What the catalogue's parts share; nobody else includes this. */
#ifndef API_CATALOGUE_INT_H
#define API_CATALOGUE_INT_H

#include <jansson.h>

#include "api/catalogue.h"

struct cat_value {
    const char *word; /* as it stands in a line */
    const char *json;
};

struct cat_arg {
    const char *name;
    int first, n; /* its values: value[first..first + n); of free text what may stand beside words */
    bool free, place;
    int rule; /* the first argument with the same values, by number: one rule does for all */
};

struct cat_func {
    const char *name;
    struct cat_arg arg[API_CAT_MAX_ARG];
    int n_arg;
    const char *json; /* as it came, on one line: what a client that copies it sends */
    const char *vss;  /* of every call, or NULL */
    int vss_arg;      /* >= 0: by this argument's value */
};

struct api_catalogue {
    struct base_arena arena;
    struct cat_func func[API_CAT_MAX_FUNC];
    struct api_tool tool[API_CAT_MAX_FUNC];
    int n;
    struct cat_value *value; /* [n_value], owned */
    const char **vss;        /* [n_value] by value; owned */
    int n_value, cap_value;
};

enum { CAT_MAX_RULE = API_CAT_MAX_FUNC * API_CAT_MAX_ARG };

/* A place in the text: the catalogue's name and a JSON pointer. */
struct cat_at {
    const char *name;
    char pointer[128];
    struct base_err *err;
};
int cat_refuse(const struct cat_at *at, int code, const char *fmt, ...) BASE_PRINTF(3, 4);

/* catalogue_value.c. A parameter's schema -> *a and its values. */
int cat_arg_read(struct api_catalogue *c, struct cat_arg *a, const json_t *schema,
                 const struct cat_at *at) BASE_MUST_CHECK;
/* The number of the value of a that stands as word[0..len); -1: none does. */
int cat_value_find(const struct api_catalogue *c, const struct cat_arg *a, const char *word,
                   size_t len);
/* Whether any text may be a line's last argument as it is. */
bool cat_word_ok(const char *s, bool blanks);

/* Whether a keyword of a schema says nothing about an instance. */
bool cat_is_note(const char *key);

/* catalogue_said.c. Rules t, w0, w1, … of the sentence's spans -> out; their number (0: it has no
 * word). */
int cat_said_rules(const char *said, size_t len, struct base_buf *out);

#endif
