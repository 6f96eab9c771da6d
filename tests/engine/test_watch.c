/* Watched layers: the same bits as from all rows, however they were run; and answers are the same
 * bits with a watch and without. Run it under -fsanitize=thread too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "engine/confidence.h"
#include "engine/lora.h"
#include "sched_seen.h"

enum { CTX = 64, N_PROMPT = 23, FROM = 5 };

static struct eng_model *model;
static const char *model_path;
static const struct eng_job_run answer = {0, LAYERS, ENG_OUT_TOKEN, true, 8};
static const struct eng_watch_opt all_layers = {.n = 3, .layer = {1, 2, 3}, .from = FROM};

static struct eng_sched *sched(int chunk, int n_thread, size_t cache_bytes)
{
    return seen_sched(model, &(struct eng_sched_opt){.n_thread = n_thread,
                                                     .max_job = 3,
                                                     .n_ctx = CTX,
                                                     .chunk_tok = chunk,
                                                     .max_row = 20,
                                                     .kv = KERN_KV_F16,
                                                     .draft_tok = 2,
                                                     .draft_always = true,
                                                     .cache_bytes = cache_bytes,
                                                     .cache_entries = 4,
                                                     .cache_age_ms = 1000000});
}

static struct eng_job_opt opt_of(const struct eng_job_run *run, const struct eng_watch_opt *w)
{
    struct eng_job_opt o = {.run = *run, .sample = ENG_SAMPLE_GREEDY, .cache_key = "k"};
    o.sample.logprobs = true;
    if (w != NULL)
        o.watch = *w;
    return o;
}

/* What a watch must show, from all rows of a lone session: the definition. */
static void want_states(const struct eng_lora *l, float mean[LAYERS][D], float last[LAYERS][D])
{
    struct base_err err = {0};
    int32_t ids[N_PROMPT];
    prompt(0, N_PROMPT, ids);
    for (int k = 1; k <= LAYERS; k++) {
        static float x[N_PROMPT][D];
        struct eng_exec *e = NULL;
        struct eng_session *s = NULL;
        assert_int_equal(eng_exec_new(&e, model, 1, CTX, &err), 0);
        assert_int_equal(eng_session_new(&s, model, CTX, KERN_KV_F16, &err), 0);
        const struct eng_seg g = {
            .s = s, .layer_end = k, .n_row = N_PROMPT, .token = ids, .x_out = x[0], .lora = l};
        assert_int_equal(eng_exec_run(e, &g, 1, &err), 0);
        memset(mean[k - 1], 0, sizeof mean[0]);
        for (int i = FROM; i < N_PROMPT; i++) {
            for (int d = 0; d < D; d++)
                mean[k - 1][d] += x[i][d];
        }
        for (int d = 0; d < D; d++)
            mean[k - 1][d] /= N_PROMPT - FROM;
        memcpy(last[k - 1], x[N_PROMPT - 1], sizeof last[0]);
        eng_session_free(s);
        eng_exec_free(e);
    }
}

static void check_states(const struct seen *saw, const struct eng_lora *l)
{
    float mean[LAYERS][D], last[LAYERS][D];
    want_states(l, mean, last);
    assert_int_equal(saw->states.n, LAYERS);
    assert_int_equal(saw->states.d_model, D);
    for (int k = 0; k < LAYERS; k++) {
        assert_int_equal(saw->states.layer[k], k + 1);
        assert_int_equal(saw->states.n_row[k], N_PROMPT - FROM);
    }
    assert_memory_equal(saw->mean, mean, sizeof mean);
    assert_memory_equal(saw->last, last, sizeof last);
}

static void same_answer(const struct seen *a, const struct seen *b)
{
    assert_int_equal(a->n_token, b->n_token);
    assert_memory_equal(a->pick, b->pick, (size_t)a->n_token * sizeof a->pick[0]);
}

/* Every chunk, threads, beside another job; and nothing of the answer counts. */
static void states_do_not_depend_on_the_batch(void **state)
{
    (void)state;
    static struct seen plain, saw, other;
    int32_t ids[CTX];
    for (int chunk = 1; chunk <= 20; chunk += 6) {
        struct eng_sched *s = sched(chunk, 1 + chunk % 3, 0);
        struct eng_job_opt o = opt_of(&answer, NULL);
        struct eng_job *j = seen_job(s, &o, &plain);
        prompt(0, N_PROMPT, ids);
        feed(j, ids, N_PROMPT);
        wait_for(s, &plain.n_done, 1);
        eng_job_close(j);
        assert_int_equal(plain.n_states, 0);
        struct eng_job *b = seen_job(s, &o, &other);
        o.watch = all_layers;
        j = seen_job(s, &o, &saw);
        feed(b, ids + 1, N_PROMPT - 1);
        feed(j, ids, N_PROMPT);
        wait_for(s, &saw.n_done, 1);
        wait_for(s, &other.n_done, 1);
        assert_int_equal(saw.n_states, 1);
        check_states(&saw, NULL);
        same_answer(&plain, &saw);
        eng_sched_free(s);
    }
}

/* Each kind of output tells; several feeds add up; a layer that has not run has no rows. */
static void each_feed_tells_what_has_passed(void **state)
{
    (void)state;
    static const enum eng_job_output out[] = {ENG_OUT_ROWS, ENG_OUT_STATE, ENG_OUT_TOKEN,
                                              ENG_OUT_NONE};
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++) {
        static struct seen saw;
        int32_t ids[CTX];
        struct eng_sched *s = sched(4, 2, 0);
        const struct eng_job_run run = {0, LAYERS, out[i], false, 0};
        const struct eng_job_opt o = opt_of(&run, &all_layers);
        struct eng_job *j = seen_job(s, &o, &saw);
        prompt(0, N_PROMPT, ids);
        feed(j, ids, 3); /* before FROM */
        wait_for(s, &saw.n_states, 1);
        assert_int_equal(saw.states.n_row[0], 0);
        for (int d = 0; d < D; d++)
            assert_true(saw.mean[0][d] == 0.0f && saw.last[2][d] == 0.0f);
        feed(j, ids + 3, N_PROMPT - 3);
        wait_for(s, &saw.n_states, 2);
        check_states(&saw, NULL);
        eng_sched_free(s);
    }
}

/* A decision in mid-prefill: [0,k), look, [k,L), answer. Bits and states are those of one run. */
static void a_decision_after_layer_k_costs_no_bit(void **state)
{
    (void)state;
    for (int k = 1; k < LAYERS; k++) {
        static struct seen want, saw;
        int32_t ids[CTX];
        struct base_err err = {0};
        struct eng_sched *s = sched(6, 2, 0);
        struct eng_job_opt o = opt_of(&answer, NULL);
        prompt(0, N_PROMPT, ids);
        struct eng_job *j = seen_job(s, &o, &want);
        feed(j, ids, N_PROMPT);
        wait_for(s, &want.n_done, 1);
        eng_job_close(j);
        o = opt_of(&(struct eng_job_run){0, k, ENG_OUT_ROWS, false, 0}, &all_layers);
        j = seen_job(s, &o, &saw);
        feed(j, ids, N_PROMPT);
        wait_for(s, &saw.n_rows, N_PROMPT);
        assert_int_equal(saw.n_states, 1);
        for (int l = 0; l < LAYERS; l++)
            assert_int_equal(saw.states.n_row[l], l < k ? N_PROMPT - FROM : 0);
        const struct eng_job_run upper = {k, LAYERS, ENG_OUT_TOKEN, false, 0};
        assert_int_equal(eng_job_switch(j, &upper, &err), 0);
        assert_int_equal(eng_job_feed_rows(j, saw.row[0], N_PROMPT, &err), 0);
        wait_for(s, &saw.n_token, 1);
        check_states(&saw, NULL);
        struct eng_job_run rest = answer;
        rest.max_new_tok = answer.max_new_tok - 1;
        assert_int_equal(eng_job_switch(j, &rest, &err), 0);
        const int32_t first = saw.token[0];
        feed(j, &first, 1);
        wait_for(s, &saw.n_done, 1);
        same_answer(&want, &saw);
        eng_sched_free(s);
    }
}

/* Rows of an answer that run with the prompt's last ones are none of the prompt. */
static void what_an_answer_begins_by_is_not_seen(void **state)
{
    (void)state;
    static const char form[] = "a = \"seat \" [0-9] ;";
    static struct seen saw;
    int32_t ids[CTX];
    struct base_err err = {0};
    struct eng_vocab *v = NULL;
    struct eng_grammar *g = NULL;
    assert_int_equal(eng_vocab_new(&v, eng_model_tok(model), &err), 0);
    assert_int_equal(eng_grammar_new(&g, v, form, sizeof form - 1, NULL, &err), 0);
    prompt(0, N_PROMPT, ids);
    for (int known = 0; known < 2; known++) {
        struct eng_answer_stats a = {0};
        struct eng_sched *s = sched(20, 2, 0);
        struct eng_job_opt o = opt_of(&answer, &all_layers);
        o.sample.grammar = g;
        o.sample.choices_only = known == 0;
        struct eng_job *j = seen_job(s, &o, &saw);
        feed(j, ids, N_PROMPT);
        wait_for(s, &saw.n_done, 1);
        check_states(&saw, NULL);
        for (int i = 0; i < saw.n_token; i++) {
            assert_true(!saw.pick[i].untold || saw.pick[i].forced);
            eng_answer_stats_add(&a, &saw.pick[i]);
        }
        assert_true(saw.pick[0].forced && a.all.n > a.choice.n && a.choice.n >= 1);
        assert_int_equal(a.n_untold > 0, known == 0);
        eng_sched_free(s);
    }
    eng_grammar_unref(g);
    eng_vocab_free(v);
}

/* The cache serves what lies before the watch, and not a row more. */
static void the_cache_never_hides_a_row(void **state)
{
    (void)state;
    static struct seen cold, warm;
    int32_t ids[CTX], first[CTX];
    struct eng_sched *s = sched(7, 2, 1 << 24);
    const struct eng_watch_opt late = {.n = 3, .layer = {1, 2, 3}, .from = 18};
    const struct eng_job_opt o = opt_of(&answer, &late);
    prompt(0, N_PROMPT, ids);
    for (int i = 0; i < 3; i++) {
        static struct seen *const to[] = {&cold, &warm, &warm};
        memcpy(first, ids, sizeof first);
        struct eng_job *j = seen_job(s, &o, to[i]);
        feed(j, first, N_PROMPT);
        wait_for(s, &to[i]->n_done, 1);
        eng_job_close(j);
        assert_int_equal(to[i]->n_cached_tok, i == 0 ? 0 : late.from);
        assert_int_equal(to[i]->states.n_row[1], N_PROMPT - late.from);
        if (i == 0)
            continue;
        same_answer(&cold, &warm);
        assert_memory_equal(cold.mean, warm.mean, sizeof cold.mean);
        assert_memory_equal(cold.last, warm.last, sizeof cold.last);
    }
    eng_sched_free(s);
}

/* The layers below an adapter serve with it and without: it may be put on when they have run. */
static void an_adapter_may_come_after_its_layers_below(void **state)
{
    (void)state;
    static struct seen want, saw;
    int32_t ids[CTX];
    struct base_err err = {0};
    struct eng_lora *l = NULL, *low = NULL;
    assert_int_equal(eng_lora_open(&l, model, tiny_lora(model_path, "--from 2"), &err), 0);
    assert_int_equal(eng_lora_open(&low, model, tiny_lora(model_path, "--to 1"), &err), 0);
    struct eng_sched *s = sched(6, 2, 1 << 24);
    struct eng_job_opt o = opt_of(&answer, NULL);
    prompt(0, N_PROMPT, ids);
    o.lora = l;
    struct eng_job *j = seen_job(s, &o, &want);
    feed(j, ids, N_PROMPT);
    wait_for(s, &want.n_done, 1);
    eng_job_close(j);
    o = opt_of(&(struct eng_job_run){0, 2, ENG_OUT_ROWS, false, 0}, &all_layers);
    j = seen_job(s, &o, &saw);
    feed(j, ids, N_PROMPT);
    wait_for(s, &saw.n_rows, N_PROMPT);
    assert_int_equal(eng_job_adapt(j, low, &err), BASE_EINVAL);
    assert_non_null(strstr(err.msg, "layer 0"));
    assert_int_equal(eng_job_adapt(j, l, &err), 0);
    const struct eng_job_run upper = {2, LAYERS, ENG_OUT_TOKEN, false, 0};
    assert_int_equal(eng_job_switch(j, &upper, &err), 0);
    assert_int_equal(eng_job_feed_rows(j, saw.row[0], N_PROMPT, &err), 0);
    wait_for(s, &saw.n_token, 1);
    check_states(&saw, l);
    assert_int_equal(eng_job_adapt(j, NULL, &err), BASE_EINVAL);
    assert_non_null(strstr(err.msg, "layer 2"));
    struct eng_job_run rest = answer;
    rest.max_new_tok = answer.max_new_tok - 1;
    assert_int_equal(eng_job_switch(j, &rest, &err), 0);
    const int32_t first = saw.token[0];
    feed(j, &first, 1);
    assert_int_equal(eng_job_adapt(j, l, &err), BASE_EBUSY);
    wait_for(s, &saw.n_done, 1);
    same_answer(&want, &saw);
    assert_int_equal(eng_job_adapt(j, l, &err), 0); /* no change */
    eng_sched_free(s);
    eng_lora_close(low);
    eng_lora_close(l);
}

static void bad_watches_are_refused(void **state)
{
    (void)state;
    static const struct eng_watch_opt bad[] = {
        {.n = ENG_WATCH_MAX + 1},
        {.n = -1},
        {.n = 1, .layer = {0}},
        {.n = 1, .layer = {LAYERS + 1}},
        {.n = 2, .layer = {2, 2}},
        {.n = 2, .layer = {2, 1}},
        {.n = 1, .layer = {1}, .from = -1},
    };
    struct eng_sched *s = sched(4, 1, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        static struct seen saw;
        struct eng_job *j = NULL;
        struct base_err err = {0};
        const struct eng_job_opt o = opt_of(&answer, &bad[i]);
        assert_int_equal(eng_job_open(&j, s, &o, see, &saw, &err), BASE_EINVAL);
        assert_string_equal(err.place, "watch");
    }
    eng_sched_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_do_not_depend_on_the_batch),
        cmocka_unit_test(each_feed_tells_what_has_passed),
        cmocka_unit_test(a_decision_after_layer_k_costs_no_bit),
        cmocka_unit_test(what_an_answer_begins_by_is_not_seen),
        cmocka_unit_test(the_cache_never_hides_a_row),
        cmocka_unit_test(an_adapter_may_come_after_its_layers_below),
        cmocka_unit_test(bad_watches_are_refused),
    };
    model_path = tiny_make("--layers 3 --type q4_1");
    model = tiny_open(&(struct eng_model_opt){.path = model_path, .layer_end = -1});
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    eng_model_close(model);
    tiny_clean();
    return rc;
}
