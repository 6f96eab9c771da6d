# tests of net
EXTRA_DIST += tests/net/tap.py tests/net/test_http.py

check_PROGRAMS += tests/net/test_loop
TESTS += tests/net/test_loop
tests_net_test_loop_SOURCES = tests/net/test_loop.c
tests_net_test_loop_CFLAGS = $(TEST_CFLAGS)
tests_net_test_loop_LDADD = $(NETLOCAL_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/net/http_echo
TESTS += tests/net/test_http.py
tests_net_http_echo_SOURCES = tests/net/http_echo.c
tests_net_http_echo_LDADD = $(NETLOCAL_LIBS) $(BASE_LIBS)
