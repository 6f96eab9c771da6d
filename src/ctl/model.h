/* What the commands of the `waypostctl model` family share. */
#ifndef CTL_MODEL_H
#define CTL_MODEL_H

#include <stdint.h>
#include <stdio.h>

#include "engine/lora.h"

enum { CTL_MAX_TENSOR_RULES = 64 };

enum { CTL_MAX_COUNTS = 8 };

/* "128,512" */
struct ctl_counts {
    int n, v[CTL_MAX_COUNTS];
};

/* One command line: every option of the family; a command takes those that its table names. */
struct ctl_model_args {
    const char *file;    /* the GGUF */
    const char *file2;   /* of commands that take two */
    const char *adapter; /* NULL: none */
    const char *text, *texts, *ids, *out, *pack_cache;
    bool json, all, hash, keys, exact;
    int n_thread, chunk, n_decode, n_warm, n_repeat;
    struct ctl_counts prompt, batch, context;
    enum kern_kv_type kv;
    const char *type, *calibration;
    const char *tensor[CTL_MAX_TENSOR_RULES]; /* [n_tensor] "GLOB=TYPE" */
    int n_tensor;
    bool requantize, force;
};

enum { CTL_OK = 0, CTL_NO = 1, CTL_USAGE = 2, CTL_FAIL = 3 };

int ctl_model_info(const struct ctl_model_args *a);
int ctl_model_bench(const struct ctl_model_args *a);
int ctl_model_perplexity(const struct ctl_model_args *a);
int ctl_model_logits(const struct ctl_model_args *a);
int ctl_model_tokenize(const struct ctl_model_args *a);
int ctl_model_quantize(const struct ctl_model_args *a);
int ctl_model_calibrate(const struct ctl_model_args *a);
int ctl_model_compare(const struct ctl_model_args *a);

/* --adapter for m; *out NULL: not given. The caller closes it, before m. */
int ctl_open_adapter(const struct ctl_model_args *a, struct eng_model *m, struct eng_lora **out,
                     struct base_err *err) BASE_MUST_CHECK;

/* Says the error on stderr; returns CTL_FAIL. */
int ctl_model_fail(const struct base_err *err);

/* A whole file, at most max_bytes, with a NUL behind it; the caller frees. */
int ctl_read_file(const char *path, size_t max_bytes, char **out, size_t *len,
                  struct base_err *err) BASE_MUST_CHECK;

/* The ids of --ids (a JSON array) or of --text, with BOS if the model wants one. The caller frees.
 */
int ctl_read_ids(const struct ctl_model_args *a, const struct eng_model *m, int32_t **ids, int *n,
                 struct base_err *err) BASE_MUST_CHECK;

#endif
