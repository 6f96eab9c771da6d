/* Which rules and which answers of their conditions a set of cases has seen. One thread. */
#ifndef ROUTER_COVER_H
#define ROUTER_COVER_H

#include "router/router.h"

struct rt_cover;

/* Borrows p. Errors: BASE_ENOMEM. */
int rt_cover_open(struct rt_cover **out, const struct rt_policy *p) BASE_MUST_CHECK;
void rt_cover_close(struct rt_cover *c);

/* Decides as rt_decide does, and keeps what each condition answered on the way: those that an
 * earlier answer made needless are not asked. */
void rt_cover_decide(struct rt_cover *c, const struct rt_facts *f, struct rt_decision *out);

/* How often rule i decided; -1: none did (the hint of the caller not counted). */
uint64_t rt_cover_rule(const struct rt_cover *c, int i);

/* One condition: a test of one fact. */
struct rt_cover_test {
    int rule, line, col;
    uint64_t seen[3];  /* by enum rt_tri */
    bool always_known; /* cannot tell is no answer of this test */
};
int rt_cover_n_test(const struct rt_cover *c);
struct rt_cover_test rt_cover_test(const struct rt_cover *c, int i);
/* "link.state is not down". */
int rt_cover_test_text(const struct rt_cover *c, int i, struct base_buf *out) BASE_MUST_CHECK;

#endif
