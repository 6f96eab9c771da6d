# tests of engine; tests/fixtures/mktiny makes small models for everybody's tests
check_PROGRAMS += tests/fixtures/mktiny
tests_fixtures_mktiny_SOURCES = tests/fixtures/mktiny.c tests/fixtures/gguf_put.h
tests_fixtures_mktiny_CFLAGS = $(TEST_CFLAGS)
tests_fixtures_mktiny_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)
