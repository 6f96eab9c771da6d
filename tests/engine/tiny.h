/* Opens a model that tests/fixtures/mktiny writes: for tests that want a real file. */
#ifndef TEST_TINY_H
#define TEST_TINY_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/gguf.h"

/* NULL when mktiny or the reader failed. options as on mktiny's command line. */
static inline struct gguf_file *tiny_open(const char *options, struct base_err *err)
{
    const char *build = getenv("top_builddir");
    char path[] = "/tmp/waypost-tiny-XXXXXX", cmd[1024];
    struct gguf_file *f = NULL;
    int fd = mkstemp(path);
    if (fd < 0)
        return NULL;
    close(fd);
    snprintf(cmd, sizeof cmd, "'%s/tests/fixtures/mktiny' %s %s", build != NULL ? build : ".",
             options, path);
    if (system(cmd) != 0 || gguf_open(&f, path, err) != 0)
        f = NULL;
    unlink(path); /* the map stays */
    return f;
}

#endif
