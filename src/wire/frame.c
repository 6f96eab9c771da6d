#include "wire/frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <zstd.h>

enum {
    ZSTD_MIN_BYTES = 256, /* below this a zstd frame's own head eats the gain */
    ZSTD_LEVEL = 1,
    WINDOW_LOG = 20,  /* 1 MiB: what a receiver must be ready to hold */
    SLACK = 1 << 20,  /* fed at once beyond one frame */
    KEEP = 256 << 10, /* an idle stream keeps no larger buffer */
};

/* One fresh context a frame: a shared one would leak earlier content through later sizes. */
static size_t compress_body(const struct base_buf *body, struct base_buf *out)
{
    size_t bound = ZSTD_compressBound(body->len), n = 0;
    uint8_t *p = base_buf_grow(out, bound);
    ZSTD_CCtx *z = ZSTD_createCCtx();
    if (p != NULL && z != NULL &&
        !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, ZSTD_LEVEL)) &&
        !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, WINDOW_LOG))) {
        n = ZSTD_compress2(z, p, bound, body->data, body->len);
        if (ZSTD_isError(n))
            n = 0;
    }
    ZSTD_freeCCtx(z);
    return n;
}

int frame_put(struct base_buf *out, const struct base_buf *body, bool compress)
{
    size_t before = out->len;
    if (out->err != 0)
        return out->err;
    const uint8_t *p = body->data;
    size_t len = body->len;
    uint8_t flags = 0;
    struct base_buf packed;
    base_buf_init(&packed, SIZE_MAX / 2);
    if (compress && len >= ZSTD_MIN_BYTES) {
        size_t n = compress_body(body, &packed);
        if (n > 0 && n <= len - len / 20) {
            p = packed.data;
            len = n;
            flags = FRAME_ZSTD;
        }
    }
    base_buf_u32le(out, (uint32_t)len);
    base_buf_u8(out, flags);
    int rc = base_buf_add(out, p, len);
    if (rc != 0) {
        out->len = before;
        out->err = 0;
    }
    base_buf_fini(&packed);
    return rc;
}

void frame_queue_init(struct frame_queue *q, size_t max_body, uint8_t flags_known)
{
    *q = (struct frame_queue){.max_body = max_body, .flags_known = flags_known};
    base_buf_init(&q->in, FRAME_HEAD_BYTES + max_body + SLACK);
    base_buf_init(&q->plain, max_body);
}

void frame_queue_fini(struct frame_queue *q)
{
    base_buf_fini(&q->in);
    base_buf_fini(&q->plain);
}

static void drop_taken(struct frame_queue *q)
{
    if (q->done == 0)
        return;
    base_buf_consume(&q->in, q->done);
    q->n_byte += q->done;
    q->n_frame++;
    q->done = 0;
    base_buf_reset(&q->plain);
    if (q->in.len == 0 && q->in.cap > KEEP)
        base_buf_fini(&q->in);
    if (q->plain.cap > KEEP)
        base_buf_fini(&q->plain);
}

int frame_queue_feed(struct frame_queue *q, const void *p, size_t n_bytes)
{
    if (q->failed.code != 0)
        return q->failed.code;
    drop_taken(q);
    int rc = base_buf_add(&q->in, p, n_bytes);
    if (rc != 0)
        base_err_set(&q->failed, rc, "", "%zu bytes more than can wait", n_bytes);
    return rc;
}

int frame_queue_fail(struct frame_queue *q, size_t at, const struct base_err *why)
{
    char place[64];
    /* Offsets in a compressed body mean nothing in the stream: name where the frame starts. */
    uint64_t byte = q->n_byte + (q->done > 0 && q->plain.len == 0 ? FRAME_HEAD_BYTES + at : 0);
    snprintf(place, sizeof place, "frame %llu byte %llu", (unsigned long long)q->n_frame,
             (unsigned long long)byte);
    return base_err_set(&q->failed, why->code, place, "%s", why->msg);
}

static int BASE_PRINTF(3, 4) fail_here(struct frame_queue *q, int code, const char *fmt, ...)
{
    struct base_err why = {.code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why.msg, sizeof why.msg, fmt, ap);
    va_end(ap);
    return frame_queue_fail(q, 0, &why);
}

/* Output and window are capped by us and by zstd. The last byte goes in on its own: given the whole
 * frame at once zstd takes a short cut that skips the check of the window. */
static int inflate(struct frame_queue *q, const uint8_t *p, size_t len)
{
    if (len < 5 || p[0] != 0x28 || p[1] != 0xb5 || p[2] != 0x2f || p[3] != 0xfd)
        return fail_here(q, BASE_EFORMAT, "%zu compressed bytes do not start a zstd frame", len);
    unsigned long long size = ZSTD_getFrameContentSize(p, len);
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR || size == 0 ||
        ZSTD_getDictID_fromFrame(p, len) != 0)
        return fail_here(q, BASE_EFORMAT,
                         "zstd frame of %zu bytes without a content size, or with "
                         "a dictionary",
                         len);
    if (size > q->max_body)
        return fail_here(q, BASE_ELIMIT, "body of %zu bytes after decompression", (size_t)size);
    if (ZSTD_findFrameCompressedSize(p, len) != len)
        return fail_here(q, BASE_EFORMAT, "%zu bytes are not exactly one zstd frame", len);
    base_buf_reset(&q->plain);
    uint8_t *out = base_buf_grow(&q->plain, (size_t)size);
    ZSTD_DCtx *z = ZSTD_createDCtx();
    int rc = out != NULL && z != NULL ? 0 : BASE_ENOMEM;
    if (rc != 0) {
        rc = fail_here(q, rc, "no memory for %zu bytes", (size_t)size);
        goto out;
    }
    ZSTD_inBuffer in = {p, len - 1, 0};
    ZSTD_outBuffer to = {out, (size_t)size, 0};
    size_t left = ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, WINDOW_LOG);
    while (!ZSTD_isError(left) && in.pos < len) {
        size_t before = in.pos + to.pos;
        left = ZSTD_decompressStream(z, &to, &in);
        if (in.pos == in.size)
            in.size = len;
        else if (left == 0 || in.pos + to.pos == before)
            break;
    }
    if (ZSTD_isError(left) || left != 0 || in.pos != len || to.pos != size)
        rc = fail_here(q, BASE_EFORMAT,
                       "zstd frame of %zu bytes is damaged or has a window over "
                       "1 MiB",
                       len);
out:
    ZSTD_freeDCtx(z);
    return rc;
}

int frame_queue_next(struct frame_queue *q, const uint8_t **body, size_t *len)
{
    if (q->failed.code != 0)
        return q->failed.code;
    drop_taken(q);
    if (q->in.len < FRAME_HEAD_BYTES)
        return 0;
    const uint8_t *p = q->in.data;
    size_t n = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    uint8_t flags = p[4];
    if (n == 0)
        return fail_here(q, BASE_EFORMAT, "a body of %zu bytes", n);
    if (n > q->max_body)
        return fail_here(q, BASE_ELIMIT, "a body of %zu bytes", n);
    if ((flags & ~q->flags_known) != 0)
        return fail_here(q, BASE_EFORMAT, "unknown flags 0x%02x", flags);
    if (q->in.len - FRAME_HEAD_BYTES < n)
        return 0;
    *body = p + FRAME_HEAD_BYTES;
    *len = n;
    if ((flags & FRAME_ZSTD) != 0) {
        int rc = inflate(q, *body, n);
        if (rc != 0)
            return rc;
        *body = q->plain.data;
        *len = q->plain.len;
    }
    q->done = FRAME_HEAD_BYTES + n;
    return 1;
}

bool frame_queue_partial(const struct frame_queue *q)
{
    return q->in.len > q->done;
}
