/* Reads a confidence file: words in lines. Nothing is taken on trust: each number is finite and
 * within bounds, each count is kept, and what is not understood is an error with its line. */
#include "engine/confidence_int.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORD = 5, MAX_NUMBER = 63, SHOWN = 24 };
static const double max_abs = 1e30;

struct word {
    const char *s;
    size_t len;
};

struct text {
    const char *at, *end;
    const char *place;
    int line; /* the present one, from 1 */
    int n;
    struct word word[MAX_WORD + 1]; /* of the present line; one more than any line has */
    struct base_err *err;
};

static int bad(const struct text *t, int code, const char *fmt, ...) BASE_PRINTF(3, 4);

static int bad(const struct text *t, int code, const char *fmt, ...)
{
    char place[sizeof t->err->place], msg[sizeof t->err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    snprintf(place, sizeof place, "%.140s:%d", t->place, t->line);
    return base_err_set(t->err, code, place, "%s", msg);
}

/* A word as an error may show it. */
static const char *shown(struct word w, char buf[SHOWN + 1])
{
    size_t n = w.len < SHOWN ? w.len : SHOWN;
    for (size_t i = 0; i < n; i++)
        buf[i] = w.s[i] > ' ' && w.s[i] < 0x7f ? w.s[i] : '?';
    buf[n] = '\0';
    return buf;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool is(struct word w, const char *s)
{
    return strlen(s) == w.len && memcmp(w.s, s, w.len) == 0;
}

/* The next line that says something -> word[n], MAX_WORD + 1 at most. false: there is none. */
static bool next_line(struct text *t)
{
    t->n = 0;
    while (t->n == 0 && t->at < t->end) {
        const char *nl = memchr(t->at, '\n', (size_t)(t->end - t->at));
        const char *s = t->at, *end = nl != NULL ? nl : t->end;
        t->at = nl != NULL ? nl + 1 : t->end;
        t->line++;
        while (t->n <= MAX_WORD) {
            while (s < end && is_blank(*s))
                s++;
            if (s == end || *s == '#')
                break;
            struct word *w = &t->word[t->n++];
            w->s = s;
            while (s < end && !is_blank(*s))
                s++;
            w->len = (size_t)(s - w->s);
        }
    }
    return t->n > 0;
}

static int number(const struct text *t, struct word w, double *out)
{
    char buf[MAX_NUMBER + 1], show[SHOWN + 1], *end = buf;
    if (w.len <= MAX_NUMBER) {
        memcpy(buf, w.s, w.len);
        buf[w.len] = '\0';
        *out = strtod(buf, &end);
    }
    if (w.len > MAX_NUMBER || end == buf || end != buf + w.len || !isfinite(*out) ||
        !(fabs(*out) <= max_abs))
        return bad(t, BASE_EFORMAT, "'%s' is not a finite number", shown(w, show));
    return 0;
}

static int whole(const struct text *t, struct word w, const char *what, int min, int max, int *out)
{
    double v = 0.0;
    int rc = number(t, w, &v);
    if (rc == 0 && !(v >= min && v <= max && v == floor(v)))
        rc = bad(t, BASE_EFORMAT, "%s is %g, not a whole number in %d..%d", what, v, min, max);
    if (rc == 0)
        *out = (int)v;
    return rc;
}

static int need_words(const struct text *t, int n, const char *form)
{
    return t->n == n ? 0 : bad(t, BASE_EFORMAT, "a line '%s' is needed here", form);
}

/* ---- head ---- */

static int read_hash(const struct text *t, bool may_lack, char out[33])
{
    const struct word w = t->word[1];
    bool hex = w.len == 32;
    for (size_t i = 0; hex && i < 32; i++)
        hex = (w.s[i] >= '0' && w.s[i] <= '9') || (w.s[i] >= 'a' && w.s[i] <= 'f');
    if (may_lack && is(w, "none")) {
        out[0] = '\0';
        return 0;
    }
    if (!hex)
        return bad(t, BASE_EFORMAT, "a hash is 32 lower-case hexadecimal digits%s",
                   may_lack ? ", or none" : "");
    memcpy(out, w.s, 32);
    out[32] = '\0';
    return 0;
}

static int read_head(struct text *t, struct eng_conf *c)
{
    int version = 0, rc;
    if (!next_line(t) || t->n != 2 || !is(t->word[0], "waypost-confidence"))
        return bad(t, BASE_EFORMAT, "not a confidence file: it begins with 'waypost-confidence 1'");
    if ((rc = whole(t, t->word[1], "the version", 1, 1 << 20, &version)) != 0)
        return rc;
    if (version != CONF_VERSION)
        return bad(t, BASE_EUNSUPPORTED, "version %d; this program reads %d", version,
                   CONF_VERSION);
    if (!next_line(t) || t->n != 2 || !is(t->word[0], "model"))
        return bad(t, BASE_EFORMAT, "a line 'model HASH' is needed here");
    if ((rc = read_hash(t, false, c->model)) != 0)
        return rc;
    if (!next_line(t) || t->n != 2 || !is(t->word[0], "adapter"))
        return bad(t, BASE_EFORMAT, "a line 'adapter HASH' or 'adapter none' is needed here");
    return read_hash(t, true, c->adapter);
}

/* ---- tasks ---- */

static int read_signal(struct text *t, struct conf_task *k)
{
    char show[SHOWN + 1];
    int rc = need_words(t, 5, "signal NAME WEIGHT MEAN SCALE"), id = 0;
    if (rc != 0)
        return rc;
    while (eng_conf_signal_name(id) != NULL && !is(t->word[1], eng_conf_signal_name(id)))
        id++;
    if (eng_conf_signal_name(id) == NULL)
        return bad(t, BASE_EUNSUPPORTED, "no signal '%s'", shown(t->word[1], show));
    for (int i = 0; i < k->n_signal; i++) {
        if (k->signal[i].id == id)
            return bad(t, BASE_EFORMAT, "signal %s a second time", eng_conf_signal_name(id));
    }
    if (k->n_signal == CONF_MAX_SIGNAL)
        return bad(t, BASE_ELIMIT, "more than %d signals", CONF_MAX_SIGNAL);
    struct conf_signal *g = &k->signal[k->n_signal];
    g->id = id;
    if ((rc = number(t, t->word[2], &g->weight)) != 0 ||
        (rc = number(t, t->word[3], &g->mean)) != 0 || (rc = number(t, t->word[4], &g->scale)) != 0)
        return rc;
    if (!(g->scale > 1e-30))
        return bad(t, BASE_EFORMAT, "a scale of %g", g->scale);
    k->n_signal++;
    return 0;
}

/* k's weights, in lines of any number of words. */
static int read_weights(struct text *t, struct conf_state *k)
{
    t->line++; /* behind the line that was read */
    for (int i = 0; i < k->n;) {
        while (t->at < t->end && (is_blank(*t->at) || *t->at == '\n')) {
            t->line += *t->at == '\n';
            t->at++;
        }
        struct word w = {t->at, 0};
        while (t->at < t->end && !is_blank(*t->at) && *t->at != '\n')
            t->at++;
        w.len = (size_t)(t->at - w.s);
        if (w.len == 0)
            return bad(t, BASE_EFORMAT, "the file ends after %d of %d weights", i, k->n);
        double v = 0.0;
        const int rc = number(t, w, &v);
        if (rc != 0)
            return rc;
        k->weight[i++] = (float)v;
    }
    t->line--; /* the rest of this line is the next to be read */
    return 0;
}

static int read_state(struct text *t, struct conf_task *k, int n_layer, int d_model)
{
    int rc = need_words(t, 4, "state mean|last LAYER WIDTH");
    if (rc != 0)
        return rc;
    struct conf_state s = {.last = is(t->word[1], "last")};
    if (!s.last && !is(t->word[1], "mean"))
        return bad(t, BASE_EFORMAT, "a state is 'mean' or 'last'");
    if ((rc = whole(t, t->word[2], "the layer", 1, n_layer > 0 ? n_layer : 1 << 16, &s.layer)) !=
            0 ||
        (rc = whole(t, t->word[3], "the width", d_model > 0 ? d_model : 1,
                    d_model > 0 ? d_model : CONF_MAX_WIDTH, &s.n)) != 0)
        return rc;
    if (k->n_state == CONF_MAX_STATE)
        return bad(t, BASE_ELIMIT, "more than %d states", CONF_MAX_STATE);
    /* A weight takes two bytes of the file at least: no more memory than that is asked for. */
    if ((size_t)s.n > (size_t)(t->end - t->at))
        return bad(t, BASE_EFORMAT, "the file is too short for %d weights", s.n);
    s.weight = calloc((size_t)s.n, sizeof *s.weight);
    if (s.weight == NULL)
        return bad(t, BASE_ENOMEM, "no memory for %d weights", s.n);
    k->state[k->n_state++] = s;
    return read_weights(t, &k->state[k->n_state - 1]);
}

static int read_knot(struct text *t, struct conf_task *k)
{
    struct conf_knot n;
    int rc = need_words(t, 3, "knot SCORE PROBABILITY");
    if (rc != 0 || (rc = number(t, t->word[1], &n.score)) != 0 ||
        (rc = number(t, t->word[2], &n.p)) != 0)
        return rc;
    if (!(n.p >= 0.0 && n.p <= 1.0))
        return bad(t, BASE_EFORMAT, "a probability of %g", n.p);
    if (k->n_knot > 0 &&
        (n.score <= k->knot[k->n_knot - 1].score || n.p < k->knot[k->n_knot - 1].p))
        return bad(t, BASE_EFORMAT, "knots must rise: scores strictly, probabilities never fall");
    if (k->n_knot == CONF_MAX_KNOT)
        return bad(t, BASE_ELIMIT, "more than %d knots", CONF_MAX_KNOT);
    if (k->knot == NULL && (k->knot = calloc(CONF_MAX_KNOT, sizeof *k->knot)) == NULL)
        return bad(t, BASE_ENOMEM, "no memory for knots");
    k->knot[k->n_knot++] = n;
    return 0;
}

static int read_task(struct text *t, struct conf_task *k, int n_layer, int d_model)
{
    char show[SHOWN + 1];
    bool have_bias = false;
    k->have = true;
    while (next_line(t)) {
        const struct word w = t->word[0];
        int rc = 0;
        if (is(w, "end") && t->n == 1 && k->n_signal + k->n_state == 0)
            return bad(t, BASE_EFORMAT, "a task of no signal and no state");
        if (is(w, "end") && t->n == 1)
            return 0;
        if (is(w, "signal"))
            rc = read_signal(t, k);
        else if (is(w, "state"))
            rc = read_state(t, k, n_layer, d_model);
        else if (is(w, "knot"))
            rc = read_knot(t, k);
        else if (!is(w, "bias"))
            rc = bad(t, BASE_EFORMAT, "'%s' is none of signal, state, bias, knot, end",
                     shown(w, show));
        else if (have_bias)
            rc = bad(t, BASE_EFORMAT, "bias a second time");
        else if ((rc = need_words(t, 2, "bias NUMBER")) == 0)
            rc = number(t, t->word[1], &k->bias);
        have_bias = have_bias || is(w, "bias");
        if (rc != 0)
            return rc;
    }
    return bad(t, BASE_EFORMAT, "the file ends within a task");
}

static int read_tasks(struct text *t, struct eng_conf *c, int n_layer, int d_model)
{
    char show[SHOWN + 1];
    int n = 0;
    while (next_line(t)) {
        int task = 0;
        if (t->n != 2 || !is(t->word[0], "task"))
            return bad(t, BASE_EFORMAT, "a line 'task NAME' is needed here");
        while (task < ENG_CONF_N_TASK &&
               !is(t->word[1], eng_conf_task_name((enum eng_conf_task)task)))
            task++;
        if (task == ENG_CONF_N_TASK)
            return bad(t, BASE_EUNSUPPORTED, "no task '%s'", shown(t->word[1], show));
        if (c->task[task].have)
            return bad(t, BASE_EFORMAT, "task %s a second time",
                       eng_conf_task_name((enum eng_conf_task)task));
        const int rc = read_task(t, &c->task[task], n_layer, d_model);
        if (rc != 0)
            return rc;
        n++;
    }
    return n > 0 ? 0 : bad(t, BASE_EFORMAT, "it has no task");
}

int eng_conf_parse(struct eng_conf **out, const char *text, size_t len, const char *place,
                   int n_layer, int d_model, struct base_err *err)
{
    struct text t = {.at = text, .end = text + len, .place = place, .err = err};
    *out = NULL;
    if (len > CONF_MAX_BYTES)
        return base_err_set(err, BASE_ELIMIT, place, "more than %d bytes", CONF_MAX_BYTES);
    struct eng_conf *c = calloc(1, sizeof *c);
    if (c == NULL)
        return base_err_set(err, BASE_ENOMEM, place, "no memory");
    int rc = read_head(&t, c);
    if (rc == 0)
        rc = read_tasks(&t, c, n_layer, d_model);
    if (rc != 0) {
        eng_conf_close(c);
        return rc;
    }
    *out = c;
    return 0;
}
