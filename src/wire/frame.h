/* The envelope of both protocols: u32le body length, u8 flags, body. Also the byte queue that a
 * decoder takes whole frames from. Inside this room only. */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { FRAME_HEAD_BYTES = 5, FRAME_ZSTD = 1 };

/* Appends head and body; with compress, as one zstd frame if that saves 5 % or more. Errors:
 * BASE_ELIMIT, BASE_ENOMEM; out is then as before. */
int frame_put(struct base_buf *out, const struct base_buf *body, bool compress) BASE_MUST_CHECK;

struct frame_queue {
    struct base_buf in;    /* received and not yet given out */
    struct base_buf plain; /* the present frame's body, if it came compressed */
    size_t max_body;       /* before and after decompression */
    uint8_t flags_known;
    size_t done;              /* bytes of in that the last frame took */
    uint64_t n_frame, n_byte; /* frames before in.data[0], and its offset in the stream */
    struct base_err failed;   /* sticky; code 0: none */
};

void frame_queue_init(struct frame_queue *q, size_t max_body, uint8_t flags_known);
void frame_queue_fini(struct frame_queue *q);
/* BASE_ELIMIT: more than one frame and 1 MiB are waiting. BASE_ENOMEM. */
int frame_queue_feed(struct frame_queue *q, const void *p, size_t n_bytes) BASE_MUST_CHECK;
/* 1: *body[0..*len) is the next frame's body, valid until the next call on q; 0: more bytes needed;
 * or a final error. */
int frame_queue_next(struct frame_queue *q, const uint8_t **body, size_t *len) BASE_MUST_CHECK;
/* Makes the present frame's error final: place "frame N byte M", both from 0; at counts within the
 * body. Returns its code. */
int frame_queue_fail(struct frame_queue *q, size_t at, const struct base_err *why);
bool frame_queue_partial(const struct frame_queue *q);

#endif
