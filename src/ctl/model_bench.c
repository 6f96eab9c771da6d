#include "ctl/model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"

enum { MAX_BATCH = 4 };

struct bench {
    const struct ctl_model_args *a;
    struct eng_model *m;
    struct eng_lora *lora; /* NULL: none */
    struct eng_exec *e;
    struct eng_session *s[MAX_BATCH];
    int32_t *prompt; /* [n_prompt] */
    float *logits;   /* [n_vocab] of each session */
    json_t *out;
};

/* Rates of n_session at once; the prompts' last row gives the first token. */
struct rate {
    double first_ms, prompt_tok_s, decode_tok_s;
};

static void bench_fini(struct bench *b)
{
    for (int i = 0; i < MAX_BATCH; i++)
        eng_session_free(b->s[i]);
    free(b->prompt);
    free(b->logits);
    eng_exec_free(b->e);
    eng_lora_close(b->lora);
    eng_model_close(b->m);
    json_decref(b->out);
}

static int bench_init(struct bench *b, const struct ctl_model_args *a, struct base_err *err)
{
    memset(b, 0, sizeof *b);
    b->a = a;
    b->out = json_object();
    const struct eng_model_opt opt = {
        .path = a->file, .layer_end = -1, .cpu = getenv("WAYPOST_CPU")};
    const int64_t t0 = base_clock_mono_us();
    int rc = eng_model_open(&b->m, &opt, err);
    if (rc != 0)
        return rc;
    json_object_set_new(b->out, "load_ms", json_real((double)(base_clock_mono_us() - t0) / 1e3));
    const struct eng_config *c = eng_model_config(b->m);
    if ((rc = ctl_open_adapter(a, b->m, &b->lora, err)) != 0 ||
        (rc = eng_exec_new(&b->e, b->m, a->n_thread, a->n_prompt * MAX_BATCH, err)) != 0)
        return rc;
    for (int i = 0; i < MAX_BATCH && rc == 0; i++)
        rc = eng_session_new(&b->s[i], b->m, a->n_prompt + a->n_decode, a->kv, err);
    if (rc != 0)
        return rc;
    b->prompt = malloc((size_t)a->n_prompt * sizeof *b->prompt);
    b->logits = malloc((size_t)MAX_BATCH * (size_t)c->n_vocab * sizeof *b->logits);
    if (b->prompt == NULL || b->logits == NULL)
        return base_err_set(err, BASE_ENOMEM, a->file, "no memory");
    /* Any ids do: the work doesn't depend on them. Spread, so that embedding rows aren't shared. */
    for (int i = 0; i < a->n_prompt; i++)
        b->prompt[i] = (int32_t)((unsigned)i * 2654435761u % (unsigned)c->n_vocab);
    return 0;
}

static int32_t argmax(const float *x, int n)
{
    int32_t best = 0;
    for (int i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static int measure(struct bench *b, int n_session, struct rate *r, struct base_err *err)
{
    const struct eng_config *c = eng_model_config(b->m);
    struct eng_seg g[MAX_BATCH] = {0};
    int32_t next[MAX_BATCH];
    for (int i = 0; i < n_session; i++) {
        eng_session_trim(b->s[i], 0, c->n_layer, 0);
        g[i] = (struct eng_seg){.s = b->s[i],
                                .layer_end = c->n_layer,
                                .n_row = b->a->n_prompt,
                                .token = b->prompt,
                                .logits = b->logits + (size_t)i * (size_t)c->n_vocab,
                                .lora = b->lora};
    }
    int64_t t0 = base_clock_mono_us();
    int rc = eng_exec_run(b->e, g, n_session, err);
    int64_t us = base_clock_mono_us() - t0;
    r->first_ms = (double)us / 1e3;
    r->prompt_tok_s = (double)n_session * b->a->n_prompt * 1e6 / (double)us;
    t0 = base_clock_mono_us();
    for (int k = 0; k < b->a->n_decode && rc == 0; k++) {
        for (int i = 0; i < n_session; i++) {
            next[i] = argmax(g[i].logits, c->n_vocab);
            g[i].token = &next[i];
            g[i].n_row = 1;
        }
        rc = eng_exec_run(b->e, g, n_session, err);
    }
    us = base_clock_mono_us() - t0;
    r->decode_tok_s = (double)n_session * b->a->n_decode * 1e6 / (double)us;
    return rc;
}

/* Resident memory in MiB, the mapped file's pages included; 0 if /proc can't say. */
static double rss_mib(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL && fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576.0;
}

static int bench_run(struct bench *b, struct base_err *err)
{
    static const int batches[] = {1, MAX_BATCH};
    struct rate r;
    fputs("warming up …\n", stderr);
    int rc = measure(b, 1, &r, err); /* reads the weights from disk: not what is measured */
    for (size_t i = 0; i < sizeof batches / sizeof batches[0] && rc == 0; i++) {
        fprintf(stderr, "%d session%s …\n", batches[i], batches[i] == 1 ? "" : "s in one batch");
        rc = measure(b, batches[i], &r, err);
        char key[32];
        snprintf(key, sizeof key, "batch_%d", batches[i]);
        json_object_set_new(b->out, key,
                            json_pack("{s:f, s:f, s:f}", "prompt_tok_s", r.prompt_tok_s,
                                      "decode_tok_s", r.decode_tok_s, "first_token_ms",
                                      r.first_ms));
    }
    json_object_set_new(b->out, "rss_mib", json_real(rss_mib()));
    json_object_set_new(b->out, "threads", json_integer(b->a->n_thread));
    json_object_set_new(b->out, "kernels", json_string(eng_model_kern(b->m)->name));
    json_object_set_new(b->out, "prompt_tok", json_integer(b->a->n_prompt));
    json_object_set_new(b->out, "decode_tok", json_integer(b->a->n_decode));
    return rc;
}

static void print_batch(const json_t *out, const char *key, int n)
{
    double prompt = 0, decode = 0, first = 0;
    json_unpack((json_t *)json_object_get(out, key), "{s:F, s:F, s:F}", "prompt_tok_s", &prompt,
                "decode_tok_s", &decode, "first_token_ms", &first);
    printf("%d session%s: prompt %.1f tok/s, decode %.1f tok/s, first token after %.1f ms\n", n,
           n == 1 ? " " : "s", prompt, decode, first);
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
        print_batch(b.out, "batch_1", 1);
        print_batch(b.out, "batch_4", MAX_BATCH);
        printf("load %.0f ms, memory %.0f MiB, %d threads, %s kernels, prompts of %d tokens\n",
               json_real_value(json_object_get(b.out, "load_ms")),
               json_real_value(json_object_get(b.out, "rss_mib")), a->n_thread,
               eng_model_kern(b.m)->name, a->n_prompt);
    }
    bench_fini(&b);
    return rc == 0 ? CTL_OK : ctl_model_fail(&err);
}
