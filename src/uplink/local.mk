# waypost-uplink: the only program with libcurl
bin_PROGRAMS += waypost-uplink
waypost_uplink_SOURCES = \
	src/uplink/config.c src/uplink/config.h \
	src/uplink/main.c \
	src/uplink/request.c \
	src/uplink/sock.c \
	src/uplink/target.c \
	src/uplink/uplink.h
waypost_uplink_LDADD = $(LEDGER_LIBS) $(WIRE_LIBS) $(NETH2C_LIBS) $(NETLOCAL_LIBS) $(BASE_LIBS)
