/* Answers held to a grammar. A grammar's text is compiled once for a vocabulary (const, counted,
 * shared between threads); a state walks it for one answer (one thread at a time) and says which
 * tokens may come next. It is a pushdown automaton over bytes, so that tokens may split characters,
 * and it has no dead ends: what could not be finished is never begun.
 *
 * The text is a list of rules, `name = alternatives ;`, the first of which is the answer:
 *
 *   answer = "{" (pair ("," pair)*)? "}" ;          # sequence, group, alternatives with |
 *   pair   = "\"" [a-z]{1,8} "\":" ("0" | [1-9] [0-9]*) ;
 *
 * Strings are bytes, with \" \\ \n \r \t \xHH. Classes are of code points, [a-z\]\u{10ffff}], [^…] all
 * the others; they match whole UTF-8 characters. Repeats: * + ? {n} {n,} {n,m}. Names: letters, digits
 * and '-'. A rule that can call itself before it has read anything is refused. */
#ifndef ENG_GRAMMAR_H
#define ENG_GRAMMAR_H

#include "engine/vocab.h"

enum {
    ENG_GRAMMAR_MAX_BYTES = 1 << 20, /* of text */
    ENG_GRAMMAR_MAX_RULE = 1 << 14,
    ENG_GRAMMAR_MAX_NODE = 1 << 18,  /* places in all rules, and what repeats make of them */
    ENG_GRAMMAR_MAX_REPEAT = 1 << 13,
    ENG_GRAMMAR_MAX_NEST = 64,       /* groups in groups */
    ENG_GRAMMAR_MAX_TRIGGER = 64,    /* bytes */
};

struct eng_grammar;

/* v must outlive it. trigger, if not NULL: the answer is free until these bytes have come, and goes by
 * the grammar behind them. Errors: BASE_EFORMAT (place "grammar:LINE:COL"), BASE_ELIMIT, BASE_EINVAL
 * (left recursion, a rule without end), BASE_EUNSUPPORTED (bytes that this vocabulary lacks are
 * needed), BASE_ENOMEM. */
int eng_grammar_new(struct eng_grammar **out, const struct eng_vocab *v, const char *text, size_t len,
                    const char *trigger, struct base_err *err) BASE_MUST_CHECK;
struct eng_grammar *eng_grammar_ref(struct eng_grammar *g);
void eng_grammar_unref(struct eng_grammar *g); /* NULL is fine; the last one frees */
int eng_grammar_n_vocab(const struct eng_grammar *g);

struct eng_grammar_state;
/* Takes a reference of its own. BASE_ENOMEM. */
int eng_grammar_start(struct eng_grammar_state **out, struct eng_grammar *g) BASE_MUST_CHECK;
void eng_grammar_stop(struct eng_grammar_state *s); /* NULL is fine */

/* From here on at most n_tok tokens come, an end token with them: the answer is brought to its end
 * within them, byte by byte if need be, unless it is too late for that already. 0: no limit. */
void eng_grammar_limit(struct eng_grammar_state *s, int n_tok);

/* Each of these may also fail with BASE_ENOMEM or BASE_ELIMIT (nesting too deep, too ambiguous), and
 * then does so for ever. */

/* Goes on by a token or by text. BASE_EINVAL: it may not come here, nothing has changed. An end token
 * changes nothing. */
int eng_grammar_take(struct eng_grammar_state *s, int32_t token) BASE_MUST_CHECK;
int eng_grammar_take_text(struct eng_grammar_state *s, const char *text, size_t len) BASE_MUST_CHECK;

/* 1: the token may come next; 0: it may not. */
int eng_grammar_allows(struct eng_grammar_state *s, int32_t token) BASE_MUST_CHECK;
bool eng_grammar_may_end(const struct eng_grammar_state *s);

/* All tokens that may come next -> out[vocabulary's n + n_end], their number (at least one).
 * BASE_EBUSY: after max_step steps of the automaton it was not done (0: no limit). The order and
 * whether it is busy depend on the grammar and what was taken alone. */
int eng_grammar_list(struct eng_grammar_state *s, int32_t *out, long max_step) BASE_MUST_CHECK;

/* The tokens that are sure to come next -> out[max], their number: where the next bytes are settled,
 * the longest token of them; where the answer is over, an end token, which is the last. */
int eng_grammar_forced(struct eng_grammar_state *s, int32_t *out, int max) BASE_MUST_CHECK;

/* How many tokens begin with a byte that may come next: whether a list is worth making. */
int eng_grammar_width(const struct eng_grammar_state *s);

#endif
