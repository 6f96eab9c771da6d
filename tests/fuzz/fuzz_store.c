/* Any bytes as the copy of a policy with its signature. Nothing that was not signed may pass. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* The key whose name stands in the corpus; nobody has its private half. */
    static const char hex[] = "cf3ec4f5ee350b91fcf5fe8bb6c16878568579548e41f4f0b2796bcd8834ed19";
    struct store_key key;
    struct store_set s, again;
    struct base_buf b;
    struct base_err err;
    uint64_t serial = 0;
    if (store_key_parse(&key, hex, "key", &err) != 0 ||
        store_set_unpack(&s, "copy", data, size, &err) != 0)
        return 0;
    if (store_sig_verify(&s, &key, 1, &serial, &err) == 0)
        abort();
    /* What can be read is written as it was. */
    base_buf_init(&b, size + 64);
    if (store_set_pack(&s, &b) == 0 && store_set_unpack(&again, "copy", b.data, b.len, &err) == 0) {
        if (again.n != s.n || memcmp(again.hash, s.hash, sizeof s.hash) != 0)
            abort();
        store_set_fini(&again);
    }
    base_buf_fini(&b);
    store_set_fini(&s);
    return 0;
}
