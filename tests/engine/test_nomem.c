/* The first, second, … nth allocation of a whole answer fails: every time an error comes back,
 * nothing leaks (run it under ASan), and in the end it succeeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <poll.h>

#include "engine/lora.h"
#include "engine/sched.h"
#include "fail_alloc.h"
#include "tiny_model.h"

struct seen {
    bool end;
    int code;
    int n_token;
};

static void see(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    (void)j;
    struct seen *s = arg;
    s->n_token += ev->kind == ENG_EV_TOKEN;
    s->end = ev->kind == ENG_EV_DONE || ev->kind == ENG_EV_ERROR;
    s->code = ev->kind == ENG_EV_ERROR ? ev->err.code : 0;
}

/* Long enough to be kept, and with something to look up. */
static int run_job(struct eng_sched *s, const struct eng_lora *l, struct eng_grammar *g,
                   struct base_err *err)
{
    static const int32_t ids[] = {5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 5, 6, 7, 8, 9, 5, 6, 7, 8, 9};
    const struct eng_job_run run = {0, 2, ENG_OUT_TOKEN, true, 12};
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    p.temperature = 0.01f; /* draws, but repeats itself */
    p.grammar = g;
    struct seen seen = {0};
    struct eng_job *j = NULL;
    const struct eng_job_opt opt = {.run = run,
                                    .sample = p,
                                    .lora = l,
                                    .cache_key = "k",
                                    .watch = {.n = 2, .layer = {1, 2}, .from = 17}};
    int rc = eng_job_open(&j, s, &opt, see, &seen, err);
    if (rc == 0)
        rc = eng_job_accept(j, ids, 2);
    if (rc == 0)
        rc = eng_job_feed_tokens(j, ids, 20, err);
    while (rc == 0 && !seen.end) {
        struct pollfd f = {eng_sched_fd(s), POLLIN, 0};
        assert_int_equal(poll(&f, 1, 10000), 1);
        eng_sched_poll(s);
    }
    eng_job_close(j);
    if (rc == 0 && seen.code == 0)
        assert_true(seen.n_token > 0);
    return rc != 0 ? rc : seen.code;
}

static uint64_t n_draft; /* rows, in all scenarios that went well */

/* Open, identify, schedule, answer. */
static int scenario(const char *path, const char *adapter)
{
    struct base_err err = {0};
    struct eng_model *m = NULL;
    struct eng_sched *s = NULL;
    struct eng_lora *l = NULL;
    struct eng_vocab *v = NULL;
    struct eng_grammar *g = NULL;
    static const char form[] = "a = \"on\" | \"off \" [0-9] \" ok\" ;";
    const struct eng_model_opt o = {.path = path, .layer_end = -1};
    const struct eng_sched_opt so = {.n_thread = 2,
                                     .max_job = 2,
                                     .n_ctx = 32,
                                     .chunk_tok = 8,
                                     .max_row = 12,
                                     .kv = KERN_KV_F32,
                                     .draft_tok = 2,
                                     .draft_always = true,
                                     .cache_bytes = 1 << 20,
                                     .cache_entries = 1,
                                     .cache_age_ms = 1000000};
    int rc = eng_model_open(&m, &o, &err);
    if (rc == 0 && eng_model_identity(m) == NULL)
        rc = BASE_ENOMEM;
    if (rc == 0)
        rc = eng_lora_open(&l, m, adapter, &err);
    if (rc == 0)
        rc = eng_sched_new(&s, m, &so, &err);
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = run_job(s, l, NULL, &err); /* the second time with what the first has left */
    if (rc == 0) {
        struct eng_sched_stats st;
        eng_sched_stats(s, &st);
        assert_true(st.n_cache_hit > 0);
        n_draft += st.n_draft;
    }
    if (rc == 0)
        rc = eng_vocab_new(&v, eng_model_tok(m), &err);
    if (rc == 0)
        rc = eng_grammar_new(&g, v, form, sizeof form - 1, NULL, &err);
    if (rc == 0)
        rc = run_job(s, l, g, &err); /* most of its tokens are sure */
    eng_sched_free(s);
    eng_grammar_unref(g);
    eng_vocab_free(v);
    eng_lora_close(l);
    eng_model_close(m);
    return rc;
}

static void each_may_fail(const char *options, const char *adapter_options)
{
    const char *path = tiny_make(options), *adapter = tiny_lora(path, adapter_options);
    int n = 0, rc = -1;
    for (; rc != 0 && n < 5000; n++) {
        atomic_store(&alloc_left, n);
        rc = scenario(path, adapter);
        const bool failed = alloc_failed();
        if (failed && rc == 0)
            fail_msg("allocation %d failed and nobody noticed", n);
        if (rc != 0 && rc != BASE_ENOMEM)
            fail_msg("allocation %d: error %d", n, rc);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 30);
}

/* Of each kind of tensor that an architecture may have, one. */
static void every_allocation_may_fail(void **state)
{
    (void)state;
    each_may_fail("--layers 2", "--type f32");
    each_may_fail("--arch qwen2 --layers 2", "");
    each_may_fail("--arch gemma3 --layers 2 --window 4", "--type q8_0 --rank 32");
    each_may_fail("--arch phi3 --layers 2 --untied", "--head");
    assert_true(n_draft > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_clean();
    return rc;
}
