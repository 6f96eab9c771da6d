/* policy check: for people, for scripts and for language servers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "ctl/policy.h"
#include "router/numbers.h"

/* Characters of a line as the Language Server Protocol counts them: in UTF-16 units, from 0. */
static int utf16_units(const char *line, const char *end)
{
    int n = 0;
    for (; line < end; line++) {
        unsigned char ch = (unsigned char)*line;
        n += (ch & 0xC0U) == 0x80U ? 0 : ch >= 0xF0U ? 2 : 1;
    }
    return n;
}

static json_t *position(const char *text, size_t at, int line)
{
    const char *start = text + at;
    while (start > text && start[-1] != '\n')
        start--;
    return json_pack("{s:i, s:i}", "line", line - 1, "character", utf16_units(start, text + at));
}

/* The word that a message offers: "…; did you mean 'X'?", or NULL. */
static json_t *suggestion(const char *msg)
{
    static const char mark[] = "did you mean '";
    const char *s = strstr(msg, mark);
    if (s == NULL)
        return json_null();
    s += sizeof mark - 1;
    return json_stringn(s, strcspn(s, "'"));
}

static json_t *diagnostic(const char *path, const char *text, size_t len, const struct rt_diag *d)
{
    size_t from, to;

    const char *slash = strrchr(path, '/'), *base = slash != NULL ? slash + 1 : path;
    bool other = d->file[0] != '\0' && strcmp(d->file, base) != 0; /* its text is not at hand */
    (void)rt_scalar_at(text, other ? 0 : len, d->line, d->col, &from, &to);
    return json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:o, s:{s:o, s:o}}", "file",
                     other ? d->file : path, "line", d->line, "column", d->col, "severity",
                     d->warning ? "warning" : "error", "code", rt_code_str(d->code), "source",
                     "waypost", "message", d->msg, "suggestion", suggestion(d->msg), "range",
                     "start", position(text, from, d->line), "end", position(text, to, d->line));
}

static int print_json(const char *path, const char *text, size_t len, const struct rt_policy *p,
                      const struct rt_diags *d)
{
    char hex[2 * BASE_SHA256_BYTES + 1] = "";
    json_t *list = json_array(), *targets = json_array();

    for (int i = 0; i < d->n; i++)
        json_array_append_new(list, diagnostic(path, text, len, &d->at[i]));
    for (int i = 0; p != NULL && i < rt_policy_n_target(p); i++)
        json_array_append_new(targets, json_string(rt_policy_target_name(p, i)));
    json_t *root = json_pack("{s:s+, s:b, s:i, s:o, s:o}", "file", path, "", "ok", p != NULL,
                             "errors", d->n_error, "diagnostics", list, "targets", targets);
    if (root != NULL && p != NULL) {
        base_hex(rt_policy_hash(p), BASE_SHA256_BYTES, hex);
        json_object_set_new(root, "version", json_string(rt_policy_version(p)));
        json_object_set_new(root, "sha256", json_string(hex));
        json_object_set_new(root, "rules", json_integer(rt_policy_n_rule(p)));
    }
    return ctl_policy_print_json(root);
}

int ctl_policy_codes(const struct ctl_policy_args *a)
{
    struct base_buf out;
    (void)a;
    base_buf_init(&out, 1 << 16);
    out.err = rt_codes_reference(&out);
    int rc = ctl_policy_print(&out);
    base_buf_fini(&out);
    return rc;
}

int ctl_policy_check(const struct ctl_policy_args *a)
{
    static struct rt_diags diags;
    char hex[2 * BASE_SHA256_BYTES + 1], *text = NULL;
    const char *path = a->word[0];
    size_t len = 0;
    int rc;

    struct rt_policy *p = ctl_policy_load(path, &diags, &text, &len, &rc);
    if (rc != CTL_FAIL && a->json) {
        int printed = print_json(path, text, len, p, &diags);
        rc = printed != CTL_OK ? printed : rc;
    } else if (rc != CTL_FAIL) {
        ctl_policy_print_diags(path, &diags);
        if (p != NULL)
            printf("%s: fine: version %s, %d rules, %d targets, sha256 %s\n", path,
                   rt_policy_version(p), rt_policy_n_rule(p), rt_policy_n_target(p),
                   base_hex(rt_policy_hash(p), BASE_SHA256_BYTES, hex));
        else
            fprintf(stderr, "%s: %d errors\n", path, diags.n_error);
    }
    free(text);
    rt_policy_free(p);
    return rc;
}
