#include "samples.h"

#include <stdbool.h>
#include <string.h>

#include "base/hash.h"

enum { D = 40, N_ROW = 2, BIG_ROW = 64, BIG_D = 64 };

static uint8_t layers[3][16];
static float rows[N_ROW * D], big[BIG_ROW * BIG_D];

static void fill(uint8_t *p, int n, int first)
{
    for (int i = 0; i < n; i++)
        p[i] = (uint8_t)(first + i);
}

/* Small values with one large channel, exact in f16, so that every dtype has something to do. */
static void fill_rows(float *x, int n, int d)
{
    for (int i = 0; i < n * d; i++)
        x[i] = (float)(i % 13 - 6) * 0.125f;
    for (int r = 0; r < n; r++)
        x[r * d + 3] = -512.0f;
}

static void make_hello(struct wire_frame *f, int version)
{
    f->type = WIRE_HELLO;
    struct wire_hello *h = &f->u.hello;
    h->version = version;
    snprintf(h->software, sizeof h->software, "waypost 0.1.0");
    h->id.n_layer = 3;
    h->id.d_model = D;
    h->id.n_vocab = 320;
    fill(h->id.config, 16, 0x10);
    fill(h->id.tok, 16, 0x30);
    fill(h->id.head, 16, 0x50);
    fill(layers[0], 16, 0x70);
    fill(layers[2], 16, 0x90);
    memset(layers[1], 0, 16);
    h->id.layer = layers;
}

static void make_open(struct wire_frame *f, enum wire_tail tail)
{
    f->type = WIRE_OPEN;
    struct wire_open *o = &f->u.open;
    fill(o->idempotency_key, 16, 0xa0);
    o->layer = 2;
    o->tail = tail;
    o->dtype = WIRE_I8;
    o->reply_dtype = WIRE_F16;
    o->n_ctx = 512;
    o->deadline_ms = 30000;
    o->temperature = tail == WIRE_TAIL_CLOUD ? 0.75f : 0.0f;
    o->top_p = 0.9375f;
    o->min_p = 0.0625f;
    o->repeat_penalty = 1.125f;
    o->top_k = 40;
    o->repeat_last_n = 64;
    o->n_top = 5;
    o->seed = UINT64_C(0xfedcba9876543210);
}

static void make_rows(struct wire_frame *f, enum wire_type type, enum wire_dtype t, bool want)
{
    f->type = type;
    fill_rows(rows, N_ROW, D);
    f->u.rows = (struct wire_rows){
        .pos = 17, .layer = 2, .n_row = N_ROW, .d = D, .dtype = t, .want = want, .x = rows};
}

static void make_big(struct wire_frame *f)
{
    fill_rows(big, BIG_ROW, BIG_D);
    f->type = WIRE_ROWS;
    f->u.rows = (struct wire_rows){
        .layer = 1, .n_row = BIG_ROW, .d = BIG_D, .dtype = WIRE_F32, .want = true, .x = big};
}

static void make_token(struct wire_frame *f, int n_top)
{
    f->type = WIRE_TOKEN;
    struct wire_token *t = &f->u.token;
    t->pos = 19;
    t->token = 260;
    t->logprob = -0.5f;
    t->entropy = 1.25f;
    t->n_top = n_top;
    for (int i = 0; i < n_top; i++) {
        t->top_token[i] = 260 + i;
        t->top_logprob[i] = -0.5f - (float)i;
    }
}

static void make_status(struct wire_frame *f, enum wire_status s, uint32_t retry, const char *text)
{
    f->type = WIRE_STATUS;
    struct wire_status_frame *st = &f->u.status;
    st->status = s;
    st->retry_after_ms = retry;
    st->n_tok_in = 19;
    st->n_tok_out = 64;
    snprintf(st->message, sizeof st->message, "%s", text);
}

const char *sample_wire(int i, struct wire_frame *f)
{
    *f = (struct wire_frame){0};
    switch (i) {
    case 0:
        make_hello(f, WIRE_VERSION);
        return "hello";
    case 1:
        make_open(f, WIRE_TAIL_CLOUD);
        return "open-tail-cloud";
    case 2:
        make_open(f, WIRE_TAIL_EDGE);
        return "open-tail-edge";
    case 3:
        make_rows(f, WIRE_ROWS, WIRE_F32, false);
        return "rows-f32";
    case 4:
        make_rows(f, WIRE_ROWS, WIRE_F16, true);
        return "rows-f16";
    case 5:
        make_rows(f, WIRE_ROWS, WIRE_I8, true);
        return "rows-i8";
    case 6:
        make_big(f);
        return "rows-f32-zstd";
    case 7:
        make_token(f, 0);
        return "token";
    case 8:
        make_token(f, WIRE_MAX_TOP);
        return "token-top20";
    case 9:
        make_rows(f, WIRE_STATE, WIRE_F16, false);
        f->u.rows.n_row = 1;
        f->u.rows.layer = 3;
        return "state-f16";
    case 10:
        f->type = WIRE_CANCEL;
        return "cancel";
    case 11:
        make_status(f, WIRE_ST_OK, 0, "");
        return "status-ok";
    case 12:
        make_status(f, WIRE_ST_BUSY, 1500, "4 sessions are open: all there are");
        return "status-busy";
    default:
        return NULL;
    }
}

static void make_release(struct ipc_msg *m)
{
    struct ipc_release *r = &m->u.release;
    fill(r->decision_id, 16, 1);
    fill(r->policy_hash, 32, 0x21);
    snprintf(r->rule, sizeof r->rule, "public-by-prompt");
    snprintf(r->target, sizeof r->target, "cloud");
    snprintf(r->classes[0], sizeof r->classes[0], "public");
    snprintf(r->classes[1], sizeof r->classes[1], "wetter-größe");
    r->n_class = 2;
    r->mode = IPC_MODE_HIDDEN;
    r->max_bytes = UINT64_C(1) << 33;
    r->deadline_ms = 20000;
}

const char *sample_ipc(int i, struct ipc_msg *m)
{
    *m = (struct ipc_msg){.id = 7};
    switch (i) {
    case 0:
        m->type = IPC_RELEASE;
        make_release(m);
        return "release";
    case 1:
        m->type = IPC_DATA;
        m->u.data.p = (const uint8_t *)"body \0 bytes";
        m->u.data.len = 12;
        return "data";
    case 2:
        m->type = IPC_END;
        return "end";
    case 3:
        m->type = IPC_CANCEL;
        return "cancel";
    case 4:
        m->type = IPC_HEAD;
        m->u.head.status = 200;
        return "head";
    case 5:
        m->type = IPC_CLOSED;
        m->u.closed.code = BASE_ECLOSED;
        m->u.closed.bytes_out = 4096;
        m->u.closed.bytes_in = 77;
        snprintf(m->u.closed.message, sizeof m->u.closed.message, "the peer is gone");
        return "closed";
    case 6:
        m->type = IPC_LINK;
        m->id = 0;
        m->u.link.state = IPC_LINK_UP;
        m->u.link.rtt_us = 41000;
        snprintf(m->u.link.target, sizeof m->u.link.target, "cloud");
        return "link";
    case 7:
        m->type = IPC_READY;
        m->id = 0;
        m->u.ready.n_target = 2;
        snprintf(m->u.ready.targets[0], sizeof m->u.ready.targets[0], "cloud");
        snprintf(m->u.ready.targets[1], sizeof m->u.ready.targets[1], "depot");
        return "ready";
    default:
        return NULL;
    }
}

static void dump_hex(FILE *out, const char *name, const uint8_t *p)
{
    char hex[33];
    fprintf(out, "%s %s\n", name, base_hex(p, 16, hex));
}

static void dump_hello(const struct wire_hello *h, FILE *out)
{
    fprintf(out, "version %d\n", h->version);
    if (h->version != WIRE_VERSION)
        return;
    fprintf(out, "software %s\nn_layer %d\nd_model %d\nn_vocab %d\n", h->software, h->id.n_layer,
            h->id.d_model, h->id.n_vocab);
    dump_hex(out, "config", h->id.config);
    dump_hex(out, "tok", h->id.tok);
    dump_hex(out, "head", h->id.head);
    for (int i = 0; i < h->id.n_layer; i++)
        dump_hex(out, "layer", h->id.layer[i]);
}

static void dump_open(const struct wire_open *o, FILE *out)
{
    dump_hex(out, "idempotency_key", o->idempotency_key);
    fprintf(out, "layer %d\ntail %d\ndtype %d\nreply_dtype %d\nn_ctx %d\ndeadline_ms %u\n",
            o->layer, (int)o->tail, (int)o->dtype, (int)o->reply_dtype, o->n_ctx,
            (unsigned)o->deadline_ms);
    fprintf(out, "temperature %.9g\ntop_p %.9g\nmin_p %.9g\nrepeat_penalty %.9g\n",
            (double)o->temperature, (double)o->top_p, (double)o->min_p, (double)o->repeat_penalty);
    fprintf(out, "top_k %d\nrepeat_last_n %d\nn_top %d\nseed %llu\n", o->top_k, o->repeat_last_n,
            o->n_top, (unsigned long long)o->seed);
}

static void dump_rows(const struct wire_frame *f, FILE *out)
{
    const struct wire_rows *r = &f->u.rows;
    fprintf(out, "pos %d\nlayer %d\ndtype %d\nn_row %d\nd %d\n", r->pos, r->layer, (int)r->dtype,
            r->n_row, r->d);
    if (f->type == WIRE_ROWS)
        fprintf(out, "want %d\n", r->want);
    for (int i = 0; i < r->n_row; i++) {
        fputs("x", out);
        for (int k = 0; k < r->d; k++)
            fprintf(out, " %.9g", (double)r->x[i * r->d + k]);
        fputs("\n", out);
    }
}

static void dump_token(const struct wire_token *t, FILE *out)
{
    fprintf(out, "pos %d\ntoken %d\nlogprob %.9g\nentropy %.9g\n", t->pos, (int)t->token,
            (double)t->logprob, (double)t->entropy);
    for (int i = 0; i < t->n_top; i++)
        fprintf(out, "top %d %.9g\n", (int)t->top_token[i], (double)t->top_logprob[i]);
}

void dump_wire(const struct wire_frame *f, FILE *out)
{
    static const char *const name[] = {"",      "HELLO", "OPEN",   "ROWS",
                                       "TOKEN", "STATE", "CANCEL", "STATUS"};
    const struct wire_status_frame *s = &f->u.status;
    fprintf(out, "type %s\n", name[f->type]);
    switch (f->type) {
    case WIRE_HELLO:
        dump_hello(&f->u.hello, out);
        break;
    case WIRE_OPEN:
        dump_open(&f->u.open, out);
        break;
    case WIRE_ROWS:
    case WIRE_STATE:
        dump_rows(f, out);
        break;
    case WIRE_TOKEN:
        dump_token(&f->u.token, out);
        break;
    case WIRE_CANCEL:
        break;
    case WIRE_STATUS:
        fprintf(out, "status %d\nretry_after_ms %u\nn_tok_in %u\nn_tok_out %u\nmessage %s\n",
                (int)s->status, (unsigned)s->retry_after_ms, (unsigned)s->n_tok_in,
                (unsigned)s->n_tok_out, s->message);
        break;
    }
}
