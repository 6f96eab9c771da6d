#include "ctl/model.h"

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

int ctl_model_info(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct gguf_file *f = NULL;
    if (gguf_open(&f, a->file, &err) != 0)
        return ctl_model_fail(&err);
    json_t *o = file_json(f, a);
    gguf_close(f);

    struct eng_model *m = NULL;
    const struct eng_model_opt opt = {
        .path = a->file, .layer_end = -1, .cpu = getenv("WAYPOST_CPU"), .look = true};
    const bool runs = eng_model_open(&m, &opt, &err) == 0;
    json_object_set_new(o, "runs", json_boolean(runs));
    if (runs) {
        json_object_set_new(o, "model", config_json(m));
        if (a->hash)
            json_object_set_new(o, "identity", identity_json(m));
    } else {
        char line[600];
        json_object_set_new(o, "why_not", json_string(base_err_line(&err, line, sizeof line)));
    }
    char cpu[256];
    json_object_set_new(o, "cpu", json_string(kern_cpu_features(cpu, sizeof cpu)));
    if (a->json) {
        json_dumpf(o, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_object(o, 0);
    }
    json_decref(o);
    eng_model_close(m);
    return runs ? CTL_OK : CTL_NO;
}
