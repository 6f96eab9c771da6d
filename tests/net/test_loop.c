/* The event loop: timers, descriptors, signals, and freeing each inside its own callback. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/local/loop.h"

struct fixture {
    struct net_loop *loop;
    struct net_timer *timer;
    struct net_watch *watch;
    int fired;
    int what;
    int64_t at_us;
};

static int setup(void **state)
{
    static struct fixture f;

    f = (struct fixture){0};
    *state = &f;
    return net_loop_new(&f.loop, NULL);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    net_timer_free(f->timer);
    net_watch_free(f->watch);
    net_loop_free(f->loop);
    return 0;
}

static void on_timer(void *arg)
{
    struct fixture *f = arg;

    f->fired++;
    f->at_us = base_clock_mono_us();
    net_loop_stop(f->loop);
}

static void test_timer_is_never_early(void **state)
{
    struct fixture *f = *state;
    int64_t start_us = base_clock_mono_us();

    f->timer = net_timer_new(f->loop, on_timer, f);
    assert_non_null(f->timer);
    net_timer_set(f->timer, 1000000000);
    net_timer_set(f->timer, 3000);
    assert_int_equal(net_loop_run(f->loop), 0);
    assert_int_equal(f->fired, 1);
    assert_true(f->at_us - start_us >= 3000);
}

static void test_timer_cleared_does_not_fire(void **state)
{
    struct fixture *f = *state;
    struct fixture never = {0};
    struct net_timer *t = net_timer_new(f->loop, on_timer, &never);

    never.loop = f->loop;
    net_timer_set(t, 0);
    net_timer_clear(t);
    f->timer = net_timer_new(f->loop, on_timer, f);
    net_timer_set(f->timer, 2000);
    assert_int_equal(net_loop_run(f->loop), 0);
    assert_int_equal(never.fired, 0);
    net_timer_free(t);
}

static void on_timer_free(void *arg)
{
    struct fixture *f = arg;

    net_timer_free(f->timer);
    f->timer = NULL;
    net_loop_stop(f->loop);
}

static void test_timer_freed_in_its_callback(void **state)
{
    struct fixture *f = *state;

    f->timer = net_timer_new(f->loop, on_timer_free, f);
    net_timer_set(f->timer, 0);
    assert_int_equal(net_loop_run(f->loop), 0);
    assert_null(f->timer);
}

static void test_stop_before_run_is_kept(void **state)
{
    struct fixture *f = *state;

    net_loop_stop(f->loop);
    assert_int_equal(net_loop_run(f->loop), 0);
}

static void on_watch(int fd, int what, void *arg)
{
    struct fixture *f = arg;

    (void)fd;
    f->fired++;
    f->what |= what;
    if (f->fired == 1) {
        net_watch_want(f->watch, NET_READ);
    } else {
        net_watch_free(f->watch);
        f->watch = NULL;
        net_loop_stop(f->loop);
    }
}

static void test_watch(void **state)
{
    struct fixture *f = *state;
    int p[2];

    assert_int_equal(pipe(p), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    f->watch = net_watch_new(f->loop, p[0], on_watch, f);
    assert_non_null(f->watch);
    net_watch_want(f->watch, NET_READ);
    net_watch_want(f->watch, 0);
    net_watch_want(f->watch, NET_READ | NET_WRITE);
    assert_int_equal(net_loop_run(f->loop), 0);
    assert_int_equal(f->fired, 2);
    assert_true((f->what & NET_READ) != 0);
    close(p[0]);
    close(p[1]);
}

static void on_signal(int signo, void *arg)
{
    struct fixture *f = arg;

    f->what = signo;
    net_loop_stop(f->loop);
}

static void test_signal(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(net_signal(f->loop, SIGUSR1, on_signal, f), 0);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(net_loop_run(f->loop), 0);
    assert_int_equal(f->what, SIGUSR1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_timer_is_never_early, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_cleared_does_not_fire, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_freed_in_its_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop_before_run_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
    };

    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
