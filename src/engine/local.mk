include src/engine/kernels/local.mk
noinst_LIBRARIES += libwp_engine.a
libwp_engine_a_SOURCES = \
	src/engine/attend.c \
	src/engine/chat.c \
	src/engine/chat.h \
	src/engine/chat_format.c \
	src/engine/chat_int.h \
	src/engine/config.c \
	src/engine/exec.h \
	src/engine/forward.c \
	src/engine/gguf.c \
	src/engine/gguf.h \
	src/engine/gguf_int.h \
	src/engine/gguf_kv.c \
	src/engine/gguf_type.c \
	src/engine/identity.c \
	src/engine/inner.h \
	src/engine/lora.c \
	src/engine/lora.h \
	src/engine/lora_apply.c \
	src/engine/lora_int.h \
	src/engine/model.c \
	src/engine/model.h \
	src/engine/pack_cache.c \
	src/engine/pack_cache.h \
	src/engine/pool.c \
	src/engine/pool.h \
	src/engine/pretok.c \
	src/engine/pretok.h \
	src/engine/quant.h \
	src/engine/sample.c \
	src/engine/sample.h \
	src/engine/sched.c \
	src/engine/sched.h \
	src/engine/sched_inner.h \
	src/engine/sched_run.c \
	src/engine/session.c \
	src/engine/step.c \
	src/engine/text.c \
	src/engine/text.h \
	src/engine/tok.c \
	src/engine/tok.h \
	src/engine/tok_bpe.c \
	src/engine/tok_int.h \
	src/engine/tok_merge.c \
	src/engine/tok_spm.c \
	src/engine/tok_vocab.c \
	src/engine/utf8.c \
	src/engine/utf8.h \
	src/engine/weights.c \
	src/engine/weights_pack.c
libwp_engine_a_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS)
ENGINE_LIBS = libwp_engine.a $(KERNEL_LIBS) $(PCRE2_LIBS)
