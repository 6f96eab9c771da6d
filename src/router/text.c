#include "router/compile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

void rt_diag_add(struct rt_diags *d, enum rt_code code, int line, int col, const char *fmt, ...)
{
    const bool warning = rt_code_is_warning(code);
    if (!warning)
        d->n_error++;
    if (d->n == RT_MAX_DIAG)
        return;
    struct rt_diag *g = &d->at[d->n++];
    *g = (struct rt_diag){.line = line, .col = col, .warning = warning, .code = code};
    snprintf(g->file, sizeof g->file, "%s", d->file != NULL ? d->file : "");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->msg, sizeof g->msg, fmt, ap);
    va_end(ap);
    /* A cut message must still be UTF-8. */
    size_t at = 0, n = strlen(g->msg);
    uint32_t cp;
    for (size_t step; at < n && (step = base_utf8(g->msg + at, n - at, &cp)) > 0;)
        at += step;
    g->msg[at] = '\0';
}

static int by_place(const void *pa, const void *pb)
{
    const struct rt_diag *a = pa, *b = pb;
    int file = strcmp(a->file, b->file);
    if (file != 0)
        return file;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->col < b->col ? -1 : a->col > b->col;
}

void rt_diag_sort(struct rt_diags *d)
{
    qsort(d->at, (size_t)d->n, sizeof d->at[0], by_place);
}

static const char *unwanted(uint32_t cp)
{
    if (cp == '\t')
        return "a tab; write spaces";
    if (cp == 0xFEFF)
        return "a byte order mark; save the file as UTF-8 without one";
    if (cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || cp == 0x2028 || cp == 0x2029)
        return "a control character";
    if (cp == 0x200E || cp == 0x200F || (cp >= 0x202A && cp <= 0x202E) ||
        (cp >= 0x2066 && cp <= 0x2069))
        return "a character that changes the direction of writing; the rule would not read as it "
               "acts";
    if (cp >= 0xFFFE && (cp & 0xFFFE) == 0xFFFE)
        return "a code point that is no character";
    return NULL;
}

bool rt_text_clean(const char *s, size_t n, bool newline, int *line, int *col, const char **what)
{
    *line = *col = 1;
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        size_t len = base_utf8(s + i, n - i, &cp);
        if (len == 0) {
            *what = "not UTF-8";
            return false;
        }
        if (newline && cp == '\r' && i + 1 < n && s[i + 1] == '\n') {
            i += len;
            continue;
        }
        if (newline && cp == '\n') {
            ++*line;
            *col = 1;
            i += len;
            continue;
        }
        *what = unwanted(cp);
        if (*what != NULL)
            return false;
        ++*col;
        i += len;
    }
    return true;
}

void rt_text_place(const char *text, size_t at, int *line, int *col)
{
    size_t start = 0;

    *line = *col = 1;
    for (const char *nl; (nl = memchr(text + start, '\n', at - start)) != NULL; ++*line)
        start = (size_t)(nl - text) + 1;
    for (; start < at; start++)
        *col += ((unsigned char)text[start] & 0xC0) != 0x80;
}

const char *rt_show(const char *s, size_t n, char buf[RT_SHOW_BYTES])
{
    enum { MAX_CHARS = 40 };
    size_t at = 0, out = 0;
    int shown = 0;

    buf[out++] = '\'';
    while (at < n && shown < MAX_CHARS) {
        uint32_t cp = 0;
        size_t len = base_utf8(s + at, n - at, &cp);
        if (len == 0 || unwanted(cp) != NULL) {
            buf[out++] = '?';
            at += len > 0 ? len : 1;
        } else {
            memcpy(buf + out, s + at, len);
            out += len;
            at += len;
        }
        shown++;
    }
    if (at < n)
        out += (size_t)snprintf(buf + out, 5, "...");
    buf[out++] = '\'';
    buf[out] = '\0';
    return buf;
}

/* Edit distance with swaps of neighbours as one step; both sides at most 40 characters. */
static int distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    int row[3][MAX + 1];
    int na = (int)strlen(a), nb = (int)strlen(b);

    if (na > MAX || nb > MAX)
        return MAX;
    for (int j = 0; j <= nb; j++)
        row[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *cur = row[i % 3], *prev = row[(i + 2) % 3], *prev2 = row[(i + 1) % 3];
        cur[0] = i;
        for (int j = 1; j <= nb; j++) {
            int best = prev[j - 1] + (a[i - 1] != b[j - 1]);
            best = prev[j] + 1 < best ? prev[j] + 1 : best;
            best = cur[j - 1] + 1 < best ? cur[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = prev2[j - 2] + 1 < best ? prev2[j - 2] + 1 : best;
            cur[j] = best;
        }
    }
    return row[na % 3][nb];
}

const char *rt_nearest(const struct rt_compiler *c, const char *s,
                       const char *(*next)(const void *ctx, int i), const void *ctx)
{
    size_t len = strlen(s);
    int best = len < 4 ? 2 : len < 9 ? 3 : 4; /* one more than is still taken for a misspelling */
    const char *found = NULL, *cand;

    if (c->d->n == RT_MAX_DIAG)
        return NULL;
    for (int i = 0; (cand = next(ctx, i)) != NULL; i++) {
        int d = distance(s, cand);
        if (d < best) {
            best = d;
            found = cand;
        }
    }
    return found;
}
