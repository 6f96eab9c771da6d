# Wire and ipc: frames <-> structs. mkvectors writes proto/vectors by hand's request only.
WIRE_TESTS = tests/wire/test_wire tests/wire/test_vectors tests/wire/test_ipc
check_PROGRAMS += $(WIRE_TESTS) tests/wire/mkvectors
TESTS += $(WIRE_TESTS)
EXTRA_DIST += proto/wire-v1.md proto/wire-v1.cddl proto/ipc-v1.md proto/vectors
WIRE_SAMPLES = tests/wire/samples.c tests/wire/samples.h
WIRE_TEST_LIBS = $(WIRE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

tests_wire_test_wire_SOURCES = tests/wire/test_wire.c $(WIRE_SAMPLES)
tests_wire_test_wire_CFLAGS = $(TEST_CFLAGS)
tests_wire_test_wire_LDADD = $(WIRE_TEST_LIBS)

tests_wire_test_vectors_SOURCES = tests/wire/test_vectors.c $(WIRE_SAMPLES)
tests_wire_test_vectors_CFLAGS = $(TEST_CFLAGS)
tests_wire_test_vectors_LDADD = $(WIRE_TEST_LIBS)

tests_wire_test_ipc_SOURCES = tests/wire/test_ipc.c $(WIRE_SAMPLES)
tests_wire_test_ipc_CFLAGS = $(TEST_CFLAGS)
tests_wire_test_ipc_LDADD = $(WIRE_TEST_LIBS)

tests_wire_mkvectors_SOURCES = tests/wire/mkvectors.c $(WIRE_SAMPLES)
tests_wire_mkvectors_CFLAGS = $(TEST_CFLAGS) $(ZSTD_CFLAGS)
tests_wire_mkvectors_LDADD = $(WIRE_LIBS) $(BASE_LIBS)
