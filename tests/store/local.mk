check_PROGRAMS += tests/store/test_store
TESTS += tests/store/test_store tests/store/test_ctl_sign.py
EXTRA_DIST += tests/store/test_ctl_sign.py
tests_store_test_store_SOURCES = tests/store/test_store.c
tests_store_test_store_CFLAGS = $(TEST_CFLAGS) $(CRYPTO_CFLAGS)
tests_store_test_store_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_store_test_store_LDADD = $(STORE_LIBS) $(ROUTER_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
