/* A whole model file: hyperparameters, tensor contracts, and a few rows through every layer. Models
 * are opened by path, so the bytes go through an anonymous file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/model.h"

enum { MAX_WORK = 1 << 20 }; /* elements a step may touch: slow is no finding */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void step(struct eng_model *m)
{
    const struct eng_config *c = eng_model_config(m);
    struct eng_session *s = NULL;
    struct eng_exec *e = NULL;
    struct base_err err;
    float *logits = calloc((size_t)c->n_vocab, sizeof *logits);
    const int32_t token[3] = {0, c->n_vocab - 1, c->n_vocab / 2};
    if (logits != NULL && eng_session_new(&s, m, 8, KERN_KV_F16, &err) == 0 &&
        eng_exec_new(&e, m, 1, 4, &err) == 0) {
        struct eng_seg seg = {
            .s = s, .layer_end = c->n_layer, .n_row = 3, .token = token, .logits = logits};
        if (eng_exec_run(e, &seg, 1, &err) == 0 && eng_session_n_pos(s, 0) != 3)
            abort();
    }
    eng_exec_free(e);
    eng_session_free(s);
    free(logits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    int fd = memfd_create("model", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct eng_model_opt o = {.path = path, .layer_end = -1};
    struct eng_model *m = NULL;
    struct base_err err = {0};
    if (eng_model_open(&m, &o, &err) == 0) {
        const struct eng_config *c = eng_model_config(m);
        if ((int64_t)c->n_layer * c->d_model * (c->d_model + 3 * (int64_t)c->d_ff) +
                (int64_t)c->n_vocab * c->d_model <
            MAX_WORK)
            step(m);
        eng_model_close(m);
    } else if (err.msg[0] == '\0') {
        abort();
    }
    close(fd);
    return 0;
}
