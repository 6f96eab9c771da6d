/* A GGUF v2/v3 file, mapped read-only, every field checked before it is believed. The mapping is
 * shared and const: any thread may read. Nothing here knows what a transformer is.
 * Format: the GGUF specification in ggml's docs (names and layouts of types as there). */
#ifndef ENG_GGUF_H
#define ENG_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Tensor element types, by their number in the file. */
enum gguf_type {
    GGUF_F32 = 0, GGUF_F16 = 1, GGUF_Q4_0 = 2, GGUF_Q4_1 = 3, GGUF_Q5_0 = 6, GGUF_Q5_1 = 7,
    GGUF_Q8_0 = 8, GGUF_Q2_K = 10, GGUF_Q3_K = 11, GGUF_Q4_K = 12, GGUF_Q5_K = 13, GGUF_Q6_K = 14,
    GGUF_IQ4_NL = 20, GGUF_IQ4_XS = 23, GGUF_BF16 = 30,
    GGUF_TYPE_MAX = 40,
};

struct gguf_type_info {
    const char *name;     /* "Q4_1"; NULL: not a type we know */
    int block_elems;      /* elements a block: 1, 32 or 256 */
    int block_bytes;
    bool supported;       /* the engine has kernels for it */
};
const struct gguf_type_info *gguf_type_info(uint32_t type); /* never NULL */

/* Metadata value kinds, by their number in the file. */
enum gguf_kv_type {
    GGUF_KV_U8, GGUF_KV_I8, GGUF_KV_U16, GGUF_KV_I16, GGUF_KV_U32, GGUF_KV_I32, GGUF_KV_F32,
    GGUF_KV_BOOL, GGUF_KV_STR, GGUF_KV_ARR, GGUF_KV_U64, GGUF_KV_I64, GGUF_KV_F64,
};

struct gguf_str {
    const char *s; /* [len], borrowed from the map, not NUL-terminated */
    size_t len;
};

struct gguf_tensor {
    char name[64 + 1];
    uint32_t type;     /* enum gguf_type */
    int n_dim;
    int64_t dim[4];    /* dim[0] is the row length; unused ones are 1 */
    const void *data;  /* [n_bytes], borrowed from the map */
    size_t n_bytes;
    size_t row_bytes;  /* of one row of dim[0] elements */
};

struct gguf_file;

/* Opens and checks the whole header and tensor table; reads no tensor data.
 * Errors: BASE_EIO, BASE_EFORMAT (truncated, absurd counts, overlaps …), BASE_EUNSUPPORTED
 * (version, endianness), BASE_ELIMIT, BASE_ENOMEM. err->place says which key or tensor. */
int gguf_open(struct gguf_file **out, const char *path, struct base_err *err) BASE_MUST_CHECK;

/* The same over bytes in memory (fuzzing, tests); data must outlive the file. */
int gguf_open_mem(struct gguf_file **out, const void *data, size_t size_bytes,
                  struct base_err *err) BASE_MUST_CHECK;
void gguf_close(struct gguf_file *f);

size_t gguf_size_bytes(const struct gguf_file *f);
int gguf_n_tensor(const struct gguf_file *f);
const struct gguf_tensor *gguf_tensor_at(const struct gguf_file *f, int i);
const struct gguf_tensor *gguf_tensor_find(const struct gguf_file *f, const char *name);

/* A tensor by contract. Expected shape is [d1][d0] (d1 = 0: a vector of d0). Errors: BASE_ENOTFOUND,
 * BASE_EFORMAT (shape; the message prints expected and found), BASE_EUNSUPPORTED (type). */
int gguf_tensor_get(const struct gguf_file *f, const char *name, int64_t d0, int64_t d1,
                    const struct gguf_tensor **out, struct base_err *err) BASE_MUST_CHECK;

/* Metadata. Integer getters take any integer kind in range; *found tells absent from wrong: absent
 * is 0 with *out untouched. A wrong kind is BASE_EFORMAT. */
int gguf_get_u32(const struct gguf_file *f, const char *key, uint32_t *out, bool *found,
                 struct base_err *err) BASE_MUST_CHECK;
int gguf_get_f32(const struct gguf_file *f, const char *key, float *out, bool *found,
                 struct base_err *err) BASE_MUST_CHECK;
int gguf_get_bool(const struct gguf_file *f, const char *key, bool *out, bool *found,
                  struct base_err *err) BASE_MUST_CHECK;
int gguf_get_str(const struct gguf_file *f, const char *key, struct gguf_str *out, bool *found,
                 struct base_err *err) BASE_MUST_CHECK;

/* An array of elem kind: number of elements, or 0 with *found = false. */
int gguf_get_arr(const struct gguf_file *f, const char *key, enum gguf_kv_type elem, uint64_t *n,
                 bool *found, struct base_err *err) BASE_MUST_CHECK;
/* Elements of an array that gguf_get_arr found. Numeric ones are borrowed bytes, little endian, maybe
 * unaligned. Strings are visited in order; past the end they are empty. */
const void *gguf_arr_data(const struct gguf_file *f, const char *key);
struct gguf_strs {
    const uint8_t *at, *end;
};
struct gguf_strs gguf_arr_strs(const struct gguf_file *f, const char *key);
struct gguf_str gguf_strs_next(struct gguf_strs *s);

/* All keys in file order, for `model info`: key name and a printable short value. */
int gguf_n_kv(const struct gguf_file *f);
const char *gguf_kv_key(const struct gguf_file *f, int i);
const char *gguf_kv_print(const struct gguf_file *f, int i, char *buf, size_t size_bytes);

/* Copies [data, data+n) without bringing pages of the file into the process. Any thread. */
void gguf_read(const struct gguf_file *f, const void *data, size_t n_bytes, void *out);
/* Tells the kernel that [data, data+n) will be read soon / not again. Advice only. */
void gguf_advise(const struct gguf_file *f, const void *data, size_t n_bytes, bool will_need);

#endif
