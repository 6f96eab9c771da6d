/* The numbers that a policy's conditions compare with, for tools that look for better ones. */
#ifndef ROUTER_NUMBERS_H
#define ROUTER_NUMBERS_H

#include "router/router.h"

struct rt_number {
    const char *rule, *fact, *op; /* op: "lt", "le", "gt", "ge" */
    double value, min, max;       /* limits: of the fact, or where `share` moves it, its own */
    bool whole;                   /* an integer */
    bool moves;                   /* `share` moves it */
    int line, col;                /* of the number in the text, from 1 */
    uint32_t at;                  /* for the functions below */
};

/* Those of the rules that the file itself has (not what it includes); *n how many, at most max in
 * out.
 */
void rt_numbers(const struct rt_policy *p, struct rt_number *out, int max, int *n);

/* Whoever has a policy for itself may try another number; its limits are not looked at. A whole one
 * is cut. */
void rt_number_set(struct rt_policy *p, const struct rt_number *n, double value);

/* The fact as the number's rule sees it; false: not known. */
bool rt_number_fact(const struct rt_policy *p, const struct rt_number *n, const struct rt_facts *f,
                    double *out);

/* Where a scalar stands in a text: line and column from 1, in characters. False: the text is
 * shorter. */
bool rt_scalar_at(const char *text, size_t len, int line, int col, size_t *from, size_t *to);

#endif
