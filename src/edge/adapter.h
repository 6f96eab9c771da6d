/* The adapters of the configuration: `adapter = name=NAME path=FILE`. A request whose `model` is an
 * adapter's name is answered by the model with it. Opened at start; const afterwards. */
#ifndef EDGE_ADAPTER_H
#define EDGE_ADAPTER_H

#include "base/opt.h"
#include "engine/lora.h"

enum { EDGE_MAX_ADAPTER = 16, EDGE_ADAPTER_NAME = 64 };

struct edge_adapter {
    char name[EDGE_ADAPTER_NAME];
    struct eng_lora *lora; /* owned */
};

struct edge_adapters {
    struct edge_adapter at[EDGE_MAX_ADAPTER];
    int n;
};

/* Whether every entry names an adapter and a file; names differ from each other and from the
 * model's. Errors: BASE_EINVAL, BASE_EFORMAT with the entry and what is wrong in it. */
int edge_adapters_check(const struct base_strlist *entries, const char *model_name,
                        struct base_err *err) BASE_MUST_CHECK;

/* Opens them all for m. Errors: eng_lora_open's, the place being the adapter's name and there. */
int edge_adapters_open(struct edge_adapters *out, const struct base_strlist *entries,
                       struct eng_model *m, struct base_err *err) BASE_MUST_CHECK;
void edge_adapters_close(struct edge_adapters *a);

/* NULL: no adapter has this name. */
const struct edge_adapter *edge_adapters_find(const struct edge_adapters *a, const char *name);

#endif
