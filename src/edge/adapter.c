#include "edge/adapter.h"

#include <string.h>

#include "base/hash.h"
#include "base/log.h"

enum { PATH_BYTES = 4096 };

/* As a header, a log line and JSON can show it, and as nothing else is written. */
static bool name_ok(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                              "-_.:/") == n;
}

static int parse(const char *entry, char name[EDGE_ADAPTER_NAME], char path[PATH_BYTES],
                 struct base_err *err)
{
    char place[160];
    struct base_err why = {0};
    snprintf(place, sizeof place, "adapter = %s", entry);
    int rc = base_opt_words_check(entry, "name|path", &why);
    if (rc != 0)
        return base_err_set(err, rc, place, "%s", why.msg);
    if (base_opt_word(entry, "name", name, EDGE_ADAPTER_NAME) != 0 || !name_ok(name))
        return base_err_set(err, BASE_EINVAL, place,
                            "needs name=… of up to %d letters, digits and -_.:/",
                            EDGE_ADAPTER_NAME - 1);
    if (base_opt_word(entry, "path", path, PATH_BYTES) != 0 || path[0] == '\0')
        return base_err_set(err, BASE_EINVAL, place, "path=… is missing or too long");
    return 0;
}

int edge_adapters_check(const struct base_strlist *entries, const char *model_name,
                        struct base_err *err)
{
    char name[EDGE_MAX_ADAPTER][EDGE_ADAPTER_NAME], path[PATH_BYTES];
    for (int i = 0; i < entries->n && i < EDGE_MAX_ADAPTER; i++) {
        int rc = parse(entries->item[i], name[i], path, err);
        if (rc != 0)
            return rc;
        bool taken = strcmp(name[i], model_name) == 0;
        for (int k = 0; k < i; k++)
            taken = taken || strcmp(name[i], name[k]) == 0;
        if (taken)
            return base_err_set(err, BASE_EINVAL, "adapter",
                                "'%s' is the name of the model or of another adapter", name[i]);
    }
    return 0;
}

static void tell(const struct edge_adapter *a)
{
    const struct eng_lora_info *i = eng_lora_info(a->lora);
    char hex[33];
    base_log_info("edge", "adapter %s: rank %d to %d, layers [%d, %d), hash %s", a->name,
                  i->rank_min, i->rank_max, i->layer_begin, i->layer_end,
                  base_hex(i->hash, sizeof i->hash, hex));
}

int edge_adapters_open(struct edge_adapters *out, const struct base_strlist *entries,
                       struct eng_model *m, struct base_err *err)
{
    char path[PATH_BYTES];
    out->n = 0;
    for (int i = 0; i < entries->n && i < EDGE_MAX_ADAPTER; i++) {
        struct edge_adapter *a = &out->at[i];
        struct base_err why = {0};
        int rc = parse(entries->item[i], a->name, path, err);
        if (rc != 0)
            return rc;
        rc = eng_lora_open(&a->lora, m, path, &why);
        if (rc != 0) {
            char place[sizeof why.place];
            snprintf(place, sizeof place, "adapter %s: %.90s", a->name, why.place);
            return base_err_set(err, rc, place, "%s", why.msg);
        }
        out->n++;
        tell(a);
    }
    return 0;
}

void edge_adapters_close(struct edge_adapters *a)
{
    for (int i = 0; i < a->n; i++)
        eng_lora_close(a->at[i].lora);
    a->n = 0;
}

const struct edge_adapter *edge_adapters_find(const struct edge_adapters *a, const char *name)
{
    for (int i = 0; i < a->n; i++) {
        if (strcmp(a->at[i].name, name) == 0)
            return &a->at[i];
    }
    return NULL;
}
