/* What may come next is a set of places, each with a stack of places to return to. Stacks are
 * shared (a stack is a place and a stack below), sets are numbered, and the step from a set by a
 * class of bytes is kept: an automaton without stacks and choices grows as it is walked.
 *
 * Sets of stacks: Tomita, "Efficient parsing for natural language", 1986. */
#include "engine/grammar_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
    MAX_SET = 1 << 15, /* sets and stacks alive */
    MAX_STACK = 1 << 17,
    MAX_PLACE = 1 << 13, /* places of one set: ambiguity */
    KEEP_SET = 1 << 12,  /* between tokens, no more sets than these are kept */
    NOT_YET = -2,        /* a step that nobody asked for */
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

static void table_clear(struct gram_table *t)
{
    if (t->at != NULL)
        memset(t->at, 0xff, ((size_t)t->mask + 1) * sizeof *t->at);
    t->n = 0;
}

/* Twice the room; the caller puts everything in again. */
static bool table_grow(struct eng_grammar_state *s, struct gram_table *t)
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

static bool table_full(const struct gram_table *t)
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

static void table_put(struct gram_table *t, uint32_t hash, int32_t v)
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
        (struct gram_stack){ret, below, add_far(s->g->node[ret].far, s->stack[below].far)};
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
    s->seen[s->n_seen] = (struct gram_spot){node, stack};
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
        const struct gram_spot at = s->seen[i];
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
    const struct gram_spot *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static uint32_t set_hash(const struct gram_spot *p, int n, bool may_end)
{
    return (uint32_t)base_xxh64(p, (size_t)n * sizeof *p) + may_end;
}

static int set_add(struct eng_grammar_state *s, struct gram_set x)
{
    if (s->n_set == MAX_SET) {
        broken(s, BASE_ELIMIT);
        return GRAM_NOWHERE;
    }
    if (!room(s, &s->set, s->n_set, &s->cap_set, sizeof *s->set))
        return GRAM_NOWHERE;
    x.row = -1;
    s->set[s->n_set] = x;
    return s->n_set++;
}

/* The number of the set made of what was seen; GRAM_NOWHERE: it is empty, or broken. */
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
        return GRAM_NOWHERE;
    }
    struct gram_spot *p = s->spot + s->n_spot;
    for (int i = 0; i < s->n_seen; i++) {
        if (s->g->node[s->seen[i].node].kind == GRAM_BYTE)
            p[n++] = s->seen[i];
    }
    if (s->n_seen > 0)
        seen_clear(s);
    if (n == 0 && !may_end)
        return GRAM_NOWHERE;
    if (n > 1)
        qsort(p, (size_t)n, sizeof *p, by_spot);
    uint32_t h = set_hash(p, n, may_end);
    if (table_full(&s->sets)) {
        if (!table_grow(s, &s->sets))
            return GRAM_NOWHERE;
        for (int i = 0; i < s->n_set; i++) {
            const struct gram_set *x = &s->set[i];
            if (x->free < 0)
                table_put(&s->sets, set_hash(s->spot + x->first, x->n, x->may_end), i);
        }
    }
    for (int32_t i; (i = s->sets.at[h & s->sets.mask]) >= 0; h++) {
        const struct gram_set *x = &s->set[i];
        if (x->n == n && x->may_end == may_end &&
            (n == 0 || memcmp(s->spot + x->first, p, (size_t)n * sizeof *p) == 0))
            return i;
    }
    int32_t far = may_end ? 0 : GRAM_FAR;
    for (int i = 0; i < n; i++) {
        const int32_t one = add_far(s->g->node[p[i].node].far, s->stack[p[i].stack].far);
        far = one < far ? one : far;
    }
    const int at = set_add(s, (struct gram_set){s->n_spot, n, -1, far, -1, may_end});
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
    const struct gram_set x = s->set[from];
    const uint8_t byte = s->g->rep[cls];
    if (x.free >= 0)
        return free_step(s, x.free, byte);
    for (int i = 0; i < x.n; i++) {
        const struct gram_spot at = s->spot[x.first + i];
        const struct gram_node *n = &s->g->node[at.node];
        if (byte >= n->lo && byte <= n->hi)
            see(s, n->next, at.stack);
    }
    return s->n_seen > 0 ? set_number(s) : GRAM_NOWHERE;
}

int gram_step(struct eng_grammar_state *s, int from, uint8_t byte)
{
    const int cls = s->g->cls[byte];
    if (cls == 0 || s->err != 0)
        return GRAM_NOWHERE;
    if (s->set[from].row < 0) {
        const size_t n_cls = (size_t)s->g->n_cls;
        if (!room(s, &s->step, s->n_row, &s->cap_row, n_cls * sizeof *s->step))
            return GRAM_NOWHERE;
        int32_t *row = s->step + (size_t)s->n_row * n_cls;
        for (size_t i = 0; i < n_cls; i++)
            row[i] = NOT_YET;
        s->set[from].row = s->n_row++;
    }
    const size_t at = (size_t)s->set[from].row * (size_t)s->g->n_cls + (size_t)cls;
    if (s->step[at] == NOT_YET) {
        const int to = step_make(s, from, cls);
        if (s->err != 0)
            return GRAM_NOWHERE;
        s->step[at] = to;
    }
    return s->step[at];
}

int gram_walk(struct eng_grammar_state *s, int from, const char *p, size_t n)
{
    for (size_t i = 0; i < n && from >= 0; i++)
        from = gram_step(s, from, (uint8_t)p[i]);
    return from;
}

/* ---- life ---- */

/* Free text may be cut anywhere: no limit is too near for it. */
static struct gram_set free_set(int matched)
{
    return (struct gram_set){.free = (int16_t)matched, .far = -2, .may_end = true};
}

static int begin(struct eng_grammar_state *s)
{
    s->n_stack = 1; /* the empty one */
    s->stack[0] = (struct gram_stack){0, 0, 0};
    for (int i = 0; i < GRAM_N_KEPT; i++)
        s->kept[i].set = -1;
    for (int i = 0; i < s->g->n_trigger; i++)
        (void)set_add(s, free_set(i));
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
    if (s->path == NULL || !room(s, &s->stack, 0, &s->cap_stack, sizeof *s->stack) ||
        begin(s) != 0) {
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
    for (int i = 0; i < GRAM_N_KEPT; i++)
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
static int32_t stack_copy(struct eng_grammar_state *s, const struct gram_stack *old, int32_t from,
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

void gram_forget(struct eng_grammar_state *s)
{
    const struct gram_set x = s->set[s->now];
    if (x.free >= 0 || s->n_set <= KEEP_SET)
        return;
    struct gram_spot *keep = malloc(((size_t)x.n + 1) * sizeof *keep);
    struct gram_stack *old = s->stack;
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
        s->stack[0] = (struct gram_stack){0, 0, 0};
        for (int i = 0; i < GRAM_N_KEPT; i++)
            s->kept[i].set = -1;
        for (int i = 0; i < s->g->n_trigger; i++)
            (void)set_add(s, free_set(i));
        for (int i = 0; i < x.n; i++) {
            const int32_t stack = stack_copy(s, old, keep[i].stack, scratch);
            if (stack >= 0)
                see(s, keep[i].node, stack);
        }
        /* The end has no place of its own in a set. */
        int now = set_number(s);
        if (now < 0 && s->err == 0)
            now = set_add(s, (struct gram_set){.free = -1});
        s->now = now >= 0 ? now : 0;
        s->set[s->now].may_end = x.may_end;
        s->set[s->now].far = x.far;
    }
    free(keep);
    free(scratch);
    free(old);
}
