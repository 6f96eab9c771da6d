#include "wire/msg.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "wire/pack.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))
#define INT(s, m, lo, hi)                                        \
    {                                                            \
#m, MP_INT, offsetof(struct s, m), lo, hi, 0, NULL, NULL \
    }
#define U32(s, m)                                              \
    {                                                          \
#m, MP_U32, offsetof(struct s, m), 0, 0, 0, NULL, NULL \
    }
#define U64(s, m)                                              \
    {                                                          \
#m, MP_U64, offsetof(struct s, m), 0, 0, 0, NULL, NULL \
    }
#define REAL(s, m, lo, hi)                                        \
    {                                                             \
#m, MP_REAL, offsetof(struct s, m), lo, hi, 0, NULL, NULL \
    }
#define BOOL(s, m)                                              \
    {                                                           \
#m, MP_BOOL, offsetof(struct s, m), 0, 0, 0, NULL, NULL \
    }
#define BYTES(s, m)                                                                     \
    {                                                                                   \
#m, MP_BYTES, offsetof(struct s, m), 0, 0, sizeof((struct s *)0)->m, NULL, NULL \
    }
#define TEXT(s, m)                                                                     \
    {                                                                                  \
#m, MP_TEXT, offsetof(struct s, m), 0, 0, sizeof((struct s *)0)->m, NULL, NULL \
    }
#define SPECIAL(name, put, get)                \
    {                                          \
        name, MP_SPECIAL, 0, 0, 0, 0, put, get \
    }

enum {
    MAX_CTX = 1 << 20,   /* positions of a session */
    MAX_VOCAB = 1 << 24, /* ids */
};
static const double max_logprob = 1e6; /* only "finite" matters; rounding may pass zero */

/* ---- HELLO ---- */

static void put_layers(struct mp_writer *w, const void *s)
{
    const struct wire_identity *id = &((const struct wire_hello *)s)->id;
    size_t n = (size_t)id->n_layer * sizeof id->layer[0];
    msgpack_pack_bin(&w->pk, n);
    msgpack_pack_bin_body(&w->pk, id->layer, n);
}

static int get_layers(const msgpack_object *v, void *s, void *ctx, struct base_err *err)
{
    struct wire_identity *id = &((struct wire_hello *)s)->id;
    (void)ctx;
    if (v->type != MSGPACK_OBJECT_BIN ||
        v->via.bin.size != (size_t)id->n_layer * sizeof id->layer[0])
        return base_err_set(err, BASE_EFORMAT, NULL, "is not 16 bytes for each of %d layers",
                            id->n_layer);
    id->layer = (uint8_t(*)[16])(uintptr_t)v->via.bin.ptr;
    return 0;
}

static const struct mp_field hello_fields[] = {
    INT(wire_hello, version, 1, 1 << 16),
    TEXT(wire_hello, software),
    INT(wire_hello, id.n_layer, 1, WIRE_MAX_LAYER),
    INT(wire_hello, id.d_model, 1, WIRE_MAX_DIM),
    INT(wire_hello, id.n_vocab, 1, MAX_VOCAB),
    BYTES(wire_hello, id.config),
    BYTES(wire_hello, id.tok),
    BYTES(wire_hello, id.head),
    SPECIAL("id.layer", put_layers, get_layers),
};

/* ---- OPEN ---- */

static const struct mp_field open_fields[] = {
    BYTES(wire_open, idempotency_key),
    INT(wire_open, layer, 0, WIRE_MAX_LAYER),
    INT(wire_open, tail, WIRE_TAIL_CLOUD, WIRE_TAIL_EDGE),
    INT(wire_open, dtype, WIRE_F32, WIRE_I8),
    INT(wire_open, reply_dtype, WIRE_F32, WIRE_I8),
    INT(wire_open, n_ctx, 1, MAX_CTX),
    U32(wire_open, deadline_ms),
    REAL(wire_open, temperature, 0, 100),
    REAL(wire_open, top_p, 0, 1),
    REAL(wire_open, min_p, 0, 1),
    REAL(wire_open, repeat_penalty, 0.01, 100),
    INT(wire_open, top_k, 0, MAX_VOCAB),
    INT(wire_open, repeat_last_n, 0, MAX_CTX),
    INT(wire_open, n_top, 0, WIRE_MAX_TOP),
    U64(wire_open, seed),
};

/* ---- ROWS, STATE: a tensor is [dtype, n_row, d, checksum, bytes] ---- */

static int rows_limits(int n_row, int d, struct base_err *err)
{
    if (d < 1 || d > WIRE_MAX_DIM || n_row < 1 || n_row > wire_max_rows(d))
        return base_err_set(err, BASE_ELIMIT, NULL,
                            "[%d, %d] values: d at most %d and then rows at "
                            "most %d",
                            n_row, d, WIRE_MAX_DIM,
                            d >= 1 && d <= WIRE_MAX_DIM ? wire_max_rows(d) : 0);
    return 0;
}

static void put_tensor(struct mp_writer *w, const void *s)
{
    const struct wire_rows *r = s;
    if (rows_limits(r->n_row, r->d, NULL) != 0) {
        w->err = BASE_ELIMIT;
        return;
    }
    if (r->dtype > WIRE_I8 || !wire_pack_fits(r->dtype, r->x, (size_t)r->n_row * (size_t)r->d)) {
        w->err = BASE_EINVAL;
        return;
    }
    size_t n = wire_pack_bytes(r->dtype, r->n_row, r->d);
    uint8_t *packed = malloc(n);
    if (packed == NULL) {
        w->err = BASE_ENOMEM;
        return;
    }
    wire_pack(r->dtype, r->x, r->n_row, r->d, packed);
    msgpack_pack_array(&w->pk, 5);
    msgpack_pack_int(&w->pk, (int)r->dtype);
    msgpack_pack_int(&w->pk, r->n_row);
    msgpack_pack_int(&w->pk, r->d);
    msgpack_pack_uint64(&w->pk, base_xxh64(packed, n));
    msgpack_pack_bin(&w->pk, n);
    msgpack_pack_bin_body(&w->pk, packed, n);
    free(packed);
}

static float *lend_values(struct wire_msg_ctx *c, size_t n)
{
    if (n > c->n_x) {
        free(c->x);
        c->x = malloc(n * sizeof *c->x);
        c->n_x = c->x != NULL ? n : 0;
    }
    return c->x;
}

static int get_tensor(const msgpack_object *v, void *s, void *ctx, struct base_err *err)
{
    struct wire_rows *r = s;
    const msgpack_object *e = v->via.array.ptr;
    if (v->type != MSGPACK_OBJECT_ARRAY || v->via.array.size != 5 ||
        e[4].type != MSGPACK_OBJECT_BIN)
        return base_err_set(err, BASE_EFORMAT, NULL, "is not [dtype, n_row, d, checksum, bytes]");
    for (int i = 0; i < 4; i++) {
        if (e[i].type != MSGPACK_OBJECT_POSITIVE_INTEGER)
            return base_err_set(err, BASE_EFORMAT, NULL, "item %d is no unsigned integer", i);
    }
    if (e[0].via.u64 > WIRE_I8)
        return base_err_set(err, BASE_EUNSUPPORTED, NULL, "dtype %llu",
                            (unsigned long long)e[0].via.u64);
    if (e[1].via.u64 > WIRE_MAX_ROWS || e[2].via.u64 > WIRE_MAX_DIM)
        return base_err_set(err, BASE_ELIMIT, NULL, "[%llu, %llu] values, at most [%d, %d]",
                            (unsigned long long)e[1].via.u64, (unsigned long long)e[2].via.u64,
                            WIRE_MAX_ROWS, WIRE_MAX_DIM);
    r->dtype = (enum wire_dtype)e[0].via.u64;
    r->n_row = (int)e[1].via.u64;
    r->d = (int)e[2].via.u64;
    int rc = rows_limits(r->n_row, r->d, err);
    if (rc != 0)
        return rc;
    const uint8_t *p = (const uint8_t *)e[4].via.bin.ptr;
    size_t n = e[4].via.bin.size;
    if (n != wire_pack_bytes(r->dtype, r->n_row, r->d))
        return base_err_set(err, BASE_EFORMAT, NULL, "%zu bytes for [%d, %d] of dtype %d", n,
                            r->n_row, r->d, (int)r->dtype);
    if (base_xxh64(p, n) != e[3].via.u64)
        return base_err_set(err, BASE_EMISMATCH, NULL, "checksum of %zu bytes differs", n);
    if (!wire_packed_ok(r->dtype, p, r->n_row, r->d))
        return base_err_set(err, BASE_EFORMAT, NULL, "values that are not finite, or out of range");
    r->x = lend_values(ctx, (size_t)r->n_row * (size_t)r->d);
    if (r->x == NULL)
        return base_err_set(err, BASE_ENOMEM, NULL, "no memory for [%d, %d] values", r->n_row,
                            r->d);
    wire_unpack(r->dtype, p, r->n_row, r->d, r->x);
    return 0;
}

static const struct mp_field rows_fields[] = {
    INT(wire_rows, pos, 0, MAX_CTX - 1),
    INT(wire_rows, layer, 0, WIRE_MAX_LAYER),
    SPECIAL("tensor", put_tensor, get_tensor),
    BOOL(wire_rows, want),
};
enum { N_STATE_FIELD = 3 }; /* a STATE is the same without want */

/* ---- TOKEN ---- */

static void put_top(struct mp_writer *w, const void *s)
{
    const struct wire_token *t = s;
    if (t->n_top < 0 || t->n_top > WIRE_MAX_TOP) {
        w->err = BASE_EINVAL;
        return;
    }
    msgpack_pack_array(&w->pk, (size_t)t->n_top * 2);
    for (int i = 0; i < t->n_top; i++) {
        if (t->top_token[i] < 0 || t->top_token[i] >= MAX_VOCAB)
            w->err = BASE_EINVAL;
        msgpack_pack_int32(&w->pk, t->top_token[i]);
        mp_put_real(w, t->top_logprob[i], -max_logprob, max_logprob);
    }
}

static int get_top(const msgpack_object *v, void *s, void *ctx, struct base_err *err)
{
    struct wire_token *t = s;
    (void)ctx;
    if (v->type != MSGPACK_OBJECT_ARRAY || v->via.array.size % 2 != 0 ||
        v->via.array.size > 2 * WIRE_MAX_TOP)
        return base_err_set(err, BASE_EFORMAT, NULL, "is not [id, logprob, …] of at most %d pairs",
                            WIRE_MAX_TOP);
    t->n_top = (int)v->via.array.size / 2;
    for (int i = 0; i < t->n_top; i++) {
        const msgpack_object *e = v->via.array.ptr + 2 * i;
        if (e->type != MSGPACK_OBJECT_POSITIVE_INTEGER || e->via.u64 >= MAX_VOCAB)
            return base_err_set(err, BASE_EFORMAT, NULL, "pair %d has no token id", i);
        t->top_token[i] = (int32_t)e->via.u64;
        int rc = mp_get_real(e + 1, &t->top_logprob[i], -max_logprob, max_logprob, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static const struct mp_field token_fields[] = {
    INT(wire_token, pos, 0, MAX_CTX),
    INT(wire_token, token, 0, MAX_VOCAB - 1),
    REAL(wire_token, logprob, -max_logprob, max_logprob),
    REAL(wire_token, entropy, -max_logprob, max_logprob),
    SPECIAL("top", put_top, get_top),
};

/* ---- STATUS ---- */

static const struct mp_field status_fields[] = {
    INT(wire_status_frame, status, WIRE_ST_OK, WIRE_ST_REPEATED),
    U32(wire_status_frame, retry_after_ms),
    U32(wire_status_frame, n_tok_in),
    U32(wire_status_frame, n_tok_out),
    {"message", MP_MESSAGE, offsetof(struct wire_status_frame, message), 0, 0, WIRE_MAX_TEXT + 1,
     NULL, NULL},
};

static const struct wire_msg messages[] = {
    [WIRE_HELLO] = {"HELLO", hello_fields, COUNT(hello_fields)},
    [WIRE_OPEN] = {"OPEN", open_fields, COUNT(open_fields)},
    [WIRE_ROWS] = {"ROWS", rows_fields, COUNT(rows_fields)},
    [WIRE_TOKEN] = {"TOKEN", token_fields, COUNT(token_fields)},
    [WIRE_STATE] = {"STATE", rows_fields, N_STATE_FIELD},
    [WIRE_CANCEL] = {"CANCEL", NULL, 0},
    [WIRE_STATUS] = {"STATUS", status_fields, COUNT(status_fields)},
};

const struct wire_msg *wire_msg_find(int type)
{
    return type >= 1 && type < COUNT(messages) ? &messages[type] : NULL;
}
