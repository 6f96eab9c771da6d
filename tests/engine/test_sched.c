/* The scheduler: what comes back, in which order, and that nobody feels the others. Run it under
 * -fsanitize=thread too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "sched_seen.h"

enum { CTX = 64 };

static struct eng_model *model;

static struct eng_sched *sched(int max_job, int chunk, int max_row, int n_thread)
{
    return seen_sched(model, &(struct eng_sched_opt){.n_thread = n_thread,
                                                     .max_job = max_job,
                                                     .n_ctx = CTX,
                                                     .chunk_tok = chunk,
                                                     .max_row = max_row,
                                                     .kv = KERN_KV_F16});
}

static const struct eng_job_run answer = {0, LAYERS, ENG_OUT_TOKEN, true, 12};

static struct eng_job *job(struct eng_sched *s, const struct eng_job_run *run, struct seen *to)
{
    return seen_job(s, &(struct eng_job_opt){.run = *run, .sample = ENG_SAMPLE_GREEDY}, to);
}

/* What a lone session answers, by the executor alone. */
static int lone_answer(int which, int n_prompt, int max_new, int32_t *out)
{
    struct base_err err = {0};
    struct eng_exec *e = NULL;
    struct eng_session *s = NULL;
    const int n_vocab = eng_model_config(model)->n_vocab;
    float *logits = malloc((size_t)n_vocab * sizeof *logits);
    int32_t ids[CTX], next;
    assert_int_equal(eng_exec_new(&e, model, 1, CTX, &err), 0);
    assert_int_equal(eng_session_new(&s, model, CTX, KERN_KV_F16, &err), 0);
    prompt(which, n_prompt, ids);
    struct eng_seg g = {
        .s = s, .layer_end = LAYERS, .n_row = n_prompt, .token = ids, .logits = logits};
    int n = 0;
    for (bool end = false; !end && n < max_new;) {
        assert_int_equal(eng_exec_run(e, &g, 1, &err), 0);
        next = 0;
        for (int i = 1; i < n_vocab; i++)
            next = logits[i] > logits[next] ? i : next;
        out[n++] = next;
        end = eng_tok_is_end(eng_model_tok(model), next);
        g.token = &next;
        g.n_row = 1;
    }
    eng_session_free(s);
    eng_exec_free(e);
    free(logits);
    return n;
}

static void answers_as_if_alone(void **state)
{
    (void)state;
    enum { JOBS = 6 };
    static const int chunk[] = {1, 5, 16};
    for (int c = 0; c < 3; c++) {
        struct eng_sched *s = sched(JOBS, chunk[c], 16, 1 + c);
        struct eng_job *j[JOBS];
        static struct seen seen[JOBS];
        for (int k = 0; k < JOBS; k++) {
            int32_t ids[CTX];
            j[k] = job(s, &answer, &seen[k]);
            prompt(k, 7 + 5 * k, ids);
            feed(j[k], ids, 7 + 5 * k);
        }
        for (int k = 0; k < JOBS; k++) {
            int32_t want[CTX];
            const int n = lone_answer(k, 7 + 5 * k, 12, want);
            wait_for(s, &seen[k].n_done, 1);
            assert_int_equal(seen[k].n_token, n);
            assert_memory_equal(seen[k].token, want, (size_t)n * sizeof *want);
            assert_int_equal(seen[k].n_prompt_tok, 7 + 5 * k);
            assert_int_equal(seen[k].n_new_tok, n);
            assert_true(seen[k].engine_us > 0);
            assert_int_equal(seen[k].done, n < 12 ? ENG_DONE_STOP : ENG_DONE_LENGTH);
            eng_job_close(j[k]);
        }
        struct eng_sched_stats st;
        eng_sched_stats(s, &st);
        assert_int_equal(st.n_job, 0);
        assert_int_equal(st.n_row_waiting, 0);
        assert_true(st.n_tok_in >= 6 * 7 && st.n_tok_out > 0 && st.decode_tok_s > 0);
        assert_in_range(st.n_thread, 1, 1 + c); /* fewer than asked for on a busy machine */
        eng_sched_free(s);
    }
}

/* [0,k) here, [k,L) there, fed row by row: the split session as edge and cloud run it. */
static void a_split_through_jobs_is_exact(void **state)
{
    (void)state;
    int32_t ids[CTX], want[CTX];
    const int n_prompt = 9, n = lone_answer(1, n_prompt, 8, want);
    for (int k = 1; k < LAYERS; k++) {
        static struct seen edge_saw, cloud_saw, tail_saw;
        struct eng_sched *s = sched(3, 4, 16, 2);
        struct eng_job *edge =
            job(s, &(struct eng_job_run){0, k, ENG_OUT_ROWS, false, 0}, &edge_saw);
        struct eng_job *cloud =
            job(s, &(struct eng_job_run){k, LAYERS, ENG_OUT_STATE, false, 0}, &cloud_saw);
        struct eng_job *tail =
            job(s, &(struct eng_job_run){LAYERS, LAYERS, ENG_OUT_TOKEN, false, 0}, &tail_saw);
        struct base_err err = {0};
        prompt(1, n_prompt, ids);
        feed(edge, ids, n_prompt);
        wait_for(s, &edge_saw.n_rows, n_prompt);
        for (int i = 0; i < n_prompt; i++)
            assert_int_equal(edge_saw.pos[i], i);
        assert_int_equal(eng_job_feed_rows(cloud, edge_saw.row[0], n_prompt, &err), 0);
        for (int t = 0; t < n; t++) {
            wait_for(s, &cloud_saw.n_rows, t + 1);
            assert_int_equal(cloud_saw.pos[t], n_prompt - 1 + t);
            assert_int_equal(eng_job_feed_rows(tail, cloud_saw.row[t], 1, &err), 0);
            wait_for(s, &tail_saw.n_token, t + 1);
            assert_int_equal(tail_saw.token[t], want[t]);
            feed(edge, &tail_saw.token[t], 1);
            wait_for(s, &edge_saw.n_rows, n_prompt + t + 1);
            assert_int_equal(eng_job_feed_rows(cloud, edge_saw.row[n_prompt + t], 1, &err), 0);
        }
        eng_sched_free(s); /* closes what is open */
    }
}

/* The link dies after three tokens: the edge runs [k,L) over the rows it has, then goes on alone.
 */
static void switching_goes_on_with_the_answer(void **state)
{
    (void)state;
    static struct seen saw;
    int32_t ids[CTX], want[CTX];
    const int n_prompt = 9, n = lone_answer(2, n_prompt, 10, want);
    struct eng_sched *s = sched(1, 4, 8, 1);
    struct base_err err = {0};
    struct eng_job *j = job(s, &(struct eng_job_run){0, 1, ENG_OUT_ROWS, false, 0}, &saw);
    prompt(2, n_prompt, ids);
    memcpy(ids + n_prompt, want, 3 * sizeof *want); /* what the cloud answered so far */
    feed(j, ids, n_prompt + 3);
    wait_for(s, &saw.n_rows, n_prompt + 3);
    /* Layers at different positions can't run together. */
    assert_int_equal(eng_job_switch(j, &answer, &err), 0);
    assert_int_equal(eng_job_feed_tokens(j, ids, 1, &err), BASE_EINVAL);
    assert_int_equal(
        eng_job_switch(j, &(struct eng_job_run){1, LAYERS, ENG_OUT_TOKEN, false, 0}, &err), 0);
    assert_int_equal(eng_job_feed_rows(j, saw.row[0], n_prompt + 3, &err), 0);
    wait_for(s, &saw.n_token, 1);
    assert_int_equal(saw.token[0], want[3]);
    struct eng_job_run rest = answer;
    rest.max_new_tok = n - 4;
    assert_int_equal(eng_job_switch(j, &rest, &err), 0);
    feed(j, saw.token, 1);
    assert_int_equal(eng_job_feed_tokens(j, ids, 1, &err), BASE_EBUSY);
    assert_int_equal(eng_job_switch(j, &answer, &err), BASE_EBUSY);
    wait_for(s, &saw.n_done, 1);
    assert_int_equal(saw.n_token, n - 3);
    assert_memory_equal(saw.token, want + 3, (size_t)(n - 3) * sizeof *want);
    /* After DONE the conversation goes on. */
    feed(j, ids, 2);
    wait_for(s, &saw.n_done, 2);
    eng_job_close(j);
    eng_sched_free(s);
}

static void the_context_ends(void **state)
{
    (void)state;
    static struct seen saw;
    int32_t ids[CTX + 1];
    struct base_err err = {0};
    prompt(3, CTX + 1, ids);
    struct eng_sched *s = sched(2, 16, 32, 1);
    struct eng_job_run run = answer;
    run.max_new_tok = 1000;
    struct eng_job *j = job(s, &run, &saw);
    assert_int_equal(eng_job_feed_tokens(j, ids, CTX + 1, &err), BASE_ELIMIT);
    assert_int_equal(saw.n_call, 0);
    feed(j, ids, CTX - 3);
    wait_for(s, &saw.n_done, 1);
    assert_true(saw.n_token <= 4); /* three more rows fit; their last gives a fourth token */
    assert_true(saw.done == ENG_DONE_STOP || saw.n_token == 4);
    eng_job_close(j);
    /* Many small feeds count together. */
    j = job(s, &(struct eng_job_run){0, LAYERS, ENG_OUT_NONE, false, 0}, &saw);
    for (int i = 0; i < 4; i++)
        feed(j, ids, CTX / 4);
    assert_int_equal(eng_job_feed_tokens(j, ids, 1, &err), BASE_ELIMIT);
    wait_for(s, &saw.n_done, 4);
    assert_int_equal(saw.n_prompt_tok, CTX);
    eng_job_close(j);
    eng_sched_free(s);
}

static void bad_calls_are_refused(void **state)
{
    (void)state;
    static struct seen saw;
    struct eng_sched *s = sched(2, 4, 8, 1);
    struct base_err err = {0};
    const struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    struct eng_sample_params wild = p;
    wild.top_p = 2;
    struct eng_job *j = NULL, *k = NULL;
    const struct eng_job_run bad[] = {
        {0, LAYERS + 1, ENG_OUT_ROWS, false, 0}, {-1, 2, ENG_OUT_ROWS, false, 0},
        {2, 1, ENG_OUT_ROWS, false, 0},          {0, 2, ENG_OUT_TOKEN, false, 0},
        {1, LAYERS, ENG_OUT_TOKEN, true, 5},     {0, LAYERS, ENG_OUT_TOKEN, true, 0},
        {0, LAYERS, ENG_OUT_ROWS, true, 5},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(
            eng_job_open(&j, s, &(struct eng_job_opt){.run = bad[i], .sample = p, .priority = 0},
                         see, &saw, &err),
            BASE_EINVAL);
    assert_int_equal(
        eng_job_open(&j, s, &(struct eng_job_opt){.run = answer, .sample = wild, .priority = 0},
                     see, &saw, &err),
        BASE_EINVAL);
    assert_string_equal(err.place, "top_p");
    j = job(s, &answer, &saw);
    k = job(s, &(struct eng_job_run){1, 2, ENG_OUT_ROWS, false, 0}, &saw);
    struct eng_job *third = NULL;
    assert_int_equal(eng_job_open(&third, s,
                                  &(struct eng_job_opt){.run = answer, .sample = p, .priority = 0},
                                  see, &saw, &err),
                     BASE_EBUSY);
    const int32_t id = 289, good = 3;
    assert_int_equal(eng_job_feed_tokens(j, &id, 1, &err), BASE_EINVAL);
    assert_int_equal(eng_job_feed_tokens(j, &good, 0, &err), BASE_EINVAL);
    assert_int_equal(eng_job_feed_tokens(k, &good, 1, &err), BASE_EINVAL);
    assert_int_equal(eng_job_accept(j, &id, 1), BASE_EINVAL);
    assert_int_equal(eng_job_accept(j, &good, 1), 0);
    eng_job_close(j);
    eng_job_close(k);
    eng_job_close(NULL);
    eng_sched_free(s);
    eng_sched_free(NULL);
    const struct eng_sched_opt wrong = {
        .n_thread = 1, .max_job = 1, .n_ctx = 8, .chunk_tok = 9, .max_row = 8};
    assert_int_equal(eng_sched_new(&s, model, &wrong, &err), BASE_EINVAL);
}

/* Rows that are no numbers kill their own job, and nobody else's. */
static void poison_stays_in_its_job(void **state)
{
    (void)state;
    static struct seen bad_saw, good_saw;
    struct eng_sched *s = sched(2, 4, 8, 1);
    struct base_err err = {0};
    float row[D];
    for (int i = 0; i < D; i++)
        row[i] = NAN;
    struct eng_job *bad =
        job(s, &(struct eng_job_run){1, LAYERS, ENG_OUT_TOKEN, false, 0}, &bad_saw);
    struct eng_job *good = job(s, &answer, &good_saw);
    int32_t ids[5], want[CTX];
    prompt(4, 5, ids);
    feed(good, ids, 5);
    assert_int_equal(eng_job_feed_rows(bad, row, 1, &err), 0);
    wait_for(s, &bad_saw.n_error, 1);
    assert_int_equal(bad_saw.err.code, BASE_EINTERNAL);
    assert_int_equal(eng_job_feed_rows(bad, row, 1, &err), BASE_ECLOSED);
    wait_for(s, &good_saw.n_done, 1);
    const int n = lone_answer(4, 5, 12, want);
    assert_int_equal(good_saw.n_token, n);
    assert_memory_equal(good_saw.token, want, (size_t)n * sizeof *want);
    assert_int_equal(bad_saw.n_call, 1);
    eng_job_close(bad);
    eng_job_close(good);
    eng_sched_free(s);
}

/* Opens, feeds and closes at every moment; callbacks close their own job. Nothing comes after. */
static void closing_is_always_safe(void **state)
{
    (void)state;
    enum { ROUNDS = 60 };
    static struct seen saw[ROUNDS];
    struct eng_sched *s = sched(3, 4, 8, 2);
    struct eng_job *j[ROUNDS] = {0};
    int32_t ids[20];
    int busy = 0;
    for (int i = 0; i < ROUNDS; i++) {
        const struct eng_sample_params p = ENG_SAMPLE_GREEDY;
        struct base_err err = {0};
        memset(&saw[i], 0, sizeof saw[i]);
        saw[i].close_after = i % 3 == 0 ? 1 + i % 4 : 0;
        const int rc = eng_job_open(
            &j[i], s, &(struct eng_job_opt){.run = answer, .sample = p, .priority = i % 2}, see,
            &saw[i], &err);
        if (rc == BASE_EBUSY) {
            busy++;
        } else {
            assert_int_equal(rc, 0);
            prompt(i, 20, ids);
            feed(j[i], ids, 1 + i % 20);
        }
        if (i % 4 == 3)
            eng_sched_poll(s);
        if (i >= 2 && j[i - 2] != NULL && !saw[i - 2].closed) {
            saw[i - 2].closed = true;
            eng_job_close(j[i - 2]);
        }
    }
    eng_sched_poll(s);
    eng_sched_free(s); /* the last two are still open */
    assert_true(busy < ROUNDS);
}

/* A prompt of low priority is fed, then a longer one of high; true if the longer was ready first.
 */
static bool high_is_first(void)
{
    static struct seen low_saw, high_saw;
    struct eng_sched *s = sched(2, 1, 1, 1); /* a row a step: the order shows */
    int32_t ids[CTX];
    prompt(5, CTX, ids);
    struct base_err err = {0};
    const struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    const struct eng_job_run rows = {0, LAYERS, ENG_OUT_STATE, false, 0};
    struct eng_job *low = job(s, &rows, &low_saw), *high = NULL;
    memset(&high_saw, 0, sizeof high_saw);
    assert_int_equal(eng_job_open(&high, s,
                                  &(struct eng_job_opt){.run = rows, .sample = p, .priority = 1},
                                  see, &high_saw, &err),
                     0);
    feed(low, ids, CTX / 2);
    feed(high, ids, CTX);
    wait_for(s, &high_saw.n_rows, 1);
    bool first = low_saw.n_rows == 0;
    wait_for(s, &low_saw.n_rows, 1);
    eng_sched_free(s);
    return first;
}

/* On a busy machine the first prompt may be through before the second is even fed, which says
 * nothing. Without priorities they take turns, and the shorter is always ready first. */
static void priority_overtakes_in_prefill(void **state)
{
    (void)state;
    int tries = 1;
    while (!high_is_first())
        assert_true(tries++ < 100);
}

enum { LONG = 512, STEPS = 400 };

/* A job of priority `low` answers while one of `high` reads a long prompt, a row a step: how many
 * tokens came between the first and the last of STEPS steps. */
static int tokens_meanwhile(int low, int high, int yield_steps)
{
    static struct seen low_saw, high_saw;
    struct eng_sched *s = seen_sched(model, &(struct eng_sched_opt){.n_thread = 1,
                                                                    .max_job = 2,
                                                                    .n_ctx = 1024,
                                                                    .chunk_tok = 1,
                                                                    .max_row = 4,
                                                                    .yield_steps = yield_steps});
    struct eng_job_opt o = {.run = answer, .sample = ENG_SAMPLE_GREEDY, .priority = low};
    int32_t ids[STEPS];
    o.run.max_new_tok = 1000;
    struct eng_job *j = seen_job(s, &o, &low_saw);
    prompt(0, 6, ids);
    feed(j, ids, 6);
    wait_for(s, &low_saw.n_token, 1);
    o.run = (struct eng_job_run){0, LAYERS, ENG_OUT_ROWS, false, 0};
    o.priority = high;
    j = seen_job(s, &o, &high_saw);
    prompt(1, STEPS, ids);
    feed(j, ids, STEPS);
    wait_for(s, &high_saw.n_chunk, STEPS);
    int n = 0;
    for (int i = 0; i < low_saw.n_token; i++)
        n += low_saw.token_at[i] > high_saw.rows_at[0] &&
             low_saw.token_at[i] < high_saw.rows_at[STEPS - 1];
    assert_int_equal(low_saw.n_done, 0); /* else it says nothing */
    eng_sched_free(s);
    return n;
}

static void answers_yield_to_a_prompt_of_higher_priority(void **state)
{
    (void)state;
    assert_in_range(tokens_meanwhile(0, 1, 8), STEPS / 8 - 1, STEPS / 8 + 1);
    assert_in_range(tokens_meanwhile(-3, 0, 50), STEPS / 50 - 1, STEPS / 50 + 1);
    assert_in_range(tokens_meanwhile(0, 0, 8), STEPS - 2, STEPS);
    assert_in_range(tokens_meanwhile(1, 0, 8), STEPS - 2, STEPS);
    assert_in_range(tokens_meanwhile(0, 1, 0), STEPS - 2, STEPS);
}

/* One row a step: while the higher answers, the lower doesn't. */
static void priority_holds_for_answers_too(void **state)
{
    (void)state;
    static struct seen low_saw, high_saw;
    struct eng_sched *s = sched(2, 1, 1, 1);
    struct eng_job_opt o = {.run = answer, .sample = ENG_SAMPLE_GREEDY};
    int32_t ids[6];
    prompt(0, 6, ids);
    o.run.max_new_tok = CTX;
    feed(seen_job(s, &o, &low_saw), ids, 6);
    wait_for(s, &low_saw.n_token, 1);
    o.priority = 1;
    feed(seen_job(s, &o, &high_saw), ids, 6);
    wait_for(s, &high_saw.n_done, 1);
    wait_for(s, &low_saw.n_done, 1);
    for (int i = 0; i < low_saw.n_token; i++)
        assert_false(low_saw.token_at[i] > high_saw.token_at[0] &&
                     low_saw.token_at[i] < high_saw.done_at);
    assert_int_equal(high_saw.n_token, low_saw.n_token);
    eng_sched_free(s);
}

/* With a target for steps, a prompt goes on by some rows beside an answer however slow the machine,
 * by no more than a chunk however fast, and with the same outcome. */
static void a_step_target_cuts_chunks_only(void **state)
{
    (void)state;
    static struct seen want, saw, talk;
    int32_t ids[STEPS];
    struct eng_sched_opt so = {
        .n_thread = 1, .max_job = 2, .n_ctx = LONG, .chunk_tok = 64, .max_row = 80};
    struct eng_job_opt o = {.sample = ENG_SAMPLE_GREEDY};
    o.run = (struct eng_job_run){0, LAYERS, ENG_OUT_ROWS, false, 0};
    prompt(1, STEPS, ids);
    for (int beside = 0; beside < 2; beside++) {
        struct eng_sched *s = seen_sched(model, &so);
        if (beside) {
            int32_t few[6];
            o.run = answer;
            o.run.max_new_tok = LONG;
            struct eng_job *j = seen_job(s, &o, &talk);
            prompt(0, 6, few);
            feed(j, few, 6);
            wait_for(s, &talk.n_token, 1);
            o.run = (struct eng_job_run){0, LAYERS, ENG_OUT_ROWS, false, 0};
        }
        struct seen *to = beside ? &saw : &want;
        feed(seen_job(s, &o, to), ids, STEPS);
        wait_for(s, &to->n_rows, STEPS);
        for (int i = 0; i < to->n_chunk - 1; i++)
            assert_in_range(to->chunk[i], beside ? 8 : 64, 64);
        eng_sched_free(s);
        so.step_ms = 1;
    }
    assert_memory_equal(saw.row, want.row, sizeof saw.row[0] * STEPS);
}

static void a_cancelled_job_is_gone_within_a_step(void **state)
{
    (void)state;
    static struct seen saw;
    struct eng_sched *s = sched(2, 4, 8, 1);
    int32_t ids[20];
    prompt(0, 20, ids);
    for (int i = 0; i < 40; i++) {
        struct eng_job *j = job(s, &answer, &saw);
        feed(j, ids, 20);
        if (i % 2)
            wait_for(s, &saw.n_token, 1);
        eng_job_close(j);
        while (!eng_sched_has_room(s)) {
            struct pollfd p = {eng_sched_fd(s), POLLIN, 0};
            assert_int_equal(poll(&p, 1, 10000), 1);
            eng_sched_poll(s);
        }
    }
    struct eng_sched_stats st;
    eng_sched_stats(s, &st);
    assert_in_range(st.cancel_steps, 0, 1);
    eng_sched_free(s);
}

int main(void)
{
    const struct eng_model_opt o = {.path = tiny_make("--layers 3"), .layer_end = -1};
    model = tiny_open(&o);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_if_alone),
        cmocka_unit_test(a_split_through_jobs_is_exact),
        cmocka_unit_test(switching_goes_on_with_the_answer),
        cmocka_unit_test(the_context_ends),
        cmocka_unit_test(bad_calls_are_refused),
        cmocka_unit_test(poison_stays_in_its_job),
        cmocka_unit_test(closing_is_always_safe),
        cmocka_unit_test(priority_overtakes_in_prefill),
        cmocka_unit_test(answers_yield_to_a_prompt_of_higher_priority),
        cmocka_unit_test(priority_holds_for_answers_too),
        cmocka_unit_test(a_step_target_cuts_chunks_only),
        cmocka_unit_test(a_cancelled_job_is_gone_within_a_step),
    };
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    eng_model_close(model);
    tiny_clean();
    return rc;
}
