/* model quantize: a smaller file, and what it cost. */
#include "ctl/model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "ctl/model_compare.h"
#include "engine/quantize.h"

/* Everything that one run holds. */
struct work {
    struct gguf_file *src, *calib;
    struct eng_quantize_rule rule[CTL_MAX_TENSOR_RULES];
    struct eng_quantize *plan;
    struct eng_pool *pool;
    struct base_outfile out;
    int64_t start_us, told_us;
};

static void work_fini(struct work *w)
{
    base_outfile_abort(&w->out);
    eng_quantize_free(w->plan);
    eng_pool_free(w->pool);
    gguf_close(w->calib);
    gguf_close(w->src);
    for (int i = 0; i < CTL_MAX_TENSOR_RULES; i++)
        free((char *)w->rule[i].glob);
}

/* "GLOB=TYPE" */
static int parse_rule(const char *s, struct eng_quantize_rule *r, struct base_err *err)
{
    const char *eq = strrchr(s, '=');
    if (eq == NULL || eq == s)
        return base_err_set(err, BASE_EINVAL, s, "an override is GLOB=TYPE");
    if (!eng_quantize_type(eq + 1, &r->type))
        return base_err_set(err, BASE_EINVAL, s, "no tensor type '%s' can be written", eq + 1);
    r->glob = strndup(s, (size_t)(eq - s));
    return r->glob != NULL ? 0 : base_err_set(err, BASE_ENOMEM, s, "out of memory");
}

/* What the command line alone decides: a mistake there is told before a file is opened. */
static int read_options(struct work *w, const struct ctl_model_args *a,
                        struct eng_quantize_opt *opt, struct base_err *err)
{
    *opt = (struct eng_quantize_opt){.mix = eng_mix_find(a->type),
                                     .rule = w->rule,
                                     .n_rule = a->n_tensor,
                                     .requantize = a->requantize};
    if (opt->mix == NULL)
        return base_err_set(err, BASE_EINVAL, "--type", "no type '%s' (there are %s)", a->type,
                            eng_mix_names());
    int rc = 0;
    for (int i = 0; i < a->n_tensor && rc == 0; i++)
        rc = parse_rule(a->tensor[i], &w->rule[i], err);
    return rc;
}

/* A line on a terminal, for work longer than two seconds. */
static void progress(void *arg, int64_t done, int64_t all)
{
    struct work *w = arg;
    const int64_t now = base_clock_mono_us();
    if (!isatty(STDERR_FILENO) || now - w->start_us < 2000000 ||
        (now - w->told_us < 200000 && done < all))
        return;
    w->told_us = now;
    const double share = (double)done / (double)all, spent = (double)(now - w->start_us) / 1e6;
    fprintf(stderr, "\rquantising: %5.1f %%, %.0f s left   %s", 100.0 * share,
            spent / share - spent, done == all ? "\n" : "");
}

static int quantize(struct work *w, const struct ctl_model_args *a, struct base_err *err)
{
    struct eng_quantize_opt opt;
    int rc = read_options(w, a, &opt, err);
    if (rc == 0)
        rc = gguf_open(&w->src, a->file, err);
    if (rc == 0 && a->calibration != NULL)
        rc = gguf_open(&w->calib, a->calibration, err);
    opt.calib = w->calib;
    if (rc == 0)
        rc = eng_quantize_plan(&w->plan, w->src, &opt, err);
    if (rc == 0)
        rc = base_outfile_open(&w->out, a->file2, a->force, err);
    if (rc == 0)
        rc = eng_pool_new(&w->pool, a->n_thread, err);
    if (rc == 0)
        rc = eng_quantize_run(w->plan, w->pool, &w->out, progress, w, err);
    return rc == 0 ? base_outfile_commit(&w->out, err) : rc;
}

static int64_t n_elem(const struct gguf_tensor *t)
{
    return t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
}

static double bits_per_weight(const struct work *w, uint64_t bytes)
{
    int64_t n = 0;
    for (int i = 0; i < gguf_n_tensor(w->src); i++)
        n += n_elem(gguf_tensor_at(w->src, i));
    return n > 0 ? 8.0 * (double)bytes / (double)n : 0.0;
}

static const char *type_name(uint32_t type)
{
    return gguf_type_info(type)->name;
}

static void print_report(const struct work *w, const struct ctl_model_args *a)
{
    const uint64_t before = gguf_size_bytes(w->src), after = eng_quantize_file_bytes(w->plan);
    printf("%-36s %-6s    %-6s %12s  %s\n", "tensor", "was", "is", "bytes", "relative error");
    for (int i = 0; i < eng_quantize_n_tensor(w->plan); i++) {
        const struct eng_quantize_tensor *x = eng_quantize_tensor_at(w->plan, i);
        printf("%-36s %-6s %s %-6s %12zu", x->src->name, type_name(x->src->type),
               x->type != x->src->type ? "->" : "  ", type_name(x->type), x->n_bytes);
        if (x->type != x->src->type)
            printf("  %.5f%s%s", x->rms, x->in != NULL ? ", calibrated" : "",
                   x->rule >= 0 ? ", override" : "");
        putchar('\n');
    }
    printf("\n%s: %.1f MB, %.2f bits a weight\n%s: %.1f MB, %.2f bits a weight\n", a->file,
           (double)before / 1e6, bits_per_weight(w, before), a->file2, (double)after / 1e6,
           bits_per_weight(w, after));
}

static json_t *report_json(const struct work *w, const struct ctl_model_args *a)
{
    const uint64_t before = gguf_size_bytes(w->src), after = eng_quantize_file_bytes(w->plan);
    json_t *tensors = json_array();
    for (int i = 0; i < eng_quantize_n_tensor(w->plan); i++) {
        const struct eng_quantize_tensor *x = eng_quantize_tensor_at(w->plan, i);
        json_array_append_new(tensors,
                              json_pack("{s:s, s:s, s:s, s:I, s:f, s:b, s:b}", "name", x->src->name,
                                        "was", type_name(x->src->type), "is", type_name(x->type),
                                        "bytes", (json_int_t)x->n_bytes, "relative_error", x->rms,
                                        "calibrated", x->in != NULL, "override", x->rule >= 0));
    }
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:o}", "original", a->file, "file",
                     a->file2, "type", a->type, "original_bytes", (json_int_t)before, "bytes",
                     (json_int_t)after, "original_bits_per_weight", bits_per_weight(w, before),
                     "bits_per_weight", bits_per_weight(w, after), "tensors", tensors);
}

static void warn_twice(const struct work *w)
{
    int n = 0;
    for (int i = 0; i < eng_quantize_n_tensor(w->plan); i++) {
        const struct eng_quantize_tensor *x = eng_quantize_tensor_at(w->plan, i);
        const uint32_t was = x->src->type;
        n += x->type != was && was != GGUF_F32 && was != GGUF_F16 && was != GGUF_BF16;
    }
    if (n > 0)
        fprintf(
            stderr,
            "waypostctl: warning: %d matrices were quantised before and have lost twice; errors "
            "are beside what they were, not beside the original weights\n",
            n);
}

int ctl_model_quantize(const struct ctl_model_args *a)
{
    struct base_err err = {0};
    struct work w = {.out = BASE_OUTFILE_NONE, .start_us = base_clock_mono_us()};
    struct ctl_comparison c;
    json_t *o = NULL;
    int rc = quantize(&w, a, &err);
    if (rc == 0) {
        warn_twice(&w);
        if (a->json)
            o = report_json(&w, a);
        else
            print_report(&w, a);
        fflush(stdout);
    }
    if (rc == 0 && a->text != NULL)
        rc = ctl_compare(a, a->file, a->file2, &c, &err);
    if (rc == 0 && a->text != NULL && a->json)
        json_object_set_new(o, "comparison", ctl_comparison_json(&c));
    else if (rc == 0 && a->text != NULL)
        ctl_comparison_print(&c);
    if (rc == 0 && a->json) {
        json_dumpf(o, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(o);
    work_fini(&w);
    return rc == 0 ? CTL_OK : ctl_model_fail(&err);
}
