#include "edge/form.h"

#include <stdio.h>
#include <string.h>

#include "edge/request.h"
#include "engine/chat.h"

enum { GRAMMAR_BYTES = 4 << 20, MESSAGE_BYTES = 64 << 20 };

static int fail(struct api_error *e, const struct base_err *why)
{
    const bool ours = why->code == BASE_ENOMEM;
    *e = (struct api_error){.status = ours ? 503 : 400,
                            .type = ours ? "server_error" : "invalid_request_error",
                            .code = why->code == BASE_ELIMIT ? "limit_exceeded"
                                    : ours                   ? "out_of_memory"
                                                             : "unsupported_schema"};
    snprintf(e->message, sizeof e->message, "The answer can't be held to this form: %.300s.",
             why->msg);
    return why->code;
}

int edge_form_vocab(struct edge *e, struct base_err *err)
{
    return e->vocab != NULL ? 0 : eng_vocab_new(&e->vocab, eng_model_tok(e->model), err);
}

int edge_form_make(struct edge_req *r, struct api_error *e)
{
    struct eng_chat_calls calls;
    struct base_buf text;
    struct base_err err = {0};
    char trigger[64];
    if (!r->api.is_chat || r->command != NULL)
        return 0;
    eng_chat_calls(r->e->chat, &calls);
    r->syntax =
        (struct api_syntax){calls.open, calls.close, calls.args, calls.spaced, calls.indent};
    base_buf_init(&text, GRAMMAR_BYTES);
    int rc = api_grammar_write(&r->api, &r->syntax, &text, trigger, e);
    if (rc == 0 && text.len > 0) {
        rc = edge_form_vocab(r->e, &err);
        if (rc == 0)
            rc = eng_grammar_new(&r->form, r->e->vocab, (const char *)text.data, text.len, trigger,
                                 &err);
        if (rc != 0)
            fail(e, &err);
    }
    r->form_free = trigger[0] != '\0';
    base_buf_fini(&text);
    return rc;
}

/* A copy in the request's arena; NULL: out of memory. */
static const char *keep(struct edge_req *r, struct base_buf *b, int rc)
{
    return rc == 0 ? base_arena_strndup(&r->arena, (const char *)b->data, b->len) : NULL;
}

static const char *tool_text(struct edge_req *r, int i)
{
    struct base_buf b;
    base_buf_init(&b, MESSAGE_BYTES);
    const char *s = keep(r, &b, api_tool_write(&r->api, i, &r->syntax, &b));
    base_buf_fini(&b);
    return s;
}

static bool msg_text(struct edge_req *r, const struct api_msg *m, struct eng_chat_msg *out)
{
    struct base_buf b;
    *out = (struct eng_chat_msg){m->role, m->content, m->len};
    if (m->n_call == 0)
        return true;
    base_buf_init(&b, MESSAGE_BYTES);
    out->content = keep(r, &b, api_msg_write(m, &r->syntax, &b));
    out->len = b.len;
    base_buf_fini(&b);
    return out->content != NULL;
}

int edge_form_encode(struct edge_req *r, int max_tok, struct base_err *err)
{
    const struct api_request *q = &r->api;
    struct eng_chat_ask ask = {.held = r->form != NULL && !r->form_free};
    struct eng_chat_msg *m = base_arena_get(&r->arena, sizeof *m * (size_t)q->n_msg);
    const char **tool = base_arena_get(&r->arena, sizeof *tool * ((size_t)q->n_tool + 1));
    bool ok = m != NULL && tool != NULL;
    for (int i = 0; ok && i < q->n_msg; i++)
        ok = msg_text(r, &q->msg[i], &m[i]);
    if (edge_req_told_tools(r))
        ask.n_tool = q->n_tool;
    for (int i = 0; ok && i < ask.n_tool; i++)
        ok = (tool[i] = tool_text(r, i)) != NULL;
    if (!ok)
        return base_err_set(err, BASE_ENOMEM, "messages", "out of memory");
    ask.tool = tool;
    return eng_chat_encode_ask(r->e->chat, eng_model_tok(r->e->model), m, q->n_msg, &ask, max_tok,
                               &r->prompt, &r->n_prompt, err);
}
