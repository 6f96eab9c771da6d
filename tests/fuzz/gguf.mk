# fuzz_gguf
check_PROGRAMS += tests/fuzz/fuzz_gguf
EXTRA_DIST += tests/fuzz/corpus/gguf
tests_fuzz_fuzz_gguf_SOURCES = tests/fuzz/fuzz_gguf.c
tests_fuzz_fuzz_gguf_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_gguf_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_gguf_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_gguf
endif

# fuzz_model
check_PROGRAMS += tests/fuzz/fuzz_model
EXTRA_DIST += tests/fuzz/corpus/model
tests_fuzz_fuzz_model_SOURCES = tests/fuzz/fuzz_model.c
tests_fuzz_fuzz_model_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_model_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_model_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_model
endif

# fuzz_lora
check_PROGRAMS += tests/fuzz/fuzz_lora
EXTRA_DIST += tests/fuzz/corpus/lora
tests_fuzz_fuzz_lora_SOURCES = tests/fuzz/fuzz_lora.c tests/fixtures/gguf_put.h
tests_fuzz_fuzz_lora_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_lora_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_lora_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_lora
endif

# fuzz_quantize
check_PROGRAMS += tests/fuzz/fuzz_quantize
EXTRA_DIST += tests/fuzz/corpus/quantize
tests_fuzz_fuzz_quantize_SOURCES = tests/fuzz/fuzz_quantize.c
tests_fuzz_fuzz_quantize_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_quantize_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_quantize_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_quantize
endif

# fuzz_confidence
check_PROGRAMS += tests/fuzz/fuzz_confidence
EXTRA_DIST += tests/fuzz/corpus/confidence
tests_fuzz_fuzz_confidence_SOURCES = tests/fuzz/fuzz_confidence.c
tests_fuzz_fuzz_confidence_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)
if ENABLE_FUZZERS
tests_fuzz_fuzz_confidence_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer
else
tests_fuzz_fuzz_confidence_SOURCES += tests/fuzz/replay.c
TESTS += tests/fuzz/fuzz_confidence
endif
