/* Tokens that a grammar leaves no choice about cost no step: the answer is the same as with a step
 * for each, wherever it ends and whatever comes behind it, and steps are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "sched_seen.h"

enum { CTX = 160, N_PROMPT = 9 };

static struct eng_model *model;
static struct eng_vocab *vocab;

static const char *const form[] = {
    "a = \"yes\" | \"no\" ;",
    "a = \"set_\" (\"temperature\" | \"fan\") \" \" (\"all\" | \"driver\") ;",
    "a = \"{\\\"degrees\\\":\" [0-9]{1,3} \",\\\"unit\\\":\\\"celsius\\\",\\\"open\\\":\" "
    "(\"true\" | \"false\") \"}\" ;",
    "a = \"nothing is left to choose here\" ;",
    "a = [a-c]{1,12} ;",
};
enum { N_FORM = sizeof form / sizeof form[0] };

static struct eng_grammar *grammar(const char *text)
{
    struct base_err err = {0};
    struct eng_grammar *g = NULL;
    if (eng_grammar_new(&g, vocab, text, strlen(text), NULL, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    return g;
}

static struct eng_sched *sched(int chunk_tok, int max_row, int draft_tok)
{
    return seen_sched(model, &(struct eng_sched_opt){.n_thread = 2,
                                                     .max_job = 4,
                                                     .n_ctx = CTX,
                                                     .chunk_tok = chunk_tok,
                                                     .max_row = max_row,
                                                     .kv = KERN_KV_F16,
                                                     .draft_tok = draft_tok});
}

static struct eng_job *ask(struct eng_sched *s, const struct eng_sample_params *p, int which,
                           int n_prompt, int max_new, struct seen *to)
{
    const struct eng_job_opt o = {.run = {0, LAYERS, ENG_OUT_TOKEN, true, max_new}, .sample = *p};
    int32_t ids[CTX];
    struct eng_job *j = seen_job(s, &o, to);
    prompt(which, n_prompt, ids);
    feed(j, ids, n_prompt);
    return j;
}

static void answer(struct eng_sched *s, const struct eng_sample_params *p, int which, int n_prompt,
                   int max_new, struct seen *to)
{
    struct eng_job *j = ask(s, p, which, n_prompt, max_new, to);
    wait_for(s, &to->n_done, 1);
    eng_job_close(j);
}

/* The log probabilities of all tokens want a row for each. */
static struct eng_sample_params params(struct eng_grammar *g, int i, bool steps)
{
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    p.grammar = g;
    p.temperature = i % 2 ? 1.5f : 0;
    p.repeat_penalty = i % 3 ? 1.0f : 1.3f;
    p.seed = (uint64_t)i;
    p.logprobs = steps;
    p.max_tok = i % 4 == 3 ? 70 : 0;
    return p;
}

/* How many of an answer's tokens the grammar left a choice about; is[i]: the ith. */
static int choices(struct eng_grammar *g, const struct seen *a, bool *is)
{
    struct eng_grammar_state *s = NULL;
    int32_t sure;
    int n = 0;
    assert_int_equal(eng_grammar_start(&s, g), 0);
    for (int i = 0; i < a->n_token; i++) {
        is[i] = eng_grammar_forced(s, &sure, 1) == 0;
        n += is[i];
        assert_int_equal(eng_grammar_take(s, a->token[i]), 0);
    }
    eng_grammar_stop(s);
    return n;
}

static uint64_t steps(const struct eng_sched *s)
{
    struct eng_sched_stats st;
    eng_sched_stats(s, &st);
    return st.n_step;
}

/* The prompt's step gives the first choice, each step more another one. */
static void steps_are_choices(void **state)
{
    (void)state;
    static struct seen want, saw, log;
    static bool is[SEEN_MAX];
    for (int k = 0; k < N_FORM; k++) {
        struct eng_grammar *g = grammar(form[k]);
        for (int i = 0; i < 12; i++) {
            struct eng_sched *plain = sched(64, 80, 0), *s = sched(64, 80, i % 4 ? 0 : 8);
            struct eng_sample_params p = params(g, i, true);
            answer(plain, &p, i, N_PROMPT, 100, &want);
            assert_int_equal(want.done, ENG_DONE_STOP);
            assert_int_equal(steps(plain), want.n_token);
            const int n = choices(g, &want, is);
            assert_true(k == 3 ? n == 0 : n > 0);
            const uint64_t most = n > 0 ? (uint64_t)n : 1;
            p = params(g, i, false);
            answer(s, &p, i, N_PROMPT, 100, &saw);
            seen_same(&want, &saw);
            assert_true(i % 4 ? steps(s) == most : steps(s) <= most);
            /* Who asks for the choices' log probabilities alone gets those, for the same steps. */
            const uint64_t before = steps(s);
            p = params(g, i, true);
            p.choices_only = true;
            answer(s, &p, i, N_PROMPT, 100, &log);
            seen_same(&want, &log);
            assert_true(i % 4 ? steps(s) - before == most : steps(s) - before <= most);
            for (int t = 0; t < want.n_token; t++)
                assert_true(log.pick[t].logprob == (is[t] ? want.pick[t].logprob : 0.0f));
            eng_sched_free(plain);
            eng_sched_free(s);
        }
        eng_grammar_unref(g);
    }
}

/* Prompts and told tokens in small pieces, beside others, who are not kept from their rows. */
static void chunks_and_neighbours_do_not_matter(void **state)
{
    (void)state;
    static struct seen want[4], saw[4];
    static const int size[][2] = {{64, 80}, {4, 6}, {5, 5}, {1, 4}};
    struct eng_grammar *g[4];
    struct eng_sched *plain = sched(64, 80, 0);
    for (int k = 0; k < 4; k++) {
        g[k] = grammar(form[k]);
        const struct eng_sample_params p = params(g[k], k, true);
        answer(plain, &p, k, N_PROMPT + k, 100, &want[k]);
    }
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++) {
        struct eng_sched *s = sched(size[i][0], size[i][1], i % 2 ? 3 : 0);
        struct eng_job *j[4];
        for (int k = 0; k < 4; k++) {
            const struct eng_sample_params p = params(g[k], k, false);
            j[k] = ask(s, &p, k, N_PROMPT + k, 100, &saw[k]);
        }
        for (int k = 0; k < 4; k++) {
            wait_for(s, &saw[k].n_done, 1);
            seen_same(&want[k], &saw[k]);
            eng_job_close(j[k]);
        }
        eng_sched_free(s);
    }
    for (int k = 0; k < 4; k++)
        eng_grammar_unref(g[k]);
    eng_sched_free(plain);
}

/* What was told and not run is run before what is fed next. */
static void a_conversation_goes_on(void **state)
{
    (void)state;
    static struct seen want, saw;
    for (int k = 0; k < N_FORM; k++) {
        struct eng_grammar *g = grammar(form[k]);
        for (int i = 0; i < 2; i++) {
            for (int plain = 0; plain < 2; plain++) {
                struct eng_sched *s = sched(i ? 5 : 16, i ? 6 : 24, 0);
                const struct eng_sample_params p = params(g, i, plain);
                struct seen *to = plain ? &want : &saw;
                struct eng_job *j = ask(s, &p, k, N_PROMPT, 100, to);
                int32_t ids[7];
                prompt(50 + k, 7, ids);
                wait_for(s, &to->n_done, 1);
                const struct eng_job_run rows = {0, LAYERS, ENG_OUT_ROWS, false, 0};
                struct base_err err = {0};
                assert_int_equal(eng_job_switch(j, &rows, &err), 0);
                feed(j, ids, 7);
                wait_for(s, &to->n_rows, 7);
                eng_job_close(j);
                eng_sched_free(s);
            }
            seen_same(&want, &saw);
            assert_memory_equal(want.row, saw.row, 7 * sizeof want.row[0]);
            assert_memory_equal(want.pos, saw.pos, 7 * sizeof want.pos[0]);
        }
        eng_grammar_unref(g);
    }
}

/* Wherever max_new_tok or the context ends an answer, or its owner closes it. */
static void ends_are_exact(void **state)
{
    (void)state;
    static struct seen want, saw;
    struct eng_sched *s = sched(16, 24, 0);
    struct eng_grammar *g = grammar(form[2]);
    const struct eng_sample_params slow = params(g, 1, true), fast = params(g, 1, false);
    for (int max_new = 1; max_new < 60; max_new++) {
        answer(s, &slow, 1, N_PROMPT, max_new, &want);
        answer(s, &fast, 1, N_PROMPT, max_new, &saw);
        seen_same(&want, &saw);
        answer(s, &slow, 2, CTX - max_new, 1000, &want);
        answer(s, &fast, 2, CTX - max_new, 1000, &saw);
        seen_same(&want, &saw);
    }
    for (int n = 1; n < 20; n++) {
        struct eng_sample_params p = fast;
        const struct eng_job_opt o = {.run = {0, LAYERS, ENG_OUT_TOKEN, true, 100}, .sample = p};
        int32_t ids[N_PROMPT];
        struct eng_job *j = seen_job(s, &o, &saw);
        saw.close_after = n;
        prompt(1, N_PROMPT, ids);
        feed(j, ids, N_PROMPT);
        wait_for(s, &saw.n_token, n);
        assert_true(saw.closed);
    }
    eng_grammar_unref(g);
    eng_sched_free(s);
}

int main(void)
{
    struct base_err err = {0};
    const struct eng_model_opt o = {.path = tiny_make("--layers 3"), .layer_end = -1};
    model = tiny_open(&o);
    if (eng_vocab_new(&vocab, eng_model_tok(model), &err) != 0)
        tiny_die(err.msg);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_choices),
        cmocka_unit_test(chunks_and_neighbours_do_not_matter),
        cmocka_unit_test(a_conversation_goes_on),
        cmocka_unit_test(ends_are_exact),
    };
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    eng_vocab_free(vocab);
    eng_model_close(model);
    tiny_clean();
    return rc;
}
