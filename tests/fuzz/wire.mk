# fuzz_wire, fuzz_ipc
check_PROGRAMS += tests/fuzz/fuzz_wire tests/fuzz/fuzz_ipc
EXTRA_DIST += tests/fuzz/corpus/wire tests/fuzz/corpus/ipc
tests_fuzz_fuzz_wire_SOURCES = tests/fuzz/fuzz_wire.c
tests_fuzz_fuzz_wire_LDADD = $(WIRE_LIBS) $(BASE_LIBS)
tests_fuzz_fuzz_ipc_SOURCES = tests/fuzz/fuzz_ipc.c
tests_fuzz_fuzz_ipc_LDADD = $(WIRE_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_wire_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
tests_fuzz_fuzz_ipc_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_wire_SOURCES += tests/fuzz/replay.c
tests_fuzz_fuzz_ipc_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_wire tests/fuzz/fuzz_ipc
endif
