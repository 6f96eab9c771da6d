#include "engine/inner.h"

#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

static void add_u32(struct base_xxh *h, uint32_t v)
{
    const uint8_t le[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    base_xxh_add(h, le, sizeof le);
}

static void add_f64(struct base_xxh *h, double d)
{
    uint64_t u;
    memcpy(&u, &d, sizeof u);
    add_u32(h, (uint32_t)u);
    add_u32(h, (uint32_t)(u >> 32));
}

static void add_shape(struct base_xxh *h, const struct gguf_tensor *t)
{
    base_xxh_add(h, t->name, strlen(t->name) + 1);
    add_u32(h, t->type);
    for (int i = 0; i < 4; i++)
        add_u32(h, (uint32_t)t->dim[i]);
}

static void add_tensor(struct base_xxh *h, const struct gguf_file *f, const char *name, bool data)
{
    const struct gguf_tensor *t = gguf_tensor_find(f, name);
    if (t == NULL) /* the name stands for "none": a tied head, a cut file */
        base_xxh_add(h, name, strlen(name) + 1);
    else
        add_shape(h, t);
    if (t != NULL && data)
        base_xxh_add(h, t->data, t->n_bytes);
}

/* Everything that makes two sides compute different things from equal weights: the numbers, RoPE as
 * it is used, and the shapes and types of all tensors in graph order, held or not. Only shapes are
 * read, so that a side that holds a few layers gets the same hash. */
static int hash_config(struct eng_model *m)
{
    const struct eng_config *c = &m->c;
    struct base_xxh *h = base_xxh_new();
    if (h == NULL)
        return BASE_ENOMEM;
    base_xxh_add(h, c->arch, strlen(c->arch) + 1);
    const int num[] = {c->n_layer, c->d_model, c->n_head,    c->n_kv_head, c->head_dim,     c->d_ff,
                       c->n_vocab, c->rot_dim, c->rope_neox, c->window,    c->window_period};
    for (size_t i = 0; i < sizeof num / sizeof num[0]; i++)
        add_u32(h, (uint32_t)num[i]);
    add_f64(h, (double)c->rms_eps);
    add_f64(h, (double)c->rope_theta);
    add_f64(h, (double)m->rope_scale);
    if (m->exact)
        base_xxh_add(h, "exact", 5);
    add_f64(h, (double)c->rope_theta_local);
    add_f64(h, (double)c->embed_scale);
    add_f64(h, (double)c->attn_scale);
    add_tensor(h, m->file, "rope_freqs.weight", true);
    add_tensor(h, m->file, "token_embd.weight", false);
    add_tensor(h, m->file, "output_norm.weight", false);
    add_tensor(h, m->file, "output.weight", false);
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(c, spec);
    for (int l = 0; l < c->n_layer; l++) {
        for (int i = 0; i < n; i++) {
            char name[64];
            if (spec[i].row0 == 0)
                add_tensor(h, m->file, eng_layer_name(name, l, spec[i].name), false);
        }
    }
    base_xxh_end(h, m->id.config);
    return 0;
}

static int hash_layer(struct eng_model *m, int l)
{
    struct base_xxh *h = base_xxh_new();
    if (h == NULL)
        return BASE_ENOMEM;
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(&m->c, spec);
    for (int i = 0; i < n; i++) {
        char name[64];
        if (spec[i].row0 == 0) /* once for all parts of a fused one */
            add_tensor(h, m->file, eng_layer_name(name, l, spec[i].name), true);
    }
    base_xxh_end(h, m->id.layer[l]);
    return 0;
}

static int hash_head(struct eng_model *m)
{
    struct base_xxh *h = base_xxh_new();
    if (h == NULL)
        return BASE_ENOMEM;
    add_tensor(h, m->file, "output_norm.weight", true);
    add_tensor(h, m->file, "output.weight", true);
    add_tensor(h, m->file, "token_embd.weight", true);
    base_xxh_end(h, m->id.head);
    return 0;
}

const struct eng_identity *eng_model_identity(struct eng_model *m)
{
    if (m->id_known)
        return &m->id;
    m->id.n_layer = m->c.n_layer;
    if (m->id.layer == NULL)
        m->id.layer = calloc((size_t)m->c.n_layer, sizeof *m->id.layer);
    if (m->id.layer == NULL || hash_config(m) != 0)
        return NULL;
    eng_tok_hash(m->tok, m->id.tok);
    if (!m->no_head && !m->no_embed && hash_head(m) != 0)
        return NULL;
    for (int l = m->layer_begin; l < m->layer_end; l++) {
        if (hash_layer(m, l) != 0)
            return NULL;
    }
    eng_weights_release(m);
    m->id_known = true;
    return &m->id;
}
