#include "engine/inner.h"

#include <stdlib.h>
#include <string.h>

static int pick_range(struct eng_model *m, const struct eng_model_opt *o, struct base_err *err)
{
    m->layer_begin = o->layer_begin;
    m->layer_end = o->layer_end == -1 ? m->c.n_layer : o->layer_end;
    m->no_embed = o->no_embed;
    m->no_head = o->no_head;
    m->exact = o->exact;
    if (m->layer_begin < 0 || m->layer_begin > m->layer_end || m->layer_end > m->c.n_layer)
        return base_err_set(err, BASE_EINVAL, o->path, "layers [%d, %d) of a model with %d",
                            o->layer_begin, o->layer_end, m->c.n_layer);
    return 0;
}

/* A chat format that we don't know hurts only those who chat: keep the error for them. */
static int find_chat(struct eng_model *m, const char *force, struct base_err *err)
{
    struct gguf_str tmpl = {"", 0};
    bool found = false;
    int rc = gguf_get_str(m->file, "tokenizer.chat_template", &tmpl, &found, err);
    if (rc != 0)
        return rc;
    rc = eng_chat_find(&m->chat, tmpl.s, tmpl.len, force, &m->chat_err);
    if (rc == 0)
        return 0;
    m->chat = NULL;
    if (rc != BASE_ENOMEM)
        return 0;
    if (err != NULL)
        *err = m->chat_err;
    return rc;
}

int eng_model_open(struct eng_model **out, const struct eng_model_opt *o, struct base_err *err)
{
    struct eng_model *m = calloc(1, sizeof *m);
    if (m == NULL)
        return base_err_set(err, BASE_ENOMEM, o->path, "no memory for the model");
    struct eng_packing packing;
    int rc;
    if ((rc = kern_select(o->cpu, &m->kern, err)) != 0 ||
        (rc = gguf_open(&m->file, o->path, err)) != 0 || (rc = eng_config_read(m, err)) != 0 ||
        (rc = pick_range(m, o, err)) != 0 || (rc = eng_weights_read(m, err)) != 0 ||
        (rc = find_chat(m, o->chat_format, err)) != 0 ||
        (rc = eng_weights_pack_begin(&packing, m, o, err)) != 0 ||
        (rc = eng_weights_pack_end(&packing, eng_tok_open(&m->tok, m->file, err), err)) != 0) {
        eng_model_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

void eng_model_close(struct eng_model *m)
{
    if (m == NULL)
        return;
    eng_weights_unpack(m);
    eng_weights_fini(m);
    free(m->id.layer);
    eng_chat_free(m->chat);
    eng_tok_close(m->tok);
    gguf_close(m->file);
    free(m);
}

const struct eng_config *eng_model_config(const struct eng_model *m)
{
    return &m->c;
}

const struct eng_tok *eng_model_tok(const struct eng_model *m)
{
    return m->tok;
}

const struct gguf_file *eng_model_file(const struct eng_model *m)
{
    return m->file;
}

const struct base_err *eng_model_cache_err(const struct eng_model *m)
{
    return m->cache_err.code != 0 ? &m->cache_err : NULL;
}

const char *eng_model_packed_how(const struct eng_model *m)
{
    return m->packed == NULL ? "as they are" : m->packed_cached ? "from the cache" : "packed";
}

const struct kern_ops *eng_model_kern(const struct eng_model *m)
{
    return m->kern;
}

bool eng_model_holds(const struct eng_model *m, int a, int b, bool embed, bool head)
{
    if (a < 0 || a > b || b > m->c.n_layer)
        return false;
    return (a == b || (a >= m->layer_begin && b <= m->layer_end)) &&
           (!embed || m->w.embed != NULL) && (!head || m->w.has_head);
}

int eng_model_chat(const struct eng_model *m, const struct eng_chat_format **out,
                   struct base_err *err)
{
    if (m->chat == NULL) {
        if (err != NULL)
            *err = m->chat_err;
        return m->chat_err.code;
    }
    *out = m->chat;
    return 0;
}
