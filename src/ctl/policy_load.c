#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "ctl/policy.h"
#include "store/files.h"

char *ctl_slurp(const char *path, size_t max, size_t *len)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    struct base_buf b;
    char *text = NULL;

    base_buf_init(&b, max + 1); /* and the NUL */
    while (f != NULL && b.err == 0) {
        char piece[8192];
        size_t n = fread(piece, 1, sizeof piece, f);
        base_buf_add(&b, piece, n);
        if (n < sizeof piece)
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

/* One text has no name in findings: the path is told, as it was given. */
static int compile(const struct store_set *set, struct rt_policy **out, struct rt_diags *diags)
{
    return set->n == 1 ? rt_policy_compile(out, set->src[0].text, set->src[0].len, diags)
                       : rt_policy_compile_sources(out, set->src, set->n, diags);
}

int ctl_policy_recompile(const char *path, const char *text, size_t len, struct rt_policy **out,
                         struct rt_diags *diags)
{
    struct store_set set;
    struct base_err err = {0};
    int rc = store_set_read_text(&set, path, text, len, &err);

    *out = NULL;
    if (rc != 0)
        (void)ctl_policy_fail(&err);
    else
        rc = compile(&set, out, diags);
    store_set_fini(&set);
    return rc;
}

struct rt_policy *ctl_policy_load(const char *path, struct rt_diags *diags, char **text,
                                  size_t *len, int *rc)
{
    struct rt_policy *p = NULL;
    struct store_set set;
    struct base_err err = {0};

    diags->n = diags->n_error = 0;
    *rc = CTL_FAIL;
    if (store_set_read(&set, path, STORE_BY_HAND, &err) != 0) {
        (void)ctl_policy_fail(&err);
    } else {
        int code = compile(&set, &p, diags);
        *rc = code == 0 ? CTL_OK : diags->n_error > 0 ? CTL_NO : CTL_FAIL;
        if (*rc == CTL_FAIL)
            fprintf(stderr, "waypostctl: %s: %s\n", path, base_code_str(code));
    }
    if (text != NULL && *rc != CTL_FAIL) {
        *text = (char *)(uintptr_t)set.src[0].text;
        *len = set.src[0].len;
        set.src[0].text = NULL;
    }
    store_set_fini(&set);
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
