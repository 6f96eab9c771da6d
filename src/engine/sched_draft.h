/* Drafts: tokens that an answer may go on with, run as rows of the same step. A drafted row counts
 * only if the sampler, asked row by row, picks just that token; so answers are the same bits as
 * without, greedy or sampled. Engine's thread. */
#ifndef ENG_SCHED_DRAFT_H
#define ENG_SCHED_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

struct eng_job;

/* Writes up to max tokens that may come after the job's own n tokens; returns how many. */
struct sched_draft_source {
    int (*find)(const struct eng_job *j, const int32_t *tok, int n, int32_t *out, int max);
    bool sure; /* never wrong */
};
extern const struct sched_draft_source sched_draft_source[];
extern const int sched_n_draft_source;

/* Prompt lookup: what followed when the last tokens stood there before. */
int sched_lookup(const int32_t *tok, int n, int32_t *out, int max);

/* What a step of n rows takes: a fixed part and a part a row, fitted to the least that late steps
 * without prefill took: what else runs on the machine only ever adds. */
enum { SCHED_COST_ROWS = 32 };
struct sched_cost {
    double us[SCHED_COST_ROWS + 1];     /* by rows; 0: never seen. Rises slowly, falls at once */
    double weight[SCHED_COST_ROWS + 1]; /* 1 when seen; fades */
    double row;                         /* a row's part ÷ the fixed part; 0: not known yet */
};
void sched_cost_add(struct sched_cost *c, int n_row, int64_t us);

/* Does one more row with this chance to be right raise the tokens per time of a step that now has
 * n_row rows and is expected to give n_tok tokens? */
bool sched_cost_pays(const struct sched_cost *c, double right, int n_row, double n_tok);

enum {
    SCHED_DRAFT_PRIOR = 50
}; /* percent: an answer's first drafts are taken to be right so often */

#endif
