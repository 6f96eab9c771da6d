noinst_LIBRARIES += libwp_wire.a
libwp_wire_a_SOURCES = src/wire/wire.h src/wire/ipc.h
libwp_wire_a_CFLAGS = $(AM_CFLAGS) $(MSGPACK_CFLAGS) $(ZSTD_CFLAGS)
WIRE_LIBS = libwp_wire.a $(MSGPACK_LIBS) $(ZSTD_LIBS)
