/* The edge's half of a split session as files, for test_stub.py. Prompt and answer are fixed: token
 * ids counted from a formula, then what a local greedy run of the whole model answers.
 *
 * split_frames local MODEL            what the local run gives: "token POS ID" and "state POS HASH"
 * split_frames frames MODEL K SPEC …  frames on stdout; SPEC is NAME[:KEY=NUMBER,…]
 *     hello     version
 *     open      layer tail dtype reply ctx key deadline top temp (in hundredths)
 *     rows      from n want pos layer dtype exp (values times ten to this, here and in what
 * follows) cancel split_frames decode                 a stream of frames on stdin, a line each */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "engine/model.h"
#include "wire/wire.h"

enum { N_PROMPT = 70, N_NEW = 8, N_ROW = N_PROMPT + N_NEW, N_CTX = 128, N_FIRST = 3 };

struct run {
    struct eng_model *model;
    struct eng_exec *exec;
    const struct eng_config *cfg;
    struct wire_identity identity;
    int32_t token[N_ROW + 1]; /* prompt, then the answer */
    uint64_t state[N_ROW];    /* hash of x at L, by position */
    float *rows;              /* [N_ROW][d]: x entering layer k */
    float *logits, *x;        /* [n_vocab], [N_PROMPT][d] */
};

static _Noreturn void die(const char *what, const struct base_err *err)
{
    char line[sizeof err->place + sizeof err->msg + 4] = "";
    fprintf(stderr, "split_frames: %s %s\n", what,
            err != NULL ? base_err_line(err, line, sizeof line) : "");
    exit(2);
}

static void *must(void *p)
{
    if (p == NULL)
        die("out of memory", NULL);
    return p;
}

static uint64_t hash_of(const float *x, int d)
{
    return base_xxh64(x, (size_t)d * sizeof *x);
}

static void model_open(struct run *r, const char *path)
{
    struct eng_model_opt o = {.path = path, .layer_end = -1, .cpu = getenv("WAYPOST_CPU")};
    struct base_err err = {0};
    if (eng_model_open(&r->model, &o, &err) != 0 ||
        eng_exec_new(&r->exec, r->model, 1, N_PROMPT, &err) != 0)
        die("model", &err);
    const struct eng_identity *id = must((void *)(uintptr_t)eng_model_identity(r->model));
    r->cfg = eng_model_config(r->model);
    memcpy(r->identity.config, id->config, sizeof id->config);
    memcpy(r->identity.tok, id->tok, sizeof id->tok);
    memcpy(r->identity.head, id->head, sizeof id->head);
    r->identity.n_layer = id->n_layer;
    r->identity.d_model = r->cfg->d_model;
    r->identity.n_vocab = r->cfg->n_vocab;
    r->identity.layer = id->layer;
    size_t d = (size_t)r->cfg->d_model;
    r->rows = must(calloc(N_ROW * d, sizeof *r->rows));
    r->x = must(calloc(N_PROMPT * d, sizeof *r->x));
    r->logits = must(calloc((size_t)r->cfg->n_vocab, sizeof *r->logits));
}

static void run_close(struct run *r)
{
    free(r->rows);
    free(r->x);
    free(r->logits);
    eng_exec_free(r->exec);
    eng_model_close(r->model);
}

static void step(struct run *r, struct eng_session *s, int end, int pos, int n, float *x, float *lg)
{
    struct base_err err = {0};
    struct eng_seg g = {
        .s = s, .layer_end = end, .n_row = n, .token = r->token + pos, .x_out = x, .logits = lg};
    if (eng_exec_run(r->exec, &g, 1, &err) != 0)
        die("step", &err);
}

static struct eng_session *session(struct run *r)
{
    struct eng_session *s;
    struct base_err err = {0};
    if (eng_session_new(&s, r->model, N_CTX, KERN_KV_F16, &err) != 0)
        die("session", &err);
    return s;
}

static void run_local(struct run *r)
{
    struct eng_session *s = session(r);
    int d = r->cfg->d_model, n;
    for (int i = 0; i < N_PROMPT; i++)
        r->token[i] = N_FIRST + i * 37 % 250;
    for (int pos = 0; pos < N_ROW; pos += n) {
        n = pos == 0 ? N_PROMPT : 1;
        step(r, s, r->cfg->n_layer, pos, n, r->x, r->logits);
        for (int i = 0; i < n; i++)
            r->state[pos + i] = hash_of(r->x + (size_t)i * (size_t)d, d);
        int32_t best = 0;
        for (int32_t t = 1; t < r->cfg->n_vocab; t++)
            best = r->logits[t] > r->logits[best] ? t : best;
        r->token[pos + n] = best;
    }
    eng_session_free(s);
}

/* The edge's layers [0, k), a token at a time after the prompt, as an edge runs them. */
static void run_prefix(struct run *r, int k)
{
    struct eng_session *s = session(r);
    for (int pos = 0, n; pos < N_ROW; pos += n) {
        n = pos == 0 ? N_PROMPT : 1;
        step(r, s, k, pos, n, r->rows + (size_t)pos * (size_t)r->cfg->d_model, NULL);
    }
    eng_session_free(s);
}

static int arg(const char *spec, const char *key, int otherwise)
{
    size_t n = strlen(key);
    for (const char *p = strpbrk(spec, ":,"); p != NULL; p = strpbrk(p + 1, ",")) {
        if (strncmp(p + 1, key, n) == 0 && p[1 + n] == '=')
            return atoi(p + 2 + n);
    }
    return otherwise;
}

static void fill(const struct run *r, int k, const char *spec, struct wire_frame *f)
{
    const int dtype = arg(spec, "dtype", 0);
    if (strncmp(spec, "hello", 5) == 0) {
        f->type = WIRE_HELLO;
        f->u.hello.version = arg(spec, "version", WIRE_VERSION);
        f->u.hello.id = r->identity;
        snprintf(f->u.hello.software, sizeof f->u.hello.software, "split_frames");
    } else if (strncmp(spec, "open", 4) == 0) {
        f->type = WIRE_OPEN;
        f->u.open = (struct wire_open){.layer = arg(spec, "layer", k),
                                       .tail = (enum wire_tail)arg(spec, "tail", 0),
                                       .dtype = (enum wire_dtype)dtype,
                                       .reply_dtype = (enum wire_dtype)arg(spec, "reply", 0),
                                       .n_ctx = arg(spec, "ctx", N_CTX),
                                       .deadline_ms = (uint32_t)arg(spec, "deadline", 0),
                                       .temperature = (float)arg(spec, "temp", 0) / 100.0f,
                                       .top_p = 1,
                                       .repeat_penalty = 1,
                                       .n_top = arg(spec, "top", 0),
                                       .seed = 1};
        memset(f->u.open.idempotency_key, arg(spec, "key", 1), sizeof f->u.open.idempotency_key);
    } else if (strncmp(spec, "rows", 4) == 0) {
        int from = arg(spec, "from", 0);
        int n = arg(spec, "n", 1);
        if (from < 0 || n < 1 || from + n > N_ROW)
            die("no such rows:", NULL);
        for (size_t i = 0, end = (size_t)(N_ROW * r->cfg->d_model); i < end; i++)
            r->rows[i] *= powf(10, (float)arg(spec, "exp", 0));
        f->type = WIRE_ROWS;
        f->u.rows = (struct wire_rows){.pos = arg(spec, "pos", from),
                                       .layer = arg(spec, "layer", k),
                                       .n_row = n,
                                       .d = r->cfg->d_model,
                                       .dtype = (enum wire_dtype)dtype,
                                       .want = arg(spec, "want", 0) != 0,
                                       .x = r->rows + (size_t)from * (size_t)r->cfg->d_model};
    } else if (strcmp(spec, "cancel") == 0) {
        f->type = WIRE_CANCEL;
    } else {
        die("not a frame", NULL);
    }
}

static int put_frames(const char *model, int k, char **spec, int n)
{
    static struct run r;
    struct base_buf b;
    base_buf_init(&b, 64 << 20);
    model_open(&r, model);
    run_local(&r);
    run_prefix(&r, k);
    for (int i = 0; i < n; i++) {
        struct wire_frame f = {0};
        fill(&r, k, spec[i], &f);
        if (wire_encode(&f, &b) != 0)
            die("cannot encode", NULL);
    }
    if (fwrite(b.data, 1, b.len, stdout) != b.len)
        die("cannot write", NULL);
    base_buf_fini(&b);
    run_close(&r);
    return 0;
}

static int put_local(const char *model)
{
    static struct run r;
    model_open(&r, model);
    run_local(&r);
    for (int pos = N_PROMPT - 1; pos < N_ROW; pos++) {
        printf("token %d %d\n", pos + 1, (int)r.token[pos + 1]);
        printf("state %d %016llx\n", pos, (unsigned long long)r.state[pos]);
    }
    run_close(&r);
    return 0;
}

static void show(const struct wire_frame *f)
{
    const struct wire_status_frame *s = &f->u.status;
    if (f->type == WIRE_HELLO)
        printf("hello %d %d\n", f->u.hello.version, f->u.hello.id.n_layer);
    else if (f->type == WIRE_TOKEN)
        printf("token %d %d\n", f->u.token.pos, (int)f->u.token.token);
    else if (f->type == WIRE_STATE)
        printf("state %d %016llx\n", f->u.rows.pos,
               (unsigned long long)hash_of(f->u.rows.x, f->u.rows.d));
    else if (f->type == WIRE_STATUS)
        printf("status %d %u %u %u %s\n", (int)s->status, s->n_tok_in, s->n_tok_out,
               s->retry_after_ms, s->message);
    else
        printf("unexpected %d\n", (int)f->type);
}

static int decode(void)
{
    struct wire_decoder *d = must(wire_decoder_new());
    struct base_err err = {0};
    uint8_t in[4096];
    size_t n;
    int rc = 0;
    while (rc == 0 && (n = fread(in, 1, sizeof in, stdin)) > 0) {
        struct wire_frame f;
        rc = wire_decoder_feed(d, in, n);
        while (rc == 0 && (rc = wire_decoder_next(d, &f, &err)) == 1) {
            show(&f);
            rc = 0;
        }
    }
    if (rc != 0 || wire_decoder_partial(d))
        die("not a stream of whole frames:", &err);
    wire_decoder_free(d);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "local") == 0)
        return put_local(argv[2]);
    if (argc > 4 && strcmp(argv[1], "frames") == 0)
        return put_frames(argv[2], atoi(argv[3]), argv + 4, argc - 4);
    if (argc == 2 && strcmp(argv[1], "decode") == 0)
        return decode();
    fprintf(stderr, "usage: split_frames local MODEL | frames MODEL K SPEC ... | decode\n");
    return 2;
}
