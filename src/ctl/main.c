#include "ctl/ctl.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *doc;
} commands[] = {
#ifdef WP_CTL_MODEL
    {"model", ctl_model, "info, bench or perplexity of a GGUF file"},
#endif
#ifdef WP_CTL_TUNE
    {"tune", ctl_tune, "fit a confidence file to labelled sentences"},
#endif
#ifdef WP_CTL_POLICY
    {"policy", ctl_policy, "check, explain, test, replay, compare and tune routing policies"},
#endif
#ifdef WP_CTL_LEDGER
    {"ledger", ctl_ledger, "show or verify the egress ledger"},
#endif
#ifdef WP_CTL_CERTS
    {"certs", ctl_certs, "make a development CA and the three certificates"},
#endif
    {NULL, NULL, NULL},
};

bool ctl_take_json(int *argc, char **argv)
{
    bool found = false;
    int n = 0;
    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            found = true;
        else
            argv[n++] = argv[i];
    }
    argv[n] = NULL;
    *argc = n;
    return found;
}

static void usage(FILE *out)
{
    fputs("usage: waypostctl COMMAND [ARGUMENT ...]\n\n", out);
    for (int i = 0; commands[i].name != NULL; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].doc);
    fputs("\nEach command takes --help and --json.\n", out);
}

int main(int argc, char **argv)
{
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        usage(stdout);
        return 0;
    }
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        puts("waypostctl " PACKAGE_VERSION);
        return 0;
    }
    for (int i = 0; argc >= 2 && commands[i].name != NULL; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (argc >= 2)
        fprintf(stderr, "waypostctl: no command '%s'\n", argv[1]);
    usage(stderr);
    return 2;
}
