include src/engine/kernels/local.mk
noinst_LIBRARIES += libwp_engine.a
libwp_engine_a_SOURCES = \
	src/engine/chat.h \
	src/engine/config.c \
	src/engine/exec.h \
	src/engine/forward.c \
	src/engine/identity.c \
	src/engine/inner.h \
	src/engine/model.c \
	src/engine/sample.c \
	src/engine/sched.c \
	src/engine/sched_inner.h \
	src/engine/sched_run.c \
	src/engine/session.c \
	src/engine/step.c \
	src/engine/weights.c \
	src/engine/gguf.h \
	src/engine/model.h \
	src/engine/pool.c \
	src/engine/pool.h \
	src/engine/quant.h \
	src/engine/sample.h \
	src/engine/sched.h \
	src/engine/text.h \
	src/engine/tok.h
libwp_engine_a_CFLAGS = $(AM_CFLAGS) $(PCRE2_CFLAGS)
ENGINE_LIBS = libwp_engine.a $(KERNEL_LIBS) $(PCRE2_LIBS)
