/* The prefix cache: what comes out is the same bits with it as without, and it keeps to its limits
 * and to its keys. Run it under -fsanitize=thread too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "engine/lora.h"
#include "sched_seen.h"

enum { CTX = 256, ANSWER = 12 };

static struct eng_model *model;
static const char *model_path;
static enum kern_kv_type kv = KERN_KV_F16;
static const struct eng_job_run answer = {0, LAYERS, ENG_OUT_TOKEN, true, ANSWER};

static struct eng_sched *sched(size_t bytes, int entries, int age_ms)
{
    return seen_sched(model, &(struct eng_sched_opt){.n_thread = 2,
                                                     .max_job = 3,
                                                     .n_ctx = CTX,
                                                     .chunk_tok = 16,
                                                     .max_row = 20,
                                                     .kv = kv,
                                                     .cache_bytes = bytes,
                                                     .cache_entries = entries,
                                                     .cache_age_ms = age_ms});
}

static struct eng_job *job(struct eng_sched *s, const char *key, struct seen *to)
{
    /* All that depends on what the sampler was told: penalty and draws. */
    struct eng_job_opt o = {.run = answer, .sample = ENG_SAMPLE_GREEDY, .cache_key = key};
    o.sample.temperature = 0.7f;
    o.sample.repeat_penalty = 1.4f;
    o.sample.seed = 7;
    o.sample.logprobs = true;
    o.sample.n_top = 3;
    return seen_job(s, &o, to);
}

/* A whole exchange. */
static void ask(struct eng_sched *s, const char *key, const int32_t *ids, int n, struct seen *to)
{
    struct eng_job *j = job(s, key, to);
    feed(j, ids, n);
    wait_for(s, &to->n_done, 1);
    eng_job_close(j);
}

static void same_answer(const struct seen *a, const struct seen *b)
{
    assert_int_equal(a->n_token, b->n_token);
    assert_memory_equal(a->pick, b->pick, (size_t)a->n_token * sizeof a->pick[0]);
    assert_int_equal(a->n_prompt_tok, b->n_prompt_tok);
    assert_int_equal(a->done, b->done);
    assert_int_equal(a->done_pos, b->done_pos);
}

static struct eng_sched_stats stats(struct eng_sched *s)
{
    struct eng_sched_stats st;
    eng_sched_stats(s, &st);
    return st;
}

/* Closed jobs have reached the cache. */
static void settle(struct eng_sched *s, int n_cache)
{
    static struct seen saw;
    const int32_t id = 5;
    ask(s, NULL, &id, 1, &saw); /* commands are in order */
    assert_int_equal(stats(s).n_cache, n_cache);
}

/* The conversation goes on (its session moves), branches (it is copied), and is asked again. */
static void a_hit_changes_nothing_but_the_work(void **state)
{
    (void)state;
    static struct seen first, cold, warm;
    int32_t ids[CTX], other[CTX];
    struct eng_sched *off = sched(0, 4, 1000000), *on = sched(1 << 24, 4, 1000000);
    prompt(0, CTX, ids);
    ask(on, "a", ids, 40, &first);
    assert_int_equal(first.n_cached_tok, 0);
    settle(on, 1);
    /* What was said, and another turn: the last sampled token has not run yet. */
    const int said = 40 + first.n_token - 1;
    memcpy(ids + 40, first.token, (size_t)first.n_token * sizeof *ids);
    ask(off, "a", ids, 100, &cold);
    ask(on, "a", ids, 100, &warm);
    same_answer(&cold, &warm);
    assert_int_equal(warm.n_cached_tok, said);
    assert_int_equal(cold.n_cached_tok, 0);
    settle(on, 1);
    /* A branch in the middle of the first prompt. */
    memcpy(other, ids, sizeof other);
    other[30]++;
    ask(off, "a", other, 70, &cold);
    ask(on, "a", other, 70, &warm);
    same_answer(&cold, &warm);
    assert_int_equal(warm.n_cached_tok, 30);
    settle(on, 2);
    /* The same again: the last row runs, for its logits. */
    ask(on, "a", other, 70, &warm);
    same_answer(&cold, &warm);
    assert_int_equal(warm.n_cached_tok, 69);
    settle(on, 2);
    const struct eng_sched_stats st = stats(on), none = stats(off);
    assert_int_equal(st.n_cache_hit, 3);
    assert_int_equal(st.n_cache_tok, said + 30 + 69);
    assert_int_equal(st.n_cache_evicted, 0);
    assert_true(st.cache_bytes > 0);
    assert_int_equal(none.n_cache_hit + (uint64_t)none.n_cache, 0);
    eng_sched_free(on);
    eng_sched_free(off);
}

static void a_hit_is_exact_in_each_kv_type(void **state)
{
    static const enum kern_kv_type types[] = {KERN_KV_F32, KERN_KV_F16, KERN_KV_Q8_0};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        kv = types[i];
        a_hit_changes_nothing_but_the_work(state);
    }
    kv = KERN_KV_F16;
}

/* A job that still answers is a source too; and goes on undisturbed. */
static void open_jobs_share(void **state)
{
    (void)state;
    static struct seen want, a_saw, b_saw, wait;
    int32_t ids[CTX];
    struct eng_sched *s = sched(1 << 24, 4, 1000000);
    prompt(3, CTX, ids);
    ask(s, NULL, ids, 60, &want);
    struct eng_job *a = job(s, "k", &a_saw), *b = job(s, "k", &b_saw);
    feed(a, ids, 60);
    wait_for(s, &a_saw.n_token, 1);
    feed(b, ids, 60);
    wait_for(s, &a_saw.n_done, 1);
    wait_for(s, &b_saw.n_done, 1);
    same_answer(&want, &a_saw);
    same_answer(&want, &b_saw);
    assert_int_equal(b_saw.n_cached_tok, 59);
    eng_job_close(a);
    eng_job_close(b);
    ask(s, NULL, ids, 60, &wait);
    assert_int_equal(stats(s).n_cache, 1); /* of twice the same, one is kept */
    eng_sched_free(s);
}

/* What stands before everybody's words: shared with every key, with none too, while it is open. */
static void a_common_beginning_is_everybodys(void **state)
{
    (void)state;
    static struct seen want, saw, held;
    int32_t ids[CTX];
    struct eng_sched *s = sched(1 << 24, 4, 1000000), *off = sched(0, 4, 1000000);
    prompt(5, CTX, ids);
    ask(off, NULL, ids, 60, &want);
    const struct eng_job_opt o = {.run = {0, LAYERS, ENG_OUT_NONE, false, 0},
                                  .sample = ENG_SAMPLE_GREEDY,
                                  .common = true};
    struct eng_job *j = seen_job(s, &o, &held);
    feed(j, ids, 40);
    wait_for(s, &held.n_done, 1);
    ask(s, "a", ids, 60, &saw);
    same_answer(&want, &saw);
    assert_int_equal(saw.n_cached_tok, 40);
    ask(s, NULL, ids, 60, &saw);
    same_answer(&want, &saw);
    assert_int_equal(saw.n_cached_tok, 40);
    /* What somebody said behind it stays with his key. */
    ask(s, "b", ids, 60, &saw);
    assert_int_equal(saw.n_cached_tok, 40);
    settle(s, 2);
    eng_job_close(j);
    settle(s, 2); /* and is not kept */
    ask(s, "c", ids, 60, &saw);
    assert_int_equal(saw.n_cached_tok, 0);
    eng_sched_free(s);
    /* Where nothing is kept, nothing is taken. */
    j = seen_job(off, &o, &held);
    feed(j, ids, 40);
    ask(off, "a", ids, 60, &saw);
    assert_int_equal(saw.n_cached_tok, 0);
    eng_job_close(j);
    eng_sched_free(off);
}

static void keys_and_kinds_do_not_mix(void **state)
{
    (void)state;
    static struct seen saw, rows;
    int32_t ids[CTX];
    struct eng_sched *s = sched(1 << 24, 8, 1000000);
    struct base_err err = {0};
    prompt(1, CTX, ids);
    ask(s, "a", ids, 50, &saw);
    ask(s, "b", ids, 50, &saw);
    assert_int_equal(saw.n_cached_tok, 0);
    ask(s, NULL, ids, 50, &saw);
    assert_int_equal(saw.n_cached_tok, 0);
    ask(s, "", ids, 50, &saw);
    assert_int_equal(saw.n_cached_tok, 0);
    settle(s, 2);
    /* All rows are wanted, or not all layers run: computed, and not kept. */
    struct eng_job_opt o = {.sample = ENG_SAMPLE_GREEDY, .cache_key = "a"};
    o.run = (struct eng_job_run){0, LAYERS, ENG_OUT_ROWS, false, 0};
    struct eng_job *j = seen_job(s, &o, &rows);
    feed(j, ids, 50);
    wait_for(s, &rows.n_rows, 50);
    assert_int_equal(rows.n_cached_tok, 0);
    eng_job_close(j);
    settle(s, 2);
    ids[0]++;
    o.run = (struct eng_job_run){0, 2, ENG_OUT_STATE, false, 0};
    j = seen_job(s, &o, &saw);
    feed(j, ids, 50);
    wait_for(s, &saw.n_rows, 1);
    assert_int_equal(
        eng_job_switch(j, &(struct eng_job_run){2, LAYERS, ENG_OUT_TOKEN, false, 0}, &err), 0);
    assert_int_equal(eng_job_feed_rows(j, rows.row[0], 50, &err), 0);
    wait_for(s, &saw.n_token, 1);
    eng_job_close(j);
    settle(s, 2);
    char key[ENG_CACHE_KEY_MAX + 1];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    o.cache_key = key;
    assert_int_equal(eng_job_open(&j, s, &o, see, &saw, &err), BASE_EINVAL);
    eng_sched_free(s);
}

static void an_adapter_has_its_own(void **state)
{
    (void)state;
    static struct seen saw;
    int32_t ids[CTX];
    struct base_err err = {0};
    struct eng_lora *l = NULL;
    assert_int_equal(eng_lora_open(&l, model, tiny_lora(model_path, ""), &err), 0);
    struct eng_sched *s = sched(1 << 24, 8, 1000000);
    prompt(1, CTX, ids);
    ask(s, "a", ids, 50, &saw);
    for (int i = 0; i < 3; i++) {
        const struct eng_job_opt o = {.run = answer,
                                      .sample = ENG_SAMPLE_GREEDY,
                                      .lora = i == 2 ? NULL : l,
                                      .cache_key = "a"};
        struct eng_job *j = seen_job(s, &o, &saw);
        feed(j, ids, 50);
        wait_for(s, &saw.n_done, 1);
        assert_int_equal(saw.n_cached_tok, i == 0 ? 0 : 49);
        eng_job_close(j);
    }
    eng_sched_free(s);
    eng_lora_close(l);
}

static void limits_hold(void **state)
{
    (void)state;
    static struct seen saw;
    int32_t ids[CTX];
    struct eng_sched *s = sched(1 << 24, 2, 1000000);
    for (int i = 0; i < 4; i++) {
        prompt(i, CTX, ids);
        ask(s, "a", ids, 50, &saw);
    }
    settle(s, 2);
    assert_int_equal(stats(s).n_cache_evicted, 2);
    prompt(0, CTX, ids); /* the first to go */
    ask(s, "a", ids, 50, &saw);
    assert_int_equal(saw.n_cached_tok, 0);
    prompt(3, CTX, ids);
    ask(s, "a", ids, 50, &saw);
    assert_int_equal(saw.n_cached_tok, 49);
    settle(s, 2);
    const size_t one = stats(s).cache_bytes / 2;
    eng_sched_free(s);
    s = sched(one + one / 2, 100, 1000000); /* bytes for one */
    for (int i = 0; i < 3; i++) {
        prompt(i, CTX, ids);
        ask(s, "a", ids, 50, &saw);
    }
    settle(s, 1);
    assert_true(stats(s).cache_bytes <= one + one / 2);
    eng_sched_free(s);
    s = sched(one / 4, 100, 1000000); /* for less than one */
    ask(s, "a", ids, 50, &saw);
    settle(s, 0);
    /* A few tokens are not worth it. */
    ask(s, "a", ids, 2, &saw);
    settle(s, 0);
    eng_sched_free(s);
    s = sched(1 << 24, 4, 1); /* and in time it goes by itself, without any work */
    ask(s, "a", ids, 50, &saw);
    while (stats(s).n_cache_evicted == 0)
        usleep(1000);
    assert_int_equal(stats(s).n_cache, 0);
    assert_int_equal(stats(s).cache_bytes, 0);
    eng_sched_free(s);
}

/* Closed while the prompt is read: what was read is good for the next one. */
static void a_cancelled_prompt_is_kept_as_far_as_it_went(void **state)
{
    (void)state;
    static struct seen want, saw;
    int32_t ids[CTX];
    struct eng_sched *s = sched(1 << 24, 4, 1000000);
    prompt(2, CTX, ids);
    ask(s, NULL, ids, 200, &want);
    for (int i = 0; i < 20; i++) {
        struct eng_job *j = job(s, "a", &saw);
        feed(j, ids, 200);
        eng_job_close(j);
        ask(s, "a", ids, 200, &saw);
        same_answer(&want, &saw);
        ids[i % 3] += i % 2 ? 1 : -1; /* another prompt, and back */
        ask(s, NULL, ids, 200, &want);
    }
    eng_sched_free(s);
}

/* Layers that see a window only, heads normed. */
static void a_hit_is_exact_with_windows(void **state)
{
    struct eng_model *plain = model;
    const struct eng_model_opt o = {.path = tiny_make("--arch gemma3 --layers 3 --window 8"),
                                    .layer_end = -1};
    model = tiny_open(&o);
    a_hit_changes_nothing_but_the_work(state);
    eng_model_close(model);
    model = plain;
}

int main(void)
{
    model_path = tiny_make("--layers 3");
    const struct eng_model_opt o = {.path = model_path, .layer_end = -1};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_is_exact_in_each_kv_type),
        cmocka_unit_test(a_hit_is_exact_with_windows),
        cmocka_unit_test(open_jobs_share),
        cmocka_unit_test(a_common_beginning_is_everybodys),
        cmocka_unit_test(keys_and_kinds_do_not_mix),
        cmocka_unit_test(an_adapter_has_its_own),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_cancelled_prompt_is_kept_as_far_as_it_went),
    };
    model = tiny_open(&o);
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    eng_model_close(model);
    tiny_clean();
    return rc;
}
