/* What the grammar's parts share: grammar_text.c makes places out of text, grammar.c checks them,
 * grammar_run.c walks them. Nobody else includes this. */
#ifndef ENG_GRAMMAR_INT_H
#define ENG_GRAMMAR_INT_H

#include <stdatomic.h>

#include "engine/grammar.h"

enum gram_kind {
    GRAM_BYTE,  /* one byte of lo..hi, then next */
    GRAM_SPLIT, /* next or alt */
    GRAM_CALL,  /* rule alt, then next */
    GRAM_RET,   /* the rule's end */
    GRAM_JOIN,  /* next; none is left after compiling */
};

/* A place in a rule: recursive transition networks (Woods, "Transition network grammars for natural
 * language analysis", CACM 1970), built as Thompson's automata are. */
struct gram_node {
    uint8_t kind, lo, hi;
    bool alive; /* the rule's end can be reached from here */
    int32_t next, alt;
    int32_t far; /* so many bytes at least are between here and the rule's end */
};

enum { GRAM_FAR = 1 << 28 }; /* and more */

struct eng_grammar {
    atomic_int n_ref;
    const struct eng_vocab *v;
    struct gram_node *node; /* [n_node] */
    int n_node, cap_node;
    int32_t *rule; /* [n_rule] first place of each; rule 0 is the answer */
    int n_rule;
    uint16_t cls[256]; /* bytes that no place tells apart; 0: those that cannot be */
    uint8_t rep[257];  /* [n_cls] one byte of each */
    int n_cls;
    uint8_t trigger[ENG_GRAMMAR_MAX_TRIGGER];
    uint8_t fail[ENG_GRAMMAR_MAX_TRIGGER]; /* Knuth, Morris, Pratt: how much still matches */
    int n_trigger;
};

/* A new place, or -1: the limit or memory (*rc). */
int32_t gram_add(struct eng_grammar *g, struct gram_node n, int *rc);

/* Text -> g->node, g->rule. */
int gram_parse(struct eng_grammar *g, const char *text, size_t len, struct base_err *err) BASE_MUST_CHECK;

#endif
