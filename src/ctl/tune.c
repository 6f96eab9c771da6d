/* waypostctl tune: fits what the edge decides by to labelled sentences. */
#include "ctl/tune.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/outfile.h"
#include "ctl/ctl.h"
#include "ctl/model.h"

enum { MAX_FILE = 4 << 20, MAX_ROWS = 64 << 20 };

static const struct option long_options[] = {
    {"adapter", required_argument, NULL, 'A'},
    {"data", required_argument, NULL, 'd'},
    {"fit", required_argument, NULL, 'F'},
    {"catalogue", required_argument, NULL, 'C'},
    {"fit", required_argument, NULL, 'F'},
    {"out", required_argument, NULL, 'o'},
    {"rows", required_argument, NULL, 'r'},
    {"task", required_argument, NULL, 't'},
    {"layers", required_argument, NULL, 'l'},
    {"folds", required_argument, NULL, 'k'},
    {"resamples", required_argument, NULL, 'b'},
    {"seed", required_argument, NULL, 's'},
    {"max-tok", required_argument, NULL, 'm'},
    {"threads", required_argument, NULL, 'n'},
    {"force", no_argument, NULL, 'f'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void usage(FILE *out)
{
    fputs(
        "usage: waypostctl tune confidence MODEL --data FILE [--adapter FILE] [--fit FILE]\n"
        "                                  [--catalogue FILE] [--out FILE] [--rows FILE]\n"
        "                                  [--task LIST] [--layers LIST] [--folds N] [--resamples "
        "N]\n"
        "                                  [--seed N] [--max-tok N] [--threads N] [--force] "
        "[--json]\n\n"
        "Runs labelled sentences through the model and compares, on held-out folds, what tells\n"
        "right answers from wrong ones and commands from open questions: probabilities, entropy\n"
        "and margins of the answer's tokens, and regressions on the states at some layers. Writes\n"
        "the chosen ones as a confidence file, which is good for this model and adapter alone.\n\n"
        "  --data FILE      a line a sentence: language, sentence, the line that should be\n"
        "                   answered (`none`: an open question), with tabs between\n"
        "  --adapter FILE   the adapter (LoRA) that answers\n"
        "  --catalogue FILE hold answers to these functions, as the edge does\n"
        "  --fit FILE       sentences apart from those of --data, for the regressions that tell\n"
        "                   commands; --data is then what they are measured and calibrated on\n"
        "  --out FILE       the confidence file to write\n"
        "  --rows FILE      also a table of every sentence: answer, probabilities, signals\n"
        "  --task LIST      call,command (default) or answer\n"
        "  --layers LIST    up to 8 layers to look at (default: six, spread evenly)\n"
        "  --folds N        parts of the sentences that are held out in turn (default 5)\n"
        "  --resamples N    of the bootstrap, for the intervals (default 1000)\n"
        "  --seed N         of folds and resamples (default 1); the same seed, the same file\n"
        "  --max-tok N      tokens of an answer at most (default 48)\n"
        "  --threads N      worker threads (default: the CPUs that this process may use)\n"
        "  --force          replace files\n",
        out);
}

static int usage_error(const char *what, const char *value)
{
    fprintf(stderr, "waypostctl tune confidence: %s%s; see --help\n", what, value);
    return CTL_USAGE;
}

static bool parse_number(const char *s, long min, long max, long *out)
{
    char *end = NULL;
    errno = 0;
    *out = strtol(s, &end, 10);
    return errno == 0 && end != s && *end == '\0' && *out >= min && *out <= max;
}

static bool parse_int(const char *s, int min, int max, int *out)
{
    long v = 0;
    const bool good = parse_number(s, min, max, &v);
    *out = good ? (int)v : *out;
    return good;
}

static bool parse_layers(const char *s, struct tune_args *a)
{
    a->n_layer = 0;
    for (;;) {
        char *end = NULL;
        const long v = strtol(s, &end, 10);
        if (end == s || v < 1 || v > 1 << 16 || a->n_layer == TUNE_MAX_LAYER)
            return false;
        a->layer[a->n_layer++] = (int)v;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
        s = end + 1;
    }
}

static bool parse_tasks(const char *s, struct tune_args *a)
{
    memset(a->has_task, 0, sizeof a->has_task);
    while (*s != '\0') {
        const size_t n = strcspn(s, ",");
        int t = 0;
        for (; t < ENG_CONF_N_TASK; t++) {
            const char *name = eng_conf_task_name((enum eng_conf_task)t);
            if (strlen(name) == n && memcmp(name, s, n) == 0)
                break;
        }
        if (t == ENG_CONF_N_TASK)
            return false;
        a->has_task[t] = true;
        s += n + (s[n] == ',');
    }
    return a->has_task[0] || a->has_task[1] || a->has_task[2];
}

/* -1 to go on, or the exit status. */
static int parse(struct tune_args *a, int argc, char **argv)
{
    int opt;
    bool good = true;
    long seed = 1;
    opterr = 0;
    optind = 1;
    while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (opt) {
        case 'A':
            a->adapter = optarg;
            break;
        case 'd':
            a->data = optarg;
            break;
        case 'F':
            a->fit = optarg;
            break;
        case 'C':
            a->catalogue = optarg;
            break;
        case 'o':
            a->out = optarg;
            break;
        case 'r':
            a->rows = optarg;
            break;
        case 't':
            good = parse_tasks(optarg, a);
            break;
        case 'l':
            good = parse_layers(optarg, a);
            break;
        case 'k':
            good = parse_int(optarg, 2, 20, &a->n_fold);
            break;
        case 'b':
            good = parse_int(optarg, 100, 100000, &a->n_resample);
            break;
        case 's':
            good = parse_number(optarg, 0, 1L << 40, &seed);
            break;
        case 'm':
            good = parse_int(optarg, 1, 1024, &a->max_tok);
            break;
        case 'n':
            good = parse_int(optarg, 1, 256, &a->n_thread);
            break;
        case 'f':
            a->force = true;
            break;
        case 'j':
            a->json = true;
            break;
        case 'h':
            usage(stdout);
            return CTL_OK;
        default:
            return usage_error("unknown or incomplete option ", argv[optind - 1]);
        }
        if (!good)
            return usage_error("not a good value: ", optarg);
    }
    a->seed = (uint64_t)seed;
    if (optind + 1 != argc)
        return usage_error("needs exactly one model file", "");
    if (a->data == NULL)
        return usage_error("needs --data FILE", "");
    a->model = argv[optind];
    return -1;
}

/* The confidence file, read back before it is written; and with it, what every sentence gets. */
static int write_out(const struct tune_run *r, const struct tune_set *data,
                     const struct tune_task *t, int n_task, const struct tune_args *a,
                     struct base_err *err)
{
    const struct eng_config *c = eng_model_config(r->m);
    struct eng_conf *conf = NULL;
    struct base_buf b, rows;
    bool any = false;
    base_buf_init(&b, MAX_FILE);
    base_buf_init(&rows, MAX_ROWS);
    tune_write(r, t, n_task, a, &b);
    for (int i = 0; i < n_task; i++)
        any = any || t[i].best >= 0;
    int rc = b.err != 0 ? base_err_set(err, b.err, "--out", "%s", base_code_str(b.err)) : 0;
    if (rc == 0 && any)
        rc = eng_conf_parse(&conf, (const char *)b.data, b.len, "--out", c->n_layer, c->d_model,
                            err);
    if (rc == 0 && a->out != NULL && !any)
        rc =
            base_err_set(err, BASE_ENOTFOUND, a->out, "nothing was found that could be asked then");
    else if (rc == 0 && a->out != NULL)
        rc = base_outfile_put(a->out, a->force, b.data, b.len, err);
    if (rc == 0 && a->rows != NULL && (rc = tune_write_rows(data, conf, &rows)) != 0)
        base_err_set(err, rc, a->rows, "%s", base_code_str(rc));
    if (rc == 0 && a->rows != NULL)
        rc = base_outfile_put(a->rows, a->force, rows.data, rows.len, err);
    eng_conf_close(conf);
    base_buf_fini(&rows);
    base_buf_fini(&b);
    return rc;
}

static int tune_confidence(const struct tune_args *a)
{
    struct base_err err = {0};
    struct tune_run r = {0};
    struct tune_set data = {0}, fit = {0};
    struct tune_task task[ENG_CONF_N_TASK] = {0};
    json_t *all = json_array();
    int n_task = 0;
    int rc = tune_log_read(&data.log, a->data, &err);
    if (rc == 0 && a->fit != NULL)
        rc = tune_log_read(&fit.log, a->fit, &err);
    if (rc == 0)
        rc = tune_run_open(&r, a, &err);
    if (rc == 0)
        rc = tune_run_set(&r, a, &data, true, &err);
    if (rc == 0 && a->fit != NULL)
        rc = tune_run_set(&r, a, &fit, false, &err);
    for (int t = 0; t < ENG_CONF_N_TASK && rc == 0; t++) {
        if (!a->has_task[t])
            continue;
        rc = tune_task_fit(&task[n_task++], (enum eng_conf_task)t, a, &data,
                           a->fit != NULL ? &fit : NULL, &err);
        if (rc == 0 && a->json)
            json_array_append_new(all, tune_json(&task[n_task - 1], &data.log));
        else if (rc == 0)
            tune_print(&task[n_task - 1], &data.log, a);
    }
    if (rc == 0 && a->json) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    if (rc == 0)
        rc = write_out(&r, &data, task, n_task, a, &err);
    json_decref(all);
    for (int t = 0; t < n_task; t++)
        tune_task_fini(&task[t]);
    tune_set_fini(&data);
    tune_set_fini(&fit);
    tune_run_close(&r);
    return rc == 0 ? CTL_OK : ctl_model_fail(&err);
}

int ctl_tune(int argc, char **argv)
{
    struct tune_args a = {.n_fold = 5,
                          .n_resample = 1000,
                          .max_tok = 48,
                          .n_thread = (int)sysconf(_SC_NPROCESSORS_ONLN),
                          .has_task = {[ENG_CONF_CALL] = true, [ENG_CONF_COMMAND] = true}};
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        usage(stdout);
        return CTL_OK;
    }
    if (argc < 2 || strcmp(argv[1], "confidence") != 0) {
        if (argc >= 2)
            fprintf(stderr, "waypostctl: no command 'tune %s'\n", argv[1]);
        usage(stderr);
        return CTL_USAGE;
    }
    const int rc = parse(&a, argc - 1, argv + 1);
    return rc >= 0 ? rc : tune_confidence(&a);
}
