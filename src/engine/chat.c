#include "engine/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { MAX_TEMPLATE_BYTES = 128 << 10, MAX_SYSTEM_BYTES = 4096, MAX_TEXT_BYTES = 64 << 20 };

/* ---- the prompt under construction ---- */

/* Text is collected until a special token comes, so that it is merged across our own words and the
 * user's exactly as if a template had rendered it. */
struct prompt {
    const struct eng_tok *t;
    struct base_buf text;
    int32_t *ids;
    int n, cap, max;
    int rc;
    struct base_err *err;
};

static void put_id(struct prompt *p, int32_t id)
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

static void flush(struct prompt *p)
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

static void put(struct prompt *p, const char *s, size_t len)
{
    base_buf_add(&p->text, s, len);
}

static void put_str(struct prompt *p, const char *s)
{
    put(p, s, strlen(s));
}

/* A format forced on a model that lacks the token gets it as plain text, as its training may have.
 */
static void put_special(struct prompt *p, const char *s)
{
    int32_t id = eng_tok_find(p->t, s);
    if (id < 0) {
        put_str(p, s);
        return;
    }
    flush(p);
    put_id(p, id);
}

static void put_bos(struct prompt *p)
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

static void put_trimmed(struct prompt *p, const char *s, size_t len)
{
    for (size_t n; (n = blank_len(s, len)) > 0; len -= n)
        s += n;
    put(p, s, trimmed_end(s, len));
}

static const char *find(const char *s, size_t len, const char *what)
{
    return len == 0 ? NULL : memmem(s, len, what, strlen(what));
}

/* ---- formats ---- */

struct kind {
    const char *name;
    const char *has[3], *lacks; /* what its template's text shows */
    const char *roles;          /* '|'-separated */
    void (*encode)(const struct eng_chat_format *f, struct prompt *p,
                   const struct eng_chat_msg *msg, int n_msg);
};

struct eng_chat_format {
    const struct kind *kind;
    char *system;  /* what the template says when nobody gave a system message; NULL: nothing */
    char date[24]; /* llama3: of 3.1 and later; "": no preamble */
    bool thinks;   /* chatml: answers begin with <think> … </think>, as Qwen3's */
    bool opens;    /* … which the prompt opens already */
};

static bool is_role(const struct eng_chat_msg *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

static void chatml_turn(struct prompt *p, const char *role, const char *s, size_t len)
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
    for (const char *p = s; (p = find(p, (size_t)(s + len - p), what)) != NULL; p++)
        last = p;
    return last;
}

/* An answer of a model that thinks aloud. What it thought before the last question is left out; in
 * the turns that are still open it stays, in the last one's tags even if it is nothing. */
static void thinking_turn(struct prompt *p, const struct eng_chat_msg *m, bool open, bool last)
{
    const char *end = m->content + m->len, *text = m->content, *from = text, *to = text;
    const char *close = find(text, m->len, "</think>");
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

static void chatml_encode(const struct eng_chat_format *f, struct prompt *p,
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
}

static void llama3_head(struct prompt *p, const char *role)
{
    put_special(p, "<|start_header_id|>");
    put_str(p, role);
    put_special(p, "<|end_header_id|>");
    put_str(p, "\n\n");
}

static void llama3_encode(const struct eng_chat_format *f, struct prompt *p,
                          const struct eng_chat_msg *msg, int n_msg)
{
    bool preamble = f->date[0] != '\0';
    put_bos(p);
    if (preamble && (n_msg == 0 || !is_role(&msg[0], "system"))) {
        llama3_head(p, "system");
        base_buf_printf(&p->text, "%s%s\n\n", f->system, f->date);
        put_special(p, "<|eot_id|>");
    }
    for (int i = 0; i < n_msg; i++) {
        llama3_head(p, msg[i].role);
        if (preamble && i == 0 && is_role(&msg[0], "system"))
            base_buf_printf(&p->text, "%s%s\n\n", f->system, f->date);
        put_trimmed(p, msg[i].content, msg[i].len);
        put_special(p, "<|eot_id|>");
    }
    llama3_head(p, "assistant");
}

/* Whether turns go user, assistant, user … after at most one system message, and there is a first.
 */
static bool turns_fit(const struct eng_chat_format *f, struct prompt *p,
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
static void llama2_encode(const struct eng_chat_format *f, struct prompt *p,
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
static void gemma_encode(const struct eng_chat_format *f, struct prompt *p,
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
static void phi3_encode(const struct eng_chat_format *f, struct prompt *p,
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

static const struct kind kinds[] = {
    {"chatml",
     {"<|im_start|>", "<|im_end|>"},
     "<|im_sep|>",
     "system|user|assistant|tool",
     chatml_encode},
    {"llama3",
     {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     NULL,
     "system|user|assistant",
     llama3_encode},
    {"llama2", {"[INST]", "<<SYS>>"}, NULL, "system|user|assistant", llama2_encode},
    {"gemma", {"<start_of_turn>", "<end_of_turn>"}, NULL, "system|user|assistant", gemma_encode},
    {"phi3", {"<|user|>", "<|assistant|>", "<|end|>"}, NULL, "system|user|assistant", phi3_encode},
};
enum { N_KIND = sizeof kinds / sizeof kinds[0] };

/* ---- what the template says ---- */

static bool template_is(const struct kind *k, const char *tmpl, size_t len)
{
    for (int i = 0; i < 3 && k->has[i] != NULL; i++)
        if (find(tmpl, len, k->has[i]) == NULL)
            return false;
    return k->lacks == NULL || find(tmpl, len, k->lacks) == NULL;
}

/* The constant text from s up to "<|im_end|>", of a Jinja string that began with quote (0: plain
 * template text). NULL with *oom false: it is not constant. */
static char *constant_text(const char *s, const char *end, char quote, bool *oom)
{
    static const char stop[] = "<|im_end|>";
    if (end - s > MAX_SYSTEM_BYTES)
        end = s + MAX_SYSTEM_BYTES;
    char *out = malloc((size_t)(end - s) + 1), *o = out;
    *oom = out == NULL;
    if (out == NULL)
        return NULL;
    for (; (size_t)(end - s) >= strlen(stop); s++) {
        if (memcmp(s, stop, strlen(stop)) == 0) {
            *o = '\0';
            return out;
        }
        if (*s == '\0' || (quote != 0 ? *s == quote : *s == '{'))
            break;
        if (quote != 0 && *s == '\\') {
            s++;
            *o++ = *s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
        } else {
            *o++ = *s;
        }
    }
    free(out);
    return NULL;
}

/* ChatML templates write their default as '<|im_start|>system\nYou are …<|im_end|>\n'; the same
 * beginning also stands before a message's own content, which is not constant. */
static int find_system(struct eng_chat_format *f, const char *tmpl, size_t len)
{
    static const char head[] = "<|im_start|>system";
    const char *end = tmpl + len;
    for (const char *p = tmpl; (p = find(p, (size_t)(end - p), head)) != NULL;) {
        char quote = p > tmpl && (p[-1] == '\'' || p[-1] == '"') ? p[-1] : '\0';
        p += strlen(head);
        if (p < end && *p == '\n')
            p++;
        else if (quote != 0 && end - p >= 2 && p[0] == '\\' && p[1] == 'n')
            p += 2;
        else
            continue;
        bool oom;
        f->system = constant_text(p, end, quote, &oom);
        if (f->system != NULL || oom)
            return oom ? BASE_ENOMEM : 0;
    }
    return 0;
}

/* Llama 3.1 and later open with dates. Ours is the one that the template falls back on: a prompt
 * that changes with the day could not be compared with another machine's. */
static int find_date(struct eng_chat_format *f, const char *tmpl, size_t len)
{
    static const char head[] = "date_string = \"";
    const char *p = find(tmpl, len, "Cutting Knowledge Date: December 2023"), *end = tmpl + len;
    if (p == NULL)
        return 0;
    f->system = strdup("Cutting Knowledge Date: December 2023\nToday Date: ");
    snprintf(f->date, sizeof f->date, "26 Jul 2024");
    p = find(tmpl, len, head);
    const char *date = p != NULL ? p + strlen(head) : end;
    const char *close = date < end ? memchr(date, '"', (size_t)(end - date)) : NULL;
    if (close != NULL && (size_t)(close - date) < sizeof f->date && close > date)
        snprintf(f->date, sizeof f->date, "%.*s", (int)(close - date), date);
    return f->system != NULL ? 0 : BASE_ENOMEM;
}

/* ---- the public part ---- */

static int unknown(struct base_err *err, const char *force, bool have_template)
{
    static const char names[] = "chatml, llama3, llama2, gemma, phi3";
    if (force != NULL)
        return base_err_set(err, BASE_EUNSUPPORTED, "model.chat_format", "'%.40s' is none of %s",
                            force, names);
    return base_err_set(err, BASE_EUNSUPPORTED, "key tokenizer.chat_template",
                        "%s; set model.chat_format to one of %s",
                        have_template ? "the model's chat template is not one we know"
                                      : "the model has no chat template",
                        names);
}

int eng_chat_find(const struct eng_chat_format **out, const char *tmpl, size_t len,
                  const char *force, struct base_err *err)
{
    const struct kind *kind = NULL;
    *out = NULL;
    if (len > MAX_TEMPLATE_BYTES)
        len = 0; /* the longest known are 20 kB */
    for (int i = 0; i < N_KIND && kind == NULL; i++)
        if (force != NULL ? strcmp(force, kinds[i].name) == 0 : template_is(&kinds[i], tmpl, len))
            kind = &kinds[i];
    if (kind == NULL)
        return unknown(err, force, len > 0);
    struct eng_chat_format *f = calloc(1, sizeof *f);
    int rc = f == NULL ? BASE_ENOMEM : 0;
    if (f != NULL) {
        f->kind = kind;
        if (kind->encode == chatml_encode) {
            f->thinks = find(tmpl, len, "</think>") != NULL;
            f->opens = find(tmpl, len, "<|im_start|>assistant\\n<think>\\n") != NULL;
            rc = find_system(f, tmpl, len);
        } else if (kind->encode == llama3_encode)
            rc = find_date(f, tmpl, len);
    }
    if (rc != 0) {
        eng_chat_free(f);
        return base_err_set(err, rc, "key tokenizer.chat_template", "%s", base_code_str(rc));
    }
    *out = f;
    return 0;
}

void eng_chat_free(const struct eng_chat_format *f)
{
    if (f == NULL)
        return;
    free(f->system);
    free((void *)f);
}

const char *eng_chat_name(const struct eng_chat_format *f)
{
    return f->kind->name;
}

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

int eng_chat_encode(const struct eng_chat_format *f, const struct eng_tok *t,
                    const struct eng_chat_msg *msg, int n_msg, int max_tok, int32_t **ids, int *n,
                    struct base_err *err)
{
    struct prompt p = {.t = t, .max = max_tok, .err = err};
    *ids = NULL;
    *n = 0;
    for (int i = 0; i < n_msg; i++)
        if (!role_known(f->kind->roles, msg[i].role))
            return base_err_set(err, BASE_EINVAL, "messages",
                                "message %d has a role that the %s format lacks (it knows %s)", i,
                                f->kind->name, f->kind->roles);
    base_buf_init(&p.text, MAX_TEXT_BYTES);
    f->kind->encode(f, &p, msg, n_msg);
    flush(&p);
    base_buf_fini(&p.text);
    if (p.rc != 0) {
        free(p.ids);
        return p.rc;
    }
    *ids = p.ids;
    *n = p.n;
    return 0;
}
