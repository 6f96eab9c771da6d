#include "engine/text.h"

#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

enum { STOP_MAX_BYTES = 1024, HOLD_MAX_BYTES = 1 << 20 };

struct eng_text {
    const struct eng_tok *tok;
    char *stop[ENG_STOP_MAX];
    size_t stop_len[ENG_STOP_MAX];
    int n_stop;
    bool stopped;
    struct base_buf hold; /* raw bytes not yet shown */
};

static int add_stop(struct eng_text *x, const char *stop, struct base_err *err)
{
    size_t len = strlen(stop);
    if (len > STOP_MAX_BYTES)
        return base_err_set(err, BASE_ELIMIT, "stop", "a stop string of %zu bytes (at most %d)",
                            len, STOP_MAX_BYTES);
    if (len == 0) /* it would stop before the first character */
        return 0;
    x->stop[x->n_stop] = strdup(stop);
    if (x->stop[x->n_stop] == NULL)
        return base_err_set(err, BASE_ENOMEM, "stop", "out of memory");
    x->stop_len[x->n_stop++] = len;
    return 0;
}

int eng_text_new(struct eng_text **out, const struct eng_tok *t, const char *const *stop,
                 int n_stop, struct base_err *err)
{
    *out = NULL;
    if (n_stop > ENG_STOP_MAX)
        return base_err_set(err, BASE_ELIMIT, "stop", "%d stop strings (at most %d)", n_stop,
                            ENG_STOP_MAX);
    struct eng_text *x = calloc(1, sizeof *x);
    if (x == NULL)
        return base_err_set(err, BASE_ENOMEM, "stop", "out of memory");
    x->tok = t;
    base_buf_init(&x->hold, HOLD_MAX_BYTES);
    for (int i = 0; i < n_stop; i++) {
        int rc = add_stop(x, stop[i], err);
        if (rc != 0) {
            eng_text_free(x);
            return rc;
        }
    }
    *out = x;
    return 0;
}

void eng_text_free(struct eng_text *x)
{
    if (x == NULL)
        return;
    for (int i = 0; i < x->n_stop; i++)
        free(x->stop[i]);
    base_buf_fini(&x->hold);
    free(x);
}

/* Where the earliest stop string begins in what is held, or hold.len. */
static size_t find_stop(const struct eng_text *x)
{
    size_t best = x->hold.len;
    for (int i = 0; i < x->n_stop; i++) {
        const uint8_t *p =
            x->hold.len == 0 ? NULL : memmem(x->hold.data, x->hold.len, x->stop[i], x->stop_len[i]);
        if (p != NULL && (size_t)(p - x->hold.data) < best)
            best = (size_t)(p - x->hold.data);
    }
    return best;
}

/* The longest end of what is held that may yet become a stop string. */
static size_t pending_stop(const struct eng_text *x)
{
    size_t most = 0;
    for (int i = 0; i < x->n_stop; i++) {
        size_t n = x->stop_len[i] - 1;
        if (n > x->hold.len)
            n = x->hold.len;
        for (; n > most; n--)
            if (memcmp(x->hold.data + x->hold.len - n, x->stop[i], n) == 0)
                most = n;
    }
    return most;
}

/* Moves whole characters that begin before limit to out; bytes that are no UTF-8 become U+FFFD. A
 * character cut short by the end of what is held stays, unless last. */
static int show(struct eng_text *x, size_t limit, bool last, struct base_buf *out)
{
    size_t pos = 0;
    const char *s = (const char *)x->hold.data;
    while (pos < limit) {
        int n = eng_utf8_len(s + pos, (last ? limit : x->hold.len) - pos);
        if (n < 0 && !last)
            break;
        if (n > 0)
            base_buf_add(out, s + pos, (size_t)n);
        else
            base_buf_str(out, "\xef\xbf\xbd");
        pos += n > 0 ? (size_t)n : n < 0 ? limit - pos : 1;
    }
    base_buf_consume(&x->hold, pos);
    return out->err;
}

int eng_text_add(struct eng_text *x, int32_t token, struct base_buf *out)
{
    size_t len;
    const char *piece = eng_tok_piece(x->tok, token, false, &len);
    if (x->stopped)
        return 1;
    if (base_buf_add(&x->hold, piece, len) != 0)
        return x->hold.err;
    size_t at = find_stop(x);
    if (at < x->hold.len) {
        int rc = show(x, at, true, out);
        x->stopped = true;
        base_buf_reset(&x->hold);
        return rc != 0 ? rc : 1;
    }
    return show(x, x->hold.len - pending_stop(x), false, out);
}

int eng_text_end(struct eng_text *x, struct base_buf *out)
{
    return show(x, x->hold.len, true, out);
}
