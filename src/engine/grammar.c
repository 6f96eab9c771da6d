/* A compiled grammar: places checked, so that walking needs no checks: no rule calls itself before
 * it has read a byte, and from every place that is kept the end can be reached. */
#include "engine/grammar_int.h"

#include <stdlib.h>
#include <string.h>

int32_t gram_add(struct eng_grammar *g, struct gram_node n, int *rc)
{
    if (g->n_node == ENG_GRAMMAR_MAX_NODE) {
        *rc = BASE_ELIMIT;
        return -1;
    }
    if (g->n_node == g->cap_node) {
        const int cap = g->cap_node == 0 ? 256 : g->cap_node * 2;
        struct gram_node *p = realloc(g->node, (size_t)cap * sizeof *p);
        if (p == NULL) {
            *rc = BASE_ENOMEM;
            return -1;
        }
        g->node = p;
        g->cap_node = cap;
    }
    g->node[g->n_node] = n;
    return g->n_node++;
}

/* ---- joins ---- */

static int32_t past_joins(const struct eng_grammar *g, int32_t at)
{
    while (at >= 0 && g->node[at].kind == GRAM_JOIN)
        at = g->node[at].next;
    return at;
}

static void drop_joins(struct eng_grammar *g)
{
    for (int i = 0; i < g->n_node; i++) {
        struct gram_node *n = &g->node[i];
        if (n->kind == GRAM_JOIN)
            continue;
        n->next = past_joins(g, n->next);
        n->alt = past_joins(g, n->alt);
    }
    for (int i = 0; i < g->n_rule; i++)
        g->rule[i] = past_joins(g, g->rule[i]);
}

/* ---- a fixed point over all places ---- */

/* Whether a place has the property, by what is known of those behind it. */
typedef bool holds_fn(const struct eng_grammar *g, const uint8_t *known, const struct gram_node *n);

/* known[n_node]: the least set with the property. Backwards first: what follows stands mostly
 * behind, and what is called as well. */
static void settle(const struct eng_grammar *g, uint8_t *known, holds_fn *holds)
{
    memset(known, 0, (size_t)g->n_node);
    for (bool more = true; more;) {
        more = false;
        for (int i = g->n_node - 1; i >= 0; i--) {
            const struct gram_node *n = &g->node[i];
            if (known[i] == 0 && n->kind != GRAM_JOIN && holds(g, known, n)) {
                known[i] = 1;
                more = true;
            }
        }
        for (int i = 0; more && i < g->n_node; i++) {
            const struct gram_node *n = &g->node[i];
            if (known[i] == 0 && n->kind != GRAM_JOIN && holds(g, known, n))
                known[i] = 1;
        }
    }
}

static bool range_has(const struct eng_grammar *g, const struct gram_node *n)
{
    for (int b = n->lo; b <= n->hi; b++) {
        if (g->v->has_byte[b])
            return true;
    }
    return false;
}

static bool is_alive(const struct eng_grammar *g, const uint8_t *known, const struct gram_node *n)
{
    switch ((enum gram_kind)n->kind) {
    case GRAM_BYTE:
        return known[n->next] != 0 && range_has(g, n);
    case GRAM_SPLIT:
        return known[n->next] != 0 || known[n->alt] != 0;
    case GRAM_CALL:
        return known[n->next] != 0 && known[n->alt] != 0;
    default:
        return true;
    }
}

/* The same, had the vocabulary every byte. */
static bool is_alive_anywhere(const struct eng_grammar *g, const uint8_t *known,
                              const struct gram_node *n)
{
    return n->kind == GRAM_BYTE ? known[n->next] != 0 : is_alive(g, known, n);
}

/* Whether the rule's end can be reached without reading anything. */
static bool is_empty(const struct eng_grammar *g, const uint8_t *known, const struct gram_node *n)
{
    return n->kind != GRAM_BYTE && is_alive(g, known, n);
}

/* ---- left recursion ---- */

/* The place reached from `at` without reading, on the step'th time; -1: none. */
static int32_t epsilon(const struct eng_grammar *g, const uint8_t *empty, int32_t at, int step)
{
    const struct gram_node *n = &g->node[at];
    if (n->kind == GRAM_SPLIT)
        return step == 0 ? n->next : step == 1 ? n->alt : -1;
    if (n->kind != GRAM_CALL)
        return -1;
    if (step == 0)
        return n->alt;
    return step == 1 && empty[n->alt] != 0 ? n->next : -1;
}

/* Tarjan, "Depth-first search and linear graph algorithms", 1972, without recursion. */
struct tarjan {
    int32_t *index, *low, *group; /* [n_node]; index 0: not seen; group 0: not settled */
    int32_t *stack, *path;        /* [n_node] */
    uint8_t *step;                /* [n_node] */
    int n_stack, n_path, n_seen, n_group;
};

static void enter(struct tarjan *t, int32_t at)
{
    t->index[at] = t->low[at] = ++t->n_seen;
    t->stack[t->n_stack++] = t->path[t->n_path++] = at;
}

static void leave(struct tarjan *t, int32_t at)
{
    t->n_path--;
    if (t->n_path > 0 && t->low[at] < t->low[t->path[t->n_path - 1]])
        t->low[t->path[t->n_path - 1]] = t->low[at];
    if (t->low[at] != t->index[at])
        return;
    t->n_group++;
    int32_t x;
    do {
        x = t->stack[--t->n_stack];
        t->group[x] = t->n_group;
    } while (x != at);
}

/* Whether a call lies on a circle of what is reached without reading. Splits alone may go round: an
 * empty repeat does no harm. */
static bool recurs_left(const struct eng_grammar *g, const uint8_t *empty, struct tarjan *t)
{
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i].kind != GRAM_CALL || t->index[i] != 0)
            continue;
        enter(t, i);
        while (t->n_path > 0) {
            const int32_t at = t->path[t->n_path - 1];
            const int32_t to = t->step[at] < 2 ? epsilon(g, empty, at, t->step[at]) : -1;
            if (t->step[at]++ >= 2)
                leave(t, at);
            else if (to >= 0 && t->index[to] == 0)
                enter(t, to);
            else if (to >= 0 && t->group[to] == 0 && t->index[to] < t->low[at])
                t->low[at] = t->index[to];
        }
    }
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i].kind == GRAM_CALL && t->group[i] == t->group[g->node[i].alt])
            return true;
    }
    return false;
}

static int check_left(const struct eng_grammar *g, const uint8_t *empty, struct base_err *err)
{
    const size_t n = (size_t)g->n_node;
    int32_t *mem = calloc(5 * n, sizeof *mem);
    uint8_t *step = calloc(n, 1);
    int rc = 0;
    if (mem == NULL || step == NULL) {
        rc = base_err_set(err, BASE_ENOMEM, "grammar", "out of memory");
    } else {
        struct tarjan t = {mem, mem + n, mem + 2 * n, mem + 3 * n, mem + 4 * n, step, 0, 0, 0, 0};
        if (recurs_left(g, empty, &t))
            rc = base_err_set(err, BASE_EINVAL, "grammar",
                              "a rule calls itself before it has read anything");
    }
    free(mem);
    free(step);
    return rc;
}

static int check(struct eng_grammar *g, struct base_err *err)
{
    uint8_t *known = malloc((size_t)g->n_node);
    int rc = 0;
    if (known == NULL)
        return base_err_set(err, BASE_ENOMEM, "grammar", "out of memory");
    settle(g, known, is_alive_anywhere);
    if (known[g->rule[0]] == 0)
        rc = base_err_set(err, BASE_EINVAL, "grammar", "no answer could ever end");
    if (rc == 0) {
        settle(g, known, is_empty);
        rc = check_left(g, known, err);
    }
    if (rc == 0) {
        settle(g, known, is_alive);
        if (known[g->rule[0]] == 0)
            rc = base_err_set(err, BASE_EUNSUPPORTED, "grammar",
                              "the model's vocabulary lacks bytes that every answer needs");
        for (int i = 0; i < g->n_node; i++)
            g->node[i].alive = known[i] != 0;
    }
    free(known);
    return rc;
}

/* ---- distances ---- */

static int32_t far_of(const struct eng_grammar *g, const struct gram_node *n)
{
    int32_t far = GRAM_FAR, a, b;
    if (!n->alive)
        return far;
    switch ((enum gram_kind)n->kind) {
    case GRAM_BYTE:
        far = g->node[n->next].far + 1;
        break;
    case GRAM_SPLIT:
        a = g->node[n->next].far;
        b = g->node[n->alt].far;
        far = a < b ? a : b;
        break;
    case GRAM_CALL:
        far = g->node[n->next].far + g->node[n->alt].far;
        break;
    case GRAM_RET:
    case GRAM_JOIN:
        far = 0;
        break;
    }
    return far < GRAM_FAR ? far : GRAM_FAR;
}

static bool measure(struct eng_grammar *g, int i)
{
    const int32_t far = far_of(g, &g->node[i]);
    const bool nearer = far < g->node[i].far;
    if (nearer)
        g->node[i].far = far;
    return nearer;
}

static void measure_all(struct eng_grammar *g)
{
    for (int i = 0; i < g->n_node; i++)
        g->node[i].far = GRAM_FAR;
    for (bool more = true; more;) {
        more = false;
        for (int i = g->n_node - 1; i >= 0; i--)
            more = measure(g, i) || more;
        for (int i = 0; more && i < g->n_node; i++)
            (void)measure(g, i);
    }
}

/* ---- classes of bytes ---- */

static void make_classes(struct eng_grammar *g)
{
    bool cut[257] = {false};
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i].kind == GRAM_BYTE && g->node[i].alive)
            cut[g->node[i].lo] = cut[g->node[i].hi + 1] = true;
    }
    for (int i = 0; i < g->n_trigger; i++)
        cut[g->trigger[i]] = cut[g->trigger[i] + 1] = true;
    g->n_cls = 1;
    int now = 0; /* the class of the bytes since the last cut; 0: none of them is there */
    for (int b = 0; b < 256; b++) {
        if (cut[b])
            now = 0;
        if (g->v->has_byte[b] && now == 0) {
            now = g->n_cls++;
            g->rep[now] = (uint8_t)b;
        }
        g->cls[b] = g->v->has_byte[b] ? (uint16_t)now : 0;
    }
}

/* Knuth, Morris and Pratt, "Fast pattern matching in strings", 1977. */
static int set_trigger(struct eng_grammar *g, const char *trigger, struct base_err *err)
{
    const size_t n = trigger != NULL ? strlen(trigger) : 0;
    if (n > ENG_GRAMMAR_MAX_TRIGGER)
        return base_err_set(err, BASE_ELIMIT, "grammar", "a trigger of %zu bytes, at most %d", n,
                            ENG_GRAMMAR_MAX_TRIGGER);
    g->n_trigger = (int)n;
    for (size_t i = 0; i < n; i++) {
        g->trigger[i] = (uint8_t)trigger[i];
        if (!g->v->has_byte[g->trigger[i]])
            return base_err_set(err, BASE_EUNSUPPORTED, "grammar",
                                "the model's vocabulary lacks byte 0x%02x", g->trigger[i]);
    }
    for (size_t i = 1; i < n; i++) {
        int k = g->fail[i - 1];
        while (k > 0 && g->trigger[k] != g->trigger[i])
            k = g->fail[k - 1];
        g->fail[i] = (uint8_t)(k + (g->trigger[k] == g->trigger[i]));
    }
    return 0;
}

int eng_grammar_new(struct eng_grammar **out, const struct eng_vocab *v, const char *text,
                    size_t len, const char *trigger, struct base_err *err)
{
    struct eng_grammar *g = calloc(1, sizeof *g);
    *out = NULL;
    if (g == NULL)
        return base_err_set(err, BASE_ENOMEM, "grammar", "out of memory");
    atomic_init(&g->n_ref, 1);
    g->v = v;
    int rc = gram_parse(g, text, len, err);
    if (rc == 0) {
        drop_joins(g);
        rc = check(g, err);
    }
    if (rc == 0)
        rc = set_trigger(g, trigger, err);
    if (rc != 0) {
        eng_grammar_unref(g);
        return rc;
    }
    measure_all(g);
    make_classes(g);
    *out = g;
    return 0;
}

struct eng_grammar *eng_grammar_ref(struct eng_grammar *g)
{
    atomic_fetch_add(&g->n_ref, 1);
    return g;
}

void eng_grammar_unref(struct eng_grammar *g)
{
    if (g == NULL || atomic_fetch_sub(&g->n_ref, 1) != 1)
        return;
    free(g->node);
    free(g->rule);
    free(g);
}

int eng_grammar_n_vocab(const struct eng_grammar *g)
{
    return eng_tok_n_vocab(g->v->tok);
}
