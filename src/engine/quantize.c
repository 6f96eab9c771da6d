#include "engine/quantize.h"

#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/calib.h"
#include "engine/quant_search.h"
#include "engine/quantize_int.h"

enum { QUANTIZATION_VERSION = 2 }; /* of the block types' layouts, as every present writer says */

static struct eng_mix_shape shape_of(const struct gguf_file *src)
{
    struct eng_mix_shape s = {.tied_head = gguf_tensor_find(src, "output.weight") == NULL};
    for (int i = 0; i < gguf_n_tensor(src); i++) {
        const int l = eng_mix_layer(gguf_tensor_at(src, i)->name);
        s.n_layer = l >= s.n_layer ? l + 1 : s.n_layer;
    }
    return s;
}

static bool matches(const struct eng_quantize_rule *r, const struct gguf_tensor *t)
{
    return t->n_dim >= 2 && fnmatch(r->glob, t->name, 0) == 0;
}

/* The last rule for t, -1: none. */
static int rule_of(const struct eng_quantize_opt *opt, const struct gguf_tensor *t)
{
    int r = opt->n_rule - 1;
    while (r >= 0 && !matches(&opt->rule[r], t))
        r--;
    return r;
}

/* A rule that nothing matches is a slip of the pen. */
static int check_rules(const struct gguf_file *src, const struct eng_quantize_opt *opt,
                       struct base_err *err)
{
    for (int r = 0; r < opt->n_rule; r++) {
        int used = 0;
        for (int i = 0; i < gguf_n_tensor(src); i++)
            used += matches(&opt->rule[r], gguf_tensor_at(src, i));
        if (used == 0)
            return base_err_set(err, BASE_EINVAL, opt->rule[r].glob, "no matrix has such a name");
    }
    return 0;
}

static double bits_of(uint32_t type)
{
    const struct gguf_type_info *ti = gguf_type_info(type);
    return 8.0 * ti->block_bytes / ti->block_elems;
}

static bool is_float(uint32_t type)
{
    return type == GGUF_F32 || type == GGUF_F16 || type == GGUF_BF16;
}

/* Whether t can be read as floats and written as x->type. */
static int check_change(const struct eng_quantize_opt *opt, const struct eng_quantize_tensor *x,
                        struct base_err *err)
{
    const struct gguf_tensor *t = x->src;
    const struct gguf_type_info *from = gguf_type_info(t->type), *to = gguf_type_info(x->type);
    if (!from->supported)
        return base_err_set(err, BASE_EUNSUPPORTED, t->name, "type %s can't be read", from->name);
    if (t->dim[0] % to->block_elems != 0)
        return base_err_set(err, BASE_EINVAL, t->name,
                            "rows of %" PRId64 " elements are not whole blocks of %d (%s)",
                            t->dim[0], to->block_elems, to->name);
    if (!is_float(t->type) && !opt->requantize)
        return base_err_set(err, BASE_EINVAL, t->name,
                            "it is %s, quantised already: to do it again loses twice and must be "
                            "asked for",
                            from->name);
    return 0;
}

static int plan_tensor(struct eng_quantize *q, const struct eng_mix_shape *shape,
                       const struct eng_quantize_opt *opt, int i, struct base_err *err)
{
    struct eng_quantize_tensor *x = &q->tensor[i];
    const struct gguf_tensor *t = gguf_tensor_at(q->src, i);
    *x = (struct eng_quantize_tensor){
        .src = t, .type = t->type, .rule = rule_of(opt, t), .n_bytes = t->n_bytes};
    uint32_t type = t->type;
    if (x->rule >= 0)
        type = opt->rule[x->rule].type;
    /* What is quantised and no larger than it should be stays: less can't be lost. */
    else if (!eng_mix_choose(opt->mix, shape, t, &type) ||
             (!is_float(t->type) && bits_of(t->type) <= bits_of(type)))
        type = t->type;
    if (type == t->type)
        return 0;
    x->type = type;
    int rc = check_change(opt, x, err);
    if (rc == 0 && q->calib != NULL && !is_float(type))
        rc = eng_calib_find(q->calib, t, &x->in, err);
    const struct gguf_type_info *ti = gguf_type_info(type);
    x->n_bytes =
        t->n_bytes / t->row_bytes * (size_t)(t->dim[0] / ti->block_elems) * (size_t)ti->block_bytes;
    return rc;
}

/* A calibration that says nothing about any matrix is another model's. */
static int check_calib(const struct eng_quantize *q, struct base_err *err)
{
    int n = 0, used = 0;
    for (int i = 0; i < q->n_tensor; i++) {
        n += q->tensor[i].type != q->tensor[i].src->type;
        used += q->tensor[i].in != NULL;
    }
    if (q->calib != NULL && n > 0 && used == 0)
        return base_err_set(err, BASE_EMISMATCH, "calibration",
                            "it has no sums for any matrix of this model");
    return 0;
}

/* A part of a split file would come out as a part that fits no other. */
static int check_whole(const struct gguf_file *src, struct base_err *err)
{
    uint32_t n = 1;
    bool found;
    int rc = gguf_get_u32(src, "split.count", &n, &found, err);
    if (rc == 0 && n > 1)
        rc = base_err_set(err, BASE_EUNSUPPORTED, "key split.count",
                          "one of %" PRIu32 " parts of a model: join them first", n);
    return rc;
}

static int build_head(struct eng_quantize *q, const struct eng_mix *mix, struct base_err *err)
{
    /* Its keys and table once more, and two keys. */
    gguf_writer_init(&q->head, gguf_size_bytes(q->src) + 65536 + 256);
    gguf_writer_u32(&q->head, "general.file_type", eng_mix_file_type(mix));
    gguf_writer_u32(&q->head, "general.quantization_version", QUANTIZATION_VERSION);
    gguf_writer_copy_kvs(&q->head, q->src);
    for (int i = 0; i < q->n_tensor; i++) {
        const struct eng_quantize_tensor *x = &q->tensor[i];
        gguf_writer_tensor(&q->head, x->src->name, x->type, x->src->n_dim, x->src->dim);
    }
    return gguf_writer_head(&q->head, &q->head_data, &q->head_bytes, err);
}

int eng_quantize_plan(struct eng_quantize **out, const struct gguf_file *src,
                      const struct eng_quantize_opt *opt, struct base_err *err)
{
    *out = NULL;
    int rc = check_whole(src, err);
    if (rc == 0)
        rc = check_rules(src, opt, err);
    if (rc != 0)
        return rc;
    struct eng_quantize *q = calloc(1, sizeof *q);
    if (q == NULL)
        return base_err_set(err, BASE_ENOMEM, "plan", "out of memory");
    q->src = src;
    q->calib = opt->calib;
    q->n_tensor = gguf_n_tensor(src);
    q->tensor = calloc((size_t)q->n_tensor + 1, sizeof *q->tensor);
    if (q->tensor == NULL)
        rc = base_err_set(err, BASE_ENOMEM, "plan", "no memory for %d tensors", q->n_tensor);
    const struct eng_mix_shape shape = shape_of(src);
    for (int i = 0; i < q->n_tensor && rc == 0; i++)
        rc = plan_tensor(q, &shape, opt, i, err);
    if (rc == 0)
        rc = check_calib(q, err);
    if (rc == 0)
        rc = build_head(q, opt->mix, err);
    if (rc == 0)
        *out = q;
    else
        eng_quantize_free(q);
    return rc;
}

void eng_quantize_free(struct eng_quantize *q)
{
    if (q == NULL)
        return;
    gguf_writer_fini(&q->head);
    free(q->tensor);
    free(q);
}

int eng_quantize_n_tensor(const struct eng_quantize *q)
{
    return q->n_tensor;
}

const struct eng_quantize_tensor *eng_quantize_tensor_at(const struct eng_quantize *q, int i)
{
    return &q->tensor[i];
}

uint64_t eng_quantize_file_bytes(const struct eng_quantize *q)
{
    return q->head_bytes + q->head.data_bytes;
}
