/* waypostctl model: looks at a GGUF file and measures what the engine makes of it. */
#include "ctl/model.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/buf.h"
#include "ctl/ctl.h"

static const struct {
    const char *name;
    int (*run)(const struct ctl_model_args *a);
    const char *options; /* its long options, space-separated */
    const char *usage;
    int n_file;           /* model files on the command line */
    const char *may_lack; /* of --text, --out and --type, which a command that takes it needs */
} commands[] = {
    {"info", ctl_model_info, "adapter hash keys json",
     "usage: waypostctl model info FILE [--adapter FILE] [--hash] [--keys] [--json]\n\n"
     "Shows what the file is: architecture, sizes, tensor types, tokenizer, chat format, and "
     "whether\n"
     "this engine runs it. Of an adapter (LoRA): alpha, ranks, layers.\n\n"
     "  --adapter FILE  also whether this adapter fits the model, and what it works on\n"
     "  --hash          also the identity that two sides compare before a split (reads all "
     "weights)\n"
     "  --keys          also every metadata key\n",
     .n_file = 1},
    {"bench", ctl_model_bench,
     "adapter threads prompt decode batch context chunk warm repeat kv exact pack-cache json",
     "usage: waypostctl model bench FILE [--threads N] [--prompt LIST] [--batch LIST]\n"
     "                              [--context LIST] [--decode N] [--chunk N] [--warm N] [--repeat "
     "N]\n"
     "                              [--kv TYPE] [--exact] [--pack-cache DIR]\n"
     "                              [--adapter FILE] [--json]\n\n"
     "Measures the time to the first token, prompt and decode tokens per second, load time and "
     "peak\n"
     "memory. Everything runs to warm up, then N times: median, smallest and largest are shown.\n"
     "A LIST is up to 8 numbers, \"128,512\". Progress goes to stderr.\n\n"
     "  --threads N     worker threads (default: the CPUs that this process may use)\n"
     "  --prompt LIST   tokens of a prompt (default 128,512)\n"
     "  --batch LIST    sessions that decode together, after the first context (default 1,2,4,8)\n"
     "  --context LIST  tokens before those decoded, with the first batch (default 0,512,4096)\n"
     "  --decode N      tokens decoded a session (default 32)\n"
     "  --chunk N       prompt tokens in one step (default 64)\n"
     "  --warm N        runs that don't count (default 1)\n"
     "  --repeat N      those that do (default 5)\n"
     "  --kv TYPE       how keys and values are kept: f16 (default), f32 or q8_0\n"
     "  --exact         activations stay f32, where they are rounded to 8 bits otherwise\n"
     "  --pack-cache DIR  where packed weights are kept between loads (default: packed anew)\n"
     "  --adapter FILE    every session runs with this adapter (LoRA)\n",
     .n_file = 1},
    {"perplexity", ctl_model_perplexity, "adapter text all kv exact threads json",
     "usage: waypostctl model perplexity FILE --text FILE [--all] [--kv TYPE] [--exact]\n"
     "                                   [--adapter FILE] [--threads N] [--json]\n\n"
     "exp of the mean negative log-likelihood of a text. As is the custom, the text is cut into\n"
     "chunks of 512 tokens (a last, shorter one is left out), each read on its own, and the\n"
     "predictions of tokens 257 to 512 of each are scored, so that every scored token has at "
     "least\n"
     "256 before it. A model that adds a BOS token gets it in the first place of every chunk.\n\n"
     "  --text FILE  the text; its bytes are tokenized as they are\n"
     "  --all        score every prediction, from the second token of each chunk on, and the "
     "last,\n"
     "               shorter chunk too\n"
     "  --kv TYPE    how keys and values are kept: f16 (default), f32 or q8_0\n"
     "  --exact      activations stay f32, where they are rounded to 8 bits otherwise\n"
     "  --adapter FILE  the model with this adapter (LoRA)\n"
     "  --json       {\"perplexity\": …, \"tokens\": scored ones, …}\n",
     .n_file = 1},
    {"logits", ctl_model_logits, "adapter text ids out kv exact threads chunk",
     "usage: waypostctl model logits FILE (--text FILE | --ids FILE) --out FILE [--kv TYPE]\n"
     "                               [--adapter FILE] [--exact] [--chunk N] [--threads N]\n\n"
     "Writes the logits of every position of a text, read as one context, as raw little-endian "
     "f32\n"
     "[tokens][vocabulary]: for comparing engines (scripts/compare-llamacpp). Prints the two "
     "sizes.\n\n"
     "  --ids FILE   a JSON array of token ids instead of a text\n"
     "  --kv TYPE    how keys and values are kept: f16 (default), f32 or q8_0\n"
     "  --adapter FILE  the model with this adapter (LoRA)\n"
     "  --chunk N    rows a step (default 64); the result does not depend on it\n"
     "  --exact      activations stay f32, where they are rounded to 8 bits otherwise\n",
     .n_file = 1},
    {"tokenize", ctl_model_tokenize, "text texts json",
     "usage: waypostctl model tokenize FILE (--text FILE | --texts FILE) [--json]\n\n"
     "Prints a text's token ids, with BOS if the model wants one and without recognising special\n"
     "tokens.\n\n"
     "  --texts FILE  a JSON array of strings; prints one array of ids for each\n",
     .n_file = 1},
    {"quantize", ctl_model_quantize,
     "type tensor calibration requantize force text all kv exact threads json",
     "usage: waypostctl model quantize IN OUT --type TYPE [--tensor GLOB=TYPE ...]\n"
     "                                 [--calibration FILE] [--requantize] [--force]\n"
     "                                 [--text FILE [--all] [--kv TYPE]] [--threads N] "
     "[--json]\n\n"
     "Writes IN's matrices in smaller types, searching for the scales that lose least, and "
     "reports\n"
     "size and every tensor's error. OUT appears whole or not at all.\n\n"
     "  --type TYPE         q8_0, q6_k, q5_k_m, q4_k_m, q4_0 …: the mixes that llama.cpp calls so\n"
     "  --tensor GLOB=TYPE  this type for the matrices so named, say 'blk.*.attn_v.weight=q6_k';\n"
     "                      may be repeated, the last match wins\n"
     "  --calibration FILE  weigh errors by the inputs that `model calibrate` saw\n"
     "  --requantize        take matrices that are quantised already, which loses twice\n"
     "  --force             replace OUT\n"
     "  --text FILE         compare the two over a text, as `model compare` does\n",
     .n_file = 2, .may_lack = "text"},
    {"calibrate", ctl_model_calibrate, "text out force kv threads",
     "usage: waypostctl model calibrate FILE --text FILE --out FILE [--force] [--kv TYPE]\n"
     "                                  [--threads N]\n\n"
     "Runs a text through the model, in chunks of 512 tokens, and keeps for every matrix how "
     "large\n"
     "the inputs of each column are: what `model quantize --calibration` weighs errors by. The "
     "file\n"
     "is an importance matrix as llama.cpp's tools read and write them.\n",
     .n_file = 1},
    {"compare", ctl_model_compare, "text all kv exact threads json",
     "usage: waypostctl model compare ORIGINAL OTHER --text FILE [--all] [--kv TYPE]\n"
     "                                [--threads N] [--json]\n\n"
     "How far OTHER's predictions of a text are from ORIGINAL's: both perplexities (chunks and\n"
     "scoring as in `model perplexity`), how often the likeliest token is the same, and the\n"
     "Kullback-Leibler divergence of the distributions in nats.\n",
     .n_file = 2},
};
enum { N_COMMAND = sizeof commands / sizeof commands[0] };

static const struct option long_options[] = {
    {"adapter", required_argument, NULL, 'A'},
    {"text", required_argument, NULL, 't'},
    {"texts", required_argument, NULL, 'T'},
    {"ids", required_argument, NULL, 'i'},
    {"out", required_argument, NULL, 'o'},
    {"kv", required_argument, NULL, 'k'},
    {"threads", required_argument, NULL, 'n'},
    {"chunk", required_argument, NULL, 'c'},
    {"prompt", required_argument, NULL, 'p'},
    {"decode", required_argument, NULL, 'd'},
    {"batch", required_argument, NULL, 'b'},
    {"context", required_argument, NULL, 'X'},
    {"repeat", required_argument, NULL, 'r'},
    {"warm", required_argument, NULL, 'w'},
    {"all", no_argument, NULL, 'a'},
    {"hash", no_argument, NULL, 'H'},
    {"keys", no_argument, NULL, 'K'},
    {"exact", no_argument, NULL, 'x'},
    {"type", required_argument, NULL, 'y'},
    {"tensor", required_argument, NULL, 'e'},
    {"calibration", required_argument, NULL, 'C'},
    {"requantize", no_argument, NULL, 'R'},
    {"force", no_argument, NULL, 'f'},
    {"pack-cache", required_argument, NULL, 'P'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void usage(FILE *out)
{
    fputs("usage: waypostctl model COMMAND FILE [OPTION ...]\n\n"
          "  info        what the file is, and whether this engine runs it\n"
          "  bench       tokens per second, time to first token, memory\n"
          "  perplexity  how well it predicts a text\n"
          "  logits      every position's logits, for comparing engines\n"
          "  tokenize    a text's token ids\n"
          "  quantize    a smaller file, and what it costs\n"
          "  calibrate   what goes into its matrices over a text, for quantize\n"
          "  compare     how far one model's predictions are from another's\n\n"
          "Each takes --help. WAYPOST_CPU names the kernels to use. Exit status: 0 fine, 1 the "
          "answer\n"
          "is no, 2 usage, 3 could not do it.\n",
          out);
}

int ctl_model_fail(const struct base_err *err)
{
    char line[600];
    fprintf(stderr, "waypostctl: %s\n", base_err_line(err, line, sizeof line));
    return CTL_FAIL;
}

int ctl_read_file(const char *path, size_t max_bytes, char **out, size_t *len, struct base_err *err)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return base_err_set(err, BASE_EIO, path, "cannot open: %m");
    struct base_buf b;
    base_buf_init(&b, max_bytes + 1);
    char piece[65536];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0 && base_buf_add(&b, piece, n) == 0)
        ;
    const bool broken = ferror(f) != 0;
    fclose(f);
    *len = b.len;
    if (broken || base_buf_cstr(&b) == NULL) {
        const int code = broken ? BASE_EIO : b.err;
        base_buf_fini(&b);
        return base_err_set(err, code, path, "cannot read it (at most %zu bytes)", max_bytes);
    }
    *out = (char *)b.data;
    return 0;
}

static int ids_of_json(const char *path, int n_vocab, int32_t **ids, int *n, struct base_err *err)
{
    json_error_t je;
    json_t *a = json_load_file(path, JSON_REJECT_DUPLICATES, &je);
    if (a == NULL)
        return base_err_set(err, BASE_EFORMAT, path, "line %d: %s", je.line, je.text);
    int rc = 0;
    const size_t count = json_array_size(a);
    *ids = malloc((count + 1) * sizeof **ids);
    if (*ids == NULL)
        rc = base_err_set(err, BASE_ENOMEM, path, "no memory for %zu ids", count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        const json_t *v = json_array_get(a, i);
        const json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= n_vocab)
            rc = base_err_set(err, BASE_EINVAL, path, "element %zu is not a token id", i);
        else
            (*ids)[i] = (int32_t)id;
    }
    *n = (int)count;
    json_decref(a);
    return rc;
}

int ctl_read_ids(const struct ctl_model_args *a, const struct eng_model *m, int32_t **ids, int *n,
                 struct base_err *err)
{
    enum { MAX_TEXT = 64 << 20 };
    if (a->ids != NULL)
        return ids_of_json(a->ids, eng_model_config(m)->n_vocab, ids, n, err);
    char *text = NULL;
    size_t len = 0;
    int rc = ctl_read_file(a->text, MAX_TEXT, &text, &len, err);
    if (rc == 0)
        rc = eng_tok_encode(eng_model_tok(m), text, len, ENG_TOK_BOS, MAX_TEXT, ids, n, err);
    free(text);
    return rc;
}

static int usage_error(const char *command, const char *what, const char *value)
{
    fprintf(stderr, "waypostctl model %s: %s%s; see --help\n", command, what, value);
    return CTL_USAGE;
}

/* A whole number in [1, max]. */
static bool parse_count(const char *s, int max, int *out)
{
    char *end = NULL;
    errno = 0;
    const long v = strtol(s, &end, 10);
    if (errno != 0 || end == s || *end != '\0' || v < 1 || v > max)
        return false;
    *out = (int)v;
    return true;
}

/* Up to CTL_MAX_COUNTS whole numbers in [min, max] with commas between. */
static bool parse_counts(const char *s, int min, int max, struct ctl_counts *out)
{
    out->n = 0;
    for (;;) {
        char *end = NULL;
        errno = 0;
        const long v = strtol(s, &end, 10);
        if (errno != 0 || end == s || v < min || v > max || out->n == CTL_MAX_COUNTS)
            return false;
        out->v[out->n++] = (int)v;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
        s = end + 1;
    }
}

static bool takes(const char *options, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = options; (at = strstr(at, name)) != NULL; at += n) {
        if ((at == options || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    }
    return strcmp(name, "help") == 0;
}

static int parse_kv(const char *s, enum kern_kv_type *out)
{
    static const char *const name[] = {
        [KERN_KV_F32] = "f32", [KERN_KV_F16] = "f16", [KERN_KV_Q8_0] = "q8_0"};
    for (int i = KERN_KV_F32; i <= KERN_KV_Q8_0; i++) {
        if (strcmp(s, name[i]) != 0)
            continue;
        *out = (enum kern_kv_type)i;
        return 0;
    }
    return -1;
}

static bool needs(int c, const char *name)
{
    const char *lack = commands[c].may_lack;
    return takes(commands[c].options, name) && (lack == NULL || strcmp(lack, name) != 0);
}

/* -1 to go on, or the exit status. */
static int parse(int c, struct ctl_model_args *a, int argc, char **argv)
{
    const char *const name = commands[c].name;
    int opt, at = 0;
    bool good = true;
    struct ctl_counts warm = {0};
    opterr = 0;
    optind = 1;
    while ((opt = getopt_long(argc, argv, "", long_options, &at)) != -1) {
        if (opt == '?')
            return usage_error(name, "unknown or incomplete option ", argv[optind - 1]);
        if (!takes(commands[c].options, long_options[at].name))
            return usage_error(name, "does not take --", long_options[at].name);
        switch (opt) {
        case 'A':
            a->adapter = optarg;
            break;
        case 't':
            a->text = optarg;
            break;
        case 'T':
            a->texts = optarg;
            break;
        case 'i':
            a->ids = optarg;
            break;
        case 'o':
            a->out = optarg;
            break;
        case 'k':
            good = parse_kv(optarg, &a->kv) == 0;
            break;
        case 'n':
            good = parse_count(optarg, 256, &a->n_thread);
            break;
        case 'c':
            good = parse_count(optarg, 4096, &a->chunk);
            break;
        case 'p':
            good = parse_counts(optarg, 1, 65536, &a->prompt);
            break;
        case 'b':
            good = parse_counts(optarg, 1, 64, &a->batch);
            break;
        case 'P':
            a->pack_cache = optarg;
            break;
        case 'X':
            good = parse_counts(optarg, 0, 65536, &a->context);
            break;
        case 'w':
            good = parse_counts(optarg, 0, 100, &warm) && warm.n == 1;
            a->n_warm = warm.v[0];
            break;
        case 'r':
            good = parse_count(optarg, 100, &a->n_repeat);
            break;
        case 'd':
            good = parse_count(optarg, 65536, &a->n_decode);
            break;
        case 'y':
            a->type = optarg;
            break;
        case 'e':
            if (a->n_tensor == CTL_MAX_TENSOR_RULES)
                return usage_error(name, "too many of --", long_options[at].name);
            a->tensor[a->n_tensor++] = optarg;
            break;
        case 'C':
            a->calibration = optarg;
            break;
        case 'R':
            a->requantize = true;
            break;
        case 'f':
            a->force = true;
            break;
        case 'a':
            a->all = true;
            break;
        case 'H':
            a->hash = true;
            break;
        case 'K':
            a->keys = true;
            break;
        case 'x':
            a->exact = true;
            break;
        case 'j':
            a->json = true;
            break;
        default:
            fputs(commands[c].usage, stdout);
            return CTL_OK;
        }
        if (!good)
            return usage_error(name, "not a good value: ", optarg);
    }
    const bool two = commands[c].n_file == 2;
    if (optind + (two ? 2 : 1) != argc)
        return usage_error(name, "needs exactly ", two ? "two files" : "one model file");
    a->file = argv[optind];
    a->file2 = two ? argv[optind + 1] : NULL;
    if (needs(c, "text") && a->text == NULL && a->texts == NULL && a->ids == NULL)
        return usage_error(name, "needs --text FILE", "");
    if (needs(c, "out") && a->out == NULL)
        return usage_error(name, "needs --out FILE", "");
    if (needs(c, "type") && a->type == NULL)
        return usage_error(name, "needs --type TYPE", "");
    return -1;
}

int ctl_open_adapter(const struct ctl_model_args *a, struct eng_model *m, struct eng_lora **out,
                     struct base_err *err)
{
    *out = NULL;
    return a->adapter == NULL ? 0 : eng_lora_open(out, m, a->adapter, err);
}

int ctl_model(int argc, char **argv)
{
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        usage(stdout);
        return CTL_OK;
    }
    for (int c = 0; argc >= 2 && c < N_COMMAND; c++) {
        if (strcmp(argv[1], commands[c].name) != 0)
            continue;
        struct ctl_model_args a = {.n_thread = (int)sysconf(_SC_NPROCESSORS_ONLN),
                                   .chunk = 64,
                                   .n_decode = 32,
                                   .n_warm = 1,
                                   .n_repeat = 5,
                                   .prompt = {2, {128, 512}},
                                   .batch = {4, {1, 2, 4, 8}},
                                   .context = {3, {0, 512, 4096}},
                                   .kv = KERN_KV_F16};
        if (a.n_thread < 1)
            a.n_thread = 1;
        const int rc = parse(c, &a, argc - 1, argv + 1);
        return rc >= 0 ? rc : commands[c].run(&a);
    }
    if (argc >= 2)
        fprintf(stderr, "waypostctl: no command 'model %s'\n", argv[1]);
    usage(stderr);
    return CTL_USAGE;
}
