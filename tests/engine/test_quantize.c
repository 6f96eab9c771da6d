/* Quantising a file: what is copied, what becomes what, what is refused; the same bytes for any
 * number of threads; what goes wrong on the way leaves nothing behind. */
#include "../fixtures/gguf_put.h"
#include "quantize_case.h"

/* All keys but the two that say how it is quantised, byte for byte; all vectors too. */
static void keys_and_vectors_are_copied(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 2 --d 64 --ff 128"), *dst = in_dir("copied.gguf");
    struct base_err err = {0};
    const struct eng_quantize_opt o = to("q4_0");
    assert_int_equal(quantize(src, dst, &o, 2, NULL, &err), 0);
    struct gguf_file *a = open_good(src), *b = open_good(dst);
    int same = 0;
    for (int i = 0; i < gguf_n_kv(a); i++) {
        for (int j = 0; j < gguf_n_kv(b); j++) {
            char va[256], vb[256];
            if (strcmp(gguf_kv_key(a, i), gguf_kv_key(b, j)) != 0)
                continue;
            gguf_kv_print(a, i, va, sizeof va);
            gguf_kv_print(b, j, vb, sizeof vb);
            same += strcmp(gguf_kv_key(a, i), "general.file_type") == 0 || strcmp(va, vb) == 0;
        }
    }
    assert_int_equal(same, gguf_n_kv(a));
    uint32_t file_type = 99, version = 99;
    bool found;
    assert_int_equal(gguf_get_u32(b, "general.file_type", &file_type, &found, &err), 0);
    assert_int_equal(gguf_get_u32(b, "general.quantization_version", &version, &found, &err), 0);
    assert_int_equal(file_type, 2);
    assert_int_equal(version, 2);
    uint64_t n = 0;
    assert_int_equal(gguf_get_arr(a, "tokenizer.ggml.tokens", GGUF_KV_STR, &n, &found, &err), 0);
    struct gguf_strs at = gguf_arr_strs(a, "tokenizer.ggml.tokens");
    struct gguf_strs bt = gguf_arr_strs(b, "tokenizer.ggml.tokens");
    for (uint64_t i = 0; i < n; i++) { /* the vocabulary, string by string */
        const struct gguf_str x = gguf_strs_next(&at), y = gguf_strs_next(&bt);
        assert_int_equal(x.len, y.len);
        assert_memory_equal(x.s, y.s, x.len);
    }
    assert_int_equal(gguf_n_tensor(a), gguf_n_tensor(b));
    for (int i = 0; i < gguf_n_tensor(a); i++) {
        const struct gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        assert_string_equal(x->name, y->name);
        if (x->n_dim == 1) {
            assert_int_equal(x->type, y->type);
            assert_memory_equal(x->data, y->data, x->n_bytes);
        } else {
            assert_int_not_equal(x->type, y->type);
        }
    }
    gguf_close(a);
    gguf_close(b);
    count_files(true);
}

/* The mix by purpose and layer, the fallback by width, overrides over both. */
static void each_matrix_gets_its_type(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 8 --d 256 --ff 320 --untied"), *dst = in_dir("t.gguf");
    struct base_err err = {0};
    struct eng_quantize_opt o = to("q4_k_m");
    const struct eng_quantize_rule rules[] = {
        {"blk.*.attn_q.weight", GGUF_Q5_K},
        {"blk.[23].attn_q.weight", GGUF_BF16},
        {"output.weight", GGUF_Q3_K},
    };
    assert_int_equal(quantize(src, dst, &o, 1, NULL, &err), 0);
    struct gguf_file *f = open_good(dst);
    assert_int_equal(type_in(f, "token_embd.weight"), GGUF_Q4_K);
    assert_int_equal(type_in(f, "output.weight"), GGUF_Q6_K);
    assert_int_equal(type_in(f, "blk.2.attn_q.weight"), GGUF_Q4_K);
    assert_int_equal(type_in(f, "blk.0.attn_v.weight"), GGUF_Q6_K); /* the first eighth */
    assert_int_equal(type_in(f, "blk.1.attn_v.weight"), GGUF_Q4_K);
    assert_int_equal(type_in(f, "blk.3.attn_v.weight"), GGUF_Q6_K);   /* each third */
    assert_int_equal(type_in(f, "blk.7.attn_v.weight"), GGUF_Q6_K);   /* the last eighth */
    assert_int_equal(type_in(f, "blk.0.ffn_down.weight"), GGUF_Q8_0); /* rows of 320: no Q6_K */
    assert_int_equal(type_in(f, "blk.1.ffn_down.weight"), GGUF_Q5_0); /* nor Q4_K */
    assert_int_equal(type_in(f, "output_norm.weight"), GGUF_F32);
    gguf_close(f);
    unlink(dst);

    o.rule = rules;
    o.n_rule = 3;
    assert_int_equal(quantize(src, dst, &o, 1, NULL, &err), 0);
    f = open_good(dst);
    assert_int_equal(type_in(f, "blk.1.attn_q.weight"), GGUF_Q5_K);
    assert_int_equal(type_in(f, "blk.2.attn_q.weight"), GGUF_BF16); /* the last match */
    assert_int_equal(type_in(f, "output.weight"), GGUF_Q3_K);
    gguf_close(f);
    count_files(true);
}

static void refused(const char *src, const struct eng_quantize_opt *o, int code, const char *place,
                    const char *word)
{
    struct base_err err = {0};
    const int rc = quantize(src, in_dir("refused.gguf"), o, 1, NULL, &err);
    if (rc != code || strstr(err.place, place) == NULL || strstr(err.msg, word) == NULL)
        fail_msg("%d, %s: %s (expected %d, %s: %s)", rc, err.place, err.msg, code, place, word);
    assert_int_equal(count_files(false), 0);
}

static void slips_are_refused(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 2 --d 64 --ff 128");
    struct eng_quantize_opt o = to("q4_0");
    const struct eng_quantize_rule nobody[] = {{"output.weight", GGUF_Q6_K}}; /* tied */
    const struct eng_quantize_rule vector[] = {{"*norm.weight", GGUF_Q8_0}};
    const struct eng_quantize_rule narrow[] = {{"blk.1.attn_k.weight", GGUF_Q4_K}};
    o.n_rule = 1;
    o.rule = nobody;
    refused(src, &o, BASE_EINVAL, "output.weight", "no matrix");
    o.rule = vector;
    refused(src, &o, BASE_EINVAL, "*norm.weight", "no matrix");
    o.rule = narrow;
    refused(src, &o, BASE_EINVAL, "blk.1.attn_k.weight", "rows of 64");

    assert_null(eng_mix_find("q9_z"));
    uint32_t type;
    assert_false(eng_quantize_type("q8_1", &type));
    assert_false(eng_quantize_type("iq2_xs", &type));
    assert_true(eng_quantize_type("Q6_k", &type));
    assert_int_equal(type, GGUF_Q6_K);
}

static void quantised_sources_must_be_asked_for(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 2 --d 64 --ff 128 --type q8_0");
    struct base_err err = {0};
    struct eng_quantize_opt o = to("q4_0");
    struct seen seen;
    refused(src, &o, BASE_EINVAL, "weight", "quantised already");
    o.requantize = true;
    assert_int_equal(quantize(src, in_dir("again.gguf"), &o, 2, &seen, &err), 0);
    struct gguf_file *f = open_good(in_dir("again.gguf"));
    assert_int_equal(type_in(f, "blk.1.attn_q.weight"), GGUF_Q4_0);
    /* Tied: Q6_K, so Q8_0 by its width, which it is. */
    assert_int_equal(type_in(f, "token_embd.weight"), GGUF_Q8_0);
    gguf_close(f);
    /* What is small already stays, whatever larger type the mix has for it. */
    o = to("q8_0");
    assert_int_equal(quantize(in_dir("again.gguf"), in_dir("up.gguf"), &o, 1, &seen, &err), 0);
    f = open_good(in_dir("up.gguf"));
    assert_int_equal(type_in(f, "blk.1.attn_q.weight"), GGUF_Q4_0);
    gguf_close(f);
    count_files(true);
}

/* A file with one matrix of those numbers, and a key of our choice. */
static const char *with_values(const char *name, const float *v, uint64_t cols, uint64_t rows,
                               const char *key, uint32_t value)
{
    const char *path = in_dir(name);
    const uint64_t dim[2] = {cols, rows};
    struct base_buf b;
    base_buf_init(&b, 1 << 20);
    put_head(&b, 1, 1);
    put_kv_u32(&b, key, value);
    put_tensor(&b, "blk.0.attn_q.weight", 2, dim, GGUF_F32, 0);
    put_pad(&b, 32);
    base_buf_add(&b, v, cols * rows * sizeof *v);
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(b.data, 1, b.len, f), b.len);
    fclose(f);
    base_buf_fini(&b);
    return path;
}

static void bad_weights_are_named(void **state)
{
    (void)state;
    struct base_err err = {0};
    float v[4 * 64] = {0};
    struct eng_quantize_opt o = to("q4_0");
    for (int i = 0; i < 4 * 64; i++)
        v[i] = (float)(i % 7) - 3.0f;
    const char *good = with_values("good.gguf", v, 64, 4, "general.alignment", 64);
    assert_int_equal(quantize(good, in_dir("o.gguf"), &o, 2, NULL, &err), 0);
    count_files(true);

    v[2 * 64 + 5] = NAN;
    const char *nan = with_values("nan.gguf", v, 64, 4, "x", 0);
    assert_int_equal(quantize(nan, in_dir("o.gguf"), &o, 2, NULL, &err), BASE_EFORMAT);
    assert_string_equal(err.place, "blk.0.attn_q.weight");
    assert_non_null(strstr(err.msg, "element 133"));
    v[2 * 64 + 5] = 1e30f; /* a number, but no f16 scale reaches it */
    const char *large = with_values("large.gguf", v, 64, 4, "x", 0);
    assert_int_equal(quantize(large, in_dir("o.gguf"), &o, 2, NULL, &err), BASE_EFORMAT);
    assert_non_null(strstr(err.msg, "too large"));
    v[2 * 64 + 5] = 0;
    const char *part = with_values("part.gguf", v, 64, 4, "split.count", 3);
    assert_int_equal(quantize(part, in_dir("o.gguf"), &o, 2, NULL, &err), BASE_EUNSUPPORTED);
    assert_non_null(strstr(err.msg, "3 parts"));
    assert_int_equal(count_files(true), 3); /* the three sources */
}

static void threads_change_nothing(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 3 --d 256 --ff 512");
    struct base_err err = {0};
    struct eng_quantize_opt o = to("q4_k_m");
    struct seen one = {.n = 0}, three = {.n = 0};
    assert_int_equal(quantize(src, in_dir("1.gguf"), &o, 1, &one, &err), 0);
    assert_int_equal(quantize(src, in_dir("3.gguf"), &o, 3, &three, &err), 0);
    size_t a, b;
    char *p = read_all(in_dir("1.gguf"), &a), *q = read_all(in_dir("3.gguf"), &b);
    assert_int_equal(a, b);
    assert_memory_equal(p, q, a);
    assert_true(one.n > 20 && one.n == three.n);
    int lossy = 0;
    for (int i = 0; i < one.n; i++) {
        assert_true(one.rms[i] == three.rms[i]);
        lossy += one.rms[i] > 0.005 && one.rms[i] < 0.12;
    }
    assert_int_equal(lossy, 3 * 7 + 1); /* every matrix, within its type's loss */
    free(p);
    free(q);
    count_files(true);
}

/* What is written is what is read: the file's values are those that the errors were taken from. */
static void the_errors_are_the_files(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 2 --d 256 --ff 512"), *dst = in_dir("e.gguf");
    struct base_err err = {0};
    struct eng_quantize_opt o = to("q3_k_m");
    struct seen seen = {.n = 0};
    assert_int_equal(quantize(src, dst, &o, 2, &seen, &err), 0);
    struct gguf_file *a = open_good(src), *b = open_good(dst);
    for (int i = 0; i < gguf_n_tensor(a); i++) {
        const struct gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        const int64_t n = x->dim[0] * x->dim[1];
        float *u = malloc((size_t)n * sizeof *u), *v = malloc((size_t)n * sizeof *v);
        double e = 0, ref = 0;
        quant_dequant_row(x->type, x->data, u, n);
        quant_dequant_row(y->type, y->data, v, n);
        for (int64_t k = 0; k < n; k++) {
            e += ((double)u[k] - (double)v[k]) * ((double)u[k] - (double)v[k]);
            ref += (double)u[k] * (double)u[k];
        }
        assert_true(fabs(sqrt(e / ref) - seen.rms[i]) < 1e-9);
        free(u);
        free(v);
    }
    gguf_close(a);
    gguf_close(b);
    count_files(true);
}

/* Errors move to where inputs are small: the output's error falls, the weights' own rises. */
static void calibration_is_used_and_checked(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 2 --d 64 --ff 128"), *sums = in_dir("sums.gguf");
    const char *other = tiny_make("--layers 2 --d 96 --ff 128");
    struct base_err err = {0};
    struct seen without, with;
    assert_int_equal(calibrate(src, sums, &err), 0);
    struct gguf_file *c = open_good(sums);
    struct eng_quantize_opt o = to("q4_0");
    assert_int_equal(quantize(src, in_dir("a.gguf"), &o, 1, &without, &err), 0);
    o.calib = c;
    assert_int_equal(quantize(src, in_dir("b.gguf"), &o, 1, &with, &err), 0);
    int worse = 0, n = 0;
    for (int i = 0; i < with.n; i++) {
        n += with.rms[i] > 0.0;
        worse += with.rms[i] > without.rms[i];
    }
    assert_true(n == 15 && worse > n / 2);

    assert_int_equal(quantize(other, in_dir("x.gguf"), &o, 1, NULL, &err), BASE_EFORMAT);
    assert_non_null(strstr(err.msg, "expected 96 x 1"));
    gguf_close(c);
    float v[64] = {1};
    c = open_good(with_values("no-sums.gguf", v, 64, 1, "x", 1));
    o.calib = c;
    assert_int_equal(quantize(src, in_dir("x.gguf"), &o, 1, NULL, &err), BASE_EMISMATCH);
    gguf_close(c);
    count_files(true);
}

/* ---- faults ---- */

static int full_disk(const char *src)
{
    struct base_err err = {0};
    struct eng_quantize_opt o = to("q8_0");
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit lim = {20000, 20000};
    setrlimit(RLIMIT_FSIZE, &lim);
    const int rc = quantize(src, in_dir("full.gguf"), &o, 1, NULL, &err);
    return rc == BASE_EIO && strstr(err.place, "full.gguf") != NULL ? 0 : 1;
}

static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    const char *src = tiny_make("--layers 2 --d 64 --ff 128");
    const pid_t pid = fork();
    if (pid == 0)
        _exit(full_disk(src));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(count_files(false), 0);
}

struct names {
    const char *src, *dst;
    struct eng_quantize_opt opt;
};

static int quantize_once(void *arg, struct base_err *err)
{
    const struct names *a = arg;
    return quantize(a->src, a->dst, &a->opt, 1, NULL, err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct base_err err = {0};
    char dst[300], sums[300];
    snprintf(dst, sizeof dst, "%s", in_dir("nomem.gguf"));
    snprintf(sums, sizeof sums, "%s", in_dir("sums.gguf"));
    struct names a = {tiny_make("--layers 1 --d 64 --ff 128"), dst, to("q4_0")};
    assert_int_equal(calibrate(a.src, sums, &err), 0);
    struct gguf_file *c = open_good(sums);
    a.opt.calib = c;
    fail_each(quantize_once, &a, 1);
    gguf_close(c);
    count_files(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_vectors_are_copied),
        cmocka_unit_test(each_matrix_gets_its_type),
        cmocka_unit_test(slips_are_refused),
        cmocka_unit_test(quantised_sources_must_be_asked_for),
        cmocka_unit_test(bad_weights_are_named),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(the_errors_are_the_files),
        cmocka_unit_test(calibration_is_used_and_checked),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return run_group(tests, sizeof tests / sizeof tests[0]);
}
