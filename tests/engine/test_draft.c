/* Drafted rows: answers are the same bits as without, whatever is asked for and wherever it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "engine/sched_draft.h"
#include "sched_seen.h"

enum { CTX = 160 };

static struct eng_model *model;

static enum kern_kv_type kv = KERN_KV_F16;

static struct eng_sched *sched(int draft_tok, bool always)
{
    return seen_sched(model, &(struct eng_sched_opt){.n_thread = 2,
                                                     .max_job = 3,
                                                     .n_ctx = CTX,
                                                     .chunk_tok = 16,
                                                     .max_row = 24,
                                                     .kv = kv,
                                                     .draft_tok = draft_tok,
                                                     .draft_always = always});
}

/* A text that repeats itself, so that there is something to look up. */
static void verse(int which, int n, int32_t *ids)
{
    for (int i = 0; i < n; i++)
        ids[i] = 3 + (which * 53 + i % 7 * 97) % 270;
}

/* Two turns of a conversation. */
static void talk(struct eng_sched *s, const struct eng_sample_params *p, int which, int n_prompt,
                 int max_new, struct seen *to)
{
    const struct eng_job_opt o = {.run = {0, LAYERS, ENG_OUT_TOKEN, true, max_new}, .sample = *p};
    struct base_err err = {0};
    int32_t ids[CTX];
    struct eng_job *j = seen_job(s, &o, to);
    verse(which, n_prompt, ids);
    feed(j, ids, n_prompt);
    wait_for(s, &to->n_done, 1);
    if (eng_job_feed_tokens(j, ids, 5, &err) == 0)
        wait_for(s, &to->n_done, 2);
    else
        assert_int_equal(err.code, BASE_ELIMIT);
    eng_job_close(j);
}

static void same(const struct seen *a, const struct seen *b)
{
    seen_same(a, b);
    assert_memory_equal(a->pick, b->pick, (size_t)a->n_token * sizeof a->pick[0]);
}

static void answers_are_the_same_bits(void **state)
{
    (void)state;
    static const struct {
        float temperature, penalty, top_p;
        int top_k;
    } by[] = {{0, 1, 1, 0}, {0, 1.2f, 1, 0}, {0.05f, 1, 1, 0}, {0.3f, 1, 0.9f, 0}, {1, 1.1f, 1, 5}};
    static struct seen want, saw;
    static const struct {
        int n;
        enum kern_kv_type kv;
    } drafts[] = {{1, KERN_KV_F16}, {3, KERN_KV_F16}, {8, KERN_KV_F32}, {30, KERN_KV_Q8_0}};
    for (size_t k = 0; k < sizeof drafts / sizeof drafts[0]; k++) {
        kv = drafts[k].kv;
        struct eng_sched *plain = sched(0, false), *drafting = sched(drafts[k].n, true);
        for (size_t i = 0; i < 5 * 6; i++) {
            struct eng_sample_params p = ENG_SAMPLE_GREEDY;
            p.temperature = by[i % 5].temperature;
            p.repeat_penalty = by[i % 5].penalty;
            p.top_p = by[i % 5].top_p;
            p.top_k = by[i % 5].top_k;
            p.seed = 100 + i;
            p.logprobs = true;
            p.n_top = 4;
            talk(plain, &p, (int)i, 20, 50, &want);
            talk(drafting, &p, (int)i, 20, 50, &saw);
            same(&want, &saw);
        }
        struct eng_sched_stats st, none;
        eng_sched_stats(drafting, &st);
        eng_sched_stats(plain, &none);
        assert_true(st.n_draft_right > 50 && st.n_draft > st.n_draft_right);
        assert_true(st.n_step < none.n_step);
        assert_int_equal(st.n_tok_out, none.n_tok_out);
        assert_int_equal(none.n_draft, 0);
        eng_sched_free(plain);
        eng_sched_free(drafting);
    }
}

/* Packed weights multiply one row and nine by different kernels. */
static void answers_of_packed_weights_too(void **state)
{
    struct eng_model *plain = model;
    const struct eng_model_opt o = {.path = tiny_make("--layers 3 --type Q4_1"), .layer_end = -1};
    model = tiny_open(&o);
    answers_are_the_same_bits(state);
    eng_model_close(model);
    model = plain;
}

/* Several at once, each as if alone; by what pays, which depends on the clock, or always. */
static void neighbours_do_not_matter(void **state)
{
    (void)state;
    enum { JOBS = 3 };
    static struct seen want[JOBS], saw[JOBS];
    const struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    struct eng_sched *plain = sched(0, false);
    for (int k = 0; k < JOBS; k++) {
        const struct eng_job_opt o = {.run = {0, LAYERS, ENG_OUT_TOKEN, true, 80}, .sample = p};
        int32_t ids[CTX];
        struct eng_job *j = seen_job(plain, &o, &want[k]);
        verse(k, 15 + 9 * k, ids);
        feed(j, ids, 15 + 9 * k);
        wait_for(plain, &want[k].n_done, 1);
        eng_job_close(j);
    }
    for (int always = 0; always < 2; always++) {
        struct eng_sched *s = sched(8, always);
        struct eng_job *j[JOBS];
        for (int k = 0; k < JOBS; k++) {
            const struct eng_job_opt o = {.run = {0, LAYERS, ENG_OUT_TOKEN, true, 80}, .sample = p};
            int32_t ids[CTX];
            j[k] = seen_job(s, &o, &saw[k]);
            verse(k, 15 + 9 * k, ids);
            feed(j[k], ids, 15 + 9 * k);
        }
        for (int k = 0; k < JOBS; k++) {
            wait_for(s, &saw[k].n_done, 1);
            same(&want[k], &saw[k]);
            eng_job_close(j[k]);
        }
        eng_sched_free(s);
    }
    eng_sched_free(plain);
}

/* What a grammar leaves no choice about needs no steps of its own. */
static void forced_tokens_are_drafts(void **state)
{
    (void)state;
    static const char form[] =
        "a = \"{\\\"degrees\\\":\" [0-9]{1,3} \",\\\"unit\\\":\\\"celsius\\\",\" "
        "\"\\\"open\\\":\" (\"true\" | \"false\") \"}\" ;";
    static struct seen want, saw;
    struct base_err err = {0};
    struct eng_vocab *v = NULL;
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    assert_int_equal(eng_vocab_new(&v, eng_model_tok(model), &err), 0);
    if (eng_grammar_new(&p.grammar, v, form, sizeof form - 1, NULL, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    struct eng_sched *plain = sched(0, false), *drafting = sched(16, false);
    for (int i = 0; i < 12; i++) {
        p.temperature = i % 2 ? 1.5f : 0;
        p.seed = (uint64_t)i;
        p.logprobs = true;
        const struct eng_job_opt o = {.run = {0, LAYERS, ENG_OUT_TOKEN, true, 100}, .sample = p};
        int32_t ids[9];
        prompt(i, 9, ids);
        for (int k = 0; k < 2; k++) {
            struct seen *to = k == 0 ? &want : &saw;
            struct eng_sched *s = k == 0 ? plain : drafting;
            struct eng_job *j = seen_job(s, &o, to);
            feed(j, ids, 9);
            wait_for(s, &to->n_done, 1);
            eng_job_close(j);
        }
        same(&want, &saw);
        assert_int_equal(want.done, ENG_DONE_STOP);
        int n_choice = 0; /* of digits, and of true or false, there is one */
        for (int k = 0; k < want.n_token; k++)
            n_choice += !want.pick[k].forced;
        assert_true(want.pick[0].forced && n_choice >= 2 && n_choice <= 5);
    }
    struct eng_sched_stats st, none;
    eng_sched_stats(drafting, &st);
    eng_sched_stats(plain, &none);
    assert_true(st.n_draft > 100 && st.n_draft_right > st.n_draft / 2);
    assert_true(2 * st.n_step < none.n_step);
    eng_sched_free(plain);
    eng_sched_free(drafting);
    eng_grammar_unref(p.grammar);
    eng_vocab_free(v);
}

/* Wherever max_new_tok or the context ends an answer. */
static void ends_are_exact(void **state)
{
    (void)state;
    static struct seen want, saw;
    const struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    struct eng_sched *plain = sched(0, false), *drafting = sched(8, true);
    for (int max_new = 1; max_new < 24; max_new++) {
        talk(plain, &p, 1, 20, max_new, &want);
        talk(drafting, &p, 1, 20, max_new, &saw);
        same(&want, &saw);
        talk(plain, &p, 2, CTX - max_new, 1000, &want);
        talk(drafting, &p, 2, CTX - max_new, 1000, &saw);
        same(&want, &saw);
    }
    eng_sched_free(plain);
    eng_sched_free(drafting);
}

static void lookup_finds_the_latest_and_longest(void **state)
{
    (void)state;
    int32_t out[8];
    /* 1 2 3 came twice: the later place counts. */
    const int32_t a[] = {1, 2, 3, 9, 1, 2, 3, 8, 7, 6, 1, 2, 3};
    assert_int_equal(sched_lookup(a, 13, out, 3), 3);
    assert_memory_equal(out, a + 7, 3 * sizeof *out);
    /* Three tokens go before two, though two stood there later. */
    const int32_t b[] = {1, 2, 3, 9, 5, 2, 3, 8, 1, 2, 3};
    assert_int_equal(sched_lookup(b, 11, out, 1), 1);
    assert_int_equal(out[0], 9);
    const int32_t c[] = {5, 2, 3, 8, 1, 2, 3};
    assert_int_equal(sched_lookup(c, 7, out, 1), 1);
    assert_int_equal(out[0], 8);
    /* A cycle goes on. */
    const int32_t d[] = {4, 1, 2, 1, 2};
    assert_int_equal(sched_lookup(d, 5, out, 5), 5);
    assert_memory_equal(out, ((int32_t[]){1, 2, 1, 2, 1}), 5 * sizeof *out);
    /* Nothing, or nowhere to put it. */
    const int32_t e[] = {1, 2, 3, 4, 5};
    for (int n = 0; n <= 5; n++)
        assert_int_equal(sched_lookup(e, n, out, 8), 0);
    assert_int_equal(sched_lookup(d, 5, out, 0), 0);
}

static void rows_must_pay(void **state)
{
    (void)state;
    struct sched_cost c = {0};
    assert_true(sched_cost_pays(&c, 0.5, 1, 1)); /* not known: tried */
    assert_false(sched_cost_pays(&c, 0.05, 1, 1));
    for (int i = 0; i < 100; i++)
        sched_cost_add(&c, 1, 1100); /* all alike tells nothing */
    assert_true(c.row == 0);
    for (int i = 0; i < 100; i++)
        sched_cost_add(&c, 1 + i % 8, 1000 + 100 * (1 + i % 8));
    assert_true(c.row > 0.09 && c.row < 0.11);
    /* A row more is a tenth of a step more for so many tokens more. */
    assert_true(sched_cost_pays(&c, 0.1, 1, 1));
    assert_false(sched_cost_pays(&c, 0.08, 1, 1));
    assert_false(sched_cost_pays(&c, 0.1, 1, 4));
    /* A busy machine hides nothing: now and then a step is undisturbed. */
    for (int i = 0; i < 1000; i++)
        sched_cost_add(&c, 1 + i % 8, (1000 + 100 * (1 + i % 8)) * (1 + i / 8 % 5));
    assert_true(c.row > 0.08 && c.row < 0.13);
    for (int i = 0; i < 1000; i++)
        sched_cost_add(&c, 1 + i % 8, 1000 * (1 + i % 8)); /* all rows, no fixed part */
    assert_false(sched_cost_pays(&c, 0.75, 1, 1));
    for (int i = 0; i < 1000; i++)
        sched_cost_add(&c, 1 + i % 8, 8000 - 100 * (i % 8)); /* more rows, less time */
    assert_true(c.row > 0 && sched_cost_pays(&c, 0.1, 1, 1));
    /* One slow step is not the last word. */
    c = (struct sched_cost){0};
    sched_cost_add(&c, 1, 1000);
    sched_cost_add(&c, 2, 50000);
    assert_false(sched_cost_pays(&c, 0.5, 1, 1));
    for (int i = 0; i < 400; i++)
        sched_cost_add(&c, 1, 1000);
    assert_true(sched_cost_pays(&c, 0.5, 1, 1));
    sched_cost_add(&c, 2, 1100);
    assert_true(c.row < 0.15);
    sched_cost_add(&c, 0, 1);
    sched_cost_add(&c, SCHED_COST_ROWS + 1, 1); /* sizes that are not kept */
    assert_true(sched_cost_pays(&c, 0.2, 1, 1));
    assert_false(sched_cost_pays(&c, 0.05, 1, 1));
}

int main(void)
{
    const struct eng_model_opt o = {.path = tiny_make("--layers 3"), .layer_end = -1};
    model = tiny_open(&o);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_same_bits),
        cmocka_unit_test(answers_of_packed_weights_too),
        cmocka_unit_test(neighbours_do_not_matter),
        cmocka_unit_test(forced_tokens_are_drafts),
        cmocka_unit_test(ends_are_exact),
        cmocka_unit_test(lookup_finds_the_latest_and_longest),
        cmocka_unit_test(rows_must_pay),
    };
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    eng_model_close(model);
    tiny_clean();
    return rc;
}
