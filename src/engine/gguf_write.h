/* The head of a new GGUF v3 file, built in memory: keys, tensor table, padding; the tensors' data
 * follow it in the table's order, each padded to the alignment. Errors are sticky: add everything,
 * then ask gguf_writer_head once. One thread at a time. */
#ifndef ENG_GGUF_WRITE_H
#define ENG_GGUF_WRITE_H

#include "base/buf.h"
#include "engine/gguf.h"

enum { GGUF_WRITER_MAX_SET = 16 };

struct gguf_writer {
    struct base_buf head;
    const char *set[GGUF_WRITER_MAX_SET]; /* keys added by gguf_writer_u32 and the like */
    int n_set;
    uint64_t n_kv, n_tensor;
    uint64_t data_bytes; /* of all tensors so far, padding included */
    uint32_t align;
    bool in_table; /* keys are over */
};

/* max_bytes: of the head. */
void gguf_writer_init(struct gguf_writer *w, size_t max_bytes);
void gguf_writer_fini(struct gguf_writer *w);

/* One key; key is borrowed. general.alignment is copied, never set. */
void gguf_writer_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_writer_str(struct gguf_writer *w, const char *key, const char *v);
void gguf_writer_strs(struct gguf_writer *w, const char *key, const char *const *v, int n);

/* All keys of src in their order, byte for byte, except those set before; its alignment is ours. */
void gguf_writer_copy_kvs(struct gguf_writer *w, const struct gguf_file *src);

/* One row of the table, after all keys. dim[n_dim]; whole blocks. */
void gguf_writer_tensor(struct gguf_writer *w, const char *name, uint32_t type, int n_dim,
                        const int64_t *dim);

/* Bytes of padding behind n_bytes of a tensor. */
size_t gguf_writer_pad(const struct gguf_writer *w, uint64_t n_bytes);

/* Ends the head: *data, *n_bytes, owned by w, are the file up to the first tensor's data. Errors:
 * BASE_ENOMEM, BASE_ELIMIT. */
int gguf_writer_head(struct gguf_writer *w, const void **data, size_t *n_bytes,
                     struct base_err *err) BASE_MUST_CHECK;

#endif
