/* HTTP bodies: the first byte chooses request (chat, completion) or a far server's event stream.
 * What parses must be written and parse again. */
#include <stdint.h>
#include <stdlib.h>

#include "api/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void request(bool is_chat, const uint8_t *data, size_t size)
{
    struct api_request r, again;
    struct api_error e;
    struct base_arena a;
    struct base_buf b;
    base_arena_init(&a, 1 << 20);
    base_buf_init(&b, 4 << 20);
    if (api_request_parse(&r, &a, is_chat, (const char *)data, size, &e) == 0) {
        if (api_request_write(&r, &b) != 0 ||
            api_request_parse(&again, &a, is_chat, (const char *)b.data, b.len, &e) == BASE_EFORMAT)
            abort();
    } else if (e.status < 400 || e.message[0] == '\0') {
        abort();
    }
    base_buf_fini(&b);
    base_arena_fini(&a);
}

static void stream(const uint8_t *data, size_t size)
{
    struct api_stream *s = api_stream_new(1 << 14);
    struct api_delta d;
    for (size_t at = 0; s != NULL && at < size;) {
        size_t n = size - at < 97 ? size - at : 97;
        if (api_stream_feed(s, data + at, n) != 0)
            break;
        at += n;
        int r;
        while ((r = api_stream_next(s, &d)) == 1)
            ;
        if (r < 0)
            break;
    }
    api_stream_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        request(true, data + 1, size - 1);
        break;
    case 1:
        request(false, data + 1, size - 1);
        break;
    default:
        stream(data + 1, size - 1);
    }
    return 0;
}
