#include "engine/inner.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int eng_session_new(struct eng_session **out, const struct eng_model *m, int n_ctx,
                    enum kern_kv_type kv, struct base_err *err)
{
    if (n_ctx < 1 || n_ctx > ENG_MAX_CTX)
        return base_err_set(err, BASE_EINVAL, "session", "context of %d positions", n_ctx);
    struct eng_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        goto nomem;
    s->m = m;
    s->n_ctx = n_ctx;
    s->kv = kv;
    s->block_bytes = kern_kv_block_bytes(m->c.head_dim, kv);
    s->n_pos = calloc((size_t)m->c.n_layer, sizeof *s->n_pos);
    if (s->n_pos == NULL)
        goto nomem;
    size_t n_layer = (size_t)(m->layer_end - m->layer_begin);
    if (__builtin_mul_overflow(n_layer, eng_session_kv_bytes(s, n_ctx), &s->map_bytes))
        goto nomem;
    if (s->map_bytes > 0) {
        void *p = mmap(NULL, s->map_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            goto nomem;
        s->map = p;
        madvise(p, s->map_bytes, MADV_DONTDUMP); /* it holds what people said */
    }
    *out = s;
    return 0;
nomem:
    eng_session_free(s);
    return base_err_set(err, BASE_ENOMEM, "session", "no memory for %d positions", n_ctx);
}

void eng_session_free(struct eng_session *s)
{
    if (s == NULL)
        return;
    if (s->map != NULL)
        munmap(s->map, s->map_bytes);
    free(s->n_pos);
    free(s);
}

int eng_session_n_pos(const struct eng_session *s, int layer)
{
    return layer < 0 || layer >= s->m->c.n_layer ? 0 : s->n_pos[layer];
}

int eng_session_n_ctx(const struct eng_session *s)
{
    return s->n_ctx;
}

void eng_session_trim(struct eng_session *s, int a, int b, int n_pos)
{
    if (n_pos < 0)
        n_pos = 0;
    for (int l = a < 0 ? 0 : a; l < b && l < s->m->c.n_layer; l++) {
        if (s->n_pos[l] > n_pos)
            s->n_pos[l] = n_pos;
    }
}

void eng_session_copy_prefix(struct eng_session *dst, const struct eng_session *src, int a, int b,
                             int n_pos)
{
    for (int l = a; l < b; l++) {
        memcpy(eng_session_kv(dst, l), eng_session_kv(src, l), eng_session_kv_bytes(src, n_pos));
        dst->n_pos[l] = n_pos;
    }
}

size_t eng_session_bytes(const struct eng_session *s)
{
    size_t n = 0;
    for (int l = s->m->layer_begin; l < s->m->layer_end; l++)
        n += eng_session_kv_bytes(s, s->n_pos[l]);
    return n;
}
