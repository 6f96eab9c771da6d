/* Any bytes as an edge-uplink stream. What decodes must encode again. */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "wire/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ipc_decoder *d = ipc_decoder_new();
    struct ipc_msg m;
    struct base_err err;
    struct base_buf b;
    base_buf_init(&b, 2 * IPC_MAX_FRAME);
    if (d != NULL && ipc_decoder_feed(d, data, size) == 0) {
        while (ipc_decoder_next(d, &m, &err) == 1) {
            base_buf_reset(&b);
            if (ipc_encode(&m, &b) != 0)
                abort();
        }
    }
    base_buf_fini(&b);
    ipc_decoder_free(d);
    return 0;
}
