#include "ctl/model.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/hash.h"

/* Tensors by type, elements in all. */
struct count {
    int n[GGUF_TYPE_MAX];
    int64_t n_param;
};

static void count_tensors(const struct gguf_file *f, struct count *c)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < gguf_n_tensor(f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        if (t->type < GGUF_TYPE_MAX)
            c->n[t->type]++;
        c->n_param += t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
    }
}

static void put_hex(json_t *o, const char *key, const uint8_t hash[16])
{
    char hex[33];
    json_object_set_new(o, key, json_string(base_hex(hash, 16, hex)));
}

static void put_base_hash(json_t *o, struct eng_model *m)
{
    char hex[33];
    if (eng_lora_base_hash(m, hex, NULL) == 0)
        json_object_set_new(o, "base_model_hash", json_string(hex));
}

static json_t *identity_json(struct eng_model *m)
{
    const struct eng_identity *id = eng_model_identity(m);
    if (id == NULL)
        return json_null();
    json_t *o = json_object(), *layers = json_array();
    put_hex(o, "config", id->config);
    put_hex(o, "tokenizer", id->tok);
    put_hex(o, "head", id->head);
    for (int l = 0; l < id->n_layer; l++) {
        char hex[33];
        json_array_append_new(layers, json_string(base_hex(id->layer[l], 16, hex)));
    }
    json_object_set_new(o, "layers", layers);
    put_base_hash(o, m);
    return o;
}

static json_t *config_json(struct eng_model *m)
{
    const struct eng_config *c = eng_model_config(m);
    const struct eng_tok *t = eng_model_tok(m);
    const struct eng_chat_format *chat = NULL;
    json_t *o = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:b}", "architecture", c->arch,
        "name", c->name, "layers", c->n_layer, "width", c->d_model, "heads", c->n_head, "kv_heads",
        c->n_kv_head, "head_size", c->head_dim, "mlp_width", c->d_ff, "vocabulary", c->n_vocab,
        "context", c->n_ctx_train, "rope_base", (double)c->rope_theta, "tied_head", c->tied_head);
    json_object_set_new(o, "bos", json_integer(eng_tok_bos(t)));
    json_object_set_new(o, "adds_bos", json_boolean(eng_tok_add_bos(t)));
    json_object_set_new(o, "eos", json_integer(eng_tok_eos(t)));
    json_object_set_new(o, "chat_format",
                        eng_model_chat(m, &chat, NULL) == 0 ? json_string(eng_chat_name(chat))
                                                            : json_null());
    json_object_set_new(o, "kernels", json_string(eng_model_kern(m)->name));
    return o;
}

/* What the file is, whoever can run it. */
static json_t *file_json(const struct gguf_file *f, const struct ctl_model_args *a)
{
    struct count c;
    count_tensors(f, &c);
    json_t *o =
        json_pack("{s:s, s:I, s:i, s:I}", "file", a->file, "bytes", (json_int_t)gguf_size_bytes(f),
                  "tensors", gguf_n_tensor(f), "parameters", c.n_param);
    json_t *types = json_object();
    for (uint32_t t = 0; t < GGUF_TYPE_MAX; t++) {
        const char *name = gguf_type_info(t)->name;
        if (c.n[t] > 0 && name != NULL)
            json_object_set_new(types, name, json_integer(c.n[t]));
    }
    json_object_set_new(o, "types", types);
    json_t *keys = a->keys ? json_object() : NULL;
    for (int i = 0; keys != NULL && i < gguf_n_kv(f); i++) {
        char buf[160];
        json_object_set_new(keys, gguf_kv_key(f, i),
                            json_string(gguf_kv_print(f, i, buf, sizeof buf)));
    }
    if (keys != NULL)
        json_object_set_new(o, "keys", keys);
    return o;
}

static bool is_adapter(const struct gguf_file *f)
{
    struct gguf_str s = {"", 0};
    bool found = false;
    return gguf_get_str(f, "general.type", &s, &found, NULL) == 0 && s.len == 7 &&
           memcmp(s.s, "adapter", 7) == 0;
}

/* What an adapter's file says of itself; only eng_lora_open knows whether it is sound. */
static json_t *adapter_json(const struct gguf_file *f)
{
    static const char *const key[][2] = {{"architecture", "general.architecture"},
                                         {"name", "general.name"},
                                         {"kind", "adapter.type"},
                                         {"alpha", "adapter.lora.alpha"},
                                         {"base_model", "general.base_model.0.name"},
                                         {"base_model_hash", "waypost.base_model.hash"}};
    json_t *o = json_object();
    for (int i = 0; i < gguf_n_kv(f); i++) {
        for (size_t k = 0; k < sizeof key / sizeof key[0]; k++) {
            char buf[160];
            if (strcmp(gguf_kv_key(f, i), key[k][1]) == 0)
                json_object_set_new(o, key[k][0],
                                    json_string(gguf_kv_print(f, i, buf, sizeof buf)));
        }
    }
    int64_t rank_min = INT64_MAX, rank_max = 0;
    int n_pair = 0, layer_begin = -1, layer_end = -1;
    for (int i = 0; i < gguf_n_tensor(f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        const char *dot = strrchr(t->name, '.');
        int l;
        if (dot == NULL || strcmp(dot, ".lora_a") != 0)
            continue;
        n_pair++;
        rank_min = t->dim[1] < rank_min ? t->dim[1] : rank_min;
        rank_max = t->dim[1] > rank_max ? t->dim[1] : rank_max;
        if (sscanf(t->name, "blk.%d.", &l) == 1 && l >= 0 && l < INT_MAX) {
            layer_begin = layer_begin < 0 || l < layer_begin ? l : layer_begin;
            layer_end = l + 1 > layer_end ? l + 1 : layer_end;
        }
    }
    json_object_set_new(o, "matrices", json_integer(n_pair));
    if (n_pair > 0) {
        json_object_set_new(o, "rank_min", json_integer(rank_min));
        json_object_set_new(o, "rank_max", json_integer(rank_max));
    }
    if (layer_begin >= 0) {
        json_object_set_new(o, "first_layer", json_integer(layer_begin));
        json_object_set_new(o, "last_layer", json_integer(layer_end - 1));
    }
    return o;
}

/* --adapter: the adapter as the engine has it for this model. false: it doesn't fit. */
static bool fit_json(const struct ctl_model_args *a, struct eng_model *m, json_t **out)
{
    struct eng_lora *l = NULL;
    struct base_err err = {0};
    char line[600];
    if (eng_lora_open(&l, m, a->adapter, &err) != 0) {
        *out = json_pack("{s:s, s:b, s:s}", "file", a->adapter, "fits", false, "why_not",
                         base_err_line(&err, line, sizeof line));
        return false;
    }
    const struct eng_lora_info *i = eng_lora_info(l);
    *out = json_pack("{s:s, s:b, s:s, s:f, s:i, s:i, s:i, s:b, s:I}", "file", a->adapter, "fits",
                     true, "name", i->name, "alpha", (double)i->alpha, "matrices", i->n_pair,
                     "rank_min", i->rank_min, "rank_max", i->rank_max, "head", i->head, "bytes",
                     (json_int_t)i->n_bytes);
    if (i->layer_begin < i->layer_end) {
        json_object_set_new(*out, "first_layer", json_integer(i->layer_begin));
        json_object_set_new(*out, "last_layer", json_integer(i->layer_end - 1));
    }
    put_hex(*out, "hash", i->hash);
    eng_lora_close(l);
    return true;
}

static void print_value(const json_t *v)
{
    if (json_is_string(v))
        fputs(json_string_value(v), stdout);
    else if (json_is_integer(v))
        printf("%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        printf("%.9g", json_real_value(v));
    else
        fputs(json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "none", stdout);
    putchar('\n');
}

/* One "key  value" line each; nested ones get a heading and an indent. */
static void print_object(const json_t *o, int indent)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)o, key, v)
    {
        printf("%*s%-*s", indent, "", 16 - indent, key);
        if (json_is_object(v)) {
            putchar('\n');
            print_object(v, indent + 2);
        } else if (json_is_array(v)) {
            size_t i;
            json_t *e;
            putchar('\n');
            json_array_foreach(v, i, e)
            {
                printf("%*s%-*zu", indent + 2, "", 14 - indent, i);
                print_value(e);
            }
        } else {
            putchar(' ');
            print_value(v);
        }
    }
}

/* Takes o. */
static void print(json_t *o, const struct ctl_model_args *a)
{
    if (a->json) {
        json_dumpf(o, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_object(o, 0);
    }
    json_decref(o);
}

int ctl_model_info(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct gguf_file *f = NULL;
    if (gguf_open(&f, a->file, &err) != 0)
        return ctl_model_fail(&err);
    json_t *o = file_json(f, a);
    if (is_adapter(f)) {
        json_object_set_new(o, "adapter", adapter_json(f));
        gguf_close(f);
        print(o, a);
        return CTL_OK;
    }
    gguf_close(f);

    struct eng_model *m = NULL;
    const struct eng_model_opt opt = {
        .path = a->file, .layer_end = -1, .cpu = getenv("WAYPOST_CPU"), .look = true};
    bool runs = eng_model_open(&m, &opt, &err) == 0;
    json_object_set_new(o, "runs", json_boolean(runs));
    if (runs) {
        json_object_set_new(o, "model", config_json(m));
        if (a->hash)
            json_object_set_new(o, "identity", identity_json(m));
        if (a->adapter != NULL) {
            json_t *fit = NULL;
            runs = fit_json(a, m, &fit);
            json_object_set_new(o, "adapter", fit);
        }
    } else {
        char line[600];
        json_object_set_new(o, "why_not", json_string(base_err_line(&err, line, sizeof line)));
    }
    char cpu[256];
    json_object_set_new(o, "cpu", json_string(kern_cpu_features(cpu, sizeof cpu)));
    print(o, a);
    eng_model_close(m);
    return runs ? CTL_OK : CTL_NO;
}
