/* Matrices -> panels, when a model is opened: with all cores, one layer after the other, so that
 * the file's pages and their packed copies are never both resident as a whole. */
#include "engine/inner.h"

#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { SLICE_PANELS = 8 };

/* The matrices of a layer, or the head. */
struct set {
    struct eng_matrix *of[ENG_MAX_LAYER_TENSORS];
    int n;
};

static struct set layer_set(struct eng_model *m, int l)
{
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(&m->c, spec);
    struct set s = {.n = 0};
    for (int i = 0; i < n; i++) {
        if (spec[i].n_out > 0)
            s.of[s.n++] = (struct eng_matrix *)((char *)&m->w.layer[l] + spec[i].offset);
    }
    return s;
}

static struct set set_at(struct eng_model *m, int l)
{
    return l < m->layer_end ? layer_set(m, l) : (struct set){.of = {&m->w.head}, .n = 1};
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
        return;
    }
}

static void pack_set(struct eng_model *m, struct eng_pool *pool, struct set *s)
{
    int n_slice = 0;
    for (int i = 0; i < s->n; i++) {
        struct eng_matrix *x = s->of[i];
        if (x->p.form == NULL)
            continue;
        x->p.data = m->packed + (uintptr_t)x->p.data;
        n_slice += (x->p.n_panel + SLICE_PANELS - 1) / SLICE_PANELS;
    }
    eng_pool_run(pool, pack_slice, s, n_slice);
    for (int i = 0; i < s->n; i++) {
        if (s->of[i]->p.form != NULL)
            gguf_advise(m->file, s->of[i]->t.data, s->of[i]->t.n_bytes, false);
    }
}

static int n_cpu(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int eng_weights_pack(struct eng_model *m, int n_thread, struct base_err *err)
{
    const size_t bytes = m->exact ? 0 : plan(m);
    if (bytes == 0)
        return 0;
    struct eng_pool *pool = NULL;
    int rc = eng_pool_new(&pool, n_thread > 0 ? n_thread : n_cpu(), err);
    if (rc != 0)
        return rc;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) {
        eng_pool_free(pool);
        return base_err_set(err, BASE_ENOMEM, "weights", "no memory for %zu MiB of packed weights",
                            bytes >> 20);
    }
    (void)madvise(map, bytes, MADV_HUGEPAGE); /* they are read from end to end: fewer TLB misses */
    m->packed = map;
    m->packed_bytes = bytes;
    for (int l = m->layer_begin; l < set_end(m); l++) {
        struct set s = set_at(m, l);
        pack_set(m, pool, &s);
    }
    eng_pool_free(pool);
    (void)mprotect(map, bytes, PROT_READ); /* weights are const from here on */
    return 0;
}

void eng_weights_unpack(struct eng_model *m)
{
    if (m->packed != NULL)
        munmap(m->packed, m->packed_bytes);
    m->packed = NULL;
}
