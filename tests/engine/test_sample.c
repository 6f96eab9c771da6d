#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sample.h"

enum { N = 1000 };

/* Logits with a known shape: token i has weight w(i), shuffled over the vocabulary. */
static void fill(float *logits)
{
    for (int i = 0; i < N; i++)
        logits[(i * 389) % N] = -0.05f * (float)i; /* 389 is prime to 1000 */
}

static int32_t nth(int i)
{
    return (i * 389) % N;
}

static struct eng_sampler *sampler(struct eng_sample_params p)
{
    struct eng_sampler *s = NULL;
    struct base_err err = {0};
    if (eng_sampler_new(&s, &p, N, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    return s;
}

static int32_t pick(struct eng_sampler *s)
{
    float logits[N];
    struct eng_pick out;
    fill(logits);
    assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
    return out.token;
}

static void greedy_takes_the_lowest_of_equals(void **state)
{
    (void)state;
    struct eng_sampler *s = sampler(ENG_SAMPLE_GREEDY);
    float logits[N] = {0};
    struct eng_pick out;
    logits[700] = logits[30] = logits[31] = 4.0f;
    assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
    assert_int_equal(out.token, 30);
    assert_int_equal(out.n_top, 0);
    eng_sampler_free(s);
}

static void logprobs_are_the_models_own(void **state)
{
    (void)state;
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    p.logprobs = true;
    p.n_top = 5;
    p.temperature = 0.3f;
    p.top_k = 2;
    p.repeat_penalty = 1.5f;
    struct eng_sampler *s = sampler(p);
    float logits[N];
    fill(logits);
    double sum = 0, h = 0;
    for (int i = 0; i < N; i++)
        sum += exp(-0.05 * i);
    for (int i = 0; i < N; i++)
        h += exp(-0.05 * i) / sum * (0.05 * i + log(sum));
    for (int i = 0; i < 3; i++)
        eng_sampler_accept(s, nth(i));
    struct eng_pick out;
    assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
    assert_int_equal(out.n_top, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(out.top[i].token, nth(i));
        assert_true(fabs((double)out.top[i].logprob - (-0.05 * i - log(sum))) < 1e-5);
    }
    int rank = 0;
    while (nth(rank) != out.token)
        rank++;
    assert_true(fabs((double)out.logprob - (-0.05 * rank - log(sum))) < 1e-5);
    assert_true(fabs((double)out.entropy - h) < 1e-4);
    assert_true(fabs((double)out.margin - (1 - exp(-0.05)) / sum) < 1e-5);
    assert_false(out.forced);
    fill(logits);
    logits[nth(1)] = logits[nth(0)]; /* two are likeliest */
    assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
    assert_true(out.margin == 0.0f);
    eng_sampler_free(s);
}

/* Draws from the allowed set only, all of it, each about as often as its share. */
static void check_shares(struct eng_sample_params p, int kept)
{
    enum { DRAWS = 4000 };
    struct eng_sampler *s = sampler(p);
    int count[N] = {0};
    double sum = 0;
    for (int i = 0; i < kept; i++)
        sum += exp(-0.05 * i / (double)p.temperature);
    for (int i = 0; i < DRAWS; i++)
        count[pick(s)]++;
    for (int i = 0; i < N; i++) {
        const double want = i < kept ? exp(-0.05 * i / (double)p.temperature) / sum * DRAWS : 0;
        /* five standard deviations of a count and some; the seed is fixed: no chance failures */
        const double slack = i < kept ? 5 * sqrt(want) + 3 : 0;
        if (fabs(count[nth(i)] - want) > slack)
            fail_msg("rank %d: %d draws, about %.1f expected", i, count[nth(i)], want);
    }
    eng_sampler_free(s);
}

static void cuts_keep_what_they_say(void **state)
{
    (void)state;
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    p.seed = 7;
    p.temperature = 1.0f;
    check_shares(p, N);
    p.temperature = 0.5f;
    check_shares(p, N);
    p.temperature = 1.0f;
    p.top_k = 10;
    check_shares(p, 10);
    p.top_k = 0;
    /* 1 - exp(-0.05 n) >= 0.5 from n = 14 on (13.86) */
    p.top_p = 0.5f;
    check_shares(p, 14);
    p.top_p = 0.0f;
    check_shares(p, 1);
    p.top_p = 1.0f;
    p.min_p = 0.5f; /* exp(-0.05 i) >= 0.5 up to i = 13 */
    check_shares(p, 14);
    /* of the ten left by top-k, (1 - e^-0.05n) / (1 - e^-0.5) >= 0.5 from n = 5 on (4.4) */
    p.min_p = 0.0f;
    p.top_k = 10;
    p.top_p = 0.5f;
    check_shares(p, 5);
}

static void seed_decides(void **state)
{
    (void)state;
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    p.temperature = 1.0f;
    p.seed = 1;
    struct eng_sampler *a = sampler(p), *b = sampler(p);
    p.seed = 2;
    struct eng_sampler *c = sampler(p);
    int same = 0;
    for (int i = 0; i < 50; i++) {
        const int32_t x = pick(a);
        assert_int_equal(pick(b), x);
        same += pick(c) == x;
    }
    assert_true(same < 25);
    eng_sampler_free(a);
    eng_sampler_free(b);
    eng_sampler_free(c);
}

static void penalty_looks_back_so_far(void **state)
{
    (void)state;
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    p.repeat_penalty = 2.0f;
    p.repeat_last_n = 2;
    struct eng_sampler *s = sampler(p);
    float logits[N];
    struct eng_pick out;
    int32_t got[4];
    for (int i = 0; i < 4; i++) {
        memset(logits, 0, sizeof logits);
        logits[5] = 3.0f;
        logits[6] = 2.0f; /* 5 halved is less */
        logits[7] = 1.8f;
        assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
        got[i] = out.token;
    }
    assert_memory_equal(got, ((int32_t[]){5, 6, 7, 5}), sizeof got);
    /* Once, however often it stood there; negative logits move away from zero. */
    eng_sampler_accept(s, 5);
    eng_sampler_accept(s, 5);
    memset(logits, 0, sizeof logits);
    logits[5] = 3.0f;
    logits[6] = 1.4f;
    assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
    assert_int_equal(out.token, 5);
    for (int i = 0; i < N; i++)
        logits[i] = -1.0f;
    logits[5] = -0.6f;
    assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
    assert_int_equal(out.token, 0);
    eng_sampler_accept(s, -3); /* ignored */
    eng_sampler_accept(s, N);
    eng_sampler_free(s);
}

static void bad_logits_are_refused(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY};
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    for (int t = 0; t < 2; t++) {
        p.temperature = (float)t;
        struct eng_sampler *s = sampler(p);
        float logits[N];
        struct eng_pick out;
        for (int i = 0; i < 2; i++) {
            fill(logits);
            logits[500] = bad[i];
            assert_int_equal(eng_sampler_pick(s, logits, &out), BASE_EINTERNAL);
        }
        for (int i = 0; i < N; i++)
            logits[i] = -INFINITY;
        assert_int_equal(eng_sampler_pick(s, logits, &out), BASE_EINTERNAL);
        logits[3] = -7.0f; /* one possible token is enough */
        assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
        assert_int_equal(out.token, 3);
        eng_sampler_free(s);
    }
}

static void bad_parameters_are_named(void **state)
{
    (void)state;
    struct eng_sample_params p[8];
    static const char *const name[8] = {"temperature",    "top_k",         "top_p", "min_p",
                                        "repeat_penalty", "repeat_last_n", "n_top", "temperature"};
    for (int i = 0; i < 8; i++)
        p[i] = ENG_SAMPLE_GREEDY;
    p[0].temperature = -1;
    p[1].top_k = -1;
    p[2].top_p = 1.5f;
    p[3].min_p = -0.1f;
    p[4].repeat_penalty = 0;
    p[5].repeat_last_n = 1 << 20;
    p[6].n_top = ENG_TOP_MAX + 1;
    p[7].temperature = NAN;
    for (int i = 0; i < 8; i++) {
        struct eng_sampler *s = NULL;
        struct base_err err = {0};
        assert_int_equal(eng_sampler_new(&s, &p[i], N, &err), BASE_EINVAL);
        assert_string_equal(err.place, name[i]);
        assert_null(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_lowest_of_equals),
        cmocka_unit_test(logprobs_are_the_models_own),
        cmocka_unit_test(cuts_keep_what_they_say),
        cmocka_unit_test(seed_decides),
        cmocka_unit_test(penalty_looks_back_so_far),
        cmocka_unit_test(bad_logits_are_refused),
        cmocka_unit_test(bad_parameters_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
