/* An adapter's file: every field checked, B turned into the layout of its kernel. */
#include "engine/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/lora_int.h"
#include "engine/quant.h"

#define HEAD "output.weight"
#define BASE_HASH_KEY "waypost.base_model.hash"

static const size_t slot_offset[ENG_N_SLOT] = {[ENG_SLOT_Q] = offsetof(struct eng_layer, q),
                                               [ENG_SLOT_K] = offsetof(struct eng_layer, k),
                                               [ENG_SLOT_V] = offsetof(struct eng_layer, v),
                                               [ENG_SLOT_O] = offsetof(struct eng_layer, o),
                                               [ENG_SLOT_UP] = offsetof(struct eng_layer, up),
                                               [ENG_SLOT_DOWN] = offsetof(struct eng_layer, down),
                                               [ENG_SLOT_GATE] = offsetof(struct eng_layer, gate)};

/* ---- keys ---- */

static int check_word(const struct gguf_file *f, const char *key, const char *want, int code,
                      struct base_err *err)
{
    struct gguf_str s = {"", 0};
    bool found = false;
    int rc = gguf_get_str(f, key, &s, &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return base_err_set(err, BASE_EFORMAT, key, "the file lacks this key of an adapter");
    if (s.len != strlen(want) || memcmp(s.s, want, s.len) != 0)
        return base_err_set(err, code, key, "'%.*s', expected '%s'", (int)(s.len < 64 ? s.len : 64),
                            s.s, want);
    return 0;
}

static int read_alpha(struct eng_lora *l, struct base_err *err)
{
    static const char key[] = "adapter.lora.alpha";
    bool found = false;
    float alpha = 0.0f;
    int rc = gguf_get_f32(l->file, key, &alpha, &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return base_err_set(err, BASE_EFORMAT, key, "the file lacks this key of an adapter");
    if (!(alpha > 0.0f && isfinite(alpha))) /* also NaN */
        return base_err_set(err, BASE_EFORMAT, key, "%g is not above zero and finite",
                            (double)alpha);
    l->info.alpha = alpha;
    return 0;
}

int eng_lora_base_hash(struct eng_model *m, char out[33], struct base_err *err)
{
    if (!eng_model_holds(m, 0, m->c.n_layer, true, true))
        return base_err_set(err, BASE_EINVAL, BASE_HASH_KEY,
                            "a part of the model can't be told from others: all of it is needed");
    const struct eng_identity *id = eng_model_identity(m);
    struct base_xxh *h = id != NULL ? base_xxh_new() : NULL;
    if (h == NULL)
        return base_err_set(err, BASE_ENOMEM, BASE_HASH_KEY, "no memory for the model's identity");
    uint8_t hash[16];
    base_xxh_add(h, id->tok, sizeof id->tok);
    base_xxh_add(h, id->head, sizeof id->head);
    base_xxh_add(h, id->layer, (size_t)id->n_layer * sizeof *id->layer);
    base_xxh_end(h, hash);
    base_hex(hash, sizeof hash, out);
    return 0;
}

/* A file may say which model it was trained on; then no other will do. */
static int check_base(const struct eng_lora *l, struct eng_model *m, struct base_err *err)
{
    struct gguf_str s = {"", 0};
    bool found = false;
    char own[33];
    int rc = gguf_get_str(l->file, BASE_HASH_KEY, &s, &found, err);
    if (rc != 0 || !found)
        return rc;
    if ((rc = eng_lora_base_hash(m, own, err)) != 0)
        return rc;
    if (s.len != strlen(own) || memcmp(s.s, own, s.len) != 0)
        return base_err_set(err, BASE_EMISMATCH, BASE_HASH_KEY,
                            "made for model '%.*s', this one is '%s'",
                            (int)(s.len < 64 ? s.len : 64), s.s, own);
    return 0;
}

static int read_keys(struct eng_lora *l, struct eng_model *m, struct base_err *err)
{
    /* Such an adapter works only behind certain words: not everywhere, as ours do. */
    static const char alora[] = "adapter.alora.invocation_tokens";
    int rc;
    if ((rc = check_word(l->file, "general.type", "adapter", BASE_EFORMAT, err)) != 0 ||
        (rc = check_word(l->file, "adapter.type", "lora", BASE_EUNSUPPORTED, err)) != 0 ||
        (rc = check_word(l->file, "general.architecture", m->c.arch, BASE_EMISMATCH, err)) != 0 ||
        (rc = read_alpha(l, err)) != 0)
        return rc;
    for (int i = 0; i < gguf_n_kv(l->file); i++) {
        if (strcmp(gguf_kv_key(l->file, i), alora) == 0)
            return base_err_set(err, BASE_EUNSUPPORTED, alora,
                                "an adapter that waits for certain tokens");
    }
    struct gguf_str name = {"", 0};
    bool found = false;
    if ((rc = gguf_get_str(l->file, "general.name", &name, &found, err)) != 0)
        return rc;
    for (size_t i = 0; i < name.len && i + 1 < sizeof l->info.name; i++)
        l->info.name[i] = name.s[i] < 0x20 || name.s[i] > 0x7e ? '?' : name.s[i];
    return check_base(l, m, err);
}

/* ---- tensors ---- */

/* Is this one of the block's matrices, "blk.7.attn_q.weight"? */
static bool is_matrix(const struct eng_model *m, const char *name)
{
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(&m->c, spec);
    int layer = -1;
    char full[64];
    if (sscanf(name, "blk.%d.", &layer) != 1 || layer < 0 || layer >= m->c.n_layer)
        return false;
    for (int i = 0; i < n; i++) {
        if (spec[i].n_out > 0 && strcmp(name, eng_layer_name(full, layer, spec[i].name)) == 0)
            return true;
    }
    return false;
}

/* What we would not use means that the adapter would do less than it was trained for. */
static int refuse_strangers(const struct eng_lora *l, struct base_err *err)
{
    const struct eng_model *m = l->m;
    for (int i = 0; i < gguf_n_tensor(l->file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(l->file, i);
        char name[sizeof t->name];
        strcpy(name, t->name);
        char *dot = strrchr(name, '.');
        if (dot == NULL || (strcmp(dot, ".lora_a") != 0 && strcmp(dot, ".lora_b") != 0))
            return base_err_set(err, BASE_EUNSUPPORTED, t->name,
                                "neither a .lora_a nor a .lora_b: we would not use it");
        *dot = '\0';
        if (strcmp(name, "token_embd.weight") == 0)
            return base_err_set(err, BASE_EUNSUPPORTED, t->name,
                                "adapters of the embedding are not supported");
        if (strcmp(name, HEAD) == 0 && m->c.tied_head)
            return base_err_set(err, BASE_EUNSUPPORTED, t->name,
                                "the model's head is its embedding, it has no " HEAD);
        if (strcmp(name, HEAD) != 0 && !is_matrix(m, name))
            return base_err_set(err, BASE_EUNSUPPORTED, t->name,
                                "the %s model of %d layers has no such matrix", m->c.arch,
                                m->c.n_layer);
    }
    if (gguf_n_tensor(l->file) == 0)
        return base_err_set(err, BASE_EFORMAT, "tensors", "the adapter has none");
    return 0;
}

/* One row of t as f32. */
static int read_row(const struct eng_lora *l, const struct gguf_tensor *t, int64_t row, float *out,
                    struct base_err *err)
{
    l->m->kern->dequant_row(t->type, (const uint8_t *)t->data + (size_t)row * t->row_bytes, out,
                            t->dim[0]);
    for (int64_t i = 0; i < t->dim[0]; i++) {
        if (!isfinite(out[i]))
            return base_err_set(err, BASE_EFORMAT, t->name, "row %lld has %g in it", (long long)row,
                                (double)out[i]);
    }
    return 0;
}

static bool fits_f16(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (quant_f16_to_f32(quant_f32_to_f16(v[i])) != v[i])
            return false;
    }
    return true;
}

/* Rows [row0, row0 + n_out) of B into p's panels. */
static int load_b(const struct eng_lora *l, struct lora_pair *p, const struct gguf_tensor *b,
                  int64_t row0, struct base_err *err)
{
    const size_t rank = (size_t)p->rank, n_panel = ((size_t)p->n_out + LORA_PANEL - 1) / LORA_PANEL;
    const size_t n = n_panel * rank * LORA_PANEL; /* a multiple of 32: aligned_alloc's rule */
    float row[ENG_LORA_MAX_RANK];
    float *wide = aligned_alloc(64, n * sizeof *wide);
    if (wide == NULL)
        return base_err_set(err, BASE_ENOMEM, b->name, "no memory for %zu numbers", n);
    memset(wide, 0, n * sizeof *wide);
    p->b = wide;
    p->b_type = GGUF_F32;
    for (int i = 0; i < p->n_out; i++) {
        int rc = read_row(l, b, row0 + i, row, err);
        if (rc != 0)
            return rc;
        float *column = wide + (size_t)(i / LORA_PANEL) * rank * LORA_PANEL + i % LORA_PANEL;
        for (int j = 0; j < p->rank; j++)
            column[j * LORA_PANEL] = row[j];
    }
    if (b->type != GGUF_F16 && !fits_f16(wide, n))
        return 0;
    uint16_t *half = aligned_alloc(64, n * sizeof *half);
    if (half == NULL)
        return base_err_set(err, BASE_ENOMEM, b->name, "no memory for %zu numbers", n);
    for (size_t i = 0; i < n; i++)
        half[i] = quant_f32_to_f16(wide[i]);
    free(wide);
    p->b = half;
    p->b_type = GGUF_F16;
    return 0;
}

/* A is used as it lies in the file: only looked through, which also brings its pages in. */
static int check_a(const struct eng_lora *l, const struct gguf_tensor *a, struct base_err *err)
{
    float *row = malloc((size_t)a->dim[0] * sizeof *row);
    if (row == NULL)
        return base_err_set(err, BASE_ENOMEM, a->name, "no memory for %lld numbers",
                            (long long)a->dim[0]);
    int rc = 0;
    for (int64_t i = 0; i < a->dim[1] && rc == 0; i++)
        rc = read_row(l, a, i, row, err);
    free(row);
    return rc;
}

static void hash_tensor(struct base_xxh *h, const struct gguf_tensor *t)
{
    const uint64_t head[] = {t->type, (uint64_t)t->dim[0], (uint64_t)t->dim[1]};
    base_xxh_add(h, t->name, strlen(t->name) + 1);
    base_xxh_add(h, head, sizeof head);
    base_xxh_add(h, t->data, t->n_bytes);
}

/* The two halves of a pair by contract; *a NULL: the adapter has nothing for this matrix. */
static int find_pair(const struct eng_lora *l, const char *name, int64_t n_in, int64_t n_out,
                     const struct gguf_tensor **a, const struct gguf_tensor **b,
                     struct base_err *err)
{
    char name_a[LORA_NAME], name_b[LORA_NAME];
    snprintf(name_a, sizeof name_a, "%s.lora_a", name);
    snprintf(name_b, sizeof name_b, "%s.lora_b", name);
    *a = gguf_tensor_find(l->file, name_a);
    *b = gguf_tensor_find(l->file, name_b);
    if (*a == NULL && *b == NULL)
        return 0;
    if (*a == NULL || *b == NULL)
        return base_err_set(err, BASE_EFORMAT, *a == NULL ? name_b : name_a,
                            "its other half %s is missing", *a == NULL ? name_a : name_b);
    const int64_t rank = (*a)->dim[1];
    if (rank > ENG_LORA_MAX_RANK)
        return base_err_set(err, BASE_ELIMIT, name_a, "rank %lld (at most %d)", (long long)rank,
                            ENG_LORA_MAX_RANK);
    int rc = gguf_tensor_get(l->file, name_a, n_in, rank, a, err);
    return rc != 0 ? rc : gguf_tensor_get(l->file, name_b, rank, n_out, b, err);
}

static void count_pair(struct eng_lora *l, const struct gguf_tensor *a, const struct gguf_tensor *b,
                       struct base_xxh *h)
{
    struct eng_lora_info *i = &l->info;
    const int rank = (int)a->dim[1];
    i->rank_min = i->n_pair == 0 || rank < i->rank_min ? rank : i->rank_min;
    i->rank_max = rank > i->rank_max ? rank : i->rank_max;
    i->n_pair++;
    i->n_bytes += a->n_bytes + b->n_bytes;
    hash_tensor(h, a);
    hash_tensor(h, b);
}

/* The pair of a matrix, or of those of its outputs that the spec names. */
static int read_pair(struct eng_lora *l, const char *name, const struct eng_tensor_spec *spec,
                     bool held, struct lora_pair *p, struct base_xxh *h, struct base_err *err)
{
    const struct gguf_tensor *a, *b;
    int rc = find_pair(l, name, spec->n_in, spec->n_out, &a, &b, err);
    if (rc != 0 || a == NULL)
        return rc;
    if (spec->row0 == 0) { /* once for all parts of a fused one */
        if ((rc = check_a(l, a, err)) != 0)
            return rc;
        count_pair(l, a, b, h);
    }
    if (!held)
        return 0;
    p->a = a;
    p->rank = (int)a->dim[1];
    p->n_out = (int)spec->n_row;
    p->scale = l->info.alpha / (float)p->rank;
    return load_b(l, p, b, spec->row0, err);
}

static struct lora_pair *pair_of(struct eng_lora *l, int layer, const struct eng_tensor_spec *spec)
{
    int slot = 0;
    while (slot_offset[slot] != spec->offset)
        slot++;
    return &l->layer[layer][slot];
}

static int read_layer(struct eng_lora *l, int layer, struct base_xxh *h, struct base_err *err)
{
    struct eng_tensor_spec spec[ENG_MAX_LAYER_TENSORS];
    const int n = eng_layer_spec(&l->m->c, spec), before = l->info.n_pair;
    const bool held = layer >= l->m->layer_begin && layer < l->m->layer_end;
    for (int i = 0; i < n; i++) {
        char name[64];
        if (spec[i].n_out == 0)
            continue;
        int rc = read_pair(l, eng_layer_name(name, layer, spec[i].name), &spec[i], held,
                           pair_of(l, layer, &spec[i]), h, err);
        if (rc != 0)
            return rc;
    }
    if (l->info.n_pair == before)
        return 0;
    l->info.layer_begin = before == 0 ? layer : l->info.layer_begin;
    l->info.layer_end = layer + 1;
    return 0;
}

/* B's pages are not needed any more: panels took their place. */
static void give_back_b(const struct eng_lora *l)
{
    for (int i = 0; i < gguf_n_tensor(l->file); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(l->file, i);
        const char *dot = strrchr(t->name, '.');
        if (dot != NULL && strcmp(dot, ".lora_b") == 0)
            gguf_advise(l->file, t->data, t->n_bytes, false);
    }
}

static int read_tensors(struct eng_lora *l, struct base_err *err)
{
    const struct eng_config *c = &l->m->c;
    const struct eng_tensor_spec head = {
        .n_in = c->d_model, .n_out = c->n_vocab, .n_row = c->n_vocab};
    int rc = refuse_strangers(l, err);
    if (rc != 0)
        return rc;
    l->layer = calloc((size_t)c->n_layer, sizeof *l->layer);
    struct base_xxh *h = l->layer != NULL ? base_xxh_new() : NULL;
    if (h == NULL)
        return base_err_set(err, BASE_ENOMEM, "adapter", "no memory for %d layers", c->n_layer);
    base_xxh_add(h, &l->info.alpha, sizeof l->info.alpha);
    for (int i = 0; i < c->n_layer && rc == 0; i++)
        rc = read_layer(l, i, h, err);
    const int before = l->info.n_pair;
    if (rc == 0)
        rc = read_pair(l, HEAD, &head, !l->m->no_head, &l->head, h, err);
    l->info.head = l->info.n_pair > before;
    base_xxh_end(h, l->info.hash);
    give_back_b(l);
    return rc;
}

int eng_lora_open(struct eng_lora **out, struct eng_model *m, const char *path,
                  struct base_err *err)
{
    *out = NULL;
    struct eng_lora *l = calloc(1, sizeof *l);
    if (l == NULL)
        return base_err_set(err, BASE_ENOMEM, path, "no memory for the adapter");
    l->m = m;
    int rc;
    if ((rc = gguf_open(&l->file, path, err)) != 0 || (rc = read_keys(l, m, err)) != 0 ||
        (rc = read_tensors(l, err)) != 0) {
        eng_lora_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

void eng_lora_close(struct eng_lora *l)
{
    if (l == NULL)
        return;
    for (int i = 0; l->layer != NULL && i < l->m->c.n_layer; i++) {
        for (int s = 0; s < ENG_N_SLOT; s++)
            free(l->layer[i][s].b);
    }
    free(l->layer);
    free(l->head.b);
    gguf_close(l->file);
    free(l);
}

const struct eng_model *eng_lora_model(const struct eng_lora *l)
{
    return l->m;
}

const struct eng_lora_info *eng_lora_info(const struct eng_lora *l)
{
    return &l->info;
}

bool eng_lora_touches(const struct eng_lora *l, int a, int b)
{
    if (l == NULL || a >= b)
        return false;
    const int head = l->m->c.n_layer;
    const bool some = l->info.layer_begin < l->info.layer_end;
    return (l->info.head && head >= a && head < b) ||
           (some && l->info.layer_begin < b && l->info.layer_end > a);
}
