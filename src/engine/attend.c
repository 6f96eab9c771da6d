/* Attention of a step. A tile is some heads of one key/value head for some rows of one segment: at
 * most KERN_TILE queries, which share what the kernel loads. Each tile walks the chunks that it
 * sees in ascending order and joins their softmaxes (Milakov and Gimelshein, Online normalizer
 * calculation for softmax, 2018): no row of scores is longer than a chunk.
 *
 * Where a few tiles have the longest way (decode), chunks are computed by all threads side by side
 * and joined afterwards (Dao et al., Flash-Decoding, 2023). Chunks begin at fixed positions, each
 * is computed from nothing and the order of joining is the same, so that both ways, and any tiling,
 * give the same bits. */
#include "engine/exec.h"

#include <stdlib.h>

enum {
    MAX_SPLIT = 64, /* tiles that are split, and chunks computed at a time: bounds the scratch */
    /* Products of queries with keys that take about 2 us on one core: as long as it may take to
     * wake another one. */
    ALONE = 1 << 16,
};

struct span {
    int first, n; /* rows [first, first + n) of act: one segment, successive positions */
};

struct eng_attend {
    int share;    /* into so many tiles go the heads of a key/value head */
    int span_row; /* rows of a span, at most */
    int n_span;
    struct span *span;   /* [max_row] */
    size_t query_floats; /* a part of one query; a slot has KERN_TILE of them */
    float *slot;         /* [2 * n_thread], or [MAX_SPLIT] joined so far and [MAX_SPLIT] chunks */
};

struct item {
    int tile, chunk;
    float *part;
};

struct job {
    const struct eng_exec *e;
    int layer, window; /* 0: none */
    int n_tile;
    int n_item;
    struct item item[MAX_SPLIT];
};

struct tile {
    struct kern_query q[KERN_TILE];
    float *out[KERN_TILE]; /* [head_dim] in e->att */
    int n_q, chunk, chunk_end;
    const struct eng_session *s;
    const uint8_t *blocks; /* of its key/value head */
    size_t stride;
};

struct eng_attend *eng_attend_new(const struct eng_model *m, int n_thread, int max_row)
{
    const int group = m->c.n_head / m->c.n_kv_head;
    const size_t n_slot = n_thread > MAX_SPLIT ? 2 * (size_t)n_thread : 2 * MAX_SPLIT;
    const size_t query_floats = kern_part_floats(m->c.head_dim);
    const size_t head = (sizeof(struct eng_attend) + 63) / 64 * 64;
    const size_t spans = ((size_t)max_row * sizeof(struct span) + 63) / 64 * 64;
    uint8_t *p =
        aligned_alloc(64, head + spans + n_slot * KERN_TILE * query_floats * sizeof(float));
    if (p == NULL)
        return NULL;
    struct eng_attend *a = (struct eng_attend *)(void *)p;
    *a = (struct eng_attend){.share = (group + KERN_TILE - 1) / KERN_TILE,
                             .span = (struct span *)(void *)(p + head),
                             .query_floats = query_floats,
                             .slot = (float *)(void *)(p + head + spans)};
    a->span_row = KERN_TILE / ((group + a->share - 1) / a->share);
    return a;
}

void eng_attend_store(struct eng_exec *e, int layer, int i)
{
    const struct eng_config *c = &e->m->c;
    const struct eng_row *r = &e->row[e->act[i]];
    const struct eng_session *s = r->seg->s;
    uint8_t *block =
        eng_session_kv(s, layer) + eng_session_kv_bytes(s, r->pos / KERN_KV_BLOCK * KERN_KV_BLOCK);
    for (int h = 0; h < c->n_kv_head; h++, block += s->block_bytes) {
        const size_t at = ((size_t)i * (size_t)c->n_kv_head + (size_t)h) * (size_t)c->head_dim;
        e->m->kern->kv_store(block, r->pos % KERN_KV_BLOCK, e->k + at, e->v + at, c->head_dim,
                             s->kv);
    }
}

static float *slot(const struct eng_exec *e, int i)
{
    return e->attend->slot + (size_t)i * KERN_TILE * e->attend->query_floats;
}

/* The rows of a chunk of prompt see only what stands before them, and themselves; in a windowed
 * layer not even all of that. */
static int first_seen(const struct job *j, int pos)
{
    return j->window > 0 && pos >= j->window ? pos + 1 - j->window : 0;
}

static struct tile tile_open(const struct job *j, int t)
{
    const struct eng_exec *e = j->e;
    const struct eng_config *c = &e->m->c;
    const int share = e->attend->share, group = c->n_head / c->n_kv_head;
    const struct span *span = &e->attend->span[t / (c->n_kv_head * share)];
    const int kv_head = t / share % c->n_kv_head;
    const int h0 = group * (t % share) / share, h1 = group * (t % share + 1) / share;
    const struct eng_row *row = &e->row[e->act[span->first]];
    struct tile tile = {.s = row->seg->s};
    for (int i = span->first; i < span->first + span->n; i++) {
        const int pos = e->row[e->act[i]].pos;
        for (int h = h0; h < h1; h++) {
            const size_t at = ((size_t)i * (size_t)c->n_head + (size_t)(kv_head * group + h)) *
                              (size_t)c->head_dim;
            tile.q[tile.n_q] = (struct kern_query){e->q + at, first_seen(j, pos), pos + 1};
            tile.out[tile.n_q++] = e->att + at;
        }
    }
    tile.chunk = tile.q[0].first / KERN_KV_CHUNK;
    tile.chunk_end = (tile.q[tile.n_q - 1].end - 1) / KERN_KV_CHUNK + 1;
    tile.blocks = eng_session_kv(tile.s, j->layer) + (size_t)kv_head * tile.s->block_bytes;
    tile.stride = tile.s->block_bytes * (size_t)c->n_kv_head;
    return tile;
}

static void tile_attend(const struct job *j, const struct tile *t, int chunk, float *part)
{
    const struct eng_model *m = j->e->m;
    m->kern->attend(part, t->q, t->n_q, t->blocks, t->stride, chunk, m->c.head_dim, m->c.attn_scale,
                    t->s->kv);
}

static void tile_join(const struct job *j, const struct tile *t, float *run, const float *part)
{
    const size_t next = j->e->attend->query_floats;
    for (int i = 0; i < t->n_q; i++)
        j->e->m->kern->attend_join(run + (size_t)i * next, part + (size_t)i * next,
                                   j->e->m->c.head_dim);
}

static void tile_out(const struct job *j, const struct tile *t, const float *run)
{
    for (int i = 0; i < t->n_q; i++)
        kern_part_out(t->out[i], run + (size_t)i * j->e->attend->query_floats, j->e->m->c.head_dim);
}

/* A whole tile, chunk after chunk. */
static void tile_slice(void *arg, int slice, int worker)
{
    const struct job *j = arg;
    const struct tile t = tile_open(j, slice);
    float *run = slot(j->e, 2 * worker), *part = slot(j->e, 2 * worker + 1);
    tile_attend(j, &t, t.chunk, run);
    for (int chunk = t.chunk + 1; chunk < t.chunk_end; chunk++) {
        tile_attend(j, &t, chunk, part);
        tile_join(j, &t, run, part);
    }
    tile_out(j, &t, run);
}

static void item_slice(void *arg, int slice, int worker)
{
    (void)worker;
    const struct job *j = arg;
    const struct item *it = &j->item[slice];
    const struct tile t = tile_open(j, it->tile);
    tile_attend(j, &t, it->chunk, it->part);
}

static void run_items(struct job *j)
{
    eng_pool_run(j->e->pool, item_slice, j, j->n_item);
    for (int i = 0; i < j->n_item; i++) {
        const struct item *it = &j->item[i];
        const struct tile t = tile_open(j, it->tile);
        if (it->chunk > t.chunk)
            tile_join(j, &t, slot(j->e, it->tile), it->part);
        if (it->chunk == t.chunk_end - 1)
            tile_out(j, &t, slot(j->e, it->tile));
    }
    j->n_item = 0;
}

/* At most MAX_SPLIT tiles, their chunks side by side. */
static void split_tiles(struct job *j)
{
    for (int k = 0; k < j->n_tile; k++) {
        const struct tile t = tile_open(j, k);
        for (int chunk = t.chunk; chunk < t.chunk_end; chunk++) {
            float *part = slot(j->e, chunk == t.chunk ? k : MAX_SPLIT + j->n_item);
            j->item[j->n_item++] = (struct item){k, chunk, part};
            if (j->n_item == MAX_SPLIT)
                run_items(j);
        }
    }
    run_items(j);
}

static void find_spans(struct eng_exec *e)
{
    struct eng_attend *a = e->attend;
    const struct eng_seg *last = NULL;
    a->n_span = 0;
    for (int i = 0; i < e->n_act; i++) {
        const struct eng_seg *seg = e->row[e->act[i]].seg;
        if (seg != last || a->span[a->n_span - 1].n == a->span_row)
            a->span[a->n_span++] = (struct span){i, 0};
        a->span[a->n_span - 1].n++;
        last = seg;
    }
}

void eng_attend(struct eng_exec *e, int layer)
{
    const struct eng_config *c = &e->m->c;
    struct job j = {.e = e, .layer = layer, .window = eng_layer_windowed(c, layer) ? c->window : 0};
    int64_t product = 0, walk = 0, longest = 0; /* positions walked by all tiles of a span's rows */
    find_spans(e);
    j.n_tile = e->attend->n_span * c->n_kv_head * e->attend->share;
    for (int i = 0; i < e->attend->n_span; i++) {
        const struct span *s = &e->attend->span[i];
        const int pos = e->row[e->act[s->first + s->n - 1]].pos, n = pos + 1 - first_seen(&j, pos);
        product += (int64_t)s->n * n * c->n_head * c->head_dim;
        walk += (int64_t)n * c->n_kv_head * e->attend->share;
        longest = n > longest ? n : longest;
    }
    if (product < ALONE) {
        for (int t = 0; t < j.n_tile; t++)
            tile_slice(&j, t, 0);
    } else if (longest > KERN_KV_CHUNK && j.n_tile <= MAX_SPLIT &&
               longest * 2 * e->n_thread > walk) { /* more than half of a thread's fair share */
        split_tiles(&j);
    } else {
        eng_pool_run(e->pool, tile_slice, &j, j.n_tile);
    }
}
