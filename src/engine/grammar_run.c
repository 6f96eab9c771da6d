/* Tokens held to a grammar by walking their bytes: Willard and Louf, "Efficient guided generation
 * for large language models", 2023; Dong et al., "XGrammar", 2024. */
#include "engine/grammar_set.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    FORCED_BYTES = 256, /* looked ahead at once … */
    FORCED_TOKEN = 64,  /* … and so many decide a token */
};

int eng_grammar_take_text(struct eng_grammar_state *s, const char *text, size_t len)
{
    const int to = gram_walk(s, s->now, text, len);
    if (to < 0)
        return s->err != 0 ? s->err : BASE_EINVAL;
    s->now = to;
    gram_forget(s);
    return s->err;
}

int eng_grammar_take(struct eng_grammar_state *s, int32_t token)
{
    size_t n;
    const char *p = eng_tok_piece(s->g->v->tok, token, false, &n);
    if (eng_tok_is_end(s->g->v->tok, token))
        return s->err != 0 ? s->err : s->set[s->now].may_end ? 0 : BASE_EINVAL;
    const int rc = n == 0 ? BASE_EINVAL : eng_grammar_take_text(s, p, n);
    if (rc == 0 && s->left > 0)
        eng_grammar_limit(s, s->left > 1 ? s->left - 1 : 1);
    return rc;
}

void eng_grammar_limit(struct eng_grammar_state *s, int n_tok)
{
    s->left = s->set[s->now].far + 1 <= n_tok ? n_tok : 0;
}

/* Whether behind one token more, in this set, the end can still be reached: every byte has a token
 * of its own. */
static bool in_time(const struct eng_grammar_state *s, int32_t far)
{
    return s->left == 0 || far + 2 <= s->left;
}

int eng_grammar_allows(struct eng_grammar_state *s, int32_t token)
{
    size_t n;
    const char *p = eng_tok_piece(s->g->v->tok, token, false, &n);
    if (s->err != 0)
        return s->err;
    if (eng_tok_is_end(s->g->v->tok, token))
        return s->set[s->now].may_end;
    const int to = n > 0 ? gram_walk(s, s->now, p, n) : GRAM_NOWHERE;
    return s->err != 0 ? s->err : to >= 0 && in_time(s, s->set[to].far);
}

bool eng_grammar_may_end(const struct eng_grammar_state *s)
{
    return s->set[s->now].may_end;
}

/* The tokens of the present set, without ends -> out; their number, BASE_EBUSY, or broken. *far: of
 * the farthest set that a token leads to, in time or not. */
static int list_make(struct eng_grammar_state *s, int32_t *out, long max_step, int32_t *far)
{
    const struct eng_vocab *v = s->g->v;
    long left = max_step > 0 ? max_step : LONG_MAX;
    int n_out = 0;
    *far = 0;
    s->path[0] = s->now;
    for (int b = 0; b < 256; b++) {
        if (gram_step(s, s->now, (uint8_t)b) < 0)
            continue;
        for (int i = v->first[b]; i < v->first[b + 1] && s->err == 0;) {
            size_t n, k = v->lcp[i];
            const char *p = eng_tok_piece(v->tok, v->id[i], false, &n);
            int at = s->path[k];
            for (; k < n && (at = gram_step(s, at, (uint8_t)p[k])) >= 0; left--)
                s->path[++k] = at;
            if (left < 0)
                return BASE_EBUSY;
            i++;
            if (at < 0) { /* byte k was refused, and with it all that share it */
                for (; i < v->first[b + 1] && v->lcp[i] > k; i++)
                    ;
                continue;
            }
            if (in_time(s, s->set[at].far))
                out[n_out++] = v->id[i - 1];
            *far = s->set[at].far > *far ? s->set[at].far : *far;
        }
    }
    return s->err != 0 ? s->err : n_out;
}

static void keep(struct eng_grammar_state *s, const int32_t *id, int n, int32_t far)
{
    struct gram_kept *k = &s->kept[s->next_kept];
    int32_t *copy = malloc(((size_t)n + 1) * sizeof *copy);
    if (copy == NULL)
        return; /* it is made again */
    memcpy(copy, id, (size_t)n * sizeof *copy);
    free(k->id);
    *k = (struct gram_kept){s->now, n, far, copy};
    s->next_kept = (s->next_kept + 1) % GRAM_N_KEPT;
}

int eng_grammar_list(struct eng_grammar_state *s, int32_t *out, long max_step)
{
    const struct eng_vocab *v = s->g->v;
    const struct gram_kept *k = NULL;
    int32_t far;
    int n;
    for (int i = 0; max_step == 0 && i < GRAM_N_KEPT; i++) {
        if (s->kept[i].set == s->now && in_time(s, s->kept[i].far))
            k = &s->kept[i];
    }
    if (k != NULL) {
        n = k->n;
        memcpy(out, k->id, (size_t)n * sizeof *out);
    } else {
        n = list_make(s, out, max_step, &far);
        if (n < 0)
            return n;
        if (max_step == 0 && in_time(s, far))
            keep(s, out, n, far);
    }
    for (int i = 0; s->set[s->now].may_end && i < v->n_end; i++)
        out[n++] = v->end[i];
    return n > 0 ? n : BASE_EINTERNAL;
}

int eng_grammar_width(const struct eng_grammar_state *s)
{
    const struct gram_set *x = &s->set[s->now];
    const struct eng_vocab *v = s->g->v;
    bool may[256] = {false};
    int n = 0;
    if (x->free >= 0)
        return v->n;
    for (int i = 0; i < x->n; i++) {
        const struct gram_node *p = &s->g->node[s->spot[x->first + i].node];
        memset(may + p->lo, 1, (size_t)(p->hi - p->lo) + 1);
    }
    for (int b = 0; b < 256; b++)
        n += may[b] ? v->first[b + 1] - v->first[b] : 0;
    return n;
}

/* The only byte that may come in this set, or -1: there is a choice. */
static int only_byte(const struct eng_grammar_state *s, int set)
{
    const struct gram_set *x = &s->set[set];
    int byte = -1;
    if (x->free >= 0 || x->may_end)
        return -1;
    for (int i = 0; i < x->n; i++) {
        const struct gram_node *p = &s->g->node[s->spot[x->first + i].node];
        for (int b = p->lo; b <= p->hi; b++) {
            if (!s->g->v->has_byte[b] || b == byte)
                continue;
            if (byte >= 0)
                return -1;
            byte = b;
        }
    }
    return byte;
}

/* The bytes that are sure to come next; *set: what is behind them. */
static size_t settled(struct eng_grammar_state *s, uint8_t *out, int *set)
{
    size_t n = 0;
    int b;
    while (n < FORCED_BYTES && (b = only_byte(s, *set)) >= 0) {
        const int to = gram_step(s, *set, (uint8_t)b);
        if (to < 0)
            break;
        out[n++] = (uint8_t)b;
        *set = to;
    }
    return n;
}

/* Whether a token that may come begins with all of p[0..n) and goes on behind it, where the
 * automaton is in `set`: " driver" where only the blank is settled. A model has learnt its own
 * tokens: then it is asked. */
static bool goes_beyond(struct eng_grammar_state *s, const uint8_t *p, size_t n, int set)
{
    const struct eng_vocab *v = s->g->v;
    int lo, hi;
    eng_vocab_range(v, p, n, &lo, &hi);
    for (int i = lo; i < hi && s->err == 0;) {
        size_t len, k = n;
        const char *t = eng_tok_piece(v->tok, v->id[i], false, &len);
        int at = set;
        while (k < len && (at = gram_step(s, at, (uint8_t)t[k])) >= 0)
            k++;
        i++;
        if (at >= 0 && len > n && in_time(s, s->set[at].far))
            return true;
        for (; at < 0 && i < hi && v->lcp[i] > k; i++) /* all that share the refused byte */
            ;
    }
    return false;
}

int eng_grammar_forced(struct eng_grammar_state *s, int32_t *out, int max)
{
    uint8_t p[FORCED_BYTES];
    int n_out = 0, set = s->now;
    const size_t len = settled(s, p, &set);
    size_t at = 0;
    /* A token is settled by what is certain behind it, never by how far somebody looked. */
    while (n_out < max && at < len && (len < FORCED_BYTES || len - at >= FORCED_TOKEN)) {
        size_t n = len - at < FORCED_TOKEN ? len - at : FORCED_TOKEN;
        if (len - at < s->g->v->max_bytes && goes_beyond(s, p + at, len - at, set))
            break;
        out[n_out] = eng_vocab_longest(s->g->v, p + at, n, &n);
        if (out[n_out] < 0)
            break;
        at += n;
        n_out++;
    }
    if (s->err == 0 && n_out < max && at == len && s->set[set].free < 0 && s->set[set].n == 0)
        out[n_out++] = s->g->v->end[0];
    return s->err != 0 ? s->err : n_out;
}
