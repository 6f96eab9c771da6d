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

/* SmolLM2-135M's shape: 9 heads on 3 of keys and values, all of n_row rows over `ctx` positions. */
static void bench_attend(const struct kern_ops *k, enum kern_kv_type type, int n_row, int ctx)
{
    enum { DIM = 64, GROUP = 3, N_KV = 3, MAX_Q = 128 * GROUP };
    static const char *const name[] = {"f32", "f16", "q8_0"};
    const size_t bytes = kern_kv_block_bytes(DIM, type), part_floats = kern_part_floats(DIM);
    const int n_block = ctx / KERN_KV_BLOCK, in_tile = KERN_TILE / GROUP * GROUP;
    uint8_t *kv = tap_alloc(bytes * (size_t)(n_block * N_KV));
    float *q = tap_alloc(MAX_Q * DIM * 4), *part = tap_alloc(2 * KERN_TILE * part_floats * 4);
    struct kern_query tile[KERN_TILE];
    float out[DIM];
    rng_floats(q, MAX_Q * DIM);
    for (int t = 0; t < ctx * N_KV; t++)
        k->kv_store(kv + (size_t)(t / KERN_KV_BLOCK) * bytes, t % KERN_KV_BLOCK, q + t % 300,
                    q + t % 200, DIM, type);
    int64_t start = base_clock_mono_us(), before = start, now;
    int64_t us = INT64_MAX; /* the shortest: others may be at work here */
    do {
        for (int i = 0; i < n_row * GROUP * N_KV; i += in_tile) {
            const int at = i % (n_row * GROUP);
            const int n_q = n_row * GROUP - at < in_tile ? n_row * GROUP - at : in_tile;
            const uint8_t *head = kv + (size_t)(i / (n_row * GROUP)) * bytes;
            for (int j = 0; j < n_q; j++)
                tile[j] = (struct kern_query){q + (at + j) * DIM, 0, ctx};
            for (int c = 0; c * KERN_KV_CHUNK < ctx; c++) {
                float *to = part + (c > 0) * KERN_TILE * part_floats;
                k->attend(to, tile, n_q, head, bytes * N_KV, c, DIM, 0.125f, type);
                for (int j = 0; j < n_q && c > 0; j++)
                    k->attend_join(part + (size_t)j * part_floats, to + (size_t)j * part_floats,
                                   DIM);
            }
            for (int j = 0; j < n_q; j++)
                kern_part_out(out, part + (size_t)j * part_floats, DIM);
            if (n_q < in_tile)
                i -= in_tile - n_q;
        }
        now = base_clock_mono_us();
        us = now - before < us ? now - before : us;
        before = now;
    } while (now - start < MIN_US);
    printf(
        "# %-8s attend %-4s %3d rows, 9 heads of 64 over %4d positions: %6lld us %6.1f GFLOP/s\n",
        k->name, name[type], n_row, ctx, (long long)us, 4e-3 * n_row * 9 * DIM * ctx / (double)us);
    free(kv);
    free(q);
    free(part);
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
        for (int type = KERN_KV_F32; type <= KERN_KV_Q8_0; type++) {
            bench_attend(list[i], (enum kern_kv_type)type, 1, 512);
            bench_attend(list[i], (enum kern_kv_type)type, 1, 4096);
            bench_attend(list[i], (enum kern_kv_type)type, 128, 512);
        }
    }
    free(x);
    free(y);
    free(scratch);
    return 0;
}
