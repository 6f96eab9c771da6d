# Wire and ipc: frames <-> structs.
check_PROGRAMS += tests/wire/test_wire
TESTS += tests/wire/test_wire
tests_wire_test_wire_SOURCES = tests/wire/test_wire.c tests/wire/samples.c tests/wire/samples.h
tests_wire_test_wire_CFLAGS = $(TEST_CFLAGS)
tests_wire_test_wire_LDADD = $(WIRE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
