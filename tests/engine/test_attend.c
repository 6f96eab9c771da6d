/* Attention over contexts of several chunks: the same bits however the rows are cut and whoever
 * computes them, in every type of K/V and every kernel table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "tiny_model.h"

/* Decoding at 512 positions is enough work for several threads here: 8 heads of 16, as in most of
 * the models below. */
enum { N_TOK = 3 * KERN_KV_CHUNK + 40, MAX_THREAD = 3 };

static int32_t ids[N_TOK];

struct ours {
    struct eng_model *m;
    struct eng_exec *e;
    int n_layer, d;
};

static struct ours ours_open(const char *options, const char *cpu, int n_thread)
{
    struct ours o = {0};
    struct base_err err = {0};
    const struct eng_model_opt opt = {.path = tiny_make(options), .layer_end = -1, .cpu = cpu};
    o.m = tiny_open(&opt);
    assert_int_equal(eng_exec_new(&o.e, o.m, n_thread, N_TOK, &err), 0);
    o.n_layer = eng_model_config(o.m)->n_layer;
    o.d = eng_model_config(o.m)->d_model;
    return o;
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
    assert_int_equal(eng_session_new(&s, o->m, N_TOK, kv, &err), 0);
    return s;
}

static void run(const struct ours *o, const struct eng_seg *g, int n)
{
    struct base_err err = {0};
    if (eng_exec_run(o->e, g, n, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
}

/* Tokens [at, at + n): what leaves the last layer, to the same rows of x. */
static struct eng_seg seg(const struct ours *o, struct eng_session *s, int at, int n, float *x)
{
    return (struct eng_seg){.s = s,
                            .layer_end = o->n_layer,
                            .n_row = n,
                            .token = ids + at,
                            .x_out = x + (size_t)at * (size_t)o->d};
}

static float *rows(const struct ours *o)
{
    float *x = calloc((size_t)N_TOK * (size_t)o->d, sizeof *x);
    assert_non_null(x);
    return x;
}

/* All tokens in steps of n. */
static float *in_steps(const struct ours *o, enum kern_kv_type kv, int n)
{
    struct eng_session *s = session(o, kv);
    float *x = rows(o);
    for (int at = 0; at < N_TOK; at += n) {
        const struct eng_seg g = seg(o, s, at, at + n < N_TOK ? n : N_TOK - at, x);
        run(o, &g, 1);
    }
    eng_session_free(s);
    return x;
}

static void same_rows(const struct ours *o, const float *a, const float *b, const char *what)
{
    for (int i = 0; i < N_TOK * o->d; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: row %d differs", what, i / o->d);
}

static const char *const kinds[] = {
    "--layers 2 --d 128 --heads 8 --kv-heads 2",
    "--layers 2 --d 128 --heads 8 --kv-heads 8 --ff 64",
    "--layers 1 --d 96 --heads 12 --kv-heads 1 --ff 64", /* more heads than a tile has room for */
    "--arch qwen3 --layers 2 --heads 7 --kv-heads 1 --head-dim 40",
    "--arch gemma3 --layers 6 --heads 4 --head-dim 64 --window 300",
    "--arch phi3 --layers 2 --heads 6 --kv-heads 2 --d 96 --untied --window 513",
};
enum { N_KIND = sizeof kinds / sizeof kinds[0] };

/* Valgrind and emulated processors take hours for all of them: each model with one type of K/V there,
 * and the first of the ways. */
#ifdef WP_SLOW_BUILD
enum { N_CASE = N_KIND, N_WAY = 3 };
#else
enum { N_CASE = 2 * N_KIND, N_WAY = 6 };
#endif

static void every_cut_and_thread_count_gives_the_same_bits(void **state)
{
    (void)state;
    static const struct {
        int step, n_thread;
    } way[] = {{1, MAX_THREAD}, {100, 2}, {N_TOK, MAX_THREAD}, {1, 1}, {100, 1}, {5, 2}};
    for (int i = 0; i < N_CASE; i++) {
        const enum kern_kv_type kv = (enum kern_kv_type)((i % N_KIND + i / N_KIND) % 3);
        struct ours o = ours_open(kinds[i % N_KIND], NULL, 1);
        float *want = in_steps(&o, kv, N_TOK);
        ours_close(&o);
        for (int k = 0; k < N_WAY; k++) {
            o = ours_open(kinds[i % N_KIND], NULL, way[k].n_thread);
            float *got = in_steps(&o, kv, way[k].step);
            same_rows(&o, got, want, kinds[i % N_KIND]);
            free(got);
            ours_close(&o);
        }
        free(want);
    }
}

/* A long context that decodes among short ones is split, beside more of them it isn't, and alone in
 * a step of many rows neither. */
static void nobody_feels_a_long_neighbour(void **state)
{
    (void)state;
    enum { N_SHORT = 30, LONG = N_TOK - 6, STEPS = 6 };
    struct ours o = ours_open(kinds[0], NULL, MAX_THREAD);
    float *want = in_steps(&o, KERN_KV_F16, N_TOK), *got = rows(&o);
    for (int n_short = 1; n_short <= N_SHORT; n_short += N_SHORT - 1) {
        struct eng_session *far = session(&o, KERN_KV_F16), *near[N_SHORT];
        float *near_x[N_SHORT];
        struct eng_seg g[1 + N_SHORT];
        g[0] = seg(&o, far, 0, LONG, got);
        run(&o, g, 1);
        for (int i = 0; i < n_short; i++) {
            near[i] = session(&o, i % 2 ? KERN_KV_Q8_0 : KERN_KV_F16);
            near_x[i] = rows(&o);
        }
        for (int t = 0; t < STEPS; t++) {
            for (int i = 0; i < n_short; i++)
                g[1 + i] = seg(&o, near[i], t, 1, near_x[i]);
            g[0] = seg(&o, far, LONG + t, 1, got);
            run(&o, g, 1 + n_short);
        }
        same_rows(&o, got, want, "a long context");
        for (int i = 0; i < n_short; i++) {
            if (i % 2 == 0)
                assert_memory_equal(near_x[i], want, STEPS * (size_t)o.d * sizeof(float));
            eng_session_free(near[i]);
            free(near_x[i]);
        }
        eng_session_free(far);
    }
    free(want);
    free(got);
    ours_close(&o);
}

/* Positions that were given back are written anew, in the middle of a block and of a chunk. */
static void trimmed_blocks_are_filled_again(void **state)
{
    (void)state;
    static const int at[] = {1, 31, 32, 255, 256, 300, 513, N_TOK - 1};
    for (int kv = KERN_KV_F32; kv <= KERN_KV_Q8_0; kv++) {
        struct ours o = ours_open(kinds[0], NULL, 2);
        float *want = in_steps(&o, (enum kern_kv_type)kv, N_TOK), *got = rows(&o);
        struct eng_session *s = session(&o, (enum kern_kv_type)kv);
        struct eng_seg g = seg(&o, s, 0, N_TOK, got);
        float *other = rows(&o);
        for (int i = 0; i < N_TOK * o.d; i++)
            other[i] = 1e3f * sinf((float)i);
        g.token = NULL;
        g.x_in = other;
        run(&o, &g, 1);
        eng_session_trim(s, 0, o.n_layer, 0);
        g = seg(&o, s, 0, N_TOK, got);
        run(&o, &g, 1);
        same_rows(&o, got, want, "after other rows");
        for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
            eng_session_trim(s, 0, o.n_layer, at[i]);
            memset(got + at[i] * o.d, 0, (size_t)((N_TOK - at[i]) * o.d) * sizeof *got);
            g = seg(&o, s, at[i], N_TOK - at[i], got);
            run(&o, &g, 1);
            same_rows(&o, got, want, "trimmed");
        }
        eng_session_free(s);
        free(other);
        free(got);
        free(want);
        ours_close(&o);
    }
}

static double distance(const struct ours *o, const float *a, const float *b)
{
    double diff = 0, ref = 0;
    for (int i = 0; i < N_TOK * o->d; i++) {
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        ref += (double)b[i] * (double)b[i];
    }
    return sqrt(diff / ref);
}

/* Each table against the plain one, and narrow types against f32. Codes of 8 bits are off by up to
 * half of a 127th of their group's largest, f16 by 2^-11 of themselves; attention averages that. */
static void tables_and_types_agree(void **state)
{
    (void)state;
    static const double most[] = {2e-6, 1e-3, 1e-2};
    const struct kern_ops *list[8];
    const int n = kern_list(list, 8);
    for (int kind = 0; kind < 4; kind += 3) {
        float *exact = NULL;
        for (int kv = KERN_KV_F32; kv <= KERN_KV_Q8_0; kv++) {
            float *plain = NULL;
            for (int i = 0; i < n; i++) {
                struct ours o = ours_open(kinds[kind], list[i]->name, MAX_THREAD);
                float *x = in_steps(&o, (enum kern_kv_type)kv, 64);
                exact = exact != NULL ? exact : x;
                plain = plain != NULL ? plain : x;
                const double by_type = distance(&o, x, exact), by_table = distance(&o, x, plain);
                if (!(by_type <= most[kv]) || (kv != KERN_KV_F32 && by_type < 1e-5))
                    fail_msg("%s, K/V %d: %g from f32", list[i]->name, kv, by_type);
                if (!(by_table <= most[kv] / 20 + most[0]))
                    fail_msg("%s, K/V %d: %g from generic", list[i]->name, kv, by_table);
                if (x != plain)
                    free(x);
                ours_close(&o);
            }
            if (plain != exact)
                free(plain);
        }
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_and_thread_count_gives_the_same_bits),
        cmocka_unit_test(nobody_feels_a_long_neighbour),
        cmocka_unit_test(trimmed_blocks_are_filled_again),
        cmocka_unit_test(tables_and_types_agree),
    };
    for (int i = 0; i < N_TOK; i++)
        ids[i] = (int32_t)((i * 97 + i / 7 * 13 + 31) % 280);
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_clean();
    return rc;
}
