#include "engine/chat_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_TEMPLATE_BYTES = 128 << 10, MAX_SYSTEM_BYTES = 4096 };

/* ---- what the template says ---- */

static bool template_is(const struct chat_kind *k, const char *tmpl, size_t len)
{
    for (int i = 0; i < 3 && k->has[i] != NULL; i++)
        if (chat_find(tmpl, len, k->has[i]) == NULL)
            return false;
    return k->lacks == NULL || chat_find(tmpl, len, k->lacks) == NULL;
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
    for (const char *p = tmpl; (p = chat_find(p, (size_t)(end - p), head)) != NULL;) {
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
    const char *p = chat_find(tmpl, len, "Cutting Knowledge Date: December 2023"),
               *end = tmpl + len;
    if (p == NULL)
        return 0;
    f->system = strdup("Cutting Knowledge Date: December 2023\nToday Date: ");
    snprintf(f->date, sizeof f->date, "26 Jul 2024");
    p = chat_find(tmpl, len, head);
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
    const struct chat_kind *kind = NULL;
    *out = NULL;
    if (len > MAX_TEMPLATE_BYTES)
        len = 0; /* the longest known are 20 kB */
    for (int i = 0; i < CHAT_N_KIND && kind == NULL; i++)
        if (force != NULL ? strcmp(force, chat_kinds[i].name) == 0
                          : template_is(&chat_kinds[i], tmpl, len))
            kind = &chat_kinds[i];
    if (kind == NULL)
        return unknown(err, force, len > 0);
    struct eng_chat_format *f = calloc(1, sizeof *f);
    int rc = f == NULL ? BASE_ENOMEM : 0;
    if (f != NULL) {
        f->kind = kind;
        if (kind->read == CHAT_READ_SYSTEM) {
            f->thinks = chat_find(tmpl, len, "</think>") != NULL;
            f->opens = chat_find(tmpl, len, "<|im_start|>assistant\\n<think>\\n") != NULL;
            rc = find_system(f, tmpl, len);
        } else if (kind->read == CHAT_READ_DATE)
            rc = find_date(f, tmpl, len);
        if (rc == 0)
            rc = chat_find_tools(f, tmpl, len);
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
    free(f->tools_head);
    free(f->tools_tail);
    free((void *)f);
}

const char *eng_chat_name(const struct eng_chat_format *f)
{
    return f->kind->name;
}
