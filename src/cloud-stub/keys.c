#include "cloud-stub/keys.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint8_t key[STUB_KEY_BYTES];
    int64_t until_us; /* 0: never used */
};

struct stub_keys {
    int n, next;
    int64_t keep_us;
    struct entry ring[]; /* [n]; looked through from end to end: 4096 of them take microseconds */
};

int stub_keys_new(struct stub_keys **out, int n_key, int64_t keep_us)
{
    struct stub_keys *k = calloc(1, sizeof *k + (size_t)n_key * sizeof k->ring[0]);
    if (k == NULL)
        return BASE_ENOMEM;
    k->n = n_key;
    k->keep_us = keep_us;
    *out = k;
    return 0;
}

void stub_keys_free(struct stub_keys *k)
{
    free(k);
}

bool stub_keys_seen(const struct stub_keys *k, const uint8_t key[STUB_KEY_BYTES], int64_t now_us)
{
    for (int i = 0; i < k->n; i++) {
        const struct entry *e = &k->ring[i];
        if (e->until_us > now_us && memcmp(e->key, key, STUB_KEY_BYTES) == 0)
            return true;
    }
    return false;
}

void stub_keys_add(struct stub_keys *k, const uint8_t key[STUB_KEY_BYTES], int64_t now_us)
{
    struct entry *e = &k->ring[k->next];
    memcpy(e->key, key, STUB_KEY_BYTES);
    e->until_us = now_us + k->keep_us;
    k->next = (k->next + 1) % k->n;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool stub_key_parse(const char *hex, uint8_t key[STUB_KEY_BYTES])
{
    if (strlen(hex) != 2 * STUB_KEY_BYTES)
        return false;
    for (int i = 0; i < STUB_KEY_BYTES; i++) {
        int hi = digit(hex[2 * i]), lo = digit(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        key[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}
