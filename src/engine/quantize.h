/* A GGUF file's matrices into smaller types: a plan says which tensor becomes what, a run does it
 * and measures what each lost. Keys are copied, vectors and tensors of unknown purpose too. Knows
 * names of tensors, not the graph: any architecture whose matrices have the usual names. */
#ifndef ENG_QUANTIZE_H
#define ENG_QUANTIZE_H

#include "base/outfile.h"
#include "engine/gguf.h"
#include "engine/pool.h"

/* The types that tensors get by their purpose and layer, by name ("q4_k_m"). */
struct eng_mix;
const struct eng_mix *eng_mix_find(const char *name); /* NULL: none of that name */
const char *eng_mix_names(void);                      /* "q4_0, q4_1, …" */

/* A tensor type by name ("q6_k", any case) that can be written; false: none. */
bool eng_quantize_type(const char *name, uint32_t *type);

/* Matrices whose name matches get this type, whatever the mix says; the last match wins. */
struct eng_quantize_rule {
    const char *glob; /* fnmatch(3), over the whole name */
    uint32_t type;
};

struct eng_quantize_opt {
    const struct eng_mix *mix;
    const struct eng_quantize_rule *rule; /* [n_rule] */
    int n_rule;
    /* Sums of squares of each matrix's inputs (calib.h); NULL: every column counts alike. */
    const struct gguf_file *calib;
    bool requantize; /* takes matrices that are quantised already, which loses twice */
};

struct eng_quantize_tensor {
    const struct gguf_tensor *src;
    uint32_t type;                /* src->type: copied as it is */
    int rule;                     /* which decided; -1: the mix */
    const struct gguf_tensor *in; /* its sums of squares in opt->calib; NULL: none */
    size_t n_bytes;
    double rms; /* after the run: error's norm over the tensor's; 0 for a copy */
};

/* Borrows src and what opt names until it is freed. Errors: BASE_EINVAL (a rule matches nothing or
 * asks for blocks that a row has not; a matrix is quantised already and opt doesn't allow it),
 * BASE_EFORMAT (calibration for other shapes), BASE_EUNSUPPORTED (types that can't be read, a part
 * of a split file), BASE_ENOMEM, BASE_ELIMIT. */
struct eng_quantize;
int eng_quantize_plan(struct eng_quantize **out, const struct gguf_file *src,
                      const struct eng_quantize_opt *opt, struct base_err *err) BASE_MUST_CHECK;
void eng_quantize_free(struct eng_quantize *q);

int eng_quantize_n_tensor(const struct eng_quantize *q);
const struct eng_quantize_tensor *eng_quantize_tensor_at(const struct eng_quantize *q, int i);
uint64_t eng_quantize_file_bytes(const struct eng_quantize *q);

/* Writes the whole file to out (not yet committed). progress, unless NULL, is called on this thread
 * now and then with the elements done of all. The same bytes for any pool. Errors: BASE_EFORMAT (a
 * weight that is no number, or too large for its type), BASE_EIO, BASE_ENOMEM. */
typedef void eng_quantize_progress(void *arg, int64_t done, int64_t all);
int eng_quantize_run(struct eng_quantize *q, struct eng_pool *pool, struct base_outfile *out,
                     eng_quantize_progress *progress, void *arg,
                     struct base_err *err) BASE_MUST_CHECK;

#endif
