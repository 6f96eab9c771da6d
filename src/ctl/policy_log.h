/* A decision log, or a file of requests' facts: one JSON object a line. One thread. */
#ifndef CTL_POLICY_LOG_H
#define CTL_POLICY_LOG_H

#include <stdio.h>

#include "ctl/json_read.h"
#include "ctl/policy.h"

enum { CTL_LINE_BYTES = 1 << 20, CTL_ID_BYTES = 64 };

/* What really happened. */
struct ctl_outcome {
    bool have;
    enum rt_mode mode;              /* that answered */
    char target[CTL_ID_BYTES];      /* "": none */
    double total_ms, first_ms;      /* < 0: not told */
    double bytes_out;               /* < 0: not told */
    int64_t prompt_tok, answer_tok; /* -1: not told */
};

struct ctl_record {
    int64_t line;               /* from 1 */
    char id[CTL_ID_BYTES];      /* request_id, or "" */
    char session[CTL_ID_BYTES]; /* "": none */
    char day[CTL_ID_BYTES];     /* time, as written, or "" */
    bool decided;               /* by the edge */
    enum rt_mode mode;
    char target[CTL_ID_BYTES], rule[CTL_ID_BYTES];
    struct ctl_outcome outcome;
    double quality[2]; /* of an answer by the device, by a target; 0..1, < 0: no label */
    struct rt_given g; /* facts */
};

/* A name of a fact where a line before had it: lines of a log are alike. */
enum { CTL_N_SEEN = 128 };
struct ctl_seen {
    char name[48];
    int fact; /* rt_fact_find */
};
/* policy_log_facts.c: an object of facts, "links" included. Names that the table has not are some
 * policy's own facts. Texts stay where they stand in j. Errors: BASE_EFORMAT (also j->why),
 * BASE_ELIMIT, BASE_ENOMEM. */
int ctl_facts_read(struct json_read *j, struct rt_given *g, struct ctl_seen seen[CTL_N_SEEN],
                   struct base_err *err) BASE_MUST_CHECK;

struct ctl_log {
    const char *path;
    FILE *f;
    char *text; /* the line */
    size_t cap;
    int64_t line, n_bad;
    struct ctl_seen *seen; /* [CTL_N_SEEN] */
    struct ctl_record r;
};

/* path may be "-". Errors: BASE_EIO, BASE_ENOMEM. ctl_log_close also after an error. */
int ctl_log_open(struct ctl_log *l, const char *path, struct base_err *err) BASE_MUST_CHECK;
void ctl_log_close(struct ctl_log *l);

/* The next record in l->r, until the next call. 1: there is one; 0: the end; BASE_EIO, BASE_ENOMEM.
 * A line that can't be read is counted, told on stderr (the first few) and left out. */
int ctl_log_next(struct ctl_log *l, struct base_err *err) BASE_MUST_CHECK;

#endif
