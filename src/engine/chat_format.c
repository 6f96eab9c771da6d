#include "engine/chat_int.h"

#include <stdlib.h>

enum { MAX_TEXT_BYTES = 64 << 20 };

/* ---- the prompt under construction ---- */

static void put_id(struct chat_prompt *p, int32_t id)
{
    if (p->rc != 0)
        return;
    if (p->n >= p->max) {
        p->rc = base_err_set(p->err, BASE_ELIMIT, "messages", "more than %d tokens", p->max);
        return;
    }
    if (p->n == p->cap) {
        int cap = p->cap == 0 ? 64 : p->cap * 2;
        int32_t *ids = realloc(p->ids, (size_t)cap * sizeof *ids);
        if (ids == NULL) {
            p->rc = base_err_set(p->err, BASE_ENOMEM, "messages", "out of memory");
            return;
        }
        p->ids = ids;
        p->cap = cap;
    }
    p->ids[p->n++] = id;
}

static void flush(struct chat_prompt *p)
{
    int32_t *ids = NULL;
    int n = 0;
    if (p->rc == 0 && p->text.err != 0)
        p->rc = base_err_set(p->err, p->text.err, "messages", "%s", base_code_str(p->text.err));
    if (p->rc == 0 && p->text.len > 0)
        p->rc = eng_tok_encode(p->t, (const char *)p->text.data, p->text.len, 0, p->max - p->n,
                               &ids, &n, p->err);
    for (int i = 0; i < n; i++)
        put_id(p, ids[i]);
    free(ids);
    base_buf_reset(&p->text);
}

static void put(struct chat_prompt *p, const char *s, size_t len)
{
    base_buf_add(&p->text, s, len);
}

static void put_str(struct chat_prompt *p, const char *s)
{
    put(p, s, strlen(s));
}

/* A format forced on a model that lacks the token gets it as plain text, as its training may have.
 */
static void put_special(struct chat_prompt *p, const char *s)
{
    int32_t id = eng_tok_find(p->t, s);
    if (id < 0) {
        put_str(p, s);
        return;
    }
    flush(p);
    put_id(p, id);
}

static void put_bos(struct chat_prompt *p)
{
    flush(p);
    if (eng_tok_bos(p->t) >= 0)
        put_id(p, eng_tok_bos(p->t));
}

/* Bytes of the blank character at s, or 0. Blank is what Python's strip() takes, since templates
 * were written for it. */
static size_t blank_len(const char *s, size_t len)
{
    const uint8_t *p = (const uint8_t *)s;
    if (len >= 1 &&
        (p[0] == ' ' || (p[0] >= '\t' && p[0] <= '\r') || (p[0] >= 0x1c && p[0] <= 0x1f)))
        return 1;
    if (len >= 2 && p[0] == 0xc2 && (p[1] == 0x85 || p[1] == 0xa0))
        return 2;
    if (len < 3 || (p[0] != 0xe1 && p[0] != 0xe2 && p[0] != 0xe3))
        return 0;
    unsigned c = (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    return c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
                   c == 0x202f || c == 0x205f || c == 0x3000
               ? 3
               : 0;
}

static size_t trimmed_end(const char *s, size_t len)
{
    for (size_t n = 1; n <= 3 && n <= len; n++)
        if (blank_len(s + len - n, n) == n) {
            len -= n;
            n = 0;
        }
    return len;
}

static void put_trimmed(struct chat_prompt *p, const char *s, size_t len)
{
    for (size_t n; (n = blank_len(s, len)) > 0; len -= n)
        s += n;
    put(p, s, trimmed_end(s, len));
}

/* ---- formats ---- */

static bool is_role(const struct eng_chat_msg *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

static void chatml_turn(struct chat_prompt *p, const char *role, const char *s, size_t len)
{
    put_special(p, "<|im_start|>");
    put_str(p, role);
    put_str(p, "\n");
    put(p, s, len);
    put_special(p, "<|im_end|>");
    put_str(p, "\n");
}

/* The last place of what in s, or NULL. */
static const char *find_last(const char *s, size_t len, const char *what)
{
    const char *last = NULL;
    for (const char *p = s; (p = chat_find(p, (size_t)(s + len - p), what)) != NULL; p++)
        last = p;
    return last;
}

/* An answer of a model that thinks aloud. What it thought before the last question is left out; in
 * the turns that are still open it stays, in the last one's tags even if it is nothing. */
static void thinking_turn(struct chat_prompt *p, const struct eng_chat_msg *m, bool open, bool last)
{
    const char *end = m->content + m->len, *text = m->content, *from = text, *to = text;
    const char *close = chat_find(text, m->len, "</think>");
    if (close != NULL) {
        from = find_last(m->content, (size_t)(close - m->content), "<think>");
        from = from != NULL ? from + strlen("<think>") : m->content;
        to = close;
        text = find_last(m->content, m->len, "</think>") + strlen("</think>");
    }
    for (; from < to && *from == '\n'; from++)
        ;
    for (; from < to && to[-1] == '\n'; to--)
        ;
    const bool show = open && (last || from < to);
    for (; text < end && (close != NULL || show) && *text == '\n'; text++)
        ;
    put_special(p, "<|im_start|>");
    put_str(p, "assistant\n");
    if (show) {
        put_str(p, "<think>\n");
        put(p, from, (size_t)(to - from));
        put_str(p, "\n</think>\n\n");
    }
    put(p, text, (size_t)(end - text));
    put_special(p, "<|im_end|>");
    put_str(p, "\n");
}

static void chatml_encode(const struct eng_chat_format *f, struct chat_prompt *p,
                          const struct eng_chat_msg *msg, int n_msg)
{
    if (eng_tok_add_bos(p->t))
        put_bos(p);
    if (f->system != NULL && (n_msg == 0 || !is_role(&msg[0], "system")))
        chatml_turn(p, "system", f->system, strlen(f->system));
    int last_user = n_msg - 1;
    while (last_user > 0 && !is_role(&msg[last_user], "user"))
        last_user--;
    for (int i = 0; i < n_msg; i++) {
        if (f->thinks && is_role(&msg[i], "assistant"))
            thinking_turn(p, &msg[i], i > last_user, i == n_msg - 1);
        else
            chatml_turn(p, msg[i].role, msg[i].content, msg[i].len);
    }
    put_special(p, "<|im_start|>");
    put_str(p, f->opens ? "assistant\n<think>\n" : "assistant\n");
    /* As the templates do it when thinking is switched off. */
    if (p->held && f->thinks)
        put_str(p, f->opens ? "\n</think>\n\n" : "<think>\n\n</think>\n\n");
}

static void llama3_head(struct chat_prompt *p, const char *role)
{
    put_special(p, "<|start_header_id|>");
    put_str(p, role);
    put_special(p, "<|end_header_id|>");
    put_str(p, "\n\n");
}

static void llama3_encode(const struct eng_chat_format *f, struct chat_prompt *p,
                          const struct eng_chat_msg *msg, int n_msg)
{
    bool preamble = f->date[0] != '\0';
    put_bos(p);
    if (preamble && (n_msg == 0 || !is_role(&msg[0], "system"))) {
        llama3_head(p, "system");
        put_str(p, p->told ? "Environment: ipython\n" : "");
        base_buf_printf(&p->text, "%s%s\n\n", f->system, f->date);
        put_special(p, "<|eot_id|>");
    }
    for (int i = 0; i < n_msg; i++) {
        llama3_head(p, is_role(&msg[i], "tool") ? "ipython" : msg[i].role);
        if (preamble && i == 0 && is_role(&msg[0], "system")) {
            put_str(p, p->told ? "Environment: ipython\n" : "");
            base_buf_printf(&p->text, "%s%s\n\n", f->system, f->date);
        }
        put_trimmed(p, msg[i].content, msg[i].len);
        put_special(p, "<|eot_id|>");
    }
    llama3_head(p, "assistant");
}

/* Whether turns go user, assistant, user … after at most one system message, and there is a first.
 */
static bool turns_fit(const struct eng_chat_format *f, struct chat_prompt *p,
                      const struct eng_chat_msg *msg, int n_msg)
{
    const int first = n_msg > 0 && is_role(&msg[0], "system");
    int i = first;
    while (i < n_msg && is_role(&msg[i], (i - first) % 2 == 0 ? "user" : "assistant"))
        i++;
    if (i < n_msg || n_msg == first)
        p->rc = base_err_set(p->err, BASE_EINVAL, "messages",
                             "message %d is %s: in the %s format user and assistant alternate "
                             "after at most one system message",
                             i, i < n_msg ? "out of turn" : "missing", f->kind->name);
    return p->rc == 0;
}

/* A system message rides in the first user's. */
static void llama2_encode(const struct eng_chat_format *f, struct chat_prompt *p,
                          const struct eng_chat_msg *msg, int n_msg)
{
    int first = n_msg > 0 && is_role(&msg[0], "system");
    if (!turns_fit(f, p, msg, n_msg))
        return;
    for (int i = first; i < n_msg && p->rc == 0; i++) {
        bool user = (i - first) % 2 == 0;
        if (!user) {
            put_str(p, " ");
            put_trimmed(p, msg[i].content, msg[i].len);
            put_str(p, " ");
            flush(p);
            if (eng_tok_eos(p->t) >= 0)
                put_id(p, eng_tok_eos(p->t));
            continue;
        }
        put_bos(p);
        put_str(p, "[INST] ");
        if (i == first && first == 1) {
            put_str(p, "<<SYS>>\n");
            put(p, msg[0].content, msg[0].len);
            size_t len = trimmed_end(msg[i].content, msg[i].len);
            put_str(p, len > 0 ? "\n<</SYS>>\n\n" : "\n<</SYS>>");
            put(p, msg[i].content, len);
        } else {
            put_trimmed(p, msg[i].content, msg[i].len);
        }
        put_str(p, " [/INST]");
    }
}

/* The assistant is called model; a system message stands before the first user's words. */
static void gemma_encode(const struct eng_chat_format *f, struct chat_prompt *p,
                         const struct eng_chat_msg *msg, int n_msg)
{
    int first = n_msg > 0 && is_role(&msg[0], "system");
    if (!turns_fit(f, p, msg, n_msg))
        return;
    put_bos(p);
    for (int i = first; i < n_msg; i++) {
        put_special(p, "<start_of_turn>");
        put_str(p, is_role(&msg[i], "user") ? "user\n" : "model\n");
        if (i == 1 && first == 1) {
            put(p, msg[0].content, msg[0].len);
            put_str(p, "\n\n");
        }
        put_trimmed(p, msg[i].content, msg[i].len);
        put_special(p, "<end_of_turn>");
        put_str(p, "\n");
    }
    put_special(p, "<start_of_turn>");
    put_str(p, "model\n");
}

/* The template's newlines after control tokens never reach the model, nor does white space before a
 * message: the tokenizer takes it for a part of the token before it. */
static void phi3_encode(const struct eng_chat_format *f, struct chat_prompt *p,
                        const struct eng_chat_msg *msg, int n_msg)
{
    static const char *const head[] = {"<|system|>", "<|user|>", "<|assistant|>"};
    (void)f;
    if (eng_tok_add_bos(p->t))
        put_bos(p);
    for (int i = 0; i < n_msg; i++) {
        const char *s = msg[i].content;
        size_t len = msg[i].len;
        for (size_t n; (n = blank_len(s, len)) > 0; len -= n)
            s += n;
        put_special(p, head[is_role(&msg[i], "system") ? 0 : is_role(&msg[i], "user") ? 1 : 2]);
        put(p, s, len);
        put_special(p, "<|end|>");
    }
    put_special(p, head[2]);
}

const struct chat_kind chat_kinds[CHAT_N_KIND] = {
    {"chatml",
     {"<|im_start|>", "<|im_end|>"},
     "<|im_sep|>",
     "system|user|assistant|tool",
     chatml_encode,
     CHAT_READ_SYSTEM},
    {"llama3",
     {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     NULL,
     "system|user|assistant",
     llama3_encode,
     CHAT_READ_DATE},
    {"llama2",
     {"[INST]", "<<SYS>>"},
     NULL,
     "system|user|assistant",
     llama2_encode,
     CHAT_READ_NOTHING},
    {"gemma",
     {"<start_of_turn>", "<end_of_turn>"},
     NULL,
     "system|user|assistant",
     gemma_encode,
     CHAT_READ_NOTHING},
    {"phi3",
     {"<|user|>", "<|assistant|>", "<|end|>"},
     NULL,
     "system|user|assistant",
     phi3_encode,
     CHAT_READ_NOTHING},
};

/* ---- encoding ---- */

static bool role_known(const char *roles, const char *role)
{
    size_t len = strlen(role);
    for (const char *p = roles; *p != '\0';) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, role, n) == 0)
            return true;
        p += n + (p[n] == '|');
    }
    return false;
}

int chat_encode(const struct eng_chat_format *f, struct chat_prompt *p,
                const struct eng_chat_msg *msg, int n_msg, int32_t **ids, int *n)
{
    for (int i = 0; i < n_msg; i++)
        if (!role_known(f->kind->roles, msg[i].role) && !(p->results && is_role(&msg[i], "tool")))
            return base_err_set(p->err, BASE_EINVAL, "messages",
                                "message %d has a role that the %s format lacks (it knows %s)", i,
                                f->kind->name, f->kind->roles);
    base_buf_init(&p->text, MAX_TEXT_BYTES);
    f->kind->encode(f, p, msg, n_msg);
    flush(p);
    base_buf_fini(&p->text);
    if (p->rc != 0) {
        free(p->ids);
        return p->rc;
    }
    *ids = p->ids;
    *n = p->n;
    return 0;
}

int eng_chat_encode(const struct eng_chat_format *f, const struct eng_tok *t,
                    const struct eng_chat_msg *msg, int n_msg, int max_tok, int32_t **ids, int *n,
                    struct base_err *err)
{
    struct chat_prompt p = {.t = t, .max = max_tok, .err = err};
    *ids = NULL;
    *n = 0;
    return chat_encode(f, &p, msg, n_msg, ids, n);
}
