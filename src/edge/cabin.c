#include "edge/cabin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/log.h"
#include "edge/edge.h"
#include "engine/chat.h"

enum { PATH_BYTES = 4096, CATALOGUE_MAX_BYTES = 4 << 20 };

/* The setting, or the file of this name beside the adapter. */
static int beside(const struct edge_config *c, const char *set, const char *name,
                  char out[PATH_BYTES], struct base_err *err)
{
    const char *slash = strrchr(c->cabin_adapter, '/');
    const int dir = slash != NULL ? (int)(slash - c->cabin_adapter) + 1 : 0;
    const int n = set[0] != '\0' ? snprintf(out, PATH_BYTES, "%s", set)
                                 : snprintf(out, PATH_BYTES, "%.*s%s", dir, c->cabin_adapter, name);
    return n < PATH_BYTES ? 0
                          : base_err_set(err, BASE_ELIMIT, "cabin.adapter", "the path is too long");
}

static int file_read(const char *path, struct base_buf *out, struct base_err *err)
{
    char chunk[8192];
    size_t n;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return base_err_set(err, BASE_EIO, path, "cannot open: %s", strerror(errno));
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0 && base_buf_add(out, chunk, n) == 0)
        ;
    int rc = out->err != 0 ? base_err_set(err, out->err, path, "%s", base_code_str(out->err))
             : ferror(f)   ? base_err_set(err, BASE_EIO, path, "cannot read: %s", strerror(errno))
                           : 0;
    fclose(f);
    return rc;
}

static int catalogue_open(struct api_catalogue **out, const struct edge_config *c,
                          struct base_err *err)
{
    char path[PATH_BYTES];
    struct base_buf text;
    int rc = beside(c, c->cabin_catalogue, "catalogue.json", path, err);
    *out = NULL;
    if (rc != 0)
        return rc;
    base_buf_init(&text, CATALOGUE_MAX_BYTES);
    rc = file_read(path, &text, err);
    if (rc == 0)
        rc = api_catalogue_parse(out, text.len > 0 ? (const char *)text.data : "", text.len, path,
                                 err);
    base_buf_fini(&text);
    /* `me` must be something wherever it can be said. */
    if (rc == 0 && !api_catalogue_has_place(*out, c->cabin_seat, true)) {
        rc = base_err_set(err, BASE_EINVAL, "cabin.seat",
                          "'%.60s' is not a value of every x-place parameter of %.200s",
                          c->cabin_seat, path);
        api_catalogue_free(*out);
        *out = NULL;
    }
    return rc;
}

int edge_cabin_check(const struct edge_config *c, struct base_err *err)
{
    struct api_catalogue *cat;
    char name[EDGE_ADAPTER_NAME];
    if (c->cabin_adapter[0] == '\0') {
        if (c->cabin_catalogue[0] == '\0' && c->cabin_confidence[0] == '\0')
            return 0;
        return base_err_set(err, BASE_EINVAL, "cabin.adapter",
                            "is not set, but cabin.catalogue or cabin.confidence is");
    }
    bool taken = strcmp(c->model_name, EDGE_CABIN_MODEL) == 0;
    for (int i = 0; i < c->adapter.n; i++)
        taken = taken || (base_opt_word(c->adapter.item[i], "name", name, sizeof name) == 0 &&
                          strcmp(name, EDGE_CABIN_MODEL) == 0);
    if (taken)
        return base_err_set(err, BASE_EINVAL, "cabin.adapter",
                            "'" EDGE_CABIN_MODEL
                            "' is the name of the model or of another adapter");
    int rc = catalogue_open(&cat, c, err);
    api_catalogue_free(cat);
    return rc;
}

/* How sure to be: the file that is set must be there, the one beside the adapter may. */
static int conf_open(struct edge_cabin *x, const struct edge_config *c, struct eng_model *m,
                     struct base_err *err)
{
    char path[PATH_BYTES];
    int rc = beside(c, c->cabin_confidence, "cabin.confidence", path, err);
    if (rc != 0)
        return rc;
    if (c->cabin_confidence[0] == '\0' && access(path, F_OK) != 0) {
        base_log_warn("cabin", "no %s: how sure a call is will not be known", path);
        return 0;
    }
    return eng_conf_open(&x->conf, path, m, x->lora, err);
}

static void tell(const struct edge_cabin *x)
{
    const struct eng_lora_info *i = eng_lora_info(x->lora);
    char hex[33];
    base_log_info("cabin", "%d functions, adapter of layers [%d, %d), hash %s",
                  api_catalogue_n(x->catalogue), i->layer_begin, i->layer_end,
                  base_hex(i->hash, sizeof i->hash, hex));
}

int edge_cabin_open(struct edge_cabin *out, const struct edge_config *c, struct eng_model *m,
                    struct base_err *err)
{
    struct base_err why = {0};
    *out = (struct edge_cabin){0};
    if (c->cabin_adapter[0] == '\0')
        return 0;
    int rc = catalogue_open(&out->catalogue, c, err);
    if (rc != 0)
        return rc;
    rc = eng_lora_open(&out->lora, m, c->cabin_adapter, &why);
    if (rc != 0) {
        char place[sizeof why.place];
        snprintf(place, sizeof place, "cabin.adapter: %.130s", why.place);
        base_err_set(err, rc, place, "%s", why.msg);
    } else {
        rc = conf_open(out, c, m, err);
    }
    if (rc == 0)
        tell(out);
    else
        edge_cabin_close(out);
    return rc;
}

void edge_cabin_close(struct edge_cabin *c)
{
    eng_conf_close(c->conf);
    eng_lora_close(c->lora);
    api_catalogue_free(c->catalogue);
    *c = (struct edge_cabin){0};
}

/* ---- the beginning that they share ---- */

static void on_warm(struct eng_job *j, const struct eng_event *ev, void *arg)
{
    (void)j;
    (void)arg;
    if (ev->kind == ENG_EV_ERROR)
        base_log_warn("cabin", "prompts' beginning: %s", ev->err.msg);
}

/* Tokens that stand before any sentence -> *ids, malloc'd. */
static int beginning(struct edge *e, int32_t **ids, int *n, struct base_err *err)
{
    static const char *const sentence[] = {"Window", "7"};
    int32_t *other = NULL;
    int n_other = 0;
    struct eng_chat_msg m = {.role = "user", .content = sentence[0], .len = strlen(sentence[0])};
    int rc = eng_chat_encode(e->chat, eng_model_tok(e->model), &m, 1, (int)e->cfg.engine_context,
                             ids, n, err);
    if (rc != 0)
        return rc;
    m.content = sentence[1];
    m.len = strlen(sentence[1]);
    rc = eng_chat_encode(e->chat, eng_model_tok(e->model), &m, 1, (int)e->cfg.engine_context,
                         &other, &n_other, err);
    int same = 0;
    while (rc == 0 && same < *n && same < n_other && (*ids)[same] == other[same])
        same++;
    *n = same;
    free(other);
    return rc;
}

int edge_cabin_warm(struct edge *e, struct base_err *err)
{
    int32_t *ids = NULL;
    int n = 0;
    if (e->cabin.catalogue == NULL || e->cfg.engine_cache_bytes == 0)
        return 0;
    struct eng_job_opt opt = {.run = {.layer_begin = 0,
                                      .layer_end = eng_model_config(e->model)->n_layer,
                                      .out = ENG_OUT_NONE},
                              .sample = ENG_SAMPLE_GREEDY,
                              .common = true};
    int rc = beginning(e, &ids, &n, err);
    for (int i = 0; i < EDGE_N_COMMON && rc == 0 && n > 0; i++) {
        opt.lora = i == 0 ? e->cabin.lora : NULL;
        rc = eng_job_open(&e->common[i], e->sched, &opt, on_warm, e, err);
        if (rc == 0)
            rc = eng_job_feed_tokens(e->common[i], ids, n, err);
    }
    free(ids);
    return rc;
}
