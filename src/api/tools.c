#include "api/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/chat.h"
#include "api/json.h"
#include "api/schema.h"

enum { MAX_PARALLEL = 8 };

bool api_tools_active(const struct api_request *r)
{
    return r->n_tool > 0 && r->choice != API_CHOICE_NONE;
}

/* ---- grammar ---- */

static int refuse(struct api_error *e, const struct base_err *why)
{
    *e = (struct api_error){.status = why->code == BASE_ENOMEM ? 503 : 400,
                            .type =
                                why->code == BASE_ENOMEM ? "server_error" : "invalid_request_error",
                            .code = why->code == BASE_EUNSUPPORTED ? "unsupported_schema"
                                    : why->code == BASE_ELIMIT     ? "limit_exceeded"
                                                                   : NULL};
    snprintf(e->param, sizeof e->param, "%s", why->place);
    snprintf(e->message, sizeof e->message, "%.120s: %.250s.", why->place, why->msg);
    return why->code;
}

/* What a function takes: an object of its own, or none. */
static int put_args(struct api_schema *c, const json_t *tool, int i, char *place, size_t size,
                    struct base_buf *e, struct base_err *err)
{
    const json_t *params = json_object_get(json_object_get(tool, "function"), "parameters");
    snprintf(place, size, "tools[%d].function.parameters", i);
    if (params == NULL || json_is_null(params) ||
        (json_is_object(params) && json_object_size(params) == 0)) {
        base_buf_str(e, "\"{}\"");
        return 0;
    }
    return api_schema_add(c, params, true, place, e, err);
}

struct calls {
    struct api_schema *c;
    const struct api_request *r;
    const struct api_syntax *s;
    json_t *tool[API_MAX_TOOL];       /* parsed */
    char place[API_MAX_TOOL + 1][48]; /* borrowed by c */
    struct base_err *err;
};

/* One call, from its `skip`th byte on. */
static int put_call(struct calls *x, size_t skip, struct base_buf *e)
{
    const char *gap = x->s->spaced ? " " : "";
    char head[128], text[API_MAX_NAME + 96];
    bool any = false;
    int rc = 0;
    snprintf(head, sizeof head, "%s{\"name\":%s\"", x->s->open, gap);
    api_grammar_quote(e, head + skip, strlen(head) - skip);
    base_buf_str(e, " (");
    for (int i = 0; i < x->r->n_tool && rc == 0; i++) {
        if (x->r->tool_named >= 0 && i != x->r->tool_named)
            continue;
        base_buf_str(e, any ? " | " : "");
        any = true;
        snprintf(text, sizeof text, "%s\",%s\"%s\":%s", x->r->tool[i].name, gap, x->s->args, gap);
        api_grammar_quote(e, text, strlen(text));
        base_buf_printf(e, " args%d", i);
    }
    base_buf_str(e, ") ");
    snprintf(text, sizeof text, "}%s", x->s->close);
    api_grammar_quote(e, text, strlen(text));
    return rc;
}

/* Calls, one or more, from the `skip`th byte of the first on. */
static int put_calls(struct calls *x, size_t skip, struct base_buf *e)
{
    int rc = put_call(x, skip, e);
    if (rc != 0 || !x->r->parallel || x->s->close[0] == '\0')
        return rc;
    base_buf_str(e, " (\"\\n\" ");
    rc = put_call(x, 0, e);
    base_buf_printf(e, "){0,%d}", MAX_PARALLEL - 1);
    return rc;
}

/* The rules args<i>. */
static int put_rules(struct calls *x, struct base_buf *rules)
{
    int rc = 0;
    for (int i = 0; i < x->r->n_tool && rc == 0; i++) {
        x->tool[i] = json_loadb(x->r->tool[i].json, x->r->tool[i].len, 0, NULL);
        if (x->tool[i] == NULL)
            return base_err_set(x->err, BASE_ENOMEM, "tools", "out of memory");
        base_buf_printf(rules, "args%d = ", i);
        rc = put_args(x->c, x->tool[i], i, x->place[i], sizeof x->place[i], rules, x->err);
        base_buf_str(rules, " ;\n");
    }
    return rc;
}

static int put_format(const struct api_request *r, struct api_schema *c, const json_t *format,
                      struct base_buf *e, struct base_err *err)
{
    const json_t *schema = json_object_get(json_object_get(format, "json_schema"), "schema");
    if (r->format == API_FORMAT_OBJECT || schema == NULL) {
        api_schema_any_object(c, e);
        return 0;
    }
    return api_schema_add(c, schema, false, "response_format.json_schema.schema", e, err);
}

/* "answer = …" and all rules -> out. */
static int put_answer(struct calls *x, const json_t *format, struct base_buf *e,
                      struct base_buf *rules, char trigger[64], struct base_buf *out)
{
    const struct api_request *r = x->r;
    const bool calls = api_tools_active(r), form = r->format != API_FORMAT_TEXT;
    int rc = 0;
    trigger[0] = '\0';
    if (calls)
        rc = put_rules(x, rules);
    if (rc == 0 && calls && !form && r->choice == API_CHOICE_AUTO) {
        /* Free until a call begins. Where a tag opens it, its line's end may be a token with it. */
        const size_t n = strcspn(x->s->open, "\n");
        snprintf(trigger, 64, "%.*s", (int)n, n > 0 ? x->s->open : "");
        if (n == 0)
            snprintf(trigger, 64, "{\"name\":%s\"", x->s->spaced ? " " : "");
        rc = put_calls(x, strlen(trigger), e);
    } else if (rc == 0 && calls) {
        rc = put_calls(x, 0, e);
    }
    if (rc == 0 && form && !(calls && r->choice == API_CHOICE_REQUIRED)) {
        base_buf_str(e, calls ? " | " : "");
        rc = put_format(r, x->c, format, e, x->err);
    }
    if (rc == 0)
        rc = api_schema_write(x->c, e, out);
    if (rc == 0)
        rc = base_buf_add(out, rules->data, rules->len);
    if (rc == 0)
        rc = rules->err;
    return rc;
}

int api_grammar_write(const struct api_request *r, const struct api_syntax *s, struct base_buf *out,
                      char trigger[64], struct api_error *e)
{
    struct base_err err = {0};
    struct base_buf expr, rules;
    trigger[0] = '\0';
    if (!api_tools_active(r) && r->format == API_FORMAT_TEXT)
        return 0;
    struct calls *x = calloc(1, sizeof *x);
    json_t *format = r->format_json != NULL ? json_loads(r->format_json, 0, NULL) : NULL;
    base_buf_init(&expr, API_SCHEMA_MAX_TEXT);
    base_buf_init(&rules, API_SCHEMA_MAX_TEXT);
    int rc = BASE_ENOMEM;
    if (x != NULL && (r->format_json == NULL || format != NULL)) {
        x->r = r;
        x->s = s;
        x->err = &err;
        x->c = api_schema_new(s->spaced);
        if (x->c != NULL)
            rc = put_answer(x, format, &expr, &rules, trigger, out);
        api_schema_free(x->c);
        for (int i = 0; i < r->n_tool; i++)
            json_decref(x->tool[i]);
    }
    if (rc != 0 && err.code == 0)
        (void)base_err_set(&err, rc, "schema", "%s",
                           rc == BASE_ELIMIT ? "it makes too large a grammar" : base_code_str(rc));
    base_buf_fini(&expr);
    base_buf_fini(&rules);
    json_decref(format);
    free(x);
    return rc != 0 ? refuse(e, &err) : 0;
}

/* ---- prompts ---- */

static int put_json(const char *text, size_t len, size_t flags, struct base_buf *out)
{
    json_t *v = json_loadb(text, len, JSON_DECODE_ANY, NULL);
    char *s = v != NULL ? json_dumps(v, flags | JSON_ENCODE_ANY) : NULL;
    if (v == NULL) /* a model's own, cut off: as it is */
        base_buf_add(out, text, len);
    else
        base_buf_str(out, s != NULL ? s : "");
    json_decref(v);
    const bool lost = v != NULL && s == NULL;
    free(s);
    return lost ? BASE_ENOMEM : out->err;
}

int api_tool_write(const struct api_request *r, int i, const struct api_syntax *s,
                   struct base_buf *out)
{
    return put_json(r->tool[i].json, r->tool[i].len,
                    s->indent > 0 ? JSON_INDENT((size_t)s->indent) : 0, out);
}

int api_msg_write(const struct api_msg *m, const struct api_syntax *s, struct base_buf *out)
{
    const char *gap = s->spaced ? " " : "";
    base_buf_add(out, m->content, m->len);
    for (int i = 0; i < m->n_call; i++) {
        const struct api_call *c = &m->call[i];
        base_buf_printf(out, "%s%s{\"name\":%s\"%s\",%s\"%s\":%s", out->len > 0 ? "\n" : "",
                        s->open, gap, c->name, gap, s->args, gap);
        int rc = put_json(c->args, c->len, s->spaced ? 0 : JSON_COMPACT, out);
        if (rc != 0)
            return rc;
        base_buf_printf(out, "}%s", s->close);
    }
    return out->err;
}
