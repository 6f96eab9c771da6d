/* The forward pass: against a naive double-precision one, and against itself bit for bit however
 * the work is cut: layers, chunks, batches, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "naive.h"
#include "tiny_model.h"

enum { N_TOK = 23, CTX = NAIVE_CTX };

/* Ids that differ from neighbour to neighbour, within mktiny's 289 tokens. */
static int32_t token_at(int i)
{
    return (int32_t)((i * 97 + 31) % 280);
}

/* ---- running ours ---- */

struct ours {
    struct eng_model *m;
    struct eng_exec *e;
    int n_layer, d, n_vocab;
};

static struct ours ours_open_as(const char *options, int n_thread, bool exact)
{
    struct ours o = {0};
    struct base_err err = {0};
    const struct eng_model_opt opt = {
        .path = tiny_make(options), .layer_end = -1, .exact = exact, .n_thread = n_thread};
    o.m = tiny_open(&opt);
    assert_int_equal(eng_exec_new(&o.e, o.m, n_thread, CTX, &err), 0);
    o.n_layer = eng_model_config(o.m)->n_layer;
    o.d = eng_model_config(o.m)->d_model;
    o.n_vocab = eng_model_config(o.m)->n_vocab;
    return o;
}

static struct ours ours_open(const char *options, int n_thread)
{
    return ours_open_as(options, n_thread, false);
}

static void ours_close(struct ours *o)
{
    eng_exec_free(o->e);
    eng_model_close(o->m);
}

static struct eng_session *session(const struct ours *o, enum kern_kv_type kv)
{
    struct eng_session *s = NULL;
    struct base_err err = {0};
    assert_int_equal(eng_session_new(&s, o->m, CTX, kv, &err), 0);
    return s;
}

static void run(const struct ours *o, const struct eng_seg *g, int n)
{
    struct base_err err = {0};
    if (eng_exec_run(o->e, g, n, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
}

/* All logits of the first n tokens, read whole: what every other way must reproduce. */
static float *whole(const struct ours *o, enum kern_kv_type kv, int n)
{
    int32_t ids[CTX];
    for (int i = 0; i < n; i++)
        ids[i] = token_at(i);
    float *logits = malloc((size_t)n * (size_t)o->n_vocab * sizeof *logits);
    struct eng_session *s = session(o, kv);
    run(o,
        &(struct eng_seg){.s = s,
                          .layer_end = o->n_layer,
                          .n_row = n,
                          .token = ids,
                          .logits = logits,
                          .logits_all = true},
        1);
    eng_session_free(s);
    return logits;
}

/* ---- tests ---- */

/* Relative rms of all logits. Random weights tell rounding of activations apart from a wrong scale
 * or a lost block: an 8-bit rounding is worth about 1 %, anything else far more. */
static double off_from_naive(const char *options, double scale, bool exact)
{
    struct ours o = ours_open_as(options, 2, exact);
    float *got = whole(&o, KERN_KV_F32, N_TOK);
    double *want = malloc((size_t)o.n_vocab * sizeof *want), err = 0, ref = 0;
    for (int t = 0; t < N_TOK; t++) {
        naive_step(o.m, token_at(t), t, scale, want);
        for (int i = 0; i < o.n_vocab; i++) {
            const double diff = (double)got[(size_t)t * (size_t)o.n_vocab + (size_t)i] - want[i];
            err += diff * diff;
            ref += want[i] * want[i];
        }
    }
    free(want);
    free(got);
    ours_close(&o);
    return sqrt(err / ref);
}

static void check_against_naive(const char *options, double scale)
{
    const double exact = off_from_naive(options, scale, true);
    const double fast = off_from_naive(options, scale, false);
    const bool floats = strstr(options, "--type") == NULL;
    if (!(exact < 2e-6))
        fail_msg("%s: relative rms %g", options, exact);
    if (!(fast < (floats ? 2e-6 : 0.04)))
        fail_msg("%s: with 8-bit activations: relative rms %g", options, fast);
}

static void agrees_with_the_formula(void **state)
{
    (void)state;
    check_against_naive("--layers 3", 1);
    check_against_naive("--layers 2 --type q4_1 --heads 4 --kv-heads 1 --untied", 1);
    check_against_naive("--layers 2 --type q6_k --d 256 --ff 256 --heads 8 --kv-heads 8", 1);
    check_against_naive("--arch qwen2 --layers 3", 1);
    check_against_naive("--arch qwen2 --layers 2 --type q8_0 --untied", 1);
    check_against_naive("--arch qwen3 --layers 3 --head-dim 24", 1);
    check_against_naive("--arch qwen3 --layers 2 --type q4_0 --untied --heads 2 --head-dim 64", 1);
    check_against_naive("--arch gemma3 --layers 7 --head-dim 24 --window 9", 1);
    check_against_naive("--arch gemma3 --layers 6 --type q8_0 --head-dim 64 --window 100", 1);
    check_against_naive("--arch phi3 --layers 3 --untied", 1);
    check_against_naive("--arch phi3 --layers 2 --type q4_0 --kv-heads 1 --window 7", 1);
    check_against_naive("--arch phi3 --layers 2 --rot-dim 12", 1);
}

static void rope_scaling_is_obeyed(void **state)
{
    (void)state;
    check_against_naive("--layers 2 --vector rope_freqs.weight", 1);
    check_against_naive(
        "--layers 2 --str llama.rope.scaling.type=linear --f32 llama.rope.scaling.factor=4", 0.25);
    check_against_naive("--layers 2 --f32 llama.rope.scaling.factor=2", 0.5);
    check_against_naive("--arch gemma3 --layers 7 --window 5 --f32 gemma3.rope.scaling.factor=8",
                        0.125);
    check_against_naive(
        "--layers 2 --str llama.rope.scaling.type=none --f32 llama.rope.scaling.factor=4", 1);
}

static void other_graphs_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *options, *place, *word;
    } bad[] = {
        {"--str llama.rope.scaling.type=yarn", "llama.rope.scaling.type", "yarn"},
        {"--vector blk.0.attn_q.bias", "blk.0.attn_q.bias", "no place"},
        {"--vector blk.4.attn_norm.weight", "blk.4.attn_norm.weight", "no place"},
        {"--u32 llama.expert_count=8", "llama.expert_count", "8"},
        {"--f32 llama.attention.scale=0.5", "llama.attention.scale", "0.5"},
        {"--u32 llama.attention.key_length=15", "llama.rope.dimension_count", "15"},
        {"--u32 llama.attention.value_length=8", "llama.attention.value_length", "8"},
        {"--u32 llama.attention.key_length=32", "blk.0.attn_q.weight", "128"},
        {"--f32 llama.rope.scaling.attn_factor=2", "llama.rope.scaling.attn_factor", "2"},
        {"--arch mamba", "general.architecture", "ours: llama, qwen2, qwen3, gemma3, phi3"},
        {"--arch qwen2 --vector blk.0.attn_output.bias", "blk.0.attn_output.bias", "qwen2 graph"},
        {"--arch llama --vector blk.0.attn_q_norm.weight", "attn_q_norm.weight", "llama graph"},
        {"--arch phi3 --vector rope_factors_long.weight", "rope_factors_long", "longrope"},
        {"--arch phi3 --str phi3.rope.scaling.type=longrope", "rope.scaling.type", "longrope"},
        {"--arch phi3 --vector blk.0.ffn_gate.weight", "blk.0.ffn_gate.weight", "phi3 graph"},
        {"--arch gemma3", "gemma3.attention.sliding_window", "lacks"},
        {"--arch gemma3 --window 5 --f32 gemma3.final_logit_softcapping=30",
         "gemma3.final_logit_softcapping", "30"},
        {"--arch qwen3 --window 5", "qwen3.attention.sliding_window", "qwen3 graph"},
        {"--arch qwen2 --vector rope_freqs.weight", "rope_freqs.weight", "qwen2 graph"},
        {"--arch qwen2 --u32 qwen2.attention.sliding_window=9", "qwen2.attention.sliding_window",
         "9"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eng_model *m = NULL;
        struct base_err err = {0};
        const struct eng_model_opt o = {.path = tiny_make(bad[i].options), .layer_end = -1};
        const int rc = eng_model_open(&m, &o, &err);
        if (rc != BASE_EUNSUPPORTED && rc != BASE_EFORMAT)
            fail_msg("%s: %d", bad[i].options, rc);
        if (strstr(err.place, bad[i].place) == NULL || strstr(err.msg, bad[i].word) == NULL)
            fail_msg("%s: '%s' '%s'", bad[i].options, err.place, err.msg);
    }
}

static void a_split_is_exact(void **state)
{
    (void)state;
    static const char *const kinds[] = {"--layers 5",
                                        "--layers 3 --type q4_1 --untied",
                                        "--arch qwen2 --layers 3",
                                        "--arch qwen3 --layers 3 --head-dim 24",
                                        "--arch gemma3 --layers 7 --head-dim 24 --window 5",
                                        "--arch phi3 --layers 3 --untied --window 6"};
    enum { N = sizeof kinds / sizeof kinds[0] };
    for (int i = 0; i < 2 * N; i++) {
        const enum kern_kv_type kv = i < N ? KERN_KV_F16 : KERN_KV_F32;
        struct ours o = ours_open(kinds[i % N], 2);
        float *want = whole(&o, kv, N_TOK);
        const size_t bytes = (size_t)N_TOK * (size_t)o.n_vocab * sizeof(float);
        float *x = malloc((size_t)N_TOK * (size_t)o.d * sizeof *x), *got = malloc(bytes);
        int32_t ids[N_TOK];
        for (int t = 0; t < N_TOK; t++)
            ids[t] = token_at(t);
        for (int k = 0; k <= o.n_layer; k++) {
            struct eng_session *edge = session(&o, kv), *cloud = session(&o, kv);
            run(&o,
                &(struct eng_seg){
                    .s = edge, .layer_end = k, .n_row = N_TOK, .token = ids, .x_out = x},
                1);
            /* The tail of the last layer runs on the edge or in the cloud: here in two steps. */
            run(&o,
                &(struct eng_seg){.s = cloud,
                                  .layer_begin = k,
                                  .layer_end = o.n_layer,
                                  .n_row = N_TOK,
                                  .x_in = x,
                                  .x_out = x},
                1);
            run(&o,
                &(struct eng_seg){.layer_begin = o.n_layer,
                                  .layer_end = o.n_layer,
                                  .n_row = N_TOK,
                                  .x_in = x,
                                  .logits = got,
                                  .logits_all = true},
                1);
            assert_memory_equal(got, want, bytes);
            assert_int_equal(eng_session_n_pos(edge, 0), k > 0 ? N_TOK : 0);
            assert_int_equal(eng_session_n_pos(edge, o.n_layer - 1), k == o.n_layer ? N_TOK : 0);
            eng_session_free(edge);
            eng_session_free(cloud);
        }
        free(got);
        free(x);
        free(want);
        ours_close(&o);
    }
}

/* Four sessions, each cut its own way, run together step by step: every one as if it were alone. */
static void nobody_feels_the_batch(void **state)
{
    (void)state;
    static const char *const kinds[] = {"--layers 4",
                                        "--layers 3 --type q8_0",
                                        "--arch qwen2 --layers 3",
                                        "--arch qwen3 --layers 3 --head-dim 24",
                                        "--arch gemma3 --layers 7 --head-dim 24 --window 5",
                                        "--arch phi3 --layers 3 --untied --window 6"};
    enum { N = sizeof kinds / sizeof kinds[0] };
    for (int i = 0; i < 3 * N; i++) {
        struct ours o = ours_open(kinds[i % N], 1 + i / N);
        float *want = whole(&o, KERN_KV_F16, N_TOK);
        enum { N_S = 4 };
        static const int chunk[N_S] = {1, 3, 7, N_TOK};
        struct eng_session *s[N_S];
        int at[N_S] = {0};
        float *got[N_S];
        int32_t ids[N_TOK];
        for (int t = 0; t < N_TOK; t++)
            ids[t] = token_at(t);
        for (int k = 0; k < N_S; k++) {
            s[k] = session(&o, KERN_KV_F16);
            got[k] = malloc((size_t)N_TOK * (size_t)o.n_vocab * sizeof(float));
        }
        for (int busy = 1; busy;) {
            struct eng_seg g[N_S + 1];
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
                                          .logits = got[k] + (size_t)at[k] * (size_t)o.n_vocab};
                at[k] += rows;
            }
            busy = n > 0;
            /* and somebody who runs only a middle layer */
            float row[MAX_D] = {0.5f, -1.0f};
            struct eng_session *other = session(&o, KERN_KV_F32);
            g[n++] = (struct eng_seg){
                .s = other, .layer_begin = 1, .layer_end = 2, .n_row = 1, .x_in = row};
            run(&o, g, n);
            eng_session_free(other);
        }
        for (int k = 0; k < N_S; k++) {
            assert_memory_equal(got[k], want, (size_t)N_TOK * (size_t)o.n_vocab * sizeof(float));
            eng_session_free(s[k]);
            free(got[k]);
        }
        free(want);
        ours_close(&o);
    }
}

static void trim_forgets(void **state)
{
    (void)state;
    struct ours o = ours_open("--layers 2", 1);
    float *want = whole(&o, KERN_KV_F16, N_TOK), *got = malloc((size_t)o.n_vocab * sizeof *got);
    struct eng_session *s = session(&o, KERN_KV_F16);
    int32_t ids[N_TOK];
    for (int t = 0; t < N_TOK; t++)
        ids[t] = t < 5 ? token_at(t) : 7;
    struct eng_seg g = {.s = s, .layer_end = 2, .n_row = N_TOK, .token = ids};
    run(&o, &g, 1);
    eng_session_trim(s, 0, 2, 5);
    assert_int_equal(eng_session_n_pos(s, 1), 5);
    for (int t = 5; t < N_TOK; t++)
        ids[t] = token_at(t);
    g = (struct eng_seg){
        .s = s, .layer_end = 2, .n_row = N_TOK - 5, .token = ids + 5, .logits = got};
    run(&o, &g, 1);
    assert_memory_equal(got, want + (size_t)(N_TOK - 1) * (size_t)o.n_vocab,
                        (size_t)o.n_vocab * sizeof(float));
    eng_session_free(s);
    free(got);
    free(want);
    ours_close(&o);
}

static void a_bad_step_changes_nothing(void **state)
{
    (void)state;
    struct ours o = ours_open("--layers 4", 1), other = ours_open("--layers 4 --seed 2", 1);
    struct eng_session *s = session(&o, KERN_KV_F16), *t = session(&other, KERN_KV_F16),
                       *u = session(&o, KERN_KV_F16);
    int32_t ids[CTX + 1] = {0}, wild[] = {1, 289}, negative[] = {-1};
    float x[MAX_D] = {0}, *logits = malloc((size_t)o.n_vocab * sizeof *logits);
    run(&o, &(struct eng_seg){.s = s, .layer_end = 2, .n_row = 3, .token = ids}, 1);
    const struct {
        struct eng_seg g;
        int code;
    } bad[] = {
        {{.s = s, .layer_end = 4, .n_row = 1, .token = ids}, BASE_EINVAL}, /* unequal positions */
        {{.s = s, .layer_end = 2, .n_row = 0, .token = ids}, BASE_EINVAL},
        {{.s = s, .layer_end = 2, .n_row = -1, .token = ids}, BASE_EINVAL},
        {{.s = s, .layer_end = 2, .n_row = 1}, BASE_EINVAL},
        {{.s = s, .layer_end = 2, .n_row = 1, .token = ids, .x_in = x}, BASE_EINVAL},
        {{.s = s, .layer_end = 5, .n_row = 1, .token = ids}, BASE_EINVAL},
        {{.s = s, .layer_begin = -1, .layer_end = 2, .n_row = 1, .x_in = x}, BASE_EINVAL},
        {{.s = s, .layer_begin = 2, .layer_end = 1, .n_row = 1, .x_in = x}, BASE_EINVAL},
        {{.s = s, .layer_begin = 1, .layer_end = 2, .n_row = 1, .token = ids}, BASE_EINVAL},
        {{.s = s, .layer_end = 2, .n_row = 1, .token = ids, .logits = logits}, BASE_EINVAL},
        {{.s = s, .layer_end = 2, .n_row = 2, .token = wild}, BASE_EINVAL},
        {{.s = s, .layer_end = 2, .n_row = 1, .token = negative}, BASE_EINVAL},
        {{.s = t, .layer_end = 2, .n_row = 1, .token = ids}, BASE_EINVAL}, /* another model's */
        {{.s = NULL, .layer_end = 2, .n_row = 1, .token = ids}, BASE_EINVAL},
        {{.s = s, .layer_end = 2, .n_row = CTX - 2, .token = ids}, BASE_ELIMIT}, /* context */
        {{.s = u, .layer_end = 2, .n_row = CTX + 1, .token = ids}, BASE_ELIMIT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct base_err err = {0};
        const struct eng_seg two[] = {{.s = u, .layer_end = 1, .n_row = 1, .token = ids}, bad[i].g};
        const int rc =
            eng_exec_run(o.e, bad[i].g.s == u ? &bad[i].g : two, bad[i].g.s == u ? 1 : 2, &err);
        if (rc != bad[i].code || err.msg[0] == '\0')
            fail_msg("case %zu: %d %s", i, rc, err.msg);
        assert_int_equal(eng_session_n_pos(u, 0), 0);
        assert_int_equal(eng_session_n_pos(s, 0), 3);
        assert_int_equal(eng_session_n_pos(s, 2), 0);
    }
    struct base_err err = {0};
    const struct eng_seg twice[] = {
        {.s = u, .layer_end = 1, .n_row = 1, .token = ids},
        {.s = u, .layer_begin = 1, .layer_end = 2, .n_row = 1, .x_in = x}};
    assert_int_equal(eng_exec_run(o.e, twice, 2, &err), BASE_EINVAL);
    free(logits);
    eng_session_free(s);
    eng_session_free(t);
    eng_session_free(u);
    ours_close(&o);
    ours_close(&other);
}

/* Resident bytes of the file's mapping, from /proc/self/smaps. */
static long resident_kib(const char *path)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    char line[512];
    long sum = 0, kib;
    bool ours_now = false;
    while (fgets(line, sizeof line, f) != NULL) {
        if (strchr(line, '-') != NULL && strchr(line, '-') < line + 17)
            ours_now = strstr(line, path) != NULL;
        if (ours_now && sscanf(line, "Rss: %ld", &kib) == 1)
            sum += kib;
    }
    fclose(f);
    return sum;
}

static void a_range_touches_only_its_layers(void **state)
{
    (void)state;
    const char *path = tiny_make("--layers 8 --d 256 --ff 512 --heads 4"); /* 2.6 MB a layer */
    struct base_err err = {0};
    const struct eng_model_opt all = {.path = path, .layer_end = -1}, part = {.path = path,
                                                                              .layer_begin = 3,
                                                                              .layer_end = 5,
                                                                              .no_embed = true,
                                                                              .no_head = true};
    struct eng_model *m = tiny_open(&part);
    struct eng_exec *e = NULL;
    struct eng_session *s = NULL;
    assert_int_equal(eng_exec_new(&e, m, 1, 4, &err), 0);
    assert_int_equal(eng_session_new(&s, m, 8, KERN_KV_F16, &err), 0);
    float in[2][256], out[2][256], want[2][256];
    for (int i = 0; i < 512; i++)
        in[i / 256][i % 256] = sinf((float)i);
    struct eng_seg g = {
        .s = s, .layer_begin = 3, .layer_end = 5, .n_row = 2, .x_in = in[0], .x_out = out[0]};
    assert_int_equal(eng_exec_run(e, &g, 1, &err), 0);
    const long size_kib = (long)(gguf_size_bytes(eng_model_file(m)) / 1024);
    const long kib = resident_kib(path);
    if (kib < 1 || kib > size_kib / 2)
        fail_msg("%ld of %ld KiB resident", kib, size_kib);
    /* what is not held is refused */
    g.layer_begin = 2;
    assert_int_equal(eng_exec_run(e, &g, 1, &err), BASE_EINVAL);
    int32_t id = 1;
    struct eng_seg no_embed = {.layer_end = 0, .n_row = 1, .token = &id, .x_out = out[1]};
    assert_int_equal(eng_exec_run(e, &no_embed, 1, &err), BASE_EINVAL);
    assert_true(eng_model_holds(m, 3, 5, false, false));
    assert_false(eng_model_holds(m, 3, 6, false, false));
    assert_false(eng_model_holds(m, 3, 5, true, false));
    assert_false(eng_model_holds(m, 3, 5, false, true));

    struct eng_model *n = tiny_open(&all);
    struct eng_exec *f = NULL;
    struct eng_session *t = NULL;
    assert_int_equal(eng_exec_new(&f, n, 1, 4, &err), 0);
    assert_int_equal(eng_session_new(&t, n, 8, KERN_KV_F16, &err), 0);
    g = (struct eng_seg){
        .s = t, .layer_begin = 3, .layer_end = 5, .n_row = 2, .x_in = in[0], .x_out = want[0]};
    assert_int_equal(eng_exec_run(f, &g, 1, &err), 0);
    assert_memory_equal(out, want, sizeof want);

    /* Both name the same config and layers; what isn't held is zero. */
    const struct eng_identity *a = eng_model_identity(m), *b = eng_model_identity(n);
    static const uint8_t zero[16];
    assert_memory_equal(a->config, b->config, 16);
    assert_memory_equal(a->tok, b->tok, 16);
    assert_memory_equal(a->layer[4], b->layer[4], 16);
    assert_memory_equal(a->layer[2], zero, 16);
    assert_memory_equal(a->head, zero, 16);
    assert_memory_not_equal(b->layer[2], zero, 16);
    assert_memory_not_equal(b->layer[2], b->layer[3], 16);
    assert_memory_not_equal(b->head, zero, 16);
    eng_session_free(s);
    eng_session_free(t);
    eng_exec_free(e);
    eng_exec_free(f);
    eng_model_close(m);
    eng_model_close(n);
}

/* KiB of the file that are resident after the embeddings of n tokens, spread over all of them. */
static long resident_after(const char *path, bool exact, int n)
{
    static float x[128][1024];
    const struct eng_model_opt o = {.path = path, .layer_end = -1, .exact = exact, .n_thread = 1};
    struct eng_model *m = tiny_open(&o);
    struct eng_exec *e = NULL;
    struct base_err err = {0};
    int32_t ids[128];
    const int n_vocab = eng_model_config(m)->n_vocab;
    assert_int_equal(eng_model_config(m)->d_model, 1024);
    for (int i = 0; i < n; i++)
        ids[i] = (n_vocab - 1) * i / (n - 1);
    const struct eng_seg g = {.n_row = n, .token = ids, .x_out = x[0]};
    assert_int_equal(eng_exec_new(&e, m, 1, 128, &err), 0);
    assert_int_equal(eng_exec_run(e, &g, 1, &err), 0);
    const long kib = resident_kib(path);
    eng_exec_free(e);
    eng_model_close(m);
    return kib;
}

static void rows_of_embeddings_do_not_stay(void **state)
{
    (void)state;
    const char *path = tiny_make("--layers 1 --d 1024 --ff 64 --heads 4 --type q8_0");
    const long two = resident_after(path, false, 2), many = resident_after(path, false, 128);
    const long in_place = resident_after(path, true, 128); /* with the head's pages */
    if (many > two || in_place < many + 128)
        fail_msg("after 2 rows %ld KiB, after 128 %ld, with the head in place %ld", two, many,
                 in_place);
}

static void identity_sees_every_difference(void **state)
{
    (void)state;
    static const char *const options[] = {
        "--layers 2", "--layers 2 --seed 2", "--layers 2 --type q8_0",
        "--layers 2 --f32 llama.rope.scaling.factor=2", "--layers 2 --vector rope_freqs.weight"};
    struct eng_identity *first = NULL;
    struct eng_model *keep = NULL;
    for (int i = 0; i < 5; i++) {
        const struct eng_model_opt o = {.path = tiny_make(options[i]), .layer_end = -1};
        struct eng_model *m = tiny_open(&o);
        const struct eng_identity *id = eng_model_identity(m);
        assert_non_null(id);
        if (i == 0) {
            keep = m;
            first = (struct eng_identity *)id;
            continue;
        }
        const bool config = memcmp(id->config, first->config, 16) != 0;
        const bool layer = memcmp(id->layer[0], first->layer[0], 16) != 0;
        assert_int_equal(config, i >= 2); /* another seed is another content only */
        assert_int_equal(layer, i == 1 || i == 2);
        eng_model_close(m);
    }
    eng_model_close(keep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_formula),
        cmocka_unit_test(rope_scaling_is_obeyed),
        cmocka_unit_test(other_graphs_are_refused),
        cmocka_unit_test(a_split_is_exact),
        cmocka_unit_test(nobody_feels_the_batch),
        cmocka_unit_test(trim_forgets),
        cmocka_unit_test(a_bad_step_changes_nothing),
        cmocka_unit_test(a_range_touches_only_its_layers),
        cmocka_unit_test(rows_of_embeddings_do_not_stay),
        cmocka_unit_test(identity_sees_every_difference),
    };
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_clean();
    return rc;
}
