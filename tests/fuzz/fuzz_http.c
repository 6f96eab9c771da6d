/* HTTP bodies: the first byte chooses request (chat, completion), a far server's event
 * stream, or a model's text. What parses must be written and parse again. */
#include <stdint.h>
#include <stdlib.h>

#include "api/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The answer's form: a grammar, or a refusal with its reason; and messages as a model sees them. */
static void form(const struct api_request *r, struct base_buf *b)
{
    static const struct api_syntax syntax = {"<tool_call>\n", "\n</tool_call>", "arguments", true,
                                             0};
    struct api_error e = {0};
    char trigger[64];
    base_buf_reset(b);
    if (api_grammar_write(r, &syntax, b, trigger, &e) != 0 &&
        (e.status < 400 || e.message[0] == '\0'))
        abort();
    for (int i = 0; i < r->n_msg; i++) {
        base_buf_reset(b);
        if (api_msg_write(&r->msg[i], &syntax, b) != 0)
            abort();
    }
    for (int i = 0; i < r->n_tool; i++) {
        base_buf_reset(b);
        if (api_tool_write(r, i, &syntax, b) != 0)
            abort();
    }
}

static bool heard(void *arg, const struct api_piece *p)
{
    *(size_t *)arg += p->len;
    return p->len > 0 && p->call >= 0 && p->call < API_MAX_CALL;
}

/* A model's text, in pieces: no more comes out than went in. */
static void scan(const uint8_t *data, size_t size)
{
    static const struct api_syntax syntax = {"<t>", "</t>", "a", false, 0};
    struct api_scan *x = api_scan_new(&syntax);
    size_t n_out = 0;
    int rc = 0;
    for (size_t at = 0; x != NULL && at < size && rc == 0; at += 7) {
        const size_t n = size - at < 7 ? size - at : 7;
        rc = api_scan_feed(x, (const char *)data + at, n, at + n == size, heard, &n_out);
    }
    if (n_out > size || (rc != 0 && rc != BASE_ELIMIT))
        abort();
    api_scan_free(x);
}

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
        if (is_chat)
            form(&r, &b);
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
    switch (data[0] % 4) {
    case 0:
        request(true, data + 1, size - 1);
        break;
    case 1:
        request(false, data + 1, size - 1);
        break;
    case 2:
        stream(data + 1, size - 1);
        break;
    default:
        scan(data + 1, size - 1);
    }
    return 0;
}
