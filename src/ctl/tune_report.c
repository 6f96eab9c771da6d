#include "ctl/tune.h"

#include <stdio.h>
#include <string.h>

static const double thresholds[] = {0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98};
enum { N_THRESHOLD = sizeof thresholds / sizeof thresholds[0], MAX_LANG = 16 };

static const char *const questions[ENG_CONF_N_TASK] = {
    [ENG_CONF_CALL] = "the answered line is the one that was wanted",
    [ENG_CONF_COMMAND] = "the sentence is a command, not an open question",
    [ENG_CONF_ANSWER] = "the answer is the one that was wanted"};

/* Rows that reach a threshold; those of them with label 1; those that act on an open question. */
struct share {
    int n, n_yes, n_wrong_action;
};

static struct share share_at(const struct tune_task *t, const struct tune_log *l, double threshold)
{
    struct share s = {0};
    for (int i = 0; i < t->n_row; i++) {
        if (t->cand[t->best].p[i] < threshold)
            continue;
        s.n++;
        s.n_yes += t->label[i];
        s.n_wrong_action += tune_is_none(&l->row[i]) && strcmp(l->row[i].said, l->row[i].want) != 0;
    }
    return s;
}

static double part(int n, int of)
{
    return of > 0 ? (double)n / of : 0;
}

/* The rows of one language: how many, right ones among them, AUROC of the chosen candidate. */
struct by_lang {
    const char *lang;
    int n, n_yes;
    double auroc;
};

static int languages(const struct tune_task *t, const struct tune_log *l,
                     struct by_lang out[MAX_LANG])
{
    static double score[FIT_MAX_ROWS];
    static uint8_t label[FIT_MAX_ROWS];
    static int order[FIT_MAX_ROWS];
    int n = 0;
    for (int i = 0; i < l->n; i++) {
        int k = 0;
        while (k < n && strcmp(out[k].lang, l->row[i].lang) != 0)
            k++;
        if (k == MAX_LANG)
            continue;
        if (k == n)
            out[n++] = (struct by_lang){.lang = l->row[i].lang};
        out[k].n++;
        out[k].n_yes += t->label[i];
    }
    for (int k = 0; k < n; k++) {
        int m = 0;
        for (int i = 0; i < l->n; i++) {
            if (strcmp(out[k].lang, l->row[i].lang) != 0)
                continue;
            score[m] = t->cand[t->best].score[i];
            label[m++] = t->label[i];
        }
        out[k].auroc = fit_auroc(score, label, m, order);
    }
    return n;
}

void tune_print(const struct tune_task *t, const struct tune_log *l, const struct tune_args *a)
{
    printf("%s: whether %s\n%d of %d sentences are (%.1f %%); %d folds, 95 %% of %d resamples in "
           "brackets\n\n",
           eng_conf_task_name(t->task), questions[t->task], t->n_yes, t->n_row,
           100 * part(t->n_yes, t->n_row), a->n_fold, a->n_resample);
    printf("  %-28s %-22s %-22s %s\n", "candidate, held out", "AUROC", "calibration error",
           "log loss");
    for (int i = 0; i < t->n_cand; i++) {
        const struct tune_cand *c = &t->cand[i];
        printf("%c %-28s %.3f [%.3f, %.3f]   %.3f [%.3f, %.3f]   %.3f%s\n",
               i == t->best ? '*' : ' ', c->name, c->auroc.at, c->auroc.lo, c->auroc.hi, c->ece.at,
               c->ece.lo, c->ece.hi, c->loss, c->usable ? "" : "   (not to be had then)");
    }
    if (t->best < 0) {
        putchar('\n');
        return;
    }
    printf(
        "\n* chosen: the cheapest within a standard error of the best\n\n  %-10s %-10s %-10s %s\n",
        "threshold", "kept", "precision", "wrong actions on open questions");
    for (int i = 0; i < N_THRESHOLD; i++) {
        const struct share s = share_at(t, l, thresholds[i]);
        printf("  >= %-7.2f %5.1f %%    %5.1f %%    %d\n", thresholds[i], 100 * part(s.n, t->n_row),
               100 * part(s.n_yes, s.n), s.n_wrong_action);
    }
    struct by_lang lang[MAX_LANG];
    const int n = languages(t, l, lang);
    printf("\n  %-10s %-10s %-10s %s\n", "language", "sentences", "such", "AUROC");
    for (int i = 0; i < n; i++)
        printf("  %-10s %-10d %5.1f %%    %.3f\n", lang[i].lang, lang[i].n,
               100 * part(lang[i].n_yes, lang[i].n), lang[i].auroc);
    putchar('\n');
}

static json_t *interval_json(const struct fit_interval *i)
{
    return json_pack("{s:f, s:f, s:f}", "value", i->at, "low", i->lo, "high", i->hi);
}

json_t *tune_json(const struct tune_task *t, const struct tune_log *l)
{
    json_t *cand = json_array(), *table = json_array(), *langs = json_array();
    for (int i = 0; i < t->n_cand; i++) {
        const struct tune_cand *c = &t->cand[i];
        json_array_append_new(cand, json_pack("{s:s, s:o, s:o, s:f, s:b}", "name", c->name, "auroc",
                                              interval_json(&c->auroc), "calibration_error",
                                              interval_json(&c->ece), "log_loss", c->loss, "usable",
                                              c->usable));
    }
    struct by_lang lang[MAX_LANG];
    const int n = t->best >= 0 ? languages(t, l, lang) : 0;
    for (int i = 0; i < n; i++)
        json_array_append_new(langs, json_pack("{s:s, s:i, s:i, s:f}", "language", lang[i].lang,
                                               "sentences", lang[i].n, "yes", lang[i].n_yes,
                                               "auroc", lang[i].auroc));
    for (int i = 0; i < N_THRESHOLD && t->best >= 0; i++) {
        const struct share s = share_at(t, l, thresholds[i]);
        json_array_append_new(table,
                              json_pack("{s:f, s:f, s:f, s:i}", "threshold", thresholds[i], "kept",
                                        part(s.n, t->n_row), "precision", part(s.n_yes, s.n),
                                        "wrong_actions", s.n_wrong_action));
    }
    return json_pack("{s:s, s:i, s:i, s:o, s:s?, s:o, s:o}", "task", eng_conf_task_name(t->task),
                     "sentences", t->n_row, "yes", t->n_yes, "candidates", cand, "chosen",
                     t->best >= 0 ? t->cand[t->best].name : NULL, "thresholds", table, "languages",
                     langs);
}
