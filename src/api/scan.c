/* A model's text -> content and calls. Held to the grammar, a call is exactly what we look for;
 * free text that only looks like the beginning of one is given out as text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/tools.h"

enum { WAIT_BYTES = 4096 };

enum scan_state { SCAN_TEXT, SCAN_NAME, SCAN_KEY, SCAN_ARGS, SCAN_CLOSE };

struct api_scan {
    const struct api_syntax *s;
    enum scan_state state;
    char head[96], key[96], tail[64]; /* up to the name; up to the arguments; behind them */
    size_t n_matched;                 /* of head, key or tail */
    char name[API_MAX_NAME + 1];
    size_t n_name;
    int depth, n_call;
    bool in_string, escaped;
    struct base_buf wait; /* text that matches head so far, or stood behind a call */
};

struct api_scan *api_scan_new(const struct api_syntax *s)
{
    struct api_scan *x = calloc(1, sizeof *x);
    const char *gap = s->spaced ? " " : "";
    if (x == NULL)
        return NULL;
    x->s = s;
    base_buf_init(&x->wait, 2 * WAIT_BYTES);
    snprintf(x->head, sizeof x->head, "%s{\"name\":%s\"", s->open, gap);
    snprintf(x->key, sizeof x->key, ",%s\"%s\":%s", gap, s->args, gap);
    snprintf(x->tail, sizeof x->tail, "}%s", s->close);
    return x;
}

void api_scan_free(struct api_scan *x)
{
    if (x == NULL)
        return;
    base_buf_fini(&x->wait);
    free(x);
}

int api_scan_n_call(const struct api_scan *x)
{
    return x->n_call;
}

/* The call that has begun, or text. */
static int give(const struct api_scan *x, enum api_piece_kind kind, const char *text, size_t len,
                api_piece_cb *cb, void *arg)
{
    const struct api_piece p = {kind, x->n_call > 0 ? x->n_call - 1 : 0, text, len};
    return len == 0 || cb(arg, &p) ? 0 : BASE_ECANCELED;
}

/* Gives out what waits but its last `keep` bytes. White space between calls is nobody's. */
static int give_waiting(struct api_scan *x, size_t keep, api_piece_cb *cb, void *arg)
{
    struct base_buf *w = &x->wait;
    const size_t n = w->len - keep;
    size_t blank = 0;
    while (blank < n && strchr(" \n\r\t", w->data[blank]) != NULL)
        blank++;
    int rc = 0;
    if (n > 0 && (x->n_call == 0 || blank < n))
        rc = give(x, API_PIECE_TEXT, (const char *)w->data, n, cb, arg);
    base_buf_consume(w, n);
    return rc;
}

/* One byte of free text: how much of head the end of what waits is. */
static int text_byte(struct api_scan *x, char c, api_piece_cb *cb, void *arg)
{
    const size_t n_head = strlen(x->head);
    if (base_buf_u8(&x->wait, (uint8_t)c) != 0)
        return x->wait.err;
    const char *w = (const char *)x->wait.data;
    size_t n = x->n_matched + 1;
    while (n > 0 && memcmp(w + x->wait.len - n, x->head, n) != 0)
        n--;
    x->n_matched = n;
    if (n < n_head)
        return x->wait.len - n < WAIT_BYTES ? 0 : give_waiting(x, n, cb, arg);
    int rc = give_waiting(x, n_head, cb, arg);
    base_buf_reset(&x->wait);
    x->state = SCAN_NAME;
    x->n_name = 0;
    return rc;
}

static int name_byte(struct api_scan *x, char c, api_piece_cb *cb, void *arg)
{
    if (c != '"') {
        if (x->n_name == API_MAX_NAME)
            return BASE_ELIMIT;
        x->name[x->n_name++] = c;
        return 0;
    }
    if (x->n_call == API_MAX_CALL)
        return BASE_ELIMIT;
    x->n_call++;
    x->state = SCAN_KEY;
    x->n_matched = 0;
    x->name[x->n_name] = '\0';
    return give(x, API_PIECE_CALL, x->name, x->n_name, cb, arg);
}

/* Follows the arguments' brackets. true: they end with this byte. */
static bool args_end(struct api_scan *x, char c)
{
    if (x->in_string) {
        x->in_string = x->escaped || c != '"';
        x->escaped = !x->escaped && c == '\\';
    } else {
        x->in_string = c == '"';
        x->depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    }
    return !x->in_string && x->depth == 0;
}

/* A byte of what stands between: text that differs belongs to nobody. */
static void fixed_byte(struct api_scan *x, const char *want, char c, enum scan_state next)
{
    x->n_matched += want[x->n_matched] == c;
    if (want[x->n_matched] != '\0')
        return;
    x->state = next;
    x->n_matched = 0;
    x->depth = 0;
    x->in_string = x->escaped = false;
}

int api_scan_feed(struct api_scan *x, const char *text, size_t len, bool last, api_piece_cb *cb,
                  void *arg)
{
    size_t from = 0; /* arguments not given out yet */
    int rc = 0;
    for (size_t i = 0; i < len && rc == 0; i++) {
        switch (x->state) {
        case SCAN_TEXT:
            rc = text_byte(x, text[i], cb, arg);
            break;
        case SCAN_NAME:
            rc = name_byte(x, text[i], cb, arg);
            break;
        case SCAN_KEY:
            fixed_byte(x, x->key, text[i], SCAN_ARGS);
            from = i + 1;
            break;
        case SCAN_ARGS:
            if (args_end(x, text[i])) {
                rc = give(x, API_PIECE_ARGS, text + from, i + 1 - from, cb, arg);
                x->state = SCAN_CLOSE;
            }
            break;
        case SCAN_CLOSE:
            fixed_byte(x, x->tail, text[i], SCAN_TEXT);
            break;
        }
    }
    if (rc == 0 && x->state == SCAN_ARGS && from < len)
        rc = give(x, API_PIECE_ARGS, text + from, len - from, cb, arg);
    if (rc == 0 && x->state == SCAN_TEXT)
        rc = give_waiting(x, last ? 0 : x->n_matched, cb, arg);
    return rc;
}
