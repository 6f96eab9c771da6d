/* Calibration: which products are watched, what is summed, and files of sums that are not sums. */
#include "quantize_case.h"

/* Every matrix of every architecture is seen; q's sums are those of the normed embeddings. */
static void calibration_sees_every_matrix(void **state)
{
    (void)state;
    static const char *const arch[] = {
        "--layers 2 --untied",
        "--arch qwen2 --layers 2",
        "--arch gemma3 --layers 2 --window 4",
        "--arch phi3 --layers 2",
    };
    struct base_err err = {0};
    for (size_t k = 0; k < sizeof arch / sizeof arch[0]; k++) {
        const char *src = tiny_make(arch[k]), *dst = in_dir("sums.gguf");
        if (calibrate(src, dst, &err) != 0)
            fail_msg("%s: %s", err.place, err.msg);
        struct gguf_file *f = open_good(src), *c = open_good(dst);
        for (int i = 0; i < gguf_n_tensor(f); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(f, i), *in = NULL;
            assert_int_equal(eng_calib_find(c, t, &in, &err), 0);
            const bool lookup = strcmp(t->name, "token_embd.weight") == 0 &&
                                gguf_tensor_find(f, "output.weight") != NULL;
            assert_int_equal(in != NULL, t->n_dim == 2 && !lookup);
            if (in == NULL)
                continue;
            float *col = malloc((size_t)t->dim[0] * sizeof *col);
            assert_int_equal(eng_calib_weights(c, in, col, &err), 0);
            for (int64_t j = 0; j < t->dim[0]; j++)
                assert_true(col[j] > 0.0f && col[j] < 1e6f);
            free(col);
        }
        gguf_close(f);
        gguf_close(c);
        count_files(true);
    }
}

/* By hand: q's inputs in layer 0 are the embeddings' rms norm times attn_norm. */
static void sums_are_of_the_inputs(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 1"), *dst = in_dir("sums.gguf");
    const int32_t token[8] = {1, 2, 3, 4, 50, 60, 70, 80};
    struct base_err err = {0};
    assert_int_equal(calibrate(src, dst, &err), 0);
    struct gguf_file *f = open_good(src), *c = open_good(dst);
    const struct gguf_tensor *embd = gguf_tensor_find(f, "token_embd.weight");
    const struct gguf_tensor *norm = gguf_tensor_find(f, "blk.0.attn_norm.weight");
    const struct gguf_tensor *in = gguf_tensor_find(c, "blk.0.attn_q.weight.in_sum2");
    const struct gguf_tensor *n_row = gguf_tensor_find(c, "blk.0.attn_q.weight.counts");
    assert_non_null(in);
    assert_true(*(const float *)n_row->data == 8.0f);
    const int64_t d = embd->dim[0];
    float eps = 0;
    bool found;
    assert_int_equal(gguf_get_f32(f, "llama.attention.layer_norm_rms_epsilon", &eps, &found, &err),
                     0);
    for (int64_t i = 0; i < d; i++) {
        double want = 0;
        for (int r = 0; r < 8; r++) {
            const float *x = (const float *)embd->data + token[r] * d;
            double sq = 0;
            for (int64_t j = 0; j < d; j++)
                sq += (double)x[j] * (double)x[j];
            const double y = (double)x[i] * (double)((const float *)norm->data)[i] /
                             sqrt(sq / (double)d + (double)eps);
            want += y * y;
        }
        const double got = (double)((const float *)in->data)[i];
        assert_true(fabs(got - want) <= 1e-5 * (want + 1e-6));
    }
    gguf_close(f);
    gguf_close(c);
    count_files(true);
}

static void odd_sums_are_refused(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 1"), *sums = in_dir("sums.gguf");
    struct base_err err = {0};
    assert_int_equal(calibrate(src, sums, &err), 0);
    struct gguf_file *c = open_good(sums);
    const struct gguf_tensor *in = gguf_tensor_find(c, "blk.0.attn_q.weight.in_sum2");
    size_t n;
    char *copy = read_all(sums, &n);
    const size_t at = (size_t)((const char *)in->data - (const char *)gguf_tensor_at(c, 0)->data);
    const struct gguf_tensor *first = gguf_tensor_at(c, 0);
    size_t data = n; /* where the first tensor's data lie: the file's end less all of them */
    for (int i = 0; i < gguf_n_tensor(c); i++)
        data -= (gguf_tensor_at(c, i)->n_bytes + 31) / 32 * 32;
    assert_true(first->n_bytes > 0);
    gguf_close(c);
    for (int k = 0; k < 3; k++) {
        const float bad[] = {-1.0f, NAN, INFINITY};
        float col[64];
        memcpy(copy + data + at + 8, &bad[k], sizeof bad[k]);
        assert_int_equal(gguf_open_mem(&c, copy, n, &err), 0);
        in = gguf_tensor_find(c, "blk.0.attn_q.weight.in_sum2");
        assert_int_equal(eng_calib_weights(c, in, col, &err), BASE_EFORMAT);
        assert_non_null(strstr(err.msg, "column 2"));
        gguf_close(c);
    }
    free(copy);
    count_files(true);
}

struct names {
    const char *src, *dst;
};

static int calibrate_once(void *arg, struct base_err *err)
{
    const struct names *a = arg;
    return calibrate(a->src, a->dst, err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char dst[300];
    snprintf(dst, sizeof dst, "%s", in_dir("sums.gguf"));
    struct names a = {tiny_make("--layers 1"), dst};
    fail_each(calibrate_once, &a, 0);
    count_files(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calibration_sees_every_matrix),
        cmocka_unit_test(sums_are_of_the_inputs),
        cmocka_unit_test(odd_sums_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return run_group(tests, sizeof tests / sizeof tests[0]);
}
