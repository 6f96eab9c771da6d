/* One thread, one session: a prompt in one step, then tokens one by one. Not a test, but what
 * scripts/bench-arm64-instructions counts the instructions of.
 * usage: steps FILE N_PROMPT N_DECODE */
#include <stdio.h>
#include <stdlib.h>

#include "engine/model.h"

static int run(struct eng_model *m, int n_prompt, int n_decode, struct base_err *err)
{
    const struct eng_config *c = eng_model_config(m);
    struct eng_exec *e = NULL;
    struct eng_session *s = NULL;
    int32_t *prompt = calloc((size_t)n_prompt, sizeof *prompt), token = 1;
    float *logits = calloc((size_t)c->n_vocab, sizeof *logits);
    int rc = prompt != NULL && logits != NULL ? eng_exec_new(&e, m, 1, n_prompt, err) : BASE_ENOMEM;
    if (rc == 0)
        rc = eng_session_new(&s, m, n_prompt + n_decode, KERN_KV_F16, err);
    for (int i = 0; i < n_prompt && rc == 0; i++) /* any ids do */
        prompt[i] = (int32_t)((unsigned)i * 2654435761u % (unsigned)c->n_vocab);
    struct eng_seg g = {
        .s = s, .layer_end = c->n_layer, .n_row = n_prompt, .token = prompt, .logits = logits};
    for (int i = 0; i <= n_decode && rc == 0; i++) {
        rc = eng_exec_run(e, &g, 1, err);
        g.n_row = 1;
        g.token = &token;
    }
    eng_session_free(s);
    eng_exec_free(e);
    free(prompt);
    free(logits);
    return rc;
}

int main(int argc, char **argv)
{
    const int n_prompt = argc == 4 ? atoi(argv[2]) : 0, n_decode = argc == 4 ? atoi(argv[3]) : 0;
    if (n_prompt < 1 || n_decode < 0) {
        fputs("usage: steps FILE N_PROMPT N_DECODE\n", stderr);
        return 2;
    }
    const struct eng_model_opt o = {
        .path = argv[1], .layer_end = -1, .cpu = getenv("WAYPOST_CPU"), .n_thread = 1};
    struct eng_model *m = NULL;
    struct base_err err = {0};
    int rc = eng_model_open(&m, &o, &err);
    if (rc == 0)
        rc = run(m, n_prompt, n_decode, &err);
    eng_model_close(m);
    char line[600];
    if (rc != 0)
        fprintf(stderr, "steps: %s\n", base_err_line(&err, line, sizeof line));
    return rc == 0 ? 0 : 1;
}
