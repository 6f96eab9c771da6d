/* An adapter's bytes beside a fixed small model: keys, tensors, shapes; then rows with it and
 * without, in one batch. The row without must come out as if alone. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../fixtures/gguf_put.h"
#include "engine/lora.h"

enum { D = 32, FF = 64, N_LAYER = 2, N_VOCAB = 8, N_ROW = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct eng_model *model;
static struct eng_exec *ex;
static float plain[N_ROW][N_VOCAB];

static const struct {
    const char *name;
    uint64_t d0, d1;
} part[] = {
    {"attn_norm.weight", D, 0}, {"attn_q.weight", D, D},      {"attn_k.weight", D, D},
    {"attn_v.weight", D, D},    {"attn_output.weight", D, D}, {"ffn_norm.weight", D, 0},
    {"ffn_gate.weight", D, FF}, {"ffn_up.weight", D, FF},     {"ffn_down.weight", FF, D},
};
enum { N_PART = sizeof part / sizeof part[0] };

static void put_keys(struct base_buf *b)
{
    put_kv_str(b, "general.architecture", "llama");
    put_kv_u32(b, "llama.block_count", N_LAYER);
    put_kv_u32(b, "llama.context_length", 64);
    put_kv_u32(b, "llama.embedding_length", D);
    put_kv_u32(b, "llama.feed_forward_length", FF);
    put_kv_u32(b, "llama.attention.head_count", 2);
    put_kv_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_kv_str(b, "tokenizer.ggml.model", "gpt2");
    put_kv_str(b, "tokenizer.ggml.pre", "gpt-2");
    put_kv_arr(b, "tokenizer.ggml.tokens", GGUF_KV_STR, N_VOCAB);
    for (int i = 0; i < N_VOCAB; i++) {
        const char c[2] = {(char)('a' + i), 0};
        put_str(b, i == N_VOCAB - 1 ? "ab" : c, i == N_VOCAB - 1 ? 2 : 1);
    }
    put_kv_arr(b, "tokenizer.ggml.merges", GGUF_KV_STR, 1);
    put_str(b, "a b", 3);
}
enum { N_KEY = 11 };

static uint64_t table_at;

static void put_entry(struct base_buf *b, const char *name, uint64_t d0, uint64_t d1)
{
    const uint64_t dim[2] = {d0, d1};
    put_tensor(b, name, d1 > 0 ? 2 : 1, dim, GGUF_F32, table_at);
    table_at += (d0 * (d1 > 0 ? d1 : 1) * 4 + 31) / 32 * 32;
}

static int model_write(void)
{
    struct base_buf b;
    base_buf_init(&b, 1 << 22);
    put_head(&b, 3 + N_LAYER * N_PART, N_KEY);
    put_keys(&b);
    put_entry(&b, "token_embd.weight", D, N_VOCAB);
    put_entry(&b, "output.weight", D, N_VOCAB);
    put_entry(&b, "output_norm.weight", D, 0);
    for (int l = 0; l < N_LAYER; l++) {
        for (int p = 0; p < N_PART; p++) {
            char name[48];
            snprintf(name, sizeof name, "blk.%d.%s", l, part[p].name);
            put_entry(&b, name, part[p].d0, part[p].d1);
        }
    }
    put_pad(&b, 32);
    for (uint64_t i = 0; i < table_at / 4; i++) {
        const float v = (float)(i * 2654435761u % 1000) / 2500.0f - 0.2f;
        base_buf_add(&b, &v, sizeof v);
    }
    const int fd = memfd_create("model", MFD_CLOEXEC);
    if (fd < 0 || b.err != 0 || write(fd, b.data, b.len) != (ssize_t)b.len)
        abort();
    base_buf_fini(&b);
    return fd;
}

static struct eng_session *session(void)
{
    struct eng_session *s = NULL;
    if (eng_session_new(&s, model, 8, KERN_KV_F16, NULL) != 0)
        abort();
    return s;
}

static const int32_t token[N_ROW] = {1, 5, 3};

static struct eng_seg seg_of(struct eng_session *s, const struct eng_lora *l, float *logits)
{
    return (struct eng_seg){.s = s,
                            .layer_end = N_LAYER,
                            .n_row = N_ROW,
                            .token = token,
                            .logits = logits,
                            .logits_all = true,
                            .lora = l};
}

static void setup(void)
{
    char path[32];
    struct base_err err = {0};
    const int fd = model_write();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const struct eng_model_opt o = {.path = path, .layer_end = -1, .n_thread = 1};
    if (eng_model_open(&model, &o, &err) != 0 ||
        eng_exec_new(&ex, model, 1, 2 * N_ROW, &err) != 0) {
        fprintf(stderr, "%s: %s\n", err.place, err.msg);
        abort();
    }
    close(fd);
    struct eng_session *s = session();
    const struct eng_seg g = seg_of(s, NULL, plain[0]);
    if (eng_exec_run(ex, &g, 1, NULL) != 0)
        abort();
    eng_session_free(s);
}

static void step(const struct eng_lora *l)
{
    static float got[2][N_ROW][N_VOCAB];
    struct eng_session *s[2] = {session(), session()};
    const struct eng_seg g[2] = {seg_of(s[0], l, got[0][0]), seg_of(s[1], NULL, got[1][0])};
    if (eng_exec_run(ex, g, 2, NULL) != 0 || memcmp(got[1], plain, sizeof plain) != 0)
        abort();
    eng_session_free(s[0]);
    eng_session_free(s[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    struct eng_lora *l = NULL;
    struct base_err err = {0};
    if (model == NULL)
        setup();
    const int fd = memfd_create("adapter", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (eng_lora_open(&l, model, path, &err) == 0) {
        const struct eng_lora_info *i = eng_lora_info(l);
        if (i->n_pair < 1 || i->rank_min < 1 || i->rank_max > ENG_LORA_MAX_RANK ||
            !eng_lora_touches(l, 0, N_LAYER + 1))
            abort();
        step(l);
        eng_lora_close(l);
    } else if (err.msg[0] == '\0' || l != NULL) {
        abort();
    }
    close(fd);
    return 0;
}
