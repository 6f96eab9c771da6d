/* The stub: one event loop, one engine, and requests that live as long as their HTTP/2 stream.
 * serve.c owns a request, finds its service by path, and does what all services share (limits,
 * deadline, replies, the log line); chat.c and split.c are the two services with an engine job. All
 * on the loop's thread. */
#ifndef STUB_STUB_H
#define STUB_STUB_H

#include <stdbool.h>
#include <stdint.h>

#include "api/chat.h"
#include "base/buf.h"
#include "cloud-stub/config.h"
#include "cloud-stub/keys.h"
#include "engine/sched.h"
#include "net/h2/server.h"
#include "wire/wire.h"

enum { STUB_ID_LEN = 64, STUB_MAX_REPLY_BYTES = 8 << 20 };

struct stub {
    const struct stub_config *cfg;
    struct net_loop *loop;
    struct net_h2s *server;
    struct eng_model *model;
    struct eng_vocab *vocab; /* NULL until somebody asks for a form */
    struct eng_sched *sched;
    struct wire_identity identity; /* borrowed from the model */
    struct stub_keys *keys;
    struct stub_req *reqs; /* open ones */
};

struct stub_req {
    struct stub *stub;
    struct stub_req *next, **link;
    struct net_h2_stream *h2;
    const struct stub_service *service;
    void *state;              /* the service's, from open to close */
    char id[STUB_ID_LEN + 1]; /* the client's x-request-id, or ours */
    int64_t start_us;
    int status;           /* HTTP, once answered; 0 before */
    bool ended;           /* the service has said all, or the stream is lost: it hears no more */
    struct base_buf rest; /* of a whole reply that is larger than the stream's queue */
    const char *outcome;  /* for the log line */
    int n_tok_in, n_tok_out;
    struct net_timer *timer; /* the service's deadline */
};

/* How a service takes part in a request. Each but open and close may be NULL. A call may end the
 * request; it then returns at once. */
struct stub_service {
    const char *method, *path;
    bool counted; /* against limits.peer_streams */
    void (*open)(struct stub_req *r);
    void (*data)(struct stub_req *r, const uint8_t *p, size_t len);
    void (*end)(struct stub_req *r);
    void (*timeout)(struct stub_req *r);
    void (*close)(struct stub_req *r); /* frees state, closes the job; the stream may be gone */
};
extern const struct stub_service stub_chat, stub_completions, stub_split;

extern const struct net_h2s_cb stub_callbacks; /* arg: struct stub * */

/* A whole reply, of any size up to STUB_MAX_REPLY_BYTES. */
void stub_reply(struct stub_req *r, int status, const char *type, const void *body, size_t len);
/* An OpenAI error object; 429 and 503 get retry-after. */
void stub_refuse(struct stub_req *r, int status, const char *type, const char *code,
                 const char *fmt, ...) BASE_PRINTF(5, 6);
void stub_refuse_api(struct stub_req *r, const struct api_error *e);

/* A reply in pieces. stub_write returns false if the request ended (the client is gone or too
 * slow). */
bool stub_stream(struct stub_req *r, const char *type);
bool stub_write(struct stub_req *r, const void *p, size_t len);
void stub_finish(struct stub_req *r, const char *outcome);
/* RST_STREAM. */
void stub_drop(struct stub_req *r, const char *outcome);

#endif
