/* Small models and adapters for tests: runs tests/fixtures/mktiny and mklora into a private folder
 * that goes away with tiny_clean(). */
#ifndef TESTS_ENGINE_TINY_MODEL_H
#define TESTS_ENGINE_TINY_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/model.h"

enum { TINY_MAX = 256 };
static char tiny_dir[64];
static char *tiny_path[TINY_MAX];
static int tiny_n;

static inline void tiny_die(const char *what)
{
    printf("Bail out! %s\n", what);
    exit(1);
}

/* A new file in the folder, made by a program of tests/fixtures. */
static inline const char *tiny_run(const char *program, const char *before, const char *options)
{
    if (tiny_dir[0] == '\0') {
        strcpy(tiny_dir, "/tmp/waypost-tiny.XXXXXX");
        if (mkdtemp(tiny_dir) == NULL)
            tiny_die("no temporary folder");
    }
    const char *build = getenv("top_builddir");
    char cmd[512], path[128];
    snprintf(path, sizeof path, "%s/%d.gguf", tiny_dir, tiny_n);
    snprintf(cmd, sizeof cmd, "'%s/tests/fixtures/%s' %s %s %s", build != NULL ? build : ".",
             program, before, path, options);
    if (tiny_n == TINY_MAX || system(cmd) != 0)
        tiny_die(cmd);
    return tiny_path[tiny_n++] = strdup(path);
}

static inline void tiny_clean(void)
{
    for (int i = 0; i < tiny_n; i++) {
        unlink(tiny_path[i]);
        free(tiny_path[i]);
    }
    if (tiny_dir[0] != '\0')
        rmdir(tiny_dir);
}

/* options: mktiny's own, e.g. "--type q4_1 --layers 3". */
static inline const char *tiny_make(const char *options)
{
    return tiny_run("mktiny", "", options);
}

/* An adapter for the model at base; options: mklora's own. */
static inline const char *tiny_lora(const char *base, const char *options)
{
    return tiny_run("mklora", base, options);
}

/* Opens a model that must be good. */
static inline struct eng_model *tiny_open(const struct eng_model_opt *o)
{
    struct eng_model *m = NULL;
    struct base_err err = {0};
    if (eng_model_open(&m, o, &err) != 0) {
        fprintf(stderr, "# %s: %s\n", err.place, err.msg);
        tiny_die("a model that must open did not");
    }
    return m;
}

#endif
