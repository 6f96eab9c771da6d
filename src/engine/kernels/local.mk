# Per-instruction-set convenience libraries with their own flags; never -march=native.
# Order for the linker: kern.c asks for the tables, and they ask for quant.c.
KERNEL_LIBS = libwp_kern.a
noinst_LIBRARIES += libwp_kern.a libwp_quant.a
libwp_kern_a_SOURCES = \
	src/engine/kernels/act_block.h \
	src/engine/kernels/int_panels.h \
	src/engine/kernels/kern.c \
	src/engine/kernels/kern.h \
	src/engine/kernels/kern_generic.c \
	src/engine/kernels/kern_impl.h \
	src/engine/kernels/kv_block.h \
	src/engine/kernels/neon_dot.h \
	src/engine/kernels/neon_tile.h \
	src/engine/kernels/neon_unpack.h \
	src/engine/kernels/pack.c \
	src/engine/kernels/pack.h \
	src/engine/kernels/simd_attend.h \
	src/engine/kernels/simd_exp.h \
	src/engine/kernels/simd_matmul.h \
	src/engine/kernels/simd_unpack.h \
	src/engine/kernels/simd_vec.h
libwp_kern_a_CFLAGS = $(AM_CFLAGS) -ftree-vectorize
libwp_quant_a_SOURCES = \
	src/engine/quant.c \
	src/engine/quant_block.h \
	src/engine/quant_fit.c \
	src/engine/quant_fit.h \
	src/engine/quant_k.c \
	src/engine/quant_iq4.c \
	src/engine/quant_search.c \
	src/engine/quant_search.h \
	src/engine/quant_search_int.h \
	src/engine/quant_search_iq4.c \
	src/engine/quant_search_k.c
libwp_quant_a_CFLAGS = $(AM_CFLAGS) -ftree-vectorize
if ARCH_X86
KERNEL_LIBS += libwp_kern_avx2.a libwp_kern_avx512.a libwp_kern_vnni.a
noinst_LIBRARIES += libwp_kern_avx2.a libwp_kern_avx512.a libwp_kern_vnni.a
libwp_kern_avx2_a_SOURCES = src/engine/kernels/kern_avx2.c src/engine/kernels/kern_avx2_int.c
libwp_kern_avx2_a_CFLAGS = $(AM_CFLAGS) -mavx2 -mfma -mf16c
libwp_kern_avx512_a_SOURCES = src/engine/kernels/kern_avx512.c
libwp_kern_avx512_a_CFLAGS = $(libwp_kern_avx2_a_CFLAGS) \
	-mavx512f -mavx512bw -mavx512vl -mavx512dq
libwp_kern_vnni_a_SOURCES = src/engine/kernels/kern_vnni.c
libwp_kern_vnni_a_CFLAGS = $(libwp_kern_avx512_a_CFLAGS) -mavx512vnni
endif
if ARCH_ARM64
KERNEL_LIBS += libwp_kern_neon.a libwp_kern_dotprod.a libwp_kern_i8mm.a
noinst_LIBRARIES += libwp_kern_neon.a libwp_kern_dotprod.a libwp_kern_i8mm.a
libwp_kern_neon_a_SOURCES = src/engine/kernels/kern_neon.c src/engine/kernels/kern_neon_int.c
libwp_kern_neon_a_CFLAGS = $(AM_CFLAGS) -march=armv8-a -mtune=cortex-a53
libwp_kern_dotprod_a_SOURCES = src/engine/kernels/kern_dotprod.c
libwp_kern_dotprod_a_CFLAGS = $(AM_CFLAGS) -march=armv8.2-a+dotprod
libwp_kern_i8mm_a_SOURCES = src/engine/kernels/kern_i8mm.c
libwp_kern_i8mm_a_CFLAGS = $(AM_CFLAGS) -march=armv8.2-a+dotprod+i8mm
endif
KERNEL_LIBS += libwp_quant.a
