/* A sampler held to a grammar: only what is allowed is drawn, in the shares that it has there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "engine/sample.h"
#include "grammar_case.h"

static struct eng_sampler *held(struct eng_sample_params p, const char *grammar)
{
    struct eng_sampler *s = NULL;
    struct base_err err = {0};
    p.grammar = compile(grammar, NULL);
    if (eng_sampler_new(&s, &p, eng_tok_n_vocab(tok), &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    eng_grammar_unref(p.grammar);
    return s;
}

static void noise(float *logits, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        logits[i] = (float)(seed >> 16) / 65536.0f * 6.0f;
    }
}

/* Shares of draws are those of what is allowed, by the list as by looking afterwards. */
static void draws_have_the_allowed_shares(void **state)
{
    (void)state;
    enum { DRAWS = 6000, MAX = 1024 };
    const int n_vocab = eng_tok_n_vocab(tok);
    static const char *const grammar[] = {"a = [a-f] ;", "a = [^a-f] [^\\x00]* ;"};
    for (int i = 0; i < 8; i++) {
        struct eng_sample_params p = ENG_SAMPLE_GREEDY;
        p.temperature = 0.9f;
        p.top_p = i / 2 == 1 ? 0.9f : 1.0f;
        p.top_k = i / 2 == 2 ? 5 : 0;
        p.min_p = i / 2 == 3 ? 0.2f : 0.0f;
        float logits[MAX], work[MAX];
        int32_t list[MAX];
        int count[MAX] = {0};
        noise(logits, n_vocab, 7);
        struct eng_grammar_state *s = begin(grammar[i % 2], NULL);
        const int n = eng_grammar_list(s, list, 0);
        eng_grammar_stop(s);
        double sum = 0, kept = 0;
        for (int k = 0; k < n; k++)
            sum += exp((double)logits[list[k]] / 0.9);
        for (int k = 0; k < DRAWS; k++) {
            struct eng_pick out;
            p.seed = (uint64_t)k * 77 + 1;
            struct eng_sampler *x = held(p, grammar[i % 2]);
            memcpy(work, logits, sizeof work);
            assert_int_equal(eng_sampler_pick(x, work, &out), 0);
            count[out.token]++;
            eng_sampler_free(x);
        }
        int seen = 0;
        for (int k = 0; k < n; k++) {
            const double share = exp((double)logits[list[k]] / 0.9) / sum;
            seen += count[list[k]];
            /* the nucleus: those above the lowest that was drawn */
            kept += i < 2 || count[list[k]] > 0 ? share : 0;
        }
        assert_int_equal(seen, DRAWS); /* nothing else was drawn */
        double best = 0, least = 1;
        int n_kept = 0;
        for (int k = 0; k < n; k++) {
            const double share = exp((double)logits[list[k]] / 0.9) / sum;
            best = share > best ? share : best;
            if (count[list[k]] > 0) {
                least = share < least ? share : least;
                n_kept++;
            }
        }
        if (i / 2 == 1)
            assert_true(kept > 0.85 && kept < 0.98);
        else if (i / 2 == 2)
            assert_int_equal(n_kept, 5);
        else if (i / 2 == 3)
            assert_true(least >= 0.2 * best * 0.999);
        for (int k = 0; k < n && i / 2 > 0; k++) /* what is kept is the best */
            assert_true(count[list[k]] > 0 ||
                        exp((double)logits[list[k]] / 0.9) / sum <= least * 1.3);
        for (int k = 0; k < n; k++) {
            const double want = exp((double)logits[list[k]] / 0.9) / sum / kept * DRAWS;
            if (count[list[k]] > 0 && fabs(count[list[k]] - want) > 5 * sqrt(want) + 3)
                fail_msg("grammar %d, token %d: %d draws, about %.1f expected", i, list[k],
                         count[list[k]], want);
        }
    }
}

static void answers_keep_to_the_grammar(void **state)
{
    (void)state;
    static const char grammar[] = "a = \"{\\\"k\\\":\" (v | \"[\" v{1,3} \"]\") \"}\" ; v = "
                                  "\"\\\"\" [^\\x00-\\x1f\"\\\\]{0,9} "
                                  "\"\\\"\" | [0-9]{1,4} ;";
    const int n_vocab = eng_tok_n_vocab(tok);
    for (int i = 0; i < 300; i++) {
        struct eng_sample_params p = ENG_SAMPLE_GREEDY;
        p.temperature = i % 3 == 0 ? 0.0f : 1.0f;
        p.top_k = i % 5 == 0 ? 40 : 0;
        p.top_p = i % 7 == 0 ? 0.8f : 1.0f;
        p.repeat_penalty = i % 2 == 0 ? 1.3f : 1.0f;
        p.seed = (uint64_t)i;
        p.logprobs = true;
        struct eng_sampler *s = held(p, grammar);
        char text[256] = "";
        bool end = false;
        for (int step = 0; step < 200 && !end; step++) {
            float logits[1024];
            struct eng_pick out;
            int32_t sure;
            noise(logits, n_vocab, (uint32_t)(i * 1000 + step));
            const int n = eng_sampler_forced(s, &sure, 1);
            const float own = logits[5];
            assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
            if (n == 1)
                assert_int_equal(out.token, sure);
            assert_true(out.logprob < 0 && isfinite(out.logprob) && isfinite(own));
            end = eng_tok_is_end(tok, out.token);
            size_t len;
            const char *piece = eng_tok_piece(tok, out.token, false, &len);
            strncat(text, piece, len);
        }
        assert_true(end);
        if (!takes(grammar, text, strlen(text)))
            fail_msg("'%s' is not of the form", text);
        eng_sampler_free(s);
    }
}

static void greedy_takes_the_best_allowed(void **state)
{
    (void)state;
    struct eng_sampler *s = held(ENG_SAMPLE_GREEDY, "a = [^\\x00-\\x1f\"]* ;");
    float logits[1024] = {0};
    struct eng_pick out;
    logits[token_of("\"")] = 9;
    logits[token_of("\n")] = 8;
    logits[token_of("<|im_start|>")] = 7;
    logits[token_of("\t")] = 6; /* more refusals than draws: the list decides */
    logits[token_of("he")] = 5;
    assert_int_equal(eng_sampler_pick(s, logits, &out), 0);
    assert_int_equal(out.token, token_of("he"));
    eng_sampler_free(s);

    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    struct base_err err = {0};
    p.grammar = compile("a = \"abc\" ;", NULL);
    p.said = "ab";
    p.said_len = 2;
    assert_int_equal(eng_sampler_new(&s, &p, eng_tok_n_vocab(tok), &err), 0);
    int32_t sure[4];
    assert_int_equal(eng_sampler_forced(s, sure, 4), 2);
    assert_int_equal(sure[0], token_of("c"));
    eng_sampler_free(s);
    p.said = "ax";
    assert_int_equal(eng_sampler_new(&s, &p, eng_tok_n_vocab(tok), &err), BASE_EINVAL);
    p.said_len = 0;
    assert_int_equal(eng_sampler_new(&s, &p, 100, &err), BASE_EINVAL);
    eng_grammar_unref(p.grammar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_have_the_allowed_shares),
        cmocka_unit_test(answers_keep_to_the_grammar),
        cmocka_unit_test(greedy_takes_the_best_allowed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
