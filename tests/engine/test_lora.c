/* Adapters: against a naive pass with the adapter merged into the weights, against itself bit for
 * bit in mixed batches, and every file that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <poll.h>

#include "engine/lora.h"
#include "engine/sched.h"
#include "naive.h"
#include "tiny_model.h"

enum { N_TOK = 13, CTX = NAIVE_CTX };

/* Ids that differ from neighbour to neighbour, within mktiny's 289 tokens. */
static int32_t token_at(int i)
{
    return (int32_t)((i * 97 + 31) % 280);
}

struct rig {
    const char *path;
    struct eng_model *m;
    struct eng_exec *e;
    int n_layer, d, n_vocab;
};

static struct rig rig_open_as(const char *options, int n_thread, bool exact)
{
    struct rig o = {.path = tiny_make(options)};
    struct base_err err = {0};
    o.m = tiny_open(&(struct eng_model_opt){
        .path = o.path, .layer_end = -1, .exact = exact, .n_thread = n_thread});
    assert_int_equal(eng_exec_new(&o.e, o.m, n_thread, CTX, &err), 0);
    o.n_layer = eng_model_config(o.m)->n_layer;
    o.d = eng_model_config(o.m)->d_model;
    o.n_vocab = eng_model_config(o.m)->n_vocab;
    return o;
}

static struct rig rig_open(const char *options, int n_thread)
{
    return rig_open_as(options, n_thread, false);
}

static void rig_close(struct rig *o)
{
    eng_exec_free(o->e);
    eng_model_close(o->m);
}

static struct eng_lora *lora_open(const struct rig *o, const char *path)
{
    struct eng_lora *l = NULL;
    struct base_err err = {0};
    if (eng_lora_open(&l, o->m, path, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    return l;
}

static struct eng_session *session(const struct rig *o)
{
    struct eng_session *s = NULL;
    struct base_err err = {0};
    assert_int_equal(eng_session_new(&s, o->m, CTX, KERN_KV_F32, &err), 0);
    return s;
}

static void run(const struct rig *o, const struct eng_seg *g, int n)
{
    struct base_err err = {0};
    if (eng_exec_run(o->e, g, n, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
}

/* All logits of the first N_TOK tokens, read alone and in one piece. */
static float *alone(const struct rig *o, const struct eng_lora *l)
{
    int32_t ids[N_TOK];
    for (int i = 0; i < N_TOK; i++)
        ids[i] = token_at(i);
    float *logits = malloc((size_t)N_TOK * (size_t)o->n_vocab * sizeof *logits);
    struct eng_session *s = session(o);
    run(o,
        &(struct eng_seg){.s = s,
                          .layer_end = o->n_layer,
                          .n_row = N_TOK,
                          .token = ids,
                          .logits = logits,
                          .logits_all = true,
                          .lora = l},
        1);
    eng_session_free(s);
    return logits;
}

/* ---- the formula ---- */

static void check_against_naive(const char *model, const char *adapter)
{
    struct rig o = rig_open_as(model, 2, true);
    const char *path = tiny_lora(o.path, adapter);
    struct eng_lora *l = lora_open(&o, path);
    struct gguf_file *f = NULL;
    struct base_err e = {0};
    assert_int_equal(gguf_open(&f, path, &e), 0);
    float *got = alone(&o, l), *base = alone(&o, NULL);
    double *want = malloc((size_t)o.n_vocab * sizeof *want), err = 0, ref = 0, moved = 0;
    naive_lora = f;
    for (int t = 0; t < N_TOK; t++) {
        naive_step(o.m, token_at(t), t, 1, want);
        for (int i = 0; i < o.n_vocab; i++) {
            const size_t at = (size_t)t * (size_t)o.n_vocab + (size_t)i;
            err += (got[at] - want[i]) * (got[at] - want[i]);
            moved += (base[at] - want[i]) * (base[at] - want[i]);
            ref += want[i] * want[i];
        }
    }
    naive_lora = NULL;
    if (!(sqrt(err / ref) < 2e-6))
        fail_msg("%s, %s: relative rms %g", model, adapter, sqrt(err / ref));
    if (!(sqrt(moved / ref) > 0.05))
        fail_msg("%s, %s: the adapter moves only %g", model, adapter, sqrt(moved / ref));
    free(want);
    free(base);
    free(got);
    gguf_close(f);
    eng_lora_close(l);
    rig_close(&o);
}

static void agrees_with_merged_weights(void **state)
{
    (void)state;
    check_against_naive("--layers 3", "");
    check_against_naive("--layers 3", "--type f32 --rank 1");
    check_against_naive("--layers 2", "--type bf16 --rank 33 --alpha 7");
    check_against_naive("--layers 2", "--type q8_0 --rank 32 --sd 0.5");
    check_against_naive("--layers 2", "--type q8_0 --rank 12"); /* B as F16 */
    check_against_naive("--layers 2", "--type q4_0 --rank 64");
    check_against_naive("--layers 2 --type q8_0", "--names attn_q,ffn_down --rank 130 --alpha 3");
    check_against_naive("--layers 4", "--from 2");
    check_against_naive("--layers 2 --untied", "--head --type f32 --rank 5");
    check_against_naive("--layers 2 --untied --type q4_1", "--from 1 --head");
    check_against_naive("--layers 2 --d 48 --ff 80 --heads 3 --kv-heads 1", ""); /* tails */
    check_against_naive("--arch qwen2 --layers 2", "");
    check_against_naive("--arch qwen3 --layers 2 --head-dim 24", "");
    check_against_naive("--arch gemma3 --layers 7 --head-dim 24 --window 9", "");
    check_against_naive("--arch phi3 --layers 2 --untied", "--rank 9");
    check_against_naive("--arch phi3 --layers 2 --kv-heads 1", "--names attn_qkv --type f32");
}

/* ---- the batch ---- */

enum { N_S = 6 };

/* Sessions with this adapter and that and none, each in chunks of its own, one of them in two
 * halves of the layers: every one as if alone. */
static void check_mixed(const char *model, int n_thread)
{
    struct rig o = rig_open(model, n_thread);
    struct eng_lora *one = lora_open(&o, tiny_lora(o.path, "")),
                    *two = lora_open(&o, tiny_lora(o.path, "--seed 2 --rank 40 --type f32")),
                    *high = lora_open(&o, tiny_lora(o.path, "--seed 3 --from 1"));
    const struct eng_lora *const use[N_S] = {one, NULL, one, two, high, NULL};
    static const int chunk[N_S] = {1, 3, N_TOK, 5, 2, 1};
    float *want[N_S], *got[N_S];
    struct eng_session *s[N_S];
    int at[N_S] = {0};
    int32_t ids[N_TOK];
    for (int t = 0; t < N_TOK; t++)
        ids[t] = token_at(t);
    const size_t bytes = (size_t)N_TOK * (size_t)o.n_vocab * sizeof(float);
    for (int k = 0; k < N_S; k++) {
        want[k] = alone(&o, use[k]);
        got[k] = malloc(bytes);
        s[k] = session(&o);
    }
    assert_memory_not_equal(want[0], want[1], bytes);
    assert_memory_not_equal(want[0], want[3], bytes);
    assert_memory_equal(want[1], want[5], bytes);
    for (int busy = 1; busy;) {
        struct eng_seg g[N_S];
        int n = 0;
        for (int k = 0; k < N_S; k++) {
            const int left = N_TOK - at[k], rows = left < chunk[k] ? left : chunk[k];
            if (rows == 0)
                continue;
            g[n++] = (struct eng_seg){.s = s[k],
                                      .layer_end = o.n_layer,
                                      .n_row = rows,
                                      .token = ids + at[k],
                                      .logits_all = true,
                                      .logits = got[k] + (size_t)at[k] * (size_t)o.n_vocab,
                                      .lora = use[k]};
            at[k] += rows;
        }
        busy = n > 0;
        if (busy)
            run(&o, g, n);
    }
    for (int k = 0; k < N_S; k++) {
        assert_memory_equal(got[k], want[k], bytes);
        eng_session_free(s[k]);
        free(got[k]);
        free(want[k]);
    }
    eng_lora_close(one);
    eng_lora_close(two);
    eng_lora_close(high);
    rig_close(&o);
}

static void nobody_feels_the_batch(void **state)
{
    (void)state;
    for (int n_thread = 1; n_thread <= 3; n_thread++) {
        check_mixed("--layers 3", n_thread);
        check_mixed("--layers 2 --type q8_0 --untied", n_thread);
        check_mixed("--arch phi3 --layers 2", n_thread);
    }
}

/* Layers below the adapter's first are the model's own: rows that left at k without it go on with
 * it. And the other way round, where it ends. */
static void untouched_layers_are_shared(void **state)
{
    (void)state;
    struct rig o = rig_open("--layers 4", 2);
    const struct {
        const char *options;
        int begin, end;
    } c[] = {{"--from 2", 2, 4}, {"--from 3", 3, 4}, {"", 0, 4}};
    int32_t ids[N_TOK];
    for (int t = 0; t < N_TOK; t++)
        ids[t] = token_at(t);
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        struct eng_lora *l = lora_open(&o, tiny_lora(o.path, c[i].options));
        assert_int_equal(eng_lora_info(l)->layer_begin, c[i].begin);
        assert_int_equal(eng_lora_info(l)->layer_end, c[i].end);
        assert_int_equal(eng_lora_touches(l, 0, c[i].begin), 0);
        assert_int_equal(eng_lora_touches(l, 4, 5), 0);
        assert_int_equal(eng_lora_touches(l, 0, c[i].begin + 1), 1);
        assert_int_equal(eng_lora_touches(l, 3, 4), 1);
        assert_int_equal(eng_lora_touches(l, 2, 2), 0);
        float x[2][N_TOK * 64];
        for (int k = 0; k < 2; k++) {
            struct eng_session *s = session(&o);
            run(&o,
                &(struct eng_seg){.s = s,
                                  .layer_end = 2,
                                  .n_row = N_TOK,
                                  .token = ids,
                                  .x_out = x[k],
                                  .lora = k == 0 ? NULL : l},
                1);
            eng_session_free(s);
        }
        assert_int_equal(memcmp(x[0], x[1], sizeof x[0]) == 0, c[i].begin >= 2);
        eng_lora_close(l);
    }
    assert_false(eng_lora_touches(NULL, 0, 5));
    struct rig u = rig_open("--layers 2 --untied", 1);
    struct eng_lora *l = lora_open(&u, tiny_lora(u.path, "--from 2 --head"));
    assert_true(eng_lora_info(l)->head);
    assert_int_equal(eng_lora_info(l)->n_pair, 1);
    assert_false(eng_lora_touches(l, 0, 2));
    assert_true(eng_lora_touches(l, 1, 3));
    eng_lora_close(l);
    rig_close(&u);
    rig_close(&o);
}

/* ---- files ---- */

static void bad_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *options, *place, *word;
        int code;
    } bad[] = {
        {"--str general.type=model", "general.type", "'model'", BASE_EFORMAT},
        {"--str general.type=-", "general.type", "lacks", BASE_EFORMAT},
        {"--str adapter.type=lokr", "adapter.type", "'lokr'", BASE_EUNSUPPORTED},
        {"--str adapter.type=-", "adapter.type", "lacks", BASE_EFORMAT},
        {"--str general.architecture=qwen2", "general.architecture", "'qwen2', expected 'llama'",
         BASE_EMISMATCH},
        {"--f32 adapter.lora.alpha=-", "adapter.lora.alpha", "lacks", BASE_EFORMAT},
        {"--f32 adapter.lora.alpha=0", "adapter.lora.alpha", "0 is not", BASE_EFORMAT},
        {"--f32 adapter.lora.alpha=-1", "adapter.lora.alpha", "-1 is not", BASE_EFORMAT},
        {"--f32 adapter.lora.alpha=inf", "adapter.lora.alpha", "inf is not", BASE_EFORMAT},
        {"--f32 adapter.lora.alpha=nan", "adapter.lora.alpha", "nan is not", BASE_EFORMAT},
        {"--f32 adapter.alora.invocation_tokens=1", "adapter.alora.invocation_tokens", "waits",
         BASE_EUNSUPPORTED},
        {"--str waypost.base_model.hash=0123", "waypost.base_model.hash", "'0123', this one is",
         BASE_EMISMATCH},
        {"--drop blk.1.attn_q.weight.lora_a", "blk.1.attn_q.weight.lora_b",
         "half blk.1.attn_q.weight.lora_a is missing", BASE_EFORMAT},
        {"--drop blk.1.ffn_up.weight.lora_b", "blk.1.ffn_up.weight.lora_a",
         "half blk.1.ffn_up.weight.lora_b is missing", BASE_EFORMAT},
        {"--shape blk.0.attn_q.weight.lora_a=32x8", "blk.0.attn_q.weight.lora_a",
         "expected 64 x 8, found 32 x 8", BASE_EFORMAT},
        {"--shape blk.0.attn_q.weight.lora_a=8x64", "blk.0.attn_q.weight.lora_a",
         "expected 64 x 64, found 8 x 64", BASE_EFORMAT}, /* transposed */
        {"--shape blk.0.attn_k.weight.lora_b=8x64", "blk.0.attn_k.weight.lora_b",
         "expected 8 x 32, found 8 x 64", BASE_EFORMAT},
        {"--shape blk.0.ffn_down.weight.lora_b=16x64", "blk.0.ffn_down.weight.lora_b",
         "expected 8 x 64, found 16 x 64", BASE_EFORMAT},
        {"--rank 513", "blk.0.attn_q.weight.lora_a", "rank 513 (at most 512)", BASE_ELIMIT},
        {"--nan blk.1.attn_v.weight.lora_a", "blk.1.attn_v.weight.lora_a", "row 7 has nan",
         BASE_EFORMAT},
        {"--nan blk.1.attn_v.weight.lora_b", "blk.1.attn_v.weight.lora_b", "row 31 has nan",
         BASE_EFORMAT},
        {"--rename blk.1.attn_q.weight.lora_a=blk.1.attn_norm.weight", "blk.1.attn_norm.weight",
         "neither", BASE_EUNSUPPORTED},
        {"--rename blk.1.attn_q.weight.lora_a=token_embd.weight.lora_a", "token_embd.weight.lora_a",
         "embedding", BASE_EUNSUPPORTED},
        {"--rename blk.1.attn_q.weight.lora_a=output.weight.lora_a", "output.weight.lora_a",
         "head is its embedding", BASE_EUNSUPPORTED},
        {"--rename blk.1.attn_q.weight.lora_a=blk.2.attn_q.weight.lora_a",
         "blk.2.attn_q.weight.lora_a", "of 2 layers", BASE_EUNSUPPORTED},
        {"--rename blk.1.attn_q.weight.lora_a=blk.01.attn_q.weight.lora_a",
         "blk.01.attn_q.weight.lora_a", "no such matrix", BASE_EUNSUPPORTED},
        {"--rename blk.1.attn_q.weight.lora_a=blk.1.attn_norm.weight.lora_a",
         "blk.1.attn_norm.weight.lora_a", "no such matrix", BASE_EUNSUPPORTED},
        {"--rename blk.1.attn_q.weight.lora_a=blk.1.attn_qkv.weight.lora_a",
         "blk.1.attn_qkv.weight.lora_a", "no such matrix", BASE_EUNSUPPORTED},
        {"--rename blk.1.attn_q.weight.lora_a=lora_a", "lora_a", "neither", BASE_EUNSUPPORTED},
        {"--names nothing", "tensors", "none", BASE_EFORMAT},
    };
    struct rig o = rig_open("--layers 2", 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eng_lora *l = NULL;
        struct base_err err = {0};
        const int rc = eng_lora_open(&l, o.m, tiny_lora(o.path, bad[i].options), &err);
        if (rc != bad[i].code || l != NULL)
            fail_msg("%s: %d", bad[i].options, rc);
        if (strstr(err.place, bad[i].place) == NULL || strstr(err.msg, bad[i].word) == NULL)
            fail_msg("%s: '%s' '%s'", bad[i].options, err.place, err.msg);
    }
    struct eng_lora *l = NULL;
    struct base_err err = {0};
    assert_int_equal(eng_lora_open(&l, o.m, "/nonexistent", &err), BASE_EIO);
    assert_int_equal(eng_lora_open(&l, o.m, o.path, &err), BASE_EFORMAT); /* a model */
    assert_string_equal(err.place, "general.type");
    rig_close(&o);
}

static void a_file_may_be_bound_to_its_model(void **state)
{
    (void)state;
    struct rig o = rig_open("--layers 2", 1), other = rig_open("--layers 2 --seed 2", 1);
    char hash[33], option[80];
    struct base_err err = {0};
    assert_int_equal(eng_lora_base_hash(o.m, hash, &err), 0);
    snprintf(option, sizeof option, "--str waypost.base_model.hash=%s", hash);
    const char *path = tiny_lora(o.path, option);
    eng_lora_close(lora_open(&o, path));
    struct eng_model *exact =
        tiny_open(&(struct eng_model_opt){.path = o.path, .layer_end = -1, .exact = true});
    struct eng_lora *l = NULL;
    assert_int_equal(eng_lora_open(&l, exact, path, &err), 0); /* how it is run is not what it is */
    eng_lora_close(l);
    eng_model_close(exact);
    assert_int_equal(eng_lora_open(&l, other.m, path, &err), BASE_EMISMATCH);
    assert_non_null(strstr(err.msg, hash));
    struct eng_model *part = tiny_open(&(struct eng_model_opt){
        .path = o.path, .layer_begin = 1, .layer_end = 2, .no_embed = true});
    assert_int_equal(eng_lora_open(&l, part, path, &err), BASE_EINVAL);
    eng_model_close(part);
    rig_close(&o);
    rig_close(&other);
}

/* The hash and the description tell one adapter from another, and not one file from its copy. */
static void info_tells_what_it_is(void **state)
{
    (void)state;
    struct rig o = rig_open("--layers 2", 1);
    struct eng_lora *a = lora_open(&o, tiny_lora(o.path, "")),
                    *b = lora_open(&o, tiny_lora(o.path, "")),
                    *c = lora_open(&o, tiny_lora(o.path, "--seed 9")),
                    *d = lora_open(&o, tiny_lora(o.path, "--f32 adapter.lora.alpha=17"));
    const struct eng_lora_info *i = eng_lora_info(a);
    assert_string_equal(i->name, "tiny adapter");
    assert_int_equal(i->n_pair, 14);
    assert_int_equal(i->rank_min, 8);
    assert_int_equal(i->rank_max, 8);
    assert_true(i->alpha == 16.0f && !i->head);
    assert_true(i->n_bytes > 10000);
    assert_ptr_equal(eng_lora_model(a), o.m);
    assert_memory_equal(i->hash, eng_lora_info(b)->hash, 16);
    assert_memory_not_equal(i->hash, eng_lora_info(c)->hash, 16);
    assert_memory_not_equal(i->hash, eng_lora_info(d)->hash, 16);
    eng_lora_close(a);
    eng_lora_close(b);
    eng_lora_close(c);
    eng_lora_close(d);
    eng_lora_close(NULL);
    rig_close(&o);
}

/* A side that holds some layers computes with the adapter's part for them what the whole does. */
static void a_part_of_the_model_takes_a_part_of_it(void **state)
{
    (void)state;
    struct rig o = rig_open("--layers 4", 1);
    const char *path = tiny_lora(o.path, "");
    struct eng_lora *l = lora_open(&o, path);
    struct rig part = {.path = o.path, .d = o.d};
    struct base_err err = {0};
    part.m = tiny_open(&(struct eng_model_opt){
        .path = o.path, .layer_begin = 1, .layer_end = 3, .no_embed = true, .no_head = true});
    assert_int_equal(eng_exec_new(&part.e, part.m, 1, CTX, &err), 0);
    struct eng_lora *pl = lora_open(&part, path);
    assert_memory_equal(eng_lora_info(l)->hash, eng_lora_info(pl)->hash, 16);
    float in[3 * 64], out[2][3 * 64];
    for (int i = 0; i < 3 * 64; i++)
        in[i] = (float)sin(i);
    struct eng_session *s[2] = {session(&o), session(&part)};
    for (int k = 0; k < 2; k++) {
        const struct eng_seg g = {.s = s[k],
                                  .layer_begin = 1,
                                  .layer_end = 3,
                                  .n_row = 3,
                                  .x_in = in,
                                  .x_out = out[k],
                                  .lora = k == 0 ? l : pl};
        run(k == 0 ? &o : &part, &g, 1);
        eng_session_free(s[k]);
    }
    assert_memory_equal(out[0], out[1], sizeof out[0]);
    eng_lora_close(l);
    eng_lora_close(pl);
    rig_close(&part);
    rig_close(&o);
}

/* ---- jobs ---- */

struct heard {
    int32_t token[32];
    int n;
    bool end;
};

static void hear(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    (void)j;
    struct heard *h = arg;
    if (ev->kind == ENG_EV_TOKEN)
        h->token[h->n++] = ev->pick.token;
    h->end = ev->kind == ENG_EV_DONE || ev->kind == ENG_EV_ERROR;
    assert_int_not_equal(ev->kind, ENG_EV_ERROR);
}

enum { N_JOB = 4, N_ANSWER = 12 };

static void answer(struct eng_sched *s, const struct rig *o, const struct eng_lora *const *use,
                   struct heard *h, int n)
{
    struct eng_job *j[N_JOB];
    struct base_err err = {0};
    const struct eng_job_run run = {0, o->n_layer, ENG_OUT_TOKEN, true, N_ANSWER};
    for (int i = 0; i < n; i++) {
        int32_t ids[N_TOK];
        for (int t = 0; t < N_TOK; t++)
            ids[t] = token_at(t);
        h[i] = (struct heard){0};
        const struct eng_job_opt opt = {.run = run, .sample = ENG_SAMPLE_GREEDY, .lora = use[i]};
        assert_int_equal(eng_job_open(&j[i], s, &opt, hear, &h[i], &err), 0);
        assert_int_equal(eng_job_feed_tokens(j[i], ids, N_TOK, &err), 0);
    }
    for (int done = 0; done < n;) {
        struct pollfd f = {eng_sched_fd(s), POLLIN, 0};
        assert_int_equal(poll(&f, 1, 60000), 1);
        eng_sched_poll(s);
        done = 0;
        for (int i = 0; i < n; i++)
            done += h[i].end;
    }
    for (int i = 0; i < n; i++)
        eng_job_close(j[i]);
}

static void jobs_choose_their_adapter(void **state)
{
    (void)state;
    struct rig o = rig_open("--layers 2", 1), other = rig_open("--layers 2", 1);
    struct eng_lora *one = lora_open(&o, tiny_lora(o.path, "")),
                    *two = lora_open(&o, tiny_lora(o.path, "--seed 2")),
                    *foreign = lora_open(&other, tiny_lora(o.path, ""));
    const struct eng_lora *const use[N_JOB] = {one, NULL, two, one};
    struct eng_sched *s = NULL;
    struct base_err err = {0};
    const struct eng_sched_opt so = {
        .n_thread = 2, .max_job = N_JOB, .n_ctx = CTX, .chunk_tok = 5, .max_row = 12};
    assert_int_equal(eng_sched_new(&s, o.m, &so, &err), 0);
    struct heard want[N_JOB], got[N_JOB];
    for (int i = 0; i < N_JOB; i++)
        answer(s, &o, &use[i], &want[i], 1);
    answer(s, &o, use, got, N_JOB);
    for (int i = 0; i < N_JOB; i++) {
        assert_int_equal(got[i].n, want[i].n);
        assert_memory_equal(got[i].token, want[i].token, sizeof got[i].token);
    }
    assert_memory_not_equal(want[0].token, want[1].token, sizeof want[0].token);
    assert_memory_not_equal(want[0].token, want[2].token, sizeof want[0].token);
    assert_memory_equal(want[0].token, want[3].token, sizeof want[0].token);
    struct eng_job *j = NULL;
    const struct eng_job_opt opt = {
        .run = {0, 2, ENG_OUT_TOKEN, true, 1}, .sample = ENG_SAMPLE_GREEDY, .lora = foreign};
    assert_int_equal(eng_job_open(&j, s, &opt, hear, NULL, &err), BASE_EINVAL);
    const int32_t id = 1;
    struct eng_session *se = session(&o);
    const struct eng_seg g = {.s = se, .layer_end = 2, .n_row = 1, .token = &id, .lora = foreign};
    assert_int_equal(eng_exec_run(o.e, &g, 1, &err), BASE_EINVAL);
    assert_int_equal(eng_session_n_pos(se, 0), 0);
    eng_session_free(se);
    eng_sched_free(s);
    eng_lora_close(one);
    eng_lora_close(two);
    eng_lora_close(foreign);
    rig_close(&o);
    rig_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_merged_weights),
        cmocka_unit_test(nobody_feels_the_batch),
        cmocka_unit_test(untouched_layers_are_shared),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(a_file_may_be_bound_to_its_model),
        cmocka_unit_test(info_tells_what_it_is),
        cmocka_unit_test(a_part_of_the_model_takes_a_part_of_it),
        cmocka_unit_test(jobs_choose_their_adapter),
    };
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_clean();
    return rc;
}
