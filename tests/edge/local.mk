check_PROGRAMS += tests/edge/test_state
TESTS += tests/edge/test_state
tests_edge_test_state_SOURCES = tests/edge/test_state.c \
	src/edge/language.c src/edge/language.h src/edge/share.c src/edge/share.h \
	src/edge/signals.c src/edge/signals.h src/edge/usage.c src/edge/usage.h
tests_edge_test_state_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_edge_test_state_LDADD = $(STORE_LIBS) $(ROUTER_LIBS) $(NETLOCAL_LIBS) $(JANSSON_LIBS) $(BASE_LIBS) \
	$(CMOCKA_LIBS)

check_PROGRAMS += tests/edge/test_outlook
TESTS += tests/edge/test_outlook
tests_edge_test_outlook_SOURCES = tests/edge/test_outlook.c src/edge/outlook.c src/edge/outlook.h
tests_edge_test_outlook_CFLAGS = $(TEST_CFLAGS)
tests_edge_test_outlook_LDADD = $(CMOCKA_LIBS)

check_PROGRAMS += tests/edge/test_moment
TESTS += tests/edge/test_moment
tests_edge_test_moment_SOURCES = tests/edge/test_moment.c src/edge/moment.c src/edge/moment.h
tests_edge_test_moment_CFLAGS = $(TEST_CFLAGS)
tests_edge_test_moment_LDADD = $(CMOCKA_LIBS)

check_PROGRAMS += tests/edge/test_energy
TESTS += tests/edge/test_energy
tests_edge_test_energy_SOURCES = tests/edge/test_energy.c src/edge/energy.c src/edge/energy.h
tests_edge_test_energy_CFLAGS = $(TEST_CFLAGS)
tests_edge_test_energy_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
