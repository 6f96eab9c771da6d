/* Opens a model that tests/fixtures/mktiny writes: for tests that want a real file. */
#ifndef TEST_TINY_H
#define TEST_TINY_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/gguf.h"

#define TINY_PATH "/tmp/waypost-tiny-XXXXXX"

/* Writes a model to a new file, whose name replaces path's X's. options as on mktiny's command
 * line. 0 or -1. The caller unlinks it. */
static inline int tiny_write(const char *options, char *path)
{
    const char *build = getenv("top_builddir");
    char cmd[1024];
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    snprintf(cmd, sizeof cmd, "'%s/tests/fixtures/mktiny' %s %s", build != NULL ? build : ".",
             options, path);
    return system(cmd) == 0 ? 0 : -1;
}

/* NULL when mktiny or the reader failed. */
static inline struct gguf_file *tiny_open(const char *options, struct base_err *err)
{
    char path[] = TINY_PATH;
    struct gguf_file *f = NULL;
    if (tiny_write(options, path) != 0 || gguf_open(&f, path, err) != 0)
        f = NULL;
    unlink(path); /* the map stays */
    return f;
}

#endif
