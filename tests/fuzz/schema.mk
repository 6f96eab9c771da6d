check_PROGRAMS += tests/fuzz/fuzz_schema
EXTRA_DIST += tests/fuzz/corpus/schema
tests_fuzz_fuzz_schema_SOURCES = tests/fuzz/fuzz_schema.c
tests_fuzz_fuzz_schema_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_fuzz_schema_LDADD = $(API_LIBS) $(ENGINE_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_schema_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_schema_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_schema
endif
