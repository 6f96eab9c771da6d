/* Facts as words and back, case files, and what cases cover; each allocation failed once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/cases.h"
#include "router/cover.h"
#include "../fixtures/wrap_alloc.h"

static const char text[] = "waypost_policy: 1\nversion: v\n"
                           "signals: { Vehicle.Speed: { type: number } }\n"
                           "targets: { cloud: { modes: [prompt] } }\n"
                           "rules:\n"
                           "  - name: fast\n"
                           "    when: { Vehicle.Speed: { gt: 100 } }\n"
                           "    route: refuse\n"
                           "  - name: out\n"
                           "    when: { data.class: { only: [public.x] }, not: { caller: me } }\n"
                           "    route: prompt\n"
                           "    target: cloud\n";

static struct rt_policy *policy(void)
{
    static struct rt_diags diags;
    struct rt_policy *p = NULL;
    int err = rt_policy_compile(&p, text, strlen(text), &diags);
    if (err != 0)
        print_message("# %d:%d %s\n", diags.at[0].line, diags.at[0].col, diags.at[0].msg);
    assert_int_equal(err, 0);
    return p;
}

static void words_and_back(void **state)
{
    (void)state;
    static const char line[] =
        "data.class=public.x,b caller=\"a b\" data.history=c,d request.prompt_tokens=-3 "
        "request.stream=false confidence=0.1 vehicle.moving=true~1500 Vehicle.Speed=120.5~20 "
        "link.state@cloud=up link.rtt_ms@cloud=1e-05";
    static struct rt_given g;
    struct rt_policy *p = policy();
    struct base_buf out;
    struct base_err err;
    char real[RT_REAL_BYTES];

    rt_given_init(&g, p, 1 << 16);
    assert_int_equal(rt_given_line(&g, line, strlen(line), &err), 0);
    assert_int_equal(g.f.n_cls, 2);
    assert_int_equal(g.f.v[RT_F_VEHICLE_MOVING].age_ms, 1500);
    assert_string_equal(g.f.v[RT_F_CALLER].s, "a b");
    base_buf_init(&out, 1 << 16);
    assert_int_equal(rt_given_print(&g.f, &out), 0);
    /* In the table's order; read again, it is the same. */
    char *first = strdup(base_buf_cstr(&out));
    rt_given_fini(&g);
    rt_given_init(&g, p, 1 << 16);
    assert_int_equal(rt_given_line(&g, first, strlen(first), &err), 0);
    base_buf_reset(&out);
    assert_int_equal(rt_given_print(&g.f, &out), 0);
    assert_string_equal(base_buf_cstr(&out), first);
    assert_non_null(strstr(first, "vehicle.moving=true~1500"));
    assert_non_null(strstr(first, "link.rtt_ms@cloud=1e-05"));
    assert_non_null(strstr(first, "Vehicle.Speed=120.5~20"));
    free(first);
    base_buf_fini(&out);
    rt_given_fini(&g);
    rt_policy_free(p);
    assert_string_equal(rt_real_text(20.0, real), "20");
    assert_string_equal(rt_real_text(0.1, real), "0.1");
    assert_string_equal(rt_real_text(0.30000000000000004, real), "0.30000000000000004");
}

static void words_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *line, *msg;
    } bad[] = {
        {"caller", "is no NAME=VALUE"},
        {"nobody=1", "no fact 'nobody'"},
        {"caller@cloud=x", "is no fact of a target"},
        {"nobody@cloud=x", "is no fact of a target"},
        {"request.prompt_tokens=1.5", "is an integer"},
        {"request.prompt_tokens=99999999999999999999", "is an integer"},
        {"confidence=nan", "is a number"},
        {"confidence=0x1p3", "is a number"},
        {"request.stream=yes", "is true or false"},
        {"vehicle.moving=true~soon", "an age is in ms"},
        {"data.class=a,,b", "an empty class"},
        {"data.class=1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h", "more than 16 classes"},
        {"data.history=1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h", "more than 16 classes"},
    };
    static struct rt_given g;
    struct base_err err;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rt_given_init(&g, NULL, 1 << 16);
        int rc = rt_given_line(&g, bad[i].line, strlen(bad[i].line), &err);
        if (rc == 0 || strstr(err.msg, bad[i].msg) == NULL)
            fail_msg("%s: %d %s", bad[i].line, rc, rc != 0 ? err.msg : "");
        rt_given_fini(&g);
    }
}

static const char cases[] = "# one\nout\n(none)\nlocal\n\r\n\nfast\nVehicle.Speed=101\nrefuse";

static void case_files(void **state)
{
    (void)state;
    struct rt_cases r = {.text = cases, .len = strlen(cases)};
    struct rt_case c;
    struct base_err err;

    assert_int_equal(rt_cases_next(&r, &c, &err), 1);
    assert_int_equal(c.line, 2);
    assert_int_equal(rt_cases_next(&r, &c, &err), 1);
    assert_int_equal(c.line, 7);
    assert_int_equal(c.want_bytes, 6);
    assert_int_equal(rt_cases_next(&r, &c, &err), 0);
    r = (struct rt_cases){.text = "a\nb\n\nx\n(none)\ny\nz\n", .len = 18};
    assert_int_equal(rt_cases_next(&r, &c, &err), BASE_EFORMAT);
    assert_non_null(strstr(err.msg, "has 2"));
    assert_int_equal(rt_cases_next(&r, &c, &err), 1);
    assert_int_equal(rt_cases_next(&r, &c, &err), BASE_EFORMAT);
    assert_int_equal(c.line, 7);
    assert_int_equal(rt_cases_next(&r, &c, &err), 0);
}

/* Facts of a line, decided and covered. BASE_ENOMEM where an allocation failed. */
static int decide(struct rt_cover *cover, const struct rt_policy *p, const char *line,
                  struct rt_decision *d)
{
    static struct rt_given g;
    struct base_err err;
    rt_given_init(&g, p, 1 << 16);
    int rc = rt_given_line(&g, line, strlen(line), &err);
    if (rc == 0)
        rt_cover_decide(cover, &g.f, d);
    rt_given_fini(&g);
    return rc;
}

static void coverage(void **state)
{
    (void)state;
    struct rt_policy *p = policy();
    struct rt_cover *c;
    struct rt_decision d;
    struct base_buf what;

    assert_int_equal(rt_cover_open(&c, p), 0);
    assert_int_equal(rt_cover_n_test(c), 3);
    assert_int_equal(decide(c, p, "Vehicle.Speed=120", &d), 0);
    assert_int_equal(decide(c, p, "data.class=public.x caller=you Vehicle.Speed=50", &d), 0);
    assert_string_equal(d.rule, "out");
    assert_int_equal(decide(c, p, "data.class=b caller=you", &d), 0);
    assert_int_equal(decide(c, p, "request.hint=local", &d), 0); /* no rule is asked */
    assert_int_equal(rt_cover_rule(c, 0), 1);
    assert_int_equal(rt_cover_rule(c, 1), 1);
    assert_int_equal(rt_cover_rule(c, -1), 1);
    struct rt_cover_test speed = rt_cover_test(c, 0), cls = rt_cover_test(c, 1);
    struct rt_cover_test caller = rt_cover_test(c, 2);
    assert_true(speed.seen[RT_YES] == 1 && speed.seen[RT_NO] == 1 &&
                speed.seen[RT_CANNOT_TELL] == 1);
    assert_true(cls.seen[RT_YES] == 1 && cls.seen[RT_NO] == 1 && cls.always_known);
    assert_int_equal(caller.seen[RT_YES] + caller.seen[RT_NO] + caller.seen[RT_CANNOT_TELL], 1);
    base_buf_init(&what, 1 << 12);
    assert_int_equal(rt_cover_test_text(c, 0, &what), 0);
    assert_string_equal(base_buf_cstr(&what), "Vehicle.Speed > 100");
    base_buf_fini(&what);
    rt_cover_close(c);
    rt_policy_free(p);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct rt_policy *p = policy();
    int rc = BASE_ENOMEM, n;

    for (n = 0; rc == BASE_ENOMEM && n < 1000; n++) {
        struct rt_cover *c = NULL;
        struct rt_decision d;
        struct base_buf out;
        n_alloc = 0;
        fail_at = n;
        rc = rt_cover_open(&c, p);
        rc = rc == 0
                 ? decide(c, p, "data.history=a,b caller=x link.state@cloud=up Vehicle.Speed=3", &d)
                 : rc;
        base_buf_init(&out, 1 << 12);
        if (rc == 0)
            rc = rt_cover_test_text(c, 0, &out);
        base_buf_fini(&out);
        rt_cover_close(c);
        fail_at = -1;
    }
    assert_int_equal(rc, 0);
    assert_true(n > 5);
    rt_policy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_back),
        cmocka_unit_test(words_that_are_none),
        cmocka_unit_test(case_files),
        cmocka_unit_test(coverage),
        cmocka_unit_test(each_allocation_may_fail),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
