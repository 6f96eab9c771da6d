/* A confidence file's text: what is accepted gives a probability, whatever was seen; what isn't
 * gives an error with a place. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/confidence.h"

enum { D = 3, N_LAYER = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const float x[2 * D] = {-1e20f, 1.0f, 1e-20f, 3.0f, -0.5f, 7.0f};
    const struct eng_states s = {
        .n = 2, .d_model = D, .layer = {1, 3}, .n_row = {2, 1}, .mean = x, .last = x};
    const struct eng_pick p = {.logprob = -0.5f, .entropy = 1.0f, .margin = 0.25f};
    struct eng_answer_stats a = {0};
    struct eng_conf *c = NULL;
    struct base_err err = {0};
    eng_answer_stats_add(&a, &p);
    char *text = malloc(size + 1); /* of just that size, for the sanitizer */
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    char *exact = realloc(text, size > 0 ? size : 1);
    text = exact != NULL ? exact : text;
    if (eng_conf_parse(&c, text, size, "f", N_LAYER, D, &err) != 0) {
        if (c != NULL || err.msg[0] == '\0' || err.place[0] == '\0')
            abort();
    } else {
        bool any = false;
        for (int t = 0; t < ENG_CONF_N_TASK; t++) {
            const float v = eng_conf_ask(c, (enum eng_conf_task)t, &a, &s);
            struct eng_watch_opt w;
            eng_conf_watch(c, (enum eng_conf_task)t, &w);
            any = any || eng_conf_has(c, (enum eng_conf_task)t);
            if (!(v >= 0.0f && v <= 1.0f) && v != -1.0f)
                abort();
            if (w.n < 0 || w.n > ENG_WATCH_MAX)
                abort();
        }
        if (!any)
            abort();
        eng_conf_close(c);
    }
    free(text);
    return 0;
}
