#include "engine/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LAST_N_MAX = 1 << 16,
    LIST_STEPS = 4096, /* of the grammar's automaton: to list more than these take is slower than a
                          draw or two that are refused */
    DRAWS = 3,         /* refused, until the list is made all the same */
    SPARE = 64,        /* looked at beyond top_k, as some may be refused */
};

struct cand {
    float logit;
    int32_t id;
};

struct eng_sampler {
    struct eng_sample_params p;
    int n_vocab;
    uint64_t rng;
    int32_t *recent; /* [repeat_last_n] ring of accepted tokens */
    int n_recent, at_recent;
    float *before;                  /* [repeat_last_n] logits of recent, before the penalty */
    uint8_t *mark;                  /* [n_vocab] penalised already */
    struct cand *cand;              /* [n_vocab]; NULL if greedy and free */
    struct eng_grammar_state *form; /* NULL: free */
    int32_t *list;                  /* [n_vocab] what it allows */
};

/* SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014;
 * constants from there (the variant of Vigna's public-domain splitmix64.c). */
static uint64_t rng_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [0, 1): the top 53 bits, a double's precision. */
static double rng_unit(uint64_t *state)
{
    return (double)(rng_next(state) >> 11) * 0x1p-53;
}

static int check(const struct eng_sample_params *p, struct base_err *err)
{
    const struct {
        const char *name;
        double v, min, max;
    } range[] = {
        {"temperature", (double)p->temperature, 0, 100},
        {"top_k", p->top_k, 0, 1 << 24},
        {"top_p", (double)p->top_p, 0, 1},
        {"min_p", (double)p->min_p, 0, 1},
        {"repeat_penalty", (double)p->repeat_penalty, 0.01, 100},
        {"repeat_last_n", p->repeat_last_n, 0, LAST_N_MAX},
        {"n_top", p->n_top, 0, ENG_TOP_MAX},
    };
    for (size_t i = 0; i < sizeof range / sizeof range[0]; i++) {
        if (!(range[i].v >= range[i].min && range[i].v <= range[i].max)) /* also NaN */
            return base_err_set(err, BASE_EINVAL, range[i].name, "%g is not in %g..%g", range[i].v,
                                range[i].min, range[i].max);
    }
    return 0;
}

/* The grammar's side of a new sampler. */
static int hold(struct eng_sampler *s, const struct eng_sample_params *p, struct base_err *err)
{
    if (eng_grammar_n_vocab(p->grammar) > s->n_vocab)
        return base_err_set(err, BASE_EINVAL, "sampler", "a grammar over %d tokens, logits of %d",
                            eng_grammar_n_vocab(p->grammar), s->n_vocab);
    s->list = calloc((size_t)s->n_vocab, sizeof *s->list);
    int rc = s->list == NULL ? BASE_ENOMEM : eng_grammar_start(&s->form, p->grammar);
    if (rc == 0)
        rc = eng_grammar_take_text(s->form, p->said, p->said_len);
    if (rc != 0)
        return base_err_set(err, rc, "sampler", "%s",
                            rc == BASE_EINVAL ? "the answer so far is not of the form asked for"
                                              : base_code_str(rc));
    eng_grammar_limit(s->form, p->max_tok);
    return 0;
}

int eng_sampler_new(struct eng_sampler **out, const struct eng_sample_params *p, int n_vocab,
                    struct base_err *err)
{
    int rc = check(p, err);
    if (rc != 0)
        return rc;
    if (n_vocab < 1)
        return base_err_set(err, BASE_EINVAL, "sampler", "a vocabulary of %d", n_vocab);
    struct eng_sampler *s = calloc(1, sizeof *s);
    if (s == NULL)
        goto nomem;
    s->p = *p;
    s->n_vocab = n_vocab;
    s->rng = p->seed;
    s->recent = calloc((size_t)p->repeat_last_n + 1, sizeof *s->recent);
    s->before = calloc((size_t)p->repeat_last_n + 1, sizeof *s->before);
    s->mark = calloc((size_t)n_vocab, 1);
    if (s->recent == NULL || s->before == NULL || s->mark == NULL)
        goto nomem;
    if (p->temperature > 0.0f || p->grammar != NULL) {
        s->cand = calloc((size_t)n_vocab, sizeof *s->cand);
        if (s->cand == NULL)
            goto nomem;
    }
    rc = p->grammar != NULL ? hold(s, p, err) : 0;
    if (rc != 0) {
        eng_sampler_free(s);
        return rc;
    }
    *out = s;
    return 0;
nomem:
    eng_sampler_free(s);
    return base_err_set(err, BASE_ENOMEM, "sampler", "no memory for %d tokens", n_vocab);
}

void eng_sampler_free(struct eng_sampler *s)
{
    if (s == NULL)
        return;
    free(s->recent);
    free(s->before);
    free(s->mark);
    free(s->cand);
    free(s->list);
    eng_grammar_stop(s->form);
    free(s);
}

void eng_sampler_accept(struct eng_sampler *s, int32_t token)
{
    if (s->p.repeat_last_n == 0 || token < 0 || token >= s->n_vocab)
        return;
    s->recent[s->at_recent] = token;
    s->at_recent = (s->at_recent + 1) % s->p.repeat_last_n;
    if (s->n_recent < s->p.repeat_last_n)
        s->n_recent++;
}

/* The highest logit, or NAN if any is NaN or none is finite. */
static float highest(const float *logits, int n)
{
    float max = -INFINITY;
    bool ok = true;
    for (int i = 0; i < n; i++) {
        ok = ok && !isnan(logits[i]);
        max = logits[i] > max ? logits[i] : max;
    }
    return ok && isfinite(max) ? max : NAN;
}

/* log(sum(exp(logits))), and the distribution's entropy and margin. */
static double log_sum_exp(const float *logits, int n, float max, struct eng_pick *out)
{
    double sum = 0.0, weighted = 0.0;
    float first = -INFINITY, second = -INFINITY;
    for (int i = 0; i < n; i++) {
        const double e = (double)expf(logits[i] - max);
        sum += e;
        weighted += e > 0.0 ? e * (double)(logits[i] - max) : 0.0;
        if (logits[i] > second) {
            second = logits[i] > first ? first : logits[i];
            first = logits[i] > first ? logits[i] : first;
        }
    }
    const double h = log(sum) - weighted / sum;
    out->entropy = h > 0.0 ? (float)h : 0.0f;
    out->margin = (float)((1.0 - (double)expf(second - max)) / sum);
    return (double)max + log(sum);
}

static bool before(float a_logit, int32_t a_id, float b_logit, int32_t b_id)
{
    return a_logit > b_logit || (a_logit == b_logit && a_id < b_id);
}

static void fill_top(const struct eng_sampler *s, const float *logits, double lse,
                     struct eng_pick *out)
{
    const int want = s->p.n_top < s->n_vocab ? s->p.n_top : s->n_vocab;
    int n = 0;
    for (int id = 0; want > 0 && id < s->n_vocab; id++) {
        if (n == want && !(logits[id] > out->top[n - 1].logprob))
            continue;
        int at = n < want ? n++ : n - 1;
        for (; at > 0 && logits[id] > out->top[at - 1].logprob; at--)
            out->top[at] = out->top[at - 1];
        out->top[at].token = id;
        out->top[at].logprob = logits[id];
    }
    out->n_top = n;
    for (int i = 0; i < n; i++)
        out->top[i].logprob = (float)((double)out->top[i].logprob - lse);
}

/* Keskar et al., CTRL, 2019, section 4.1; each token once, however often it stood there. */
static void penalise(struct eng_sampler *s, float *logits)
{
    for (int i = 0; i < s->n_recent; i++) {
        const int32_t id = s->recent[i];
        s->before[i] = logits[id];
        if (s->mark[id])
            continue;
        s->mark[id] = 1;
        logits[id] =
            logits[id] > 0.0f ? logits[id] / s->p.repeat_penalty : logits[id] * s->p.repeat_penalty;
    }
    for (int i = 0; i < s->n_recent; i++)
        s->mark[s->recent[i]] = 0;
}

/* What logits[id] was before penalise: the first entry of a token saw it untouched. */
static float logit_before(const struct eng_sampler *s, const float *logits, int32_t id)
{
    for (int i = 0; i < s->n_recent; i++) {
        if (s->recent[i] == id)
            return s->before[i];
    }
    return logits[id];
}

static int32_t argmax(const float *logits, int n)
{
    int32_t best = 0;
    for (int i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

static int cand_cmp(const void *a, const void *b)
{
    const struct cand *x = a, *y = b;
    return before(x->logit, x->id, y->logit, y->id) ? -1 : 1;
}

/* Restores the heap (root: the worst kept) below `at`. */
static void sift(struct cand *heap, int n, int at)
{
    for (;;) {
        int worst = at;
        for (int child = 2 * at + 1; child <= 2 * at + 2 && child < n; child++) {
            if (before(heap[worst].logit, heap[worst].id, heap[child].logit, heap[child].id))
                worst = child;
        }
        if (worst == at)
            return;
        const struct cand t = heap[at];
        heap[at] = heap[worst];
        heap[worst] = t;
        at = worst;
    }
}

/* Moves the k best of c[n] to c[0..k), in no order. */
static void keep_best(struct cand *c, int n, int k)
{
    for (int i = k / 2 - 1; i >= 0; i--)
        sift(c, k, i);
    for (int i = k; i < n; i++) {
        if (before(c[i].logit, c[i].id, c[0].logit, c[0].id)) {
            c[0] = c[i];
            sift(c, k, 0);
        }
    }
}

/* A token's share of the tempered distribution, before normalisation: the likeliest has 1. */
static double weight(const struct eng_sampler *s, float logit, float max)
{
    return (double)expf((logit - max) / s->p.temperature);
}

/* All tokens with weight of at least `least` -> cand; their number. */
static int collect(struct eng_sampler *s, const float *logits, float max, double least)
{
    int n = 0;
    for (int i = 0; i < s->n_vocab; i++) {
        if (least <= 0.0 || weight(s, logits[i], max) >= least)
            s->cand[n++] = (struct cand){logits[i], i};
    }
    return n;
}

/* The best top_k, best first. */
static int cut_top_k(struct eng_sampler *s, const float *logits, float max)
{
    const int n = collect(s, logits, max, 0.0);
    keep_best(s->cand, n, s->p.top_k);
    qsort(s->cand, (size_t)s->p.top_k, sizeof *s->cand, cand_cmp);
    return s->p.top_k;
}

/* The tokens that the nucleus can hold, best first. Those that weigh less than (1 - top_p) /
 * n_vocab of the sum weigh less than 1 - top_p together, so it does without them; they need no
 * sorting. The 0.99 covers rounding. */
static int cut_unlikely(struct eng_sampler *s, const float *logits, float max)
{
    double sum = 0.0;
    for (int i = 0; i < s->n_vocab; i++)
        sum += weight(s, logits[i], max);
    const double least = (1.0 - (double)s->p.top_p) / s->n_vocab * sum * 0.99;
    const int n = collect(s, logits, max, least);
    qsort(s->cand, (size_t)n, sizeof *s->cand, cand_cmp);
    return n;
}

/* The smallest head of cand[n] (best first) with a share of top_p (Holtzman et al., 2019). sum: of
 * all that top_p speaks of. */
static int cut_top_p(const struct eng_sampler *s, int n, float max, double sum)
{
    double mass = 0.0;
    int kept = 0;
    while (kept < n && (kept == 0 || mass < (double)s->p.top_p * sum))
        mass += weight(s, s->cand[kept++].logit, max);
    return kept;
}

/* One of cand[n], by what min-p leaves. */
static int32_t draw_one(struct eng_sampler *s, int n, float max)
{
    const struct eng_sample_params *p = &s->p;
    double total = 0.0;
    for (int i = 0; i < n; i++) {
        const double w = weight(s, s->cand[i].logit, max);
        total += w >= (double)p->min_p ? w : 0.0;
    }
    double u = rng_unit(&s->rng) * total;
    int32_t pick = -1;
    for (int i = 0; i < n && u >= 0.0; i++) {
        const double w = weight(s, s->cand[i].logit, max);
        if (w > 0.0 && w >= (double)p->min_p) {
            pick = s->cand[i].id;
            u -= w;
        }
    }
    return pick;
}

/* Temperature, then top-k, then top-p of what is left, then min-p; then one draw. */
static int32_t draw(struct eng_sampler *s, const float *logits)
{
    const struct eng_sample_params *p = &s->p;
    const float max = highest(logits, s->n_vocab);
    const bool top_k = p->top_k > 0 && p->top_k < s->n_vocab, top_p = p->top_p < 1.0f;
    int n;
    if (top_k)
        n = cut_top_k(s, logits, max);
    else if (top_p)
        n = cut_unlikely(s, logits, max);
    else
        n = collect(s, logits, max, 0.0);
    if (top_p) {
        double sum = 0.0;
        for (int i = 0; i < n; i++)
            sum += weight(s, s->cand[i].logit, max);
        n = cut_top_p(s, n, max, sum);
    }
    return draw_one(s, n, max);
}

/* ---- held to a grammar ---- */

static bool cuts_shares(const struct eng_sampler *s)
{
    return (s->p.top_k > 0 && s->p.top_k < s->n_vocab) || s->p.top_p < 1.0f;
}

/* The same cuts over the tokens of list[n] alone. */
static int32_t draw_listed(struct eng_sampler *s, const float *logits, int n)
{
    const struct eng_sample_params *p = &s->p;
    int best = 0;
    for (int i = 0; i < n; i++) {
        s->cand[i] = (struct cand){logits[s->list[i]], s->list[i]};
        best = cand_cmp(&s->cand[i], &s->cand[best]) < 0 ? i : best;
    }
    const float max = s->cand[best].logit;
    if (p->temperature <= 0.0f || n == 1 || !isfinite(max))
        return s->cand[best].id;
    if (cuts_shares(s))
        qsort(s->cand, (size_t)n, sizeof *s->cand, cand_cmp);
    if (p->top_k > 0 && p->top_k < n)
        n = p->top_k;
    if (p->top_p < 1.0f) {
        double sum = 0.0;
        for (int i = 0; i < n; i++)
            sum += weight(s, s->cand[i].logit, max);
        n = cut_top_p(s, n, max, sum);
    }
    return draw_one(s, n, max);
}

/* Takes refused tokens out of the logits until the likeliest is allowed, which is *token.
 * BASE_EBUSY: too many were refused. */
static int best_allowed(struct eng_sampler *s, float *logits, int32_t *token)
{
    for (int i = 0; i <= DRAWS; i++) {
        *token = argmax(logits, s->n_vocab);
        if (!isfinite(logits[*token]))
            break;
        const int may = eng_grammar_allows(s->form, *token);
        if (may != 0)
            return may < 0 ? may : 0;
        logits[*token] = -INFINITY;
    }
    return BASE_EBUSY;
}

/* Where nearly everything is allowed, drawing from everything and looking afterwards gives the same
 * shares as drawing from what is allowed, at the cost of a look. The likeliest is allowed already:
 * min-p measures by it. BASE_EBUSY: the draws were refused. */
static int draw_then_look(struct eng_sampler *s, float *logits, int32_t *token)
{
    for (int i = 0; i < DRAWS; i++) {
        *token = draw(s, logits);
        if (*token < 0)
            return BASE_EINTERNAL;
        const int may = eng_grammar_allows(s->form, *token);
        if (may != 0)
            return may < 0 ? may : 0;
        logits[*token] = -INFINITY;
    }
    return BASE_EBUSY;
}

/* cand[n], best first -> the allowed ones among them, until there are top_k or they weigh top_p of
 * the sum, in which those behind count as allowed: looking at each would cost more than they weigh.
 * Their number; BASE_EBUSY: too few are there. */
static int cut_allowed(struct eng_sampler *s, int n, float max)
{
    const struct eng_sample_params *p = &s->p;
    const bool top_k = p->top_k > 0 && p->top_k < s->n_vocab;
    double sum = 0.0, mass = 0.0;
    int kept = 0;
    for (int i = 0; i < n; i++)
        sum += weight(s, s->cand[i].logit, max);
    for (int i = 0; i < n && (top_k ? kept < p->top_k : mass < (double)p->top_p * sum); i++) {
        const struct cand now = s->cand[i];
        const int may = eng_grammar_allows(s->form, now.id);
        if (may < 0)
            return may;
        if (may > 0) {
            s->cand[kept++] = now;
            mass += weight(s, now.logit, max);
        } else {
            sum -= weight(s, now.logit, max);
        }
    }
    return kept == 0 || (top_k && kept < p->top_k) ? BASE_EBUSY : kept;
}

/* A draw by top-k or top-p over what is allowed. */
static int draw_cut(struct eng_sampler *s, const float *logits, float max, int32_t *token)
{
    const struct eng_sample_params *p = &s->p;
    int n;
    if (p->top_k > 0 && p->top_k < s->n_vocab - SPARE) {
        n = collect(s, logits, max, 0.0);
        keep_best(s->cand, n, p->top_k + SPARE);
        n = p->top_k + SPARE;
        qsort(s->cand, (size_t)n, sizeof *s->cand, cand_cmp);
    } else if (p->top_p < 1.0f) {
        n = cut_unlikely(s, logits, max);
    } else {
        return BASE_EBUSY;
    }
    n = cut_allowed(s, n, max);
    if (n < 0)
        return n;
    if (p->top_k > 0 && p->top_p < 1.0f) {
        double sum = 0.0;
        for (int i = 0; i < n; i++)
            sum += weight(s, s->cand[i].logit, max);
        n = cut_top_p(s, n, max, sum);
    }
    *token = draw_one(s, n, max);
    return *token >= 0 ? 0 : BASE_EINTERNAL;
}

/* What is done depends on the grammar, the logits and the seed alone, never on what was done
 * before: the same seed gives the same answer. */
static int pick_held(struct eng_sampler *s, float *logits, int32_t *token, bool *forced)
{
    int rc = eng_grammar_forced(s->form, token, 1);
    *forced = rc > 0;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    int n = BASE_EBUSY;
    if (2 * eng_grammar_width(s->form) < s->n_vocab)
        n = eng_grammar_list(s->form, s->list, LIST_STEPS);
    if (n == BASE_EBUSY) {
        rc = best_allowed(s, logits, token);
        if (rc == 0 && s->p.temperature > 0.0f)
            rc = cuts_shares(s) ? draw_cut(s, logits, logits[*token], token)
                                : draw_then_look(s, logits, token);
        if (rc != BASE_EBUSY)
            return rc;
        n = eng_grammar_list(s->form, s->list, 0);
    }
    if (n < 0)
        return n;
    *token = draw_listed(s, logits, n);
    *forced = n == 1;
    return 0;
}

int eng_sampler_forced(struct eng_sampler *s, int32_t *out, int max)
{
    return s->form != NULL ? eng_grammar_forced(s->form, out, max) : 0;
}

int eng_sampler_sure(struct eng_sampler *s, int32_t *out, int max)
{
    return s->p.logprobs && !s->p.choices_only ? 0 : eng_sampler_forced(s, out, max);
}

int eng_sampler_take_sure(struct eng_sampler *s, struct eng_pick *out)
{
    int32_t token;
    int rc = eng_sampler_sure(s, &token, 1);
    if (rc <= 0 || (rc = eng_grammar_take(s->form, token)) != 0)
        return rc;
    *out = (struct eng_pick){.token = token, .forced = true, .untold = true};
    eng_sampler_accept(s, token);
    return 1;
}

int eng_sampler_pick(struct eng_sampler *s, float *logits, struct eng_pick *out)
{
    int rc = eng_sampler_take_sure(s, out);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    memset(out, 0, sizeof *out);
    const float max = highest(logits, s->n_vocab);
    if (isnan(max))
        return BASE_EINTERNAL;
    double lse = 0.0;
    if (s->p.logprobs) {
        lse = log_sum_exp(logits, s->n_vocab, max, out);
        fill_top(s, logits, lse, out);
    }
    penalise(s, logits);
    if (s->form != NULL)
        rc = pick_held(s, logits, &out->token, &out->forced);
    else
        out->token = s->p.temperature > 0.0f ? draw(s, logits) : argmax(logits, s->n_vocab);
    if (rc == 0 && out->token < 0)
        rc = BASE_EINTERNAL;
    if (rc == 0 && s->form != NULL)
        rc = eng_grammar_take(s->form, out->token);
    if (rc != 0)
        return rc;
    if (s->p.logprobs)
        out->logprob = (float)((double)logit_before(s, logits, out->token) - lse);
    eng_sampler_accept(s, out->token);
    return 0;
}
