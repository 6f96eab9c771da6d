noinst_LIBRARIES += libwp_wire.a
libwp_wire_a_SOURCES = \
	src/wire/frame.c src/wire/frame.h \
	src/wire/ipc.c src/wire/ipc.h \
	src/wire/mp.c src/wire/mp.h \
	src/wire/msg.c src/wire/msg.h \
	src/wire/pack.c src/wire/pack.h \
	src/wire/scan.c src/wire/scan.h \
	src/wire/wire.c src/wire/wire.h
libwp_wire_a_CFLAGS = $(AM_CFLAGS) $(MSGPACK_CFLAGS) $(ZSTD_CFLAGS)
WIRE_LIBS = libwp_wire.a $(MSGPACK_LIBS) $(ZSTD_LIBS)
