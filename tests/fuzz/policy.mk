# fuzz_policy
check_PROGRAMS += tests/fuzz/fuzz_policy
EXTRA_DIST += tests/fuzz/corpus/policy
tests_fuzz_fuzz_policy_SOURCES = tests/fuzz/fuzz_policy.c
tests_fuzz_fuzz_policy_LDADD = $(ROUTER_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_policy_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_policy_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_policy
endif
