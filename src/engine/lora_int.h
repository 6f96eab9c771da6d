/* The inside of an adapter: what lora.c (file to pairs) and lora_apply.c (the arithmetic) share.
 * Nobody else includes it. */
#ifndef ENG_LORA_INT_H
#define ENG_LORA_INT_H

#include "engine/exec.h"
#include "engine/lora.h"

enum { LORA_PANEL = 32, LORA_NAME = 96 };

/* What stands beside one matrix, or beside the rows that a slot has of a fused one. */
struct lora_pair {
    const struct gguf_tensor *a; /* [rank][n_in], borrowed from the map; NULL: nothing here */
    void *b;         /* [ceil(n_out / 32)][rank][32], owned: B by columns, as kern_ops.mix wants it */
    uint32_t b_type; /* F16 where that loses nothing, else F32 */
    int rank, n_out;
    float scale; /* alpha / rank */
};

struct eng_lora {
    const struct eng_model *m;
    struct gguf_file *file;
    struct lora_pair (*layer)[ENG_N_SLOT]; /* [n_layer] */
    struct lora_pair head;
    struct eng_lora_info info;
};

#endif
