noinst_LIBRARIES += libwp_ledger.a
libwp_ledger_a_SOURCES = \
	src/ledger/ledger.c src/ledger/ledger.h \
	src/ledger/record.c src/ledger/record.h
libwp_ledger_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
LEDGER_LIBS = libwp_ledger.a $(JANSSON_LIBS)
