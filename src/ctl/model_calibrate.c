/* model calibrate: what goes into each matrix over a text, for `model quantize`. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/model_run.h"
#include "engine/calib.h"

static int no_logits(void *arg, const float *logits, int at, int n, struct base_err *err)
{
    (void)arg;
    (void)logits;
    (void)at;
    (void)n;
    (void)err;
    return 0;
}

/* Every chunk as a context of its own. The head's inputs count too: all rows get logits. */
static int run_text(struct ctl_run *r, int n_chunk, struct base_err *err)
{
    const struct eng_tok *tok = eng_model_tok(r->m);
    int rc = 0;
    for (int c = 0; c < n_chunk && rc == 0; c++) {
        int32_t *ids = r->ids + (size_t)c * CTL_PPL_CHUNK;
        const int left = r->n_ids - c * CTL_PPL_CHUNK;
        if (eng_tok_add_bos(tok))
            ids[0] = eng_tok_bos(tok);
        rc = ctl_run_context(r, ids, left < CTL_PPL_CHUNK ? left : CTL_PPL_CHUNK, 0, no_logits,
                             NULL, err);
        if (rc == 0 && isatty(STDERR_FILENO))
            fprintf(stderr, "\rcalibrating: chunk %d of %d%s", c + 1, n_chunk,
                    c + 1 == n_chunk ? "\n" : " ");
    }
    return rc;
}

int ctl_model_calibrate(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct base_outfile out = BASE_OUTFILE_NONE;
    struct eng_calib *c = NULL;
    struct ctl_run r;
    struct ctl_model_args exact = *a;
    int n_chunk = 0;
    exact.exact = true; /* nothing between the inputs and their sums */
    int rc = ctl_run_text(&r, &exact, &err);
    if (rc == 0)
        rc = ctl_run_chunks(r.n_ids, true, &n_chunk, &err);
    if (rc == 0)
        rc = base_outfile_open(&out, a->out, a->force, &err);
    if (rc == 0)
        rc = eng_calib_new(&c, eng_model_file(r.m), &err);
    if (rc == 0) {
        eng_exec_watch(r.e, eng_calib_tap, c);
        rc = run_text(&r, n_chunk, &err);
    }
    const char *name = strrchr(a->text, '/');
    if (rc == 0)
        rc = eng_calib_write(c, name != NULL ? name + 1 : a->text, n_chunk, CTL_PPL_CHUNK, &out,
                             &err);
    if (rc == 0)
        rc = base_outfile_commit(&out, &err);
    if (rc == 0)
        printf("%d tokens in %d chunks: %s\n", r.n_ids, n_chunk, a->out);
    base_outfile_abort(&out);
    eng_calib_free(c);
    ctl_run_fini(&r);
    return rc == 0 ? CTL_OK : ctl_model_fail(&err);
}
