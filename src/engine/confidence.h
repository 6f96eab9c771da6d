/* How sure to be: a small text file, fitted on labelled sentences (`waypostctl tune confidence`),
 * turns what the engine saw of a prompt and an answer into probabilities. It is bound to the model
 * and the adapter that it was fitted on. Const once open: any thread. docs/confidence.md has the
 * format. */
#ifndef ENG_CONFIDENCE_H
#define ENG_CONFIDENCE_H

#include "engine/lora.h"
#include "engine/sample.h"
#include "engine/watch.h"

/* What an answer's picks were like, of the model's own distribution (before temperature, cuts and
 * grammar). Zero it, then add each pick, an end token too; they need eng_sample_params.logprobs.
 * Where some are untold, signals over all of them cannot be told. */
struct eng_answer_part {
    int n;
    float min_logprob, max_entropy, min_margin;
    double sum_logprob, sum_prob, sum_entropy, sum_margin;
};
struct eng_answer_stats {
    struct eng_answer_part all, choice; /* choice: picks where a grammar, if any, left one */
    int n_untold;
};
void eng_answer_stats_add(struct eng_answer_stats *a, const struct eng_pick *p);

/* The signals that a file may use, by name; NULL behind the last. */
const char *eng_conf_signal_name(int i);
double eng_conf_signal(int i, const struct eng_answer_stats *a); /* NAN: cannot be told */
bool eng_conf_signal_is_choice(int i);                           /* over picks that had a choice */

/* What a file can tell the probability of. */
enum eng_conf_task {
    ENG_CONF_CALL,    /* the call is what was meant; asked when the answer is there */
    ENG_CONF_COMMAND, /* the prompt is a command, not an open question; asked after the prompt, or
                         its first layers */
    ENG_CONF_ANSWER,  /* a general answer is right: the fact model.confidence */
    ENG_CONF_N_TASK
};
const char *eng_conf_task_name(enum eng_conf_task task); /* "call" */

struct eng_conf;

/* lora: the adapter that answers are made with, or NULL. Errors: eng_conf_parse's; BASE_EMISMATCH
 * (another model or adapter: the message has both hashes), BASE_EIO. *out: eng_conf_close. */
int eng_conf_open(struct eng_conf **out, const char *path, struct eng_model *m,
                  const struct eng_lora *lora, struct base_err *err) BASE_MUST_CHECK;
/* The text alone, bound to nothing. place: what errors call it; they add ":LINE". n_layer, d_model:
 * the model's; 0: any. Errors: BASE_EFORMAT, BASE_EUNSUPPORTED (a later version, an unknown
 * signal), BASE_ELIMIT, BASE_ENOMEM. */
int eng_conf_parse(struct eng_conf **out, const char *text, size_t len, const char *place,
                   int n_layer, int d_model, struct base_err *err) BASE_MUST_CHECK;
void eng_conf_close(struct eng_conf *c); /* NULL is fine */

bool eng_conf_has(const struct eng_conf *c, enum eng_conf_task task);
/* Whether a task asks nothing of an answer but its choices: what a grammar left no choice about then needs
 * no log probability (eng_sample_params.choices_only). */
bool eng_conf_choices_only(const struct eng_conf *c, enum eng_conf_task task);
/* The layers that a task wants watched -> w->n, w->layer (n 0: none). w->from is the caller's: the
 * position where the last message's words begin (eng_chat_words_at). */
void eng_conf_watch(const struct eng_conf *c, enum eng_conf_task task, struct eng_watch_opt *w);

/* The probability, 0 to 1. Below 0: cannot tell (the file has no such task, c is NULL, or what it
 * asks for was not seen or is no number). a and s may be NULL. No allocation. */
float eng_conf_ask(const struct eng_conf *c, enum eng_conf_task task,
                   const struct eng_answer_stats *a, const struct eng_states *s);
static inline float eng_conf_call(const struct eng_conf *c, const struct eng_answer_stats *a,
                                  const struct eng_states *s)
{
    return eng_conf_ask(c, ENG_CONF_CALL, a, s);
}
static inline float eng_conf_command(const struct eng_conf *c, const struct eng_states *s)
{
    return eng_conf_ask(c, ENG_CONF_COMMAND, NULL, s);
}

#endif
