/* Facts by name, with memory of their own: for hand tools and tests, which read them from words
 * (NAME=VALUE) or other text. One thread. */
#ifndef ROUTER_GIVEN_H
#define ROUTER_GIVEN_H

#include "base/arena.h"
#include "router/router.h"

enum { RT_MAX_GIVEN_NAMED = 256 };

/* Facts that own their memory. Big: not for small stacks. */
struct rt_given {
    const struct rt_policy *p; /* whose own facts have types, or NULL */
    struct rt_facts f;
    struct rt_target_link link[RT_MAX_TARGET];
    struct rt_named named[RT_MAX_GIVEN_NAMED];
    struct base_arena arena; /* every string of the above */
};

/* A fact by name, with its type and where its value goes. */
struct rt_place {
    enum rt_fact_type type;
    const char *name;
    struct rt_value *v;
    bool aged;       /* old values are not known: v->age_ms counts */
    bool clock;      /* a time of day: rt_clock_read */
    bool data_class; /* its value is no member of v: use rt_given_class */
};

/* p: the policy that will decide, NULL if there is none; it must outlive g. */
void rt_given_init(struct rt_given *g, const struct rt_policy *p, size_t max_bytes);
void rt_given_fini(struct rt_given *g);

/* Where the fact goes that is called `name` (of a target's link if target is not NULL). Facts that
 * neither the table nor the policy knows are BASE_ENOTFOUND. Others: BASE_EFORMAT (a target where
 * the fact has none), BASE_ELIMIT, BASE_ENOMEM. */
int rt_given_place(struct rt_given *g, const char *name, const char *target, struct rt_place *out,
                   struct base_err *err) BASE_MUST_CHECK;
int rt_given_fact(struct rt_given *g, enum rt_fact_id fact, const char *target,
                  struct rt_place *out, struct base_err *err) BASE_MUST_CHECK;
/* Where a fact of some policy's own goes, of a type that is known or guessed. BASE_ELIMIT,
 * BASE_ENOMEM. */
int rt_given_own(struct rt_given *g, const char *name, enum rt_fact_type type, struct rt_place *out,
                 struct base_err *err) BASE_MUST_CHECK;
/* Sets a text, and adds a class; strings are copied. The other types are set by hand: v->have and
 * the value. BASE_EFORMAT (empty, or a NUL inside), BASE_ELIMIT, BASE_ENOMEM. */
int rt_given_text(struct rt_given *g, const struct rt_place *at, const char *s, size_t n,
                  struct base_err *err) BASE_MUST_CHECK;
int rt_given_class(struct rt_given *g, const struct rt_place *at, const char *s, size_t n,
                   struct base_err *err) BASE_MUST_CHECK;

/* NAME=VALUE as the fact's type reads it: classes are a list with commas; NAME@TARGET speaks of one
 * target; a value may stand in double quotes; VALUE~MS was measured so many ms ago, where the fact
 * has an age. Errors: as above. */
int rt_given_word(struct rt_given *g, const char *word, size_t n,
                  struct base_err *err) BASE_MUST_CHECK;
/* Words with spaces between them (none inside double quotes); "(none)" alone is no fact. */
int rt_given_line(struct rt_given *g, const char *line, size_t n,
                  struct base_err *err) BASE_MUST_CHECK;

/* The shortest decimal that reads as r. Returns out. */
enum { RT_REAL_BYTES = 32 };
const char *rt_real_text(double r, char out[RT_REAL_BYTES]);

/* The same the other way: the facts as such a line. */
int rt_given_print(const struct rt_facts *f, struct base_buf *out) BASE_MUST_CHECK;

#endif
