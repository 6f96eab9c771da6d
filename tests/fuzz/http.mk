check_PROGRAMS += tests/fuzz/fuzz_http
EXTRA_DIST += tests/fuzz/corpus/http
tests_fuzz_fuzz_http_SOURCES = tests/fuzz/fuzz_http.c
tests_fuzz_fuzz_http_CFLAGS = $(AM_CFLAGS)
tests_fuzz_fuzz_http_LDADD = $(API_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_http_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_http_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_http
endif
