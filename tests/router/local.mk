ROUTER_TESTS = \
	tests/router/test_cases \
	tests/router/test_codes \
	tests/router/test_decide \
	tests/router/test_detect \
	tests/router/test_diff \
	tests/router/test_faults \
	tests/router/test_given \
	tests/router/test_includes \
	tests/router/test_json_read \
	tests/router/test_numbers \
	tests/router/test_odd \
	tests/router/test_language \
	tests/router/test_limits \
	tests/router/test_policy \
	tests/router/test_random \
	tests/router/test_shown \
	tests/router/test_time
check_PROGRAMS += $(ROUTER_TESTS)
TESTS += $(ROUTER_TESTS) tests/router/test_ctl_policy.py tests/router/test_ctl_tools.py \
	tests/router/test_first_policy.py
EXTRA_DIST += tests/router/ctl.py tests/router/test_ctl_policy.py tests/router/test_ctl_tools.py \
	tests/router/test_first_policy.py tests/router/mklog.py \
	tests/router/cases/links.yaml tests/router/cases/links.cases
ROUTER_TEST_LIBS = $(ROUTER_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

tests_router_test_cases_SOURCES = tests/router/test_cases.c
tests_router_test_cases_CFLAGS = $(TEST_CFLAGS)
tests_router_test_cases_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_decide_SOURCES = tests/router/test_decide.c
tests_router_test_decide_CFLAGS = $(TEST_CFLAGS)
tests_router_test_decide_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_router_test_decide_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_detect_SOURCES = tests/router/test_detect.c
tests_router_test_detect_CFLAGS = $(TEST_CFLAGS)
tests_router_test_detect_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_diff_SOURCES = tests/router/test_diff.c
tests_router_test_diff_CFLAGS = $(TEST_CFLAGS)
tests_router_test_diff_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_router_test_diff_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_faults_SOURCES = tests/router/test_faults.c tests/router/rich_policy.h
tests_router_test_faults_CFLAGS = $(TEST_CFLAGS) $(YAML_CFLAGS) $(PCRE2_CFLAGS)
tests_router_test_faults_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE) \
	-Wl,--wrap=yaml_parser_initialize,--wrap=yaml_parser_parse,--wrap=pcre2_compile_8 \
	-Wl,--wrap=pcre2_match_data_create_8,--wrap=pcre2_match_context_create_8,--wrap=pcre2_match_8 \
	-Wl,--wrap=base_arena_get,--wrap=base_arena_strndup,--wrap=base_buf_add
tests_router_test_faults_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_numbers_SOURCES = tests/router/test_numbers.c tests/router/rich_policy.h
tests_router_test_numbers_CFLAGS = $(TEST_CFLAGS)
tests_router_test_numbers_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_shown_SOURCES = tests/router/test_shown.c tests/router/rich_policy.h tests/router/tried.h
tests_router_test_shown_CFLAGS = $(TEST_CFLAGS)
tests_router_test_shown_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_odd_SOURCES = tests/router/test_odd.c tests/router/rich_policy.h tests/router/tried.h
tests_router_test_odd_CFLAGS = $(TEST_CFLAGS)
tests_router_test_odd_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_given_SOURCES = tests/router/test_given.c
tests_router_test_given_CFLAGS = $(TEST_CFLAGS)
tests_router_test_given_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_router_test_given_LDADD = $(ROUTER_TEST_LIBS)

# The reader is the hand tool's, no room's.
tests_router_test_json_read_SOURCES = tests/router/test_json_read.c src/ctl/json_read.c
tests_router_test_json_read_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_router_test_json_read_LDADD = $(CMOCKA_LIBS) $(JANSSON_LIBS)

tests_router_test_policy_SOURCES = tests/router/test_policy.c
tests_router_test_policy_CFLAGS = $(TEST_CFLAGS)
tests_router_test_policy_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_language_SOURCES = tests/router/test_language.c tests/router/told.h
tests_router_test_language_CFLAGS = $(TEST_CFLAGS)
tests_router_test_language_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_includes_SOURCES = tests/router/test_includes.c tests/router/told.h
tests_router_test_includes_CFLAGS = $(TEST_CFLAGS)
tests_router_test_includes_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_codes_SOURCES = tests/router/test_codes.c
tests_router_test_codes_CFLAGS = $(TEST_CFLAGS)
tests_router_test_codes_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_limits_SOURCES = tests/router/test_limits.c
tests_router_test_limits_CFLAGS = $(TEST_CFLAGS)
tests_router_test_limits_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_random_SOURCES = \
	tests/router/random_meaning.c \
	tests/router/random_policy.c \
	tests/router/random_policy.h \
	tests/router/test_random.c
tests_router_test_random_CFLAGS = $(TEST_CFLAGS)
tests_router_test_random_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_router_test_random_LDADD = $(ROUTER_TEST_LIBS)

tests_router_test_time_SOURCES = tests/router/test_time.c
tests_router_test_time_CFLAGS = $(TEST_CFLAGS)
tests_router_test_time_LDADD = $(ROUTER_TEST_LIBS)
