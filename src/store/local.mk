# The policy store: the one room that knows another, the router, whose policies it keeps.
noinst_LIBRARIES += libwp_store.a
libwp_store_a_SOURCES = \
	src/store/files.c src/store/files.h \
	src/store/sign.c src/store/sign.h \
	src/store/store.c src/store/store.h
libwp_store_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
STORE_LIBS = libwp_store.a
