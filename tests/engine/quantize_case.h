/* What test_quantize.c and test_calib.c share: a folder, one run of each kind. */
#ifndef TESTS_ENGINE_QUANTIZE_CASE_H
#define TESTS_ENGINE_QUANTIZE_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "engine/calib.h"
#include "engine/quant.h"
#include "engine/quantize.h"
#include "fail_alloc.h"
#include "tiny_model.h"

/* ---- one run ---- */

static char out_dir[] = "/tmp/waypost-quantize.XXXXXX";

static inline const char *in_dir(const char *name)
{
    static char path[4][300];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", out_dir, name);
    return path[k];
}

/* Entries of the folder; removes them if asked. */
static inline int count_files(bool clean)
{
    DIR *d = opendir(out_dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        n++;
        if (clean)
            unlink(in_dir(e->d_name));
    }
    closedir(d);
    return n;
}

/* From src to a file, with one to n threads; the tensors' types and errors into *seen (src's
 * order). */
struct seen {
    uint32_t type[64];
    double rms[64];
    int n;
};

static inline int quantize(const char *src, const char *dst, const struct eng_quantize_opt *opt,
                           int n_thread, struct seen *seen, struct base_err *err)
{
    struct gguf_file *f = NULL;
    struct eng_quantize *q = NULL;
    struct eng_pool *pool = NULL;
    struct base_outfile out = BASE_OUTFILE_NONE;
    int rc = gguf_open(&f, src, err);
    if (rc == 0)
        rc = eng_quantize_plan(&q, f, opt, err);
    if (rc == 0)
        rc = base_outfile_open(&out, dst, false, err);
    if (rc == 0)
        rc = eng_pool_new(&pool, n_thread, err);
    if (rc == 0)
        rc = eng_quantize_run(q, pool, &out, NULL, NULL, err);
    if (rc == 0)
        rc = base_outfile_commit(&out, err);
    for (int i = 0; rc == 0 && seen != NULL && i < eng_quantize_n_tensor(q); i++) {
        seen->type[i] = eng_quantize_tensor_at(q, i)->type;
        seen->rms[i] = eng_quantize_tensor_at(q, i)->rms;
        seen->n = i + 1;
    }
    if (rc == 0) {
        struct stat st;
        assert_int_equal(stat(dst, &st), 0);
        assert_int_equal(st.st_size, eng_quantize_file_bytes(q));
    }
    base_outfile_abort(&out);
    eng_pool_free(pool);
    eng_quantize_free(q);
    gguf_close(f);
    return rc;
}

static inline struct eng_quantize_opt to(const char *mix)
{
    const struct eng_quantize_opt o = {.mix = eng_mix_find(mix)};
    assert_non_null(o.mix);
    return o;
}

static struct gguf_file *open_good(const char *path)
{
    struct gguf_file *f = NULL;
    struct base_err err = {0};
    if (gguf_open(&f, path, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    return f;
}

static inline uint32_t type_in(const struct gguf_file *f, const char *name)
{
    const struct gguf_tensor *t = gguf_tensor_find(f, name);
    assert_non_null(t);
    return t->type;
}

/* ---- calibration ---- */

/* Runs some tokens of src with a watcher and writes the sums. */
static inline int calibrate(const char *src, const char *dst, struct base_err *err)
{
    struct eng_model *m = NULL;
    struct eng_exec *e = NULL;
    struct eng_session *s = NULL;
    struct eng_calib *c = NULL;
    struct base_outfile out = BASE_OUTFILE_NONE;
    static float logits[8 * 4096];
    const int32_t token[8] = {1, 2, 3, 4, 50, 60, 70, 80};
    const struct eng_model_opt o = {.path = src, .layer_end = -1, .exact = true};
    int rc = eng_model_open(&m, &o, err);
    if (rc == 0)
        rc = eng_exec_new(&e, m, 2, 8, err);
    if (rc == 0)
        rc = eng_session_new(&s, m, 16, KERN_KV_F32, err);
    if (rc == 0)
        rc = eng_calib_new(&c, eng_model_file(m), err);
    if (rc == 0) {
        const struct eng_seg g = {.s = s,
                                  .layer_end = eng_model_config(m)->n_layer,
                                  .n_row = 8,
                                  .token = token,
                                  .logits = logits,
                                  .logits_all = true};
        eng_exec_watch(e, eng_calib_tap, c);
        rc = eng_exec_run(e, &g, 1, err);
    }
    if (rc == 0)
        rc = base_outfile_open(&out, dst, false, err);
    if (rc == 0)
        rc = eng_calib_write(c, "text.txt", 1, 8, &out, err);
    if (rc == 0)
        rc = base_outfile_commit(&out, err);
    base_outfile_abort(&out);
    eng_calib_free(c);
    eng_session_free(s);
    eng_exec_free(e);
    eng_model_close(m);
    return rc;
}

static inline char *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *p = malloc(*n);
    assert_int_equal(fread(p, 1, *n, f), *n);
    fclose(f);
    return p;
}

/* Fails the first, second, … allocation of run(arg) until it succeeds; after each failure `files`
 * files are in the folder. */
static inline void fail_each(int (*run)(void *arg, struct base_err *err), void *arg, int files)
{
    struct base_err err = {0};
    int n = 0, rc = -1;
    for (; rc != 0 && n < 5000; n++) {
        atomic_store(&alloc_left, n);
        rc = run(arg, &err);
        const bool failed = alloc_failed();
        if (failed && rc == 0)
            fail_msg("allocation %d failed and nobody noticed", n);
        if (rc != 0 && rc != BASE_ENOMEM)
            fail_msg("allocation %d: error %d, %s: %s", n, rc, err.place, err.msg);
        if (rc != 0)
            assert_int_equal(count_files(false), files);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 10);
}

static inline int run_group(const struct CMUnitTest *tests, size_t n)
{
    if (mkdtemp(out_dir) == NULL)
        return 1;
    const int rc = _cmocka_run_group_tests(NULL, tests, n, NULL, NULL);
    count_files(true);
    rmdir(out_dir);
    tiny_clean();
    return rc;
}

#endif
