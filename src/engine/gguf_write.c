#include "engine/gguf_write.h"

#include <assert.h>
#include <string.h>

#include "engine/gguf_int.h"

enum { AT_N_TENSOR = 8, AT_N_KV = 16, DEFAULT_ALIGN = 32, GGUF_VERSION = 3 };

void gguf_writer_init(struct gguf_writer *w, size_t max_bytes)
{
    *w = (struct gguf_writer){.align = DEFAULT_ALIGN};
    base_buf_init(&w->head, max_bytes);
    base_buf_add(&w->head, "GGUF", 4);
    base_buf_u32le(&w->head, GGUF_VERSION);
    base_buf_u64le(&w->head, 0); /* tensors and keys: counted in the end */
    base_buf_u64le(&w->head, 0);
}

void gguf_writer_fini(struct gguf_writer *w)
{
    base_buf_fini(&w->head);
}

static void put_str(struct base_buf *b, const void *s, size_t len)
{
    base_buf_u64le(b, len);
    base_buf_add(b, s, len);
}

static void put_key(struct gguf_writer *w, const char *key, enum gguf_kv_type type)
{
    assert(!w->in_table);
    put_str(&w->head, key, strlen(key));
    base_buf_u32le(&w->head, type);
    w->n_kv++;
}

static void set_key(struct gguf_writer *w, const char *key, enum gguf_kv_type type)
{
    assert(w->n_set < GGUF_WRITER_MAX_SET);
    w->set[w->n_set++] = key;
    put_key(w, key, type);
}

void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    set_key(w, key, GGUF_KV_U32);
    base_buf_u32le(&w->head, v);
}

void gguf_writer_str(struct gguf_writer *w, const char *key, const char *v)
{
    set_key(w, key, GGUF_KV_STR);
    put_str(&w->head, v, strlen(v));
}

void gguf_writer_strs(struct gguf_writer *w, const char *key, const char *const *v, int n)
{
    set_key(w, key, GGUF_KV_ARR);
    base_buf_u32le(&w->head, GGUF_KV_STR);
    base_buf_u64le(&w->head, (uint64_t)n);
    for (int i = 0; i < n; i++)
        put_str(&w->head, v[i], strlen(v[i]));
}

static bool is_set(const struct gguf_writer *w, const char *key)
{
    for (int i = 0; i < w->n_set; i++)
        if (strcmp(w->set[i], key) == 0)
            return true;
    return false;
}

void gguf_writer_copy_kvs(struct gguf_writer *w, const struct gguf_file *src)
{
    bool found;
    if (gguf_get_u32(src, "general.alignment", &w->align, &found, NULL) != 0 || w->align == 0)
        w->align = DEFAULT_ALIGN; /* of a file that gguf_open would have refused */
    for (int i = 0; i < src->n_kv; i++) {
        const struct gguf_kv *kv = &src->kv[i];
        if (is_set(w, kv->key))
            continue;
        put_key(w, kv->key, kv->type);
        if (kv->type == GGUF_KV_ARR) {
            base_buf_u32le(&w->head, kv->elem);
            base_buf_u64le(&w->head, kv->n);
        } else if (kv->type == GGUF_KV_STR) {
            base_buf_u64le(&w->head, kv->n);
        }
        base_buf_add(&w->head, kv->data, kv->n_bytes);
    }
}

void gguf_writer_tensor(struct gguf_writer *w, const char *name, uint32_t type, int n_dim,
                        const int64_t *dim)
{
    const struct gguf_type_info *ti = gguf_type_info(type);
    w->in_table = true;
    put_str(&w->head, name, strlen(name));
    base_buf_u32le(&w->head, (uint32_t)n_dim);
    uint64_t n_bytes = (uint64_t)(dim[0] / ti->block_elems) * (uint64_t)ti->block_bytes;
    for (int i = 0; i < n_dim; i++) {
        base_buf_u64le(&w->head, (uint64_t)dim[i]);
        n_bytes *= i > 0 ? (uint64_t)dim[i] : 1;
    }
    base_buf_u32le(&w->head, type);
    base_buf_u64le(&w->head, w->data_bytes);
    w->data_bytes += n_bytes + gguf_writer_pad(w, n_bytes);
    w->n_tensor++;
}

size_t gguf_writer_pad(const struct gguf_writer *w, uint64_t n_bytes)
{
    return (size_t)((w->align - n_bytes % w->align) % w->align);
}

static void patch_u64(struct base_buf *b, size_t at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        b->data[at + (size_t)i] = (uint8_t)(v >> (8 * i));
}

int gguf_writer_head(struct gguf_writer *w, const void **data, size_t *n_bytes,
                     struct base_err *err)
{
    const size_t pad = gguf_writer_pad(w, w->head.len);
    uint8_t *p = base_buf_grow(&w->head, pad);
    if (p == NULL)
        return base_err_set(err, w->head.err, "head", "of more than %zu bytes: %s",
                            w->head.max_bytes, base_code_str(w->head.err));
    memset(p, 0, pad);
    patch_u64(&w->head, AT_N_TENSOR, w->n_tensor);
    patch_u64(&w->head, AT_N_KV, w->n_kv);
    *data = w->head.data;
    *n_bytes = w->head.len;
    return 0;
}
