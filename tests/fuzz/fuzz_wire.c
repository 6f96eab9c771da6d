/* Any bytes as a wire stream, cut into pieces by the first byte. What decodes must encode again. */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct wire_frame *f)
{
    struct base_buf b;
    struct wire_frame g;
    if (f->type == WIRE_HELLO && f->u.hello.version != WIRE_VERSION)
        return;
    base_buf_init(&b, WIRE_MAX_FRAME + WIRE_HEAD_BYTES);
    struct wire_decoder *d = wire_decoder_new();
    if (d == NULL)
        return;
    if (wire_encode(f, &b) != 0 || wire_decoder_feed(d, b.data, b.len) != 0 ||
        wire_decoder_next(d, &g, NULL) != 1 || g.type != f->type || wire_decoder_partial(d))
        abort();
    wire_decoder_free(d);
    base_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t step = data[0] != 0 ? data[0] : size;
    struct wire_decoder *d = wire_decoder_new();
    struct wire_frame f;
    struct base_err err;
    int rc = d != NULL ? 0 : -1;
    for (size_t at = 1; at < size && rc == 0; at += step) {
        rc = wire_decoder_feed(d, data + at, size - at < step ? size - at : step);
        while (rc == 0 && (rc = wire_decoder_next(d, &f, &err)) == 1) {
            check_again(&f);
            rc = 0;
        }
        if (rc < 0 && wire_decoder_next(d, &f, &err) != rc)
            abort(); /* errors are final */
    }
    wire_decoder_free(d);
    return 0;
}
