#include "engine/inner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *key_of(char buf[96], const struct eng_config *c, const char *suffix)
{
    snprintf(buf, 96, "%s.%s", c->arch, suffix);
    return buf;
}

/* A whole number in [min, max]; def < 0: required. */
static int get_int(const struct eng_model *m, const char *suffix, int64_t def, int64_t min,
                   int64_t max, int *out, struct base_err *err)
{
    char key[96];
    uint32_t v = 0;
    bool found = false;
    int rc = gguf_get_u32(m->file, key_of(key, &m->c, suffix), &v, &found, err);
    if (rc != 0)
        return rc;
    if (!found && def < 0)
        return base_err_set(err, BASE_EFORMAT, key, "the model file lacks this key");
    int64_t n = found ? (int64_t)v : def;
    if (n < min || n > max)
        return base_err_set(err, BASE_EFORMAT, key, "%lld is not in %lld..%lld", (long long)n,
                            (long long)min, (long long)max);
    *out = (int)n;
    return 0;
}

/* A number in [min, max]; def NAN: required. */
static int get_float(const struct eng_model *m, const char *suffix, float def, float min, float max,
                     float *out, struct base_err *err)
{
    char key[96];
    bool found = false;
    float v = def;
    int rc = gguf_get_f32(m->file, key_of(key, &m->c, suffix), &v, &found, err);
    if (rc != 0)
        return rc;
    if (!found && isnan(def))
        return base_err_set(err, BASE_EFORMAT, key, "the model file lacks this key");
    if (!(v >= min && v <= max)) /* also NaN */
        return base_err_set(err, BASE_EFORMAT, key, "%g is not in %g..%g", (double)v, (double)min,
                            (double)max);
    *out = v;
    return 0;
}

static int get_text(const struct eng_model *m, const char *key, char *out, size_t size,
                    struct base_err *err)
{
    struct gguf_str s = {"", 0};
    bool found = false;
    int rc = gguf_get_str(m->file, key, &s, &found, err);
    if (rc != 0)
        return rc;
    size_t n = s.len < size - 1 ? s.len : size - 1;
    memcpy(out, s.s, n);
    out[n] = '\0';
    /* It is shown to people and in JSON: nothing but printable ASCII. */
    for (size_t i = 0; i < n; i++) {
        if (out[i] < 0x20 || out[i] > 0x7e)
            out[i] = '?';
    }
    return 0;
}

/* What we run: every difference between them is a number or a flag here or a key in the file. */
static const struct eng_config archs[] = {
    {.arch = "llama", .rope_freqs = true},
    {.arch = "qwen2", .rope_neox = 1, .qkv_bias = true},
    {.arch = "qwen3", .rope_neox = 1, .qk_norm = true},
    {.arch = "gemma3",
     .rope_neox = 1,
     .qk_norm = true,
     .post_norm = true,
     .act = ENG_GELU,
     .scale_embed = true,
     .windowed = true,
     .window_period = 6,
     .rope_theta_local = 10000.0f},
    {.arch = "phi3", .rope_neox = 1, .fused = true, .windowed = true},
};
#define OUR_ARCHS "llama, qwen2, qwen3, gemma3, phi3"

static int read_arch(struct eng_model *m, struct base_err *err)
{
    char name[sizeof m->c.arch];
    int rc = get_text(m, "general.architecture", name, sizeof name, err);
    if (rc != 0)
        return rc;
    size_t i = 0;
    while (i < sizeof archs / sizeof archs[0] && strcmp(archs[i].arch, name) != 0)
        i++;
    if (i == sizeof archs / sizeof archs[0])
        return base_err_set(err, BASE_EUNSUPPORTED, "general.architecture",
                            "'%s' is not an architecture we run; ours: " OUR_ARCHS, name);
    m->c = archs[i];
    return get_text(m, "general.name", m->c.name, sizeof m->c.name, err);
}

/* RoPE scaling as our graphs know it: none or linear. Llama 3's own scaling comes as factors
 * in rope_freqs.weight, without a key. A factor without a type means linear: the files' custom. */
/* Of the file's tokens; what they are is the tokenizer's to read. */
static int read_vocab_size(struct eng_model *m, struct base_err *err)
{
    static const char key[] = "tokenizer.ggml.tokens";
    uint64_t n;
    bool found;
    int rc = gguf_get_arr(m->file, key, GGUF_KV_STR, &n, &found, err);
    if (rc != 0)
        return rc;
    if (!found)
        return base_err_set(err, BASE_EFORMAT, key, "missing: the file has no tokenizer");
    if (n < 1 || n > ENG_MAX_VOCAB)
        return base_err_set(err, BASE_EFORMAT, key, "%llu tokens", (unsigned long long)n);
    m->c.n_vocab = (int)n;
    return 0;
}

static int read_rope_scale(struct eng_model *m, struct base_err *err)
{
    char key[96], type[32];
    int rc = get_text(m, key_of(key, &m->c, "rope.scaling.type"), type, sizeof type, err);
    if (rc != 0)
        return rc;
    if (type[0] != '\0' && strcmp(type, "linear") != 0 && strcmp(type, "none") != 0)
        return base_err_set(err, BASE_EUNSUPPORTED, key,
                            "'%s' is not a RoPE scaling we do; ours: none, linear, and Llama 3's "
                            "rope_freqs.weight",
                            type);
    static const char longrope[] = "rope_factors_long.weight";
    if (gguf_tensor_find(m->file, longrope) != NULL)
        return base_err_set(err, BASE_EUNSUPPORTED, longrope, "we don't do longrope scaling");
    float factor = 1.0f, attn = 1.0f;
    if ((rc = get_float(m, "rope.scale_linear", 1.0f, 0.0f, 1e6f, &factor, err)) != 0 ||
        (rc = get_float(m, "rope.scaling.factor", factor, 0.0f, 1e6f, &factor, err)) != 0 ||
        (rc = get_float(m, "rope.scaling.attn_factor", 1.0f, 1.0f, 1.0f, &attn, err)) != 0)
        return rc;
    bool none = strcmp(type, "none") == 0 || factor == 0.0f;
    m->rope_scale = none ? 1.0f : 1.0f / factor;
    return 0;
}

/* Window, and which layers have it. */
static int read_window(struct eng_model *m, struct base_err *err)
{
    struct eng_config *c = &m->c;
    int rc = 0;
    if (!c->windowed)
        return 0;
    const int def = c->window_period > 0 ? -1 : 0; /* some layers differ: the file must say how */
    if ((rc = get_int(m, "attention.sliding_window", def, 0, ENG_MAX_CTX, &c->window, err)) != 0 ||
        (rc = get_int(m, "attention.sliding_window_pattern", c->window_period, 0, ENG_MAX_LAYER,
                      &c->window_period, err)) != 0)
        return rc;
    if (c->rope_theta_local != 0.0f)
        rc = get_float(m, "rope.freq_base_swa", c->rope_theta_local, 1.0f, 1e12f,
                       &c->rope_theta_local, err);
    return rc;
}

/* Gemma 3 27B, alone among its sizes, doesn't divide by the root of its head's size. No key says
 * so: its number of layers does, for llama.cpp too. */
static void set_scales(struct eng_config *c)
{
    const bool gemma_27b = strcmp(c->arch, "gemma3") == 0 && c->n_layer == 62;
    c->embed_scale = c->scale_embed ? sqrtf((float)c->d_model) : 1.0f;
    c->attn_scale = 1.0f / sqrtf((float)(gemma_27b ? c->d_model / c->n_head : c->head_dim));
}

/* Keys that would change the graph. Running on without obeying them would give wrong answers. */
static int refuse_variants(const struct eng_model *m, struct base_err *err)
{
    enum { SLIDING = 2 };
    static const char *const zero[] = {"expert_count",
                                       "expert_used_count", [SLIDING] = "attention.sliding_window"};
    for (size_t i = 0; i < sizeof zero / sizeof zero[0]; i++) {
        char key[96];
        uint32_t v = 0;
        bool found = false;
        int rc = gguf_get_u32(m->file, key_of(key, &m->c, zero[i]), &v, &found, err);
        if (rc != 0)
            return rc;
        if (v != 0 && !(i == SLIDING && m->c.windowed))
            return base_err_set(err, BASE_EUNSUPPORTED, key, "%u: not in the %s graph that we run",
                                v, m->c.arch);
    }
    static const char *const absent[] = {
        "attention.clamp_kqv",    "attention.scale", "attention.max_alibi_bias",
        "attn_logit_softcapping", "logit_scale",     "final_logit_softcapping",
        "residual_scale",         "embedding_scale",
    };
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        char key[96];
        float v = 0.0f;
        bool found = false;
        int rc = gguf_get_f32(m->file, key_of(key, &m->c, absent[i]), &v, &found, err);
        if (rc != 0)
            return rc;
        if (found && v != 0.0f)
            return base_err_set(err, BASE_EUNSUPPORTED, key, "%g: not in the %s graph that we run",
                                (double)v, m->c.arch);
    }
    return 0;
}

int eng_config_read(struct eng_model *m, struct base_err *err)
{
    struct eng_config *c = &m->c;
    int rc = read_arch(m, err);
    if (rc != 0)
        return rc;
    char key[96];
    int v_dim = 0;
    if ((rc = get_int(m, "block_count", -1, 1, ENG_MAX_LAYER, &c->n_layer, err)) != 0 ||
        (rc = get_int(m, "embedding_length", -1, 1, ENG_MAX_WIDTH, &c->d_model, err)) != 0 ||
        (rc = get_int(m, "feed_forward_length", -1, 1, ENG_MAX_WIDTH, &c->d_ff, err)) != 0 ||
        (rc = get_int(m, "attention.head_count", -1, 1, c->d_model, &c->n_head, err)) != 0 ||
        (rc = get_int(m, "attention.head_count_kv", c->n_head, 1, c->n_head, &c->n_kv_head, err)) !=
            0 ||
        (rc = get_int(m, "attention.key_length", c->d_model / c->n_head, 2, ENG_MAX_HEAD_DIM,
                      &c->head_dim, err)) != 0 ||
        (rc = get_int(m, "attention.value_length", c->head_dim, c->head_dim, c->head_dim, &v_dim,
                      err)) != 0 ||
        (rc = get_int(m, "rope.dimension_count", c->head_dim, 2, c->head_dim, &c->rot_dim, err)) !=
            0 ||
        (rc = get_int(m, "context_length", -1, 1, ENG_MAX_CTX, &c->n_ctx_train, err)) != 0 ||
        (rc = get_float(m, "attention.layer_norm_rms_epsilon", NAN, 0.0f, 1.0f, &c->rms_eps,
                        err)) != 0 ||
        (rc = get_float(m, "rope.freq_base", 10000.0f, 1.0f, 1e12f, &c->rope_theta, err)) != 0)
        return rc;
    if (c->n_head % c->n_kv_head != 0)
        return base_err_set(err, BASE_EFORMAT, key_of(key, c, "attention.head_count_kv"),
                            "%d heads cannot share %d K/V heads", c->n_head, c->n_kv_head);
    if (c->head_dim % 2 != 0 || c->rot_dim % 2 != 0)
        return base_err_set(err, BASE_EFORMAT, key_of(key, c, "rope.dimension_count"),
                            "head size %d, rotated %d: both must be even", c->head_dim, c->rot_dim);
    if ((int64_t)c->n_head * c->head_dim > ENG_MAX_WIDTH)
        return base_err_set(err, BASE_EFORMAT, key_of(key, c, "attention.head_count"),
                            "%d heads of %d are wider than %d", c->n_head, c->head_dim,
                            ENG_MAX_WIDTH);
    set_scales(c);
    if ((rc = read_vocab_size(m, err)) != 0 || (rc = read_rope_scale(m, err)) != 0 ||
        (rc = read_window(m, err)) != 0)
        return rc;
    return refuse_variants(m, err);
}
