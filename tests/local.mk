# Tests mirror the rooms. Each fragment adds to check_PROGRAMS and TESTS; every test speaks TAP.
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
AM_TESTS_ENVIRONMENT = CMOCKA_MESSAGE_OUTPUT=TAP; export CMOCKA_MESSAGE_OUTPUT; \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir;
TEST_EXTENSIONS = .py .sh
PY_LOG_DRIVER = $(LOG_DRIVER)
PY_LOG_COMPILER = python3
SH_LOG_DRIVER = $(LOG_DRIVER)
SH_LOG_COMPILER = bash
# Counts a program's allocations and makes them fail: tests/fixtures/wrap_alloc.h.
WRAP_THREE = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
EXTRA_DIST += tests/fixtures/wrap_alloc.h
TEST_CFLAGS = $(AM_CFLAGS) -Wno-missing-prototypes $(CMOCKA_CFLAGS)
include tests/bench/local.mk
include tests/kernels/local.mk
if HAVE_CMOCKA
include tests/unit/local.mk
include tests/engine/local.mk
if !ENGINE_ONLY
include tests/wire/local.mk
include tests/ledger/local.mk
include tests/router/local.mk
include tests/store/local.mk
include tests/net/local.mk
include tests/uplink/local.mk
include tests/api/local.mk
include tests/edge/local.mk
include tests/ctl/tune.mk
include tests/adapters/local.mk
include tests/e2e/local.mk
endif
endif
include tests/fuzz/local.mk
