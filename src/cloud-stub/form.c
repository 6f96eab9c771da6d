#include "cloud-stub/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/chat.h"

enum { GRAMMAR_BYTES = 4 << 20, MESSAGE_BYTES = 64 << 20 };

static int fail(struct api_error *e, const struct base_err *why)
{
    const bool ours = why->code == BASE_ENOMEM;
    *e = (struct api_error){.status = ours ? 503 : 400,
                            .type = ours ? "server_error" : "invalid_request_error",
                            .code = ours ? "overloaded" : "unsupported_schema"};
    snprintf(e->message, sizeof e->message, "The answer can't be held to this form: %.300s.",
             why->msg);
    return why->code;
}

int chat_form_make(struct stub_req *r, struct api_error *e)
{
    struct chat *c = r->state;
    const struct eng_chat_format *format;
    struct eng_chat_calls calls;
    struct base_buf text;
    struct base_err err = {0};
    char trigger[64];
    if (!c->is_chat || eng_model_chat(r->stub->model, &format, &err) != 0)
        return 0; /* which encoding will say */
    eng_chat_calls(format, &calls);
    c->syntax =
        (struct api_syntax){calls.open, calls.close, calls.args, calls.spaced, calls.indent};
    base_buf_init(&text, GRAMMAR_BYTES);
    int rc = api_grammar_write(&c->req, &c->syntax, &text, trigger, e);
    if (rc == 0 && text.len > 0) {
        if (r->stub->vocab == NULL)
            rc = eng_vocab_new(&r->stub->vocab, eng_model_tok(r->stub->model), &err);
        if (rc == 0)
            rc = eng_grammar_new(&c->form, r->stub->vocab, (const char *)text.data, text.len,
                                 trigger, &err);
        if (rc != 0)
            fail(e, &err);
    }
    c->form_free = trigger[0] != '\0';
    base_buf_fini(&text);
    return rc;
}

/* What write made, in the request's arena; NULL: out of memory. */
static const char *keep(struct chat *c, struct base_buf *b, int rc, size_t *len)
{
    const char *s = rc == 0 ? base_arena_strndup(&c->arena, (const char *)b->data, b->len) : NULL;
    *len = b->len;
    base_buf_fini(b);
    return s;
}

int chat_form_encode(struct stub_req *r, int max, int32_t **ids, int *n, struct base_err *err)
{
    struct chat *c = r->state;
    const struct api_request *q = &c->req;
    struct eng_chat_ask ask = {.held = c->form != NULL && !c->form_free};
    const struct eng_chat_format *format;
    int rc = eng_model_chat(r->stub->model, &format, err);
    if (rc != 0)
        return rc;
    struct eng_chat_msg *msg = base_arena_get(&c->arena, sizeof *msg * (size_t)q->n_msg);
    const char **tool = base_arena_get(&c->arena, sizeof *tool * ((size_t)q->n_tool + 1));
    bool ok = msg != NULL && tool != NULL;
    struct base_buf b;
    for (int i = 0; ok && i < q->n_msg; i++) {
        msg[i] = (struct eng_chat_msg){q->msg[i].role, q->msg[i].content, q->msg[i].len};
        if (q->msg[i].n_call == 0)
            continue;
        base_buf_init(&b, MESSAGE_BYTES);
        rc = api_msg_write(&q->msg[i], &c->syntax, &b);
        ok = (msg[i].content = keep(c, &b, rc, &msg[i].len)) != NULL;
    }
    ask.n_tool = api_tools_active(q) ? q->n_tool : 0;
    for (int i = 0; ok && i < ask.n_tool; i++) {
        size_t len;
        base_buf_init(&b, MESSAGE_BYTES);
        rc = api_tool_write(q, i, &c->syntax, &b);
        ok = (tool[i] = keep(c, &b, rc, &len)) != NULL;
    }
    if (!ok)
        return base_err_set(err, BASE_ENOMEM, "prompt", "out of memory");
    ask.tool = tool;
    return eng_chat_encode_ask(format, eng_model_tok(r->stub->model), msg, q->n_msg, &ask, max, ids,
                               n, err);
}

/* ---- the answer ---- */

static void call_id(const struct chat *c, int i, char *out, size_t size)
{
    snprintf(out, size, "call_%.48s_%d", strchr(c->id, '-') + 1, i);
}

/* A chunk in c->out is sent. */
static bool flush(struct stub_req *r, int rc)
{
    struct chat *c = r->state;
    c->role_sent = true;
    c->n_lp = 0;
    c->gone = rc == 0 && !stub_write(r, c->out.data, c->out.len);
    return rc == 0 && !c->gone;
}

static bool call_show(struct stub_req *r, int i, bool begins, const char *args, size_t len)
{
    struct chat *c = r->state;
    struct api_head h = chat_head(r);
    char id[API_MAX_CALL_ID + 1];
    if (base_buf_add(&c->call[i].args, args, len) != 0)
        return false;
    if (!c->streaming)
        return true;
    call_id(c, i, id, sizeof id);
    const struct api_call piece = {begins ? id : NULL, begins ? c->call[i].name : NULL, args, len};
    base_buf_reset(&c->out);
    return flush(r, api_call_chunk_write(&h, !c->role_sent, i, &piece, c->n_lp > 0 ? c->lp : NULL,
                                         c->n_lp, &c->out));
}

static bool take(void *arg, const struct api_piece *p)
{
    struct stub_req *r = arg;
    struct chat *c = r->state;
    if (p->kind == API_PIECE_ARGS)
        return call_show(r, p->call, false, p->text, p->len);
    if (p->kind == API_PIECE_TEXT) {
        struct api_head h = chat_head(r);
        if (base_buf_add(&c->content, p->text, p->len) != 0)
            return false;
        base_buf_reset(&c->out);
        return !c->streaming ||
               flush(r, api_chunk_write(&h, !c->role_sent, p->text, p->len,
                                        c->n_lp > 0 ? c->lp : NULL, c->n_lp, NULL, NULL, &c->out));
    }
    if (c->call == NULL)
        c->call = calloc(API_MAX_CALL, sizeof *c->call);
    if (c->call == NULL)
        return false;
    struct chat_call *call = &c->call[c->n_call++];
    snprintf(call->name, sizeof call->name, "%.*s", (int)p->len, p->text);
    base_buf_init(&call->args, STUB_MAX_REPLY_BYTES);
    return call_show(r, p->call, true, "", 0);
}

int chat_form_read(struct stub_req *r, size_t from, bool last)
{
    struct chat *c = r->state;
    if (c->scan == NULL && (c->scan = api_scan_new(&c->syntax)) == NULL)
        return BASE_ENOMEM;
    int rc = api_scan_feed(c->scan, c->text.len > from ? (const char *)c->text.data + from : "",
                           c->text.len - from, last, take, r);
    /* take says no for both; only one of them is nobody being there. */
    return rc == BASE_ECANCELED && !c->gone ? BASE_ENOMEM : rc;
}

int chat_form_calls(struct stub_req *r, struct api_call *call, char (*id)[API_MAX_CALL_ID + 1])
{
    const struct chat *c = r->state;
    for (int i = 0; i < c->n_call; i++) {
        const struct base_buf *args = &c->call[i].args;
        call_id(c, i, id[i], sizeof id[i]);
        call[i] = (struct api_call){id[i], c->call[i].name,
                                    args->len > 0 ? (const char *)args->data : "", args->len};
    }
    return c->n_call;
}

void chat_form_fini(struct chat *c)
{
    eng_grammar_unref(c->form);
    api_scan_free(c->scan);
    base_buf_fini(&c->content);
    for (int i = 0; i < c->n_call; i++)
        base_buf_fini(&c->call[i].args);
    free(c->call);
}
