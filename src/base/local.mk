noinst_LIBRARIES += libwp_base.a
libwp_base_a_SOURCES = \
	src/base/arena.c src/base/arena.h \
	src/base/buf.c src/base/buf.h \
	src/base/cli.c src/base/cli.h \
	src/base/clock.c src/base/clock.h \
	src/base/err.c src/base/err.h \
	src/base/hash.c src/base/hash.h \
	src/base/log.c src/base/log.h \
	src/base/opt.c src/base/opt.h \
	src/base/outfile.c src/base/outfile.h \
	src/base/rd.c src/base/rd.h \
	src/base/utf8.c src/base/utf8.h
libwp_base_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(XXHASH_CFLAGS)
BASE_LIBS = libwp_base.a $(CRYPTO_LIBS) $(XXHASH_LIBS)
