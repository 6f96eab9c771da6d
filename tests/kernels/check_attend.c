/* K/V blocks and attention of every table of kern_list: against double precision, against itself in
 * other tiles, and the vector tables against each other. */
#include <math.h>

#include "engine/kernels/kern.h"
#include "engine/quant.h"
#include "tap.h"

#define EPS 0x1p-24 /* half an ulp of 1: the relative error of one rounding */

/* As in check_kernels.c: what the vector tables computed, the same on every CPU. */
#define ATTEND_HASH 0x0f4e82a99c40d001u

enum { MAX_DIM = 512, N_TYPE = 3, BLOCK = KERN_KV_BLOCK };
static const char *const type_name[N_TYPE] = {"f32", "f16", "q8_0"};

static bool same_bits(const float *a, const float *b, size_t n)
{
    return memcmp(a, b, n * sizeof *a) == 0;
}

/* K and V of one head, and what a reader of the blocks must find in them. */
struct kv {
    enum kern_kv_type type;
    int dim, n_pos;
    size_t stride, n_block;
    uint8_t *blocks;
    float *k, *v; /* [n_pos][dim] */
};

/* To what the type makes of x: its own rounding is not the kernels' error. */
static void round_to_type(enum kern_kv_type type, float *x, int n)
{
    uint8_t b[34];
    for (int i = 0; i < n; i += 32) {
        float g[32] = {0};
        const size_t bytes = (size_t)(n - i < 32 ? n - i : 32) * sizeof *x;
        memcpy(g, x + i, bytes);
        if (type == KERN_KV_Q8_0) {
            if (quant_quant_row(GGUF_Q8_0, g, b, 32) != 0)
                abort();
            quant_dequant_row(GGUF_Q8_0, b, g, 32);
        }
        for (int j = 0; j < 32 && type == KERN_KV_F16; j++)
            g[j] = quant_f16_to_f32(quant_f32_to_f16(g[j]));
        memcpy(x + i, g, bytes);
    }
}

static void kv_put(const struct kern_ops *k, struct kv *c, int t)
{
    uint8_t *block = c->blocks + (size_t)(t / BLOCK) * c->stride;
    float *at_k = c->k + t * c->dim, *at_v = c->v + t * c->dim;
    k->kv_store(block, t % BLOCK, at_k, at_v, c->dim, c->type);
    round_to_type(c->type, at_k, c->dim);
    round_to_type(c->type, at_v, c->dim);
}

/* What was never stored is NaN in every type. */
static struct kv kv_make(const struct kern_ops *k, enum kern_kv_type type, int dim, int n_pos)
{
    struct kv c = {type, dim, n_pos, 0, 0, NULL, NULL, NULL};
    c.stride = kern_kv_block_bytes(dim, type) * (size_t)rng_in(1, 2);
    c.n_block = ((size_t)n_pos + BLOCK - 1) / BLOCK;
    c.blocks = tap_alloc(c.stride * c.n_block);
    memset(c.blocks, 0xff, c.stride * c.n_block);
    c.k = tap_alloc((size_t)(n_pos * dim) * sizeof *c.k);
    c.v = tap_alloc((size_t)(n_pos * dim) * sizeof *c.v);
    rng_floats(c.k, (size_t)(n_pos * dim));
    rng_floats(c.v, (size_t)(n_pos * dim));
    for (int t = 0; t < n_pos; t++)
        kv_put(k, &c, t);
    return c;
}

static void kv_free(struct kv *c)
{
    free(c->blocks);
    free(c->k);
    free(c->v);
}

/* Element i of position t, read by the layout that kv_block.h draws. */
static float kv_read(const struct kv *c, int t, int i, bool value)
{
    const size_t el = c->type == KERN_KV_F32 ? 4 : c->type == KERN_KV_F16 ? 2 : 1;
    const size_t dim = (size_t)c->dim, pad = (dim + 31) / 32 * 32, at = (size_t)(t % BLOCK);
    const size_t scales = c->type == KERN_KV_Q8_0 ? pad / 32 * 64 : 0;
    const size_t v = (dim * 32 * el + scales + 63) / 64 * 64, ii = (size_t)i;
    const uint8_t *b = c->blocks + (size_t)(t / BLOCK) * c->stride;
    const uint8_t *code = b + (value ? v + (at * pad + ii) * el : (ii * 32 + at) * el);
    const uint8_t *d = b + (value ? v + 32 * pad * el : dim * 32 * el) + (ii / 32 * 32 + at) * 2;
    float f;
    uint16_t h;
    memcpy(&h, c->type == KERN_KV_Q8_0 ? d : code, sizeof h);
    if (c->type == KERN_KV_Q8_0)
        return quant_f16_to_f32(h) * (float)(int8_t)*code;
    if (c->type == KERN_KV_F16)
        return quant_f16_to_f32(h);
    memcpy(&f, code, sizeof f);
    return f;
}

static bool same_value(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)) || (a == 0 && b == 0);
}

static void check_store(const struct kern_ops *k, enum kern_kv_type type)
{
    bool good = true, alone = true;
    for (int round = 0; round < 60; round++) {
        const int dim = round < 30 ? 2 + 2 * round : 2 * rng_in(1, 256), n_pos = rng_in(1, 70);
        struct kv c = kv_make(k, type, dim, n_pos);
        for (int t = 0; t < n_pos; t++)
            for (int i = 0; i < dim; i++)
                good = good && same_value(kv_read(&c, t, i, false), c.k[t * dim + i]) &&
                       same_value(kv_read(&c, t, i, true), c.v[t * dim + i]);
        for (int t = n_pos; t < (int)c.n_block * BLOCK; t++) /* still as kv_make left it */
            for (int i = 0; i < dim; i++)
                alone = alone && isnan(kv_read(&c, t, i, false) + kv_read(&c, t, i, true));
        for (size_t b = 0; b < c.n_block; b++)
            for (size_t i = kern_kv_block_bytes(dim, type); i < c.stride; i++)
                alone = alone && c.blocks[b * c.stride + i] == 0xff;
        kv_free(&c);
    }
    tap_ok(good, "%s kv_store %s: each element in its place, as the plain conversion", k->name,
           type_name[type]);
    tap_ok(alone, "%s kv_store %s: writes nothing else", k->name, type_name[type]);
}

/* Every kind of f16: subnormals, infinities, NaN. */
static void check_store_f16(const struct kern_ops *k)
{
    bool good = true;
    enum { DIM = 96 };
    struct kv c = kv_make(k, KERN_KV_F16, DIM, BLOCK);
    for (int round = 0; round < 300; round++) {
        for (int i = 0; i < DIM; i++) {
            uint32_t u = (uint32_t)rng_u64();
            u = i % 2 ? u : (u & 0x8fffffffu) + 0x30000000u + (u >> 3 & 0x18000000u);
            memcpy(&c.k[i], &u, 4);
            c.v[DIM - 1 - i] = c.k[i];
        }
        kv_put(k, &c, 0);
        for (int i = 0; i < DIM; i++)
            good = good && same_value(kv_read(&c, 0, i, false), c.k[i]) &&
                   same_value(kv_read(&c, 0, i, true), c.v[i]);
    }
    tap_ok(good, "%s kv_store f16: whatever the bits", k->name);
    kv_free(&c);
}

/* out[n_q][dim] by way of all chunks, as the engine does it: all queries as one tile. */
static void attend(const struct kern_ops *k, const struct kv *c, const struct kern_query *q,
                   int n_q, float scale, float *out)
{
    const size_t next = kern_part_floats(c->dim);
    float *run = tap_alloc(KERN_TILE * next * sizeof *run);
    float *part = tap_alloc((KERN_TILE * next + 16) * sizeof *part);
    for (int chunk = 0; chunk * KERN_KV_CHUNK < c->n_pos; chunk++) {
        float *to = chunk == 0 ? run : part;
        for (size_t i = 0; i < (size_t)n_q * next; i++)
            to[i] = NAN; /* parts need no clearing */
        part[(size_t)n_q * next] = 7.0f;
        k->attend(to, q, n_q, c->blocks, c->stride, chunk, c->dim, scale, c->type);
        if (part[(size_t)n_q * next] != 7.0f)
            tap_ok(false, "%s attend: writes behind its parts", k->name);
        for (int i = 0; i < n_q && chunk > 0; i++)
            k->attend_join(run + (size_t)i * next, part + (size_t)i * next, c->dim);
    }
    for (int i = 0; i < n_q; i++)
        kern_part_out(out + i * c->dim, run + (size_t)i * next, c->dim);
    free(run);
    free(part);
}

/* How far query q's output is from the formula, in units of the bound. */
static double off_by(const struct kv *c, const struct kern_query *q, float scale, const float *out)
{
    const int dim = c->dim, n = q->end - q->first;
    const int n_chunk = (q->end - 1) / KERN_KV_CHUNK - q->first / KERN_KV_CHUNK + 1;
    double *s = tap_alloc((size_t)n * sizeof *s);
    double ref[MAX_DIM] = {0}, mag[MAX_DIM] = {0}, total = 0, peak = -INFINITY, low = INFINITY;
    double drift = 0, worst = 0;
    for (int t = 0; t < n; t++) {
        double m = 0;
        s[t] = 0;
        for (int i = 0; i < dim; i++) {
            const double p = (double)q->q[i] * (double)c->k[(q->first + t) * dim + i];
            s[t] += p;
            m += fabs(p);
        }
        s[t] *= (double)scale;
        drift = fmax(drift, (double)scale * m);
        peak = fmax(peak, s[t]);
        low = fmin(low, s[t]);
    }
    for (int t = 0; t < n; t++) {
        const double p = exp(s[t] - peak);
        total += p;
        for (int i = 0; i < dim; i++) {
            ref[i] += p * (double)c->v[(q->first + t) * dim + i];
            mag[i] += p * fabs((double)c->v[(q->first + t) * dim + i]);
        }
    }
    /* A score: a chain of 32, its product where that isn't fused, a sum of groups, the scale; then
     * its distance to the peak, of a chunk and in joining. What it is off by changes its weight by
     * that factor, in the output and in the total. exp is good to 4 EPS; then the longest chains:
     * of outputs and q8_0's scale, of the lanes and their folds; two fades and a sum a join. */
    drift = (drift * (32 + 1 + dim / 32 + 1 + 1) + (1 + n_chunk) * (peak - low)) * EPS;
    const int chain = (n < KERN_KV_CHUNK ? n : KERN_KV_CHUNK) + 2;
    const double rest = (4 * 2 + chain + (8 + 5) + n_chunk * 2 * (4 + 2) + 1) * EPS;
    for (int i = 0; i < dim; i++)
        worst = fmax(worst,
                     fabs((double)out[i] - ref[i] / total) / (mag[i] / total * (2 * drift + rest)));
    free(s);
    return worst;
}

/* Places where something changes: a block, a chunk, their neighbours. */
static int some_end(void)
{
    static const int at[] = {1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 288, 511, 512, 513, 800};
    return rng_in(0, 1) ? at[rng_in(0, TAP_LEN(at) - 1)] : rng_in(1, 700);
}

/* n queries with contexts of their own, as wild as the interface allows; n_pos: the longest. */
static int some_queries(struct kern_query *q, float *values, int n, int dim)
{
    const int end = some_end(), kind = rng_in(0, 3);
    int n_pos = 1;
    rng_floats(values, (size_t)(n * dim));
    for (int i = 0; i < n * dim; i++)
        values[i] *= 3.0f;
    for (int i = 0; i < n; i++) {
        q[i] = (struct kern_query){values + i * dim, 0, end};
        if (kind == 1) /* rows that follow each other */
            q[i].end = end + i / 2;
        if (kind == 2) /* the same, in a window */
            q[i] = (struct kern_query){values + i * dim, end / 3 + i / 3, end + i / 3};
        if (kind == 3) {
            q[i].end = some_end();
            q[i].first = rng_in(0, q[i].end - 1);
        }
        n_pos = q[i].end > n_pos ? q[i].end : n_pos;
    }
    return n_pos;
}

static void check_value(const struct kern_ops *k, enum kern_kv_type type)
{
    static const int dims[] = {64, 32, 128, 80, 96, 20, 256, 2, 34, 66, 512};
    double worst = 0;
    bool same = true;
    for (int round = 0; round < 110; round++) {
        const int n_q = 1 + round % KERN_TILE;
        const int dim = round % 3 == 2 ? 2 * rng_in(1, 160) : dims[round % TAP_LEN(dims)];
        const float scale = 1.0f / sqrtf((float)dim);
        struct kern_query q[KERN_TILE];
        float *values = tap_alloc((size_t)(KERN_TILE * dim) * sizeof *values);
        float *out = tap_alloc((size_t)(KERN_TILE * dim) * sizeof *out);
        float *alone = tap_alloc((size_t)dim * sizeof *alone);
        struct kv c = kv_make(k, type, dim, some_queries(q, values, n_q, dim));
        attend(k, &c, q, n_q, scale, out);
        for (int i = 0; i < n_q; i++) {
            worst = fmax(worst, off_by(&c, &q[i], scale, out + i * dim));
            attend(k, &c, &q[i], 1, scale, alone);
            same = same && same_bits(alone, out + i * dim, (size_t)dim);
        }
        free(values);
        free(out);
        free(alone);
        kv_free(&c);
    }
    tap_ok(worst <= 1.0, "%s attend %s: error %.2f of its bound", k->name, type_name[type], worst);
    tap_ok(same, "%s attend %s: a query alone gives the bits of any tile", k->name,
           type_name[type]);
}

/* NaN at what a query doesn't see changes no bit of it, though another in its tile sees it. */
static void check_unseen(const struct kern_ops *k, enum kern_kv_type type)
{
    bool good = true, seen = true;
    for (int round = 0; round < 40; round++) {
        enum { N_Q = 6, DIM = 64 };
        struct kern_query q[N_Q];
        float values[N_Q * DIM], want[N_Q * DIM], got[N_Q * DIM];
        struct kv c = kv_make(k, type, DIM, some_queries(q, values, N_Q, DIM));
        const int bad = rng_in(0, c.n_pos - 1);
        attend(k, &c, q, N_Q, 0.125f, want);
        for (int i = 0; i < DIM; i++)
            c.k[bad * DIM + i] = c.v[bad * DIM + i] = i % 2 ? NAN : INFINITY;
        if (type == KERN_KV_Q8_0) { /* its codes are finite, but not the scales */
            const size_t half = kern_kv_block_bytes(DIM, type) / 2;
            uint8_t *b = c.blocks + (size_t)(bad / BLOCK) * c.stride + bad % BLOCK * 2;
            for (size_t at = half - 128; at < 2 * half; at += at == half - 64 ? half - 64 : 64)
                memset(b + at, 0xff, 2);
        } else {
            kv_put(k, &c, bad);
        }
        attend(k, &c, q, N_Q, 0.125f, got);
        for (int i = 0; i < N_Q; i++) {
            if (bad < q[i].first || bad >= q[i].end)
                good = good && same_bits(want + i * DIM, got + i * DIM, DIM);
            else
                seen = seen && isnan(got[i * DIM]);
        }
        kv_free(&c);
    }
    tap_ok(good, "%s attend %s: what isn't seen changes nothing", k->name, type_name[type]);
    tap_ok(seen, "%s attend %s: NaN that is seen is shown", k->name, type_name[type]);
}

/* Scores of thousands, both ways: a weight of 1 and the rest nothing, never NaN. */
static void check_extremes(const struct kern_ops *k)
{
    enum { DIM = 32, N = 600 };
    float values[DIM], out[DIM];
    bool good = true;
    struct kv c = kv_make(k, KERN_KV_F32, DIM, N);
    for (int best = 0; best < N; best += 37) {
        for (int t = 0; t < N; t++) {
            for (int i = 0; i < DIM; i++)
                c.k[t * DIM + i] = t == best ? 100.0f : -100.0f;
            kv_put(k, &c, t);
        }
        for (int i = 0; i < DIM; i++)
            values[i] = 50.0f;
        attend(k, &c, &(struct kern_query){values, 0, N}, 1, 1.0f, out);
        for (int i = 0; i < DIM; i++) /* one weight of about 1, one product, one quotient */
            good = good && fabsf(out[i] - c.v[best * DIM + i]) <= 4e-7f * fabsf(out[i]);
    }
    tap_ok(good, "%s attend: the sharpest peak takes all", k->name);
    kv_free(&c);
}

static uint64_t hash;

static void hash_floats(const float *p, size_t n)
{
    for (size_t i = 0; i < n * sizeof *p; i++)
        hash = (hash ^ ((const uint8_t *)p)[i]) * 0x100000001b3u;
}

static void hash_table(const struct kern_ops *k)
{
    static const int dims[] = {64, 40, 128, 256};
    hash = 0xcbf29ce484222325u;
    rng_state = 44;
    for (int i = 0; i < N_TYPE * TAP_LEN(dims); i++) {
        const int dim = dims[i / N_TYPE];
        struct kern_query q[KERN_TILE];
        float values[KERN_TILE * 256], out[KERN_TILE * 256];
        struct kv c = kv_make(k, (enum kern_kv_type)(i % N_TYPE), dim, 600);
        rng_floats(values, (size_t)(KERN_TILE * dim));
        for (int j = 0; j < KERN_TILE; j++)
            q[j] = (struct kern_query){values + j * dim, 9 * j, 570 + j};
        attend(k, &c, q, KERN_TILE, 0.3f, out);
        hash_floats(out, (size_t)(KERN_TILE * dim));
        kv_free(&c);
    }
}

int main(void)
{
    const struct kern_ops *list[8];
    const int n = kern_list(list, TAP_LEN(list));
    for (int i = 0; i < n; i++) {
        rng_state = 7;
        for (int type = 0; type < N_TYPE; type++) {
            check_store(list[i], (enum kern_kv_type)type);
            check_value(list[i], (enum kern_kv_type)type);
            check_unseen(list[i], (enum kern_kv_type)type);
        }
        check_store_f16(list[i]);
        check_extremes(list[i]);
    }
    for (int i = 1; i < n; i++) {
        hash_table(list[i]);
        tap_ok(hash == ATTEND_HASH, "%s: bit-identical to every other vector table (%016llx)",
               list[i]->name, (unsigned long long)hash);
    }
    return tap_end();
}
