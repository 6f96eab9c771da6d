#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "ctl/policy.h"

/* cut: of a longer file the first max bytes, else it is an error. */
static char *slurp(const char *path, size_t max, bool cut, size_t *len)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    struct base_buf b;
    char *text = NULL;

    base_buf_init(&b, max + 1); /* and the NUL */
    while (f != NULL && b.err == 0) {
        char piece[8192];
        size_t n = fread(piece, 1, sizeof piece, f), take = cut && n > max - b.len ? max - b.len : n;
        base_buf_add(&b, piece, take);
        if (n < sizeof piece || take < n)
            break;
    }
    if (f == NULL || ferror(f) != 0)
        fprintf(stderr, "waypostctl: %s: %s\n", path, strerror(errno));
    else if (b.err == BASE_ELIMIT)
        fprintf(stderr, "waypostctl: %s: longer than %zu bytes\n", path, max);
    else if (base_buf_cstr(&b) == NULL)
        fprintf(stderr, "waypostctl: %s: out of memory\n", path);
    else {
        *len = b.len;
        text = (char *)b.data;
        b.data = NULL;
    }
    if (f != NULL && f != stdin)
        fclose(f);
    base_buf_fini(&b);
    return text;
}

char *ctl_slurp(const char *path, size_t max, size_t *len)
{
    return slurp(path, max, false, len);
}

/* A policy's texts: the file, and what its `include:` names, from the same folder. */
struct texts {
    const char *path;
    struct rt_source src[RT_MAX_SOURCE]; /* [n], owned */
    int n;
};

static int add_text(struct texts *t, const char *path, const char *name)
{
    size_t len = 0;
    /* One byte too many is enough for the compiler to say where the limit is crossed. */
    char *text = slurp(path, RT_MAX_TEXT_BYTES + (size_t)1, true, &len);
    char *copy = text != NULL ? strdup(name) : NULL;

    if (copy == NULL) {
        free(text);
        return BASE_EIO;
    }
    t->src[t->n++] = (struct rt_source){.name = copy, .text = text, .len = len};
    return 0;
}

/* A name that leads elsewhere, or one too many, is not read; the compiler says why. */
static int include(void *ctx, const char *name)
{
    struct texts *t = ctx;
    const char *slash = strrchr(t->path, '/');
    char *path = NULL;

    for (int i = 0; i < t->n; i++) {
        if (strcmp(t->src[i].name, name) == 0)
            return 0;
    }
    if (name[0] == '.' || strchr(name, '/') != NULL || t->n == RT_MAX_SOURCE)
        return 0;
    int dir = slash != NULL ? (int)(slash - t->path) + 1 : 0;
    if (asprintf(&path, "%.*s%s", dir, t->path, name) < 0)
        return BASE_ENOMEM;
    int rc = add_text(t, path, name);
    free(path);
    return rc;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* first NULL: read from its file. */
static int read_texts(struct texts *t, const char *first, size_t len)
{
    int rc = 0;

    if (first != NULL) {
        char *text = malloc(len + 1), *name = strdup(base_name(t->path));
        if (text != NULL)
            memcpy(text, first, len);
        t->src[t->n++] = (struct rt_source){.name = name, .text = text, .len = len};
        rc = text != NULL && name != NULL ? 0 : BASE_ENOMEM;
    } else {
        rc = add_text(t, t->path, base_name(t->path));
    }
    for (int i = 0; i < t->n && rc == 0; i++)
        rc = rt_policy_includes(t->src[i].text, t->src[i].len, include, t);
    return rc;
}

static void free_texts(struct texts *t)
{
    for (int i = 0; i < t->n; i++) {
        free((char *)(uintptr_t)t->src[i].name);
        free((char *)(uintptr_t)t->src[i].text);
    }
}

static int compile(const struct texts *t, struct rt_policy **out, struct rt_diags *diags)
{
    return t->n == 1 ? rt_policy_compile(out, t->src[0].text, t->src[0].len, diags)
                     : rt_policy_compile_sources(out, t->src, t->n, diags);
}

int ctl_policy_recompile(const char *path, const char *text, size_t len, struct rt_policy **out,
                         struct rt_diags *diags)
{
    struct texts t = {.path = path};
    int rc = read_texts(&t, text, len);

    *out = NULL;
    rc = rc == 0 ? compile(&t, out, diags) : rc;
    free_texts(&t);
    return rc;
}

struct rt_policy *ctl_policy_load(const char *path, struct rt_diags *diags, char **text,
                                  size_t *len, int *rc)
{
    struct rt_policy *p = NULL;
    struct texts t = {.path = path};

    diags->n = diags->n_error = 0;
    *rc = CTL_FAIL;
    int err = read_texts(&t, NULL, 0);
    if (err == 0) {
        err = compile(&t, &p, diags);
        *rc = err == 0 ? CTL_OK : diags->n_error > 0 ? CTL_NO : CTL_FAIL;
    }
    if (err == BASE_ENOMEM || (err != 0 && t.n > 0 && *rc == CTL_FAIL && err != BASE_EIO))
        fprintf(stderr, "waypostctl: %s: %s\n", path, base_code_str(err));
    if (text != NULL && *rc != CTL_FAIL) {
        *text = (char *)(uintptr_t)t.src[0].text;
        *len = t.src[0].len;
        t.src[0].text = NULL;
    }
    free_texts(&t);
    return p;
}

struct rt_policy *ctl_policy_need(const char *path, int *rc)
{
    static struct rt_diags diags;
    struct rt_policy *p = ctl_policy_load(path, &diags, NULL, NULL, rc);
    if (*rc == CTL_NO)
        ctl_policy_print_diags(path, &diags);
    return p;
}

void ctl_policy_print_diags(const char *path, const struct rt_diags *d)
{
    for (int i = 0; i < d->n; i++)
        fprintf(stderr, "%s:%d:%d: %s: %s\n", d->at[i].file[0] != '\0' ? d->at[i].file : path,
                d->at[i].line, d->at[i].col, d->at[i].warning ? "warning" : "error", d->at[i].msg);
    if (d->n == RT_MAX_DIAG)
        fprintf(stderr, "%s: only the first %d findings are shown\n", path, RT_MAX_DIAG);
}

int ctl_policy_fail(const struct base_err *err)
{
    char line[sizeof *err];
    fprintf(stderr, "waypostctl: %s\n", base_err_line(err, line, sizeof line));
    return CTL_FAIL;
}

int ctl_policy_print(const struct base_buf *out)
{
    int err = out->err;
    if (err == 0 && (fwrite(out->data, 1, out->len, stdout) != out->len || fflush(stdout) != 0))
        err = BASE_EIO;
    if (err != 0)
        fprintf(stderr, "waypostctl: %s\n", base_code_str(err));
    return err == 0 ? CTL_OK : CTL_FAIL;
}

int ctl_policy_print_json(json_t *root)
{
    int err = root == NULL                                    ? BASE_ENOMEM
              : json_dumpf(root, stdout, JSON_INDENT(2)) != 0 ? BASE_EIO
              : putchar('\n') == EOF || fflush(stdout) == EOF ? BASE_EIO
                                                              : 0;
    if (err != 0)
        fprintf(stderr, "waypostctl: %s\n", base_code_str(err));
    json_decref(root);
    return err == 0 ? CTL_OK : CTL_FAIL;
}

bool ctl_policy_colour(enum ctl_colour c)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    if (c != CTL_COLOUR_AUTO)
        return c == CTL_COLOUR_ALWAYS;
    return (no == NULL || no[0] == '\0') && (term == NULL || strcmp(term, "dumb") != 0) &&
           isatty(STDOUT_FILENO) == 1;
}

void ctl_policy_safe(struct base_buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)s[i];
        base_buf_u8(out, ch < 0x20 || ch == 0x7F ? '?' : ch);
    }
}
