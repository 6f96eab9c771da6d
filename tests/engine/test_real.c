/* On the real model (WAYPOST_TEST_MODEL): cut at k = 1, 10 and 29, fed in chunks and then row by
 * row, the logits are those of the whole run, bit for bit. Plain TAP: cmocka has no clean skip. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model.h"

enum { N_DECODE = 8, CTX = 96, CHUNK = 7 };

static const char text[] = "The gateway sits behind the dashboard. Der Wagen hielt kurz vor der "
                           "Brücke, und 车里很安静. \"Is it far?\" she asked. It was";

static void bail(const char *what, const struct base_err *err)
{
    printf("Bail out! %s: %s: %s\n", what, err->place, err->msg);
    exit(1);
}

struct run {
    struct eng_model *m;
    struct eng_exec *e;
    struct eng_session *edge, *cloud;
    int k, n_layer, d, n_vocab;
    float *x;
};

/* n tokens through [0, k) and [k, L); the last row's logits. k = 0: at once. */
static void feed(struct run *r, const int32_t *ids, int n, float *logits)
{
    struct base_err err = {0};
    const struct eng_seg head = {
        .s = r->edge, .layer_end = r->k, .n_row = n, .token = ids, .x_out = r->x};
    const struct eng_seg tail = {.s = r->cloud,
                                 .layer_begin = r->k,
                                 .layer_end = r->n_layer,
                                 .n_row = n,
                                 .x_in = r->x,
                                 .logits = logits};
    const struct eng_seg all = {
        .s = r->edge, .layer_end = r->n_layer, .n_row = n, .token = ids, .logits = logits};
    if (r->k == 0
            ? eng_exec_run(r->e, &all, 1, &err) != 0
            : eng_exec_run(r->e, &head, 1, &err) != 0 || eng_exec_run(r->e, &tail, 1, &err) != 0)
        bail("step", &err);
}

/* Prompt in chunks, then greedy; the logits of every generated position to out[N_DECODE]. */
static void answer(struct run *r, const int32_t *ids, int n, int chunk, float *out)
{
    struct base_err err = {0};
    if (eng_session_new(&r->edge, r->m, CTX, KERN_KV_F16, &err) != 0 ||
        eng_session_new(&r->cloud, r->m, CTX, KERN_KV_F16, &err) != 0)
        bail("session", &err);
    for (int at = 0; at < n; at += chunk)
        feed(r, ids + at, n - at < chunk ? n - at : chunk, out);
    for (int t = 1; t < N_DECODE; t++) {
        int32_t best = 0;
        const float *row = out + (size_t)(t - 1) * (size_t)r->n_vocab;
        for (int i = 1; i < r->n_vocab; i++)
            best = row[i] > row[best] ? i : best;
        feed(r, &best, 1, out + (size_t)t * (size_t)r->n_vocab);
    }
    eng_session_free(r->edge);
    eng_session_free(r->cloud);
}

int main(void)
{
    const char *path = getenv("WAYPOST_TEST_MODEL");
    if (path == NULL || path[0] == '\0') {
        const bool must = getenv("WAYPOST_REQUIRE_MODEL") != NULL;
        puts(
            must
                ? "1..1\nnot ok 1 - WAYPOST_TEST_MODEL is not set"
                : "1..0 # SKIP WAYPOST_TEST_MODEL is not set; scripts/fetch-model prints its path");
        return must;
    }
    struct base_err err = {0};
    struct run r = {0};
    const struct eng_model_opt opt = {.path = path, .layer_end = -1, .cpu = getenv("WAYPOST_CPU")};
    if (eng_model_open(&r.m, &opt, &err) != 0 || eng_exec_new(&r.e, r.m, 2, CTX, &err) != 0)
        bail("model", &err);
    r.n_layer = eng_model_config(r.m)->n_layer;
    r.d = eng_model_config(r.m)->d_model;
    r.n_vocab = eng_model_config(r.m)->n_vocab;
    int32_t *ids = NULL;
    int n = 0;
    if (eng_tok_encode(eng_model_tok(r.m), text, strlen(text), ENG_TOK_BOS, CTX, &ids, &n, &err) !=
        0)
        bail("text", &err);
    const size_t bytes = (size_t)N_DECODE * (size_t)r.n_vocab * sizeof(float);
    float *want = malloc(bytes), *got = malloc(bytes);
    r.x = malloc((size_t)n * (size_t)r.d * sizeof *r.x);
    answer(&r, ids, n, n, want);
    int bad = 0, at = 0;
    static const int k[] = {0, 1, 10, 29};
    for (int i = 0; i < 4; i++) {
        if (k[i] >= r.n_layer)
            continue;
        r.k = k[i];
        answer(&r, ids, n, CHUNK, got);
        const bool same = memcmp(got, want, bytes) == 0;
        printf("%sok %d - cut at %d, chunks of %d: bit-identical over %d + %d tokens\n",
               same ? "" : "not ", ++at, k[i], CHUNK, n, N_DECODE);
        bad += !same;
    }
    printf("1..%d\n", at);
    free(r.x);
    free(want);
    free(got);
    free(ids);
    eng_exec_free(r.e);
    eng_model_close(r.m);
    return bad != 0;
}
