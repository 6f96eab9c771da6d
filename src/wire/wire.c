#include "wire/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "wire/frame.h"
#include "wire/msg.h"

enum { KEEP_VALUES = 64 << 10 }; /* an idle stream keeps no more floats than this */

const char *wire_status_str(enum wire_status s)
{
    static const char *const text[] = {
        [WIRE_ST_OK] = "ok",
        [WIRE_ST_MISMATCH] = "identity mismatch",
        [WIRE_ST_VERSION] = "version not supported",
        [WIRE_ST_BAD_FRAME] = "bad frame",
        [WIRE_ST_LIMIT] = "limit reached",
        [WIRE_ST_BUSY] = "busy",
        [WIRE_ST_CANCELED] = "canceled",
        [WIRE_ST_TIMEOUT] = "deadline passed",
        [WIRE_ST_INTERNAL] = "internal error",
        [WIRE_ST_UNSUPPORTED] = "not offered",
        [WIRE_ST_REPEATED] = "repeated idempotency key",
    };
    return (unsigned)s < sizeof text / sizeof text[0] ? text[s] : "unknown status";
}

int wire_max_rows(int d)
{
    if (d < 1 || d > WIRE_MAX_DIM)
        return 0;
    int n = WIRE_MAX_VALUES / d;
    return n < WIRE_MAX_ROWS ? n : WIRE_MAX_ROWS;
}

int wire_encode(const struct wire_frame *f, struct base_buf *out)
{
    const struct wire_msg *m = wire_msg_find((int)f->type);
    if (m == NULL)
        return BASE_EINVAL;
    bool tensor = f->type == WIRE_ROWS || f->type == WIRE_STATE;
    struct base_buf body;
    base_buf_init(&body, WIRE_MAX_FRAME);
    int rc = mp_write(&body, (int)f->type, m->f, m->n, &f->u);
    if (rc == 0)
        rc = frame_put(out, &body, tensor);
    base_buf_fini(&body);
    return rc;
}

struct wire_decoder {
    struct frame_queue q;
    struct mp_message msg; /* the present frame's */
    bool msg_open;
    struct wire_msg_ctx ctx;
};

struct wire_decoder *wire_decoder_new(void)
{
    struct wire_decoder *d = calloc(1, sizeof *d);
    if (d != NULL)
        frame_queue_init(&d->q, WIRE_MAX_FRAME, FRAME_ZSTD);
    return d;
}

static void drop_message(struct wire_decoder *d)
{
    if (d->msg_open)
        mp_close(&d->msg);
    d->msg_open = false;
    if (d->ctx.n_x > KEEP_VALUES) {
        free(d->ctx.x);
        d->ctx = (struct wire_msg_ctx){0};
    }
}

void wire_decoder_free(struct wire_decoder *d)
{
    if (d == NULL)
        return;
    drop_message(d);
    free(d->ctx.x);
    frame_queue_fini(&d->q);
    free(d);
}

int wire_decoder_feed(struct wire_decoder *d, const void *p, size_t n_bytes)
{
    drop_message(d);
    return frame_queue_feed(&d->q, p, n_bytes);
}

bool wire_decoder_partial(const struct wire_decoder *d)
{
    return frame_queue_partial(&d->q);
}

/* A HELLO of another version keeps only its first two keys' meaning; it must still be understood,
 * so that it can be refused with WIRE_ST_VERSION. */
static bool other_version(const struct mp_message *m, struct wire_hello *h)
{
    const msgpack_object_kv *kv = m->map->ptr;
    if (m->type != WIRE_HELLO || m->map->size < 2 || kv[1].key.via.u64 != 1 ||
        kv[1].val.type != MSGPACK_OBJECT_POSITIVE_INTEGER || kv[1].val.via.u64 == WIRE_VERSION ||
        kv[1].val.via.u64 == 0 || kv[1].val.via.u64 > 1 << 16)
        return false;
    *h = (struct wire_hello){.version = (int)kv[1].val.via.u64};
    return true;
}

static int decode(struct wire_decoder *d, const uint8_t *p, size_t len, struct wire_frame *f,
                  size_t *at, struct base_err *why)
{
    d->msg_open = true;
    int rc = mp_open(&d->msg, p, len, at, why);
    if (rc != 0)
        return rc;
    const struct wire_msg *m = wire_msg_find(d->msg.type);
    if (m == NULL)
        return base_err_set(why, BASE_EUNSUPPORTED, NULL, "frame type %d", d->msg.type);
    f->type = (enum wire_type)d->msg.type;
    if (other_version(&d->msg, &f->u.hello))
        return 0;
    struct base_err field = {0};
    rc = mp_read(&d->msg, m->f, m->n, &f->u, &d->ctx, &field);
    return rc != 0 ? base_err_set(why, rc, NULL, "%s: %s", m->name, field.msg) : 0;
}

int wire_decoder_next(struct wire_decoder *d, struct wire_frame *f, struct base_err *err)
{
    const uint8_t *p;
    size_t len, at = 0;
    struct base_err why = {0};
    drop_message(d);
    *f = (struct wire_frame){0};
    int rc = frame_queue_next(&d->q, &p, &len);
    if (rc == 1) {
        int bad = decode(d, p, len, f, &at, &why);
        if (bad != 0)
            rc = frame_queue_fail(&d->q, at, &why);
    }
    if (rc < 0 && err != NULL)
        *err = d->q.failed;
    return rc;
}

/* ---- identity ---- */

static int differ(struct base_err *err, const char *part, const uint8_t *ours,
                  const uint8_t *theirs)
{
    char a[33], b[33];
    return base_err_set(err, BASE_EMISMATCH, "identity", "%s differs: ours %s, theirs %s", part,
                        base_hex(ours, 16, a), base_hex(theirs, 16, b));
}

static bool held(const uint8_t hash[16])
{
    static const uint8_t zero[16];
    return memcmp(hash, zero, sizeof zero) != 0;
}

int wire_identity_compare(const struct wire_identity *ours, const struct wire_identity *theirs,
                          struct base_err *err)
{
    if (ours->n_layer != theirs->n_layer || ours->d_model != theirs->d_model ||
        ours->n_vocab != theirs->n_vocab)
        return base_err_set(
            err, BASE_EMISMATCH, "identity",
            "shape differs: ours %d layers x %d, %d tokens (config %02x%02x%02x%02x), "
            "theirs %d layers x %d, %d tokens (config %02x%02x%02x%02x)",
            ours->n_layer, ours->d_model, ours->n_vocab, ours->config[0], ours->config[1],
            ours->config[2], ours->config[3], theirs->n_layer, theirs->d_model, theirs->n_vocab,
            theirs->config[0], theirs->config[1], theirs->config[2], theirs->config[3]);
    if (memcmp(ours->config, theirs->config, 16) != 0)
        return differ(err, "config", ours->config, theirs->config);
    if (memcmp(ours->tok, theirs->tok, 16) != 0)
        return differ(err, "tokenizer", ours->tok, theirs->tok);
    if (held(ours->head) && held(theirs->head) && memcmp(ours->head, theirs->head, 16) != 0)
        return differ(err, "head", ours->head, theirs->head);
    for (int i = 0; i < ours->n_layer; i++) {
        const uint8_t *a = ours->layer[i], *b = theirs->layer[i];
        if (held(a) && held(b) && memcmp(a, b, 16) != 0) {
            char part[24];
            snprintf(part, sizeof part, "layer %d", i);
            return differ(err, part, a, b);
        }
    }
    return 0;
}
