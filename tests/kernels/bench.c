#include "bench.h"

#include "base/clock.h"
#include "engine/kernels/kern.h"
#include "tap.h"
#include "types.h"

enum { N_IN = 1536, N_ROW = 1536, N_X = 48, MIN_US = 60000 };

/* Seconds of one call: the mean of as many as fit into MIN_US. */
static double time_matmul(const struct kern_ops *k, const struct type *t, const void *w,
                          const float *x, int n_x, float *y, void *scratch)
{
    int64_t start = base_clock_mono_us(), now;
    int n = 0;
    do {
        k->matmul(t->type, w, type_bytes(t, N_IN), N_IN, 0, N_ROW, x, N_IN, n_x, y, N_ROW, scratch);
        n++;
        now = base_clock_mono_us();
    } while (now - start < MIN_US);
    return (double)(now - start) / 1e6 / n;
}

static void bench_attend(const struct kern_ops *k)
{
    enum { CTX = 1024, DIM = 64, HEADS = 9 };
    uint16_t *kv = tap_alloc(CTX * DIM * 2);
    float q[DIM], out[DIM];
    memset(kv, 0x31, CTX * DIM * 2);
    rng_floats(q, DIM);
    int64_t start = base_clock_mono_us(), now;
    int n = 0;
    do {
        for (int h = 0; h < HEADS; h++)
            k->attend(out, q, kv, kv, DIM * 2, CTX, DIM, 0.125f, KERN_KV_F16);
        n++;
        now = base_clock_mono_us();
    } while (now - start < MIN_US);
    printf("# %-8s attend f16, %d heads of %d over %d positions: %.1f us\n", k->name, HEADS, DIM,
           CTX, (double)(now - start) / n);
    free(kv);
}

int bench(const struct kern_ops *const *list, int n)
{
    float *x = tap_alloc(N_IN * N_X * 4), *y = tap_alloc(N_ROW * N_X * 4);
    void *scratch = tap_alloc(kern_scratch_bytes(N_IN));
    rng_floats(x, N_IN * N_X);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < TAP_LEN(types); j++) {
            const struct type *t = &types[j];
            size_t size = type_bytes(t, N_IN) * N_ROW;
            uint8_t *w = tap_alloc(size);
            memset(w, 0x31, size); /* small finite scales in every type */
            double one = time_matmul(list[i], t, w, x, 1, y, scratch);
            double many = time_matmul(list[i], t, w, x, N_X, y, scratch);
            printf("# %-8s %-5s 1 row: %6.2f GB/s %6.2f GFLOP/s   %d rows: %7.2f GFLOP/s\n",
                   list[i]->name, t->name, (double)size / one / 1e9, 2e-9 * N_IN * N_ROW / one, N_X,
                   2e-9 * N_IN * N_ROW * N_X / many);
            free(w);
        }
        bench_attend(list[i]);
    }
    free(x);
    free(y);
    free(scratch);
    return 0;
}
