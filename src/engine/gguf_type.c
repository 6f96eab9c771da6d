#include "engine/gguf.h"

/* Block sizes as in ggml's format; ours are those that quant.h can read. */
static const struct gguf_type_info type_table[GGUF_TYPE_MAX] = {
    [GGUF_F32] = {"F32", 1, 4, true},
    [GGUF_F16] = {"F16", 1, 2, true},
    [GGUF_Q4_0] = {"Q4_0", 32, 18, true},
    [GGUF_Q4_1] = {"Q4_1", 32, 20, true},
    [GGUF_Q5_0] = {"Q5_0", 32, 22, true},
    [GGUF_Q5_1] = {"Q5_1", 32, 24, true},
    [GGUF_Q8_0] = {"Q8_0", 32, 34, true},
    [9] = {"Q8_1", 32, 36, false},
    [GGUF_Q2_K] = {"Q2_K", 256, 84, true},
    [GGUF_Q3_K] = {"Q3_K", 256, 110, true},
    [GGUF_Q4_K] = {"Q4_K", 256, 144, true},
    [GGUF_Q5_K] = {"Q5_K", 256, 176, true},
    [GGUF_Q6_K] = {"Q6_K", 256, 210, true},
    [15] = {"Q8_K", 256, 292, false},
    [16] = {"IQ2_XXS", 256, 66, false},
    [17] = {"IQ2_XS", 256, 74, false},
    [18] = {"IQ3_XXS", 256, 98, false},
    [19] = {"IQ1_S", 256, 50, false},
    [GGUF_IQ4_NL] = {"IQ4_NL", 32, 18, true},
    [21] = {"IQ3_S", 256, 110, false},
    [22] = {"IQ2_S", 256, 82, false},
    [GGUF_IQ4_XS] = {"IQ4_XS", 256, 136, true},
    [24] = {"I8", 1, 1, false},
    [25] = {"I16", 1, 2, false},
    [26] = {"I32", 1, 4, false},
    [27] = {"I64", 1, 8, false},
    [28] = {"F64", 1, 8, false},
    [29] = {"IQ1_M", 256, 56, false},
    [GGUF_BF16] = {"BF16", 1, 2, true},
    [34] = {"TQ1_0", 256, 54, false},
    [35] = {"TQ2_0", 256, 66, false},
    [39] = {"MXFP4", 32, 17, false},
};

const struct gguf_type_info *gguf_type_info(uint32_t type)
{
    static const struct gguf_type_info unknown;
    return type < GGUF_TYPE_MAX ? &type_table[type] : &unknown;
}
