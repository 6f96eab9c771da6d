# tests of waypostctl tune
check_PROGRAMS += tests/ctl/test_fit
TESTS += tests/ctl/test_fit tests/ctl/test_tune.py
tests_ctl_test_fit_SOURCES = tests/ctl/test_fit.c src/ctl/fit.c src/ctl/fit.h src/ctl/fit_logit.c
tests_ctl_test_fit_CFLAGS = $(TEST_CFLAGS)
tests_ctl_test_fit_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_ctl_test_fit_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS) -lm
EXTRA_DIST += tests/ctl/test_tune.py
