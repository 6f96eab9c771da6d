#include "engine/tok_int.h"

#include <stdlib.h>

int tok_out_add(struct tok_out *o, int32_t id)
{
    if (o->n >= o->max)
        return BASE_ELIMIT;
    if (o->n == o->cap) {
        int cap = o->cap < 32 ? 64 : o->cap < o->max / 2 ? o->cap * 2 : o->max;
        int32_t *p = realloc(o->id, (size_t)cap * sizeof *p);
        if (p == NULL)
            return BASE_ENOMEM;
        o->id = p;
        o->cap = cap;
    }
    o->id[o->n++] = id;
    return 0;
}

int tok_work_reserve(struct tok_work *w, size_t n_sym)
{
    if (n_sym > TOK_MAX_TEXT_BYTES)
        return BASE_ELIMIT;
    if (n_sym <= w->cap)
        return 0;
    size_t cap = n_sym < 64 ? 64 : n_sym;
    tok_work_fini(w);
    w->sym = malloc(cap * sizeof *w->sym);
    w->heap = malloc(2 * cap * sizeof *w->heap);
    if (w->sym == NULL || w->heap == NULL)
        return BASE_ENOMEM;
    w->cap = cap;
    return 0;
}

void tok_work_fini(struct tok_work *w)
{
    free(w->sym);
    free(w->heap);
    *w = (struct tok_work){0};
}

/* ---- a binary heap, the cheapest candidate on top ---- */

static bool before(const struct tok_cand *a, const struct tok_cand *b)
{
    return a->cost < b->cost || (a->cost == b->cost && a->left < b->left);
}

static void heap_push(struct tok_work *w, struct tok_cand c)
{
    int i = w->n_heap++;
    for (int up; i > 0 && before(&c, &w->heap[up = (i - 1) / 2]); i = up)
        w->heap[i] = w->heap[up];
    w->heap[i] = c;
}

static struct tok_cand heap_pop(struct tok_work *w)
{
    struct tok_cand top = w->heap[0], last = w->heap[--w->n_heap];
    int i = 0;
    for (int down; (down = 2 * i + 1) < w->n_heap; i = down) {
        if (down + 1 < w->n_heap && before(&w->heap[down + 1], &w->heap[down]))
            down++;
        if (!before(&w->heap[down], &last))
            break;
        w->heap[i] = w->heap[down];
    }
    w->heap[i] = last;
    return top;
}

/* ---- merging ---- */

static void try_pair(const struct eng_tok *t, struct tok_work *w, tok_pair_fn *pair, int32_t left)
{
    if (left < 0 || w->sym[left].next < 0)
        return;
    const struct tok_sym *a = &w->sym[left], *b = &w->sym[a->next];
    struct tok_cand c = {.left = left, .len = a->len + b->len};
    if (pair(t, a, b, &c.cost, &c.id))
        heap_push(w, c);
}

void tok_merge_all(const struct eng_tok *t, struct tok_work *w, tok_pair_fn *pair)
{
    w->n_heap = 0;
    for (int i = 0; i < w->n_sym; i++) {
        w->sym[i].prev = i - 1;
        w->sym[i].next = i + 1 < w->n_sym ? i + 1 : -1;
    }
    for (int i = 0; i + 1 < w->n_sym; i++)
        try_pair(t, w, pair, i);
    /* n - 1 candidates at first, and each of at most n - 1 merges takes one and adds two: never
     * more than 2n. A symbol only ever grows to the right, so that its length with its neighbour's
     * tells whether a candidate still speaks of the same two. */
    while (w->n_heap > 0) {
        struct tok_cand c = heap_pop(w);
        struct tok_sym *a = &w->sym[c.left];
        if (a->len == 0 || a->next < 0 || a->len + w->sym[a->next].len != c.len)
            continue;
        struct tok_sym *b = &w->sym[a->next];
        a->len = c.len;
        a->id = c.id;
        a->next = b->next;
        b->len = 0;
        if (a->next >= 0)
            w->sym[a->next].prev = c.left;
        try_pair(t, w, pair, a->prev);
        try_pair(t, w, pair, c.left);
    }
}
