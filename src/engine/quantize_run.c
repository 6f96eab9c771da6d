#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/calib.h"
#include "engine/quant.h"
#include "engine/quant_search.h"
#include "engine/quantize_int.h"

enum {
    SLICE_ELEMS = 1 << 14, /* a worker's share, in whole rows */
    SLAB_SLICES = 64,      /* written in one go */
};

struct slice {
    double err, ref; /* sums of squares */
    int64_t bad;     /* the first element that is no number; -1: none */
};

struct run {
    struct eng_quantize *q;
    struct eng_pool *pool;
    struct base_outfile *out;
    eng_quantize_progress *progress;
    void *arg;
    int64_t done, all; /* elements */

    float *row; /* [n_thread][2][max_row]: a row, and what is read back */
    int64_t max_row;
    float *col;    /* [n_mat][n_in] of the present tensor */
    uint8_t *slab; /* [SLAB_SLICES] slices */
    size_t slab_bytes;
    struct slice slice[SLAB_SLICES];
};

/* A slab of the present tensor. */
struct job {
    struct run *r;
    const struct eng_quantize_tensor *x;
    const float *col; /* NULL: all columns alike */
    int64_t row0, n_row, slice_row;
    size_t row_bytes; /* written */
};

static void convert_row(const struct job *j, int64_t row, uint8_t *dst, float *buf, struct slice *s)
{
    const struct gguf_tensor *t = j->x->src;
    const int64_t n = t->dim[0];
    float *x = buf, *y = buf + j->r->max_row;
    quant_dequant_row(t->type, (const uint8_t *)t->data + (size_t)row * t->row_bytes, x, n);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            s->bad = row * n + i;
            return;
        }
    }
    const float *col = j->col != NULL ? j->col + row / t->dim[1] * n : NULL;
    /* The plan asks for types that it writes. */
    if (quant_search_row(j->x->type, x, col, dst, n) != 0)
        abort();
    quant_dequant_row(j->x->type, dst, y, n);
    for (int64_t i = 0; i < n; i++) {
        const double e = (double)y[i] - (double)x[i];
        s->err += e * e;
        s->ref += (double)x[i] * (double)x[i];
    }
}

static void convert_slice(void *arg, int slice, int worker)
{
    const struct job *j = arg;
    struct slice *s = &j->r->slice[slice];
    *s = (struct slice){.bad = -1};
    const int64_t from = j->row0 + slice * j->slice_row, end = j->row0 + j->n_row;
    const int64_t to = from + j->slice_row < end ? from + j->slice_row : end;
    float *buf = j->r->row + (int64_t)worker * 2 * j->r->max_row;
    for (int64_t row = from; row < to && s->bad < 0; row++)
        convert_row(j, row, j->r->slab + (size_t)(row - j->row0) * j->row_bytes, buf, s);
}

static void tell(struct run *r, int64_t elems)
{
    r->done += elems;
    if (r->progress != NULL)
        r->progress(r->arg, r->done, r->all);
}

/* The slices' results, in their order: sums don't depend on who computed what. */
static int gather(const struct job *j, int n_slice, double *sq, double *ref, struct base_err *err)
{
    for (int i = 0; i < n_slice; i++) {
        const struct slice *s = &j->r->slice[i];
        if (s->bad >= 0)
            return base_err_set(err, BASE_EFORMAT, j->x->src->name,
                                "element %" PRId64 " is no number", s->bad);
        *sq += s->err;
        *ref += s->ref;
    }
    if (!isfinite(*sq))
        return base_err_set(err, BASE_EFORMAT, j->x->src->name, "its weights are too large for %s",
                            gguf_type_info(j->x->type)->name);
    return 0;
}

static int convert_tensor(struct run *r, struct eng_quantize_tensor *x, struct base_err *err)
{
    const struct gguf_tensor *t = x->src;
    const int64_t n_row = (int64_t)(t->n_bytes / t->row_bytes);
    struct job j = {.r = r, .x = x, .row_bytes = x->n_bytes / (size_t)n_row};
    j.slice_row = SLICE_ELEMS / t->dim[0] > 0 ? SLICE_ELEMS / t->dim[0] : 1;
    double sq = 0.0, ref = 0.0;
    int rc = 0;
    if (x->in != NULL) {
        rc = eng_calib_weights(r->q->calib, x->in, r->col, err);
        j.col = r->col;
    }
    for (; j.row0 < n_row && rc == 0; j.row0 += j.n_row) {
        const int64_t left = n_row - j.row0, most = j.slice_row * SLAB_SLICES;
        j.n_row = left < most ? left : most;
        const int n_slice = (int)((j.n_row + j.slice_row - 1) / j.slice_row);
        eng_pool_run(r->pool, convert_slice, &j, n_slice);
        rc = gather(&j, n_slice, &sq, &ref, err);
        if (rc == 0)
            rc = base_outfile_write(r->out, r->slab, (size_t)j.n_row * j.row_bytes, err);
        tell(r, j.n_row * t->dim[0]);
    }
    x->rms = ref > 0.0 ? sqrt(sq / ref) : 0.0;
    return rc;
}

static int write_tensor(struct run *r, struct eng_quantize_tensor *x, struct base_err *err)
{
    static const uint8_t zero[65536]; /* the largest alignment */
    int rc;
    if (x->type != x->src->type) {
        rc = convert_tensor(r, x, err);
    } else {
        rc = base_outfile_write(r->out, x->src->data, x->n_bytes, err);
        tell(r, x->src->dim[0] * (int64_t)(x->src->n_bytes / x->src->row_bytes));
    }
    if (rc == 0)
        rc = base_outfile_write(r->out, zero, gguf_writer_pad(&r->q->head, x->n_bytes), err);
    return rc;
}

/* Buffers for the largest tensor that is converted. */
static int make_room(struct run *r, struct base_err *err)
{
    size_t max_col = 0;
    for (int i = 0; i < r->q->n_tensor; i++) {
        const struct eng_quantize_tensor *x = &r->q->tensor[i];
        const int64_t n = x->src->dim[0], n_row = (int64_t)(x->src->n_bytes / x->src->row_bytes);
        r->all += n * n_row;
        if (x->type == x->src->type)
            continue;
        const int64_t rows = SLICE_ELEMS / n > 0 ? SLICE_ELEMS / n : 1;
        const size_t slab = (size_t)rows * SLAB_SLICES * (x->n_bytes / (size_t)n_row);
        const size_t col = (size_t)(n * x->src->dim[2] * x->src->dim[3]);
        r->max_row = n > r->max_row ? n : r->max_row;
        r->slab_bytes = slab > r->slab_bytes ? slab : r->slab_bytes;
        max_col = x->in != NULL && col > max_col ? col : max_col;
    }
    r->row =
        malloc(((size_t)eng_pool_n_thread(r->pool) * 2 * (size_t)r->max_row + 1) * sizeof *r->row);
    r->col = malloc((max_col + 1) * sizeof *r->col);
    r->slab = malloc(r->slab_bytes + 1);
    if (r->row == NULL || r->col == NULL || r->slab == NULL)
        return base_err_set(err, BASE_ENOMEM, "quantize", "no memory for rows of %" PRId64,
                            r->max_row);
    return 0;
}

int eng_quantize_run(struct eng_quantize *q, struct eng_pool *pool, struct base_outfile *out,
                     eng_quantize_progress *progress, void *arg, struct base_err *err)
{
    struct run r = {.q = q, .pool = pool, .out = out, .progress = progress, .arg = arg};
    int rc = make_room(&r, err);
    if (rc == 0)
        rc = base_outfile_reserve(out, eng_quantize_file_bytes(q), err);
    if (rc == 0)
        rc = base_outfile_write(out, q->head_data, q->head_bytes, err);
    for (int i = 0; i < q->n_tensor && rc == 0; i++)
        rc = write_tensor(&r, &q->tensor[i], err);
    free(r.row);
    free(r.col);
    free(r.slab);
    return rc;
}
