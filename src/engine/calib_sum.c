#include "engine/calib.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf_write.h"

struct sums {
    double *sq; /* [n_in] */
    double n_row;
};

struct eng_calib {
    const struct gguf_file *f;
    struct sums *of; /* [n_tensor of f]; sq NULL: not a matrix */
};

int eng_calib_new(struct eng_calib **out, const struct gguf_file *f, struct base_err *err)
{
    const int n = gguf_n_tensor(f);
    struct eng_calib *c = *out = calloc(1, sizeof *c);
    if (c != NULL) {
        c->f = f;
        c->of = calloc((size_t)n + 1, sizeof *c->of);
    }
    bool good = c != NULL && c->of != NULL;
    for (int i = 0; i < n && good; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(f, i);
        if (t->n_dim == 2)
            good = (c->of[i].sq = calloc((size_t)t->dim[0], sizeof(double))) != NULL;
    }
    if (good)
        return 0;
    eng_calib_free(c);
    *out = NULL;
    return base_err_set(err, BASE_ENOMEM, "calibration", "no memory for sums");
}

void eng_calib_free(struct eng_calib *c)
{
    if (c == NULL)
        return;
    for (int i = 0; c->of != NULL && i < gguf_n_tensor(c->f); i++)
        free(c->of[i].sq);
    free(c->of);
    free(c);
}

void eng_calib_tap(void *arg, const struct gguf_tensor *w, const float *x, int n_row)
{
    struct eng_calib *c = arg;
    const struct gguf_tensor *t = gguf_tensor_find(c->f, w->name);
    if (t == NULL)
        return;
    struct sums *s = &c->of[t - gguf_tensor_at(c->f, 0)];
    const int64_t n = t->dim[0];
    if (s->sq == NULL)
        return;
    for (int r = 0; r < n_row; r++, x += n)
        for (int64_t i = 0; i < n; i++)
            s->sq[i] += (double)x[i] * (double)x[i];
    s->n_row += n_row;
}

/* The two tensors of one matrix, with padding: to out, or (out NULL) into the table. */
static int put_sums(struct gguf_writer *w, const struct gguf_tensor *t, const struct sums *s,
                    float *buf, struct base_outfile *out, struct base_err *err)
{
    static const uint8_t zero[64];
    const int64_t dim[2] = {t->dim[0], 1}, one[2] = {1, 1};
    if (out == NULL) {
        char name[96];
        snprintf(name, sizeof name, "%s.in_sum2", t->name);
        gguf_writer_tensor(w, name, GGUF_F32, 2, dim);
        snprintf(name, sizeof name, "%s.counts", t->name);
        gguf_writer_tensor(w, name, GGUF_F32, 2, one);
        return 0;
    }
    for (int64_t i = 0; i < dim[0]; i++) {
        buf[i] = (float)s->sq[i];
        if (!isfinite(buf[i]))
            return base_err_set(err, BASE_EFORMAT, t->name, "input %lld is no number",
                                (long long)i);
    }
    const float n_row = (float)s->n_row;
    const size_t n_bytes = (size_t)dim[0] * sizeof *buf;
    int rc = base_outfile_write(out, buf, n_bytes, err);
    if (rc == 0)
        rc = base_outfile_write(out, zero, gguf_writer_pad(w, n_bytes), err);
    if (rc == 0)
        rc = base_outfile_write(out, &n_row, sizeof n_row, err);
    return rc == 0 ? base_outfile_write(out, zero, gguf_writer_pad(w, sizeof n_row), err) : rc;
}

/* One pass over the matrices that were seen; their number. */
static int each(const struct eng_calib *c, struct gguf_writer *w, float *buf,
                struct base_outfile *out, int *n, struct base_err *err)
{
    int rc = 0;
    *n = 0;
    for (int i = 0; i < gguf_n_tensor(c->f) && rc == 0; i++) {
        if (c->of[i].n_row > 0.0) {
            rc = put_sums(w, gguf_tensor_at(c->f, i), &c->of[i], buf, out, err);
            ++*n;
        }
    }
    return rc;
}

int eng_calib_write(const struct eng_calib *c, const char *text, int n_chunk, int chunk_tok,
                    struct base_outfile *out, struct base_err *err)
{
    struct gguf_writer w;
    const void *head;
    size_t head_bytes;
    int64_t widest = 1;
    int n;
    for (int i = 0; i < gguf_n_tensor(c->f); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(c->f, i);
        widest = t->dim[0] > widest ? t->dim[0] : widest;
    }
    float *buf = malloc((size_t)widest * sizeof *buf);
    if (buf == NULL)
        return base_err_set(err, BASE_ENOMEM, "calibration", "out of memory");
    gguf_writer_init(&w, 64 << 20);
    gguf_writer_str(&w, "general.type", "imatrix");
    gguf_writer_strs(&w, "imatrix.datasets", &text, 1);
    gguf_writer_u32(&w, "imatrix.chunk_count", (uint32_t)n_chunk);
    gguf_writer_u32(&w, "imatrix.chunk_size", (uint32_t)chunk_tok);
    int rc = each(c, &w, NULL, NULL, &n, err);
    if (rc == 0 && n == 0)
        rc = base_err_set(err, BASE_EFORMAT, "calibration", "nothing went through the model");
    if (rc == 0)
        rc = gguf_writer_head(&w, &head, &head_bytes, err);
    if (rc == 0)
        rc = base_outfile_write(out, head, head_bytes, err);
    if (rc == 0)
        rc = each(c, &w, buf, out, &n, err);
    gguf_writer_fini(&w);
    free(buf);
    return rc;
}
