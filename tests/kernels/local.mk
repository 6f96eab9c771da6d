# Plain TAP, no cmocka: these cross-build and run under emulation (scripts/check-arm64).
KERNEL_TESTS = tests/kernels/check_kernels
check_PROGRAMS += $(KERNEL_TESTS)
TESTS += $(KERNEL_TESTS)
KERNEL_TEST_LIBS = $(ENGINE_LIBS) $(BASE_LIBS)
tests_kernels_check_kernels_SOURCES = \
	tests/kernels/bench.c \
	tests/kernels/bench.h \
	tests/kernels/check_kernels.c \
	tests/kernels/tap.h \
	tests/kernels/types.h
tests_kernels_check_kernels_LDADD = $(KERNEL_TEST_LIBS)
