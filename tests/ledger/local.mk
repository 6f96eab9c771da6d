# tests of the ledger
check_PROGRAMS += tests/ledger/test_ledger
TESTS += tests/ledger/test_ledger tests/ledger/test_ctl_ledger.py
EXTRA_DIST += tests/ledger/test_ctl_ledger.py
tests_ledger_test_ledger_SOURCES = tests/ledger/test_ledger.c
tests_ledger_test_ledger_CFLAGS = $(TEST_CFLAGS)
tests_ledger_test_ledger_LDADD = $(LEDGER_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
