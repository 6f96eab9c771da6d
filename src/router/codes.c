#include "router/codes.h"

static const struct {
    const char *word, *meaning;
    bool is_warning;
} code[RT_N_CODE] = {
#define X(id, w, is, m) [RT_C_##id] = {.word = w, .meaning = m, .is_warning = is},
    RT_CODES(X)
#undef X
};

const char *rt_code_str(enum rt_code c)
{
    return code[c].word;
}

bool rt_code_is_warning(enum rt_code c)
{
    return code[c].is_warning;
}

int rt_codes_reference(struct base_buf *out)
{
    base_buf_str(out, "| Code | | What it says |\n|---|---|---|\n");
    for (int i = 0; i < RT_N_CODE; i++)
        base_buf_printf(out, "| `%s` | %s | %s |\n", code[i].word,
                        code[i].is_warning ? "warning" : "error", code[i].meaning);
    return out->err;
}
