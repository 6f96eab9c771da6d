# tests of engine; tests/fixtures/mktiny makes small models for everybody's tests
check_PROGRAMS += tests/fixtures/mktiny
tests_fixtures_mktiny_SOURCES = tests/fixtures/mktiny.c tests/fixtures/gguf_put.h
tests_fixtures_mktiny_CFLAGS = $(TEST_CFLAGS)
tests_fixtures_mktiny_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)
check_PROGRAMS += tests/fixtures/mklora
tests_fixtures_mklora_SOURCES = tests/fixtures/mklora.c tests/fixtures/gguf_put.h
tests_fixtures_mklora_CFLAGS = $(TEST_CFLAGS)
tests_fixtures_mklora_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)

check_PROGRAMS += tests/engine/test_gguf tests/engine/test_tok tests/engine/test_chat \
	tests/engine/test_text
TESTS += tests/engine/test_gguf tests/engine/test_tok tests/engine/test_chat tests/engine/test_text \
	tests/engine/test_goldens.py

tests_engine_test_gguf_SOURCES = tests/engine/test_gguf.c tests/fixtures/gguf_put.h
tests_engine_test_gguf_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_gguf_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

tests_engine_test_tok_SOURCES = tests/engine/test_tok.c tests/engine/tiny.h tests/fixtures/gguf_put.h
tests_engine_test_tok_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_tok_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

tests_engine_test_chat_SOURCES = tests/engine/test_chat.c tests/engine/tiny.h
tests_engine_test_chat_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_chat_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

tests_engine_test_text_SOURCES = tests/engine/test_text.c tests/engine/tiny.h
tests_engine_test_text_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_text_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

EXTRA_DIST += tests/engine/test_goldens.py tests/fixtures/tok/smollm2-ids.json

# These make their models with mktiny. cmocka's skip() counts as a failure under automake, so what
# needs the real model is plain TAP: test_real, test_logits.py.
ENGINE_TESTS = tests/engine/test_attend tests/engine/test_forward tests/engine/test_pack_cache \
	tests/engine/test_sample tests/engine/test_sched tests/engine/test_prefix \
	tests/engine/test_draft tests/engine/test_sure tests/engine/test_watch
check_PROGRAMS += $(ENGINE_TESTS)
TESTS += $(ENGINE_TESTS)
tests_engine_test_attend_SOURCES = tests/engine/test_attend.c tests/engine/tiny_model.h
tests_engine_test_attend_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_attend_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_forward_SOURCES = tests/engine/naive.h tests/engine/test_forward.c \
	tests/engine/tiny_model.h
tests_engine_test_forward_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_forward_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_pack_cache_SOURCES = tests/engine/test_pack_cache.c tests/engine/tiny_model.h
tests_engine_test_pack_cache_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_pack_cache_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_sample_SOURCES = tests/engine/test_sample.c
tests_engine_test_sample_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_sample_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_sched_SOURCES = tests/engine/test_sched.c tests/engine/sched_seen.h \
	tests/engine/tiny_model.h
tests_engine_test_sched_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_sched_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_prefix_SOURCES = tests/engine/test_prefix.c tests/engine/sched_seen.h
tests_engine_test_prefix_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_prefix_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_draft_SOURCES = tests/engine/test_draft.c tests/engine/sched_seen.h
tests_engine_test_draft_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_draft_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_sure_SOURCES = tests/engine/test_sure.c tests/engine/sched_seen.h
tests_engine_test_sure_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_sure_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_watch_SOURCES = tests/engine/test_watch.c tests/engine/sched_seen.h
tests_engine_test_watch_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_watch_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/engine/test_confidence
TESTS += tests/engine/test_confidence
tests_engine_test_confidence_SOURCES = tests/engine/test_confidence.c tests/engine/tiny_model.h
tests_engine_test_confidence_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_confidence_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_engine_test_confidence_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/engine/test_real
TESTS += tests/engine/test_real tests/engine/test_bench.py tests/engine/test_logits.py
tests_engine_test_real_SOURCES = tests/engine/test_real.c
tests_engine_test_real_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_real_LDADD = $(ENGINE_LIBS) $(BASE_LIBS)
EXTRA_DIST += tests/engine/test_bench.py tests/engine/test_logits.py tests/fixtures/logits/short.txt \
	tests/fixtures/logits/smollm2.json tests/fixtures/text/mixed.txt

# What tests/engine/fail_alloc.h wants.
WRAP_ALLOC = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup
check_PROGRAMS += tests/engine/test_oom
TESTS += tests/engine/test_oom
tests_engine_test_oom_SOURCES = tests/engine/fail_alloc.h tests/engine/test_oom.c tests/engine/tiny.h
tests_engine_test_oom_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_oom_LDFLAGS = $(AM_LDFLAGS) $(WRAP_ALLOC)
tests_engine_test_oom_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/engine/test_nomem
TESTS += tests/engine/test_nomem
tests_engine_test_nomem_SOURCES = tests/engine/test_nomem.c tests/engine/tiny_model.h
tests_engine_test_nomem_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_nomem_LDFLAGS = $(AM_LDFLAGS) $(WRAP_ALLOC)
tests_engine_test_nomem_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/engine/test_lora
TESTS += tests/engine/test_lora
tests_engine_test_lora_SOURCES = tests/engine/naive.h tests/engine/test_lora.c \
	tests/engine/tiny_model.h
tests_engine_test_lora_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_lora_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

QUANTIZE_TESTS = tests/engine/test_quantize tests/engine/test_calib
check_PROGRAMS += $(QUANTIZE_TESTS)
TESTS += $(QUANTIZE_TESTS) tests/engine/test_ctl_quantize.py
tests_engine_test_quantize_SOURCES = tests/engine/test_quantize.c tests/engine/quantize_case.h \
	tests/engine/tiny_model.h tests/fixtures/gguf_put.h
tests_engine_test_quantize_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_quantize_LDFLAGS = $(AM_LDFLAGS) $(WRAP_ALLOC)
tests_engine_test_quantize_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_calib_SOURCES = tests/engine/test_calib.c tests/engine/quantize_case.h \
	tests/engine/tiny_model.h
tests_engine_test_calib_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_calib_LDFLAGS = $(AM_LDFLAGS) $(WRAP_ALLOC)
tests_engine_test_calib_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
EXTRA_DIST += tests/engine/test_ctl_quantize.py
check_PROGRAMS += tests/engine/test_grammar tests/engine/test_held
TESTS += tests/engine/test_grammar tests/engine/test_held
tests_engine_test_held_SOURCES = tests/engine/grammar_case.h tests/engine/test_held.c \
	tests/engine/tiny.h tests/engine/tiny_vocab.h
tests_engine_test_held_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_held_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_engine_test_grammar_SOURCES = tests/engine/grammar_case.h tests/engine/test_grammar.c \
	tests/engine/tiny.h tests/engine/tiny_vocab.h tests/fixtures/gguf_put.h
tests_engine_test_grammar_CFLAGS = $(TEST_CFLAGS)
tests_engine_test_grammar_LDADD = $(ENGINE_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
