/* sample_schema MODEL SCHEMAS.json ANSWERS [SEED [TOP_P]]: that many answers to each schema at
 * temperature 1, held to it, as JSON lines {"schema", "text", "ended"}, and in the end one line
 * with what holding costs: CPU time of a pick with and without the grammar on the same logits,
 * beside a step of one row. scripts/check-schema reads it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "api/schema.h"
#include "engine/chat.h"
#include "engine/model.h"
#include "engine/sample.h"

enum { ROWS = 10, MAX_TOK = 160, MAX_TIMES = 1 << 20 };

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "sample_schema: %s: %s\n", what, why);
    exit(1);
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- times ---- */

struct times {
    double *us;
    int n;
};

static void note(struct times *t, double us)
{
    if (t->us == NULL)
        t->us = malloc(MAX_TIMES * sizeof *t->us);
    if (t->us != NULL && t->n < MAX_TIMES)
        t->us[t->n++] = us;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(struct times *t)
{
    if (t->n == 0)
        return 0;
    qsort(t->us, (size_t)t->n, sizeof *t->us, by_value);
    return t->us[t->n / 2];
}

static double mean(const struct times *t)
{
    double sum = 0;
    for (int i = 0; i < t->n; i++)
        sum += t->us[i];
    return t->n > 0 ? sum / t->n : 0;
}

/* ---- one schema ---- */

struct run {
    struct eng_model *m;
    const struct eng_tok *tok;
    struct eng_vocab *v;
    struct eng_exec *exec;
    struct eng_session *session[ROWS];
    float top_p;
    float *logits, *work; /* [ROWS][n_vocab]; [n_vocab] */
    int n_vocab;
    struct times step, held, free, compile;
    long n_forced, n_tok;
};

static struct eng_grammar *grammar_of(struct run *x, const json_t *schema)
{
    struct api_schema *c = api_schema_new(true);
    struct base_buf e, text;
    struct base_err err = {0};
    struct eng_grammar *g = NULL;
    const double t0 = cpu_us();
    base_buf_init(&e, 1 << 16);
    base_buf_init(&text, 4 << 20);
    int rc = api_schema_add(c, schema, false, "schema", &e, &err);
    if (rc == 0)
        rc = api_schema_write(c, &e, &text);
    if (rc == 0)
        rc = eng_grammar_new(&g, x->v, (const char *)text.data, text.len, NULL, &err);
    if (rc != 0)
        die(err.place, err.msg);
    note(&x->compile, cpu_us() - t0);
    api_schema_free(c);
    base_buf_fini(&e);
    base_buf_fini(&text);
    return g;
}

static int prompt(struct run *x, const char *text, int32_t **ids)
{
    const struct eng_chat_format *f;
    const struct eng_chat_msg m = {"user", text, strlen(text)};
    struct base_err err = {0};
    int n;
    if (eng_model_chat(x->m, &f, &err) != 0 ||
        eng_chat_encode(f, x->tok, &m, 1, 512, ids, &n, &err) != 0)
        die("prompt", err.msg);
    return n;
}

static void step(struct run *x, const struct eng_seg *seg, int n)
{
    struct base_err err = {0};
    if (eng_exec_run(x->exec, seg, n, &err) != 0)
        die("step", err.msg);
}

struct answer {
    struct eng_sampler *held, *free;
    int32_t token;
    bool ended;
    char text[1 << 14];
    size_t len;
};

static void begin(struct run *x, struct answer *a, struct eng_grammar *g, uint64_t seed)
{
    struct eng_sample_params p = ENG_SAMPLE_GREEDY;
    struct base_err err = {0};
    *a = (struct answer){.token = -1};
    p.temperature = 1.0f;
    p.seed = seed;
    p.top_p = x->top_p;
    if (eng_sampler_new(&a->free, &p, x->n_vocab, &err) != 0)
        die("sampler", err.msg);
    p.grammar = g;
    p.max_tok = MAX_TOK;
    if (eng_sampler_new(&a->held, &p, x->n_vocab, &err) != 0)
        die("sampler", err.msg);
}

/* One token from row i's logits; what a free pick of the same costs beside it. */
static void pick(struct run *x, struct answer *a, float *logits)
{
    struct eng_pick out;
    int32_t sure;
    memcpy(x->work, logits, sizeof *logits * (size_t)x->n_vocab);
    double t0 = cpu_us();
    if (eng_sampler_pick(a->free, x->work, &out) != 0)
        die("pick", "free");
    note(&x->free, cpu_us() - t0);
    x->n_forced += eng_sampler_forced(a->held, &sure, 1) == 1;
    x->n_tok++;
    t0 = cpu_us();
    const int rc = eng_sampler_pick(a->held, logits, &out);
    note(&x->held, cpu_us() - t0);
    if (rc != 0)
        die("pick", base_code_str(rc));
    a->token = out.token;
    a->ended = eng_tok_is_end(x->tok, out.token);
    size_t n;
    const char *p = eng_tok_piece(x->tok, out.token, false, &n);
    if (!a->ended && a->len + n < sizeof a->text) {
        memcpy(a->text + a->len, p, n);
        a->len += n;
    }
}

static void show(int schema, struct answer *a)
{
    /* The text may be cut within a character: bytes as Latin-1, for the reader to put together. */
    json_t *o = json_object();
    struct base_buf b;
    base_buf_init(&b, 1 << 16);
    for (size_t i = 0; i < a->len; i++)
        base_buf_printf(&b, "%02x", (unsigned char)a->text[i]);
    json_object_set_new(o, "schema", json_integer(schema));
    json_object_set_new(o, "hex", json_string(a->len > 0 ? base_buf_cstr(&b) : ""));
    json_object_set_new(o, "ended", json_boolean(a->ended));
    char *line = json_dumps(o, JSON_COMPACT);
    puts(line);
    free(line);
    json_decref(o);
    base_buf_fini(&b);
    eng_sampler_free(a->held);
    eng_sampler_free(a->free);
}

static void answer_all(struct run *x, int number, const json_t *one, int n_answer, uint64_t seed)
{
    static struct answer a[ROWS];
    struct eng_grammar *g = grammar_of(x, json_object_get(one, "schema"));
    int32_t *ids;
    const int n = prompt(x, json_string_value(json_object_get(one, "prompt")), &ids);
    const int n_layer = eng_model_config(x->m)->n_layer;
    for (int i = 0; i < ROWS; i++)
        eng_session_trim(x->session[i], 0, n_layer, 0);
    float *first = malloc(sizeof *first * (size_t)x->n_vocab);
    for (int i = 0; i < ROWS; i++) { /* the same prompt for all */
        const struct eng_seg s = {
            .s = x->session[i], .layer_end = n_layer, .n_row = n, .token = ids, .logits = first};
        step(x, &s, 1);
    }
    for (int from = 0; from < n_answer; from += ROWS) {
        const int rows = n_answer - from < ROWS ? n_answer - from : ROWS;
        for (int i = 0; i < rows; i++) {
            eng_session_trim(x->session[i], 0, n_layer, n);
            begin(x, &a[i], g, seed + (uint64_t)(from + i));
            memcpy(x->work, first, sizeof *first * (size_t)x->n_vocab);
            float *own = x->logits + (size_t)i * (size_t)x->n_vocab;
            memcpy(own, first, sizeof *first * (size_t)x->n_vocab);
            pick(x, &a[i], own);
        }
        for (int t = 1; t < MAX_TOK; t++) {
            struct eng_seg seg[ROWS];
            int who[ROWS], k = 0;
            for (int i = 0; i < rows; i++) {
                if (a[i].ended)
                    continue;
                who[k] = i;
                seg[k++] = (struct eng_seg){.s = x->session[i],
                                            .layer_end = n_layer,
                                            .n_row = 1,
                                            .token = &a[i].token,
                                            .logits = x->logits + (size_t)i * (size_t)x->n_vocab};
            }
            if (k == 0)
                break;
            const double t0 = cpu_us();
            step(x, seg, k);
            if (k == 1)
                note(&x->step, cpu_us() - t0);
            for (int i = 0; i < k; i++)
                pick(x, &a[who[i]], x->logits + (size_t)who[i] * (size_t)x->n_vocab);
        }
        for (int i = 0; i < rows; i++)
            show(number, &a[i]);
    }
    free(first);
    free(ids);
    eng_grammar_unref(g);
}

int main(int argc, char **argv)
{
    struct run x = {0};
    struct base_err err = {0};
    if (argc < 4)
        die("usage", "sample_schema MODEL SCHEMAS.json ANSWERS [SEED [TOP_P]]");
    json_error_t je;
    json_t *list = json_load_file(argv[2], 0, &je);
    if (list == NULL)
        die(argv[2], je.text);
    const struct eng_model_opt o = {.path = argv[1], .layer_end = -1};
    if (eng_model_open(&x.m, &o, &err) != 0)
        die(err.place, err.msg);
    x.tok = eng_model_tok(x.m);
    x.n_vocab = eng_model_config(x.m)->n_vocab;
    const double t0 = cpu_us();
    if (eng_vocab_new(&x.v, x.tok, &err) != 0)
        die(err.place, err.msg);
    const double vocab_us = cpu_us() - t0;
    /* One thread: its CPU time is the step's. */
    if (eng_exec_new(&x.exec, x.m, 1, 512, &err) != 0)
        die(err.place, err.msg);
    for (int i = 0; i < ROWS; i++) {
        if (eng_session_new(&x.session[i], x.m, 1024, KERN_KV_F16, &err) != 0)
            die(err.place, err.msg);
    }
    x.logits = malloc(sizeof *x.logits * ROWS * (size_t)x.n_vocab);
    x.work = malloc(sizeof *x.work * (size_t)x.n_vocab);
    if (x.logits == NULL || x.work == NULL)
        die("memory", strerror(errno));
    x.top_p = argc > 5 ? strtof(argv[5], NULL) : 1.0f;
    const uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) answer_all(&x, (int)i, one, atoi(argv[3]), seed + i * 100000);
    printf("{\"step_us\":%.1f,\"held_us\":%.1f,\"held_mean_us\":%.1f,\"free_us\":%.1f,"
           "\"free_mean_us\":%.1f,\"compile_us\":%.1f,\"vocab_us\":%.1f,\"tokens\":%ld,"
           "\"forced\":%ld}\n",
           median(&x.step), median(&x.held), mean(&x.held), median(&x.free), mean(&x.free),
           median(&x.compile), vocab_us, x.n_tok, x.n_forced);
    for (int k = 0; k < ROWS; k++)
        eng_session_free(x.session[k]);
    free(x.step.us);
    free(x.held.us);
    free(x.free.us);
    free(x.compile.us);
    free(x.logits);
    free(x.work);
    eng_exec_free(x.exec);
    eng_vocab_free(x.v);
    eng_model_close(x.m);
    json_decref(list);
    return 0;
}
