/* What is said: messages, or a prompt. */
#include "api/request_int.h"

#include <stdio.h>
#include <string.h>

/* Content parts [{type: "text", text: "…"}, …] joined. */
static int content_parts(struct api_parse *p, const json_t *v, const char *param, struct api_msg *m)
{
    size_t total = 0, i;
    json_t *part;
    json_array_foreach(v, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *text = json_object_get(part, "text");
        if (type == NULL || (strcmp(type, "text") != 0 && strcmp(type, "input_text") != 0))
            return api_refuse(p, BASE_EUNSUPPORTED, param,
                              "'%s' has a part that is not text; only text is supported.", param);
        if (!json_is_string(text))
            return api_refuse(p, BASE_EFORMAT, param, "'%s' has a text part without text.", param);
        total += json_string_length(text);
    }
    char *at = base_arena_get(p->a, total + 1);
    if (at == NULL)
        return api_no_memory(p);
    m->content = at;
    m->len = total;
    json_array_foreach(v, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        memcpy(at, json_string_value(text), json_string_length(text));
        at += json_string_length(text);
    }
    return 0;
}

static int one_message(struct api_parse *p, const json_t *v, int i)
{
    static const struct {
        const char *from, *to;
    } role[] = {{"system", "system"},
                {"developer", "system"},
                {"user", "user"},
                {"assistant", "assistant"},
                {"tool", "tool"}};
    struct api_msg *m = &p->r->msg[i];
    char param[48];
    snprintf(param, sizeof param, "messages[%d]", i);
    if (!json_is_object(v))
        return api_refuse(p, BASE_EFORMAT, param, "'%s' must be an object.", param);
    const char *given = json_string_value(json_object_get(v, "role"));
    for (size_t k = 0; given != NULL && k < sizeof role / sizeof role[0]; k++) {
        if (strcmp(given, role[k].from) == 0)
            m->role = role[k].to;
    }
    snprintf(param, sizeof param, "messages[%d].role", i);
    if (m->role == NULL)
        return api_refuse(p, BASE_EFORMAT, param,
                          "'%s' must be system, developer, user, assistant or tool.", param);
    int rc = 0;
    if (strcmp(m->role, "assistant") == 0)
        rc = api_get_calls(p, json_object_get(v, "tool_calls"), i, m);
    const json_t *id = json_object_get(v, "tool_call_id");
    snprintf(param, sizeof param, "messages[%d].tool_call_id", i);
    if (rc == 0 && strcmp(m->role, "tool") == 0 && id != NULL)
        rc = api_copy_text(p, id, param, &m->call_id, NULL);
    if (rc == 0 && m->call_id != NULL && strlen(m->call_id) > API_MAX_CALL_ID)
        rc = api_refuse(p, BASE_ELIMIT, param, "'%s' is longer than %d bytes.", param,
                        API_MAX_CALL_ID);
    if (rc != 0)
        return rc;
    snprintf(param, sizeof param, "messages[%d].content", i);
    const json_t *c = json_object_get(v, "content");
    if (json_is_array(c))
        return content_parts(p, c, param, m);
    /* An assistant's turn that was a tool call has no content. */
    if ((c == NULL || json_is_null(c)) && strcmp(m->role, "assistant") == 0) {
        m->content = "";
        return 0;
    }
    return api_copy_text(p, c, param, &m->content, &m->len);
}

int api_get_messages(struct api_parse *p, const json_t *v)
{
    size_t n = json_array_size(v);
    if (!json_is_array(v) || n == 0)
        return api_refuse(p, BASE_EFORMAT, "messages",
                          "'messages' must be a list of at least one message.");
    if (n > API_MAX_MSG)
        return api_refuse(p, BASE_ELIMIT, "messages",
                          "'messages' has %zu entries; at most %d are taken.", n, API_MAX_MSG);
    p->r->msg = base_arena_get(p->a, n * sizeof *p->r->msg);
    if (p->r->msg == NULL)
        return api_no_memory(p);
    p->r->n_msg = (int)n;
    for (int i = 0; i < (int)n; i++) {
        int rc = one_message(p, json_array_get(v, (size_t)i), i);
        if (rc != 0)
            return rc;
        p->r->content_bytes += p->r->msg[i].len;
    }
    return 0;
}

int api_get_prompt(struct api_parse *p, const json_t *v)
{
    /* The batch form with one entry is the same thing. */
    if (json_is_array(v) && json_array_size(v) == 1 && json_is_string(json_array_get(v, 0)))
        v = json_array_get(v, 0);
    if (json_is_array(v))
        return api_refuse(p, BASE_EUNSUPPORTED, "prompt", "'prompt' must be one string.");
    p->r->msg = base_arena_get(p->a, sizeof *p->r->msg);
    if (p->r->msg == NULL)
        return api_no_memory(p);
    p->r->n_msg = 1;
    p->r->msg[0].role = "";
    int rc = api_copy_text(p, v, "prompt", &p->r->msg[0].content, &p->r->msg[0].len);
    p->r->content_bytes = p->r->msg[0].len;
    return rc;
}
