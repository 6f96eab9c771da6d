/* Functions in a prompt. Where the file's template tells its model of functions, its own constants
 * are read from it and put together as it would: Qwen2.5's and Qwen3's "# Tools" behind the system
 * message, Llama 3.1's before the first user's words. Other models get a few words of ours. */
#include "engine/chat_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_CONSTANT_BYTES = 4096, MAX_MESSAGE_BYTES = 64 << 20, MAX_FRAME_TOK = 64 };

/* ---- constants of a template ---- */

/* The Jinja string that mark stands in, from its opening quote on; NULL: none. */
static const char *opening_quote(const char *tmpl, const char *mark)
{
    for (const char *p = mark; p - tmpl >= 3; p--) {
        if ((*p == '"' || *p == '\'') && p[-1] == ' ' && (p[-2] == '-' || p[-2] == '{'))
            return p;
    }
    return NULL;
}

/* Appends the string at *p (an opening quote), up to `stop` if that comes first; *p: behind it. */
static bool take_string(const char **p, const char *end, const char *stop, struct base_buf *out)
{
    const char quote = **p;
    const size_t n_stop = strlen(stop);
    for (const char *s = *p + 1; s < end; s++) {
        if (*s == quote ||
            (n_stop > 0 && (size_t)(end - s) >= n_stop && memcmp(s, stop, n_stop) == 0)) {
            *p = s + 1;
            return true;
        }
        if (*s == '\\' && s + 1 < end) {
            s++;
            base_buf_u8(out, (uint8_t)(*s == 'n' ? '\n' : *s == 't' ? '\t' : *s));
        } else {
            base_buf_u8(out, (uint8_t)*s);
        }
    }
    return false;
}

/* At the opening quote of the next string that is printed at once, with nothing between. */
static bool next_string(const char **p, const char *end)
{
    const char *s = *p;
    for (const char *want = "}}{{"; *want != '\0'; want++) {
        while (s < end && (*s == ' ' || *s == '\n' || *s == '-'))
            s++;
        if (s >= end || *s != *want)
            return false;
        s++;
    }
    while (s < end && (*s == ' ' || *s == '-'))
        s++;
    *p = s;
    return s < end && (*s == '"' || *s == '\'');
}

/* The text that is printed from the string that holds `mark` on, as long as it is constant:
 * malloc'd, NULL if the template has no such thing. BASE_ENOMEM. */
static int constant(char **out, const char *tmpl, size_t len, const char *mark, const char *stop)
{
    const char *at = chat_find(tmpl, len, mark), *end = tmpl + len;
    const char *p = at != NULL ? opening_quote(tmpl, at) : NULL;
    struct base_buf b;
    bool whole = p != NULL;
    *out = NULL;
    if (!whole)
        return 0;
    base_buf_init(&b, MAX_CONSTANT_BYTES);
    do {
        whole = take_string(&p, end, stop, &b);
    } while (whole && next_string(&p, end));
    int rc = b.err == BASE_ENOMEM ? BASE_ENOMEM : 0;
    if (rc == 0 && b.err == 0 && whole && (*out = strdup(base_buf_cstr(&b))) == NULL)
        rc = BASE_ENOMEM;
    base_buf_fini(&b);
    return rc;
}

static bool is_kind(const struct eng_chat_format *f, const char *name)
{
    return strcmp(f->kind->name, name) == 0;
}

int chat_find_tools(struct eng_chat_format *f, const char *tmpl, size_t len)
{
    int rc = 0;
    if (is_kind(f, "chatml") && chat_find(tmpl, len, "<tool_call>") != NULL) {
        f->responds = chat_find(tmpl, len, "<tool_response>") != NULL;
        rc = constant(&f->tools_head, tmpl, len, "# Tools", "");
        if (rc == 0 && f->tools_head != NULL)
            rc = constant(&f->tools_tail, tmpl, len, "</tools>\\n", "<|im_end|>");
    } else if (is_kind(f, "llama3") && f->date[0] != '\0') {
        rc = constant(&f->tools_head, tmpl, len, "Given the following functions", "");
        if (rc == 0 && f->tools_head != NULL && (f->tools_tail = strdup("")) == NULL)
            rc = BASE_ENOMEM;
    }
    if (f->tools_head == NULL || f->tools_tail == NULL) { /* half of it is nothing */
        free(f->tools_head);
        free(f->tools_tail);
        f->tools_head = f->tools_tail = NULL;
    }
    return rc;
}

void eng_chat_calls(const struct eng_chat_format *f, struct eng_chat_calls *out)
{
    *out = (struct eng_chat_calls){"<tool_call>\n", "\n</tool_call>", "arguments", true, 0};
    if (is_kind(f, "llama3") && f->tools_head != NULL)
        *out = (struct eng_chat_calls){"", "", "parameters", true, 4};
}

/* ---- messages ---- */

/* Messages that are put together here. */
struct work {
    struct eng_chat_msg *msg; /* [n] */
    int n;
    struct base_buf first; /* the one that tells of the functions */
    char **own;            /* [n] texts to be freed; NULL elsewhere */
};

static void put_tools(const struct eng_chat_format *f, const struct eng_chat_ask *ask,
                      struct base_buf *b)
{
    const bool llama = is_kind(f, "llama3");
    if (f->tools_head != NULL) {
        base_buf_str(b, f->tools_head);
        for (int i = 0; i < ask->n_tool; i++)
            base_buf_printf(b, llama ? "%s\n\n" : "\n%s", ask->tool[i]);
        base_buf_str(b, f->tools_tail);
        return;
    }
    base_buf_str(b, "These functions can be called:");
    for (int i = 0; i < ask->n_tool; i++)
        base_buf_printf(b, "\n%s", ask->tool[i]);
    base_buf_str(b,
                 "\nA call is written as\n<tool_call>\n{\"name\": \"<function>\", \"arguments\": "
                 "{<its arguments>}}\n</tool_call>");
}

/* The system message, or a new one, with the functions behind it. */
static void tell_system(const struct eng_chat_format *f, const struct eng_chat_ask *ask,
                        const struct eng_chat_msg *msg, int n_msg, struct work *w)
{
    const bool have = n_msg > 0 && strcmp(msg[0].role, "system") == 0;
    struct base_buf *b = &w->first;
    if (have)
        base_buf_add(b, msg[0].content, msg[0].len);
    else if (is_kind(f, "chatml") && f->system != NULL)
        base_buf_str(b, f->system);
    if (b->len > 0 && (f->tools_head == NULL || f->tools_head[0] != '\n'))
        base_buf_str(b, "\n\n");
    put_tools(f, ask, b);
    if (!have)
        memmove(w->msg + 1, w->msg, (size_t)w->n++ * sizeof *w->msg);
    w->msg[0] = (struct eng_chat_msg){"system", (const char *)b->data, b->len};
}

/* Llama 3.1: before what the user said first. */
static bool tell_user(const struct eng_chat_format *f, const struct eng_chat_ask *ask,
                      struct work *w)
{
    int i = 0;
    while (i < w->n && strcmp(w->msg[i].role, "user") != 0)
        i++;
    if (i == w->n)
        return false;
    put_tools(f, ask, &w->first);
    base_buf_add(&w->first, w->msg[i].content, w->msg[i].len);
    w->msg[i] = (struct eng_chat_msg){"user", (const char *)w->first.data, w->first.len};
    return true;
}

/* Results that follow each other become one turn of the user's. */
static int join_results(const struct eng_chat_msg *msg, int n_msg, struct work *w)
{
    for (int i = 0; i < n_msg; i++) {
        struct base_buf b;
        if (strcmp(msg[i].role, "tool") != 0) {
            w->msg[w->n++] = msg[i];
            continue;
        }
        base_buf_init(&b, MAX_MESSAGE_BYTES);
        for (; i < n_msg && strcmp(msg[i].role, "tool") == 0; i++) {
            base_buf_str(&b, b.len > 0 ? "\n<tool_response>\n" : "<tool_response>\n");
            base_buf_add(&b, msg[i].content, msg[i].len);
            base_buf_str(&b, "\n</tool_response>");
        }
        i--;
        const int rc = b.err;
        w->own[w->n] = (char *)b.data;
        w->msg[w->n++] = (struct eng_chat_msg){"user", (char *)b.data, b.len};
        if (rc != 0)
            return rc;
    }
    return 0;
}

int eng_chat_encode_ask(const struct eng_chat_format *f, const struct eng_tok *t,
                        const struct eng_chat_msg *msg, int n_msg, const struct eng_chat_ask *ask,
                        int max_tok, int32_t **ids, int *n, struct base_err *err)
{
    const bool llama = is_kind(f, "llama3") && f->tools_head != NULL;
    struct chat_prompt p = {
        .t = t, .max = max_tok, .err = err, .held = ask->held, .results = llama};
    struct work w = {.n = 0};
    int rc = 0;
    *ids = NULL;
    *n = 0;
    base_buf_init(&w.first, MAX_MESSAGE_BYTES);
    w.msg = calloc((size_t)n_msg + 1, sizeof *w.msg);
    w.own = calloc((size_t)n_msg + 1, sizeof *w.own);
    if (w.msg == NULL || w.own == NULL) {
        rc = BASE_ENOMEM;
    } else if (llama || (is_kind(f, "chatml") && !f->responds)) {
        memcpy(w.msg, msg, (size_t)n_msg * sizeof *msg); /* it has a turn for results */
        w.n = n_msg;
    } else {
        rc = join_results(msg, n_msg, &w);
    }
    if (rc != 0)
        rc = base_err_set(err, rc, "messages", "%s", base_code_str(rc));
    else if (ask->n_tool > 0 && !llama)
        tell_system(f, ask, msg, n_msg, &w);
    else if (ask->n_tool > 0 && !tell_user(f, ask, &w))
        rc = base_err_set(err, BASE_EINVAL, "messages",
                          "the %s format tells of functions in the user's message: there is none",
                          f->kind->name);
    if (rc == 0 && w.first.err != 0)
        rc = base_err_set(err, w.first.err, "messages", "%s", base_code_str(w.first.err));
    p.told = llama && ask->n_tool > 0;
    if (rc == 0)
        rc = chat_encode(f, &p, w.msg, w.n, ids, n);
    for (int i = 0; w.own != NULL && i <= n_msg; i++)
        free(w.own[i]);
    free(w.own);
    free(w.msg);
    base_buf_fini(&w.first);
    return rc;
}

int eng_chat_words_at(const struct eng_chat_format *f, const struct eng_tok *t,
                      const struct eng_chat_msg *msg, int n_msg, const struct eng_chat_ask *ask,
                      const int32_t *ids, int n, int *at, struct base_err *err)
{
    int32_t *empty = NULL;
    int n_empty = 0, i = 0;
    *at = 0;
    if (n_msg < 1)
        return 0;
    struct eng_chat_msg *copy = malloc((size_t)n_msg * sizeof *copy);
    if (copy == NULL)
        return base_err_set(err, BASE_ENOMEM, "messages", "%s", base_code_str(BASE_ENOMEM));
    memcpy(copy, msg, (size_t)n_msg * sizeof *copy);
    copy[n_msg - 1].content = "";
    copy[n_msg - 1].len = 0;
    int rc = eng_chat_encode_ask(f, t, copy, n_msg, ask, n + MAX_FRAME_TOK, &empty, &n_empty, err);
    while (rc == 0 && i < n && i < n_empty && ids[i] == empty[i])
        i++;
    *at = i < n ? i : 0; /* no words at all: everything counts */
    free(empty);
    free(copy);
    return rc;
}
