# Per-instruction-set convenience libraries with their own flags; never -march=native.
KERNEL_LIBS = libwp_kern.a
noinst_LIBRARIES += libwp_kern.a
libwp_kern_a_SOURCES = \
	src/engine/quant.c \
	src/engine/quant_block.h \
	src/engine/quant_k.c \
	src/engine/kernels/kern.c \
	src/engine/kernels/kern.h \
	src/engine/kernels/kern_generic.c \
	src/engine/kernels/kern_impl.h
libwp_kern_a_CFLAGS = $(AM_CFLAGS) -ftree-vectorize
