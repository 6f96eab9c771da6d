/* What the parts of the GGUF reader share; nobody else includes this. */
#ifndef ENG_GGUF_INT_H
#define ENG_GGUF_INT_H

#include "base/arena.h"
#include "base/rd.h"
#include "engine/gguf.h"

enum {
    GGUF_MAX_KV = 1 << 16,
    GGUF_MAX_TENSOR = 1 << 16,
    GGUF_MAX_KEY_BYTES = 256,
    GGUF_MAX_META_BYTES = 64 << 20, /* our own tables; the values stay in the map */
};

struct gguf_kv {
    const char *key;
    enum gguf_kv_type type;
    enum gguf_kv_type elem; /* of an array */
    uint64_t n;             /* elements of an array, bytes of a string */
    const uint8_t *data;    /* [n_bytes] of the value: string bytes, array elements, the scalar */
    size_t n_bytes;
};

struct gguf_file {
    const uint8_t *map;
    size_t size;
    int fd;                     /* of the file that is mapped; -1: it is the caller's memory */
    struct base_arena arena;    /* everything below */
    struct gguf_kv *kv;         /* [n_kv], file order */
    struct gguf_kv **kv_by_key; /* [n_kv], sorted: lookup and the search for duplicates */
    int n_kv;
    struct gguf_tensor *tensor; /* [n_tensor], file order */
    struct gguf_tensor **tensor_by_name;
    int n_tensor;
};

/* Fills err with place "what name" and returns code. */
int gguf_fail(struct base_err *err, int code, const char *what, const char *name, const char *fmt,
              ...) BASE_PRINTF(5, 6);

/* A length-prefixed name of 1..max printable ASCII bytes: a NUL-terminated copy in the file's
 * arena. Errors: BASE_EFORMAT, BASE_ELIMIT, BASE_ENOMEM; index is for the message. */
int gguf_read_name(struct gguf_file *f, struct base_rd *r, const char *what, int index, size_t max,
                   const char **out, struct base_err *err) BASE_MUST_CHECK;

/* Reads f->n_kv pairs into f->kv and sorts them. Same errors, and BASE_EUNSUPPORTED. */
int gguf_read_kvs(struct gguf_file *f, struct base_rd *r, struct base_err *err) BASE_MUST_CHECK;

#endif
