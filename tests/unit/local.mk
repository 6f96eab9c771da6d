check_PROGRAMS += tests/unit/test_base
TESTS += tests/unit/test_base
tests_unit_test_base_SOURCES = tests/unit/test_base.c
tests_unit_test_base_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_base_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/test_outfile
TESTS += tests/unit/test_outfile
tests_unit_test_outfile_SOURCES = tests/unit/test_outfile.c
tests_unit_test_outfile_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_outfile_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=openat
tests_unit_test_outfile_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)

TESTS += tests/unit/check_house.sh
EXTRA_DIST += tests/unit/check_house.sh tests/unit/check_docs.py tests/unit/check_man.sh
if !ENGINE_ONLY
TESTS += tests/unit/check_docs.py tests/unit/check_man.sh
endif
