/* Quantises whatever opens as a GGUF file, to each mix in turn, with itself as calibration. What
 * was written must open, with as many keys and tensors. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/quantize.h"

enum { MAX_WORK = 1 << 18 }; /* elements to quantise: slow is no finding */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const mix[] = {"f16",  "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_k_s",
                                  "q4_1", "q4_0", "q5_0", "q5_1", "iq4_nl", "q3_k_m", "q2_k"};

static void check_written(const struct gguf_file *f, int fd)
{
    char path[32];
    struct gguf_file *g = NULL;
    struct base_err err;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (gguf_open(&g, path, &err) != 0)
        abort();
    /* It may have come without the two keys that are set. */
    if (gguf_n_tensor(g) != gguf_n_tensor(f) || gguf_n_kv(g) < gguf_n_kv(f) ||
        gguf_n_kv(g) > gguf_n_kv(f) + 2)
        abort();
    gguf_close(g);
}

static void quantize(const struct gguf_file *f, struct eng_pool *pool, const char *name)
{
    struct eng_quantize_opt opt = {.mix = eng_mix_find(name), .requantize = true};
    struct eng_quantize *q = NULL;
    struct base_err err;
    for (int i = 0; i < 2; i++) {
        opt.calib = i == 0 ? f : NULL; /* seldom has sums for its own matrices */
        if (eng_quantize_plan(&q, f, &opt, &err) != 0)
            continue;
        char path[] = "memory";
        struct base_outfile out = {memfd_create("quantized", MFD_CLOEXEC), -1, path, NULL, false};
        if (out.fd < 0)
            abort();
        if (eng_quantize_run(q, pool, &out, NULL, NULL, &err) == 0)
            check_written(f, out.fd);
        close(out.fd);
        eng_quantize_free(q);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf_file *f;
    struct eng_pool *pool;
    struct base_err err;
    int64_t n = 0;
    if (size == 0 || gguf_open_mem(&f, data + 1, size - 1, &err) != 0)
        return 0;
    for (int i = 0; i < gguf_n_tensor(f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        n += (int64_t)(t->n_bytes / t->row_bytes) * t->dim[0];
    }
    if (n < MAX_WORK && eng_pool_new(&pool, 1, &err) == 0) {
        quantize(f, pool, mix[data[0] % (sizeof mix / sizeof mix[0])]);
        eng_pool_free(pool);
    }
    gguf_close(f);
    return 0;
}
