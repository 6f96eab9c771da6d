#include "base/cli.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void usage(const struct base_cli *c, FILE *out)
{
    fprintf(out, "%s - %s\n\nusage: %s [--config FILE] [--set NAME=VALUE ...]\n\n", c->program,
            c->summary, c->program);
    fputs("  --config FILE     read settings from FILE (lines of `name = value`)\n"
          "  --set NAME=VALUE  one setting, over the file's\n"
          "  --check-config    say whether the configuration is sound, and stop\n"
          "  --dump-config     print the configuration in force, with what each setting means\n"
          "  --man             print the manual page's option part (mdoc)\n"
          "  --version         print the version\n"
          "  --help            print this\n\nSettings:\n",
          out);
    for (int i = 0; i < c->n_opt; i++)
        fprintf(out, "  %-28s %s\n", c->opt[i].name, c->opt[i].doc);
}

static int fail(const struct base_cli *c, const struct base_err *err)
{
    char line[sizeof err->place + sizeof err->msg + 4];
    fprintf(stderr, "%s: %s\n", c->program, base_err_line(err, line, sizeof line));
    return 2;
}

int base_cli_main(const struct base_cli *c, void *cfg, int argc, char **argv)
{
    struct base_err err = {0};
    bool check = false, dump = false;
    if (base_opt_init(c->opt, c->n_opt, cfg, &err) != 0)
        return fail(c, &err);
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        bool is_config = strncmp(a, "--config", 8) == 0 && (a[8] == '\0' || a[8] == '=');
        bool is_set = strncmp(a, "--set", 5) == 0 && (a[5] == '\0' || a[5] == '=');
        if (is_config || is_set) {
            size_t skip = is_config ? 8 : 5;
            const char *v = a[skip] == '=' ? a + skip + 1 : i + 1 < argc ? argv[++i] : NULL;
            if (v == NULL) {
                fprintf(stderr, "%s: %s needs a value\n", c->program, a);
                return 2;
            }
            int r = is_config ? base_opt_load(c->opt, c->n_opt, cfg, v, &err)
                              : base_opt_parse(c->opt, c->n_opt, cfg, "--set", v, strlen(v), &err);
            if (r != 0)
                return fail(c, &err);
        } else if (strcmp(a, "--check-config") == 0) {
            check = true;
        } else if (strcmp(a, "--dump-config") == 0) {
            dump = true;
        } else if (strcmp(a, "--version") == 0) {
            printf("%s %s\n", c->program, PACKAGE_VERSION);
            return 0;
        } else if (strcmp(a, "--man") == 0) {
            base_opt_mdoc(c->opt, c->n_opt, stdout);
            return 0;
        } else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            usage(c, stdout);
            return 0;
        } else {
            fprintf(stderr, "%s: no option '%s' (see --help)\n", c->program, a);
            return 2;
        }
    }
    if (dump) {
        base_opt_dump(c->opt, c->n_opt, cfg, stdout);
        return 0;
    }
    if (c->check != NULL && c->check(cfg, &err) != 0)
        return fail(c, &err);
    if (check) {
        printf("%s: the configuration is sound\n", c->program);
        return 0;
    }
    return -1;
}

int base_cli_tell_port(const char *path, int port, struct base_err *err)
{
    char *tmp = NULL;
    if (path[0] == '\0')
        return 0;
    if (asprintf(&tmp, "%s.new", path) < 0)
        return base_err_set(err, BASE_ENOMEM, path, "out of memory");
    FILE *f = fopen(tmp, "we");
    bool ok = f != NULL && fprintf(f, "%d\n", port) > 0;
    ok = (f == NULL || fclose(f) == 0) && ok && rename(tmp, path) == 0;
    free(tmp);
    return ok ? 0 : base_err_set(err, BASE_EIO, path, "cannot write: %s", strerror(errno));
}
