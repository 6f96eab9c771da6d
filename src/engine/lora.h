/* LoRA adapters (Hu et al., LoRA, 2021): beside a matrix W of the model's stands a pair A [rank][in],
 * B [out][rank], and a row whose segment has the adapter gets W x + alpha / rank * B (A x). The files
 * are those that llama.cpp's convert_lora_to_gguf writes: a pair for matrix NAME is the tensors
 * NAME.lora_a and NAME.lora_b, of any type that the engine reads. Several may be open beside one
 * model. Const once open: any thread. */
#ifndef ENG_LORA_H
#define ENG_LORA_H

#include "engine/model.h"

enum { ENG_LORA_MAX_RANK = 512 };

struct eng_lora;

struct eng_lora_info {
    char name[96]; /* the file's general.name; "" if it has none */
    float alpha;
    int n_pair, rank_min, rank_max;
    int layer_begin, layer_end; /* the layers it works on lie in here; empty: the head alone */
    bool head;                  /* it also works on the vocabulary head */
    size_t n_bytes;             /* of its tensors in the file */
    uint8_t hash[16];           /* XXH3-128 of alpha and all tensors in graph order */
};

/* Opens a file for m, which must outlive the adapter. Reads all of it: what belongs to layers that m
 * doesn't hold is checked and left out. A tensor that we would not use is refused by name. A file may
 * be bound to one model (key waypost.base_model.hash, see eng_lora_base_hash); checking that reads
 * m's weights once.
 * Errors: gguf_open's; BASE_EFORMAT (not an adapter; shapes, half a pair, numbers that are none),
 * BASE_EUNSUPPORTED (another kind of adapter; the embedding, norms, what the model has no matrix
 * for), BASE_EMISMATCH (another architecture or model), BASE_ELIMIT (rank), BASE_ENOMEM. */
int eng_lora_open(struct eng_lora **out, struct eng_model *m, const char *path, struct base_err *err)
    BASE_MUST_CHECK;
/* NULL is fine. No session may run with it any more. */
void eng_lora_close(struct eng_lora *l);

const struct eng_model *eng_lora_model(const struct eng_lora *l);
const struct eng_lora_info *eng_lora_info(const struct eng_lora *l);

/* Whether it may work on layers [a, b) (it does between layer_begin and layer_end), where the head
 * counts as the layer after the last. False for NULL: no adapter. What runs in layers that it does
 * not touch is the model's own, bit for bit. */
bool eng_lora_touches(const struct eng_lora *l, int a, int b);

/* The name that waypost.base_model.hash gives a model: XXH3-128 over the parts of its identity
 * that are about content (tokenizer, head, layers), as 32 lower-case hex digits. Errors: BASE_EINVAL (not all of the model is held), BASE_ENOMEM. */
int eng_lora_base_hash(struct eng_model *m, char out[33], struct base_err *err) BASE_MUST_CHECK;

#endif
