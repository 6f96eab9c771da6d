/* Wire v1: frames <-> structs. Pure: bytes in, bytes out, no sockets, no clock. proto/wire-v1.md is
 * the contract; proto/vectors/ holds golden and bad frames that both sides' tests run.
 *
 * A stream is a sequence of frames: u32le body length, u8 flags (bit 0: body is one zstd frame), then
 * a msgpack map with small integer keys; key 0 is the frame type. One request is one HTTP/2 stream
 * (POST /waypost/v1/split), frames flow both ways on it. */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    WIRE_VERSION = 1,
    WIRE_HEAD_BYTES = 5,
    WIRE_MAX_FRAME = 8 << 20,    /* bytes of a body, before and after decompression */
    WIRE_MAX_LAYER = 512,
    WIRE_MAX_ROWS = 4096,        /* rows in one frame */
    WIRE_MAX_DIM = 16384,
    /* values in one frame: as f32 they just fit, so no dtype unpacks to more than 8 MiB */
    WIRE_MAX_VALUES = (WIRE_MAX_FRAME - 4096) / 4,
    WIRE_MAX_TEXT = 512,         /* bytes of any text field */
    WIRE_MAX_TOP = 20,
};

enum wire_type {
    WIRE_HELLO = 1,  /* both ways, first: version, identity */
    WIRE_OPEN = 2,   /* edge -> cloud: start a split session */
    WIRE_ROWS = 3,   /* edge -> cloud: residual rows entering layer k */
    WIRE_TOKEN = 4,  /* cloud -> edge: a sampled token (tail on the cloud) */
    WIRE_STATE = 5,  /* cloud -> edge: residual row leaving the last layer (tail on the edge) */
    WIRE_CANCEL = 6, /* edge -> cloud: stop now */
    WIRE_STATUS = 7, /* cloud -> edge, last frame: how it ended */
};

enum wire_dtype { WIRE_F32 = 0, WIRE_F16 = 1, WIRE_I8 = 2 };
enum wire_tail { WIRE_TAIL_CLOUD = 0, WIRE_TAIL_EDGE = 1 };

enum wire_status {
    WIRE_ST_OK = 0,
    WIRE_ST_MISMATCH = 1,   /* identity: message names the part and both hashes */
    WIRE_ST_VERSION = 2,
    WIRE_ST_BAD_FRAME = 3,
    WIRE_ST_LIMIT = 4,      /* context, rows, sessions */
    WIRE_ST_BUSY = 5,       /* try again after retry_after_ms */
    WIRE_ST_CANCELED = 6,
    WIRE_ST_TIMEOUT = 7,
    WIRE_ST_INTERNAL = 8,
    WIRE_ST_UNSUPPORTED = 9,/* layer, dtype or tail not offered */
    WIRE_ST_REPEATED = 10,  /* the idempotency key was seen before: nothing was run again */
};
const char *wire_status_str(enum wire_status s);

struct wire_identity {
    uint8_t config[16], tok[16], head[16]; /* XXH3-128; head all zero: not held */
    int n_layer, d_model, n_vocab;
    uint8_t (*layer)[16];                  /* [n_layer]; all zero: not held */
};

struct wire_hello {
    int version;
    struct wire_identity id;
    char software[64]; /* "waypost 0.1.0" */
};

struct wire_open {
    uint8_t idempotency_key[16];
    int layer;           /* k: rows enter this layer */
    enum wire_tail tail;
    enum wire_dtype dtype; /* of the rows that follow */
    enum wire_dtype reply_dtype; /* of WIRE_STATE */
    int n_ctx;           /* positions the session may need */
    uint32_t deadline_ms;/* whole session; 0: the server's limit */
    /* sampling, for the tail on the cloud */
    float temperature, top_p, min_p, repeat_penalty;
    int top_k, repeat_last_n, n_top;
    uint64_t seed;
};

/* ROWS and STATE. */
struct wire_rows {
    int pos;      /* position of the first row in the session */
    int layer;    /* k for ROWS, L for STATE */
    int n_row, d; /* shape [n_row, d] */
    enum wire_dtype dtype;
    bool want;    /* ROWS: answer after the last row (a token or a state) */
    float *x;     /* [n_row][d] f32; decode: points into the decoder's buffer */
    /* Tokens the rows stand for are never sent: the sampler's penalties on the cloud see only the
     * tokens it chose itself. */
};

struct wire_token {
    int pos;         /* of the token */
    int32_t token;
    float logprob, entropy;
    int n_top;
    int32_t top_token[WIRE_MAX_TOP];
    float top_logprob[WIRE_MAX_TOP];
};

struct wire_status_frame {
    enum wire_status status;
    uint32_t retry_after_ms;
    uint32_t n_tok_in, n_tok_out;
    char message[WIRE_MAX_TEXT + 1];
};

struct wire_frame {
    enum wire_type type;
    union {
        struct wire_hello hello;
        struct wire_open open;
        struct wire_rows rows; /* ROWS, STATE */
        struct wire_token token;
        struct wire_status_frame status;
    } u; /* CANCEL: nothing */
};

/* Rows of d values that one frame may carry; 0 if d is out of range. Send more in several frames. */
int wire_max_rows(int d);

/* Appends one whole frame to out; compresses where it pays (never across frames). Errors:
 * BASE_EINVAL (a field out of its range), BASE_ELIMIT, BASE_ENOMEM. */
int wire_encode(const struct wire_frame *f, struct base_buf *out) BASE_MUST_CHECK;

/* A decoder for one direction of one stream. */
struct wire_decoder;
struct wire_decoder *wire_decoder_new(void); /* NULL: out of memory */
void wire_decoder_free(struct wire_decoder *d);
/* Adds received bytes. Errors: BASE_ELIMIT, BASE_ENOMEM. */
int wire_decoder_feed(struct wire_decoder *d, const void *p, size_t n_bytes) BASE_MUST_CHECK;
/* The next whole frame: 1 and *f (pointers valid until the next call), 0 if more bytes are needed, or
 * an error, which is final: BASE_EFORMAT, BASE_ELIMIT, BASE_EUNSUPPORTED (unknown type or dtype),
 * BASE_EMISMATCH (checksum), BASE_ENOMEM. err->place: "frame N byte M". */
int wire_decoder_next(struct wire_decoder *d, struct wire_frame *f, struct base_err *err)
    BASE_MUST_CHECK;
/* Bytes of an unfinished frame are waiting: a stream that ends so was cut. */
bool wire_decoder_partial(const struct wire_decoder *d);

/* 0 if both identities agree on everything that both hold; else BASE_EMISMATCH and err names the
 * first differing part with both hashes. */
int wire_identity_compare(const struct wire_identity *ours, const struct wire_identity *theirs,
                          struct base_err *err) BASE_MUST_CHECK;

/* Tensor packing, used by wire_encode; open to tests and `leak`. Packed size for [n_row][d]. */
size_t wire_pack_bytes(enum wire_dtype t, int n_row, int d);
void wire_pack(enum wire_dtype t, const float *x, int n_row, int d, uint8_t *out);
void wire_unpack(enum wire_dtype t, const uint8_t *p, int n_row, int d, float *x);

#endif
