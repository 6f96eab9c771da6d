/* What the commands of the `waypostctl policy` family share. */
#ifndef CTL_POLICY_H
#define CTL_POLICY_H

#include <jansson.h>

#include "router/cases.h"

enum { CTL_OK = 0, CTL_NO = 1, CTL_USAGE = 2, CTL_FAIL = 3 };
enum { CTL_MAX_LIST = 64 };

enum ctl_colour { CTL_COLOUR_AUTO, CTL_COLOUR_ALWAYS, CTL_COLOUR_NEVER };

struct ctl_list {
    const char *at[CTL_MAX_LIST]; /* [n], borrowed from argv */
    int n;
};

/* One command line: every option of the family; a command takes those that its table names. */
struct ctl_policy_args {
    char **word; /* [n_word] what is no option, behind the command's name */
    int n_word;
    bool json, all, force, list;
    enum ctl_colour colour;
    struct ctl_list facts, param;
    const char *log, *goal, *out, *plot;
    double holdout, coverage; /* shares; coverage < 0: not asked for */
    int64_t effort;
};

int ctl_policy_check(const struct ctl_policy_args *a);
int ctl_policy_explain(const struct ctl_policy_args *a);
int ctl_policy_facts(const struct ctl_policy_args *a);
int ctl_policy_codes(const struct ctl_policy_args *a);
int ctl_policy_diff(const struct ctl_policy_args *a);
int ctl_policy_simulate(const struct ctl_policy_args *a);
int ctl_policy_tune(const struct ctl_policy_args *a);
int ctl_policy_test(const struct ctl_policy_args *a);

/* ---- policy_load.c ---- */

/* The whole of a file ("-": standard input) with a NUL behind it; the caller frees. NULL and a
 * message on stderr if it can't be had or is longer than max. */
char *ctl_slurp(const char *path, size_t max, size_t *len);

/* A compiled policy. text[len] NULL: not wanted, else the caller frees. *rc: CTL_OK, or the exit
 * status with NULL returned; findings are in diags, other errors were printed. */
struct rt_policy *ctl_policy_load(const char *path, struct rt_diags *diags, char **text,
                                  size_t *len, int *rc);
/* A policy with another text for its file, and what that includes from beside it. Errors: those of
 * rt_policy_compile, BASE_EIO. */
int ctl_policy_recompile(const char *path, const char *text, size_t len, struct rt_policy **out,
                         struct rt_diags *diags) BASE_MUST_CHECK;
/* The same for commands that only use it: errors are printed as `policy check` does. */
struct rt_policy *ctl_policy_need(const char *path, int *rc);
void ctl_policy_print_diags(const char *path, const struct rt_diags *d);

/* Says the error on stderr; CTL_FAIL. */
int ctl_policy_fail(const struct base_err *err);
/* Writes out to standard output unless it has an error. CTL_OK or CTL_FAIL. */
int ctl_policy_print(const struct base_buf *out);
/* The same for a JSON document, which may be NULL (out of memory) and is taken. */
int ctl_policy_print_json(json_t *root);

/* Whether to write in colour: asked for, or a terminal and NO_COLOR not set. */
bool ctl_policy_colour(enum ctl_colour c);

/* s on one line whatever it holds: control characters come as '?'. */
void ctl_policy_safe(struct base_buf *out, const char *s, size_t n);

/* ---- policy_facts.c ---- */

/* An object of facts, "links" included. JSON null is a fact that is not known; one that neither the
 * table nor g->p has is an error. */
int ctl_facts_json(struct rt_given *g, json_t *facts, struct base_err *err) BASE_MUST_CHECK;

#endif
