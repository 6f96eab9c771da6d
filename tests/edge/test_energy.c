/* Joules from a counter: shares among requests that run at once, counters that start anew, and
 * readings that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "edge/energy.h"

static char dir[64], path[96], range[96];
static struct edge_energy e;
static struct base_err err;

static void put(const char *file, const char *text)
{
    const int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void counter(double joules)
{
    char text[32];
    snprintf(text, sizeof text, "%.0f\n", joules * 1e6);
    put(path, text);
}

static int setup(void **s)
{
    (void)s;
    snprintf(dir, sizeof dir, "/tmp/waypost-energy-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/energy_uj", dir);
    snprintf(range, sizeof range, "%s/max_energy_range_uj", dir);
    return 0;
}

static int teardown(void **s)
{
    char cmd[96];
    (void)s;
    edge_energy_close(&e);
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static void expect(double got, double want)
{
    if (fabs(got - want) > 1e-9)
        fail_msg("%g J, wanted %g", got, want);
}

static void those_that_run_share(void **x)
{
    (void)x;
    struct edge_energy_mark a, b, c;
    counter(100);
    assert_int_equal(edge_energy_open(&e, path, &err), 0);
    counter(105); /* nobody ran: nobody's */
    edge_energy_begin(&e, &a);
    counter(115);
    edge_energy_begin(&e, &b); /* a: 10 */
    counter(135);
    edge_energy_begin(&e, &c); /* a: 20, b: 10 */
    counter(165);
    expect(edge_energy_end(&e, &b), 20); /* each 10 more */
    expect(edge_energy_since(&e, &a), 30);
    counter(175);
    expect(edge_energy_end(&e, &a), 35);
    counter(180);
    expect(edge_energy_end(&e, &c), 10 + 5 + 5);
    counter(500);
    edge_energy_begin(&e, &a);
    expect(edge_energy_end(&e, &a), 0);
}

static void a_counter_starts_anew(void **x)
{
    (void)x;
    struct edge_energy_mark a;
    counter(990);
    put(range, "1000000000\n");
    assert_int_equal(edge_energy_open(&e, path, &err), 0);
    edge_energy_begin(&e, &a);
    counter(5);
    edge_energy_look(&e);
    expect(edge_energy_since(&e, &a), 15);
    counter(6);
    expect(edge_energy_end(&e, &a), 16);
}

static void one_that_was_put_back_tells_nothing(void **x)
{
    (void)x;
    static const char *const ranges[] = {NULL, "x\n", "1000\n", ""};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        struct edge_energy_mark a, b;
        counter(990);
        if (ranges[i] != NULL)
            put(range, ranges[i]);
        assert_int_equal(edge_energy_open(&e, path, &err), 0);
        edge_energy_begin(&e, &a);
        counter(5);
        expect(edge_energy_end(&e, &a), -1);
        edge_energy_begin(&e, &b); /* and goes on from there */
        counter(8);
        expect(edge_energy_end(&e, &b), 3);
        edge_energy_close(&e);
    }
}

static void readings_that_are_none(void **x)
{
    (void)x;
    static const char *const bad[] = {"",     "\n", "-5\n", "12a\n", "99999999999999999999999\n",
                                      " 7\n", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct edge_energy_mark a, b;
        counter(10);
        assert_int_equal(edge_energy_open(&e, path, &err), 0);
        edge_energy_begin(&e, &a);
        put(path, bad[i]);
        edge_energy_begin(&e, &b); /* a is lost by it, and so is b: its beginning is not known */
        counter(20);
        edge_energy_look(&e);
        expect(edge_energy_since(&e, &a), -1);
        expect(edge_energy_since(&e, &b), -1);
        counter(30);
        expect(edge_energy_end(&e, &a), -1);
        expect(edge_energy_end(&e, &b), -1);
        edge_energy_begin(&e, &a);
        counter(31);
        expect(edge_energy_end(&e, &a), 1);
        edge_energy_close(&e);
    }
}

static void without_a_counter_nothing_is_known(void **x)
{
    (void)x;
    struct edge_energy_mark a;
    char long_path[600];
    assert_int_equal(edge_energy_open(&e, "", &err), 0);
    edge_energy_begin(&e, &a);
    expect(edge_energy_end(&e, &a), -1);
    edge_energy_close(&e);
    assert_int_equal(edge_energy_open(&e, path, &err), BASE_EIO); /* it is not there */
    memset(long_path, '/', sizeof long_path);
    snprintf(long_path + 500, 100, "%s", path);
    counter(10);
    assert_int_equal(edge_energy_open(&e, long_path, &err), 0);
    assert_int_equal(e.range_uj, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(those_that_run_share),
        T(a_counter_starts_anew),
        T(one_that_was_put_back_tells_nothing),
        T(readings_that_are_none),
        T(without_a_counter_nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
