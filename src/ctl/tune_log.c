#include "ctl/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/model.h"

enum { MAX_BYTES = 16 << 20 };

bool tune_is_none(const struct tune_row *r)
{
    return strcmp(r->want, "none") == 0;
}

bool tune_is_right(const struct tune_row *r)
{
    return strcmp(r->said, r->want) == 0;
}

/* One line into its three fields, in place. */
static int split(char *line, struct tune_row *out)
{
    char *field[3] = {line};
    int n = 1;
    for (char *p = line; *p != '\0'; p++) {
        if (*p != '\t')
            continue;
        if (n == 3)
            return BASE_EFORMAT;
        *p = '\0';
        field[n++] = p + 1;
    }
    if (n != 3 || field[1][0] == '\0' || field[2][0] == '\0')
        return BASE_EFORMAT;
    *out = (struct tune_row){.lang = field[0], .text = field[1], .want = field[2]};
    return 0;
}

int tune_log_read(struct tune_log *out, const char *path, struct base_err *err)
{
    size_t len = 0;
    *out = (struct tune_log){0};
    int rc = ctl_read_file(path, MAX_BYTES, &out->buf, &len, err);
    if (rc != 0)
        return rc;
    if (memchr(out->buf, '\0', len) != NULL)
        return base_err_set(err, BASE_EFORMAT, path, "it has a byte 0: this is no text");
    out->row = calloc(FIT_MAX_ROWS, sizeof *out->row);
    if (out->row == NULL)
        return base_err_set(err, BASE_ENOMEM, path, "no memory for its rows");
    char *next = out->buf;
    for (int line = 1; next != NULL && *next != '\0'; line++) {
        char *s = next, place[300];
        next = strchr(s, '\n');
        if (next != NULL)
            *next++ = '\0';
        s[strcspn(s, "\r")] = '\0';
        if (s[0] == '\0' || s[0] == '#')
            continue;
        snprintf(place, sizeof place, "%s:%d", path, line);
        if (out->n == FIT_MAX_ROWS)
            return base_err_set(err, BASE_ELIMIT, place, "more than %d sentences", FIT_MAX_ROWS);
        if (split(s, &out->row[out->n]) != 0)
            return base_err_set(err, BASE_EFORMAT, place,
                                "three fields with tabs between are needed: language, sentence, "
                                "the line that should be answered");
        out->n++;
    }
    return out->n > 0 ? 0 : base_err_set(err, BASE_EFORMAT, path, "it has no sentences");
}

void tune_log_fini(struct tune_log *l)
{
    for (int i = 0; i < l->n; i++)
        free(l->row[i].said);
    free(l->row);
    free(l->buf);
    *l = (struct tune_log){0};
}
