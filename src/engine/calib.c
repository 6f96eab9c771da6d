#include "engine/calib.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/quant_block.h"

#define SUMS ".in_sum2"
#define COUNTS ".counts"

int eng_calib_find(const struct gguf_file *calib, const struct gguf_tensor *t,
                   const struct gguf_tensor **in, struct base_err *err)
{
    char name[sizeof t->name + sizeof SUMS];
    snprintf(name, sizeof name, "%s" SUMS, t->name);
    const struct gguf_tensor *s = gguf_tensor_find(calib, name);
    *in = s;
    if (s == NULL)
        return 0;
    const int64_t n_mat = t->dim[2] * t->dim[3];
    if (s->type != GGUF_F32 || s->dim[0] != t->dim[0] || s->dim[1] != n_mat || s->dim[2] != 1 ||
        s->dim[3] != 1)
        return base_err_set(err, BASE_EFORMAT, name,
                            "calibration of another shape: expected %" PRId64 " x %" PRId64
                            " F32, found %" PRId64 " x %" PRId64 " %s",
                            t->dim[0], n_mat, s->dim[0], s->dim[1], gguf_type_info(s->type)->name);
    return 0;
}

/* How many rows went into each matrix's sums; without such a tensor all alike. */
static int counts_of(const struct gguf_file *calib, const struct gguf_tensor *in,
                     const struct gguf_tensor **counts, struct base_err *err)
{
    char name[sizeof in->name + sizeof COUNTS];
    snprintf(name, sizeof name, "%.*s" COUNTS, (int)(strlen(in->name) - strlen(SUMS)), in->name);
    const struct gguf_tensor *c = *counts = gguf_tensor_find(calib, name);
    if (c != NULL && (c->type != GGUF_F32 || c->n_bytes != (size_t)in->dim[1] * sizeof(float)))
        return base_err_set(err, BASE_EFORMAT, name, "not one F32 for each of %" PRId64 " matrices",
                            in->dim[1]);
    return 0;
}

int eng_calib_weights(const struct gguf_file *calib, const struct gguf_tensor *in, float *col,
                      struct base_err *err)
{
    const struct gguf_tensor *counts;
    int rc = counts_of(calib, in, &counts, err);
    const int64_t n = in->dim[0];
    for (int64_t m = 0; m < in->dim[1] && rc == 0; m++) {
        const uint8_t *sum = (const uint8_t *)in->data + (size_t)m * in->row_bytes;
        const float count =
            counts != NULL ? quant_rd_f32((const uint8_t *)counts->data + 4 * m) : 1.0f;
        double total = 0.0;
        for (int64_t i = 0; i < n; i++) {
            const float v = quant_rd_f32(sum + 4 * i);
            if (!(v >= 0.0f && v < INFINITY) || !(count >= 0.0f && count < INFINITY))
                return base_err_set(err, BASE_EFORMAT, in->name,
                                    "column %" PRId64 ": %g in %g rows is no sum of squares", i,
                                    (double)v, (double)count);
            col[m * n + i] = count > 0.0f ? v / count : 0.0f;
            total += (double)col[m * n + i];
        }
        /* An expert that the text never asked: all columns alike. */
        const float least = total > 0.0 ? (float)(1e-3 * total / (double)n) : 1.0f;
        for (int64_t i = 0; i < n; i++)
            col[m * n + i] = col[m * n + i] > least ? col[m * n + i] : least;
    }
    return rc;
}
