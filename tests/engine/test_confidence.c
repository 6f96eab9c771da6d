/* Confidence files: what they say is what is computed, another model's are refused, and whatever is
 * wrong with one is told with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>

#include "base/hash.h"
#include "engine/confidence.h"
#include "tiny_model.h"
#include "../fixtures/wrap_alloc.h"

enum { D = 64 };

#define HEAD                                   \
    "waypost-confidence 1\n"                   \
    "model 00112233445566778899aabbccddeeff\n" \
    "adapter none\n"

static struct eng_conf *parse(const char *text)
{
    struct eng_conf *c = NULL;
    struct base_err err = {0};
    if (eng_conf_parse(&c, text, strlen(text), "file", 0, 0, &err) != 0)
        fail_msg("%s: %s", err.place, err.msg);
    return c;
}

static struct eng_pick pick(double prob, float entropy, float margin, bool forced)
{
    return (struct eng_pick){
        .logprob = (float)log(prob), .entropy = entropy, .margin = margin, .forced = forced};
}

static struct eng_answer_stats stats(void)
{
    struct eng_answer_stats a = {0};
    const struct eng_pick p[] = {pick(0.5, 0.7f, 0.2f, false), pick(0.1, 2.0f, 0.05f, true),
                                 pick(0.8, 0.3f, 0.7f, false)};
    for (int i = 0; i < 3; i++)
        eng_answer_stats_add(&a, &p[i]);
    return a;
}

static double signal(const char *name, const struct eng_answer_stats *a)
{
    int i = 0;
    while (strcmp(eng_conf_signal_name(i), name) != 0)
        i++;
    return eng_conf_signal(i, a);
}

static void near(double got, double want)
{
    if (!(fabs(got - want) < 1e-6))
        fail_msg("%.9g, not %.9g", got, want);
}

static void signals_are_what_their_names_say(void **state)
{
    (void)state;
    const struct eng_answer_stats a = stats();
    near(signal("min_prob", &a), 0.1);
    near(signal("choice_min_prob", &a), 0.5);
    near(signal("mean_prob", &a), 1.4 / 3);
    near(signal("choice_mean_prob", &a), 0.65);
    near(signal("all_prob", &a), 0.04);
    near(signal("choice_all_prob", &a), 0.4);
    near(signal("geo_prob", &a), cbrt(0.04));
    near(signal("max_entropy", &a), (double)2.0f);
    near(signal("choice_max_entropy", &a), (double)0.7f);
    near(signal("mean_entropy", &a), 1.0);
    near(signal("choice_mean_entropy", &a), 0.5);
    near(signal("min_margin", &a), (double)0.05f);
    near(signal("choice_min_margin", &a), (double)0.2f);
    near(signal("choice_mean_margin", &a), 0.45);
    /* Nothing left to choose: nothing to doubt. */
    struct eng_answer_stats sure = {0};
    const struct eng_pick p = pick(0.2, 1.0f, 0.1f, true);
    eng_answer_stats_add(&sure, &p);
    near(signal("choice_min_prob", &sure), 1.0);
    near(signal("choice_mean_entropy", &sure), 0.0);
    near(signal("choice_min_margin", &sure), 1.0);
    assert_null(eng_conf_signal_name(-1));
    /* What nobody wanted to know is not taken for certain. */
    struct eng_answer_stats some = stats();
    const struct eng_pick untold = {.forced = true, .untold = true};
    eng_answer_stats_add(&some, &untold);
    near(signal("choice_min_prob", &some), 0.5);
    near(signal("choice_min_margin", &some), (double)0.2f);
    assert_true(isnan(signal("min_prob", &some)) && isnan(signal("min_margin", &some)));
    struct eng_conf *c = parse(HEAD "task call\nsignal mean_entropy 1 0 1\nend\n");
    const struct eng_answer_stats all = stats();
    assert_true(eng_conf_call(c, &all, NULL) >= 0.0f && eng_conf_call(c, &some, NULL) < 0.0f);
    eng_conf_close(c);
}

static void a_regression_is_computed(void **state)
{
    (void)state;
    struct eng_conf *c = parse(HEAD "task call # all of it\n"
                                    "  signal choice_min_prob 2 0.25 0.5\n"
                                    "\tsignal max_entropy -0.5 1 2\r\n"
                                    "\n"
                                    "  bias 0.125\n"
                                    "end\n");
    const struct eng_answer_stats a = stats(), none = {0};
    const double score = 0.125 + 2 * (0.5 - 0.25) / 0.5 - 0.5 * (2.0 - 1) / 2;
    near((double)eng_conf_call(c, &a, NULL), 1 / (1 + exp(-score)));
    assert_true(eng_conf_has(c, ENG_CONF_CALL));
    assert_false(eng_conf_has(c, ENG_CONF_COMMAND));
    assert_true(eng_conf_command(c, NULL) < 0.0f);
    assert_true(eng_conf_call(c, NULL, NULL) < 0.0f);
    assert_true(eng_conf_call(c, &none, NULL) < 0.0f);
    assert_true(eng_conf_call(NULL, &a, NULL) < 0.0f);
    struct eng_watch_opt w = {.n = 5};
    eng_conf_watch(c, ENG_CONF_CALL, &w);
    assert_int_equal(w.n, 0);
    eng_conf_close(c);
}

static void knots_are_joined_by_lines(void **state)
{
    (void)state;
    struct eng_conf *c = parse(HEAD "task call\nsignal min_prob 1 0 1\n"
                                    "knot 0.2 0.1\nknot 0.4 0.5\nknot 0.6 0.5\nknot 0.8 1\nend\n");
    static const double at[][2] = {{0.01, 0.1}, {0.2, 0.1}, {0.25, 0.2}, {0.3, 0.3}, {0.4, 0.5},
                                   {0.5, 0.5},  {0.6, 0.5}, {0.7, 0.75}, {0.8, 1.0}, {0.99, 1.0}};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        struct eng_answer_stats a = {0};
        const struct eng_pick p = pick(at[i][0], 0, 0, false);
        eng_answer_stats_add(&a, &p);
        const double got = (double)eng_conf_call(c, &a, NULL);
        if (!(fabs(got - at[i][1]) < 1e-6))
            fail_msg("at %g: %.9g, not %.9g", at[i][0], got, at[i][1]);
    }
    eng_conf_close(c);
}

static void states_are_weighed(void **state)
{
    (void)state;
    struct eng_conf *c = parse(HEAD "task command\n"
                                    "state last 7 3\n0.5 -1\n2\n"
                                    "state mean 4 3\n1 0 -1\n"
                                    "state mean 7 3\n  0\n\n0 0.25\n"
                                    "bias -1\nend\n");
    struct eng_watch_opt w = {.from = 9};
    eng_conf_watch(c, ENG_CONF_COMMAND, &w);
    assert_int_equal(w.n, 2);
    assert_int_equal(w.layer[0], 4);
    assert_int_equal(w.layer[1], 7);
    assert_int_equal(w.from, 9);
    const float mean[] = {1, 2, 3, 4, 5, 6}, last[] = {7, 8, 9, 10, 11, 12};
    struct eng_states s = {
        .n = 2, .d_model = 3, .layer = {4, 7}, .n_row = {1, 1}, .mean = mean, .last = last};
    const double score = -1 + (0.5 * 10 - 11 + 2 * 12) + (1 - 3) + 0.25 * 6;
    near((double)eng_conf_command(c, &s), 1 / (1 + exp(-score)));
    s.n_row[1] = 0; /* not there yet */
    assert_true(eng_conf_command(c, &s) < 0.0f);
    s.n_row[1] = 1;
    s.d_model = 2;
    assert_true(eng_conf_command(c, &s) < 0.0f);
    s.d_model = 3;
    s.layer[1] = 8;
    assert_true(eng_conf_command(c, &s) < 0.0f);
    eng_conf_close(c);
}

static void what_is_wrong_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place, *says;
        int code;
    } bad[] = {
        {"", "file:0", "not a confidence file", BASE_EFORMAT},
        {"\xef\xbb\xbfwaypost-confidence 1\n", "file:1", "not a confidence file", BASE_EFORMAT},
        {"waypost-confidence 2\n", "file:1", "version 2", BASE_EUNSUPPORTED},
        {"waypost-confidence x\n", "file:1", "'x' is not", BASE_EFORMAT},
        {"waypost-confidence 1\nmodel 0011\n", "file:2", "32 lower-case", BASE_EFORMAT},
        {"waypost-confidence 1\nmodel none\n", "file:2", "32 lower-case", BASE_EFORMAT},
        {"waypost-confidence 1\ntask call\n", "file:2", "'model HASH'", BASE_EFORMAT},
        {"waypost-confidence 1\nmodel 00112233445566778899aabbccddeeff\n", "file:2",
         "'adapter HASH'", BASE_EFORMAT},
        {HEAD, "file:3", "no task", BASE_EFORMAT},
        {HEAD "task drive\n", "file:4", "no task 'drive'", BASE_EUNSUPPORTED},
        {HEAD "call\n", "file:4", "'task NAME'", BASE_EFORMAT},
        {HEAD "task call\nend\n", "file:5", "no signal and no state", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1 0 1\n", "file:5", "ends within", BASE_EFORMAT},
        {HEAD "task call\nsignal mind 1 0 1\n", "file:5", "no signal 'mind'", BASE_EUNSUPPORTED},
        {HEAD "task call\nsignal min_prob 1\n", "file:5", "'signal NAME", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1 0 1 5\n", "file:5", "'signal NAME", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1 0 1 5 6 7 8\n", "file:5", "'signal", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1 0 0\n", "file:5", "a scale of 0", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob nan 0 1\n", "file:5", "'nan' is not", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1 inf 1\n", "file:5", "'inf' is not", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1e31 0 1\n", "file:5", "'1e31' is not", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1,5 0 1\n", "file:5", "'1,5' is not", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob \x01\xff 0 1\n", "file:5", "'\?\?' is", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1 0 1\nsignal min_prob 1 0 1\n", "file:6",
         "a second time", BASE_EFORMAT},
        {HEAD "task call\nbias 1\nbias 1\n", "file:6", "a second time", BASE_EFORMAT},
        {HEAD "task call\nslope 1\n", "file:5", "'slope' is none of", BASE_EFORMAT},
        {HEAD "task call\nend now\n", "file:5", "'end' is none of", BASE_EFORMAT},
        {HEAD "task call\nknot 1 1.5\n", "file:5", "a probability of 1.5", BASE_EFORMAT},
        {HEAD "task call\nknot 1 0.5\nknot 1 0.6\n", "file:6", "must rise", BASE_EFORMAT},
        {HEAD "task call\nknot 1 0.5\nknot 2 0.4\n", "file:6", "must rise", BASE_EFORMAT},
        {HEAD "task call\nstate some 1 2\n", "file:5", "'mean' or 'last'", BASE_EFORMAT},
        {HEAD "task call\nstate mean 0 2\n1 2\n", "file:5", "the layer is 0", BASE_EFORMAT},
        {HEAD "task call\nstate mean 1.5 2\n1 2\n", "file:5", "the layer is 1.5", BASE_EFORMAT},
        {HEAD "task call\nstate mean 1 0\n", "file:5", "the width is 0", BASE_EFORMAT},
        {HEAD "task call\nstate mean 1 100000\n1 2\n", "file:5", "too short", BASE_EFORMAT},
        {HEAD "task call\nstate mean 1 3\n1 2  \n", "file:7", "after 2 of 3", BASE_EFORMAT},
        {HEAD "task call\nstate mean 1 2\n1\ntwo\n", "file:7", "'two' is not", BASE_EFORMAT},
        {HEAD "task call\nstate mean 1 2\n1 2 3\n", "file:6", "'3' is none", BASE_EFORMAT},
        {HEAD "task call\nsignal min_prob 1 0 1\nend\ntask call\n", "file:7", "a second time",
         BASE_EFORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct eng_conf *c = NULL;
        struct base_err err = {0};
        const int rc = eng_conf_parse(&c, bad[i].text, strlen(bad[i].text), "file", 0, 0, &err);
        if (rc != bad[i].code || strcmp(err.place, bad[i].place) != 0 ||
            strstr(err.msg, bad[i].says) == NULL)
            fail_msg("%zu: %d, %s: %s", i, rc, err.place, err.msg);
        assert_null(c);
        /* Nobody wants to read it. */
        assert_int_equal(eng_conf_parse(&c, bad[i].text, strlen(bad[i].text), "file", 0, 0, NULL),
                         bad[i].code);
    }
}

static void limits_hold(void **state)
{
    (void)state;
    struct eng_conf *c = NULL;
    struct base_err err = {0};
    enum { MAX = 5 << 20 };
    char *text = __real_malloc(MAX);
    memset(text, '\n', MAX);
    assert_int_equal(eng_conf_parse(&c, text, MAX, "file", 0, 0, &err), BASE_ELIMIT);
    int n = snprintf(text, MAX, HEAD "task call\n");
    for (int i = 0; i <= 1024; i++)
        n += snprintf(text + n, (size_t)(MAX - n), "knot %d 0.5\n", i);
    assert_int_equal(eng_conf_parse(&c, text, (size_t)n, "file", 0, 0, &err), BASE_ELIMIT);
    assert_string_equal(err.place, "file:1029");
    n = snprintf(text, MAX, HEAD "task call\n");
    for (int i = 0; i < 5; i++)
        n += snprintf(text + n, (size_t)(MAX - n), "state mean 1 1\n1\n");
    assert_int_equal(eng_conf_parse(&c, text, (size_t)n, "file", 0, 0, &err), BASE_ELIMIT);
    /* The model's layers and width. */
    static const char mean[] = HEAD "task call\nstate mean 4 2\n1 2\nend\n";
    assert_int_equal(eng_conf_parse(&c, mean, strlen(mean), "file", 3, 2, &err), BASE_EFORMAT);
    assert_int_equal(eng_conf_parse(&c, mean, strlen(mean), "file", 4, 3, &err), BASE_EFORMAT);
    assert_int_equal(eng_conf_parse(&c, mean, strlen(mean), "file", 4, 2, &err), 0);
    eng_conf_close(c);
    free(text);
}

/* ---- bound to a model and an adapter ---- */

static const char *write_file(const char *model, const char *adapter)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/conf", tiny_dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f,
            "waypost-confidence 1\nmodel %s\nadapter %s\ntask call\nsignal min_prob 1 0 1\n"
            "knot 0 0\nknot 1 1\nend\n",
            model, adapter);
    fclose(f);
    return path;
}

static void another_model_or_adapter_is_refused(void **state)
{
    (void)state;
    const char *base = tiny_make("--layers 2");
    struct eng_model *m = tiny_open(&(struct eng_model_opt){.path = base, .layer_end = -1});
    struct eng_lora *l = NULL;
    struct eng_conf *c = NULL;
    struct base_err err = {0};
    char model[33], adapter[33], other[33];
    assert_int_equal(eng_lora_open(&l, m, tiny_lora(base, ""), &err), 0);
    assert_int_equal(eng_lora_base_hash(m, model, &err), 0);
    base_hex(eng_lora_info(l)->hash, 16, adapter);
    memset(other, 'a', 32);
    other[32] = '\0';
    assert_int_equal(eng_conf_open(&c, write_file(model, adapter), m, l, &err), 0);
    const struct eng_answer_stats a = stats();
    near((double)eng_conf_call(c, &a, NULL), 0.1);
    eng_conf_close(c);
    assert_int_equal(eng_conf_open(&c, write_file(model, "none"), m, NULL, &err), 0);
    eng_conf_close(c);
    const struct {
        const char *model, *adapter;
        const struct eng_lora *lora;
        const char *both[2];
    } bad[] = {
        {other, adapter, l, {other, model}},
        {model, other, l, {other, adapter}},
        {model, "none", l, {"none", adapter}},
        {model, adapter, NULL, {adapter, "none"}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *path = write_file(bad[i].model, bad[i].adapter);
        assert_int_equal(eng_conf_open(&c, path, m, bad[i].lora, &err), BASE_EMISMATCH);
        assert_null(c);
        assert_string_equal(err.place, path);
        assert_non_null(strstr(err.msg, bad[i].both[0]));
        assert_non_null(strstr(err.msg, bad[i].both[1]));
    }
    assert_int_equal(eng_conf_open(&c, "/nowhere/conf", m, l, &err), BASE_EIO);
    assert_int_equal(eng_conf_open(&c, "/", m, l, &err), BASE_EIO);
    /* The first, second, … allocation fails. */
    const char *path = write_file(model, adapter);
    int n = 0, rc = -1;
    for (; rc != 0 && n < 100; n++) {
        n_alloc = 0;
        fail_at = n;
        rc = eng_conf_open(&c, path, m, l, &err);
        const bool failed = n_alloc > n;
        fail_at = -1;
        assert_true(rc == 0 || rc == BASE_ENOMEM);
        assert_true(rc == 0 ? c != NULL && !failed : c == NULL);
    }
    assert_true(rc == 0 && n > 2);
    /* Asking takes no memory. */
    n_alloc = 0;
    near((double)eng_conf_call(c, &a, NULL), 0.1);
    assert_int_equal(n_alloc, 0);
    eng_conf_close(c);
    unlink(path);
    eng_lora_close(l);
    eng_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_are_what_their_names_say),
        cmocka_unit_test(a_regression_is_computed),
        cmocka_unit_test(knots_are_joined_by_lines),
        cmocka_unit_test(states_are_weighed),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(another_model_or_adapter_is_refused),
    };
    const int rc = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_clean();
    return rc;
}
