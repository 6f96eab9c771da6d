/* Matrices -> panels, when a model is opened: with all cores, one layer after the other, so that
 * the file's pages and their packed copies are never both resident as a whole. */
#include "engine/inner.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "engine/pack_cache.h"

enum { SLICE_PANELS = 8 };

/* The matrices of a layer, or the head. */
struct set {
    const struct gguf_file *file;
    struct eng_matrix *of[ENG_MAX_LAYER_TENSORS];
    int n;
};

static struct set layer_set(struct eng_model *m, int l)
{
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(&m->c, spec);
    struct set s = {.file = m->file};
    for (int i = 0; i < n; i++) {
        if (spec[i].n_out > 0)
            s.of[s.n++] = (struct eng_matrix *)((char *)&m->w.layer[l] + spec[i].offset);
    }
    return s;
}

static struct set set_at(struct eng_model *m, int l)
{
    return l < m->layer_end ? layer_set(m, l) : (struct set){m->file, {&m->w.head}, 1};
}

/* One past the last set: the layers held, then the head. */
static int set_end(const struct eng_model *m)
{
    return m->layer_end + (m->w.has_head ? 1 : 0);
}

static size_t plan(struct eng_model *m)
{
    size_t bytes = 0;
    for (int l = m->layer_begin; l < set_end(m); l++) {
        const struct set s = set_at(m, l);
        for (int i = 0; i < s.n; i++) {
            struct eng_matrix *x = s.of[i];
            pack_plan(&x->p, x->t.type, (int)x->t.dim[0], (int)x->t.dim[1]);
            if (x->p.form == NULL)
                continue;
            x->p.data = (const uint8_t *)bytes; /* an offset, until there is memory */
            bytes += x->p.panel_bytes * (size_t)x->p.n_panel;
        }
    }
    return bytes;
}

static void pack_slice(void *arg, int slice, int worker)
{
    const struct set *s = arg;
    (void)worker;
    for (int i = 0; i < s->n; i++) {
        const struct eng_matrix *x = s->of[i];
        if (x->p.form == NULL)
            continue;
        const int n = (x->p.n_panel + SLICE_PANELS - 1) / SLICE_PANELS;
        if (slice >= n) {
            slice -= n;
            continue;
        }
        const int p0 = slice * SLICE_PANELS;
        const int p1 = p0 + SLICE_PANELS < x->p.n_panel ? p0 + SLICE_PANELS : x->p.n_panel;
        pack_panels(&x->p, x->t.data, x->t.row_bytes, p0, p1, (uint8_t *)(uintptr_t)x->p.data);
        /* At once: a head's file pages may be more than all else. */
        const size_t at = (size_t)p0 * PACK_OUT * x->t.row_bytes;
        const size_t end = (size_t)p1 * PACK_OUT * x->t.row_bytes;
        gguf_advise(s->file, (const uint8_t *)x->t.data + at,
                    (end < x->t.n_bytes ? end : x->t.n_bytes) - at, false);
        return;
    }
}

static void release_set(const struct eng_model *m, const struct set *s)
{
    for (int i = 0; i < s->n; i++) {
        if (s->of[i]->p.form != NULL)
            gguf_advise(m->file, s->of[i]->t.data, s->of[i]->t.n_bytes, false);
    }
}

static void pack_set(struct eng_pool *pool, struct set *s)
{
    int n_slice = 0;
    for (int i = 0; i < s->n; i++) {
        if (s->of[i]->p.form != NULL)
            n_slice += (s->of[i]->p.n_panel + SLICE_PANELS - 1) / SLICE_PANELS;
    }
    eng_pool_run(pool, pack_slice, s, n_slice);
}

static int n_cpu(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* What the panels are made of: how they are laid out, the file (by its header, its size, and the
 * inode with its times, which change with its content) and which part of it. */
static int cache_key(const struct eng_model *m, const char *path, uint8_t key[PACK_CACHE_KEY_BYTES])
{
    enum {
        LAYOUT = 1
    }; /* to be raised with every change of pack.h's layout or of the order here */
    struct stat st;
    struct base_xxh *h = base_xxh_new();
    if (h == NULL)
        return BASE_ENOMEM;
    if (stat(path, &st) != 0)
        memset(&st, 0, sizeof st);
    const int64_t num[] = {LAYOUT,
                           (int64_t)gguf_size_bytes(m->file),
                           (int64_t)st.st_dev,
                           (int64_t)st.st_ino,
                           (int64_t)st.st_mtim.tv_sec,
                           (int64_t)st.st_mtim.tv_nsec,
                           (int64_t)st.st_ctim.tv_sec,
                           (int64_t)st.st_ctim.tv_nsec,
                           m->layer_begin,
                           m->layer_end,
                           m->w.has_head};
    base_xxh_add(h, num, sizeof num);
    for (int i = 0; i < gguf_n_tensor(m->file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(m->file, i);
        base_xxh_add(h, t->name, strlen(t->name) + 1);
        base_xxh_add(h, &t->type, sizeof t->type);
        base_xxh_add(h, t->dim, sizeof t->dim);
    }
    base_xxh_end(h, key);
    return 0;
}

/* The offsets that plan left become places in m->packed. */
static void place(struct eng_model *m)
{
    for (int l = m->layer_begin; l < set_end(m); l++) {
        const struct set s = set_at(m, l);
        for (int i = 0; i < s.n; i++) {
            if (s.of[i]->p.form != NULL)
                s.of[i]->p.data = m->packed + (uintptr_t)s.of[i]->p.data;
        }
    }
}

static int pack_all(struct eng_model *m, int n_thread, struct base_err *err)
{
    struct eng_pool *pool = NULL;
    int rc = eng_pool_new(&pool, n_thread > 0 ? n_thread : n_cpu(), err);
    if (rc != 0)
        return rc;
    void *map =
        mmap(NULL, m->packed_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        eng_pool_free(pool);
        return base_err_set(err, BASE_ENOMEM, "weights", "no memory for %zu MiB of packed weights",
                            m->packed_bytes >> 20);
    }
    (void)madvise(map, m->packed_bytes, MADV_HUGEPAGE); /* read from end to end: fewer TLB misses */
    m->packed = map;
    place(m);
    for (int l = m->layer_begin; l < set_end(m); l++) {
        struct set s = set_at(m, l);
        pack_set(pool, &s);
        release_set(m, &s);
    }
    eng_pool_free(pool);
    (void)mprotect(map, m->packed_bytes, PROT_READ); /* weights are const from here on */
    return 0;
}

/* What will be read of the file: all, or what the cache has nothing of. */
static void advise(struct eng_model *m)
{
    if (m->w.embed != NULL)
        gguf_advise(m->file, m->w.embed->data, m->w.embed->n_bytes, true);
    for (int l = m->layer_begin; l < set_end(m); l++) {
        const struct set s = set_at(m, l);
        for (int i = 0; i < s.n; i++) {
            if (s.of[i]->p.form == NULL || !m->packed_cached)
                gguf_advise(m->file, s.of[i]->t.data, s.of[i]->t.n_bytes, true);
        }
    }
}

static void *check_cache(void *cache)
{
    pack_cache_hash(cache);
    return NULL;
}

int eng_weights_pack_begin(struct eng_packing *p, struct eng_model *m,
                           const struct eng_model_opt *o, struct base_err *err)
{
    *p = (struct eng_packing){.m = m, .o = o};
    m->packed_bytes = m->exact || o->look ? 0 : plan(m);
    eng_weights_release(m); /* what the system mapped around norms */
    if (o->pack_cache == NULL || m->packed_bytes == 0)
        return 0;
    if (cache_key(m, o->path, p->key) != 0)
        return base_err_set(err, BASE_ENOMEM, "weights", "no memory for a hash");
    int rc = pack_cache_open(&p->cache, o->pack_cache, p->key, m->packed_bytes, &m->cache_err);
    if (rc == BASE_ENOMEM && err != NULL)
        *err = m->cache_err;
    if (rc != 0)
        return rc == BASE_ENOMEM ? rc : 0;
    sigset_t all, old; /* signals are the business of the thread that opens the model */
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &old) != 0)
        return 0;
    p->started = pthread_create(&p->thread, NULL, check_cache, p->cache) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return 0;
}

/* Helps with what is left of it. */
static void take_cache(struct eng_packing *p)
{
    pack_cache_hash(p->cache);
    if (p->started)
        pthread_join(p->thread, NULL);
    p->m->packed = pack_cache_accept(p->cache, &p->m->cache_err);
    p->m->packed_cached = p->m->packed != NULL;
}

int eng_weights_pack_end(struct eng_packing *p, int rc, struct base_err *err)
{
    struct eng_model *m = p->m;
    if (p->cache != NULL)
        take_cache(p);
    if (rc != 0 || p->o->look)
        return rc;
    advise(m);
    if (m->packed_cached) {
        place(m);
        eng_weights_release(m);
        return 0;
    }
    rc = m->packed_bytes > 0 ? pack_all(m, p->o->n_thread, err) : 0;
    if (rc == 0 && m->packed_bytes > 0 && p->o->pack_cache != NULL &&
        pack_cache_write(p->o->pack_cache, p->key, m->packed, m->packed_bytes, &m->cache_err) == 0)
        m->cache_err.code = 0;
    return rc;
}

void eng_weights_release(const struct eng_model *m)
{
    struct eng_model *all = (struct eng_model *)m; /* set_at gives what may be written, and isn't */
    for (int l = m->layer_begin; l < set_end(m); l++) {
        const struct set s = set_at(all, l);
        release_set(m, &s);
    }
}

const void *eng_weights_embed_row(const struct eng_model *m, int32_t token, void *buf)
{
    const struct gguf_tensor *t = m->w.embed;
    const uint8_t *row = (const uint8_t *)t->data + (size_t)token * t->row_bytes;
    if (m->c.tied_head && m->w.has_head && m->w.head.p.form == NULL)
        return row;
    gguf_read(m->file, row, t->row_bytes, buf);
    return buf;
}

void eng_weights_unpack(struct eng_model *m)
{
    if (m->packed == NULL)
        return;
    if (m->packed_cached)
        pack_cache_unmap(m->packed, m->packed_bytes);
    else
        munmap(m->packed, m->packed_bytes);
    m->packed = NULL;
}
