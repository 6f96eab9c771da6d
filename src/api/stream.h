/* The other direction, for the edge's prompt executor: an SSE byte stream from an OpenAI-compatible
 * server -> deltas. Untrusted. */
#ifndef API_STREAM_H
#define API_STREAM_H

#include "api/chat.h"

struct api_stream;
struct api_delta {
    const char *text; /* [len], valid until the next call; may be empty */
    size_t len;
    struct { /* pieces of calls; id and name NULL once it has begun */
        int index;
        struct api_call piece;
    } call[API_MAX_CALL];
    int n_call;
    const char *finish_reason; /* NULL until the last one */
    bool has_usage;
    struct api_usage usage;
    bool done;     /* [DONE] */
    bool is_error; /* an error event; message in error */
    char error[256];
};
struct api_stream *api_stream_new(size_t max_event_bytes); /* NULL: out of memory */
void api_stream_free(struct api_stream *s);
int api_stream_feed(struct api_stream *s, const void *p,
                    size_t n) BASE_MUST_CHECK; /* ELIMIT, ENOMEM */
/* 1 and *d, 0: more bytes needed, BASE_EFORMAT. */
int api_stream_next(struct api_stream *s, struct api_delta *d) BASE_MUST_CHECK;

#endif
