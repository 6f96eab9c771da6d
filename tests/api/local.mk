check_PROGRAMS += tests/api/test_api
TESTS += tests/api/test_api
tests_api_test_api_SOURCES = tests/api/test_api.c
tests_api_test_api_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_api_test_api_LDADD = $(API_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/api/test_schema
TESTS += tests/api/test_schema
tests_api_test_schema_SOURCES = tests/api/test_schema.c tests/api/validate.h \
	tests/engine/tiny.h tests/engine/tiny_vocab.h
tests_api_test_schema_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_api_test_schema_LDADD = $(API_LIBS) $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/api/test_tools
TESTS += tests/api/test_tools
tests_api_test_tools_SOURCES = tests/api/test_tools.c tests/engine/tiny.h tests/engine/tiny_vocab.h
tests_api_test_tools_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_api_test_tools_LDADD = $(API_LIBS) $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

# scripts/check-schema runs it on a real model.
check_PROGRAMS += tests/api/sample_schema
EXTRA_DIST += tests/api/schemas.json
tests_api_sample_schema_SOURCES = tests/api/sample_schema.c
tests_api_sample_schema_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_api_sample_schema_LDADD = $(API_LIBS) $(ENGINE_LIBS) $(BASE_LIBS)

check_PROGRAMS += tests/api/test_catalogue
TESTS += tests/api/test_catalogue
tests_api_test_catalogue_SOURCES = tests/api/test_catalogue.c tests/engine/tiny.h
tests_api_test_catalogue_CFLAGS = $(TEST_CFLAGS) $(JANSSON_CFLAGS)
tests_api_test_catalogue_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_api_test_catalogue_LDADD = $(API_LIBS) $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
