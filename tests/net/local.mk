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

EXTRA_DIST += tests/net/test_h2.py
check_PROGRAMS += tests/net/h2_echo
TESTS += tests/net/test_h2.py
tests_net_h2_echo_SOURCES = tests/net/h2_echo.c
tests_net_h2_echo_LDADD = $(NETH2S_LIBS) $(NETLOCAL_LIBS) $(BASE_LIBS)
