/* What tests/kernels/steps.c does, by llama.cpp. usage: steps FILE N_PROMPT N_DECODE */
#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

static void quiet(enum ggml_log_level level, const char *text, void *arg)
{
    (void)arg;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

int main(int argc, char **argv)
{
    const int n_prompt = argc == 4 ? atoi(argv[2]) : 0, n_decode = argc == 4 ? atoi(argv[3]) : 0;
    if (n_prompt < 1)
        return 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model *m = llama_model_load_from_file(argv[1], llama_model_default_params());
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = 256;
    p.n_batch = p.n_ubatch = 256;
    p.n_threads = p.n_threads_batch = 1;
    struct llama_context *c = m != NULL ? llama_init_from_model(m, p) : NULL;
    llama_token *prompt = calloc((size_t)n_prompt, sizeof *prompt), token = 1;
    if (c == NULL || prompt == NULL)
        return 1;
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
    for (int i = 0; i < n_prompt; i++)
        prompt[i] = (llama_token)((unsigned)i * 2654435761u % (unsigned)n_vocab);
    int rc = llama_decode(c, llama_batch_get_one(prompt, n_prompt));
    for (int i = 0; i < n_decode && rc == 0; i++)
        rc = llama_decode(c, llama_batch_get_one(&token, 1));
    free(prompt);
    llama_free(c);
    llama_model_free(m);
    return rc != 0;
}
