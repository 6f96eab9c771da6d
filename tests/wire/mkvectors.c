/* Writes proto/vectors: tests/wire/mkvectors DIR. Run it after a change of the protocol, look at
 * the difference, and commit both. Good vectors come with a text of what they mean; bad ones are
 * small lies told on purpose, built by hand because the encoder would refuse. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "base/buf.h"
#include "base/hash.h"
#include "samples.h"

static const char *dir;
static FILE *manifest;

static FILE *create(const char *name, const char *ext)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.%s", dir, name, ext);
    FILE *f = fopen(path, "w");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    return f;
}

static void write_hex(const char *name, const uint8_t *p, size_t n)
{
    FILE *f = create(name, "hex");
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%02x%s", p[i], i + 1 == n || i % 32 == 31 ? "\n" : " ");
    fclose(f);
}

static void good(int i)
{
    struct wire_frame f, g;
    struct base_buf b;
    const char *name = sample_wire(i, &f);
    base_buf_init(&b, 1 << 20);
    struct wire_decoder *d = wire_decoder_new();
    /* What the bytes mean is told after decoding: int8 rows are not what went in. */
    if (wire_encode(&f, &b) != 0 || wire_decoder_feed(d, b.data, b.len) != 0 ||
        wire_decoder_next(d, &g, NULL) != 1) {
        fprintf(stderr, "%s: does not encode\n", name);
        exit(1);
    }
    write_hex(name, b.data, b.len);
    FILE *text = create(name, "txt");
    dump_wire(&g, text);
    fclose(text);
    fprintf(manifest, "%-28s ok\n", name);
    wire_decoder_free(d);
    base_buf_fini(&b);
}

static void bad(const char *name, const char *code, const void *p, size_t n)
{
    char full[64];
    snprintf(full, sizeof full, "bad-%s", name);
    write_hex(full, p, n);
    fprintf(manifest, "%-28s %s\n", full, code);
}

static void bad_body(const char *name, const char *code, uint8_t flags, const void *p, size_t n)
{
    struct base_buf b;
    base_buf_init(&b, 1 << 24);
    base_buf_u32le(&b, (uint32_t)n);
    base_buf_u8(&b, flags);
    base_buf_add(&b, p, n);
    bad(name, code, b.data, b.len);
    base_buf_fini(&b);
}
#define BODY(name, code, bytes) bad_body(name, code, 0, bytes, sizeof(bytes) - 1)

static void bad_heads(void)
{
    bad("empty-body", "format", "\0\0\0\0\0", 5);
    bad("body-over-8-MiB", "limit", "\1\0\x80\0\0", 5);
    bad("unknown-flag", "format", "\3\0\0\0\x02\x81\0\x06", 8);
}

static void bad_msgpack(void)
{
    BODY("not-a-map", "format", "\x93\0\1\2");
    BODY("map-bomb", "format", "\xdf\x10\0\0\0");
    BODY("array-bomb", "format", "\x82\0\x05\1\xdd\x10\0\0\0");
    BODY("text-bomb", "format", "\x82\0\x07\1\xdb\xff\xff\xff\xff");
    BODY("too-deep", "limit",
         "\x82\0\6\1\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\1");
    BODY("key-twice", "format", "\x82\0\6\0\6");
    BODY("keys-descend", "format", "\x82\1\1\0\6");
    BODY("key-text", "format",
         "\x81\xa1"
         "0\6");
    BODY("extension-type", "format", "\x82\0\6\1\xd4\1\0");
    BODY("reserved-type", "format", "\x82\0\6\1\xc1");
    BODY("not-utf8", "format", "\x82\0\6\1\xa2\xc0\x80");
    BODY("surrogate", "format", "\x82\0\6\1\xa3\xed\xa0\x80");
    BODY("bytes-after", "format", "\x81\0\6\0");
    BODY("cut-value", "format", "\x82\0\6\1\xce\0\0");
    uint8_t many[1100];
    memset(many, 1, sizeof many);
    memcpy(many, "\x82\0\6\1\xdc\x04\x40", 7);
    bad_body("too-many-values", "limit", 0, many, 7 + 0x440);
}

static void bad_schema(void)
{
    BODY("no-type", "format", "\x81\1\6");
    BODY("type-unknown", "unsupported", "\x81\0\x08");
    BODY("key-unknown", "format", "\x82\0\6\1\1");
    BODY("key-missing", "format", "\x85\0\7\1\0\2\0\3\0\4\0");
    BODY("key-skipped", "format", "\x86\0\7\1\0\2\0\3\0\4\0\6\xa0");
    BODY("status-unknown", "format", "\x86\0\7\1\x0b\2\0\3\0\4\0\5\xa0");
    BODY("number-negative", "format", "\x86\0\7\1\0\2\xff\3\0\4\0\5\xa0");
    BODY("number-over-32-bits", "format", "\x86\0\7\1\0\2\xcf\0\0\0\1\0\0\0\0\3\0\4\0\5\xa0");
    BODY("text-with-newline", "format", "\x86\0\7\1\0\2\0\3\0\4\0\5\xa1\n");
    BODY("real-as-integer", "format", "\x86\0\4\1\0\2\0\3\0\4\xca\0\0\0\0\5\x90");
    BODY("real-nan", "format", "\x86\0\4\1\0\2\0\3\xca\x7f\xc0\0\0\4\xca\0\0\0\0\5\x90");
    BODY("top-odd", "format", "\x86\0\4\1\0\2\0\3\xca\0\0\0\0\4\xca\0\0\0\0\5\x91\1");
}

/* A ROWS frame around any tensor: pos 0, layer 1, want. */
static void bad_tensor(const char *name, const char *code, int dtype, unsigned n_row, unsigned d,
                       const void *p, size_t n, uint64_t flip)
{
    struct base_buf b;
    base_buf_init(&b, 1 << 16);
    base_buf_add(&b, "\x85\0\3\1\0\2\1\3\x95", 9);
    base_buf_u8(&b, (uint8_t)dtype);
    for (int i = 0; i < 2; i++) {
        unsigned v = i == 0 ? n_row : d;
        base_buf_u8(&b, 0xce);
        for (int k = 24; k >= 0; k -= 8)
            base_buf_u8(&b, (uint8_t)(v >> k));
    }
    uint64_t sum = base_xxh64(p, n) ^ flip;
    base_buf_u8(&b, 0xcf);
    for (int k = 56; k >= 0; k -= 8)
        base_buf_u8(&b, (uint8_t)(sum >> k));
    base_buf_u8(&b, 0xc4);
    base_buf_u8(&b, (uint8_t)n);
    base_buf_add(&b, p, n);
    base_buf_add(&b, "\4\xc3", 2);
    bad_body(name, code, 0, b.data, b.len);
    base_buf_fini(&b);
}

static void bad_tensors(void)
{
    static const uint8_t one[4] = {0, 0, 0x80, 0x3f}, nan32[4] = {0, 0, 0xc0, 0x7f};
    static const uint8_t inf16[2] = {0, 0x7c};
    static const uint8_t i8_low[4] = {0, 0x3c, 0x80, 1}, i8_neg[4] = {0, 0xbc, 1, 1};
    static const uint8_t i8_inf[4] = {0, 0x7c, 1, 1};
    bad_tensor("tensor-checksum", "mismatch", 0, 1, 1, one, 4, 1);
    bad_tensor("tensor-short", "format", 0, 1, 2, one, 4, 0);
    bad_tensor("tensor-long", "format", 1, 1, 1, one, 4, 0);
    bad_tensor("tensor-nan", "format", 0, 1, 1, nan32, 4, 0);
    bad_tensor("tensor-f16-infinite", "format", 1, 1, 1, inf16, 2, 0);
    bad_tensor("tensor-i8-minus-128", "format", 2, 1, 2, i8_low, 4, 0);
    bad_tensor("tensor-i8-scale-negative", "format", 2, 1, 2, i8_neg, 4, 0);
    bad_tensor("tensor-i8-scale-infinite", "format", 2, 1, 2, i8_inf, 4, 0);
    bad_tensor("tensor-dtype", "unsupported", 3, 1, 1, one, 4, 0);
    bad_tensor("tensor-no-rows", "limit", 0, 0, 1, one, 0, 0);
    bad_tensor("tensor-4097-rows", "limit", 0, 4097, 1, one, 4, 0);
    bad_tensor("tensor-wide", "limit", 0, 1, 16385, one, 4, 0);
    bad_tensor("tensor-many-values", "limit", 2, 4096, 16384, one, 4, 0);
    bad_tensor("tensor-product-wraps", "limit", 0, 0x80000000u, 0x80000000u, one, 4, 0);
}

static size_t compress(const void *p, size_t n, uint8_t *out, size_t size, int window,
                       int content_size)
{
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(z, ZSTD_c_contentSizeFlag, content_size);
    ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, window);
    size_t got = ZSTD_compress2(z, out, size, p, n);
    ZSTD_freeCCtx(z);
    return ZSTD_isError(got) ? 0 : got;
}

static void bad_zstd(void)
{
    static const uint8_t cancel[] = {0x81, 0, 6};
    static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0};
    static uint8_t zeros[(8 << 20) + 1], out[1 << 16];
    bad_body("zstd-not-zstd", "format", 1, cancel, sizeof cancel);
    bad_body("zstd-skippable", "format", 1, skippable, sizeof skippable);
    size_t n = compress(cancel, sizeof cancel, out, sizeof out, 10, 0);
    bad_body("zstd-no-content-size", "format", 1, out, n);
    n = compress(cancel, sizeof cancel, out, sizeof out, 10, 1);
    memcpy(out + n, skippable, sizeof skippable);
    bad_body("zstd-two-frames", "format", 1, out, n + sizeof skippable);
    out[n - 1] ^= 0x55;
    out[5] ^= 0x80;
    bad_body("zstd-damaged", "format", 1, out, n);
    n = compress(zeros, sizeof zeros, out, sizeof out, 20, 1);
    bad_body("zstd-over-8-MiB", "limit", 1, out, n);
    n = compress(zeros, 4 << 20, out, sizeof out, 22, 1);
    bad_body("zstd-window-over-1-MiB", "format", 1, out, n);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: mkvectors DIR\n");
        return 2;
    }
    dir = argv[1];
    manifest = create("manifest", "txt");
    fputs("# name (.hex: one frame; .txt: what it says), then what a decoder answers:\n"
          "# ok, or the kind of refusal (proto/wire-v1.md, \"Errors\").\n",
          manifest);
    struct wire_frame f;
    for (int i = 0; sample_wire(i, &f) != NULL; i++)
        good(i);
    bad_heads();
    bad_msgpack();
    bad_schema();
    bad_tensors();
    bad_zstd();
    fclose(manifest);
    return 0;
}
