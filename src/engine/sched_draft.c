#include "engine/sched_inner.h"

#include <string.h>

enum { NGRAM_MAX = 3, NGRAM_MIN = 2 };

/* What a grammar leaves no choice about. An error: the pick finds it too. */
static int forced(const struct eng_job *j, const int32_t *tok, int n, int32_t *out, int max)
{
    (void)tok;
    (void)n;
    const int got = eng_sampler_forced(j->sampler, out, max);
    return got > 0 ? got : 0;
}

static int lookup(const struct eng_job *j, const int32_t *tok, int n, int32_t *out, int max)
{
    (void)j;
    return sched_lookup(tok, n, out, max);
}

const struct sched_draft_source sched_draft_source[] = {{forced, true}, {lookup, false}};
const int sched_n_draft_source = sizeof sched_draft_source / sizeof sched_draft_source[0];

/* Saxena, "Prompt Lookup Decoding", 2023: the longest of the last few tokens that stood there
 * before, the latest place first. What followed may run into the tokens looked for: then it is a
 * cycle. */
int sched_lookup(const int32_t *tok, int n, int32_t *out, int max)
{
    for (int len = NGRAM_MAX; len >= NGRAM_MIN && max > 0; len--) {
        const int32_t *end = tok + n - len;
        for (int at = n - len - 1; at >= 0; at--) {
            if (tok[at] != end[0] || memcmp(tok + at, end, (size_t)len * sizeof *tok) != 0)
                continue;
            const int period = n - len - at;
            for (int i = 0; i < max; i++)
                out[i] = i < period ? tok[at + len + i] : out[i - period];
            return max;
        }
    }
    return 0;
}

#define ROW_PRIOR (1.0 / 3) /* what a row is taken to cost until it is known */

/* Least squares over the sizes seen. Of one size there is no slope to see: then what was known
 * fades, so that one disturbed step does not end drafting for good. */
static void fit(struct sched_cost *c)
{
    double w = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (int n = 1; n <= SCHED_COST_ROWS; n++) {
        const double wn = c->weight[n];
        w += wn;
        x += wn * n;
        y += wn * c->us[n];
        xx += wn * n * n;
        xy += wn * n * c->us[n];
    }
    const double spread = w * xx - x * x;
    if (spread < 0.03 * w * w) {
        c->row += c->row > 0 ? 0.02 * (ROW_PRIOR - c->row) : 0;
        return;
    }
    const double slope = (w * xy - x * y) / spread, fixed = (y - slope * x) / w;
    /* A row costs something, and a step is never all rows. */
    c->row = fixed <= slope / 4 ? 4.0 : slope / fixed;
    c->row = c->row < 0.02 ? 0.02 : c->row;
}

void sched_cost_add(struct sched_cost *c, int n_row, int64_t us)
{
    if (n_row < 1 || n_row > SCHED_COST_ROWS)
        return;
    double *seen = &c->us[n_row];
    const double most = *seen > 0 ? *seen * 1.03 : (double)us;
    *seen = (double)us < most ? (double)us : most;
    for (int n = 1; n <= SCHED_COST_ROWS; n++)
        c->weight[n] *= 0.95;
    c->weight[n_row] = 1.0;
    fit(c);
}

bool sched_cost_pays(const struct sched_cost *c, double right, int n_row, double n_tok)
{
    const double row = c->row > 0 ? c->row : ROW_PRIOR;
    return right * (1.0 + row * n_row) > row * n_tok;
}
