# tests of net
check_PROGRAMS += tests/net/test_loop
TESTS += tests/net/test_loop
tests_net_test_loop_SOURCES = tests/net/test_loop.c
tests_net_test_loop_CFLAGS = $(TEST_CFLAGS)
tests_net_test_loop_LDADD = $(NETLOCAL_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
