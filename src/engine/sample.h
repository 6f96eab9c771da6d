/* Logits -> the next token. One sampler a conversation; one thread at a time. */
#ifndef ENG_SAMPLE_H
#define ENG_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/grammar.h"

enum { ENG_TOP_MAX = 20 };

struct eng_sample_params {
    float temperature;    /* 0: greedy */
    int top_k;            /* 0: off */
    float top_p;          /* 1: off */
    float min_p;          /* 0: off */
    float repeat_penalty; /* 1: off */
    int repeat_last_n;    /* tokens looked back on */
    uint64_t seed;
    int n_top;            /* alternatives to report, <= ENG_TOP_MAX */
    bool logprobs;        /* fill logprob and top even if nobody samples by them */
    bool choices_only;    /* but not of tokens that the grammar leaves no choice about */
    /* NULL: anything may come. Else only what it allows, before all cuts; the sampler takes a
     * reference of its own. said[said_len], read by eng_sampler_new alone: what of the answer is
     * there already. */
    struct eng_grammar *grammar;
    const char *said;
    size_t said_len;
    int max_tok; /* picks within which the grammar's answer comes to its end; 0: as it may be */
};
#define ENG_SAMPLE_GREEDY \
    ((struct eng_sample_params){.top_p = 1.0f, .repeat_penalty = 1.0f, .repeat_last_n = 64})

struct eng_pick {
    int32_t token;
    float logprob; /* natural log, of the model's own distribution (before temperature and cuts) */
    float entropy; /* nats, same distribution */
    float margin;  /* its likeliest token's probability less the second one's */
    bool forced;   /* the grammar left no choice */
    bool untold;   /* and nobody wanted its log probability: 0, as are entropy and margin */
    int n_top;
    struct {
        int32_t token;
        float logprob;
    } top[ENG_TOP_MAX];
};

struct eng_sampler;
/* Errors: BASE_EINVAL (also: the grammar does not allow what was said), BASE_ELIMIT (the grammar is
 * too ambiguous), BASE_ENOMEM. */
int eng_sampler_new(struct eng_sampler **out, const struct eng_sample_params *p, int n_vocab,
                    struct base_err *err) BASE_MUST_CHECK;
void eng_sampler_free(struct eng_sampler *s);
void eng_sampler_accept(struct eng_sampler *s, int32_t token); /* prompt tokens count too */
/* logits[n_vocab] are modified. Ties: the lowest id. NaN logits: BASE_EINTERNAL. With a grammar also
 * BASE_ELIMIT and BASE_ENOMEM. Also accepts. */
int eng_sampler_pick(struct eng_sampler *s, float *logits, struct eng_pick *out) BASE_MUST_CHECK;

/* The tokens that the next picks are sure to give -> out[max], whatever the logits: their number, 0
 * where there is a choice or no grammar. They need no step of their own: their rows may be run
 * together before they are picked. Errors: BASE_ELIMIT, BASE_ENOMEM (the next pick fails too). */
int eng_sampler_forced(struct eng_sampler *s, int32_t *out, int max) BASE_MUST_CHECK;
/* Those of them that need no logits at all, as nobody wants their log probabilities; 0 where somebody
 * does. take_sure picks the next one (1, with a logprob of 0), or there is none (0). */
int eng_sampler_sure(struct eng_sampler *s, int32_t *out, int max) BASE_MUST_CHECK;
int eng_sampler_take_sure(struct eng_sampler *s, struct eng_pick *out) BASE_MUST_CHECK;

#endif
