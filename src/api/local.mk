noinst_LIBRARIES += libwp_api.a
libwp_api_a_SOURCES = src/api/chat.h
libwp_api_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
API_LIBS = libwp_api.a $(JANSSON_LIBS)
