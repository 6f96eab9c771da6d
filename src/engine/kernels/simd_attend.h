/* Attention over blocks of K/V (kv_block.h), over simd_exp.h. A tile is up to V_Q queries of one
 * key/value head: what is loaded and widened serves them all.
 *
 * A query's operations are the same whatever tile it is in, and the same for every vector width: a
 * score is summed over groups of 32 elements in ascending order, the groups then added up; the
 * weights' sum has 32 lanes, position t in lane t % 32; each output is one chain over the
 * positions that the query sees, ascending. Queries share only instructions. */
#ifndef ENG_SIMD_ATTEND_H
#define ENG_SIMD_ATTEND_H

#include "engine/kernels/kv_block.h"
#include "engine/kernels/simd_exp.h"

/* Vectors a query in a tile of nq: a power of two, as many sums as there are registers for. */
#define TILE_VECS(nq) (V_SUMS / (nq) >= 8 ? 8 : V_SUMS / (nq) >= 4 ? 4 : 2)

struct tile {
    const float *q[V_Q];
    int lo[V_Q], hi[V_Q]; /* positions seen, from the chunk's start */
    int head_dim;
    float scale;
    struct kv_layout at;
    const uint8_t *blocks; /* of the chunk */
    size_t stride, part_floats;
    float *part;                                              /* of the first query */
    float p[V_Q][KERN_KV_CHUNK] __attribute__((aligned(64))); /* scores, then weights */
};

SPECIALISE vf kv_load(enum kern_kv_type type, const uint8_t *p)
{
    if (type == KERN_KV_F32)
        return v_load((const float *)(const void *)p);
    return type == KERN_KV_F16 ? v_load_f16(p) : v_load_i8(p);
}

/* From a line of a block to the j-th vector after it: one block has V_N in a line. */
SPECIALISE size_t key_at(enum kern_kv_type type, const struct tile *a, int j)
{
    return (size_t)(j / V_N) * a->stride + (size_t)(j % V_N) * V_W * kv_element(type);
}

/* Scores of nv vectors of positions, from vector u of the chunk on. */
SPECIALISE void score_vecs(enum kern_kv_type type, int nq, int nv, struct tile *a, int u)
{
    const size_t el = kv_element(type), line = KERN_KV_BLOCK * el;
    const uint8_t *block = a->blocks + (size_t)(u / V_N) * a->stride;
    const size_t lane = (size_t)(u % V_N) * V_W;
    for (int d0 = 0; d0 < a->head_dim; d0 += KERN_LANES) {
        vf sum[V_Q][8];
        const int d1 = d0 + KERN_LANES < a->head_dim ? d0 + KERN_LANES : a->head_dim;
        const uint8_t *k = block + (size_t)d0 * line + lane * el;
        EACH (i, nq)
            EACH (j, nv)
                sum[i][j] = v_set1(0.0f);
        for (int d = d0; d < d1; d++, k += line) {
            vf q[V_Q], kv[8];
            /* The blocks after these: no prefetcher follows a stride across pages. */
            EACH (j, (nv + V_N - 1) / V_N)
                __builtin_prefetch(k + (size_t)((nv + V_N - 1) / V_N + j) * a->stride);
            /* The fewer ones stay in registers, the others pass by. */
            if (nq <= nv) {
                EACH (i, nq)
                    q[i] = v_set1(a->q[i][d]);
                EACH (j, nv) {
                    kv[j] = kv_load(type, k + key_at(type, a, j));
                    EACH (i, nq)
                        sum[i][j] = v_fma(q[i], kv[j], sum[i][j]);
                }
            } else {
                EACH (j, nv)
                    kv[j] = kv_load(type, k + key_at(type, a, j));
                EACH (i, nq) {
                    q[i] = v_set1(a->q[i][d]);
                    EACH (j, nv)
                        sum[i][j] = v_fma(q[i], kv[j], sum[i][j]);
                }
            }
        }
        EACH (i, nq)
            EACH (j, nv) {
                float *p = a->p[i] + u * V_W + j * V_W;
                vf s = d0 == 0 ? v_set1(0.0f) : v_load(p);
                if (type == KERN_KV_Q8_0)
                    s = v_fma(sum[i][j],
                              v_load_f16(block + a->at.k_d + (size_t)(j / V_N) * a->stride +
                                         2 * ((size_t)d0 + lane + (size_t)(j % V_N) * V_W)),
                              s);
                else
                    s = v_add(s, sum[i][j]);
                v_store(p, s);
            }
    }
}

/* Turns the scores of query i's positions into weights; their peak and sum. */
static void tile_weights(struct tile *a, int i)
{
    float *p = a->p[i], *end = a->part + (size_t)i * a->part_floats + kern_pad(a->head_dim);
    const int lo = a->lo[i], hi = a->hi[i], t0 = lo / KERN_LANES * KERN_LANES;
    float peak = KV_HIDDEN, lane[V_W];
    vf top = v_set1(KV_HIDDEN), scale = v_set1(a->scale), sum[V_N];
    int t1 = hi;
    for (int t = t0; t < lo; t++)
        p[t] = KV_HIDDEN;
    for (; t1 % KERN_LANES != 0; t1++)
        p[t1] = KV_HIDDEN;
    for (int t = t0; t < t1; t += V_W)
        top = v_max(top, v_mul(v_load(p + t), scale));
    v_store(lane, top);
    for (int j = 0; j < V_W; j++)
        peak = lane[j] > peak ? lane[j] : peak;
    EACH (j, V_N)
        sum[j] = v_set1(0.0f);
    for (int t = t0; t < t1; t += KERN_LANES)
        EACH (j, V_N) {
            vf e = v_exp_weight(v_fma(v_load(p + t + j * V_W), scale, v_set1(-peak)));
            sum[j] = v_add(sum[j], e);
            v_store(p + t + j * V_W, e);
        }
    end[KV_PEAK] = peak;
    end[KV_SUM] = sum_lanes(sum);
}

/* out += p[t] V[t] over [t0, t1) of the block at position `start`, nv vectors of elements from
 * vector u on, for nq queries from i0 on. */
SPECIALISE void value_vecs(enum kern_kv_type type, int nq, int nv, struct tile *a, int i0,
                           const uint8_t *block, int start, int t0, int t1, int u)
{
    const size_t el = kv_element(type), line = kern_pad(a->head_dim) * el;
    const uint8_t *v = block + a->at.v + (size_t)t0 * line + (size_t)u * V_W * el;
    float *out = a->part + (size_t)i0 * a->part_floats + u * V_W;
    const float *p = a->p[i0] + start;
    int p_next = KERN_KV_CHUNK, p_group = 0; /* to the next query's, the next group's weights */
    float scaled[8 / V_N + 1][V_Q][KERN_KV_BLOCK];
    vf sum[V_Q][8];
    if (type == KERN_KV_Q8_0) {
        EACH (g, (nv + V_N - 1) / V_N)
            EACH (j, V_N) {
                vf d = v_load_f16(block + a->at.v_d +
                                  2 * ((size_t)(u / V_N + g) * KERN_KV_BLOCK + (size_t)(j * V_W)));
                EACH (i, nq)
                    v_store(scaled[g][i] + j * V_W, v_mul(v_load(p + i * p_next + j * V_W), d));
            }
        p = scaled[0][0];
        p_next = KERN_KV_BLOCK;
        p_group = V_Q * KERN_KV_BLOCK;
    }
    EACH (i, nq)
        EACH (j, nv)
            sum[i][j] = v_load(out + (size_t)i * a->part_floats + j * V_W);
    for (int t = t0; t < t1; t++, v += line) {
        vf vv[8];
        EACH (j, (nv * V_W * (int)el + 63) / 64)
            __builtin_prefetch(v + a->stride + 64 * j);
        if (nq <= nv) {
            EACH (j, nv) {
                vv[j] = kv_load(type, v + (size_t)(j * V_W) * el);
                EACH (i, nq)
                    sum[i][j] =
                        v_fma(v_set1(p[j / V_N * p_group + i * p_next + t]), vv[j], sum[i][j]);
            }
        } else {
            EACH (j, nv)
                vv[j] = kv_load(type, v + (size_t)(j * V_W) * el);
            EACH (i, nq)
                EACH (j, nv)
                    sum[i][j] =
                        v_fma(v_set1(p[j / V_N * p_group + i * p_next + t]), vv[j], sum[i][j]);
        }
    }
    EACH (i, nq)
        EACH (j, nv)
            v_store(out + (size_t)i * a->part_floats + j * V_W, sum[i][j]);
}

SPECIALISE void value_range(enum kern_kv_type type, int nq, struct tile *a, int i0,
                            const uint8_t *block, int start, int t0, int t1)
{
    const int end = (int)kern_pad(a->head_dim) / V_W;
    int u = 0;
    if (t0 >= t1)
        return;
    for (; u + TILE_VECS(nq) <= end; u += TILE_VECS(nq))
        value_vecs(type, nq, TILE_VECS(nq), a, i0, block, start, t0, t1, u);
    for (; TILE_VECS(nq) > V_N && u < end; u += V_N)
        value_vecs(type, nq, V_N, a, i0, block, start, t0, t1, u);
}

static __attribute__((noinline)) void value_one(enum kern_kv_type type, struct tile *a, int i,
                                                const uint8_t *block, int start, int t0, int t1)
{
    if (type == KERN_KV_F32)
        value_range(KERN_KV_F32, 1, a, i, block, start, t0, t1);
    else if (type == KERN_KV_F16)
        value_range(KERN_KV_F16, 1, a, i, block, start, t0, t1);
    else
        value_range(KERN_KV_Q8_0, 1, a, i, block, start, t0, t1);
}

/* A block that not all queries see alike: first those that see more at its beginning one by one,
 * then what is common, then the rest one by one. */
SPECIALISE void value_block(enum kern_kv_type type, int nq, struct tile *a, int start)
{
    const uint8_t *block = a->blocks + (size_t)(start / KERN_KV_BLOCK) * a->stride;
    int lo[V_Q], hi[V_Q], lo_all = 0, hi_all = KERN_KV_BLOCK;
    EACH (i, nq) {
        lo[i] = a->lo[i] > start ? a->lo[i] - start : 0;
        hi[i] = a->hi[i] - start < KERN_KV_BLOCK ? a->hi[i] - start : KERN_KV_BLOCK;
        lo_all = lo[i] > lo_all ? lo[i] : lo_all;
        hi_all = hi[i] < hi_all ? hi[i] : hi_all;
    }
    if (lo_all > hi_all)
        lo_all = hi_all = KERN_KV_BLOCK; /* nothing is: the whole block is its beginning */
    for (int i = 0; i < nq; i++)
        if (lo[i] < lo_all && lo[i] < hi[i])
            value_one(type, a, i, block, start, lo[i], hi[i] < lo_all ? hi[i] : lo_all);
    value_range(type, nq, a, 0, block, start, lo_all, hi_all);
    for (int i = 0; i < nq; i++)
        if (hi[i] > hi_all)
            value_one(type, a, i, block, start, lo[i] > hi_all ? lo[i] : hi_all, hi[i]);
}

SPECIALISE void tile_run(enum kern_kv_type type, int nq, struct tile *a)
{
    int begin = KERN_KV_CHUNK, end = 0;
    EACH (i, nq) {
        if (a->lo[i] < a->hi[i] && a->lo[i] < begin)
            begin = a->lo[i] / KERN_KV_BLOCK * KERN_KV_BLOCK;
        end = a->hi[i] > end ? a->hi[i] : end;
    }
    end = (end + KERN_KV_BLOCK - 1) / KERN_KV_BLOCK * KERN_KV_BLOCK;
    int u = begin / V_W;
    for (; u + TILE_VECS(nq) <= end / V_W; u += TILE_VECS(nq))
        score_vecs(type, nq, TILE_VECS(nq), a, u);
    for (; TILE_VECS(nq) > V_N && u < end / V_W; u += V_N)
        score_vecs(type, nq, V_N, a, u);
    for (int i = 0; i < nq; i++)
        tile_weights(a, i);
    for (int i = 0; i < nq; i++)
        memset(a->part + (size_t)i * a->part_floats, 0, kern_pad(a->head_dim) * sizeof(float));
    for (int t = begin; t < end; t += KERN_KV_BLOCK)
        value_block(type, nq, a, t);
}

/* One copy for each type and number of queries. */
SPECIALISE void tile_run_n(enum kern_kv_type type, int nq, struct tile *a)
{
    switch (nq) {
    case 1:
        tile_run(type, 1, a);
        return;
    case 2:
        tile_run(type, 2, a);
        return;
    case 3:
        tile_run(type, 3, a);
        return;
    case 4:
        tile_run(type, 4, a);
        return;
    case 5:
        tile_run(type, 5, a);
        return;
    case 6:
        tile_run(type, 6, a);
        return;
    case 7:
        tile_run(type, V_Q < 7 ? 1 : 7, a);
        return;
    default:
        tile_run(type, V_Q < 8 ? 1 : 8, a);
        return;
    }
}

static void simd_attend(float *part, const struct kern_query *q, int n_q, const void *blocks,
                        size_t stride, int chunk, int head_dim, float scale, enum kern_kv_type type)
{
    struct tile a;
    const int n_tile = (n_q + V_Q - 1) / V_Q;
    a.head_dim = head_dim;
    a.scale = scale;
    a.at = kv_layout(head_dim, type);
    a.blocks = (const uint8_t *)blocks + (size_t)chunk * (KERN_KV_CHUNK / KERN_KV_BLOCK) * stride;
    a.stride = stride;
    a.part_floats = kern_part_floats(head_dim);
    a.part = part;
    for (int k = 0, done = 0; k < n_tile; k++) {
        const int nq = (n_q - done + n_tile - k - 1) / (n_tile - k);
        for (int i = 0; i < nq; i++) {
            a.q[i] = q[done + i].q;
            kv_seen(&q[done + i], chunk, &a.lo[i], &a.hi[i]);
        }
        if (type == KERN_KV_F32)
            tile_run_n(KERN_KV_F32, nq, &a);
        else if (type == KERN_KV_F16)
            tile_run_n(KERN_KV_F16, nq, &a);
        else
            tile_run_n(KERN_KV_Q8_0, nq, &a);
        done += nq;
        a.part += (size_t)nq * a.part_floats;
    }
}

static void simd_attend_join(float *run, const float *part, int head_dim)
{
    const int n = (int)kern_pad(head_dim);
    float fade[V_W] = {0};
    if (part[n + KV_SUM] == 0.0f)
        return;
    if (run[n + KV_SUM] == 0.0f) {
        memcpy(run, part, kern_part_floats(head_dim) * sizeof *run);
        return;
    }
    const float r = run[n + KV_PEAK], p = part[n + KV_PEAK], peak = p > r ? p : r;
    fade[0] = r - peak;
    fade[1] = p - peak;
    v_store(fade, v_exp(v_load(fade)));
    vf fade_r = v_set1(fade[0]), fade_p = v_set1(fade[1]);
    for (int i = 0; i < n; i += V_W)
        v_store(run + i, v_fma(v_load(part + i), fade_p, v_mul(v_load(run + i), fade_r)));
    run[n + KV_PEAK] = peak;
    v_store(fade, v_fma(v_set1(part[n + KV_SUM]), fade_p, v_mul(v_set1(run[n + KV_SUM]), fade_r)));
    run[n + KV_SUM] = fade[0];
}

static void encode_f16(const float *x, uint8_t *code)
{
    EACH (j, V_N)
        v_store_f16(code + 2 * j * V_W, v_load(x + j * V_W));
}

static void simd_kv_store(void *block, int at, const float *k, const float *v, int head_dim,
                          enum kern_kv_type type)
{
    KV_STORE(block, at, k, v, head_dim, type, encode_f16);
}

#endif
