/* What quantize.c (the plan) and quantize_run.c share with quantize_mix.c; nobody else includes it.
 */
#ifndef ENG_QUANTIZE_INT_H
#define ENG_QUANTIZE_INT_H

#include "engine/gguf_write.h"
#include "engine/quantize.h"

struct eng_quantize {
    const struct gguf_file *src, *calib;
    struct gguf_writer head;
    struct eng_quantize_tensor *tensor; /* [n_tensor] in the file's order */
    int n_tensor;
    const void *head_data; /* [head_bytes], of head */
    size_t head_bytes;
};

/* What the choice of a type depends on, of a whole file. */
struct eng_mix_shape {
    int n_layer;
    bool tied_head;
};

uint32_t eng_mix_file_type(const struct eng_mix *m); /* general.file_type, llama.cpp's numbers */

/* The type for a matrix, with the fallback where its rows are not whole blocks; false: not a matrix
 * of known purpose, leave it as it is. */
bool eng_mix_choose(const struct eng_mix *m, const struct eng_mix_shape *shape,
                    const struct gguf_tensor *t, uint32_t *type);

/* N of "blk.N.…"; -1: not a block's. */
int eng_mix_layer(const char *name);

#endif
