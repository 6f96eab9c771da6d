/* Functions, who chooses among them, calls in the history, and the answer's form. Schemas are only
 * kept here; they are compiled once it is known how the model writes its calls (tools.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/request_int.h"

enum { MAX_WORDS_BYTES = 64 << 20 };

/* ---- words ---- */

/* All that somebody wrote into v: names, strings and numbers, a line each. What a detector would
 * not see in JSON for its escapes. */
static void put_words(const json_t *v, struct base_buf *b)
{
    const char *key;
    json_t *one;
    size_t i;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        json_object_foreach((json_t *)v, key, one)
        {
            base_buf_printf(b, "%s\n", key);
            put_words(one, b);
        }
        break;
    case JSON_ARRAY:
        json_array_foreach((json_t *)v, i, one) put_words(one, b);
        break;
    case JSON_STRING:
        base_buf_add(b, json_string_value(v), json_string_length(v));
        base_buf_str(b, "\n");
        break;
    case JSON_INTEGER:
        base_buf_printf(b, "%" JSON_INTEGER_FORMAT "\n", json_integer_value(v));
        break;
    case JSON_REAL:
        base_buf_printf(b, "%.15g\n", json_real_value(v));
        break;
    default:
        break;
    }
}

/* Of arguments, which are JSON in a string. */
static void put_args_words(const struct api_call *c, struct base_buf *b)
{
    json_t *v = json_loadb(c->args, c->len, JSON_DECODE_ANY, NULL);
    base_buf_printf(b, "%s\n%s\n", c->id, c->name);
    if (v != NULL)
        put_words(v, b);
    base_buf_add(b, c->args, c->len);
    base_buf_str(b, "\n");
    json_decref(v);
}

static int get_words(struct api_parse *p, const json_t *root)
{
    static const char *const from[] = {"tools", "response_format"};
    struct api_request *r = p->r;
    struct base_buf b;
    base_buf_init(&b, MAX_WORDS_BYTES);
    for (size_t i = 0; i < sizeof from / sizeof from[0]; i++) {
        const json_t *v = json_object_get(root, from[i]);
        if (v != NULL)
            put_words(v, &b);
    }
    for (int i = 0; i < r->n_msg; i++) {
        for (int k = 0; k < r->msg[i].n_call; k++)
            put_args_words(&r->msg[i].call[k], &b);
        if (r->msg[i].call_id != NULL)
            base_buf_printf(&b, "%s\n", r->msg[i].call_id);
    }
    if (b.err == 0 && b.len > 0) {
        r->words = base_arena_strndup(p->a, (const char *)b.data, b.len);
        r->words_len = b.len;
    }
    const bool lost = b.err != 0 || (b.len > 0 && r->words == NULL);
    base_buf_fini(&b);
    return lost ? api_no_memory(p) : 0;
}

/* ---- helpers ---- */

/* v on one line, into the arena. */
static int keep_json(struct api_parse *p, const json_t *v, const char **out, size_t *len)
{
    char *s = json_dumps(v, JSON_REAL_PRECISION(15));
    if (s == NULL)
        return api_no_memory(p);
    *len = strlen(s);
    *out = base_arena_strndup(p->a, s, *len);
    free(s);
    p->r->content_bytes += *len;
    return *out != NULL ? 0 : api_no_memory(p);
}

/* A function's name, as OpenAI has it: nothing in it needs an escape anywhere. */
static int get_name(struct api_parse *p, const json_t *v, const char *param, const char **out)
{
    const char *s = json_string_value(v);
    const size_t n = s != NULL ? json_string_length(v) : 0;
    if (n == 0 || n > API_MAX_NAME ||
        strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") != n)
        return api_refuse(p, BASE_EFORMAT, param,
                          "'%s' must be a name of at most %d letters, digits, '_', '-' and '.'.",
                          param, API_MAX_NAME);
    return api_copy_text(p, v, param, out, NULL);
}

/* ---- calls ---- */

int api_get_calls(struct api_parse *p, const json_t *v, int i, struct api_msg *m)
{
    char param[80];
    const size_t n = json_array_size(v);
    snprintf(param, sizeof param, "messages[%d].tool_calls", i);
    if (v == NULL || json_is_null(v))
        return 0;
    if (!json_is_array(v))
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be a list.", param);
    if (n > API_MAX_CALL)
        return api_refuse(p, BASE_ELIMIT, param, "'%s' has %zu entries; at most %d are taken.",
                          param, n, API_MAX_CALL);
    m->call = base_arena_get(p->a, (n + 1) * sizeof *m->call);
    if (m->call == NULL)
        return api_no_memory(p);
    for (size_t k = 0; k < n; k++) {
        const json_t *one = json_array_get(v, k), *f = json_object_get(one, "function"),
                     *id = json_object_get(one, "id");
        struct api_call *c = &m->call[k];
        snprintf(param, sizeof param, "messages[%d].tool_calls[%zu].id", i, k);
        if (!json_is_string(id) || json_string_length(id) > API_MAX_CALL_ID)
            return api_refuse(p, BASE_EFORMAT, param, "'%s' must be a string of at most %d bytes.",
                              param, API_MAX_CALL_ID);
        int rc = api_copy_text(p, id, param, &c->id, NULL);
        snprintf(param, sizeof param, "messages[%d].tool_calls[%zu].function.name", i, k);
        if (rc == 0)
            rc = get_name(p, json_object_get(f, "name"), param, &c->name);
        snprintf(param, sizeof param, "messages[%d].tool_calls[%zu].function.arguments", i, k);
        if (rc == 0)
            rc = api_copy_text(p, json_object_get(f, "arguments"), param, &c->args, &c->len);
        if (rc != 0)
            return rc;
        p->r->content_bytes += c->len + strlen(c->name);
        m->n_call++;
    }
    return 0;
}

/* ---- functions ---- */

static int one_tool(struct api_parse *p, const json_t *v, int i)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    const json_t *f = json_object_get(v, "function");
    struct api_request *r = p->r;
    char param[64];
    snprintf(param, sizeof param, "tools[%d]", i);
    if (!json_is_object(v) || type == NULL)
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be an object with a type.", param);
    if (strcmp(type, "function") != 0)
        return api_refuse(p, BASE_EUNSUPPORTED, param, "'%s' is not a function.", param);
    snprintf(param, sizeof param, "tools[%d].function", i);
    if (!json_is_object(f))
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be an object.", param);
    snprintf(param, sizeof param, "tools[%d].function.name", i);
    int rc = get_name(p, json_object_get(f, "name"), param, &r->tool[i].name);
    for (int k = 0; k < i && rc == 0; k++) {
        if (strcmp(r->tool[k].name, r->tool[i].name) == 0)
            rc = api_refuse(p, BASE_EFORMAT, param, "'%s' is the name of another function too.",
                            param);
    }
    return rc != 0 ? rc : keep_json(p, v, &r->tool[i].json, &r->tool[i].len);
}

static int get_choice(struct api_parse *p, const json_t *v)
{
    struct api_request *r = p->r;
    const char *s = json_string_value(v);
    if (v == NULL || json_is_null(v))
        return 0;
    if (s != NULL && strcmp(s, "auto") == 0)
        r->choice = API_CHOICE_AUTO;
    else if (s != NULL && strcmp(s, "none") == 0)
        r->choice = API_CHOICE_NONE;
    else if (s != NULL && strcmp(s, "required") == 0)
        r->choice = API_CHOICE_REQUIRED;
    else if (json_is_object(v)) {
        const char *type = json_string_value(json_object_get(v, "type"));
        const char *name =
            json_string_value(json_object_get(json_object_get(v, "function"), "name"));
        if (type == NULL || strcmp(type, "function") != 0)
            return api_refuse(p, BASE_EUNSUPPORTED, "tool_choice",
                              "'tool_choice' can name a function, nothing else.");
        for (int i = 0; name != NULL && i < r->n_tool; i++)
            r->tool_named = strcmp(r->tool[i].name, name) == 0 ? i : r->tool_named;
        if (r->tool_named < 0)
            return api_refuse(p, BASE_EFORMAT, "tool_choice",
                              "'tool_choice' names none of 'tools'.");
        r->choice = API_CHOICE_REQUIRED;
    } else {
        return api_refuse(p, BASE_EFORMAT, "tool_choice",
                          "'tool_choice' must be none, auto, required or a function.");
    }
    return r->choice == API_CHOICE_REQUIRED && r->n_tool == 0
               ? api_refuse(p, BASE_EFORMAT, "tool_choice",
                            "'tool_choice' asks for a call, but there are no 'tools'.")
               : 0;
}

static int get_format(struct api_parse *p, const json_t *v)
{
    static const char param[] = "response_format";
    const char *type = json_string_value(json_object_get(v, "type"));
    size_t len;
    if (v == NULL || json_is_null(v))
        return 0;
    if (!json_is_object(v) || type == NULL)
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be an object with a type.", param);
    if (strcmp(type, "text") == 0)
        return 0;
    if (strcmp(type, "json_object") == 0) {
        p->r->format = API_FORMAT_OBJECT;
    } else if (strcmp(type, "json_schema") == 0) {
        const json_t *s = json_object_get(v, "json_schema");
        if (!json_is_object(s))
            return api_refuse(p, BASE_EFORMAT, "response_format.json_schema",
                              "'response_format.json_schema' must be an object.");
        p->r->format = API_FORMAT_SCHEMA;
    } else {
        return api_refuse(p, BASE_EUNSUPPORTED, param,
                          "'%s' must be of type text, json_object or json_schema.", param);
    }
    return keep_json(p, v, &p->r->format_json, &len);
}

int api_get_tools(struct api_parse *p, const json_t *root)
{
    const json_t *v = json_object_get(root, "tools");
    const size_t n = json_array_size(v);
    int rc = 0;
    if (v != NULL && !json_is_null(v) && !json_is_array(v))
        return api_refuse(p, BASE_EFORMAT, "tools", "'tools' must be a list.");
    if (n > API_MAX_TOOL)
        return api_refuse(p, BASE_ELIMIT, "tools", "'tools' has %zu entries; at most %d are taken.",
                          n, API_MAX_TOOL);
    p->r->tool = base_arena_get(p->a, (n + 1) * sizeof *p->r->tool);
    if (p->r->tool == NULL)
        return api_no_memory(p);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = one_tool(p, json_array_get(v, i), (int)i);
        p->r->n_tool += rc == 0;
    }
    if (rc == 0)
        rc = get_choice(p, json_object_get(root, "tool_choice"));
    if (rc == 0)
        rc = get_format(p, json_object_get(root, "response_format"));
    return rc != 0 ? rc : get_words(p, root);
}
