/* Which type each matrix gets. The mixes bear llama.cpp's names and numbers, and spend as many
 * bits: what a whole model's quality leans on (values, the MLP's way back, the head) gets more,
 * most of all in the first and last layers. Where a row is not whole blocks of 256, the next larger
 * type of 32. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/quant_search.h"
#include "engine/quantize_int.h"

enum role {
    EMBED = 1 << 0, /* that is not the head too */
    HEAD = 1 << 1,
    QK = 1 << 2,
    V = 1 << 3,
    QKV = 1 << 4,
    O = 1 << 5,
    GATE_UP = 1 << 6,
    DOWN = 1 << 7,
};

static const struct {
    const char *name; /* behind "blk.N."; experts' matrices have "_exps" before the dot */
    enum role role;
} block_role[] = {
    {"attn_q.weight", QK},
    {"attn_k.weight", QK},
    {"attn_v.weight", V},
    {"attn_qkv.weight", QKV},
    {"attn_output.weight", O},
    {"ffn_gate.weight", GATE_UP},
    {"ffn_up.weight", GATE_UP},
    {"ffn_down.weight", DOWN},
    {"ffn_gate_exps.weight", GATE_UP},
    {"ffn_up_exps.weight", GATE_UP},
    {"ffn_down_exps.weight", DOWN},
};

/* Layers in which a rule holds. SPREAD: the first and the last eighth, and of those between every
 * third, as llama.cpp spreads the larger types of its _M mixes. */
enum layers { ALL, SPREAD, FIRST_4, FIRST_EIGHTH, FIRST_SIXTEENTH, FIRST_2 };

struct eng_mix {
    const char *name;
    uint32_t file_type;
    uint32_t type; /* what no rule names */
    struct {
        unsigned roles;
        enum layers layers;
        uint32_t type;
    } rule[6]; /* the first that holds */
};

static const struct eng_mix mixes[] = {
    {"f32", 0, GGUF_F32, {{0}}},
    {"f16", 1, GGUF_F16, {{0}}},
    {"bf16", 32, GGUF_BF16, {{0}}},
    {"q8_0", 7, GGUF_Q8_0, {{0}}},
    {"q6_k", 18, GGUF_Q6_K, {{0}}},
    {"q5_k_m", 17, GGUF_Q5_K, {{HEAD | QKV, ALL, GGUF_Q6_K}, {V | DOWN, SPREAD, GGUF_Q6_K}}},
    {"q5_k_s", 16, GGUF_Q5_K, {{HEAD, ALL, GGUF_Q6_K}}},
    {"q5_1", 9, GGUF_Q5_1, {{HEAD, ALL, GGUF_Q6_K}}},
    {"q5_0", 8, GGUF_Q5_0, {{HEAD, ALL, GGUF_Q6_K}}},
    {"q4_k_m",
     15,
     GGUF_Q4_K,
     {{HEAD, ALL, GGUF_Q6_K}, {V | DOWN, SPREAD, GGUF_Q6_K}, {QKV, ALL, GGUF_Q5_K}}},
    {"q4_k_s",
     14,
     GGUF_Q4_K,
     {{HEAD, ALL, GGUF_Q6_K}, {V, FIRST_4, GGUF_Q5_K}, {DOWN, FIRST_EIGHTH, GGUF_Q5_K}}},
    {"q4_1", 3, GGUF_Q4_1, {{HEAD, ALL, GGUF_Q6_K}}},
    {"q4_0", 2, GGUF_Q4_0, {{HEAD, ALL, GGUF_Q6_K}}},
    {"iq4_nl", 25, GGUF_IQ4_NL, {{HEAD, ALL, GGUF_Q6_K}}},
    {"q3_k_m",
     12,
     GGUF_Q3_K,
     {{HEAD, ALL, GGUF_Q6_K},
      {V, FIRST_2, GGUF_Q5_K},
      {DOWN, FIRST_SIXTEENTH, GGUF_Q5_K},
      {V | DOWN | O | QKV, ALL, GGUF_Q4_K}}},
    {"q2_k", 10, GGUF_Q2_K, {{HEAD, ALL, GGUF_Q6_K}, {V | DOWN | O | QKV, ALL, GGUF_Q3_K}}},
};
enum { N_MIX = sizeof mixes / sizeof mixes[0], N_RULE = 6 };

const struct eng_mix *eng_mix_find(const char *name)
{
    for (int i = 0; i < N_MIX; i++)
        if (strcasecmp(name, mixes[i].name) == 0)
            return &mixes[i];
    return NULL;
}

const char *eng_mix_names(void)
{
    return "f32, f16, bf16, q8_0, q6_k, q5_k_m, q5_k_s, q5_1, q5_0, q4_k_m, q4_k_s, q4_1, q4_0, "
           "iq4_nl, q3_k_m, q2_k";
}

uint32_t eng_mix_file_type(const struct eng_mix *m)
{
    return m->file_type;
}

bool eng_quantize_type(const char *name, uint32_t *type)
{
    for (uint32_t t = 0; t < GGUF_TYPE_MAX; t++) {
        const char *known = gguf_type_info(t)->name;
        if (known != NULL && quant_search_has(t) && strcasecmp(name, known) == 0) {
            *type = t;
            return true;
        }
    }
    return false;
}

int eng_mix_layer(const char *name)
{
    if (strncmp(name, "blk.", 4) != 0 || !isdigit((unsigned char)name[4]))
        return -1;
    char *end = NULL;
    const long v = strtol(name + 4, &end, 10);
    return *end == '.' && v < 1 << 20 ? (int)v : -1;
}

static unsigned role_of(const char *name, bool tied_head)
{
    if (strcmp(name, "output.weight") == 0)
        return HEAD;
    if (strcmp(name, "token_embd.weight") == 0)
        return tied_head ? HEAD : EMBED;
    if (eng_mix_layer(name) < 0)
        return 0;
    const char *rest = strchr(name + 4, '.') + 1;
    for (size_t i = 0; i < sizeof block_role / sizeof block_role[0]; i++)
        if (strcmp(rest, block_role[i].name) == 0)
            return block_role[i].role;
    return 0;
}

static bool holds(enum layers layers, int l, int n)
{
    switch (layers) {
    case SPREAD:
        return l < n / 8 || l >= 7 * n / 8 || (l - n / 8) % 3 == 2;
    case FIRST_2:
        return l < 2;
    case FIRST_4:
        return l < 4;
    case FIRST_EIGHTH:
        return l < n / 8;
    case FIRST_SIXTEENTH:
        return l < n / 16;
    case ALL:
        break;
    }
    return true;
}

/* The same or a better type of which rows of n are whole blocks. */
static uint32_t fallback(uint32_t type, int64_t n)
{
    if (n % gguf_type_info(type)->block_elems == 0)
        return type;
    uint32_t other = GGUF_F16;
    if (type == GGUF_Q2_K || type == GGUF_Q3_K)
        other = GGUF_IQ4_NL;
    else if (type == GGUF_Q4_K)
        other = GGUF_Q5_0;
    else if (type == GGUF_Q5_K)
        other = GGUF_Q5_1;
    else if (type == GGUF_Q6_K)
        other = GGUF_Q8_0;
    return n % gguf_type_info(other)->block_elems == 0 ? other : GGUF_F16;
}

bool eng_mix_choose(const struct eng_mix *m, const struct eng_mix_shape *shape,
                    const struct gguf_tensor *t, uint32_t *type)
{
    const unsigned role = role_of(t->name, shape->tied_head);
    if (role == 0 || t->n_dim < 2)
        return false;
    const int l = eng_mix_layer(t->name);
    *type = m->type;
    for (int i = 0; i < N_RULE && m->rule[i].roles != 0; i++) {
        if ((m->rule[i].roles & role) != 0 && holds(m->rule[i].layers, l, shape->n_layer)) {
            *type = m->rule[i].type;
            break;
        }
    }
    *type = fallback(*type, t->dim[0]);
    return true;
}
