#include "engine/tok_int.h"

#include <stdlib.h>
#include <string.h>

#include "engine/utf8.h"

/* SentencePiece shows a space as U+2581, which our copy of the vocabulary has as a plain space. */
static const char space_mark[] = "\xe2\x96\x81";

static bool spm_pair(const struct eng_tok *t, const struct tok_sym *a, const struct tok_sym *b,
                     double *cost, int32_t *id)
{
    *id = tok_keys_find(t, &t->word, a->s, (size_t)a->len + b->len);
    if (*id < 0)
        return false;
    *cost = -(double)t->score[*id];
    return true;
}

/* The text as the merges see it: a space in front if the model wants one, marks turned into spaces.
 */
static char *normalise(const struct eng_tok *t, const char *text, size_t len, size_t *out_len)
{
    char *buf = malloc(len + 1), *p = buf;
    if (buf == NULL)
        return NULL;
    if (t->add_space)
        *p++ = ' ';
    for (size_t i = 0; i < len;) {
        if (len - i >= 3 && memcmp(text + i, space_mark, 3) == 0) {
            *p++ = ' ';
            i += 3;
        } else {
            *p++ = text[i++];
        }
    }
    *out_len = (size_t)(p - buf);
    return buf;
}

static int emit(const struct eng_tok *t, const struct tok_sym *y, struct tok_out *out)
{
    if (y->id >= 0)
        return tok_out_add(out, y->id);
    int rc = 0;
    for (uint32_t i = 0; i < y->len && rc == 0; i++) {
        int32_t id = t->byte_id[(uint8_t)y->s[i]];
        if (id < 0)
            id = t->unk;
        if (id >= 0)
            rc = tok_out_add(out, id);
    }
    return rc;
}

int tok_spm_encode(const struct eng_tok *t, const char *text, size_t len, struct tok_work *w,
                   struct tok_out *out)
{
    size_t n;
    if (len == 0)
        return 0;
    char *buf = normalise(t, text, len, &n);
    if (buf == NULL)
        return BASE_ENOMEM;
    int rc = tok_work_reserve(w, n);
    w->n_sym = 0;
    for (size_t pos = 0; pos < n && rc == 0;) {
        int c = eng_utf8_len(buf + pos, n - pos);
        uint32_t l = c > 0 ? (uint32_t)c : 1;
        w->sym[w->n_sym++] = (struct tok_sym){
            .s = buf + pos, .len = l, .id = tok_keys_find(t, &t->word, buf + pos, l)};
        pos += l;
    }
    if (rc == 0)
        tok_merge_all(t, w, spm_pair);
    for (int i = 0; i >= 0 && rc == 0; i = w->sym[i].next)
        rc = emit(t, &w->sym[i], out);
    free(buf);
    return rc;
}
