/* waypostctl model bench: what this machine makes of a model. Each number is taken n_repeat times
 * and told by its median, smallest and largest: on a shared machine one run says little. */
#include "ctl/model.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/clock.h"

struct bench {
    const struct ctl_model_args *a;
    struct eng_model *m;
    struct eng_lora *lora; /* NULL: none */
    struct eng_exec *e;
    int n_session, n_text, n_ctx; /* as many as the largest case needs */
    struct eng_session **s;       /* [n_session] */
    struct eng_seg *seg;          /* [n_session] */
    int *n_kv;                    /* [n_session] most positions held so far */
    int32_t *text;                /* [n_text] */
    float *logits;                /* [n_session][n_vocab] */
    double *sample;               /* [n_repeat] */
    json_t *out;
};

static void engine_close(struct bench *b)
{
    for (int i = 0; i < b->n_session && b->s != NULL; i++) {
        eng_session_free(b->s[i]);
        b->s[i] = NULL;
    }
    eng_exec_free(b->e);
    eng_lora_close(b->lora);
    eng_model_close(b->m);
    b->e = NULL;
    b->lora = NULL;
    b->m = NULL;
}

static void bench_fini(struct bench *b)
{
    engine_close(b);
    free(b->s);
    free(b->seg);
    free(b->n_kv);
    free(b->text);
    free(b->logits);
    free(b->sample);
    json_decref(b->out);
}

/* ---- one run ---- */

/* Appends the text's first n tokens to a session, in chunks as the scheduler would. */
static int feed(struct bench *b, int session, int n, struct base_err *err)
{
    const int n_layer = eng_model_config(b->m)->n_layer;
    int rc = 0;
    for (int at = 0; at < n && rc == 0; at += b->a->chunk) {
        const int rows = n - at < b->a->chunk ? n - at : b->a->chunk;
        const struct eng_seg g = {.s = b->s[session],
                                  .layer_end = n_layer,
                                  .n_row = rows,
                                  .token = b->text + at,
                                  .logits = at + rows == n ? b->logits : NULL};
        rc = eng_exec_run(b->e, &g, 1, err);
    }
    return rc;
}

static void forget(struct bench *b, int session, int n_pos)
{
    const int held = eng_session_n_pos(b->s[session], 0);
    b->n_kv[session] = held > b->n_kv[session] ? held : b->n_kv[session];
    eng_session_trim(b->s[session], 0, eng_model_config(b->m)->n_layer, n_pos);
}

/* A case: milliseconds, or tokens per second. */
struct run {
    int n_session, n_tok; /* n_tok: of the prompt, or of the context */
};
typedef int run_fn(struct bench *b, const struct run *r, double *out, struct base_err *err);

/* Milliseconds from a prompt to the logits of its last token. */
static int run_prompt(struct bench *b, const struct run *r, double *ms, struct base_err *err)
{
    forget(b, 0, 0);
    const int64_t t0 = base_clock_mono_us();
    const int rc = feed(b, 0, r->n_tok, err);
    *ms = (double)(base_clock_mono_us() - t0) / 1e3;
    return rc;
}

/* Tokens per second of all sessions together, each behind a context of its own. The tokens are the
 * text's, not the sampler's: the work is the same, and one bad sampler can't skew the engines. */
static int run_decode(struct bench *b, const struct run *r, double *tok_s, struct base_err *err)
{
    const struct eng_config *c = eng_model_config(b->m);
    for (int i = 0; i < r->n_session; i++) {
        forget(b, i, r->n_tok);
        b->seg[i] = (struct eng_seg){.s = b->s[i],
                                     .layer_end = c->n_layer,
                                     .lora = b->lora,
                                     .n_row = 1,
                                     .logits = b->logits + (size_t)i * (size_t)c->n_vocab};
    }
    int rc = 0;
    const int64_t t0 = base_clock_mono_us();
    for (int k = 0; k < b->a->n_decode && rc == 0; k++) {
        for (int i = 0; i < r->n_session; i++)
            b->seg[i].token = &b->text[(k + i) % b->n_text];
        rc = eng_exec_run(b->e, b->seg, r->n_session, err);
    }
    const int64_t us = base_clock_mono_us() - t0;
    *tok_s = (double)r->n_session * b->a->n_decode * 1e6 / (double)(us > 0 ? us : 1);
    return rc;
}

/* Closes all and opens it again; one token, so that every weight has been read: what a start costs.
 */
static int run_load(struct bench *b, const struct run *r, double *ms, struct base_err *err)
{
    (void)r;
    const struct eng_model_opt opt = {.path = b->a->file,
                                      .layer_end = -1,
                                      .cpu = getenv("WAYPOST_CPU"),
                                      .exact = b->a->exact,
                                      .n_thread = b->a->n_thread,
                                      .pack_cache = b->a->pack_cache};
    engine_close(b);
    const int64_t t0 = base_clock_mono_us();
    int rc = eng_model_open(&b->m, &opt, err);
    if (rc == 0)
        rc = ctl_open_adapter(b->a, b->m, &b->lora, err);
    const int max_row = b->a->chunk > b->n_session ? b->a->chunk : b->n_session;
    if (rc == 0)
        rc = eng_exec_new(&b->e, b->m, b->a->n_thread, max_row, err);
    for (int i = 0; i < b->n_session && rc == 0; i++)
        rc = eng_session_new(&b->s[i], b->m, b->n_ctx, b->a->kv, err);
    if (rc == 0 && b->logits == NULL) {
        const size_t n_vocab = (size_t)eng_model_config(b->m)->n_vocab;
        b->logits = malloc((size_t)b->n_session * n_vocab * sizeof *b->logits);
        if (b->logits == NULL)
            rc = base_err_set(err, BASE_ENOMEM, b->a->file, "no memory for logits");
    }
    if (rc == 0 && eng_model_cache_err(b->m) != NULL) {
        *err = *eng_model_cache_err(b->m); /* asked for, so it has to be there */
        rc = err->code;
    }
    if (rc == 0)
        rc = feed(b, 0, 1, err);
    *ms = (double)(base_clock_mono_us() - t0) / 1e3;
    return rc;
}

/* ---- many runs ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs n_warm times for nothing, then n_repeat times. The caller owns *out. */
static int spread(struct bench *b, run_fn *fn, const struct run *r, json_t **out,
                  struct base_err *err)
{
    const int n = b->a->n_repeat;
    double *v = b->sample;
    int rc = 0;
    for (int i = 0; i < b->a->n_warm && rc == 0; i++)
        rc = fn(b, r, &v[0], err);
    for (int i = 0; i < n && rc == 0; i++)
        rc = fn(b, r, &v[i], err);
    if (rc != 0)
        return rc;
    qsort(v, (size_t)n, sizeof *v, by_value);
    *out = json_pack("{s:f, s:f, s:f}", "min", v[0], "median", (v[n / 2] + v[(n - 1) / 2]) / 2,
                     "max", v[n - 1]);
    return *out != NULL ? 0 : base_err_set(err, BASE_ENOMEM, b->a->file, "no memory");
}

static int bench_prompt(struct bench *b, int n_tok, struct base_err *err)
{
    json_t *ms;
    fprintf(stderr, "prompt of %d tokens …\n", n_tok);
    const int rc = spread(b, run_prompt, &(struct run){1, n_tok}, &ms, err);
    if (rc != 0)
        return rc;
    const double median = json_real_value(json_object_get(ms, "median"));
    json_array_append_new(json_object_get(b->out, "prompt"),
                          json_pack("{s:i, s:o, s:f}", "tok", n_tok, "first_token_ms", ms, "tok_s",
                                    n_tok * 1e3 / median));
    return 0;
}

static int bench_decode(struct bench *b, int n_session, int n_ctx, struct base_err *err)
{
    json_t *tok_s;
    fprintf(stderr, "decode, %d session%s after %d tokens …\n", n_session,
            n_session == 1 ? "" : "s in one batch", n_ctx);
    int rc = 0;
    for (int i = 0; i < n_session && rc == 0; i++) {
        if (eng_session_n_pos(b->s[i], 0) >= n_ctx)
            continue;
        forget(b, i, 0);
        rc = feed(b, i, n_ctx, err);
    }
    if (rc == 0)
        rc = spread(b, run_decode, &(struct run){n_session, n_ctx}, &tok_s, err);
    if (rc != 0)
        return rc;
    json_array_insert_new(
        json_object_get(b->out, "decode"), 0,
        json_pack("{s:i, s:i, s:o}", "batch", n_session, "context", n_ctx, "tok_s", tok_s));
    return 0;
}

static int bench_load(struct bench *b, struct base_err *err)
{
    json_t *ms;
    fputs("loading …\n", stderr);
    const int rc = spread(b, run_load, &(struct run){0}, &ms, err);
    if (rc != 0)
        return rc;
    json_object_set_new(b->out, "load_ms", ms);
    /* Any ids do: the work doesn't depend on them. Spread, so that embedding rows aren't shared. */
    const unsigned n_vocab = (unsigned)eng_model_config(b->m)->n_vocab;
    for (int i = 0; i < b->n_text; i++)
        b->text[i] = (int32_t)((unsigned)i * 2654435761u % n_vocab);
    return 0;
}

/* Most memory that was ever resident, the mapped file's pages included, in MiB; 0: /proc can't say.
 */
static double peak_rss_mib(void)
{
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "VmHWM: %ld kB", &kib);
    if (f != NULL)
        fclose(f);
    return (double)kib / 1024;
}

static double kv_mib(const struct bench *b)
{
    const struct eng_config *c = eng_model_config(b->m);
    static const double one[] = {[KERN_KV_F32] = 4, [KERN_KV_F16] = 2, [KERN_KV_Q8_0] = 34.0 / 32};
    double pos = 0;
    for (int i = 0; i < b->n_session; i++)
        pos += b->n_kv[i];
    return pos * 2 * one[b->a->kv] * c->n_kv_head * c->head_dim * c->n_layer / 1048576;
}

/* Every batch size after the first context, every context with the first batch size. The last
 * context first: it is often the longest, and the others then find their tokens in the sessions. */
static int bench_run(struct bench *b, struct base_err *err)
{
    const struct ctl_model_args *a = b->a;
    int rc = bench_load(b, err);
    for (int i = 0; i < a->prompt.n && rc == 0; i++)
        rc = bench_prompt(b, a->prompt.v[i], err);
    for (int i = a->context.n - 1; i >= 0 && rc == 0; i--) {
        for (int k = i == 0 ? a->batch.n - 1 : 0; k >= 0 && rc == 0; k--)
            rc = bench_decode(b, a->batch.v[k], a->context.v[i], err);
    }
    if (rc != 0)
        return rc;
    for (int i = 0; i < b->n_session; i++)
        forget(b, i, 0);
    json_t *more =
        json_pack("{s:f, s:f, s:s, s:s, s:i, s:i, s:i, s:i}", "peak_rss_mib", peak_rss_mib(),
                  "kv_mib", kv_mib(b), "weights", eng_model_packed_how(b->m), "kernels",
                  eng_model_kern(b->m)->name, "threads", a->n_thread, "chunk", a->chunk,
                  "decode_tok", a->n_decode, "repeat", a->n_repeat);
    json_object_update(b->out, more);
    json_decref(more);
    return 0;
}

static int largest(const struct ctl_counts *c)
{
    int most = 0;
    for (int i = 0; i < c->n; i++)
        most = c->v[i] > most ? c->v[i] : most;
    return most;
}

static int bench_init(struct bench *b, const struct ctl_model_args *a, struct base_err *err)
{
    const int prompt = largest(&a->prompt), context = largest(&a->context);
    *b = (struct bench){.a = a, .n_session = largest(&a->batch)};
    b->n_text = prompt > context ? prompt : context;
    b->n_ctx = context + a->n_decode > b->n_text ? context + a->n_decode : b->n_text;
    b->n_text = b->n_text > 0 ? b->n_text : 1;
    b->out = json_pack("{s:[], s:[]}", "prompt", "decode");
    b->s = calloc((size_t)b->n_session, sizeof(struct eng_session *));
    b->seg = calloc((size_t)b->n_session, sizeof *b->seg);
    b->n_kv = calloc((size_t)b->n_session, sizeof *b->n_kv);
    b->text = calloc((size_t)b->n_text, sizeof *b->text);
    b->sample = calloc((size_t)a->n_repeat, sizeof *b->sample);
    if (b->out == NULL || b->s == NULL || b->seg == NULL || b->n_kv == NULL || b->text == NULL ||
        b->sample == NULL)
        return base_err_set(err, BASE_ENOMEM, a->file, "no memory");
    return 0;
}

static double num(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static void print_spread(const json_t *o, const char *unit)
{
    printf("%9.1f %s (%.1f to %.1f)\n", num(o, "median"), unit, num(o, "min"), num(o, "max"));
}

static void print_all(const json_t *out)
{
    size_t i;
    json_t *o;
    printf("%-38s", "load to the first step's end");
    print_spread(json_object_get(out, "load_ms"), "ms");
    json_array_foreach(json_object_get(out, "prompt"), i, o)
    {
        printf("first token of a prompt of %-11.0f", num(o, "tok"));
        print_spread(json_object_get(o, "first_token_ms"), "ms");
        printf("%-38s%9.1f tok/s\n", "  the prompt", num(o, "tok_s"));
    }
    json_array_foreach(json_object_get(out, "decode"), i, o)
    {
        printf("decode, batch of %-2.0f after %-5.0f tokens  ", num(o, "batch"), num(o, "context"));
        print_spread(json_object_get(o, "tok_s"), "tok/s");
    }
    printf("%-38s%9.1f MiB, keys and values %.1f of them\n", "peak memory",
           num(out, "peak_rss_mib"), num(out, "kv_mib"));
    printf("%.0f threads, %s kernels, weights %s, chunks of %.0f\n", num(out, "threads"),
           json_string_value(json_object_get(out, "kernels")),
           json_string_value(json_object_get(out, "weights")), num(out, "chunk"));
}

int ctl_model_bench(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct bench b;
    int rc = bench_init(&b, a, &err);
    if (rc == 0)
        rc = bench_run(&b, &err);
    if (rc == 0 && a->json) {
        json_dumpf(b.out, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (rc == 0) {
        print_all(b.out);
    }
    bench_fini(&b);
    return rc == 0 ? CTL_OK : ctl_model_fail(&err);
}
