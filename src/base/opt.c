#include "base/opt.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum { OPT_MAX_FILE_BYTES = 1 << 20, OPT_MAX_VALUE_BYTES = 4096, OPT_MAX_LIST = 64 };

static void *field(const struct base_opt *o, void *cfg)
{
    return (char *)cfg + o->offset;
}

static const void *cfield(const struct base_opt *o, const void *cfg)
{
    return (const char *)cfg + o->offset;
}

static const char *const bool_word[] = {"no", "yes", "false", "true", "off", "on"};

static int set_number(const struct base_opt *o, void *cfg, const char *value, const char *place,
                      struct base_err *err)
{
    char *end;
    errno = 0;
    double v = o->type == BASE_OPT_INT ? (double)strtoll(value, &end, 10) : strtod(value, &end);
    if (errno != 0 || end == value || *end != '\0' || !isfinite(v))
        return base_err_set(err, BASE_EINVAL, place, "%s: '%s' is not a%s number", o->name, value,
                            o->type == BASE_OPT_INT ? " whole" : "");
    if (v < o->min || v > o->max)
        return base_err_set(err, BASE_EINVAL, place, "%s: %s is not in %.15g..%.15g%s%s", o->name,
                            value, o->min, o->max, o->unit != NULL ? " " : "",
                            o->unit != NULL ? o->unit : "");
    if (o->type == BASE_OPT_INT)
        *(int64_t *)field(o, cfg) = strtoll(value, NULL, 10);
    else
        *(double *)field(o, cfg) = v;
    return 0;
}

/* The index of word in the '|'-separated list, or -1. */
static int choice_find(const char *choices, const char *word, size_t len)
{
    int i = 0;
    for (const char *p = choices; p != NULL; i++) {
        size_t n = strcspn(p, "|");
        if (n == len && memcmp(p, word, n) == 0)
            return i;
        p = p[n] == '|' ? p + n + 1 : NULL;
    }
    return -1;
}

static int list_add(struct base_strlist *l, const char *value)
{
    char **item = realloc(l->item, sizeof *item * (size_t)(l->n + 1));
    if (item == NULL)
        return BASE_ENOMEM;
    l->item = item;
    item[l->n] = strdup(value);
    if (item[l->n] == NULL)
        return BASE_ENOMEM;
    l->n++;
    return 0;
}

static int set_value(const struct base_opt *o, void *cfg, const char *value, const char *place,
                     struct base_err *err)
{
    switch (o->type) {
    case BASE_OPT_INT:
    case BASE_OPT_REAL:
        return set_number(o, cfg, value, place, err);
    case BASE_OPT_BOOL:
        for (int i = 0; i < 6; i++) {
            if (strcmp(value, bool_word[i]) == 0) {
                *(int *)field(o, cfg) = i & 1;
                return 0;
            }
        }
        return base_err_set(err, BASE_EINVAL, place, "%s: '%s' is neither yes nor no", o->name,
                            value);
    case BASE_OPT_ENUM: {
        int i = choice_find(o->choices, value, strlen(value));
        if (i < 0)
            return base_err_set(err, BASE_EINVAL, place, "%s: '%s' is none of %s", o->name, value,
                                o->choices);
        *(int *)field(o, cfg) = i;
        return 0;
    }
    case BASE_OPT_STR: {
        char *copy = strdup(value);
        if (copy == NULL)
            return base_err_set(err, BASE_ENOMEM, place, "out of memory");
        char **at = field(o, cfg);
        free(*at);
        *at = copy;
        return 0;
    }
    case BASE_OPT_LIST: {
        struct base_strlist *l = field(o, cfg);
        if (l->n >= (o->max > 0 ? (int)o->max : OPT_MAX_LIST))
            return base_err_set(err, BASE_ELIMIT, place, "%s: more than %d entries", o->name, l->n);
        return list_add(l, value) != 0 ? base_err_set(err, BASE_ENOMEM, place, "out of memory") : 0;
    }
    }
    return base_err_set(err, BASE_EINTERNAL, place, "%s: broken option table", o->name);
}

int base_opt_init(const struct base_opt *t, int n, void *cfg, struct base_err *err)
{
    for (int i = 0; i < n; i++) {
        if (t[i].type == BASE_OPT_LIST) {
            *(struct base_strlist *)field(&t[i], cfg) = (struct base_strlist){0};
            continue;
        }
        if (t[i].type == BASE_OPT_STR)
            *(char **)field(&t[i], cfg) = NULL;
    }
    for (int i = 0; i < n; i++) {
        if (t[i].type == BASE_OPT_LIST)
            continue;
        int r = set_value(&t[i], cfg, t[i].def != NULL ? t[i].def : "", "default", err);
        if (r != 0)
            return r;
    }
    return 0;
}

void base_opt_fini(const struct base_opt *t, int n, void *cfg)
{
    for (int i = 0; i < n; i++) {
        if (t[i].type == BASE_OPT_STR) {
            char **at = field(&t[i], cfg);
            free(*at);
            *at = NULL;
        } else if (t[i].type == BASE_OPT_LIST) {
            struct base_strlist *l = field(&t[i], cfg);
            for (int k = 0; k < l->n; k++)
                free(l->item[k]);
            free(l->item);
            *l = (struct base_strlist){0};
        }
    }
}

static int opt_find(const struct base_opt *t, int n, const char *name, size_t len)
{
    for (int i = 0; i < n; i++) {
        if (strlen(t[i].name) == len && memcmp(t[i].name, name, len) == 0)
            return i;
    }
    return -1;
}

/* One line without its line break: value is unquoted into out. */
struct line {
    const char *name;
    size_t name_len;
    size_t name_col, value_col;
    char value[OPT_MAX_VALUE_BYTES];
};

/* 1: a setting, 0: nothing on the line, else an error. */
static int line_parse(const char *s, size_t len, const char *where, int line_no, struct line *out,
                      struct base_err *err)
{
    char place[200];
    size_t i = 0;
    while (i < len && (s[i] == ' ' || s[i] == '\t'))
        i++;
    if (i == len || s[i] == '#')
        return 0;
    out->name = s + i;
    out->name_col = i + 1;
    while (i < len && (isalnum((unsigned char)s[i]) || s[i] == '_' || s[i] == '.' || s[i] == '-'))
        i++;
    out->name_len = (size_t)(s + i - out->name);
    while (i < len && (s[i] == ' ' || s[i] == '\t'))
        i++;
    if (out->name_len == 0 || i == len || s[i] != '=') {
        snprintf(place, sizeof place, "%s:%d:%zu", where, line_no, i + 1);
        return base_err_set(err, BASE_EFORMAT, place, "expected `name = value`");
    }
    i++;
    while (i < len && (s[i] == ' ' || s[i] == '\t'))
        i++;
    out->value_col = i + 1;
    size_t n = 0;
    /* A value that starts with a quote is quoted as a whole; elsewhere a quote is a plain character
     * (list entries have quoted words inside). */
    bool whole = i < len && s[i] == '"', in_word_quote = false, closed = false;
    if (whole)
        i++;
    for (; i < len; i++) {
        char c = s[i];
        if (whole) {
            if (c == '\\' && i + 1 < len && (s[i + 1] == '"' || s[i + 1] == '\\')) {
                c = s[++i];
            } else if (c == '"') {
                closed = true;
                i++;
                break;
            }
        } else {
            if (c == '"')
                in_word_quote = !in_word_quote;
            if (c == '#' && !in_word_quote)
                break;
        }
        if (n + 1 >= sizeof out->value || (unsigned char)c < 0x20) {
            snprintf(place, sizeof place, "%s:%d:%zu", where, line_no, i + 1);
            return base_err_set(err, BASE_EFORMAT, place,
                                "the value is too long or has a control character");
        }
        out->value[n++] = c;
    }
    while (whole && closed && i < len && (s[i] == ' ' || s[i] == '\t'))
        i++;
    if ((whole && (!closed || (i < len && s[i] != '#'))) || (!whole && in_word_quote)) {
        snprintf(place, sizeof place, "%s:%d:%zu", where, line_no, i + 1);
        return base_err_set(err, BASE_EFORMAT, place, "a double quote is open or text follows it");
    }
    while (!whole && n > 0 && (out->value[n - 1] == ' ' || out->value[n - 1] == '\t'))
        n--;
    out->value[n] = '\0';
    return 1;
}

int base_opt_parse(const struct base_opt *t, int n, void *cfg, const char *name_of_text,
                   const char *text, size_t len, struct base_err *err)
{
    unsigned char *seen = calloc((size_t)n + 1, 1);
    struct line *ln = malloc(sizeof *ln);
    int rc = 0, line_no = 0;
    if (seen == NULL || ln == NULL) {
        rc = base_err_set(err, BASE_ENOMEM, name_of_text, "out of memory");
        goto out;
    }
    for (size_t at = 0; at < len;) {
        const char *s = text + at;
        const char *nl = memchr(s, '\n', len - at);
        size_t line_len = nl != NULL ? (size_t)(nl - s) : len - at;
        at += line_len + 1;
        line_no++;
        if (line_len > 0 && s[line_len - 1] == '\r')
            line_len--;
        int r = line_parse(s, line_len, name_of_text, line_no, ln, err);
        if (r == 0)
            continue;
        if (r < 0) {
            rc = r;
            goto out;
        }
        char place[200];
        snprintf(place, sizeof place, "%s:%d:%zu", name_of_text, line_no, ln->name_col);
        int i = opt_find(t, n, ln->name, ln->name_len);
        if (i < 0) {
            rc = base_err_set(err, BASE_ENOTFOUND, place, "no option '%.*s' (see --help)",
                              (int)(ln->name_len < 64 ? ln->name_len : 64), ln->name);
            goto out;
        }
        if (seen[i] && t[i].type != BASE_OPT_LIST) {
            rc = base_err_set(err, BASE_EFORMAT, place, "%s is given twice", t[i].name);
            goto out;
        }
        seen[i] = 1;
        snprintf(place, sizeof place, "%s:%d:%zu", name_of_text, line_no, ln->value_col);
        rc = set_value(&t[i], cfg, ln->value, place, err);
        if (rc != 0)
            goto out;
    }
out:
    free(seen);
    free(ln);
    return rc;
}

int base_opt_load(const struct base_opt *t, int n, void *cfg, const char *path,
                  struct base_err *err)
{
    struct base_buf b;
    base_buf_init(&b, OPT_MAX_FILE_BYTES);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return base_err_set(err, BASE_EIO, path, "cannot open: %s", strerror(errno));
    char chunk[8192];
    size_t got;
    while ((got = fread(chunk, 1, sizeof chunk, f)) > 0)
        base_buf_add(&b, chunk, got);
    int rc = 0;
    if (ferror(f))
        rc = base_err_set(err, BASE_EIO, path, "cannot read: %s", strerror(errno));
    else if (b.err != 0)
        rc = base_err_set(err, b.err, path, "the file is larger than %d bytes", OPT_MAX_FILE_BYTES);
    else
        rc = base_opt_parse(t, n, cfg, path, (const char *)b.data, b.len, err);
    fclose(f);
    base_buf_fini(&b);
    return rc;
}

static void put_quoted(FILE *out, const char *s)
{
    size_t n = strlen(s);
    bool plain =
        n == 0 || (s[0] != '"' && s[0] != ' ' && s[n - 1] != ' ' && strchr(s, '#') == NULL);
    if (plain) {
        fputs(s, out);
        return;
    }
    putc('"', out);
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\')
            putc('\\', out);
        putc(*s, out);
    }
    putc('"', out);
}

static void put_choice(FILE *out, const char *choices, int i)
{
    for (; i > 0; i--)
        choices += strcspn(choices, "|") + 1;
    fprintf(out, "%.*s", (int)strcspn(choices, "|"), choices);
}

static void put_range(const struct base_opt *o, const char *lead, FILE *out)
{
    if (o->type == BASE_OPT_INT || o->type == BASE_OPT_REAL)
        fprintf(out, "%s%.15g..%.15g%s%s.", lead, o->min, o->max, o->unit != NULL ? " " : "",
                o->unit != NULL ? o->unit : "");
    else if (o->type == BASE_OPT_ENUM)
        fprintf(out, "%sOne of %s.", lead, o->choices);
    else if (o->type == BASE_OPT_LIST)
        fprintf(out, "%sMay be given up to %d times.", lead,
                o->max > 0 ? (int)o->max : OPT_MAX_LIST);
}

void base_opt_dump(const struct base_opt *t, int n, const void *cfg, FILE *out)
{
    for (int i = 0; i < n; i++) {
        const struct base_opt *o = &t[i];
        const void *at = cfield(o, cfg);
        fprintf(out, "# %s", o->doc);
        put_range(o, " ", out);
        putc('\n', out);
        if (o->type == BASE_OPT_LIST) {
            const struct base_strlist *l = at;
            for (int k = 0; k < l->n; k++) {
                fprintf(out, "%s = ", o->name);
                put_quoted(out, l->item[k]);
                putc('\n', out);
            }
            if (l->n == 0)
                fprintf(out, "#%s =\n", o->name);
            putc('\n', out);
            continue;
        }
        fprintf(out, "%s = ", o->name);
        if (o->type == BASE_OPT_INT)
            fprintf(out, "%lld", (long long)*(const int64_t *)at);
        else if (o->type == BASE_OPT_REAL)
            fprintf(out, "%.9g", *(const double *)at);
        else if (o->type == BASE_OPT_BOOL)
            fputs(bool_word[*(const int *)at != 0], out);
        else if (o->type == BASE_OPT_ENUM)
            put_choice(out, o->choices, *(const int *)at);
        else
            put_quoted(out, *(char *const *)at);
        fputs("\n\n", out);
    }
}

/* Text lines of mdoc: each sentence on a line of its own, as mdoc wants it, `words` in quotes, and
 * nothing in it taken for a request or an escape. */
static void put_roff(FILE *out, const char *s, bool line_start)
{
    bool in_quote = false;
    for (char before = ' '; *s != '\0'; before = *s++) {
        bool sentence = before == '.' && *s == ' ' && (s[1] == '`' || isupper((unsigned char)s[1]));
        if (sentence || *s == '\n') {
            putc('\n', out);
            line_start = true;
            continue;
        }
        if (line_start && (*s == '.' || *s == '\''))
            fputs("\\&", out);
        line_start = false;
        if (*s == '\\') {
            fputs("\\e", out);
        } else if (*s == '`') {
            in_quote = !in_quote;
            fputs(in_quote ? "\\(oq" : "\\(cq", out);
        } else {
            putc(*s, out);
        }
    }
}

void base_opt_mdoc(const struct base_opt *t, int n, FILE *out)
{
    fputs(".Bl -tag -width Ds\n", out);
    for (int i = 0; i < n; i++) {
        const struct base_opt *o = &t[i];
        fprintf(out, ".It Ic %s\n", o->name);
        put_roff(out, o->doc, true);
        put_range(o, "\n", out);
        if (o->def != NULL && o->def[0] != '\0') {
            fputs("\nDefault: \\(oq", out);
            put_roff(out, o->def, false);
            fputs("\\(cq.", out);
        }
        putc('\n', out);
    }
    fputs(".El\n", out);
}

/* Steps over one word key=value at *s. 1: found, 0: the end, BASE_EFORMAT. */
static int next_word(const char **s, const char **key, size_t *key_len, const char **val,
                     size_t *val_len)
{
    const char *p = *s + strspn(*s, " \t");
    if (*p == '\0')
        return 0;
    *key = p;
    *key_len = strcspn(p, "= \t");
    p += *key_len;
    if (*p != '=' || *key_len == 0)
        return BASE_EFORMAT;
    p++;
    if (*p == '"') {
        *val = ++p;
        *val_len = strcspn(p, "\"");
        p += *val_len;
        if (*p != '"')
            return BASE_EFORMAT;
        p++;
        if (*p != '\0' && *p != ' ' && *p != '\t')
            return BASE_EFORMAT;
    } else {
        *val = p;
        *val_len = strcspn(p, " \t");
        p += *val_len;
    }
    *s = p;
    return 1;
}

int base_opt_word(const char *value, const char *key, char *out, size_t size_bytes)
{
    const char *k, *v;
    size_t kn, vn;
    int r;
    while ((r = next_word(&value, &k, &kn, &v, &vn)) > 0) {
        if (kn != strlen(key) || memcmp(k, key, kn) != 0)
            continue;
        if (vn >= size_bytes)
            return BASE_ELIMIT;
        memcpy(out, v, vn);
        out[vn] = '\0';
        return 0;
    }
    return r < 0 ? r : BASE_ENOTFOUND;
}

int base_opt_words_check(const char *value, const char *keys, struct base_err *err)
{
    const char *all = value, *k, *v;
    size_t kn, vn;
    uint64_t seen = 0;
    int r;
    while ((r = next_word(&value, &k, &kn, &v, &vn)) > 0) {
        int i = choice_find(keys, k, kn);
        if (i < 0)
            return base_err_set(err, BASE_EINVAL, all, "'%.*s' is none of %s", (int)kn, k, keys);
        if (seen >> i & 1)
            return base_err_set(err, BASE_EINVAL, all, "'%.*s' is given twice", (int)kn, k);
        seen |= 1ull << i;
    }
    return r < 0 ? base_err_set(err, BASE_EFORMAT, all, "expected words key=value") : 0;
}
