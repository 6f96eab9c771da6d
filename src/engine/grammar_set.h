/* The automaton that grows under a grammar's state: grammar_set.c makes its sets and steps,
 * grammar_run.c asks them about tokens. Nobody else includes this. */
#ifndef ENG_GRAMMAR_SET_H
#define ENG_GRAMMAR_SET_H

#include "engine/grammar_int.h"

enum {
    GRAM_N_KEPT = 4,   /* whole lists that are kept */
    GRAM_NOWHERE = -1, /* a step that is refused */
};

/* A place and its stack. */
struct gram_spot {
    int32_t node, stack;
};

struct gram_stack {
    int32_t ret, below; /* stack 0 is empty */
    int32_t far;        /* bytes at least until it is */
};

struct gram_set {
    int32_t first, n; /* in spot; only bytes */
    int32_t row;      /* steps by class, in step; -1: none was asked for */
    int32_t far;      /* bytes at least to the answer's end */
    int16_t free;     /* >= 0: before the trigger, so much of it has come */
    bool may_end;
};

/* A list that took long to make, of a set that may come again. */
struct gram_kept {
    int set, n; /* set -1: none */
    int far;    /* of the farthest set that it leads to */
    int32_t *id;
};

/* Open addressing: numbers of stacks or sets; -1 is free. */
struct gram_table {
    int32_t *at;
    uint32_t mask;
    int n;
};

struct eng_grammar_state {
    struct eng_grammar *g;
    int now;  /* a set */
    int left; /* tokens that may come; 0: no limit */
    int err;  /* sticky */
    struct gram_stack *stack;
    int n_stack, cap_stack;
    struct gram_set *set;
    int n_set, cap_set;
    struct gram_spot *spot;
    int n_spot, cap_spot;
    int32_t *step; /* [n_row][n_cls] */
    int n_row, cap_row;
    struct gram_table stacks, sets;
    /* Of the set under construction. */
    struct gram_spot *seen;
    int n_seen, cap_seen;
    struct gram_table seen_at;
    int *path; /* [max_bytes + 1] sets along a token */
    struct gram_kept kept[GRAM_N_KEPT];
    int next_kept;
};

/* The set behind `from` and one byte, or n of them. GRAM_NOWHERE: refused, or broken (s->err). */
int gram_step(struct eng_grammar_state *s, int from, uint8_t byte);
int gram_walk(struct eng_grammar_state *s, int from, const char *p, size_t n);

/* Forgets all sets but the present one if there are many: they came on the way, and an answer may be
 * long. */
void gram_forget(struct eng_grammar_state *s);

#endif
