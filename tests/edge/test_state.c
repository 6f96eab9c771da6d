/* The state behind the edge's facts: signals and their age, what was used and when it is forgotten,
 * the share's controller, languages; without memory and without a disk too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "edge/language.h"
#include "edge/share.h"
#include "edge/signals.h"
#include "edge/usage.h"

static long n_alloc, fail_at = -1;

static void *may_fail(size_t n)
{
    return n_alloc++ == fail_at ? NULL : malloc(n);
}

static struct base_err err;
static struct net_loop *loop;
static char dir[64], path[96];

static int setup(void **s)
{
    (void)s;
    json_set_alloc_funcs(may_fail, free);
    snprintf(dir, sizeof dir, "/tmp/waypost-state-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/used.json", dir);
    return net_loop_new(&loop, &err);
}

static int teardown(void **s)
{
    char cmd[96];
    (void)s;
    fail_at = -1;
    net_loop_free(loop);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

/* ---- signals ---- */

enum { S = 1000000 };
static const int64_t T0 = (int64_t)1000 * S, REAL = (int64_t)1795655000 * S;

static struct edge_signals *signals_new(void)
{
    static char none[] = "";
    const struct edge_config c = {.vehicle_socket = none, .vehicle_file = none};
    struct edge_signals *s = NULL;
    assert_int_equal(edge_signals_open(&s, &c, loop, &err), 0);
    return s;
}

static int say(struct edge_signals *s, const char *line, int64_t at_us)
{
    return edge_signals_take(s, line, strlen(line), T0 + at_us, REAL + at_us, &err);
}

static void test_values_and_ages(void **x)
{
    (void)x;
    struct edge_signals *s = signals_new();
    assert_int_equal(say(s, "{\"Vehicle.Speed\": 12.5, \"a\": 3, \"b\": true, \"c\": \"DE\"}", 0), 0);
    struct rt_value v = edge_signals_get(s, "Vehicle.Speed", RT_FACT_REAL, T0 + 2 * S);
    assert_true(v.have && v.r == 12.5 && v.age_ms == 2000);
    v = edge_signals_get(s, "a", RT_FACT_REAL, T0);
    assert_true(v.have && v.r == 3.0); /* an integer is a number */
    assert_false(edge_signals_get(s, "Vehicle.Speed", RT_FACT_INT, T0).have);
    assert_false(edge_signals_get(s, "b", RT_FACT_STR, T0).have);
    assert_false(edge_signals_get(s, "d", RT_FACT_BOOL, T0).have);
    assert_false(edge_signals_get(NULL, "a", RT_FACT_INT, T0).have);
    assert_string_equal(edge_signals_get(s, "c", RT_FACT_STR, T0).s, "DE");
    /* Measured a while ago: as old as it says; and it does not replace what is newer. */
    assert_int_equal(say(s, "{\"a\": 4, \"e\": 1, \"time\": 1794655000}", 5 * S), 0);
    assert_int_equal(edge_signals_get(s, "a", RT_FACT_INT, T0).i, 3);
    v = edge_signals_get(s, "e", RT_FACT_INT, T0 + 5 * S);
    assert_true(v.have && v.age_ms == 1000005000);
    assert_int_equal(say(s, "{\"a\": null}", 6 * S), 0);
    assert_false(edge_signals_get(s, "a", RT_FACT_INT, T0 + 6 * S).have);
    edge_signals_free(s);
}

static void test_words_of_the_table(void **x)
{
    (void)x;
    struct edge_signals *s = signals_new();
    assert_int_equal(say(s, "{\"Vehicle.LowVoltageSystemState\": \"ACC\"}", 0), 0);
    assert_string_equal(edge_signals_fact(s, RT_F_VEHICLE_IGNITION, T0).s, "acc");
    assert_int_equal(say(s, "{\"Vehicle.LowVoltageSystemState\": \"UNDEFINED\"}", 0), 0);
    assert_false(edge_signals_fact(s, RT_F_VEHICLE_IGNITION, T0).have);
    assert_int_equal(say(s, "{\"vehicle.country\": \"DE\", \"vehicle.seats_occupied\": 2}", 0), 0);
    assert_string_equal(edge_signals_fact(s, RT_F_VEHICLE_COUNTRY, T0).s, "DE");
    assert_int_equal(edge_signals_fact(s, RT_F_VEHICLE_SEATS, T0).i, 2);
    static const char *const none[] = {"de", "DEU", "", "D"};
    for (size_t i = 0; i < 4; i++) {
        char line[64];
        snprintf(line, sizeof line, "{\"vehicle.country\": \"%s\"}", none[i]);
        assert_int_equal(say(s, line, 0), 0);
        assert_false(edge_signals_fact(s, RT_F_VEHICLE_COUNTRY, T0).have);
    }
    edge_signals_free(s);
}

static void test_starts(void **x)
{
    (void)x;
    static const struct {
        const char *word;
        unsigned starts;
    } step[] = {{"ON", 0}, {"START", 0}, {"ACC", 0}, {"ON", 1}, {"OFF", 1}, {"START", 2}, {"ON", 2}};
    struct edge_signals *s = signals_new();
    for (size_t i = 0; i < sizeof step / sizeof step[0]; i++) {
        char line[96];
        snprintf(line, sizeof line, "{\"Vehicle.LowVoltageSystemState\": \"%s\"}", step[i].word);
        assert_int_equal(say(s, line, (int64_t)i), 0);
        assert_int_equal(edge_signals_starts(s), step[i].starts);
    }
    edge_signals_free(s);
}

/* Whatever allocation fails: the line counts whole or not at all. */
static void test_a_line_without_memory(void **x)
{
    (void)x;
    struct edge_signals *s = signals_new();
    assert_int_equal(say(s, "{\"a\": 1, \"b\": 1}", 0), 0);
    int refused = 0;
    for (long i = 0; i < 100; i++) {
        n_alloc = 0;
        fail_at = i;
        const int rc = say(s, "{\"a\": 2, \"b\": 2, \"time\": 1795655000}", 0);
        fail_at = -1;
        if (rc == 0)
            break;
        refused++;
        assert_int_equal(edge_signals_get(s, "a", RT_FACT_INT, T0).i, 1);
        assert_int_equal(edge_signals_get(s, "b", RT_FACT_INT, T0).i, 1);
    }
    assert_true(refused > 3 && refused < 100);
    assert_int_equal(edge_signals_get(s, "b", RT_FACT_INT, T0).i, 2);
    edge_signals_free(s);
}

/* ---- usage ---- */

static struct edge_usage *usage_new(void)
{
    struct edge_usage *u = NULL;
    assert_int_equal(edge_usage_open(&u, path, loop, &err), 0);
    return u;
}

static void test_used_by_period(void **x)
{
    (void)x;
    struct edge_usage *u = usage_new();
    assert_true(edge_usage_get(u, "k", 7) == 0);
    edge_usage_add(u, "k", 7, 2.5);
    edge_usage_add(u, "k", 7, 1);
    assert_true(edge_usage_get(u, "k", 7) == 3.5);
    assert_true(edge_usage_get(u, "k", 6) == 3.5); /* the clock was put back: nothing is given back */
    edge_usage_add(u, "k", 6, 1);
    assert_true(edge_usage_get(u, "k", 7) == 4.5);
    assert_true(edge_usage_get(u, "k", 8) == 0);
    edge_usage_add(u, "k", 8, 1);
    assert_true(edge_usage_get(u, "k", 8) == 1);
    edge_usage_add(u, "k", 8, -5);
    edge_usage_add(u, "k", 8, NAN);
    assert_true(edge_usage_get(u, "k", 8) == 1);
    edge_usage_close(u);
    u = usage_new();
    assert_true(edge_usage_get(u, "k", 8) == 1); /* over a restart */
    edge_usage_close(u);
}

static void test_periods(void **x)
{
    (void)x;
    struct edge_usage *u = usage_new();
    const int64_t t = (int64_t)1795655000 * S; /* 2026-11-26 */
    assert_int_equal(edge_usage_period(u, RT_HOUR, t), 1795655000 / 3600);
    assert_int_equal(edge_usage_period(u, RT_DAY, t), 1795655000 / 86400);
    assert_int_equal(edge_usage_period(u, RT_MONTH, t), 126 * 12 + 10);
    const int64_t trip = edge_usage_period(u, RT_TRIP, t);
    edge_usage_starts(u, 1);
    edge_usage_starts(u, 1);
    assert_int_equal(edge_usage_period(u, RT_TRIP, t), trip + 1);
    edge_usage_close(u);
    u = usage_new(); /* the same boot: the same trip */
    assert_int_equal(edge_usage_period(u, RT_TRIP, t), trip + 1);
    edge_usage_close(u);
    FILE *f = fopen(path, "w");
    fputs("{\"waypost_usage\": 1, \"boot\": \"another\", \"trip\": 41, \"used\": [[\"k\", 41, 9.0]]}", f);
    fclose(f);
    u = usage_new();
    assert_int_equal(edge_usage_period(u, RT_TRIP, t), 42);
    assert_true(edge_usage_get(u, "k", 42) == 0);
    edge_usage_close(u);
}

static void test_files_that_are_no_record(void **x)
{
    (void)x;
    static const char *const bad[] = {
        "",
        "{",
        "{}",
        "{\"waypost_usage\": 2, \"boot\": \"\", \"trip\": 1, \"used\": []}",
        "{\"waypost_usage\": 1, \"boot\": \"\", \"trip\": -1, \"used\": []}",
        "{\"waypost_usage\": 1, \"boot\": \"\", \"trip\": 1, \"used\": [[\"k\", 1]]}",
        "{\"waypost_usage\": 1, \"boot\": \"\", \"trip\": 1, \"used\": [[\"k\", 1, -2]]}",
        "{\"waypost_usage\": 1, \"boot\": \"\", \"trip\": 1, \"used\": [[1, 1, 2]]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char back[256] = "";
        bool yes = true;
        FILE *f = fopen(path, "w");
        fputs(bad[i], f);
        fclose(f);
        struct edge_usage *u = usage_new();
        assert_true(edge_usage_broken(u));
        edge_usage_add(u, "k", 1, 5);
        assert_true(edge_usage_get(u, "k", 1) < 0);
        assert_true(edge_usage_get(u, "new", 1) < 0);
        assert_int_equal(edge_usage_consent(u, "c", 1, true), BASE_EIO);
        assert_false(edge_usage_consents(u, "c", 1, &yes));
        edge_usage_close(u);
        f = fopen(path, "r");
        (void)!fread(back, 1, sizeof back - 1, f);
        fclose(f);
        assert_string_equal(back, bad[i]); /* evidence stays as it is */
    }
}

static void test_consents(void **x)
{
    (void)x;
    bool yes = true;
    struct edge_usage *u = usage_new();
    assert_false(edge_usage_consents(u, "c", 3, &yes));
    assert_int_equal(edge_usage_consent(u, "c", 3, true), 0);
    assert_true(edge_usage_consents(u, "c", 3, &yes) && yes);
    assert_false(edge_usage_consents(u, "c", 4, &yes) || yes); /* lapsed */
    assert_false(edge_usage_consents(u, "c", 2, &yes) || yes); /* nor before it was given */
    assert_int_equal(edge_usage_consent(u, "c", 3, false), 0);
    assert_true(edge_usage_consents(u, "c", 3, &yes) && !yes);
    edge_usage_close(u);
}

static void test_too_many_things(void **x)
{
    (void)x;
    char key[32];
    struct edge_usage *u = usage_new();
    for (int i = 0; i < EDGE_USAGE_MAX; i++) {
        snprintf(key, sizeof key, "k%d", i);
        edge_usage_add(u, key, 1, 1);
    }
    edge_usage_add(u, "more", 1, 1);
    assert_true(edge_usage_get(u, "more", 1) < 0); /* what is not counted cannot be told */
    assert_true(edge_usage_get(u, "k0", 1) == 1);
    assert_int_equal(edge_usage_consent(u, "c", 1, true), BASE_ELIMIT);
    edge_usage_close(u);
}

static void stop(void *arg)
{
    net_loop_stop(arg);
}

static void turn_for(int64_t us)
{
    struct net_timer *t = net_timer_new(loop, stop, loop);
    net_timer_set(t, us);
    assert_int_equal(net_loop_run(loop), 0);
    net_timer_free(t);
}

static void test_a_disk_that_is_gone_and_comes_back(void **x)
{
    (void)x;
    char away[96];
    struct edge_usage *u = usage_new();
    snprintf(away, sizeof away, "%s-away", dir);
    assert_int_equal(rename(dir, away), 0);
    edge_usage_add(u, "k", 1, 5);
    turn_for(2500000); /* it fails, and is tried again */
    assert_true(edge_usage_get(u, "k", 1) == 5);
    assert_int_equal(rename(away, dir), 0);
    turn_for(2500000);
    assert_int_equal(access(path, R_OK), 0);
    edge_usage_close(u);
    u = usage_new();
    assert_true(edge_usage_get(u, "k", 1) == 5);
    edge_usage_close(u);
}

static void test_a_record_without_memory(void **x)
{
    (void)x;
    struct edge_usage *u = usage_new();
    edge_usage_add(u, "k", 1, 5);
    edge_usage_close(u);
    int broken = 0;
    for (long i = 0; i < 60; i++) {
        n_alloc = 0;
        fail_at = i;
        u = usage_new();
        fail_at = -1;
        const bool b = edge_usage_broken(u);
        broken += b;
        assert_true(b ? edge_usage_get(u, "k", 1) < 0 : edge_usage_get(u, "k", 1) == 5);
        edge_usage_close(u);
        if (!b)
            break;
    }
    assert_true(broken > 3 && broken < 60);
}

/* ---- share ---- */

/* A request leaves where its fact is below the threshold; facts are spread evenly over 0..1. */
static double run_share(double goal, bool opens)
{
    struct edge_share s = {.last = NULL};
    const struct rt_share_decl d = {
        .edge = goal,
        .over = 200,
        .n_move = 1,
        .move = {{.rule = "out", .value = 0.5, .min = 0.05, .max = 0.95, .opens = opens}}};
    uint32_t lot = 1;
    int on_device = 0;
    for (int i = 0; i < 4000; i++) {
        double at = 0.5;
        lot = lot * 1664525 + 1013904223; /* Numerical Recipes' generator */
        (void)edge_share_moved(&s, &d, 0, &at);
        assert_true(at >= 0.05 && at <= 0.95);
        const double fact = (double)(lot >> 8) / 16777216.0;
        const bool leaves = opens ? fact < at : fact > at;
        edge_share_add(&s, &d, !leaves);
        on_device += i >= 2000 && !leaves;
    }
    edge_share_fini(&s);
    return on_device / 2000.0;
}

static void test_share_comes_to_its_goal(void **x)
{
    (void)x;
    static const double goal[] = {0.2, 0.5, 0.7, 0.9};
    for (size_t i = 0; i < 4; i++) {
        assert_true(fabs(run_share(goal[i], true) - goal[i]) < 0.03);
        assert_true(fabs(run_share(goal[i], false) - goal[i]) < 0.03);
    }
    assert_true(run_share(1.0, true) > 0.93); /* as far as the limits let it */
}

static void test_share_without_a_goal(void **x)
{
    (void)x;
    struct edge_share s = {.last = NULL};
    const struct rt_share_decl none = {.edge = -1};
    double v;
    edge_share_add(&s, &none, true);
    assert_false(edge_share_get(&s, &v));
    edge_share_fini(&s);
}

/* ---- language ---- */

static void test_languages(void **x)
{
    (void)x;
    static const struct {
        const char *text, *want;
    } t[] = {{"", NULL},
             {"Open the window", NULL},
             {"打开车窗", "zh"},
             {"播放 Yesterday", NULL}, /* two characters beside nine letters: nobody can tell */
             {"请播放 Yesterday", "zh"},
             {"窓を開けて", "ja"},
             {"창문을 열어 주세요", "ko"},
             {"เปิดหน้าต่าง", "th"},
             {"Άνοιξε το παράθυρο", "el"},
             {"პატარა", "ka"},
             {"Բարեւ", "hy"},
             {"Открой окно", NULL},
             {"نافذة", NULL},
             {"\xff\xfe\x80", NULL},
             {"\xe6\x89", NULL},
             {"😀 123", NULL}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        const char *got = edge_language(t[i].text, strlen(t[i].text));
        if ((got == NULL) != (t[i].want == NULL) || (got != NULL && strcmp(got, t[i].want) != 0))
            fail_msg("%s: %s", t[i].text, got != NULL ? got : "none");
    }
    static const char *const tag[] = {"de", "zh-Hant", "zh-Hant-TW", "en-GB", "gsw"};
    static const char *const no_tag[] = {"", "d", "DE", "deutsch", "de-", "de_AT", "de-A", "en-GB\n",
                                         "zh-Hant-Hant"};
    for (size_t i = 0; i < sizeof tag / sizeof tag[0]; i++)
        assert_true(edge_language_tag_ok(tag[i]));
    for (size_t i = 0; i < sizeof no_tag / sizeof no_tag[0]; i++)
        assert_false(edge_language_tag_ok(no_tag[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_values_and_ages),
        T(test_words_of_the_table),
        T(test_starts),
        T(test_a_line_without_memory),
        T(test_used_by_period),
        T(test_periods),
        T(test_files_that_are_no_record),
        T(test_consents),
        T(test_too_many_things),
        T(test_a_disk_that_is_gone_and_comes_back),
        T(test_a_record_without_memory),
        T(test_share_comes_to_its_goal),
        T(test_share_without_a_goal),
        T(test_languages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
