#include "ctl/model.h"

#include <stdlib.h>

#include <jansson.h>

static json_t *ids_json(const int32_t *ids, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_integer(ids[i]));
    return a;
}

/* Each string of a JSON array -> an array of arrays; NULL after an error. */
static json_t *tokenize_texts(const struct eng_model *m, const char *path, struct base_err *err)
{
    json_error_t je;
    json_t *in = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &je),
           *out = json_array();
    int rc = 0;
    if (in == NULL || !json_is_array(in))
        rc = base_err_set(err, BASE_EFORMAT, path, "not a JSON array: %s",
                          in == NULL ? je.text : "");
    for (size_t i = 0; rc == 0 && i < json_array_size(in); i++) {
        const json_t *s = json_array_get(in, i);
        int32_t *ids = NULL;
        int n = 0;
        if (!json_is_string(s))
            rc = base_err_set(err, BASE_EFORMAT, path, "element %zu is not a string", i);
        else if ((rc = eng_tok_encode(eng_model_tok(m), json_string_value(s), json_string_length(s),
                                      ENG_TOK_BOS, 1 << 24, &ids, &n, err)) == 0)
            json_array_append_new(out, ids_json(ids, n));
        free(ids);
    }
    json_decref(in);
    if (rc == 0)
        return out;
    json_decref(out);
    return NULL;
}

static json_t *tokenize_text(const struct eng_model *m, const struct ctl_model_args *a,
                             struct base_err *err)
{
    int32_t *ids = NULL;
    int n = 0;
    json_t *out = ctl_read_ids(a, m, &ids, &n, err) == 0 ? ids_json(ids, n) : NULL;
    free(ids);
    return out;
}

int ctl_model_tokenize(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct eng_model *m = NULL;
    const struct eng_model_opt opt = {.path = a->file, .layer_end = 0, .no_head = true};
    if (eng_model_open(&m, &opt, &err) != 0)
        return ctl_model_fail(&err);
    json_t *out = a->texts != NULL ? tokenize_texts(m, a->texts, &err) : tokenize_text(m, a, &err);
    eng_model_close(m);
    if (out == NULL)
        return ctl_model_fail(&err);
    json_dumpf(out, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(out);
    return CTL_OK;
}
