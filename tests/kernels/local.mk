# Plain TAP, no cmocka: these cross-build and run under emulation (scripts/check-arm64).
KERNEL_TESTS = \
	tests/kernels/check_attend \
	tests/kernels/check_kernels \
	tests/kernels/check_mix \
	tests/kernels/check_pack \
	tests/kernels/check_pool \
	tests/kernels/check_quant \
	tests/kernels/check_search
check_PROGRAMS += $(KERNEL_TESTS)
TESTS += $(KERNEL_TESTS)
KERNEL_TEST_LIBS = $(ENGINE_LIBS) $(BASE_LIBS)
tests_kernels_check_attend_SOURCES = tests/kernels/check_attend.c tests/kernels/tap.h
tests_kernels_check_attend_LDADD = $(KERNEL_TEST_LIBS)
tests_kernels_check_kernels_SOURCES = \
	tests/kernels/bench.c \
	tests/kernels/bench.h \
	tests/kernels/check_kernels.c \
	tests/kernels/tap.h \
	tests/kernels/types.h
tests_kernels_check_kernels_LDADD = $(KERNEL_TEST_LIBS)
tests_kernels_check_mix_SOURCES = tests/kernels/check_mix.c tests/kernels/tap.h
tests_kernels_check_mix_LDADD = $(KERNEL_TEST_LIBS)
tests_kernels_check_pack_SOURCES = \
	tests/kernels/check_pack.c \
	tests/kernels/tap.h \
	tests/kernels/types.h
tests_kernels_check_pack_LDADD = $(KERNEL_TEST_LIBS)
tests_kernels_check_pool_SOURCES = tests/kernels/check_pool.c tests/kernels/tap.h
tests_kernels_check_pool_LDADD = $(KERNEL_TEST_LIBS)
tests_kernels_check_quant_SOURCES = \
	tests/kernels/check_quant.c \
	tests/kernels/tap.h \
	tests/kernels/types.h
tests_kernels_check_quant_LDADD = $(KERNEL_TEST_LIBS)
tests_kernels_check_search_SOURCES = \
	tests/kernels/check_search.c \
	tests/kernels/tap.h \
	tests/kernels/types.h
tests_kernels_check_search_LDADD = $(KERNEL_TEST_LIBS)
EXTRA_PROGRAMS = tests/kernels/steps
tests_kernels_steps_SOURCES = tests/kernels/steps.c
tests_kernels_steps_LDADD = $(KERNEL_TEST_LIBS)
EXTRA_DIST += \
	tests/fixtures/quant/BF16.bin \
	tests/fixtures/quant/F16.bin \
	tests/fixtures/quant/IQ4_NL.bin \
	tests/fixtures/quant/IQ4_XS.bin \
	tests/fixtures/quant/Q2_K.bin \
	tests/fixtures/quant/Q3_K.bin \
	tests/fixtures/quant/Q4_0.bin \
	tests/fixtures/quant/Q4_1.bin \
	tests/fixtures/quant/Q4_K.bin \
	tests/fixtures/quant/Q5_0.bin \
	tests/fixtures/quant/Q5_1.bin \
	tests/fixtures/quant/Q5_K.bin \
	tests/fixtures/quant/Q6_K.bin \
	tests/fixtures/quant/Q8_0.bin \
	tests/fixtures/quant/make.py
