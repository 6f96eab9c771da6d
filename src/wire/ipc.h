/* Messages between the edge and its uplink child on one socketpair: same framing and msgpack habits
 * as wire.h, another table of types. Pure. The edge's gate is the only writer of IPC_RELEASE; the
 * uplink sends no byte for a request whose release it has not written to the ledger. */
#ifndef WIRE_IPC_H
#define WIRE_IPC_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    IPC_MAX_FRAME = 1 << 20,
    IPC_MAX_DATA = 256 << 10, /* payload bytes of one DATA */
    IPC_MAX_TEXT = 256,
    IPC_MAX_CLASS = 16,
};

enum ipc_type {
    /* edge -> uplink */
    IPC_RELEASE = 1, /* opens request `id` under a release record */
    IPC_DATA = 2,    /* both ways: body bytes of request id */
    IPC_END = 3,     /* edge: the request body is complete */
    IPC_CANCEL = 4,  /* edge: stop request id now */
    /* uplink -> edge */
    IPC_HEAD = 5,    /* response status of request id */
    IPC_CLOSED = 6,  /* the last message of request id, always exactly one */
    IPC_LINK = 7,    /* link state of a target */
    IPC_READY = 8,   /* the uplink has read its configuration; names its targets */
};

enum ipc_mode { IPC_MODE_PROMPT = 1, IPC_MODE_HIDDEN = 2 };
enum ipc_link { IPC_LINK_UNKNOWN = 0, IPC_LINK_UP = 1, IPC_LINK_DOWN = 2 };

/* Why bytes may leave. Written to the ledger as it is, before the first of them. */
struct ipc_release {
    uint8_t decision_id[16];
    uint8_t policy_hash[32];
    char rule[IPC_MAX_TEXT + 1];
    char target[IPC_MAX_TEXT + 1];
    char classes[IPC_MAX_CLASS][IPC_MAX_TEXT + 1]; /* data classes of the content */
    int n_class;
    enum ipc_mode mode;
    uint64_t max_bytes;   /* body bytes that may leave under this record */
    uint32_t deadline_ms; /* for the whole request */
};

struct ipc_msg {
    enum ipc_type type;
    uint32_t id; /* request; 0 for LINK and READY */
    union {
        struct ipc_release release;
        struct {
            const uint8_t *p; /* decode: valid until the next call */
            size_t len;
        } data;
        struct {
            int status; /* HTTP */
        } head;
        struct {
            int code;             /* enum base_code; 0: the response came whole */
            uint64_t bytes_out, bytes_in; /* body bytes that really went and came */
            char message[IPC_MAX_TEXT + 1];
        } closed;
        struct {
            char target[IPC_MAX_TEXT + 1];
            enum ipc_link state;
            uint32_t rtt_us; /* 0: not measured */
        } link;
        struct {
            char targets[IPC_MAX_CLASS][IPC_MAX_TEXT + 1];
            int n_target;
        } ready;
    } u;
};

int ipc_encode(const struct ipc_msg *m, struct base_buf *out) BASE_MUST_CHECK;

struct ipc_decoder;
struct ipc_decoder *ipc_decoder_new(void);
void ipc_decoder_free(struct ipc_decoder *d);
int ipc_decoder_feed(struct ipc_decoder *d, const void *p, size_t n_bytes) BASE_MUST_CHECK;
/* 1, 0 or an error, as wire_decoder_next. */
int ipc_decoder_next(struct ipc_decoder *d, struct ipc_msg *m, struct base_err *err) BASE_MUST_CHECK;

#endif
