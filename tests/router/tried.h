/* Compiles whatever it gets and asks what is asked of every text: the same answer twice, and for an
 * error a place and a reason. */
#ifndef TESTS_ROUTER_TRIED_H
#define TESTS_ROUTER_TRIED_H

static struct rt_diags diags, again;

/* A policy may be one, or there is an error with a place and a reason: and so again. */
static struct rt_policy *tried(const char *text, size_t len)
{
    struct rt_policy *p = NULL, *q = NULL;
    const int rc = rt_policy_compile(&p, text, len, &diags);
    assert_true((rc == 0) == (p != NULL));
    assert_int_equal(rt_policy_compile(&q, text, len, &again), rc);
    assert_int_equal(diags.n, again.n);
    assert_true(rc == 0 || rc == BASE_EFORMAT || rc == BASE_ELIMIT);
    assert_true(rc != BASE_EFORMAT || diags.n_error > 0);
    for (int i = 0; i < diags.n; i++) {
        assert_true(diags.at[i].line > 0 && diags.at[i].col > 0 && diags.at[i].msg[0] != '\0');
        assert_string_equal(diags.at[i].msg, again.at[i].msg);
    }
    rt_policy_free(q);
    return p;
}

#endif
