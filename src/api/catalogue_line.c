/* Lines: their grammar, and what they mean. */
#include "api/catalogue_int.h"

#include <stdlib.h>
#include <string.h>

#include "api/json.h"
#include "api/schema.h"

struct api_cat_offer api_catalogue_all(const struct api_catalogue *c, const char *me)
{
    return (struct api_cat_offer){
        .func = c->n == 64 ? ~0ull : (1ull << c->n) - 1, .none = true, .me = me};
}

/* ---- grammar ---- */

static bool may_value(const struct api_cat_offer *o, int i)
{
    return o->may == NULL || o->may[i];
}

/* Whether `me` may be said for a: its place is a value that may. */
static bool may_me(const struct api_catalogue *c, const struct api_cat_offer *o,
                   const struct cat_arg *a)
{
    const int i = a->place && o->me != NULL ? cat_value_find(c, a, o->me, strlen(o->me)) : -1;
    return i >= 0 && may_value(o, i);
}

/* "a" | "b" | …: the values of a; also the words of the sentence. Nothing is put where there is
 * neither. */
static void put_values(const struct api_catalogue *c, const struct api_cat_offer *o,
                       const struct cat_arg *a, bool words, struct base_buf *out)
{
    const char *sep = "";
    for (int i = a->first; i < a->first + a->n; i++) {
        if (!may_value(o, i))
            continue;
        base_buf_str(out, sep);
        api_grammar_quote(out, c->value[i].word, strlen(c->value[i].word));
        sep = " | ";
    }
    if (may_me(c, o, a))
        base_buf_printf(out, "%s\"" API_CAT_ME "\"", sep);
    if (a->free && words)
        base_buf_printf(out, "%st", sep);
}

/* Whether a function can be called: of free text alone there must be some. */
static bool can_call(const struct api_catalogue *c, const struct api_cat_offer *o, int i,
                     bool words)
{
    const struct cat_func *f = &c->func[i];
    const struct cat_arg *last = f->n_arg > 0 ? &f->arg[f->n_arg - 1] : NULL;
    return (o->func >> i & 1) != 0 && (last == NULL || !last->free || words || last->n > 0);
}

int api_catalogue_grammar(const struct api_catalogue *c, const struct api_cat_offer *o,
                          const char *said, size_t len, struct base_buf *out)
{
    bool written[CAT_MAX_RULE] = {false};
    struct base_buf rules;
    const char *sep = "";
    if (len > API_CAT_MAX_SAID)
        return BASE_ELIMIT;
    base_buf_init(&rules, out->max_bytes);
    const bool words = cat_said_rules(said, len, &rules) > 0;
    base_buf_str(out, "answer = ");
    if (o->none) {
        base_buf_str(out, "\"" API_CAT_NONE "\"");
        sep = " | ";
    }
    for (int i = 0; i < c->n; i++) {
        const struct cat_func *f = &c->func[i];
        if (!can_call(c, o, i, words))
            continue;
        base_buf_str(out, sep);
        api_grammar_quote(out, f->name, strlen(f->name));
        sep = " | ";
        for (int k = 0; k < f->n_arg; k++) {
            const int rule = o->may == NULL ? f->arg[k].rule : i * API_CAT_MAX_ARG + k;
            base_buf_printf(out, " \" \" a%d", rule);
            if (written[rule])
                continue;
            written[rule] = true;
            base_buf_printf(&rules, "a%d = ", rule);
            put_values(c, o, &f->arg[k], words, &rules);
            base_buf_str(&rules, " ;\n");
        }
    }
    base_buf_str(out, " ;\n");
    base_buf_add(out, rules.data, rules.len);
    const int rc = rules.err != 0 ? rules.err : out->err != 0 ? out->err : 0;
    base_buf_fini(&rules);
    return rc != 0 ? rc : sep[0] == '\0' ? BASE_EINVAL : 0;
}

/* ---- meaning ---- */

static int value_read(const struct api_catalogue *c, const struct cat_arg *a, const char *word,
                      size_t len, const char *me)
{
    if (a->place && me != NULL && len == strlen(API_CAT_ME) && memcmp(word, API_CAT_ME, len) == 0)
        return cat_value_find(c, a, me, strlen(me));
    return cat_value_find(c, a, word, len);
}

static bool args_parse(const struct api_catalogue *c, const struct cat_func *f, const char *line,
                       size_t len, const char *me, struct api_cat_call *out)
{
    for (int i = 0; i < f->n_arg; i++) {
        if (len == 0 || *line != ' ')
            return false;
        line++;
        len--;
        if (f->arg[i].free) {
            out->value[i] = -1;
            out->text = line;
            out->text_len = len;
            return len > 0;
        }
        const char *blank = memchr(line, ' ', len);
        const size_t n = blank != NULL ? (size_t)(blank - line) : len;
        out->value[i] = value_read(c, &f->arg[i], line, n, me);
        if (out->value[i] < 0)
            return false;
        line += n;
        len -= n;
    }
    return len == 0;
}

int api_catalogue_read(const struct api_catalogue *c, const char *line, size_t len, const char *me,
                       struct api_cat_call *out)
{
    const char *blank = len > 0 ? memchr(line, ' ', len) : NULL;
    const size_t n = blank != NULL ? (size_t)(blank - line) : len;
    *out = (struct api_cat_call){.func = -1};
    if (n == len && n == strlen(API_CAT_NONE) && memcmp(line, API_CAT_NONE, n) == 0)
        return 0;
    for (int i = 0; i < c->n; i++) {
        if (strlen(c->func[i].name) != n || memcmp(c->func[i].name, line, n) != 0)
            continue;
        out->func = i;
        return args_parse(c, &c->func[i], line + n, len - n, me, out) ? 0 : BASE_EFORMAT;
    }
    return BASE_EFORMAT;
}

int api_catalogue_args(const struct api_catalogue *c, const struct api_cat_call *call,
                       struct base_buf *out)
{
    const struct cat_func *f = &c->func[call->func];
    base_buf_str(out, "{");
    for (int i = 0; i < f->n_arg; i++) {
        base_buf_printf(out, "%s\"%s\":", i > 0 ? "," : "", f->arg[i].name);
        if (call->value[i] >= 0) {
            base_buf_str(out, c->value[call->value[i]].json);
            continue;
        }
        json_t *v = api_json_text(call->text, call->text_len);
        char *s = v != NULL ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
        json_decref(v);
        if (s == NULL)
            return BASE_ENOMEM;
        base_buf_str(out, s);
        free(s);
    }
    return base_buf_str(out, "}");
}

const char *api_catalogue_vss(const struct api_catalogue *c, const struct api_cat_call *call)
{
    const struct cat_func *f = call->func >= 0 ? &c->func[call->func] : NULL;
    if (f == NULL)
        return NULL;
    return f->vss_arg >= 0 ? c->vss[call->value[f->vss_arg]] : f->vss;
}
