/* Predictions of a target's times: what is learned from past answers, and when nothing is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "edge/outlook.h"

enum { S = 1000000 };
static const int64_t T0 = (int64_t)1000 * S;
static struct edge_outlook o;

static int clear(void **s)
{
    (void)s;
    o = (struct edge_outlook){0};
    return 0;
}

/* A server that takes 50 ms and 0.2 ms a prompt token, then 20 ms a token; 4 bytes a prompt token. */
static void learn(const char *target, enum rt_mode mode, double rtt, double kbps, int n_prompt)
{
    const struct edge_wire w = {rtt, kbps};
    const double bytes = 4.0 * n_prompt;
    const struct edge_took t = {.n_prompt = n_prompt,
                                .n_answer = 11,
                                .bytes = bytes,
                                .first_ms = rtt + (kbps > 0 ? 8 * bytes / kbps : 0) + 50 + 0.2 * n_prompt,
                                .answer_ms = 200};
    edge_outlook_add(&o, T0, target, mode, &w, &t);
}

static void expect(const char *target, double rtt, double kbps, int n_prompt, double first, double total)
{
    const struct edge_wire w = {rtt, kbps};
    double f, t;
    edge_outlook_get(&o, T0 + S, target, &w, n_prompt, 101, &f, &t);
    if (fabs(f - first) > 0.5 || fabs(t - total) > 0.5)
        fail_msg("%.1f and %.1f ms, wanted %.1f and %.1f", f, t, first, total);
}

static void nothing_is_said_before_it_is_known(void **x)
{
    (void)x;
    expect("cloud", 30, 1000, 100, -1, -1);
    for (int i = 0; i < EDGE_OUTLOOK_LEAST; i++) {
        expect("cloud", 30, 0, 100, -1, -1);
        learn("cloud", RT_PROMPT, 30, 0, 100);
    }
    expect("cloud", 30, 0, 100, 100, 2100);
    expect("cloud", 0, 0, 100, -1, -1); /* no round trip */
    expect("other", 30, 0, 100, -1, -1);
    double f, t;
    const struct edge_wire w = {30, 0};
    const int64_t late = T0 + ((int64_t)EDGE_OUTLOOK_AGE_S + 1) * S;
    edge_outlook_get(&o, late, "cloud", &w, 100, 101, &f, &t);
    assert_true(f < 0 && t < 0); /* too long ago */
    edge_outlook_get(&o, T0, "cloud", &w, 100, 0, &f, &t);
    assert_true(f > 0 && t < 0);
}

static void what_cannot_be_learned_from_is_not(void **x)
{
    (void)x;
    const struct edge_wire none = {0, 1000}, wire = {30, 1000};
    const struct edge_took past = {100, 10, 400, -1, 5}, gone = {100, 10, 400, 5, -1}, fine = {100, 10, 400, 90, 5};
    for (int i = 0; i < 9; i++) {
        edge_outlook_add(&o, T0, "cloud", RT_PROMPT, &none, &fine); /* the handshake is in it */
        edge_outlook_add(&o, T0, "cloud", RT_PROMPT, &wire, &past);
        edge_outlook_add(&o, T0, "cloud", RT_PROMPT, &wire, &gone);
    }
    expect("cloud", 30, 1000, 100, -1, -1);
}

static void the_link_and_the_size_count(void **x)
{
    (void)x;
    for (int i = 0; i < 12; i++)
        learn("cloud", RT_PROMPT, 30 + i, 1000, 100 * (1 + i % 4));
    expect("cloud", 30, 1000, 100, 30 + 3.2 + 50 + 20, 103.2 + 2000);
    expect("cloud", 300, 1000, 100, 300 + 3.2 + 50 + 20, 373.2 + 2000);
    expect("cloud", 30, 10, 100, 30 + 320 + 50 + 20, 420 + 2000);
    expect("cloud", 30, 1000, 1000, 30 + 32 + 50 + 200, 312 + 2000); /* along the line */
    expect("cloud", 30, 0, 100, -1, -1); /* the rate is not known any more */
}

static void a_rate_that_comes_or_goes_begins_anew(void **x)
{
    (void)x;
    for (int i = 0; i < 6; i++)
        learn("cloud", RT_PROMPT, 30, 0, 100);
    expect("cloud", 30, 1000, 100, 100, 2100); /* learned without, said without */
    learn("cloud", RT_PROMPT, 30, 1000, 100);
    expect("cloud", 30, 1000, 100, -1, -1);
    learn("cloud", RT_PROMPT, 30, 1000, 100);
    learn("cloud", RT_PROMPT, 30, 1000, 100);
    expect("cloud", 30, 1000, 100, 103.2, 2103.2);
}

static void a_line_is_not_followed_into_nonsense(void **x)
{
    (void)x;
    const struct edge_wire w = {10, 0};
    for (int i = 0; i < 8; i++) { /* the longer the faster: chance */
        const struct edge_took t = {100 + i, 1, 10, 100 - i, 0};
        edge_outlook_add(&o, T0, "cloud", RT_PROMPT, &w, &t);
    }
    double f, t;
    edge_outlook_get(&o, T0, "cloud", &w, 10000, 10, &f, &t);
    assert_true(f > 90 && f < 100);
    assert_true(t < 0); /* answers of one token tell nothing of the next */
    clear(NULL);
    for (int i = 0; i < 8; i++) { /* steep, and far below its mean */
        const struct edge_took steep = {1000 + i, 2, 10, 20 + 100 * i, 5};
        edge_outlook_add(&o, T0, "cloud", RT_PROMPT, &w, &steep);
    }
    edge_outlook_get(&o, T0, "cloud", &w, 1, 2, &f, &t);
    assert_true(f >= 10 && f < 11);
    clear(NULL);
    const struct edge_took quick = {100, 10, 10, 5, 5}; /* less than the round trip: the server took none */
    for (int i = 0; i < 3; i++)
        edge_outlook_add(&o, T0, "cloud", RT_PROMPT, &w, &quick);
    expect("cloud", 10, 0, 100, 10, 10 + 5.0 / 9 * 100);
}

static void of_two_modes_the_slower_is_told(void **x)
{
    (void)x;
    for (int i = 0; i < 3; i++) {
        learn("cloud", RT_PROMPT, 30, 0, 100);
        const struct edge_wire w = {30, 0};
        const struct edge_took t = {100, 11, 4000, 500, 100};
        edge_outlook_add(&o, T0, "cloud", RT_HIDDEN, &w, &t);
    }
    expect("cloud", 30, 0, 100, 500, 2100);
}

static void the_oldest_makes_room(void **x)
{
    (void)x;
    const struct edge_wire w = {30, 0};
    const struct edge_took t = {100, 11, 400, 100, 200};
    for (int k = 0; k < EDGE_OUTLOOK_MAX + 1; k++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", k);
        for (int i = 0; i < 3; i++)
            edge_outlook_add(&o, T0 - S + k, name, RT_PROMPT, &w, &t);
    }
    expect("t0", 30, 0, 100, -1, -1);
    expect("t1", 30, 0, 100, 100, 2100);
    expect("t128", 30, 0, 100, 100, 2100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_is_said_before_it_is_known, clear),
        cmocka_unit_test_setup(what_cannot_be_learned_from_is_not, clear),
        cmocka_unit_test_setup(the_link_and_the_size_count, clear),
        cmocka_unit_test_setup(a_rate_that_comes_or_goes_begins_anew, clear),
        cmocka_unit_test_setup(a_line_is_not_followed_into_nonsense, clear),
        cmocka_unit_test_setup(of_two_modes_the_slower_is_told, clear),
        cmocka_unit_test_setup(the_oldest_makes_room, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
