/* Walking a grammar. What may come next is a set of places, each with a stack of places to return
 * to. Stacks are shared (a stack is a place and a stack below), sets are numbered, and the step from
 * a set by a class of bytes is kept: an automaton without stacks and choices grows as it is walked.
 *
 * Sets of stacks: Tomita, "Efficient parsing for natural language", 1986. Tokens held to a grammar by
 * walking their bytes: Willard and Louf, "Efficient guided generation for large language models",
 * 2023; Dong et al., "XGrammar", 2024. */
#include "engine/grammar_int.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
    MAX_SET = 1 << 15, /* sets and stacks alive */
    MAX_STACK = 1 << 17,
    MAX_PLACE = 1 << 13,  /* places of one set: ambiguity */
    KEEP_SET = 1 << 12,   /* between tokens, no more sets than these are kept */
    FORCED_BYTES = 256,   /* looked ahead at once … */
    FORCED_TOKEN = 64,    /* … and so many decide a token */
    N_KEPT = 4,           /* whole lists that are kept */
    NOWHERE = -1,         /* a step that is refused */
    NOT_YET = -2,
};

/* A place and its stack. */
struct spot {
    int32_t node, stack;
};

struct stack {
    int32_t ret, below; /* stack 0 is empty */
    int32_t far;        /* bytes at least until it is */
};

struct set {
    int32_t first, n; /* in spot; only bytes */
    int32_t row;      /* steps by class, in step; -1: none was asked for */
    int32_t far;      /* bytes at least to the answer's end */
    int16_t free;     /* >= 0: before the trigger, so much of it has come */
    bool may_end;
};

/* A list that took long to make, of a set that may come again. */
struct kept {
    int set, n; /* set -1: none */
    int far;    /* of the farthest set that it leads to */
    int32_t *id;
};

/* Open addressing: numbers of stacks or sets; -1 is free. */
struct table {
    int32_t *at;
    uint32_t mask;
    int n;
};

struct eng_grammar_state {
    struct eng_grammar *g;
    int now;  /* a set */
    int left; /* tokens that may come; 0: no limit */
    int err;  /* sticky */
    struct stack *stack;
    int n_stack, cap_stack;
    struct set *set;
    int n_set, cap_set;
    struct spot *spot;
    int n_spot, cap_spot;
    int32_t *step; /* [n_row][n_cls] */
    int n_row, cap_row;
    struct table stacks, sets;
    /* Of the set under construction. */
    struct spot *seen;
    int n_seen, cap_seen;
    struct table seen_at;
    int *path; /* [max_bytes + 1] sets along a token */
    struct kept kept[N_KEPT];
    int next_kept;
};

/* ---- memory ---- */

static bool broken(struct eng_grammar_state *s, int code)
{
    if (s->err == 0)
        s->err = code;
    return false;
}

static bool room(struct eng_grammar_state *s, void *array, int n, int *cap, size_t size)
{
    if (n < *cap)
        return true;
    const int more = *cap == 0 ? 64 : *cap * 2;
    void *p = realloc(*(void **)array, (size_t)more * size);
    if (p == NULL)
        return broken(s, BASE_ENOMEM);
    *(void **)array = p;
    *cap = more;
    return true;
}

static void table_clear(struct table *t)
{
    if (t->at != NULL)
        memset(t->at, 0xff, ((size_t)t->mask + 1) * sizeof *t->at);
    t->n = 0;
}

/* Twice the room; the caller puts everything in again. */
static bool table_grow(struct eng_grammar_state *s, struct table *t)
{
    const uint32_t size = t->at == NULL ? 64 : (t->mask + 1) * 2;
    int32_t *at = malloc(size * sizeof *at);
    if (at == NULL)
        return broken(s, BASE_ENOMEM);
    free(t->at);
    t->at = at;
    t->mask = size - 1;
    table_clear(t);
    return true;
}

static bool table_full(const struct table *t)
{
    return t->at == NULL || 2 * (uint32_t)t->n > t->mask;
}

static int32_t add_far(int32_t a, int32_t b)
{
    return a + b < GRAM_FAR ? a + b : GRAM_FAR;
}

/* Two numbers scattered: multiplication by 2^64 / golden ratio (Knuth, vol. 3, 6.4). */
static uint32_t mix(int32_t a, int32_t b)
{
    const uint64_t x = ((uint64_t)(uint32_t)a << 32 | (uint32_t)b) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(x >> 32) ^ (uint32_t)x;
}

static void table_put(struct table *t, uint32_t hash, int32_t v)
{
    while (t->at[hash & t->mask] >= 0)
        hash++;
    t->at[hash & t->mask] = v;
    t->n++;
}

/* ---- stacks ---- */

/* ret on top of below; -1: broken. */
static int32_t stack_push(struct eng_grammar_state *s, int32_t ret, int32_t below)
{
    uint32_t h = mix(ret, below);
    if (table_full(&s->stacks)) {
        if (!table_grow(s, &s->stacks))
            return -1;
        for (int i = 1; i < s->n_stack; i++)
            table_put(&s->stacks, mix(s->stack[i].ret, s->stack[i].below), i);
    }
    for (int32_t i; (i = s->stacks.at[h & s->stacks.mask]) >= 0; h++) {
        if (s->stack[i].ret == ret && s->stack[i].below == below)
            return i;
    }
    if (s->n_stack == MAX_STACK) {
        broken(s, BASE_ELIMIT);
        return -1;
    }
    if (!room(s, &s->stack, s->n_stack, &s->cap_stack, sizeof *s->stack))
        return -1;
    s->stack[s->n_stack] =
        (struct stack){ret, below, add_far(s->g->node[ret].far, s->stack[below].far)};
    table_put(&s->stacks, h, s->n_stack);
    return s->n_stack++;
}

/* ---- sets ---- */

/* Notes a spot of the set under construction, once. */
static void see(struct eng_grammar_state *s, int32_t node, int32_t stack)
{
    if (s->err != 0 || node < 0 || !s->g->node[node].alive)
        return;
    if (table_full(&s->seen_at)) {
        if (!table_grow(s, &s->seen_at))
            return;
        for (int i = 0; i < s->n_seen; i++)
            table_put(&s->seen_at, mix(s->seen[i].node, s->seen[i].stack), i);
    }
    uint32_t h = mix(node, stack);
    for (int32_t i; (i = s->seen_at.at[h & s->seen_at.mask]) >= 0; h++) {
        if (s->seen[i].node == node && s->seen[i].stack == stack)
            return;
    }
    if (s->n_seen == MAX_PLACE) {
        broken(s, BASE_ELIMIT);
        return;
    }
    if (!room(s, &s->seen, s->n_seen, &s->cap_seen, sizeof *s->seen))
        return;
    s->seen[s->n_seen] = (struct spot){node, stack};
    table_put(&s->seen_at, h, s->n_seen++);
}

static void seen_clear(struct eng_grammar_state *s)
{
    /* The table is as large as the largest set was: emptying it slot by slot would cost that. */
    for (int i = 0; i < s->n_seen; i++) {
        uint32_t h = mix(s->seen[i].node, s->seen[i].stack);
        while (s->seen_at.at[h & s->seen_at.mask] != i)
            h++;
        s->seen_at.at[h & s->seen_at.mask] = -2;
    }
    for (int i = 0; i < s->n_seen; i++) {
        uint32_t h = mix(s->seen[i].node, s->seen[i].stack);
        for (; s->seen_at.at[h & s->seen_at.mask] == -2; h++)
            s->seen_at.at[h & s->seen_at.mask] = -1;
    }
    s->seen_at.n = 0;
    s->n_seen = 0;
}

/* Everything that is reached from what was seen without reading. true: the answer may end. */
static bool close_over(struct eng_grammar_state *s)
{
    bool may_end = false;
    for (int i = 0; i < s->n_seen && s->err == 0; i++) {
        const struct spot at = s->seen[i];
        const struct gram_node *n = &s->g->node[at.node];
        switch ((enum gram_kind)n->kind) {
        case GRAM_SPLIT:
            see(s, n->next, at.stack);
            see(s, n->alt, at.stack);
            break;
        case GRAM_CALL: {
            /* A call at the end of a rule returns to where that one returns to: lists written as
             * recursion to the right keep their stack flat. */
            const bool last = s->g->node[n->next].kind == GRAM_RET;
            const int32_t stack = last ? at.stack : stack_push(s, n->next, at.stack);
            if (stack >= 0)
                see(s, n->alt, stack);
            break;
        }
        case GRAM_RET:
            if (at.stack == 0)
                may_end = true;
            else
                see(s, s->stack[at.stack].ret, s->stack[at.stack].below);
            break;
        case GRAM_BYTE:
        case GRAM_JOIN:
            break;
        }
    }
    return may_end;
}

static int by_spot(const void *a, const void *b)
{
    const struct spot *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static uint32_t set_hash(const struct spot *p, int n, bool may_end)
{
    return (uint32_t)base_xxh64(p, (size_t)n * sizeof *p) + may_end;
}

static int set_add(struct eng_grammar_state *s, struct set x)
{
    if (s->n_set == MAX_SET) {
        broken(s, BASE_ELIMIT);
        return NOWHERE;
    }
    if (!room(s, &s->set, s->n_set, &s->cap_set, sizeof *s->set))
        return NOWHERE;
    x.row = -1;
    s->set[s->n_set] = x;
    return s->n_set++;
}

/* The number of the set made of what was seen; NOWHERE: it is empty, or broken. */
static int set_number(struct eng_grammar_state *s)
{
    const bool may_end = close_over(s);
    int n = 0;
    if (s->err == 0 && s->n_seen > 0) {
        while (s->n_spot + s->n_seen > s->cap_spot) {
            if (!room(s, &s->spot, s->cap_spot, &s->cap_spot, sizeof *s->spot))
                break;
        }
    }
    if (s->err != 0) {
        seen_clear(s);
        return NOWHERE;
    }
    struct spot *p = s->spot + s->n_spot;
    for (int i = 0; i < s->n_seen; i++) {
        if (s->g->node[s->seen[i].node].kind == GRAM_BYTE)
            p[n++] = s->seen[i];
    }
    if (s->n_seen > 0)
        seen_clear(s);
    if (n == 0 && !may_end)
        return NOWHERE;
    if (n > 1)
        qsort(p, (size_t)n, sizeof *p, by_spot);
    uint32_t h = set_hash(p, n, may_end);
    if (table_full(&s->sets)) {
        if (!table_grow(s, &s->sets))
            return NOWHERE;
        for (int i = 0; i < s->n_set; i++) {
            const struct set *x = &s->set[i];
            if (x->free < 0)
                table_put(&s->sets, set_hash(s->spot + x->first, x->n, x->may_end), i);
        }
    }
    for (int32_t i; (i = s->sets.at[h & s->sets.mask]) >= 0; h++) {
        const struct set *x = &s->set[i];
        if (x->n == n && x->may_end == may_end &&
            (n == 0 || memcmp(s->spot + x->first, p, (size_t)n * sizeof *p) == 0))
            return i;
    }
    int32_t far = may_end ? 0 : GRAM_FAR;
    for (int i = 0; i < n; i++) {
        const int32_t one = add_far(s->g->node[p[i].node].far, s->stack[p[i].stack].far);
        far = one < far ? one : far;
    }
    const int at = set_add(s, (struct set){s->n_spot, n, -1, far, -1, may_end});
    if (at >= 0) {
        s->n_spot += n;
        table_put(&s->sets, h, at);
    }
    return at;
}

static int set_first(struct eng_grammar_state *s)
{
    see(s, s->g->rule[0], 0);
    return set_number(s);
}

/* ---- steps ---- */

/* Before the trigger everything may come; sets 0 … n_trigger - 1 are how much of it has. */
static int free_step(struct eng_grammar_state *s, int matched, uint8_t byte)
{
    const struct eng_grammar *g = s->g;
    int k = matched;
    while (k > 0 && g->trigger[k] != byte)
        k = g->fail[k - 1];
    k += g->trigger[k] == byte;
    return k == g->n_trigger ? set_first(s) : k;
}

static int step_make(struct eng_grammar_state *s, int from, int cls)
{
    const struct set x = s->set[from];
    const uint8_t byte = s->g->rep[cls];
    if (x.free >= 0)
        return free_step(s, x.free, byte);
    for (int i = 0; i < x.n; i++) {
        const struct spot at = s->spot[x.first + i];
        const struct gram_node *n = &s->g->node[at.node];
        if (byte >= n->lo && byte <= n->hi)
            see(s, n->next, at.stack);
    }
    return s->n_seen > 0 ? set_number(s) : NOWHERE;
}

/* The set behind `from` and one byte. NOWHERE: refused, or broken (s->err). */
static int step(struct eng_grammar_state *s, int from, uint8_t byte)
{
    const int cls = s->g->cls[byte];
    if (cls == 0 || s->err != 0)
        return NOWHERE;
    if (s->set[from].row < 0) {
        const size_t n_cls = (size_t)s->g->n_cls;
        if (!room(s, &s->step, s->n_row, &s->cap_row, n_cls * sizeof *s->step))
            return NOWHERE;
        int32_t *row = s->step + (size_t)s->n_row * n_cls;
        for (size_t i = 0; i < n_cls; i++)
            row[i] = NOT_YET;
        s->set[from].row = s->n_row++;
    }
    const size_t at = (size_t)s->set[from].row * (size_t)s->g->n_cls + (size_t)cls;
    if (s->step[at] == NOT_YET) {
        const int to = step_make(s, from, cls);
        if (s->err != 0)
            return NOWHERE;
        s->step[at] = to;
    }
    return s->step[at];
}

static int walk(struct eng_grammar_state *s, int from, const char *p, size_t n)
{
    for (size_t i = 0; i < n && from >= 0; i++)
        from = step(s, from, (uint8_t)p[i]);
    return from;
}

/* ---- life ---- */

static int begin(struct eng_grammar_state *s)
{
    s->n_stack = 1; /* the empty one */
    s->stack[0] = (struct stack){0, 0, 0};
    for (int i = 0; i < N_KEPT; i++)
        s->kept[i].set = -1;
    for (int i = 0; i < s->g->n_trigger; i++)
        (void)set_add(s, (struct set){.free = (int16_t)i, .may_end = true});
    s->now = s->g->n_trigger > 0 ? 0 : set_first(s);
    return s->err;
}

int eng_grammar_start(struct eng_grammar_state **out, struct eng_grammar *g)
{
    struct eng_grammar_state *s = calloc(1, sizeof *s);
    *out = NULL;
    if (s == NULL)
        return BASE_ENOMEM;
    s->g = eng_grammar_ref(g);
    s->path = malloc((g->v->max_bytes + 2) * sizeof *s->path);
    if (s->path == NULL || !room(s, &s->stack, 0, &s->cap_stack, sizeof *s->stack) || begin(s) != 0) {
        const int rc = s->err != 0 ? s->err : BASE_ENOMEM;
        eng_grammar_stop(s);
        return rc;
    }
    *out = s;
    return 0;
}

void eng_grammar_stop(struct eng_grammar_state *s)
{
    if (s == NULL)
        return;
    eng_grammar_unref(s->g);
    for (int i = 0; i < N_KEPT; i++)
        free(s->kept[i].id);
    free(s->stack);
    free(s->set);
    free(s->spot);
    free(s->step);
    free(s->stacks.at);
    free(s->sets.at);
    free(s->seen);
    free(s->seen_at.at);
    free(s->path);
    free(s);
}

/* The stack that was number `from` in old, in the new numbering. */
static int32_t stack_copy(struct eng_grammar_state *s, const struct stack *old, int32_t from,
                          int32_t *scratch)
{
    int n = 0;
    int32_t to = 0;
    for (; from != 0; from = old[from].below)
        scratch[n++] = old[from].ret;
    while (n > 0 && to >= 0)
        to = stack_push(s, scratch[--n], to);
    return to;
}

/* Forgets all sets but the present one: they came on the way, and an answer may be long. */
static void forget(struct eng_grammar_state *s)
{
    const struct set x = s->set[s->now];
    if (x.free >= 0)
        return;
    struct spot *keep = malloc(((size_t)x.n + 1) * sizeof *keep);
    struct stack *old = s->stack;
    const int n_old = s->n_stack;
    int32_t *scratch = malloc((size_t)n_old * sizeof *scratch);
    s->stack = NULL;
    s->cap_stack = 0;
    if (keep == NULL || scratch == NULL ||
        !room(s, &s->stack, 0, &s->cap_stack, sizeof *s->stack)) {
        broken(s, BASE_ENOMEM);
    } else {
        memcpy(keep, s->spot + x.first, (size_t)x.n * sizeof *keep);
        table_clear(&s->stacks);
        table_clear(&s->sets);
        s->n_set = s->n_spot = s->n_row = 0;
        s->n_stack = 1;
        s->stack[0] = (struct stack){0, 0, 0};
        for (int i = 0; i < N_KEPT; i++)
            s->kept[i].set = -1;
        for (int i = 0; i < s->g->n_trigger; i++)
            (void)set_add(s, (struct set){.free = (int16_t)i, .may_end = true});
        for (int i = 0; i < x.n; i++) {
            const int32_t stack = stack_copy(s, old, keep[i].stack, scratch);
            if (stack >= 0)
                see(s, keep[i].node, stack);
        }
        /* The end has no place of its own in a set. */
        int now = set_number(s);
        if (now < 0 && s->err == 0)
            now = set_add(s, (struct set){.free = -1});
        s->now = now >= 0 ? now : 0;
        s->set[s->now].may_end = x.may_end;
        s->set[s->now].far = x.far;
    }
    free(keep);
    free(scratch);
    free(old);
}

/* ---- what may come ---- */

int eng_grammar_take_text(struct eng_grammar_state *s, const char *text, size_t len)
{
    const int to = walk(s, s->now, text, len);
    if (to < 0)
        return s->err != 0 ? s->err : BASE_EINVAL;
    s->now = to;
    if (s->n_set > KEEP_SET)
        forget(s);
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
        eng_grammar_limit(s, s->left > 1 ? s->left - 1 : -1);
    return rc;
}

void eng_grammar_limit(struct eng_grammar_state *s, int n_tok)
{
    s->left = s->set[s->now].far + 1 <= n_tok ? n_tok : 0;
}

/* Whether behind one token more, in this set, the end can still be reached: every byte has a token of
 * its own. */
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
    const int to = n > 0 ? walk(s, s->now, p, n) : NOWHERE;
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
        if (step(s, s->now, (uint8_t)b) < 0)
            continue;
        for (int i = v->first[b]; i < v->first[b + 1] && s->err == 0;) {
            size_t n, k = v->lcp[i];
            const char *p = eng_tok_piece(v->tok, v->id[i], false, &n);
            int at = s->path[k];
            for (; k < n && (at = step(s, at, (uint8_t)p[k])) >= 0; left--)
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
    struct kept *k = &s->kept[s->next_kept];
    int32_t *copy = malloc(((size_t)n + 1) * sizeof *copy);
    if (copy == NULL)
        return; /* it is made again */
    memcpy(copy, id, (size_t)n * sizeof *copy);
    free(k->id);
    *k = (struct kept){s->now, n, far, copy};
    s->next_kept = (s->next_kept + 1) % N_KEPT;
}

int eng_grammar_list(struct eng_grammar_state *s, int32_t *out, long max_step)
{
    const struct eng_vocab *v = s->g->v;
    const struct kept *k = NULL;
    int32_t far;
    int n;
    for (int i = 0; max_step == 0 && i < N_KEPT; i++) {
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
    const struct set *x = &s->set[s->now];
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
    const struct set *x = &s->set[set];
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
        const int to = step(s, *set, (uint8_t)b);
        if (to < 0)
            break;
        out[n++] = (uint8_t)b;
        *set = to;
    }
    return n;
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
