check_PROGRAMS += tests/router/test_detect
TESTS += tests/router/test_detect
tests_router_test_detect_SOURCES = tests/router/test_detect.c
tests_router_test_detect_CFLAGS = $(TEST_CFLAGS)
tests_router_test_detect_LDADD = $(ROUTER_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
