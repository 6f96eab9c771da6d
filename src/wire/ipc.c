#include "wire/ipc.h"

#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"
#include "wire/mp.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof(a)[0]))
/* Offsets are of struct ipc_msg, so that one table holds the id and the body. */
#define AT(m) offsetof(struct ipc_msg, m)
#define SIZE(m) sizeof((struct ipc_msg *)0)->m
#define ID                                        \
    {                                             \
        "id", MP_U32, AT(id), 0, 0, 0, NULL, NULL \
    }
#define TEXT(m)                                       \
    {                                                 \
#m, MP_TEXT, AT(m), 0, 0, SIZE(m), NULL, NULL \
    }
#define BYTES(m)                                       \
    {                                                  \
#m, MP_BYTES, AT(m), 0, 0, SIZE(m), NULL, NULL \
    }
#define INT(m, lo, hi)                           \
    {                                            \
#m, MP_INT, AT(m), lo, hi, 0, NULL, NULL \
    }
#define U32(m)                                 \
    {                                          \
#m, MP_U32, AT(m), 0, 0, 0, NULL, NULL \
    }
#define U64(m)                                 \
    {                                          \
#m, MP_U64, AT(m), 0, 0, 0, NULL, NULL \
    }
#define SPECIAL(name, put, get)                \
    {                                          \
        name, MP_SPECIAL, 0, 0, 0, 0, put, get \
    }

static void put_texts(struct mp_writer *w, const char (*text)[IPC_MAX_TEXT + 1], int n)
{
    if (n < 0 || n > IPC_MAX_CLASS) {
        w->err = BASE_EINVAL;
        return;
    }
    msgpack_pack_array(&w->pk, (size_t)n);
    for (int i = 0; i < n; i++)
        mp_put_text(w, text[i], IPC_MAX_TEXT + 1);
}

static int get_texts(const msgpack_object *v, char (*text)[IPC_MAX_TEXT + 1], int *n,
                     struct base_err *err)
{
    if (v->type != MSGPACK_OBJECT_ARRAY || v->via.array.size > IPC_MAX_CLASS)
        return base_err_set(err, BASE_EFORMAT, NULL, "is not a list of at most %d texts",
                            IPC_MAX_CLASS);
    *n = (int)v->via.array.size;
    for (int i = 0; i < *n; i++) {
        int rc = mp_get_text(&v->via.array.ptr[i], text[i], IPC_MAX_TEXT + 1, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void put_classes(struct mp_writer *w, const void *s)
{
    const struct ipc_release *r = &((const struct ipc_msg *)s)->u.release;
    put_texts(w, r->classes, r->n_class);
}

static int get_classes(const msgpack_object *v, void *s, void *ctx, struct base_err *err)
{
    struct ipc_release *r = &((struct ipc_msg *)s)->u.release;
    (void)ctx;
    return get_texts(v, r->classes, &r->n_class, err);
}

static void put_targets(struct mp_writer *w, const void *s)
{
    const struct ipc_msg *m = s;
    put_texts(w, m->u.ready.targets, m->u.ready.n_target);
}

static int get_targets(const msgpack_object *v, void *s, void *ctx, struct base_err *err)
{
    struct ipc_msg *m = s;
    (void)ctx;
    return get_texts(v, m->u.ready.targets, &m->u.ready.n_target, err);
}

static void put_data(struct mp_writer *w, const void *s)
{
    const struct ipc_msg *m = s;
    if (m->u.data.len > IPC_MAX_DATA) {
        w->err = BASE_ELIMIT;
        return;
    }
    msgpack_pack_bin(&w->pk, m->u.data.len);
    msgpack_pack_bin_body(&w->pk, m->u.data.p, m->u.data.len);
}

static int get_data(const msgpack_object *v, void *s, void *ctx, struct base_err *err)
{
    struct ipc_msg *m = s;
    (void)ctx;
    if (v->type != MSGPACK_OBJECT_BIN)
        return base_err_set(err, BASE_EFORMAT, NULL, "is not bytes");
    if (v->via.bin.size > IPC_MAX_DATA)
        return base_err_set(err, BASE_ELIMIT, NULL, "%u bytes, at most %d", v->via.bin.size,
                            IPC_MAX_DATA);
    m->u.data.p = (const uint8_t *)v->via.bin.ptr;
    m->u.data.len = v->via.bin.size;
    return 0;
}

static const struct mp_field release_fields[] = {
    ID,
    BYTES(u.release.decision_id),
    BYTES(u.release.policy_hash),
    TEXT(u.release.rule),
    TEXT(u.release.target),
    SPECIAL("classes", put_classes, get_classes),
    INT(u.release.mode, IPC_MODE_PROMPT, IPC_MODE_HIDDEN),
    U64(u.release.max_bytes),
    U32(u.release.deadline_ms),
};

static const struct mp_field data_fields[] = {ID, SPECIAL("data", put_data, get_data)};
static const struct mp_field id_fields[] = {ID};
static const struct mp_field head_fields[] = {ID, INT(u.head.status, 100, 599)};

static const struct mp_field closed_fields[] = {
    ID,
    INT(u.closed.code, BASE_EINTERNAL, BASE_OK),
    U64(u.closed.bytes_out),
    U64(u.closed.bytes_in),
    {"message", MP_MESSAGE, AT(u.closed.message), 0, 0, SIZE(u.closed.message), NULL, NULL},
};

static const struct mp_field link_fields[] = {
    ID,
    TEXT(u.link.target),
    INT(u.link.state, IPC_LINK_UNKNOWN, IPC_LINK_DOWN),
    U32(u.link.rtt_us),
};

static const struct mp_field ready_fields[] = {
    ID,
    SPECIAL("targets", put_targets, get_targets),
};

static const struct message {
    const char *name;
    const struct mp_field *f;
    int n;
} messages[] = {
    [IPC_RELEASE] = {"RELEASE", release_fields, COUNT(release_fields)},
    [IPC_DATA] = {"DATA", data_fields, COUNT(data_fields)},
    [IPC_END] = {"END", id_fields, COUNT(id_fields)},
    [IPC_CANCEL] = {"CANCEL", id_fields, COUNT(id_fields)},
    [IPC_HEAD] = {"HEAD", head_fields, COUNT(head_fields)},
    [IPC_CLOSED] = {"CLOSED", closed_fields, COUNT(closed_fields)},
    [IPC_LINK] = {"LINK", link_fields, COUNT(link_fields)},
    [IPC_READY] = {"READY", ready_fields, COUNT(ready_fields)},
};

static const struct message *find(int type)
{
    return type >= 1 && type < COUNT(messages) ? &messages[type] : NULL;
}

/* LINK and READY belong to no request, everything else does. */
static bool id_ok(const struct ipc_msg *m)
{
    return (m->id == 0) == (m->type == IPC_LINK || m->type == IPC_READY);
}

int ipc_encode(const struct ipc_msg *m, struct base_buf *out)
{
    const struct message *t = find((int)m->type);
    if (t == NULL || !id_ok(m))
        return BASE_EINVAL;
    struct base_buf body;
    base_buf_init(&body, IPC_MAX_FRAME);
    int rc = mp_write(&body, (int)m->type, t->f, t->n, m);
    if (rc == 0)
        rc = frame_put(out, &body, false);
    base_buf_fini(&body);
    return rc;
}

struct ipc_decoder {
    struct frame_queue q;
};

struct ipc_decoder *ipc_decoder_new(void)
{
    struct ipc_decoder *d = calloc(1, sizeof *d);
    if (d != NULL)
        frame_queue_init(&d->q, IPC_MAX_FRAME, 0);
    return d;
}

void ipc_decoder_free(struct ipc_decoder *d)
{
    if (d == NULL)
        return;
    frame_queue_fini(&d->q);
    free(d);
}

int ipc_decoder_feed(struct ipc_decoder *d, const void *p, size_t n_bytes)
{
    return frame_queue_feed(&d->q, p, n_bytes);
}

static int decode(const struct mp_message *msg, struct ipc_msg *m, struct base_err *why)
{
    const struct message *t = find(msg->type);
    struct base_err field = {0};
    if (t == NULL)
        return base_err_set(why, BASE_EUNSUPPORTED, NULL, "message type %d", msg->type);
    m->type = (enum ipc_type)msg->type;
    int rc = mp_read(msg, t->f, t->n, m, NULL, &field);
    if (rc == 0 && !id_ok(m))
        rc = base_err_set(&field, BASE_EFORMAT, NULL, "request id %u", (unsigned)m->id);
    return rc != 0 ? base_err_set(why, rc, NULL, "%s: %s", t->name, field.msg) : 0;
}

int ipc_decoder_next(struct ipc_decoder *d, struct ipc_msg *m, struct base_err *err)
{
    const uint8_t *p;
    size_t len, at = 0;
    *m = (struct ipc_msg){0};
    int rc = frame_queue_next(&d->q, &p, &len);
    if (rc == 1) {
        struct mp_message msg;
        struct base_err why = {0};
        int bad = mp_open(&msg, p, len, &at, &why);
        if (bad == 0)
            bad = decode(&msg, m, &why);
        /* Only the unpacker's table goes: data.p points into the queue's own bytes. */
        mp_close(&msg);
        if (bad != 0)
            rc = frame_queue_fail(&d->q, at, &why);
    }
    if (rc < 0 && err != NULL)
        *err = d->q.failed;
    return rc;
}
