/* What a row's adapter adds to a matrix's output. Rows of one adapter that stand side by side are
 * worked on together; since the kernels' result for a row depends on that row alone, so does what
 * is added here, and a row without an adapter is not touched. */
#include "engine/lora_int.h"

enum {
    LORA_ROWS = 16,      /* at most so many rows are worked on together, by one thread, */
    LORA_ROWS_LEAST = 4, /* and not fewer for the sake of another thread */
};

/* So many rows that each thread gets two runs. */
static int run_length(const struct eng_exec *e)
{
    int n = 0;
    for (int i = 0; i < e->n_act; i++)
        n += e->row[e->act[i]].seg->lora != NULL;
    n = (n + 2 * e->n_thread - 1) / (2 * e->n_thread);
    return n < LORA_ROWS_LEAST ? LORA_ROWS_LEAST : n > LORA_ROWS ? LORA_ROWS : n;
}

void eng_lora_plan(struct eng_exec *e)
{
    struct eng_lora_run *last = NULL;
    const int most = run_length(e);
    e->n_lora_run = 0;
    for (int i = 0; i < e->n_act; i++) {
        const struct eng_lora *l = e->row[e->act[i]].seg->lora;
        if (l == NULL) {
            last = NULL;
        } else if (last != NULL && last->lora == l && last->n < most) {
            last->n++;
        } else {
            last = &e->lora_run[e->n_lora_run++];
            *last = (struct eng_lora_run){l, i, 1};
        }
    }
}

/* t[n_x][rank] = scale * A x */
static void down(const struct eng_exec *e, const struct lora_pair *p, const float *x, int n_x,
                 float *t, int worker)
{
    const int n_in = (int)p->a->dim[0];
    e->m->kern->matmul(p->a->type, p->a->data, p->a->row_bytes, n_in, 0, p->rank, x, (size_t)n_in,
                       n_x, t, (size_t)p->rank, e->scratch + (size_t)worker * e->scratch_bytes);
    for (int i = 0; i < n_x * p->rank; i++)
        t[i] *= p->scale;
}

/* y += B t */
static void up(const struct eng_exec *e, const struct lora_pair *p, const float *t, int n_x,
               float *y)
{
    e->m->kern->mix(p->b_type, p->b, p->rank, p->n_out, t, (size_t)p->rank, n_x, y,
                    (size_t)p->n_out);
}

struct lora_arg {
    const struct eng_exec *e;
    int layer;
    const float *x;
    const struct eng_mm *job;
    int n_job;
};

static void run_slice(void *arg, int slice, int worker)
{
    const struct lora_arg *a = arg;
    const struct eng_lora_run *run = &a->e->lora_run[slice];
    float t[LORA_ROWS * ENG_LORA_MAX_RANK];
    const struct gguf_tensor *done = NULL; /* t is of this one: parts of a fused matrix share it */
    for (int i = 0; i < a->n_job; i++) {
        const struct lora_pair *p = &run->lora->layer[a->layer][a->job[i].slot];
        if (p->a == NULL)
            continue;
        if (p->a != done)
            down(a->e, p, a->x + (size_t)run->first * (size_t)p->a->dim[0], run->n, t, worker);
        done = p->a;
        up(a->e, p, t, run->n, a->job[i].y + (size_t)run->first * (size_t)p->n_out);
    }
}

void eng_lora_apply(struct eng_exec *e, int layer, const float *x, const struct eng_mm *job,
                    int n_job)
{
    struct lora_arg a = {e, layer, x, job, n_job};
    if (e->n_lora_run == 1)
        run_slice(&a, 0, 0); /* less work than handing it over */
    else if (e->n_lora_run > 1)
        eng_pool_run(e->pool, run_slice, &a, e->n_lora_run);
}

static void head_slice(void *arg, int slice, int worker)
{
    const struct eng_exec *e = arg;
    const struct eng_row *r = &e->row[e->want[slice]];
    float t[ENG_LORA_MAX_RANK];
    if (r->seg->lora == NULL || r->seg->lora->head.a == NULL)
        return;
    const struct lora_pair *p = &r->seg->lora->head;
    down(e, p, e->h + (size_t)slice * (size_t)e->m->c.d_model, 1, t, worker);
    up(e, p, t, 1, r->logits);
}

void eng_lora_apply_head(struct eng_exec *e)
{
    bool any = false;
    for (int i = 0; i < e->n_want; i++) {
        const struct eng_lora *l = e->row[e->want[i]].seg->lora;
        any = any || (l != NULL && l->head.a != NULL);
    }
    if (any)
        eng_pool_run(e->pool, head_slice, e, e->n_want);
}
