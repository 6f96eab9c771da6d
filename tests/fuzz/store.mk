# fuzz_store
check_PROGRAMS += tests/fuzz/fuzz_store
EXTRA_DIST += tests/fuzz/corpus/store
tests_fuzz_fuzz_store_SOURCES = tests/fuzz/fuzz_store.c
tests_fuzz_fuzz_store_LDADD = $(STORE_LIBS) $(ROUTER_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_store_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_store_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_store
endif
